/* SPDX-License-Identifier: Apache-2.0 */
/* worker/handles.c: numbers stand for one thing of one kind, the maximum holds, nothing leaks. */
#include "worker/handles.h"

#include "tests/unit/test.h"

TEST(kinds_do_not_mix)
{
    struct handles h;
    uint32_t file, stream;
    int a, b;
    handles_init(&h, 10);
    CHECK_EQ(handles_add(&h, HANDLE_FILE, &a, &file), 0);
    CHECK_EQ(handles_add(&h, HANDLE_STREAM, &b, &stream), 0);
    CHECK(file != 0 && stream != 0 && file != stream);
    CHECK(handles_get(&h, HANDLE_FILE, file) == &a);
    CHECK(handles_get(&h, HANDLE_STREAM, file) == NULL);
    CHECK(handles_remove(&h, HANDLE_LISTING, stream) == NULL);
    CHECK(handles_get(&h, HANDLE_FILE, 0) == NULL);
    CHECK(handles_get(&h, HANDLE_FILE, UINT32_MAX) == NULL);
    CHECK(handles_get(&h, HANDLE_FREE, 3) == NULL);
    CHECK(handles_remove(&h, HANDLE_FILE, file) == &a);
    CHECK(handles_remove(&h, HANDLE_FILE, file) == NULL);
    CHECK_EQ(h.live, 1);
    handles_done(&h);
}

TEST(the_maximum_holds)
{
    struct handles h;
    uint32_t handle = 0, first = 0;
    int thing;
    handles_init(&h, 1000);
    for (int i = 0; i < 1000; i++) {
        CHECK_EQ(handles_add(&h, HANDLE_FILE, &thing, &handle), 0);
        if (i == 0)
            first = handle;
    }
    CHECK_EQ(handles_add(&h, HANDLE_FILE, &thing, &handle), 1);
    CHECK(handles_remove(&h, HANDLE_FILE, first) == &thing);
    CHECK_EQ(handles_add(&h, HANDLE_STREAM, &thing, &handle), 0);
    CHECK_EQ(handle, first);
    CHECK_EQ(handles_add(&h, HANDLE_STREAM, &thing, &handle), 1);
    CHECK_EQ(h.live, 1000);
    CHECK_EQ(h.peak, 1000);
    CHECK_EQ(h.capacity, 1000);
    handles_done(&h);
    CHECK_EQ(h.peak, 1000);

    handles_init(&h, 0);
    CHECK_EQ(handles_add(&h, HANDLE_FILE, &thing, &handle), 1);
    handles_done(&h);
}

static void count_one(void *context, enum handle_kind kind, void *object)
{
    int *counts = context;
    counts[kind]++;
    CHECK(object != NULL);
}

TEST(each_is_closed_once)
{
    struct handles h;
    uint32_t handles[20];
    int thing, counts[4] = { 0 };
    handles_init(&h, 100);
    for (int i = 0; i < 20; i++)
        CHECK_EQ(handles_add(&h, i % 2 ? HANDLE_FILE : HANDLE_STREAM, &thing, &handles[i]), 0);
    for (int i = 0; i < 6; i++)
        CHECK(handles_remove(&h, i % 2 ? HANDLE_FILE : HANDLE_STREAM, handles[i]) != NULL);
    handles_each(&h, count_one, counts);
    CHECK_EQ(counts[HANDLE_FILE], 7);
    CHECK_EQ(counts[HANDLE_STREAM], 7);
    CHECK_EQ(counts[HANDLE_FREE], 0);
    CHECK_EQ(h.live, 0);
    CHECK(handles_get(&h, HANDLE_FILE, handles[7]) == NULL);
    CHECK_EQ(handles_add(&h, HANDLE_FILE, &thing, &handles[0]), 0);
    handles_done(&h);
}

static int fill(void)
{
    struct handles h;
    uint32_t handle;
    int thing, status = 0;
    handles_init(&h, 100);
    for (int i = 0; i < 60 && status == 0; i++)
        status = handles_add(&h, HANDLE_FILE, &thing, &handle);
    handles_done(&h);
    return status;
}

TEST(memory_runs_out)
{
    TORTURE(fill());
}

TEST_MAIN()
