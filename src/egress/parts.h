/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the egress room share. Nobody else includes it.
 *
 *   rules.c     what is granted, from the start on and by answers later
 *   egress.c    birth: start, certificates, jail; frames from control; the loop
 *   poller.c    one epoll; descriptors by number
 *   names.c     names to addresses: /etc/hosts as it was, then DNS; coalesced, cached
 *   decide.c    rules, counters, addresses: may this request go, and by which rule
 *   outgoing.c  one request from its frame to its record; deadlines
 *   peer.c      one link: its frames, its exchanges, what is to be said on it
 *   transfer.c  one exchange's life in curl: request out, response body in
 *   pool.c      curl in the loop: its sockets, timers, what has ended (pool.h)
 *   response.c  what an origin's header lines may be
 *   mint.c      keeper's requests to token servers
 *   secrets.c   asks keeper for the values that a request's rule names; puts them on
 *   answer.c    masks them where the answer shows them
 *   scrub.c     how (scrub.h); pure
 *   placeholder.c  texts that stand for secrets: replaced in their header, refused elsewhere
 *   explain.c   the smallest grant that would have allowed what was denied
 *   websocket.c one WebSocket on a connection that curl made
 *
 * One thread. curl calls back while it works, and a handle must not be taken from it then: callbacks
 * only change the exchange, and what is over is swept by the loop (outgoing_end() says when it may
 * be called).
 */
#pragma once

#include <ares.h>
#include <openssl/x509.h>

#include "base/mem.h"
#include "egress/placeholder.h"
#include "egress/scrub.h"
#include "grant/live.h"
#include "room/channel.h"
#include "room/link.h"
#include "wire/egress.h"
#include "wire/keeper.h"

#define EXCHANGES_MAX 1024        /* at once, of all links */
#define EXCHANGES_OF_LINK_MAX 256 /* at once, of a worker's */
#define LINKS_MAX 256
#define DESCRIPTORS_MAX 4096
#define ADDRESSES_MAX 32           /* of one name that are looked at; more are an error */
#define UPLOAD_WINDOW (256u << 10) /* request bytes a link may have under way */
#define NEVER UINT64_MAX
#define CURL_TEXT_SIZE 256

struct egress_room;
struct peer;
struct pool;
struct websocket;

/* ---- rules.c ---- */

/* Compiles the grants of `room->start`; makes a place for each rule's connections, and maps the counters. */
int rules_start(struct egress_room *room, int counters_fd, struct error *e) MUST_CHECK;

/* ---- poller.c ---- */

enum watch_kind {
    WATCH_NONE,
    WATCH_CONTROL,
    WATCH_LINK,
    WATCH_CURL,
    WATCH_NAMES,
    WATCH_WEBSOCKET,
    WATCH_KEEPER
};
struct watch {
    enum watch_kind kind;
    uint32_t events;
    void *owner;
    bool rests;
};
struct poller {
    int epoll;
    struct watch watches[DESCRIPTORS_MAX]; /* by descriptor: an event that outlived its watch finds
                                              none, or a harmless one */
};
int poller_init(struct poller *p, struct error *e) MUST_CHECK;
/* events 0 removes. < 0: too many descriptors, no memory. */
int poller_set(struct poller *p, int fd, enum watch_kind kind, void *owner,
               uint32_t events) MUST_CHECK;
/* Nobody wants to know now, but somebody soon will: the watch stays, and its next event, if one comes
 * before poller_set(), ends it. Who opens a descriptor forgets what rests by its number. */
void poller_rest(struct poller *p, int fd);
void poller_forget(struct poller *p, int fd);

/* ---- names.c ---- */

struct names;
struct name_answer {
    enum http_error error; /* HTTP_OK, or why there is nothing */
    uint64_t number;       /* DNS rcode */
    const char *text;
    const struct address *addresses;
    size_t count;
};
/* Waits for an answer; part of its exchange. */
struct name_wait {
    struct name_wait *next, **previous; /* linked while waiting */
    void (*done)(struct name_wait *w, const struct name_answer *a);
};
/* Reads the system's files: before the jail. `resolver` "" or "ADDR:PORT[,…]". */
int names_new(struct egress_room *room, const char *resolver, struct names **ret,
              struct error *e) MUST_CHECK;
void names_free(struct names *n);
/* Calls w->done exactly once, perhaps before it returns, unless names_cancel() came first. */
void names_ask(struct names *n, const char *host, struct name_wait *w);
void names_cancel(struct name_wait *w);
void names_event(struct names *n, int fd, uint32_t events);
uint64_t names_deadline(struct names *n, uint64_t now); /* when names_tick() is wanted */
void names_tick(struct names *n);

/* ---- exchange ---- */

