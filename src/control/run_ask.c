/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --ask: the worker asks before it denies, and its guest waits. What it sends is not believed more
 * than a denial is: the grant is read and printed again before anybody sees it, texts are escaped
 * where they are shown, and the worst that a worker can bring about with an answer is what it could
 * do anyway within its jail. Every question and its answer is in the receipt.
 *
 * An answer about http reaches further: it opens egress. So its grant is made here, from the method
 * and the URL that are shown, and a worker that wrote another one gets no question. Egress has it in
 * force before the worker hears of it. For once it is good for one request (max_requests: 1, egress
 * counts), and a worker that has been taken over can do no more with it either.
 *
 * Worker and egress number the rules alike: every yes takes the next place, of whatever class.
 */
#include <poll.h>
#include <string.h>

#include "base/mem.h"
#include "control/proposal.h"
#include "control/run_parts.h"

#define QUESTIONS_MAX 1024 /* of one run; a worker stops long before */
#define GRANT_TEXT_MAX (128u << 10)

static int send_answer(struct run *r, enum run_answer answer, struct error *e)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(64);
    buf_u32(&payload, answer);
    int status = buf_status(&payload);
    if (status < 0)
        return error_set(e, status, "no memory for an answer");
    return channel_send(r->room.channel, RUN_ANSWER, payload.data, payload.size, NULL, 0, e);
}

/* The smallest grant of a request, by what is said of it and nothing else. 1: there is none. */
static int propose_http(const struct run *r, const struct run_denial *d, struct buf *out)
{
    CLEANUP(grant_done) struct grant g = { 0 };
    struct url url;
    struct grant_http_request request = { .url = &url, .method = bytes_of(d->operation) };
    url_init(&url);
    int status = url_parse(&url, bytes_of(d->resource), NULL);
    if (status == 0)
        status =
            grant_propose_http(r->rules, &request, (enum grant_reason)d->reason, NULL, &g, NULL);
    if (status == 0)
        status = grant_print(&g, out, NULL);
    url_done(&url);
    if (status == 0)
        status = buf_status(out);
    return status == -ENOMEM ? status : status < 0;
}

/* The one grant that a person is asked about. 0; 1: it is none, or not the one of what is shown. */
static int read_grant(const struct run *r, const struct run_denial *d, struct grant_set **ret)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(GRANT_TEXT_MAX);
    CLEANUP(buf_done) struct buf own = BUF_INIT(GRANT_TEXT_MAX);
    buf_puts(&text, "version: 1\ngrants:\n");
    buf_puts(&text, d->grant_yaml);
    int status = buf_status(&text);
    if (status == 0)
        status = grant_set_parse("answer", "/", buf_cstr(&text), text.size, ret, NULL);
    if (status < 0)
        return status == -ENOMEM ? status : 1;
    if ((*ret)->count != 1 || (uint32_t)(*ret)->grants[0].class != d->class)
        return 1;
    if (d->class != GRANT_HTTP)
        return 0;
    status = propose_http(r, d, &own);
    return status != 0 ? status : strcmp(buf_cstr(&own), d->grant_yaml) != 0;
}

/* In force in egress, which goes by it before the worker does. */
static int add(struct run *r, struct grant_set *one, enum run_answer answer, struct error *e)
{
    struct grant *g = &one->grants[0];
    if (answer == RUN_ANSWER_ONCE && g->class == GRANT_HTTP)
        g->http.max_requests = 1;
    r->added++;
    /* Keeper decides by the same rules, and must have it before egress asks. */
    int status = r->keeper ? keeper_grant(r->keeper, one, e) : 0;
    if (status == 0 && r->egress)
        status = egress_grant(r->egress, one, e);
    return status;
}

/* Asks, unless there is nothing to agree to; the answer holds when this returns 0. */
/* Somebody has asked the guest to end: it is asked nothing more, although its next question may be
 * read before the signal is. */
static bool interrupted(const struct run *r)
{
    struct pollfd came = { .fd = r->signal_fd, .events = POLLIN };
    return r->signals > 0 || poll(&came, 1, 0) > 0;
}

static int settle(struct run *r, const struct run_denial *d, enum run_answer *ret, struct error *e)
{
    CLEANUP(grant_set_freep) struct grant_set *one = NULL;
    uint32_t rule = GRANT_NO_RULE;
    size_t next = r->request->grants->count + r->added;
    int status = read_grant(r, d, &one);
    if (status < 0)
        return error_set(e, status, "no memory for a question");
    *ret = RUN_ANSWER_NEVER;
    if (status == 0 && r->added < EGRESS_MORE_MAX && next < GRANT_GRANTS_MAX && !interrupted(r))
        *ret = r->observer->ask(r->observer->context, d, r->signal_fd);
    status = 0;
    if (*ret != RUN_ANSWER_NEVER) {
        rule = (uint32_t)next;
        status = add(r, one, *ret, e);
    }
    return status < 0 ? status : run_record_answer(r, d, *ret, rule, e);
}

int run_on_ask(void *context, struct cursor *c, const int *fds, size_t fd_count, struct error *e)
{
    struct run *r = context;
    struct run_denial d = { 0 };
    CLEANUP(mem_freep) char *settled = NULL;
    enum run_answer answer = RUN_ANSWER_NEVER;

    int status = run_denial_get(c, &d, e);
    if (status < 0)
        return status;
    if (!r->request->ask || r->observer->ask == NULL || d.class > GRANT_NETWORK ||
        d.reason >= GRANT_REASON_COUNT || ++r->questions > QUESTIONS_MAX)
        status = error_set(e, -EPROTO, "the worker asked what it may not ask");
    if (status == 0)
        status = proposal_settle(d.grant_yaml, &settled, e);
    if (status == 0) {
        uint64_t asked_ns = clock_monotonic_ns();
        mem_free(d.grant_yaml);
        d.grant_yaml = TAKE(settled);
        status = settle(r, &d, &answer, e);
        r->ready_ns += clock_monotonic_ns() - asked_ns; /* waiting is no time of the guest's */
    }
    run_denial_done(&d);
    if (status < 0 || !interrupted(r))
        return status < 0 ? status : send_answer(r, answer, e);
    /* The stop first, so that the refused guest does nothing more. A worker that the signal killed
     * hears no answer, and the loop sees its end. */
    status = run_signal(r, e);
    if (status == 0 && send_answer(r, answer, NULL) < 0)
        error_clear(e);
    return status;
}
