/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 on the wire (RFC 9110, 9112), for everything in Ambit that speaks it: strict, streaming,
 * incremental, both directions, knowing nothing of sockets.
 *
 * Strict: what two implementations read differently is rejected, not repaired; the table of reasons
 * is enum http1_fault. How the input was cut into reads never changes what is read.
 *
 * No allocation: the caller holds the bytes that came and were not used yet, contiguous, and gives
 * all of them at each call; slices in a result point into them and are valid until the caller moves
 * them. A head (or trailer section) is given whole, so the caller's buffer must hold `head_max`.
 *
 *     http1_init(&p, HTTP1_REQUEST, &limits);
 *     for (;;) switch (http1_read(&p, held, held_size, &event, &used)) …; held += used
 */
#pragma once

#include "wire/http.h"

enum http1_side { HTTP1_REQUEST, HTTP1_RESPONSE }; /* what is read */

struct http1_limits {
    uint32_t head_max;   /* bytes of start line and fields together; also of a trailer section */
    uint32_t target_max; /* bytes of the request target */
    uint32_t fields_max; /* of head and trailers together; at most HTTP_FIELDS_MAX */
};
extern const struct http1_limits http1_limits_default;

/* Why a message is rejected; X(name, status to answer a request with, text for a person). */
#define HTTP1_FAULTS(X)                                                                   \
    X(START_LINE, 400, "the first line is not one of HTTP/1.1")                           \
    X(METHOD, 400, "the method is not a token")                                           \
    X(TARGET, 400, "the request target has a form or a character that is not allowed")    \
    X(TARGET_TOO_LONG, 414, "the request target is too long")                             \
    X(VERSION, 505, "the version is not HTTP/1.0 or HTTP/1.1")                            \
    X(STATUS, 502, "the status is not three digits from 100 to 599")                      \
    X(BARE_LF, 400, "a line ends with a bare LF")                                         \
    X(BARE_CR, 400, "a CR that no LF follows")                                            \
    X(FIELD_NAME, 400, "a field name is empty or no token")                               \
    X(SPACE_BEFORE_COLON, 400, "a space before the colon of a field")                     \
    X(FOLDED, 400, "a field value is folded over lines")                                  \
    X(FIELD_VALUE, 400, "a field value holds a control character, or a tab around it")    \
    X(HEAD_TOO_LONG, 431, "the header section is too long")                               \
    X(TOO_MANY_FIELDS, 431, "too many header fields")                                     \
    X(HOST_MISSING, 400, "HTTP/1.1 without a Host field")                                 \
    X(HOST_TWICE, 400, "more than one Host field")                                        \
    X(HOST_DIFFERS, 400, "Host and the request target name different hosts")              \
    X(HOST_MALFORMED, 400, "the Host field is not a host and port")                       \
    X(LENGTH_MALFORMED, 400, "Content-Length is not a number")                            \
    X(LENGTH_TWICE, 400, "more than one Content-Length")                                  \
    X(LENGTH_AND_CODING, 400, "Content-Length beside Transfer-Encoding")                  \
    X(CODING, 501, "a transfer coding other than a single chunked")                       \
    X(CODING_IN_1_0, 400, "Transfer-Encoding in HTTP/1.0")                                \
    X(CHUNK_SIZE, 400, "a chunk size is not a hexadecimal number")                        \
    X(CHUNK_EXTENSION, 400, "chunk extensions that are malformed or longer than allowed") \
    X(CHUNK_END, 400, "a chunk does not end where its size says")                         \
    X(TRAILER_NAME, 400, "a trailer field that is not allowed in a trailer")              \
    X(BODY_CUT, 400, "the connection ended within a message")
#define HTTP1_FAULT_ENUM(name, status, text) HTTP1_FAULT_##name,
enum http1_fault { HTTP1_NO_FAULT, HTTP1_FAULTS(HTTP1_FAULT_ENUM) HTTP1_FAULT_COUNT };
const char *http1_fault_name(enum http1_fault f);
const char *http1_fault_text(enum http1_fault f);
uint16_t http1_fault_status(enum http1_fault f);

enum http1_framing {
    HTTP1_NONE,   /* no body */
    HTTP1_LENGTH, /* content_length bytes */
    HTTP1_CHUNKED,
    HTTP1_UNTIL_CLOSE /* a response without either */
};
struct http1_head {
    struct bytes method, target; /* requests; target is origin-form, "*", authority-form of CONNECT,
                                    or absolute-form, which is split: see `authority`, `path` */
    struct bytes authority;      /* of the absolute-form target, else of Host; "" in HTTP/1.0 */
    struct bytes scheme;         /* of the absolute-form, else "" */
    struct bytes path;           /* path and query of the target */
    uint16_t status;             /* responses */
    struct bytes reason;
    uint8_t minor; /* 0 or 1 */
    enum http1_framing framing;
    uint64_t content_length; /* with HTTP1_LENGTH */
    bool keep_alive;      /* what version and Connection say together; when false the caller reads
                                no next head, whatever else has come */
    bool expect_continue; /* 100-continue */
    bool upgrade;         /* Connection: upgrade with Upgrade; never done, only told */
    /* All fields, in order, names as they came. Those about the connection (Connection,
     * Keep-Alive, Proxy-Connection, TE, Transfer-Encoding, Upgrade, and what Connection names) are
     * marked, so that they are not passed on. */
    struct http_field *fields;
    size_t field_count;
    bool hop_by_hop[HTTP_FIELDS_MAX];
};

