/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections: sockets, their bytes, and the clock.
 *
 * Events are edges: a socket is registered once, and `readable` and `writable` say what was not used
 * up yet. An event only marks; the work is done at the end of the turn, once for each connection
 * whatever happened to it, so that what was put into one answer by many frames is one write.
 *
 * The clock looks at every connection once a second: what does it wait for, and for how long? A
 * connection that waits for the worker is never late. Who owes us a head stands in `headless` in the
 * order in which they began to owe it, and bytes of a head do not move them: when all places are
 * taken the first of that list makes room, so slow clients lose their places, not the others.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/mem.h"
#include "ingress/internal.h"

int conn_accept(struct ingress *i, int fd, bool metrics, const struct sockaddr *peer,
                socklen_t size)
{
    struct conn *c = mem_zalloc(sizeof *c);
    if (c == NULL) {
        fd_close(fd);
        return -ENOMEM;
    }
    c->source.kind = SOURCE_CONN;
    c->i = i;
    c->fd = fd;
    c->metrics = metrics;
    c->writable = true;
    c->since_ns = c->progress_ns = c->rate_since_ns = i->now_ns;
    memcpy(&c->peer, peer, MIN((size_t)size, sizeof c->peer));
    list_init(&c->waiting);
    list_init(&c->dirty);
    list_init(&c->all);
    struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                 .data.ptr = c };
    if (epoll_ctl(i->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        fd_close(fd);
        mem_free(c);
        return -ENOMEM;
    }
    list_append(&i->all, &c->all);
    list_append(&i->headless, &c->waiting);
    i->connections++;
    room_count(i, INGRESS_COUNT_connections_total, 1);
    room_count(i, INGRESS_COUNT_connections, 1);
    if (!(i->start.flags & INGRESS_TLS) || metrics || tls_begin(c) == 0)
        return 0;
    conn_close(c);
    return -ENOMEM;
}

void conn_close(struct conn *c)
{
    struct ingress *i = c->i;
    if (c->closed)
        return;
    c->closed = true;
    if (c->h1 != NULL)
        h1_free(c);
    if (c->h2 != NULL)
        h2_free(c);
    tls_free(TAKE(c->tls));
    front_free(TAKE(c->front));
    fd_close(c->fd);
    c->fd = -1;
    list_remove(&c->waiting);
    list_remove(&c->dirty);
    list_append(&i->graves, &c->all);
    i->connections--;
    room_count(i, INGRESS_COUNT_connections, UINT64_MAX);
}

void conn_reset(struct conn *c)
{
    const struct linger at_once = { .l_onoff = 1 };
    if (c->closed)
        return;
    (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    conn_close(c);
}

void conn_dirty(struct conn *c)
{
    if (!c->closed && list_empty(&c->dirty))
        list_append(&c->i->dirty, &c->dirty);
}

void conn_event(struct conn *c, uint32_t events)
{
    if (c->closed)
        return;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        c->readable = true;
        c->emptied = false;
    }
    if (events & EPOLLOUT)
        c->writable = true;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        c->hung_up = true;
    if (events & (EPOLLHUP | EPOLLERR))
        c->failed = true;
    conn_dirty(c);
}

/* ---- bytes ---- */

ssize_t conn_read(struct conn *c, uint8_t *bytes, size_t size)
{
    if (c->eof)
        return -1;
    if (!c->readable)
        return 0;
    ssize_t n = c->tls != NULL ? tls_read(c, bytes, size) : read(c->fd, bytes, size);
    if (n > 0) {
        /* A stream socket that gave less than was asked for is empty, and says so when it is not. */
        if (c->tls == NULL && (size_t)n < size && !c->hung_up)
            c->readable = false;
        c->bytes += (uint64_t)n;
        c->progress_ns = c->i->now_ns;
        room_count(c->i, INGRESS_COUNT_received_bytes_total, (uint64_t)n);
        return n;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        c->readable = errno == EINTR;
        return 0;
    }
    c->eof = true;
    c->failed = c->failed || n < 0;
    return -1;
}

static ssize_t conn_write(struct conn *c, const uint8_t *bytes, size_t size)
{
    if (!c->writable)
        return 0;
    ssize_t n = c->tls != NULL ? tls_write(c, bytes, size) : write(c->fd, bytes, size);
    if (n > 0) {
        c->bytes += (uint64_t)n;
        c->progress_ns = c->i->now_ns;
        room_count(c->i, INGRESS_COUNT_sent_bytes_total, (uint64_t)n);
        return n;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        c->writable = errno == EINTR;
        return 0;
    }
    c->failed = true;
    return -1;
}

/* What went was given back to a window, also when more always waits behind it. */
static void drop_sent(struct buf *b, size_t *sent)
{
    if (*sent < HTTP_WINDOW_START)
        return;
    memmove(b->data, b->data + *sent, b->size - *sent);
    b->size -= *sent;
    *sent = 0;
}

int conn_write_buf(struct conn *c, struct buf *b, size_t *sent)
{
    while (*sent < b->size) {
        ssize_t n = conn_write(c, b->data + *sent, b->size - *sent);
        if (n < 0)
            return -EPIPE;
        if (n == 0) {
            drop_sent(b, sent);
            return 1;
        }
        *sent += (size_t)n;
    }
    buf_clear(b);
    *sent = 0;
    return 0;
}

