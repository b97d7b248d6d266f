/* dollar 7/7   in: pay/ledger_receipt (keeper)   out: the customer, `kamiyo verify` */
#include "pay/receipt.h"

#include "base/money.h"
#include "pay/secret_file.h"
#include "wire/base64.h"
#include "wire/json.h"

#include <inttypes.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIGNATURE_TEXT = 86, KEY_TEXT = 43 };

struct kmy_receipt_key {
    EVP_PKEY *pkey;
    kmy_receipt_public_t public;
};

/* --- keys -------------------------------------------------------------------------------------- */

void kmy_receipt_hash(const char *text, size_t len, uint8_t out[KMY_RECEIPT_HASH_BYTES])
{
    size_t n = 0;
    KMY_ASSERT(EVP_Q_digest(NULL, "SHA256", NULL, text, len, out, &n) == 1);
    KMY_ASSERT(n == KMY_RECEIPT_HASH_BYTES);
}

static void put_base64(kmy_buf_t *b, const void *bytes, size_t len)
{
    char text[KMY_BASE64_TEXT_BYTES(KMY_ED25519_SIGNATURE_BYTES)];
    KMY_ASSERT(len <= KMY_ED25519_SIGNATURE_BYTES);
    kmy_buf_bytes(b, text, kmy_base64_encode(KMY_BASE64_URL, bytes, len, text));
}

static bool base64_of(kmy_json_token_t t, size_t chars, void *out, size_t bytes)
{
    size_t len;
    return t.type == KMY_JSON_STRING && t.len == chars &&
           kmy_base64_decode(KMY_BASE64_URL, t.text, t.len, out, bytes, &len) && len == bytes;
}

/* RFC 7638: the hash of the required members, in alphabetical order, without a blank. */
static void name_key(kmy_receipt_public_t *p)
{
    char json[128];
    uint8_t hash[KMY_RECEIPT_HASH_BYTES];
    kmy_buf_t b = kmy_buf(json, sizeof json);
    kmy_buf_str(&b, "{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"");
    put_base64(&b, p->key, sizeof p->key);
    kmy_buf_str(&b, "\"}");
    KMY_ASSERT(!b.overflow);
    kmy_receipt_hash(json, b.len, hash);
    p->kid[kmy_base64_encode(KMY_BASE64_URL, hash, sizeof hash, p->kid)] = '\0';
}

kmy_receipt_key_t *kmy_receipt_key_new(const uint8_t seed[KMY_ED25519_KEY_BYTES], kmy_errctx_t *ctx)
{
    kmy_receipt_key_t *key = calloc(1, sizeof *key);
    size_t len = KMY_ED25519_KEY_BYTES;
    if (key)
        key->pkey =
            EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, KMY_ED25519_KEY_BYTES);
    if (!key || !key->pkey || EVP_PKEY_get_raw_public_key(key->pkey, key->public.key, &len) != 1 ||
        len != KMY_ED25519_KEY_BYTES) {
        kmy_receipt_key_free(key);
        kmy_fail(ctx, KMY_INTERNAL, __func__, 0, "no memory for the receipt key");
        return NULL;
    }
    name_key(&key->public);
    return key;
}

kmy_receipt_key_t *kmy_receipt_key_load(const char *data_dir, kmy_errctx_t *ctx)
{
    char path[PATH_MAX];
    uint8_t seed[KMY_SECRET_MADE_BYTES];
    if (snprintf(path, sizeof path, "%s/receipt.key", data_dir) >= (int)sizeof path) {
        kmy_fail(ctx, KMY_CONFIG, __func__, 0, "path of the data folder is too long");
        return NULL;
    }
    if (kmy_secret_load("receipt key", path, seed, ctx) != KMY_OK)
        return NULL;
    kmy_receipt_key_t *key = kmy_receipt_key_new(seed, ctx);
    OPENSSL_cleanse(seed, sizeof seed);
    return key;
}

void kmy_receipt_key_free(kmy_receipt_key_t *key)
{
    if (!key)
        return;
    EVP_PKEY_free(key->pkey);
    free(key);
}

const kmy_receipt_public_t *kmy_receipt_key_public(const kmy_receipt_key_t *key)
{
    return &key->public;
}

