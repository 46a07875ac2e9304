/* SPDX-License-Identifier: Apache-2.0 */
/* See source.h. */
#include "control/source.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"

#define COMMAND_LIMIT_NS (30 * NS_PER_S)
#define COMMAND_SLICE_MS 50
#define LINE_MAX_TYPED 4096
#define PIPE_SIZE (128 << 10) /* a value and one byte more always fit */

/* ---- files ---- */

static int open_last(const char *what, const char *path, int *ret_fd, struct error *e)
{
    CLEANUP(mem_freep) char *folder = mem_strdup(path);
    CLEANUP(fd_closep) int dir = -1;
    size_t link = 0;
    if (folder == NULL)
        return error_set(e, -ENOMEM, "no memory");
    char *slash = strrchr(folder, '/');
    if (slash == NULL || slash[1] == '\0')
        return error_set(e, -EINVAL, "%s: \"%s\" is not the absolute path of a file", what, path);
    const char *name = path + (slash + 1 - folder);
    slash[slash == folder] = '\0';
    dir = file_open_dir_unlinked(folder, &link);
    if (dir == -ELOOP) {
        error_hint(e, "name the file where it is");
        return error_set(e, -EPERM, "%s: %.*s is a symbolic link", what, (int)link, path);
    }
    if (dir < 0)
        return error_set_errno(e, -dir, "%s: %s cannot be opened", what, path);
    *ret_fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
    if (*ret_fd >= 0)
        return 0;
    if (errno == ELOOP) {
        error_hint(e, "name the file where it is");
        return error_set(e, -EPERM, "%s: %s is a symbolic link", what, path);
    }
    error_hint(e, "it must be a file of yours, of mode 600");
    return error_set_errno(e, errno, "%s: %s cannot be opened", what, path);
}

int source_file(const char *what, const char *path, enum source_owner owner, int *ret_fd,
                struct error *e)
{
    CLEANUP(fd_closep) int fd = -1;
    struct stat st;
    int status = open_last(what, path, &fd, e);
    if (status < 0)
        return status;
    if (fstat(fd, &st) < 0)
        return error_set_errno(e, errno, "%s: %s", what, path);
    if (!S_ISREG(st.st_mode)) {
        error_hint(e, "it must be a file of yours, of mode 600");
        return error_set(e, -EPERM, "%s: %s is not a regular file", what, path);
    }
    bool roots = owner == SOURCE_MINE_OR_ROOTS && st.st_uid == 0;
    if (st.st_uid != geteuid() && !roots) {
        error_hint(e, "copy it to a file of your own: install -m 600 %s YOURS", path);
        return error_set(e, -EPERM, "%s: %s belongs to another user, who can change it", what,
                         path);
    }
    /* systemd grants a service its credentials by an access list, whose mask is the group's bits. */
    if (st.st_mode & (roots ? 07 : 077)) {
        error_hint(e, "chmod 600 %s", path);
        return error_set(e, -EPERM, "%s: others can read %s", what, path);
    }
    *ret_fd = fd_take(&fd);
    return 0;
}

/* ---- pipes ---- */

static int make_pipe(int fds[static 2], struct error *e)
{
    if (pipe2(fds, O_CLOEXEC) < 0)
        return error_set_errno(e, errno, "no pipe");
    if (fcntl(fds[0], F_SETPIPE_SZ, PIPE_SIZE) >= PIPE_SIZE)
        return 0;
    int status = error_set_errno(e, errno, "no pipe that is large enough");
    fd_close(fds[0]);
    fd_close(fds[1]);
    return status;
}

int source_pipe(const void *bytes, size_t size, int *ret_fd, struct error *e)
{
    int fds[2];
    if (size > SOURCE_SIZE_MAX)
        return error_set(e, -EFBIG, "larger than %u bytes", SOURCE_SIZE_MAX);
    int status = make_pipe(fds, e);
    if (status == 0) {
        status = file_write_fd(fds[1], bytes, size, e);
        fd_close(fds[1]);
        if (status < 0)
            fd_close(fds[0]);
    }
    if (status == 0)
        *ret_fd = fds[0];
    return status;
}

int source_pipe_copy(int from, int *ret_fd, struct error *e)
{
    int fds[2], held = 0;
    int status = make_pipe(fds, e);
    if (status < 0)
        return status;
    CLEANUP(fd_closep) int in = fds[1];
    CLEANUP(fd_closep) int out = fds[0];
    if (ioctl(from, FIONREAD, &held) < 0 ||
        (held > 0 && tee(from, in, (size_t)held, SPLICE_F_NONBLOCK) != held))
        return error_set(e, -EIO, "a pipe cannot be copied");
    *ret_fd = fd_take(&out);
    return 0;
}

