/* SPDX-License-Identifier: Apache-2.0 */
/* See front.h. */
#include "control/front.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "control/listen.h"

#define LAST_WORDS_MS 2000
#define ACCESS_LINE_MAX (64u << 10)

/* ---- lives ---- */

void front_room_began(struct front_room *r, const struct frame_rule *rules, size_t rule_count)
{
    r->live = true;
    restart_began(&r->restart);
    r->gate = (struct frame_gate){ rules, rule_count, 0, 0 };
}

bool front_room_bury(struct front_room *r, bool expected, struct buf *why)
{
    restart_bury(&r->restart, &r->room, why);
    r->live = r->ready = false;
    if (!expected && !r->done && !r->over)
        return true;
    r->restart.back_ns = 0;
    return false;
}

int front_room_died_at_start(struct front_room *r, const char *name, bool told, struct error *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(1024);
    int wait_status = 0;
    if (room_wait(&r->room, LAST_WORDS_MS, &wait_status, e) != 0)
        return error_set(e, -ECHILD, "the %s closed its channel and does not end", name);
    r->live = false;
    room_end(&r->room);
    if (told)
        return 0;
    room_status_text(wait_status, &text);
    error_hint(e, "ambit doctor says whether this machine has what it needs");
    return error_set(e, -ECHILD, "the %s ended at its start: %s", name, buf_cstr(&text));
}

/* A frame that cannot be; all else is what control could not do with a good one: keep its receipt, make a link. */
static bool is_broken_frame(int status)
{
    return status == -EPROTO || status == -EBADMSG || status == -EMSGSIZE || status == -EINVAL ||
           status == -E2BIG;
}

int front_room_hear(struct front_room *r, void *context, bool at_start, struct error *ret_broke,
                    struct error *e)
{
    int status = channel_dispatch(r->room.channel, &r->gate, context, false, ret_broke);
    if (status >= 0)
        return status;
    if (at_start || !is_broken_frame(status)) {
        *e = *ret_broke;
        return status;
    }
    room_kill(&r->room);
    return 1;
}

/* ---- the access log ---- */

/* NULL: none; "-": stdout. */
static int access_log_open(const char *name, struct access_log *ret, struct error *e)
{
    *ret = (struct access_log){ .fd = -1 };
    if (name == NULL)
        return 0;
    ret->fd = strcmp(name, "-") == 0
                  ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
                  : open(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
    if (ret->fd < 0)
        return error_set_errno(e, errno, "--access-log %s", name);
    ret->filtered = isatty(ret->fd);
    return 0;
}

/* A new pipe for a life of the room; its end for the room is the caller's to send and close. */
static int access_pipe_open(struct access_pipe *p, int *ret_fd, struct error *e)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return error_set_errno(e, errno, "no pipe for the access log");
    fd_close(p->fd);
    p->fd = ends[0];
    *ret_fd = ends[1];
    return 0;
}

static int write_lines(struct access_pipe *p, struct access_log *log, size_t size)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(64 * ACCESS_LINE_MAX);
    struct text_filter filter = { 0 };
    const void *bytes = p->held.data;
    size_t count = size;
    int status = 0;
    if (log->filtered) {
        text_filter(&filter, &text, p->held.data, size, false);
        bytes = buf_cstr(&text);
        count = text.size;
    }
    if (file_write_fd(log->fd, bytes, count, NULL) < 0) {
        fd_closep(&log->fd);
        status = -EIO;
    }
    memmove(p->held.data, p->held.data + size, p->held.size - size);
    p->held.size -= size;
    return status;
}

