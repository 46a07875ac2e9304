;; SPDX-License-Identifier: Apache-2.0
;; Its realloc calls the host, in the middle of a call to the host.
(component
  (import "wasi:random/random@0.2.0" (instance $random
    (type $bytes (list u8))
    (export "get-random-bytes" (func (param "len" u64) (result $bytes)))
    (export "get-random-u64" (func (result u64)))))
  (core func $u64 (canon lower (func $random "get-random-u64")))
  (core module $Memory (import "host" "u64" (func $u64 (result i64))) (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (drop (call $u64)) (i32.const 1024)))
  (core instance $memory (instantiate $Memory (with "host" (instance (export "u64" (func $u64))))))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))
  (core func $get (canon lower (func $random "get-random-bytes") (memory $mem) (realloc $realloc)))
  (core module $Main
    (import "host" "get" (func $get (param i64 i32)))
    (func (export "run") (result i32) (call $get (i64.const 64) (i32.const 64)) (i32.const 0)))
  (core instance $main (instantiate $Main (with "host" (instance (export "get" (func $get))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $exports (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $exports)))
