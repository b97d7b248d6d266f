/* pay/evm_call: byte for byte what viem encodes (tests/x402/make_transactions.mjs), of payments as they were presented. */
#include "pay/evm_call.h"

#include "tests/x402_vectors.h"
#include "wire/keccak.h"

static void every_vector_is_encoded_as_viem_encodes_it(void **state)
{
    (void)state;
    json_t *root = vectors_load("../evm/transactions.json");
    json_t *calls = json_object_get(root, "calls");
    size_t i;
    json_t *v;
    assert_true(json_array_size(calls) >= 6);
    json_array_foreach(calls, i, v)
    {
        static uint8_t want[KMY_EVM_CALL_BYTES_MAX], out[KMY_EVM_CALL_BYTES_MAX];
        const char *payment = text_of(v, "payment");
        bool contract = json_is_true(json_object_get(v, "contract"));
        size_t bytes = bytes_of(v, "data", want, sizeof want);
        memset(out, 0xEE, sizeof out);
        if (kmy_evm_call(payment, strlen(payment), contract, out) != bytes ||
            memcmp(out, want, bytes) != 0)
            fail_msg("%s: other bytes than viem's", text_of(v, "name"));
    }
    json_decref(root);
}

static void the_selectors_are_the_hashes_of_their_signatures(void **state)
{
    (void)state;
    static const char *const kinds[] = { "uint8,bytes32,bytes32", "bytes" };
    json_t *root = vectors_load("../evm/transactions.json");
    json_t *calls = json_object_get(root, "calls");
    for (size_t i = 0; i < 2; i++) {
        char text[160];
        uint8_t hash[32], out[KMY_EVM_CALL_BYTES_MAX];
        const char *payment = text_of(json_array_get(calls, 0), "payment");
        int n = snprintf(text, sizeof text,
                         "transferWithAuthorization(address,address,uint256,uint256,uint256,"
                         "bytes32,%s)",
                         kinds[i]);
        kmy_keccak256(text, (size_t)n, hash);
        assert_true(kmy_evm_call(payment, strlen(payment), i == 1, out) > 0);
        assert_memory_equal(out, hash, 4);
    }
    json_decref(root);
}

#define ADDRESS "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913"
#define NONCE   "0xa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf"
#define A(from, value, nonce)                                                                      \
    "\"authorization\":{\"from\":\"" from "\",\"to\":\"" ADDRESS "\",\"value\":\"" value           \
    "\",\"validAfter\":\"0\",\"validBefore\":\"9\",\"nonce\":\"" nonce "\"}"

static void what_is_no_payment_is_no_call(void **state)
{
    (void)state;
    static const char *const none[] = {
        "",
        "[]",
        "{}",
        "{\"payload\":{}}",
        "{\"payload\":{" A(ADDRESS, "1", NONCE) "}}",
        "{\"payload\":{" A(ADDRESS, "1", NONCE) ",\"signature\":\"0x\"}}",
        "{\"payload\":{" A(ADDRESS, "1", NONCE) ",\"signature\":\"0x0\"}}",
        "{\"payload\":{" A(ADDRESS, "1", NONCE) ",\"signature\":\"0xzz\"}}",
        "{\"payload\":{" A(ADDRESS, "1", NONCE) ",\"signature\":65}}",
        "{\"payload\":{" A("0x12", "1", NONCE) ",\"signature\":\"0x1234\"}}",
        "{\"payload\":{" A(ADDRESS, "-1", NONCE) ",\"signature\":\"0x1234\"}}",
        "{\"payload\":{" A(ADDRESS, "1", "0x12") ",\"signature\":\"0x1234\"}}",
    };
    uint8_t out[KMY_EVM_CALL_BYTES_MAX];
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        for (int contract = 0; contract < 2; contract++) {
            if (kmy_evm_call(none[i], strlen(none[i]), contract, out) != 0)
                fail_msg("%s", none[i]);
        }
    }
}

static void a_signature_of_a_byte_too_many_is_none(void **state)
{
    (void)state;
    static char text[16384];
    uint8_t out[KMY_EVM_CALL_BYTES_MAX];
    for (int more = 0; more < 2; more++) {
        int digits = 2 * (4096 + more);
        int n = snprintf(text, sizeof text, "{\"payload\":{%s,\"signature\":\"0x%0*d\"}}",
                         A(ADDRESS, "1", NONCE), digits, 0);
        assert_int_equal(kmy_evm_call(text, (size_t)n, true, out) > 0, !more);
    }
}

static void a_revert_is_said_in_a_word_of_x402(void **state)
{
    (void)state;
    static const struct {
        const char *says, *reason;
    } row[] = {
        { "execution reverted: ERC20: transfer amount exceeds balance", "insufficient_funds" },
        { "execution reverted: FiatTokenV2: authorization is expired",
          "invalid_exact_evm_payload_authorization_valid_before" },
        { "execution reverted: FiatTokenV2: authorization is not yet valid",
          "invalid_exact_evm_payload_authorization_valid_after" },
        { "execution reverted: FiatTokenV2: invalid signature",
          "invalid_exact_evm_payload_signature" },
        { "execution reverted: FiatTokenV2: authorization is used or canceled",
          "invalid_transaction_state" },
        { "execution reverted", "invalid_transaction_state" },
        { "", "invalid_transaction_state" },
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        kmy_json_token_t t = { .type = KMY_JSON_STRING,
                               .text = row[i].says,
                               .len = strlen(row[i].says) };
        assert_string_equal(kmy_evm_call_reason(t), row[i].reason);
    }
    assert_string_equal(kmy_evm_call_reason((kmy_json_token_t){ 0 }), "invalid_transaction_state");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_vector_is_encoded_as_viem_encodes_it),
        cmocka_unit_test(the_selectors_are_the_hashes_of_their_signatures),
        cmocka_unit_test(what_is_no_payment_is_no_call),
        cmocka_unit_test(a_signature_of_a_byte_too_many_is_none),
        cmocka_unit_test(a_revert_is_said_in_a_word_of_x402),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