enum outgoing_state {
    OUTGOING_RESOLVING,
    OUTGOING_ASKING,  /* keeper, for values */
    OUTGOING_RUNNING, /* in curl's hands */
    OUTGOING_OVER,    /* to be swept */
};
struct body_queue {
    struct buf bytes;
    size_t at;
};
struct line_place { /* a field in `lines`: offsets, because the buffer moves */
    uint32_t name, name_size, value, value_size;
};
struct response {
    struct buf lines;
    struct line_place *fields;
    size_t field_count, field_room;
    uint16_t status, version;
    unsigned interim;
    bool head_done, started; /* the head was given on; a status line was seen */
    uint64_t content_length; /* NEVER = none named */
    bool chunked;
};
struct outgoing {
    struct peer *peer;
    struct outgoing *next, *previous; /* of the peer */
    struct outgoing *chain;           /* of its table */
    struct outgoing *sweep;           /* of the room's list of those to be ended */
    bool swept;
    uint64_t id, number;
    enum outgoing_state state;

    /* the request */
    struct buf payload; /* as it came: `request` points into it */
    struct http_field *fields;
    struct http_request request;
    struct url url;
    uint64_t content_length; /* NEVER = not named */
    uint32_t rule;
    struct http_failure refusal; /* the best reason so far why it may not go */
    char refusal_address[64];
    struct name_wait wait;
    bool recorded; /* control was told of the intent */

    /* request body: from the link to curl */
    struct body_queue in;
    uint32_t in_window; /* that we gave and was not used */
    uint32_t in_owed;   /* consumed, not given again */
    uint32_t
        in_prepaid;    /* given again before it was consumed: what is to be signed is kept whole */
    bool continue_due; /* a window of 0 is owed: HTTP_EXPECTS_CONTINUE */
    bool in_ended, in_discarded;
    struct buf in_trailers; /* payload of END */
    uint64_t in_total;      /* that came */
    uint64_t bytes_sent;    /* that curl took */

    /* response: from curl to the link */
    struct response response;
    struct buf head; /* payload of RESPONSE, to be sent */
    bool head_sent, no_body;
    struct body_queue out;
    uint32_t out_window;
    bool out_ended, out_discarded, end_sent;
    size_t body_skip; /* bytes that curl will give again, and that were read before */
    uint64_t bytes_received;
    struct http_failure failure; /* with error != HTTP_OK: ABORT is to be sent */
    char failure_text[160];
    bool failed, abort_sent, explained;
    struct buf smallest; /* what failure.grant points into */

    struct scrub *scanner;     /* for placeholders in the request's body, from its first byte on */
    struct injected *injected; /* of a rule that names secrets, from the ask on */

    /* curl */
    void *easy; /* CURL: no header here includes curl's */
    struct pool *pool;
    struct websocket *websocket; /* HTTP_UPGRADE: what replaces curl once the connection is there */
    struct curl_slist *headers, *resolve;
    bool read_paused, write_paused, again;
    char curl_text[CURL_TEXT_SIZE];

    /* CLOCK_MONOTONIC, NEVER = off */
    uint64_t started_ns, deadline_ns, idle_ns;
    enum http_error idle_error; /* what idle_ns means */
};

/* A request with secrets. */
#define SECRETS_SIGNED_MAX (256u << 10) /* a body up to this is kept until it can be signed */
#define SECRETS_WAIT_NS (UINT64_C(30) * 1000000000)
struct z_stream_s;
struct injected {
    struct address addresses[ADDRESSES_MAX]; /* to go on with */
    size_t address_count;
    bool waits_for_body;
    const struct secret_values *values; /* while the header lines are made, else NULL */
    /* the answer */
    struct scrub *scrub, *texts;                       /* of the body; of fields and other texts */
    char names[SCRUB_VALUES_MAX][SECRET_NAME_MAX + 1]; /* of the secrets whose values they mask */
    uint32_t told;                                     /* bits: keeper knows of the echo */
    bool body_begun, body_over, unpacked_whole;
    struct z_stream_s *unpacker;
    uint64_t packed, unpacked;
};

/* outgoing.c */
/* A request came. < 0: the link broke the protocol. */
int outgoing_new(struct peer *p, uint64_t id, struct cursor *c, struct error *e) MUST_CHECK;
/* Its end, with a failure that goes to the asker (HTTP_OK: none does). Any time: the rest happens in
 * the sweep. The first reason stays. */
