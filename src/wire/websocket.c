/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of RFC 6455: head, then payload. A control frame is held until it is whole. */
#include "wire/websocket.h"

#include <openssl/evp.h>
#include <string.h>

#include "base/encode.h"
#include "base/mem.h"

#define FINAL 0x80u
#define RESERVED 0x70u
#define MASKED 0x80u
#define CONTROL 0x08u

void websocket_reader_init(struct websocket_reader *r, enum websocket_side side)
{
    *r = (struct websocket_reader){ .side = side };
}

/* ---- heads ---- */

static size_t head_size_of(const struct websocket_reader *r)
{
    unsigned length = r->head[1] & 0x7fu;
    size_t mask = r->side == WEBSOCKET_OF_CLIENT ? 4 : 0;
    return 2 + (length == 127 ? 8 : length == 126 ? 2 : 0) + mask;
}

/* What the first two bytes may be: NULL, or the fault. */
static const char *first_bytes_fault(const struct websocket_reader *r)
{
    unsigned opcode = r->head[0] & 0x0fu, length = r->head[1] & 0x7fu;
    bool masked = (r->head[1] & MASKED) != 0, final = (r->head[0] & FINAL) != 0;
    if (r->closed)
        return "a WebSocket frame after Close";
    if (r->head[0] & RESERVED)
        return "a WebSocket frame with a reserved bit: no extension was agreed on";
    if (masked != (r->side == WEBSOCKET_OF_CLIENT))
        return masked ? "a server's WebSocket frame with a mask"
                      : "a client's WebSocket frame without a mask";
    switch (opcode) {
    case WEBSOCKET_CONTINUATION:
        return r->in_message ? NULL : "a continuation of no WebSocket message";
    case WEBSOCKET_TEXT:
    case WEBSOCKET_BINARY:
        return r->in_message ? "a WebSocket message inside another" : NULL;
    case WEBSOCKET_CLOSE:
    case WEBSOCKET_PING:
    case WEBSOCKET_PONG:
        return final && length <= WEBSOCKET_CONTROL_MAX
                   ? NULL
                   : "a control frame of a WebSocket in parts or too long";
    default:
        return "a WebSocket frame of a kind that is not known";
    }
}

static const char *read_length(struct websocket_reader *r)
{
    unsigned length = r->head[1] & 0x7fu;
    size_t count = length == 127 ? 8 : length == 126 ? 2 : 0;
    r->left = count > 0 ? 0 : length;
    for (size_t i = 0; i < count; i++)
        r->left = r->left << 8 | r->head[2 + i];
    if ((count == 2 && r->left < 126) || (count == 8 && r->left <= 0xffff))
        return "a length of a WebSocket frame that is longer than it need be";
    return r->left > INT64_MAX ? "a length of a WebSocket frame with its first bit" : NULL;
}

static const char *head_came(struct websocket_reader *r)
{
    const char *fault = read_length(r);
    size_t size = head_size_of(r);
    if (r->side == WEBSOCKET_OF_CLIENT)
        memcpy(r->mask, r->head + size - 4, 4);
    r->mask_at = 0;
    r->final = (r->head[0] & FINAL) != 0;
    r->opcode = (enum websocket_opcode)(r->head[0] & 0x0fu);
    r->control_size = 0;
    r->in_payload = true;
    r->head_size = 0;
    if (r->opcode == WEBSOCKET_TEXT || r->opcode == WEBSOCKET_BINARY) {
        r->message = r->opcode;
        r->in_message = true;
    }
    return fault;
}

/* ---- payloads ---- */

static void unmask(struct websocket_reader *r, uint8_t *bytes, size_t size)
{
    if (r->side != WEBSOCKET_OF_CLIENT)
        return;
    for (size_t i = 0; i < size; i++)
        bytes[i] ^= r->mask[(r->mask_at + i) & 3];
    r->mask_at = (unsigned)((r->mask_at + size) & 3);
}

