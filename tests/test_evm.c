#include "pay/evm.h"

#include "tests/x402_vectors.h"
#include "wire/keccak.h"

static uint64_t chain_of(const json_t *domain)
{
    return (uint64_t)json_integer_value(json_object_get(domain, "chainId"));
}

/* Each payment's domain separator, struct, digest and signer, as the libraries that made the vectors have them. */
static void check_typed_data(const json_t *e)
{
    const json_t *d = json_object_get(e, "domain");
    const json_t *m = json_object_get(e, "message");
    uint8_t token[20], want[32], domain[32], digest[32], signature[65], signer[20], address[20];
    kmy_evm_authorization_t a;
    bytes_of(d, "verifyingContract", token, 20);
    kmy_evm_domain(text_of(d, "name"), text_of(d, "version"), chain_of(d), token, domain);
    bytes_of(e, "domain_separator", want, 32);
    assert_memory_equal(domain, want, 32);

    bytes_of(m, "from", a.from, 20);
    bytes_of(m, "to", a.to, 20);
    bytes_of(m, "nonce", a.nonce, 32);
    assert_true(kmy_evm_word_parse(text_of(m, "value"), strlen(text_of(m, "value")), a.value));
    const char *after = text_of(m, "validAfter");
    const char *before = text_of(m, "validBefore");
    assert_true(kmy_evm_word_parse(after, strlen(after), a.valid_after));
    assert_true(kmy_evm_word_parse(before, strlen(before), a.valid_before));
    kmy_evm_transfer_digest(domain, &a, digest);
    bytes_of(e, "digest", want, 32);
    assert_memory_equal(digest, want, 32);

    bytes_of(e, "r", signature, 32);
    bytes_of(e, "s", signature + 32, 32);
    signature[64] = (uint8_t)json_integer_value(json_object_get(e, "v_byte"));
    bytes_of(e, "recovered_address", signer, 20);
    assert_true(kmy_evm_recover(digest, signature, address));
    assert_memory_equal(address, signer, 20);
}

static void typed_data_of_every_vector_is_hashed_and_recovered(void **state)
{
    (void)state;
    static const char *const files[] = { "evm-valid.json", "evm-invalid.json" };
    int checked = 0;
    for (int f = 0; f < 2; f++) {
        json_t *root = vectors_load(files[f]);
        size_t i;
        json_t *v;
        json_array_foreach(vectors_of(root), i, v)
        {
            const json_t *e = json_object_get(v, f ? "signed_eip712" : "eip712");
            if (!e || json_integer_value(json_object_get(e, "v_byte")) < 27)
                continue;
            uint8_t s[32];
            bytes_of(e, "s", s, 32);
            if (s[0] >= 0x80)
                continue; /* the rows with a high s have a test of their own below */
            check_typed_data(e);
            checked++;
        }
        json_decref(root);
    }
    assert_true(checked >= 40);
}

static void the_constants_are_the_hashes_of_their_types(void **state)
{
    (void)state;
    static const char type[] =
        "TransferWithAuthorization(address from,address to,uint256 value,uint256 "
        "validAfter,uint256 validBefore,bytes32 nonce)";
    uint8_t hash[32];
    char text[65];
    kmy_keccak256(type, sizeof type - 1, hash);
    kmy_hex_encode(hash, 32, text);
    assert_string_equal(text, "7c7c6cdb67a18743f49ec6fa9b35f50d52ed05cbed4cc592e13b44501c1a2267");
}

/* A good signature, bent in each way that still names the same signer to a careless eye. */
static void bent_signatures_are_refused(void **state)
{
    (void)state;
    static const char n_text[] = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    json_t *root = vectors_load("evm-valid.json");
    const json_t *e = json_object_get(json_array_get(vectors_of(root), 0), "eip712");
    uint8_t digest[32], good[65], bad[65], n[32], address[20];
    bytes_of(e, "digest", digest, 32);
    bytes_of(e, "r", good, 32);
    bytes_of(e, "s", good + 32, 32);
    good[64] = (uint8_t)json_integer_value(json_object_get(e, "v_byte"));
    json_decref(root);
    assert_true(kmy_evm_recover(digest, good, address));
    for (int v = 0; v < 256; v++) {
        memcpy(bad, good, 65);
        bad[64] = (uint8_t)v;
        if (v != 27 && v != 28)
            assert_false(kmy_evm_recover(digest, bad, address));
    }
    kmy_hex_decode(n_text, 64, n, 32);
    memcpy(bad, good, 65);
    for (int i = 31, borrow = 0; i >= 0; i--) {
        int d = n[i] - good[32 + i] - borrow;
        borrow = d < 0;
        bad[32 + i] = (uint8_t)d;
    }
    bad[64] ^= 27 ^ 28;
    assert_false(kmy_evm_recover(digest, bad, address));
    memset(bad, 0, 64);
    assert_false(kmy_evm_recover(digest, bad, address));
}