size_t kmy_receipt_jwk(const kmy_receipt_public_t *key, char out[KMY_RECEIPT_JWK_BYTES_MAX])
{
    kmy_buf_t b = kmy_buf(out, KMY_RECEIPT_JWK_BYTES_MAX - 1);
    kmy_buf_str(&b, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"alg\":\"EdDSA\",\"use\":\"sig\","
                    "\"kid\":\"");
    kmy_buf_str(&b, key->kid);
    kmy_buf_str(&b, "\",\"x\":\"");
    put_base64(&b, key->key, sizeof key->key);
    kmy_buf_str(&b, "\"}");
    KMY_ASSERT(!b.overflow);
    out[b.len] = '\0';
    return b.len;
}

enum { KEYS, KTY, CRV, X, JWK_MEMBERS };

static kmy_err_t read_object(const char *text, size_t len, kmy_json_field_t *f, size_t count,
                             kmy_errctx_t *ctx)
{
    kmy_json_t js;
    kmy_json_init(&js, text, len);
    kmy_err_t err = kmy_json_object(&js, f, count, ctx);
    if (err == KMY_OK && kmy_json_next(&js).type != KMY_JSON_END)
        err = KMY_FAIL(ctx, KMY_BAD_INPUT, "something follows the JSON object");
    return err;
}

static kmy_err_t jwk_members(const char *text, size_t len, kmy_json_field_t f[JWK_MEMBERS],
                             kmy_errctx_t *ctx)
{
    static const kmy_json_field_t members[JWK_MEMBERS] = { [KEYS] = { .key = "keys" },
                                                           [KTY] = { .key = "kty" },
                                                           [CRV] = { .key = "crv" },
                                                           [X] = { .key = "x" } };
    memcpy(f, members, sizeof members);
    return read_object(text, len, f, JWK_MEMBERS, ctx);
}

/* true: an Ed25519 key. */
static bool jwk_take(const kmy_json_field_t f[JWK_MEMBERS], kmy_receipt_public_t *out)
{
    if (!kmy_json_is(f[KTY].token, "OKP") || !kmy_json_is(f[CRV].token, "Ed25519") ||
        !base64_of(f[X].token, KEY_TEXT, out->key, sizeof out->key))
        return false;
    name_key(out);
    return true;
}

kmy_err_t kmy_receipt_jwks_read(const char *text, size_t len, kmy_receipt_public_t *out, size_t max,
                                size_t *count, kmy_errctx_t *ctx)
{
    kmy_json_field_t f[JWK_MEMBERS];
    *count = 0;
    kmy_err_t err = jwk_members(text, len, f, ctx);
    if (err != KMY_OK)
        return err;
    if (f[KEYS].token.type != KMY_JSON_ARRAY) {
        *count = max > 0 && jwk_take(f, out);
    } else {
        kmy_json_t js;
        kmy_json_init(&js, f[KEYS].token.text, f[KEYS].token.len);
        kmy_json_next(&js);
        for (kmy_json_token_t t = kmy_json_next(&js); t.type == KMY_JSON_OBJECT;
             t = kmy_json_next(&js)) {
            kmy_json_field_t one[JWK_MEMBERS];
            const char *begin = t.text;
            if (!kmy_json_skip(&js, t))
                break;
            kmy_receipt_public_t key;
            if (jwk_members(begin, (size_t)(js.at - begin), one, ctx) != KMY_OK ||
                !jwk_take(one, &key))
                continue;
            if (*count == max)
                return KMY_FAIL(ctx, KMY_BAD_INPUT, "more than %zu keys in one set", max);
            out[(*count)++] = key;
        }
    }
    return *count > 0 ? KMY_OK : KMY_FAIL(ctx, KMY_BAD_INPUT, "no Ed25519 key in it");
}

/* --- writing ----------------------------------------------------------------------------------- */

static bool makes_sense(const kmy_receipt_t *r)
{
    return r->from >= 1 && r->to >= r->from && r->ticks >= 1 && r->ticks - 1 <= r->to - r->from &&
           r->amount_nusd >= 0 && r->seq >= 1 && r->total_ticks >= r->ticks &&
           r->total_nusd >= r->amount_nusd && r->issued_s >= 0 && r->account[0] && r->feed[0] &&
           r->epoch[0];
}

