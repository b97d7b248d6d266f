/* pay/evm_tx: byte for byte what viem signs (tests/x402/make_transactions.mjs). */
#include "pay/evm_tx.h"

#include "tests/x402_vectors.h"
#include "wire/secp_sign.h"

#include <stdlib.h>

static uint64_t number_of(const json_t *v, const char *key)
{
    return strtoull(text_of(v, key), NULL, 10);
}

static void every_vector_is_signed_as_viem_signs_it(void **state)
{
    (void)state;
    json_t *root = vectors_load("../evm/transactions.json");
    size_t i;
    json_t *v;
    assert_true(json_array_size(vectors_of(root)) >= 10);
    json_array_foreach(vectors_of(root), i, v)
    {
        uint8_t key[32], data[KMY_EVM_CALL_BYTES_MAX], want[KMY_EVM_TX_BYTES_MAX], hash[32],
            address[20], have_address[20];
        uint8_t out[KMY_EVM_TX_BYTES_MAX], have[32];
        kmy_evm_tx_t tx = { .chain_id = number_of(v, "chain_id"),
                            .nonce = number_of(v, "nonce"),
                            .tip = number_of(v, "tip"),
                            .fee = number_of(v, "fee"),
                            .gas = number_of(v, "gas"),
                            .data = data };
        bytes_of(v, "key", key, 32);
        bytes_of(v, "to", tx.to, 20);
        bytes_of(v, "hash", hash, 32);
        tx.data_bytes = bytes_of(v, "data", data, sizeof data);
        size_t want_bytes = bytes_of(v, "raw", want, sizeof want);
        if (kmy_evm_tx_sign(&tx, key, out, have) != want_bytes ||
            memcmp(out, want, want_bytes) != 0)
            fail_msg("%s: other bytes than viem's", text_of(v, "name"));
        assert_memory_equal(have, hash, 32);
        bytes_of(v, "address", address, 20);
        assert_true(kmy_secp_key_address(key, have_address));
        assert_memory_equal(address, have_address, 20);
    }
    json_decref(root);
}

static void without_a_key_nothing_is_signed(void **state)
{
    (void)state;
    static const uint8_t none[32];
    uint8_t out[KMY_EVM_TX_BYTES_MAX], hash[32];
    kmy_evm_tx_t tx = { .chain_id = 1, .gas = 21000 };
    assert_int_equal(kmy_evm_tx_sign(&tx, none, out, hash), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vector_is_signed_as_viem_signs_it),
        cmocka_unit_test(without_a_key_nothing_is_signed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
