;; SPDX-License-Identifier: Apache-2.0
;; Logs a character whose last byte is missing.
(component
  (import "wasi:logging/logging@0.1.0-draft" (instance $logging
    (type $l (enum "trace" "debug" "info" "warn" "error" "critical"))
    (export "level" (type $level (eq $l)))
    (export "log" (func (param "level" $level) (param "context" string) (param "message" string)))))
  (core module $Memory (memory (export "memory") 1) (data (i32.const 0) "good \e2\82"))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (core func $log (canon lower (func $logging "log") (memory $mem)))
  (core module $Main
    (import "host" "log" (func $log (param i32 i32 i32 i32 i32)))
    (func (export "run") (result i32) (call $log (i32.const 4) (i32.const 0) (i32.const 4) (i32.const 5) (i32.const 2)) (i32.const 0)))
  (core instance $main (instantiate $Main (with "host" (instance (export "log" (func $log))))))
  (func $run (result (result)) (canon lift (core func $main "run")))
  (instance $exports (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $exports)))