void conn_shut(struct conn *c)
{
    if (c->tls != NULL)
        tls_shut(c);
    (void)shutdown(c->fd, SHUT_WR);
}

void conn_peer_text(const struct conn *c, char *ret, size_t size)
{
    char address[INET6_ADDRSTRLEN] = "";
    if (c->peer.any.sa_family == AF_INET6) {
        (void)inet_ntop(AF_INET6, &c->peer.v6.sin6_addr, address, sizeof address);
        (void)snprintf(ret, size, "[%s]:%u", address, ntohs(c->peer.v6.sin6_port));
    } else {
        (void)inet_ntop(AF_INET, &c->peer.v4.sin_addr, address, sizeof address);
        (void)snprintf(ret, size, "%s:%u", address, ntohs(c->peer.v4.sin_port));
    }
}

/* ---- who owes what ---- */

void conn_owes_head(struct conn *c, bool owes)
{
    c->since_ns = c->i->now_ns;
    if (owes)
        list_append(&c->i->headless, &c->waiting);
    else
        list_remove(&c->waiting);
}

bool conn_evict(struct ingress *i)
{
#ifdef AMBIT_TEST_HOOKS
    if (i->start.test_skip & INGRESS_SKIP_EVICTION)
        return false;
#endif
    if (list_empty(&i->headless))
        return false;
    conn_close(LIST_OF(struct conn, waiting, i->headless.next));
    room_count(i, INGRESS_COUNT_connections_refused_total, 1);
    return true;
}

void conn_work(struct conn *c)
{
    enum protocol agreed = PROTOCOL_H1;
    if (c->tls == NULL && c->protocol == PROTOCOL_NONE && !c->readable)
        return;
    if (c->tls != NULL && c->protocol == PROTOCOL_NONE) {
        agreed = tls_protocol(c);
        if (c->failed || c->eof) {
            if (c->front != NULL)
                proxy_handshake_failed(c);
            conn_close(c);
            return;
        }
        if (agreed == PROTOCOL_NONE)
            return;
    }
    if (c->protocol == PROTOCOL_NONE)
        c->protocol = agreed;
    if (c->protocol == PROTOCOL_H2 && c->h2 == NULL && !h2_begin(c, NULL, 0)) {
        conn_close(c);
        return;
    }
    if (c->protocol == PROTOCOL_H1)
        h1_work(c);
    /* h1 hands a connection that begins as HTTP/2 over. */
    if (!c->closed && c->protocol == PROTOCOL_H2)
        h2_work(c);
}

void conn_drain(struct conn *c)
{
    if (c->h2 != NULL)
        h2_drain(c);
    else if (c->h1 == NULL && (c->protocol != PROTOCOL_NONE || c->tls != NULL))
        conn_close(c); /* between two requests */
    else
        conn_dirty(c);
}

/* ---- the clock ---- */

static enum conn_wait waits(const struct conn *c)
{
    if (c->h2 != NULL)
        return h2_waits(c);
    if (c->h1 != NULL)
        return h1_waits(c);
    /* The first head is owed from the beginning. */
    return c->protocol == PROTOCOL_NONE ? WAIT_HEAD : WAIT_IDLE;
}

static bool too_slow(struct conn *c, enum conn_wait w)
{
    const struct ingress_start *s = &c->i->start;
    uint64_t now = c->i->now_ns;
    if (now - c->progress_ns > s->client_timeout_ns)
        return true;
    if (now - c->rate_since_ns < RATE_WINDOW_NS)
        return false;
    bool slow = c->bytes - c->rate_bytes < s->rate_min * ((now - c->rate_since_ns) / NS_PER_S);
    c->rate_since_ns = now;
    c->rate_bytes = c->bytes;
    return slow;
}

void conn_tick(struct conn *c)
{
    struct ingress *i = c->i;
    enum conn_wait w = waits(c);
    bool late = false;
    uint64_t waited = i->now_ns - c->since_ns;
#ifdef AMBIT_TEST_HOOKS
    if (i->start.test_skip & INGRESS_SKIP_TIMEOUTS)
        return;
#endif
    if (w == WAIT_READ || w == WAIT_WRITE) {
        late = too_slow(c, w);
    } else {
        c->progress_ns = c->rate_since_ns = i->now_ns;
        c->rate_bytes = c->bytes;
    }
    if (w == WAIT_IDLE && waited > i->start.idle_timeout_ns)
        conn_close(c);
    else if (w == WAIT_LINGER && waited > LINGER_NS)
        conn_close(c);
    else if (w == WAIT_HALF && waited > i->start.client_timeout_ns)
        conn_close(c);
    else if (w == WAIT_HEAD && waited > i->start.client_timeout_ns)
        late = true;
    if (!late)
        return;
    room_count(i, INGRESS_COUNT_connections_timed_out_total, 1);
    if (w == WAIT_HEAD && c->h1 != NULL)
        h1_answer_last(c, 408);
    else if (w == WAIT_HEAD)
        conn_close(c);
    else
        conn_reset(c);
}
