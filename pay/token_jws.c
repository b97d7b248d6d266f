/* token: the signed envelope (RFC 7515 compact serialization, HS256), without its claims. */

/* The SHA-256 calls below are deprecated since OpenSSL 3.0 in favour of EVP, whose contexts live on the heap: copying a prepared state
   there costs an allocation and 300 ns; here it is 112 bytes on the stack (bench/bench_token.c has both in one run). */
#define OPENSSL_API_COMPAT 0x10101000L

#include "pay/token_jws.h"

#include "wire/base64.h"
#include "wire/json.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

enum { MAC_BYTES = KMY_TOKEN_MAC_BYTES, MAC_TEXT = 43, BLOCK = SHA256_CBLOCK };

_Static_assert(KMY_TOKEN_MAC_BYTES == SHA256_DIGEST_LENGTH, "the whole of it");

/* HMAC (RFC 2104) begins both its hashes with one block made of the key alone: hashed once, here. */
struct kmy_token_key {
    SHA256_CTX inner;
    SHA256_CTX outer;
};

kmy_token_key_t *kmy_token_key_new(const void *secret, size_t len, kmy_errctx_t *ctx)
{
    uint8_t block[BLOCK] = { 0 };
    uint8_t pad[BLOCK];
    if (len < KMY_TOKEN_KEY_BYTES_MIN) {
        kmy_fail(ctx, KMY_CONFIG, __func__, 0, "token secret has %zu bytes; it needs at least %d",
                 len, KMY_TOKEN_KEY_BYTES_MIN);
        return NULL;
    }
    kmy_token_key_t *key = malloc(sizeof *key);
    if (!key) {
        kmy_fail(ctx, KMY_INTERNAL, __func__, 0, "out of memory");
        return NULL;
    }
    if (len > BLOCK)
        SHA256(secret, len, block);
    else
        memcpy(block, secret, len);
    for (int i = 0; i < BLOCK; i++)
        pad[i] = block[i] ^ 0x36;
    SHA256_Init(&key->inner);
    SHA256_Update(&key->inner, pad, BLOCK);
    for (int i = 0; i < BLOCK; i++)
        pad[i] = block[i] ^ 0x5c;
    SHA256_Init(&key->outer);
    SHA256_Update(&key->outer, pad, BLOCK);
    OPENSSL_cleanse(block, sizeof block);
    OPENSSL_cleanse(pad, sizeof pad);
    return key;
}

void kmy_token_key_free(kmy_token_key_t *key)
{
    if (!key)
        return;
    OPENSSL_cleanse(key, sizeof *key);
    free(key);
}

void kmy_token_mac(const kmy_token_key_t *key, const void *text, size_t len, uint8_t out[MAC_BYTES])
{
    SHA256_CTX hash = key->inner;
    SHA256_Update(&hash, text, len);
    SHA256_Final(out, &hash);
    hash = key->outer;
    SHA256_Update(&hash, out, MAC_BYTES);
    SHA256_Final(out, &hash);
    OPENSSL_cleanse(&hash, sizeof hash);
}

size_t kmy_token_jws_sign(const kmy_token_key_t *key, const void *payload, size_t len, char *out,
                          size_t cap)
{
    static const char header[] = KMY_TOKEN_HEADER ".";
    size_t head = sizeof header - 1;
    uint8_t tag[MAC_BYTES];
    if (len > KMY_TOKEN_PAYLOAD_BYTES_MAX ||
        cap < head + KMY_BASE64_TEXT_BYTES(len) + 1 + KMY_BASE64_TEXT_BYTES(MAC_BYTES) + 1)
        return 0;
    memcpy(out, header, head);
    size_t at = head + kmy_base64_encode(KMY_BASE64_URL, payload, len, out + head);
    kmy_token_mac(key, out, at, tag);
    out[at++] = '.';
    at += kmy_base64_encode(KMY_BASE64_URL, tag, sizeof tag, out + at);
    out[at] = '\0';
    return at;
}

