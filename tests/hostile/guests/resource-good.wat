;; SPDX-License-Identifier: Apache-2.0
;; A resource of the guest's own, used as one should.
(component
  (core module $D (func (export "drop") (param i32) ))
  (core instance $d (instantiate $D))
  (alias core export $d "drop" (core func $dtor))
  (type $thing (resource (rep i32) (dtor (func $dtor))))
  (core func $new (canon resource.new $thing))
  (core func $rep (canon resource.rep $thing))
  (core func $drop (canon resource.drop $thing))
  (core module $Main
    (import "own" "new" (func $new (param i32) (result i32)))
    (import "own" "rep" (func $rep (param i32) (result i32)))
    (import "own" "drop" (func $drop (param i32)))
    (func (export "run") (result i32) (local $n i32)
      (local.set $n (call $new (i32.const 5))) (drop (call $rep (local.get $n))) (call $drop (local.get $n))
      (i32.const 0)))
  (core instance $main (instantiate $Main (with "own" (instance
    (export "new" (func $new)) (export "rep" (func $rep)) (export "drop" (func $drop))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $exports (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $exports)))
