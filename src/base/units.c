/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizes, durations and timestamps: read strictly, printed exactly. Law: parse(put(x)) == x for
 * every x; for every text that parses, put gives the shortest text with the same value.
 */
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit size_units[] = {
    { "TiB", UINT64_C(1) << 40 },
    { "GiB", UINT64_C(1) << 30 },
    { "MiB", UINT64_C(1) << 20 },
    { "KiB", UINT64_C(1) << 10 },
    { "", 1 },
};
static const struct unit duration_units[] = {
    { "d", 86400 * NS_PER_S },
    { "h", 3600 * NS_PER_S },
    { "m", 60 * NS_PER_S },
    { "s", NS_PER_S },
    { "ms", NS_PER_MS },
    { "us", 1000 },
    { "ns", 1 },
};

/* Digits, then one of the units. `ret_suffix` is set even when this fails, to hint with. */
static int parse_quantity(const char *text, const struct unit *units, size_t count, uint64_t *ret,
                          const char **ret_suffix)
{
    uint64_t value = 0;
    const char *at = text;
    bool overflow = false;
    for (; *at >= '0' && *at <= '9'; at++)
        overflow |= __builtin_mul_overflow(value, 10, &value) ||
                    __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value);
    *ret_suffix = at;
    if (at == text)
        return -EINVAL;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(at, units[i].name) != 0)
            continue;
        if (overflow || __builtin_mul_overflow(value, units[i].factor, &value))
            return -ERANGE;
        *ret = value;
        return 0;
    }
    return -EINVAL;
}

int text_parse_size(const char *text, uint64_t *ret_bytes, struct error *e)
{
    const char *suffix;
    int result = parse_quantity(text, size_units, ARRAY_SIZE(size_units), ret_bytes, &suffix);
    if (result == -ERANGE)
        return error_set(e, result, "the size \"%s\" is too large", text);
    if (result < 0) {
        static const char *const decimal[] = {
            "k", "K", "kB", "KB", "M", "MB", "G", "GB", "T", "TB"
        };
        error_hint(e, "write a number of bytes, or KiB, MiB, GiB, TiB: 64MiB");
        for (size_t i = 0; i < ARRAY_SIZE(decimal) && suffix != text; i++)
            if (strcmp(suffix, decimal[i]) == 0)
                error_hint(e, "sizes are powers of 1024: write %ciB, not %s",
                           decimal[i][0] == 'k' ? 'K' : decimal[i][0], decimal[i]);
        return error_set(e, result, "\"%s\" is not a size", text);
    }
    return 0;
}

int text_parse_duration(const char *text, uint64_t *ret_ns, struct error *e)
{
    const char *suffix;
    int result = parse_quantity(text, duration_units, ARRAY_SIZE(duration_units), ret_ns, &suffix);
    if (result == -ERANGE)
        return error_set(e, result, "the duration \"%s\" is too long", text);
    if (result < 0) {
        error_hint(e, "write a number with ms, s, m, h or d: 30s");
        return error_set(e, result, "\"%s\" is not a duration", text);
    }
    return 0;
}

static void put_quantity(struct buf *out, uint64_t value, const struct unit *units, size_t count)
{
    size_t i = 0;
    while (i + 1 < count && (value == 0 || value % units[i].factor != 0))
        i++;
    buf_printf(out, "%llu%s", (unsigned long long)(value / units[i].factor), units[i].name);
}

void text_put_size(struct buf *out, uint64_t bytes)
{
    put_quantity(out, bytes, size_units, ARRAY_SIZE(size_units));
}

void text_put_duration(struct buf *out, uint64_t ns)
{
    if (ns == 0)
        buf_puts(out, "0s");
    else
        put_quantity(out, ns, duration_units, ARRAY_SIZE(duration_units));
}