/* A header of somebody else's making: an object with "alg":"HS256", perhaps "typ":"JWT", and nothing else.  All that could steer the check
   (kid, jku, jwk, x5u, x5c, crit, b64, zip, another alg) is thereby refused, and so is a member that stands twice. */
static bool header_members_ok(kmy_json_t *js)
{
    bool alg = false;
    bool typ = false;
    for (;;) {
        kmy_json_token_t key = kmy_json_next(js);
        if (key.type == KMY_JSON_OBJECT_END)
            return alg;
        if (key.type != KMY_JSON_KEY)
            return false;
        bool is_alg = kmy_json_is(key, "alg");
        if (!is_alg && !kmy_json_is(key, "typ"))
            return false;
        bool *seen = is_alg ? &alg : &typ;
        kmy_json_token_t value = kmy_json_next(js);
        if (*seen || value.type != KMY_JSON_STRING || !kmy_json_is(value, is_alg ? "HS256" : "JWT"))
            return false;
        *seen = true;
    }
}

static bool header_ok(const char *text, size_t len)
{
    static const char ours[] = KMY_TOKEN_HEADER;
    char json[KMY_TOKEN_HEADER_BYTES_MAX];
    size_t json_len;
    kmy_json_t js;
    if (len == sizeof ours - 1 && memcmp(text, ours, len) == 0)
        return true; /* each token we made */
    if (!kmy_base64_decode(KMY_BASE64_URL, text, len, json, sizeof json, &json_len))
        return false;
    kmy_json_init(&js, json, json_len);
    return kmy_json_next(&js).type == KMY_JSON_OBJECT && header_members_ok(&js) &&
           kmy_json_next(&js).type == KMY_JSON_END;
}

/* The forms are checked before the signature, since none of them depends on a secret; the signature is compared in constant time. */
kmy_err_t kmy_token_jws_open(const kmy_token_key_t *key, const char *token, size_t len,
                             char payload[KMY_TOKEN_PAYLOAD_BYTES_MAX], size_t *payload_len,
                             kmy_errctx_t *ctx)
{
    uint8_t want[MAC_BYTES];
    uint8_t have[MAC_BYTES];
    size_t have_len;
    if (len > KMY_TOKEN_BYTES_MAX)
        return KMY_FAIL(ctx, KMY_UNAUTHENTICATED, "token has %zu bytes, limit %d", len,
                        KMY_TOKEN_BYTES_MAX);
    const char *dot = memchr(token, '.', len);
    const char *body = dot ? dot + 1 : NULL;
    const char *dot2 = body ? memchr(body, '.', len - (size_t)(body - token)) : NULL;
    if (!dot2)
        return KMY_FAIL(ctx, KMY_UNAUTHENTICATED, "token is not header.payload.signature");
    const char *tag = dot2 + 1;
    size_t tag_len = len - (size_t)(tag - token);
    if (!header_ok(token, (size_t)(dot - token)))
        return KMY_FAIL(ctx, KMY_UNAUTHENTICATED,
                        "token header must be HS256 with no other members");
    if (tag_len != MAC_TEXT ||
        !kmy_base64_decode(KMY_BASE64_URL, tag, tag_len, have, sizeof have, &have_len))
        return KMY_FAIL(ctx, KMY_UNAUTHENTICATED, "token signature is not 32 bytes of base64url");
    kmy_token_mac(key, token, (size_t)(dot2 - token), want);
    if (CRYPTO_memcmp(want, have, MAC_BYTES) != 0)
        return KMY_FAIL(ctx, KMY_UNAUTHENTICATED, "token signature is wrong");
    if (!kmy_base64_decode(KMY_BASE64_URL, body, (size_t)(dot2 - body), payload,
                           KMY_TOKEN_PAYLOAD_BYTES_MAX, payload_len))
        return KMY_FAIL(ctx, KMY_UNAUTHENTICATED, "token payload is not base64url");
    return KMY_OK;
}
