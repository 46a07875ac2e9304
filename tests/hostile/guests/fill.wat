;; SPDX-License-Identifier: Apache-2.0
;; memory.fill of 128 MiB, again and again: the longest instruction without a check.
(module (memory (export "memory") 2048)
  (func (export "_start") (loop $again (memory.fill (i32.const 0) (i32.const 7) (i32.const 0x8000000)) (br $again))))
