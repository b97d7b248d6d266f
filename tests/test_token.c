/* The claims of a bearer: all there, all of the right type, all of now (T2). */
#include "tests/token_rig.h"

#define NOW 1795000000 /* seconds */

static kmy_token_key_t *key;

static kmy_err_t verify(const char *token, size_t len, int64_t now_s, kmy_token_claims_t *claims)
{
    kmy_errctx_t ctx;
    return kmy_token_verify(key, token, len, now_s, claims, &ctx);
}

static void what_was_signed_is_what_is_read(void **state)
{
    kmy_token_claims_t in = { .account = "eip155:8453:0xaa",
                              .issued_s = NOW,
                              .expires_s = NOW + 60 };
    kmy_token_claims_t out = { 0 };
    char token[KMY_TOKEN_BYTES_MAX];
    char first[KMY_JTI_BYTES_MAX];
    (void)state;
    assert_int_equal(kmy_token_sign(key, &in, token, NULL), KMY_OK);
    assert_int_equal(strlen(in.jti), 22); /* 128 bits in base64url */
    assert_int_equal(verify(token, strlen(token), NOW, &out), KMY_OK);
    assert_string_equal(out.account, in.account);
    assert_string_equal(out.jti, in.jti);
    assert_int_equal(out.issued_s, NOW);
    assert_int_equal(out.expires_s, NOW + 60);
    memcpy(first, in.jti, sizeof first);
    in.jti[0] = '\0';
    assert_int_equal(kmy_token_sign(key, &in, token, NULL), KMY_OK);
    assert_string_not_equal(first, in.jti);
}

static void the_longest_account_and_id_fit(void **state)
{
    kmy_token_claims_t in = { .issued_s = 0, .expires_s = KMY_TOKEN_TIME_S_MAX };
    kmy_token_claims_t out;
    char token[KMY_TOKEN_BYTES_MAX];
    (void)state;
    memset(in.account, 'a', KMY_ACCOUNT_BYTES_MAX - 1);
    memset(in.jti, 'j', KMY_JTI_BYTES_MAX - 1);
    assert_int_equal(kmy_token_sign(key, &in, token, NULL), KMY_OK);
    assert_int_equal(verify(token, strlen(token), NOW, &out), KMY_OK);
    assert_string_equal(out.account, in.account);
    assert_string_equal(out.jti, in.jti);
}

static void tokens_that_make_no_sense_are_not_signed(void **state)
{
    kmy_token_claims_t none = { .issued_s = NOW, .expires_s = NOW + 60 };
    kmy_token_claims_t dead = { .account = "local:a", .issued_s = NOW, .expires_s = NOW };
    kmy_token_claims_t late = { .account = "local:a",
                                .issued_s = NOW,
                                .expires_s = KMY_TOKEN_TIME_S_MAX + 1 };
    char token[KMY_TOKEN_BYTES_MAX];
    (void)state;
    assert_int_equal(kmy_token_sign(key, &none, token, NULL), KMY_BAD_INPUT);
    assert_int_equal(kmy_token_sign(key, &dead, token, NULL), KMY_BAD_INPUT);
    assert_int_equal(kmy_token_sign(key, &late, token, NULL), KMY_BAD_INPUT);
}

static void a_token_lives_from_iat_to_exp_with_30_s_of_leeway(void **state)
{
    static const struct {
        int64_t now_s;
        kmy_err_t want;
    } rows[] = {
        { 0, KMY_UNAUTHENTICATED },
        { NOW - 31, KMY_UNAUTHENTICATED },
        { NOW - 30, KMY_OK },
        { NOW, KMY_OK },
        { NOW + 99, KMY_OK },
        { NOW + 100, KMY_OK },
        { NOW + 129, KMY_OK },
        { NOW + 130, KMY_TOKEN_EXPIRED },
        { NOW + 100000, KMY_TOKEN_EXPIRED },
        { KMY_TOKEN_TIME_S_MAX, KMY_TOKEN_EXPIRED },
    };
    kmy_token_claims_t in = { .account = "local:a", .issued_s = NOW, .expires_s = NOW + 100 };
    kmy_token_claims_t out;
    char token[KMY_TOKEN_BYTES_MAX];
    (void)state;
    assert_int_equal(kmy_token_sign(key, &in, token, NULL), KMY_OK);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(verify(token, strlen(token), rows[i].now_s, &out), rows[i].want);
    token[strlen(token) - 10] ^= 1; /* expiry is told of genuine tokens only */
    assert_int_equal(verify(token, strlen(token), NOW + 1000, &out), KMY_UNAUTHENTICATED);
}

