/* dollar 7/7   in: pay/ledger_receipt (keeper)   out: the customer, `kamiyo verify`

   receipt: the house's signed word on what a stream delivered and what it cost.  A compact JWS (RFC 7515) with EdDSA over Ed25519 (RFC 8037);
   its payload names one run of one feed: account, feed, epoch, first and last charged offset, how many ticks, their price together.  The
   receipts of an account form a chain: `seq` rises by one, `prev` is the SHA-256 of the receipt before as it was sent (the 32 zero bytes
   before the first), and the totals go on; so a receipt that is left out, changed or made up later shows.

   Pure but for the key's file; signing and opening allocate inside OpenSSL (EVP objects have no other home).  Any thread; a key is only read. */
#ifndef KMY_PAY_RECEIPT_H
#define KMY_PAY_RECEIPT_H

#include "base/err.h"
#include "base/limits.h"
#include "pay/ed25519.h"

#include <stddef.h>
#include <stdint.h>

enum {
    KMY_RECEIPT_HASH_BYTES = 32,
    KMY_RECEIPT_HASH_TEXT = 43, /* of it in base64url */
    KMY_RECEIPT_EPOCH_BYTES_MAX = 64,
    /* Payload: three names of at most 127 + 63 + 63 bytes, each byte a \u00XX escape at worst, nine numbers of at most 20 digits, 43 of prev,
       150 of member names: 1,900.  Of base64 4/3 of it, with a header of 127 and a signature of 86 and two points. */
    KMY_RECEIPT_PAYLOAD_BYTES_MAX = 1920,
    KMY_RECEIPT_BYTES_MAX = 2880,
    KMY_RECEIPT_JWK_BYTES_MAX = 256,
    KMY_RECEIPT_KEYS_MAX = 16, /* of one set */
};

typedef struct kmy_receipt {
    char account[KMY_ACCOUNT_BYTES_MAX];
    char feed[KMY_FEED_NAME_BYTES_MAX];
    char epoch[KMY_RECEIPT_EPOCH_BYTES_MAX];
    uint64_t from; /* first charged offset */
    uint64_t to;   /* last one; offsets between that were skipped or free are not in ticks */
    uint64_t ticks;
    int64_t amount_nusd;
    uint64_t seq;         /* in the account's chain, from 1 */
    uint64_t total_ticks; /* of the chain, this one included */
    int64_t total_nusd;
    uint8_t prev[KMY_RECEIPT_HASH_BYTES];
    int64_t issued_s;
} kmy_receipt_t;

/* What checks need; a set has several when a key was replaced. */
typedef struct kmy_receipt_public {
    uint8_t key[KMY_ED25519_KEY_BYTES];
    char kid[KMY_RECEIPT_HASH_TEXT + 1]; /* thumbprint of the key, RFC 7638 */
} kmy_receipt_public_t;

typedef struct kmy_receipt_key kmy_receipt_key_t;
/* From the 32 bytes of a private key (RFC 8032 section 5.1.5); the caller wipes them.  NULL with ctx. */
kmy_receipt_key_t *kmy_receipt_key_new(const uint8_t seed[KMY_ED25519_KEY_BYTES],
                                       kmy_errctx_t *ctx);
/* The same from <data>/receipt.key, made (0600) at first start.  Blocks. */
kmy_receipt_key_t *kmy_receipt_key_load(const char *data_dir, kmy_errctx_t *ctx);
void kmy_receipt_key_free(kmy_receipt_key_t *key); /* wipes; NULL is allowed */
const kmy_receipt_public_t *kmy_receipt_key_public(const kmy_receipt_key_t *key);

/* The public key as a JWK (RFC 8037 section 2), terminated; returns the length. */
size_t kmy_receipt_jwk(const kmy_receipt_public_t *key, char out[KMY_RECEIPT_JWK_BYTES_MAX]);
/* Reads a JWK, or a set {"keys":[...]} of which other kinds of keys are passed over.  KMY_BAD_INPUT: none in it, or more than max. */
kmy_err_t kmy_receipt_jwks_read(const char *text, size_t len, kmy_receipt_public_t *out, size_t max,
                                size_t *count, kmy_errctx_t *ctx);

/* kmy_receipt_sign: the signature of *r.  kmy_receipt_text: the whole receipt, terminated, from *r and its signature: the same bytes whoever
   writes them.  Both assert what a receipt of ours must be: ticks in 1..to-from+1, seq from 1, totals at least the receipt's own. */
void kmy_receipt_sign(const kmy_receipt_key_t *key, const kmy_receipt_t *r,
                      uint8_t signature[KMY_ED25519_SIGNATURE_BYTES]);
size_t kmy_receipt_text(const kmy_receipt_public_t *key, const kmy_receipt_t *r,
                        const uint8_t signature[KMY_ED25519_SIGNATURE_BYTES],
                        char out[KMY_RECEIPT_BYTES_MAX]);
/* SHA-256 of a receipt's text: the prev of the next one. */
void kmy_receipt_hash(const char *text, size_t len, uint8_t out[KMY_RECEIPT_HASH_BYTES]);

/* Checks a receipt against a set of keys and reads it.  KMY_UNAUTHENTICATED: unknown key, wrong signature; KMY_BAD_INPUT: no receipt, or one that
   contradicts itself.  *out is untouched unless KMY_OK. */
kmy_err_t kmy_receipt_open(const kmy_receipt_public_t *keys, size_t keys_count, const char *text,
                           size_t len, kmy_receipt_t *out, kmy_errctx_t *ctx);
/* Does `next` follow `last`, whose text has that hash?  NULL: next must be the first of its chain.  KMY_CONFLICT with what is wrong. */
kmy_err_t kmy_receipt_follows(const kmy_receipt_t *last, const uint8_t *last_hash,
                              const kmy_receipt_t *next, kmy_errctx_t *ctx);

#endif
