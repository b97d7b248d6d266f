/* engine/compare: medians and deviations are exact, whatever the exponents; ranks put the nearest first and the stale last. */
#include "engine/compare.h"

#include "base/decimal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static kmy_compare_row_t row(const char *price, bool fresh, uint32_t source)
{
    kmy_compare_row_t r = { .fresh = fresh, .source = source, .age_ns = source };
    assert_int_equal(kmy_dec_parse(price, strlen(price), &r.mant, &r.expo), 0);
    return r;
}

/* "a b *c" (a star: stale) -> "median | rank order with deviations". */
static void shown(const char *prices, char *out, size_t cap)
{
    char text[256];
    kmy_compare_row_t rows[KMY_COMPARE_MAX];
    kmy_compare_t c;
    size_t n = 0;
    snprintf(text, sizeof text, "%s", prices);
    for (char *p = strtok(text, " "); p; p = strtok(NULL, " "), n++)
        rows[n] = row(p + (*p == '*'), *p != '*', (uint32_t)n);
    kmy_compare(rows, n, &c);
    char dec[KMY_DEC_BYTES_MAX] = "-";
    char low[KMY_DEC_BYTES_MAX] = "-";
    char high[KMY_DEC_BYTES_MAX] = "-";
    if (c.has_median)
        kmy_dec_format(c.median_mant, c.median_expo, dec);
    if (n > 0) {
        kmy_dec_format(c.low_mant, c.low_expo, low);
        kmy_dec_format(c.high_mant, c.high_expo, high);
    }
    size_t at = (size_t)snprintf(out, cap, "%s %s..%s |", dec, low, high);
    for (size_t i = 0; i < n; i++) {
        char bps[KMY_COMPARE_BPS_BYTES] = "-";
        if (rows[i].has_bps)
            kmy_compare_bps_text(rows[i].cbps, bps);
        at += (size_t)snprintf(out + at, cap - at, " %u:%s", rows[i].source, bps);
    }
}

static void the_sources_stand_by_their_distance_from_the_median(void **state)
{
    (void)state;
    static const struct {
        const char *prices, *want;
    } rows[] = {
        { "", "- -..- |" },
        { "100", "100 100..100 | 0:0.00" },
        { "100 101", "100.5 100..101 | 0:-49.75 1:49.75" }, /* as far: the younger first */
        { "101 100 103", "101 100..103 | 0:0.00 1:-99.01 2:198.02" },
        { "0.1 0.100", "0.1 0.1..0.1 | 0:0.00 1:0.00" },
        { "187.1234 187.12345678901",
          "187.123428394505 187.1234..187.12345678901 | 0:0.00 1:0.00" },
        { "61000 61000.305 60999.695", "61000 60999.695..61000.305 | 0:0.00 1:0.05 2:-0.05" },
        { "1 3 2 10", "2.5 1..10 | 1:2000.00 2:-2000.00 0:-6000.00 3:30000.00" },
        { "100 *50 102",
          "101 100..102 | 0:-99.01 2:99.01 1:-5049.50" },   /* stale: last, and no part of it */
        { "*100 *102", "101 100..102 | 0:-99.01 1:99.01" }, /* all are: then they count */
        { "0 0", "0 0..0 | 0:- 1:-" },
        { "-2 -4", "-3 -4..-2 | 0:3333.33 1:-3333.33" },
        { "1 1 1e30",
          "1 1..1000000000000000000000000000000 | 0:0.00 1:0.00 2:-" }, /* out of all proportion */
        { "9223372036854775807 9223372036854775806",
          "- 9223372036854775806..9223372036854775807 | 0:- 1:-" },
        { "1.00004 1 1", "1 1..1.00004 | 1:0.00 2:0.00 0:0.40" },
        { "1.0000005 1 1", "1 1..1.0000005 | 1:0.00 2:0.00 0:0.01" }, /* half away from zero */
        { "0.9999995 1 1", "1 0.9999995..1 | 1:0.00 2:0.00 0:-0.01" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char got[512];
        shown(rows[i].prices, got, sizeof got);
        if (strcmp(got, rows[i].want) != 0)
            fail_msg("\"%s\": %s, wanted %s", rows[i].prices, got, rows[i].want);
    }
}

static void prices_compare_by_value_and_not_by_spelling(void **state)
{
    (void)state;
    static const struct {
        int64_t a;
        int ae;
        int64_t b;
        int be;
        int want;
    } rows[] = {
        { 1, 0, 1, 0, 0 },
        { 1, 1, 10, 0, 0 },
        { 10, 0, 1, 1, 0 },
        { 1, 2, 99, 0, 1 },
        { 99, 0, 1, 2, -1 },
        { -1, 2, -99, 0, -1 },
        { -1, 64, 1, -64, -1 },
        { 1, 64, -1, -64, 1 },
        { INT64_MAX, -18, 9, 0, 1 },
        { 9, 0, INT64_MAX, -18, -1 },
        { 0, 64, 0, -64, 0 },
        { 0, 5, 1, -64, -1 },
        { INT64_MAX, 64, 1, -64, 1 },
        { INT64_MIN, 64, INT64_MAX, 64, -1 },
        { -1, 0, -1, 1, 1 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(kmy_compare_prices(rows[i].a, rows[i].ae, rows[i].b, rows[i].be),
                         rows[i].want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sources_stand_by_their_distance_from_the_median),
        cmocka_unit_test(prices_compare_by_value_and_not_by_spelling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
