;; SPDX-License-Identifier: Apache-2.0
;; Asks for a table of 2^31 elements.
(module (memory (export "memory") 1) (table $a 0 funcref)
  (func (export "_start") (if (i32.eq (table.grow $a (ref.null func) (i32.const 0x7fffffff)) (i32.const -1)) (then unreachable))))
