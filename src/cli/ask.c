/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See ask.h. Everything that came from the guest is escaped, so a question cannot be made to look
 * like another; what was typed before the question stood there is thrown away, so nobody agrees to
 * what they have not read. No answer, an unclear one three times, or the end of input is no.
 */
#include "cli/ask.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "cli/cli.h"

#define ANSWER_MAX 256
#define TRIES 3
#define QUESTION_MAX (256u << 10)

int ask_open(struct ask *a, struct error *e)
{
    static const char *const names[] = { "input", "output", "error" };
    *a = (struct ask){ .terminal = -1 };
    for (int fd = 0; fd < 3; fd++) {
        if (isatty(fd))
            continue;
        error_set(e, -EINVAL, "--ask: standard %s is not a terminal, so nobody is there to answer",
                  names[fd]);
        error_hint(e, "--learn FILE writes what it asks for as a grant file, to be read first");
        return -EINVAL;
    }
    a->terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (a->terminal < 0) {
        error_set_errno(e, errno, "--ask: there is no controlling terminal to ask on");
        error_hint(e, "--learn FILE writes what it asks for as a grant file, to be read first");
        return -EINVAL;
    }
    a->colour = cli_colour(a->terminal);
    return 0;
}

void ask_close(struct ask *a)
{
    fd_close(a->terminal);
    a->terminal = -1;
}

static bool put(struct ask *a, const struct buf *text)
{
    return buf_status(text) == 0 && file_write_fd(a->terminal, text->data, text->size, NULL) == 0;
}

static void put_what(struct buf *out, const struct ask *a, const struct run_denial *d)
{
    buf_puts(out, a->colour ? "\033[1m" : "");
    cli_escaped(out, grant_class_name((enum grant_class)d->class));
    buf_puts(out, ": ");
    cli_escaped(out, d->operation);
    buf_putc(out, ' ');
    cli_escaped(out, d->resource);
    buf_puts(out, a->colour ? "\033[0m" : "");
    buf_printf(out, " (%s)\n", grant_reason_text((enum grant_reason)d->reason));
}

/* One line as typed, its end cut off. False: the end of input, an interruption, or a failure. */
static bool read_line(struct ask *a, int interrupt_fd, char ret[static ANSWER_MAX])
{
    struct pollfd fds[] = { { .fd = interrupt_fd, .events = POLLIN },
                            { .fd = a->terminal, .events = POLLIN } };
    int count;
    do
        count = poll(fds, ARRAY_SIZE(fds), -1);
    while (count < 0 && errno == EINTR);
    if (count < 0 || fds[0].revents != 0)
        return false;
    ssize_t size = read(a->terminal, ret, ANSWER_MAX - 1);
    if (size <= 0)
        return false;
    ret[size] = '\0';
    ret[strcspn(ret, "\r\n")] = '\0';
    return true;
}

/* -1: none of the words. */
static int answer_of(const char *text)
{
    static const struct {
        const char *word;
        enum run_answer answer;
    } words[] = {
        { "", RUN_ANSWER_NEVER },   { "n", RUN_ANSWER_NEVER }, { "never", RUN_ANSWER_NEVER },
        { "no", RUN_ANSWER_NEVER }, { "o", RUN_ANSWER_ONCE },  { "once", RUN_ANSWER_ONCE },
        { "r", RUN_ANSWER_RUN },    { "run", RUN_ANSWER_RUN }, { "this run", RUN_ANSWER_RUN },
    };
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (strcmp(text, words[i].word) == 0)
            return (int)words[i].answer;
    return -1;
}

static enum run_answer put_question(struct ask *a, const struct run_denial *d, int interrupt_fd)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(QUESTION_MAX);
    buf_puts(&text, "\nambit: it asks for ");
    put_what(&text, a, d);
    buf_puts(&text, "  the smallest grant of it:\n");
    cli_put_grant(&text, "      ", d->grant_yaml);
    for (int i = 0; i < TRIES; i++) {
        char line[ANSWER_MAX];
        buf_puts(&text, "  allow it [o]nce, for this [r]un, or [N]ever? ");
        (void)tcflush(a->terminal, TCIFLUSH);
        if (!put(a, &text) || !read_line(a, interrupt_fd, line))
            break;
        int answer = answer_of(line);
        if (answer >= 0)
            return (enum run_answer)answer;
        buf_clear(&text);
    }
    return RUN_ANSWER_NEVER;
}

enum run_answer ask_person(struct ask *a, const struct run_denial *d, int interrupt_fd)
{
    enum run_answer answer = put_question(a, d, interrupt_fd);
    a->refused = answer == RUN_ANSWER_NEVER;
    return answer;
}

void ask_tell_denied(struct ask *a, const struct run_denial *d)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(QUESTION_MAX);
    bool known = a->refused;
    a->refused = false;
    if (known || d->grant_yaml == NULL || d->grant_yaml[0] == '\0')
        return;
    buf_puts(&text, "ambit: denied ");
    put_what(&text, a, d);
    buf_puts(&text, "  to allow it, start a new run with this grant:\n");
    cli_put_grant(&text, "      ", d->grant_yaml);
    (void)put(a, &text);
}
