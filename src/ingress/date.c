/* SPDX-License-Identifier: Apache-2.0 */
/* The Date field (RFC 9110, 5.6.7), made once a second. libc's calendar reads files: not in a jail. */
#include <stdio.h>

#include "ingress/internal.h"

const char *ingress_date(struct ingress *i)
{
    static const char days[] = "ThuFriSatSunMonTueWed",
                      months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    uint64_t second = (uint64_t)clock_real_ns() / NS_PER_S;
    if (second == i->date_second && i->date[0] != '\0')
        return i->date;
    i->date_second = second;
    /* Days since 1970 to a date, by eras of 400 years that begin in March. */
    uint64_t day = second / 86400, of_day = second % 86400;
    uint64_t shifted = day + 719468, era = shifted / 146097, of_era = shifted % 146097;
    uint64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    uint64_t month = (5 * of_year + 2) / 153, date = of_year - (153 * month + 2) / 5 + 1;
    month = month < 10 ? month + 2 : month - 10; /* from 0, January */
    year += era * 400 + (month < 2);
    (void)snprintf(i->date, sizeof i->date, "%.3s, %02u %.3s %04u %02u:%02u:%02u GMT",
                   days + 3 * (day % 7), (unsigned)date % 100, months + 3 * month,
                   (unsigned)year % 10000, (unsigned)(of_day / 3600), (unsigned)(of_day / 60 % 60),
                   (unsigned)(of_day % 60));
    return i->date;
}
