#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Nothing that reacts to the machine by itself may be linked into the engine: no async runtime, no event library, no sockets, and not
# Wasmtime's own WASI, which is made of those. Compares the crates of the library (not of build scripts) with deny-tree.txt.
# With the argument --control it adds a crate that is there to the list, and must fail.
set -eu
cd "$(dirname "$0")"
deny=$(sed 's/#.*//' deny-tree.txt)
[ "${1:-}" != --control ] || deny="$deny wasmtime"
tree=$("${AMBIT_CARGO:-cargo}" tree --locked --offline --edges normal --prefix none --format '{p}' | cut -d' ' -f1 | sort -u)
[ "$(echo "$tree" | wc -l)" -gt 30 ] || { echo "deny-tree: cargo tree says too little: $tree" >&2; exit 1; }
bad=
for crate in $deny; do
    for there in $tree; do
        [ "$there" != "$crate" ] || bad="$bad $crate"
    done
done
# rustix is there for memory and files of memfd; its sockets and event queues must stay off.
features=$("${AMBIT_CARGO:-cargo}" tree --locked --offline --edges features --prefix none | sed -n 's/^rustix feature "\([a-z]*\)".*/\1/p' | sort -u)
[ -n "$features" ] || { echo "deny-tree: no features of rustix seen" >&2; exit 1; }
for feature in $features; do
    case $feature in net | event | io_uring | process | thread) bad="$bad rustix/$feature" ;; esac
done
[ -z "$bad" ] || { echo "deny-tree: linked, and must not be:$bad" >&2; exit 1; }
echo "ok deny-tree: $(echo "$tree" | wc -l) crates, none of $(echo $deny | wc -w) denied"
