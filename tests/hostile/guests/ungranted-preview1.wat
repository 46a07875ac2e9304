;; SPDX-License-Identifier: Apache-2.0
;; A module that imports what is no WASI.
(module (import "env" "system" (func $system (param i32) (result i32))) (memory (export "memory") 1) (func (export "_start")))
