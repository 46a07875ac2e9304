/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two files that clients of a proxy read: shell settings (0600: whoever reads them may do what the grants say) and
 * the CA's certificate (0644). Each is written whole to a new file that takes the name at once, in a folder that is
 * reached through no link that somebody may have planted; a file that is there and is not one of ours stays.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/text.h"
#include "control/listen.h"
#include "control/proxy_parts.h"
#include "control/state.h"

#define HEADER "# ambit proxy: "
#define ENV_MAX (1u << 20)

/* ---- places ---- */

/* Is there nothing of this name, or what an earlier proxy of ours left? */
static int check_place(const char *flag, const struct proxy_file *f, struct error *e)
{
    char head[sizeof HEADER] = { 0 };
    struct stat st;
    CLEANUP(fd_closep)
    int fd = openat(f->dir_fd, f->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
        (st.st_size == 0 || (read(fd, head, sizeof HEADER - 1) == sizeof HEADER - 1 &&
                             memcmp(head, HEADER, sizeof HEADER - 1) == 0)))
        return 0;
    error_set(e, -EEXIST, "%s %s exists and was not written by ambit proxy", flag, f->path);
    error_hint(e, "name a new file, or remove that one");
    return -EEXIST;
}

static int open_named(struct proxy *p, const char *flag, const char *path, struct proxy_file *ret,
                      struct error *e)
{
    CLEANUP(buf_done) struct buf whole = BUF_INIT(8192);
    if (path[0] != '/')
        buf_printf(&whole, "%s/", p->run.work_host);
    buf_puts(&whole, path);
    if (buf_status(&whole) < 0)
        return error_set(e, -ENAMETOOLONG, "%s: the path is too long", flag);
    ret->path = buf_take(&whole);
    if (!ret->path)
        return error_set(e, -ENOMEM, "no memory for a path");
    ret->name = strrchr(ret->path, '/') + 1;
    CLEANUP(mem_freep)
    char *folder = mem_strndup(ret->path, (size_t)MAX(ret->name - ret->path - 1, 1));
    if (!folder)
        return error_set(e, -ENOMEM, "no memory for a path");
    if (ret->name[0] == '\0' || strchr(ret->path, '\n'))
        return error_set(e, -EINVAL, "%s %s is not the name of a file", flag, path);
    size_t link_size = 0;
    ret->dir_fd = file_open_dir_unlinked(folder, &link_size);
    if (ret->dir_fd < 0)
        return error_set_errno(e, -ret->dir_fd, "%s: the folder %s cannot be opened%s", flag,
                               folder, ret->dir_fd == -ELOOP ? " (a link is on the way)" : "");
    return check_place(flag, ret, e);
}

static int open_own(struct proxy *p, const char *name, struct proxy_file *ret, struct error *e)
{
    CLEANUP(fd_closep) int parent = -1;
    if (!p->own_folder) {
        CLEANUP(mem_freep) char *state = NULL;
        int status = state_open("proxy", &parent, e);
        if (status == 0)
            status = state_path(&state, e);
        if (status < 0)
            return status;
        p->own_folder = mem_printf("%s/proxy/%d", state, (int)getpid());
    }
    ret->path = p->own_folder ? mem_printf("%s/%s", p->own_folder, name) : NULL;
    if (!ret->path)
        return error_set(e, -ENOMEM, "no memory for a path");
    ret->name = strrchr(ret->path, '/') + 1;
    return file_make_private_dir(p->own_folder, &ret->dir_fd, e);
}

int proxy_files_open(struct proxy *p, struct error *e)
{
    const struct proxy_request *q = p->request;
    int status = q->env_file ? open_named(p, "--env", q->env_file, &p->env, e)
                             : open_own(p, "env", &p->env, e);
    if (status < 0)
        return status;
    return q->ca_out ? open_named(p, "--ca-out", q->ca_out, &p->ca, e)
                     : open_own(p, "ca.pem", &p->ca, e);
}

/* ---- contents ---- */

/* For a shell: '…', with each ' as '\''. */
static void put_export(struct buf *out, const char *name, const char *value)
{
    buf_printf(out, "export %s='", name);
    for (const char *at = value; *at; at++) {
        if (*at == '\'')
            buf_puts(out, "'\\''");
        else
            buf_putc(out, *at);
    }
    buf_puts(out, "'\n");
}

