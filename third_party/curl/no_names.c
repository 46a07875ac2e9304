/* SPDX-License-Identifier: Apache-2.0 */
/* What Ambit's libcurl calls for getaddrinfo(): names are resolved, checked and pinned before curl
 * hears of them, so one that reaches this is a name that nobody allowed. */
#include <netdb.h>
#include <stddef.h>

int ambit_curl_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                           struct addrinfo **result)
{
    (void)node;
    (void)service;
    (void)hints;
    *result = NULL;
    return EAI_FAIL;
}
