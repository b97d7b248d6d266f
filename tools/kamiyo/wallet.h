/* wallet: an EVM key at a terminal, and what it signs.  The key comes from KAMIYO_WALLET_KEY or from a file that nobody else can read: 64 hex digits, with or
   without 0x.  It is never printed, and wiped by cli_wallet_close. */
#ifndef KMY_TOOLS_WALLET_H
#define KMY_TOOLS_WALLET_H

#include "pay/evm.h"
#include "tools/kamiyo/kamiyo.h"

typedef struct wallet {
    uint8_t key[32];
    uint8_t address[KMY_EVM_ADDRESS_BYTES];
} wallet_t;

int cli_wallet_open(const cli_t *cli, wallet_t *w); /* an exit code; the fault was told */
void cli_wallet_close(wallet_t *w);
/* r, s and v (27 or 28), s low: what a token contract takes. */
void cli_wallet_sign(const wallet_t *w, const uint8_t digest[KMY_EVM_WORD_BYTES],
                     uint8_t signature[KMY_EVM_SIGNATURE_BYTES]);

#endif
