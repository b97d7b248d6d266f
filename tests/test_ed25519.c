#include "pay/ed25519.h"

#include "wire/hex.h"

#include <openssl/sha.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

/* RFC 8032 section 7.1: key, message, signature. */
static const struct {
    const char *key, *message, *signature;
} rows[] = {
    { "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9"
      "b4"
      "6bd25bf5f0595bbe24655141438e7a100b" },
    { "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f1"
      "1d"
      "8c387b2eaeb4302aeeb00d291612bb0c00" },
    { "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
      "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984d"
      "c6"
      "594a7c15e9716ed28dc027beceea1ec40a" },
};

static void set(uint8_t *out, const char *hex)
{
    assert_true(kmy_hex_decode(hex, strlen(hex), out, strlen(hex) / 2));
}

static void the_signatures_of_the_rfc_are_good_and_a_changed_bit_is_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t key[32], message[2], signature[64];
        size_t len = strlen(rows[i].message) / 2;
        set(key, rows[i].key);
        set(message, rows[i].message);
        set(signature, rows[i].signature);
        assert_true(kmy_ed25519_verify(key, signature, message, len));
        for (int bit = 0; bit < 512; bit += 37) {
            signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_false(kmy_ed25519_verify(key, signature, message, len));
            signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        key[5] ^= 4;
        assert_false(kmy_ed25519_verify(key, signature, message, len));
    }
}

/* S and S + L are the same number to the curve; only the smaller is a signature. */
static void s_above_the_group_order_is_refused(void **state)
{
    (void)state;
    uint8_t key[32], order[32], signature[64];
    set(key, rows[0].key);
    set(signature, rows[0].signature);
    set(order, "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    for (int i = 0, carry = 0; i < 32; i++) {
        carry += signature[32 + i] + order[i];
        signature[32 + i] = (uint8_t)carry;
        carry >>= 8;
    }
    assert_false(kmy_ed25519_verify(key, signature, "", 0));
}

/* With the neutral point as key and R, and S = 0, every message would verify: R = S B - h A, whatever the hash h is. */
static void keys_and_r_of_small_order_fit_no_message(void **state)
{
    (void)state;
    static const char *const small[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    };
    for (size_t k = 0; k < sizeof small / sizeof small[0]; k++)
        for (size_t r = 0; r < sizeof small / sizeof small[0]; r++) {
            uint8_t key[32], signature[64] = { 0 };
            set(key, small[k]);
            set(signature, small[r]);
            for (uint8_t m = 0; m < 16; m++)
                assert_false(kmy_ed25519_verify(key, signature, &m, 1));
        }
}

/* y and y + p name one point; only the smaller spelling is a key. */
static void a_key_that_is_not_reduced_is_refused(void **state)
{
    (void)state;
    static const char *const keys[] = {
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    };
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        uint8_t key[32], signature[64];
        set(key, keys[i]);
        set(signature, rows[0].signature);
        assert_false(kmy_ed25519_verify(key, signature, "", 0));
    }
}

/* SHA-256 of the single bytes 0 to 63 as points: which are on the curve was computed by the textbook formula in another language. */
static void a_hash_is_a_point_or_not(void **state)
{
    (void)state;
    static const char want[] = "0101001110111111100101101011111011001110011011000111000110110110";
    for (uint8_t i = 0; i < 64; i++) {
        uint8_t hash[32];
        SHA256(&i, 1, hash);
        assert_int_equal(kmy_ed25519_on_curve(hash), want[i] == '1');
        hash[31] ^= 0x80; /* the sign does not matter */
        assert_int_equal(kmy_ed25519_on_curve(hash), want[i] == '1');
    }
    uint8_t one[32] = { 1 }; /* the neutral point */
    assert_true(kmy_ed25519_on_curve(one));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_signatures_of_the_rfc_are_good_and_a_changed_bit_is_not),
        cmocka_unit_test(s_above_the_group_order_is_refused),
        cmocka_unit_test(keys_and_r_of_small_order_fit_no_message),
        cmocka_unit_test(a_key_that_is_not_reduced_is_refused),
        cmocka_unit_test(a_hash_is_a_point_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
