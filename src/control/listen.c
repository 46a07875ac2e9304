/* SPDX-License-Identifier: Apache-2.0 */
/* See listen.h. */
#include "control/listen.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"

#define BACKLOG 4096

struct place {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } at;
    socklen_t size;
};

int listen_name_parse(const char *text, struct address *ret_address, uint16_t *ret_port)
{
    const char *colon = strrchr(text, ':');
    struct bytes host = { (const uint8_t *)text, colon != NULL ? (size_t)(colon - text) : 0 };
    uint32_t port = 0;
    if (colon == NULL || colon[1] == '\0' || strlen(colon + 1) > 5 ||
        strspn(colon + 1, "0123456789") != strlen(colon + 1))
        return -EINVAL;
    for (const char *at = colon + 1; *at != '\0'; at++)
        port = port * 10 + (uint32_t)(*at - '0');
    bool bracketed = host.size > 2 && host.data[0] == '[' && host.data[host.size - 1] == ']';
    if (bracketed)
        host = (struct bytes){ host.data + 1, host.size - 2 };
    if (bytes_are(host, "localhost"))
        host = bytes_of("127.0.0.1");
    if (port > 65535 || address_parse(host, ret_address) < 0 || ret_address->is_v6 != bracketed)
        return -EINVAL;
    *ret_port = (uint16_t)port;
    return 0;
}

static int parse_place(const char *flag, const char *text, struct place *ret, struct error *e)
{
    struct address a;
    uint16_t port;
    if (listen_name_parse(text, &a, &port) < 0) {
        error_set(e, -EINVAL, "%s %s is not ADDR:PORT", flag, text);
        error_hint(e, "for example %s 127.0.0.1:8080, [::1]:8080, or 0.0.0.0:80 for everybody",
                   flag);
        return -EINVAL;
    }
    *ret = (struct place){ 0 };
    if (a.is_v6) {
        ret->at.v6.sin6_family = AF_INET6;
        ret->at.v6.sin6_port = htons(port);
        memcpy(&ret->at.v6.sin6_addr, a.bytes, 16);
        ret->size = sizeof ret->at.v6;
    } else {
        ret->at.v4.sin_family = AF_INET;
        ret->at.v4.sin_port = htons(port);
        memcpy(&ret->at.v4.sin_addr, a.bytes, 4);
        ret->size = sizeof ret->at.v4;
    }
    return 0;
}

int listen_check(const char *flag, const char *text, struct error *e)
{
    struct place place;
    return parse_place(flag, text, &place, e);
}

static int bind_one(const struct place *p, bool shared, int *ret)
{
    static const int on = 1;
    CLEANUP(fd_closep)
    int fd = socket(p->at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        (shared && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0) ||
        /* these two are inherited by what is accepted */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) < 0 ||
        bind(fd, &p->at.any, p->size) < 0)
        return -errno;
    *ret = fd_take(&fd);
    return 0;
}

static int listen_failed(const char *flag, const char *text, int code, struct error *e)
{
    error_set_errno(e, -code, "%s %s", flag, text);
    if (code == -EADDRINUSE)
        error_hint(e, "another program listens there; port 0 takes one that is free");
    else if (code == -EACCES)
        error_hint(e, "ports below 1024 need a privilege: take one above");
    else if (code == -EADDRNOTAVAIL)
        error_hint(e, "this machine has no such address; 0.0.0.0 and [::] mean all it has");
    return code;
}

int listen_all(const char *flag, const char *text, int **fds, size_t count, char **ret_authority,
               struct error *e)
{
    struct place p;
    int status = parse_place(flag, text, &p, e);
    if (status < 0)
        return status;
    /* Is it free, and which port is it? */
    CLEANUP(fd_closep) int first = -1;
    status = bind_one(&p, false, &first);
    if (status == 0 && listen(first, 1) < 0)
        status = -errno;
    if (status == 0 && getsockname(first, &p.at.any, &p.size) < 0)
        status = -errno;
    if (status < 0)
        return listen_failed(flag, text, status, e);
    if (count == 1)
        *fds[0] = fd_take(&first);
    else
        fd_closep(&first);
    for (size_t i = 0; i < count && status == 0; i++) {
        if (count > 1)
            status = bind_one(&p, true, fds[i]);
        if (status == 0 && listen(*fds[i], BACKLOG) < 0)
            status = -errno;
    }
    if (status < 0)
        return listen_failed(flag, text, status, e);
    CLEANUP(buf_done) struct buf name = BUF_INIT(128);
    struct address a = { .is_v6 = p.at.any.sa_family == AF_INET6 };
    memcpy(a.bytes, a.is_v6 ? (void *)&p.at.v6.sin6_addr : (void *)&p.at.v4.sin_addr,
           a.is_v6 ? 16 : 4);
    buf_puts(&name, a.is_v6 ? "[" : "");
    address_print(&a, &name);
    buf_printf(&name, "%s:%u", a.is_v6 ? "]" : "", ntohs(p.at.v4.sin_port));
    *ret_authority = buf_take(&name);
    return *ret_authority != NULL ? 0 : error_set(e, -ENOMEM, "no memory");
}