#define GOOD                                                                                       \
    "\"iss\":\"kamiyo\",\"sub\":\"local:a\",\"jti\":\"x\",\"iat\":1795000000,\"exp\":1795000100"
#define WITHOUT_TIMES "\"iss\":\"kamiyo\",\"sub\":\"local:a\",\"jti\":\"x\""

static void claims_are_all_there_once_and_of_their_type(void **state)
{
    static const struct {
        const char *payload;
        kmy_err_t want;
    } rows[] = {
        { "{" GOOD "}", KMY_OK },
        { " { " GOOD " } ", KMY_OK },
        { "{" GOOD ",\"name\":\"other claims are ignored\"}", KMY_OK },
        { "{" GOOD ",\"aud\":\"kamiyo\"}", KMY_OK },
        { "{" GOOD ",\"nbf\":1795000030}", KMY_OK },
        { "{" GOOD ",\"nbf\":1795000031}", KMY_UNAUTHENTICATED },
        { "{" GOOD ",\"nbf\":\"0\"}", KMY_UNAUTHENTICATED },
        { "{" GOOD ",\"nbf\":1.0}", KMY_UNAUTHENTICATED },
        { "{" GOOD ",\"aud\":\"other\"}", KMY_UNAUTHENTICATED },
        { "{" GOOD ",\"aud\":[\"kamiyo\"]}", KMY_UNAUTHENTICATED },
        { "{" GOOD ",\"aud\":null}", KMY_UNAUTHENTICATED },
        /* missing */
        { "{}", KMY_UNAUTHENTICATED },
        { "{\"sub\":\"a\",\"jti\":\"x\",\"iat\":1795000000,\"exp\":1795000100}",
          KMY_UNAUTHENTICATED },
        { "{\"iss\":\"kamiyo\",\"jti\":\"x\",\"iat\":1795000000,\"exp\":1795000100}",
          KMY_UNAUTHENTICATED },
        { "{\"iss\":\"kamiyo\",\"sub\":\"a\",\"iat\":1795000000,\"exp\":1795000100}",
          KMY_UNAUTHENTICATED },
        { "{" WITHOUT_TIMES ",\"exp\":1795000100}", KMY_UNAUTHENTICATED },
        { "{" WITHOUT_TIMES ",\"iat\":1795000000}", KMY_UNAUTHENTICATED },
        /* empty, of another type, of another issuer, too long */
        { "{\"iss\":\"kamiyo\",\"sub\":\"\",\"jti\":\"x\",\"iat\":1795000000,\"exp\":1795000100}",
          KMY_UNAUTHENTICATED },
        { "{\"iss\":\"kamiyo\",\"sub\":\"a\",\"jti\":\"\",\"iat\":1795000000,\"exp\":1795000100}",
          KMY_UNAUTHENTICATED },
        { "{\"iss\":\"kamiyo\",\"sub\":7,\"jti\":\"x\",\"iat\":1795000000,\"exp\":1795000100}",
          KMY_UNAUTHENTICATED },
        { "{\"iss\":\"kamiyo\",\"sub\":\"a\\u0000b\",\"jti\":\"x\",\"iat\":1795000000,"
          "\"exp\":1795000100}",
          KMY_UNAUTHENTICATED },
        { "{\"iss\":\"Kamiyo\",\"sub\":\"a\",\"jti\":\"x\",\"iat\":1795000000,\"exp\":1795000100}",
          KMY_UNAUTHENTICATED },
        { "{\"iss\":[\"kamiyo\"],\"sub\":\"a\",\"jti\":\"x\",\"iat\":1795000000,\"exp\":"
          "1795000100}",
          KMY_UNAUTHENTICATED },
        { "{\"iss\":\"kamiyo\",\"sub\":\"a\",\"jti\":\"0123456789012345678901234567890123456789\","
          "\"iat\":1795000000,\"exp\":1795000100}",
          KMY_UNAUTHENTICATED },
        /* times: whole seconds, in order, in range */
        { "{" WITHOUT_TIMES ",\"iat\":1795000000.0,\"exp\":1795000100}", KMY_UNAUTHENTICATED },
        { "{" WITHOUT_TIMES ",\"iat\":1795000000,\"exp\":1795000100.5}", KMY_UNAUTHENTICATED },
        { "{" WITHOUT_TIMES ",\"iat\":1795000000,\"exp\":1.8e9}", KMY_UNAUTHENTICATED },
        { "{" WITHOUT_TIMES ",\"iat\":1795000000,\"exp\":\"1795000100\"}", KMY_UNAUTHENTICATED },
        { "{" WITHOUT_TIMES ",\"iat\":1795000000,\"exp\":null}", KMY_UNAUTHENTICATED },
        { "{" WITHOUT_TIMES ",\"iat\":1795000000,\"exp\":true}", KMY_UNAUTHENTICATED },
        { "{" WITHOUT_TIMES ",\"iat\":-1,\"exp\":1795000100}", KMY_UNAUTHENTICATED },
        { "{" WITHOUT_TIMES ",\"iat\":1795000000,\"exp\":1795000000}", KMY_UNAUTHENTICATED },
        { "{" WITHOUT_TIMES ",\"iat\":1795000000,\"exp\":1794999999}", KMY_UNAUTHENTICATED },
        { "{" WITHOUT_TIMES ",\"iat\":1795000000,\"exp\":9223372036}", KMY_OK },
        { "{" WITHOUT_TIMES ",\"iat\":1795000000,\"exp\":9223372037}", KMY_UNAUTHENTICATED },
        { "{" WITHOUT_TIMES ",\"iat\":1795000000,\"exp\":9223372036854775807}",
          KMY_UNAUTHENTICATED },
        { "{" WITHOUT_TIMES ",\"iat\":1795000000,\"exp\":99999999999999999999}",
          KMY_UNAUTHENTICATED },
        /* twice */
        { "{" GOOD ",\"exp\":1795000200}", KMY_UNAUTHENTICATED },
        { "{" GOOD ",\"sub\":\"local:b\"}", KMY_UNAUTHENTICATED },
        { "{" GOOD ",\"s\\u0075b\":\"local:b\"}", KMY_UNAUTHENTICATED },
        /* no object */
        { "", KMY_UNAUTHENTICATED },
        { "[]", KMY_UNAUTHENTICATED },
        { "null", KMY_UNAUTHENTICATED },
        { "{" GOOD "}x", KMY_UNAUTHENTICATED },
        { "{" GOOD, KMY_UNAUTHENTICATED },
    };
    char token[4096];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        kmy_token_claims_t out;
        memset(&out, 0x5a, sizeof out);
        kmy_token_claims_t before = out;
        size_t len =
            rig_sign("{\"alg\":\"HS256\",\"typ\":\"JWT\"}", rows[i].payload, EVP_sha256(), token);
        kmy_err_t err = verify(token, len, NOW, &out);
        if (err != rows[i].want)
            fail_msg("payload %s: answered %s", rows[i].payload, kmy_err_code(err));
        if (err != KMY_OK)
            assert_memory_equal(&out, &before, sizeof out);
    }
}

