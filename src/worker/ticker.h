/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that advances the engine's epochs, so that a guest that spins comes back at the end of
 * its slice. Ours and not the engine's own, because it must be made inside the jail (room/jail.h):
 * a thread from before would keep what Landlock takes away.
 */
#pragma once

#include <pthread.h>

#include "ambit_engine.h"
#include "base/error.h"

struct ticker {
    struct ambit_engine *engine;
    uint32_t period_us;
    pthread_t thread;
    bool running, stop; /* stop: under `lock` */
    pthread_mutex_t lock;
    pthread_cond_t stopped;
};

/* Starts it. The engine must outlive it. */
int ticker_start(struct ticker *t, struct ambit_engine *engine, uint32_t period_us,
                 struct error *e) MUST_CHECK;
/* Ends it, without waiting for its period. Fine on one that is zeroed or was not started. */
void ticker_stop(struct ticker *t);
