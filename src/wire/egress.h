/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What control and the egress room say to each other. Requests themselves go over links
 * (room/link.h) in the frames of wire/http.h; control never sees a body.
 */
#pragma once

#include "wire/address.h"
#include "wire/frame.h"
#include "wire/http.h"
#include "wire/rules.h"

enum egress_frame {
    /* control → egress */
    EGRESS_START = 1,  /* once; egress_start_put(); fds: [0] certificates, PEM, [1] counters */
    EGRESS_LINK = 2,   /* u32 owner, u32 enum egress_link_flag bits; fds: LINK_FDS */
    EGRESS_UNLINK = 3, /* u32 owner: its exchanges end without a word */
    EGRESS_REVOKE = 4, /* rules_revoke_put() */
    EGRESS_EXPIRE = 5, /* rules_expire_put() */
    EGRESS_STOP = 6,   /* no payload: send the last records and exit */
    EGRESS_GRANT = 7,  /* rules_grant_put() */
    /* fd: the channel to keeper (wire/keeper.h), in place of the one before; what was asked there has
     * no answer and is asked again */
    EGRESS_KEEPER = 8,
    EGRESS_PLACEHOLDERS = 9, /* string: as of the start, in place of those before (a reload) */
    /* egress → control */
    EGRESS_READY = 16,    /* once: u32 missing jail layers */
    EGRESS_REQUEST = 17,  /* egress_request_put(): what is about to be sent */
    EGRESS_RESPONSE = 18, /* egress_response_put(): how it ended */
    EGRESS_GRANTED = 20,  /* u32 rule: it is in force, for each GRANT in its order */
    EGRESS_FAULT = 19,    /* once, instead of READY: string text, string hint; then it exits */
    EGRESS_DENIED = 21,   /* egress_denied_put(): of links with EGRESS_LINK_EXPLAINS */
};
#define EGRESS_MINT_RULE (UINT32_MAX - 2) /* in records: a request of keeper's to a token server */
enum egress_link_flag {
    /* A native client is behind it: denials carry the smallest grant (http_failure.grant) and are told
     * to control; placeholders stand for secrets; HTTP_UPGRADE may be asked for. */
    EGRESS_LINK_EXPLAINS = 1,
};
#define EGRESS_LISTENERS_MAX 256
#define EGRESS_RULES_MAX 1024
#define EGRESS_MORE_MAX 512 /* rules that GRANTs may add to those of the start */
#define EGRESS_PLACEHOLDERS_MAX 1024
#define EGRESS_TEXT_MAX 4096 /* of an URL or text in a record; longer ones are cut */

struct egress_listener {
    struct address address;
    uint16_t port;
};

/* EGRESS_START. */
struct egress_start {
    char *grants_json; /* the run's set; classes egress has no use for replaced, places kept */
    char *work_host;
    char *resolver;      /* "" = /etc/resolv.conf's */
    uint64_t expires_ns; /* CLOCK_MONOTONIC, or UINT64_MAX */
    uint32_t allow_missing, test_skip;
    uint32_t more;      /* rules that may be added later, for which there are counters too */
    char *placeholders; /* JSON object: secret's name → the text that stands for it; "" = none */
    struct egress_listener listeners[EGRESS_LISTENERS_MAX];
    size_t listener_count;
};
#ifdef AMBIT_TEST_HOOKS
/* Single defences that a negative control leaves open; the low 16 bits are enum jail_layer. A
 * release build has no name for them, and its room refuses to start when test_skip is not 0. */
enum egress_skip {
    EGRESS_SKIP_JAIL_MASK = 0xffff,
    EGRESS_SKIP_DECISION = 1 << 16, /* the first http rule allows everything */
    EGRESS_SKIP_ADDRESS = 1 << 17,  /* resolved addresses are not looked at */
    EGRESS_SKIP_PIN = 1 << 18,      /* nor is the address that is dialled */
    EGRESS_SKIP_TLS = 1 << 19,      /* certificates are not verified */
    EGRESS_SKIP_STRICT = 1 << 20,   /* what an origin says about framing is not checked */
    EGRESS_SKIP_SIZES = 1 << 21,    /* max_request_bytes, max_response_bytes */
    EGRESS_SKIP_COUNTERS = 1 << 22, /* max_requests, rate */
    EGRESS_SKIP_TIMEOUTS = 1 << 23,
    EGRESS_SKIP_SCRUB = 1 << 25,       /* values that an answer shows are not masked */
    EGRESS_SKIP_PLACEHOLDER = 1 << 26, /* placeholders may stand anywhere */
    EGRESS_SKIP_FRAMES = 1 << 27,      /* a WebSocket's bytes pass as they are */
    EGRESS_SKIP_TOLD = 1 << 28,        /* control compares the counters with nothing */
    EGRESS_SKIP_WIPE = 1 << 30,        /* values lie where they were */
    EGRESS_SOON = 1 << 29,             /* the time of token servers is up after a second */
    EGRESS_PROBE =
        1 << 24, /* play escaped native code (room/probe.h): the lines of work_host are its words */
};
#endif

/* The counters' memfd: one for each rule and each that may be added, written by egress only. Control keeps what it saw of the
 * first two, and how often it was told of a request: it ends a room that sets them back (control/egress.c). */
struct egress_counter {
    uint64_t requests;      /* that max_requests counts */
    uint64_t rate_until_ns; /* of `rate`: CLOCK_MONOTONIC at which the bucket is full */
    uint64_t sent, bytes_sent, bytes_received; /* requests that went out, bytes of bodies */
    uint64_t reserved[3];
};

/* Intent, before anything of it is sent. Texts are at most EGRESS_TEXT_MAX bytes. */
struct egress_request {
    uint64_t number; /* by egress, from 1, in one life of the room */
    uint32_t owner, rule;
    struct bytes method, url; /* canonical; without its query, which may hold secrets */
    struct bytes address;     /* that were found and allowed, "a, b" */
};
/* How it ended. */
struct egress_response {
    uint64_t number;
    uint32_t owner, rule;
    uint16_t status;  /* 0: none came */
    uint16_t version; /* 10, 11, 20 */
    uint32_t error;   /* enum http_error, 0 = whole */
    uint32_t masked;  /* places of the answer where the value of a secret was masked */
    uint64_t bytes_sent, bytes_received, took_ns;
    struct bytes text; /* of an error */
};
/* A request that did not go, or was cut because of what it held. */
struct egress_denied {
    uint32_t owner, rule,
        reason;               /* rule: the nearest, or GRANT_NO_RULE; reason: enum grant_reason */
    struct bytes method, url; /* without its query */
    struct bytes text, grant; /* grant: the smallest that would have allowed it, "" = none helps */
};
void egress_denied_put(struct buf *out, const struct egress_denied *d);
int egress_denied_get(struct cursor *c, struct egress_denied *ret, struct error *e) MUST_CHECK;
void egress_request_put(struct buf *out, const struct egress_request *r);
int egress_request_get(struct cursor *c, struct egress_request *ret, struct error *e) MUST_CHECK;
void egress_response_put(struct buf *out, const struct egress_response *r);
int egress_response_get(struct cursor *c, struct egress_response *ret, struct error *e) MUST_CHECK;
void egress_start_put(struct buf *out, const struct egress_start *s);
/* Owned by the caller: egress_start_done(). */
int egress_start_get(struct cursor *c, struct egress_start *ret, struct error *e) MUST_CHECK;
void egress_start_done(struct egress_start *s);
