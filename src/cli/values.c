/* SPDX-License-Identifier: Apache-2.0 */
/* Values of flags that several verbs take. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "cli/cli.h"
#include "control/egress.h"
#include "room/spawn.h"

int cli_take_number(const struct cli *c, uint32_t least, uint32_t most, uint32_t *ret,
                    struct error *e)
{
    const char *text = c->value;
    uint64_t n = 0;
    if (strlen(text) <= 9)
        for (; *text >= '0' && *text <= '9'; text++)
            n = n * 10 + (uint64_t)(*text - '0');
    if (*text != '\0' || text == c->value || n < least || n > most) {
        error_set(e, -EINVAL, "--%s does not take \"%s\"", c->flag->name, c->value);
        error_hint(e, "a number from %u to %u", least, most);
        return -EINVAL;
    }
    *ret = (uint32_t)n;
    return 0;
}

int cli_take_time(const struct cli *c, uint64_t least_ns, uint64_t *ret, struct error *e)
{
    uint64_t ns;
    if (text_parse_duration(c->value, &ns, e) < 0) {
        error_prefix(e, "--%s", c->flag->name);
        return -EINVAL;
    }
    if (ns > 24 * 3600 * NS_PER_S)
        return error_set(e, -EINVAL, "--%s %s is more than a day", c->flag->name, c->value);
    if (ns < least_ns)
        return error_set(e, -EINVAL, "--%s 0 is no time", c->flag->name);
    *ret = ns;
    return 0;
}

int cli_take_layer(const struct cli *c, uint32_t *bits, struct error *e)
{
    uint32_t more;
    if (jail_layer_parse(c->value, &more) < 0) {
        error_set(e, -EINVAL, "there is no jail layer \"%s\"", c->value);
        error_hint(e, "ambit doctor lists them; `namespaces` is all five namespaces");
        return -EINVAL;
    }
    *bits |= more;
    return 0;
}

#define CERTIFICATES_MAX (16u << 20)

/* A first look, so that a mistyped name is told before anything is started; egress reads them. */
static int check_certificates(const char *flag, const char *path, struct error *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(CERTIFICATES_MAX);
    CLEANUP(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    int status = fd < 0 ? error_set_errno(e, errno, "--%s %s cannot be opened", flag, path) : 0;
    if (status == 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)))
        status = error_set(e, -EINVAL, "--%s %s is not a regular file", flag, path);
    if (status == 0 && file_read_fd(fd, &text, e) < 0) {
        error_prefix(e, "--%s %s", flag, path);
        status = -EINVAL;
    }
    if (status == 0 && !memmem(text.data, text.size, "-----BEGIN ", strlen("-----BEGIN ")))
        status = error_set(e, -EINVAL, "--%s %s holds no certificate", flag, path);
    if (status < 0)
        error_hint(e, "name a file of certificates (PEM: -----BEGIN CERTIFICATE-----)");
    return status;
}

int cli_take_run_flag(struct cli *c, struct run_request *r, bool *quiet, struct error *e)
{
    switch (c->flag->id) {
    case RUN_FLAG_RECEIPT:
        r->receipt_copy = c->value;
        return 0;
    case RUN_FLAG_CA:
        r->ca_file = c->value;
        return check_certificates(c->flag->name, c->value, e);
    case RUN_FLAG_RESOLVER:
        r->resolver = c->value;
        return egress_resolver_check(c->value, e);
    case RUN_FLAG_JSON:
        c->json = true;
        return 0;
    case RUN_FLAG_QUIET:
        *quiet = true;
        return 0;
    case RUN_FLAG_ALLOW_MISSING:
        return cli_take_layer(c, &r->allow_missing, e);
    default:
        return 1;
    }
}
