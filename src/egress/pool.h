/* SPDX-License-Identifier: Apache-2.0 */
/*
 * curl in the room's loop: a multi handle with its connections, whose sockets the room's poller
 * watches and whose timer the loop keeps. And what every transfer tells curl alike: addresses that
 * were looked at, sockets of our making.
 */
#pragma once

#include "egress/parts.h"

struct curl_slist;
struct curl_sockaddr;

/* A transfer has ended, with a CURLcode; `owner` is its CURLOPT_PRIVATE. Not called from a callback of curl's: its
 * handle may be taken away, and the pool of others, but not this one. */
typedef void pool_ended(void *owner, int code);

struct pool {
    struct egress_room *room;
    struct pool *next; /* of those that are of one WebSocket each */
    void *multi;       /* CURLM */
    pool_ended *ended;
    uint64_t timer_ns;
    bool multiplexes; /* an answer came over HTTP/2 */
};

struct pool *pool_new(struct egress_room *room, pool_ended *ended); /* NULL: no memory */
void pool_free(struct pool *p);                                     /* NULL too */
/* What curl wants done by now. NULL: nothing. */
void pool_tick(struct pool *p, uint64_t now);

/* A list with one line more; < 0: it stays as it was. `line` NULL: there was no memory for it. */
int pool_add_line(struct curl_slist **list, const char *line) MUST_CHECK;
/* For CURLOPT_RESOLVE: these addresses and no other; none for a URL whose host is an address. */
int pool_add_addresses(struct curl_slist **list, const struct url *url,
                       const struct address *addresses, size_t count) MUST_CHECK;
/* For CURLOPT_OPENSOCKETFUNCTION. False: no stream to an address. */
bool pool_dials(int purpose, const struct curl_sockaddr *s, struct address *ret,
                uint16_t *ret_port);
int pool_socket(struct egress_room *room, const struct curl_sockaddr *s);
