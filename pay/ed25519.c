#include "pay/ed25519.h"

#include "base/err.h"

#include <openssl/bn.h>
#include <openssl/evp.h>
#include <string.h>

enum { BYTES = KMY_ED25519_KEY_BYTES };

/* p = 2^255 - 19, little-endian as all of it. */
static const uint8_t prime[BYTES] = { 0xED, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                      0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                      0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                      0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F };

/* The y of the eight points whose order divides 8; the sign bit is the only other thing in their spelling.  0 (order 4), 1 (order 1), p - 1
   (order 2), and the two of order 8.  test_ed25519 multiplies each by 8. */
static const uint8_t small[5][BYTES] = {
    { 0x00 },
    { 0x01 },
    { 0xEC, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
      0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
      0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F },
    { 0x26, 0xE8, 0x95, 0x8F, 0xC2, 0xB2, 0x27, 0xB0, 0x45, 0xC3, 0xF4,
      0x89, 0xF2, 0xEF, 0x98, 0xF0, 0xD5, 0xDF, 0xAC, 0x05, 0xD3, 0xC6,
      0x33, 0x39, 0xB1, 0x38, 0x02, 0x88, 0x6D, 0x53, 0xFC, 0x05 },
    { 0xC7, 0x17, 0x6A, 0x70, 0x3D, 0x4D, 0xD8, 0x4F, 0xBA, 0x3C, 0x0B,
      0x76, 0x0D, 0x10, 0x67, 0x0F, 0x2A, 0x20, 0x53, 0xFA, 0x2C, 0x39,
      0xCC, 0xC6, 0x4E, 0xC7, 0xFD, 0x77, 0x92, 0xAC, 0x03, 0x7A },
};

/* Canonical and of large order: the only spelling of a point that can be somebody's. */
static bool strict_point(const uint8_t point[BYTES])
{
    uint8_t y[BYTES];
    memcpy(y, point, BYTES);
    y[BYTES - 1] &= 0x7F;
    for (size_t i = 0; i < sizeof small / sizeof small[0]; i++)
        if (memcmp(y, small[i], BYTES) == 0)
            return false;
    for (int i = BYTES - 1; i >= 0; i--)
        if (y[i] != prime[i])
            return y[i] < prime[i];
    return false;
}

bool kmy_ed25519_verify(const uint8_t key[BYTES],
                        const uint8_t signature[KMY_ED25519_SIGNATURE_BYTES], const void *message,
                        size_t len)
{
    if (!strict_point(key) || !strict_point(signature))
        return false;
    EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, BYTES);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool good = pkey && md && EVP_DigestVerifyInit(md, NULL, NULL, NULL, pkey) == 1 &&
                EVP_DigestVerify(md, signature, KMY_ED25519_SIGNATURE_BYTES, message, len) == 1;
    EVP_MD_CTX_free(md);
    EVP_PKEY_free(pkey);
    return good;
}

/* -x^2 + y^2 = 1 + d x^2 y^2 has an x for this y exactly if (y^2 - 1) / (d y^2 + 1) is a square, and u/v is one exactly if u v is.  With
   d = -121665/121666 and u, v multiplied by 121666:  u = 121666 (y^2 - 1),  v = 121666 - 121665 y^2. */
static bool has_x(BIGNUM *y, const BIGNUM *p, BN_CTX *ctx)
{
    BIGNUM *yy = BN_CTX_get(ctx);
    BIGNUM *u = BN_CTX_get(ctx);
    BIGNUM *v = BN_CTX_get(ctx);
    KMY_ASSERT(v && BN_mod_sqr(yy, y, p, ctx));
    KMY_ASSERT(BN_copy(u, yy) && BN_sub_word(u, 1) && BN_mul_word(u, 121666));
    KMY_ASSERT(BN_copy(v, yy) && BN_mul_word(v, 121665));
    BN_set_negative(v, 1);
    KMY_ASSERT(BN_add_word(v, 121666) && BN_mod_mul(u, u, v, p, ctx));
    int symbol = BN_kronecker(u, p, ctx);
    KMY_ASSERT(symbol >= -1);
    return symbol >= 0;
}

bool kmy_ed25519_on_curve(const uint8_t key[BYTES])
{
    uint8_t bytes[BYTES];
    memcpy(bytes, key, BYTES);
    bytes[BYTES - 1] &= 0x7F;
    BN_CTX *ctx = BN_CTX_new();
    KMY_ASSERT(ctx);
    BN_CTX_start(ctx);
    BIGNUM *p = BN_CTX_get(ctx);
    BIGNUM *y = BN_CTX_get(ctx);
    KMY_ASSERT(y && BN_lebin2bn(prime, BYTES, p) && BN_lebin2bn(bytes, BYTES, y));
    bool found = has_x(y, p, ctx);
    BN_CTX_end(ctx);
    BN_CTX_free(ctx);
    return found;
}
