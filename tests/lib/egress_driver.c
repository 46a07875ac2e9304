/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker that does what it is told: starts a real egress room through control's API, speaks the
 * frames of wire/http.h over a real link, and prints what came back. For tests in Python, which
 * bring the origins.
 *
 *   egress_driver GRANTS.json [ca=FILE] [resolver=ADDR:PORT] [skip=BITS] [listen=ADDR:PORT]
 *                 [probe=LINES] [keeper] (one is played) [placeholders=JSON] [explains] (the link is one of a native client)
 *
 * Standard input: one JSON object a line; one line of JSON is answered to each.
 *   { "method", "url", "headers": [[name, value]…], "body": text, "repeat": n (the body n times),
 *     "length": bool, "trailers": [[…]…], "times": n (the same request n times at once),
 *     "connect_ms", "first_ms", "between_ms", "no_end": bool, "abort_after": bytes of response,
 *     "window": false (give none back), "seconds": how long to wait, "least": bytes of each response that have
 *     to come before that time begins,
 *     "upgrade": true (a WebSocket is asked for), "hex": as "body", in hexadecimal }
 *     → [ { "status", "headers", "size", "body" and "hex" (its start), "trailers", "taken" (request bytes that
 *         were given window), "error", "reason", "rule", "number", "text", "address", "grant", "discarded" } … ]
 *   { "do": "kill" (spoil: the memory of the next link) | "revoke" | "records" | "uses" | "turn" | "raw" (kind,
 *     payload in hex) | "flood" (count, host: requests for so many names, given up at once) | "grant" (grants:
 *     a set of one, added to the room) | "keeper" (what it answers from now on: "values": [[name, value, is a header,
 *     scrub]…], or "refuse": text, or "silent": true; "again": over a new channel) | "asks" (what it was told) |
 *     "swap" (be the other of two workers, each with a link of its own), … }
 */
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "control/egress.h"
#include "egress/egress.h"
#include "room/channel.h"
#include "room/link_layout.h"
#include "room/spawn.h"
#include "egress_driver.h"

void driver_die(const char *what, const struct error *e)
{
    fprintf(stderr, "egress_driver: %s: %s\n", what, e ? e->what : "");
    _exit(2);
}

json_t *driver_text(struct bytes b)
{
    return json_string_lossy((const char *)b.data, b.size);
}

/* ---- observers ---- */

static int on_relinked(void *context, uint32_t owner, const int fds[static LINK_FDS],
                       struct error *e)
{
    struct driver *d = context;
    int own[LINK_FDS];
    for (int i = 0; i < LINK_FDS; i++)
        own[i] = dup(fds[i]);
    link_free(d->link);
    d->last_id = 0;
    d->dead = false;
    d->relinked = true;
    int status = link_open(own, &d->link, e);
    if (status == 0 && d->spoil) {
        static const uint8_t junk[LINK_PAGE_SIZE] = { [0 ... LINK_PAGE_SIZE - 1] = 0xff };
        if (pwrite(fds[0], junk, sizeof(junk), 0) != sizeof(junk))
            driver_die("spoiling a link", NULL);
        d->dead = true;
    }
    return status;
}

static int on_request(void *context, const struct egress_request *r, struct error *e)
{
    struct driver *d = context;
    json_t *j =
        json_pack("{s:s, s:I, s:i, s:o, s:o, s:o}", "event", "request", "number",
                  (json_int_t)r->number, "rule", (int)r->rule, "method", driver_text(r->method),
                  "url", driver_text(r->url), "address", driver_text(r->address));
    json_array_append_new(d->records, j);
    d->requests_told++;
    return 0;
}

static int on_response(void *context, const struct egress_response *r, struct error *e)
{
    struct driver *d = context;
    json_t *j = json_pack(
        "{s:s, s:I, s:i, s:i, s:i, s:I, s:I, s:i, s:s, s:o}", "event", "response", "number",
        (json_int_t)r->number, "rule", (int)r->rule, "status", (int)r->status, "version",
        (int)r->version, "sent", (json_int_t)r->bytes_sent, "received",
        (json_int_t)r->bytes_received, "masked", (int)r->masked, "error",
        r->error ? http_error_name((enum http_error)r->error) : "", "text", driver_text(r->text));
    json_array_append_new(d->records, j);
    d->responses_told++;
    return 0;
}

