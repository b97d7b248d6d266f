/* pay/signin: who may have a token again without paying. */
#include "pay/signin.h"

#include "tests/x402_vectors.h"
#include "wire/base58.h"
#include "wire/base64.h"

#include <openssl/evp.h>

static const char *const chains[] = { "eip155:1", "eip155:8453",
                                      "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp" };
static const kmy_signin_terms_t terms = { "feed.example", "https://feed.example", chains, 3 };

static void the_stock_clients_proof_is_accepted(void **state)
{
    (void)state;
    json_t *root = vectors_load("sign-in-with-x.json");
    const json_t *v = json_array_get(vectors_of(root), 0);
    const char *header = text_of(v, "header_value");
    int64_t now = json_integer_value(json_object_get(v, "verify_at"));
    kmy_signin_t s;
    kmy_errctx_t ctx = { 0 };
    if (kmy_signin_verify(header, strlen(header), &terms, now, &s, &ctx) != KMY_OK)
        fail_msg("%s", ctx.detail);
    assert_string_equal(s.account, "eip155:8453:0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc");
    assert_string_equal(s.nonce, "a1b2c3d4e5f60718293a4b5c6d7e8f90");
    assert_int_equal(s.issued_s, 1767225600);
    assert_int_equal(s.expires_s, 1767225900);
    json_decref(root);
}

static kmy_err_t judge(const json_t *proof, const kmy_signin_terms_t *asked, int64_t now,
                       kmy_signin_t *out)
{
    static char text[9000];
    static char header[12000];
    kmy_errctx_t ctx = { 0 };
    size_t len = json_dumpb(proof, text, sizeof text, JSON_COMPACT);
    size_t header_len = kmy_base64_encode(KMY_BASE64_STD, text, len, header);
    kmy_err_t err = kmy_signin_verify(header, header_len, asked, now, out, &ctx);
    assert_int_equal(err == KMY_OK, ctx.where == NULL);
    return err;
}

/* member set to JSON text (NULL: removed), seconds after issuedAt -> result */
static const struct {
    const char *member, *value;
    int64_t after_s;
    kmy_err_t err;
} rows[] = {
    { NULL, NULL, 0, KMY_OK },
    { NULL, NULL, 299, KMY_OK },
    { NULL, NULL, 300, KMY_UNAUTHENTICATED },
    { NULL, NULL, -30, KMY_OK },
    { NULL, NULL, -31, KMY_UNAUTHENTICATED },
    { "domain", "\"other.example\"", 0, KMY_UNAUTHENTICATED },
    { "domain", "\"Feed.example\"", 0, KMY_UNAUTHENTICATED },
    { "uri", "\"https://feed.example.evil/v1\"", 0, KMY_UNAUTHENTICATED },
    { "uri", "\"http://feed.example/v1\"", 0, KMY_UNAUTHENTICATED },
    { "uri", "\"https://feed.example\"", 0,
      KMY_UNAUTHENTICATED }, /* of us, but not what was signed */
    { "version", "\"2\"", 0, KMY_BAD_INPUT },
    { "chainId", "\"eip155:137\"", 0, KMY_UNSUPPORTED },
    { "chainId", "\"eip155:1\"", 0, KMY_UNAUTHENTICATED },
    { "chainId", "8453", 0, KMY_BAD_INPUT },
    { "type", "\"eip1271\"", 0, KMY_BAD_INPUT },
    { "type", "\"ed25519\"", 0, KMY_BAD_INPUT },
    { "nonce", "\"a1b2c3d4e5f60718293a4b5c6d7e8f91\"", 0, KMY_UNAUTHENTICATED },
    { "nonce", "\"\"", 0, KMY_BAD_INPUT },
    { "nonce", NULL, 0, KMY_BAD_INPUT },
    { "statement", "\"Give all\"", 0, KMY_UNAUTHENTICATED },
    { "statement", NULL, 0, KMY_UNAUTHENTICATED },
    { "statement", "\"a\\nURI: b\"", 0, KMY_BAD_INPUT },
    { "issuedAt", "\"2026-01-01T00:00:01.000Z\"", 0, KMY_UNAUTHENTICATED },
    { "issuedAt", "\"yesterday\"", 0, KMY_BAD_INPUT },
    { "expirationTime", "\"2026-01-01T00:00:00.000Z\"", 0, KMY_UNAUTHENTICATED },
    { "expirationTime", NULL, 0, KMY_UNAUTHENTICATED },
    { "notBefore", "\"2026-01-01T00:00:31.000Z\"", 0, KMY_UNAUTHENTICATED },
    { "requestId", "\"r\"", 0, KMY_UNAUTHENTICATED },
    { "resources", "[]", 0, KMY_UNAUTHENTICATED },
    { "resources", "\"x\"", 0, KMY_BAD_INPUT },
    { "resources", "[1]", 0, KMY_BAD_INPUT },
    { "resources",
      "[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\",\"11\",\"12\","
      "\"13\",\"14\",\"15\",\"16\",\"17\"]",
      0, KMY_BAD_INPUT },
    { "address", "\"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\"", 0, KMY_UNAUTHENTICATED },
    { "address", "\"x\"", 0, KMY_BAD_INPUT },
    { "signature", "\"0x00\"", 0, KMY_BAD_INPUT },
    { "signature", "null", 0, KMY_BAD_INPUT },
    { "extra", "{\"ignored\":[1,2]}", 0, KMY_OK },
};

