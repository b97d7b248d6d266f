/* The signed envelope: what RFC 7515 says is good is good, and every trick with a header or with spelling is refused (T1). */
#include "tests/token_rig.h"

static kmy_token_key_t *key;
static char payload[KMY_TOKEN_PAYLOAD_BYTES_MAX];
static size_t payload_len;

static kmy_err_t open_jws(const char *token, size_t len)
{
    kmy_errctx_t ctx;
    return kmy_token_jws_open(key, token, len, payload, &payload_len, &ctx);
}

static void the_example_of_rfc_7515_a_1_is_good(void **state)
{
    static const char k[] =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    static const char token[] =
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
        ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0"
        "cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    static const char content[] =
        "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
    uint8_t secret[128];
    size_t len;
    (void)state;
    assert_true(kmy_base64_decode(KMY_BASE64_URL, k, sizeof k - 1, secret, sizeof secret, &len));
    kmy_token_key_t *theirs = kmy_token_key_new(secret, len, NULL);
    assert_int_equal(
        kmy_token_jws_open(theirs, token, sizeof token - 1, payload, &payload_len, NULL), KMY_OK);
    assert_int_equal(payload_len, sizeof content - 1);
    assert_memory_equal(payload, content, payload_len);
    kmy_token_key_free(theirs);
}

static void every_key_and_text_length_agrees_with_openssl(void **state)
{
    uint8_t secret[200];
    char text[300];
    char token[KMY_TOKEN_BYTES_MAX];
    (void)state;
    for (size_t i = 0; i < sizeof secret; i++)
        secret[i] = (uint8_t)(i * 7 + 1);
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(i * 13 + 5);
    for (size_t klen = KMY_TOKEN_KEY_BYTES_MIN; klen <= sizeof secret; klen++) {
        size_t tlen = klen * 3 % sizeof text;
        kmy_token_key_t *k = kmy_token_key_new(secret, klen, NULL);
        size_t len = kmy_token_jws_sign(k, text, tlen, token, sizeof token);
        uint8_t tag[32];
        char tag_text[64];
        unsigned tag_len;
        assert_true(len > 43);
        HMAC(EVP_sha256(), secret, (int)klen, (uint8_t *)token, len - 44, tag, &tag_len);
        tag_text[rig_b64(tag, sizeof tag, tag_text)] = '\0';
        assert_string_equal(token + len - 43, tag_text);
        assert_int_equal(kmy_token_jws_open(k, token, len, payload, &payload_len, NULL), KMY_OK);
        assert_int_equal(payload_len, tlen);
        assert_memory_equal(payload, text, tlen);
        kmy_token_key_free(k);
    }
}