static int on_denied(void *context, const struct egress_denied *r, struct error *e)
{
    struct driver *d = context;
    json_array_append_new(d->records,
                          json_pack("{s:s, s:i, s:s, s:o, s:o, s:o, s:o}", "event", "denied",
                                    "rule", r->rule == GRANT_NO_RULE ? -1 : (int)r->rule, "reason",
                                    grant_reason_text((enum grant_reason)r->reason), "method",
                                    driver_text(r->method), "url", driver_text(r->url), "text",
                                    driver_text(r->text), "grant", driver_text(r->grant)));
    return 0;
}

static int on_ready(void *context, uint32_t missing, struct error *e)
{
    ((struct driver *)context)->ready = true;
    return 0;
}

static int on_died(void *context, const char *why, struct error *e)
{
    struct driver *d = context;
    d->ready = false;
    json_array_append_new(d->deaths, json_string(why));
    d->requests_told = d->responses_told = d->left_open = 0; /* what it had under way is lost */
    return 0;
}

/* ---- frames ---- */

static struct exchange *find(struct driver *d, uint64_t id)
{
    for (size_t i = 0; i < d->count; i++)
        if (d->all[i].used && d->all[i].id == id)
            return &d->all[i];
    return NULL;
}

static void put(struct driver *d, uint16_t kind, uint64_t id, const struct buf *payload,
                struct bytes body)
{
    CLEANUP(buf_done) struct buf head = BUF_INIT(LINK_PAYLOAD_MAX);
    buf_u64(&head, id);
    if (payload)
        buf_append(&head, payload->data, payload->size);
    while (!d->dead) {
        int status = link_put(d->link, kind, (struct bytes){ head.data, head.size }, body);
        if (status == 0)
            return;
        if (status < 0)
            d->dead = true;
        link_flush(d->link);
        usleep(1000);
    }
}

static json_t *fields_json(const struct http_field *fields, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(
            list, json_pack("[o, o]", driver_text(fields[i].name), driver_text(fields[i].value)));
    return list;
}

static void on_frame(struct driver *d, const struct frame *f)
{
    static struct http_field fields[HTTP_FIELDS_MAX];
    struct cursor c = cursor_of(f->payload, f->size);
    struct error e = ERROR_INIT;
    uint64_t id = cursor_u64(&c);
    struct exchange *x = find(d, id);
    struct http_response r = { .fields = fields };
    struct http_failure failure;
    size_t count;
    if (!x)
        return;
    switch (f->kind) {
    case HTTP_RESPONSE:
        if (http_response_get(&c, fields, &r, &e) < 0) { /* a worker looks again */
            json_object_set_new(x->result, "error", json_string("refused by the worker"));
            x->over = x->in_over = true;
            return;
        }
        json_object_set_new(x->result, "status", json_integer(r.status));
        json_object_set_new(x->result, "headers", fields_json(fields, r.field_count));
        x->over |= r.no_body;
        return;
    case HTTP_BODY:
        x->received += cursor_left(&c);
        if (x->shown.size < BODY_SHOWN)
            buf_append(&x->shown, c.at, MIN(cursor_left(&c), BODY_SHOWN - x->shown.size));
        if (x->received >= d->abort_after) {
            CLEANUP(buf_done) struct buf payload = BUF_INIT(1024);
            http_failure_put(&payload, &(struct http_failure){ .number = UINT64_MAX });
            put(d, HTTP_ABORT, id, &payload, (struct bytes){ 0 });
            x->over = true;
        } else if (d->give_windows) {
            CLEANUP(buf_done) struct buf payload = BUF_INIT(16);
            buf_u32(&payload, (uint32_t)cursor_left(&c));
            put(d, HTTP_WINDOW, id, &payload, (struct bytes){ 0 });
        }
        return;
    case HTTP_END:
        if (http_fields_get(&c, fields, &count, &e) < 0)
            driver_die("trailers", &e);
        json_object_set_new(x->result, "trailers", fields_json(fields, count));
        x->over = true;
        return;
    case HTTP_WINDOW: {
        uint32_t n = cursor_u32(&c);
        x->window += n;
        x->taken += n;
        return;
    }
    case HTTP_DISCARD:
        json_object_set_new(x->result, "discarded", json_true());
        x->in_over = true;
        return;
    case HTTP_ABORT:
        if (http_failure_get(&c, &failure, &e) < 0)
            driver_die("failure", &e);
        json_object_set_new(x->result, "error", json_string(http_error_name(failure.error)));
        json_object_set_new(x->result, "reason", json_integer(failure.reason));
        json_object_set_new(x->result, "reason_text",
                            json_string(failure.reason < GRANT_REASON_COUNT
                                            ? grant_reason_text((enum grant_reason)failure.reason)
                                            : ""));
        json_object_set_new(x->result, "rule", json_integer((json_int_t)failure.rule));
        json_object_set_new(
            x->result, "number",
            json_integer(failure.number == UINT64_MAX ? -1 : (json_int_t)failure.number));
        json_object_set_new(x->result, "text", driver_text(failure.text));
        json_object_set_new(x->result, "address", driver_text(failure.address));
        json_object_set_new(x->result, "grant", driver_text(failure.grant));
        x->over = x->in_over = true;
        return;
    default:
        driver_die("a frame of no known kind", NULL);
    }
}

