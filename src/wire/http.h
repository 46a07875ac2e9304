/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP messages between rooms, whatever version they had outside: worker → egress for what a guest
 * asks, ingress → worker for what it is asked. One protocol, over a link (room/link.h).
 *
 *   asker                                answerer
 *   HTTP_REQUEST x, head            →
 *   HTTP_BODY x, bytes …            →
 *   HTTP_END x, trailers            →
 *                                   ←    HTTP_RESPONSE x, head
 *                                   ←    HTTP_BODY x, bytes …
 *                                   ←    HTTP_END x, trailers
 *   HTTP_WINDOW x, n                ↔    n more body bytes may come in the other direction
 *   HTTP_DISCARD x                  ↔    no more body bytes are wanted: the sender of the body stops,
 *                                        and its direction counts as ended (END is not sent)
 *   HTTP_ABORT x, failure           ↔    the exchange is over, both directions
 *
 * Exchanges are numbered by the asker, from 1, each once in the life of a link. An exchange is over
 * when both directions ended, or one side sent ABORT. A frame about an exchange that is over is
 * ignored; about one that never began it is a fault, and the link is dead.
 * Both directions run at once; a response may end before its request.
 *
 * Back-pressure: each direction of an exchange starts with HTTP_WINDOW_START bytes; a receiver gives
 * more with HTTP_WINDOW as its reader consumes. Whoever sends more than its window has broken the
 * protocol: a fault. So a receiver always takes every frame from the link at once, into memory that
 * is bounded by the windows it gave; a slow exchange never holds up another.
 * With HTTP_EXPECTS_CONTINUE the asker sends no body before the first HTTP_WINDOW (of 0 bytes, too).
 *
 * ABORT from a worker before its RESPONSE: ingress answers with a status of its own.
 *   500  INTERNAL: a trap, a fault, or no answer
 *   504  RESPONSE_TIMEOUT: wall or CPU time was up
 *   503  CONNECTION_LIMIT_REACHED: another limit, every instance taken, or shutting down
 *   else what the guest said itself, see exchange_failure_status()
 * After it: the client sees an answer that is cut short (reset, or no last chunk).
 *
 * Heads are checked on both sides: no receiver believes that names and values are well-formed
 * because the sender is one of ours.
 */
#pragma once

#include "base/buf.h"

#define HTTP_WINDOW_START (64u << 10)
#define HTTP_WINDOW_MAX (1u << 20)      /* outstanding; more is a fault */
#define HTTP_BODY_FRAME_MAX (64u << 10) /* body bytes in one frame */
#define HTTP_FIELDS_MAX 256             /* header fields of one head, and of trailers */
#define HTTP_HEAD_MAX (64u << 10)       /* bytes of one head: target, names and values */
#define HTTP_GRANT_MAX (16u << 10)      /* bytes of the text of a smallest grant */

enum http_frame {
    HTTP_REQUEST = 64, /* u64 exchange, then http_request_put() */
    HTTP_RESPONSE,     /* u64 exchange, then http_response_put() */
    HTTP_BODY,         /* u64 exchange, then bytes to the end of the payload */
    HTTP_END,          /* u64 exchange, then http_fields_put(): trailers */
    HTTP_WINDOW,       /* u64 exchange, u32 bytes */
    HTTP_DISCARD,      /* u64 exchange */
    HTTP_ABORT,        /* u64 exchange, then http_failure_put() */
    HTTP_FRAME_END
};

struct http_field {
    struct bytes name, value; /* names in lower case */
};

enum http_request_flag {
    HTTP_EXPECTS_CONTINUE = 1,
    HTTP_NO_BODY = 2, /* END is implied: none is sent */
    HTTP_SECURE = 4,  /* ingress: it came over TLS; egress: https */
    /* To egress, over a link that may: a WebSocket is asked for (RFC 6455; method GET; neither
     * EXPECTS_CONTINUE nor NO_BODY, because its bytes come as BODY frames). The head's fields about it (Upgrade, Connection) are egress's. Answered with RESPONSE 101, BODY frames then are the
     * bytes of the WebSocket in both directions, END its end; or with any other answer, as usual. */
    HTTP_UPGRADE = 8,
};
#define HTTP_NO_TIMEOUT UINT64_MAX
struct http_request {
    uint32_t flags;                         /* enum http_request_flag */
    struct bytes method, authority, target; /* target: path and query, "*" for OPTIONS */
    struct bytes peer;                      /* ingress: "address:port" of the client; else empty */
    uint64_t connect_timeout_ns, first_byte_timeout_ns, between_bytes_timeout_ns;
    struct http_field *fields; /* the reader's caller gives the array */
    size_t field_count;
};
struct http_response {
    uint16_t status;
    bool no_body; /* END is implied */
    struct http_field *fields;
    size_t field_count;
};

