/* SPDX-License-Identifier: Apache-2.0 */
/* See target.h. */
#include "control/target.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ambit_engine.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "control/scratch.h"

#define HEAD_SIZE 4096

/* ---- paths ---- */

char *path_absolute(const char *base, const char *path)
{
    CLEANUP(mem_freep)
    char *joined = path[0] == '/' ? mem_strdup(path) : mem_printf("%s/%s", base, path);
    if (joined == NULL)
        return NULL;
    CLEANUP(buf_done) struct buf out = BUF_INIT(strlen(joined) + 2);
    text_put_path_shortest(&out, joined);
    return buf_take(&out);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

static bool ends_with(const char *text, const char *end)
{
    size_t size = strlen(text), end_size = strlen(end);
    return size >= end_size && strcmp(text + size - end_size, end) == 0;
}

/* ---- languages ---- */

const struct target_language_facts target_languages[TARGET_LANGUAGE_COUNT] = {
    [TARGET_WASM] = { "component", "WebAssembly", NULL, NULL },
    [TARGET_PYTHON] = { "python", "Python", "python.wasm", "AMBIT_PYTHON_COMPONENT" },
    [TARGET_JAVASCRIPT] = { "javascript", "JavaScript", "js.wasm", "AMBIT_JS_COMPONENT" },
};

/* What the script's own process is called inside, and the name of one that came through a pipe. */
static const struct {
    const char *argv0, *piped;
} scripts[TARGET_LANGUAGE_COUNT] = {
    [TARGET_PYTHON] = { "python", "stdin.py" },
    [TARGET_JAVASCRIPT] = { "ambit", "stdin.mjs" },
};

static bool line_names(const uint8_t *line, size_t size, const char *what)
{
    return memmem(line, size, what, strlen(what)) != NULL;
}

enum target_language target_language_of(const char *name, const uint8_t *head, size_t size)
{
    bool named_python = ends_with(name, ".py");
    if (size > 2 && memcmp(head, "#!", 2) == 0) { /* says what it is for, whatever its name is */
        const uint8_t *end = memchr(head, '\n', size);
        size_t line = end != NULL ? (size_t)(end - head) : size;
        if (line_names(head, line, "python") || (named_python && line_names(head, line, "ambit")))
            return TARGET_PYTHON;
        return line_names(head, line, "node") || line_names(head, line, "ambit") ? TARGET_JAVASCRIPT
                                                                                 : TARGET_WASM;
    }
    if (named_python)
        return TARGET_PYTHON;
    return ends_with(name, ".js") || ends_with(name, ".mjs") ? TARGET_JAVASCRIPT : TARGET_WASM;
}

/* ---- what is it? ---- */

struct source {
    int fd; /* regular file, or -1 when `held` has the bytes */
    struct buf held;
    uint8_t head[HEAD_SIZE];
    size_t head_size;
};

static void source_done(struct source *s)
{
    fd_close(s->fd);
    buf_done(&s->held);
}

static int refuse(struct error *e, const char *why, const char *hint)
{
    error_set(e, -ENOEXEC, "%s", why);
    error_hint(e, "%s", hint);
    return 1;
}

static int source_read_stream(struct source *s, int fd, struct error *e)
{
    int r = file_read_fd(fd, &s->held, e);
    if (r == -EFBIG) {
        error_clear(e);
        return refuse(e, "it is longer than 64MiB", "save it to a file and run that");
    }
    if (r < 0)
        return r;
    s->head_size = MIN(s->held.size, sizeof(s->head));
    if (s->head_size > 0)
        memcpy(s->head, s->held.data, s->head_size);
    return 0;
}

static int source_open(struct source *s, const char *file, struct error *e)
{
    struct stat st;

    if (strcmp(file, "-") == 0)
        return source_read_stream(s, STDIN_FILENO, e);
    CLEANUP(fd_closep) int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        int code = error_set_errno(e, errno, "the file cannot be opened");
        if (code == -ENOENT)
            error_hint(
                e, "check the name; flags come before FILE, and what follows it is the guest's");
        return code;
    }
    if (fstat(fd, &st) < 0)
        return error_set_errno(e, errno, "the file cannot be looked at");
    if (S_ISDIR(st.st_mode))
        return refuse(e, "it is a folder", "name the component, module or script in it");
    if (S_ISFIFO(st.st_mode)) {
        if (fcntl(fd, F_SETFL, 0) < 0)
            return error_set_errno(e, errno, "the pipe cannot be read");
        return source_read_stream(s, fd, e);
    }
    if (!S_ISREG(st.st_mode))
        return refuse(e, "it is neither a regular file nor a pipe",
                      "save it to a file, or use - for standard input");
    ssize_t n = pread(fd, s->head, sizeof(s->head), 0);
    if (n < 0)
        return error_set_errno(e, errno, "the file cannot be read");
    s->head_size = (size_t)n;
    s->fd = fd_take(&fd);
    return 0;
}