/* As much of the request's body as windows allow. */
static void send_bodies(struct driver *d)
{
    for (size_t i = 0; i < d->count; i++) {
        struct exchange *x = &d->all[i];
        while (x->used && !x->in_over && x->left > 0 && x->window > 0) {
            size_t size = MIN(d->body.size - x->body_at, (size_t)HTTP_BODY_FRAME_MAX);
            size = MIN(size, (size_t)x->window);
            put(d, HTTP_BODY, x->id, NULL, (struct bytes){ d->body.data + x->body_at, size });
            x->body_at = (x->body_at + size) % d->body.size;
            x->window -= size;
            x->left -= size;
            x->sent += size;
        }
        if (x->used && !x->in_over && x->left == 0 && !d->no_end) {
            CLEANUP(buf_done) struct buf payload = BUF_INIT(LINK_PAYLOAD_MAX);
            http_fields_put(&payload, d->trailers, d->trailer_count);
            put(d, HTTP_END, x->id, &payload, (struct bytes){ 0 });
            x->in_over = true;
        }
    }
}

static bool pending(const struct driver *d)
{
    for (size_t i = 0; i < d->count; i++)
        if (d->all[i].used && !d->all[i].over)
            return true;
    return false;
}

static void turn(struct driver *d, int timeout_ms)
{
    struct error e = ERROR_INIT;
    struct frame f;
    int status = 0;
    while (!d->dead && (status = link_get(d->link, &f, &e)) > 0)
        on_frame(d, &f);
    d->dead |= status < 0;
    send_bodies(d);
    if (!d->dead)
        link_flush(d->link);
    struct pollfd fds[3] = { { .fd = egress_fd(d->egress), .events = POLLIN },
                             { .fd = link_fd(d->link), .events = POLLIN },
                             { .fd = d->keeper ? channel_fd(d->keeper) : -1, .events = POLLIN } };
    if (!d->dead && link_sleep(d->link))
        timeout_ms = 0;
    if (d->count > 0 && !pending(d))
        timeout_ms = 0;
    int own = egress_timeout_ms(d->egress);
    if (own >= 0 && own < timeout_ms)
        timeout_ms = own;
    (void)poll(fds, 3, timeout_ms);
    if (fds[2].revents && channel_dispatch(d->keeper, &d->keeper_gate, d, false, &e) < 0)
        driver_die("keeper", &e);
    if (fds[1].revents)
        link_awake(d->link);
    if (egress_turn(d->egress, &e) < 0)
        driver_die("egress", &e);
}

/* ---- a request ---- */

