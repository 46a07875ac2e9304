/* SPDX-License-Identifier: Apache-2.0 */
/* Receipts: what is written reads back; the cap holds; the folder is trimmed from the oldest; names
 * find one receipt or none. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "control/receipt.h"
#include "tests/unit/test.h"

static int folder(char path[static 64])
{
    memcpy(path, "/tmp/ambit-receipt-XXXXXX", 26);
    CHECK(mkdtemp(path) != NULL);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

static void remove_folder(const char *path, int fd)
{
    char(*ids)[ID_TEXT_SIZE] = NULL;
    size_t count = 0;
    struct error e = ERROR_INIT;
    CHECK_EQ(receipts_list(fd, &ids, &count, &e), 0);
    for (size_t i = 0; i < count; i++) {
        char name[ID_TEXT_SIZE + 8];
        (void)snprintf(name, sizeof(name), "%s.jsonl", ids[i]);
        CHECK_EQ(unlinkat(fd, name, 0), 0);
    }
    mem_free(ids);
    fd_close(fd);
    (void)rmdir(path);
}

TEST(receipt_events_read_back)
{
    char path[64], id[ID_TEXT_SIZE];
    struct error e = ERROR_INIT;
    int fd = folder(path);
    struct receipt *r = NULL;

    CHECK_EQ(id_new(id), 0);
    CHECK_EQ(receipt_open(fd, id, NULL, &r, &e), 0);
    json_t *members = json_object();
    json_object_set_new(members, "name", json_string("a\nb\033[31m"));
    CHECK_EQ(receipt_put(r, "first", members, &e), 0);
    CHECK_EQ(receipt_put_closing(r, "last", json_object(), &e), 0);
    receipt_free(r);

    CLEANUP(buf_done) struct buf text = BUF_INIT(1u << 16);
    CLEANUP(fd_closep) int in = receipts_open(fd, id, &e);
    CHECK_EQ(file_read_fd(in, &text, &e), 0);
    const char *line = buf_cstr(&text), *end = strchr(line, '\n');
    CHECK(end != NULL);
    json_t *first = json_loadb(line, (size_t)(end - line), 0, NULL);
    CHECK_STR(json_string_value(json_object_get(first, "event")), "first");
    CHECK_STR(json_string_value(json_object_get(first, "name")), "a\nb\033[31m");
    CHECK(strchr(line, '\033') == NULL); /* nothing raw for a terminal */
    json_decref(first);
    CHECK_HAS(end, "\"last\"");
    struct stat st;
    CHECK_EQ(fstat(in, &st), 0);
    CHECK_EQ(st.st_mode & 0777, 0600);
    remove_folder(path, fd);
}

TEST(receipt_never_replaces_one)
{
    char path[64], id[ID_TEXT_SIZE];
    struct error e = ERROR_INIT;
    int fd = folder(path);
    struct receipt *r = NULL, *again = NULL;

    CHECK_EQ(id_new(id), 0);
    CHECK_EQ(receipt_open(fd, id, NULL, &r, &e), 0);
    CHECK_EQ(receipt_open(fd, id, NULL, &again, &e), -EEXIST);
    receipt_free(r);
    remove_folder(path, fd);
}

TEST(receipt_copy_that_cannot_be_made_stops_it)
{
    char path[64], id[ID_TEXT_SIZE];
    struct error e = ERROR_INIT;
    int fd = folder(path);
    struct receipt *r = NULL;
    char(*ids)[ID_TEXT_SIZE] = NULL;
    size_t count = 7;

    CHECK_EQ(id_new(id), 0);
    CHECK_EQ(receipt_open(fd, id, "/nowhere/at/all.jsonl", &r, &e), -ENOENT);
    CHECK_EQ(receipts_list(fd, &ids, &count, &e), 0);
    CHECK_EQ(count, 0);
    mem_free(ids);
    remove_folder(path, fd);
}

TEST(receipt_write_failure_is_a_fault)
{
    struct error e = ERROR_INIT;
    char path[64], id[ID_TEXT_SIZE];
    int fd = folder(path);
    struct receipt *r = NULL;

    if (access("/dev/full", W_OK) == 0) {
        CHECK_EQ(id_new(id), 0);
        CHECK_EQ(receipt_open(fd, id, "/dev/full", &r, &e), 0);
        CHECK_EQ(receipt_put(r, "event", json_object(), &e), -ENOSPC);
        receipt_free(r);
    }
    remove_folder(path, fd);
}

