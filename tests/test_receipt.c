/* A receipt says what it says for ever: what was signed cannot be changed, left out, reordered or made up later without its being seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "pay/receipt.h"
#include "wire/base64.h"

#define NOW 1795000000

/* RFC 8037 appendix A.1 to A.3. */
static const char rfc_d[] = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
static const char rfc_x[] = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
static const char rfc_kid[] = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

static kmy_receipt_key_t *rfc_key(void)
{
    uint8_t seed[32];
    size_t len;
    assert_true(
        kmy_base64_decode(KMY_BASE64_URL, rfc_d, sizeof rfc_d - 1, seed, sizeof seed, &len));
    kmy_receipt_key_t *key = kmy_receipt_key_new(seed, NULL);
    assert_non_null(key);
    return key;
}

static kmy_receipt_key_t *other_key(void)
{
    static const uint8_t seed[32] = { 7 };
    return kmy_receipt_key_new(seed, NULL);
}

static kmy_receipt_t receipt(uint64_t seq)
{
    kmy_receipt_t r = { .account = "eip155:8453:0xabc",
                        .feed = "SOL/USD",
                        .epoch = "e1",
                        .from = 10 * seq,
                        .to = 10 * seq + 9,
                        .ticks = 10,
                        .amount_nusd = 10000,
                        .seq = seq,
                        .total_ticks = 10 * seq,
                        .total_nusd = (int64_t)(10000 * seq),
                        .issued_s = NOW + (int64_t)seq };
    return r;
}

static size_t issue(const kmy_receipt_key_t *key, const kmy_receipt_t *r,
                    char text[KMY_RECEIPT_BYTES_MAX])
{
    uint8_t signature[KMY_ED25519_SIGNATURE_BYTES];
    kmy_receipt_sign(key, r, signature);
    size_t len = kmy_receipt_text(kmy_receipt_key_public(key), r, signature, text);
    assert_int_equal(len, strlen(text));
    assert_true(len < KMY_RECEIPT_BYTES_MAX);
    return len;
}

static void a_key_is_published_as_rfc_8037_writes_it(void **state)
{
    (void)state;
    kmy_receipt_key_t *key = rfc_key();
    const kmy_receipt_public_t *public = kmy_receipt_key_public(key);
    char jwk[KMY_RECEIPT_JWK_BYTES_MAX];
    kmy_receipt_public_t back[2];
    size_t count;
    assert_string_equal(public->kid, rfc_kid);
    size_t len = kmy_receipt_jwk(public, jwk);
    assert_int_equal(len, strlen(jwk));
    assert_non_null(strstr(jwk, rfc_x));
    assert_int_equal(kmy_receipt_jwks_read(jwk, len, back, 2, &count, NULL), KMY_OK);
    assert_int_equal(count, 1);
    assert_memory_equal(&back[0], public, sizeof *public);
    kmy_receipt_key_free(key);
}

static void a_key_set_gives_its_ed25519_keys_and_passes_over_the_others(void **state)
{
    (void)state;
    static const char set[] =
        "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"A\",\"y\":\"B\"},"
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_"
        "7TyWQHOg7hcvPapiMlrwIaaPcHURo\"},"
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"tooshort\"},"
        "{\"crv\":\"Ed25519\",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"kty\":"
        "\"OKP\"}]}";
    static const char *const none[] = {
        "", "{}", "[]", "{\"keys\":[]}", "{\"keys\":{}}", "{\"keys\":[1]}", "{\"kty\":\"OKP\"} x"
    };
    kmy_receipt_public_t keys[2];
    size_t count;
    assert_int_equal(kmy_receipt_jwks_read(set, sizeof set - 1, keys, 2, &count, NULL), KMY_OK);
    assert_int_equal(count, 2);
    assert_string_equal(keys[0].kid, rfc_kid);
    assert_int_equal(kmy_receipt_jwks_read(set, sizeof set - 1, keys, 1, &count, NULL),
                     KMY_BAD_INPUT);
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_int_equal(kmy_receipt_jwks_read(none[i], strlen(none[i]), keys, 2, &count, NULL),
                         KMY_BAD_INPUT);
}