static size_t fields_of(json_t *list, struct http_field *ret)
{
    size_t i, count = 0;
    json_t *pair;
    json_array_foreach(list, i, pair)
    {
        json_t *name = json_array_get(pair, 0), *value = json_array_get(pair, 1);
        ret[count++] = (struct http_field){
            { (const uint8_t *)json_string_value(name), json_string_length(name) },
            { (const uint8_t *)json_string_value(value), json_string_length(value) }
        };
    }
    return count;
}

static uint64_t ms_of(json_t *q, const char *key)
{
    json_t *v = json_object_get(q, key);
    return v ? (uint64_t)json_integer_value(v) * NS_PER_MS : HTTP_NO_TIMEOUT;
}

static void begin(struct driver *d, json_t *q, struct exchange *x)
{
    static struct http_field fields[HTTP_FIELDS_MAX + 1];
    CLEANUP(buf_done) struct buf payload = BUF_INIT(LINK_PAYLOAD_MAX);
    char length[32];
    bool bodied = json_object_get(q, "body") || json_object_get(q, "hex");
    uint32_t flags = d->upgrade ? HTTP_UPGRADE : bodied ? 0 : HTTP_NO_BODY;
    const char *url = json_string_value(json_object_get(q, "url"));
    bool https = strncmp(url, "https:", 6) == 0;
    const char *authority = strstr(url, "://") + 3, *path = strchr(authority, '/');
    const char *method = json_string_value(json_object_get(q, "method"));
    struct http_request r = {
        .flags = (https ? HTTP_SECURE : 0u) | flags,
        .method = bytes_of(method ? method : "GET"),
        .authority = { (const uint8_t *)authority,
                       path ? (size_t)(path - authority) : strlen(authority) },
        .target = bytes_of(path ? path : "/"),
        .connect_timeout_ns = ms_of(q, "connect_ms"),
        .first_byte_timeout_ns = ms_of(q, "first_ms"),
        .between_bytes_timeout_ns = ms_of(q, "between_ms"),
        .fields = fields,
        .field_count = fields_of(json_object_get(q, "headers"), fields),
    };
    *x = (struct exchange){ .used = true, .id = ++d->last_id, .window = HTTP_WINDOW_START };
    x->result = json_object();
    x->shown.max = 2 * BODY_SHOWN;
    x->left =
        (uint64_t)d->body.size * (json_object_get(q, "repeat")
                                      ? (uint64_t)json_integer_value(json_object_get(q, "repeat"))
                                      : 1);
    x->in_over = (r.flags & HTTP_NO_BODY) != 0;
    if (json_is_true(json_object_get(q, "length"))) {
        (void)snprintf(length, sizeof(length), "%llu", (unsigned long long)x->left);
        fields[r.field_count++] =
            (struct http_field){ bytes_of("content-length"), bytes_of(length) };
    }
    http_request_put(&payload, &r);
    put(d, HTTP_REQUEST, x->id, &payload, (struct bytes){ 0 });
}

static void put_hex(struct buf *out, const char *hex)
{
    for (unsigned v; hex && hex[0] && hex[1]; hex += 2) {
        if (sscanf(hex, "%2x", &v) != 1)
            driver_die("hex", NULL);
        buf_u8(out, (uint8_t)v);
    }
}

static json_t *hex_of(const struct buf *b)
{
    CLEANUP(buf_done) struct buf hex = BUF_INIT(4 * BODY_SHOWN + 1);
    for (size_t i = 0; i < b->size && i < BODY_SHOWN; i++)
        buf_printf(&hex, "%02x", b->data[i]);
    return json_string(buf_cstr(&hex));
}

/* Before a time begins to count, the room is in its jail. */
static void await_room(struct driver *d)
{
    for (int i = 0; i < 1200 && !d->ready; i++)
        turn(d, 50);
}

static bool waits(const struct driver *d)
{
    return !d->dead && !d->relinked;
}

static bool all_have(const struct driver *d, uint64_t least)
{
    for (size_t i = 0; i < d->count; i++)
        if (!d->all[i].over && d->all[i].received < least)
            return false;
    return true;
}

