/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One WebSocket (RFC 6455), from the request that asks for it to the second Close.
 *
 * curl makes the connection (addresses, TLS, looks at what is dialled as for any request: transfer.c)
 * and hands it over; what goes over it is ours. The request head is printed with the strict codec,
 * the answer read with it. 101 must be an answer to this very request; any other answer goes the way
 * of usual ones.
 *
 * Then nothing passes that is not a frame. Both directions are read frame by frame and printed
 * anew: the client chooses none of the bytes that the origin's side sees on the wire (masks are
 * ours), extensions are never agreed on, so nothing is packed, and secrets are masked in each message
 * as it streams. A message's bytes are kept until there are FRAME_MAX of them or it ends.
 */
#include <curl/curl.h>
#include <string.h>
#include <sys/epoll.h>
#include <openssl/rand.h>

#include "egress/parts.h"
#include "wire/http1.h"
#include "wire/websocket.h"

#define CHUNK (16u << 10)
#define FRAME_OUT (16u << 10)   /* bytes of one frame that is printed, but for what is held back */
#define PENDING_MAX (64u << 10) /* bytes that wait for one side before the other is read on */

enum websocket_state {
    STATE_CONNECTING,
    STATE_HEAD,
    STATE_BODY, /* another answer than 101 */
    STATE_OPEN,
    STATE_ENDED
};
struct direction {
    struct websocket_reader reader;
    struct buf message; /* read and not printed yet */
    bool begun;         /* a frame of it was printed */
};
struct websocket {
    enum websocket_state state;
    int fd;
    uint32_t events; /* that are watched */
    bool write_blocked, head_waits;
    char accept[WEBSOCKET_ACCEPT_SIZE + 1];
    struct http1_parser parser;
    struct buf from, to; /* the origin's bytes that were not read yet; those that go to it */
    size_t from_at, to_at;
    struct direction up, down;
};

/* ---- begin and end ---- */

static const struct http_field *only_field(const struct http_field *fields, size_t count,
                                           const char *name)
{
    const struct http_field *found = NULL;
    for (size_t i = 0; i < count; i++) {
        if (!bytes_equal_fold(fields[i].name, name))
            continue;
        if (found)
            return NULL;
        found = &fields[i];
    }
    return found;
}

static const struct http_field *asked(const struct outgoing *x, const char *name)
{
    return only_field(x->request.fields, x->request.field_count, name);
}

int websocket_new(struct outgoing *x)
{
    struct websocket *w = x->websocket = mem_zalloc(sizeof(*w));
    if (!w)
        return -ENOMEM;
    w->fd = -1;
    w->from.max = HTTP_HEAD_MAX + 2 * CHUNK;
    w->to.max = w->up.message.max = w->down.message.max = 4 * PENDING_MAX;
    websocket_reader_init(&w->up.reader, WEBSOCKET_OF_CLIENT);
    websocket_reader_init(&w->down.reader, WEBSOCKET_OF_SERVER);
    http1_init(&w->parser, HTTP1_RESPONSE, NULL);
    http1_expect(&w->parser, x->request.method);
    return 0;
}

const char *websocket_fault(const struct outgoing *x)
{
    const struct http_field *key = asked(x, "sec-websocket-key");
    const struct http_field *version = asked(x, "sec-websocket-version");
    if (!key || !websocket_key_valid(key->value))
        return "Sec-WebSocket-Key is not 16 bytes in base64, once";
    if (!version || !bytes_are(version->value, "13"))
        return "Sec-WebSocket-Version is not 13";
    return NULL;
}

void websocket_stop(struct outgoing *x)
{
    struct websocket *w = x->websocket;
    if (!w)
        return;
    if (w->fd >= 0) /* curl closes it */
        (void)!poller_set(&x->peer->room->poller, w->fd, WATCH_NONE, NULL, 0);
    w->fd = -1;
    w->state = STATE_ENDED;
    if (w->to.data)
        mem_wipe(w->to.data, w->to.capacity);
    buf_done(&w->to);
}

