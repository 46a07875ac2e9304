/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names to addresses. /etc/hosts and /etc/resolv.conf are read before the jail, once; afterwards
 * names are asked of DNS by c-ares, never with a search domain: a name is what was decided about.
 *
 * One question per name at a time: whoever asks meanwhile waits for the same answer. Answers are
 * kept as long as DNS allows, a minute at most; one with a lifetime of 0 is not kept. Nothing here
 * judges an address.
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/clock.h"
#include "base/file.h"
#include "egress/parts.h"

#define HOSTS_MAX 4096 /* lines of /etc/hosts that count */
#define HOSTS_SIZE_MAX (1u << 20)
#define KEPT_MAX 1024 /* answers */
#define KEPT_NS_MAX (60 * NS_PER_S)
#define TRY_MS 2000
#define TRIES 3
#define DNS_NXDOMAIN 3
#define DNS_SERVFAIL 2
#define DNS_REFUSED 5

struct host_line {
    char *name;
    struct address address;
};
/* A name: being asked for, or kept. */
struct name {
    struct names *names;
    struct name *next;
    char *host;
    bool asking;
    uint64_t until_ns;
    struct address addresses[ADDRESSES_MAX];
    size_t count;
    struct name_wait *waiting;
};
struct names {
    struct egress_room *room;
    ares_channel channel;
    bool has_channel;
    struct host_line *hosts;
    size_t host_count;
    struct name *first;
    size_t count;
};

/* ---- /etc/hosts ---- */

static int add_host(struct names *n, const char *name, const struct address *a)
{
    char canonical[URL_HOST_MAX];
    struct address ignored;
    bool is_address = false;
    if (n->host_count == HOSTS_MAX ||
        url_host_canonical(bytes_of(name), false, canonical, &is_address, &ignored, NULL) < 0 ||
        is_address)
        return 0;
    struct host_line *line = &n->hosts[n->host_count];
    line->name = mem_strdup(canonical);
    line->address = *a;
    if (!line->name)
        return -ENOMEM;
    n->host_count++;
    return 0;
}

static int read_hosts(struct names *n)
{
    CLEANUP(mem_freep) char *line = mem_alloc(4096);
    n->hosts = mem_array(HOSTS_MAX, sizeof(*n->hosts));
    if (!line || !n->hosts)
        return -ENOMEM;
    FILE *file = fopen("/etc/hosts", "re");
    int status = 0;
    if (!file)
        return 0; /* none: DNS alone knows names */
    while (status == 0 && fgets(line, 4096, file)) {
        char *save = NULL, *comment = strchr(line, '#');
        struct address a;
        if (comment)
            *comment = '\0';
        char *word = strtok_r(line, " \t\r\n", &save);
        if (!word || address_parse(bytes_of(word), &a) < 0)
            continue;
        while (status == 0 && (word = strtok_r(NULL, " \t\r\n", &save)))
            status = add_host(n, word, &a);
    }
    fclose(file);
    return status;
}

static size_t hosts_find(const struct names *n, const char *host,
                         struct address ret[static ADDRESSES_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < n->host_count && count < ADDRESSES_MAX; i++)
        if (strcmp(n->hosts[i].name, host) == 0)
            ret[count++] = n->hosts[i].address;
    return count;
}

/* ---- c-ares ---- */

static void on_socket(void *context, ares_socket_t fd, int readable, int writable)
{
    struct names *n = context;
    uint32_t events = (readable ? EPOLLIN : 0) | (writable ? EPOLLOUT : 0);
    /* A socket that cannot be watched times out. */
    (void)!poller_set(&n->room->poller, fd, WATCH_NAMES, n, events);
}

