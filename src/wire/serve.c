/* SPDX-License-Identifier: Apache-2.0 */
/* See serve.h. */
#include "wire/serve.h"

#include <string.h>

#include "base/mem.h"

#define AUTHORITY_MAX 300

/* What a client can say in a header, and nobody guesses. */
static bool token_possible(const char *token)
{
    size_t size = strlen(token);
    for (size_t i = 0; i < size; i++)
        if (token[i] <= ' ' || token[i] > '~')
            return false;
    return size >= INGRESS_TOKEN_MIN && size <= INGRESS_TOKEN_MAX;
}

int ingress_start_put(struct buf *out, const struct ingress_start *s)
{
    buf_u32(out, s->flags);
    buf_u32(out, s->index);
    buf_u32(out, s->pairs);
    buf_u32(out, s->connections);
    buf_u32(out, s->concurrency);
    buf_u32(out, s->queue);
    buf_u64(out, s->client_timeout_ns);
    buf_u64(out, s->idle_timeout_ns);
    buf_u32(out, s->rate_min);
    buf_u32(out, s->allow_missing);
    buf_u32(out, s->test_skip);
    buf_string(out, s->authority);
    buf_string(out, s->certificate);
    buf_string(out, s->key);
    buf_string(out, s->token);
    return buf_status(out);
}

static bool start_possible(const struct ingress_start *s)
{
    bool tls = s->flags & INGRESS_TLS, proxy = s->flags & INGRESS_PROXY;
    return s->token != NULL && (proxy ? !tls && token_possible(s->token) : s->token[0] == '\0') &&
           s->authority != NULL && s->certificate != NULL && s->key != NULL &&
           strlen(s->authority) <= AUTHORITY_MAX && strlen(s->certificate) <= INGRESS_TLS_MAX &&
           strlen(s->key) <= INGRESS_TLS_MAX && (s->certificate[0] != '\0') == tls &&
           (s->key[0] != '\0') == tls &&
           (s->flags & ~(uint32_t)(INGRESS_METRICS | INGRESS_LOG | INGRESS_TLS | INGRESS_PROXY)) ==
               0 &&
           s->pairs <= INGRESS_PAIRS_MAX && s->index < s->pairs && s->connections > 0 &&
           s->connections <= INGRESS_CONNECTIONS_MAX && s->concurrency > 0 &&
           s->queue <= INGRESS_QUEUE_MAX && s->client_timeout_ns > 0 && s->idle_timeout_ns > 0;
}

int ingress_start_get(struct cursor *c, struct ingress_start *ret, struct error *e)
{
    struct ingress_start s = { 0 };
    s.flags = cursor_u32(c);
    s.index = cursor_u32(c);
    s.pairs = cursor_u32(c);
    s.connections = cursor_u32(c);
    s.concurrency = cursor_u32(c);
    s.queue = cursor_u32(c);
    s.client_timeout_ns = cursor_u64(c);
    s.idle_timeout_ns = cursor_u64(c);
    s.rate_min = cursor_u32(c);
    s.allow_missing = cursor_u32(c);
    s.test_skip = cursor_u32(c);
    s.authority = cursor_string(c);
    s.certificate = cursor_string(c);
    s.key = cursor_string(c);
    s.token = cursor_string(c);
    if (!cursor_finished(c) || !start_possible(&s)) {
        ingress_start_done(&s);
        return error_set(e, -EBADMSG, "INGRESS_START is malformed");
    }
    *ret = s;
    return 0;
}

void ingress_start_done(struct ingress_start *s)
{
    if (s->key != NULL)
        mem_wipe(s->key, strlen(s->key));
    if (s->token != NULL)
        mem_wipe(s->token, strlen(s->token));
    mem_free(s->token);
    mem_free(s->authority);
    mem_free(s->certificate);
    mem_free(s->key);
    *s = (struct ingress_start){ 0 };
}

/* ---- counters ---- */

static const struct {
    const char *name, *type, *help;
} counters[] = {
#define ROW(name, type, help) { #name, type, help },
    INGRESS_COUNTERS(ROW)
#undef ROW
};

uint64_t ingress_counted(union ingress_slot *slots, size_t count, enum ingress_counter c)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += atomic_load_explicit(&slots[i].values[c], memory_order_relaxed);
    return sum;
}

void ingress_counters_print(union ingress_slot *slots, size_t count, bool proxy, struct buf *out)
{
    const char *verb = proxy ? "proxy" : "serve";
    unsigned all = proxy ? INGRESS_COUNT_worker_restarts_total : INGRESS_COUNTER_COUNT;
    for (unsigned i = 0; i < all; i++) {
        const char *name = counters[i].name;
        buf_printf(out, "# HELP ambit_%s_%s %s\n# TYPE ambit_%s_%s %s\n", verb, name,
                   counters[i].help, verb, name, counters[i].type);
        buf_printf(out, "ambit_%s_%s %llu\n", verb, name,
                   (unsigned long long)ingress_counted(slots, count, (enum ingress_counter)i));
    }
}
