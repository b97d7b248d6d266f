/* Records as bytes: the layout is pinned (a file written today is read for ever), and no damaged byte is taken for money. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pay/ledger_record.h"

static void the_bytes_of_an_entry_are_pinned(void **state)
{
    static const uint8_t want[KMY_ENTRY_CONSUME_BYTES] = {
        1,    3, 3, 4, 0x34, 0x12, 0, 0, /* version, kind, from, to, shard, mode, zero */
        9,    0, 0, 0, 0,    0,    0, 0, /* account */
        2,    0, 0, 0, 0,    0,    0, 0, /* time */
        0xe8, 3, 0, 0, 0,    0,    0, 0, /* amount */
        7,    0, 0, 0, 5,    0,    0, 0, /* feed, price book */
        6,    0, 0, 0, 0,    0,    0, 0, /* ticks */
        1,    0, 0, 0, 0,    0,    0, 0  /* queries */
    };
    kmy_entry_t e = { .kind = KMY_ENTRY_CONSUME,
                      .shard = 0x1234,
                      .account_id = 9,
                      .time_ns = 2,
                      .amount_nusd = 1000,
                      .feed_id = 7,
                      .price_book = 5,
                      .ticks_count = 6,
                      .queries_count = 1 };
    uint8_t bytes[KMY_ENTRY_BYTES_MAX];
    (void)state;
    assert_int_equal(kmy_entry_encode(&e, bytes), sizeof want);
    assert_memory_equal(bytes, want, sizeof want);
}

static void what_is_encoded_is_decoded(void **state)
{
    kmy_entry_t credit = { .kind = KMY_ENTRY_CREDIT,
                           .account_id = UINT64_MAX,
                           .time_ns = INT64_MAX,
                           .amount_nusd = INT64_MAX,
                           .word = "x402",
                           .ref = "base:0xabc",
                           .word_bytes = 4,
                           .ref_bytes = 10 };
    kmy_entry_t out;
    uint8_t bytes[KMY_ENTRY_BYTES_MAX];
    (void)state;
    size_t len = kmy_entry_encode(&credit, bytes);
    assert_int_equal(len, 34 + 14);
    assert_true(kmy_entry_decode(bytes, len, &out));
    assert_int_equal(out.amount_nusd, INT64_MAX);
    assert_int_equal(out.account_id, UINT64_MAX);
    assert_memory_equal(out.word, "x402", out.word_bytes);
    assert_memory_equal(out.ref, "base:0xabc", out.ref_bytes);

    kmy_ref_t ref = {
        .account_id = 3, .amount_nusd = 5, .entry_id = 8, .word = "grant", .word_bytes = 5
    };
    kmy_ref_t ref_out;
    uint8_t ref_bytes[KMY_REF_BYTES_MAX];
    len = kmy_ref_encode(&ref, ref_bytes);
    assert_true(kmy_ref_decode(ref_bytes, len, &ref_out));
    assert_int_equal(ref_out.entry_id, 8);
    assert_int_equal(ref_out.word_bytes, 5);

    uint8_t key[KMY_LEASE_KEY_BYTES];
    uint64_t id;
    uint32_t shard;
    kmy_lease_key_encode(258, 3, key);
    assert_memory_equal(key, "\0\0\0\0\0\0\1\2\0\0\0\3",
                        sizeof key); /* big-endian: sorted by account */
    assert_true(kmy_lease_key_decode(key, sizeof key, &id, &shard));
    assert_int_equal(id, 258);
    assert_int_equal(shard, 3);
}