/* Until all is over, or for so long after each has `least` bytes. Control is told of an exchange behind its end: that is
 * waited for too, so that records are whole. */
static void wait_for_answers(struct driver *d, uint64_t least, uint64_t wait_ns)
{
    uint64_t patience = clock_monotonic_ns() + 60 * NS_PER_S;
    while (waits(d) && !all_have(d, least) && clock_monotonic_ns() < patience)
        turn(d, 50);
    uint64_t until = clock_monotonic_ns() + wait_ns;
    while (waits(d) && pending(d) && clock_monotonic_ns() < until)
        turn(d, 50);
    for (size_t i = 0; i < d->count; i++)
        d->left_open += !d->all[i].over;
    while (waits(d) && d->requests_told > d->responses_told + d->left_open &&
           clock_monotonic_ns() < patience)
        turn(d, 50);
}

static json_t *request(struct driver *d, json_t *q)
{
    json_t *body = json_object_get(q, "body"), *times = json_object_get(q, "times");
    json_t *seconds = json_object_get(q, "seconds"), *least = json_object_get(q, "least"),
           *abort_after = json_object_get(q, "abort_after");
    size_t count = times ? (size_t)json_integer_value(times) : 1;
    await_room(d);
    buf_clear(&d->body);
    if (body)
        buf_append(&d->body, json_string_value(body), json_string_length(body));
    put_hex(&d->body, json_string_value(json_object_get(q, "hex")));
    d->upgrade = json_is_true(json_object_get(q, "upgrade"));
    d->trailer_count = fields_of(json_object_get(q, "trailers"), d->trailers);
    d->give_windows = !json_is_false(json_object_get(q, "window"));
    d->no_end = json_is_true(json_object_get(q, "no_end"));
    d->abort_after = abort_after ? (uint64_t)json_integer_value(abort_after) : UINT64_MAX;
    d->count = MIN(count, (size_t)EXCHANGES_MAX);
    d->relinked = false;
    for (size_t i = 0; i < d->count; i++)
        begin(d, q, &d->all[i]);
    wait_for_answers(d, least ? (uint64_t)json_integer_value(least) : 0,
                     (uint64_t)(seconds ? json_number_value(seconds) * 1e9 : 20e9));
    json_t *results = json_array();
    for (size_t i = 0; i < d->count; i++) {
        struct exchange *x = &d->all[i];
        json_object_set_new(x->result, "over", json_boolean(x->over));
        json_object_set_new(x->result, "size", json_integer((json_int_t)x->received));
        json_object_set_new(x->result, "taken", json_integer((json_int_t)x->taken));
        json_object_set_new(x->result, "body",
                            json_string_lossy((const char *)x->shown.data, x->shown.size));
        json_object_set_new(x->result, "hex", hex_of(&x->shown));
        json_array_append_new(results, x->result);
        buf_done(&x->shown);
    }
    d->count = 0;
    return results;
}

/* ---- commands ---- */

static json_t *uses(const struct driver *d, json_t *q)
{
    size_t rule = (size_t)json_integer_value(json_object_get(q, "rule"));
    struct egress_use u = egress_use(d->egress, rule);
    return json_pack("{s:I, s:I, s:I}", "requests", (json_int_t)u.requests, "sent",
                     (json_int_t)u.bytes_sent, "received", (json_int_t)u.bytes_received);
}

