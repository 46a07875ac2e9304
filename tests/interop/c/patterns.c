/* SPDX-License-Identifier: Apache-2.0 */
/* Guest: regular expressions, file name patterns, UTF-8 and wide characters, tokens: what a small grep does, on argv[2] by argv[1]. */
#include <fnmatch.h>
#include <locale.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

int main(int argc, char **argv)
{
    setlocale(LC_ALL, "C.UTF-8");
    if (argc != 3)
        return 2;
    regex_t r;
    if (regcomp(&r, argv[1], REG_EXTENDED | REG_ICASE) != 0)
        return 3;
    FILE *f = fopen(argv[2], "r");
    if (f == NULL)
        return 4;
    char *line = NULL;
    size_t size = 0;
    long number = 0, matched = 0;
    while (getline(&line, &size, f) >= 0) {
        regmatch_t m[3];
        number++;
        if (regexec(&r, line, 3, m, 0) != 0)
            continue;
        matched++;
        printf("%ld:%d-%d %.*s\n", number, (int)m[0].rm_so, (int)m[0].rm_eo, (int)(m[0].rm_eo - m[0].rm_so), line + m[0].rm_so);
    }
    printf("%ld of %ld lines\n", matched, number);
    regfree(&r);
    fclose(f);
    free(line);

    printf("fnmatch %d %d %d\n", fnmatch("*.c", "main.c", 0), fnmatch("*.c", "a/main.c", FNM_PATHNAME) != 0, fnmatch("[a-f]?x", "c9x", 0));
    wchar_t wide[32];
    size_t n = mbstowcs(wide, "Gr\xc3\xbcn \xe2\x82\xac\xf0\x9f\x90\xa7", 32);
    printf("%zu wide:", n);
    for (size_t i = 0; i < n; i++)
        printf(" %x", (unsigned)towupper((wint_t)wide[i]));
    char back[64];
    printf(" %zu\n", wcstombs(back, wide, sizeof(back)));
    printf("%s %ld\n", back, (long)mbstowcs(NULL, "\xff\xfe", 0));
    char text[] = "a,b;;c";
    for (char *save, *t = strtok_r(text, ",;", &save); t != NULL; t = strtok_r(NULL, ",;", &save))
        printf("<%s>", t);
    printf(" %zu %s\n", strcspn("hello world", " "), strstr("find the needle", "need"));
    return matched == 0;
}