static void headers_that_steer_the_check_are_refused(void **state)
{
    static const struct {
        const char *header;
        int good;
    } rows[] = {
        { "{\"alg\":\"HS256\",\"typ\":\"JWT\"}", 1 },
        { "{\"typ\":\"JWT\",\"alg\":\"HS256\"}", 1 },
        { " {\t\"alg\" : \"HS256\" }\n", 1 },
        { "{\"alg\":\"HS256\"}", 1 },
        { "{\"alg\":\"none\"}", 0 },
        { "{\"alg\":\"None\"}", 0 },
        { "{\"alg\":\"\"}", 0 },
        { "{\"alg\":null}", 0 },
        { "{\"alg\":[\"HS256\"]}", 0 },
        { "{\"alg\":\"hs256\"}", 0 },
        { "{\"alg\":\"HS256 \"}", 0 },
        { "{\"alg\":\"HS384\"}", 0 },
        { "{\"alg\":\"HS512\"}", 0 },
        { "{\"alg\":\"RS256\"}", 0 },
        { "{\"alg\":\"ES256\"}", 0 },
        { "{\"alg\":\"HS256\",\"typ\":\"JOSE\"}", 0 },
        { "{\"alg\":\"HS256\",\"typ\":1}", 0 },
        { "{\"alg\":\"HS256\",\"kid\":\"1\"}", 0 },
        { "{\"alg\":\"HS256\",\"kid\":\"../../dev/null\"}", 0 },
        { "{\"alg\":\"HS256\",\"jku\":\"https://example.org/k\"}", 0 },
        { "{\"alg\":\"HS256\",\"jwk\":{\"kty\":\"oct\",\"k\":\"AAAA\"}}", 0 },
        { "{\"alg\":\"HS256\",\"x5u\":\"https://example.org/c\"}", 0 },
        { "{\"alg\":\"HS256\",\"x5c\":[\"AA\"]}", 0 },
        { "{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}", 0 },
        { "{\"alg\":\"HS256\",\"crit\":[]}", 0 },
        { "{\"alg\":\"HS256\",\"zip\":\"DEF\"}", 0 },
        { "{\"alg\":\"HS256\",\"cty\":\"JWT\"}", 0 },
        { "{\"alg\":\"HS256\",\"\":\"\"}", 0 },
        { "{\"alg\":\"HS256\",\"alg\":\"HS256\"}", 0 },
        { "{\"alg\":\"none\",\"alg\":\"HS256\"}", 0 },
        { "{\"alg\":\"HS256\",\"\\u0061lg\":\"none\"}", 0 },
        { "{\"typ\":\"JWT\",\"typ\":\"JWT\",\"alg\":\"HS256\"}", 0 },
        { "{\"typ\":\"JWT\"}", 0 },
        { "{}", 0 },
        { "", 0 },
        { "[]", 0 },
        { "\"HS256\"", 0 },
        { "{\"alg\":\"HS256\"}x", 0 },
        { "{\"alg\":\"HS256\"}{\"alg\":\"HS256\"}", 0 },
        { "{\"alg\":\"HS256\"", 0 },
        { "{\"alg\":\"HS256\",}", 0 },
        { "{'alg':'HS256'}", 0 },
        { "{\"alg\":\"HS256\",\"typ\":\"JWT\"                                                      "
          "                                             }",
          0 }, /* over-long */
    };
    char token[4096];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t len = rig_sign(rows[i].header, "{}", EVP_sha256(), token);
        kmy_err_t err = open_jws(token, len);
        if (err != (rows[i].good ? KMY_OK : KMY_UNAUTHENTICATED))
            fail_msg("header %s: answered %s", rows[i].header, kmy_err_code(err));
    }
    size_t len = rig_sign("{\"alg\":\"HS384\"}", "{}", EVP_sha384(), token);
    assert_int_equal(open_jws(token, len), KMY_UNAUTHENTICATED);
    len = rig_sign("{\"alg\":\"HS256\"}", "{}", EVP_sha384(), token);
    assert_int_equal(open_jws(token, len), KMY_UNAUTHENTICATED);
}

/* One value, one spelling: any octet of a good token changed, removed or doubled makes it a bad one. */
static void no_other_spelling_of_a_good_token_is_good(void **state)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=. \n%";
    char good[KMY_TOKEN_BYTES_MAX];
    char bad[KMY_TOKEN_BYTES_MAX + 2];
    (void)state;
    size_t len = kmy_token_jws_sign(key, "{\"a\":1}", 7, good, sizeof good);
    assert_int_equal(open_jws(good, len), KMY_OK);
    for (size_t i = 0; i < len; i++) {
        for (size_t c = 0; c < sizeof alphabet; c++) { /* with the NUL at its end */
            memcpy(bad, good, len);
            bad[i] = alphabet[c];
            if (bad[i] != good[i])
                assert_int_equal(open_jws(bad, len), KMY_UNAUTHENTICATED);
        }
        memcpy(bad, good, i);
        memcpy(bad + i, good + i + 1, len - i - 1);
        assert_int_equal(open_jws(bad, len - 1), KMY_UNAUTHENTICATED);
        memcpy(bad, good, i);
        bad[i] = '=';
        memcpy(bad + i + 1, good + i, len - i);
        assert_int_equal(open_jws(bad, len + 1), KMY_UNAUTHENTICATED);
        assert_int_equal(open_jws(good, i), KMY_UNAUTHENTICATED); /* cut short */
    }
    memcpy(bad, good, len);
    bad[len] = '=';
    assert_int_equal(open_jws(bad, len + 1), KMY_UNAUTHENTICATED);
    bad[len] = '.';
    assert_int_equal(open_jws(bad, len + 1), KMY_UNAUTHENTICATED);
}

