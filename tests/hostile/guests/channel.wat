;; SPDX-License-Identifier: Apache-2.0
;; Prints eight times 8 bytes of both clocks and 8 random bytes, as they are: whatever differs between two runs is a channel.
(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $now (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (local $n i32)
    (loop $again
      (drop (call $now (i32.const 0) (i64.const 0) (i32.const 64)))
      (drop (call $now (i32.const 1) (i64.const 0) (i32.const 72)))
      (drop (call $random (i32.const 80) (i32.const 8)))
      (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 24))
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
      (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 8))))))
