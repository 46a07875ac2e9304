/* SPDX-License-Identifier: Apache-2.0 */
/* See front.h. */
#include "control/front.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"

#define LAST_WORDS_MS 2000

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

/* ---- the access log ---- */

int access_log_open(const char *name, struct access_log *ret, struct error *e)
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

int access_pipe_open(struct access_pipe *p, int *ret_fd, struct error *e)
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

int access_pipe_take(struct access_pipe *p, struct access_log *log)
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

int access_pipe_drain(struct access_pipe *p, struct access_log *log)
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