void websocket_free(struct outgoing *x)
{
    struct websocket *w = x->websocket;
    if (!w)
        return;
    websocket_stop(x);
    buf_done(&w->from);
    buf_done(&w->up.message);
    buf_done(&w->down.message);
    mem_free(w);
    x->websocket = NULL;
}

static void fail(struct outgoing *x, enum http_error error, const char *text)
{
    outgoing_fail(x, error, text);
}

static void alive(struct outgoing *x)
{
    outgoing_idle(x, x->request.between_bytes_timeout_ns, HTTP_ERROR_CONNECTION_READ_TIMEOUT);
}

/* ---- the request's head ---- */

/* What a line of curl's list says; false: that curl is to leave a header of its own out. */
static bool field_of(const char *line, struct http_field *ret)
{
    const char *colon = strchr(line, ':');
    size_t size = strlen(line);
    if (!colon) { /* "name;" */
        *ret = (struct http_field){ { (const uint8_t *)line, size - 1 }, bytes_of("") };
        return size > 1;
    }
    *ret = (struct http_field){ { (const uint8_t *)line, (size_t)(colon - line) },
                                bytes_of(colon[1] == ' ' ? colon + 2 : colon + 1) };
    return colon[1] != '\0';
}

/* Those of the handshake are said here: the key as the client chose it, no extension. */
static bool is_of_handshake(struct bytes name)
{
    return http1_name_alike(name, "sec-websocket-key") ||
           http1_name_alike(name, "sec-websocket-version") ||
           http1_name_alike(name, "sec-websocket-extensions");
}

static size_t head_fields(const struct outgoing *x, struct bytes authority,
                          struct http_field *fields, size_t *ret_size)
{
    size_t count = 0;
    const struct http_field *key = asked(x, "sec-websocket-key");
    fields[count++] = (struct http_field){ bytes_of("Host"), authority };
    fields[count++] = (struct http_field){ bytes_of("Upgrade"), bytes_of("websocket") };
    fields[count++] = (struct http_field){ bytes_of("Connection"), bytes_of("Upgrade") };
    fields[count++] = (struct http_field){ bytes_of("Sec-WebSocket-Key"), key->value };
    fields[count++] = (struct http_field){ bytes_of("Sec-WebSocket-Version"), bytes_of("13") };
    for (const struct curl_slist *l = x->headers; l; l = l->next)
        if (field_of(l->data, &fields[count]) && !is_of_handshake(fields[count].name))
            count++;
    for (size_t i = 0; i < count; i++)
        *ret_size += fields[i].name.size + fields[i].value.size + 4;
    return count;
}

static size_t count_lines(const struct curl_slist *l)
{
    size_t count = 0;
    for (; l; l = l->next)
        count++;
    return count;
}

/* The head may hold a secret: memory of its size from the start, so that none is left behind where
 * it grew, and wiped when it went out. */
static int put_head(struct outgoing *x)
{
    struct websocket *w = x->websocket;
    CLEANUP(buf_done) struct buf authority = BUF_INIT(1024);
    CLEANUP(mem_freep)
    struct http_field *fields = mem_array(count_lines(x->headers) + 8, sizeof(*fields));
    url_authority(&x->url, &authority);
    if (!fields || buf_status(&authority) < 0)
        return -ENOMEM;
    size_t size = x->url.target.size + 64;
    size_t count = head_fields(x, (struct bytes){ authority.data, authority.size }, fields, &size);
    struct buf head = { .data = mem_alloc(size), .capacity = size, .max = size };
    if (!head.data)
        return -ENOMEM;
    struct bytes target = { x->url.target.data, x->url.target.size };
    http1_print_request(&head, x->request.method, target, fields, count);
    buf_done(&w->to);
    w->to = head;
    w->head_waits = true;
    return buf_status(&head);
}