/* Takes what is there, and passes on whole lines only, so that those of several rooms do not mix. */
static int access_pipe_take(struct access_pipe *p, struct access_log *log)
{
    uint8_t bytes[ACCESS_LINE_MAX];
    ssize_t n = read(p->fd, bytes, sizeof bytes);
    if (n < 0)
        return 0;
    if (n == 0) {
        fd_closep(&p->fd);
        return 0;
    }
    buf_append(&p->held, bytes, (size_t)n);
    if (buf_status(&p->held) < 0 || log->fd < 0) {
        buf_clear(&p->held);
        return 0;
    }
    size_t whole = p->held.size;
    while (whole > 0 && p->held.data[whole - 1] != '\n')
        whole--;
    if (whole == 0 && p->held.size > ACCESS_LINE_MAX)
        whole = p->held.size; /* no line of ours is so long */
    return whole > 0 ? write_lines(p, log, whole) : 0;
}

/* Takes what a room left when it ended. */
static int access_pipe_drain(struct access_pipe *p, struct access_log *log)
{
    int status = 0;
    while (p->fd >= 0 && log->fd >= 0) {
        struct pollfd left = { .fd = p->fd, .events = POLLIN };
        if (poll(&left, 1, 0) != 1)
            break;
        status = access_pipe_take(p, log);
    }
    return status;
}

/* ---- what an ingress room may say ---- */

int front_on_ready(void *context, struct cursor *c, const int *fds, size_t fd_count,
                   struct error *e)
{
    struct front *f = context;
    uint32_t missing = cursor_u32(c);
    if ((missing & ~f->all->allow_missing) != 0)
        return error_set(e, -EPROTO,
                         "an ingress room started without a layer of its jail that may not be "
                         "missing");
    *f->all->missing |= missing;
    f->room.ready = true;
    f->room.gate.phase = 1;
    return 0;
}

int front_on_done(void *context, struct cursor *c, const int *fds, size_t fd_count, struct error *e)
{
    struct front *f = context;
    uint64_t cut = cursor_u64(c);
    if (!f->draining)
        return error_set(e, -EPROTO, "an ingress room ended by itself");
    f->room.done = true;
    ingress_count(&f->all->page[f->index], INGRESS_COUNT_requests_cut_total, cut);
    return 0;
}

int front_on_fault(void *context, struct cursor *c, const int *fds, size_t fd_count,
                   struct error *e)
{
    CLEANUP(mem_freep) char *text = cursor_string(c);
    CLEANUP(mem_freep) char *hint = cursor_string(c);
    if (text == NULL || hint == NULL)
        return error_set(e, -EPROTO, "an ingress room told of a fault that cannot be");
    if (hint[0] != '\0')
        error_hint(e, "%s", hint);
    return error_set(e, -EIO, "the ingress room cannot start: %s", text);
}

/* ---- ingress rooms: what outlives them ---- */

int fronts_new(struct fronts *all, uint32_t count, struct error *e)
{
    all->each = mem_array(count, sizeof(struct front *));
    if (all->each == NULL)
        return error_set(e, -ENOMEM, "no memory for the ingress rooms");
    all->count = count;
    return 0;
}

void front_init(struct fronts *all, unsigned index, struct front *f, void *owner)
{
    *f = (struct front){ .all = all,
                         .owner = owner,
                         .index = index,
                         .listener_fd = -1,
                         .log = { -1, BUF_INIT(4 * ACCESS_LINE_MAX) } };
    all->each[index] = f;
}

int fronts_listen(struct fronts *all, struct error *e)
{
    const struct front_request *q = all->request;
    CLEANUP(mem_freep) int **fds = mem_array(all->count, sizeof(int *));
    if (fds == NULL)
        return error_set(e, -ENOMEM, "no memory for the listeners");
    for (uint32_t i = 0; i < all->count; i++)
        fds[i] = &all->each[i]->listener_fd;
    int status = access_log_open(q->access_log, &all->access, e);
    if (status == 0)
        status = listen_all("--listen", q->listen, fds, all->count, &all->authority, e);
    int *metrics = &all->metrics_fd;
    if (status == 0 && q->metrics != NULL)
        status = listen_all("--metrics", q->metrics, &metrics, 1, &all->metrics_authority, e);
    return status;
}

