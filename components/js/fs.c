/* SPDX-License-Identifier: Apache-2.0 */
/* Files: whole operations on paths, for node:fs in the run-time library.
 *
 * Every path that arrives is absolute. A folder named "/" (what Ambit gives) takes it as it is, so that `..` after a symbolic link
 * means what it means to the system; otherwise the folder with the longest name that the path begins with. An operation that
 * fails answers -1 - code of wasi:filesystem; the library makes Node's error of it. */
#include <stdlib.h>
#include <string.h>

#include "host.h"

enum { OPEN_CREATE = 1, OPEN_DIRECTORY = 2, OPEN_EXCLUSIVE = 4, OPEN_TRUNCATE = 8 };
enum { FLAG_READ = 1, FLAG_WRITE = 2, FLAG_MUTATE = 32 };
enum { FOLLOW = 1 };
enum { ERROR_IO = 13, ERROR_NO_ENTRY = 20 };
#define CHUNK (1u << 20)

struct folder { /* tuple<descriptor, string> */
    handle dir;
    struct list name;
};
static struct list folders;

void fs_start(void)
{
    wasi_preopens(&folders);
}

/* Where a path is: a folder's handle and the rest. */
struct place {
    const char *text; /* from JavaScript */
    handle dir;
    const char *path;
    uint32_t size;
};

static bool place_in(struct place *p, size_t size, const struct folder *f)
{
    const char *name = f->name.data;
    uint32_t n = f->name.size;
    if (n > 0 && name[0] == '.') /* "." of the wasmtime CLI */
        n = 0;
    while (n > 0 && name[n - 1] == '/')
        n--;
    if (size < n || memcmp(p->text, name, n) != 0 || (size > n && p->text[n] != '/'))
        return false;
    p->dir = f->dir;
    p->path = p->text + n;
    p->size = (uint32_t)(size - n);
    return true;
}

static int place_get(JSContext *ctx, JSValueConst value, struct place *ret)
{
    const struct folder *f = folders.data;
    size_t size;
    uint32_t best = 0;
    bool found = false;
    struct place p = { .text = JS_ToCStringLen(ctx, &size, value) }, got = { 0 };
    if (p.text == NULL)
        return -1;
    for (uint32_t i = 0; i < folders.size; i++) {
        if ((!found || f[i].name.size > best) && place_in(&p, size, &f[i])) {
            got = p;
            found = true;
            best = f[i].name.size;
        }
    }
    got.text = p.text;
    while (got.size > 0 && *got.path == '/')
        got.path++, got.size--;
    while (got.size >= 2 && memcmp(got.path, "..", 2) == 0 && (got.size == 2 || got.path[2] == '/'))
        for (got.path += 2, got.size -= 2; got.size > 0 && *got.path == '/';)
            got.path++, got.size--; /* above the root is the root */
    if (found && got.size == 0) {
        got.path = ".";
        got.size = 1;
    }
    *ret = got;
    return found ? 0 : 1;
}

static void place_done(JSContext *ctx, struct place *p)
{
    JS_FreeCString(ctx, p->text);
}

static JSValue failed(JSContext *ctx, uint8_t code)
{
    return JS_NewInt32(ctx, -1 - code);
}