int source_variable(const char *what, const char *name, int *ret_fd, struct error *e)
{
    const char *value = getenv(name);
    if (value == NULL || value[0] == '\0') {
        error_hint(e, "set %s in the environment of ambit itself", name);
        return error_set(e, -ENOENT, "%s: the variable %s is not set", what, name);
    }
    int status = source_pipe(value, strlen(value), ret_fd, e);
    if (status < 0)
        error_prefix(e, "%s: the variable %s", what, name);
    return status;
}

/* ---- commands ---- */

__attribute__((noreturn)) static void command_child(const char *line, int out)
{
    sigset_t none;
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    sigemptyset(&none);
    (void)setpgid(0, 0);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    for (int s = 1; s < NSIG; s++)
        (void)signal(s, SIG_DFL);
    if (nothing >= 0 && dup2(nothing, 0) == 0 && dup2(out, 1) == 1)
        (void)execl("/bin/sh", "sh", "-c", line, (char *)NULL);
    _exit(127);
}

/* Until it ends. Nobody reads the pipe meanwhile: more than its size is more than a value. */
static int command_wait(const char *what, pid_t pid, int pipe_fd, int *ret_status, struct error *e)
{
    CLEANUP(fd_closep) int pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
    uint64_t until = clock_monotonic_ns() + COMMAND_LIMIT_NS;
    if (pid_fd < 0)
        return error_set_errno(e, errno, "%s: its command cannot be watched", what);
    for (;;) {
        struct pollfd wait = { .fd = pid_fd, .events = POLLIN };
        int held = 0;
        int came = poll(&wait, 1, COMMAND_SLICE_MS);
        if (ioctl(pipe_fd, FIONREAD, &held) == 0 && held > (int)SOURCE_SIZE_MAX)
            return error_set(e, -EFBIG, "%s: its command writes more than %u bytes", what,
                             SOURCE_SIZE_MAX);
        if (came > 0) {
            if (waitpid(pid, ret_status, 0) == pid)
                return 0;
            return error_set_errno(e, errno, "%s: its command cannot be waited for", what);
        }
        if (clock_monotonic_ns() >= until)
            return error_set(e, -ETIME, "%s: its command did not end within half a minute", what);
    }
}

/* What is there now, to a pipe of which we have both ends: whoever left the command's group may hold the
 * old one open for ever, or write more. The bytes move within the kernel. */
static int move_pipe(const char *what, int from, int *ret_fd, struct error *e)
{
    int fds[2], held = 0;
    int status = make_pipe(fds, e);
    if (status < 0)
        return status;
    CLEANUP(fd_closep) int in = fds[1];
    CLEANUP(fd_closep) int out = fds[0];
    if (ioctl(from, FIONREAD, &held) < 0)
        return error_set_errno(e, errno, "%s: what its command wrote cannot be had", what);
    while (held > 0) {
        ssize_t moved = splice(from, NULL, in, NULL, (size_t)held, SPLICE_F_NONBLOCK);
        if (moved <= 0)
            return error_set_errno(e, moved < 0 ? errno : EIO,
                                   "%s: what its command wrote cannot be had", what);
        held -= (int)moved;
    }
    *ret_fd = fd_take(&out);
    return 0;
}

int source_command(const char *what, const char *line, int *ret_fd, struct error *e)
{
    int fds[2], wait_status = 0;
    int status = make_pipe(fds, e);
    if (status < 0)
        return status;
    pid_t pid = fork();
    if (pid == 0)
        command_child(line, fds[1]);
    CLEANUP(fd_closep) int out = fds[0];
    fd_close(fds[1]);
    if (pid < 0)
        return error_set_errno(e, errno, "%s: its command cannot be started", what);
    (void)setpgid(pid, pid); /* whoever comes first */
    status = command_wait(what, pid, out, &wait_status, e);
    (void)kill(-pid, SIGKILL); /* what it left behind, too */
    if (status < 0) {
        (void)waitpid(pid, NULL, 0);
        return status;
    }
    if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0)
        return move_pipe(what, out, ret_fd, e);
    error_hint(e, "run it yourself; what it said of it is above");
    return WIFEXITED(wait_status) ? error_set(e, -EACCES, "%s: its command ended with exit code %d",
                                              what, WEXITSTATUS(wait_status))
                                  : error_set(e, -EACCES, "%s: its command was ended by signal %d",
                                              what, WTERMSIG(wait_status));
}

/* ---- a terminal ---- */

struct typing {
    int tty, signals, resumed;
    struct termios before, quiet;
    sigset_t mask_before;
};

static void typing_end(struct typing *t)
{
    if (t->tty >= 0)
        (void)tcsetattr(t->tty, TCSAFLUSH, &t->before);
    fd_close(t->tty);
    fd_close(t->signals);
    fd_close(t->resumed);
    (void)sigprocmask(SIG_SETMASK, &t->mask_before, NULL); /* one that came acts now */
}

