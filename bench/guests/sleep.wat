;; SPDX-License-Identifier: Apache-2.0
;; Touches its memory and its stack, then waits for an hour: a parked sandbox.
(component
  (import "wasi:io/poll@0.2.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (alias outer 1 $pollable (type $outer))
    (export "pollable" (type $own (eq $outer)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $own))))))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core module $main
    (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
    (import "host" "block" (func $block (param i32)))
    (memory 1)
    (data (i32.const 1024) "a byte of an image")
    (func (export "run") (result i32)
      (i32.store (i32.const 2048) (i32.const 1))
      (call $block (call $subscribe (i64.const 3600000000000)))
      (i32.const 0)))
  (core instance $host (export "subscribe" (func $subscribe)) (export "block" (func $block)))
  (core instance $main (instantiate $main (with "host" (instance $host))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $interface (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $interface)))