static void each_member_counts(void **state)
{
    (void)state;
    json_t *root = vectors_load("sign-in-with-x.json");
    const json_t *v = json_array_get(vectors_of(root), 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        kmy_signin_t s;
        json_t *proof = json_deep_copy(json_object_get(v, "decoded"));
        if (rows[i].value)
            json_object_set_new(proof, rows[i].member,
                                json_loads(rows[i].value, JSON_DECODE_ANY, NULL));
        else if (rows[i].member)
            json_object_del(proof, rows[i].member);
        kmy_err_t err = judge(proof, &terms, 1767225600 + rows[i].after_s, &s);
        if (err != rows[i].err)
            fail_msg("row %zu (%s): %s instead of %s", i, rows[i].member ? rows[i].member : "-",
                     kmy_err_code(err), kmy_err_code(rows[i].err));
        json_decref(proof);
    }
    json_decref(root);
}

static void a_contracts_signature_is_not_ours_to_judge(void **state)
{
    (void)state;
    json_t *root = vectors_load("sign-in-with-x.json");
    json_t *proof = json_object_get(json_array_get(vectors_of(root), 0), "decoded");
    char longer[300] = "0x";
    kmy_signin_t s;
    memset(longer + 2, '1', 2 * 96);
    json_object_set_new(proof, "signature", json_string(longer));
    assert_int_equal(judge(proof, &terms, 1767225600, &s), KMY_UNSUPPORTED);
    json_decref(root);
}

