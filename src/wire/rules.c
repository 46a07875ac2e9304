/* SPDX-License-Identifier: Apache-2.0 */
/* See rules.h. */
#include "wire/rules.h"

#include "base/mem.h"

static int finished(const struct cursor *c, const char *what, struct error *e)
{
    return cursor_finished(c) ? 0 : error_set(e, -EBADMSG, "%s that cannot be read", what);
}

void rules_grant_put(struct buf *out, uint32_t rule, const char *json)
{
    buf_u32(out, rule);
    buf_string(out, json);
}

int rules_grant_get(struct cursor *c, uint32_t *ret_rule, char **ret_json, struct error *e)
{
    *ret_rule = cursor_u32(c);
    CLEANUP(mem_freep) char *json = cursor_string(c);
    int status = finished(c, "a grant", e);
    if (status == 0 && !json)
        status = error_set(e, -ENOMEM, "no memory for a grant");
    if (status == 0)
        *ret_json = TAKE(json);
    return status;
}

void rules_revoke_put(struct buf *out, uint32_t rule)
{
    buf_u32(out, rule);
}

int rules_revoke_get(struct cursor *c, uint32_t *ret_rule, struct error *e)
{
    *ret_rule = cursor_u32(c);
    return finished(c, "a revocation", e);
}

void rules_expire_put(struct buf *out, uint64_t at_ns)
{
    buf_u64(out, at_ns);
}

int rules_expire_get(struct cursor *c, uint64_t *ret_at_ns, struct error *e)
{
    *ret_at_ns = cursor_u64(c);
    return finished(c, "an expiry", e);
}
