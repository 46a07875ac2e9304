;; SPDX-License-Identifier: Apache-2.0
;; Recurses a thousand times: what a healthy program does.
(module (memory (export "memory") 1)
  (func $f (param i32) (result i32)
    (if (result i32) (local.get 0) (then (i32.add (i32.const 1) (call $f (i32.sub (local.get 0) (i32.const 1))))) (else (i32.const 0))))
  (func (export "_start") (if (i32.ne (call $f (i32.const 1000)) (i32.const 1000)) (then unreachable))))
