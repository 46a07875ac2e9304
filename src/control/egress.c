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
#include "control/decider.h"

#define STOP_LIMIT_NS NS_PER_S
#define TAKEN_AT_ONCE_NS (20 * NS_PER_MS) /* a grant, by a room that is well */
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
    struct decider d;
    size_t granted; /* so many rules this life of the room has in force */
    struct owner *owners;
    uint32_t link_flags;
    uint32_t life;
    bool ending;
};

/* ---- what the room may say ---- */

static int on_ready(void *context, struct cursor *c, const int *fds, size_t fd_count,
                    struct error *e)
{
    struct egress *g = context;
    uint32_t missing = cursor_u32(c);
    if ((missing & ~g->start.allow_missing) != 0)
        return error_set(e, -EPROTO,
                         "egress started without a layer of its jail that may not be missing");
    g->d.ready = true;
    g->d.gate.phase = PHASE_RUNNING;
    return g->observer.ready ? g->observer.ready(g->observer.context, missing, e) : 0;
}

/* Of what is recorded: a rule, or what keeper had it ask a token server. */
static bool known_rule(const struct egress *g, uint32_t rule)
{
    return rule < g->d.rule_count || (rule == EGRESS_MINT_RULE && g->observer.keeper);
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
    const struct grant *grant = &g->d.grants->grants[rule];
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
    for (size_t i = 0; status == 0 && i < g->d.rule_count; i++)
        status = counter_went_on(g, (uint32_t)i, e);
    return status;
}

/* Control counts for itself what it is told of: the room's own counter is one promise, this another. */
static int count_told(struct egress *g, uint32_t rule, struct error *e)
{
    if (rule == EGRESS_MINT_RULE)
        return 0;
    const struct grant *grant = &g->d.grants->grants[rule];
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
    if (status == 0 && ((d.rule >= g->d.rule_count && d.rule != GRANT_NO_RULE) ||
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
    if (rule != g->granted || rule >= g->d.rule_count)
        return error_set(e, -EPROTO, "egress took a grant that nobody gave");
    g->granted++;
    return 0;
}

static int on_fault(void *context, struct cursor *c, const int *fds, size_t fd_count,
                    struct error *e)
{
    return decider_on_fault(&((struct egress *)context)->d, c, -EIO, e);
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

int egress_keeper(struct egress *g, struct error *e)
{
    CLEANUP(buf_done) struct buf none = BUF_INIT(1);
    CLEANUP(fd_closep) int fd = -1;
    if (!g->observer.keeper || !g->d.alive)
        return 0;
    int status = g->observer.keeper(g->observer.context, g->life, &fd, e);
    if (status < 0 || fd < 0)
        return status;
    return decider_tell(&g->d, EGRESS_KEEPER, &none, &fd, 1, e);
}

uint32_t egress_life(const struct egress *g)
{
    return g->life;
}

static int spawn(struct egress *g, struct error *e)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    int fds[2] = { g->ca_fd, g->counters_fd };
    int status = room_spawn(ROOM_EGRESS, g->start.allow_missing, &g->d.room, e);
    if (status < 0)
        return status;
    channel_reads_ahead(g->d.room.channel);
    g->life++;
    g->granted = g->d.rule_count; /* START has them all, and comes before any link */
    decider_began(&g->d, rules, ARRAY_SIZE(rules));
    egress_start_put(&payload, &g->start);
    status = decider_start(&g->d, EGRESS_START, &payload, fds, ARRAY_SIZE(fds), e);
    return status == 0 ? egress_keeper(g, e) : status;
}

/* ---- start ---- */

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
    size_t size = MAX(g->d.rule_max, (size_t)1) * sizeof(*g->counters);
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
    g->d = (struct decider){ .name = "egress",
                             .grant = EGRESS_GRANT,
                             .revoke = EGRESS_REVOKE,
                             .expire = EGRESS_EXPIRE,
                             .grants_json = &g->start.grants_json,
                             .expires_ns = &g->start.expires_ns,
                             .more = &g->start.more };
    g->start.allow_missing = spec->allow_missing;
    g->start.test_skip = spec->test_skip;
    g->start.work_host = mem_strdup(spec->work_host);
    g->start.resolver = mem_strdup(spec->resolver ? spec->resolver : "");
    g->start.placeholders = mem_strdup(spec->placeholders ? spec->placeholders : "");
    g->link_flags = spec->link_flags;
    g->seen = mem_array(spec->grants->count + spec->more + 1, sizeof(*g->seen));
    if (!g->start.work_host || !g->start.resolver || !g->start.placeholders || !g->seen)
        return error_set(e, -ENOMEM, "no memory for egress");
    int status = spec->resolver ? egress_resolver_check(spec->resolver, e) : 0;
    if (status == 0)
        status = decider_init(&g->d, spec->grants, spec->more, e);
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
    while (g->owners) {
        struct owner *o = g->owners;
        g->owners = o->next;
        mem_free(o);
    }
    if (g->counters)
        (void)munmap(g->counters, MAX(g->d.rule_max, (size_t)1) * sizeof(*g->counters));
    fd_close(g->ca_fd);
    fd_close(g->counters_fd);
    egress_start_done(&g->start);
    decider_done(&g->d);
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
    status = decider_tell(&g->d, EGRESS_LINK, &payload, theirs, LINK_FDS, e);
    link_close_fds(theirs);
    if (status < 0)
        link_close_fds(ret_fds);
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
        CLEANUP(buf_done) struct buf payload = BUF_INIT(16);
        buf_u32(&payload, owner);
        /* A room that cannot be told is dead, or about to be seen so. */
        (void)!decider_tell(&g->d, EGRESS_UNLINK, &payload, NULL, 0, NULL);
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
        link_close_fds(fds);
    }
    return status;
}

