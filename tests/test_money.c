/* base/money: USD at the doors, nano-USD inside, never rounded. */
#include "base/money.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

static const struct {
    const char *text;
    kmy_err_t want;
    int64_t nusd;
} parses[] = {
    { "0", KMY_OK, 0 },
    { "10", KMY_OK, 10 * KMY_NUSD_PER_USD },
    { "0.0001", KMY_OK, 100000 },
    { "0.000000001", KMY_OK, 1 },
    { "0.0000000010", KMY_OK, 1 },       /* zeros behind the ninth decimal say nothing */
    { "0.0000000001", KMY_OVERFLOW, 0 }, /* a tenth of a nano-USD is refused, not rounded */
    { "9223372036.854775807", KMY_OK, INT64_MAX },
    { "9223372036.854775808", KMY_OVERFLOW, 0 },
    { "9223372037", KMY_OVERFLOW, 0 },
    { "-1", KMY_BAD_INPUT, 0 },
    { "-0", KMY_BAD_INPUT, 0 },
    { "1e3", KMY_BAD_INPUT, 0 },
    { "1E-3", KMY_BAD_INPUT, 0 },
    { "", KMY_BAD_INPUT, 0 },
    { "$1", KMY_BAD_INPUT, 0 },
    { "1.", KMY_BAD_INPUT, 0 },
};

static void usd_is_read_exactly_or_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof parses / sizeof parses[0]; i++) {
        int64_t v = -7;
        kmy_err_t err = kmy_nusd_parse(parses[i].text, strlen(parses[i].text), &v);
        if (err != parses[i].want || v != (err == KMY_OK ? parses[i].nusd : -7))
            fail_msg("'%s': %s, %lld", parses[i].text, kmy_err_code(err), (long long)v);
    }
}

static void nusd_is_written_with_nine_decimals(void **state)
{
    (void)state;
    static const struct {
        int64_t nusd;
        const char *text;
    } rows[] = { { 0, "0.000000000" },
                 { 999900000, "0.999900000" },
                 { -1, "-0.000000001" },
                 { INT64_MAX, "9223372036.854775807" },
                 { INT64_MIN, "-9223372036.854775808" } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char out[KMY_NUSD_BYTES_MAX];
        assert_int_equal(kmy_nusd_format(rows[i].nusd, out), strlen(rows[i].text));
        assert_string_equal(out, rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usd_is_read_exactly_or_refused),
        cmocka_unit_test(nusd_is_written_with_nine_decimals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
