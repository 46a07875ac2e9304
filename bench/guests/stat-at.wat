;; SPDX-License-Identifier: Apache-2.0
;; Asks for the state, by name, of the one file in its root, `file.txt`, 100,000 times; traps when one fails.
(component
  (import "wasi:filesystem/types@0.2.0" (instance $types
    (export "descriptor" (type $descriptor (sub resource)))
    (type $time-of (record (field "seconds" u64) (field "nanoseconds" u32)))
    (export "datetime" (type $time (eq $time-of)))
    (type $kind-of (enum "unknown" "block-device" "character-device" "directory" "fifo" "symbolic-link"
      "regular-file" "socket"))
    (export "descriptor-type" (type $kind (eq $kind-of)))
    (type $maybe-time (option $time))
    (type $stat-of (record (field "type" $kind) (field "link-count" u64) (field "size" u64)
      (field "data-access-timestamp" $maybe-time) (field "data-modification-timestamp" $maybe-time)
      (field "status-change-timestamp" $maybe-time)))
    (export "descriptor-stat" (type $stat (eq $stat-of)))
    (type $error-of (enum "access" "would-block" "already" "bad-descriptor" "busy" "deadlock" "quota" "exist"
      "file-too-large" "illegal-byte-sequence" "in-progress" "interrupted" "invalid" "io" "is-directory" "loop"
      "too-many-links" "message-size" "name-too-long" "no-device" "no-entry" "no-lock" "insufficient-memory"
      "insufficient-space" "not-directory" "not-empty" "not-recoverable" "unsupported" "no-tty" "no-such-device"
      "overflow" "not-permitted" "pipe" "read-only" "invalid-seek" "text-file-busy" "cross-device"))
    (export "error-code" (type $error (eq $error-of)))
    (type $path-flags-of (flags "symlink-follow"))
    (export "path-flags" (type $path-flags (eq $path-flags-of)))
    (type $open-flags-of (flags "create" "directory" "exclusive" "truncate"))
    (export "open-flags" (type $open-flags (eq $open-flags-of)))
    (type $flags-of (flags "read" "write" "file-integrity-sync" "data-integrity-sync" "requested-write-sync"
      "mutate-directory"))
    (export "descriptor-flags" (type $flags (eq $flags-of)))
    (export "[method]descriptor.open-at" (func (param "self" (borrow $descriptor)) (param "path-flags" $path-flags)
      (param "path" string) (param "open-flags" $open-flags) (param "flags" $flags)
      (result (result (own $descriptor) (error $error)))))
    (export "[method]descriptor.stat" (func (param "self" (borrow $descriptor))
      (result (result $stat (error $error)))))
    (export "[method]descriptor.stat-at" (func (param "self" (borrow $descriptor)) (param "path-flags" $path-flags)
      (param "path" string) (result (result $stat (error $error)))))))
  (alias export $types "descriptor" (type $descriptor))
  (import "wasi:filesystem/preopens@0.2.0" (instance $preopens
    (alias outer 1 $descriptor (type $outer))
    (export "descriptor" (type $own (eq $outer)))
    (export "get-directories" (func (result (list (tuple (own $own) string)))))))

  (core module $memory
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 4096))
    (data (i32.const 16) "file.txt")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $memory (instantiate $memory))
  (core func $directories (canon lower (func $preopens "get-directories")
    (memory $memory "memory") (realloc (func $memory "realloc"))))
  (core func $open (canon lower (func $types "[method]descriptor.open-at") (memory $memory "memory")))
  (core func $stat (canon lower (func $types "[method]descriptor.stat") (memory $memory "memory")))
  (core func $stat-at (canon lower (func $types "[method]descriptor.stat-at") (memory $memory "memory")))

  (core module $main
    (import "memory" "memory" (memory 1))
    (import "host" "directories" (func $directories (param i32)))
    (import "host" "open" (func $open (param i32 i32 i32 i32 i32 i32 i32)))
    (import "host" "stat" (func $stat (param i32 i32)))
    (import "host" "stat-at" (func $stat-at (param i32 i32 i32 i32 i32)))
    (func (export "run") (result i32)
      (local $left i32) (local $root i32) (local $file i32)
      (call $directories (i32.const 64))
      (local.set $root (i32.load (i32.load (i32.const 64))))
      (call $open (local.get $root) (i32.const 1) (i32.const 16) (i32.const 8) (i32.const 0) (i32.const 1)
        (i32.const 64))
      (if (i32.load8_u (i32.const 64)) (then unreachable))
      (local.set $file (i32.load (i32.const 68)))
      (local.set $left (i32.const 100000))
      (loop $again
        (call $stat-at (local.get $root) (i32.const 1) (i32.const 16) (i32.const 8) (i32.const 64))
        (if (i32.load8_u (i32.const 64)) (then unreachable))
        (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
      (i32.const 0)))
  (core instance $host (export "directories" (func $directories)) (export "open" (func $open))
    (export "stat" (func $stat)) (export "stat-at" (func $stat-at)))
  (core instance $main (instantiate $main (with "memory" (instance $memory)) (with "host" (instance $host))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $interface (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $interface)))
