#include "wire/base58.h"

#include "tests/page_edge.h"
#include "wire/hex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

/* The first rows are those of the internet draft on base58 (draft-msporny-base58-03, section 5); the keys are Solana's own programs. */
static const struct {
    const char *hex;
    const char *text;
} rows[] = {
    { "", "" },
    { "48656c6c6f20576f726c6421", "2NEpo7TZRRrLZSi2U" },
    { "0000287fb4cd", "11233QC4" },
    { "00", "1" },
    { "0000", "11" },
    { "39", "z" },
    { "3a", "21" },
    { "0000000000000000000000000000000000000000000000000000000000000000",
      "11111111111111111111111111111111" },
    { "06ddf6e1d765a193d9cbe146ceeb79ac1cb485ed5f5b37913a8cf5857eff00a9",
      "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA" },
    { "0306466fe5211732ffecadba72c39be7bc8ce5bbc5f7126b2c439b3a40000000",
      "ComputeBudget111111111111111111111111111111" },
    { "c6fa7af3bedbad3a3d65f36aabc97431b1bbe4c2d2f6e0e47ca60203452f5d61",
      "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v" },
    { "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
      "JEKNVnkbo3jma5nREBBJCDoXFVeKkD56V3xKrvRmWxFG" },
};

static void known_texts_stand_for_their_bytes_both_ways(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t want[64];
        uint8_t have[64];
        char text[KMY_BASE58_TEXT_BYTES_MAX];
        size_t bytes = strlen(rows[i].hex) / 2;
        size_t len = strlen(rows[i].text);
        assert_true(kmy_hex_decode(rows[i].hex, 2 * bytes, want, bytes));
        assert_int_equal(kmy_base58_encode(want, bytes, text), len);
        assert_string_equal(text, rows[i].text);
        assert_true(kmy_base58_decode(kmy_at_page_end(rows[i].text, len), len, have, bytes));
        assert_memory_equal(have, want, bytes);
        if (bytes > 0)
            assert_false(kmy_base58_decode(rows[i].text, len, have, bytes - 1));
        assert_false(kmy_base58_decode(rows[i].text, len, have, bytes + 1));
    }
}

static void a_value_has_one_spelling(void **state)
{
    (void)state;
    uint8_t out[32];
    assert_false(
        kmy_base58_decode("1z", 2, out, 1)); /* a leading zero digit is a byte of its own */
    assert_true(kmy_base58_decode("1z", 2, out, 2));
    assert_true(kmy_base58_decode("5Q", 2, out, 1)); /* 255 */
    assert_false(kmy_base58_decode("5R", 2, out, 1));
    assert_true(kmy_base58_decode("5R", 2, out, 2));
}

static void foreign_characters_and_endless_texts_are_refused(void **state)
{
    (void)state;
    uint8_t out[64];
    char ones[200];
    int good = 0;
    for (int c = 0; c < 256; c++) {
        char text[2] = { 'z', (char)c };
        good += kmy_base58_decode(text, 2, out, 2);
    }
    assert_int_equal(good, 58);
    memset(ones, '1', sizeof ones);
    assert_true(kmy_base58_decode(ones, 64, out, 64));
    assert_false(kmy_base58_decode(ones, 200, out, 64));
    memset(ones, 'z', sizeof ones);
    assert_false(kmy_base58_decode(ones, 88, out, 64));
}

static void random_keys_and_signatures_survive(void **state)
{
    (void)state;
    uint32_t seed = 1;
    for (int round = 0; round < 2000; round++) {
        uint8_t in[64];
        uint8_t out[64];
        char text[KMY_BASE58_TEXT_BYTES_MAX];
        size_t bytes = round % 2 ? 32 : 64;
        for (size_t i = 0; i < bytes; i++)
            in[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
        memset(in, 0, (size_t)round % 5);
        size_t len = kmy_base58_encode(in, bytes, text);
        assert_true(len < (bytes == 32 ? KMY_BASE58_KEY_BYTES_MAX : KMY_BASE58_TEXT_BYTES_MAX));
        assert_true(kmy_base58_decode(text, len, out, bytes));
        assert_memory_equal(in, out, bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_texts_stand_for_their_bytes_both_ways),
        cmocka_unit_test(a_value_has_one_spelling),
        cmocka_unit_test(foreign_characters_and_endless_texts_are_refused),
        cmocka_unit_test(random_keys_and_signatures_survive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
