;; SPDX-License-Identifier: Apache-2.0
;; Reads the monotonic clock 500,000 times.
(component
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock (export "now" (func (result u64)))))
  (core func $now (canon lower (func $clock "now")))
  (core module $main
    (import "host" "now" (func $now (result i64)))
    (func (export "run") (result i32)
      (local $left i32)
      (local.set $left (i32.const 500000))
      (loop $again
        (drop (call $now))
        (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
      (i32.const 0)))
  (core instance $host (export "now" (func $now)))
  (core instance $main (instantiate $main (with "host" (instance $host))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $interface (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $interface)))