int names_new(struct egress_room *room, const char *resolver, struct names **ret, struct error *e)
{
    struct names *n = mem_zalloc(sizeof(*n));
    struct ares_options options = {
        /* c-ares 1.18 searches domains whatever the flag says: it is given none. */
        .flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
        .ndomains = 0,
        .ndots = 0,
        .timeout = TRY_MS,
        .tries = TRIES,
        .lookups = (char *)"b",
        .sock_state_cb = on_socket,
        .sock_state_cb_data = n,
    };
    if (!n)
        return error_set(e, -ENOMEM, "no memory for the resolver");
    n->room = room;
    int status = ares_library_init(ARES_LIB_INIT_ALL);
    if (status == ARES_SUCCESS)
        status = ares_init_options(&n->channel, &options,
                                   ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
                                       ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB |
                                       ARES_OPT_DOMAINS | ARES_OPT_NDOTS);
    n->has_channel = status == ARES_SUCCESS;
    if (status == ARES_SUCCESS && resolver[0] != '\0')
        status = ares_set_servers_ports_csv(n->channel, resolver);
    if (status != ARES_SUCCESS) {
        names_free(n);
        return error_set(e, -EINVAL, "the resolver cannot be set up: %s", ares_strerror(status));
    }
    if (read_hosts(n) < 0) {
        names_free(n);
        return error_set(e, -ENOMEM, "no memory for /etc/hosts");
    }
    *ret = n;
    return 0;
}

static void name_free(struct name *name)
{
    mem_free(name->host);
    mem_free(name);
}

void names_free(struct names *n)
{
    if (!n)
        return;
    if (n->has_channel)
        ares_destroy(n->channel); /* answers what is asked: nobody waits any more */
    while (n->first) {
        struct name *name = n->first;
        n->first = name->next;
        name_free(name);
    }
    for (size_t i = 0; i < n->host_count; i++)
        mem_free(n->hosts[i].name);
    mem_free(n->hosts);
    mem_free(n);
}

/* ---- answers ---- */

static void answer_all(struct name *name, const struct name_answer *a)
{
    while (name->waiting) {
        struct name_wait *w = name->waiting;
        names_cancel(w);
        w->done(w, a);
    }
}

static uint64_t seconds_of(int ttl)
{
    return ttl > 0 ? (uint64_t)ttl : 0;
}

static void take_addresses(struct name *name, const struct ares_addrinfo *result,
                           uint64_t *ret_kept_ns)
{
    uint64_t kept_s = KEPT_NS_MAX / NS_PER_S;
    for (const struct ares_addrinfo_cname *c = result->cnames; c; c = c->next)
        kept_s = MIN(kept_s, seconds_of(c->ttl));
    for (const struct ares_addrinfo_node *node = result->nodes; node; node = node->ai_next) {
        struct address a = { .is_v6 = node->ai_family == AF_INET6 };
        kept_s = MIN(kept_s, seconds_of(node->ai_ttl));
        if (node->ai_family == AF_INET)
            memcpy(a.bytes, &((struct sockaddr_in *)node->ai_addr)->sin_addr, 4);
        else if (node->ai_family == AF_INET6)
            memcpy(a.bytes, &((struct sockaddr_in6 *)node->ai_addr)->sin6_addr, 16);
        else
            continue;
        if (name->count == ADDRESSES_MAX) {
            name->count++; /* too many to look at each: told as such */
            break;
        }
        name->addresses[name->count++] = a;
    }
    *ret_kept_ns = kept_s * NS_PER_S;
}

static struct name_answer answer_of_status(int status)
{
    struct name_answer a = { .error = HTTP_ERROR_DNS,
                             .number = NEVER,
                             .text = ares_strerror(status) };
    switch (status) {
    case ARES_SUCCESS:
        a.error = HTTP_OK;
        break;
    case ARES_ETIMEOUT:
        a.error = HTTP_ERROR_DNS_TIMEOUT;
        break;
    case ARES_ENOTFOUND:
    case ARES_ENODATA:
    case ARES_ENONAME:
        a.number = DNS_NXDOMAIN;
        break;
    case ARES_ESERVFAIL:
        a.number = DNS_SERVFAIL;
        break;
    case ARES_EREFUSED:
        a.number = DNS_REFUSED;
        break;
    default:
        break;
    }
    return a;
}