static int watch_signals(struct typing *t, struct error *e)
{
    static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP };
    sigset_t caught, resumed;
    sigemptyset(&caught);
    sigemptyset(&resumed);
    for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
        sigaddset(&caught, ends[i]);
    sigaddset(&resumed, SIGCONT);
    (void)sigprocmask(SIG_BLOCK, &caught, NULL);
    (void)sigprocmask(SIG_BLOCK, &resumed, NULL);
    t->signals = signalfd(-1, &caught, SFD_CLOEXEC);
    t->resumed = signalfd(-1, &resumed, SFD_CLOEXEC);
    return t->signals < 0 || t->resumed < 0 ? error_set_errno(e, errno, "signals") : 0;
}

/* What is typed is in our memory for a while, and SIGQUIT may end us there. */
static int leave_no_core(struct error *e)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_CORE, &limit) < 0)
        return error_set_errno(e, errno, "the limit of core files cannot be read");
    limit.rlim_cur = 0;
    return setrlimit(RLIMIT_CORE, &limit) < 0
               ? error_set_errno(e, errno, "core files cannot be turned off")
               : 0;
}

static int typing_begin(struct typing *t, struct error *e)
{
    t->tty = t->signals = t->resumed = -1;
    (void)sigprocmask(SIG_BLOCK, NULL, &t->mask_before);
    t->tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (t->tty < 0 || tcgetattr(t->tty, &t->before) < 0) {
        fd_closep(&t->tty);
        error_hint(e, "run it on a terminal; unattended, name a file of mode 0600 or a command");
        return error_set(e, -ENOTTY, "there is no terminal to ask on");
    }
    int status = leave_no_core(e);
    if (status == 0)
        status = watch_signals(t, e);
    t->quiet = t->before;
    t->quiet.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG);
    t->quiet.c_cc[VMIN] = 1;
    t->quiet.c_cc[VTIME] = 0;
    if (status == 0 && tcsetattr(t->tty, TCSAFLUSH, &t->quiet) < 0)
        status = error_set_errno(e, errno, "the terminal cannot be made silent");
    return status;
}

/* Somebody stopped us and goes on; a shell has used the terminal meanwhile, and may have left its echo on. */
static int silence_again(const struct typing *t)
{
    struct signalfd_siginfo info;
    return read(t->resumed, &info, sizeof(info)) == (ssize_t)sizeof(info) &&
                   tcsetattr(t->tty, TCSANOW, &t->quiet) == 0
               ? 1
               : -EIO;
}

/* One character: 1 go on, 0 the line is whole, < 0. */
static int typed(char c, char *line, size_t *size)
{
    if (c == '\n' || c == '\r' || (c == 4 && *size == 0))
        return 0;
    if (c == 3 || c == 28)
        return -EINTR;
    if (c == 127 || c == 8)
        *size -= *size > 0;
    else if (c == 21)
        *size = 0;
    else if (*size == LINE_MAX_TYPED)
        return -EMSGSIZE;
    else
        line[(*size)++] = c;
    return 1;
}

static int read_line(const struct typing *t, const char *prompt, char *line, size_t *ret_size,
                     struct error *e)
{
    int status = 1;
    *ret_size = 0;
    (void)!write(t->tty, prompt, strlen(prompt));
    while (status > 0) {
        struct pollfd wait[3] = { { .fd = t->tty, .events = POLLIN },
                                  { .fd = t->signals, .events = POLLIN },
                                  { .fd = t->resumed, .events = POLLIN } };
        char c;
        if (poll(wait, ARRAY_SIZE(wait), -1) < 0)
            status = errno == EINTR ? 1 : -errno;
        else if (wait[1].revents)
            status = -EINTR;
        else if (wait[2].revents)
            status = silence_again(t);
        else if (wait[0].revents)
            status = read(t->tty, &c, 1) == 1 ? typed(c, line, ret_size) : -EIO;
    }
    (void)!write(t->tty, "\n", 1);
    if (status == -EINTR)
        return error_set(e, status, "it was interrupted, nothing was typed to its end");
    return status < 0 ? error_set_errno(e, -status, "nothing was typed to its end") : 0;
}

int source_ask(const char *prompt, const char *again, int *ret_fd, struct error *e)
{
    char first[LINE_MAX_TYPED] = "", second[LINE_MAX_TYPED] = "";
    size_t size = 0, second_size = 0;
    struct typing t;
    int status = typing_begin(&t, e);
    if (status == 0)
        status = read_line(&t, prompt, first, &size, e);
    if (status == 0 && again != NULL)
        status = read_line(&t, again, second, &second_size, e);
    typing_end(&t);
    if (status == 0 && again != NULL && (size != second_size || memcmp(first, second, size) != 0))
        status = error_set(e, -EINVAL, "what was typed twice is not the same");
    if (status == 0 && size == 0)
        status = error_set(e, -EINVAL, "nothing was typed");
    if (status == 0)
        status = source_pipe(first, size, ret_fd, e);
    mem_wipe(first, sizeof(first));
    mem_wipe(second, sizeof(second));
    return status;
}
