/* Receipts and key sets from anybody: the input as a set of keys, as a receipt, and, signed with our own key, as the payload of one. */
#include "pay/receipt.h"
#include "wire/base64.h"

#include <openssl/evp.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t seed[32] = { 1, 2, 3 };

static void open_it(const kmy_receipt_key_t *key, const char *text, size_t len)
{
    kmy_receipt_t r;
    kmy_receipt_t again;
    char out[KMY_RECEIPT_BYTES_MAX];
    uint8_t signature[KMY_ED25519_SIGNATURE_BYTES];
    const kmy_receipt_public_t *public = kmy_receipt_key_public(key);
    kmy_errctx_t ctx = { 0 };
    kmy_err_t err = kmy_receipt_open(public, 1, text, len, &r, &ctx);
    KMY_ASSERT(err == KMY_OK || err == KMY_UNAUTHENTICATED || err == KMY_BAD_INPUT);
    if (err != KMY_OK)
        return;
    /* What was accepted can be issued, and says the same. */
    kmy_receipt_sign(key, &r, signature);
    size_t n = kmy_receipt_text(public, &r, signature, out);
    KMY_ASSERT(kmy_receipt_open(public, 1, out, n, &again, NULL) == KMY_OK);
    KMY_ASSERT(r.seq == again.seq && r.ticks == again.ticks && r.total_nusd == again.total_nusd);
    KMY_ASSERT(strcmp(r.account, again.account) == 0 && strcmp(r.feed, again.feed) == 0);
}

static void open_signed(const kmy_receipt_key_t *key, const char *payload, size_t len)
{
    char text[KMY_RECEIPT_BYTES_MAX + 64];
    char json[160];
    uint8_t tag[KMY_ED25519_SIGNATURE_BYTES];
    size_t tag_len = sizeof tag;
    if (len > KMY_RECEIPT_PAYLOAD_BYTES_MAX)
        return;
    size_t n = 0;
    static const char before[] = "{\"alg\":\"EdDSA\",\"kid\":\"";
    memcpy(json, before, sizeof before - 1);
    n = sizeof before - 1;
    memcpy(json + n, kmy_receipt_key_public(key)->kid, KMY_RECEIPT_HASH_TEXT);
    n += KMY_RECEIPT_HASH_TEXT;
    memcpy(json + n, "\"}", 2);
    size_t at = kmy_base64_encode(KMY_BASE64_URL, json, n + 2, text);
    text[at++] = '.';
    at += kmy_base64_encode(KMY_BASE64_URL, payload, len, text + at);
    EVP_PKEY *pkey = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, sizeof seed);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    KMY_ASSERT(EVP_DigestSignInit(md, NULL, NULL, NULL, pkey) == 1);
    KMY_ASSERT(EVP_DigestSign(md, tag, &tag_len, (const uint8_t *)text, at) == 1);
    EVP_MD_CTX_free(md);
    EVP_PKEY_free(pkey);
    text[at++] = '.';
    at += kmy_base64_encode(KMY_BASE64_URL, tag, tag_len, text + at);
    open_it(key, text, at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static kmy_receipt_key_t *key;
    kmy_receipt_public_t keys[4];
    size_t count;
    if (!key)
        key = kmy_receipt_key_new(seed, NULL);
    const char *text = (const char *)data;
    if (kmy_receipt_jwks_read(text, size, keys, 4, &count, NULL) == KMY_OK)
        KMY_ASSERT(count >= 1 && count <= 4);
    open_it(key, text, size);
    open_signed(key, text, size);
    return 0;
}
