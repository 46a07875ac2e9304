/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of `ambit proxy` (proxy.c, proxy_rooms.c, proxy_reload.c, proxy_files.c, proxy_names.c) share. Nobody
 * else includes it. */
#pragma once

#include "control/egress.h"
#include "control/keeper.h"
#include "control/proxy.h"
#include "control/run_parts.h"

#define PROXY_TOKEN_SIZE 44        /* 256 bits in base64url, and the NUL */
#define PROXY_PLACEHOLDER_SIZE 96u /* characters of each */

/* A grant of http that is in force. */
struct proxy_rule {
    char *text; /* grant_print() */
    uint32_t rule;
    bool kept; /* of a reload under way */
};
/* Of one secret. */
struct proxy_secret {
    char *name, *variable, *placeholder;
};
/* A file that clients read. */
struct proxy_file {
    int dir_fd;
    char *path; /* absolute */
    const char *name;
    bool written;
};
enum proxy_phase { PROXY_STARTING, PROXY_RUNNING, PROXY_DRAINING, PROXY_OVER };
struct proxy {
    struct run run; /* run.room is not used */
    const struct proxy_request *request;
    const struct proxy_observer *observer;
    enum proxy_phase phase;
    struct front *front; /* fronts.count of them */
    struct fronts fronts;
    char token[PROXY_TOKEN_SIZE];
    struct proxy_secret *secrets;
    size_t secret_count;
    char *placeholders; /* JSON object, "" = none */
    struct proxy_file env, ca;
    char *own_folder; /* of files that nobody named a place for, or NULL */
    struct proxy_rule *rules;
    size_t rule_count;
    size_t added;                    /* grants that reloads added, over all of them */
    uint64_t expires_ns, running_ns; /* of the grants; when it began to accept */
    bool expired;                    /* and told */
    uint64_t until_ns;               /* STARTING, DRAINING: who is not done by then is given up */
    bool listened;                   /* it came so far */
    bool reload_wanted;
    uint64_t tell_at_ns, untold; /* denials that are not told for want of calm */
    struct proxy_totals totals;
};

void proxy_notice(struct proxy *p, const char *format, ...) PRINTF_LIKE(2, 3);
/* A room refused a request. */
int proxy_denied(struct proxy *p, const char *observed_by, const struct egress_denied *d,
                 struct error *e) MUST_CHECK;

/* proxy_names.c */
int proxy_make_names(struct proxy *p, struct error *e) MUST_CHECK; /* token and placeholders */
/* Placeholders for those secrets of a set that have none; then proxy_names_cut() takes them back. */
int proxy_more_names(struct proxy *p, const struct grant_set *s, struct error *e) MUST_CHECK;
void proxy_names_cut(struct proxy *p, size_t count);
bool proxy_knows_secret(const struct proxy *p, const char *name);
void proxy_names_done(struct proxy *p);

/* proxy_files.c */
/* Opens the folders and looks at what is there; nothing is written. */
int proxy_files_open(struct proxy *p, struct error *e) MUST_CHECK;
int proxy_files_write(struct proxy *p, struct error *e) MUST_CHECK;
int proxy_env_rewrite(struct proxy *p, struct error *e) MUST_CHECK; /* whole or not at all */
void proxy_files_done(struct proxy *p); /* removes what lies in the state folder */

/* proxy_rooms.c. < 0 is a fault that ends it all. */
int proxy_front_start(struct front *f, struct error *e) MUST_CHECK;
int proxy_front_turn(struct front *f, bool said, struct error *e) MUST_CHECK;
int proxy_relinked(void *context, uint32_t owner, const int fds[static LINK_FDS],
                   struct error *e) MUST_CHECK;
int proxy_keeper_back(void *context, struct error *e) MUST_CHECK;
int proxy_fronts_regranted(struct proxy *p, struct error *e) MUST_CHECK;

/* proxy_reload.c */
int proxy_rules_begin(struct proxy *p, struct error *e) MUST_CHECK; /* those of the start */
int proxy_reload(struct proxy *p, struct error *e) MUST_CHECK;
void proxy_rules_done(struct proxy *p);
