/* SPDX-License-Identifier: Apache-2.0 */
/* How a run's end is told on standard error: for people in a few lines, or as one line of JSON. */
#pragma once

#include "control/run.h"

#define SUMMARY_DENIALS 5

/* Outcome, figures, uses; each distinct denial (at most SUMMARY_DENIALS) with its rule and the
 * smallest grant. Escaped. */
void summary_put(struct buf *out, const struct run_request *request,
                 const struct run_report *report, bool colour);
/* One JSON object on one line. */
int summary_put_json(struct buf *out, const struct run_report *report) MUST_CHECK;
