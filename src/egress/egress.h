/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The egress room: the one place of a run that may open connections. It takes requests of guests
 * from links (wire/http.h), decides each by the grants that control sent it, and speaks HTTP with
 * origins. docs/egress.md.
 */
#pragma once

#include "room/channel.h"

int egress_room_main(struct channel *control);
