/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper room itself, for the parts that have its loop:
 *
 *   keeper.c     birth, jail, the loop, frames of control about grants and clients
 *   requests.c   frames of control about the vault: SET, REMOVE, LIST, TEST, REKEY, and what is read from a descriptor
 *   values.c     the values of this life
 *   asks.c       the asks of egress, their admissions, minting
 *   leaves.c     the asks of ingress rooms
 *
 * A frame of control that is malformed ends the process. A client that breaks the protocol loses its
 * channel, and the room lives on.
 */
#pragma once

#include "keeper/parts.h"

#define ASKS_MAX 4096
#define ASKS_BYTES_MAX (16u << 20)
#define ADMITTED_MAX 4096
#define LEAVES_OF_TURN 64
#define ECHOES_ALLOWED 3 /* so many answers may show a value; then it is suspended */
#define MINT_TIMEOUT_NS (30 * UINT64_C(1000000000))
#define MINT_SOON_NS UINT64_C(1000000000) /* in a test of that time */
#define MINT_PAUSE_NS (5 * UINT64_C(1000000000))
#define NEVER_NS UINT64_MAX

#ifdef AMBIT_TEST_HOOKS
/* Single defences that a negative control leaves open; the low 16 bits are enum jail_layer. */
enum keeper_skip {
    KEEPER_SKIP_JAIL_MASK = 0xffff,
    KEEPER_SKIP_DECISION = 1 << 16,  /* any method and URL, for the rule that egress names */
    KEEPER_SKIP_ADMISSION = 1 << 17, /* released without one */
    KEEPER_SKIP_ONCE = 1 << 18,      /* an admission is taken as often as it is asked for */
    KEEPER_SKIP_COUNT = 1 << 19,     /* max_requests */
    KEEPER_SKIP_ECHOES = 1 << 20,    /* nothing is suspended */
    KEEPER_SKIP_EPOCH = 1 << 21,     /* an older vault opens */
    KEEPER_SOON = 1 << 23,           /* the time of token servers is up after a second */
    KEEPER_PROBE = 1 << 22, /* play escaped native code (room/probe.h): lines of work_host */
};
#define LEFT_OPEN(room, which) (((room)->start.test_skip & (which)) != 0)
#else
#define LEFT_OPEN(room, which) false
#endif

struct keeper_room;

/* A secret that a grant names, or that is being tested. */
struct value_slot {
    struct keeper_value v;
    bool ready;           /* its source is there, and was checked */
    bool named;           /* by a grant */
    bool failed;          /* it is not to be had in this life */
    bool given;           /* to egress, by this life */
    char *failure, *hint; /* why; NULL when there was no memory for that */
    char *mint_failure;
    uint64_t mint_deadline_ns, mint_retry_ns;
};

/* What is read from a descriptor that control gave, a piece each turn. */
enum reading_what { READING_NOTHING, READING_SOURCE, READING_SET, READING_REKEY };
struct reading {
    enum reading_what what;
    int fd;
    struct buf text;         /* of secret_buf() */
    struct keeper_item item; /* SET */
    char *key_kind;          /* REKEY */
};

struct client {
    struct keeper_room *room;
    struct channel *channel; /* NULL: there is none */
    struct frame_gate gate;
    uint32_t life;
    bool writes, broken;
};

struct pending_ask {
    uint64_t number;
    uint32_t rule;
    uint8_t *payload; /* as it came */
    size_t size;
};
struct admission {
    uint64_t number;
    uint32_t rule;
    bool taken;
};

struct keeper_room {
    struct channel *control;
    struct frame_gate gate;
    bool ready, stop, gone, control_writes, restarted;
    struct keeper_start start;
    uint32_t missing;

    struct buf vault_file, key_text; /* until the vault is open */
    struct vault vault;
    bool has_vault;
    struct keeper_state *state;
    uint8_t *space; /* for a new vault; NULL: this keeper changes none */

    struct grant_live grants; /* what keeper decides by: its own, as egress has its own */

    struct value_slot **slots;
    size_t slot_count;
    struct value_slot *wanted; /* what control was asked for */
    char *testing;             /* the name that TEST waits for */
    struct reading reading;

    struct client egress, fronts[KEEPER_FRONTS_MAX];
    unsigned next_front;
    struct pending_ask asks[ASKS_MAX];
    size_t ask_count, ask_bytes;
    bool asks_due; /* something has changed for them since all were looked at */
    struct admission admitted[ADMITTED_MAX];
    size_t admitted_count;
    uint64_t last_mint;
    struct secret_field fields[SECRET_ASK_FIELDS_MAX];

    struct authority *authority;
};

/* ---- keeper.c ---- */
/* To control. What cannot be said ends the room. */
void room_tell(struct keeper_room *room, uint16_t kind, const struct buf *payload);
void room_refuse(struct keeper_room *room, const struct error *why); /* KEEPER_REFUSED */
/* Wiped when sent. A client that takes nothing is broken. */
void client_send(struct client *c, uint16_t kind, struct buf *payload);

/* ---- requests.c ---- */
int on_source(void *context, struct cursor *c, const int *fds, size_t fd_count, struct error *e);
int on_set(void *context, struct cursor *c, const int *fds, size_t fd_count, struct error *e);
int on_remove(void *context, struct cursor *c, const int *fds, size_t fd_count, struct error *e);
int on_list(void *context, struct cursor *c, const int *fds, size_t fd_count, struct error *e);
int on_test(void *context, struct cursor *c, const int *fds, size_t fd_count, struct error *e);
int on_rekey(void *context, struct cursor *c, const int *fds, size_t fd_count, struct error *e);
/* Reads what is there of what is being read. < 0: the room ends. */
int reading_turn(struct keeper_room *room, struct error *e) MUST_CHECK;
void reading_done(struct reading *r);

/* ---- values.c ---- */
struct bytes value_trim(struct bytes value); /* without one newline at its end */
int item_copy(const struct keeper_item *from, struct keeper_item *into, struct error *e) MUST_CHECK;
struct value_slot *value_find(struct keeper_room *room, struct bytes name);
/* Slots for the secrets of these grants that have none. A name that the vault has not is -ENOENT at the
 * start; later its slot says so. */
int values_of_grants(struct keeper_room *room, const struct grant_set *grants,
                     struct error *e) MUST_CHECK;
/* For TEST: its slot, which was there or is new. */
int values_test(struct keeper_room *room, const char *name, struct value_slot **ret,
                struct error *e) MUST_CHECK;
/* Asks control for the next that is fetched; READY when all are there, and it was not said. */
int values_turn(struct keeper_room *room, struct error *e) MUST_CHECK;
int values_taken(struct keeper_room *room, struct bytes value, struct error *e) MUST_CHECK;
int values_failed(struct keeper_room *room, const char *why, const char *hint,
                  struct error *e) MUST_CHECK;
void values_done(struct keeper_room *room);

/* ---- asks.c ---- */
extern const struct frame_rule ask_frames[];
extern const size_t ask_frame_count;
/* Those that can be answered now, and whose answers can be sent; asks_due while there may be more. */
void asks_turn(struct keeper_room *room);
void asks_admit(struct keeper_room *room, uint32_t life, uint64_t number, uint32_t rule);
void asks_ended(struct keeper_room *room, uint32_t life, uint64_t number);
/* The channel has gone; with `life` the next one is of the same life. */
void asks_drop(struct keeper_room *room, bool same_life);
uint64_t asks_deadline(const struct keeper_room *room); /* NEVER_NS: none */

/* ---- leaves.c ---- */
extern const struct frame_rule leaf_frames[];
extern const size_t leaf_frame_count;