static void what_is_signed_is_read_back_whole_and_the_same_bytes_each_time(void **state)
{
    (void)state;
    kmy_receipt_key_t *key = rfc_key();
    kmy_receipt_t r = receipt(3);
    kmy_receipt_t back;
    char text[KMY_RECEIPT_BYTES_MAX];
    char again[KMY_RECEIPT_BYTES_MAX];
    snprintf(r.feed, sizeof r.feed, "ETH/USDT@\"binance\\");
    memset(r.prev, 0xA5, sizeof r.prev);
    size_t len = issue(key, &r, text);
    issue(key, &r, again);
    assert_string_equal(text, again);
    assert_int_equal(kmy_receipt_open(kmy_receipt_key_public(key), 1, text, len, &back, NULL),
                     KMY_OK);
    assert_memory_equal(&back, &r, sizeof r);
    kmy_receipt_key_free(key);
}

static void the_longest_receipt_fits(void **state)
{
    (void)state;
    kmy_receipt_key_t *key = rfc_key();
    kmy_receipt_t r = receipt(1);
    kmy_receipt_t back;
    char text[KMY_RECEIPT_BYTES_MAX];
    memset(r.account, '\x01', sizeof r.account - 1);
    memset(r.feed, '\x02', sizeof r.feed - 1);
    memset(r.epoch, '\x03', sizeof r.epoch - 1);
    r.from = 1;
    r.to = r.ticks = r.seq = r.total_ticks = INT64_MAX;
    r.amount_nusd = r.total_nusd = r.issued_s = INT64_MAX;
    size_t len = issue(key, &r, text);
    assert_int_equal(kmy_receipt_open(kmy_receipt_key_public(key), 1, text, len, &back, NULL),
                     KMY_OK);
    assert_memory_equal(&back, &r, sizeof r);
    kmy_receipt_key_free(key);
}

static void no_character_can_be_changed_added_or_dropped(void **state)
{
    (void)state;
    kmy_receipt_key_t *key = rfc_key();
    const kmy_receipt_public_t *public = kmy_receipt_key_public(key);
    kmy_receipt_t r = receipt(1);
    kmy_receipt_t back;
    char text[KMY_RECEIPT_BYTES_MAX];
    size_t len = issue(key, &r, text);
    for (size_t i = 0; i < len; i++) {
        char kept = text[i];
        text[i] = kept == 'A' ? 'B' : 'A';
        if (kmy_receipt_open(public, 1, text, len, &back, NULL) == KMY_OK)
            fail_msg("character %zu", i);
        text[i] = kept;
        if (kmy_receipt_open(public, 1, text, i, &back, NULL) == KMY_OK)
            fail_msg("cut at %zu", i);
    }
    text[len] = 'A';
    assert_int_not_equal(kmy_receipt_open(public, 1, text, len + 1, &back, NULL), KMY_OK);
    kmy_receipt_key_free(key);
}

static void only_a_key_of_the_set_counts(void **state)
{
    (void)state;
    kmy_receipt_key_t *ours = rfc_key();
    kmy_receipt_key_t *theirs = other_key();
    kmy_receipt_public_t set[2] = { *kmy_receipt_key_public(theirs),
                                    *kmy_receipt_key_public(ours) };
    kmy_receipt_t r = receipt(1);
    kmy_receipt_t back;
    char text[KMY_RECEIPT_BYTES_MAX];
    size_t len = issue(ours, &r, text);
    assert_int_equal(kmy_receipt_open(set, 2, text, len, &back, NULL), KMY_OK);
    assert_int_equal(kmy_receipt_open(set, 1, text, len, &back, NULL), KMY_UNAUTHENTICATED);
    /* another key under our name */
    memcpy(set[0].kid, set[1].kid, sizeof set[0].kid);
    assert_int_equal(kmy_receipt_open(set, 1, text, len, &back, NULL), KMY_UNAUTHENTICATED);
    kmy_receipt_key_free(ours);
    kmy_receipt_key_free(theirs);
}