/* Our own spelling is read by a short cut: with a blank in front it is not, and the answer must be the same. */
static void the_short_cut_and_the_full_reader_agree(void **state)
{
    static const char *const parts[] = { "kamiyo", "Kamiyo",   "local:a", "",     "a b", "a\\u0041",
                                         "a\\\"b", "\xc3\xa4", "\x7f",    "\x01", "a\"", "\"" };
    static const char *const times[] = {
        "1795000000",          "0",          "00",         "01795000000", "-1", "1795000000.0",
        "17950000000",         "9223372036", "9223372037", "1",           "",   "1e9",
        "99999999999999999999"
    };
    enum { PARTS = sizeof parts / sizeof *parts, TIMES = sizeof times / sizeof *times };
    (void)state;
    int good = 0;
    for (size_t i = 0; i < 2 * PARTS * PARTS * 3; i++) {
        for (size_t t = 0; t < TIMES; t++) {
            const char *iss = parts[i % 2];
            const char *sub = parts[i / 2 % PARTS];
            const char *jti = parts[i / 2 / PARTS % PARTS];
            const char *iat = times[i / 2 / PARTS / PARTS];
            char payload[2][512];
            char token[4096];
            kmy_token_claims_t out[2];
            kmy_err_t err[2];
            memset(out, 0, sizeof out);
            for (int full = 0; full < 2; full++) {
                snprintf(payload[full], sizeof payload[full],
                         "%s{\"iss\":\"%s\",\"sub\":\"%s\",\"jti\":\"%s\",\"iat\":%s,\"exp\":%s}",
                         full ? " " : "", iss, sub, jti, iat, times[t]);
                size_t len = rig_sign("{\"alg\":\"HS256\"}", payload[full], EVP_sha256(), token);
                err[full] = verify(token, len, NOW, &out[full]);
            }
            if (err[0] != err[1] || strcmp(out[0].account, out[1].account) != 0 ||
                strcmp(out[0].jti, out[1].jti) != 0 || out[0].issued_s != out[1].issued_s ||
                out[0].expires_s != out[1].expires_s)
                fail_msg("payload %s: %s by the short cut, %s in full", payload[0],
                         kmy_err_code(err[0]), kmy_err_code(err[1]));
            good += err[0] == KMY_OK;
        }
    }
    assert_true(good > 0);
}