void outgoing_fail(struct outgoing *x, enum http_error error, const char *text);
void outgoing_refuse(struct outgoing *x, enum grant_reason reason, uint32_t rule, const char *text);
/* All that was to be waited for is here. */
void outgoing_go_on(struct outgoing *x, const struct address *addresses, size_t count);
void outgoing_over(struct outgoing *x); /* all is said, or nobody listens */
void outgoing_free(struct outgoing *x); /* not from a callback of curl's */
void outgoing_resolved(struct name_wait *w, const struct name_answer *a);
void outgoing_idle(struct outgoing *x, uint64_t timeout_ns, enum http_error means);
/* Ends what is past its deadlines; gives the next one. */
uint64_t outgoing_deadlines(struct egress_room *room, uint64_t now);

/* decide.c */
/* May it go? Looks at the rules from `from` on: 0 and x->rule, with its counters taken; 1 and
 * x->refusal. */
int decide_rule(struct outgoing *x, uint32_t from);
/* Every address: 0, or 1 and x->refusal. */
int decide_addresses(struct outgoing *x, const struct address *addresses, size_t count);
/* One address, as curl is about to dial it, or has it in its pool. */
enum grant_reason decide_dial(const struct outgoing *x, const struct address *a, uint16_t port);
/* Is it one of Ambit's own, that no grant reaches? */
bool decide_own_listener(const struct egress_room *room, const struct address *a, uint16_t port);

/* transfer.c */
int transfer_start(struct outgoing *x, const struct address *addresses, size_t count);
void transfer_stop(struct outgoing *x);        /* not from a callback of curl's */
void transfer_body_came(struct outgoing *x);   /* `in` grew, or ended */
void transfer_window_came(struct outgoing *x); /* `out` has room again */
void transfer_ended(struct outgoing *x); /* the answer is whole; not from a callback of curl's */
/* Bytes of the answer's body. True: taken. */
int transfer_body(struct outgoing *x, struct bytes b) MUST_CHECK;
/* max_response_bytes, with so many more. False: the exchange has failed. */
bool transfer_fits(struct outgoing *x, size_t size) MUST_CHECK;
/* The header fields that will go out, but for those that egress sets. Texts are of the request. */
size_t transfer_fields(const struct outgoing *x, struct secret_field *fields, size_t max);

/* pool.c */
void pools_free(struct egress_room *room);
uint64_t pools_deadline(const struct egress_room *room);
void pools_tick(struct egress_room *room, uint64_t now);
void pool_event(struct pool *pool, int fd, uint32_t events);

/* secrets.c */
/* Before any library is used: what they free is wiped. */
int secrets_prepare(struct error *e) MUST_CHECK;
/* Keeper's channel, in place of the one before: what was asked there is asked again. Takes `fd`. */
int secrets_channel(struct egress_room *room, int fd, struct error *e) MUST_CHECK;
void secrets_event(struct egress_room *room);
void secrets_done(struct egress_room *room);
bool secrets_wanted(const struct outgoing *x); /* by its rule */
/* outgoing_go_on(), or a refusal, comes of it. */
void secrets_ask(struct outgoing *x, const struct address *addresses, size_t count);
void secrets_body_came(struct outgoing *x);
/* While the header lines are made: a set header's value with its secrets; -ENOENT: one was not given
 * (it may be in the headers that keeper made). Those: the i-th, or NULL. */
int secrets_expand(const struct outgoing *x, const char *template, struct buf *out) MUST_CHECK;
const struct secret_value *secrets_header(const struct outgoing *x, size_t i);
/* A field of the client's that does not go with secrets. */
bool secrets_take_off(const struct outgoing *x, struct bytes name);
void secrets_echoed(struct egress_room *room, const char *name);

/* A secret's value while the header lines are made; data NULL: not given. */
struct bytes secrets_value(const struct outgoing *x, struct bytes name);

/* placeholder.c: each may refuse the request. */
void placeholders_in_target(struct outgoing *x);
void placeholders_in_head(struct outgoing *x); /* once the rule is known */
/* Bytes of the body into `out`; some are held back until the end. */
void placeholders_in_body(struct outgoing *x, struct bytes b, struct buf *out);
void placeholders_at_end(struct outgoing *x, struct buf *out);
void placeholders_in_trailers(struct outgoing *x, const struct http_field *fields, size_t count);
/* A text beside the body, any time: true, the request was refused. */
bool placeholders_in_text(struct outgoing *x, struct bytes text);
/* While the header lines are made: the client's own value of a set header, with its placeholders
 * replaced. How many there were; 0: the grant's template is used. */
int placeholder_header(const struct outgoing *x, const struct http_field *set,
                       struct buf *out) MUST_CHECK;

/* explain.c: x->failure gets its grant, control a record; once, where the link wants it. */
void explain_denial(struct outgoing *x);

