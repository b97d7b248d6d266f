/* wire/flat.  That flatc's own reader and verifier agree is the business of tests/oracle_flat.cpp. */
#include "wire/flat.h"
#include "base/decimal.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static uint64_t seed = 88172645463325252ull;
static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

static kmy_tick_t random_tick(uint32_t feed_id)
{
    return (kmy_tick_t){ .seq = rnd(),
                         .offset = rnd(),
                         .event_ns = (int64_t)rnd(),
                         .recv_ns = (int64_t)rnd(),
                         .price_mant = (int64_t)rnd(),
                         .bid_mant = (int64_t)rnd(),
                         .ask_mant = (int64_t)rnd(),
                         .conf_mant = rnd(),
                         .size_mant = (int64_t)rnd(),
                         .ask_size_mant = (int64_t)rnd(),
                         .source_seq = rnd(),
                         .feed_id = feed_id,
                         .flags = (uint16_t)rnd(),
                         .source = (uint8_t)rnd(),
                         .kind = (uint8_t)rnd(),
                         .price_expo = (int8_t)((int)(rnd() % 129) - 64),
                         .size_expo = (int8_t)((int)(rnd() % 129) - 64),
                         .event_res = (uint8_t)rnd(),
                         .has = (uint8_t)rnd() };
}

static void fill_name(char *name, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        name[i] = (char)('A' + i % 26);
    name[bytes] = 0;
}

static void what_is_stored_is_read_back_for_names_of_all_lengths(void **state)
{
    (void)state;
    for (size_t bytes = 1; bytes < KMY_FEED_NAME_BYTES_MAX; bytes++) {
        char name[KMY_FEED_NAME_BYTES_MAX];
        char back_name[KMY_FEED_NAME_BYTES_MAX];
        fill_name(name, bytes);
        kmy_flat_t t;
        kmy_flat_init(&t, KMY_FLAT_STORE, 7, name);
        kmy_tick_t tick = random_tick(7);
        kmy_tick_t back;
        uint8_t *out = malloc(t.len); /* exact: nothing is written beyond len */
        assert_int_equal(kmy_flat_encode(&t, &tick, out), t.len);
        assert_int_equal(kmy_flat_decode(out, t.len, &back, back_name, NULL), KMY_OK);
        assert_memory_equal(&back, &tick, sizeof tick);
        assert_string_equal(back_name, name);
        assert_int_equal(kmy_flat_decode(out, t.len, &back, NULL, NULL), KMY_OK);
        free(out);
    }
}

static void the_longest_name_fits_both_forms(void **state)
{
    (void)state;
    char name[KMY_FEED_NAME_BYTES_MAX];
    fill_name(name, sizeof name - 1);
    kmy_flat_t t;
    kmy_flat_init(&t, KMY_FLAT_STREAM, 1, name);
    assert_true(t.len <= KMY_TICK_FLAT_BYTES_MAX);
    assert_int_equal(t.len % 8, 0);
    kmy_flat_init(&t, KMY_FLAT_STORE, 1, name);
    assert_true(t.len <= KMY_TICK_FLAT_BYTES_MAX);
}

static void stream_frames_carry_their_size_and_are_padded_to_8(void **state)
{
    (void)state;
    for (size_t bytes = 1; bytes < KMY_FEED_NAME_BYTES_MAX; bytes++) {
        char name[KMY_FEED_NAME_BYTES_MAX];
        fill_name(name, bytes);
        kmy_flat_t t;
        kmy_flat_init(&t, KMY_FLAT_STREAM, 3, name);
        kmy_tick_t tick = random_tick(3);
        uint8_t out[KMY_TICK_FLAT_BYTES_MAX];
        size_t len = kmy_flat_encode(&t, &tick, out);
        uint32_t size;
        memcpy(&size, out, sizeof size);
        assert_int_equal(len % 8, 0);
        assert_int_equal(size, len - 4);
        assert_memory_equal(out + 8, "KMYT", 4);
        kmy_tick_t back; /* the rest is a root buffer of its own */
        assert_int_equal(kmy_flat_decode(out + 4, len - 4, &back, NULL, NULL), KMY_OK);
        assert_memory_equal(&back, &tick, sizeof tick);
    }
}

