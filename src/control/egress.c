/* SPDX-License-Identifier: Apache-2.0 */
/* See egress.h. Descriptors: the certificates and the counters' memfd stay open here, so that a room
 * that is started again gets the same ones. */
#include "control/egress.h"

#include <fcntl.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "control/restart.h"

#define START_LIMIT_NS (30 * NS_PER_S)
#define STOP_LIMIT_NS NS_PER_S
#define NEVER UINT64_MAX

struct owner {
    struct owner *next;
    uint32_t number;
};
/* What control knows of a rule's counter by itself: it may go on from here, and never back. */
struct seen {
    uint64_t requests, rate_floor_ns; /* rate_until_ns is at least this after so many requests */
    uint64_t told;                    /* that the room said it would send */
};
struct egress {
    struct egress_start start;
    struct egress_observer observer;
    int ca_fd, counters_fd;
    struct egress_counter *counters;
    struct seen *seen;
    struct grant_set *grants;
    size_t rule_count, rule_max; /* there are so many; arrays by rule have so many places */
    size_t granted;              /* so many of them this life of the room has in force */
    struct owner *owners;
    uint32_t link_flags;
    bool *revoked;
    bool all_revoked;

    struct room room;
    bool alive, ready, fault, ending;
    struct frame_gate gate;
    struct error fault_text;
    struct restart restart;
    unsigned deaths;
    uint32_t life;
};
enum phase { PHASE_STARTING, PHASE_RUNNING, PHASE_OVER };

/* ---- what the room may say ---- */

static int on_ready(void *context, struct cursor *c, const int *fds, size_t fd_count,
                    struct error *e)
{
    struct egress *g = context;
    uint32_t missing = cursor_u32(c);
    if ((missing & ~g->start.allow_missing) != 0)
        return error_set(e, -EPROTO,
                         "egress started without a layer of its jail that may not be missing");
    g->ready = true;
    g->gate.phase = PHASE_RUNNING;
    return g->observer.ready ? g->observer.ready(g->observer.context, missing, e) : 0;
}

/* Of what is recorded: a rule, or what keeper had it ask a token server. */
static bool known_rule(const struct egress *g, uint32_t rule)
{
    return rule < g->rule_count || (rule == EGRESS_MINT_RULE && g->observer.keeper);
}

static bool counters_believed(const struct egress *g)
{
#ifdef AMBIT_TEST_HOOKS
    return (g->start.test_skip & EGRESS_SKIP_TOLD) != 0;
#else
    return false;
#endif
}

/* How long one request keeps the bucket of `rate` from being full; 0: the grant has none. */
static uint64_t rate_each(const struct grant *grant)
{
    if (grant->class != GRANT_HTTP || grant->rate_count == GRANT_UNSET || grant->rate_count == 0)
        return 0;
    return MAX(grant->rate_ns / grant->rate_count, (uint64_t)1);
}

static uint64_t at_least_by(const struct seen *s, uint64_t requests, uint64_t each)
{
    uint64_t more, sum;
    bool over = __builtin_mul_overflow(requests - s->requests, each, &more) ||
                __builtin_add_overflow(s->rate_floor_ns, more, &sum);
    return over ? NEVER : sum;
}

/* The counters lie in memory that the room writes. Whoever has taken it over can write there what it
 * likes, but not unnoticed: a count that went back or is below what the room has told of, a bucket
 * that is fuller than so many requests leave it, or emptier than the grant lets it become. Each
 * request moves rate_until_ns by `each` at least, and first that, then the count: so the bucket is
 * compared with the count from before it was read, and remembered beside the one from after. */
static int counter_went_on(struct egress *g, uint32_t rule, struct error *e)
{
    struct seen *s = &g->seen[rule];
    const struct egress_counter *c = &g->counters[rule];
    const struct grant *grant = &g->grants->grants[rule];
    uint64_t each = rate_each(grant);
    uint64_t before = __atomic_load_n(&c->requests, __ATOMIC_ACQUIRE);
    uint64_t rate = __atomic_load_n(&c->rate_until_ns, __ATOMIC_ACQUIRE);
    uint64_t after = __atomic_load_n(&c->requests, __ATOMIC_ACQUIRE);
    if (counters_believed(g))
        return 0;
    if (before < s->requests || before < s->told || after < before ||
        (each && rate < at_least_by(s, before, each))) {
        error_set(e, -EPROTO, "egress set back what it has counted of grant %u",
                  (unsigned)rule + 1);
        error_hint(e, "foreign code may have run in that room: see in the receipt what it told "
                      "of, and report it");
        return -EPROTO;
    }
    if (each && rate > clock_monotonic_ns() + grant->rate_ns)
        return error_set(e, -EPROTO, "egress told of more requests than grant %u allows",
                         (unsigned)rule + 1);
    s->rate_floor_ns = MAX(at_least_by(s, after, each), rate < each ? 0 : rate - each);
    s->requests = after;
    return 0;
}

