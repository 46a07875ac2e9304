/* SPDX-License-Identifier: Apache-2.0 */
/* Guest: arguments, environment, order of ends, exit code (the first argument). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void last(void)
{
    puts("registered first, called last");
}

static void first(void)
{
    puts("registered last, called first");
}

__attribute__((constructor)) static void before(void)
{
    puts("before main");
}

__attribute__((destructor)) static void after(void)
{
    puts("after everything");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    atexit(last);
    atexit(first);
    printf("%d arguments\n", argc - 1);
    for (int i = 1; i < argc; i++)
        printf("[%s] %zu\n", argv[i], strlen(argv[i]));
    size_t count = 0;
    while (environ != NULL && environ[count] != NULL)
        count++;
    if (environ != NULL)
        qsort(environ, count, sizeof(environ[0]), by_text);
    for (size_t i = 0; i < count; i++)
        if (strncmp(environ[i], "INTEROP_", 8) == 0) /* the native twin has others */
            puts(environ[i]);
    printf("none: %s\n", getenv("INTEROP_NONE") == NULL ? "none" : "SOME");
    setenv("INTEROP_SET", "by itself", 1);
    unsetenv("INTEROP_A");
    printf("%s %s\n", getenv("INTEROP_SET"), getenv("INTEROP_A") == NULL ? "unset" : "SET");
    fputs("to standard error\n", stderr);
    exit(argc > 1 ? atoi(argv[1]) : 0);
}
