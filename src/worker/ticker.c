/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ticker. Its lock guards one flag and is never held while anything else is taken; the thread
 * waits on the condition so that ending it takes no period's length, which a short run would feel.
 */
#include "worker/ticker.h"

#include <signal.h>
#include <time.h>

static void advance(struct timespec *at, uint32_t us)
{
    at->tv_nsec += (long)(us % 1000000) * 1000;
    at->tv_sec += us / 1000000 + at->tv_nsec / 1000000000;
    at->tv_nsec %= 1000000000;
}

static void *ticker_main(void *context)
{
    struct ticker *t = context;
    struct timespec next;
    pthread_mutex_lock(&t->lock);
    while (!t->stop) {
        /* From now, not from the last time: after a delay there is one tick, not a burst. */
        clock_gettime(CLOCK_MONOTONIC, &next);
        advance(&next, t->period_us);
        while (!t->stop && pthread_cond_timedwait(&t->stopped, &t->lock, &next) == 0) {
        }
        if (!t->stop)
            ambit_engine_tick(t->engine);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

/* The thread takes no signals: they belong to the loop. */
static int create(struct ticker *t)
{
    sigset_t all, before;
    sigfillset(&all);
    int failed = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (failed)
        return failed;
    failed = pthread_create(&t->thread, NULL, ticker_main, t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failed;
}

int ticker_start(struct ticker *t, struct ambit_engine *engine, uint32_t period_us, struct error *e)
{
    pthread_condattr_t monotonic;
    *t = (struct ticker){ .engine = engine, .period_us = period_us };
    int failed = pthread_condattr_init(&monotonic);
    if (failed)
        return error_set_errno(e, failed, "cannot make the ticker");
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    failed = pthread_cond_init(&t->stopped, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (!failed)
        failed = pthread_mutex_init(&t->lock, NULL);
    if (!failed)
        failed = create(t);
    if (failed)
        return error_set_errno(e, failed, "cannot start the ticker");
    t->running = true;
    return 0;
}

void ticker_stop(struct ticker *t)
{
    if (!t->running)
        return;
    pthread_mutex_lock(&t->lock);
    t->stop = true;
    pthread_cond_signal(&t->stopped);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    pthread_cond_destroy(&t->stopped);
    pthread_mutex_destroy(&t->lock);
    t->running = false;
}
