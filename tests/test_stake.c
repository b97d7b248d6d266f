/* pay/stake: tiers in exact integers, and how long a reading counts. */
#include "pay/stake.h"

#include "pay/price.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define UUSD INT64_C(1000)
#define S    KMY_NS_PER_S

static void a_stake_reaches_the_highest_tier_it_covers(void **state)
{
    (void)state;
    static const struct {
        uint64_t stake;
        uint32_t tier, percent;
        int64_t query_uusd, batch_uusd;
    } rows[] = {
        { 0, 0, 0, 100, 80 },      { 999, 0, 0, 100, 80 },    { 1000, 1, 10, 90, 72 },
        { 9999, 1, 10, 90, 72 },   { 10000, 2, 20, 80, 64 },  { 99999, 2, 20, 80, 64 },
        { 100000, 3, 30, 70, 56 }, { 100001, 3, 30, 70, 56 }, { UINT64_MAX, 3, 30, 70, 56 },
    };
    kmy_tiers_t tiers = kmy_tiers_default();
    kmy_price_book_t book = kmy_price_book_default();
    assert_int_equal(kmy_tiers_check(&tiers, NULL), KMY_OK);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint32_t percent = kmy_tier_discount(&tiers, rows[i].stake);
        int64_t each[10];
        for (int n = 0; n < 10; n++)
            each[n] = book.query_nusd;
        assert_int_equal(kmy_tier_of(&tiers, rows[i].stake), rows[i].tier);
        assert_int_equal(percent, rows[i].percent);
        assert_int_equal(kmy_price_discounted(book.query_nusd, percent), rows[i].query_uusd * UUSD);
        assert_int_equal(kmy_price_batch(&book, each, 10, percent), 10 * rows[i].batch_uusd * UUSD);
        assert_int_equal(kmy_price_item(book.query_nusd, book.batch_discount_percent, percent),
                         rows[i].batch_uusd * UUSD);
    }
}

static void without_tiers_nobody_has_a_discount(void **state)
{
    (void)state;
    kmy_tiers_t none = { .count = 0 };
    assert_int_equal(kmy_tiers_check(&none, NULL), KMY_OK);
    assert_int_equal(kmy_tier_of(&none, UINT64_MAX), 0);
    assert_int_equal(kmy_tier_discount(&none, UINT64_MAX), 0);
}

static void a_row_of_stake_0_is_no_tier(void **state)
{
    (void)state;
    kmy_tiers_t tiers = { .at = { { 0, 0 }, { 5, 50 } }, .count = 2 };
    assert_int_equal(kmy_tiers_check(&tiers, NULL), KMY_OK);
    assert_int_equal(kmy_tier_of(&tiers, 4), 0);
    assert_int_equal(kmy_tier_of(&tiers, 5), 1);
    assert_int_equal(kmy_tier_discount(&tiers, 5), 50);
}

