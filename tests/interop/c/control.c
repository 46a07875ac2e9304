/* SPDX-License-Identifier: Apache-2.0 */
/* Guest of the negative controls: built three times with one difference each, which the comparison must notice. */
#include <stdio.h>

int main(void)
{
    FILE *f = fopen("out.txt", "w");
    if (f == NULL)
        return 9;
    fputs("a file", f);
#ifdef DIFFERENT_FILE
    fputs(".", f);
#endif
    fclose(f);
    puts("a line");
#ifdef DIFFERENT_OUTPUT
    puts("");
#endif
#ifdef DIFFERENT_CODE
    return 4;
#else
    return 3;
#endif
}