static void put_name(kmy_buf_t *b, const char *before, const char *name)
{
    kmy_buf_str(b, before);
    kmy_buf_json_str(b, name, strlen(name));
}

static size_t payload(const kmy_receipt_t *r, char out[KMY_RECEIPT_PAYLOAD_BYTES_MAX])
{
    kmy_buf_t b = kmy_buf(out, KMY_RECEIPT_PAYLOAD_BYTES_MAX);
    put_name(&b, "{\"account\":", r->account);
    put_name(&b, ",\"feed\":", r->feed);
    put_name(&b, ",\"epoch\":", r->epoch);
    kmy_buf_fmt(&b, ",\"from\":%" PRIu64 ",\"to\":%" PRIu64 ",\"ticks\":%" PRIu64 ",\"amount\":",
                r->from, r->to, r->ticks);
    kmy_buf_json_nusd(&b, r->amount_nusd);
    kmy_buf_fmt(&b, ",\"seq\":%" PRIu64 ",\"prev\":\"", r->seq);
    put_base64(&b, r->prev, sizeof r->prev);
    kmy_buf_fmt(&b, "\",\"total_ticks\":%" PRIu64 ",\"total_amount\":", r->total_ticks);
    kmy_buf_json_nusd(&b, r->total_nusd);
    kmy_buf_fmt(&b, ",\"iat\":%" PRId64 "}", r->issued_s);
    KMY_ASSERT(!b.overflow);
    return b.len;
}

/* BASE64URL(header) . BASE64URL(payload): what is signed (RFC 7515 section 5.1). */
static size_t signing_input(const kmy_receipt_public_t *key, const kmy_receipt_t *r,
                            char out[KMY_RECEIPT_BYTES_MAX])
{
    char json[KMY_RECEIPT_PAYLOAD_BYTES_MAX];
    _Static_assert(KMY_BASE64_TEXT_BYTES(128) + 1 +
                           KMY_BASE64_TEXT_BYTES(KMY_RECEIPT_PAYLOAD_BYTES_MAX) + 1 +
                           SIGNATURE_TEXT + 1 <=
                       KMY_RECEIPT_BYTES_MAX,
                   "the longest receipt fits");
    KMY_ASSERT(makes_sense(r));
    kmy_buf_t b = kmy_buf(json, 128);
    kmy_buf_str(&b, "{\"alg\":\"EdDSA\",\"typ\":\"kamiyo-receipt\",\"kid\":\"");
    kmy_buf_str(&b, key->kid);
    kmy_buf_str(&b, "\"}");
    KMY_ASSERT(!b.overflow);
    size_t n = kmy_base64_encode(KMY_BASE64_URL, json, b.len, out);
    out[n++] = '.';
    return n + kmy_base64_encode(KMY_BASE64_URL, json, payload(r, json), out + n);
}

void kmy_receipt_sign(const kmy_receipt_key_t *key, const kmy_receipt_t *r,
                      uint8_t signature[KMY_ED25519_SIGNATURE_BYTES])
{
    char text[KMY_RECEIPT_BYTES_MAX];
    size_t n = signing_input(&key->public, r, text);
    size_t len = KMY_ED25519_SIGNATURE_BYTES;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    KMY_ASSERT(md && EVP_DigestSignInit(md, NULL, NULL, NULL, key->pkey) == 1);
    KMY_ASSERT(EVP_DigestSign(md, signature, &len, (const unsigned char *)text, n) == 1);
    KMY_ASSERT(len == KMY_ED25519_SIGNATURE_BYTES);
    EVP_MD_CTX_free(md);
}

size_t kmy_receipt_text(const kmy_receipt_public_t *key, const kmy_receipt_t *r,
                        const uint8_t signature[KMY_ED25519_SIGNATURE_BYTES],
                        char out[KMY_RECEIPT_BYTES_MAX])
{
    size_t n = signing_input(key, r, out);
    out[n++] = '.';
    n += kmy_base64_encode(KMY_BASE64_URL, signature, KMY_ED25519_SIGNATURE_BYTES, out + n);
    out[n] = '\0';
    return n;
}