/* Before a room is started again with the same counters. */
static int counters_went_on(struct egress *g, struct error *e)
{
    int status = 0;
    for (size_t i = 0; status == 0 && i < g->rule_count; i++)
        status = counter_went_on(g, (uint32_t)i, e);
    return status;
}

/* Control counts for itself what it is told of: the room's own counter is one promise, this another. */
static int count_told(struct egress *g, uint32_t rule, struct error *e)
{
    if (rule == EGRESS_MINT_RULE)
        return 0;
    const struct grant *grant = &g->grants->grants[rule];
    g->seen[rule].told++;
    int status = counter_went_on(g, rule, e);
    if (status == 0 && !counters_believed(g) && grant->class == GRANT_HTTP &&
        grant->http.max_requests != GRANT_UNSET && g->seen[rule].told > grant->http.max_requests)
        status = error_set(e, -EPROTO, "egress told of more requests than grant %u allows",
                           (unsigned)rule + 1);
    return status;
}

static int on_request(void *context, struct cursor *c, const int *fds, size_t fd_count,
                      struct error *e)
{
    struct egress *g = context;
    struct egress_request r;
    int status = egress_request_get(c, &r, e);
    if (status == 0 && !known_rule(g, r.rule))
        status = error_set(e, -EPROTO, "egress told of a request that cannot be");
    if (status == 0)
        status = count_told(g, r.rule, e);
    if (status < 0)
        return status;
    return g->observer.request ? g->observer.request(g->observer.context, &r, e) : 0;
}

static int on_response(void *context, struct cursor *c, const int *fds, size_t fd_count,
                       struct error *e)
{
    struct egress *g = context;
    struct egress_response r;
    int status = egress_response_get(c, &r, e);
    if (status == 0 && !known_rule(g, r.rule))
        status = error_set(e, -EPROTO, "egress told of an answer that cannot be");
    if (status < 0)
        return status;
    return g->observer.response ? g->observer.response(g->observer.context, &r, e) : 0;
}

static int on_denied(void *context, struct cursor *c, const int *fds, size_t fd_count,
                     struct error *e)
{
    struct egress *g = context;
    struct egress_denied d;
    int status = egress_denied_get(c, &d, e);
    if (status == 0 && ((d.rule >= g->rule_count && d.rule != GRANT_NO_RULE) ||
                        d.reason >= GRANT_REASON_COUNT || d.reason == GRANT_ALLOWED))
        status = error_set(e, -EPROTO, "egress told of a denial that cannot be");
    if (status < 0)
        return status;
    return g->observer.denied ? g->observer.denied(g->observer.context, &d, e) : 0;
}

static int on_granted(void *context, struct cursor *c, const int *fds, size_t fd_count,
                      struct error *e)
{
    struct egress *g = context;
    uint32_t rule = cursor_u32(c);
    if (rule != g->granted || rule >= g->rule_count)
        return error_set(e, -EPROTO, "egress took a grant that nobody gave");
    g->granted++;
    return 0;
}

static int on_fault(void *context, struct cursor *c, const int *fds, size_t fd_count,
                    struct error *e)
{
    struct egress *g = context;
    CLEANUP(mem_freep) char *text = cursor_string(c);
    CLEANUP(mem_freep) char *hint = cursor_string(c);
    if (c->bad || !text || !hint)
        return error_set(e, -EPROTO, "egress told of a fault that cannot be");
    g->fault = true;
    g->gate.phase = PHASE_OVER;
    error_clear(&g->fault_text);
    error_set(&g->fault_text, -EIO, "%s", text);
    if (hint[0] != '\0')
        error_hint(&g->fault_text, "%s", hint);
    return 0;
}

