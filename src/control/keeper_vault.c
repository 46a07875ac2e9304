/* SPDX-License-Identifier: Apache-2.0 */
/* `ambit secret`: one question to keeper, its answer. See keeper.h. */
#include "base/clock.h"
#include "base/mem.h"
#include "control/keeper_parts.h"

#define ANSWER_LIMIT_NS (60 * NS_PER_S)

/* Sends a question and waits for its answer. */
static int ask(struct keeper *k, uint16_t kind, const struct buf *payload, int fd, struct error *e)
{
    uint64_t until = clock_monotonic_ns() + ANSWER_LIMIT_NS;
    int status = keeper_wait_ready(k, e); /* it may have died behind its last answer */
    k->question.kind = kind;
    k->question.answer = ANSWER_WANTED;
    error_clear(&k->question.refusal);
    error_clear(&k->source_error);
    if (status == 0)
        status = decider_tell(&k->d, kind, payload, &fd, fd >= 0, e);
    while (status == 0 && k->question.answer == ANSWER_WANTED) {
        if (clock_monotonic_ns() >= until)
            status = error_set(e, -ETIMEDOUT, "keeper did not answer within a minute");
        if (status == 0) {
            keeper_wait_a_while(k);
            status = keeper_turn(k, e);
        }
    }
    if (status == 0 && k->question.answer == ANSWER_REFUSED) {
        *e = k->question.refusal;
        status = e->code;
    }
    k->question.answer = ANSWER_NONE;
    k->question.into = NULL;
    k->question.each = NULL;
    return status;
}

int keeper_set(struct keeper *k, const struct keeper_item *item, int value_fd, struct error *e)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    keeper_item_put(&payload, item);
    k->question.into = k->vault;
    return ask(k, KEEPER_SET, &payload, value_fd, e);
}

int keeper_remove(struct keeper *k, const char *name, struct error *e)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(1024);
    buf_string(&payload, name);
    k->question.into = k->vault;
    return ask(k, KEEPER_REMOVE, &payload, -1, e);
}

int keeper_list(struct keeper *k, int (*each)(void *context, const struct keeper_item *i),
                void *context, struct error *e)
{
    CLEANUP(buf_done) struct buf none = BUF_INIT(1);
    k->question.each = each;
    k->question.context = context;
    return ask(k, KEEPER_LIST, &none, -1, e);
}

int keeper_test(struct keeper *k, const char *name, char **ret_text, struct error *e)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(1024);
    buf_string(&payload, name);
    k->question.name = name;
    int status = ask(k, KEEPER_TEST, &payload, -1, e);
    if (status == 0)
        *ret_text = TAKE(k->question.text);
    return status;
}

int keeper_rekey(struct keeper *k, struct vault_files *with_new_key, struct error *e)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(1024);
    int fd = vault_key_fd(with_new_key, e);
    if (fd < 0)
        return fd;
    buf_string(&payload, vault_key_kind(with_new_key));
    k->question.into = with_new_key;
    return ask(k, KEEPER_REKEY, &payload, fd, e);
}
