/* dollar 2/7   in: pay/verify   out: pay/ledger (engine/keeper) */
#include "pay/payment_id.h"

#include "wire/base58.h"
#include "wire/hex.h"

#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

static void put_address(const kmy_pay_entry_t *e, const uint8_t *bytes, char out[64])
{
    if (e->family == KMY_PAY_SOLANA) {
        kmy_base58_encode(bytes, KMY_SOLANA_KEY_BYTES, out);
        return;
    }
    memcpy(out, "0x", 2);
    kmy_hex_encode(bytes, KMY_EVM_ADDRESS_BYTES, out + 2);
}

void kmy_payment_id(const kmy_pay_entry_t *entry, const uint8_t *payer, const uint8_t nonce[32],
                    char out[KMY_PAYMENT_ID_DIGITS + 1])
{
    char asset[64], from[64], number[65], text[KMY_PAY_CHAIN_BYTES_MAX + 64 + 64 + 65 + 3];
    uint8_t hash[SHA256_DIGEST_LENGTH];
    put_address(entry, entry->family == KMY_PAY_SOLANA ? entry->solana.mint : entry->evm.asset,
                asset);
    put_address(entry, payer, from);
    kmy_hex_encode(nonce, 32, number);
    int n = snprintf(text, sizeof text, "%s|%s|%s|%s", entry->chain, asset, from, number);
    SHA256((const unsigned char *)text, (size_t)n, hash);
    kmy_hex_encode(hash, KMY_PAYMENT_ID_DIGITS / 2, out);
}