static void tiers_that_contradict_each_other_are_refused(void **state)
{
    (void)state;
    static const struct {
        kmy_tiers_t tiers;
        const char *why;
    } rows[] = {
        { { .at = { { 0, 1 } }, .count = 1 }, "stake of 0" },
        { { .at = { { -1, 0 } }, .count = 1 }, "stake of 0" },
        { { .at = { { 10, 1 }, { 10, 2 } }, .count = 2 }, "tiers[1].stake" },
        { { .at = { { 10, 1 }, { 9, 2 } }, .count = 2 }, "tiers[1].stake" },
        { { .at = { { 10, 2 }, { 20, 1 } }, .count = 2 }, "tiers[1].discount" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        kmy_errctx_t ctx = { 0 };
        assert_int_equal(kmy_tiers_check(&rows[i].tiers, &ctx), KMY_CONFIG);
        assert_non_null(strstr(ctx.detail, rows[i].why));
    }
}

static void a_part_of_a_token_is_none(void **state)
{
    (void)state;
    static const struct {
        uint64_t units;
        uint32_t decimals;
        uint64_t whole;
    } rows[] = {
        { 0, 9, 0 },
        { 999999999, 9, 0 },
        { 1000000000, 9, 1 },
        { 9999999999999, 9, 9999 }, /* a millionth of a millionth short of tier 2 */
        { 10000000000000, 9, 10000 },
        { 7, 0, 7 },
        { UINT64_MAX, 0, UINT64_MAX },
        { UINT64_MAX, 6, 18446744073709 },
        { UINT64_MAX, 18, 18 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(kmy_stake_whole(rows[i].units, rows[i].decimals), rows[i].whole);
}

static void only_a_solana_account_has_a_stake(void **state)
{
    (void)state;
    static const struct {
        const char *account;
        bool has;
    } rows[] = {
        { "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:8RfmWU2npvZcFMhFcwuyM1amLmoN2acywiW6P9rayLhL",
          true },
        { "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1:8RfmWU2npvZcFMhFcwuyM1amLmoN2acywiW6P9rayLhL",
          true }, /* the same key elsewhere */
        { "solana:8RfmWU2npvZcFMhFcwuyM1amLmoN2acywiW6P9rayLhL", false }, /* of no network */
        { "solana::8RfmWU2npvZcFMhFcwuyM1amLmoN2acywiW6P9rayLhL", false },
        { "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:8RfmWU2npvZcFMhFcwuyM1amLmoN2ac", false },
        { "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:", false },
        { "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:0OIl", false },
        { "eip155:8453:0x70997970C51812dc3A010C7d01b50e0d17dc79C8", false },
        { "local:8RfmWU2npvZcFMhFcwuyM1amLmoN2acywiW6P9rayLhL", false },
        { "", false },
    };
    uint8_t first[KMY_SOLANA_KEY_BYTES], owner[KMY_SOLANA_KEY_BYTES];
    assert_true(kmy_stake_owner(rows[0].account, first));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(kmy_stake_owner(rows[i].account, owner), rows[i].has);
        if (rows[i].has)
            assert_memory_equal(owner, first, sizeof owner);
    }
}

static void a_reading_is_good_for_five_minutes_and_counts_an_hour_longer(void **state)
{
    (void)state;
    const kmy_stake_rule_t rule = { 300 * S, 3600 * S };
    const kmy_stake_t read = { .tokens = 10000, .read_ns = 1000 * S, .known = true };
    const kmy_stake_t lost = {
        .tokens = 10000, .read_ns = 1000 * S, .tried_ns = 1400 * S, .known = true, .failed = true
    };
    const kmy_stake_t never = { 0 };
    const kmy_stake_t in_vain = { .tried_ns = 1000 * S, .failed = true };
    static const struct {
        int64_t now_s;
        bool read_rests, lost_rests, in_vain_rests;
        uint64_t counts;
    } rows[] = {
        { 1000, true, true, true, 10000 },    { 1029, true, true, true, 10000 },
        { 1030, true, true, false, 10000 },   { 1299, true, true, false, 10000 },
        { 1300, false, true, false, 10000 },  { 1429, false, true, false, 10000 },
        { 1430, false, false, false, 10000 }, { 4899, false, false, false, 10000 },
        { 4900, false, false, false, 0 },     { 99999, false, false, false, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t now = rows[i].now_s * S;
        assert_int_equal(kmy_stake_rests(&read, &rule, now), rows[i].read_rests);
        assert_int_equal(kmy_stake_rests(&lost, &rule, now), rows[i].lost_rests);
        assert_int_equal(kmy_stake_rests(&in_vain, &rule, now), rows[i].in_vain_rests);
        assert_false(kmy_stake_rests(&never, &rule, now));
        assert_int_equal(kmy_stake_counts(&read, &rule, now), rows[i].counts);
        assert_int_equal(kmy_stake_counts(&lost, &rule, now), rows[i].counts);
        assert_int_equal(kmy_stake_counts(&never, &rule, now), 0);
        assert_int_equal(kmy_stake_counts(&in_vain, &rule, now), 0);
    }
}

static void a_node_that_fails_is_left_alone_for_a_tenth_of_refresh(void **state)
{
    (void)state;
    const kmy_stake_t failed = { .tried_ns = 7 * S, .failed = true };
    assert_int_equal(kmy_stake_due(&failed, &(kmy_stake_rule_t){ 300 * S, 0 }), 37 * S);
    assert_int_equal(kmy_stake_due(&failed, &(kmy_stake_rule_t){ KMY_NS_PER_MS, 0 }),
                     7 * S + 100 * KMY_NS_PER_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stake_reaches_the_highest_tier_it_covers),
        cmocka_unit_test(without_tiers_nobody_has_a_discount),
        cmocka_unit_test(a_row_of_stake_0_is_no_tier),
        cmocka_unit_test(tiers_that_contradict_each_other_are_refused),
        cmocka_unit_test(a_part_of_a_token_is_none),
        cmocka_unit_test(only_a_solana_account_has_a_stake),
        cmocka_unit_test(a_reading_is_good_for_five_minutes_and_counts_an_hour_longer),
        cmocka_unit_test(a_node_that_fails_is_left_alone_for_a_tenth_of_refresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