#define IN(phase) (1u << (phase))
static const struct frame_rule rules[] = {
    { EGRESS_READY, "ready", IN(PHASE_STARTING), true, 0, sizeof(uint32_t), on_ready },
    { EGRESS_REQUEST, "request", IN(PHASE_RUNNING), false, 0, 32u << 10, on_request },
    { EGRESS_RESPONSE, "response", IN(PHASE_RUNNING), false, 0, 32u << 10, on_response },
    { EGRESS_DENIED, "denied", IN(PHASE_RUNNING), false, 0, 64u << 10, on_denied },
    { EGRESS_GRANTED, "granted", IN(PHASE_STARTING) | IN(PHASE_RUNNING), false, 0, sizeof(uint32_t),
      on_granted },
    { EGRESS_FAULT, "fault", IN(PHASE_STARTING) | IN(PHASE_RUNNING), true, 0, 64u << 10, on_fault },
};

/* ---- what it is told ---- */

static int send_frame(struct egress *g, uint16_t kind, const struct buf *payload, const int *fds,
                      size_t fd_count, struct error *e)
{
    int status = buf_status(payload);
    if (status < 0)
        return error_set(e, status, "a frame for egress cannot be built");
    return channel_send(g->room.channel, kind, payload->data, payload->size, fds, fd_count, e);
}

static int send_u32(struct egress *g, uint16_t kind, uint32_t value, struct error *e)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(16);
    buf_u32(&payload, value);
    return send_frame(g, kind, &payload, NULL, 0, e);
}

/* The room may have died a moment ago: egress_turn() sees to that. */
static int unless_dead(int status, struct error *e)
{
    if (status != -EPIPE && status != -ECONNRESET)
        return status;
    error_clear(e);
    return 0;
}

int egress_keeper(struct egress *g, struct error *e)
{
    CLEANUP(buf_done) struct buf none = BUF_INIT(1);
    CLEANUP(fd_closep) int fd = -1;
    if (!g->observer.keeper || !g->alive)
        return 0;
    int status = g->observer.keeper(g->observer.context, g->life, &fd, e);
    if (status < 0 || fd < 0)
        return status;
    return unless_dead(send_frame(g, EGRESS_KEEPER, &none, &fd, 1, e), e);
}

uint32_t egress_life(const struct egress *g)
{
    return g->life;
}

static int spawn(struct egress *g, struct error *e)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    int fds[2] = { g->ca_fd, g->counters_fd };
    int status = room_spawn(ROOM_EGRESS, g->start.allow_missing, &g->room, e);
    if (status < 0)
        return status;
    channel_reads_ahead(g->room.channel);
    g->alive = true;
    g->life++;
    g->ready = g->fault = false;
    g->start.more = (uint32_t)(g->rule_max - g->rule_count);
    g->granted = g->rule_count; /* START has them all, and comes before any link */
    restart_began(&g->restart);
    g->gate = (struct frame_gate){ .rules = rules,
                                   .rule_count = ARRAY_SIZE(rules),
                                   .phase = PHASE_STARTING };
    egress_start_put(&payload, &g->start);
    if (buf_status(&payload) == -EMSGSIZE)
        return error_set(e, -E2BIG, "the grants are too large to be sent");
    status = send_frame(g, EGRESS_START, &payload, fds, ARRAY_SIZE(fds), e);
    for (uint32_t i = 0; status == 0 && i < g->rule_count; i++)
        if (g->revoked[i] && !g->all_revoked)
            status = send_u32(g, EGRESS_REVOKE, i, e);
    if (status == 0 && g->all_revoked)
        status = send_u32(g, EGRESS_REVOKE, RULES_ALL, e);
    status = unless_dead(status, e);
    return status == 0 ? egress_keeper(g, e) : status;
}

/* ---- start ---- */

/* Rules keep their places; what egress has no use for, secrets of variables among it, does not go
 * there. */
int egress_grants_json(const struct grant_set *set, char **ret, struct error *e)
{
    CLEANUP(json_freep) json_t *all = grant_set_to_json(set);
    CLEANUP(buf_done) struct buf text = BUF_INIT(FRAME_MAX);
    json_t *items = json_object_get(all, "grants");
    for (size_t i = 0; i < set->count && i < json_array_size(items); i++) {
        if (set->grants[i].class == GRANT_HTTP)
            continue;
        json_t *other = json_pack("{s:[s]}", "log", "trace");
        if (!other || json_array_set_new(items, i, other) < 0)
            return error_set(e, -ENOMEM, "no memory for the grants");
    }
    if (!all || json_canonical(all, &text) < 0 || buf_status(&text) < 0)
        return error_set(e, -E2BIG, "the grants are too large to be sent");
    *ret = buf_take(&text);
    return *ret ? 0 : error_set(e, -ENOMEM, "no memory for the grants");
}

