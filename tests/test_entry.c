#include "pay/entry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#define EVM_PAY_TO    "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
#define SOLANA_PAY_TO "8RfmWU2npvZcFMhFcwuyM1amLmoN2acywiW6P9rayLhL"

/* terms -> the beginning of the refusal's text; NULL: accepted */
static const struct {
    kmy_pay_terms_t terms;
    const char *error;
} rows[] = {
    { { .name = "base", .pay_to = EVM_PAY_TO }, NULL },
    { { .chain = "eip155:8453", .pay_to = EVM_PAY_TO }, NULL },
    { { .name = "base", .chain = "eip155:8453", .pay_to = EVM_PAY_TO }, NULL },
    { { .name = "base", .chain = "eip155:1", .pay_to = EVM_PAY_TO }, "chain of the network base" },
    { { .name = "base" }, "pay_to '' is no address" },
    { { .name = "base", .pay_to = SOLANA_PAY_TO }, "pay_to '8Rfm" },
    { { .name = "base", .pay_to = "0x0000000000000000000000000000000000000000" },
      "pay_to '0x0000" },
    { { .name = "base", .pay_to = EVM_PAY_TO, .memo = "x" }, "fee_payer and memo" },
    { { .name = "base", .pay_to = EVM_PAY_TO, .timeout_s = 2147483648u },
      "timeout of 2147483648 s" },
    { { .name = "own", .pay_to = EVM_PAY_TO },
      "no network 'own' is known; known: base, base-sepolia, ethereum, sepolia, polygon, arbitrum, "
      "solana, solana-devnet; else say chain" },
    { { .name = "bsae", .pay_to = EVM_PAY_TO },
      "no network 'bsae' is known, did you mean base? known: base, " },
    { { .name = "base-seplia", .pay_to = EVM_PAY_TO },
      "no network 'base-seplia' is known, did you mean base-sepolia?" },
    { { .chain = "eip155:31337", .pay_to = EVM_PAY_TO }, "name is missing" },
    { { .name = "own", .chain = "eip155:31337", .pay_to = EVM_PAY_TO }, "asset '' is no address" },
    { { .name = "own", .chain = "eip155:31337", .pay_to = EVM_PAY_TO, .asset = EVM_PAY_TO },
      "asset_name and asset_version" },
    { { .name = "own",
        .chain = "eip155:31337",
        .pay_to = EVM_PAY_TO,
        .asset = EVM_PAY_TO,
        .asset_name = "T",
        .asset_version = "1" },
      NULL },
    { { .name = "own",
        .chain = "eip155:0",
        .pay_to = EVM_PAY_TO,
        .asset = EVM_PAY_TO,
        .asset_name = "T",
        .asset_version = "1" },
      "chain 'eip155:0' is not" },
    { { .name = "own", .chain = "cosmos:x", .pay_to = EVM_PAY_TO }, "chain 'cosmos:x' is neither" },
    { { .name = "base", .pay_to = EVM_PAY_TO, .asset_name = "USD\"Coin" }, "asset_name holds" },
    { { .name = "solana", .pay_to = SOLANA_PAY_TO }, NULL },
    { { .name = "solana", .pay_to = EVM_PAY_TO }, "pay_to '0x7099" },
    { { .name = "solana", .pay_to = SOLANA_PAY_TO, .fee_payer = "x" }, "fee_payer 'x' is no key" },
};

static void terms_make_an_entry_or_are_refused_with_a_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        kmy_pay_entry_t entry;
        kmy_errctx_t ctx = { 0 };
        kmy_err_t err = kmy_pay_entry_init(&entry, &rows[i].terms, &ctx);
        if (rows[i].error && strncmp(ctx.detail, rows[i].error, strlen(rows[i].error)) != 0)
            fail_msg("row %zu: '%s' instead of '%s'", i, ctx.detail, rows[i].error);
        if (!rows[i].error && err != KMY_OK)
            fail_msg("row %zu: %s", i, ctx.detail);
        assert_int_equal(err, rows[i].error ? KMY_CONFIG : KMY_OK);
    }
}

static void an_amount_is_base_units_as_text_word_and_number(void **state)
{
    (void)state;
    kmy_pay_entry_t e;
    assert_int_equal(kmy_pay_entry_init(&e, &rows[0].terms, NULL), KMY_OK);
    assert_string_equal(e.amount, "0");
    kmy_pay_entry_price(&e, 10000);
    assert_string_equal(e.amount, "10000");
    assert_int_equal(e.amount_word[30] << 8 | e.amount_word[31], 10000);
    assert_true(kmy_pay_entry_price_text(&e, "340282366920938463463374607431768211455", 39));
    assert_true(e.amount_units == UINT64_MAX);
    assert_int_equal(e.amount_word[16], 0xFF);
    assert_int_equal(e.amount_word[15], 0);
    assert_false(kmy_pay_entry_price_text(&e, "1e3", 3));
    assert_string_equal(e.amount, "340282366920938463463374607431768211455");
    const kmy_pay_terms_t solana = { .name = "solana", .pay_to = SOLANA_PAY_TO };
    assert_int_equal(kmy_pay_entry_init(&e, &solana, NULL), KMY_OK);
    assert_true(kmy_pay_entry_price_text(&e, "18446744073709551615", 20));
    assert_false(kmy_pay_entry_price_text(&e, "18446744073709551616", 20));
}

static void a_price_becomes_whole_base_units_upward_and_no_less_than_the_least(void **state)
{
    (void)state;
    const struct {
        int64_t amount_nusd, min_nusd;
        uint64_t units;
    } want[] = {
        { 1, 0, 1 },
        { 1000, 0, 1 },
        { 1001, 0, 2 },
        { 100000, 0, 100 },
        { 100000, 100000, 100 },
        { 100000, 100001, 101 },
        { 100000, 1000000000, 1000000 },
        { INT64_MAX, 0, 9223372036854776u },
    };
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++)
        assert_true(kmy_pay_units(want[i].amount_nusd, want[i].min_nusd) == want[i].units);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(terms_make_an_entry_or_are_refused_with_a_reason),
        cmocka_unit_test(an_amount_is_base_units_as_text_word_and_number),
        cmocka_unit_test(a_price_becomes_whole_base_units_upward_and_no_less_than_the_least),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
