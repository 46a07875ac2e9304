;; SPDX-License-Identifier: Apache-2.0
;; Imports wasi:http, which no grant of this version backs, and never calls it.
(component
  (import "wasi:http/types@0.2.0" (instance (export "fields" (type (sub resource)))))
  (core module $Main (func (export "run") (result i32) (i32.const 0)))
  (core instance $main (instantiate $Main))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $exports (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $exports)))
