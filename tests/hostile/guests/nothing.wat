;; SPDX-License-Identifier: Apache-2.0
;; Does nothing.
(module (memory (export "memory") 1) (func (export "_start")))