int fronts_make_page(struct fronts *all, struct error *e)
{
    void *at = MAP_FAILED;
    all->page_fd = memfd_create("ambit-counters", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    /* A page that a room cut off would be a signal to all who read it. */
    if (all->page_fd >= 0 && ftruncate(all->page_fd, INGRESS_PAGE_SIZE) == 0 &&
        fcntl(all->page_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        at = mmap(NULL, INGRESS_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, all->page_fd, 0);
    if (at == MAP_FAILED)
        return error_set_errno(e, errno, "no page for the counters");
    all->page = at;
    return 0;
}

size_t fronts_listeners(const struct fronts *all,
                        struct egress_listener ret[static FRONT_LISTENERS_MAX])
{
    const char *const names[FRONT_LISTENERS_MAX] = { all->authority, all->metrics_authority };
    size_t count = 0;
    for (size_t i = 0; i < FRONT_LISTENERS_MAX; i++)
        if (names[i] != NULL &&
            listen_name_parse(names[i], &ret[count].address, &ret[count].port) == 0)
            count++;
    return count;
}

void fronts_metrics_url(const struct fronts *all, struct buf *out)
{
    if (all->metrics_authority != NULL)
        buf_printf(out, "http://%s/metrics", all->metrics_authority);
}

bool fronts_ready(const struct fronts *all)
{
    for (uint32_t i = 0; i < all->count; i++)
        if (!all->each[i]->room.ready)
            return false;
    return true;
}

bool fronts_drained(const struct fronts *all)
{
    for (uint32_t i = 0; i < all->count; i++) {
        const struct front_room *r = &all->each[i]->room;
        if (r->live && !r->done && !r->over)
            return false;
    }
    return true;
}

static void drain(struct front *f, uint64_t within_ns)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(16);
    f->draining = true;
    f->room.restart.back_ns = 0;
    if (!f->room.live)
        return;
    buf_u64(&payload, within_ns);
    if (channel_send(f->room.room.channel, INGRESS_DRAIN, payload.data, payload.size, NULL, 0,
                     NULL) < 0)
        f->room.over = true;
}

void fronts_drain(struct fronts *all)
{
    for (uint32_t i = 0; i < all->count; i++)
        fd_closep(&all->each[i]->listener_fd);
    for (uint32_t i = 0; i < all->count; i++)
        drain(all->each[i], all->request->drain_ns);
}

int fronts_end(struct fronts *all)
{
    int status = 0;
    for (uint32_t i = 0; i < all->count; i++) {
        struct front_room *r = &all->each[i]->room;
        if (r->live)
            room_end(&r->room);
        r->live = false;
        if (access_pipe_drain(&all->each[i]->log, &all->access) < 0)
            status = -EIO;
    }
    return status;
}

void fronts_done(struct fronts *all)
{
    for (uint32_t i = 0; i < all->count; i++) {
        struct front *f = all->each[i];
        if (f == NULL)
            continue;
        if (f->room.live)
            room_end(&f->room.room);
        fd_close(f->log.fd);
        fd_close(f->listener_fd);
        buf_done(&f->log.held);
    }
    mem_free(all->each);
    if (all->page != NULL)
        munmap(all->page, INGRESS_PAGE_SIZE);
    fd_close(all->page_fd);
    fd_close(all->metrics_fd);
    fd_close(all->access.fd);
    mem_free(all->authority);
    mem_free(all->metrics_authority);
}

/* ---- one of them ---- */

int front_spawn(struct front *f, const struct frame_rule *rules, size_t rule_count, struct error *e)
{
    int status = room_spawn(ROOM_INGRESS, f->all->allow_missing, &f->room.room, e);
    if (status == 0)
        front_room_began(&f->room, rules, rule_count);
    return status;
}

/* In the order of INGRESS_START. */
static size_t descriptors_of(const struct front *f, const int link[static LINK_FDS], int log_end,
                             int keeper_fd, int fds[static LINK_FDS + 5])
{
    size_t count = 0;
    fds[count++] = f->listener_fd;
    fds[count++] = f->all->page_fd;
    for (int i = 0; i < LINK_FDS; i++)
        fds[count++] = link[i];
    if (f->all->metrics_fd >= 0)
        fds[count++] = f->all->metrics_fd;
    if (log_end >= 0)
        fds[count++] = log_end;
    if (keeper_fd >= 0)
        fds[count++] = keeper_fd;
    return count;
}

int front_send_start(struct front *f, const struct ingress_start *own,
                     const int link[static LINK_FDS], int keeper_fd, struct error *e)
{
    const struct fronts *all = f->all;
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    CLEANUP(fd_closep) int log_end = -1;
    struct ingress_start start = *own;
    int fds[LINK_FDS + 5];
    payload.wipes = true; /* a key, or a token */
    start.flags |=
        (all->metrics_fd >= 0 ? INGRESS_METRICS : 0) | (all->access.fd >= 0 ? INGRESS_LOG : 0);
    start.index = f->index;
    start.pairs = all->count;
    start.connections = all->request->connections;
    start.client_timeout_ns = all->request->client_timeout_ns;
    start.idle_timeout_ns = all->request->idle_timeout_ns;
    start.allow_missing = all->allow_missing;
    start.test_skip = all->request->ingress_skip;
    start.authority = all->authority;
    int status = all->access.fd >= 0 ? access_pipe_open(&f->log, &log_end, e) : 0;
    if (status == 0 && ingress_start_put(&payload, &start) < 0)
        status = error_set(e, -ENOMEM, "no memory for the start of an ingress room");
    if (status < 0)
        return status;
    size_t count = descriptors_of(f, link, log_end, keeper_fd, fds);
    status = channel_send(f->room.room.channel, INGRESS_START, payload.data, payload.size, fds,
                          count, e);
    return channel_unless_gone(status, e);
}

int front_send_link(struct front *f, const int link[static LINK_FDS], struct error *e)
{
    if (!f->room.live)
        return 0;
    return channel_unless_gone(
        channel_send(f->room.room.channel, INGRESS_LINK, NULL, 0, link, LINK_FDS, e), e);
}

void front_watch(const struct front *f, struct pollfd ret[static 2])
{
    ret[0] = (struct pollfd){ .fd = f->room.live ? channel_fd(f->room.room.channel) : -1,
                              .events = POLLIN };
    ret[1] = (struct pollfd){ .fd = f->log.fd, .events = POLLIN };
}

int front_take_log(struct front *f)
{
    return access_pipe_take(&f->log, &f->all->access);
}

/* ---- totals ---- */

uint64_t fronts_counted(const struct fronts *all, enum ingress_counter c)
{
    return all->page != NULL ? ingress_counted(all->page, all->count, c) : 0;
}

struct front_totals fronts_totals(const struct fronts *all)
{
    return (struct front_totals){
        .connections = fronts_counted(all, INGRESS_COUNT_connections_total),
        .requests = fronts_counted(all, INGRESS_COUNT_requests_total),
        .refused = fronts_counted(all, INGRESS_COUNT_requests_refused_total),
        .malformed = fronts_counted(all, INGRESS_COUNT_requests_malformed_total),
        .cut = fronts_counted(all, INGRESS_COUNT_requests_cut_total),
        .restarts = fronts_counted(all, INGRESS_COUNT_ingress_restarts_total),
    };
}

void front_totals_put(json_t *event, const struct front_totals *t)
{
    json_object_set_new(event, "connections", json_count(t->connections));
    json_object_set_new(event, "requests", json_count(t->requests));
    json_object_set_new(event, "refused", json_count(t->refused));
    json_object_set_new(event, "malformed", json_count(t->malformed));
    json_object_set_new(event, "cut", json_count(t->cut));
}
