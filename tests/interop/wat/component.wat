;; SPDX-License-Identifier: Apache-2.0
;; WASI 0.2 by hand: a command component that counts its arguments and writes a line for each to standard output.
(component
  (import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
  (alias export $error "error" (type $error-type))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (alias outer 1 $error-type (type $e))
    (export "error" (type $err (eq $e)))
    (export "output-stream" (type $out (sub resource)))
    (type $failed (own $err))
    (type $stream-error (variant (case "last-operation-failed" $failed) (case "closed")))
    (export "stream-error" (type $se (eq $stream-error)))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $out)) (param "contents" (list u8)) (result (result (error $se)))))))
  (alias export $streams "output-stream" (type $output-stream))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $output-stream (type $o))
    (export "output-stream" (type $out (eq $o)))
    (export "get-stdout" (func (result (own $out))))))
  (import "wasi:cli/environment@0.2.0" (instance $environment
    (export "get-arguments" (func (result (list string))))))

  (core module $memory
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 4096))
    (func (export "realloc") (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32) (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1))) (i32.sub (i32.const 0) (local.get $align))))
      (global.set $next (i32.add (local.get $at) (local.get $size)))
      (memory.copy (local.get $at) (local.get $old) (local.get $old-size))
      (local.get $at)))
  (core instance $m (instantiate $memory))
  (alias core export $m "memory" (core memory $mem))
  (alias core export $m "realloc" (core func $realloc))
  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $write (canon lower (func $streams "[method]output-stream.blocking-write-and-flush") (memory $mem)))
  (core func $get-arguments (canon lower (func $environment "get-arguments") (memory $mem) (realloc $realloc)))
  (core func $drop-stream (canon resource.drop $output-stream))

  (core module $program
    (import "" "memory" (memory 1))
    (import "" "get-stdout" (func $get-stdout (result i32)))
    (import "" "write" (func $write (param i32 i32 i32 i32)))
    (import "" "get-arguments" (func $get-arguments (param i32)))
    (import "" "drop" (func $drop (param i32)))
    (data (i32.const 64) "hello from a component\n")
    (data (i32.const 128) "\n")
    (func $put (param $stream i32) (param $at i32) (param $size i32)
      (call $write (local.get $stream) (local.get $at) (local.get $size) (i32.const 16))
      (if (i32.load8_u (i32.const 16)) (then unreachable)))
    (func (export "run") (result i32) (local $stream i32) (local $i i32) (local $entry i32)
      (local.set $stream (call $get-stdout))
      (call $put (local.get $stream) (i32.const 64) (i32.const 23))
      (call $get-arguments (i32.const 0))
      (local.set $i (i32.const 1))
      (block $end (loop $next
        (br_if $end (i32.ge_u (local.get $i) (i32.load (i32.const 4))))
        (local.set $entry (i32.add (i32.load (i32.const 0)) (i32.shl (local.get $i) (i32.const 3))))
        (call $put (local.get $stream) (i32.load (local.get $entry)) (i32.load offset=4 (local.get $entry)))
        (call $put (local.get $stream) (i32.const 128) (i32.const 1))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
      (call $drop (local.get $stream))
      (i32.gt_u (i32.load (i32.const 4)) (i32.const 3)))) ;; more than two arguments: an error
  (core instance $p (instantiate $program (with "" (instance
    (export "memory" (memory $mem))
    (export "get-stdout" (func $get-stdout))
    (export "write" (func $write))
    (export "get-arguments" (func $get-arguments))
    (export "drop" (func $drop-stream))))))
  (func $run (result (result)) (canon lift (core func $p "run")))
  (instance $cli (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $cli)))
