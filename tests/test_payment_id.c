/* pay/payment_id: it names what was authorized, whatever carried it; ids of earlier lives stay the same for ever. */
#include "pay/payment_id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

static kmy_pay_entry_t entry_of(const char *name, const char *pay_to, const char *asset)
{
    kmy_pay_entry_t e;
    const kmy_pay_terms_t terms = { .name = name, .pay_to = pay_to, .asset = asset };
    assert_int_equal(kmy_pay_entry_init(&e, &terms, NULL), KMY_OK);
    return e;
}

#define EVM_US    "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
#define SOLANA_US "8RfmWU2npvZcFMhFcwuyM1amLmoN2acywiW6P9rayLhL"

/* Computed by another program: sha256sum of the text, its first 32 digits. */
static void ids_are_the_hash_of_chain_token_payer_and_nonce(void **state)
{
    (void)state;
    uint8_t payer[32], nonce[32];
    char id[KMY_PAYMENT_ID_DIGITS + 1];
    for (int i = 0; i < 32; i++) {
        payer[i] = (uint8_t)(i + 1);
        nonce[i] = (uint8_t)(0xa0 + i);
    }
    kmy_pay_entry_t e = entry_of("base", EVM_US, NULL);
    kmy_payment_id(&e, payer, nonce, id);
    assert_string_equal(id, "dc55008063987a7dd65e5476b99c88b3");
    e = entry_of("solana", SOLANA_US, NULL);
    kmy_payment_id(&e, payer, nonce, id);
    assert_string_equal(id, "517d24fd0bfff00cc9ce2efce59776ad");
}

static void how_a_configuration_spells_the_token_does_not_matter(void **state)
{
    (void)state;
    uint8_t payer[32] = { 1 }, nonce[32] = { 2 };
    char a[KMY_PAYMENT_ID_DIGITS + 1], b[KMY_PAYMENT_ID_DIGITS + 1];
    kmy_pay_entry_t e = entry_of("base", EVM_US, "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913");
    kmy_payment_id(&e, payer, nonce, a);
    e = entry_of("base", EVM_US, "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913");
    kmy_pay_entry_price(&e, 12345);
    kmy_payment_id(&e, payer, nonce, b);
    assert_string_equal(a, b);
}

static void another_chain_token_payer_or_nonce_is_another_payment(void **state)
{
    (void)state;
    char id[5][KMY_PAYMENT_ID_DIGITS + 1];
    uint8_t payer[32] = { 1 }, nonce[32] = { 2 };
    kmy_pay_entry_t e = entry_of("base", EVM_US, NULL);
    kmy_pay_entry_t sepolia = entry_of("base-sepolia", EVM_US, NULL);
    kmy_pay_entry_t other = entry_of("base", EVM_US, "0x036cbd53842c5426634e7929541ec2318f3dcf7e");
    kmy_payment_id(&e, payer, nonce, id[0]);
    kmy_payment_id(&sepolia, payer, nonce, id[1]);
    kmy_payment_id(&other, payer, nonce, id[2]);
    nonce[31] = 1;
    kmy_payment_id(&e, payer, nonce, id[3]);
    nonce[31] = 0;
    payer[19] = 1;
    kmy_payment_id(&e, payer, nonce, id[4]);
    for (int i = 0; i < 5; i++) {
        for (int j = 0; j < i; j++)
            assert_string_not_equal(id[i], id[j]);
    }
    payer[20] = 1; /* an EVM address has 20 bytes */
    kmy_payment_id(&e, payer, nonce, id[0]);
    assert_string_equal(id[0], id[4]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_the_hash_of_chain_token_payer_and_nonce),
        cmocka_unit_test(how_a_configuration_spells_the_token_does_not_matter),
        cmocka_unit_test(another_chain_token_payer_or_nonce_is_another_payment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
