/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listeners that control opens for ingress rooms, which can open none.
 *
 * With more than one room each has a listener of its own on the same address (SO_REUSEPORT), and the
 * kernel spreads connections over them. That option would also let a second command of the same user
 * take half of the connections unnoticed, so the address is first bound without it.
 */
#pragma once

#include "wire/address.h"

/* `count` listeners on "ADDR:PORT", "[ADDR]:PORT" or "localhost:PORT"; port 0 takes a free one. Errors name `flag`.
 * `ret_authority` (mem_free): the address with its real port. What was opened before an error is the caller's to close. */
int listen_all(const char *flag, const char *text, int **fds, size_t count, char **ret_authority,
               struct error *e) MUST_CHECK;
/* Could listen_all() read it? 0 or -EINVAL. */
int listen_check(const char *flag, const char *text, struct error *e) MUST_CHECK;
/* What listen_all() named. 0 or -EINVAL. */
int listen_name_parse(const char *text, struct address *ret_address, uint16_t *ret_port) MUST_CHECK;
