/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client sends in a tunnel of `ambit proxy`, from its first byte: is it TLS, which host does it
 * name, and then OpenSSL's own reading of it. Laws: how the bytes are cut into reads changes no
 * verdict; a hello that two hosts take names none, so every host takes it.
 *
 * The first byte of the input picks the cut.
 */
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "ingress/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (64u << 10) /* fits a socket */

static struct ingress room;
static struct leaf leaf;

static void set_up(void)
{
    if (leaf.key != NULL)
        return;
    (void)signal(SIGPIPE, SIG_IGN);
    leaf.key = EVP_EC_gen("P-256");
    leaf.certificate = X509_new();
    ASSERT(leaf.key != NULL && leaf.certificate != NULL);
    ASSERT(X509_gmtime_adj(X509_getm_notBefore(leaf.certificate), -60) != NULL);
    ASSERT(X509_gmtime_adj(X509_getm_notAfter(leaf.certificate), 86400) != NULL);
    ASSERT(X509_set_pubkey(leaf.certificate, leaf.key) == 1);
    ASSERT(X509_sign(leaf.certificate, leaf.key, EVP_sha256()) > 0);
}

struct verdict {
    bool failed, answered; /* with a ServerHello */
    enum tls_fault fault;
};

static struct verdict play(const char *host, struct bytes input, size_t ahead)
{
    struct front *f = mem_zalloc(sizeof *f + strlen(host) + 1);
    struct conn c = { .i = &room, .front = f, .readable = true, .writable = true };
    struct verdict v = { 0 };
    int ends[2];
    uint8_t answer[6];
    ASSERT(f != NULL && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    memcpy(f->host, host, strlen(host));
    f->port = 443;
    c.fd = ends[0];
    ASSERT(tls_begin_front(&c, &leaf, (struct bytes){ input.data, ahead }) == 0);
    if (ahead < input.size)
        (void)tls_protocol(&c);
    if (!c.failed) {
        ASSERT(ahead == input.size || write(ends[1], input.data + ahead, input.size - ahead) ==
                                          (ssize_t)(input.size - ahead));
        (void)tls_protocol(&c);
    }
    v.failed = c.failed;
    v.fault = tls_fault(&c);
    v.answered = read(ends[1], answer, sizeof answer) == sizeof answer && answer[0] == 22;
    ASSERT(!v.answered || v.fault == TLS_NO_FAULT);
    tls_free(c.tls);
    close(ends[0]);
    close(ends[1]);
    mem_free(f);
    return v;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error e = ERROR_INIT;
    if (size < 1 || size > INPUT_MAX)
        return 0;
    set_up();
    ASSERT(tls_room_new_front(&room.tls, &e) == 0);
    struct bytes input = { data + 1, size - 1 };
    struct verdict whole = play("a.example", input, input.size);
    struct verdict cut = play("a.example", input, MIN((size_t)data[0], input.size));
    ASSERT(whole.failed == cut.failed && whole.fault == cut.fault &&
           whole.answered == cut.answered);
    struct verdict b = play("b.example", input, input.size);
    struct verdict c = play("c.example", input, input.size);
    ASSERT(whole.answered + b.answered + c.answered != 2);
    tls_room_free(TAKE(room.tls));
    return 0;
}
