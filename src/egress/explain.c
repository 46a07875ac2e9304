/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Denials on a link with a native client behind it: the smallest grant that would have allowed the
 * request goes to the client (wire/http.h) and, as a record, to control. What is proposed is the grant
 * model's to say (grant_propose_http()); where none helps there is none.
 */
#include "egress/parts.h"

static void propose(struct outgoing *x, struct buf *out)
{
    struct grant_http_request q = { .url = &x->url,
                                    .method = x->request.method,
                                    .headers = x->request.fields,
                                    .header_count = x->request.field_count,
                                    .upgrade = (x->request.flags & HTTP_UPGRADE) != 0 };
    struct grant g = { 0 };
    struct address a;
    bool has_address = x->failure.address.size > 0 && address_parse(x->failure.address, &a) == 0;
    if (x->url.host[0] == '\0' ||
        grant_propose_http(x->peer->room->grants.rules, &q, x->failure.reason,
                           has_address ? &a : NULL, &g, NULL) < 0)
        return;
    if (grant_print(&g, out, NULL) < 0 || buf_status(out) < 0 || out->size > HTTP_GRANT_MAX)
        buf_clear(out);
    grant_done(&g);
}

void explain_denial(struct outgoing *x)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(64u << 10), url = BUF_INIT(2 * URL_TARGET_MAX);
    if (x->explained || x->failure.reason == GRANT_ALLOWED ||
        !(x->peer->flags & EGRESS_LINK_EXPLAINS))
        return;
    x->explained = true;
    x->smallest.max = 2 * HTTP_GRANT_MAX;
    propose(x, &x->smallest);
    x->failure.grant = (struct bytes){ x->smallest.data, x->smallest.size };
    if (x->url.host[0] != '\0') {
        buf_puts(&url, x->url.https ? "https://" : "http://");
        url_authority(&x->url, &url);
        /* A path may be what held a placeholder: it names a secret, it is not one. */
        buf_append(&url, x->url.path.data, x->url.path.size);
    }
    struct egress_denied d = { .owner = x->peer->owner,
                               .rule = x->failure.rule,
                               .reason = x->failure.reason,
                               .method = x->request.method,
                               .url = { url.data, url.size },
                               .text = x->failure.text,
                               .grant = x->failure.grant };
    egress_denied_put(&payload, &d);
    (void)!room_record(x->peer->room, EGRESS_DENIED, &payload);
}
