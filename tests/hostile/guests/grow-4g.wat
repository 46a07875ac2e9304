;; SPDX-License-Identifier: Apache-2.0
;; Asks for 4 GiB at once. Traps when it is told no.
(module (memory (export "memory") 1)
  (func (export "_start") (if (i32.eq (memory.grow (i32.const 65535)) (i32.const -1)) (then unreachable))))