/* --- reading ----------------------------------------------------------------------------------- */

enum {
    ACCOUNT,
    FEED,
    EPOCH,
    FROM,
    TO,
    TICKS,
    AMOUNT,
    SEQ,
    PREV,
    TOTAL_TICKS,
    TOTAL_AMOUNT,
    IAT,
    MEMBERS
};

static bool count_of(kmy_json_token_t t, uint64_t *out)
{
    int64_t v;
    if (t.type != KMY_JSON_NUMBER || !kmy_json_i64(t, &v) || v < 0)
        return false;
    *out = (uint64_t)v;
    return true;
}

static bool money_of(kmy_json_token_t t, int64_t *out)
{
    return t.type == KMY_JSON_STRING && !t.escaped && kmy_nusd_parse(t.text, t.len, out) == KMY_OK;
}

static bool name_of(kmy_json_token_t t, char *out, size_t cap)
{
    return t.type == KMY_JSON_STRING && kmy_json_unescape(t, out, cap, NULL);
}

static kmy_err_t payload_read(const char *json, size_t len, kmy_receipt_t *r, kmy_errctx_t *ctx)
{
    kmy_json_field_t f[MEMBERS] = {
        [ACCOUNT] = { .key = "account" },
        [FEED] = { .key = "feed" },
        [EPOCH] = { .key = "epoch" },
        [FROM] = { .key = "from" },
        [TO] = { .key = "to" },
        [TICKS] = { .key = "ticks" },
        [AMOUNT] = { .key = "amount" },
        [SEQ] = { .key = "seq" },
        [PREV] = { .key = "prev" },
        [TOTAL_TICKS] = { .key = "total_ticks" },
        [TOTAL_AMOUNT] = { .key = "total_amount" },
        [IAT] = { .key = "iat" },
    };
    kmy_err_t err = read_object(json, len, f, MEMBERS, ctx);
    if (err != KMY_OK)
        return err;
    bool whole = name_of(f[ACCOUNT].token, r->account, sizeof r->account) &&
                 name_of(f[FEED].token, r->feed, sizeof r->feed) &&
                 name_of(f[EPOCH].token, r->epoch, sizeof r->epoch) &&
                 count_of(f[FROM].token, &r->from) && count_of(f[TO].token, &r->to) &&
                 count_of(f[TICKS].token, &r->ticks) &&
                 money_of(f[AMOUNT].token, &r->amount_nusd) && count_of(f[SEQ].token, &r->seq) &&
                 base64_of(f[PREV].token, KMY_RECEIPT_HASH_TEXT, r->prev, sizeof r->prev) &&
                 count_of(f[TOTAL_TICKS].token, &r->total_ticks) &&
                 money_of(f[TOTAL_AMOUNT].token, &r->total_nusd) &&
                 f[IAT].token.type == KMY_JSON_NUMBER && kmy_json_i64(f[IAT].token, &r->issued_s);
    if (!whole)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "a member of the receipt is missing or malformed");
    if (!makes_sense(r))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "the receipt contradicts itself");
    return KMY_OK;
}

/* {"alg":"EdDSA","kid":...}, perhaps a typ; the kid must be of the set.  Other members cannot steer anything: nothing reads them but crit, whose
   presence says that they must be understood. */
static kmy_err_t header_key(const kmy_receipt_public_t *keys, size_t keys_count, const char *text,
                            size_t len, const kmy_receipt_public_t **out, kmy_errctx_t *ctx)
{
    enum { ALG, KID, CRIT, HEADER_MEMBERS };
    char json[512];
    size_t json_len;
    kmy_json_field_t f[HEADER_MEMBERS] = {
        [ALG] = { .key = "alg" }, [KID] = { .key = "kid" }, [CRIT] = { .key = "crit" }
    };
    if (!kmy_base64_decode(KMY_BASE64_URL, text, len, json, sizeof json, &json_len) ||
        read_object(json, json_len, f, HEADER_MEMBERS, NULL) != KMY_OK ||
        !kmy_json_is(f[ALG].token, "EdDSA") || f[CRIT].token.type != KMY_JSON_ERROR)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "the header is not that of an EdDSA receipt");
    for (size_t i = 0; i < keys_count; i++) {
        if (f[KID].token.type == KMY_JSON_STRING && kmy_json_is(f[KID].token, keys[i].kid)) {
            *out = &keys[i];
            return KMY_OK;
        }
    }
    return KMY_FAIL(ctx, KMY_UNAUTHENTICATED, "it is signed by a key that is not in the key set");
}