static int refuse_unknown(const char *file, struct error *e)
{
    static const struct {
        const char *end, *why, *hint;
    } known[] = {
        { ".ts", "it is TypeScript source",
          "turn it into JavaScript first (npx esbuild x.ts --format=esm --outfile=x.mjs)" },
        { ".cjs", "it is a CommonJS module",
          "write it as an ES module (import and export), .js or .mjs" },
        { ".go", "it is Go source", "build it first: GOOS=wasip1 GOARCH=wasm go build -o x.wasm" },
        { ".rs", "it is Rust source", "build it first: cargo build --target wasm32-wasip2" },
        { ".c", "it is C source", "build it first: clang --target=wasm32-wasi -o x.wasm" },
        { ".sh", "it is a shell script, and a shell starts programs of this machine",
          "put the steps into a Python script or a component" },
        { ".pyc", "it is compiled Python", "run the .py file it was made of" },
        { ".zip", "it is an archive",
          "unpack it, grant the folder with --read, and run a file in it" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (ends_with(file, known[i].end))
            return refuse(e, known[i].why, known[i].hint);
    return refuse(e, "it is neither a WebAssembly component or module, nor WAT text, nor a script",
                  "run a .wasm, .wat, .py or .js file; ambit inspect FILE says what a file is");
}

/* 0, or 1 refused. */
static int classify(const struct source *s, const char *file, enum target_language *ret,
                    struct error *e)
{
    enum target_language language = target_language_of(file, s->head, s->head_size);
    bool stream = s->fd < 0;
    enum ambit_kind kind = ambit_kind_of(s->head, s->head_size);

    *ret = TARGET_WASM;
    if (kind == AMBIT_KIND_COMPONENT || kind == AMBIT_KIND_MODULE)
        return 0;
    if (kind == AMBIT_KIND_MACHINE_CODE)
        return refuse(e, "it is compiled machine code (.cwasm), which no sandbox checks",
                      "run the .wasm it was made of: Ambit compiles it once and keeps the result");
    if (kind == AMBIT_KIND_ELF)
        return refuse(e, "it is a native program of this machine (ELF)",
                      "build it for WebAssembly: --target=wasm32-wasi for C, GOOS=wasip1 for Go, "
                      "wasm32-wasip2 for Rust");
    if (kind == AMBIT_KIND_SCRIPT && language == TARGET_WASM)
        return refuse(e,
                      "it is a script for an interpreter of this machine, which starts programs "
                      "with all your rights",
                      "put the steps into a Python or JavaScript script, or into a component");
    if (language != TARGET_WASM) {
        *ret = language;
        return 0;
    }
    if (kind == AMBIT_KIND_WAT)
        return 0;
    if (s->head_size == 0)
        return refuse(e, "it is empty", "give it a component, a module, WAT text or a script");
    if (stream && text_is_utf8(s->held.data, s->held.size) &&
        memchr(s->held.data, 0, s->held.size) == NULL) {
        *ret = TARGET_PYTHON;
        return 0;
    }
    return refuse_unknown(file, e);
}

/* ---- scripts ---- */

int target_find_component(enum target_language language, const char *named, char **ret_path,
                          struct error *e)
{
    static const char *const places[] = { "share/ambit", "../share/ambit" };
    const struct target_language_facts *facts = &target_languages[language];
    char exe[4096];

    if (named != NULL && *named != '\0') {
        *ret_path = mem_strdup(named);
        return *ret_path != NULL ? 0 : error_set(e, -ENOMEM, "no memory");
    }
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    if (n <= 0)
        return error_set_errno(e, errno, "the command's own place cannot be found");
    exe[n] = '\0';
    char *slash = strrchr(exe, '/');
    if (slash != NULL)
        *slash = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        CLEANUP(mem_freep) char *path = mem_printf("%s/%s/%s", exe, places[i], facts->file);
        if (path == NULL)
            return error_set(e, -ENOMEM, "no memory");
        if (access(path, F_OK) == 0) {
            *ret_path = TAKE(path);
            return 0;
        }
    }
    error_set(e, -ENOEXEC, "the %s component, which runs %s scripts, is not installed",
              facts->title, facts->title);
    error_hint(e, "make (in Ambit's folder) builds it; or name one with %s=/path/%s",
               facts->variable, facts->file);
    return 1;
}

static int component_find(struct target *t, const struct target_spec *spec, struct error *e)
{
    const struct target_language_facts *facts = &target_languages[t->language];
    const char *named = spec->components != NULL ? spec->components[t->language] : NULL;
    int r = target_find_component(t->language, named, &t->component_path, e);
    if (r != 0)
        return r;
    t->fd = open(t->component_path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (t->fd < 0) {
        r = error_set_errno(e, errno, "the %s component %s cannot be opened", facts->title,
                            t->component_path);
        if (named != NULL)
            error_hint(e, "%s names it: correct or unset it", facts->variable);
    }
    return r;
}

/* A script that has no file of its own, or whose place is taken: into a private folder, seen as
 * /run/ambit. */
static int script_to_scratch(struct target *t, const struct target_spec *spec, const void *bytes,
                             size_t size, const char *name, struct error *e)
{
    int r = scratch_make(spec->scratch_root, &t->scratch, &t->scratch_fd, e);
    if (r < 0)
        return r;
    CLEANUP(fd_closep)
    int fd =
        openat(t->scratch_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set_errno(e, errno, "the script cannot be kept for the run");
    if ((r = file_write_fd(fd, bytes, size, e)) < 0)
        return r;
    mem_free(t->script_guest);
    mem_free(t->script_host);
    t->script_guest = mem_printf("%s/%s", TARGET_SCRATCH_GUEST, name);
    t->script_host = mem_printf("%s/%s", t->scratch, name);
    return t->script_guest != NULL && t->script_host != NULL ? 0
                                                             : error_set(e, -ENOMEM, "no memory");
}

/* True when a grant puts something else where the script's folder would be mounted. */
static bool place_taken(const struct grant_set *grants, const char *guest, const char *host)
{
    size_t guest_size = (size_t)(base_name(guest) - guest),
           host_size = (size_t)(base_name(host) - host);
    guest_size -= guest_size > 1; /* without the last slash, but "/" stays */
    host_size -= host_size > 1;
    for (size_t i = 0; i < grants->count; i++) {
        const struct grant *g = &grants->grants[i];
        if (g->class != GRANT_FS || strlen(g->fs.guest) != guest_size ||
            memcmp(g->fs.guest, guest, guest_size) != 0)
            continue;
        if (g->fs.backing != GRANT_BACKING_DIR || strlen(g->fs.host) != host_size ||
            memcmp(g->fs.host, host, host_size) != 0)
            return true;
    }
    return false;
}

/* Where the script is outside and inside. */
static int script_place(struct target *t, const struct target_spec *spec, const struct stat *opened,
                        struct error *e)
{
    size_t work_size = strlen(spec->work_host);
    struct stat st;

    t->script_host = path_absolute(spec->work_host, spec->file);
    if (t->script_host == NULL)
        return error_set(e, -ENOMEM, "no memory");
    bool same = lstat(t->script_host, &st) == 0 && st.st_dev == opened->st_dev &&
                st.st_ino == opened->st_ino;
    if (!same) { /* a symbolic link, or `..` after one: stand where it leads */
        char *real = realpath(spec->file, NULL);
        if (real == NULL)
            return error_set_errno(e, errno, "the script's place cannot be found");
        mem_free(t->script_host);
        t->script_host = mem_strdup(real);
        free(real); /* libc's own block */
        if (t->script_host == NULL)
            return error_set(e, -ENOMEM, "no memory");
    }
    work_size -= work_size == 1; /* "/" */
    bool below =
        memcmp(t->script_host, spec->work_host, MIN(work_size, strlen(t->script_host))) == 0 &&
        strlen(t->script_host) > work_size && t->script_host[work_size] == '/';
    if (spec->file[0] != '/' && below)
        t->script_guest = mem_printf("/work%s", t->script_host + work_size);
    else
        t->script_guest = mem_strdup(t->script_host);
    return t->script_guest != NULL ? 0 : error_set(e, -ENOMEM, "no memory");
}

static int script_from_file(struct target *t, const struct target_spec *spec, struct source *s,
                            struct error *e)
{
    struct stat st;
    if (fstat(s->fd, &st) < 0)
        return error_set_errno(e, errno, "the script cannot be looked at");
    if ((uint64_t)st.st_size > TARGET_SCRIPT_MAX)
        return refuse(e, "the script is longer than 64MiB",
                      "put its data into files and grant them with --read");
    int r = digest_fd(s->fd, &t->script_digest, e);
    if (r < 0)
        return r;
    t->script_size = (uint64_t)st.st_size;
    r = script_place(t, spec, &st, e);
    if (r < 0 || !place_taken(spec->grants, t->script_guest, t->script_host))
        return r;
    CLEANUP(buf_done) struct buf bytes = BUF_INIT(TARGET_SCRIPT_MAX);
    CLEANUP(mem_freep) char *name = mem_strdup(base_name(t->script_guest));
    if (name == NULL)
        return error_set(e, -ENOMEM, "no memory");
    if ((r = file_read_fd(s->fd, &bytes, e)) < 0)
        return r;
    return script_to_scratch(t, spec, bytes.data, bytes.size, name, e);
}

static int script_prepare(struct target *t, const struct target_spec *spec, struct source *s,
                          struct error *e)
{
    int r = component_find(t, spec, e);
    if (r != 0)
        return r;
    t->argv0 = mem_strdup(scripts[t->language].argv0);
    if (t->argv0 == NULL)
        return error_set(e, -ENOMEM, "no memory");
    if (s->fd >= 0)
        return script_from_file(t, spec, s, e);
    t->script_size = s->held.size;
    if ((r = digest_bytes(s->held.data, s->held.size, &t->script_digest, e)) < 0)
        return r;
    return script_to_scratch(t, spec, s->held.data, s->held.size, scripts[t->language].piped, e);
}

static int wasm_prepare(struct target *t, const struct target_spec *spec, struct source *s,
                        struct error *e)
{
    if (s->fd >= 0) {
        t->fd = fd_take(&s->fd);
    } else {
        t->fd = file_memfd("ambit-input", s->held.data, s->held.size, true, e);
        if (t->fd < 0)
            return t->fd;
    }
    t->component_path = mem_strdup(t->took_stdin ? "" : spec->file);
    t->argv0 = mem_strdup(t->took_stdin ? "-" : base_name(spec->file));
    return t->component_path != NULL && t->argv0 != NULL ? 0 : error_set(e, -ENOMEM, "no memory");
}

int target_open(const struct target_spec *spec, struct target *ret, struct error *e)
{
    CLEANUP(target_done) struct target t = { .fd = -1, .scratch_fd = -1 };
    CLEANUP(source_done) struct source s = { .fd = -1, .held = BUF_INIT(TARGET_STREAM_MAX) };

    t.took_stdin = strcmp(spec->file, "-") == 0;
    t.name = mem_strdup(t.took_stdin ? "standard input" : spec->file);
    if (t.name == NULL)
        return error_set(e, -ENOMEM, "no memory");
    int r = source_open(&s, spec->file, e);
    if (r != 0)
        return r;
    if (classify(&s, spec->file, &t.language, e) == 1)
        return 1;
    r = t.language != TARGET_WASM ? script_prepare(&t, spec, &s, e) : wasm_prepare(&t, spec, &s, e);
    if (r != 0)
        return r;
    *ret = t;
    t = (struct target){ .fd = -1, .scratch_fd = -1 };
    return 0;
}

void target_done(struct target *t)
{
    if (t->scratch != NULL)
        scratch_remove(t->scratch, &t->scratch_fd);
    fd_close(t->fd);
    mem_free(t->name);
    mem_free(t->component_path);
    mem_free(t->argv0);
    mem_free(t->script_guest);
    mem_free(t->script_host);
    mem_free(t->scratch);
    *t = (struct target){ .fd = -1, .scratch_fd = -1 };
}

int target_script_grant(const struct target *t, struct grant *ret, struct error *e)
{
    const char *guest_name = base_name(t->script_guest), *host_name = base_name(t->script_host);
    size_t guest_size = (size_t)(guest_name - t->script_guest),
           host_size = (size_t)(host_name - t->script_host);
    struct grant g = { .class = GRANT_FS };

    ASSERT(guest_size > 0 && host_size > 0 && strcmp(guest_name, host_name) == 0);
    g.origin = mem_strdup("FILE");
    g.fs.guest = mem_strndup(t->script_guest, guest_size > 1 ? guest_size - 1 : 1);
    g.fs.host = mem_strndup(t->script_host, host_size > 1 ? host_size - 1 : 1);
    g.fs.backing = GRANT_BACKING_DIR;
    g.fs.verbs = FS_READ | FS_STAT;
    g.fs.max_bytes = g.fs.max_files = GRANT_UNSET;
    g.fs.paths = mem_array(1, sizeof(char *));
    if (g.fs.paths != NULL) {
        g.fs.path_count = 1;
        g.fs.paths[0] = grant_pattern_quote(guest_name);
    }
    if (g.origin == NULL || g.fs.guest == NULL || g.fs.host == NULL || g.fs.paths == NULL ||
        g.fs.paths[0] == NULL) {
        grant_done(&g);
        return error_set(e, -ENOMEM, "no memory");
    }
    *ret = g;
    return 0;
}