/* curl is done: the connection is there. Called while it works: nothing is taken from it here. */
void websocket_connected(struct outgoing *x)
{
    struct websocket *w = x->websocket;
    curl_socket_t fd = CURL_SOCKET_BAD;
    const struct http_field *key = asked(x, "sec-websocket-key");
    if (curl_easy_getinfo(x->easy, CURLINFO_ACTIVESOCKET, &fd) != CURLE_OK ||
        fd == CURL_SOCKET_BAD || websocket_accept(key->value, w->accept) < 0 || put_head(x) < 0) {
        fail(x, HTTP_ERROR_INTERNAL, "the WebSocket's connection cannot be used");
        return;
    }
    w->state = STATE_HEAD;
    w->events = EPOLLIN | EPOLLOUT;
    if (poller_set(&x->peer->room->poller, fd, WATCH_WEBSOCKET, x, w->events) < 0)
        fail(x, HTTP_ERROR_CONNECTION_LIMIT_REACHED, "too many connections at once");
    else
        w->fd = fd;
    outgoing_idle(x, x->request.first_byte_timeout_ns, HTTP_ERROR_CONNECTION_READ_TIMEOUT);
}

/* ---- the answer's head ---- */

static bool names_protocol(struct bytes offered, struct bytes protocol)
{
    const uint8_t *at = offered.data, *end = at + offered.size;
    while (at < end) {
        const uint8_t *comma = memchr(at, ',', (size_t)(end - at));
        const uint8_t *from = at, *to = comma ? comma : end;
        while (from < to && (*from == ' ' || *from == '\t'))
            from++;
        while (from < to && (to[-1] == ' ' || to[-1] == '\t'))
            to--;
        if (bytes_equal((struct bytes){ from, (size_t)(to - from) }, protocol))
            return true;
        at = comma ? comma + 1 : end;
    }
    return false;
}

static bool was_offered(const struct outgoing *x, struct bytes protocol)
{
    for (size_t i = 0; i < x->request.field_count; i++)
        if (bytes_are(x->request.fields[i].name, "sec-websocket-protocol") &&
            names_protocol(x->request.fields[i].value, protocol))
            return true;
    return false;
}

/* Is this 101 an answer to what was asked? NULL, or why not. */
static const char *upgrade_fault(const struct outgoing *x, const struct http1_head *h)
{
    const struct http_field *upgrade = only_field(h->fields, h->field_count, "upgrade");
    const struct http_field *sum = only_field(h->fields, h->field_count, "sec-websocket-accept");
    if (!h->upgrade || !upgrade || !bytes_equal_fold(upgrade->value, "websocket"))
        return "the answer changes to another protocol than WebSocket";
    if (!sum || !bytes_are(sum->value, x->websocket->accept))
        return "Sec-WebSocket-Accept is no answer to the key";
    unsigned protocols = 0;
    for (size_t i = 0; i < h->field_count; i++) {
        struct bytes name = h->fields[i].name;
        if (bytes_equal_fold(name, "sec-websocket-extensions"))
            return "the answer agrees to a WebSocket extension that was not offered";
        if (bytes_equal_fold(name, "content-encoding"))
            return "the answer 101 has a content coding";
        if (bytes_equal_fold(name, "sec-websocket-protocol") &&
            (++protocols > 1 || !was_offered(x, h->fields[i].value)))
            return "the answer agrees to a WebSocket protocol that was not offered";
    }
    return NULL;
}

/* The lines as response.c wants them. False: the exchange has failed. */
static bool give_lines(struct outgoing *x, struct bytes head)
{
    const uint8_t *at = head.data, *end = at + head.size;
    while (at < end) {
        const uint8_t *lf = memchr(at, '\n', (size_t)(end - at));
        const uint8_t *next = lf ? lf + 1 : end;
        if (!response_line(x, (struct bytes){ at, (size_t)(next - at) }))
            return false;
        at = next;
    }
    return true;
}

static void head_came(struct outgoing *x, const struct http1_head *h, struct bytes raw)
{
    struct websocket *w = x->websocket;
    const char *fault = h->status == 101 ? upgrade_fault(x, h) : NULL;
    if (fault) {
        fail(x, HTTP_ERROR_UPGRADE_FAILED, fault);
        return;
    }
    if (!give_lines(x, raw))
        return;
    if (h->status == 101)
        w->state = STATE_OPEN;
    else if (h->status >= 200)
        w->state = STATE_BODY;
    alive(x);
    peer_say(x);
}

