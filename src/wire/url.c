/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The canonical destination. Three steps that know nothing of each other: a host, an authority
 * (host and port), a target (path and query). Nothing is repaired: what has one meaning gets one
 * spelling, everything else is an error that says which byte or rule it was.
 *
 * Laws, held by tests and fuzz_url: what was printed is read again as the same; making canonical
 * twice changes nothing; the host that comes out holds only letters, digits, `-`, `_`, dots, and no
 * last label that a resolver could take for a number, unless it is a literal address.
 *
 * The path is decided on as it is sent, so the danger is a server that reads more into it than we
 * did. check_segment() therefore decodes each segment as often as somebody could and refuses those
 * that ever turn into dots, a backslash or a control character.
 */
#include "wire/url.h"

#include <idn2.h>
#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "base/mem.h"

#define HOST_INPUT_MAX 1024 /* before it is made of A-labels; keeps libidn2's work small */
#define LABEL_MAX 63

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_alpha(uint8_t c)
{
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

/* ---- host ---- */

static bool is_unreserved(uint8_t c)
{
    return is_alpha(c) || is_digit(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

/* Would a resolver read a name with this last label as a number (inet_aton, WHATWG URL)? */
static bool label_is_number(const char *label, size_t size)
{
    bool hex = size >= 2 && label[0] == '0' && label[1] == 'x';
    for (size_t i = hex ? 2 : 0; i < size; i++)
        if (hex ? hex_value((uint8_t)label[i]) < 0 : !is_digit((uint8_t)label[i]))
            return false;
    return true;
}

static int idn_fault(int code, struct error *e)
{
    if (code == IDN2_MALLOC)
        return error_set(e, -ENOMEM, "no memory");
    return error_set(e, -EINVAL, "the host is no internationalised domain name: %s",
                     idn2_strerror(code));
}

static void idn_freep(char **text)
{
    idn2_free(*text);
}

/* An A-label that stands for what it would be made from: else two spellings name one host. */
static int check_a_label(const char *label, size_t size, struct error *e)
{
    char copy[LABEL_MAX + 1];
    memcpy(copy, label, size);
    copy[size] = '\0';
    CLEANUP(idn_freep) char *unicode = NULL;
    CLEANUP(idn_freep) char *again = NULL;
    int code = idn2_to_unicode_8z8z(copy, &unicode, 0);
    if (code == IDN2_OK)
        code = idn2_to_ascii_8z(unicode, &again, IDN2_NONTRANSITIONAL);
    if (code != IDN2_OK)
        return idn_fault(code, e);
    if (strcmp(again, copy) != 0)
        return error_set(e, -EINVAL, "the host's label \"%s\" is not the one spelling of its name",
                         copy);
    return 0;
}

static int check_label(const char *label, size_t size, struct error *e)
{
    if (size == 0 || size > LABEL_MAX)
        return error_set(e, -EINVAL, "a label of the host is empty or longer than 63");
    for (size_t i = 0; i < size; i++) {
        uint8_t c = (uint8_t)label[i];
        if (!is_alpha(c) && !is_digit(c) && c != '-' && c != '_')
            return error_set(e, -EINVAL, "the host holds the character 0x%02x", c);
    }
    if (label[0] == '-' || label[size - 1] == '-')
        return error_set(e, -EINVAL, "a label of the host begins or ends with a hyphen");
    if (size >= 4 && memcmp(label, "xn--", 4) == 0)
        return check_a_label(label, size, e);
    return 0;
}

/* A name in lower case, without its trailing dot. */
static int check_name(const char *name, bool wildcard, struct error *e)
{
    size_t size = strlen(name);
    if (size == 0 || size >= URL_HOST_MAX)
        return error_set(e, -EINVAL, "the host is empty or longer than 253");
    if (wildcard && strncmp(name, "*.", 2) == 0)
        name += 2;
    for (;;) {
        const char *dot = strchr(name, '.');
        size_t label = dot ? (size_t)(dot - name) : strlen(name);
        int result = check_label(name, label, e);
        if (result < 0)
            return result;
        if (!dot)
            return label_is_number(name, label)
                       ? error_set(e, -EINVAL,
                                   "the host looks like a number; an address is four numbers "
                                   "from 0 to 255, or in brackets")
                       : 0;
        name = dot + 1;
    }
}

static int literal_v6(struct bytes host, char *ret, struct address *ret_address, struct error *e)
{
    struct bytes inside = { host.data + 1, host.size - 2 };
    struct address a;
    if (host.data[host.size - 1] != ']' || address_parse(inside, &a) < 0 || !a.is_v6)
        return error_set(e, -EINVAL, "the host in brackets is not an IPv6 address");
    CLEANUP(buf_done) struct buf text = BUF_INIT(URL_HOST_MAX - 1);
    address_print(&a, &text);
    int result = buf_status(&text);
    if (result < 0)
        return error_set(e, result, "no memory");
    memcpy(ret, text.data, text.size + 1);
    *ret_address = a;
    return 0;
}

/* The host in lower case and A-labels, without a trailing dot; `ascii` is the caller's to free. */
static int to_ascii(struct bytes host, char **ascii, struct error *e)
{
    char copy[HOST_INPUT_MAX + 1];
    bool plain = true;
    if (host.size > HOST_INPUT_MAX)
        return error_set(e, -EINVAL, "the host is empty or longer than 253");
    for (size_t i = 0; i < host.size; i++) {
        uint8_t c = host.data[i];
        if (c <= 0x20 || c == 0x7f)
            return error_set(e, -EINVAL, "the host holds the character 0x%02x", c);
        plain = plain && c < 0x80;
        copy[i] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    }
    copy[host.size] = '\0';
    size_t size = host.size;
    if (!plain) {
        int code = idn2_to_ascii_8z(copy, ascii, IDN2_NONTRANSITIONAL);
        if (code != IDN2_OK)
            return idn_fault(code, e);
        size = strlen(*ascii);
        if (size > HOST_INPUT_MAX)
            return error_set(e, -EINVAL, "the host is empty or longer than 253");
        memcpy(copy, *ascii, size + 1);
        idn2_free(*ascii);
        *ascii = NULL;
        /* Full-width letters and dots, characters that vanish: nobody's spelling of a plain name. */
        if (!strstr(copy, "xn--"))
            return error_set(e, -EINVAL, "the host spells a plain name with other characters");
    }
    if (size > 1 && copy[size - 1] == '.')
        copy[--size] = '\0';
    *ascii = mem_strdup(copy);
    return *ascii ? 0 : error_set(e, -ENOMEM, "no memory");
}

int url_host_canonical(struct bytes host, bool wildcard, char ret[static URL_HOST_MAX],
                       bool *ret_is_address, struct address *ret_address, struct error *e)
{
    *ret_is_address = false;
    if (host.size >= 2 && host.data[0] == '[') {
        int result = literal_v6(host, ret, ret_address, e);
        *ret_is_address = result == 0;
        return result;
    }
    struct address a;
    if (address_parse(host, &a) == 0 && !a.is_v6) {
        memcpy(ret, host.data, host.size);
        ret[host.size] = '\0';
        *ret_address = a;
        *ret_is_address = true;
        return 0;
    }
    CLEANUP(mem_freep) char *name = NULL;
    int result = to_ascii(host, &name, e);
    if (result == 0)
        result = check_name(name, wildcard, e);
    if (result == 0)
        memcpy(ret, name, strlen(name) + 1);
    return result;
}

/* ---- authority ---- */

static int port_of(struct bytes digits, uint16_t *ret, struct error *e)
{
    uint32_t value = 0;
    bool good = digits.size >= 1 && digits.size <= 5 && digits.data[0] != '0';
    for (size_t i = 0; good && i < digits.size; i++) {
        good = is_digit(digits.data[i]);
        value = value * 10 + digits.data[i] - '0';
    }
    if (!good || value > UINT16_MAX)
        return error_set(e, -EINVAL, "a port is a number from 1 to 65535");
    *ret = (uint16_t)value;
    return 0;
}

static int set_authority(struct url *u, struct bytes authority, struct error *e)
{
    if (authority.size == 0)
        return error_set(e, -EINVAL, "there is no host");
    if (memchr(authority.data, '@', authority.size))
        return error_set(e, -EINVAL, "a user name before the host is not allowed");
    /* The colon of a port stands after the brackets, and a name has no other. */
    const uint8_t *end = authority.data + authority.size, *after = authority.data;
    if (authority.data[0] == '[' && !(after = memchr(after, ']', authority.size)))
        return error_set(e, -EINVAL, "the host in brackets is not an IPv6 address");
    const uint8_t *colon = memchr(after, ':', (size_t)(end - after));
    struct bytes host = { authority.data, (size_t)((colon ? colon : end) - authority.data) };
    int result = url_host_canonical(host, false, u->host, &u->is_address, &u->address, e);
    u->port = u->https ? 443 : 80;
    if (result == 0 && colon)
        result = port_of((struct bytes){ colon + 1, (size_t)(end - colon - 1) }, &u->port, e);
    return result;
}

/* ---- target ---- */

static bool path_allows(uint8_t c)
{
    return is_unreserved(c) || (c != '\0' && strchr("!$&'()*+,;=:@/", c));
}

/* RFC 3986, and what the URL Standard leaves as it is in a query: everybody reads it alike. */
static bool query_allows(uint8_t c)
{
    return path_allows(c) || (c != '\0' && strchr("?[]{}|^`", c));
}

/* Appends `text` with its escapes in their one spelling. */
static int put_escaped(struct buf *out, struct bytes text, bool (*allows)(uint8_t), struct error *e)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (c != '%') {
            if (!allows(c))
                return error_set(e, -EINVAL, "the %s holds the character 0x%02x, unescaped",
                                 allows == path_allows ? "path" : "query", c);
            buf_putc(out, (char)c);
            continue;
        }
        int high = i + 2 < text.size ? hex_value(text.data[i + 1]) : -1;
        int low = i + 2 < text.size ? hex_value(text.data[i + 2]) : -1;
        if (high < 0 || low < 0)
            return error_set(e, -EINVAL, "a %% that no two hexadecimal digits follow");
        c = (uint8_t)(high << 4 | low);
        if (is_unreserved(c))
            buf_putc(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
        i += 2;
    }
    return 0;
}

/* Decodes every escape once, in place; gives the new size. */
static size_t decode(uint8_t *text, size_t size)
{
    size_t to = 0;
    for (size_t i = 0; i < size; i++) {
        int high = text[i] == '%' && i + 2 < size ? hex_value(text[i + 1]) : -1;
        int low = high >= 0 ? hex_value(text[i + 2]) : -1;
        text[to++] = low >= 0 ? (uint8_t)(high << 4 | low) : text[i];
        i += low >= 0 ? 2 : 0;
    }
    return to;
}

/* "." or "..", alone or before what servers cut off: parameters (;…), spaces. */
static bool is_dots(const uint8_t *piece, size_t size)
{
    size_t dots = 0;
    while (dots < size && dots < 3 && piece[dots] == '.')
        dots++;
    return (dots == 1 || dots == 2) && (dots == size || piece[dots] == ';' || piece[dots] <= ' ');
}

/* UTF-8 that takes more bytes than it needs, at `p`: decoders that take it read ASCII there. */
static bool is_overlong(const uint8_t *p, size_t size)
{
    if (size < 2 || (p[1] & 0xc0) != 0x80)
        return false;
    return p[0] == 0xc0 || p[0] == 0xc1 || (p[0] == 0xe0 && p[1] < 0xa0) ||
           (p[0] == 0xf0 && p[1] < 0x90);
}

static const char *decoded_fault(const uint8_t *text, size_t size)
{
    size_t start = 0;
    for (size_t i = 0; i <= size; i++) {
        if (i == size || text[i] == '/') {
            if (is_dots(text + start, i - start))
                return "a segment of the path could be decoded to dots";
            start = i + 1;
        } else if (text[i] == '\\') {
            return "a segment of the path could be decoded to a backslash";
        } else if (text[i] < ' ' || text[i] == 0x7f) {
            return "a segment of the path could be decoded to a control character";
        } else if (is_overlong(text + i, size - i)) {
            return "a segment of the path holds overlong UTF-8";
        }
    }
    return NULL;
}

/* Plain dot segments are not for here: they are removed, not refused. `scratch` holds the segment
 * and is destroyed. Each round but the last shortens it, by a layer of escapes of at most a third of
 * its bytes, so the rounds are few; a segment that needs more than ROUNDS is nobody's. */
#define ROUNDS 8
static int check_segment(uint8_t *scratch, size_t size, struct error *e)
{
    for (int round = 0; round < ROUNDS; round++) {
        size_t decoded = decode(scratch, size);
        const char *fault = decoded_fault(scratch, decoded);
        if (fault)
            return error_set(e, -EINVAL, "%s", fault);
        if (decoded == size)
            return 0;
        size = decoded;
    }
    return error_set(e, -EINVAL, "a segment of the path is escaped again and again");
}

/* RFC 3986 5.2.4 over `path` (it begins with "/"), in place, one segment after the other. */
static int remove_dots(uint8_t *path, size_t size, size_t *ret_size, struct error *e)
{
    size_t to = 0;
    for (size_t at = 0; at < size;) {
        const uint8_t *segment = path + at + 1, *slash = memchr(segment, '/', size - at - 1);
        size_t length = slash ? (size_t)(slash - segment) : size - at - 1;
        bool up = length == 2 && memcmp(segment, "..", 2) == 0;
        if (up || (length == 1 && segment[0] == '.')) {
            if (up && to == 0)
                return error_set(e, -EINVAL, "the path leaves its root by \"..\"");
            while (up && path[--to] != '/')
                ;
            if (!slash)
                path[to++] = '/';
        } else {
            memmove(path + to, path + at, length + 1);
            to += length + 1;
        }
        at += length + 1;
    }
    *ret_size = to;
    return 0;
}

/* Every segment of `path` that holds an escape or a parameter. */
static int check_segments(const uint8_t *path, size_t size, struct error *e)
{
    CLEANUP(buf_done) struct buf scratch = BUF_INIT(URL_TARGET_MAX);
    for (size_t at = 1; at <= size;) {
        const uint8_t *slash = at < size ? memchr(path + at, '/', size - at) : NULL;
        size_t length = slash ? (size_t)(slash - path) - at : size - at;
        if (length && (memchr(path + at, '%', length) || memchr(path + at, ';', length))) {
            buf_clear(&scratch);
            buf_append(&scratch, path + at, length);
            int result = buf_status(&scratch);
            if (result < 0)
                return error_set(e, result, "no memory");
            if ((result = check_segment(scratch.data, length, e)) < 0)
                return result;
        }
        at += length + 1;
    }
    return 0;
}

static int put_path(struct buf *out, struct bytes path, struct error *e)
{
    int result = put_escaped(out, path, path_allows, e);
    if (result == 0 && (result = buf_status(out)) < 0)
        return result;
    if (result == 0)
        result = check_segments(out->data, out->size, e);
    if (result < 0)
        return result;
    result = remove_dots(out->data, out->size, &out->size, e);
    out->data[out->size] = '\0';
    return result;
}

static int set_target(struct url *u, struct bytes target, struct error *e)
{
    const uint8_t *mark = target.size ? memchr(target.data, '?', target.size) : NULL;
    struct bytes path = { target.data, mark ? (size_t)(mark - target.data) : target.size };
    u->has_query = mark != NULL;
    if (path.size == 0) /* RFC 9110 4.2.3: no path is "/" */
        path = bytes_of("/");
    if (path.data[0] != '/')
        return error_set(e, -EINVAL, "the path does not begin with \"/\"");
    if (target.size >= URL_TARGET_MAX)
        return error_set(e, -EINVAL, "path and query are longer than %d", URL_TARGET_MAX);
    int result = put_path(&u->target, path, e);
    if (result == 0) {
        u->path.size = u->target.size;
        if (mark)
            buf_putc(&u->target, '?');
        struct bytes query = { mark ? mark + 1 : NULL,
                               mark ? target.size - (size_t)(mark + 1 - target.data) : 0 };
        result = put_escaped(&u->target, query, query_allows, e);
    }
    if (result == 0 && (result = buf_status(&u->target)) < 0)
        return error_set(e, result, result == -ENOMEM ? "no memory" : "the target is too long");
    if (result < 0)
        return error_set(e, result, "no memory"); /* keeps the text that is set already */
    u->path.data = u->target.data;
    size_t before = u->path.size + u->has_query;
    u->query = (struct bytes){ u->target.data + before, u->target.size - before };
    return 0;
}

/* ---- the whole ---- */

void url_init(struct url *u)
{
    *u = (struct url){ .target = BUF_INIT(URL_TARGET_MAX) };
}

void url_done(struct url *u)
{
    buf_done(&u->target);
    url_init(u);
}

int url_set(struct url *u, bool https, struct bytes authority, struct bytes target, struct error *e)
{
    CLEANUP(url_done) struct url made;
    url_init(&made);
    made.https = https;
    int result = set_authority(&made, authority, e);
    if (result == 0)
        result = set_target(&made, target, e);
    if (result < 0)
        return result;
    url_done(u);
    *u = made;
    url_init(&made);
    return 0;
}

int url_parse(struct url *u, struct bytes text, struct error *e)
{
    static const char *const schemes[] = { "http://", "https://" };
    for (size_t s = 0; s < ARRAY_SIZE(schemes); s++) {
        size_t size = strlen(schemes[s]), i = 0;
        while (i < size && i < text.size &&
               (text.data[i] | (is_alpha(text.data[i]) ? 0x20 : 0)) == (uint8_t)schemes[s][i])
            i++;
        if (i < size)
            continue;
        size_t end = size;
        while (end < text.size && !strchr("/?#", text.data[end]))
            end++;
        if (memchr(text.data, '#', text.size)) /* not empty: it holds the scheme */
            return error_set(e, -EINVAL, "a fragment (#…) is not allowed");
        return url_set(u, s == 1, (struct bytes){ text.data + size, end - size },
                       (struct bytes){ text.data + end, text.size - end }, e);
    }
    return error_set(e, -EINVAL, "not an http:// or https:// URL");
}

void url_authority(const struct url *u, struct buf *out)
{
    bool brackets = u->is_address && u->address.is_v6;
    buf_printf(out, brackets ? "[%s]" : "%s", u->host);
    if (u->port != (u->https ? 443 : 80))
        buf_printf(out, ":%u", u->port);
}

void url_print(const struct url *u, struct buf *out)
{
    buf_puts(out, u->https ? "https://" : "http://");
    url_authority(u, out);
    buf_append(out, u->target.data, u->target.size);
}
