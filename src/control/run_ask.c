/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --ask: the worker asks before it denies, and its guest waits. What it sends is not believed more
 * than a denial is: the grant is read and printed again before anybody sees it, texts are escaped
 * where they are shown, and the worst that a worker can bring about with an answer is what it could
 * do anyway within its jail. Every question and its answer is in the receipt.
 */
#include "base/mem.h"
#include "control/proposal.h"
#include "control/run_parts.h"

#define QUESTIONS_MAX 1024 /* of one run; a worker stops long before */

static int send_answer(struct run *r, enum run_answer answer, struct error *e)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(64);
    buf_u32(&payload, answer);
    int status = buf_status(&payload);
    if (status < 0)
        return error_set(e, status, "no memory for an answer");
    return channel_send(r->room.channel, RUN_ANSWER, payload.data, payload.size, NULL, 0, e);
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
        /* What is no grant is nothing that a person could agree to. */
        if (d.grant_yaml[0] != '\0')
            answer = r->observer->ask(r->observer->context, &d, r->signal_fd);
        r->ready_ns += clock_monotonic_ns() - asked_ns; /* waiting is no time of the guest's */
        status = run_record_answer(r, &d, answer, e);
    }
    run_denial_done(&d);
    return status < 0 ? status : send_answer(r, answer, e);
}