/* 1: go on; 0: more is wanted, or all is over. */
static int read_answer(struct outgoing *x)
{
    struct websocket *w = x->websocket;
    struct http1_event event;
    size_t used;
    const uint8_t *at = w->from.data + w->from_at;
    if (w->state == STATE_BODY && !x->out_discarded && x->out.bytes.size > 0) {
        x->write_paused = true;
        x->idle_ns = NEVER; /* it is the reader that is slow */
        return 0;
    }
    enum http1_event_kind kind =
        http1_read(&w->parser, at, w->from.size - w->from_at, &event, &used);
    switch (kind) {
    case HTTP1_MORE:
        w->from_at += used;
        return 0;
    case HTTP1_HEAD:
        w->from_at += used;
        head_came(x, event.head, (struct bytes){ at, used });
        return !x->failed;
    case HTTP1_DATA:
        w->from_at += used;
        return transfer_body(x, event.data);
    case HTTP1_DONE:
        w->from_at += used;
        if (w->state != STATE_BODY)
            return 1; /* an interim answer */
        transfer_ended(x);
        return 0;
    case HTTP1_FAULT:
    default:
        fail(x, HTTP_ERROR_PROTOCOL, http1_fault_text(event.fault));
        return 0;
    }
}

/* ---- secrets ---- */

static void secrets_up(struct outgoing *x, const struct websocket_event *event, struct buf *out)
{
    placeholders_in_body(x, event->payload, out);
    if (event->end)
        placeholders_at_end(x, out);
}

/* A message is one text: what is held back of it goes at its end. */
static void secrets_down(struct outgoing *x, const struct websocket_event *event, struct buf *out)
{
    struct bytes b = event->payload;
    while (b.size > 0 && !x->failed) {
        size_t taken = answer_body(x, b, out);
        b = (struct bytes){ b.data + taken, b.size - taken };
    }
    if (event->end)
        answer_unit(x, out);
}

static bool secrets_control_up(struct outgoing *x, struct bytes payload)
{
    return !placeholders_in_text(x, payload);
}

/* ---- frames ---- */

#ifdef AMBIT_TEST_HOOKS
#define FRAMES_PASS(x) (((x)->peer->room->skip & EGRESS_SKIP_FRAMES) != 0)
#else
#define FRAMES_PASS(x) false
#endif

/* A frame towards the origin has a mask that nobody could know before. */
static bool print_frame(struct outgoing *x, bool up, enum websocket_opcode opcode, bool final,
                        struct bytes payload)
{
    uint8_t mask[4];
    struct buf *out = up ? &x->websocket->to : &x->out.bytes;
    if (up && RAND_bytes(mask, sizeof(mask)) != 1) {
        fail(x, HTTP_ERROR_INTERNAL, "no randomness for a mask");
        return false;
    }
    websocket_print(out, opcode, final, payload, up ? mask : NULL);
    if (buf_status(out) < 0)
        fail(x, HTTP_ERROR_INTERNAL, "no memory for a WebSocket's frame");
    return !x->failed;
}

/* Bytes of a message that were read: printed when there are enough, or it ends. */
static bool message_came(struct outgoing *x, bool up, const struct websocket_event *event)
{
    struct direction *d = up ? &x->websocket->up : &x->websocket->down;
    if (up)
        secrets_up(x, event, &d->message);
    else
        secrets_down(x, event, &d->message);
    if (buf_status(&d->message) < 0)
        fail(x, HTTP_ERROR_INTERNAL, "no memory for a WebSocket's message");
    if (x->failed || (!event->end && d->message.size < FRAME_OUT))
        return !x->failed;
    enum websocket_opcode opcode = d->begun ? WEBSOCKET_CONTINUATION : event->opcode;
    bool fine =
        print_frame(x, up, opcode, event->end, (struct bytes){ d->message.data, d->message.size });
    d->begun = !event->end;
    buf_clear(&d->message);
    return fine;
}

