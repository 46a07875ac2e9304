/* SPDX-License-Identifier: Apache-2.0 */
/* See pool.h. */
#include "egress/pool.h"

#include <curl/curl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/clock.h"

#define CONNECTIONS_KEPT_MAX 64L
_Static_assert(CURL_TEXT_SIZE >= CURL_ERROR_SIZE, "curl writes that much");

static int on_timer(CURLM *multi, long timeout_ms, void *context)
{
    struct pool *p = context;
    p->timer_ns = timeout_ms < 0 ? NEVER : clock_monotonic_ns() + (uint64_t)timeout_ms * NS_PER_MS;
    return 0;
}

static int on_watch(CURL *easy, curl_socket_t fd, int what, void *context, void *ignored)
{
    struct pool *p = context;
    uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);
    if (what == CURL_POLL_REMOVE) { /* mostly until the next request over this connection */
        poller_rest(&p->room->poller, fd);
        return 0;
    }
    return poller_set(&p->room->poller, fd, WATCH_CURL, p, events) < 0 ? -1 : 0;
}

struct pool *pool_new(struct egress_room *room, pool_ended *ended)
{
    struct pool *p = mem_zalloc(sizeof(*p));
    if (!p)
        return NULL;
    p->room = room;
    p->ended = ended;
    p->timer_ns = NEVER;
    p->multi = curl_multi_init();
    if (!p->multi || curl_multi_setopt(p->multi, CURLMOPT_SOCKETFUNCTION, on_watch) != CURLM_OK ||
        curl_multi_setopt(p->multi, CURLMOPT_SOCKETDATA, p) != CURLM_OK ||
        curl_multi_setopt(p->multi, CURLMOPT_TIMERFUNCTION, on_timer) != CURLM_OK ||
        curl_multi_setopt(p->multi, CURLMOPT_TIMERDATA, p) != CURLM_OK ||
        curl_multi_setopt(p->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_KEPT_MAX) != CURLM_OK) {
        pool_free(p);
        return NULL;
    }
    return p;
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    curl_multi_cleanup(p->multi);
    mem_free(p);
}

static void take_messages(struct pool *p)
{
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(p->multi, &left))) {
        void *owner = NULL;
        CURLcode code = m->data.result; /* the message goes with its handle */
        if (m->msg != CURLMSG_DONE)
            continue;
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&owner);
        p->ended(owner, code);
    }
}

void pool_event(struct pool *p, int fd, uint32_t events)
{
    int running;
    int bits = (events & EPOLLIN ? CURL_CSELECT_IN : 0) |
               (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
               (events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
    (void)curl_multi_socket_action(p->multi, fd, bits, &running);
    take_messages(p);
}

void pool_tick(struct pool *p, uint64_t now)
{
    int running;
    if (!p || p->timer_ns > now)
        return;
    p->timer_ns = NEVER;
    (void)curl_multi_socket_action(p->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    take_messages(p);
}

/* ---- those of the rules ---- */

void pools_free(struct egress_room *room)
{
    for (size_t i = 0; room->pools && i < room->grants.rule_count; i++)
        pool_free(room->pools[i]);
    mem_free(room->pools);
    room->pools = NULL;
}

uint64_t pools_deadline(const struct egress_room *room)
{
    uint64_t next = NEVER;
    for (size_t i = 0; i < room->grants.rule_count; i++)
        if (room->pools[i])
            next = MIN(next, room->pools[i]->timer_ns);
    for (const struct pool *p = room->single_pools; p; p = p->next)
        next = MIN(next, p->timer_ns);
    return next;
}

void pools_tick(struct egress_room *room, uint64_t now)
{
    for (size_t i = 0; i < room->grants.rule_count; i++)
        pool_tick(room->pools[i], now);
    for (struct pool *p = room->single_pools, *next; p; p = next) {
        next = p->next;
        pool_tick(p, now);
    }
}

/* ---- what curl is told ---- */

int pool_add_line(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = line ? curl_slist_append(*list, line) : NULL;
    if (!longer)
        return -ENOMEM;
    *list = longer;
    return 0;
}

int pool_add_addresses(struct curl_slist **list, const struct url *url,
                       const struct address *addresses, size_t count)
{
    CLEANUP(buf_done) struct buf line = BUF_INIT(8192);
    if (url->is_address)
        return 0;
    buf_printf(&line, "+%s:%u:", url->host, url->port);
    for (size_t i = 0; i < count; i++) {
        buf_puts(&line, i ? "," : "");
        buf_puts(&line, addresses[i].is_v6 ? "[" : "");
        address_print(&addresses[i], &line);
        buf_puts(&line, addresses[i].is_v6 ? "]" : "");
    }
    return buf_status(&line) < 0 ? buf_status(&line) : pool_add_line(list, buf_cstr(&line));
}

static bool address_of(const struct sockaddr *s, struct address *ret, uint16_t *ret_port)
{
    *ret = (struct address){ .is_v6 = s->sa_family == AF_INET6 };
    if (s->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)s;
        memcpy(ret->bytes, &v4->sin_addr, 4);
        *ret_port = ntohs(v4->sin_port);
    } else if (s->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)s;
        memcpy(ret->bytes, &v6->sin6_addr, 16);
        *ret_port = ntohs(v6->sin6_port);
    } else {
        return false;
    }
    return true;
}

bool pool_dials(int purpose, const struct curl_sockaddr *s, struct address *ret, uint16_t *ret_port)
{
    return purpose == CURLSOCKTYPE_IPCXN &&
           (s->socktype & ~(SOCK_CLOEXEC | SOCK_NONBLOCK)) == SOCK_STREAM &&
           address_of(&s->addr, ret, ret_port);
}

int pool_socket(struct egress_room *room, const struct curl_sockaddr *s)
{
    int fd = socket(s->family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    poller_forget(&room->poller, fd); /* what rests by its number */
    return fd;
}
