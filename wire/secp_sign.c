#include "wire/secp_sign.h"

#include <secp256k1.h>
#include <secp256k1_recovery.h>
#include <string.h>
#include <sys/random.h>

/* Blinded, so that what a signature takes in time and power says less of the key; without random numbers it is right all the same. */
static secp256k1_context *new_context(void)
{
    uint8_t seed[32];
    secp256k1_context *ctx = secp256k1_context_create(SECP256K1_CONTEXT_SIGN);
    if (ctx && getrandom(seed, sizeof seed, 0) == (ssize_t)sizeof seed)
        (void)!secp256k1_context_randomize(ctx, seed);
    explicit_bzero(seed, sizeof seed);
    return ctx;
}

bool kmy_secp_key_address(const uint8_t key[KMY_SECP_KEY_BYTES],
                          uint8_t address[KMY_SECP_ADDRESS_BYTES])
{
    secp256k1_pubkey public_key;
    uint8_t text[1 + KMY_SECP_PUBLIC_BYTES];
    size_t len = sizeof text;
    secp256k1_context *ctx = new_context();
    bool ok = ctx && secp256k1_ec_pubkey_create(ctx, &public_key, key);
    if (ok) {
        secp256k1_ec_pubkey_serialize(ctx, text, &len, &public_key, SECP256K1_EC_UNCOMPRESSED);
        kmy_secp_address(text + 1, address);
    }
    if (ctx)
        secp256k1_context_destroy(ctx);
    return ok;
}

bool kmy_secp_sign(const uint8_t digest[32], const uint8_t key[KMY_SECP_KEY_BYTES], uint8_t rs[64],
                   int *recid)
{
    secp256k1_ecdsa_recoverable_signature sig;
    secp256k1_context *ctx = new_context();
    bool ok = ctx && secp256k1_ecdsa_sign_recoverable(ctx, &sig, digest, key, NULL, NULL);
    memset(rs, 0, 64);
    if (ok)
        secp256k1_ecdsa_recoverable_signature_serialize_compact(ctx, rs, recid, &sig);
    if (ctx)
        secp256k1_context_destroy(ctx);
    return ok;
}