static bool control_came(struct outgoing *x, bool up, const struct websocket_event *event)
{
    uint8_t text[WEBSOCKET_CONTROL_MAX];
    memcpy(text, event->payload.data, event->payload.size);
    struct bytes payload = { text, event->payload.size };
    if (up && !secrets_control_up(x, payload))
        return false;
    if (!up)
        answer_text(x, text, payload.size);
    return print_frame(x, up, event->opcode, true, payload);
}

/* Reads frames from one side's bytes, which it may spoil, and prints them for the other. */
static void frames_came(struct outgoing *x, bool up, uint8_t *bytes, size_t size)
{
    struct websocket_reader *r = up ? &x->websocket->up.reader : &x->websocket->down.reader;
    struct websocket_event event;
    size_t used;
    if (FRAMES_PASS(x)) {
        buf_append(up ? &x->websocket->to : &x->out.bytes, bytes, size);
        return;
    }
    for (size_t at = 0; !x->failed; at += used) {
        switch (websocket_read(r, bytes + at, size - at, &event, &used)) {
        case WEBSOCKET_DATA:
            (void)message_came(x, up, &event);
            break;
        case WEBSOCKET_CONTROL:
            (void)control_came(x, up, &event);
            break;
        case WEBSOCKET_FAULT:
            fail(x, HTTP_ERROR_PROTOCOL, event.fault);
            return;
        case WEBSOCKET_MORE:
            return;
        }
    }
}

/* ---- both ways ---- */

/* What came from the origin, as far as it can be used. */
static void use_received(struct outgoing *x)
{
    struct websocket *w = x->websocket;
    while (!x->failed && (w->state == STATE_HEAD || w->state == STATE_BODY))
        if (read_answer(x) == 0) /* the end of a message needs no byte */
            break;
    if (w->state == STATE_OPEN && !x->failed && w->from_at < w->from.size) {
        size_t size = w->from.size - w->from_at;
        if (transfer_fits(x, size)) {
            x->bytes_received += size;
            x->peer->room->counters[x->rule].bytes_received += size;
            frames_came(x, false, w->from.data + w->from_at, size);
        }
        w->from_at = w->from.size;
        if (!x->failed)
            peer_say(x);
    }
    if (w->from_at > 0 && w->from.data) {
        memmove(w->from.data, w->from.data + w->from_at, w->from.size - w->from_at);
        w->from.size -= w->from_at;
        w->from_at = 0;
    }
}

/* A message that has no end stays here. */
static void closed(struct outgoing *x)
{
    if (x->injected)
        x->injected->body_over = true;
    transfer_ended(x);
}

/* The origin sends no more. */
static void origin_ended(struct outgoing *x, CURLcode code)
{
    struct websocket *w = x->websocket;
    struct http1_event event;
    switch (w->state) {
    case STATE_OPEN:
        if (w->down.reader.closed)
            closed(x);
        else
            fail(x, HTTP_ERROR_RESPONSE_INCOMPLETE, "the origin ended the WebSocket without Close");
        return;
    case STATE_BODY:
        if (code == CURLE_OK && http1_end(&w->parser, &event) == HTTP1_DONE)
            transfer_ended(x);
        else
            fail(x, HTTP_ERROR_RESPONSE_INCOMPLETE, "the answer ended before its end");
        return;
    default:
        fail(x, HTTP_ERROR_CONNECTION_TERMINATED,
             "the origin closed the connection without an answer");
    }
}

/* True: something came. */
static bool receive(struct outgoing *x)
{
    struct websocket *w = x->websocket;
    uint8_t bytes[CHUNK];
    size_t size = 0;
    if (x->failed || w->fd < 0 || x->write_paused || x->out.bytes.size - x->out.at >= PENDING_MAX)
        return false;
    CURLcode code = curl_easy_recv(x->easy, bytes, sizeof(bytes), &size);
    if (code == CURLE_AGAIN)
        return false;
    if (code != CURLE_OK || size == 0) {
        origin_ended(x, code);
        return false;
    }
    if (w->state != STATE_HEAD)
        alive(x);
    buf_append(&w->from, bytes, size);
    if (buf_status(&w->from) < 0)
        fail(x, HTTP_ERROR_RESPONSE_HEADER_SECTION_SIZE, "the answer's head is too long");
    use_received(x);
    return !x->failed;
}