/* Signed by us or not, what says nonsense is no receipt; and what is no EdDSA is none. */
static void other_algorithms_and_shapes_are_refused(void **state)
{
    (void)state;
    /* a kid goes behind each */
    static const char *const headers[] = {
        "{\"alg\":\"none\",\"kid\":\"",
        "{\"alg\":\"HS256\",\"kid\":\"",
        "{\"kid\":\"",
        "{\"alg\":\"EdDSA\",\"crit\":[\"b64\"],\"b64\":false,\"kid\":\"",
        "{\"alg\":\"EdDSA\",\"alg\":\"EdDSA\",\"kid\":\"",
    };
    kmy_receipt_key_t *key = rfc_key();
    const kmy_receipt_public_t *public = kmy_receipt_key_public(key);
    kmy_receipt_t back;
    kmy_receipt_t r = receipt(1);
    char text[KMY_RECEIPT_BYTES_MAX];
    issue(key, &r, text);
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        char json[256];
        char forged[KMY_RECEIPT_BYTES_MAX + 512];
        int n = snprintf(json, sizeof json, "%s%s\"}", headers[i], public->kid);
        size_t at = kmy_base64_encode(KMY_BASE64_URL, json, (size_t)n, forged);
        strcpy(forged + at, strchr(text, '.'));
        assert_int_equal(kmy_receipt_open(public, 1, forged, strlen(forged), &back, NULL),
                         KMY_BAD_INPUT);
    }
    assert_int_equal(kmy_receipt_open(public, 1, "", 0, &back, NULL), KMY_BAD_INPUT);
    assert_int_equal(kmy_receipt_open(public, 1, "a.b", 3, &back, NULL), KMY_BAD_INPUT);
    kmy_receipt_key_free(key);
}

static void a_chain_goes_on_only_where_it_stopped(void **state)
{
    (void)state;
    kmy_receipt_key_t *key = rfc_key();
    kmy_receipt_t first = receipt(1);
    char text[KMY_RECEIPT_BYTES_MAX];
    uint8_t hash[KMY_RECEIPT_HASH_BYTES];
    size_t len = issue(key, &first, text);
    kmy_receipt_hash(text, len, hash);
    assert_int_equal(kmy_receipt_follows(NULL, NULL, &first, NULL), KMY_OK);

    kmy_receipt_t next = receipt(2);
    memcpy(next.prev, hash, sizeof hash);
    assert_int_equal(kmy_receipt_follows(&first, hash, &next, NULL), KMY_OK);
    enum { SEQ_UP, SEQ_SAME, PREV, TICKS, AMOUNT, OLDER, FIRST, WRONGS };
    for (int i = 0; i < WRONGS; i++) {
        kmy_receipt_t bad = next;
        kmy_errctx_t ctx = { 0 };
        bad.seq += i == SEQ_UP;
        bad.seq -= i == SEQ_SAME;
        bad.prev[31] ^= i == PREV;
        bad.total_ticks += i == TICKS;
        bad.total_nusd += i == AMOUNT;
        bad.issued_s -= i == OLDER ? 2 : 0;
        kmy_err_t err = i == FIRST ? kmy_receipt_follows(NULL, NULL, &bad, &ctx)
                                   : kmy_receipt_follows(&first, hash, &bad, &ctx);
        if (err != KMY_CONFLICT || !ctx.detail[0])
            fail_msg("wrong %d was let pass", i);
    }
    kmy_receipt_t forged = first;
    forged.prev[0] = 1; /* a first one with something before it */
    assert_int_equal(kmy_receipt_follows(NULL, NULL, &forged, NULL), KMY_CONFLICT);
    kmy_receipt_key_free(key);
}

static void the_key_is_made_once_and_only_its_owner_may_read_it(void **state)
{
    (void)state;
    char folder[] = "/tmp/kamiyo-receipt-XXXXXX";
    char path[64];
    struct stat st;
    kmy_errctx_t ctx = { 0 };
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/receipt.key", folder);
    kmy_receipt_key_t *a = kmy_receipt_key_load(folder, &ctx);
    kmy_receipt_key_t *b = kmy_receipt_key_load(folder, &ctx);
    assert_non_null(a);
    assert_non_null(b);
    assert_string_equal(kmy_receipt_key_public(a)->kid, kmy_receipt_key_public(b)->kid);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(st.st_size, 32);
    assert_int_equal(chmod(path, 0644), 0);
    assert_null(kmy_receipt_key_load(folder, &ctx));
    assert_non_null(strstr(ctx.detail, "chmod 600"));
    kmy_receipt_key_free(a);
    kmy_receipt_key_free(b);
    unlink(path);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_published_as_rfc_8037_writes_it),
        cmocka_unit_test(a_key_set_gives_its_ed25519_keys_and_passes_over_the_others),
        cmocka_unit_test(what_is_signed_is_read_back_whole_and_the_same_bytes_each_time),
        cmocka_unit_test(the_longest_receipt_fits),
        cmocka_unit_test(no_character_can_be_changed_added_or_dropped),
        cmocka_unit_test(only_a_key_of_the_set_counts),
        cmocka_unit_test(other_algorithms_and_shapes_are_refused),
        cmocka_unit_test(a_chain_goes_on_only_where_it_stopped),
        cmocka_unit_test(the_key_is_made_once_and_only_its_owner_may_read_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
