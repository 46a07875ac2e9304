/* SPDX-License-Identifier: Apache-2.0 */
#include "control/proposal.h"

#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "grant/grant.h"

#define PROPOSAL_MAX (128u << 10)

static int parse_item(const char *yaml, struct grant_set **ret, struct error *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(PROPOSAL_MAX);
    buf_puts(&text, "version: 1\ngrants:\n");
    for (const char *line = yaml; *line != '\0';) {
        size_t size = strcspn(line, "\n");
        buf_puts(&text, "  ");
        buf_append(&text, line, size);
        buf_putc(&text, '\n');
        line += size + (line[size] == '\n');
    }
    int status = buf_status(&text);
    if (status < 0)
        return error_set(e, status, "a proposal is too long");
    return grant_set_parse("proposal", "/", buf_cstr(&text), text.size, ret, e);
}

static bool is_folder(const char *host)
{
    struct stat st;
    return stat(host, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Moves the last name of the mount into the pattern. 0, 1: it cannot go further up; < 0. */
static int move_up(struct grant *g)
{
    char *name = strrchr(g->fs.guest, '/') + 1;
    char *host_name = strrchr(g->fs.host, '/') + 1;
    if (name == g->fs.guest + 1 || host_name == g->fs.host + 1 || strcmp(name, host_name) != 0)
        return 1; /* the root of either, or a mount that has another name here */
    CLEANUP(mem_freep) char *quoted = grant_pattern_quote(name);
    if (quoted == NULL)
        return -ENOMEM;
    char *longer = strcmp(g->fs.paths[0], ".") == 0 ? TAKE(quoted)
                                                    : mem_printf("%s/%s", quoted, g->fs.paths[0]);
    if (longer == NULL)
        return -ENOMEM;
    mem_free(g->fs.paths[0]);
    g->fs.paths[0] = longer;
    name[-1] = '\0';
    host_name[-1] = '\0';
    return 0;
}

int proposal_settle(const char *yaml, char **ret, struct error *e)
{
    CLEANUP(grant_set_freep) struct grant_set *set = NULL;
    CLEANUP(buf_done) struct buf out = BUF_INIT(PROPOSAL_MAX);
    bool usable = yaml[0] != '\0';

    if (usable) {
        int status = parse_item(yaml, &set, NULL);
        if (status == -ENOMEM)
            return error_set(e, status, "no memory for a proposal");
        usable = status == 0 && set->count == 1;
    }
    struct grant *g = usable ? &set->grants[0] : NULL;
    if (g != NULL && g->class == GRANT_FS && g->fs.backing == GRANT_BACKING_DIR &&
        g->fs.path_count == 1) {
        while (usable && !is_folder(g->fs.host)) {
            int status = move_up(g);
            if (status < 0)
                return error_set(e, status, "no memory for a proposal");
            usable = status == 0;
        }
    }
    if (usable && grant_print(g, &out, NULL) < 0)
        buf_clear(&out);
    *ret = mem_strdup(buf_cstr(&out));
    return *ret != NULL ? 0 : error_set(e, -ENOMEM, "no memory for a proposal");
}