static void no_other_length_or_version_is_taken(void **state)
{
    static const kmy_entry_kind_t kinds[] = {
        KMY_ENTRY_CREDIT,  KMY_ENTRY_LEASE,   KMY_ENTRY_CONSUME, KMY_ENTRY_RETURN,
        KMY_ENTRY_RECOVER, KMY_ENTRY_REVERSE, KMY_ENTRY_DEBT,    KMY_ENTRY_REPAY,
        KMY_ENTRY_PASS,    KMY_ENTRY_GIVE,    KMY_ENTRY_TAKE
    };
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        kmy_entry_t e = { .kind = kinds[i],
                          .account_id = 1,
                          .amount_nusd = 1,
                          .price_book = 3,
                          .discount_percent = 20,
                          .other_id = 2,
                          .word = "w",
                          .ref = "r",
                          .word_bytes = 1,
                          .ref_bytes = 1 };
        kmy_entry_t out;
        uint8_t bytes[KMY_ENTRY_BYTES_MAX + 8] = { 0 };
        size_t len = kmy_entry_encode(&e, bytes);
        assert_true(kmy_entry_decode(bytes, len, &out));
        bool booked = e.kind == KMY_ENTRY_PASS || e.kind == KMY_ENTRY_CONSUME;
        assert_int_equal(out.price_book, booked ? 3 : 0);
        assert_int_equal(out.discount_percent, booked ? 20 : 0);
        for (size_t n = 0; n <= len + 1; n++)
            assert_int_equal(kmy_entry_decode(bytes, n, &out), n == len);
        for (int version = 0; version < 256; version++) {
            bytes[0] = (uint8_t)version;
            assert_int_equal(kmy_entry_decode(bytes, len, &out),
                             version == (e.kind == KMY_ENTRY_PASS ? 2 : 1));
        }
    }
}

static void sums_move_whole_or_not_at_all(void **state)
{
    static const struct {
        kmy_side_t from;
        kmy_side_t to;
        int64_t amount;
        bool want;
        kmy_sums_t after;
    } rows[] = {
        { KMY_SIDE_HOUSE, KMY_SIDE_BALANCE, 10, true, { 16, 13, 2, 1, 0, 0 } },
        { KMY_SIDE_HOUSE, KMY_SIDE_BALANCE, INT64_MAX, false, { 6, 3, 2, 1, 0, 0 } },
        { KMY_SIDE_HOUSE,
          KMY_SIDE_BALANCE,
          INT64_MAX - 6,
          true,
          { INT64_MAX, INT64_MAX - 3, 2, 1, 0, 0 } },
        { KMY_SIDE_HOUSE, KMY_SIDE_BALANCE, INT64_MAX - 5, false, { 6, 3, 2, 1, 0, 0 } },
        { KMY_SIDE_BALANCE, KMY_SIDE_LEASED, 3, true, { 6, 0, 5, 1, 0, 0 } },
        { KMY_SIDE_BALANCE, KMY_SIDE_LEASED, 4, false, { 6, 3, 2, 1, 0, 0 } },
        { KMY_SIDE_LEASED, KMY_SIDE_CONSUMED, 2, true, { 6, 3, 0, 3, 0, 0 } },
        { KMY_SIDE_LEASED, KMY_SIDE_CONSUMED, 3, false, { 6, 3, 2, 1, 0, 0 } },
        { KMY_SIDE_LEASED, KMY_SIDE_BALANCE, 2, true, { 6, 5, 0, 1, 0, 0 } },
        { KMY_SIDE_LEASED, KMY_SIDE_BALANCE, 0, true, { 6, 3, 2, 1, 0, 0 } },
        { KMY_SIDE_BALANCE, KMY_SIDE_HOUSE, 3, true, { 3, 0, 2, 1, 0, 0 } },
        { KMY_SIDE_BALANCE, KMY_SIDE_HOUSE, 4, false, { 6, 3, 2, 1, 0, 0 } },
        { KMY_SIDE_DEBT, KMY_SIDE_HOUSE, 6, true, { 0, 3, 2, 1, 6, 0 } },
        { KMY_SIDE_DEBT, KMY_SIDE_HOUSE, 7, false, { 6, 3, 2, 1, 0, 0 } },
        { KMY_SIDE_BALANCE, KMY_SIDE_DEBT, 1, false, { 6, 3, 2, 1, 0, 0 } }, /* none to pay */
        { KMY_SIDE_BALANCE, KMY_SIDE_OTHER, 3, true, { 6, 0, 2, 1, 0, -3 } },
        { KMY_SIDE_BALANCE, KMY_SIDE_OTHER, 4, false, { 6, 3, 2, 1, 0, 0 } },
        { KMY_SIDE_OTHER, KMY_SIDE_BALANCE, 4, true, { 6, 7, 2, 1, 0, 4 } },
        { KMY_SIDE_OTHER, KMY_SIDE_BALANCE, INT64_MAX, false, { 6, 3, 2, 1, 0, 0 } },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        kmy_sums_t s = { 6, 3, 2, 1, 0, 0 };
        assert_int_equal(kmy_sums_move(&s, rows[i].from, rows[i].to, rows[i].amount), rows[i].want);
        assert_memory_equal(&s, &rows[i].after, sizeof s);
        assert_true(kmy_sums_hold(&s));
    }
}

