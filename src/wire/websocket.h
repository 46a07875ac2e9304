/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebSocket (RFC 6455) on the wire: the handshake's sum, frames read strictly and printed. Knows
 * nothing of sockets, keeps no message: bytes are given on as they come.
 *
 * Strict: a client's frames are masked, a server's are not; reserved bits are 0 (no extension is ever
 * agreed on); lengths are as short as they can be; control frames are whole and small; a message
 * ends before the next begins; nothing follows a Close. Text is not looked at: whether it is UTF-8 is
 * between the two ends.
 *
 * A message is told in parts as its bytes come, whatever frames it was cut into: the printer cuts
 * anew, as RFC 6455 5.4 lets an intermediary do.
 */
#pragma once

#include "base/buf.h"

#define WEBSOCKET_CONTROL_MAX 125
#define WEBSOCKET_HEAD_MAX 14
#define WEBSOCKET_ACCEPT_SIZE 28

enum websocket_side { WEBSOCKET_OF_CLIENT, WEBSOCKET_OF_SERVER }; /* whose frames are read */
enum websocket_opcode {
    WEBSOCKET_CONTINUATION = 0,
    WEBSOCKET_TEXT = 1,
    WEBSOCKET_BINARY = 2,
    WEBSOCKET_CLOSE = 8,
    WEBSOCKET_PING = 9,
    WEBSOCKET_PONG = 10,
};

enum websocket_event_kind {
    WEBSOCKET_MORE,    /* all bytes were used */
    WEBSOCKET_DATA,    /* bytes of a message, perhaps none, perhaps its last */
    WEBSOCKET_CONTROL, /* a whole control frame */
    WEBSOCKET_FAULT    /* rejected; sticky */
};
struct websocket_event {
    enum websocket_opcode opcode; /* of the message: TEXT or BINARY; or of the control frame */
    struct bytes payload;         /* unmasked; until the next call */
    bool end;                     /* DATA: the message ends with these */
    const char *fault;            /* FAULT: for a person */
};

struct websocket_reader {
    enum websocket_side side;
    uint8_t head[WEBSOCKET_HEAD_MAX];
    size_t head_size; /* that came */
    bool in_payload;
    uint64_t left; /* of the frame's payload */
    uint8_t mask[4];
    unsigned mask_at;
    enum websocket_opcode opcode, message; /* of the frame; of the message it belongs to */
    bool final, in_message, closed;        /* closed: a Close came */
    uint8_t control[WEBSOCKET_CONTROL_MAX];
    size_t control_size;
    const char *fault;
};
void websocket_reader_init(struct websocket_reader *r, enum websocket_side side);
/* Reads one event from the start of `bytes`, which are unmasked where they stand; `ret_used` of them
 * are done with. How the bytes were cut into calls never changes what is read. */
enum websocket_event_kind websocket_read(struct websocket_reader *r, uint8_t *bytes, size_t size,
                                         struct websocket_event *ret, size_t *ret_used);

/* One frame. `mask`: four bytes for a client's, NULL for a server's. */
void websocket_print(struct buf *out, enum websocket_opcode opcode, bool final,
                     struct bytes payload, const uint8_t *mask);

/* Is it a Sec-WebSocket-Key: 16 bytes in base64? */
bool websocket_key_valid(struct bytes key);
/* What a server answers to it. 0, or -EIO when the library fails. */
int websocket_accept(struct bytes key, char ret[static WEBSOCKET_ACCEPT_SIZE + 1]) MUST_CHECK;
