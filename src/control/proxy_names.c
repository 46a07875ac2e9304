/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a proxy makes up for one launch: the token that its clients show, and a placeholder for each secret, which a
 * native client is given in place of the value and egress replaces where the grant says so.
 *
 * Placeholders are of one length whatever the secret's name, so that they tell nothing of the value's. The name in it
 * is for people; what makes it one of ours is the nonce (at least 160 bits).
 */
#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "base/encode.h"
#include "base/mem.h"
#include "control/proxy_parts.h"

#define PREFIX "AMBIT_SECRET_"
_Static_assert(PROXY_PLACEHOLDER_SIZE >= sizeof PREFIX + SECRET_NAME_MAX + 40,
               "a nonce has at least 160 bits");

static int make_token(struct proxy *p, struct error *e)
{
    uint8_t bits[32];
    CLEANUP(buf_done) struct buf text = BUF_INIT(PROXY_TOKEN_SIZE);
    text.wipes = true;
    if (random_bytes(bits, sizeof bits) < 0)
        return error_set(e, -EIO, "no random bytes for the token");
    base64url_put(&text, bits, sizeof bits);
    mem_wipe(bits, sizeof bits);
    if (buf_status(&text) < 0)
        return error_set(e, -ENOMEM, "no memory for the token");
    ASSERT(text.size == PROXY_TOKEN_SIZE - 1);
    memcpy(p->token, text.data, text.size);
    p->token[text.size] = '\0';
    return 0;
}

static int make_placeholder(struct proxy_secret *s, struct error *e)
{
    uint8_t bits[PROXY_PLACEHOLDER_SIZE / 2 + 1];
    CLEANUP(buf_done) struct buf text = BUF_INIT(2 * PROXY_PLACEHOLDER_SIZE);
    if (random_bytes(bits, sizeof bits) < 0)
        return error_set(e, -EIO, "no random bytes for a placeholder");
    buf_printf(&text, PREFIX "%s_", s->name);
    for (size_t i = 0; text.size < PROXY_PLACEHOLDER_SIZE; i++)
        buf_putc(&text, "0123456789abcdef"[bits[i / 2] >> (i % 2 ? 0 : 4) & 15]);
    s->placeholder = buf_take(&text);
    return s->placeholder ? 0 : error_set(e, -ENOMEM, "no memory for a placeholder");
}

/* github-token → AMBIT_SECRET_GITHUB_TOKEN; two names that come to one variable differ in a number. */
static int name_variable(struct proxy *p, size_t index, struct error *e)
{
    struct proxy_secret *s = &p->secrets[index];
    CLEANUP(mem_freep) char *base = mem_printf(PREFIX "%s", s->name);
    if (!base)
        return error_set(e, -ENOMEM, "no memory for a variable");
    for (char *at = base; *at; at++) {
        if (*at >= 'a' && *at <= 'z')
            *at = (char)(*at - 'a' + 'A');
        else if (*at == '-' || *at == '.')
            *at = '_';
    }
    for (size_t n = 1; !s->variable; n++) {
        CLEANUP(mem_freep) char *name = n == 1 ? mem_strdup(base) : mem_printf("%s_%zu", base, n);
        bool taken = false;
        if (!name)
            return error_set(e, -ENOMEM, "no memory for a variable");
        for (size_t i = 0; i < index; i++)
            taken = taken || strcmp(p->secrets[i].variable, name) == 0;
        if (!taken)
            s->variable = TAKE(name);
    }
    return 0;
}

static int put_placeholders(struct proxy *p, struct error *e)
{
    CLEANUP(json_freep) json_t *all = json_object();
    CLEANUP(buf_done) struct buf text = BUF_INIT(1u << 20);
    for (size_t i = 0; i < p->secret_count; i++)
        if (json_object_set_new(all, p->secrets[i].name, json_string(p->secrets[i].placeholder)) <
            0)
            return error_set(e, -ENOMEM, "no memory for the placeholders");
    if (p->secret_count > 0 && json_canonical(all, &text) < 0)
        return error_set(e, -ENOMEM, "no memory for the placeholders");
    char *json = mem_strdup(buf_cstr(&text));
    if (!json)
        return error_set(e, -ENOMEM, "no memory for the placeholders");
    mem_free(p->placeholders);
    p->placeholders = json;
    return 0;
}

bool proxy_knows_secret(const struct proxy *p, const char *name)
{
    for (size_t i = 0; i < p->secret_count; i++)
        if (strcmp(p->secrets[i].name, name) == 0)
            return true;
    return false;
}

static void secret_done(struct proxy_secret *s)
{
    mem_free(s->name);
    mem_free(s->variable);
    mem_free(s->placeholder);
}

static int add_secret(struct proxy *p, const char *name, struct error *e)
{
    struct proxy_secret *all = mem_grow(p->secrets, p->secret_count + 1, sizeof(*all));
    if (!all)
        return error_set(e, -ENOMEM, "no memory for the placeholders");
    p->secrets = all;
    if (p->secret_count == EGRESS_PLACEHOLDERS_MAX) {
        error_set(e, -E2BIG, "a proxy has placeholders for %u secrets, and there would be more",
                  EGRESS_PLACEHOLDERS_MAX);
        error_hint(e, "start it again with fewer, or another one beside it");
        return -E2BIG;
    }
    struct proxy_secret *s = &all[p->secret_count];
    *s = (struct proxy_secret){ .name = mem_strdup(name) };
    int status = s->name ? make_placeholder(s, e) : error_set(e, -ENOMEM, "no memory for a name");
    if (status == 0)
        status = name_variable(p, p->secret_count, e);
    if (status < 0)
        secret_done(s);
    else
        p->secret_count++;
    return status;
}

void proxy_names_cut(struct proxy *p, size_t count)
{
    while (p->secret_count > count)
        secret_done(&p->secrets[--p->secret_count]);
}

int proxy_more_names(struct proxy *p, const struct grant_set *s, struct error *e)
{
    char **names = NULL;
    size_t count = 0, before = p->secret_count;
    int status = grant_set_secrets(s, &names, &count, e);
    for (size_t i = 0; i < count; i++) {
        if (status == 0 && !proxy_knows_secret(p, names[i]))
            status = add_secret(p, names[i], e);
        mem_free(names[i]);
    }
    mem_free(names);
    if (status == 0)
        status = put_placeholders(p, e);
    if (status < 0)
        proxy_names_cut(p, before);
    return status;
}

int proxy_make_names(struct proxy *p, struct error *e)
{
    int status = make_token(p, e);
    return status == 0 ? proxy_more_names(p, p->run.request->grants, e) : status;
}

void proxy_names_done(struct proxy *p)
{
    proxy_names_cut(p, 0);
    mem_free(p->secrets);
    mem_free(p->placeholders);
    mem_wipe(p->token, sizeof p->token);
}
