/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of egress_driver share: egress_driver.c is the worker, egress_driver_keeper.c the keeper that it plays. */
#pragma once

#include "base/json.h"
#include "control/egress.h"
#include "room/channel.h"

#define EXCHANGES_MAX 2048
#define BODY_SHOWN 4096

struct exchange {
    bool used, over, in_over;
    uint64_t id, window, left, sent, received, taken;
    size_t body_at;
    json_t *result;
    struct buf shown;
};
struct driver {
    struct egress *egress;
    struct link *link, *other; /* other: of the worker that waits ("swap"), or NULL */
    uint64_t last_id, other_last_id;
    bool other_dead;
    struct exchange all[EXCHANGES_MAX];
    size_t count;
    json_t *records, *deaths;
    size_t requests_told, responses_told, left_open; /* exchanges that nobody waits for */
    bool give_windows, no_end, relinked, spoil, upgrade;
    uint64_t abort_after;
    struct buf body;
    struct http_field trailers[HTTP_FIELDS_MAX];
    size_t trailer_count;
    bool dead, ready; /* the link; the room */
    /* the keeper that is played */
    struct channel *keeper;
    struct frame_gate keeper_gate;
    json_t *asks, *keeper_values, *keeper_refuse;
    bool keeper_silent;
};

__attribute__((noreturn)) void driver_die(const char *what, const struct error *e);
json_t *driver_text(struct bytes b);

/* Observers' keeper(): a channel on which the driver answers. */
int driver_keeper(void *context, uint32_t life, int *ret_fd, struct error *e);
/* What it answers from now on. */
void driver_keeper_command(struct driver *d, json_t *q);
