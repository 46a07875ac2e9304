/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control's side of the egress room (src/egress, docs/egress.md): starts it, gives it rules and
 * links, hears what it did, and starts it again when it dies.
 *
 *     egress_start(&spec, &g, e)            spawned; works beside whatever comes next
 *     egress_link(g, owner, fds, e)         one link for each worker; its end goes there
 *     loop: poll(egress_fd(g), egress_timeout_ms(g)); egress_turn(g, e)
 *     egress_grant(g, more, e)              a person allowed something more (--ask)
 *     egress_keeper(g, e)                   keeper is there again: a new channel to it
 *     egress_unlink(g, owner)               that worker is gone
 *     egress_end(g); egress_use(g, rule, …); egress_free(g)
 *
 * A link that is made before the room is ready waits for it in the ring: nobody has to.
 * When the room dies, it is started again after a pause that doubles (20 ms to 2 s); every owner
 * then gets a new link through `relinked`. What was under way has failed. Counters live in a memfd
 * that survives it, so a crash resets nothing.
 *
 * The room is not believed: frames are bounded and typed by a gate, texts escaped where shown.
 */
#pragma once

#include "grant/grant.h"
#include "room/link.h"
#include "wire/egress.h"

struct egress;

/* All may be NULL but `relinked`. < 0 is a fault that egress_turn() forwards. */
struct egress_observer {
    void *context;
    /* The room was started again: these descriptors (borrowed) are the owner's end of its new
     * link. Send them as RUN_LINK. */
    int (*relinked)(void *context, uint32_t owner, const int fds[static LINK_FDS], struct error *e);
    /* Once per start of the room: it is in its jail; layers that are missing (allowed ones). */
    int (*ready)(void *context, uint32_t missing, struct error *e);
    /* Before anything of it is sent. */
    int (*request)(void *context, const struct egress_request *r, struct error *e);
    /* Exactly one for each request, unless the room died meanwhile. */
    int (*response)(void *context, const struct egress_response *r, struct error *e);
    /* A request that did not go; of links with EGRESS_LINK_EXPLAINS. */
    int (*denied)(void *context, const struct egress_denied *d, struct error *e);
    /* The room died; `why` in words. */
    int (*died)(void *context, const char *why, struct error *e);
    /* NULL where no grant names a secret. The room begins its life `life` (1, 2, …): the end of a channel to keeper
     * that goes there, or -1 while keeper is dead (egress_keeper() follows). */
    int (*keeper)(void *context, uint32_t life, int *ret_fd, struct error *e);
};

struct egress_spec {
    const struct grant_set *grants;
    const char *work_host;
    const char *ca_file;  /* NULL: the system's bundle */
    const char *resolver; /* "ADDR:PORT", "[ADDR]:PORT"; NULL: /etc/resolv.conf's */
    /* Ambit's own listeners: no grant dials them. An unspecified address means each of this
     * machine's. Borrowed for the call. */
    const struct egress_listener *listeners;
    size_t listener_count;
    const char *placeholders; /* JSON object: name of a secret → what stands for it; NULL: none */
    uint32_t link_flags;      /* enum egress_link_flag, of every link */
    uint32_t more;            /* how many grants egress_grant() may add; at most EGRESS_MORE_MAX */
    uint32_t allow_missing;   /* enum jail_layer */
    uint32_t test_skip;       /* enum egress_skip; 0 but in test builds */
    struct egress_observer observer;
};

/* Is it "ADDR:PORT" or "[ADDR]:PORT"? 0 or -EINVAL with a hint. */
int egress_resolver_check(const char *text, struct error *e) MUST_CHECK;
/* Starts the room. Everything in the spec but the observer's context is copied. < 0: no certificates
 * to be read, a resolver that is none, no process … */
int egress_start(const struct egress_spec *spec, struct egress **ret, struct error *e) MUST_CHECK;
void egress_free(struct egress *g); /* kills the room if it lives */
static inline void egress_freep(struct egress **g)
{
    egress_free(*g);
}

/* Makes the link of a worker; `owner` is the caller's number for it (each once at a time).
 * The descriptors are the worker's end and the caller's to send and close. While the room is dead
 * too: then this end leads nowhere, and `relinked` comes later. */
int egress_link(struct egress *g, uint32_t owner, int ret_fds[static LINK_FDS],
                struct error *e) MUST_CHECK;
/* The worker is gone: its exchanges end. Fine for an owner that has no link. */
void egress_unlink(struct egress *g, uint32_t owner);

int egress_fd(const struct egress *g);         /* for POLLIN; -1 while the room is dead */
int egress_timeout_ms(const struct egress *g); /* until egress_turn() is wanted; -1 = for ever */
/* Asks the observer for a channel to keeper, and sends it there; nothing while the room is dead. */
int egress_keeper(struct egress *g, struct error *e) MUST_CHECK;
uint32_t egress_life(const struct egress *g); /* which one it is in: 1, 2, … */
/* Takes frames, notices a death, starts again. Call after each poll; cheap when nothing is. */
int egress_turn(struct egress *g, struct error *e) MUST_CHECK;

/* Adds a set of one grant behind all others, as the rule egress_rules() says before, and waits until
 * it is in force: what a worker asks for after this is decided by it. Rules there were keep their
 * numbers and counters. A grant of another class than http only takes its place, so that rules have
 * the same numbers everywhere. A room that died is started again meanwhile (`relinked` is called),
 * with everything that was added. < 0: too many, or the room does not take it. */
int egress_grant(struct egress *g, const struct grant_set *one, struct error *e) MUST_CHECK;
/* Other placeholders than those of the start, before whatever is granted next is in force. */
int egress_placeholders(struct egress *g, const char *json, struct error *e) MUST_CHECK;
size_t egress_rules(const struct egress *g); /* how many there are, added ones too */

/* Ends the exchanges of a rule, and denies new ones; RULES_ALL for all. For good: a room
 * that is started again is told again. */
int egress_revoke(struct egress *g, uint32_t rule, struct error *e) MUST_CHECK;
/* How long a grant set holds counts from here: the start of the run (READY of the worker). Until
 * it is called, from egress_start(). */
int egress_expires(struct egress *g, uint64_t expires_ns, struct error *e) MUST_CHECK;

/* No more: gives what is under way no time, takes the last records, kills. The counters stay. One
 * that is still starting for the first time is waited for, but `at_once`: < 0 when it cannot start. */
int egress_end(struct egress *g, bool at_once, struct error *e) MUST_CHECK;
/* What a rule was used for, over all lives of the room. */
struct egress_use {
    uint64_t requests, bytes_sent, bytes_received; /* bytes of bodies */
};
struct egress_use egress_use(const struct egress *g, size_t rule);
unsigned egress_deaths(const struct egress *g);
