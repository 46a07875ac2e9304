/* SPDX-License-Identifier: Apache-2.0 */
/* See front_flags.h. */
#include "cli/front_flags.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "control/listen.h"

int cli_take_front_flag(struct cli *c, struct front_request *q, struct error *e)
{
    switch (c->flag->id) {
    case SERVE_FLAG_LISTEN:
        q->listen = c->value;
        return listen_check("--listen", q->listen, e);
    case SERVE_FLAG_METRICS:
        q->metrics = c->value;
        return listen_check("--metrics", q->metrics, e);
    case SERVE_FLAG_ACCESS_LOG:
        q->access_log = c->value;
        return 0;
    case SERVE_FLAG_CONNECTIONS:
        return cli_take_number(c, 1, INGRESS_CONNECTIONS_MAX, &q->connections, e);
    case SERVE_FLAG_CLIENT_TIMEOUT:
        return cli_take_time(c, 1, &q->client_timeout_ns, e);
    case SERVE_FLAG_KEEP_ALIVE:
        return cli_take_time(c, 1, &q->idle_timeout_ns, e);
    case SERVE_FLAG_DRAIN:
        return cli_take_time(c, 0, &q->drain_ns, e);
    default:
        return 1;
    }
}

int cli_check_front(const struct front_request *q, const char *example, struct error *e)
{
    if (q->listen != NULL)
        return 0;
    error_set(e, -EINVAL, "--listen is missing: nothing is opened that was not named");
    error_hint(e, "--listen %s", example);
    return -EINVAL;
}

void cli_put_front_totals(struct buf *out, const char *done, const struct front_totals *t,
                          const char *more)
{
    buf_printf(out,
               "ambit: %s%llu request%s on %llu connection%s; %s%llu refused, %llu malformed, "
               "%llu cut short\n",
               done, (unsigned long long)t->requests, t->requests == 1 ? "" : "s",
               (unsigned long long)t->connections, t->connections == 1 ? "" : "s", more,
               (unsigned long long)t->refused, (unsigned long long)t->malformed,
               (unsigned long long)t->cut);
}

void cli_say(struct buf *text, bool *quiet)
{
    if (buf_status(text) < 0 || file_write_fd(STDERR_FILENO, text->data, text->size, NULL) < 0)
        *quiet = true;
}

#ifdef AMBIT_TEST_HOOKS
/* Test builds only: defences of the ingress room that a negative control leaves open. */
int cli_ingress_skip(uint32_t *ret, struct error *e)
{
    static const struct {
        const char *name;
        uint32_t bit;
    } defences[] = {
        { "timeouts", INGRESS_SKIP_TIMEOUTS },
        { "eviction", INGRESS_SKIP_EVICTION },
        { "h2-floods", INGRESS_SKIP_H2_FLOODS },
        { "token", INGRESS_SKIP_TOKEN },
        { "name", INGRESS_SKIP_NAME },
        { "authority", INGRESS_SKIP_AUTHORITY },
        { "probe", INGRESS_PROBE },
        { "probe-memory", INGRESS_PROBE | INGRESS_SKIP_MEMORY },
    };
    const char *name = getenv("AMBIT_TEST_INGRESS_SKIP");
    for (size_t i = 0; name != NULL && i < ARRAY_SIZE(defences); i++) {
        if (strcmp(name, defences[i].name) == 0) {
            *ret = defences[i].bit;
            return 0;
        }
    }
    return name == NULL
               ? 0
               : error_set(e, -EINVAL, "AMBIT_TEST_INGRESS_SKIP: there is no defence %s", name);
}
#endif