static void over_long_tokens_are_refused_unread(void **state)
{
    static char big[KMY_TOKEN_BYTES_MAX * 4];
    char json[KMY_TOKEN_PAYLOAD_BYTES_MAX + 8];
    char token[4096];
    (void)state;
    memset(big, 'A', sizeof big);
    assert_int_equal(open_jws(big, sizeof big), KMY_UNAUTHENTICATED);
    memset(json, ' ', sizeof json);
    json[KMY_TOKEN_PAYLOAD_BYTES_MAX] = '\0';
    size_t len = rig_sign("{\"alg\":\"HS256\"}", json, EVP_sha256(), token);
    assert_int_equal(open_jws(token, len), KMY_OK); /* the largest there is */
    json[KMY_TOKEN_PAYLOAD_BYTES_MAX] = ' ';
    json[KMY_TOKEN_PAYLOAD_BYTES_MAX + 1] = '\0';
    len = rig_sign("{\"alg\":\"HS256\"}", json, EVP_sha256(), token);
    assert_int_equal(open_jws(token, len), KMY_UNAUTHENTICATED);
    assert_int_equal(kmy_token_jws_sign(key, json, KMY_TOKEN_PAYLOAD_BYTES_MAX + 1, token, 4096),
                     0);
    assert_int_equal(kmy_token_jws_sign(key, json, 30, token, 100), 0);
}

