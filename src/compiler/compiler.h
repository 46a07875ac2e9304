/* SPDX-License-Identifier: Apache-2.0 */
/* The compiler room: component bytes in, machine code out, everything else closed. One shot. */
#pragma once

#include "room/channel.h"

/* room_main of ROOM_COMPILER: takes one COMPILE_START, answers COMPILE_READY and COMPILE_DONE; the
 * exit code of the process. */
int compiler_room_main(struct channel *control);
