;; SPDX-License-Identifier: Apache-2.0
;; Four tables of 200,000 elements grown one after the other: 6.4 MB at 8 bytes an element.
(module (memory (export "memory") 1) (table $a 0 funcref) (table $b 0 funcref) (table $c 0 funcref) (table $d 0 funcref)
  (func (export "_start")
    (if (i32.eq (table.grow $a (ref.null func) (i32.const 200000)) (i32.const -1)) (then unreachable))
    (if (i32.eq (table.grow $b (ref.null func) (i32.const 200000)) (i32.const -1)) (then unreachable))
    (if (i32.eq (table.grow $c (ref.null func) (i32.const 200000)) (i32.const -1)) (then unreachable))
    (if (i32.eq (table.grow $d (ref.null func) (i32.const 200000)) (i32.const -1)) (then unreachable))))
