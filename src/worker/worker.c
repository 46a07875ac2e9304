/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker room's main, from its birth to RUN_DONE:
 *
 *   engine made          at once, before control has said anything: rooms start in parallel and
 *                        this is the slow part
 *   RUN_START received   the one frame of phase WAITING, with every descriptor the run will have
 *   prepared             rules compiled, machine code mapped, streams and folders taken, loop made
 *   jail closed          nothing is opened by name after this; no guest byte was near before it
 *   RUN_READY sent       then the guest runs; phase RUNNING takes RUN_STOP and RUN_LINK, phase ASKING
 *                        (--ask, ask.c) RUN_STOP and the RUN_ANSWER it waits for. With a link
 *                        to an ingress room there is no one guest: each request gets its own
 *                        (serve.h), and RUN_STOP lets those that run end first
 *   RUN_DONE sent        what it did; or RUN_FAULT, once, from any point before
 *
 * A frame out of phase or malformed ends the process without an answer: control sees a dead room.
 * When control dies, so does the guest.
 */
#include "worker/worker.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "room/jail.h"
#include "room/probe.h"
#include "worker/host/host.h"
#include "worker/serve.h"
#include "worker/ticker.h"

#define EPOCH_US 10000
/* What the largest component that ships with Ambit (Python) needs, and room above it. Reserved
 * address space only. */
#define CORE_INSTANCES_MAX 512
#define TABLE_ELEMENTS_MAX (1u << 18)
#define FDS_FIRST_MOUNT 4            /* of RUN_START: code, three streams, then one per folder */
#define DESCRIPTORS_OWN 64           /* the room's own, beside the guest's handles */
#define DATA_OWN (UINT64_C(1) << 30) /* writable memory of the engine's, beside the guest's */
#define DATA_REQUEST (8u << 20)      /* of a guest that answers one: what the host keeps for it */
#define STATM_DATA 5     /* of /proc/self/statm: data and stack, in pages (proc(5)), from 0 */
#define CPU_BACKSTOP_S 2 /* RLIMIT_CPU kills a worker whose slices no longer come */

enum phase { PHASE_WAITING, PHASE_RUNNING, PHASE_ASKING };

struct worker {
    struct channel *control;
    struct frame_gate gate;
    struct ambit_engine *engine;
    struct run_start start;
    bool started;
    int code_fd, stdio[STREAM_COUNT];
    int folders[CHANNEL_FDS_MAX]; /* as they came, in mount order */
    size_t folder_count;
    uint64_t expires_ns;
    struct grant_rules *rules;
    struct ambit_component *component;
    struct ticker ticker;
    struct loop loop;
    struct guest *guest; /* the run's, or the template of those that answer requests */
    struct serve *serve; /* or NULL */
    struct http_peer egress;
    int links[2][LINK_FDS]; /* of the start: egress, ingress; -1 = none, or taken */
    enum run_stop stop;     /* asked for before the guest started; 0 = none */
    bool running;           /* the guest has started, or requests are taken */
    bool gone;              /* control is */
    bool answered;          /* of the question that is open, with --ask */
    enum run_answer answer;
};

/* ---- frames from control ---- */

static int on_start(void *context, struct cursor *payload, const int *fds, size_t fd_count,
                    struct error *e)
{
    struct worker *w = context;
    int status = run_start_get(payload, &w->start, e);
    if (status < 0)
        return status;
    size_t links = (size_t)__builtin_popcount(w->start.links) * LINK_FDS;
    if (fd_count < FDS_FIRST_MOUNT + links)
        return error_set(e, -EBADMSG, "a start with %zu descriptors", fd_count);
    fd_count -= links;
    status = channel_keep_fd(fds[0], &w->code_fd, e);
    for (size_t i = 0; status == 0 && i < STREAM_COUNT; i++)
        status = channel_keep_fd(fds[1 + i], &w->stdio[i], e);
    for (size_t i = FDS_FIRST_MOUNT; status == 0 && i < fd_count; i++)
        status = channel_keep_fd(fds[i], &w->folders[w->folder_count++], e);
    for (size_t bit = 0, at = fd_count; status == 0 && bit < ARRAY_SIZE(w->links); bit++) {
        if (w->start.links & 1u << bit) {
            status = link_keep_fds(&fds[at], w->links[bit], e);
            at += LINK_FDS;
        }
    }
    w->started = true;
    w->gate.phase = PHASE_RUNNING;
    return status;
}

