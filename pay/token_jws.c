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
typedef struct one_key {
    SHA256_CTX inner;
    SHA256_CTX outer;
    char kid[KMY_TOKEN_KID_BYTES];
    char head[KMY_TOKEN_HEAD_BYTES_MAX]; /* of the tokens it signs, as they spell it */
    size_t head_len;
} one_key_t;

struct kmy_token_key {
    size_t count;
    one_key_t keys[KMY_TOKEN_KEYS_MAX]; /* the first signs */
    one_key_t macs;                     /* for what is no token */
};

static void mac(const one_key_t *key, const void *text, size_t len, uint8_t out[MAC_BYTES])
{
    SHA256_CTX hash = key->inner;
    SHA256_Update(&hash, text, len);
    SHA256_Final(out, &hash);
    hash = key->outer;
    SHA256_Update(&hash, out, MAC_BYTES);
    SHA256_Final(out, &hash);
    OPENSSL_cleanse(&hash, sizeof hash);
}

void kmy_token_mac(const kmy_token_key_t *key, const void *text, size_t len, uint8_t out[MAC_BYTES])
{
    mac(&key->macs, text, len, out);
}

void kmy_token_mac_keep(kmy_token_key_t *key, const kmy_token_key_t *old)
{
    key->macs = old->macs;
}

/* A name that tells nothing of the secret but to whom has it. */
static void name_key(one_key_t *key)
{
    static const char text[] = "!kamiyo token key";
    uint8_t tag[MAC_BYTES];
    char json[64];
    mac(key, text, sizeof text - 1, tag);
    key->kid[kmy_base64_encode(KMY_BASE64_URL, tag, 6, key->kid)] = '\0';
    kmy_buf_t b = kmy_buf(json, sizeof json);
    kmy_buf_str(&b, "{\"alg\":\"HS256\",\"typ\":\"JWT\",\"kid\":\"");
    kmy_buf_str(&b, key->kid);
    kmy_buf_str(&b, "\"}");
    KMY_ASSERT(!b.overflow && KMY_BASE64_TEXT_BYTES(b.len) <= sizeof key->head);
    key->head_len = kmy_base64_encode(KMY_BASE64_URL, json, b.len, key->head);
}

static void prepare(one_key_t *key, const void *secret, size_t len)
{
    uint8_t block[BLOCK] = { 0 };
    uint8_t pad[BLOCK];
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
    name_key(key);
}

bool kmy_token_key_add(kmy_token_key_t *key, const void *secret, size_t len, kmy_errctx_t *ctx)
{
    one_key_t one;
    if (len < KMY_TOKEN_KEY_BYTES_MIN) {
        kmy_fail(ctx, KMY_CONFIG, __func__, 0, "token secret has %zu bytes; it needs at least %d",
                 len, KMY_TOKEN_KEY_BYTES_MIN);
        return false;
    }
    prepare(&one, secret, len);
    bool known = false;
    for (size_t i = 0; i < key->count; i++)
        known |= strcmp(key->keys[i].kid, one.kid) == 0;
    bool room = known || key->count < KMY_TOKEN_KEYS_MAX;
    if (!room)
        kmy_fail(ctx, KMY_FULL, __func__, 0, "more than %d token keys", KMY_TOKEN_KEYS_MAX);
    else if (!known)
        key->keys[key->count++] = one;
    OPENSSL_cleanse(&one, sizeof one);
    return room;
}

kmy_token_key_t *kmy_token_key_new(const void *secret, size_t len, kmy_errctx_t *ctx)
{
    kmy_token_key_t *key = calloc(1, sizeof *key);
    if (!key) {
        kmy_fail(ctx, KMY_INTERNAL, __func__, 0, "out of memory");
        return NULL;
    }
    if (kmy_token_key_add(key, secret, len, ctx)) {
        key->macs = key->keys[0];
        return key;
    }
    free(key);
    return NULL;
}

size_t kmy_token_key_count(const kmy_token_key_t *key)
{
    return key->count;
}

const char *kmy_token_key_id(const kmy_token_key_t *key)
{
    return key->keys[0].kid;
}

void kmy_token_key_free(kmy_token_key_t *key)
{
    if (!key)
        return;
    OPENSSL_cleanse(key, sizeof *key);
    free(key);
}

size_t kmy_token_jws_sign(const kmy_token_key_t *key, const void *payload, size_t len, char *out,
                          size_t cap)
{
    const one_key_t *one = &key->keys[0];
    uint8_t tag[MAC_BYTES];
    size_t at = one->head_len;
    if (len > KMY_TOKEN_PAYLOAD_BYTES_MAX ||
        cap < at + 1 + KMY_BASE64_TEXT_BYTES(len) + 1 + KMY_BASE64_TEXT_BYTES(MAC_BYTES) + 1)
        return 0;
    memcpy(out, one->head, at);
    out[at++] = '.';
    at += kmy_base64_encode(KMY_BASE64_URL, payload, len, out + at);
    mac(one, out, at, tag);
    out[at++] = '.';
    at += kmy_base64_encode(KMY_BASE64_URL, tag, sizeof tag, out + at);
    out[at] = '\0';
    return at;
}

