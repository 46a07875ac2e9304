/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "control/proposal.h"
#include "test.h"

static char folder[] = "/tmp/ambit-proposal-XXXXXX";

static char *settled(const char *format, const char *at)
{
    CLEANUP(mem_freep) char *yaml = NULL;
    char *ret = NULL;
    /* The format is a constant of this file with as many @ as it needs, each the folder. */
    CLEANUP(buf_done) struct buf text = BUF_INIT(4096);
    for (const char *c = format; *c != '\0'; c++)
        if (*c == '@')
            buf_puts(&text, at);
        else
            buf_putc(&text, *c);
    yaml = buf_take(&text);
    CHECK_EQ(proposal_settle(yaml, &ret, NULL), 0);
    return ret;
}

#define ITEM(mount, pattern) \
    "- fs: " mount "\n  from: { dir: " mount " }\n  allow: [read]\n  paths: [" pattern "]\n"

TEST(a_mount_moves_up_to_the_nearest_folder)
{
    static const struct {
        const char *given, *wanted;
    } rows[] = {
        { ITEM("@", "x"), ITEM("@", "x") },
        { ITEM("@/none", "x"), ITEM("@", "none/x") },
        { ITEM("@/none/deep", "x"), ITEM("@", "none/deep/x") },
        { ITEM("@/none", "\".\""), ITEM("@", "none") },
        { ITEM("@/none", "\"x/**\""), ITEM("@", "\"none/x/**\"") },
        { ITEM("@/a*b", "x"), ITEM("@", "'a\\*b/x'") },
        { ITEM("@/file", "x"), ITEM("@", "file/x") },
    };
    CHECK(mkdtemp(folder) != NULL);
    CLEANUP(mem_freep) char *file = mem_printf("%s/file", folder);
    FILE *f = fopen(file, "w");
    CHECK(f != NULL);
    fclose(f);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(mem_freep) char *got = settled(rows[i].given, folder);
        CLEANUP(mem_freep) char *again = settled(got, folder);
        CLEANUP(mem_freep) char *wanted = settled(rows[i].wanted, folder);
        CHECK(strlen(got) > 0);
        CHECK_STR(got, wanted);
        CHECK_STR(again, got);
    }
    unlink(file);
    rmdir(folder);
}

TEST(nothing_is_offered_where_nothing_helps)
{
    static const char *const rows[] = {
        "",
        "no grant at all",
        "- fs: /none-1\n  from: { dir: /none-1 }\n  allow: [read]\n  paths: [x]\n",
        "- fs: /here\n  from: { dir: /none-2/there }\n  allow: [read]\n  paths: [x]\n",
        "- fs: /a\n  from: { dir: /tmp }\n  allow: [read]\n- stdio: [stdout]\n",
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        CLEANUP(mem_freep) char *got = settled(rows[i], "");
        CHECK_STR(got, "");
    }
}

TEST(other_classes_stay_as_they_are)
{
    CLEANUP(mem_freep) char *got = settled("- stdio: [stdout]\n", "");
    CHECK_STR(got, "- stdio: [stdout]\n");
}

TEST_MAIN()