/* True: something went. */
static bool send_pending(struct outgoing *x)
{
    struct websocket *w = x->websocket;
    bool went = false;
    while (!x->failed && w->fd >= 0 && w->to_at < w->to.size) {
        size_t size = 0;
        CURLcode code = curl_easy_send(x->easy, w->to.data + w->to_at,
                                       MIN(w->to.size - w->to_at, (size_t)CHUNK), &size);
        w->write_blocked = code == CURLE_AGAIN;
        if (w->write_blocked)
            return went;
        if (code != CURLE_OK) {
            fail(x, HTTP_ERROR_CONNECTION_TERMINATED, "the origin closed the connection");
            return false;
        }
        w->to_at += size;
        went = true;
        if (!w->head_waits) {
            alive(x);
            x->bytes_sent += size;
            x->peer->room->counters[x->rule].bytes_sent += size;
        }
    }
    if (went && w->to_at == w->to.size) {
        if (w->head_waits) { /* what held a secret */
            mem_wipe(w->to.data, w->to.capacity);
            buf_done(&w->to);
            w->to.max = 4 * PENDING_MAX;
        }
        w->head_waits = false;
        buf_clear(&w->to);
        w->to_at = 0;
    }
    return went;
}

/* What the client sent, as far as there is room towards the origin. True: something was taken. */
static bool take_sent(struct outgoing *x)
{
    struct websocket *w = x->websocket;
    struct body_queue *q = &x->in;
    size_t size = MIN(q->bytes.size - q->at, (size_t)CHUNK);
    if (x->failed || w->state != STATE_OPEN || size == 0 || w->to.size - w->to_at >= PENDING_MAX)
        return false;
    frames_came(x, true, q->bytes.data + q->at, size);
    q->at += size;
    x->in_owed += (uint32_t)size;
    alive(x);
    if (!x->failed)
        peer_say(x);
    return !x->failed;
}

static void watch(struct outgoing *x)
{
    struct websocket *w = x->websocket;
    bool reads = !x->write_paused && x->out.bytes.size - x->out.at < PENDING_MAX;
    uint32_t events = (reads ? EPOLLIN : 0u) | (w->write_blocked ? EPOLLOUT : 0u);
    if (w->fd < 0 || events == w->events)
        return;
    w->events = events;
    if (poller_set(&x->peer->room->poller, w->fd, WATCH_WEBSOCKET, x, events) < 0)
        fail(x, HTTP_ERROR_INTERNAL, "a WebSocket cannot be watched");
}

/* Is all said that will be? */
static void look_for_end(struct outgoing *x)
{
    struct websocket *w = x->websocket;
    if (w->state != STATE_OPEN || x->failed)
        return;
    if (x->out_discarded)
        fail(x, HTTP_ERROR_CONNECTION_TERMINATED, "the client reads no more of the WebSocket");
    else if (x->in_ended && x->in.at == x->in.bytes.size && !w->up.reader.closed)
        fail(x, HTTP_ERROR_CONNECTION_TERMINATED, "the client ended the WebSocket without Close");
    else if (w->up.reader.closed && w->down.reader.closed && w->to.size == 0)
        closed(x);
}

void websocket_turn(struct outgoing *x)
{
    struct websocket *w = x->websocket;
    bool more = w->fd >= 0;
    if (more && w->from.size > w->from_at)
        use_received(x); /* what waited for its reader */
    while (more && !x->failed && w->fd >= 0) {
        more = send_pending(x);
        more |= receive(x);
        more |= take_sent(x);
    }
    look_for_end(x);
    if (!x->failed)
        watch(x);
}
