/* wire/rlp: the examples of its specification, and the lengths at which its form changes. */
#include "wire/rlp.h"

#include "wire/hex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static char mem[70000];

static void assert_is(const kmy_buf_t *b, const char *hex)
{
    char text[256];
    assert_false(b->overflow);
    assert_true(b->len < sizeof text / 2);
    kmy_hex_encode(b->data, b->len, text);
    assert_string_equal(text, hex);
}

static void numbers_have_no_leading_zeros(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        const char *hex;
    } row[] = { { 0, "80" },        { 1, "01" },
                { 0x7F, "7f" },     { 0x80, "8180" },
                { 0xFF, "81ff" },   { 0x100, "820100" },
                { 1024, "820400" }, { UINT64_MAX, "88ffffffffffffffff" } };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        kmy_buf_t b = kmy_buf(mem, sizeof mem);
        kmy_rlp_u64(&b, row[i].value);
        assert_is(&b, row[i].hex);
        uint8_t word[32] = { 0 };
        for (int k = 0; k < 8; k++)
            word[31 - k] = (uint8_t)(row[i].value >> 8 * k);
        b = kmy_buf(mem, sizeof mem);
        kmy_rlp_word(&b, word);
        assert_is(&b, row[i].hex);
    }
}

static void a_text_says_its_length_in_three_ways(void **state)
{
    (void)state;
    static const struct {
        size_t len;
        const char *head;
    } row[] = { { 0, "80" },     { 2, "82" },       { 55, "b7" },        { 56, "b838" },
                { 255, "b8ff" }, { 256, "b90100" }, { 65535, "b9ffff" }, { 65536, "ba010000" } };
    static uint8_t text[65536];
    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        kmy_buf_t b = kmy_buf(mem, sizeof mem);
        kmy_rlp_bytes(&b, text, row[i].len);
        size_t head = strlen(row[i].head) / 2;
        assert_int_equal(b.len, head + row[i].len);
        b.len = head;
        assert_is(&b, row[i].head);
    }
}

static void a_byte_below_80_stands_for_itself(void **state)
{
    (void)state;
    static const uint8_t bytes[] = { 0x00, 0x7F, 0x80 };
    kmy_buf_t b = kmy_buf(mem, sizeof mem);
    for (int i = 0; i < 3; i++)
        kmy_rlp_bytes(&b, &bytes[i], 1);
    assert_is(&b, "007f8180");
}

/* [ [], [[]], [ [], [[]] ] ], the specification's set of three. */
static void lists_stand_in_lists(void **state)
{
    (void)state;
    char inner[16], pair[16];
    kmy_buf_t one = kmy_buf(inner, sizeof inner); /* [] [[]] */
    kmy_rlp_list(&one, NULL, 0);
    kmy_rlp_list(&one, "\xc0", 1);
    kmy_buf_t two = kmy_buf(pair, sizeof pair);
    kmy_buf_bytes(&two, one.data, one.len);
    kmy_rlp_list(&two, one.data, one.len);
    kmy_buf_t b = kmy_buf(mem, sizeof mem);
    kmy_rlp_list(&b, two.data, two.len);
    assert_is(&b, "c7c0c1c0c3c0c1c0");
}

static void a_buffer_that_is_too_small_says_so(void **state)
{
    (void)state;
    for (size_t cap = 0; cap < 4; cap++) {
        kmy_buf_t b = kmy_buf(mem, cap);
        kmy_rlp_bytes(&b, "dog", 3);
        assert_true(b.overflow);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_have_no_leading_zeros),
        cmocka_unit_test(a_text_says_its_length_in_three_ways),
        cmocka_unit_test(a_byte_below_80_stands_for_itself),
        cmocka_unit_test(lists_stand_in_lists),
        cmocka_unit_test(a_buffer_that_is_too_small_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