static int open_certificates(struct egress *g, const char *path, struct error *e)
{
    static const char *const places[] = { "/etc/ssl/certs/ca-certificates.crt", /* Debian, Arch */
                                          "/etc/pki/tls/certs/ca-bundle.crt",   /* Fedora */
                                          "/etc/ssl/ca-bundle.pem",             /* SUSE */
                                          "/etc/ssl/cert.pem" };                /* Alpine */
    if (path) {
        g->ca_fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (g->ca_fd < 0) {
            error_hint(e, "name a file of certificates (PEM) with --ca FILE");
            return error_set_errno(e, errno, "the certificates in %s cannot be opened", path);
        }
    }
    for (size_t i = 0; g->ca_fd < 0 && i < ARRAY_SIZE(places); i++)
        g->ca_fd = open(places[i], O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct stat st;
    if (g->ca_fd >= 0 && fstat(g->ca_fd, &st) == 0 && S_ISREG(st.st_mode))
        return 0;
    error_set(e, -ENOENT, "there are no certificates to verify servers with");
    error_hint(e, "install ca-certificates, or name a file (PEM) with --ca FILE");
    return -ENOENT;
}

static int make_counters(struct egress *g, struct error *e)
{
    size_t size = MAX(g->rule_max, (size_t)1) * sizeof(*g->counters);
    g->counters_fd = memfd_create("ambit-counters", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (g->counters_fd < 0 || ftruncate(g->counters_fd, (off_t)size) < 0 ||
        fcntl(g->counters_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return error_set_errno(e, errno, "the counters cannot be made");
    void *at = mmap(NULL, size, PROT_READ, MAP_SHARED, g->counters_fd, 0);
    if (at == MAP_FAILED)
        return error_set_errno(e, errno, "the counters cannot be mapped");
    g->counters = at;
    return 0;
}

static int add_listener(struct egress *g, const struct address *a, uint16_t port, struct error *e)
{
    if (g->start.listener_count == EGRESS_LISTENERS_MAX)
        return error_set(e, -E2BIG, "this machine has more addresses than can be kept from guests");
    g->start.listeners[g->start.listener_count++] =
        (struct egress_listener){ .address = *a, .port = port };
    return 0;
}

static bool is_unspecified(const struct address *a)
{
    static const uint8_t zero[16];
    return memcmp(a->bytes, zero, a->is_v6 ? 16 : 4) == 0;
}

/* A listener of every address is one of each that this machine has; a dual one of both families. */
static int add_everywhere(struct egress *g, uint16_t port, struct error *e)
{
    static const struct address any4, any6 = { .is_v6 = true };
    struct ifaddrs *all = NULL;
    int status = add_listener(g, &any4, port, e);
    if (status == 0)
        status = add_listener(g, &any6, port, e);
    if (status == 0 && getifaddrs(&all) < 0)
        status = error_set_errno(e, errno, "this machine's addresses cannot be listed");
    for (struct ifaddrs *i = all; status == 0 && i; i = i->ifa_next) {
        struct address a = { 0 };
        if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET) {
            memcpy(a.bytes, &((struct sockaddr_in *)i->ifa_addr)->sin_addr, 4);
        } else if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET6) {
            a.is_v6 = true;
            memcpy(a.bytes, &((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr, 16);
        } else {
            continue;
        }
        status = add_listener(g, &a, port, e);
    }
    if (all)
        freeifaddrs(all);
    return status;
}

static int add_listeners(struct egress *g, const struct egress_spec *spec, struct error *e)
{
    int status = 0;
    for (size_t i = 0; status == 0 && i < spec->listener_count; i++) {
        const struct egress_listener *l = &spec->listeners[i];
        status = is_unspecified(&l->address) ? add_everywhere(g, l->port, e)
                                             : add_listener(g, &l->address, l->port, e);
    }
    return status;
}

int egress_resolver_check(const char *text, struct error *e)
{
    const char *colon = strrchr(text, ':');
    struct address a;
    size_t size = colon ? (size_t)(colon - text) : 0;
    struct bytes host = { (const uint8_t *)text, size };
    bool bracketed = size > 2 && text[0] == '[' && text[size - 1] == ']';
    if (bracketed)
        host = (struct bytes){ (const uint8_t *)text + 1, size - 2 };
    unsigned port = 0;
    for (const char *c = colon ? colon + 1 : ""; *c; c++)
        port = *c < '0' || *c > '9' || port > 65535 ? 65536 : port * 10 + (unsigned)(*c - '0');
    if (colon && address_parse(host, &a) == 0 && a.is_v6 == bracketed && port > 0 && port <= 65535)
        return 0;
    error_set(e, -EINVAL, "the resolver \"%s\" is not an address and a port", text);
    error_hint(e, "like 127.0.0.1:53 or [::1]:53");
    return -EINVAL;
}

static int prepare(struct egress *g, const struct egress_spec *spec, struct error *e)
{
    g->observer = spec->observer;
    ASSERT(spec->more <= EGRESS_MORE_MAX);
    g->rule_count = spec->grants->count;
    g->rule_max = g->rule_count + spec->more;
    g->start.allow_missing = spec->allow_missing;
    g->start.test_skip = spec->test_skip;
    g->start.expires_ns = spec->grants->expires_ns == GRANT_UNSET
                              ? NEVER
                              : clock_monotonic_ns() + spec->grants->expires_ns;
    g->start.work_host = mem_strdup(spec->work_host);
    g->start.resolver = mem_strdup(spec->resolver ? spec->resolver : "");
    g->start.placeholders = mem_strdup(spec->placeholders ? spec->placeholders : "");
    g->link_flags = spec->link_flags;
    g->revoked = mem_array(g->rule_max + 1, sizeof(*g->revoked));
    g->seen = mem_array(g->rule_max + 1, sizeof(*g->seen));
    if (!g->start.work_host || !g->start.resolver || !g->start.placeholders || !g->revoked ||
        !g->seen)
        return error_set(e, -ENOMEM, "no memory for egress");
    int status = spec->resolver ? egress_resolver_check(spec->resolver, e) : 0;
    if (status == 0)
        status = grant_set_new(&g->grants, e);
    if (status == 0)
        status = grant_set_merge(g->grants, spec->grants, e);
    if (status == 0)
        status = egress_grants_json(g->grants, &g->start.grants_json, e);
    if (status == 0)
        status = add_listeners(g, spec, e);
    if (status == 0)
        status = open_certificates(g, spec->ca_file, e);
    if (status == 0)
        status = make_counters(g, e);
    return status;
}

int egress_start(const struct egress_spec *spec, struct egress **ret, struct error *e)
{
    struct egress *g = mem_zalloc(sizeof(*g));
    if (!g)
        return error_set(e, -ENOMEM, "no memory for egress");
    ASSERT(spec->observer.relinked);
    g->ca_fd = g->counters_fd = -1;
    int status = prepare(g, spec, e);
    if (status == 0)
        status = spawn(g, e);
    if (status < 0) {
        egress_free(g);
        return status;
    }
    *ret = g;
    return 0;
}

void egress_free(struct egress *g)
{
    if (!g)
        return;
    if (g->alive)
        room_end(&g->room);
    while (g->owners) {
        struct owner *o = g->owners;
        g->owners = o->next;
        mem_free(o);
    }
    if (g->counters)
        (void)munmap(g->counters, MAX(g->rule_max, (size_t)1) * sizeof(*g->counters));
    fd_close(g->ca_fd);
    fd_close(g->counters_fd);
    egress_start_done(&g->start);
    grant_set_free(g->grants);
    mem_free(g->revoked);
    mem_free(g->seen);
    mem_free(g);
}

/* ---- links ---- */

static int make_link(struct egress *g, uint32_t owner, int ret_fds[static LINK_FDS],
                     struct error *e)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(16);
    int theirs[LINK_FDS];
    int status = link_make(ret_fds, theirs, e);
    if (status < 0)
        return status;
    buf_u32(&payload, owner);
    buf_u32(&payload, g->link_flags);
    if (g->alive)
        status = unless_dead(send_frame(g, EGRESS_LINK, &payload, theirs, LINK_FDS, e), e);
    for (size_t i = 0; i < LINK_FDS; i++) {
        fd_close(theirs[i]);
        if (status < 0)
            fd_close(ret_fds[i]);
    }
    return status;
}

int egress_link(struct egress *g, uint32_t owner, int ret_fds[static LINK_FDS], struct error *e)
{
    struct owner *o = mem_zalloc(sizeof(*o));
    if (!o)
        return error_set(e, -ENOMEM, "no memory for a link");
    int status = make_link(g, owner, ret_fds, e);
    if (status < 0) {
        mem_free(o);
        return status;
    }
    o->number = owner;
    o->next = g->owners;
    g->owners = o;
    return 0;
}

void egress_unlink(struct egress *g, uint32_t owner)
{
    for (struct owner **at = &g->owners; *at; at = &(*at)->next) {
        struct owner *o = *at;
        if (o->number != owner)
            continue;
        *at = o->next;
        mem_free(o);
        /* A room that cannot be told is dead, or about to be seen so. */
        if (g->alive)
            (void)!send_u32(g, EGRESS_UNLINK, owner, NULL);
        return;
    }
}

static int relink_all(struct egress *g, struct error *e)
{
    int status = 0;
    for (struct owner *o = g->owners, *next; status == 0 && o; o = next) {
        int fds[LINK_FDS];
        next = o->next;
        status = make_link(g, o->number, fds, e);
        if (status < 0)
            break;
        status = g->observer.relinked(g->observer.context, o->number, fds, e);
        for (size_t i = 0; i < LINK_FDS; i++)
            fd_close(fds[i]);
    }
    return status;
}

/* ---- life and death ---- */

int egress_fd(const struct egress *g)
{
    return g->alive ? channel_fd(g->room.channel) : -1;
}

int egress_timeout_ms(const struct egress *g)
{
    if (g->ending || (g->alive && g->ready))
        return -1;
    return clock_until_ms(g->alive ? g->restart.began_ns + START_LIMIT_NS : g->restart.back_ns);
}

static int died(struct egress *g, struct error *e)
{
    CLEANUP(buf_done) struct buf why = BUF_INIT(1024);
    bool never_ready = !g->ready && g->deaths == 0;
    restart_bury(&g->restart, &g->room, &why);
    g->alive = false;
    g->deaths += !g->ending;
    if (g->ending)
        return 0;
    if (g->fault) { /* it will say the same again */
        *e = g->fault_text;
        error_prefix(e, "egress");
        return g->fault_text.code;
    }
    if (never_ready) {
        int code = g->restart.missing ? -ENODEV : -ECHILD;
        error_set(e, code, "egress did not start: %s", buf_cstr(&why));
        error_hint(e, "ambit doctor says whether this machine has what a room needs");
        return code;
    }
    int status = counters_went_on(g, e); /* a death is no way to a fresh budget */
    if (status < 0)
        return status;
    return g->observer.died ? g->observer.died(g->observer.context, buf_cstr(&why), e) : 0;
}

int egress_turn(struct egress *g, struct error *e)
{
    if (!g->alive) {
        if (g->ending || clock_monotonic_ns() < g->restart.back_ns)
            return 0;
        int status = spawn(g, e);
        return status < 0 ? status : relink_all(g, e);
    }
    struct error cause = ERROR_INIT;
    int status = channel_dispatch(g->room.channel, &g->gate, g, false, &cause);
    if (status == -EPIPE || status == -ECONNRESET)
        status = 1;
    if (status < 0) {
        *e = cause;
        return status;
    }
    if (status > 0 || g->fault) /* one that does not end by itself after a fault is ended */
        return died(g, e);
    if (!g->ready && clock_monotonic_ns() >= g->restart.began_ns + START_LIMIT_NS)
        return error_set(e, -ETIMEDOUT, "egress did not start within half a minute");
    return 0;
}

/* ---- more ---- */

size_t egress_rules(const struct egress *g)
{
    return g->rule_count;
}

/* Nothing else is waited for: who asked waits for us. One that runs takes a grant at once; one that does not is ended, and
 * the next one has it from its start. */
static int wait_granted(struct egress *g, struct error *e)
{
    uint64_t began = clock_monotonic_ns();
    int status = 0;
    while (status == 0 && (!g->alive || g->granted < g->rule_count)) {
        struct pollfd wait = { .fd = egress_fd(g), .events = POLLIN };
        uint64_t now = clock_monotonic_ns();
        int ms = egress_timeout_ms(g);
        if (now >= began + START_LIMIT_NS)
            return error_set(e, -ETIMEDOUT, "egress did not take a grant within half a minute");
        if (g->alive && g->ready && now >= began + CHANNEL_SEND_LIMIT_NS)
            room_kill(&g->room);
        (void)poll(&wait, 1, ms < 0 ? 1000 : MIN(ms, 1000));
        status = egress_turn(g, e);
    }
    return status;
}

int egress_grant(struct egress *g, const struct grant_set *one, struct error *e)
{
    CLEANUP(mem_freep) char *json = NULL;
    CLEANUP(mem_freep) char *all = NULL;
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    ASSERT(one->count == 1);
    if (g->rule_count == g->rule_max)
        return error_set(e, -E2BIG, "no further grant can be added to this run");
    int status = egress_grants_json(one, &json, e);
    if (status == 0)
        status = grant_set_merge(g->grants, one, e);
    if (status == 0)
        status = egress_grants_json(g->grants, &all, e);
    if (status < 0)
        return status;
    mem_free(g->start.grants_json);
    g->start.grants_json = TAKE(all);
    buf_u32(&payload, (uint32_t)g->rule_count++);
    buf_string(&payload, json);
    if (g->alive)
        status = unless_dead(send_frame(g, EGRESS_GRANT, &payload, NULL, 0, e), e);
    return status < 0 ? status : wait_granted(g, e);
}

int egress_placeholders(struct egress *g, const char *json, struct error *e)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    char *copy = mem_strdup(json);
    if (!copy)
        return error_set(e, -ENOMEM, "no memory for placeholders");
    mem_free(g->start.placeholders);
    g->start.placeholders = copy;
    buf_string(&payload, json);
    return g->alive ? unless_dead(send_frame(g, EGRESS_PLACEHOLDERS, &payload, NULL, 0, e), e) : 0;
}

int egress_revoke(struct egress *g, uint32_t rule, struct error *e)
{
    ASSERT(rule < g->rule_count || rule == RULES_ALL);
    if (rule == RULES_ALL)
        g->all_revoked = true;
    else
        g->revoked[rule] = true;
    return g->alive ? unless_dead(send_u32(g, EGRESS_REVOKE, rule, e), e) : 0;
}

int egress_expires(struct egress *g, uint64_t expires_ns, struct error *e)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(16);
    g->start.expires_ns = expires_ns == GRANT_UNSET ? NEVER : clock_monotonic_ns() + expires_ns;
    buf_u64(&payload, g->start.expires_ns);
    return g->alive ? unless_dead(send_frame(g, EGRESS_EXPIRE, &payload, NULL, 0, e), e) : 0;
}

/* Turns until `*flag`, until the room is gone, or until the clock shows `until_ns`. */
static int turn_until(struct egress *g, const bool *flag, uint64_t until_ns, struct error *e)
{
    int status = 0;
    while (status == 0 && g->alive && !*flag && clock_monotonic_ns() < until_ns) {
        struct pollfd wait = { .fd = channel_fd(g->room.channel), .events = POLLIN };
        (void)poll(&wait, 1, 100);
        status = egress_turn(g, e);
    }
    return status;
}

int egress_end(struct egress *g, bool at_once, struct error *e)
{
    CLEANUP(buf_done) struct buf none = BUF_INIT(1);
    const bool never = false;
    int status = 0;
    /* A guest may end before egress has started: what keeps it from starting is told all the same,
     * however fast the guest was. */
    if (g->deaths == 0 && !at_once)
        status = turn_until(g, &g->ready, g->restart.began_ns + START_LIMIT_NS, e);
    g->ending = true;
    if (!g->alive)
        return status;
    /* Before it is ready it has carried nothing. */
    if (status == 0 && g->ready && send_frame(g, EGRESS_STOP, &none, NULL, 0, NULL) == 0)
        status = turn_until(g, &never, clock_monotonic_ns() + STOP_LIMIT_NS, e);
    if (g->alive) {
        room_end(&g->room);
        g->alive = false;
    }
    return status;
}

struct egress_use egress_use(const struct egress *g, size_t rule)
{
    ASSERT(rule < g->rule_count);
    const volatile struct egress_counter *c = &g->counters[rule];
    return (struct egress_use){ .requests = c->sent,
                                .bytes_sent = c->bytes_sent,
                                .bytes_received = c->bytes_received };
}

unsigned egress_deaths(const struct egress *g)
{
    return g->deaths;
}