static int on_stop(void *context, struct cursor *payload, const int *fds, size_t fd_count,
                   struct error *e)
{
    struct worker *w = context;
    uint32_t why = cursor_u32(payload);
    if (why < RUN_STOP_INTERRUPT || why > RUN_STOP_REVOKED)
        return error_set(e, -EBADMSG, "a stop for no known reason");
    if (w->running && w->serve)
        serve_stop(w->serve, (enum run_stop)why);
    else if (w->running)
        guest_stop(w->guest, (enum run_stop)why);
    else
        w->stop = (enum run_stop)why;
    return 0;
}

/* Opens an end of a link; what was under way on the one before has failed. */
static int attach(struct worker *w, enum run_link which, int fds[static LINK_FDS], struct error *e)
{
    struct link *link;
    int status = link_open(fds, &link, e);
    for (size_t i = 0; i < LINK_FDS; i++)
        fds[i] = -1;
    if (status < 0)
        return status;
    return which == RUN_LINK_EGRESS ? http_peer_attach(&w->egress, &w->loop, link, e)
                                    : serve_attach(w->serve, link, e);
}

static int on_link(void *context, struct cursor *payload, const int *fds, size_t fd_count,
                   struct error *e)
{
    struct worker *w = context;
    uint32_t which = cursor_u32(payload);
    int taken[LINK_FDS];
    bool known = which == RUN_LINK_EGRESS || which == RUN_LINK_INGRESS;
    if (fd_count != LINK_FDS || !known || !(w->start.links & which) || !w->running)
        return error_set(e, -EBADMSG, "a link that nobody waits for");
    int status = link_keep_fds(fds, taken, e);
    return status < 0 ? status : attach(w, (enum run_link)which, taken, e);
}

static int on_answer(void *context, struct cursor *payload, const int *fds, size_t fd_count,
                     struct error *e)
{
    struct worker *w = context;
    uint32_t answer = cursor_u32(payload);
    if (answer > RUN_ANSWER_RUN)
        return error_set(e, -EBADMSG, "an answer that is none");
    w->answer = (enum run_answer)answer;
    w->answered = true;
    w->gate.phase = PHASE_RUNNING;
    return 0;
}

static const struct frame_rule rules_of_frames[] = {
    { RUN_START, "start", 1u << PHASE_WAITING, true, CHANNEL_FDS_MAX, FRAME_MAX, on_start },
    { RUN_STOP, "stop", 1u << PHASE_RUNNING | 1u << PHASE_ASKING, false, 0, sizeof(uint32_t),
      on_stop },
    { RUN_ANSWER, "answer", 1u << PHASE_ASKING, false, 0, sizeof(uint32_t), on_answer },
    { RUN_LINK, "link", 1u << PHASE_RUNNING | 1u << PHASE_ASKING, false, LINK_FDS, sizeof(uint32_t),
      on_link },
};

/* The loop found the channel readable or writable. */
static int on_control(void *context, struct error *e)
{
    struct worker *w = context;
    int status = channel_dispatch(w->control, &w->gate, w, false, e);
    if (status < 0)
        return status;
    if (status > 0) {
        w->gone = true;
        if (w->running && w->serve)
            serve_stop(w->serve, RUN_STOP_WALL);
        else if (w->running)
            guest_stop(w->guest, RUN_STOP_INTERRUPT);
        return 1;
    }
    status = channel_flush(w->control, e);
    return status < 0 ? status : loop_control_writes(&w->loop, status > 0, e);
}

/* ---- frames to control ---- */

static int queue_frame(struct worker *w, uint16_t kind, const struct buf *payload)
{
    int status = buf_status(payload);
    if (status == 0)
        status = channel_queue(w->control, kind, payload->data, payload->size, NULL);
    if (status == 0)
        status = channel_flush(w->control, NULL);
    return status < 0 ? status : loop_control_writes(&w->loop, status > 0, NULL);
}

static int report_denial(void *context, const struct run_denial *d)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    int status = run_denial_put(&payload, d);
    return status < 0 ? status : queue_frame(context, RUN_DENIAL, &payload);
}

