/* SPDX-License-Identifier: Apache-2.0 */
/* The worker room: runs one guest under its grants and tells control what it did. For
 * room_dispatch(). */
#pragma once

#include "room/channel.h"

/* The room's main: answers the process's exit status. */
int worker_room_main(struct channel *control);
