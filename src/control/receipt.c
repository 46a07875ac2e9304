/* SPDX-License-Identifier: Apache-2.0 */
/* See receipt.h. */
#include "control/receipt.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

#define NAME_SIZE (ID_TEXT_SIZE + 6) /* ".jsonl" */

struct receipt {
    int fd, copy_fd;
    size_t size;
    uint64_t dropped, started_ns;
};

static void name_of(const char *id, char name[static NAME_SIZE])
{
    memcpy(name, id, ID_TEXT_SIZE - 1);
    memcpy(name + ID_TEXT_SIZE - 1, ".jsonl", 7);
}

void receipt_free(struct receipt *r)
{
    if (r == NULL)
        return;
    fd_close(r->fd);
    fd_close(r->copy_fd);
    mem_free(r);
}

/* The copy lies where the user says, often beside what guests write: a link there could lead the
 * receipt, with names that a guest chose in it, into any file of the user's. */
static int open_copy(const char *path, struct error *e)
{
    const char *slash = strrchr(path, '/'), *name = slash == NULL ? path : slash + 1;
    CLEANUP(mem_freep)
    char *folder = slash == NULL ? mem_strdup(".") : mem_strndup(path, (size_t)(name - path));
    size_t link_size = 0;

    if (folder == NULL)
        return error_set(e, -ENOMEM, "no memory for the receipt");
    CLEANUP(fd_closep) int folder_fd = file_open_dir_unlinked(folder, &link_size);
    int fd = folder_fd, code = -folder_fd;
    if (folder_fd >= 0) {
        fd = openat(folder_fd, name,
                    O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC, 0600);
        code = errno;
    }
    if (fd >= 0)
        return fd;
    if (code == ELOOP)
        return error_set(
            e, -ELOOP, "the receipt %s is not written through a link: name the file itself", path);
    return error_set_errno(e, code, "the receipt %s cannot be made", path);
}

int receipt_open(int runs_fd, const char *id, const char *copy_path, struct receipt **ret,
                 struct error *e)
{
    CLEANUP(receipt_freep) struct receipt *r = mem_zalloc(sizeof(*r));
    char name[NAME_SIZE];

    if (r == NULL)
        return error_set(e, -ENOMEM, "no memory for the receipt");
    r->fd = r->copy_fd = -1;
    r->started_ns = clock_monotonic_ns();
    ASSERT(id_valid(id));
    name_of(id, name);
    r->fd = openat(runs_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC,
                   0600);
    if (r->fd < 0)
        return error_set_errno(e, errno, "the receipt runs/%s cannot be made", name);
    if (copy_path != NULL) {
        r->copy_fd = open_copy(copy_path, e);
        if (r->copy_fd < 0) {
            (void)unlinkat(runs_fd, name, 0); /* nothing ran: nothing to tell */
            return r->copy_fd;
        }
    }
    *ret = TAKE(r);
    return 0;
}

static int put(struct receipt *r, const char *event, json_t *members, size_t max, struct error *e)
{
    CLEANUP(json_freep) json_t *taken = members;
    CLEANUP(json_freep) json_t *line = json_object();
    CLEANUP(buf_done) struct buf text = BUF_INIT(RECEIPT_RESERVE / 2);
    uint64_t at_ns = clock_monotonic_ns() - r->started_ns;

    if (taken == NULL || line == NULL ||
        json_object_set_new(line, "event", json_string(event)) < 0 ||
        json_object_set_new(line, "at_us", json_integer((json_int_t)(at_ns / 1000))) < 0 ||
        json_object_update(line, taken) < 0)
        return error_set(e, -ENOMEM, "no memory for the receipt");
    int status = json_line(line, &text);
    if (status == 0) {
        if (text.size == 0 || text.data[text.size - 1] != '\n')
            buf_putc(&text, '\n');
        status = buf_status(&text);
    }
    if (status == -EMSGSIZE || (status == 0 && r->size + text.size > max)) {
        r->dropped++;
        return 0;
    }
    if (status < 0)
        return error_set(e, status, "an event of the receipt cannot be written as JSON");
    status = file_write_fd(r->fd, text.data, text.size, e);
    if (status == 0 && r->copy_fd >= 0)
        status = file_write_fd(r->copy_fd, text.data, text.size, e);
    if (status < 0) {
        error_prefix(e, "the receipt");
        return status;
    }
    r->size += text.size;
    return 0;
}

int receipt_put(struct receipt *r, const char *event, json_t *members, struct error *e)
{
    return put(r, event, members, RECEIPT_MAX, e);
}