/* The Solana form, as the @x402/extensions package composes it, signed here. */
static void solana_wallets_sign_their_own_form(void **state)
{
    (void)state;
    static const struct {
        const char *statement, *resource, *text;
    } forms[] = {
        { "Hi", "https://feed.example/v1",
          "feed.example wants you to sign in with your Solana account:\n%s\n\nHi\n\nURI: "
          "https://feed.example/v1\nVersion: 1\nChain ID: "
          "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp\nNonce: n1\nIssued At: "
          "2026-01-01T00:00:00Z\nResources:\n- https://feed.example/v1" },
        { NULL, NULL,
          "feed.example wants you to sign in with your Solana account:\n%s\n\nURI: "
          "https://feed.example/v1\nVersion: 1\nChain ID: "
          "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp\nNonce: n1\nIssued At: 2026-01-01T00:00:00Z" },
    };
    static const uint8_t seed[32] = { 9 };
    uint8_t public_key[32], signature[64];
    size_t key_len = 32, signature_len = 64;
    char address[64], signature_text[100];
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, 32);
    EVP_PKEY_get_raw_public_key(key, public_key, &key_len);
    kmy_base58_encode(public_key, 32, address);
    for (int i = 0; i < 2; i++) {
        char text[1024];
        const char *split = strstr(forms[i].text, "%s");
        int n = snprintf(text, sizeof text, "%.*s%s%s", (int)(split - forms[i].text), forms[i].text,
                         address, split + 2);
        EVP_MD_CTX *md = EVP_MD_CTX_new();
        EVP_DigestSignInit(md, NULL, NULL, NULL, key);
        EVP_DigestSign(md, signature, &signature_len, (uint8_t *)text, (size_t)n);
        EVP_MD_CTX_free(md);
        kmy_base58_encode(signature, 64, signature_text);
        json_t *proof = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "domain", "feed.example",
                                  "address", address, "uri", "https://feed.example/v1", "version",
                                  "1", "chainId", chains[2], "type", "ed25519", "nonce", "n1",
                                  "issuedAt", "2026-01-01T00:00:00Z", "signature", signature_text);
        if (forms[i].statement) {
            json_object_set_new(proof, "statement", json_string(forms[i].statement));
            json_object_set_new(proof, "resources", json_pack("[s]", forms[i].resource));
        }
        kmy_signin_t s;
        char account[160];
        assert_int_equal(judge(proof, &terms, 1767225600, &s), KMY_OK);
        snprintf(account, sizeof account, "%s:%s", chains[2], address);
        assert_string_equal(s.account, account);
        assert_true(s.expires_s == INT64_MAX);
        json_object_set_new(proof, "nonce", json_string("n2"));
        assert_int_equal(judge(proof, &terms, 1767225600, &s), KMY_UNAUTHENTICATED);
        json_decref(proof);
    }
    EVP_PKEY_free(key);
}

static void times_are_those_of_rfc_3339(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t s;
        bool good;
    } times[] = {
        { "1970-01-01T00:00:00Z", 0, true },
        { "2026-01-01T00:00:00.000Z", 1767225600, true },
        { "2026-01-01T01:30:00+01:30", 1767225600, true },
        { "2025-12-31T22:00:00.123456789-02:00", 1767225600, true },
        { "2024-02-29T12:00:00Z", 1709208000, true },
        { "2000-02-29T00:00:00z", 951782400, true },
        { "1969-12-31t23:59:59Z", -1, true },
        { "9999-12-31T23:59:59Z", 253402300799, true },
        { "2023-02-29T00:00:00Z", 0, false },
        { "1900-02-29T00:00:00Z", 0, false },
        { "2026-13-01T00:00:00Z", 0, false },
        { "2026-00-01T00:00:00Z", 0, false },
        { "2026-01-32T00:00:00Z", 0, false },
        { "2026-01-01T24:00:00Z", 0, false },
        { "2026-01-01T00:60:00Z", 0, false },
        { "2026-01-01T00:00:60Z", 0, false },
        { "2026-01-01 00:00:00Z", 0, false },
        { "2026-01-01T00:00:00", 0, false },
        { "2026-01-01T00:00:00.Z", 0, false },
        { "2026-01-01T00:00:00+0100", 0, false },
        { "2026-01-01T00:00:00+24:00", 0, false },
        { "2026-01-01T00:00:00Zx", 0, false },
        { "+026-01-01T00:00:00Z", 0, false },
        { "", 0, false },
    };
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        int64_t s = 0;
        assert_int_equal(kmy_signin_time(times[i].text, strlen(times[i].text), &s), times[i].good);
        assert_int_equal(s, times[i].s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_stock_clients_proof_is_accepted),
        cmocka_unit_test(each_member_counts),
        cmocka_unit_test(a_contracts_signature_is_not_ours_to_judge),
        cmocka_unit_test(solana_wallets_sign_their_own_form),
        cmocka_unit_test(times_are_those_of_rfc_3339),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