void text_put_size_human(struct buf *out, uint64_t bytes)
{
    static const char *const names[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    size_t unit = 0;
    uint64_t whole = bytes, rest = 0;
    for (; whole >= 1024; unit++) {
        rest = whole % 1024;
        whole /= 1024;
    }
    uint64_t tenth = rest * 10 / 1024;
    if (unit == 0 || whole >= 100 || tenth == 0)
        buf_printf(out, "%llu %s", (unsigned long long)whole, names[unit]);
    else
        buf_printf(out, "%llu.%llu %s", (unsigned long long)whole, (unsigned long long)tenth,
                   names[unit]);
}

void text_put_duration_human(struct buf *out, uint64_t ns)
{
    static const struct unit units[] = {
        { "d", 86400 * NS_PER_S },
        { "h", 3600 * NS_PER_S },
        { "min", 60 * NS_PER_S },
        { "s", NS_PER_S },
        { "ms", NS_PER_MS },
        { "µs", 1000 },
        { "ns", 1 },
    };
    size_t i = 0;
    while (i + 1 < ARRAY_SIZE(units) && ns < units[i].factor)
        i++;
    uint64_t whole = ns / units[i].factor;
    uint64_t tenth = ns % units[i].factor / (units[i].factor >= 10 ? units[i].factor / 10 : 1);
    if (whole >= 10 || tenth == 0 || units[i].factor == 1)
        buf_printf(out, "%llu %s", (unsigned long long)whole, units[i].name);
    else
        buf_printf(out, "%llu.%llu %s", (unsigned long long)whole, (unsigned long long)tenth,
                   units[i].name);
}

/* Days since 1970-01-01 of a date of the proleptic Gregorian calendar, and back. The year is made
 * to begin in March, so that the leap day is its last (Hinnant, "chrono-compatible low-level date
 * algorithms"). */
static int64_t days_of_date(int64_t year, unsigned month, unsigned day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    unsigned year_of_era = (unsigned)(year - era * 400);
    unsigned day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    unsigned day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + (int64_t)day_of_era - 719468;
}

static void date_of_days(int64_t days, int64_t *ret_year, unsigned *ret_month, unsigned *ret_day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    unsigned day_of_era = (unsigned)(days - era * 146097);
    unsigned year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned march_month = (5 * day_of_year + 2) / 153;
    *ret_day = day_of_year - (153 * march_month + 2) / 5 + 1;
    *ret_month = march_month < 10 ? march_month + 3 : march_month - 9;
    *ret_year = (int64_t)year_of_era + era * 400 + (*ret_month <= 2);
}

static unsigned month_days(int64_t year, unsigned month)
{
    static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

/* Exactly `count` digits, then `after` (0 = whatever), moving `at`. */
static bool take_digits(const char **at, unsigned count, char after, unsigned *ret)
{
    unsigned value = 0;
    for (unsigned i = 0; i < count; i++, (*at)++) {
        if (**at < '0' || **at > '9')
            return false;
        value = value * 10 + (unsigned)(**at - '0');
    }
    *ret = value;
    if (!after)
        return true;
    return *(*at)++ == after;
}

static bool take_fraction(const char **at, int64_t *ret_ns)
{
    *ret_ns = 0;
    if (**at != '.')
        return true;
    (*at)++;
    int64_t scale = (int64_t)NS_PER_S / 10;
    const char *first = *at;
    for (; **at >= '0' && **at <= '9'; (*at)++) {
        if (scale == 0)
            return false;
        *ret_ns += (**at - '0') * scale;
        scale /= 10;
    }
    return *at > first;
}

static bool take_zone(const char **at, int64_t *ret_seconds)
{
    *ret_seconds = 0;
    if (**at == 'Z') {
        (*at)++;
        return true;
    }
    if (**at != '+' && **at != '-')
        return false;
    int sign = *(*at)++ == '-' ? -1 : 1;
    unsigned hours, minutes;
    if (!take_digits(at, 2, ':', &hours) || !take_digits(at, 2, 0, &minutes) || hours > 23 ||
        minutes > 59)
        return false;
    *ret_seconds = sign * (int64_t)(hours * 3600 + minutes * 60);
    return true;
}

/* RFC 3339 section 5.6, upper-case T and Z, at most nine digits of fraction, no leap second. */
static bool parse_timestamp(const char *at, int64_t *ret_ns)
{
    unsigned year, month, day, hour, minute, second;
    int64_t fraction, zone, ns;
    if (!take_digits(&at, 4, '-', &year) || !take_digits(&at, 2, '-', &month) ||
        !take_digits(&at, 2, 'T', &day) || !take_digits(&at, 2, ':', &hour) ||
        !take_digits(&at, 2, ':', &minute) || !take_digits(&at, 2, 0, &second) ||
        !take_fraction(&at, &fraction) || !take_zone(&at, &zone) || *at != '\0')
        return false;
    if (month < 1 || month > 12 || day < 1 || day > month_days(year, month) || hour > 23 ||
        minute > 59 || second > 59)
        return false;
    int64_t seconds = days_of_date(year, month, day) * 86400 +
                      (int64_t)(hour * 3600 + minute * 60 + second) - zone;
    /* A negative second's product may pass the minimum although the fraction brings it back. */
    __int128 wide = (__int128)seconds * (int64_t)NS_PER_S + fraction;
    ns = (int64_t)wide;
    if (ns != wide)
        return false;
    *ret_ns = ns;
    return true;
}

int text_parse_timestamp(const char *text, int64_t *ret_ns, struct error *e)
{
    if (parse_timestamp(text, ret_ns))
        return 0;
    error_hint(e, "write it with seconds and a zone: 2026-01-01T00:00:00Z");
    return error_set(e, -EINVAL, "\"%s\" is not a point in time between 1677 and 2262", text);
}

void text_put_timestamp(struct buf *out, int64_t ns)
{
    int64_t second = ns / (int64_t)NS_PER_S, fraction = ns % (int64_t)NS_PER_S;
    if (fraction < 0) {
        fraction += (int64_t)NS_PER_S;
        second--;
    }
    int64_t days = second / 86400, rest = second % 86400;
    if (rest < 0) {
        rest += 86400;
        days--;
    }
    int64_t year;
    unsigned month, day;
    date_of_days(days, &year, &month, &day);
    buf_printf(out, "%04d-%02u-%02uT%02u:%02u:%02u", (int)year, month, day, (unsigned)(rest / 3600),
               (unsigned)(rest / 60 % 60), (unsigned)(rest % 60));
    if (fraction) {
        int digits = 9;
        for (; fraction % 10 == 0; fraction /= 10)
            digits--;
        buf_printf(out, ".%0*lld", digits, (long long)fraction);
    }
    buf_putc(out, 'Z');
}