/* Waits for the person, and for nothing else: the guest is in a host call, and it is the only one. */
static int report_ask(void *context, const struct run_denial *d)
{
    struct worker *w = context;
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    int status = run_denial_put(&payload, d);
    if (status < 0)
        return status;
    w->answered = false;
    w->gate.phase = PHASE_ASKING;
    status = channel_send(w->control, RUN_ASK, payload.data, payload.size, NULL, 0, NULL);
    while (status == 0 && !w->answered)
        status = channel_dispatch(w->control, &w->gate, w, true, NULL);
    w->gate.phase = PHASE_RUNNING;
    if (status > 0) { /* the loop finds out, too */
        guest_stop(w->guest, RUN_STOP_INTERRUPT);
        return RUN_ANSWER_NEVER;
    }
    return status < 0 ? status : (int)w->answer;
}

/* 1: the line was dropped, control is too slow for it. */
static int report_log(void *context, uint32_t level, struct ambit_bytes topic,
                      struct ambit_bytes message)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    buf_u32(&payload, level);
    buf_bytes(&payload, topic.data, topic.size);
    buf_bytes(&payload, message.data, message.size);
    int status = queue_frame(context, RUN_LOG, &payload);
    return status == -ENOBUFS ? 1 : status;
}

/* What was queued goes out before it. Control reads; a control that does not is killed by nobody
 * but its user, and takes this room with it. */
static int send_last(struct worker *w, uint16_t kind, const struct buf *payload, struct error *e)
{
    int status = buf_status(payload);
    if (status < 0)
        return error_set(e, status, "building the last frame");
    return channel_send(w->control, kind, payload->data, payload->size, NULL, 0, e);
}

/* The three lines of an error, to whom it may concern. Always 1: the room's exit status. */
static int report_fault(struct worker *w, enum run_fault fault, const struct error *why)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    buf_u32(&payload, fault);
    buf_string(&payload, why->what);
    buf_string(&payload, why->hint);
    /* Whether control is gone or not: the exit status says the rest. */
    if (!w->gone)
        (void)!send_last(w, RUN_FAULT, &payload, NULL);
    return 1;
}

static void into_buf(void *context, const uint8_t *bytes, size_t size)
{
    buf_append(context, bytes, size);
}

/* ---- preparing ---- */

static int make_engine(struct worker *w, uint32_t instances, struct error *e)
{
    CLEANUP(buf_done) struct buf message = BUF_INIT(ERROR_TEXT_MAX);
    struct ambit_engine_config config = {
        .instances = instances,
        .memory_max_bytes = UINT64_C(4) << 30,
        .table_elements_max = TABLE_ELEMENTS_MAX,
        .core_instances_max = CORE_INSTANCES_MAX,
        .ticker = false,
        .epoch_us = EPOCH_US,
    };
    if (ambit_engine_new(&config, &w->engine, into_buf, &message) == 0)
        return 0;
    return error_set(e, -EIO, "the engine cannot be made: %s", buf_cstr(&message));
}

/* Who answers requests needs room for more than the one that is there since birth. */
static int widen_engine(struct worker *w, struct error *e)
{
    if (w->start.concurrency <= 1)
        return 0;
    ambit_engine_free(w->engine);
    w->engine = NULL;
    return make_engine(w, w->start.concurrency, e);
}

static int load_component(struct worker *w, enum run_fault *ret_fault, struct error *e)
{
    CLEANUP(buf_done) struct buf message = BUF_INIT(ERROR_TEXT_MAX);
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", w->code_fd);
    int status = ambit_component_load(w->engine, path, &w->component, into_buf, &message);
    fd_closep(&w->code_fd); /* the mapping holds it */
    if (status == 0)
        return 0;
    if (status == -2) {
        *ret_fault = RUN_FAULT_IMPORTS;
        return error_set(e, -ENOENT, "%s", buf_cstr(&message));
    }
    *ret_fault = status == -3 ? RUN_FAULT_STALE_CODE : RUN_FAULT_INTERNAL;
    return error_set(e, -ENOEXEC, "the machine code cannot be loaded: %s", buf_cstr(&message));
}

#ifdef AMBIT_TEST_HOOKS
/* Negative control: every verb and path of every mount. */
static int open_fs_grants(struct grant_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        struct grant *g = &set->grants[i];
        if (g->class != GRANT_FS)
            continue;
        char *all = mem_strdup("**");
        if (!all)
            return -ENOMEM;
        for (size_t p = 0; p < g->fs.path_count; p++)
            mem_free(g->fs.paths[p]);
        g->fs.paths[0] = all;
        g->fs.path_count = 1;
        g->fs.verbs = FS_RW;
    }
    return 0;
}
#endif