/* answer.c: nothing happens without values that are to be masked. */
int answer_guard(struct outgoing *x, const struct secret_values *values) MUST_CHECK;
/* A field's name or value, in place; any time. */
void answer_text(struct outgoing *x, uint8_t *text, size_t size);
/* A field of the final head, after x->no_body is known: false, the exchange has failed. */
bool answer_field(struct outgoing *x, const struct http_field *f) MUST_CHECK;
bool answer_drops(const struct outgoing *x, struct bytes name); /* not true of the body any more */
/* Bytes of the body into `out`: how many were taken (all, unless it is packed). Some are held back
 * until answer_end(), or, where a reader waits for each (a WebSocket's message), answer_unit(). */
size_t answer_body(struct outgoing *x, struct bytes b, struct buf *out) MUST_CHECK;
void answer_unit(struct outgoing *x, struct buf *out);
void answer_end(struct outgoing *x); /* into x->out */
uint32_t answer_masked(const struct outgoing *x);
void injected_free(struct injected *in);

/* websocket.c */
/* What is wrong with the request for one, or NULL. */
const char *websocket_fault(const struct outgoing *x);
int websocket_new(struct outgoing *x) MUST_CHECK;
void websocket_connected(struct outgoing *x);
/* Something came, from either side, or there is room again: not from a callback of curl's. */
void websocket_turn(struct outgoing *x);
void websocket_stop(struct outgoing *x); /* before its connection ends */
void websocket_free(struct outgoing *x);

/* response.c */
/* One header line as curl gives it. False: the exchange has failed. */
bool response_line(struct outgoing *x, struct bytes line);
void response_done(struct response *r);
/* The trailers, into the payload of END. */
void response_trailers(const struct outgoing *x, struct buf *out);

/* ---- peer.c ---- */

#define PEER_TABLE 512
struct peer {
    struct egress_room *room;
    struct peer *next;
    uint32_t owner, flags; /* enum egress_link_flag */
    struct link *link;
    uint64_t last_id;
    struct outgoing *first;
    struct outgoing *table[PEER_TABLE];
    size_t count;
    bool blocked; /* the ring was full: everything is tried again when it is not */
    bool dead;
};
int peer_new(struct egress_room *room, uint32_t owner, uint32_t flags,
             const int fds[static LINK_FDS], struct error *e) MUST_CHECK;
void peer_free(
    struct peer *p); /* ends its exchanges without a word; not while one is to be swept */
void peer_forget(struct outgoing *x); /* takes it out and frees it: the sweep's last step */
/* Takes the frames that are there, a bounded number. */
void peer_turn(struct peer *p);
/* Puts what an exchange has to say on the link, in its order, as far as room and window go. */
void peer_say(struct outgoing *x);

/* ---- mint.c: keeper's requests to token servers ---- */

#define MINTINGS_MAX 16 /* at once */
struct minter;
/* The payload of SECRET_MINT, which is copied. Answered through secrets_minted() exactly once, perhaps before it
 * returns, unless the room ends or minting_stop_all() comes first. < 0: it is no such frame. */
int minting_start(struct egress_room *room, struct bytes payload, struct error *e) MUST_CHECK;
/* The channel to keeper is another now, or the room ends: what is under way has nobody to answer to. Its records still
 * go out. Not from secrets_minted(). */
void minting_stop_all(struct egress_room *room);
uint64_t minting_deadline(const struct egress_room *room);
void minting_tick(struct egress_room *room, uint64_t now);
void minting_free(struct egress_room *room);
/* secrets.c: passes it on to keeper. Its texts are wiped when this returns. */
void secrets_minted(struct egress_room *room, const struct secret_minted *m);

/* ---- the room ---- */

struct egress_room {
    struct channel *control;
    struct frame_gate gate;
    struct channel *keeper;        /* NULL: none now */
    struct frame_gate keeper_gate; /* has rules once there was one */
    bool keeper_writes, keeper_broken;
    struct poller poller;
    struct egress_start start;
    bool started, stop, gone, control_writes;
    bool gathers;  /* records wait for send_records() */
    size_t unsent; /* bytes of them */
    int ca_fd;
    X509_STORE *certificates;
    struct placeholder *placeholders;
    size_t placeholder_count;
    struct scrub *scanner; /* for them; NULL until one is needed */
    struct grant_live grants;
    struct egress_counter *counters; /* by rule; shared with control */
    struct names *names;
    struct pool **pools; /* by rule: connections of one rule serve no other */
    struct pool *single_pools;
    struct peer *peers;
    size_t peer_count, outgoing_count;
    uint64_t last_number;
    struct outgoing *sweep;
    struct minter *minter;     /* NULL until keeper asks */
    uint64_t next_deadline_ns; /* of exchanges: not later than the first one */
    uint32_t skip;
};
/* A record to control. < 0: it does not take it, and what it tells of must not happen. */
int room_record(struct egress_room *room, uint16_t kind, const struct buf *payload) MUST_CHECK;
