/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wasi:logging: lines of the granted levels go to control, cut to LOG_MESSAGE_MAX and at most
 * LOG_LINES_PER_S of them, so that a guest can fill neither control's queue nor the receipt. Lines
 * over the rate are dropped and counted, and the log says so at the end. The rate is measured by
 * the host's clock: the log is told to people, never back to the guest.
 */
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "worker/host/host.h"

#define LOG_TOPIC_MAX 256
#define LOG_MESSAGE_MAX 8192
#define LOG_LINES_PER_S 200

void host_log_init(struct guest *g)
{
    g->log = (struct guest_log){ .window_ns = clock_monotonic_ns() };
}

/* The guests of a worker that answers requests have one rate together. */
static struct guest_log *log_of(struct guest *g)
{
    return g->template ? &g->template->log : &g->log;
}

static bool over_rate(struct guest *g)
{
    struct guest_log *log = log_of(g);
    uint64_t now = clock_monotonic_ns();
    if (now - log->window_ns >= NS_PER_S) {
        log->window_ns = now;
        log->window_lines = 0;
    }
    return ++log->window_lines > LOG_LINES_PER_S && !guest_skips(g, LOG_BOUNDS);
}

static void send(struct guest *g, uint32_t level, struct ambit_bytes topic,
                 struct ambit_bytes message)
{
    int status = g->report.log(g->report.context, level, topic, message);
    if (status < 0)
        guest_fault(g, status, "sending a line of the log");
    else if (status > 0)
        log_of(g)->dropped++;
}

void host_log(void *host, uint32_t level, struct ambit_bytes context, struct ambit_bytes message)
{
    struct guest *g = host;
    if (level >= LOG_LEVEL_COUNT) {
        guest_fault(g, -EPROTO, "a log level that does not exist");
        return;
    }
    struct grant_decision d = guest_gated(g, grant_decide_log(g->rules, (enum log_level)level));
    if (d.reason != GRANT_ALLOWED) {
        guest_denied(g, GRANT_LOG, "log", log_level_names[level], 0, d);
        return;
    }
    guest_used(g, d.rule, 0, 0, message.size);
    if (over_rate(g)) {
        log_of(g)->dropped++;
        return;
    }
    context.size = MIN(context.size, (size_t)LOG_TOPIC_MAX);
    message.size = MIN(message.size, (size_t)LOG_MESSAGE_MAX);
    send(g, level, context, message);
}

void host_log_finish(struct guest *g)
{
    if (g->log.dropped == 0)
        return;
    char text[128];
    int size = snprintf(
        text, sizeof(text),
        "%llu lines of the log were dropped: more than %d a second, or more than were read",
        (unsigned long long)g->log.dropped, LOG_LINES_PER_S);
    g->log.dropped = 0;
    send(g, LOG_WARN, (struct ambit_bytes){ (const uint8_t *)"ambit", 5 },
         (struct ambit_bytes){ (const uint8_t *)text, (size_t)size });
}