static int test_hooks(struct worker *w, struct grant_set *set, struct error *e)
{
#ifdef AMBIT_TEST_HOOKS
    vfs_dir_left_open.walk = (w->start.test_skip & RUN_SKIP_FS_WALK) != 0;
    vfs_dir_left_open.kind = (w->start.test_skip & RUN_SKIP_FS_KIND) != 0;
    if (w->start.test_skip & RUN_SKIP_FS_DECISION)
        return open_fs_grants(set);
    return 0;
#else
    return w->start.test_skip ? error_set(e, -EPERM, "this build leaves no defence open") : 0;
#endif
}

static int compile_rules(struct worker *w, struct error *e)
{
    CLEANUP(grant_set_freep) struct grant_set *set = NULL;
    int status =
        grant_set_parse("grants", "/", w->start.grants_json, strlen(w->start.grants_json), &set, e);
    if (status == 0)
        status = test_hooks(w, set, e);
    if (status == 0)
        status = grant_rules_new(set, w->start.work_host, &w->rules, e);
    if (status == 0)
        w->expires_ns = set->expires_ns;
    return status;
}

/* Which folder belongs to which mount: ret_fds[i] is mount i's, or -1.
 * The descriptors move there. */
static int place_folders(struct worker *w, int *ret_fds, struct error *e)
{
    size_t next = 0, mounts = grant_rules_mount_count(w->rules);
    for (size_t i = 0; i < mounts; i++) {
        ret_fds[i] = -1;
        if (grant_rules_mount(w->rules, i)->backing == GRANT_BACKING_DIR)
            ret_fds[i] = next < w->folder_count ? fd_take(&w->folders[next]) : -1, next++;
    }
    if (next == w->folder_count)
        return 0;
    for (size_t i = 0; i < mounts; i++)
        fd_closep(&ret_fds[i]);
    return error_set(e, -EBADMSG, "%zu folders for %zu mounts", w->folder_count, next);
}

static void close_folders(struct jail_folder *folders, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fd_closep(&folders[i].fd);
}

/* Mounts become detached clones, for the guest and for the jail, which wants descriptors of its own:
 * writable when some rule of the mount writes. */
static int jail_folders(struct worker *w, const int *mount_fds, struct jail_folder *ret,
                        size_t *ret_count, struct error *e)
{
    uint32_t skip = 0;
#ifdef AMBIT_TEST_HOOKS
    skip = w->start.test_skip & RUN_SKIP_JAIL_MASK;
#endif
    *ret_count = 0;
    for (size_t i = 0; i < grant_rules_mount_count(w->rules); i++) {
        if (mount_fds[i] < 0)
            continue;
        struct jail_folder *folder = &ret[*ret_count];
        folder->write = grant_rules_mount(w->rules, i)->verbs & ~(uint32_t)FS_RO;
        int status = jail_detach(mount_fds[i], folder->write, w->start.allow_missing, skip, e);
        if (status == 0)
            status = channel_keep_fd(mount_fds[i], &folder->fd, e);
        if (status < 0)
            return status;
        (*ret_count)++;
    }
    return 0;
}

static int start_ticker(void *context, struct error *e)
{
    struct worker *w = context;
    return ticker_start(&w->ticker, w->engine, EPOCH_US, e);
}

/* Writable memory that is there already: the engine reserves tables and stacks of all guests at its birth. */
static int reserved(uint64_t *ret, struct error *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    uint64_t pages = 0;
    int status = file_read("/proc/self/statm", &text, e);
    const char *at = status == 0 ? buf_cstr(&text) : "";
    for (int number = 0; status == 0 && number <= STATM_DATA; number++) {
        char *end = NULL;
        pages = strtoull(at, &end, 10);
        if (end == at)
            status = error_set(e, -EIO, "/proc/self/statm is not understood");
        at = end;
    }
    *ret = pages * (uint64_t)sysconf(_SC_PAGESIZE);
    return status;
}

/* Native code that has taken the room over gets little more memory than its guests may have. */
static int data_bound(const struct worker *w, uint64_t *ret, struct error *e)
{
    const struct grant_limits *limits = grant_rules_limits(w->rules);
    uint64_t there = 0, each;
    int status = 0;
    *ret = jail_data_bound(DATA_OWN, 1, limits->memory_bytes);
    if (w->start.links & RUN_LINK_INGRESS) {
        status = reserved(&there, e);
        each = limits->memory_bytes + MIN(DATA_REQUEST, UINT64_MAX - limits->memory_bytes);
        *ret = jail_data_bound(there + DATA_OWN, w->start.concurrency, each);
    }
#ifdef AMBIT_TEST_HOOKS
    if (w->start.test_skip & RUN_SKIP_MEMORY)
        *ret = 0;
#endif
    return status;
}