static void a_short_secret_is_refused_and_another_one_opens_nothing(void **state)
{
    char token[KMY_TOKEN_BYTES_MAX];
    kmy_errctx_t ctx;
    (void)state;
    assert_null(kmy_token_key_new(SECRET, KMY_TOKEN_KEY_BYTES_MIN - 1, &ctx));
    assert_non_null(strstr(ctx.detail, "31"));
    kmy_token_key_t *other = kmy_token_key_new("0123456789abcdef0123456789abcdeg", 32, NULL);
    size_t len = kmy_token_jws_sign(other, "{}", 2, token, sizeof token);
    assert_int_equal(open_jws(token, len), KMY_UNAUTHENTICATED);
    kmy_token_key_free(other);
    kmy_token_key_free(NULL);
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

/* A rotation: the new key signs, the old one still checks, a third one's tokens are nobody's, whatever they call themselves. */
static void earlier_keys_check_by_their_name_and_only_the_first_signs(void **state)
{
    static const char other[] = "other-------other---------other-";
    static const char third[] = "third-------third---------third-";
    kmy_token_key_t *old = kmy_token_key_new(SECRET, sizeof SECRET - 1, NULL);
    kmy_token_key_t *both = kmy_token_key_new(other, sizeof other - 1, NULL);
    kmy_token_key_t *alone = kmy_token_key_new(other, sizeof other - 1, NULL);
    kmy_token_key_t *foreign = kmy_token_key_new(third, sizeof third - 1, NULL);
    char token[KMY_TOKEN_BYTES_MAX];
    char plain[4096];
    char out[KMY_TOKEN_PAYLOAD_BYTES_MAX];
    size_t out_len;
    (void)state;
    assert_true(kmy_token_key_add(both, SECRET, sizeof SECRET - 1, NULL));
    assert_true(kmy_token_key_add(both, SECRET, sizeof SECRET - 1, NULL)); /* once */
    assert_int_equal(kmy_token_key_count(both), 2);
    assert_false(kmy_token_key_add(both, "short", 5, NULL));
    assert_string_equal(kmy_token_key_id(both), kmy_token_key_id(alone));
    assert_string_not_equal(kmy_token_key_id(both), kmy_token_key_id(old));

    size_t len = kmy_token_jws_sign(old, "{}", 2, token, sizeof token);
    assert_int_equal(kmy_token_jws_open(both, token, len, out, &out_len, NULL), KMY_OK);
    assert_int_equal(kmy_token_jws_open(alone, token, len, out, &out_len, NULL),
                     KMY_UNAUTHENTICATED); /* an unknown kid */
    size_t plain_len = rig_sign("{\"alg\":\"HS256\"}", "{}", EVP_sha256(), plain);
    assert_int_equal(kmy_token_jws_open(both, plain, plain_len, out, &out_len, NULL), KMY_OK);
    assert_int_equal(kmy_token_jws_open(alone, plain, plain_len, out, &out_len, NULL),
                     KMY_UNAUTHENTICATED);

    len = kmy_token_jws_sign(both, "{}", 2, token, sizeof token);
    assert_int_equal(kmy_token_jws_open(alone, token, len, out, &out_len, NULL), KMY_OK);
    assert_int_equal(kmy_token_jws_open(old, token, len, out, &out_len, NULL), KMY_UNAUTHENTICATED);

    /* A name of ours over another's signature, in our own spelling and in another. */
    char header[96];
    snprintf(header, sizeof header, "{\"kid\":\"%s\",\"alg\":\"HS256\"}", kmy_token_key_id(alone));
    plain_len = rig_sign(header, "{}", EVP_sha256(), plain);
    assert_int_equal(kmy_token_jws_open(both, plain, plain_len, out, &out_len, NULL),
                     KMY_UNAUTHENTICATED); /* the key is in the table, but under another name */
    snprintf(header, sizeof header, "{\"kid\":\"%s\",\"alg\":\"HS256\"}", kmy_token_key_id(old));
    plain_len = rig_sign(header, "{}", EVP_sha256(), plain);
    assert_int_equal(kmy_token_jws_open(both, plain, plain_len, out, &out_len, NULL), KMY_OK);
    len = kmy_token_jws_sign(foreign, "{}", 2, token, sizeof token);
    assert_int_equal(kmy_token_jws_open(both, token, len, out, &out_len, NULL),
                     KMY_UNAUTHENTICATED);

    /* What is no token is known over a rotation, as long as the process lives. */
    uint8_t before[KMY_TOKEN_MAC_BYTES];
    uint8_t after[KMY_TOKEN_MAC_BYTES];
    kmy_token_mac(old, "!x", 2, before);
    kmy_token_mac_keep(both, old);
    kmy_token_mac(both, "!x", 2, after);
    assert_memory_equal(before, after, sizeof before);
    kmy_token_key_free(old);
    kmy_token_key_free(both);
    kmy_token_key_free(alone);
    kmy_token_key_free(foreign);
}

static void a_table_has_room_for_eight(void **state)
{
    char secret[] = "0123456789abcdef0123456789abcdef";
    kmy_errctx_t ctx = { 0 };
    (void)state;
    kmy_token_key_t *table = kmy_token_key_new(secret, sizeof secret - 1, NULL);
    for (int i = 1; i < KMY_TOKEN_KEYS_MAX; i++) {
        secret[0]++;
        assert_true(kmy_token_key_add(table, secret, sizeof secret - 1, NULL));
    }
    secret[0]++;
    assert_false(kmy_token_key_add(table, secret, sizeof secret - 1, &ctx));
    assert_int_equal(kmy_token_key_count(table), KMY_TOKEN_KEYS_MAX);
    kmy_token_key_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_of_rfc_7515_a_1_is_good),
        cmocka_unit_test(every_key_and_text_length_agrees_with_openssl),
        cmocka_unit_test(headers_that_steer_the_check_are_refused),
        cmocka_unit_test(no_other_spelling_of_a_good_token_is_good),
        cmocka_unit_test(over_long_tokens_are_refused_unread),
        cmocka_unit_test(a_short_secret_is_refused_and_another_one_opens_nothing),
        cmocka_unit_test(earlier_keys_check_by_their_name_and_only_the_first_signs),
        cmocka_unit_test(a_table_has_room_for_eight),
    };
    return cmocka_run_group_tests(tests, make_key, free_key);
}
