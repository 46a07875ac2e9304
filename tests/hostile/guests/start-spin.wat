;; SPDX-License-Identifier: Apache-2.0
;; Loops for ever in its start function, before anything is called.
(module (memory (export "memory") 1) (func $s (loop $again (br $again))) (start $s) (func (export "_start")))
