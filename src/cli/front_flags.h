/* SPDX-License-Identifier: Apache-2.0 */
/* What the command lines of `ambit serve` and `ambit proxy` have alike, beside grants and a run's own flags. */
#pragma once

#include "cli/cli.h"
#include "control/front.h"

/* 0: it was one; 1: it is none of them; < 0. */
int cli_take_front_flag(struct cli *c, struct front_request *q, struct error *e) MUST_CHECK;
/* Was --listen there? `example` is one. */
int cli_check_front(const struct front_request *q, const char *example, struct error *e) MUST_CHECK;
/* "ambit: 3 requests on 1 connection; …": all but the restarts. `more` goes before what was refused. */
void cli_put_front_totals(struct buf *out, const char *done, const struct front_totals *t,
                          const char *more);
/* To standard error; who does not take it is told nothing any more. */
void cli_say(struct buf *text, bool *quiet);