static void decimals_are_read_strictly_up_to_two_to_the_256(void **state)
{
    (void)state;
    static const char max[] =
        "115792089237316195423570985008687907853269984665640564039457584007913129639935";
    static const char over[] =
        "115792089237316195423570985008687907853269984665640564039457584007913129639936";
    static const char *const bad[] = { "",
                                       "+1",
                                       "-1",
                                       " 1",
                                       "1 ",
                                       "1e3",
                                       "0x1",
                                       "01",
                                       "00",
                                       "1.0",
                                       "1,000",
                                       "a",
                                       "1\n",
                                       "1_0",
                                       over,
                                       "1157920892373161954235709850086879078532699846656405640394"
                                       "575840079131296399350" };
    uint8_t word[32];
    uint8_t ones[32];
    memset(ones, 0xFF, 32);
    assert_true(kmy_evm_word_parse(max, strlen(max), word));
    assert_memory_equal(word, ones, 32);
    assert_true(kmy_evm_word_u64(word) == UINT64_MAX);
    assert_true(kmy_evm_word_parse("18446744073709551616", 20, word));
    assert_int_equal(word[23], 1);
    assert_int_equal(word[31], 0);
    assert_true(kmy_evm_word_u64(word) == UINT64_MAX);
    assert_true(kmy_evm_word_parse("0", 1, word));
    assert_int_equal(kmy_evm_word_u64(word), 0);
    memset(word, 7, 32);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(kmy_evm_word_parse(bad[i], strlen(bad[i]), word));
    assert_int_equal(word[0], 7); /* untouched */
    kmy_evm_word_set(10000, word);
    assert_int_equal(kmy_evm_word_u64(word), 10000);
}

static void addresses_are_spelled_with_their_checksum(void **state)
{
    (void)state;
    json_t *root = vectors_load("addresses.json");
    size_t i;
    json_t *v;
    json_array_foreach(vectors_of(root), i, v)
    {
        uint8_t address[20];
        char text[KMY_EVM_ADDRESS_TEXT_BYTES];
        char upper[KMY_EVM_ADDRESS_TEXT_BYTES];
        const char *right = text_of(v, "address");
        bytes_of(v, "lowercase", address, 20);
        kmy_evm_address_text(address, text);
        assert_string_equal(text, right);
        assert_false(kmy_evm_address_is_typo(right, 42));
        assert_false(kmy_evm_address_is_typo(text_of(v, "lowercase"), 42));
        memcpy(upper, right, 43);
        for (int k = 2; k < 42; k++)
            if (upper[k] >= 'a')
                upper[k] = (char)(upper[k] - 'a' + 'A');
        assert_false(kmy_evm_address_is_typo(upper, 42));
        for (int k = 2; k < 42; k++) { /* one letter of the other case */
            memcpy(text, right, 43);
            if (text[k] >= 'A')
                text[k] ^= 0x20;
            if (text[k] >= 'A')
                assert_true(kmy_evm_address_is_typo(text, 42));
        }
    }
    json_decref(root);
    assert_true(kmy_evm_address_is_typo("0x12", 4));
}

static void a_personal_message_is_hashed_with_its_length(void **state)
{
    (void)state;
    json_t *root = vectors_load("sign-in-with-x.json");
    const json_t *v = json_array_get(vectors_of(root), 0);
    uint8_t want[32], have[32];
    const char *text = text_of(v, "message_text");
    bytes_of(v, "eip191_digest", want, 32);
    kmy_evm_personal_digest(text, strlen(text), have);
    assert_memory_equal(have, want, 32);
    json_decref(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(typed_data_of_every_vector_is_hashed_and_recovered),
        cmocka_unit_test(the_constants_are_the_hashes_of_their_types),
        cmocka_unit_test(bent_signatures_are_refused),
        cmocka_unit_test(decimals_are_read_strictly_up_to_two_to_the_256),
        cmocka_unit_test(addresses_are_spelled_with_their_checksum),
        cmocka_unit_test(a_personal_message_is_hashed_with_its_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
