/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the state folder is and that it is ours. The environment is read here and nowhere else for
 * it. A home folder that the environment does not name is looked up in the password database.
 */
#include "control/state.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"

#define PASSWD_SIZE 16384

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

static int checked(const char *name, const char *value, struct error *e)
{
    if (value[0] == '/')
        return 0;
    error_hint(e, "set %s to an absolute path, or unset it", name);
    return error_set(e, -EINVAL, "%s is \"%s\", which is no absolute path", name, value);
}

static int home_path(char **ret, struct error *e)
{
    const char *home = variable("HOME");
    if (home != NULL) {
        int r = checked("HOME", home, e);
        if (r < 0)
            return r;
        *ret = mem_strdup(home);
    } else {
        CLEANUP(mem_freep) char *space = mem_alloc(PASSWD_SIZE);
        struct passwd entry, *found = NULL;
        if (space == NULL)
            return error_set(e, -ENOMEM, "no memory");
        int r = getpwuid_r(geteuid(), &entry, space, PASSWD_SIZE, &found);
        if (r != 0 || found == NULL || found->pw_dir == NULL || found->pw_dir[0] != '/') {
            error_hint(e, "set AMBIT_STATE_DIR to a folder of yours");
            return error_set(e, -ENOENT, "there is no home folder to keep state in");
        }
        *ret = mem_strdup(found->pw_dir);
    }
    return *ret != NULL ? 0 : error_set(e, -ENOMEM, "no memory");
}

int state_path(char **ret, struct error *e)
{
    const char *own = variable("AMBIT_STATE_DIR"), *xdg = variable("XDG_STATE_HOME");
    char *path = NULL;
    int r = 0;

    if (own != NULL) {
        r = checked("AMBIT_STATE_DIR", own, e);
        if (r == 0)
            path = mem_strdup(own);
    } else if (xdg != NULL) {
        r = checked("XDG_STATE_HOME", xdg, e);
        if (r == 0)
            path = mem_printf("%s/ambit", xdg);
    } else {
        CLEANUP(mem_freep) char *home = NULL;
        r = home_path(&home, e);
        if (r == 0)
            path = mem_printf("%s/.local/state/ambit", home);
    }
    if (r < 0)
        return r;
    if (path == NULL)
        return error_set(e, -ENOMEM, "no memory");
    *ret = path;
    return 0;
}

int state_config_path(char **ret, struct error *e)
{
    const char *xdg = variable("XDG_CONFIG_HOME");
    CLEANUP(mem_freep) char *home = NULL;
    int r = xdg != NULL ? checked("XDG_CONFIG_HOME", xdg, e) : home_path(&home, e);

    if (r < 0)
        return r;
    *ret = xdg != NULL ? mem_printf("%s/ambit", xdg) : mem_printf("%s/.config/ambit", home);
    return *ret != NULL ? 0 : error_set(e, -ENOMEM, "no memory");
}

int state_open(const char *name, int *ret_dir_fd, struct error *e)
{
    CLEANUP(mem_freep) char *state = NULL;
    CLEANUP(mem_freep) char *path = NULL;
    CLEANUP(fd_closep) int fd = -1;

    int r = state_path(&state, e);
    if (r < 0)
        return r;
    /* The state folder itself is checked too: a private folder inside an open
     * one can be swapped. */
    r = file_make_private_dir(state, &fd, e);
    if (r == 0 && name[0] != '\0') {
        fd_closep(&fd);
        path = mem_printf("%s/%s", state, name);
        r = path == NULL ? error_set(e, -ENOMEM, "no memory") : file_make_private_dir(path, &fd, e);
    }
    if (r < 0) {
        error_prefix(e, "state folder");
        return r;
    }
    *ret_dir_fd = fd_take(&fd);
    return 0;
}
