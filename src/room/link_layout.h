/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared page of a link, for link.c and for the test that plays a hostile peer. Each word has
 * one writer: the side it belongs to, except `sleeps`, which the other side clears when it wakes it.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define LINK_PAGE_SIZE ((size_t)4096)

enum { LINK_SLEEPS = 1, LINK_SLEEPS_FOR_ROOM = 2 }; /* for_room: for frames too */

struct link_side {
    _Alignas(64) _Atomic uint64_t put;   /* bytes put into the ring that this side writes */
    _Alignas(64) _Atomic uint64_t taken; /* bytes taken out of the other one */
    _Alignas(64) _Atomic uint32_t sleeps;
};
struct link_shared {
    struct link_side sides[2];
    _Alignas(64) _Atomic uint32_t opened;
};
