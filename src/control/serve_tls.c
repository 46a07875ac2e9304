/* SPDX-License-Identifier: Apache-2.0 */
/* Certificate and key of `ambit serve`, which its rooms can open none of. */
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "control/serve_parts.h"

static int read_pem(const char *flag, const char *name, char **ret, struct error *e)
{
    CLEANUP(buf_done) struct buf text = BUF_INIT(INGRESS_TLS_MAX);
    int status = file_read(name, &text, e);
    if (status == 0 && memchr(text.data, '\0', text.size) == NULL &&
        strstr(buf_cstr(&text), "-----BEGIN ") != NULL) {
        *ret = mem_strdup(buf_cstr(&text));
        if (*ret == NULL)
            status = error_set(e, -ENOMEM, "no memory for %s", flag);
    } else if (status == 0) {
        error_hint(
            e,
            "a PEM file begins with -----BEGIN; DER becomes one with openssl x509 or openssl pkey");
        status = error_set(e, -EINVAL, "%s %s is not a PEM file", flag, name);
    }
    if (text.data != NULL)
        mem_wipe(text.data, text.capacity);
    return status;
}

int serve_read_tls(struct serve *s, struct error *e)
{
    const struct serve_request *q = s->request;
    if (q->tls_certificate == NULL && q->tls_key == NULL)
        return 0;
    if (q->tls_certificate == NULL || q->tls_key == NULL) {
        error_set(e, -EINVAL, "--tls-%s is missing: a certificate and its key go together",
                  q->tls_certificate == NULL ? "cert" : "key");
        error_hint(e, "--tls-cert FILE --tls-key FILE, both PEM");
        return -EINVAL;
    }
    int status = read_pem("--tls-cert", q->tls_certificate, &s->certificate, e);
    return status < 0 ? status : read_pem("--tls-key", q->tls_key, &s->key, e);
}