static int close_jail(struct worker *w, const struct jail_folder *folders, size_t count,
                      uint32_t *ret_missing, struct error *e)
{
    const struct grant_limits *limits = grant_rules_limits(w->rules);
    struct rlimit now = { .rlim_max = RLIM_INFINITY };
    if (getrlimit(RLIMIT_NOFILE, &now) < 0)
        return error_set_errno(e, errno, "asking for the limit of descriptors");
    bool serves = w->start.links & RUN_LINK_INGRESS;
    uint64_t guests = MAX(w->start.concurrency, 1u);
    uint64_t descriptors =
        guests * (MIN(limits->handles, (uint64_t)UINT32_MAX / 2) + count) + DESCRIPTORS_OWN;
    uint64_t data_bytes;
    int status = data_bound(w, &data_bytes, e);
    if (status < 0)
        return status;
    struct jail_spec spec = {
        .role = ROOM_WORKER,
        .folders = folders,
        .folder_count = count,
        /* Requests have each a limit, who answers them has none. */
        .cpu_seconds = serves ? 0 : limits->cpu_ns / NS_PER_S + 1 + CPU_BACKSTOP_S,
        .data_bytes = data_bytes,
        .descriptors = (uint32_t)MIN(descriptors, (uint64_t)now.rlim_max),
        .allow_missing = w->start.allow_missing,
        .start = start_ticker,
        .start_context = w,
    };
#ifdef AMBIT_TEST_HOOKS
    spec.skip = w->start.test_skip & RUN_SKIP_JAIL_MASK;
    if (w->start.test_skip & RUN_SKIP_CPU)
        spec.cpu_seconds = 0;
#endif
    return jail_close(&spec, ret_missing, e);
}

static int attach_links(struct worker *w, struct error *e)
{
    int status = 0;
    if (w->start.links & RUN_LINK_INGRESS) {
        if (!ambit_component_serves(w->component))
            return error_set(e, -ENOEXEC, "the component answers no requests");
        status = serve_new(&w->loop, w->guest, w->component, w->start.concurrency, &w->serve, e);
    }
    for (size_t bit = 0; status == 0 && bit < ARRAY_SIZE(w->links); bit++)
        if (w->start.links & 1u << bit)
            status = attach(w, (enum run_link)(1u << bit), w->links[bit], e);
    return status;
}

/* Everything that needs a name or a descriptor of the outside, then the jail. */
static int enter_jail(struct worker *w, uint32_t *ret_missing, enum run_fault *ret_fault,
                      struct error *e)
{
    int mount_fds[CHANNEL_FDS_MAX];
    struct jail_folder folders[CHANNEL_FDS_MAX];
    size_t folder_count = 0;
    if (grant_rules_mount_count(w->rules) > CHANNEL_FDS_MAX)
        return error_set(e, -E2BIG, "more than %d mounts", CHANNEL_FDS_MAX);
    int status = place_folders(w, mount_fds, e);
    if (status < 0)
        return status;
    status = jail_folders(w, mount_fds, folders, &folder_count, e);
    struct guest_config config = {
        .rules = w->rules,
        .start = &w->start,
        .stdio = { w->stdio[0], w->stdio[1], w->stdio[2] },
        .mount_fds = mount_fds,
        .report = { .context = w, .denial = report_denial, .log = report_log, .ask = report_ask },
        .commons = { .egress = w->start.links & RUN_LINK_EGRESS ? &w->egress : NULL },
        .serves = w->start.links & RUN_LINK_INGRESS,
    };
    if (status == 0) {
        w->stdio[0] = w->stdio[1] = w->stdio[2] = -1;
        status = guest_new(&w->loop, &config, &w->guest, e);
    } else {
        for (size_t i = 0; i < grant_rules_mount_count(w->rules); i++)
            fd_closep(&mount_fds[i]);
    }
    if (status == 0)
        status = attach_links(w, e);
    if (status == 0) {
        status = close_jail(w, folders, folder_count, ret_missing, e);
        if (status < 0)
            *ret_fault = RUN_FAULT_JAIL;
    }
    close_folders(folders, folder_count);
    return status;
}

