#include "tests/x402_vectors.h"

#include "wire/secp.h"

/* n, and n/2 as the largest low s. */
static const char order[] = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
static const char half[] = "7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0";

static void set(uint8_t *out, const char *hex)
{
    assert_true(kmy_hex_decode(hex, strlen(hex), out, strlen(hex) / 2));
}

/* n - v */
static void negate(uint8_t v[32])
{
    uint8_t n[32];
    int borrow = 0;
    set(n, order);
    for (int i = 31; i >= 0; i--) {
        int d = n[i] - v[i] - borrow;
        borrow = d < 0;
        v[i] = (uint8_t)d;
    }
}

static void an_address_is_the_end_of_the_keys_hash(void **state)
{
    (void)state;
    json_t *root = vectors_load("addresses.json");
    size_t i;
    json_t *v;
    json_array_foreach(vectors_of(root), i, v)
    {
        uint8_t key[65];
        uint8_t want[20];
        uint8_t have[20];
        assert_int_equal(bytes_of(v, "public_key", key, 65), 65);
        bytes_of(v, "lowercase", want, 20);
        kmy_secp_address(key + 1, have);
        assert_memory_equal(have, want, 20);
    }
    json_decref(root);
}

typedef struct signed_row {
    uint8_t digest[32], rs[64], key[65], address[20];
    int recid;
} signed_row_t;

static signed_row_t good_row(void)
{
    signed_row_t row;
    json_t *root = vectors_load("evm-valid.json");
    json_t *e = json_object_get(json_array_get(vectors_of(root), 0), "eip712");
    bytes_of(e, "digest", row.digest, 32);
    bytes_of(e, "r", row.rs, 32);
    bytes_of(e, "s", row.rs + 32, 32);
    bytes_of(e, "recovered_public_key", row.key, 65);
    bytes_of(e, "recovered_address", row.address, 20);
    row.recid = (int)json_integer_value(json_object_get(e, "y_parity"));
    json_decref(root);
    return row;
}

static void the_signer_is_recovered(void **state)
{
    (void)state;
    signed_row_t row = good_row();
    uint8_t key[64];
    uint8_t address[20];
    assert_true(kmy_secp_recover(row.digest, row.rs, row.recid, key));
    assert_memory_equal(key, row.key + 1, 64);
    assert_true(kmy_secp_recover_address(row.digest, row.rs, row.recid, address));
    assert_memory_equal(address, row.address, 20);
    if (kmy_secp_recover_address(row.digest, row.rs, row.recid ^ 1, address))
        assert_memory_not_equal(address, row.address, 20);
    assert_false(kmy_secp_recover(row.digest, row.rs, 4, key));
    assert_false(kmy_secp_recover(row.digest, row.rs, -1, key));
}

static void r_and_s_lie_between_1_and_n_minus_1(void **state)
{
    (void)state;
    static const char *const outside[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364142",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    };
    signed_row_t row = good_row();
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++)
        for (int half_of_it = 0; half_of_it < 2; half_of_it++)
            for (int recid = 0; recid < 4; recid++) {
                uint8_t rs[64];
                uint8_t key[64];
                memcpy(rs, row.rs, 64);
                set(rs + 32 * half_of_it, outside[i]);
                assert_false(kmy_secp_recover(row.digest, rs, recid, key));
                assert_false(kmy_secp_verify(row.digest, row.key, 65, rs, false));
            }
}

static void of_two_good_signatures_the_low_one_counts(void **state)
{
    (void)state;
    signed_row_t row = good_row();
    uint8_t high[64];
    uint8_t s[32];
    memcpy(high, row.rs, 64);
    negate(high + 32);
    assert_true(kmy_secp_low_s(row.rs + 32));
    assert_false(kmy_secp_low_s(high + 32));
    assert_true(kmy_secp_verify(row.digest, row.key, 65, row.rs, true));
    assert_true(kmy_secp_verify(row.digest, row.key, 65, high, false));
    assert_false(kmy_secp_verify(row.digest, row.key, 65, high, true));
    set(s, half);
    assert_true(kmy_secp_low_s(s));
    s[31]++;
    assert_false(kmy_secp_low_s(s));
}

static void keys_come_compressed_or_not_but_never_hybrid(void **state)
{
    (void)state;
    signed_row_t row = good_row();
    uint8_t key[65];
    memcpy(key, row.key, 65);
    key[0] = (uint8_t)(2 + (row.key[64] & 1));
    assert_true(kmy_secp_verify(row.digest, key, 33, row.rs, true));
    key[0] ^= 1;
    assert_false(kmy_secp_verify(row.digest, key, 33, row.rs, true));
    key[0] = (uint8_t)(6 + (row.key[64] & 1));
    assert_false(kmy_secp_verify(row.digest, key, 65, row.rs, true));
    assert_false(kmy_secp_verify(row.digest, row.key, 64, row.rs, true));
    assert_false(kmy_secp_verify(row.digest, row.key, 33, row.rs, true));
    memcpy(key, row.key, 65);
    key[64] ^= 1; /* off the curve */
    assert_false(kmy_secp_verify(row.digest, key, 65, row.rs, true));
}

static void another_digest_is_refused(void **state)
{
    (void)state;
    signed_row_t row = good_row();
    for (int bit = 0; bit < 256; bit += 17) {
        uint8_t digest[32];
        uint8_t address[20];
        memcpy(digest, row.digest, 32);
        digest[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(kmy_secp_verify(digest, row.key, 65, row.rs, true));
        if (kmy_secp_recover_address(digest, row.rs, row.recid, address))
            assert_memory_not_equal(address, row.address, 20);
    }
}

static void der_is_read_strictly(void **state)
{
    (void)state;
    signed_row_t row = good_row();
    uint8_t der[80] = { 0x30, 68, 0x02, 32 };
    assert_true(row.rs[0] < 0x80 && row.rs[32] < 0x80 && row.rs[0] && row.rs[32]);
    memcpy(der + 4, row.rs, 32);
    der[36] = 0x02;
    der[37] = 32;
    memcpy(der + 38, row.rs + 32, 32);
    assert_true(kmy_secp_verify_der(row.digest, row.key, 65, der, 70, true));
    assert_false(kmy_secp_verify_der(row.digest, row.key, 65, der, 69, true));
    assert_false(kmy_secp_verify_der(row.digest, row.key, 65, der, 71, true));
    der[1]--;
    assert_false(kmy_secp_verify_der(row.digest, row.key, 65, der, 70, true));
    assert_false(kmy_secp_verify_der(row.digest, row.key, 65, row.rs, 64, true));
    assert_false(kmy_secp_verify_der(row.digest, row.key, 65, der, 0, true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_is_the_end_of_the_keys_hash),
        cmocka_unit_test(the_signer_is_recovered),
        cmocka_unit_test(r_and_s_lie_between_1_and_n_minus_1),
        cmocka_unit_test(of_two_good_signatures_the_low_one_counts),
        cmocka_unit_test(keys_come_compressed_or_not_but_never_hybrid),
        cmocka_unit_test(another_digest_is_refused),
        cmocka_unit_test(der_is_read_strictly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
