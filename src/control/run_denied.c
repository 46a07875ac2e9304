/* SPDX-License-Identifier: Apache-2.0 */
/* Distinct denials that rooms of a proxy tell of: into the report and the receipt once, then counted. */
#include <string.h>

#include "base/mem.h"
#include "control/proposal.h"
#include "control/run_parts.h"

static bool same(const struct run_denial *a, const struct run_denial *b)
{
    return a->reason == b->reason && a->rule == b->rule &&
           strcmp(a->operation, b->operation) == 0 && strcmp(a->resource, b->resource) == 0;
}

static int denial_of(const struct egress_denied *from, struct run_denial *ret, struct error *e)
{
    CLEANUP(mem_freep) char *grant = bytes_text(from->grant);
    *ret = (struct run_denial){ .class = GRANT_HTTP, .reason = from->reason, .rule = from->rule };
    ret->operation = bytes_text(from->method);
    ret->resource = bytes_text(from->url);
    if (!grant || !ret->operation || !ret->resource)
        return error_set(e, -ENOMEM, "no memory for a denial");
    return proposal_settle(grant, &ret->grant_yaml, e);
}

int run_keep_denied(struct run *r, const char *observed_by, const struct egress_denied *from,
                    size_t *ret_number, struct error *e)
{
    struct run_report *p = r->report;
    struct run_denial d;
    size_t number = 0;
    int status = denial_of(from, &d, e);
    if (status == 0 && !p->denied) {
        p->denied = mem_array(RUN_DENIALS_MAX, sizeof(*p->denied));
        if (!p->denied)
            status = error_set(e, -ENOMEM, "no memory for a denial");
    }
    if (status < 0) {
        run_denial_done(&d);
        return status;
    }
    while (number < p->denied_count && !same(&p->denied[number].denial, &d))
        number++;
    *ret_number = number;
    if (number == RUN_DENIALS_MAX || number < p->denied_count) {
        run_denial_done(&d);
        if (number < RUN_DENIALS_MAX)
            p->denied[number].count++;
        return 0;
    }
    p->denied[number] = (struct run_denied){ .denial = d, .count = 1 };
    p->denied_count++;
    return run_record_denial_of(r, observed_by, number, &p->denied[number].denial, e);
}
