/* SPDX-License-Identifier: Apache-2.0 */
/* worker/ask.c: answers widen the rules of a guest by exactly what was asked, once until the next
 * host call; who said no is not asked again; time of waiting is not the guest's. */
#include "base/clock.h"
#include "tests/unit/worker_fixture.h"
#include "worker/ask.h"

#define GRANTS                                                                 \
    "grants:\n- keyvalue: b\n  allow: [get]\n  keys: [mine]\n  rate: 1000/s\n" \
    "- fs: /m\n  from: memory\n  allow: ro\n"

static unsigned questions;
static int answer_next;

static int answer(void *context, const struct run_denial *d)
{
    questions++;
    CHECK(d->grant_yaml[0] != '\0');
    return answer_next;
}

static uint32_t begin(struct fixture *f)
{
    uint32_t b = 0;
    struct error e = ERROR_INIT;
    fixture_open(f, GRANTS);
    f->start.work_host = (char *)"/nowhere";
    f->start.grants_json = (char *)"version: 1\n" GRANTS;
    f->guest->report.ask = answer;
    f->guest->limits.hostcalls = 1000000;
    CHECK_EQ(asking_new(&f->start, f->rules, &f->guest->asking, &e), 0);
    CHECK_EQ(f->v->kv_open(f->guest, bytes("b"), &b), 0);
    questions = 0;
    return b;
}

static int get(struct fixture *f, uint32_t b, const char *key)
{
    bool found;
    struct ambit_bytes got;
    asking_call_begins(f->guest);
    return f->v->kv_get(f->guest, b, bytes(key), &found, &got);
}

TEST(answers)
{
    struct fixture f;
    uint32_t b = begin(&f), other = 0;
    CHECK_EQ(get(&f, b, "mine"), 0);
    CHECK_EQ(questions, 0);
    answer_next = RUN_ANSWER_NEVER;
    CHECK_EQ(get(&f, b, "x"), AMBIT_KV_ACCESS_DENIED);
    CHECK_EQ(get(&f, b, "x"), AMBIT_KV_ACCESS_DENIED);
    CHECK_EQ(questions, 1);
    CHECK_EQ(f.denials, 1);
    answer_next = RUN_ANSWER_ONCE;
    CHECK_EQ(get(&f, b, "y"), 0);
    answer_next = RUN_ANSWER_NEVER;
    CHECK_EQ(get(&f, b, "y"), AMBIT_KV_ACCESS_DENIED);
    CHECK_EQ(questions, 3);
    answer_next = RUN_ANSWER_RUN;
    CHECK_EQ(get(&f, b, "z"), 0);
    answer_next = RUN_ANSWER_NEVER;
    for (int i = 0; i < 3; i++)
        CHECK_EQ(get(&f, b, "z"), 0);
    CHECK_EQ(questions, 4);
    CHECK_EQ(get(&f, b, "y"), AMBIT_KV_ACCESS_DENIED); /* a spent grant stays spent */
    CHECK_EQ(f.v->kv_set(f.guest, b, bytes("z"), bytes("v")), AMBIT_KV_ACCESS_DENIED);
    CHECK_EQ(questions, 5);
    answer_next = RUN_ANSWER_RUN;
    CHECK_EQ(f.v->kv_open(f.guest, bytes("other"), &other), 0);
    CHECK_EQ(f.guest->done.use_count, 2); /* of the rules of the start */
    fixture_close(&f);
}

TEST(there_is_an_end_of_questions)
{
    struct fixture f;
    uint32_t b = begin(&f);
    char key[16];
    answer_next = RUN_ANSWER_RUN;
    for (int i = 0; i < 2 * ASK_MAX; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        CHECK_EQ(get(&f, b, key), i < ASK_MAX ? 0 : AMBIT_KV_ACCESS_DENIED);
    }
    CHECK_EQ(questions, ASK_MAX);
    CHECK_EQ(get(&f, b, "k0"), 0);
    fixture_close(&f);
}

