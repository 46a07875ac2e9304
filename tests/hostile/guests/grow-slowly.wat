;; SPDX-License-Identifier: Apache-2.0
;; Takes and touches 65,536 bytes at a time, 2,000 times (128 MiB). Traps when it is told no.
(module (memory (export "memory") 1)
  (func (export "_start") (local $n i32) (local $p i32)
    (loop $again
      (local.set $p (memory.grow (i32.const 1)))
      (if (i32.eq (local.get $p) (i32.const -1)) (then unreachable))
      (i32.store (i32.mul (local.get $p) (i32.const 65536)) (i32.const 1))
      (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 2000))))))
