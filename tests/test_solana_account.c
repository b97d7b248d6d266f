#include "pay/solana_account.h"

#include "tests/x402_vectors.h"
#include "wire/base58.h"

static void key(const char *text, uint8_t out[32])
{
    assert_true(kmy_base58_decode(text, strlen(text), out, 32));
}

/* The stock client derived the seller's account and wrote it as the transfer's destination. */
static void the_sellers_account_is_where_the_stock_client_pays(void **state)
{
    (void)state;
    json_t *root = vectors_load("solana.json");
    size_t i;
    json_t *v;
    int checked = 0;
    json_array_foreach(vectors_of(root), i, v)
    {
        const json_t *list = json_object_get(json_object_get(v, "transaction"), "instructions");
        const json_t *transfer = json_array_get(list, 2);
        if (!transfer)
            continue;
        uint8_t wallet[32], mint[32], want[32], have[32];
        const json_t *offer = json_object_get(v, "offer");
        key(text_of(offer, "payTo"), wallet);
        key(text_of(offer, "asset"), mint);
        key(json_string_value(json_array_get(json_object_get(transfer, "accounts"), 2)), want);
        assert_true(kmy_solana_associated(wallet, mint, KMY_SOLANA_TOKEN, have));
        assert_memory_equal(have, want, 32);
        assert_true(kmy_solana_associated(wallet, mint, KMY_SOLANA_TOKEN_2022, have));
        assert_memory_not_equal(have, want, 32);
        checked++;
    }
    assert_int_equal(checked, 2);
    json_decref(root);
}

static void the_program_ids_are_spelled_right(void **state)
{
    (void)state;
    char text[KMY_BASE58_KEY_BYTES_MAX];
    kmy_base58_encode(kmy_solana_token_program[KMY_SOLANA_TOKEN], 32, text);
    assert_string_equal(text, "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA");
    kmy_base58_encode(kmy_solana_token_program[KMY_SOLANA_TOKEN_2022], 32, text);
    assert_string_equal(text, "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sellers_account_is_where_the_stock_client_pays),
        cmocka_unit_test(the_program_ids_are_spelled_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