/* RFC 6455 7.4: codes that may stand in a frame. */
static bool close_valid(const uint8_t *payload, size_t size)
{
    unsigned code = size < 2 ? 0 : (unsigned)payload[0] << 8 | payload[1];
    return size == 0 || (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

static enum websocket_event_kind failed(struct websocket_reader *r, const char *fault,
                                        struct websocket_event *ret)
{
    ret->fault = r->fault = fault;
    return WEBSOCKET_FAULT;
}

static enum websocket_event_kind control_came(struct websocket_reader *r,
                                              struct websocket_event *ret)
{
    r->in_payload = false;
    if (r->opcode == WEBSOCKET_CLOSE) {
        if (!close_valid(r->control, r->control_size))
            return failed(r, "a WebSocket's Close with a code that may not be sent", ret);
        r->closed = true;
    }
    ret->opcode = r->opcode;
    ret->payload = (struct bytes){ r->control, r->control_size };
    return WEBSOCKET_CONTROL;
}

static enum websocket_event_kind read_payload(struct websocket_reader *r, uint8_t *bytes,
                                              size_t size, struct websocket_event *ret,
                                              size_t *ret_used)
{
    size_t take = (size_t)MIN((uint64_t)size, r->left);
    unmask(r, bytes, take);
    r->left -= take;
    *ret_used += take;
    if (r->opcode & CONTROL) {
        memcpy(r->control + r->control_size, bytes, take);
        r->control_size += take;
        return r->left == 0 ? control_came(r, ret) : WEBSOCKET_MORE;
    }
    if (take == 0 && r->left > 0)
        return WEBSOCKET_MORE;
    r->in_payload = r->left > 0;
    ret->opcode = r->message;
    ret->payload = (struct bytes){ bytes, take };
    ret->end = r->left == 0 && r->final;
    if (ret->end)
        r->in_message = false;
    return WEBSOCKET_DATA;
}

enum websocket_event_kind websocket_read(struct websocket_reader *r, uint8_t *bytes, size_t size,
                                         struct websocket_event *ret, size_t *ret_used)
{
    *ret = (struct websocket_event){ 0 };
    *ret_used = 0;
    if (r->fault)
        return failed(r, r->fault, ret);
    while (!r->in_payload) {
        if (r->head_size >= 2 && r->head_size == head_size_of(r)) {
            const char *fault = head_came(r);
            if (fault)
                return failed(r, fault, ret);
            break;
        }
        if (*ret_used == size)
            return WEBSOCKET_MORE;
        r->head[r->head_size++] = bytes[(*ret_used)++];
        const char *fault = r->head_size == 2 ? first_bytes_fault(r) : NULL;
        if (fault)
            return failed(r, fault, ret);
    }
    return read_payload(r, bytes + *ret_used, size - *ret_used, ret, ret_used);
}

/* ---- printing ---- */

void websocket_print(struct buf *out, enum websocket_opcode opcode, bool final,
                     struct bytes payload, const uint8_t *mask)
{
    size_t bytes = payload.size < 126 ? 0 : payload.size <= 0xffff ? 2 : 8;
    unsigned length = bytes == 0 ? (unsigned)payload.size : bytes == 2 ? 126 : 127;
    buf_u8(out, (uint8_t)((final ? FINAL : 0) | (unsigned)opcode));
    buf_u8(out, (uint8_t)((mask ? MASKED : 0) | length));
    for (size_t i = bytes; i > 0; i--)
        buf_u8(out, (uint8_t)((uint64_t)payload.size >> (8 * (i - 1))));
    if (mask)
        buf_append(out, mask, 4);
    size_t at = out->size;
    buf_append(out, payload.data, payload.size);
    if (!mask || buf_status(out) < 0)
        return;
    for (size_t i = 0; i < payload.size; i++)
        out->data[at + i] ^= mask[i & 3];
}

/* ---- the handshake ---- */

bool websocket_key_valid(struct bytes key)
{
    if (key.size != 24 || key.data[22] != '=' || key.data[23] != '=')
        return false;
    for (size_t i = 0; i < 22; i++)
        if (base64_value(key.data[i]) < 0)
            return false;
    return strchr("AQgw", key.data[21]) != NULL; /* 16 bytes leave four bits that are 0 */
}

int websocket_accept(struct bytes key, char ret[static WEBSOCKET_ACCEPT_SIZE + 1])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    uint8_t text[24 + sizeof(guid)], sum[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    if (key.size != 24)
        return -EIO;
    memcpy(text, key.data, key.size);
    memcpy(text + key.size, guid, sizeof(guid) - 1);
    if (EVP_Digest(text, key.size + sizeof(guid) - 1, sum, &size, EVP_sha1(), NULL) != 1 ||
        size != 20)
        return -EIO;
    (void)EVP_EncodeBlock((unsigned char *)ret, sum, (int)size);
    return 0;
}
