#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# All of the engine's own tests: lints, dependency list with its control, Rust tests (declared as examples, see Cargo.toml), the C driver.
set -eu
cd "$(dirname "$0")/.."
: "${AMBIT_CARGO:=cargo}" "${CC:=cc}" "${CARGO_TARGET_DIR:=$PWD/target}"
export CARGO_TARGET_DIR
release=$CARGO_TARGET_DIR/release
if "$AMBIT_CARGO" clippy --version >/dev/null 2>&1; then
    "$AMBIT_CARGO" clippy --release --locked --quiet -- -D warnings
    echo "ok clippy"
else
    echo "skip clippy: not installed"
fi
./deny-tree.sh
if ./deny-tree.sh --control 2>/dev/null; then echo "not ok deny-tree control"; exit 1; fi
"$AMBIT_CARGO" build --release --locked --quiet --examples
"$AMBIT_CARGO" build --release --locked --quiet
for test in "$release"/examples/test-*; do
    case $test in *.d) continue ;; esac
    "$test"
done
"$CC" -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -O1 -Iinclude tests/smoke.c "$release/libambit_engine.a" -lpthread -ldl -lm -o "$release/ambit-engine-smoke"
"$release/ambit-engine-smoke"
