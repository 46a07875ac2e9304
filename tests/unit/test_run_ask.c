/* SPDX-License-Identifier: Apache-2.0 */
/* control/run_ask.c: what a worker's question can bring about. The worker is somebody who writes what
 * it likes; the person says yes to everything that is put to them. */
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "control/run_parts.h"
#include "tests/unit/test.h"

struct world {
    struct run run;
    struct run_request request;
    struct run_observer observer;
    struct channel *worker;
    char folder[64], id[ID_TEXT_SIZE];
    unsigned asked;
    enum run_answer says;
    char shown[4096];
};

static enum run_answer person(void *context, const struct run_denial *d, int interrupt_fd)
{
    struct world *w = context;
    w->asked++;
    (void)snprintf(w->shown, sizeof(w->shown), "%s", d->grant_yaml);
    return w->says;
}

static void world_open(struct world *w)
{
    static const char grants[] = "version: 1\ngrants:\n- http: https://a.test\n  paths: [/start]\n";
    int pair[2];
    *w = (struct world){ .says = RUN_ANSWER_RUN };
    memcpy(w->folder, "/tmp/ambit-ask-XXXXXX", 22);
    CHECK(mkdtemp(w->folder) != NULL);
    w->observer = (struct run_observer){ .context = w, .ask = person };
    w->request.ask = true;
    CHECK_EQ(grant_set_parse("g", "/", grants, strlen(grants), &w->request.grants, NULL), 0);
    w->run.request = &w->request;
    w->run.observer = &w->observer;
    w->run.runs_fd = open(w->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK_EQ(grant_rules_new(w->request.grants, "/", &w->run.rules, NULL), 0);
    CHECK(w->run.runs_fd >= 0 && id_new(w->id) == 0);
    CHECK_EQ(receipt_open(w->run.runs_fd, w->id, NULL, &w->run.receipt, NULL), 0);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    w->run.signal_fd = -1; /* nobody interrupts */
    CHECK_EQ(channel_new(pair[0], &w->run.room.channel, NULL), 0);
    CHECK_EQ(channel_new(pair[1], &w->worker, NULL), 0);
}

static void world_close(struct world *w)
{
    char name[ID_TEXT_SIZE + 8];
    channel_free(w->run.room.channel);
    channel_free(w->worker);
    receipt_free(w->run.receipt);
    (void)snprintf(name, sizeof(name), "%s.jsonl", w->id);
    CHECK_EQ(unlinkat(w->run.runs_fd, name, 0), 0);
    close(w->run.runs_fd);
    CHECK_EQ(rmdir(w->folder), 0);
    grant_rules_free(w->run.rules);
    grant_set_free(w->request.grants);
}

static int take_answer(void *context, struct cursor *c, const int *fds, size_t fd_count,
                       struct error *e)
{
    *(int *)context = (int)cursor_u32(c);
    return 0;
}

/* The answer, or < 0: the run ends. */
static int ask(struct world *w, enum grant_class class, const char *operation, const char *resource,
               const char *grant)
{
    static const struct frame_rule rows[] = {
        { RUN_ANSWER, "answer", 1, false, 0, sizeof(uint32_t), take_answer },
    };
    struct frame_gate gate = { .rules = rows, .rule_count = ARRAY_SIZE(rows) };
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    struct run_denial d = { .class = class,
                            .reason = GRANT_NO_GRANT,
                            .rule = GRANT_NO_RULE,
                            .operation = (char *)operation,
                            .resource = (char *)resource,
                            .grant_yaml = (char *)grant };
    int answer = -1;
    CHECK_EQ(run_denial_put(&payload, &d), 0);
    struct cursor c = cursor_of(payload.data, payload.size);
    int status = run_on_ask(&w->run, &c, NULL, 0, NULL);
    if (status < 0)
        return status;
    CHECK_EQ(channel_dispatch(w->worker, &gate, &answer, true, NULL), 0);
    return answer;
}

#define SMALLEST "- http: https://b.test\n  methods: [GET]\n  paths: [/x]\n"

TEST(the_smallest_grant_is_asked_about)
{
    struct world w;
    world_open(&w);
    CHECK_EQ(ask(&w, GRANT_HTTP, "GET", "https://b.test/x", SMALLEST), RUN_ANSWER_RUN);
    CHECK_EQ(w.asked, 1);
    CHECK_STR(w.shown, SMALLEST);
    CHECK_EQ(w.run.added, 1);
    w.says = RUN_ANSWER_NEVER;
    CHECK_EQ(ask(&w, GRANT_HTTP, "GET", "https://b.test/x", SMALLEST), RUN_ANSWER_NEVER);
    CHECK_EQ(w.run.added, 1);
    world_close(&w);
}

TEST(a_grant_of_something_else_is_never_asked_about)
{
    static const struct {
        enum grant_class class;
        const char *operation, *resource, *grant;
    } rows[] = {
        /* not what is shown */
        { GRANT_HTTP, "GET", "https://b.test/x",
          "- http: https://evil.test\n  methods: [GET]\n  paths: [/x]\n" },
        { GRANT_HTTP, "GET", "https://b.test/x",
          "- http: https://b.test\n  methods: [GET]\n  paths: [/**]\n" },
        { GRANT_HTTP, "GET", "https://b.test/x",
          "- http: https://b.test\n  methods: [GET, POST]\n  paths: [/x]\n" },
        { GRANT_HTTP, "GET", "https://b.test/x",
          "- http: https://*.test\n  methods: [\"*\"]\n  paths: [/**]\n" },
        /* more than it */
        { GRANT_HTTP, "GET", "https://b.test/x", SMALLEST "  addresses: [10.0.0.0/8]\n" },
        { GRANT_HTTP, "GET", "https://b.test/x", SMALLEST "  set_headers: { host: evil }\n" },
        { GRANT_HTTP, "GET", "https://b.test/x", SMALLEST SMALLEST },
        { GRANT_HTTP, "GET", "https://b.test/x",
          SMALLEST "- fs: /m\n  from: memory\n  allow: rw\n" },
        /* under another name */
        { GRANT_FS, "read", "/work/a", SMALLEST },
        { GRANT_KEYVALUE, "get", "b/x", SMALLEST },
        { GRANT_HTTP, "GET", "https://b.test/x", "- fs: /m\n  from: memory\n  allow: rw\n" },
        /* of nothing that can be */
        { GRANT_HTTP, "*", "https://b.test/x", SMALLEST },
        { GRANT_HTTP, "GET", "nonsense", SMALLEST },
        { GRANT_HTTP, "GET", "https://b.test/x", "nonsense" },
        { GRANT_HTTP, "GET", "https://b.test/x", "" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct world w;
        world_open(&w);
        CHECK_EQ(ask(&w, rows[i].class, rows[i].operation, rows[i].resource, rows[i].grant),
                 RUN_ANSWER_NEVER);
        if (w.asked != 0 || w.run.added != 0)
            test_fail(__FILE__, __LINE__, "row %zu was asked about: %s", i, w.shown);
        world_close(&w);
    }
}

TEST(questions_that_no_worker_asks)
{
    struct world w;
    world_open(&w);
    CHECK_EQ(ask(&w, GRANT_CLASS_COUNT + 1, "GET", "https://b.test/x", SMALLEST), -EPROTO);
    w.request.ask = false; /* nobody asked it to ask */
    CHECK_EQ(ask(&w, GRANT_HTTP, "GET", "https://b.test/x", SMALLEST), -EPROTO);
    CHECK_EQ(w.asked, 0);
    world_close(&w);
}

TEST(there_is_an_end_of_it)
{
    struct world w;
    char url[64], grant[128];
    world_open(&w);
    for (int i = 0; i < EGRESS_MORE_MAX + 10; i++) {
        (void)snprintf(url, sizeof(url), "https://b.test/%d", i);
        (void)snprintf(grant, sizeof(grant),
                       "- http: https://b.test\n  methods: [GET]\n  paths: [/%d]\n", i);
        CHECK_EQ(ask(&w, GRANT_HTTP, "GET", url, grant),
                 i < EGRESS_MORE_MAX ? RUN_ANSWER_RUN : RUN_ANSWER_NEVER);
    }
    CHECK_EQ(w.asked, EGRESS_MORE_MAX);
    CHECK_EQ(w.run.added, EGRESS_MORE_MAX);
    int status = 0;
    for (int i = 0; status >= 0 && i < 2000; i++)
        status = ask(&w, GRANT_HTTP, "GET", "https://b.test/x", SMALLEST);
    CHECK_EQ(status, -EPROTO); /* a worker that stops at nothing */
    world_close(&w);
}

TEST_MAIN()
