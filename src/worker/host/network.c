/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest asks of a network. There is none in a worker: wasi:sockets links, because every
 * toolchain imports it, and the engine refuses each call with the interface's own error. Here the
 * asking becomes a denial, so that the receipt says that something tried to get out. No grant is
 * proposed: no class of the grammar would allow it.
 */
#include <string.h>

#include "base/mem.h"
#include "worker/host/host.h"

static const struct {
    const char *call, *operation;
} asking[] = {
    { "wasi:sockets/tcp-create-socket#create-tcp-socket", "open a TCP socket to" },
    { "wasi:sockets/udp-create-socket#create-udp-socket", "open a UDP socket to" },
    { "wasi:sockets/ip-name-lookup#resolve-addresses", "look up a name on" },
};

_Static_assert(ARRAY_SIZE(asking) == GUEST_NETWORK_CALLS, "one place per question");

void host_network_prepare(struct guest *g)
{
    /* One look at each name: this is on the way of every start. */
    static const char sockets[] = "wasi:sockets/";
    for (size_t i = 0; i < ARRAY_SIZE(asking); i++)
        g->network_calls[i] = UINT32_MAX;
    for (ambit_call call = 0, count = ambit_call_count(); call < count; call++) {
        const char *name = ambit_call_name(call);
        if (strncmp(name, sockets, sizeof(sockets) - 1) != 0)
            continue;
        for (size_t i = 0; i < ARRAY_SIZE(asking); i++)
            if (!strcmp(name, asking[i].call))
                g->network_calls[i] = call;
    }
}

void host_network_asked(struct guest *g, ambit_call call)
{
    for (size_t i = 0; i < ARRAY_SIZE(asking); i++)
        if (call == g->network_calls[i])
            guest_denied(g, GRANT_NETWORK, asking[i].operation, "the network", 0,
                         (struct grant_decision){ GRANT_NOT_OFFERED, GRANT_NO_RULE, 0 });
}
