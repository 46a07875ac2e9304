/* SPDX-License-Identifier: Apache-2.0 */
/* A guest that asks over HTTP, with the test as the egress room at the other end of its link. */
#pragma once

#include "tests/unit/http_far_end.h"
#include "tests/unit/worker_fixture.h"

#define ALLOW                                                     \
    "grants:\n- http: https://api.example.com\n  methods: [GET, " \
    "POST]\n  paths: [/a/**]\n- http: http://plain.example:8080\n"

struct asking {
    struct fixture f;
    struct guest *g;
    const struct ambit_host_vtbl *v;
    struct http_peer peer;
    struct far_end far;
};

__attribute__((unused)) static void asking_open(struct asking *a, const char *grants)
{
    struct error e = ERROR_INIT;
    fixture_open(&a->f, grants);
    a->g = a->f.guest;
    a->v = a->f.v;
    http_peer_init(&a->peer, true);
    a->peer.refused = http_refused;
    CHECK_EQ(http_peer_attach(&a->peer, &a->f.loop, far_open(&a->far), &e), 0);
    a->g->commons.egress = &a->peer;
}

/* Nothing may be left but what the fixture itself holds. */
__attribute__((unused)) static void asking_close(struct asking *a)
{
    host_close_all(a->g);
    CHECK_EQ(a->peer.count, 0);
    CHECK(!a->g->exchanges);
    far_close(&a->far);
    http_peer_done(&a->peer);
    fixture_close(&a->f);
}

__attribute__((unused)) static struct ambit_http_request
request_of(const char *method, const char *authority, const char *target)
{
    static struct ambit_pair headers[1];
    headers[0] = (struct ambit_pair){ bytes("accept"), bytes("text/html") };
    return (struct ambit_http_request){ .method = bytes(method),
                                        .scheme = 2,
                                        .authority = bytes(authority),
                                        .target = bytes(target),
                                        .headers = headers,
                                        .header_count = 1,
                                        .connect_timeout_ns = 1,
                                        .first_byte_timeout_ns = 2,
                                        .between_bytes_timeout_ns = HTTP_NO_TIMEOUT };
}

__attribute__((unused)) static int ask(struct asking *a, const char *method, const char *target,
                                       uint32_t body, uint32_t *ret, struct ambit_http_error *error)
{
    struct ambit_http_request r = request_of(method, "api.example.com", target);
    return a->v->http_send(a->g, &r, body, ret, error);
}

__attribute__((unused)) static uint32_t get(struct asking *a)
{
    struct ambit_http_error error;
    uint32_t x = 0;
    CHECK_EQ(ask(a, "GET", "/a/b", 0, &x, &error), 0);
    CHECK(x);
    return x;
}

__attribute__((unused)) static unsigned code_of_response(struct asking *a, uint32_t x)
{
    struct ambit_http_response r;
    struct ambit_http_error error;
    CHECK_EQ(a->v->http_response(a->g, x, &r, &error), AMBIT_READY);
    return error.code;
}

static uint8_t block[HTTP_WINDOW_START + 1];

__attribute__((unused)) static size_t permit(struct asking *a, uint32_t body)
{
    size_t size = 99;
    CHECK_EQ(a->v->stream_check_write(a->g, body, &size), AMBIT_STREAM_OK);
    return size;
}
