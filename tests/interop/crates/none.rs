// SPDX-License-Identifier: Apache-2.0
// Never compiled: cargo wants a target before it vendors.
