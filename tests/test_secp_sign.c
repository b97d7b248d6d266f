/* wire/secp_sign: what it signs is found to be its own by the other half, which published vectors judge. */
#include "wire/secp_sign.h"

#include "wire/hex.h"
#include "wire/keccak.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static void what_is_signed_recovers_to_the_keys_address(void **state)
{
    (void)state;
    for (uint8_t i = 1; i <= 50; i++) {
        uint8_t key[32], digest[32], rs[64], mine[20], signer[20];
        int recid = -1;
        kmy_keccak256(&i, 1, key);
        kmy_keccak256(key, sizeof key, digest);
        assert_true(kmy_secp_key_address(key, mine));
        assert_true(kmy_secp_sign(digest, key, rs, &recid));
        assert_in_range(recid, 0, 1);
        assert_true(kmy_secp_low_s(rs + 32));
        assert_true(kmy_secp_recover_address(digest, rs, recid, signer));
        assert_memory_equal(signer, mine, 20);
    }
}

/* The first account of the mnemonic that test chains begin with; every wallet shows this pair. */
static void the_address_is_the_one_that_wallets_show(void **state)
{
    (void)state;
    uint8_t key[32], address[20];
    char text[41];
    assert_true(kmy_hex_decode("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
                               64, key, 32));
    assert_true(kmy_secp_key_address(key, address));
    kmy_hex_encode(address, 20, text);
    assert_string_equal(text, "f39fd6e51aad88f6f4ce6ab8827279cfffb92266");
}

static void the_same_is_signed_the_same_way(void **state)
{
    (void)state;
    uint8_t key[32] = { [31] = 7 }, digest[32] = { 1 }, a[64], b[64];
    int ra, rb;
    assert_true(kmy_secp_sign(digest, key, a, &ra));
    assert_true(kmy_secp_sign(digest, key, b, &rb));
    assert_memory_equal(a, b, 64);
    assert_int_equal(ra, rb);
}

static void what_is_no_key_signs_nothing(void **state)
{
    (void)state;
    static const char *const none[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", /* the order */
        "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    };
    for (int i = 0; i < 3; i++) {
        uint8_t key[32], digest[32] = { 1 }, rs[64], address[20];
        static const uint8_t zero[64];
        int recid;
        assert_true(kmy_hex_decode(none[i], 64, key, 32));
        assert_false(kmy_secp_key_address(key, address));
        assert_false(kmy_secp_sign(digest, key, rs, &recid));
        assert_memory_equal(rs, zero, 64);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_signed_recovers_to_the_keys_address),
        cmocka_unit_test(the_address_is_the_one_that_wallets_show),
        cmocka_unit_test(the_same_is_signed_the_same_way),
        cmocka_unit_test(what_is_no_key_signs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