/* For the functions that take a path: `return` from the caller when there is nothing to do. */
#define PLACE(p, value)                      \
    struct place p;                          \
    int got_##p = place_get(ctx, value, &p); \
    if (got_##p < 0)                         \
        return JS_EXCEPTION;                 \
    if (got_##p > 0) {                       \
        place_done(ctx, &p);                 \
        return failed(ctx, ERROR_NO_ENTRY);  \
    }

/* ---- reading ---- */

/* Appends what the file holds; 0, or 1 + code. */
static int read_all(handle h, char **data, size_t *size)
{
    struct stat_result st;
    size_t room;
    wasi_stat(h, &st);
    if (st.tag == 1)
        return 1 + st.type;
    room = st.size < (1u << 31) ? (size_t)st.size + 1 : 1;
    *data = malloc(room);
    *size = 0;
    for (struct result r; *data != NULL;) {
        wasi_pread(h, CHUNK, *size, &r);
        if (r.tag == 1)
            return 1 + r.u.error;
        size_t n = r.u.read.list.size;
        if (*size + n + 1 > room) {
            room = (*size + n + 1) * 3 / 2;
            char *more = realloc(*data, room);
            if (more == NULL)
                free(*data);
            *data = more;
        }
        if (*data != NULL)
            memcpy(*data + *size, r.u.read.list.data, n);
        free(r.u.read.list.data);
        *size += n;
        if (r.u.read.end || n == 0)
            break;
    }
    return *data != NULL ? 0 : -1;
}

/* 0, 1 + code, or -1 without memory */
static int load(const struct place *p, char **data, size_t *size)
{
    struct result r;
    *data = NULL;
    wasi_open(p->dir, FOLLOW, p->path, p->size, 0, FLAG_READ, &r);
    if (r.tag == 1)
        return 1 + r.u.error;
    int status = read_all(r.u.handle, data, size);
    wasi_descriptor_drop(r.u.handle);
    if (status != 0) {
        free(*data);
        *data = NULL;
    }
    return status;
}

static void free_bytes(JSRuntime *rt, void *opaque, void *data)
{
    (void)rt, (void)opaque;
    free(data);
}

static JSValue fs_read_file(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    PLACE(p, argv[0])
    char *data;
    size_t size;
    int status = load(&p, &data, &size);
    place_done(ctx, &p);
    if (status < 0)
        return JS_ThrowOutOfMemory(ctx);
    if (status > 0)
        return JS_NewInt32(ctx, -status);
    JSValue v = JS_NewUint8ArrayCopy(ctx, (uint8_t *)data, size);
    free_bytes(NULL, NULL, data);
    return v;
}

char *fs_load(JSContext *ctx, const char *path, size_t *ret_size)
{
    char *data = NULL;
    struct place p;
    JSValue name = JS_NewString(ctx, path);
    int status = place_get(ctx, name, &p);
    JS_FreeValue(ctx, name);
    if (status == 0)
        status = load(&p, &data, ret_size);
    else if (status > 0)
        status = 1 + ERROR_NO_ENTRY;
    place_done(ctx, &p);
    if (status < 0)
        JS_ThrowOutOfMemory(ctx);
    if (status != 0)
        return NULL;
    data[*ret_size] = '\0'; /* read_all leaves room; QuickJS reads one past the end */
    return data;
}

/* ---- writing ---- */

static int write_stream(handle h, const uint8_t *data, size_t size)
{
    while (size > 0) {
        struct result64 may;
        struct result r;
        wasi_check_write(h, &may);
        size_t n = may.tag == 0 && may.u.value > 0 ? (size_t)may.u.value : 4096;
        n = n < size ? n : size;
        if (may.tag == 0 && may.u.value > 0)
            wasi_write(h, data, (uint32_t)n, &r);
        else
            wasi_blocking_write(h, data, (uint32_t)n, &r);
        if (r.tag == 1) {
            if (r.u.stream.kind == 0)
                wasi_error_drop(r.u.stream.error);
            return 1 + ERROR_IO;
        }
        data += n;
        size -= n;
    }
    struct result r;
    wasi_blocking_flush(h, &r); /* what is on its way when a stream is dropped is lost */
    if (r.tag == 1 && r.u.stream.kind == 0)
        wasi_error_drop(r.u.stream.error);
    return r.tag == 1 ? 1 + ERROR_IO : 0;
}

static int write_at(handle h, const uint8_t *data, size_t size)
{
    for (size_t at = 0; at < size;) {
        struct result64 r;
        size_t n = size - at < CHUNK ? size - at : CHUNK;
        wasi_pwrite(h, data + at, (uint32_t)n, at, &r);
        if (r.tag == 1)
            return 1 + r.u.error;
        if (r.u.value == 0)
            return 1 + ERROR_IO;
        at += (size_t)r.u.value;
    }
    return 0;
}

static int write_append(handle h, const uint8_t *data, size_t size)
{
    struct result r;
    wasi_append(h, &r);
    if (r.tag == 1)
        return 1 + r.u.error;
    int status = write_stream(r.u.handle, data, size);
    wasi_output_drop(r.u.handle);
    return status;
}

enum { WRITE_TRUNCATE, WRITE_APPEND, WRITE_NEW };

/* writeFile(path, data, how): how as above */
static JSValue fs_write_file(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    static const int32_t hows[] = {
        [WRITE_TRUNCATE] = OPEN_CREATE | OPEN_TRUNCATE,
        [WRITE_APPEND] = OPEN_CREATE,
        [WRITE_NEW] = OPEN_CREATE | OPEN_EXCLUSIVE,
    };
    struct result r;
    struct input in;
    int32_t how;
    if (JS_ToInt32(ctx, &how, argv[2]) < 0)
        return JS_EXCEPTION;
    PLACE(p, argv[0])
    if (input_get(ctx, argv[1], &in) < 0) {
        place_done(ctx, &p);
        return JS_EXCEPTION;
    }
    wasi_open(p.dir, FOLLOW, p.path, p.size, hows[how], FLAG_WRITE, &r);
    int status = r.tag == 1 ? 1 + r.u.error : 0;
    if (status == 0) {
        status = how == WRITE_APPEND ? write_append(r.u.handle, in.data, in.size)
                                     : write_at(r.u.handle, in.data, in.size);
        wasi_descriptor_drop(r.u.handle);
    }
    input_done(ctx, &in);
    place_done(ctx, &p);
    return JS_NewInt32(ctx, -status);
}

/* truncate(path, size) */
static JSValue fs_truncate(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    struct result r;
    double size;
    if (JS_ToFloat64(ctx, &size, argv[1]) < 0)
        return JS_EXCEPTION;
    PLACE(p, argv[0])
    wasi_open(p.dir, FOLLOW, p.path, p.size, 0, FLAG_WRITE, &r);
    int status = r.tag == 1 ? 1 + r.u.error : 0;
    if (status == 0) {
        handle h = r.u.handle;
        wasi_set_size(h, (uint64_t)size, &r);
        status = r.tag == 1 ? 1 + r.code : 0;
        wasi_descriptor_drop(h);
    }
    place_done(ctx, &p);
    return JS_NewInt32(ctx, -status);
}

/* ---- names ---- */

static JSValue time_ms(JSContext *ctx, const struct optional_datetime *t)
{
    return JS_NewFloat64(ctx, t->there ? (double)t->at.seconds * 1e3 + t->at.nanoseconds / 1e6 : 0);
}

/* stat(path, follow) → [type, links, size, accessed, modified, changed] */
static JSValue fs_stat(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    struct stat_result st;
    PLACE(p, argv[0])
    wasi_stat_at(p.dir, JS_ToBool(ctx, argv[1]) ? FOLLOW : 0, p.path, p.size, &st);
    place_done(ctx, &p);
    if (st.tag == 1)
        return failed(ctx, st.type);
    const JSValue values[] = {
        JS_NewInt32(ctx, st.type),          JS_NewInt64(ctx, (int64_t)st.links),
        JS_NewInt64(ctx, (int64_t)st.size), time_ms(ctx, &st.accessed),
        time_ms(ctx, &st.modified),         time_ms(ctx, &st.changed),
    };
    return JS_NewArrayFrom(ctx, COUNT_OF(values), values);
}

enum { NAME_MKDIR, NAME_RMDIR, NAME_UNLINK };
static JSValue fs_name(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv, int kind)
{
    static void (*const calls[])(handle, const char *, uint32_t, struct result *) = {
        [NAME_MKDIR] = wasi_mkdir,
        [NAME_RMDIR] = wasi_rmdir,
        [NAME_UNLINK] = wasi_unlink,
    };
    struct result r;
    PLACE(p, argv[0])
    calls[kind](p.dir, p.path, p.size, &r);
    place_done(ctx, &p);
    return r.tag == 1 ? failed(ctx, r.code) : JS_NewInt32(ctx, 0);
}

static JSValue fs_rename(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    struct result r;
    struct place to;
    PLACE(from, argv[0])
    int got = place_get(ctx, argv[1], &to);
    if (got == 0)
        wasi_rename(from.dir, from.path, from.size, to.dir, to.path, to.size, &r);
    place_done(ctx, &from);
    if (got < 0)
        return JS_EXCEPTION;
    place_done(ctx, &to);
    if (got > 0)
        return failed(ctx, ERROR_NO_ENTRY);
    return r.tag == 1 ? failed(ctx, r.code) : JS_NewInt32(ctx, 0);
}

static JSValue fs_readlink(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    struct result r;
    PLACE(p, argv[0])
    wasi_readlink(p.dir, p.path, p.size, &r);
    place_done(ctx, &p);
    return r.tag == 1 ? failed(ctx, r.u.error) : io_take_text(ctx, &r.u.list);
}

static JSValue list_entries(JSContext *ctx, handle entries)
{
    JSValue array = JS_NewArray(ctx);
    for (uint32_t n = 0;;) {
        struct result r;
        wasi_read_entry(entries, &r);
        if (r.tag == 1) {
            JS_FreeValue(ctx, array);
            return failed(ctx, r.u.error);
        }
        if (!r.u.entry.there)
            return array;
        JS_SetPropertyUint32(ctx, array, n++, io_take_text(ctx, &r.u.entry.name));
        JS_SetPropertyUint32(ctx, array, n++, JS_NewInt32(ctx, r.u.entry.entry_type));
    }
}

/* readdir(path) → [name, type, name, type …] */
static JSValue fs_readdir(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    struct result r, entries;
    PLACE(p, argv[0])
    wasi_open(p.dir, FOLLOW, p.path, p.size, OPEN_DIRECTORY, FLAG_READ, &r);
    place_done(ctx, &p);
    if (r.tag == 1)
        return failed(ctx, r.u.error);
    wasi_read_directory(r.u.handle, &entries);
    JSValue v;
    if (entries.tag == 1) {
        v = failed(ctx, entries.u.error);
    } else {
        v = list_entries(ctx, entries.u.handle);
        wasi_entries_drop(entries.u.handle);
    }
    wasi_descriptor_drop(r.u.handle);
    return v;
}

static const JSCFunctionListEntry functions[] = {
    JS_CFUNC_DEF("readFile", 1, fs_read_file),
    JS_CFUNC_DEF("writeFile", 3, fs_write_file),
    JS_CFUNC_DEF("truncate", 2, fs_truncate),
    JS_CFUNC_DEF("stat", 2, fs_stat),
    JS_CFUNC_MAGIC_DEF("mkdir", 1, fs_name, NAME_MKDIR),
    JS_CFUNC_MAGIC_DEF("rmdir", 1, fs_name, NAME_RMDIR),
    JS_CFUNC_MAGIC_DEF("unlink", 1, fs_name, NAME_UNLINK),
    JS_CFUNC_DEF("rename", 2, fs_rename),
    JS_CFUNC_DEF("readlink", 1, fs_readlink),
    JS_CFUNC_DEF("readdir", 1, fs_readdir),
};

int fs_install(JSContext *ctx, JSValue native)
{
    return JS_SetPropertyFunctionList(ctx, native, functions, COUNT_OF(functions));
}