/* ---- life and death ---- */

int egress_fd(const struct egress *g)
{
    return decider_fd(&g->d);
}

int egress_timeout_ms(const struct egress *g)
{
    return g->ending ? -1 : decider_timeout_ms(&g->d);
}

static int died(struct egress *g, struct error *e)
{
    CLEANUP(buf_done) struct buf why = BUF_INIT(1024);
    bool never_ready = !g->d.ready && g->d.deaths == 0;
    decider_bury(&g->d, &why);
    g->d.deaths += !g->ending;
    if (g->ending)
        return 0;
    if (g->d.fault) { /* it will say the same again */
        *e = g->d.fault_text;
        error_prefix(e, "egress");
        return g->d.fault_text.code;
    }
    if (never_ready)
        return decider_not_started(&g->d, &why, e);
    int status = counters_went_on(g, e); /* a death is no way to a fresh budget */
    if (status < 0)
        return status;
    return g->observer.died ? g->observer.died(g->observer.context, buf_cstr(&why), e) : 0;
}

int egress_turn(struct egress *g, struct error *e)
{
    if (!g->d.alive) {
        if (g->ending || clock_monotonic_ns() < g->d.restart.back_ns)
            return 0;
        int status = spawn(g, e);
        return status < 0 ? status : relink_all(g, e);
    }
    int status = decider_hear(&g->d, g, e);
    return status > 0 ? died(g, e) : status;
}

/* ---- more ---- */

size_t egress_rules(const struct egress *g)
{
    return g->d.rule_count;
}

/* Nothing else is waited for: who asked waits for us. One that runs takes a grant at once; one that does not is ended, and
 * the next one has it from its start. So is one that takes each of many grants as late as it may. */
static int wait_granted(struct egress *g, struct error *e)
{
    uint64_t began = clock_monotonic_ns(), life = g->life;
    uint64_t patience = g->d.alive ? channel_patience(g->d.room.channel) : CHANNEL_SEND_LIMIT_NS;
    int status = 0;
    while (status == 0 && (!g->d.alive || g->granted < g->d.rule_count)) {
        struct pollfd wait = { .fd = egress_fd(g), .events = POLLIN };
        uint64_t now = clock_monotonic_ns();
        int ms = egress_timeout_ms(g);
        if (now >= began + DECIDER_START_LIMIT_NS)
            return error_set(e, -ETIMEDOUT, "egress did not take a grant within half a minute");
        if (g->d.alive && g->d.ready && now >= began + patience)
            room_kill(&g->d.room);
        (void)poll(&wait, 1, ms < 0 ? 1000 : MIN(ms, 1000));
        status = egress_turn(g, e);
    }
    uint64_t took = clock_monotonic_ns() - began;
    if (g->d.alive && g->life == life && took > TAKEN_AT_ONCE_NS)
        channel_waited(g->d.room.channel, took - TAKEN_AT_ONCE_NS);
    return status;
}

int egress_grant(struct egress *g, const struct grant_set *one, struct error *e)
{
    int status = decider_grant(&g->d, one, e);
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
    return decider_tell(&g->d, EGRESS_PLACEHOLDERS, &payload, NULL, 0, e);
}

int egress_revoke(struct egress *g, uint32_t rule, struct error *e)
{
    return decider_revoke(&g->d, rule, e);
}

int egress_expires(struct egress *g, uint64_t expires_ns, struct error *e)
{
    return decider_expires(&g->d, expires_ns, e);
}

/* Turns until `*flag`, until the room is gone, or until the clock shows `until_ns`. */
static int turn_until(struct egress *g, const bool *flag, uint64_t until_ns, struct error *e)
{
    int status = 0;
    while (status == 0 && g->d.alive && !*flag && clock_monotonic_ns() < until_ns) {
        struct pollfd wait = { .fd = channel_fd(g->d.room.channel), .events = POLLIN };
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
    if (g->d.deaths == 0 && !at_once)
        status = turn_until(g, &g->d.ready, g->d.restart.began_ns + DECIDER_START_LIMIT_NS, e);
    g->ending = true;
    if (!g->d.alive)
        return status;
    /* Before it is ready it has carried nothing. */
    if (status == 0 && g->d.ready && decider_send(&g->d, EGRESS_STOP, &none, NULL, 0, NULL) == 0)
        status = turn_until(g, &never, clock_monotonic_ns() + STOP_LIMIT_NS, e);
    if (g->d.alive) {
        room_end(&g->d.room);
        g->d.alive = false;
    }
    return status;
}

struct egress_use egress_use(const struct egress *g, size_t rule)
{
    ASSERT(rule < g->d.rule_count);
    const volatile struct egress_counter *c = &g->counters[rule];
    return (struct egress_use){ .requests = c->sent,
                                .bytes_sent = c->bytes_sent,
                                .bytes_received = c->bytes_received };
}

unsigned egress_deaths(const struct egress *g)
{
    return g->d.deaths;
}
