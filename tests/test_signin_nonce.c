/* pay/signin_nonce: whoever shows a nonce got it from us, not long ago; nobody can make one, or another spelling of one. */
#include "pay/signin_nonce.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#define NOW INT64_C(1795000000)

static kmy_token_key_t *ours, *theirs;

static int make_keys(void **state)
{
    (void)state;
    uint8_t secret[32] = { 1 };
    kmy_errctx_t ctx;
    ours = kmy_token_key_new(secret, sizeof secret, &ctx);
    secret[31] = 1;
    theirs = kmy_token_key_new(secret, sizeof secret, &ctx);
    return ours && theirs ? 0 : -1;
}

static int free_keys(void **state)
{
    (void)state;
    kmy_token_key_free(ours);
    kmy_token_key_free(theirs);
    return 0;
}

static kmy_err_t check(const char *nonce, int64_t now_s)
{
    int64_t expires_s = -1;
    kmy_errctx_t ctx = { 0 };
    kmy_err_t err = kmy_signin_nonce_check(ours, nonce, strlen(nonce), now_s, &expires_s, &ctx);
    if (err == KMY_OK)
        assert_int_equal(expires_s, NOW + KMY_SIGNIN_NONCE_LIFE_S);
    else
        assert_int_equal(expires_s, -1);
    return err;
}

static void a_nonce_is_letters_and_digits_and_no_two_are_alike(void **state)
{
    (void)state;
    char a[KMY_SIGNIN_NONCE_DIGITS + 1], b[KMY_SIGNIN_NONCE_DIGITS + 1];
    assert_true(kmy_signin_nonce_make(ours, NOW, a));
    assert_true(kmy_signin_nonce_make(ours, NOW, b));
    assert_int_equal(strlen(a), KMY_SIGNIN_NONCE_DIGITS);
    assert_int_equal(strspn(a, "0123456789abcdef"), KMY_SIGNIN_NONCE_DIGITS);
    assert_string_not_equal(a, b);
}

static void it_is_good_from_when_it_was_given_for_five_minutes(void **state)
{
    (void)state;
    static const struct {
        int64_t after_s;
        kmy_err_t want;
    } row[] = {
        { -31, KMY_UNAUTHENTICATED }, /* a clock that went back further than any leeway */
        { -30, KMY_OK },
        { 0, KMY_OK },
        { 299, KMY_OK },
        { 300, KMY_UNAUTHENTICATED },
        { 1000000000, KMY_UNAUTHENTICATED },
    };
    char nonce[KMY_SIGNIN_NONCE_DIGITS + 1];
    assert_true(kmy_signin_nonce_make(ours, NOW, nonce));
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++)
        assert_int_equal(check(nonce, NOW + row[i].after_s), row[i].want);
}

static void every_changed_digit_is_noticed(void **state)
{
    (void)state;
    char nonce[KMY_SIGNIN_NONCE_DIGITS + 1];
    assert_true(kmy_signin_nonce_make(ours, NOW, nonce));
    for (size_t i = 0; i < KMY_SIGNIN_NONCE_DIGITS; i++) {
        char was = nonce[i];
        nonce[i] = was == '0' ? '1' : '0';
        assert_int_equal(check(nonce, NOW), KMY_UNAUTHENTICATED);
        nonce[i] = was;
    }
    assert_int_equal(check(nonce, NOW), KMY_OK);
}

static void another_spelling_of_it_is_not_it(void **state)
{
    (void)state;
    char nonce[KMY_SIGNIN_NONCE_DIGITS + 2];
    do
        assert_true(kmy_signin_nonce_make(ours, NOW, nonce));
    while (strcspn(nonce, "abcdef") == KMY_SIGNIN_NONCE_DIGITS);
    char *letter = nonce + strcspn(nonce, "abcdef");
    *letter -= 'a' - 'A'; /* the same bytes, another key for the ledger */
    assert_int_equal(check(nonce, NOW), KMY_UNAUTHENTICATED);
    *letter += 'a' - 'A';
    nonce[KMY_SIGNIN_NONCE_DIGITS - 1] = 0; /* shorter */
    assert_int_equal(check(nonce, NOW), KMY_UNAUTHENTICATED);
    assert_int_equal(check("", NOW), KMY_UNAUTHENTICATED);
}

static void that_of_another_house_is_not_ours(void **state)
{
    (void)state;
    char nonce[KMY_SIGNIN_NONCE_DIGITS + 1];
    assert_true(kmy_signin_nonce_make(theirs, NOW, nonce));
    assert_int_equal(check(nonce, NOW), KMY_UNAUTHENTICATED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_nonce_is_letters_and_digits_and_no_two_are_alike),
        cmocka_unit_test(it_is_good_from_when_it_was_given_for_five_minutes),
        cmocka_unit_test(every_changed_digit_is_noticed),
        cmocka_unit_test(another_spelling_of_it_is_not_it),
        cmocka_unit_test(that_of_another_house_is_not_ours),
    };
    return cmocka_run_group_tests(tests, make_keys, free_keys);
}
