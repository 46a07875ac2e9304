/* SPDX-License-Identifier: Apache-2.0 */
/* Payloads between keeper and its clients, see keeper.h. */
#include "wire/keeper.h"

const char *const secret_source_names[SECRET_SOURCE_COUNT] = { "stored", "file", "environment",
                                                               "command" };
const char *const secret_kind_names[SECRET_KIND_COUNT] = { "plain",        "github-app",
                                                           "oauth-client", "oauth-exchange",
                                                           "aws",          "aws-role" };
