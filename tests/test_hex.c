#include "wire/hex.h"

#include "tests/page_edge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void every_byte_survives_in_lower_and_upper_case(void **state)
{
    (void)state;
    for (int b = 0; b < 256; b++) {
        uint8_t in = (uint8_t)b;
        uint8_t out = 0;
        char text[3];
        kmy_hex_encode(&in, 1, text);
        assert_int_equal(strlen(text), 2);
        assert_true(kmy_hex_decode(text, 2, &out, 1));
        assert_int_equal(out, b);
        for (int i = 0; i < 2; i++)
            if (text[i] >= 'a')
                text[i] = (char)(text[i] - 'a' + 'A');
        assert_true(kmy_hex_decode(text, 2, &out, 1));
        assert_int_equal(out, b);
    }
}

static void only_the_22_digits_pass(void **state)
{
    (void)state;
    uint8_t out;
    int good = 0;
    for (int c = 0; c < 256; c++) {
        char high[2] = { (char)c, '0' };
        char low[2] = { '0', (char)c };
        bool ok = kmy_hex_decode(high, 2, &out, 1);
        assert_int_equal(kmy_hex_decode(low, 2, &out, 1), ok);
        good += ok;
    }
    assert_int_equal(good, 22);
}

static void the_size_must_be_exact_and_the_prefix_0x(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        size_t bytes;
        bool plain, prefixed;
    } rows[] = {
        { "", 0, true, false },        { "0x", 0, false, true },     { "00", 1, true, false },
        { "0x00", 1, false, true },    { "0x00", 2, false, false },  { "000", 1, false, false },
        { "0x0", 0, false, false },    { "0X00", 1, false, false },  { "x000", 1, false, false },
        { "0x0011", 1, false, false }, { " 0x00", 1, false, false }, { "0", 0, false, false },
        { "0", 1, false, false },      { "0011", 2, true, false },   { "-1", 1, false, false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t out[4];
        size_t len = strlen(rows[i].text);
        const char *text = kmy_at_page_end(rows[i].text, len);
        assert_int_equal(kmy_hex_decode(text, len, out, rows[i].bytes), rows[i].plain);
        assert_int_equal(kmy_hex_decode_0x(text, len, out, rows[i].bytes), rows[i].prefixed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_survives_in_lower_and_upper_case),
        cmocka_unit_test(only_the_22_digits_pass),
        cmocka_unit_test(the_size_must_be_exact_and_the_prefix_0x),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
