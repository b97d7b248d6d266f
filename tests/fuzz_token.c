/* Tokens from anybody.  The input is tried as it is (first byte dropped), and, signed by us, as header or payload, so that what lies behind
   the signature is fuzzed as well.  What comes out must be what can go in: claims that were accepted can be signed and accepted again. */
#include "pay/token.h"
#include "pay/token_jws.h"
#include "wire/base64.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdint.h>
#include <string.h>

#define NOW 1795000000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char secret[32] = "0123456789abcdef0123456789abcde";

static void verify(kmy_token_key_t *key, const char *token, size_t len)
{
    kmy_token_claims_t claims;
    kmy_token_claims_t again;
    char text[KMY_TOKEN_BYTES_MAX];
    kmy_errctx_t ctx = { 0 };
    kmy_err_t err = kmy_token_verify(key, token, len, NOW, &claims, &ctx);
    KMY_ASSERT(err == KMY_OK || err == KMY_UNAUTHENTICATED || err == KMY_TOKEN_EXPIRED);
    KMY_ASSERT((err == KMY_OK) == (ctx.where == NULL));
    if (err != KMY_OK)
        return;
    KMY_ASSERT(claims.account[0] != '\0' && claims.jti[0] != '\0');
    err = kmy_token_sign(key, &claims, text, NULL);
    if (err == KMY_TOO_BIG)
        return; /* an account of nothing but controls, escaped sixfold */
    KMY_ASSERT(err == KMY_OK);
    KMY_ASSERT(kmy_token_verify(key, text, strlen(text), NOW, &again, NULL) == KMY_OK);
    KMY_ASSERT(strcmp(claims.account, again.account) == 0 && strcmp(claims.jti, again.jti) == 0);
    KMY_ASSERT(claims.issued_s == again.issued_s && claims.expires_s == again.expires_s);
}

static void verify_signed(kmy_token_key_t *key, const char *header, size_t header_len,
                          const char *payload, size_t payload_len)
{
    char token[2048];
    uint8_t tag[32];
    unsigned tag_len;
    if (header_len + payload_len > 1200)
        return;
    size_t at = kmy_base64_encode(KMY_BASE64_URL, header, header_len, token);
    token[at++] = '.';
    at += kmy_base64_encode(KMY_BASE64_URL, payload, payload_len, token + at);
    HMAC(EVP_sha256(), secret, sizeof secret, (uint8_t *)token, at, tag, &tag_len);
    token[at++] = '.';
    at += kmy_base64_encode(KMY_BASE64_URL, tag, tag_len, token + at);
    verify(key, token, at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char header[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";
    static const char payload[] =
        "{\"iss\":\"kamiyo\",\"sub\":\"a\",\"jti\":\"x\",\"iat\":1795000000,\"exp\":1795000100}";
    static kmy_token_key_t *key;
    if (!key)
        key = kmy_token_key_new(secret, sizeof secret, NULL);
    if (size == 0)
        return 0;
    const char *text = (const char *)data + 1;
    size_t len = size - 1;
    switch (data[0] % 3) {
    case 0:
        verify(key, text, len);
        break;
    case 1:
        verify_signed(key, text, len, payload, sizeof payload - 1);
        break;
    default:
        verify_signed(key, header, sizeof header - 1, text, len);
    }
    return 0;
}