/* Where its own clients reach it: a listener of every address is on this machine's loopback, too. */
static void put_url(const struct proxy *p, struct buf *out)
{
    struct address a;
    uint16_t port = 0;
    static const uint8_t zero[16];
    buf_printf(out, "http://ambit:%s@", p->token);
    if (listen_name_parse(p->fronts.authority, &a, &port) == 0 &&
        memcmp(a.bytes, zero, a.is_v6 ? 16 : 4) == 0)
        buf_printf(out, "%s:%u", a.is_v6 ? "[::1]" : "127.0.0.1", port);
    else
        buf_puts(out, p->fronts.authority);
}

static void put_env(const struct proxy *p, struct buf *out)
{
    static const char *const proxies[] = { "HTTPS_PROXY", "https_proxy", "HTTP_PROXY",
                                           "http_proxy",  "ALL_PROXY",   "all_proxy" };
    static const char *const nothing[] = { "NO_PROXY", "no_proxy" };
    /* OpenSSL, Go, Ruby, uv · curl · Python requests · pip · git · npm and Node · AWS · cargo · deno · httplib2 · nix */
    static const char *const bundles[] = {
        "SSL_CERT_FILE",     "CURL_CA_BUNDLE",    "REQUESTS_CA_BUNDLE",  "PIP_CERT",
        "GIT_SSL_CAINFO",    "npm_config_cafile", "NODE_EXTRA_CA_CERTS", "AWS_CA_BUNDLE",
        "CARGO_HTTP_CAINFO", "DENO_CERT",         "HTTPLIB2_CA_CERTS",   "NIX_SSL_CERT_FILE"
    };
    CLEANUP(buf_done) struct buf url = BUF_INIT(1024);
    put_url(p, &url);
    buf_puts(out,
             HEADER "what its clients need. In a shell:  . FILE\n"
                    "# Whoever has this may do what the grants say, as long as the proxy runs.\n");
    for (size_t i = 0; i < ARRAY_SIZE(proxies); i++)
        put_export(out, proxies[i], buf_cstr(&url));
    for (size_t i = 0; i < ARRAY_SIZE(nothing); i++)
        put_export(out, nothing[i], "");
    for (size_t i = 0; i < ARRAY_SIZE(bundles); i++)
        put_export(out, bundles[i], p->ca.path);
    put_export(out, "NODE_USE_ENV_PROXY", "1");
    put_export(out, "GIT_HTTP_PROXY_AUTHMETHOD", "basic");
    for (size_t i = 0; i < p->secret_count; i++)
        put_export(out, p->secrets[i].variable, p->secrets[i].placeholder);
    if (url.data)
        mem_wipe(url.data, url.capacity);
}

static int write_file(struct proxy_file *f, struct buf *text, unsigned mode, struct error *e)
{
    int status = buf_status(text);
    if (status < 0)
        return error_set(e, status, "%s is too large to be written", f->path);
    status = file_write_atomic(f->dir_fd, f->name, text->data, text->size, mode, e);
    f->written = f->written || status == 0;
    if (status < 0)
        error_prefix(e, "%s", f->path);
    return status;
}

static int proxy_ca_write(struct proxy *p, struct error *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(ENV_MAX);
    buf_puts(&text,
             HEADER "the CA of its certificates. It lives as long as the proxy, and signs for "
                    "granted hosts only.\n");
    buf_puts(&text, keeper_ca(p->run.keeper));
    return write_file(&p->ca, &text, 0644, e);
}

static int env_write(struct proxy *p, struct error *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(ENV_MAX);
    text.wipes = true;
    put_env(p, &text);
    return write_file(&p->env, &text, 0600, e);
}

int proxy_files_write(struct proxy *p, struct error *e)
{
    int status = proxy_ca_write(p, e);
    return status == 0 ? env_write(p, e) : status;
}

/* Somebody may have put another file there meanwhile. */
int proxy_env_rewrite(struct proxy *p, struct error *e)
{
    int status = check_place("--env", &p->env, e);
    return status == 0 ? env_write(p, e) : status;
}

void proxy_files_done(struct proxy *p)
{
    const struct proxy_request *q = p->request;
    if (p->env.written && !q->env_file)
        (void)unlinkat(p->env.dir_fd, p->env.name, 0);
    if (p->ca.written && !q->ca_out)
        (void)unlinkat(p->ca.dir_fd, p->ca.name, 0);
    if (p->own_folder)
        (void)rmdir(p->own_folder);
    mem_free(p->own_folder);
    fd_close(p->env.dir_fd);
    fd_close(p->ca.dir_fd);
    mem_free(p->env.path);
    mem_free(p->ca.path);
}
