/* SPDX-License-Identifier: Apache-2.0 */
/* The compiled tables: made by compile.c, read by decide.c and propose.c. */
#pragma once

#include "grant/internal.h"

struct fs_rule {
    uint32_t rule;  /* place in the set */
    uint32_t verbs; /* as granted, and stat, which any verb includes */
    struct glob *globs;
    size_t glob_count;
};

struct rule_mount {
    struct grant_mount mount; /* its texts belong to the set */
    struct fs_rule *rules;    /* in the order of the set; at least one */
    size_t rule_count;
};

struct config_entry {
    const char *key, *value;
    size_t key_size;
    uint32_t rule;
};

struct grant_rules {
    struct grant_set *set; /* our copy: the texts of everything below */
    char *work_host;
    struct grant_limits limits;
    struct rule_mount *mounts; /* longest guest path first */
    size_t mount_count;
    struct config_entry *config; /* sorted by key */
    size_t config_count;
    uint32_t stdio_rules[STDIO_STREAM_COUNT], log_rules[LOG_LEVEL_COUNT],
        class_rules[GRANT_CLASS_COUNT];
};
