/* base/decimal: text to exact numbers and back. */
#include "base/decimal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

static const struct {
    const char *text;
    kmy_err_t want;
    int64_t mant;
    int expo;
} parses[] = {
    { "0", KMY_OK, 0, 0 },
    { "-0", KMY_OK, 0, 0 },
    { "0.000", KMY_OK, 0, 0 },
    { "1", KMY_OK, 1, 0 },
    { "100", KMY_OK, 100, 0 },        /* zeros of the whole part stay */
    { "1.50000000", KMY_OK, 15, -1 }, /* zeros of the fraction go */
    { "-187.1234", KMY_OK, -1871234, -4 },
    { "0.00000001", KMY_OK, 1, -8 },
    { "1e3", KMY_OK, 1, 3 },
    { "1.5E-3", KMY_OK, 15, -4 },
    { "2e+0", KMY_OK, 2, 0 },
    { "0e9999", KMY_OK, 0, 0 },
    { "9223372036854775807", KMY_OK, INT64_MAX, 0 },
    { "-9223372036854775807", KMY_OK, -INT64_MAX, 0 },
    { "9223372036854775808", KMY_OVERFLOW, 0, 0 },
    { "92233720368.54775807000", KMY_OK, INT64_MAX, -8 },
    { "1e64", KMY_OK, 1, 64 },
    { "1e65", KMY_OVERFLOW, 0, 0 },
    { "1e-64", KMY_OK, 1, -64 },
    { "0.1e-64", KMY_OVERFLOW, 0, 0 },
    { "", KMY_BAD_INPUT, 0, 0 },
    { "-", KMY_BAD_INPUT, 0, 0 },
    { "+1", KMY_BAD_INPUT, 0, 0 },
    { ".5", KMY_BAD_INPUT, 0, 0 },
    { "5.", KMY_BAD_INPUT, 0, 0 },
    { "1,5", KMY_BAD_INPUT, 0, 0 },
    { " 1", KMY_BAD_INPUT, 0, 0 },
    { "1 ", KMY_BAD_INPUT, 0, 0 },
    { "0x1", KMY_BAD_INPUT, 0, 0 },
    { "NaN", KMY_BAD_INPUT, 0, 0 },
    { "inf", KMY_BAD_INPUT, 0, 0 },
    { "1e", KMY_BAD_INPUT, 0, 0 },
    { "1e+", KMY_BAD_INPUT, 0, 0 },
    { "1e00001", KMY_BAD_INPUT, 0, 0 },
    { "1.2.3", KMY_BAD_INPUT, 0, 0 },
    { "1-", KMY_BAD_INPUT, 0, 0 },
};

static void text_is_read_exactly_or_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof parses / sizeof parses[0]; i++) {
        int64_t mant = 77;
        int expo = 77;
        kmy_err_t err = kmy_dec_parse(parses[i].text, strlen(parses[i].text), &mant, &expo);
        bool untouched = mant == 77 && expo == 77;
        if (err != parses[i].want ||
            (err == KMY_OK ? mant != parses[i].mant || expo != parses[i].expo : !untouched))
            fail_msg("'%s': %s, %lld x 10^%d", parses[i].text, kmy_err_code(err), (long long)mant,
                     expo);
    }
}

static const struct {
    int64_t mant;
    int expo;
    const char *text;
} formats[] = {
    { 0, -8, "0" },
    { 0, 5, "0" },
    { 15, -1, "1.5" },
    { 1500, -3, "1.5" },
    { -5, -1, "-0.5" },
    { 1, -8, "0.00000001" },
    { 12, 3, "12000" },
    { 100, 0, "100" },
    { INT64_MAX, -8, "92233720368.54775807" },
    { INT64_MIN, 0, "-9223372036854775808" },
    { INT64_MIN, -19, "-0.9223372036854775808" },
};

static void numbers_are_written_without_needless_digits(void **state)
{
    (void)state;
    char out[KMY_DEC_BYTES_MAX];
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        size_t n = kmy_dec_format(formats[i].mant, formats[i].expo, out);
        assert_string_equal(out, formats[i].text);
        assert_int_equal(n, strlen(out));
    }
    kmy_dec_format_u(UINT64_MAX, -1, out);
    assert_string_equal(out, "1844674407370955161.5");
    assert_in_range(kmy_dec_format(INT64_MIN, KMY_DEC_EXPO_MIN, out), 1, KMY_DEC_BYTES_MAX - 1);
    assert_in_range(kmy_dec_format(INT64_MIN, KMY_DEC_EXPO_MAX, out), 1, KMY_DEC_BYTES_MAX - 1);
}

static void what_is_written_reads_back(void **state)
{
    (void)state;
    uint64_t x = 0x9e3779b97f4a7c15; /* xorshift, seeded */
    for (int i = 0; i < 200000; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        int64_t mant = (int64_t)(x >> (x & 63)) & INT64_MAX;
        int expo = -(int)(x >> 32) % 19;
        char out[KMY_DEC_BYTES_MAX];
        int64_t again;
        int again_expo;
        int64_t same;
        if (expo > 0)
            expo = -expo;
        size_t n = kmy_dec_format(mant, expo, out);
        assert_int_equal(kmy_dec_parse(out, n, &again, &again_expo), KMY_OK);
        assert_true(kmy_dec_rescale(again, again_expo, expo, &same));
        assert_true(same == mant);
    }
}

static const struct {
    int64_t mant;
    int from, to;
    bool ok;
    int64_t want;
} scales[] = {
    { 15, -1, -9, true, 1500000000 },
    { 15, -1, 0, false, 0 }, /* not exact */
    { 150, -1, 0, true, 15 },
    { 0, 64, -64, true, 0 },
    { 1, 0, -18, true, 1000000000000000000 },
    { 1, 0, -19, false, 0 },
    { INT64_MAX, 0, -1, false, 0 },
    { INT64_MIN, 0, 0, true, INT64_MIN },
    { -30, 0, 1, true, -3 },
};

static void rescaling_is_exact_or_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof scales / sizeof scales[0]; i++) {
        int64_t out = 77;
        bool ok = kmy_dec_rescale(scales[i].mant, scales[i].from, scales[i].to, &out);
        if (ok != scales[i].ok || out != (ok ? scales[i].want : 77))
            fail_msg("row %zu: %d, %lld", i, ok, (long long)out);
    }
}

static void whole_numbers(void **state)
{
    (void)state;
    char out[20];
    uint64_t v;
    assert_int_equal(kmy_u64_digits(UINT64_MAX, out), 20);
    assert_memory_equal(out, "18446744073709551615", 20);
    assert_true(kmy_u64_parse(out, 20, &v));
    assert_true(v == UINT64_MAX);
    assert_int_equal(kmy_u64_digits(0, out), 1);
    static const char *const bad[] = { "",
                                       "00",
                                       "01",
                                       "-1",
                                       "+1",
                                       "18446744073709551616",
                                       "1 ",
                                       "0x",
                                       "99999999999999999999",
                                       "100000000000000000000" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (kmy_u64_parse(bad[i], strlen(bad[i]), &v))
            fail_msg("accepted '%s'", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_read_exactly_or_refused),
        cmocka_unit_test(numbers_are_written_without_needless_digits),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(rescaling_is_exact_or_refused),
        cmocka_unit_test(whole_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
