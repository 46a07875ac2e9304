//go:build tools

// Package interop pins the upstream programs that tests/interop builds unmodified, by version here and by
// digest in go.sum.
package interop

import (
	_ "github.com/google/go-jsonnet/cmd/jsonnet"
	_ "github.com/itchyny/gojq/cmd/gojq"
	_ "github.com/mikefarah/yq/v4"
	_ "mvdan.cc/sh/v3/cmd/shfmt"
)
