/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors by number, behind one epoll. A watch is found by its descriptor and never by a
 * pointer, so an event that was fetched before its descriptor was closed touches nothing freed. */
#include <sys/epoll.h>

#include "egress/parts.h"

int poller_init(struct poller *p, struct error *e)
{
    p->epoll = epoll_create1(EPOLL_CLOEXEC);
    return p->epoll < 0 ? error_set_errno(e, errno, "cannot make an epoll") : 0;
}

int poller_set(struct poller *p, int fd, enum watch_kind kind, void *owner, uint32_t events)
{
    if (fd < 0 || fd >= DESCRIPTORS_MAX)
        return -EMFILE;
    struct watch *w = &p->watches[fd];
    struct epoll_event event = { .events = events, .data.fd = fd };
    bool known = w->kind != WATCH_NONE;
    if (w->rests && w->kind == kind && w->owner == owner && w->events == events) {
        w->rests = false;
        return 0;
    }
    if (events == 0) {
        if (known)
            (void)epoll_ctl(p->epoll, EPOLL_CTL_DEL, fd, NULL); /* closed: gone already */
        *w = (struct watch){ .kind = WATCH_NONE };
        return 0;
    }
    int status = epoll_ctl(p->epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
    /* Closed and opened again behind our back: the number is known, the descriptor is new. */
    if (status < 0 && known && errno == ENOENT)
        status = epoll_ctl(p->epoll, EPOLL_CTL_ADD, fd, &event);
    if (status < 0)
        return -errno;
    *w = (struct watch){ .kind = kind, .events = events, .owner = owner };
    return 0;
}

void poller_rest(struct poller *p, int fd)
{
    if (fd >= 0 && fd < DESCRIPTORS_MAX)
        p->watches[fd].rests = p->watches[fd].kind != WATCH_NONE;
}

void poller_forget(struct poller *p, int fd)
{
    if (fd >= 0 && fd < DESCRIPTORS_MAX && p->watches[fd].rests)
        p->watches[fd] = (struct watch){ .kind = WATCH_NONE };
}