static void kill_room(struct driver *d, json_t *q)
{
    /* The room is a child of ours, the only one. */
    char path[64], line[64];
    (void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    FILE *f = fopen(path, "re");
    if (!f || !fgets(line, sizeof(line), f))
        driver_die("no child", NULL);
    fclose(f);
    kill((pid_t)strtol(line, NULL, 10), SIGKILL);
    d->relinked = false;
    d->spoil = json_is_true(json_object_get(q, "spoil")); /* before the new room opens its end */
    for (int i = 0; i < 100 && !d->relinked; i++)
        turn(d, 50);
}

static void raw(struct driver *d, json_t *q)
{
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(4096);
    await_room(d);
    uint64_t until = clock_monotonic_ns() + 150 * NS_PER_MS; /* nobody has to answer */
    put_hex(&bytes, json_string_value(json_object_get(q, "payload")));
    (void)!link_put(d->link, (uint16_t)json_integer_value(json_object_get(q, "kind")),
                    (struct bytes){ bytes.data, bytes.size }, (struct bytes){ 0 });
    while (clock_monotonic_ns() < until)
        turn(d, 25);
}

/* Requests for "0.HOST", "1.HOST" …, each given up at once. */
static void flood(struct driver *d, json_t *q)
{
    int count = (int)json_integer_value(json_object_get(q, "count"));
    for (int i = 0; i < count; i++) {
        CLEANUP(buf_done) struct buf request = BUF_INIT(4096), end = BUF_INIT(4096);
        CLEANUP(buf_done) struct buf host = BUF_INIT(256);
        uint64_t id = ++d->last_id;
        struct bytes head = { (const uint8_t *)&id, sizeof(id) };
        buf_printf(&host, "%d.%s", i, json_string_value(json_object_get(q, "host")));
        struct http_request r = { .flags = HTTP_NO_BODY,
                                  .method = bytes_of("GET"),
                                  .authority = { host.data, host.size },
                                  .target = bytes_of("/") };
        struct http_failure f = { .error = HTTP_OK };
        http_request_put(&request, &r);
        http_failure_put(&end, &f);
        if (link_put(d->link, HTTP_REQUEST, head, (struct bytes){ request.data, request.size }) ||
            link_put(d->link, HTTP_ABORT, head, (struct bytes){ end.data, end.size }))
            driver_die("a full link", NULL);
        turn(d, 1);
    }
}

static void swap(struct driver *d)
{
    struct error e = ERROR_INIT;
    struct link *link = d->other;
    uint64_t last_id = d->other_last_id;
    bool dead = d->other_dead;
    int fds[LINK_FDS];
    if (!link && (egress_link(d->egress, 8, fds, &e) < 0 || link_open(fds, &link, &e) < 0))
        driver_die("another link", &e);
    d->other = d->link;
    d->other_last_id = d->last_id;
    d->other_dead = d->dead;
    d->link = link;
    d->last_id = last_id;
    d->dead = dead;
}

static json_t *command(struct driver *d, json_t *q)
{
    const char *what = json_string_value(json_object_get(q, "do"));
    struct error e = ERROR_INIT;
    if (!what)
        return request(d, q);
    if (strcmp(what, "kill") == 0) {
        kill_room(d, q);
        return json_pack("{s:O, s:i}", "deaths", d->deaths, "count", (int)egress_deaths(d->egress));
    }
    if (strcmp(what, "revoke") == 0) {
        if (egress_revoke(d->egress, (uint32_t)json_integer_value(json_object_get(q, "rule")), &e) <
            0)
            driver_die("revoke", &e);
        return json_true();
    }
    if (strcmp(what, "uses") == 0)
        return uses(d, q);
    if (strcmp(what, "raw") == 0)
        raw(d, q);
    if (strcmp(what, "flood") == 0)
        flood(d, q);
    if (strcmp(what, "swap") == 0)
        swap(d);
    if (strcmp(what, "grant") == 0) {
        CLEANUP(grant_set_freep) struct grant_set *one = NULL;
        char *text = json_dumps(json_object_get(q, "grants"), 0);
        if (!text || grant_set_parse("answer", "/", text, strlen(text), &one, &e) < 0 ||
            egress_grant(d->egress, one, &e) < 0)
            driver_die("grant", &e);
        free(text);
    }
    if (strcmp(what, "keeper") == 0) {
        driver_keeper_command(d, q);
        return json_true();
    }
    if (strcmp(what, "asks") == 0) {
        turn(d, 50);
        return json_incref(d->asks);
    }
    if (strcmp(what, "relink") == 0) {
        int fds[LINK_FDS];
        egress_unlink(d->egress, 7);
        if (egress_link(d->egress, 7, fds, &e) < 0)
            driver_die("link", &e);
        link_free(d->link);
        if (link_open(fds, &d->link, &e) < 0)
            driver_die("link", &e);
        d->last_id = 0;
        d->dead = false;
    }
    turn(d, 50);
    return json_incref(d->records);
}

static void listen_at(const char *text, struct egress_listener *ret)
{
    const char *colon = strrchr(text, ':');
    struct bytes host = { (const uint8_t *)text, (size_t)(colon - text) };
    if (address_parse(host, &ret->address) < 0)
        driver_die("listen", NULL);
    ret->port = (uint16_t)strtoul(colon + 1, NULL, 10);
}

static int drive(struct driver *d)
{
    char *line = NULL;
    size_t capacity = 0;
    while (getline(&line, &capacity, stdin) > 0) {
        json_t *q = json_loads(line, 0, NULL);
        if (!q)
            driver_die("a line that is no JSON", NULL);
        json_t *answer = command(d, q);
        json_dumpf(answer, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
        fputc('\n', stdout);
        fflush(stdout);
        json_decref(answer);
        json_decref(q);
    }
    free(line);
    return 0;
}

int main(int argc, char **argv)
{
    static const room_main rooms[ROOM_ROLE_COUNT] = { [ROOM_EGRESS] = egress_room_main };
    static struct driver d = { .body = { .max = 64u << 20 } };
    struct error e = ERROR_INIT;
    struct grant_set *set = NULL;
    struct egress_listener listeners[8];
    struct egress_spec spec = { .work_host = "/", .listeners = listeners, .more = 4 };
    static char text[1 << 20];
    int fds[LINK_FDS];

    room_dispatch(argc, argv, rooms);
    signal(SIGPIPE, SIG_IGN);
    FILE *f = argc > 1 ? fopen(argv[1], "re") : NULL;
    size_t size = f ? fread(text, 1, sizeof(text), f) : 0;
    if (!f || grant_set_parse(argv[1], "/", text, size, &set, &e) < 0)
        driver_die("grants", &e);
    fclose(f);
    for (int i = 2; i < argc; i++) {
        if (strncmp(argv[i], "ca=", 3) == 0)
            spec.ca_file = argv[i] + 3;
        else if (strncmp(argv[i], "resolver=", 9) == 0)
            spec.resolver = argv[i] + 9;
        else if (strncmp(argv[i], "skip=", 5) == 0)
            spec.test_skip = (uint32_t)strtoul(argv[i] + 5, NULL, 0);
        else if (strncmp(argv[i], "missing=", 8) == 0)
            spec.allow_missing = (uint32_t)strtoul(argv[i] + 8, NULL, 0);
        else if (strncmp(argv[i], "probe=", 6) == 0)
            spec.work_host = argv[i] + 6;
        else if (strcmp(argv[i], "explains") == 0)
            spec.link_flags = EGRESS_LINK_EXPLAINS;
        else if (strncmp(argv[i], "placeholders=", 13) == 0)
            spec.placeholders = argv[i] + 13;
        else if (strcmp(argv[i], "keeper") == 0)
            spec.observer.keeper = driver_keeper;
        else if (strncmp(argv[i], "listen=", 7) == 0)
            listen_at(argv[i] + 7, &listeners[spec.listener_count++]);
    }
    spec.grants = set;
#ifdef AMBIT_TEST_HOOKS
    room_spawn_skip(spec.test_skip & JAIL_NAMESPACES);
#endif
    d.records = json_array();
    d.deaths = json_array();
    d.asks = json_array();
    spec.observer = (struct egress_observer){ .context = &d,
                                              .relinked = on_relinked,
                                              .ready = on_ready,
                                              .request = on_request,
                                              .response = on_response,
                                              .denied = on_denied,
                                              .keeper = spec.observer.keeper,
                                              .died = on_died };
    if (egress_start(&spec, &d.egress, &e) < 0 || egress_link(d.egress, 7, fds, &e) < 0 ||
        link_open(fds, &d.link, &e) < 0)
        driver_die("start", &e);
    int status = drive(&d);
    if (egress_end(d.egress, false, &e) < 0)
        driver_die("end", &e);
    link_free(d.link);
    link_free(d.other);
    egress_free(d.egress);
    grant_set_free(set);
    return status;
}
