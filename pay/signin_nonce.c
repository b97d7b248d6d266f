/* dollar 1/7   in: engine/routes (the offer of a sign-in)   out: engine/cashier */
#include "pay/signin_nonce.h"

#include "pay/signin.h"
#include "pay/token_jws.h"
#include "wire/hex.h"

#include <openssl/crypto.h>
#include <string.h>
#include <sys/random.h>

enum {
    RANDOM_BYTES = 16,
    TIME_BYTES = 8,
    TAG_BYTES = 16,
    SAID_BYTES = RANDOM_BYTES + TIME_BYTES,
    NONCE_BYTES = SAID_BYTES + TAG_BYTES,
};
_Static_assert(2 * NONCE_BYTES == KMY_SIGNIN_NONCE_DIGITS, "two digits a byte");
_Static_assert(KMY_SIGNIN_NONCE_DIGITS < KMY_SIGNIN_NONCE_BYTES_MAX, "a sign-in can carry it");
_Static_assert(KMY_SIGNIN_NONCE_LIFE_S == KMY_SIGNIN_AGE_S_MAX,
               "a nonce that outlived what it can be in would be remembered for nothing");

static void tag_of(const kmy_token_key_t *key, const uint8_t said[SAID_BYTES],
                   uint8_t tag[TAG_BYTES])
{
    static const char what[] = "kamiyo sign-in: ";
    uint8_t text[sizeof what - 1 + SAID_BYTES];
    uint8_t mac[KMY_TOKEN_MAC_BYTES];
    memcpy(text, what, sizeof what - 1);
    memcpy(text + sizeof what - 1, said, SAID_BYTES);
    kmy_token_mac(key, text, sizeof text, mac);
    memcpy(tag, mac, TAG_BYTES);
}

bool kmy_signin_nonce_make(const kmy_token_key_t *key, int64_t now_s,
                           char out[KMY_SIGNIN_NONCE_DIGITS + 1])
{
    uint8_t nonce[NONCE_BYTES];
    KMY_ASSERT(now_s >= 0);
    out[0] = '\0';
    if (getrandom(nonce, RANDOM_BYTES, 0) != RANDOM_BYTES)
        return false;
    for (int i = 0; i < TIME_BYTES; i++)
        nonce[RANDOM_BYTES + i] = (uint8_t)((uint64_t)now_s >> (8 * (TIME_BYTES - 1 - i)));
    tag_of(key, nonce, nonce + SAID_BYTES);
    kmy_hex_encode(nonce, sizeof nonce, out);
    return true;
}

kmy_err_t kmy_signin_nonce_check(const kmy_token_key_t *key, const char *nonce, size_t len,
                                 int64_t now_s, int64_t *expires_s, kmy_errctx_t *ctx)
{
    uint8_t bytes[NONCE_BYTES];
    uint8_t tag[TAG_BYTES];
    char canonical[KMY_SIGNIN_NONCE_DIGITS + 1];
    if (len != KMY_SIGNIN_NONCE_DIGITS || !kmy_hex_decode(nonce, len, bytes, sizeof bytes))
        return KMY_FAIL(ctx, KMY_UNAUTHENTICATED, "the nonce is not one of ours");
    tag_of(key, bytes, tag);
    kmy_hex_encode(bytes, sizeof bytes, canonical); /* one spelling, or it would be used twice */
    if (CRYPTO_memcmp(tag, bytes + SAID_BYTES, TAG_BYTES) != 0 ||
        memcmp(canonical, nonce, len) != 0)
        return KMY_FAIL(ctx, KMY_UNAUTHENTICATED, "the nonce is not one of ours");
    uint64_t issued = 0;
    for (int i = 0; i < TIME_BYTES; i++)
        issued = issued << 8 | bytes[RANDOM_BYTES + i];
    int64_t issued_s = (int64_t)issued; /* ours, so it is no rubbish */
    if (issued_s > now_s + KMY_SIGNIN_LEEWAY_S)
        return KMY_FAIL(ctx, KMY_UNAUTHENTICATED, "the nonce is of the future");
    if (now_s - issued_s >= KMY_SIGNIN_NONCE_LIFE_S)
        return KMY_FAIL(ctx, KMY_UNAUTHENTICATED,
                        "the nonce is older than %d seconds: ask for a new one",
                        KMY_SIGNIN_NONCE_LIFE_S);
    *expires_s = issued_s + KMY_SIGNIN_NONCE_LIFE_S;
    return KMY_OK;
}
