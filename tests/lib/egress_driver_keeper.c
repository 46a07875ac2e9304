/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper that egress_driver plays: it gives, refuses or is silent, as it was told, and keeps what it was asked. */
#include <sys/socket.h>

#include "base/mem.h"
#include "egress_driver.h"
#include "wire/keeper.h"

static struct bytes json_bytes(json_t *j)
{
    return (struct bytes){ (const uint8_t *)json_string_value(j), json_string_length(j) };
}

static void keeper_send(struct driver *d, uint16_t kind, const struct buf *payload)
{
    if (buf_status(payload) < 0 ||
        channel_send(d->keeper, kind, payload->data, payload->size, NULL, 0, NULL) < 0)
        driver_die("keeper", NULL);
}

static void keeper_answer(struct driver *d, uint64_t number)
{
    CLEANUP(buf_done) struct buf payload = BUF_INIT(FRAME_MAX);
    struct secret_values v = { .number = number };
    json_t *row;
    size_t i;
    if (d->keeper_refuse) {
        struct secret_refused r = { number, GRANT_SECRET, json_bytes(d->keeper_refuse) };
        secret_refused_put(&payload, &r);
        keeper_send(d, SECRET_REFUSED, &payload);
        return;
    }
    json_array_foreach(d->keeper_values, i, row)
    {
        v.values[v.count++] =
            (struct secret_value){ .name = json_bytes(json_array_get(row, 0)),
                                   .value = json_bytes(json_array_get(row, 1)),
                                   .header = json_is_true(json_array_get(row, 2)),
                                   .scrub = !json_is_false(json_array_get(row, 3)) };
    }
    secret_values_put(&payload, &v);
    keeper_send(d, SECRET_VALUES, &payload);
}

static int on_ask(void *context, struct cursor *c, const int *fds, size_t fd_count, struct error *e)
{
    static struct secret_field fields[SECRET_ASK_FIELDS_MAX];
    struct driver *d = context;
    struct secret_ask a;
    int status = secret_ask_get(c, fields, ARRAY_SIZE(fields), &a, e);
    if (status < 0)
        return status;
    json_t *list = json_array();
    for (size_t i = 0; i < a.field_count; i++)
        json_array_append_new(
            list, json_pack("[o, o]", driver_text(fields[i].name), driver_text(fields[i].value)));
    json_array_append_new(
        d->asks, json_pack("{s:I, s:i, s:o, s:o, s:o, s:o}", "ask", (json_int_t)a.number, "rule",
                           (int)a.rule, "method", driver_text(a.method), "url", driver_text(a.url),
                           "digest", driver_text(a.payload_sha256), "fields", list));
    if (!d->keeper_silent)
        keeper_answer(d, a.number);
    return 0;
}

static int on_echoed(void *context, struct cursor *c, const int *fds, size_t fd_count,
                     struct error *e)
{
    struct driver *d = context;
    char *name = cursor_string(c);
    json_array_append_new(d->asks, json_pack("{s:s}", "echoed", name ? name : ""));
    mem_free(name);
    return 0;
}

int driver_keeper(void *context, uint32_t life, int *ret_fd, struct error *e)
{
    static const struct frame_rule rows[] = {
        { SECRET_ASK, "ask", 1, false, 0, FRAME_MAX, on_ask },
        { SECRET_ECHOED, "echoed", 1, false, 0, FRAME_MAX, on_echoed },
    };
    struct driver *d = context;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return error_set_errno(e, errno, "socketpair");
    channel_free(d->keeper);
    d->keeper_gate = (struct frame_gate){ .rules = rows, .rule_count = ARRAY_SIZE(rows) };
    *ret_fd = pair[1];
    return channel_new(pair[0], &d->keeper, e);
}

void driver_keeper_command(struct driver *d, json_t *q)
{
    struct error e = ERROR_INIT;
    json_decref(d->keeper_values);
    json_decref(d->keeper_refuse);
    d->keeper_values = json_incref(json_object_get(q, "values"));
    d->keeper_refuse = json_incref(json_object_get(q, "refuse"));
    d->keeper_silent = json_is_true(json_object_get(q, "silent"));
    if (json_is_true(json_object_get(q, "again")) && egress_keeper(d->egress, &e) < 0)
        driver_die("keeper", &e);
}
