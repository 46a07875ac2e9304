/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker of `ambit serve`: each request from the ingress room gets a fresh guest, with the
 * grants and limits of the start, and is answered by it or for it.
 *
 * What all guests have alike stands in a template, a guest that is made before the jail closes and
 * never runs: rules, arguments, environment, standard streams, folders, accounts. A guest for a
 * request is a few fields of it, from a pool; its filesystem is made at its first use.
 *
 * How a request ends whose guest gave no answer (ABORT, wire/http.h):
 *   trap, fault, nothing said           HTTP_ERROR_INTERNAL                   500
 *   wall or CPU time is up              HTTP_ERROR_RESPONSE_TIMEOUT           504
 *   another limit, no place, shut down  HTTP_ERROR_CONNECTION_LIMIT_REACHED   503
 * A guest that ends within its answer aborts it with the same reason: the client sees it cut short.
 *
 * At most `concurrency` guests live at once, and as many requests wait for one that is about to end;
 * more are refused. The queue of requests is ingress's.
 *
 * Denials and uses are counted over the life of the worker, buckets of wasi:keyvalue and rates are
 * shared by its guests; everything else ends with each of them.
 */
#pragma once

#include "worker/guest.h"

struct serve;

/* `template` (borrowed): made with guest_config.serves. */
int serve_new(struct loop *l, struct guest *template, struct ambit_component *component,
              uint32_t concurrency, struct serve **ret, struct error *e) MUST_CHECK;
void serve_free(struct serve *s); /* before the template */
/* The link of an ingress room, taken; what came over the one before ends. */
int serve_attach(struct serve *s, struct link *link, struct error *e) MUST_CHECK;
/* From now on requests are taken; expiry runs from here. */
void serve_start(struct serve *s, uint64_t expires_after_ns);
/* The first INTERRUPT: no new requests, those that run end in their time. Else they end now. The
 * loop ends with the last. */
void serve_stop(struct serve *s, enum run_stop why);
