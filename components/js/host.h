/* SPDX-License-Identifier: Apache-2.0 */
/* What the C files of the JavaScript component share. See main.c. */
#pragma once

#include "quickjs.h"
#include "wasi.h"

/* False while the snapshot is made: no import may be called yet. */
extern bool host_running;

/* Each adds its functions to the object that the run-time library gets. */
int io_install(JSContext *ctx, JSValue native);
int fs_install(JSContext *ctx, JSValue native);
int http_install(JSContext *ctx, JSValue native);
int digest_install(JSContext *ctx, JSValue native);

/* Takes the handles of this run: standard streams, folders, arguments. */
void io_start(void);
void fs_start(void);

/* Writes all of it; false when nobody reads it any more. */
bool io_write_all(int stream, const void *data, size_t size);

/* A list of bytes as Uint8Array or string; frees the list. */
JSValue io_take_bytes(JSContext *ctx, struct list *list);
JSValue io_take_text(JSContext *ctx, struct list *list);

/* The bytes of a string or of a typed array, borrowed until input_done. */
struct input {
    const uint8_t *data;
    size_t size;
    const char *text; /* to be freed, or NULL */
};
int input_get(JSContext *ctx, JSValueConst value, struct input *ret);
void input_done(JSContext *ctx, struct input *input);

/* The whole file at a path, for the module loader; NULL and an exception when it cannot be read. */
char *fs_load(JSContext *ctx, const char *path, size_t *ret_size);

#define COUNT_OF(a) (sizeof(a) / sizeof(*(a)))
