/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The receipt of one run: typed events, one JSON object a line (docs/schemas/receipt.schema.json,
 * docs/receipts.md).
 *
 * It is opened before anything of the guest starts, and a run whose receipt cannot be written does
 * not start, or ends: what may happen is recorded before it may happen (P4). What only a worker can
 * know is labelled "observed_by": "worker"; the worker has guest code beside it, so a reader may
 * doubt it. Everything else control saw itself.
 *
 * Size: an ordinary event past RECEIPT_MAX is dropped and counted; the closing events always fit
 * (RECEIPT_RESERVE). The folder of receipts is kept under a cap: the oldest go first.
 */
#pragma once

#include "base/clock.h"
#include "base/json.h"

#define RECEIPT_MAX (4u << 20)
#define RECEIPT_RESERVE (1u << 20)
#define RECEIPTS_KEPT_BYTES (UINT64_C(64) << 20)
#define RECEIPT_VERSION 1

struct receipt;

/* Makes ID.jsonl in the folder `runs_fd` (borrowed for the receipt's life), and a copy at
 * `copy_path` when not NULL. */
int receipt_open(int runs_fd, const char *id, const char *copy_path, struct receipt **ret,
                 struct error *e) MUST_CHECK;
/* Does not finish it: a receipt without run.finished tells of a crash. */
void receipt_free(struct receipt *r);
static inline void receipt_freep(struct receipt **r)
{
    receipt_free(*r);
}

/* Writes one event with these members (taken, also on failure; NULL is -ENOMEM). < 0 is a fault
 * that must end the run. */
int receipt_put(struct receipt *r, const char *event, json_t *members, struct error *e) MUST_CHECK;
/* The same for the events that close a receipt: these may use the reserve. */
int receipt_put_closing(struct receipt *r, const char *event, json_t *members,
                        struct error *e) MUST_CHECK;
uint64_t receipt_dropped(const struct receipt *r);

/* Removes the oldest receipts until at most `max_bytes` are left; never `keep_id` (may be NULL). */
int receipts_trim(int runs_fd, uint64_t max_bytes, const char *keep_id, struct error *e) MUST_CHECK;

/* The ids in the folder, oldest first: an array of NUL-terminated texts in one block (mem_free). */
int receipts_list(int runs_fd, char (**ret_ids)[ID_TEXT_SIZE], size_t *ret_count,
                  struct error *e) MUST_CHECK;
/* Finds "last", an id, or the start of one (at least 4 characters): 0; 1: there is none; 2: more
 * than one starts so. */
int receipts_find(int runs_fd, const char *name, char ret_id[static ID_TEXT_SIZE],
                  struct error *e) MUST_CHECK;
/* Opens a receipt for reading: a descriptor or < 0. */
int receipts_open(int runs_fd, const char *id, struct error *e) MUST_CHECK;