static void an_unsigned_payload_is_not_even_read(void **state)
{
    static const char *const tokens[] = { "",
                                          ".",
                                          "..",
                                          "...",
                                          "a.b.c",
                                          KMY_TOKEN_HEADER,
                                          KMY_TOKEN_HEADER ".",
                                          KMY_TOKEN_HEADER "..",
                                          KMY_TOKEN_HEADER ".e30.",
                                          "eyJhbGciOiJub25lIn0.e30." };
    kmy_token_claims_t out;
    (void)state;
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
        assert_int_equal(verify(tokens[i], strlen(tokens[i]), NOW, &out), KMY_UNAUTHENTICATED);
}

static int make_key(void **state)
{
    (void)state;
    key = kmy_token_key_new(SECRET, sizeof SECRET - 1, NULL);
    return key ? 0 : 1;
}
static int free_key(void **state)
{
    (void)state;
    kmy_token_key_free(key);
    return 0;
}

static void a_scope_allows_what_it_names_and_nothing_else(void **state)
{
    static const struct {
        const char *scope;
        const char *feed;
        int allowed;
    } rows[] = {
        { "", "SOL/USD", 1 },
        { "SOL/USD", "SOL/USD", 1 },
        { "SOL/USD", "SOL/USDT", 0 },
        { "SOL/USD", "SOL/US", 0 },
        { "SOL/USD", "BTC/USD", 0 },
        { "BTC/USD SOL/USD", "SOL/USD", 1 },
        { "BTC/USD SOL/USD", "USD SOL", 0 },
        { "*/USD", "SOL/USD", 1 },
        { "*/USD", "SOL/USDT", 0 },
        { "*", "tvl:ethereum", 1 },
        { "*@binance BTC/USD", "ETH/USDT@binance", 1 },
        { "*@binance BTC/USD", "ETH/USD", 0 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (kmy_token_allows(rows[i].scope, rows[i].feed) != (bool)rows[i].allowed)
            fail_msg("%s for %s", rows[i].scope, rows[i].feed);
    }
}

static void a_scope_survives_signing_and_what_is_none_is_refused(void **state)
{
    static const char *const good[] = { "SOL/USD", "SOL/USD *@binance tvl:ethereum", "*" };
    static const char *const bad[] = {
        " ", " A", "A ", "A  B", "A\"B", "A\\B", "A\tB", "\xc3\xa9"
    };
    /* As JSON of a claim: signed by us, and still no limit that we understand. */
    static const char *const claims_of[] = { "\"\"", "[]", "[\"SOL/USD\"]", "{}",
                                             "null", "7",  "\" SOL/USD\"",  "\"A\\u0000\"" };
    char long_scope[KMY_SCOPE_BYTES_MAX + 1];
    char token[KMY_TOKEN_BYTES_MAX];
    char forged[4096];
    kmy_token_claims_t got;
    (void)state;
    kmy_token_key_t *k = kmy_token_key_new(SECRET, sizeof SECRET - 1, NULL);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        kmy_token_claims_t c = { .account = "local:a", .issued_s = 1000, .expires_s = 2000 };
        strcpy(c.scope, good[i]);
        assert_int_equal(kmy_token_sign(k, &c, token, NULL), KMY_OK);
        assert_int_equal(kmy_token_verify(k, token, strlen(token), 1500, &got, NULL), KMY_OK);
        assert_string_equal(got.scope, good[i]);
        /* In another spelling, by the general reader. */
        char payload[512];
        snprintf(payload, sizeof payload,
                 "{\"scp\":\"%s\",\"iss\":\"kamiyo\",\"sub\":\"a\",\"jti\":\"x\",\"iat\":1000,"
                 "\"exp\":2000}",
                 good[i]);
        size_t len = rig_sign("{\"alg\":\"HS256\"}", payload, EVP_sha256(), forged);
        assert_int_equal(kmy_token_verify(k, forged, len, 1500, &got, NULL), KMY_OK);
        assert_string_equal(got.scope, good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kmy_token_claims_t c = { .account = "local:a", .issued_s = 1000, .expires_s = 2000 };
        strcpy(c.scope, bad[i]);
        assert_int_equal(kmy_token_sign(k, &c, token, NULL), KMY_BAD_INPUT);
    }
    for (size_t i = 0; i < sizeof claims_of / sizeof *claims_of; i++) {
        for (int front = 0; front < 2; front++) {
            char payload[512];
            int n = snprintf(payload, sizeof payload, "{%s%s%s\"iss\":\"kamiyo\",\"sub\":\"a\",",
                             front ? "\"scp\":" : "", front ? claims_of[i] : "", front ? "," : "");
            snprintf(payload + n, sizeof payload - (size_t)n,
                     "\"jti\":\"x\",\"iat\":1000,\"exp\":2000%s%s}",
                     front ? "" : ",\"scp\":", front ? "" : claims_of[i]);
            size_t len = rig_sign("{\"alg\":\"HS256\"}", payload, EVP_sha256(), forged);
            if (kmy_token_verify(k, forged, len, 1500, &got, NULL) != KMY_UNAUTHENTICATED)
                fail_msg("scp %s was let pass: %s", claims_of[i], payload);
        }
    }
    memset(long_scope, 'A', sizeof long_scope - 1);
    long_scope[sizeof long_scope - 1] = '\0';
    assert_false(kmy_token_scope_ok(long_scope));
    long_scope[64] = '\0'; /* a word longer than any name */
    assert_false(kmy_token_scope_ok(long_scope));
    kmy_token_key_free(k);
}

static void a_rate_survives_signing_and_what_is_none_is_refused(void **state)
{
    static const struct {
        const char *claim;
        int64_t rate; /* -1: refused */
    } row[] = { { "1", 1 },        { "1000000", KMY_TOKEN_RATE_MAX },
                { "1000001", -1 }, { "0", -1 },
                { "-1", -1 },      { "\"5\"", -1 },
                { "1.5", -1 },     { "null", -1 },
                { "[5]", -1 },     { "5,\"rate\":6", -1 } };
    kmy_token_key_t *k = kmy_token_key_new(SECRET, sizeof SECRET - 1, NULL);
    kmy_token_claims_t got;
    char token[4096];
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        for (int ours = 0; ours < 2; ours++) { /* as we spell it, and in another way */
            char payload[512];
            snprintf(
                payload, sizeof payload,
                ours ? "{\"iss\":\"kamiyo\",\"sub\":\"a\",\"jti\":\"x\",\"iat\":1000,\"exp\":2000,"
                       "\"rate\":%s}"
                     : "{\"rate\":%s,\"iss\":\"kamiyo\",\"sub\":\"a\",\"jti\":\"x\",\"iat\":1000,"
                       "\"exp\":2000}",
                row[i].claim);
            size_t len = rig_sign("{\"alg\":\"HS256\"}", payload, EVP_sha256(), token);
            kmy_err_t err = kmy_token_verify(k, token, len, 1500, &got, NULL);
            if (err != (row[i].rate < 0 ? KMY_UNAUTHENTICATED : KMY_OK) ||
                (err == KMY_OK && got.rate_per_min != row[i].rate))
                fail_msg("%s", payload);
        }
    }
    kmy_token_claims_t c = {
        .account = "a", .issued_s = 1000, .expires_s = 2000, .rate_per_min = 7
    };
    strcpy(c.scope, "SOL/USD");
    assert_int_equal(kmy_token_sign(k, &c, token, NULL), KMY_OK);
    assert_int_equal(kmy_token_verify(k, token, strlen(token), 1500, &got, NULL), KMY_OK);
    assert_int_equal(got.rate_per_min, 7);
    assert_string_equal(got.scope, "SOL/USD");
    c.rate_per_min = KMY_TOKEN_RATE_MAX + 1;
    assert_int_equal(kmy_token_sign(k, &c, token, NULL), KMY_BAD_INPUT);
    kmy_token_key_free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_signed_is_what_is_read),
        cmocka_unit_test(the_longest_account_and_id_fit),
        cmocka_unit_test(tokens_that_make_no_sense_are_not_signed),
        cmocka_unit_test(a_token_lives_from_iat_to_exp_with_30_s_of_leeway),
        cmocka_unit_test(claims_are_all_there_once_and_of_their_type),
        cmocka_unit_test(the_short_cut_and_the_full_reader_agree),
        cmocka_unit_test(an_unsigned_payload_is_not_even_read),
        cmocka_unit_test(a_scope_allows_what_it_names_and_nothing_else),
        cmocka_unit_test(a_scope_survives_signing_and_what_is_none_is_refused),
        cmocka_unit_test(a_rate_survives_signing_and_what_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, make_key, free_key);
}