TEST(nobody_is_asked_for_what_no_answer_gives)
{
    struct fixture f;
    uint32_t b = begin(&f);
    answer_next = RUN_ANSWER_RUN;
    guest_revoke(f.guest, GRANT_EXPIRED);
    CHECK_EQ(get(&f, b, "x"), AMBIT_KV_ACCESS_DENIED);
    CHECK_EQ(questions, 0);
    fixture_close(&f);
    b = begin(&f);
    answer_next = -EIO; /* control is gone in the middle of it */
    CHECK(get(&f, b, "x") != 0);
    CHECK(f.guest->ended);
    fixture_close(&f);
}

/* ---- http ---- */

/* With a link to an egress room that takes everything. */
static struct link *begin_http(struct fixture *f, struct http_peer *peer)
{
    int fds[LINK_FDS], far_fds[LINK_FDS];
    struct link *near, *far;
    struct error e = ERROR_INIT;
    begin(f);
    CHECK_EQ(link_make(fds, far_fds, &e), 0);
    CHECK_EQ(link_open(fds, &near, &e), 0);
    CHECK_EQ(link_open(far_fds, &far, &e), 0);
    http_peer_init(peer, true);
    CHECK_EQ(http_peer_attach(peer, &f->loop, near, &e), 0);
    f->guest->commons.egress = peer;
    return far;
}

static void end_http(struct fixture *f, struct http_peer *peer, struct link *far)
{
    host_close_all(f->guest);
    http_peer_done(peer);
    link_free(far);
    fixture_close(f);
}

/* 0: it went out; else the error. */
static unsigned request(struct fixture *f, const char *method, const char *target, size_t headers)
{
    static const struct ambit_pair header = { { (const uint8_t *)"x-a", 3 },
                                              { (const uint8_t *)"b", 1 } };
    struct ambit_http_request r = { .method = bytes(method),
                                    .scheme = 2,
                                    .authority = bytes("a.test"),
                                    .target = bytes(target),
                                    .headers = &header,
                                    .header_count = headers,
                                    .connect_timeout_ns = HTTP_NO_TIMEOUT,
                                    .first_byte_timeout_ns = HTTP_NO_TIMEOUT,
                                    .between_bytes_timeout_ns = HTTP_NO_TIMEOUT };
    struct ambit_http_error error = { 0 };
    uint32_t x = 0;
    asking_call_begins(f->guest);
    int status = f->v->http_send(f->guest, &r, 0, &x, &error);
    CHECK(status == 0 || (status == 1 && error.code != 0));
    return status == 0 ? 0 : error.code;
}

TEST(requests)
{
    struct fixture f;
    struct http_peer peer;
    struct link *far = begin_http(&f, &peer);
    uint32_t first = (uint32_t)f.guest->done.use_count;
    answer_next = RUN_ANSWER_ONCE;
    CHECK_EQ(request(&f, "GET", "/x?a=1", 1), 0);
    CHECK_EQ(f.guest->exchanges->rule, first);
    answer_next = RUN_ANSWER_NEVER;
    CHECK_EQ(request(&f, "GET", "/x", 0), HTTP_ERROR_REQUEST_DENIED);
    CHECK_EQ(request(&f, "GET", "/x", 0), HTTP_ERROR_REQUEST_DENIED);
    CHECK_EQ(questions, 2);
    answer_next = RUN_ANSWER_RUN;
    CHECK_EQ(request(&f, "GET", "/y", 0), 0);
    CHECK_EQ(f.guest->exchanges->rule, first + 1); /* a grant that is spent keeps its number */
    CHECK_EQ(request(&f, "GET", "/y?other", 1), 0);
    CHECK_EQ(questions, 3);
    CHECK_EQ(request(&f, "POST", "/y", 0), 0);
    CHECK_EQ(questions, 4);
    CHECK_EQ(request(&f, "POST", "/..%2fy", 0), HTTP_ERROR_REQUEST_URI_INVALID);
    CHECK_EQ(request(&f, "*", "/y", 0), HTTP_ERROR_REQUEST_DENIED);
    CHECK_EQ(questions, 4); /* no grant says these */
    end_http(&f, &peer, far);
}

TEST(without_an_egress_room_nobody_is_asked)
{
    struct fixture f;
    begin(&f);
    answer_next = RUN_ANSWER_RUN;
    CHECK_EQ(request(&f, "GET", "/x", 0), HTTP_ERROR_REQUEST_DENIED);
    CHECK_EQ(questions, 0);
    CHECK_EQ(f.denials, 1);
    fixture_close(&f);
}

TEST_MAIN()
