;; SPDX-License-Identifier: Apache-2.0
;; Makes 100,000 timers and drops none.
(component
  (import "wasi:io/poll@0.2.0" (instance $poll (export "pollable" (type (sub resource)))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $p1))
    (export "pollable" (type $p2 (eq $p1)))
    (type $own (own $p2))
    (export "subscribe-duration" (func (param "when" u64) (result $own)))))
  (core func $timer (canon lower (func $clock "subscribe-duration")))
  (core module $Main
    (import "host" "timer" (func $timer (param i64) (result i32)))
    (func (export "run") (result i32) (local $n i32)
      (loop $again (drop (call $timer (i64.const 1000000000))) (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 100000))))
      (i32.const 0)))
  (core instance $main (instantiate $Main (with "host" (instance (export "timer" (func $timer))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $exports (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $exports)))