static void on_answer(void *context, int status, int timeouts, struct ares_addrinfo *result)
{
    struct name *name = context;
    struct name_answer a = answer_of_status(status);
    uint64_t kept_ns = 0;

    name->asking = false;
    name->count = 0;
    if (status == ARES_SUCCESS && result)
        take_addresses(name, result, &kept_ns);
    if (result)
        ares_freeaddrinfo(result);
    if (a.error == HTTP_OK && name->count == 0)
        a = answer_of_status(ARES_ENODATA);
    if (name->count > ADDRESSES_MAX) {
        a = (struct name_answer){ .error = HTTP_ERROR_DNS,
                                  .number = NEVER,
                                  .text = "the name has more addresses than are looked at" };
        name->count = 0;
        kept_ns = 0;
    }
    name->until_ns = a.error == HTTP_OK ? clock_monotonic_ns() + kept_ns : 0;
    a.addresses = name->addresses;
    a.count = name->count;
    answer_all(name, &a);
}

/* ---- asking ---- */

/* Drops answers whose time is over; with `all` the others too. */
static void names_forget(struct names *n, bool all)
{
    uint64_t now = clock_monotonic_ns();
    for (struct name **at = &n->first; *at;) {
        struct name *name = *at;
        if (name->asking || name->waiting || (!all && name->until_ns > now)) {
            at = &name->next;
            continue;
        }
        *at = name->next;
        n->count--;
        name_free(name);
    }
}

static struct name *name_of(struct names *n, const char *host)
{
    for (struct name *name = n->first; name; name = name->next)
        if (strcmp(name->host, host) == 0)
            return name;
    if (n->count >= KEPT_MAX)
        names_forget(n, false);
    if (n->count >= KEPT_MAX)
        names_forget(n, true);
    /* Questions outlive who asked them: a worker that asks and gives up fills no memory with them. */
    if (n->count >= KEPT_MAX)
        return NULL;
    struct name *name = mem_zalloc(sizeof(*name));
    if (!name)
        return NULL;
    name->host = mem_strdup(host);
    if (!name->host) {
        mem_free(name);
        return NULL;
    }
    name->names = n;
    name->next = n->first;
    n->first = name;
    n->count++;
    return name;
}

static void wait_for(struct name *name, struct name_wait *w)
{
    w->next = name->waiting;
    w->previous = &name->waiting;
    if (w->next)
        w->next->previous = &w->next;
    name->waiting = w;
}

void names_ask(struct names *n, const char *host, struct name_wait *w)
{
    struct address from_hosts[ADDRESSES_MAX];
    size_t count = hosts_find(n, host, from_hosts);
    if (count > 0) {
        struct name_answer a = { .addresses = from_hosts, .count = count };
        w->done(w, &a);
        return;
    }
    struct name *name = name_of(n, host);
    if (!name) {
        struct name_answer a = { .error = HTTP_ERROR_CONNECTION_LIMIT_REACHED,
                                 .number = NEVER,
                                 .text = "too many names are being asked for" };
        w->done(w, &a);
        return;
    }
    if (!name->asking && name->until_ns > clock_monotonic_ns()) {
        struct name_answer a = { .addresses = name->addresses, .count = name->count };
        w->done(w, &a);
        return;
    }
    wait_for(name, w);
    if (name->asking)
        return;
    name->asking = true;
    struct ares_addrinfo_hints hints = { .ai_family = AF_UNSPEC,
                                         .ai_socktype = SOCK_STREAM,
                                         .ai_flags = ARES_AI_NOSORT };
    ares_getaddrinfo(n->channel, host, NULL, &hints, on_answer, name); /* may answer at once */
}

void names_cancel(struct name_wait *w)
{
    if (!w->previous)
        return;
    *w->previous = w->next;
    if (w->next)
        w->next->previous = w->previous;
    w->next = NULL;
    w->previous = NULL;
}

/* ---- the loop ---- */

void names_event(struct names *n, int fd, uint32_t events)
{
    bool in = events & (EPOLLIN | EPOLLERR | EPOLLHUP), out = events & EPOLLOUT;
    ares_process_fd(n->channel, in ? fd : ARES_SOCKET_BAD, out ? fd : ARES_SOCKET_BAD);
}

uint64_t names_deadline(struct names *n, uint64_t now)
{
    struct timeval left;
    if (!ares_timeout(n->channel, NULL, &left))
        return NEVER;
    return now + (uint64_t)left.tv_sec * NS_PER_S + (uint64_t)left.tv_usec * 1000;
}

void names_tick(struct names *n)
{
    ares_process_fd(n->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}