/* wasi:http's error-code, in the order of the WIT (0.2), from 1. */
enum http_error {
    HTTP_OK = 0,
    HTTP_ERROR_DNS_TIMEOUT = 1,
    HTTP_ERROR_DNS,
    HTTP_ERROR_DESTINATION_NOT_FOUND,
    HTTP_ERROR_DESTINATION_UNAVAILABLE,
    HTTP_ERROR_DESTINATION_IP_PROHIBITED,
    HTTP_ERROR_DESTINATION_IP_UNROUTABLE,
    HTTP_ERROR_CONNECTION_REFUSED,
    HTTP_ERROR_CONNECTION_TERMINATED,
    HTTP_ERROR_CONNECTION_TIMEOUT,
    HTTP_ERROR_CONNECTION_READ_TIMEOUT,
    HTTP_ERROR_CONNECTION_WRITE_TIMEOUT,
    HTTP_ERROR_CONNECTION_LIMIT_REACHED,
    HTTP_ERROR_TLS_PROTOCOL,
    HTTP_ERROR_TLS_CERTIFICATE,
    HTTP_ERROR_TLS_ALERT_RECEIVED,
    HTTP_ERROR_REQUEST_DENIED,
    HTTP_ERROR_REQUEST_LENGTH_REQUIRED,
    HTTP_ERROR_REQUEST_BODY_SIZE,
    HTTP_ERROR_REQUEST_METHOD_INVALID,
    HTTP_ERROR_REQUEST_URI_INVALID,
    HTTP_ERROR_REQUEST_URI_TOO_LONG,
    HTTP_ERROR_REQUEST_HEADER_SECTION_SIZE,
    HTTP_ERROR_REQUEST_HEADER_SIZE,
    HTTP_ERROR_REQUEST_TRAILER_SECTION_SIZE,
    HTTP_ERROR_REQUEST_TRAILER_SIZE,
    HTTP_ERROR_RESPONSE_INCOMPLETE,
    HTTP_ERROR_RESPONSE_HEADER_SECTION_SIZE,
    HTTP_ERROR_RESPONSE_HEADER_SIZE,
    HTTP_ERROR_RESPONSE_BODY_SIZE,
    HTTP_ERROR_RESPONSE_TRAILER_SECTION_SIZE,
    HTTP_ERROR_RESPONSE_TRAILER_SIZE,
    HTTP_ERROR_RESPONSE_TRANSFER_CODING,
    HTTP_ERROR_RESPONSE_CONTENT_CODING,
    HTTP_ERROR_RESPONSE_TIMEOUT,
    HTTP_ERROR_UPGRADE_FAILED,
    HTTP_ERROR_PROTOCOL,
    HTTP_ERROR_LOOP_DETECTED,
    HTTP_ERROR_CONFIGURATION,
    HTTP_ERROR_INTERNAL,
    HTTP_ERROR_COUNT
};
const char *http_error_name(enum http_error e); /* "DNS-timeout", … as the WIT spells it */

/* Why an exchange ended early. HTTP_OK: the side that says so no longer wants it. */
struct http_failure {
    enum http_error error;
    uint32_t reason; /* enum grant_reason when error is HTTP_ERROR_REQUEST_DENIED, or prohibited */
    uint32_t rule;   /* nearest rule of the grants, or GRANT_NO_RULE */
    uint64_t number; /* sizes, TLS alert, DNS rcode; UINT64_MAX = none */
    struct bytes text;    /* for a person */
    struct bytes address; /* the address that was refused, as text; else empty */
    struct bytes grant;   /* the smallest grant that would have allowed it, as text; else empty */
};

/* The put functions append to `out` (check buf_status). The get functions read to the end of the
 * payload; slices point into it. `fields` is an array of HTTP_FIELDS_MAX that the caller gives.
 * -EBADMSG: malformed, too many, too large, a method or field that HTTP does not allow
 * (http1_field_valid()), a field name with capitals, an authority over 1024 or target with a space
 * or control character, a target that is neither "/…" nor "*", a status outside 100 to 599. Senders
 * check what a guest gave them first: a payload that is refused ends the link. */
void http_request_put(struct buf *out, const struct http_request *r);
int http_request_get(struct cursor *c, struct http_field *fields, struct http_request *ret,
                     struct error *e) MUST_CHECK;
void http_response_put(struct buf *out, const struct http_response *r);
int http_response_get(struct cursor *c, struct http_field *fields, struct http_response *ret,
                      struct error *e) MUST_CHECK;
void http_fields_put(struct buf *out, const struct http_field *fields, size_t count);
int http_fields_get(struct cursor *c, struct http_field *fields, size_t *ret_count,
                    struct error *e) MUST_CHECK;
void http_failure_put(struct buf *out, const struct http_failure *f);
int http_failure_get(struct cursor *c, struct http_failure *ret, struct error *e) MUST_CHECK;
