# SPDX-License-Identifier: Apache-2.0
# Makes QuickJS's stack check hold in WebAssembly: awk -f stack.awk quickjs.c
#
# QuickJS measures its stack by the address of a frame. In WebAssembly only what has an address lies in linear memory; the rest of a
# frame is on the engine's own stack, which nobody can measure from inside, and a function that recurses without anything in memory
# would reach the engine's end first: a trap where a RangeError belongs. So functions that recurse take a block of memory that
# stands for it (stack.h). Those that check the stack themselves take it with the check; the parser's, which check in a leaf, are
# named here. And the switch that turns the check off for WASI is renamed.
BEGIN {
    takes["js_parse_unary"] = takes["js_parse_assign_expr2"] = 640
    takes["js_parse_postfix_expr"] = takes["js_parse_statement_or_decl"] = takes["js_parse_function_decl2"] = 384
    takes["js_parse_class"] = takes["js_parse_destructuring_element"] = 384
}
{ gsub(/__wasi__/, "__wasi_without_stack__") }
/^static inline bool js_check_stack_overflow\(/ { sub(/js_check_stack_overflow/, "js_stack_overflows"); changed++ }
/^static / && !/;$/ {
    name = $0
    sub(/\(.*/, "", name)
    sub(/.*[ *]/, "", name)
    pending = name in takes ? takes[name] : 0
}
/;$/ { pending = 0 } # a declaration
$0 == "{" && pending {
    $0 = "{ STACK_TAKE(" pending ");"
    pending = 0
    changed++
}
{ print }
END {
    if (changed != 8) {
        print "stack.awk: quickjs.c is not the one this was written for: " changed " changes" > "/dev/stderr"
        exit 1
    }
}