/* 2 behind 5: what a file of format 1 has is read as it always was, and a debt is 8 bytes more where there is one. */
static void a_debt_stands_behind_the_numbers_and_only_where_there_is_one(void **state)
{
    (void)state;
    kmy_account_row_t row = { .sums = { 4, 0, 0, 5, 1, 0 }, .ticks_count = 7 };
    kmy_account_row_t out;
    uint8_t bytes[KMY_ACCOUNT_ROW_BYTES_MAX];
    size_t len = kmy_account_row_encode(&row, bytes);
    assert_int_equal(len, 64);
    assert_int_equal(bytes[0], 2);
    assert_int_equal(bytes[56], 1);
    assert_true(kmy_account_row_decode(bytes, len, &out));
    assert_memory_equal(&row, &out, sizeof row);
    assert_false(kmy_account_row_decode(bytes, 56, &out)); /* version 2 without its debt */
    bytes[8] = 5;
    bytes[56] = 0;
    assert_false(
        kmy_account_row_decode(bytes, len, &out)); /* a debt of nothing is not written so */
    row.sums = (kmy_sums_t){ 5, 0, 0, 5, 0, 0 };
    assert_int_equal(kmy_account_row_encode(&row, bytes), 56);
    assert_int_equal(bytes[0], 1);
    kmy_totals_t totals = { .sums = { 4, 2, 0, 5, 3, 0 }, .accounts_count = 2, .entries_count = 9 };
    kmy_totals_t totals_out;
    len = kmy_totals_encode(&totals, bytes); /* one has a balance, another a debt */
    assert_true(kmy_totals_decode(bytes, len, &totals_out));
    assert_memory_equal(&totals, &totals_out, sizeof totals);
    bytes[8] += 1;  /* credited */
    bytes[16] += 1; /* balance: it adds up, */
    assert_true(kmy_totals_decode(bytes, len, &totals_out));
    assert_false(kmy_account_row_decode(bytes, len, &out)); /* and is no account */
}

/* 3: the debt, which may be 0 then, and what was moved. */
static void what_was_moved_stands_behind_the_debt(void **state)
{
    static const kmy_sums_t rows[] = { { 6, 0, 2, 1, 0, -3 },
                                       { 0, 3, 0, 1, 0, 4 },
                                       { 4, 0, 0, 3, 2, -3 } };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        kmy_account_row_t row = { .sums = rows[i] };
        kmy_account_row_t out;
        uint8_t bytes[KMY_ACCOUNT_ROW_BYTES_MAX];
        size_t len = kmy_account_row_encode(&row, bytes);
        assert_int_equal(len, 72);
        assert_int_equal(bytes[0], 3);
        assert_true(kmy_account_row_decode(bytes, len, &out));
        assert_memory_equal(&row, &out, sizeof row);
        assert_false(kmy_account_row_decode(bytes, 64, &out));
        bytes[64] ^= 1;
        assert_false(kmy_account_row_decode(bytes, len, &out)); /* it does not add up */
    }
}

static void sums_that_do_not_hold_are_seen(void **state)
{
    static const kmy_sums_t bad[] = {
        { 1, 0, 0, 0, 0, 0 },
        { 0, -1, 1, 0, 0, 0 },
        { -1, -1, 0, 0, 0, 0 },
        { 0, 0, 1, -1, 0, 0 },
        { 3, 1, 1, 2, 0, 0 },
        { INT64_MIN, INT64_MAX, 1, 0, 0, 0 }, /* a sum that wraps is not a sum */
        { 3, 1, 1, 1, 1, 0 },
        { 3, 1, 1, 0, -1, 0 },
        { INT64_MAX, INT64_MAX, 0, 0, 1, 0 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(kmy_sums_hold(&bad[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bytes_of_an_entry_are_pinned),
        cmocka_unit_test(what_is_encoded_is_decoded),
        cmocka_unit_test(no_other_length_or_version_is_taken),
        cmocka_unit_test(sums_move_whole_or_not_at_all),
        cmocka_unit_test(a_debt_stands_behind_the_numbers_and_only_where_there_is_one),
        cmocka_unit_test(what_was_moved_stands_behind_the_debt),
        cmocka_unit_test(sums_that_do_not_hold_are_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