int receipt_put_closing(struct receipt *r, const char *event, json_t *members, struct error *e)
{
    return put(r, event, members, RECEIPT_MAX + RECEIPT_RESERVE, e);
}

uint64_t receipt_dropped(const struct receipt *r)
{
    return r->dropped;
}

/* ---- the folder of receipts ---- */

static int compare_ids(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* "ID.jsonl" → ID. */
static bool id_of_name(const char *name, char id[static ID_TEXT_SIZE])
{
    if (strlen(name) != NAME_SIZE - 1 || strcmp(name + ID_TEXT_SIZE - 1, ".jsonl") != 0)
        return false;
    memcpy(id, name, ID_TEXT_SIZE - 1);
    id[ID_TEXT_SIZE - 1] = '\0';
    return id_valid(id);
}

static int list_into(DIR *folder, char (**ids)[ID_TEXT_SIZE], size_t *ret_count, struct error *e)
{
    size_t count = 0, capacity = 0;
    struct dirent *entry;

    while ((entry = readdir(folder)) != NULL) {
        char id[ID_TEXT_SIZE];
        if (!id_of_name(entry->d_name, id))
            continue;
        if (count == capacity) {
            capacity = capacity == 0 ? 64 : capacity * 2;
            char(*grown)[ID_TEXT_SIZE] = mem_grow(*ids, capacity, ID_TEXT_SIZE);
            if (grown == NULL)
                return error_set(e, -ENOMEM, "no memory to list receipts");
            *ids = grown;
        }
        memcpy((*ids)[count++], id, ID_TEXT_SIZE);
    }
    *ret_count = count;
    return 0;
}

int receipts_list(int runs_fd, char (**ret_ids)[ID_TEXT_SIZE], size_t *ret_count, struct error *e)
{
    char(*ids)[ID_TEXT_SIZE] = NULL;
    size_t count = 0;
    int fd = openat(runs_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);

    if (folder == NULL) {
        int code = error_set_errno(e, errno, "the folder of receipts cannot be read");
        fd_close(fd);
        return code;
    }
    int r = list_into(folder, &ids, &count, e);
    (void)closedir(folder);
    if (r < 0) {
        mem_free(ids);
        return r;
    }
    if (count > 1)
        qsort(ids, count, ID_TEXT_SIZE, compare_ids);
    *ret_ids = ids;
    *ret_count = count;
    return 0;
}

int receipts_trim(int runs_fd, uint64_t max_bytes, const char *keep_id, struct error *e)
{
    char(*ids)[ID_TEXT_SIZE] = NULL;
    size_t count;
    uint64_t kept = 0;
    int r = receipts_list(runs_fd, &ids, &count, e);

    if (r < 0)
        return r;
    /* From the newest: what does not fit any more goes. A receipt that another run removed
     * meanwhile is fine. */
    for (size_t i = count; i-- > 0;) {
        char name[NAME_SIZE];
        struct stat st;
        name_of(ids[i], name);
        if (fstatat(runs_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        kept += (uint64_t)st.st_size;
        if (kept > max_bytes && (keep_id == NULL || strcmp(ids[i], keep_id) != 0))
            (void)unlinkat(runs_fd, name, 0);
    }
    mem_free(ids);
    return 0;
}

int receipts_find(int runs_fd, const char *name, char ret_id[static ID_TEXT_SIZE], struct error *e)
{
    char(*ids)[ID_TEXT_SIZE] = NULL;
    size_t count, found = 0, length = strlen(name);
    int r = receipts_list(runs_fd, &ids, &count, e);

    if (r < 0)
        return r;
    if (strcmp(name, "last") == 0 && count > 0) {
        memcpy(ret_id, ids[count - 1], ID_TEXT_SIZE);
        found = 1;
    } else if (length >= 4 && length < ID_TEXT_SIZE) {
        for (size_t i = 0; i < count; i++) {
            if (strncasecmp(ids[i], name, length) == 0) {
                memcpy(ret_id, ids[i], ID_TEXT_SIZE);
                found++;
            }
        }
    }
    mem_free(ids);
    return found == 1 ? 0 : found == 0 ? 1 : 2;
}

int receipts_open(int runs_fd, const char *id, struct error *e)
{
    char name[NAME_SIZE];
    ASSERT(id_valid(id));
    name_of(id, name);
    int fd = openat(runs_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? error_set_errno(e, errno, "the receipt of run %s cannot be opened", id) : fd;
}