TEST(receipt_cap_drops_and_counts_but_keeps_room_for_the_end)
{
    char path[64], id[ID_TEXT_SIZE], filler[32768];
    struct error e = ERROR_INIT;
    int fd = folder(path);
    struct receipt *r = NULL;

    memset(filler, 'x', sizeof(filler) - 1);
    filler[sizeof(filler) - 1] = '\0';
    CHECK_EQ(id_new(id), 0);
    CHECK_EQ(receipt_open(fd, id, NULL, &r, &e), 0);
    for (int i = 0; i < 200; i++) {
        json_t *members = json_object();
        json_object_set_new(members, "filler", json_string(filler));
        CHECK_EQ(receipt_put(r, "denial", members, &e), 0);
    }
    CHECK(receipt_dropped(r) > 0);
    uint64_t dropped = receipt_dropped(r);
    CHECK_EQ(receipt_put_closing(r, "run.finished", json_object(), &e), 0);
    CHECK_EQ(receipt_dropped(r), dropped);
    receipt_free(r);
    CLEANUP(fd_closep) int in = receipts_open(fd, id, &e);
    struct stat st;
    CHECK_EQ(fstat(in, &st), 0);
    CHECK(st.st_size <= (off_t)(RECEIPT_MAX + RECEIPT_RESERVE));
    remove_folder(path, fd);
}

static void make(int fd, const char *id, size_t size)
{
    char name[ID_TEXT_SIZE + 8], byte = 'x';
    (void)snprintf(name, sizeof(name), "%s.jsonl", id);
    int out = openat(fd, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
    CHECK(out >= 0);
    for (size_t i = 0; i < size; i++)
        CHECK_EQ(write(out, &byte, 1), 1);
    close(out);
}

TEST(receipts_trim_removes_the_oldest)
{
    static const char *const ids[] = { "01AAAAAAAAAAAAAAAAAAAAAAAA", "01BAAAAAAAAAAAAAAAAAAAAAAA",
                                       "01CAAAAAAAAAAAAAAAAAAAAAAA" };
    char path[64], found[ID_TEXT_SIZE];
    struct error e = ERROR_INIT;
    int fd = folder(path);

    for (size_t i = 0; i < 3; i++)
        make(fd, ids[i], 100);
    CHECK_EQ(receipts_trim(fd, 200, NULL, &e), 0);
    CHECK_EQ(receipts_find(fd, ids[0], found, &e), 1);
    CHECK_EQ(receipts_find(fd, ids[1], found, &e), 0);
    CHECK_EQ(receipts_trim(fd, 0, ids[1], &e), 0); /* never the one of this run */
    CHECK_EQ(receipts_find(fd, ids[1], found, &e), 0);
    CHECK_EQ(receipts_find(fd, ids[2], found, &e), 1);
    remove_folder(path, fd);
}

TEST(receipts_are_found_by_last_id_or_start)
{
    char path[64], found[ID_TEXT_SIZE];
    struct error e = ERROR_INIT;
    int fd = folder(path);

    CHECK_EQ(receipts_find(fd, "last", found, &e), 1);
    make(fd, "01AAAAAAAAAAAAAAAAAAAAAAAA", 1);
    make(fd, "01AAAAAAAAAAAAAAAAAAAAAAAB", 1);
    make(fd, "01BAAAAAAAAAAAAAAAAAAAAAAA", 1);
    CHECK_EQ(receipts_find(fd, "last", found, &e), 0);
    CHECK_STR(found, "01BAAAAAAAAAAAAAAAAAAAAAAA");
    CHECK_EQ(receipts_find(fd, "01BA", found, &e), 0);
    CHECK_STR(found, "01BAAAAAAAAAAAAAAAAAAAAAAA");
    CHECK_EQ(receipts_find(fd, "01ba", found, &e), 0);
    CHECK_EQ(receipts_find(fd, "01AA", found, &e), 2);
    CHECK_EQ(receipts_find(fd, "01B", found, &e), 1); /* too short to mean one */
    CHECK_EQ(receipts_find(fd, "../passwd", found, &e), 1);
    CHECK_EQ(receipts_find(fd, "", found, &e), 1);
    remove_folder(path, fd);
}

/* A whole life: opened, written, listed, found. Gives up at the first failure, as a run does. */
static int live_once(int fd)
{
    char id[ID_TEXT_SIZE], found[ID_TEXT_SIZE], name[ID_TEXT_SIZE + 8];
    char(*ids)[ID_TEXT_SIZE] = NULL;
    size_t count = 0;
    struct receipt *r = NULL;
    CHECK_EQ(id_new(id), 0);
    (void)snprintf(name, sizeof(name), "%s.jsonl", id);
    int status = receipt_open(fd, id, NULL, &r, NULL);
    if (status == 0)
        status = receipt_put(r, "first", json_pack("{s:s, s:i}", "name", "a\nb", "count", 3), NULL);
    if (status == 0)
        status = receipt_put_closing(r, "last", json_object(), NULL);
    receipt_free(r);
    if (status == 0)
        status = receipts_list(fd, &ids, &count, NULL);
    mem_free(ids);
    if (status == 0)
        status = receipts_find(fd, "last", found, NULL);
    if (status == 0)
        status = receipts_trim(fd, 0, NULL, NULL);
    if (unlinkat(fd, name, 0) < 0)
        CHECK_EQ(errno, ENOENT);
    return status;
}

TEST(failing_allocations)
{
    char path[64];
    int fd = folder(path);
    TORTURE(live_once(fd));
    remove_folder(path, fd);
}

TEST_MAIN()
