#include "wire/secp.h"

#include "wire/keccak.h"

#include <secp256k1.h>
#include <secp256k1_recovery.h>
#include <string.h>

bool kmy_secp_low_s(const uint8_t s[32])
{
    static const uint8_t half[32] = { 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                      0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                      0x5D, 0x57, 0x6E, 0x73, 0x57, 0xA4, 0x50, 0x1D,
                                      0xDF, 0xE9, 0x2F, 0x46, 0x68, 0x1B, 0x20, 0xA0 };
    return memcmp(s, half, sizeof half) <= 0;
}

/* The library checks below n and finds no key for zero; both are said here as well, because money hangs on it. */
static bool any_bit(const uint8_t v[32])
{
    uint8_t bits = 0;
    for (int i = 0; i < 32; i++)
        bits |= v[i];
    return bits != 0;
}

bool kmy_secp_recover(const uint8_t digest[32], const uint8_t rs[64], int recid,
                      uint8_t public_key[KMY_SECP_PUBLIC_BYTES])
{
    secp256k1_ecdsa_recoverable_signature sig;
    secp256k1_pubkey key;
    uint8_t text[1 + KMY_SECP_PUBLIC_BYTES];
    size_t len = sizeof text;
    if (recid < 0 || recid > 3 || !any_bit(rs) || !any_bit(rs + 32) ||
        !secp256k1_ecdsa_recoverable_signature_parse_compact(secp256k1_context_static, &sig, rs,
                                                             recid) ||
        !secp256k1_ecdsa_recover(secp256k1_context_static, &key, &sig, digest))
        return false;
    secp256k1_ec_pubkey_serialize(secp256k1_context_static, text, &len, &key,
                                  SECP256K1_EC_UNCOMPRESSED);
    memcpy(public_key, text + 1, KMY_SECP_PUBLIC_BYTES);
    return true;
}

void kmy_secp_address(const uint8_t public_key[KMY_SECP_PUBLIC_BYTES],
                      uint8_t address[KMY_SECP_ADDRESS_BYTES])
{
    uint8_t hash[KMY_KECCAK_BYTES];
    kmy_keccak256(public_key, KMY_SECP_PUBLIC_BYTES, hash);
    memcpy(address, hash + sizeof hash - KMY_SECP_ADDRESS_BYTES, KMY_SECP_ADDRESS_BYTES);
}

bool kmy_secp_recover_address(const uint8_t digest[32], const uint8_t rs[64], int recid,
                              uint8_t address[KMY_SECP_ADDRESS_BYTES])
{
    static const uint8_t zero[KMY_SECP_ADDRESS_BYTES];
    uint8_t public_key[KMY_SECP_PUBLIC_BYTES];
    if (!kmy_secp_recover(digest, rs, recid, public_key))
        return false;
    kmy_secp_address(public_key, address);
    return memcmp(address, zero, sizeof zero) != 0;
}

static bool verify(const uint8_t digest[32], const uint8_t *key, size_t key_len,
                   secp256k1_ecdsa_signature *sig, bool low_s_only)
{
    secp256k1_pubkey parsed;
    bool compressed = key_len == 33 && (key[0] == 2 || key[0] == 3);
    if (!compressed && !(key_len == 65 && key[0] == 4))
        return false;
    if (!secp256k1_ec_pubkey_parse(secp256k1_context_static, &parsed, key, key_len))
        return false;
    /* The library's verify takes low s only; normalize says whether it was high. */
    bool was_high = secp256k1_ecdsa_signature_normalize(secp256k1_context_static, sig, sig);
    return !(was_high && low_s_only) &&
           secp256k1_ecdsa_verify(secp256k1_context_static, sig, digest, &parsed);
}

bool kmy_secp_verify(const uint8_t digest[32], const uint8_t *key, size_t key_len,
                     const uint8_t rs[64], bool low_s_only)
{
    secp256k1_ecdsa_signature sig;
    return secp256k1_ecdsa_signature_parse_compact(secp256k1_context_static, &sig, rs) &&
           verify(digest, key, key_len, &sig, low_s_only);
}

bool kmy_secp_verify_der(const uint8_t digest[32], const uint8_t *key, size_t key_len,
                         const uint8_t *sig, size_t sig_len, bool low_s_only)
{
    secp256k1_ecdsa_signature parsed;
    return secp256k1_ecdsa_signature_parse_der(secp256k1_context_static, &parsed, sig, sig_len) &&
           verify(digest, key, key_len, &parsed, low_s_only);
}
