/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A run's egress room: there when a grant of http is, or a person may give one (--ask); started beside the compiling, ended after the
 * worker. What it tells goes into the receipt, the intent before anything is sent; past
 * HTTP_EVENTS_MAX requests are only counted (the "use" of each rule is exact).
 */
#include <string.h>

#include "base/mem.h"
#include "control/run_parts.h"

#define HTTP_EVENTS_MAX 1024 /* requests that are kept in a receipt, with their answers */

static json_t *text_json(struct bytes b)
{
    return json_string_lossy((const char *)b.data, b.size);
}

static json_t *event_of(uint64_t number, uint32_t rule)
{
    json_t *event = json_object();
    json_object_set_new(event, "observed_by", json_string("egress"));
    json_object_set_new(event, "number", json_count(number));
    if (rule == EGRESS_MINT_RULE)
        json_object_set_new(event, "for", json_string("keeper"));
    else
        json_object_set_new(event, "rule", json_count(rule));
    return event;
}

/* "a, b" as a list. */
static json_t *list_json(struct bytes text)
{
    json_t *list = json_array();
    const uint8_t *at = text.data, *end = at + text.size;
    while (at < end) {
        const uint8_t *comma = memchr(at, ',', (size_t)(end - at));
        size_t size = (size_t)((comma ? comma : end) - at);
        json_array_append_new(list, json_string_lossy((const char *)at, size));
        at += size + (comma ? 2 : 0);
    }
    return list;
}

static int record_request(struct run *r, const struct egress_request *q, struct error *e)
{
    r->http_recorded++;
    r->http_last = MAX(r->http_last, q->number);
    json_t *event = event_of(q->number, q->rule);
    json_object_set_new(event, "method", text_json(q->method));
    json_object_set_new(event, "url", text_json(q->url));
    json_object_set_new(event, "addresses", list_json(q->address));
    return receipt_put(r->receipt, "http.request", event, e);
}

static int on_request(void *context, const struct egress_request *q, struct error *e)
{
    struct run *r = context;
    bool full = r->http_recorded == HTTP_EVENTS_MAX;
    r->http_unlisted += full;
    int status = full ? 0 : record_request(r, q, e);
    return status < 0 ? status : run_keeper_admit(r, q, e);
}

static int on_response(void *context, const struct egress_response *a, struct error *e)
{
    struct run *r = context;
    run_keeper_ended(r, a);
    if (a->number > r->http_last)
        return 0; /* its request was not kept */
    json_t *event = event_of(a->number, a->rule);
    if (a->status != 0)
        json_object_set_new(event, "status", json_integer(a->status));
    if (a->version != 0)
        json_object_set_new(event, "version", json_integer(a->version));
    json_object_set_new(event, "bytes_sent", json_count(a->bytes_sent));
    json_object_set_new(event, "bytes_received", json_count(a->bytes_received));
    json_object_set_new(event, "took_us", json_count(a->took_ns / 1000));
    if (a->masked != 0)
        json_object_set_new(event, "masked", json_count(a->masked));
    if (a->error != HTTP_OK) {
        json_object_set_new(event, "error",
                            json_string(http_error_name((enum http_error)a->error)));
        json_object_set_new(event, "why", text_json(a->text));
    }
    return receipt_put(r->receipt, "http.response", event, e);
}

static int on_ready(void *context, uint32_t missing, struct error *e)
{
    struct run *r = context;
    r->report->missing |= missing;
    return 0;
}

static int on_died(void *context, const char *why, struct error *e)
{
    struct run *r = context;
    r->http_last = 0; /* the next life counts from 1 */
    if (egress_deaths(r->egress) > HTTP_EVENTS_MAX)
        return 0;
    json_t *event = json_object();
    json_object_set_new(event, "observed_by", json_string("control"));
    json_object_set_new(event, "why", json_string_of(why));
    return receipt_put(r->receipt, "egress.died", event, e);
}

static int on_relinked(void *context, uint32_t owner, const int fds[static LINK_FDS],
                       struct error *e)
{
    struct run *r = context;
    return r->egress_links.relinked(r->egress_links.context, owner, fds, e);
}

static int on_denied(void *context, const struct egress_denied *d, struct error *e)
{
    struct run *r = context;
    return r->egress_links.denied ? r->egress_links.denied(r->egress_links.context, d, e) : 0;
}

int run_egress_start(struct run *r, const struct run_egress_links *links, struct error *e)
{
    struct egress_spec spec = {
        .grants = r->request->grants,
        .work_host = r->work_host,
        .ca_file = r->request->ca_file,
        .resolver = r->request->resolver,
        .listeners = links->listeners,
        .listener_count = links->listener_count,
        .placeholders = links->placeholders,
        .link_flags = links->proxy ? EGRESS_LINK_EXPLAINS : 0,
        .more = r->request->ask || links->proxy ? EGRESS_MORE_MAX : 0,
        .allow_missing = r->request->allow_missing,
        .test_skip = r->request->egress_skip,
        .observer = { .context = r,
                      .relinked = on_relinked,
                      .ready = on_ready,
                      .request = on_request,
                      .response = on_response,
                      .denied = on_denied,
                      .died = on_died,
                      .keeper = r->vault ? run_keeper_for_egress : NULL },
    };
    if (!grant_rules_have(r->rules, GRANT_HTTP) && !r->request->ask && !links->proxy)
        return 0;
    r->egress_links = *links;
    return egress_start(&spec, &r->egress, e);
}

int run_egress_end(struct run *r, struct error *e)
{
    struct run_done *d = &r->report->done;
    if (!r->egress)
        return 0;
    int status = egress_end(r->egress, r->signals > 0, e);
    if (status == 0)
        status = run_keeper_end(r, e);
    /* What egress saw counts, not what a worker says of it. */
    for (size_t i = 0; r->report->has_figures && i < d->use_count; i++) {
        struct egress_use u = egress_use(r->egress, i);
        if (r->request->grants->grants[i].class != GRANT_HTTP)
            continue;
        d->uses[i] = (struct run_use){ .count = u.requests,
                                       .bytes_read = u.bytes_received,
                                       .bytes_written = u.bytes_sent };
    }
    return status;
}

/* Whoever reads the receipt is told that it does not list all. */
static int record_unlisted(struct run *r, struct error *e)
{
    if (r->http_unlisted == 0)
        return 0;
    json_t *event = json_object();
    json_object_set_new(event, "observed_by", json_string("egress"));
    json_object_set_new(event, "count", json_count(r->http_unlisted));
    return receipt_put_closing(r->receipt, "http.unlisted", event, e);
}

int run_egress_record(struct run *r, struct error *e)
{
    int status = record_unlisted(r, e);
    for (size_t i = 0; r->egress && status == 0 && i < egress_rules(r->egress); i++) {
        struct egress_use u = egress_use(r->egress, i);
        if (u.requests == 0)
            continue;
        json_t *event = json_object();
        json_object_set_new(event, "observed_by", json_string("egress"));
        json_object_set_new(event, "rule", json_count(i));
        json_object_set_new(event, "count", json_count(u.requests));
        json_object_set_new(event, "bytes_read", json_count(u.bytes_received));
        json_object_set_new(event, "bytes_written", json_count(u.bytes_sent));
        status = receipt_put_closing(r->receipt, "use", event, e);
    }
    return status;
}
