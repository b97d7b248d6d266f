#include "pay/network.h"

#include "pay/entry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static const char *const names[] = { "base",    "base-sepolia", "ethereum", "sepolia",
                                     "polygon", "arbitrum",     "solana",   "solana-devnet" };

static void every_known_network_makes_an_entry(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const kmy_pay_network_t *n = kmy_pay_network(names[i]);
        assert_non_null(n);
        assert_ptr_equal(kmy_pay_network(n->chain), n);
        bool solana = strncmp(n->chain, "solana:", 7) == 0;
        kmy_pay_entry_t entry;
        kmy_errctx_t ctx = { 0 };
        kmy_pay_terms_t terms = { .name = names[i],
                                  .pay_to = solana ? "8RfmWU2npvZcFMhFcwuyM1amLmoN2acywiW6P9rayLhL"
                                                   : "0x70997970C51812dc3A010C7d01b50e0d17dc79C8" };
        if (kmy_pay_entry_init(&entry, &terms, &ctx) != KMY_OK)
            fail_msg("%s: %s", names[i], ctx.detail);
        assert_string_equal(entry.asset, n->asset);
    }
    assert_null(kmy_pay_network("bitcoin"));
    assert_null(kmy_pay_network(""));
}

static void a_typo_is_near_to_one_name_and_a_strange_name_to_none(void **state)
{
    (void)state;
    assert_string_equal(kmy_pay_network_closest("Bsae"), "base");
    assert_string_equal(kmy_pay_network_closest("base_sepolia"), "base-sepolia");
    assert_string_equal(kmy_pay_network_closest("solana-devnt"), "solana-devnet");
    assert_string_equal(kmy_pay_network_closest("xe-sepolia"),
                        "base-sepolia"); /* and of two as near the first: sepolia is one too */
    assert_null(kmy_pay_network_closest("bitcoin"));
    assert_null(kmy_pay_network_closest(""));
}

static void the_legacy_client_knows_neither_ethereum_nor_arbitrum(void **state)
{
    (void)state;
    assert_true(kmy_pay_network_in_v1("base"));
    assert_true(kmy_pay_network_in_v1("solana-devnet"));
    assert_false(kmy_pay_network_in_v1("ethereum"));
    assert_false(kmy_pay_network_in_v1("arbitrum"));
    assert_false(kmy_pay_network_in_v1("eip155:8453"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_known_network_makes_an_entry),
        cmocka_unit_test(a_typo_is_near_to_one_name_and_a_strange_name_to_none),
        cmocka_unit_test(the_legacy_client_knows_neither_ethereum_nor_arbitrum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
