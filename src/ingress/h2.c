/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2: not spoken yet; a connection that begins so is closed. */
#include "ingress/internal.h"

bool h2_begin(struct conn *c, const uint8_t *bytes, size_t size)
{
    return false;
}

void h2_work(struct conn *c)
{
}

void h2_free(struct conn *c)
{
}

void h2_drain(struct conn *c)
{
}

enum conn_wait h2_waits(const struct conn *c)
{
    return WAIT_NOTHING;
}
