/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper room's main: opens the vault, closes its jail, answers. */
#pragma once

#include "room/channel.h"

int keeper_room_main(struct channel *control);
