;; SPDX-License-Identifier: Apache-2.0
;; Writes 'x' to standard output, 64 KiB a time, 64 times (4 MiB).
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 3)
  (func (export "_start") (local $n i32)
    (memory.fill (i32.const 65536) (i32.const 120) (i32.const 65536))
    (loop $again
      (i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const 65536))
      (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)) (then unreachable))
      (if (i32.ne (i32.load (i32.const 16)) (i32.const 65536))
        (then (local.set $n (i32.const 1000))))             ;; a short write is not expected
      (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 64))))))
