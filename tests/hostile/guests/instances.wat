;; SPDX-License-Identifier: Apache-2.0
;; Four instances with 24 MiB each: each fits a limit of 64 MiB, together they do not.
(component
  (core module $Big (memory (export "memory") 384))
  (core instance $a (instantiate $Big)) (core instance $b (instantiate $Big))
  (core instance $c (instantiate $Big)) (core instance $d (instantiate $Big))
  (core module $Main (func (export "run") (result i32) (i32.const 0)))
  (core instance $main (instantiate $Main))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $exports (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $exports)))
