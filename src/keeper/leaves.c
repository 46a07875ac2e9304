/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The asks of ingress rooms that stand in front of a proxy: a certificate for one host, after the
 * decision that a grant covers it. The loop gives all fronts together LEAVES_OF_TURN of them a turn,
 * so that a flood of hosts holds up no release.
 */
#include <string.h>

#include "base/clock.h"
#include "keeper/room.h"

#define LEAF_GOOD_NS (55 * 60 * NS_PER_S) /* of its hour: nobody is shown one that ends */

static int refuse(struct client *c, uint64_t number, enum grant_reason reason, const char *why,
                  const struct buf *grant)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    struct leaf_refused r = { .number = number, .reason = reason, .text = bytes_of(why) };
    r.text.size = MIN(r.text.size, (size_t)SECRET_TEXT_MAX);
    if (grant->size <= LEAF_GRANT_MAX)
        r.grant = (struct bytes){ grant->data, grant->size };
    leaf_refused_put(&payload, &r);
    client_send(c, LEAF_REFUSED, &payload);
    return 0;
}

static int give(struct client *c, const struct leaf_ask *a, struct error *e)
{
    CLEANUP(buf_done) struct buf certificate = BUF_INIT(LEAF_DER_MAX);
    CLEANUP(secret_buf_done) struct buf key = { 0 };
    CLEANUP(secret_buf_done) struct buf payload = { 0 };
    CLEANUP(mem_freep) char *host = mem_strndup((const char *)a->host.data, a->host.size);
    if (!host)
        return error_set(e, -ENOMEM, "no memory for a certificate");
    int status = secret_buf(&key, LEAF_DER_MAX, e);
    if (status == 0)
        status = secret_buf(&payload, 2 * LEAF_DER_MAX + 64, e);
    if (status == 0)
        status = authority_leaf(c->room->authority, host, &certificate, &key, e);
    if (status < 0)
        return status;
    struct leaf_given g = { .number = a->number,
                            .until_ns = clock_monotonic_ns() + LEAF_GOOD_NS,
                            .certificate = { certificate.data, certificate.size },
                            .key = { key.data, key.size } };
    leaf_given_put(&payload, &g);
    client_send(c, LEAF_GIVEN, &payload);
    return 0;
}

static int on_leaf(void *context, struct cursor *c, const int *fds, size_t fd_count,
                   struct error *e)
{
    struct client *client = context;
    CLEANUP(buf_done) struct buf grant = BUF_INIT(64u << 10);
    struct leaf_ask a;
    struct error cause = ERROR_INIT;
    int status = leaf_ask_get(c, &a, e);
    if (status < 0)
        return status;
    enum grant_reason reason = release_decide_leaf(&client->room->grants, a.host, a.port, &grant);
    if (LEFT_OPEN(client->room, KEEPER_SKIP_DECISION))
        reason = GRANT_ALLOWED;
    if (reason != GRANT_ALLOWED)
        return refuse(client, a.number, reason, grant_reason_text(reason), &grant);
    if (!client->room->authority)
        return refuse(client, a.number, GRANT_NOT_OFFERED, "this keeper makes no certificates",
                      &grant);
    if (give(client, &a, &cause) < 0)
        return refuse(client, a.number, GRANT_NOT_OFFERED, cause.what, &grant);
    return 0;
}

const struct frame_rule leaf_frames[] = {
    { LEAF_ASK, "leaf", 1, false, 0, 1024, on_leaf },
};
const size_t leaf_frame_count = ARRAY_SIZE(leaf_frames);