enum http1_event_kind {
    HTTP1_MORE, /* more bytes are needed */
    HTTP1_HEAD, /* the head is whole */
    HTTP1_DATA, /* body bytes */
    HTTP1_DONE, /* the message is whole; trailers in `fields`; the next head may follow */
    HTTP1_FAULT /* rejected; sticky */
};
struct http1_event {
    struct bytes data;         /* HTTP1_DATA */
    struct http1_head *head;   /* HTTP1_HEAD: the parser's own, until the next head */
    struct http_field *fields; /* HTTP1_DONE: trailers */
    size_t field_count;
    enum http1_fault fault; /* HTTP1_FAULT */
};

struct http1_parser {
    enum http1_side side;
    struct http1_limits limits;
    unsigned state;
    enum http1_fault fault;
    const uint8_t *base; /* where the section that `line` and `scanned` count in began last time */
    size_t line,
        scanned;         /* lines before `line` are read; bytes before `scanned` hold no other LF */
    uint64_t left;       /* of the body, or of the chunk */
    uint32_t overhead;   /* bytes of chunk extensions that data have not paid for */
    bool answer_to_head; /* responses: the request was HEAD */
    bool answer_to_connect;
    bool skipped;                 /* one empty line before the head */
    uint16_t seen;                /* which fields that matter to framing were there */
    uint16_t host, trailer_count; /* index of Host; trailers stand behind the head's fields */
    struct http1_head head;
    struct http_field fields[HTTP_FIELDS_MAX];
};

/* A parser at the start of the first message. `limits` are copied; NULL: the defaults. */
void http1_init(struct http1_parser *p, enum http1_side side, const struct http1_limits *limits);
/* Responses: what the request was decides whether there is a body (HEAD; 2xx of CONNECT). */
void http1_expect(struct http1_parser *p, struct bytes method);
/* Reads one event from the start of `bytes`; `ret_used` of them are done with (also with MORE: body
 * bytes are given as they come, a head only when it is whole). Never looks at a byte twice. */
enum http1_event_kind http1_read(struct http1_parser *p, const uint8_t *bytes, size_t size,
                                 struct http1_event *ret, size_t *ret_used);
/* The connection ended: HTTP1_DONE where that ends the message (or none had begun: `ret->head` is
 * NULL), else HTTP1_FAULT_BODY_CUT. */
enum http1_event_kind http1_end(struct http1_parser *p, struct http1_event *ret);

/* Printing. What was read prints to what reads the same. Names and values must be valid. */
void http1_print_request(struct buf *out, struct bytes method, struct bytes target,
                         const struct http_field *fields,
                         size_t count); /* head with its empty line */
void http1_print_response(struct buf *out, uint16_t status, const struct http_field *fields,
                          size_t count);
void http1_print_chunk(struct buf *out, struct bytes data);  /* nothing for no bytes */
void http1_print_chunk_head(struct buf *out, uint64_t size); /* for bytes sent by themselves … */
void http1_print_chunk_tail(struct buf *out);                /* … and then this */
void http1_print_last_chunk(struct buf *out, const struct http_field *trailers, size_t count);
const char *http1_reason(uint16_t status); /* "Not Found"; "" when unknown */

/* RFC 9110: a token; a field value (visible ASCII, SP, HTAB, obs-text; no leading or trailing
 * space). */
bool http1_token_valid(struct bytes name);
bool http1_value_valid(struct bytes value);
static inline bool http1_field_valid(const struct http_field *f)
{
    return http1_token_valid(f->name) && http1_value_valid(f->value);
}
/* `name`, in lower case, is `known`, or differs only by `_` for `-`: servers that hand headers on as
 * variables (CGI, WSGI, PHP) make one name of both. */
bool http1_name_alike(struct bytes name, const char *known);
/* Is the field about the connection that it came on, and ends with it (RFC 9110 7.6.1)? Those that HTTP/2 refuses
 * (RFC 9113 8.2.2), and TE. What else a place takes for its own it adds itself. In any case, `_` for `-` too. */
bool http1_name_of_connection(struct bytes name);
/* May it stand in a trailer section (RFC 9110 6.5.1)? */
bool http1_trailer_allowed(struct bytes name);
/* What a request line and a Host field may hold; also asked of HTTP/2. */
bool http1_path_valid(struct bytes path); /* origin-form or "*" */
bool http1_host_valid(struct bytes host);
/* ASCII only, whatever the locale. */
bool bytes_equal_fold(struct bytes a, const char *lower);
