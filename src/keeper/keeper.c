/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/keeper.h"

int keeper_room_main(struct channel *control)
{
    return 1;
}