/* Which keys a token may be signed with: `count` of them from `first` on; 0: none. */
typedef struct candidates {
    size_t first;
    size_t count;
    bool gone; /* none, since its kid names no key of ours: dropped at a rotation, mostly */
} candidates_t;

static candidates_t by_kid(const kmy_token_key_t *key, kmy_json_token_t kid)
{
    for (size_t i = 0; i < key->count; i++) {
        if (kmy_json_is(kid, key->keys[i].kid))
            return (candidates_t){ i, 1, false };
    }
    return (candidates_t){ 0, 0, true };
}

/* A header of somebody else's making: an object with "alg":"HS256", perhaps "typ":"JWT", perhaps the kid of one of our keys, and nothing else.  All
   that could steer the check (jku, jwk, x5u, x5c, crit, b64, zip, another alg, a kid that is a path or a query) is thereby refused, and so is a
   member that stands twice. */
static candidates_t header_members(const kmy_token_key_t *key, kmy_json_t *js)
{
    const candidates_t none = { 0, 0, false };
    candidates_t may = { 0, key->count, false };
    bool seen[3] = { false, false, false };
    for (;;) {
        kmy_json_token_t name = kmy_json_next(js);
        if (name.type == KMY_JSON_OBJECT_END)
            return seen[0] ? may : none;
        if (name.type != KMY_JSON_KEY)
            return none;
        int which = kmy_json_is(name, "alg")   ? 0
                    : kmy_json_is(name, "typ") ? 1
                    : kmy_json_is(name, "kid") ? 2
                                               : -1;
        kmy_json_token_t value = kmy_json_next(js);
        if (which < 0 || seen[which] || value.type != KMY_JSON_STRING ||
            (which == 0 && !kmy_json_is(value, "HS256")) ||
            (which == 1 && !kmy_json_is(value, "JWT")))
            return none;
        seen[which] = true;
        if (which == 2)
            may = by_kid(key, value);
    }
}

static candidates_t header_read(const kmy_token_key_t *key, const char *text, size_t len)
{
    static const char plain[] = KMY_TOKEN_HEADER;
    char json[KMY_TOKEN_HEADER_BYTES_MAX];
    size_t json_len;
    kmy_json_t js;
    for (size_t i = 0; i < key->count; i++) { /* each token we made */
        if (len == key->keys[i].head_len && memcmp(text, key->keys[i].head, len) == 0)
            return (candidates_t){ i, 1, false };
    }
    if (len == sizeof plain - 1 && memcmp(text, plain, len) == 0)
        return (candidates_t){ 0, key->count, false };
    if (!kmy_base64_decode(KMY_BASE64_URL, text, len, json, sizeof json, &json_len))
        return (candidates_t){ 0, 0, false };
    kmy_json_init(&js, json, json_len);
    candidates_t may = { 0, 0, false };
    if (kmy_json_next(&js).type == KMY_JSON_OBJECT)
        may = header_members(key, &js);
    return kmy_json_next(&js).type == KMY_JSON_END ? may : (candidates_t){ 0, 0, false };
}

/* All candidates are tried, whichever is right: the time tells nothing. */
static bool signed_by(const kmy_token_key_t *key, candidates_t may, const char *text, size_t len,
                      const uint8_t have[MAC_BYTES])
{
    uint8_t want[MAC_BYTES];
    bool good = false;
    for (size_t i = may.first; i < may.first + may.count; i++) {
        mac(&key->keys[i], text, len, want);
        good |= CRYPTO_memcmp(want, have, MAC_BYTES) == 0;
    }
    return good;
}

/* The forms are checked before the signature, since none of them depends on a secret; the signature is compared in constant time. */
kmy_err_t kmy_token_jws_open(const kmy_token_key_t *key, const char *token, size_t len,
                             char payload[KMY_TOKEN_PAYLOAD_BYTES_MAX], size_t *payload_len,
                             kmy_errctx_t *ctx)
{
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
    candidates_t may = header_read(key, token, (size_t)(dot - token));
    if (may.gone)
        return KMY_FAIL(ctx, KMY_UNAUTHENTICATED,
                        "the key that this token was signed with is gone: get a new token");
    if (may.count == 0)
        return KMY_FAIL(ctx, KMY_UNAUTHENTICATED,
                        "token header must be HS256, with no member more than a kid of ours");
    if (tag_len != MAC_TEXT ||
        !kmy_base64_decode(KMY_BASE64_URL, tag, tag_len, have, sizeof have, &have_len))
        return KMY_FAIL(ctx, KMY_UNAUTHENTICATED, "token signature is not 32 bytes of base64url");
    if (!signed_by(key, may, token, (size_t)(dot2 - token), have))
        return KMY_FAIL(ctx, KMY_UNAUTHENTICATED, "token signature is wrong");
    if (!kmy_base64_decode(KMY_BASE64_URL, body, (size_t)(dot2 - body), payload,
                           KMY_TOKEN_PAYLOAD_BYTES_MAX, payload_len))
        return KMY_FAIL(ctx, KMY_UNAUTHENTICATED, "token payload is not base64url");
    return KMY_OK;
}