/* The signature first: nothing of a payload is believed, or read, before. */
static kmy_err_t signature_check(const kmy_receipt_public_t *key, const char *text, size_t len,
                                 const char *tag, kmy_errctx_t *ctx)
{
    uint8_t signature[KMY_ED25519_SIGNATURE_BYTES];
    size_t n;
    size_t tag_len = len - (size_t)(tag - text);
    if (tag_len != SIGNATURE_TEXT ||
        !kmy_base64_decode(KMY_BASE64_URL, tag, tag_len, signature, sizeof signature, &n) ||
        !kmy_ed25519_verify(key->key, signature, text, (size_t)(tag - 1 - text)))
        return KMY_FAIL(ctx, KMY_UNAUTHENTICATED, "the signature is wrong");
    return KMY_OK;
}

kmy_err_t kmy_receipt_open(const kmy_receipt_public_t *keys, size_t keys_count, const char *text,
                           size_t len, kmy_receipt_t *out, kmy_errctx_t *ctx)
{
    char json[KMY_RECEIPT_PAYLOAD_BYTES_MAX];
    size_t json_len;
    kmy_receipt_t r = { .seq = 0 };
    const kmy_receipt_public_t *key = NULL;
    const char *dot = len < KMY_RECEIPT_BYTES_MAX ? memchr(text, '.', len) : NULL;
    const char *body = dot ? dot + 1 : NULL;
    const char *dot2 = body ? memchr(body, '.', len - (size_t)(body - text)) : NULL;
    if (!dot2)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "it is not header.payload.signature");
    kmy_err_t err = header_key(keys, keys_count, text, (size_t)(dot - text), &key, ctx);
    if (err == KMY_OK)
        err = signature_check(key, text, len, dot2 + 1, ctx);
    if (err == KMY_OK && !kmy_base64_decode(KMY_BASE64_URL, body, (size_t)(dot2 - body), json,
                                            sizeof json, &json_len))
        err = KMY_FAIL(ctx, KMY_BAD_INPUT, "the payload is not base64url");
    if (err == KMY_OK)
        err = payload_read(json, json_len, &r, ctx);
    if (err == KMY_OK)
        *out = r;
    return err;
}

kmy_err_t kmy_receipt_follows(const kmy_receipt_t *last, const uint8_t *last_hash,
                              const kmy_receipt_t *next, kmy_errctx_t *ctx)
{
    static const kmy_receipt_t none = { .seq = 0 };
    static const uint8_t zeros[KMY_RECEIPT_HASH_BYTES];
    const kmy_receipt_t *l = last ? last : &none;
    if (next->seq != l->seq + 1)
        return KMY_FAIL(ctx, KMY_CONFLICT, "seq %" PRIu64 " after %" PRIu64 ": %s", next->seq,
                        l->seq, next->seq > l->seq ? "receipts are missing" : "the chain forks");
    if (memcmp(next->prev, last ? last_hash : zeros, KMY_RECEIPT_HASH_BYTES) != 0)
        return KMY_FAIL(ctx, KMY_CONFLICT,
                        "prev is not the hash of the receipt before: seq %" PRIu64
                        " belongs to another chain",
                        next->seq);
    if (next->total_ticks - next->ticks != l->total_ticks ||
        next->total_nusd - next->amount_nusd != l->total_nusd)
        return KMY_FAIL(ctx, KMY_CONFLICT, "the totals of seq %" PRIu64 " do not add up",
                        next->seq);
    if (next->issued_s < l->issued_s)
        return KMY_FAIL(ctx, KMY_CONFLICT, "seq %" PRIu64 " is older than the one before",
                        next->seq);
    return KMY_OK;
}
