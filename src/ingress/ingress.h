/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ingress room: the only process of `ambit serve` that a client can talk to. One loop, one
 * listener, one link to one worker; other pairs share nothing with it but a page of counters.
 *
 *   clients ⇄ conn.c ⇄ h1.c / h2.c ⇄ exchange.c ⇄ link ⇄ worker
 *
 * It holds no file, no grant and no other run; it can make no socket and reach no address: what it
 * has are the connections that it accepted. What it says about the outside is what it read.
 */
#pragma once

#include "room/channel.h"

int ingress_room_main(struct channel *control);
