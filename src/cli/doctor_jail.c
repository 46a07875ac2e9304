/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ambit doctor` on the jail. Each layer is tried alone in a child; then every room's jail is closed
 * over a process of its own for each attempt, and what the kernel says is told: which layer refused,
 * and how. What is not refused is a hole, and the exit code says so.
 */
#include "cli/doctor.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "room/jail.h"
#include "room/seccomp.h"
#include "room/try.h"

/* ---- layers ---- */

/* In the order of the bits of enum jail_layer. */
static const char *const remedies[JAIL_LAYER_COUNT] = {
    NULL, /* user_remedy() */
    "needs the user namespace",
    "needs the user namespace",
    "needs the user namespace, and a kernel from 5.12 (mount_setattr)",
    "needs the user namespace",
    "a kernel from 5.13 with CONFIG_SECURITY_LANDLOCK, and lsm=landlock,… at boot",
    "a kernel with CONFIG_SECCOMP_FILTER",
    "raise the hard limits of this shell (ulimit -H)",
    "a kernel from 3.5",
};

/* What distributions restrict user namespaces with: the values that do. */
static const struct {
    const char *path, *name, *restricts, *remedy;
} switches[] = {
    { "/proc/sys/kernel/unprivileged_userns_clone", "kernel.unprivileged_userns_clone", "0",
      "sysctl -w kernel.unprivileged_userns_clone=1" },
    { "/proc/sys/user/max_user_namespaces", "user.max_user_namespaces", "0",
      "sysctl -w user.max_user_namespaces=10000" },
    { "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
      "kernel.apparmor_restrict_unprivileged_userns", "1",
      "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for ambit "
      "with \"userns,\"" },
};

static void sysctl_value(const char *path, char ret[static 32])
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    ret[0] = 0;
    if (file_read(path, &text, NULL) == 0)
        snprintf(ret, 32, "%.*s", (int)strcspn(buf_cstr(&text), "\n"), buf_cstr(&text));
}

/* Why there is no user namespace here: the switch that is off, else what else can refuse it. */
static char *user_remedy(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(switches); i++) {
        char value[32];
        sysctl_value(switches[i].path, value);
        if (strcmp(value, switches[i].restricts) == 0)
            return mem_printf("%s is %s here: %s", switches[i].name, value, switches[i].remedy);
    }
    CLEANUP(buf_done) struct buf status = BUF_INIT(64u << 10);
    if (file_read("/proc/self/status", &status, NULL) == 0 &&
        strstr(buf_cstr(&status), "\nSeccomp:\t2\n") != NULL)
        return mem_strdup(
            "no sysctl restricts it: the seccomp filter of whoever started this process "
            "refuses it, as a container's does (docker run --security-opt "
            "seccomp=unconfined, or a profile that allows clone and unshare of "
            "namespaces, mount and pivot_root; podman allows them)");
    return mem_strdup(
        "no sysctl restricts it: this is a chroot (the kernel makes no user namespace "
        "in one), or a security module refuses it");
}

void doctor_look_at_switches(struct doctor *d)
{
    for (size_t i = 0; i < ARRAY_SIZE(switches); i++) {
        char value[32];
        sysctl_value(switches[i].path, value);
        bool restricts = strcmp(value, switches[i].restricts) == 0;
        if (value[0])
            doctor_add(d, (struct doctor_row){ "machine", switches[i].name,
                                               restricts ? DOCTOR_NOTE : DOCTOR_OK,
                                               mem_strdup(value), NULL, switches[i].remedy });
    }
}

static uint32_t look_at_layers(struct doctor *d)
{
    struct error e = ERROR_INIT;
    uint32_t works = 0;
    int abi = 0;
    bool asked = jail_probe(&works, &abi, &e) == 0;

    for (size_t i = 0; i < JAIL_LAYER_COUNT; i++) {
        const struct jail_layer_row *layer = jail_layer(i);
        bool ok = asked && (works & layer->layer) != 0;
        char *value = ok && layer->layer == JAIL_LANDLOCK ? mem_printf("enforced (ABI %d)", abi)
                      : ok                                ? mem_strdup("enforced")
                      : asked                             ? mem_strdup("cannot be had here")
                                                          : mem_strdup(e.what);
        struct doctor_row row = {
            "jail",       jail_layer_name(layer->layer),     ok ? DOCTOR_OK : DOCTOR_MISSING, value,
            layer->stops, remedies[JAIL_INDEX(layer->layer)]
        };
        if (!ok && layer->layer == JAIL_USER_NAMESPACE)
            row.remedy_text = user_remedy();
        doctor_add(d, row);
        d->required_missing |= !ok;
    }
    return works;
}

/* ---- attempts ---- */

/* A folder with a mount and a file beside it, in `path`; the mount's descriptor, or -1. */
static int lay_bait(char *path, size_t size)
{
    const char *folder = getenv("TMPDIR");
    snprintf(path, size, "%s/ambit-doctor-XXXXXX", folder && *folder == '/' ? folder : "/tmp");
    if (!mkdtemp(path))
        return -1;
    CLEANUP(fd_closep) int top = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(fd_closep) int outside = openat(top, "outside", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (mkdirat(top, "mount", 0700) < 0)
        return -1;
    CLEANUP(fd_closep) int mount = openat(top, "mount", O_PATH | O_DIRECTORY | O_CLOEXEC);
    CLEANUP(fd_closep) int file = openat(mount, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    return outside < 0 || file < 0 ? -1 : fd_take(&mount);
}

static void take_bait_away(const char *path)
{
    CLEANUP(fd_closep) int top = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    (void)!unlinkat(top, "mount/file", 0);
    (void)!unlinkat(top, "mount", AT_REMOVEDIR);
    (void)!unlinkat(top, "outside", 0);
    (void)!rmdir(path);
}

static void describe(struct buf *out, const struct try_result *r)
{
    if (r->end == TRY_WENT)
        buf_puts(out, "NOT refused");
    else if (r->end == TRY_NO_ANSWER)
        buf_printf(out, "cannot be tried (%s)", r->how);
    else if (*r->by)
        buf_printf(out, "refused by %s (%s)", r->by, r->how);
    else
        buf_printf(out, "refused (%s)", r->how);
}

static json_t *result_json(const struct try_result *r)
{
    json_t *one = json_object();
    json_object_set_new(one, "refused",
                        r->end == TRY_NO_ANSWER ? json_null()
                                                : json_boolean(r->end == TRY_REFUSED));
    if (*r->by)
        json_object_set_new(one, "by", json_string(r->by));
    if (*r->how)
        json_object_set_new(one, "how", json_string(r->how));
    return one;
}

static bool same_result(const struct try_result *a, const struct try_result *b)
{
    return a->end == b->end && strcmp(a->by, b->by) == 0 && strcmp(a->how, b->how) == 0;
}

/* "from worker: refused by landlock (…); from compiler, egress: …", rooms with one answer together. */
static void describe_all(struct buf *out, const struct try_result *results, unsigned rooms)
{
    for (unsigned first = 0; first < ROOM_ROLE_COUNT; first++) {
        if (!(rooms & 1u << first))
            continue;
        buf_printf(out, "%sfrom %s", out->size ? "; " : "", room_role_name(first));
        for (unsigned r = first + 1; r < ROOM_ROLE_COUNT; r++) {
            if ((rooms & 1u << r) && same_result(&results[first], &results[r])) {
                buf_printf(out, ", %s", room_role_name(r));
                rooms &= ~(1u << r);
            }
        }
        buf_puts(out, ": ");
        describe(out, &results[first]);
    }
}

static void try_everywhere(struct doctor *d, size_t attempt, uint32_t allow_missing, int mount)
{
    struct try_result results[ROOM_ROLE_COUNT];
    unsigned rooms = 0;
    struct doctor_row row = { "attempts, from each room's jail", try_what(attempt), DOCTOR_OK };
    row.rooms = json_object();
    for (unsigned role = 0; role < ROOM_ROLE_COUNT; role++) {
        if (!try_is_of(attempt, role))
            continue;
        struct try_result *r = &results[role];
        try_attempt(attempt, role, allow_missing, mount, r);
        rooms |= 1u << role;
        json_object_set_new(row.rooms, room_role_name(role), result_json(r));
        if (r->end == TRY_WENT)
            row.state = DOCTOR_MISSING;
        else if (r->end == TRY_NO_ANSWER && row.state == DOCTOR_OK)
            row.state = DOCTOR_NOTE;
    }
    CLEANUP(buf_done) struct buf text = BUF_INIT(8192);
    describe_all(&text, results, rooms);
    row.value = mem_strdup(buf_cstr(&text));
    if (row.state == DOCTOR_MISSING)
        row.remedy =
            "the layer that would refuse it is named above as missing; if none is, this is "
            "a fault of Ambit";
    d->required_missing |= row.state != DOCTOR_OK;
    doctor_add(d, row);
}

#ifdef AMBIT_TEST_HOOKS
/* AMBIT_TEST_TRY: a room's name, then the attempt and its words, a line each. */
bool doctor_test_try(void)
{
    const char *asked = getenv("AMBIT_TEST_TRY"), *words = asked ? strchr(asked, '\n') : NULL;
    uint32_t skip = 0, unused = 0;
    CLEANUP(buf_done) struct buf out = BUF_INIT(8192);
    if (!words || cli_test_skip(&skip, &unused, NULL) < 0)
        return false;
    for (unsigned r = 0; r < ROOM_ROLE_COUNT; r++)
        if (strncmp(asked, room_role_name(r), (size_t)(words - asked)) == 0)
            try_probe(r, skip, words + 1, &out);
    fprintf(stderr, "%s\n", buf_cstr(&out));
    return true;
}
#endif

void doctor_look_at_jail(struct doctor *d)
{
    uint32_t works = look_at_layers(d), left_out = 0;
#ifdef AMBIT_TEST_HOOKS
    uint32_t unused = 0;
    if (cli_test_skip(&left_out, &unused, NULL) == 0)
        works &= ~left_out;
#endif
    d->missing_layers = ~works & ((1u << JAIL_LAYER_COUNT) - 1);
    char path[4096];
    int mount = lay_bait(path, sizeof path);
    if (!(left_out & JAIL_MOUNT_NAMESPACE)) /* as control does before a run */
        jail_detach_ahead(mount, false);
    for (size_t i = 0; i < try_count(); i++)
        try_everywhere(d, i, d->missing_layers, mount);
    fd_close(mount);
    take_bait_away(path);
}

/* ---- the table ---- */

static void put_rooms(struct buf *out, unsigned rooms)
{
    const unsigned all = (1u << ROOM_ROLE_COUNT) - 1;
    if ((rooms & all) == all) {
        buf_puts(out, "all");
        return;
    }
    const char *between = "";
    for (unsigned r = 0; r < ROOM_ROLE_COUNT; r++)
        if (rooms & 1u << r) {
            buf_printf(out, "%s%s", between, room_role_name(r));
            between = ", ";
        }
}

static void put_condition(struct buf *out, const struct seccomp_rule *r)
{
    switch (r->condition) {
    case SECCOMP_ANY:
        break;
    case SECCOMP_EQUAL:
        buf_printf(out, "argument %u is `%s`", r->argument, r->value_name);
        break;
    case SECCOMP_WITHOUT:
        buf_printf(out, "argument %u has no `%s`", r->argument, r->value_name);
        break;
    case SECCOMP_BOTH:
        buf_printf(out, "argument %u has `%s`", r->argument, r->value_name);
        break;
    case SECCOMP_INTERNET:
        buf_puts(out, "IPv4 or IPv6, stream or datagram, protocol 0");
        break;
    }
}

static void put_calls(struct buf *out, enum room_role role)
{
    size_t count, named = 0;
    const struct seccomp_rule *rules = seccomp_rules(&count);
    for (size_t i = 0; i < count; i++)
        named += (rules[i].rooms & 1u << role) && !rules[i].failure;
    buf_printf(out,
               "\n### %s\n\n%zu rows allow something.\n\n| call | when | what happens | reason "
               "|\n|---|---|---|---|\n",
               room_role_name(role), named);
    for (size_t i = 0; i < count; i++) {
        if (!(rules[i].rooms & 1u << role))
            continue;
        buf_printf(out, "| `%s` | ", rules[i].call);
        put_condition(out, &rules[i]);
        if (rules[i].failure)
            buf_printf(out, " | fails with `%s`", rules[i].failure_name);
        else
            buf_puts(out, " | is made");
        buf_printf(out, " | %s |\n", rules[i].reason);
    }
}

int doctor_print_table(void)
{
    static const char *const when[] = { [JAIL_BY_CLONE] = "clone",
                                        [JAIL_BY_CHILD] = "before its exec",
                                        [JAIL_BY_ROOM] = "when it has what it needs" };
    CLEANUP(buf_done) struct buf out = BUF_INIT(1u << 20);
    buf_puts(&out,
             "## Layers, in the order in which they close\n\n"
             "| | layer | rooms | closed by, at | stops | how |\n|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < JAIL_LAYER_COUNT; i++) {
        const struct jail_layer_row *l = jail_layer(i);
        buf_printf(&out, "| %zu | `%s` | ", i + 1, jail_layer_name(l->layer));
        put_rooms(&out, l->rooms);
        buf_printf(&out, " | %s%s | %s | %s |\n",
                   l->when == JAIL_BY_CLONE   ? ""
                   : l->when == JAIL_BY_CHILD ? "the process, "
                                              : "the room, ",
                   when[l->when], l->stops, l->how);
    }
    buf_puts(&out, "\n## System calls, by room\n\n"
                   "What has no row kills the room (`SIGSYS`), and so does every call of another "
                   "architecture (i386, x32). Rows of one call are tried in their order.\n");
    for (unsigned r = 0; r < ROOM_ROLE_COUNT; r++)
        put_calls(&out, r);
    return cli_put(&out);
}
