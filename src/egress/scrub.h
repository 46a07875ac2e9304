/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Masks the values of secrets in what an origin answers, as it streams. Pure: bytes in, bytes out, no
 * clock, no file; `seed` is the caller's randomness.
 *
 * What is found, whole: the value as it is; its base64 (both alphabets, wherever in a longer text it
 * began: the characters that it alone decides, and the two that it shares); its hexadecimal (any case);
 * and each of these with any of its characters percent-encoded, as an escape of JSON or JavaScript
 * (\u0041, \x41, \/), or as an entity of HTML; line breaks, tabs and NULs (of UTF-16) within do not hide
 * it, as long as it is not spread over more than scrub_held(). In place of each byte stands '*'. What is not found: other encodings, or two of them on top of each other but
 * those. An origin that has the value can hide it in what it likes: this is about echoes, not spies.
 *
 * Never an oracle. How many bytes are out depends on how many came in and on line ends, never on what
 * they are: the last scrub_held() are kept back whatever they hold. The work for a byte is the same
 * whether what came looks like a value so far or not: hashes of windows of fixed length are compared
 * once, whole; there is no automaton whose state says how far a guess was right. No value is kept,
 * only hashes of it.
 */
#pragma once

#include "base/buf.h"

#define SCRUB_VALUES_MAX 16
struct scrub;
/* Where all that is held may go, because a reader waits there, and the format lets no value go on. */
enum scrub_border {
    SCRUB_NOWHERE,
    SCRUB_LINE,  /* after each line: application/x-ndjson and its like */
    SCRUB_EVENT, /* after each empty line: text/event-stream */
};
int scrub_new(const struct bytes *values, size_t count, uint64_t seed, struct scrub **ret,
              struct error *e) MUST_CHECK;
/* Another one that looks for the same, and shares with it what was made of the values: much quicker. */
int scrub_like(const struct scrub *other, struct scrub **ret) MUST_CHECK;
void scrub_free(struct scrub *s);
void scrub_border(struct scrub *s, enum scrub_border border);
size_t scrub_held(const struct scrub *s);
/* Bytes of a body: appends what may go to `out` (check its status). */
void scrub_push(struct scrub *s, struct bytes in, struct buf *out);
void scrub_end(struct scrub *s, struct buf *out); /* the rest; then another body may come */
/* A text for itself, masked where it stands: a field's name or value. Not between push and end.
 * True when something was. */
bool scrub_text(struct scrub *s, uint8_t *text, size_t size);
/* So many places were masked. */
uint32_t scrub_places(const struct scrub *s);
/* Bit i: values[i] was found. */
uint32_t scrub_found(const struct scrub *s);
