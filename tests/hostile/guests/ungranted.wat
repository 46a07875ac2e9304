;; SPDX-License-Identifier: Apache-2.0
;; Imports an interface that no grant backs, and never calls it.
(component
  (import "acme:billing/customers@1.0.0" (instance (export "fetch" (func (result string)))))
  (core module $Main (func (export "run") (result i32) (i32.const 0)))
  (core instance $main (instantiate $Main))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $exports (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $exports)))