static void a_value_cut_short_anywhere_is_refused(void **state)
{
    (void)state;
    kmy_flat_t t;
    kmy_flat_init(&t, KMY_FLAT_STORE, 1,
                  "ABCDEFG/USD"); /* 11 bytes and a 0 fill whole words: no padding */
    kmy_tick_t tick = random_tick(1);
    uint8_t out[KMY_TICK_FLAT_BYTES_MAX];
    size_t len = kmy_flat_encode(&t, &tick, out);
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *exact = malloc(cut ? cut : 1);
        memcpy(exact, out, cut);
        kmy_tick_t back = { .seq = 77 };
        kmy_errctx_t ctx = { 0 };
        kmy_err_t err = kmy_flat_decode(exact, cut, &back, NULL, &ctx);
        free(exact);
        /* The last word is the name's end and padding: cut there, only a lost terminator shows. */
        if (err == KMY_OK) {
            assert_true(cut >= 164 + 4 + 11 + 1);
            continue;
        }
        assert_int_equal(err, KMY_CORRUPT);
        assert_true(ctx.detail[0] != 0);
        assert_int_equal(back.seq, 77);
    }
}

static void damage_is_refused_with_a_word_about_it(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint32_t value;
        const char *says;
    } rows[] = {
        { 0, 3, "table lies outside" },
        { 0, 1u << 30, "table lies outside" },
        { 0, UINT32_MAX, "table lies outside" },
        { 4, 0x58585858, "identifier" },
        { 12, 3, "vtable" },
        { 12, 0x00046c00, "vtable" },
        { 12, 0x0003002c, "table" },
        { 12, 0xffff002c, "table" },
        { 16, 0x0008ffff, "outside" },
        { 16, 0x00080000, "no feed name" },
        { 16, 0x00080002, "outside" },
        { 56, 0x80000000, "vtable lies outside" },
        { 56, 0x7fffffff, "vtable lies outside" },
        { 60, 0x7fffffff, "feed name lies outside" },
        { 60, UINT32_MAX, "feed name lies outside" },
        { 164, 0, "feed name is empty" },
        { 164, 64, "too long" },
        { 164, UINT32_MAX, "too long" },
        { 164, 6, "not terminated" },
        { 164, 8, "too long" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        kmy_flat_t t;
        kmy_flat_init(&t, KMY_FLAT_STORE, 1, "SOL/USD");
        kmy_tick_t tick = random_tick(1);
        uint8_t out[KMY_TICK_FLAT_BYTES_MAX];
        size_t len = kmy_flat_encode(&t, &tick, out);
        memcpy(out + rows[i].at, &rows[i].value, 4);
        kmy_errctx_t ctx = { 0 };
        kmy_tick_t back;
        kmy_err_t err = kmy_flat_decode(out, len, &back, NULL, &ctx);
        assert_int_equal(err, KMY_CORRUPT);
        if (!strstr(ctx.detail, rows[i].says))
            fail_msg("row %zu says: %s", i, ctx.detail);
    }
}

static void exponents_out_of_range_are_refused(void **state)
{
    (void)state;
    for (int expo = -128; expo < 128; expo++) {
        kmy_flat_t t;
        kmy_flat_init(&t, KMY_FLAT_STORE, 1, "SOL/USD");
        kmy_tick_t price = random_tick(1);
        kmy_tick_t size = random_tick(1);
        price.price_expo = (int8_t)expo;
        size.size_expo = (int8_t)expo;
        uint8_t out[KMY_TICK_FLAT_BYTES_MAX];
        kmy_tick_t back;
        bool ok = expo >= KMY_DEC_EXPO_MIN && expo <= KMY_DEC_EXPO_MAX;
        kmy_flat_encode(&t, &price, out);
        assert_int_equal(kmy_flat_decode(out, t.len, &back, NULL, NULL), ok ? KMY_OK : KMY_CORRUPT);
        kmy_flat_encode(&t, &size, out);
        assert_int_equal(kmy_flat_decode(out, t.len, &back, NULL, NULL), ok ? KMY_OK : KMY_CORRUPT);
    }
}

static void any_flipped_bit_is_refused_or_read_within_bounds(void **state)
{
    (void)state;
    kmy_flat_t t;
    kmy_flat_init(&t, KMY_FLAT_STORE, 1, "SOL/USD");
    kmy_tick_t tick = random_tick(1);
    uint8_t *out = malloc(t.len);
    size_t len = kmy_flat_encode(&t, &tick, out);
    for (size_t bit = 0; bit < len * 8; bit++) {
        char name[KMY_FEED_NAME_BYTES_MAX];
        kmy_tick_t back;
        out[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (kmy_flat_decode(out, len, &back, name, NULL) == KMY_OK)
            assert_in_range(strlen(name), 1, KMY_FEED_NAME_BYTES_MAX - 1);
        out[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_stored_is_read_back_for_names_of_all_lengths),
        cmocka_unit_test(the_longest_name_fits_both_forms),
        cmocka_unit_test(stream_frames_carry_their_size_and_are_padded_to_8),
        cmocka_unit_test(a_value_cut_short_anywhere_is_refused),
        cmocka_unit_test(damage_is_refused_with_a_word_about_it),
        cmocka_unit_test(exponents_out_of_range_are_refused),
        cmocka_unit_test(any_flipped_bit_is_refused_or_read_within_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
