;; SPDX-License-Identifier: Apache-2.0
;; Four memories of 24 MiB in one module: each fits a limit of 64 MiB, together they do not.
(module (memory (export "memory") 384) (memory 384) (memory 384) (memory 384) (func (export "_start")))