static int prepare(struct worker *w, uint32_t *ret_missing, enum run_fault *ret_fault,
                   struct error *e)
{
    *ret_fault = RUN_FAULT_INTERNAL;
    int status = compile_rules(w, e);
    if (status == 0)
        status = widen_engine(w, e);
    if (status == 0)
        status = load_component(w, ret_fault, e);
    if (status == 0)
        status = enter_jail(w, ret_missing, ret_fault, e);
    return status;
}

/* ---- main ---- */

/* Runs the guest, or answers requests until control says stop. */
static int run_guests(struct worker *w, struct error *e)
{
    int status = 0;
    if (w->serve)
        serve_start(w->serve, w->expires_ns);
    else
        status = guest_start(w->guest, w->component, w->expires_ns, e);
    w->running = status == 0;
    if (status == 0 && w->stop && w->serve)
        serve_stop(w->serve, w->stop);
    else if (status == 0 && w->stop)
        guest_stop(w->guest, w->stop);
    if (status == 0)
        status = loop_run(&w->loop, e);
    if (status == 0 && w->serve)
        guest_report_totals(w->guest);
    return status;
}

static int run(struct worker *w, uint32_t missing, struct error *e)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    buf_u32(&payload, missing);
    int status = send_last(w, RUN_READY, &payload, e);
    if (status == 0)
        status = run_guests(w, e);
    if (status < 0 || w->gone)
        return status;
    buf_clear(&payload);
    status = run_done_put(&payload, &w->guest->done);
    if (status < 0)
        return error_set(e, status, "building the report of the run");
    return send_last(w, RUN_DONE, &payload, e);
}

static void worker_done(struct worker *w)
{
    ticker_stop(&w->ticker);
    serve_free(w->serve);
    guest_free(w->guest);
    http_peer_done(&w->egress);
    for (size_t i = 0; i < ARRAY_SIZE(w->links); i++)
        link_close_fds(w->links[i]);
    loop_done(&w->loop);
    ambit_component_free(w->component);
    ambit_engine_free(w->engine);
    grant_rules_free(w->rules);
    run_start_done(&w->start);
    fd_close(w->code_fd);
    for (size_t i = 0; i < STREAM_COUNT; i++)
        fd_close(w->stdio[i]);
    for (size_t i = 0; i < w->folder_count; i++)
        fd_close(w->folders[i]);
}

static int worker_main(struct worker *w)
{
    struct error e = ERROR_INIT;
    enum run_fault fault;
    uint32_t missing = 0;
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || make_engine(w, 1, &e) < 0)
        return report_fault(w, RUN_FAULT_INTERNAL, &e);
    while (!w->started) {
        int status = channel_dispatch_one(w->control, &w->gate, w, true, &e);
        if (status < 0)
            return report_fault(w, RUN_FAULT_INTERNAL, &e);
        if (status > 0)
            return 0; /* control changed its mind */
    }
    if (prepare(w, &missing, &fault, &e) < 0)
        return report_fault(w, fault, &e);
#ifdef AMBIT_TEST_HOOKS
    if (w->start.test_skip & RUN_PROBE) {
        static char attempt[] = "fill-memory";
        char *const only[] = { attempt }; /* who serves has no arguments */
        size_t program = MIN((size_t)w->start.program_args, w->start.arg_count);
        size_t count = w->start.arg_count - program;
        char text[256];
        room_probe(count > 0 ? w->start.args + program : only, MAX(count, 1u), text, sizeof(text));
        (void)error_set(&e, -EIO, "%s", text);
        return report_fault(w, RUN_FAULT_INTERNAL, &e);
    }
#endif
    if (run(w, missing, &e) < 0)
        return report_fault(w, RUN_FAULT_INTERNAL, &e);
    return 0;
}

int worker_room_main(struct channel *control)
{
    struct worker w = {
        .control = control,
        .gate = { .rules = rules_of_frames, .rule_count = ARRAY_SIZE(rules_of_frames) },
        .code_fd = -1,
        .stdio = { -1, -1, -1 },
        .links = { { -1, -1, -1 }, { -1, -1, -1 } },
        .loop = { .epoll = -1, .timer_fd = -1 },
    };
    struct error e = ERROR_INIT;
    int status;
    http_peer_init(&w.egress, true);
    w.egress.refused = http_refused;
    if (loop_init(&w.loop, channel_fd(control), on_control, &w, &e) < 0)
        status = report_fault(&w, RUN_FAULT_INTERNAL, &e);
    else
        status = worker_main(&w);
    worker_done(&w);
    return status;
}
