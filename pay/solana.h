/* dollar 3/7 (Solana)   in: pay/verify   out: pay/verify */
/* solana: a partially signed transaction judged against an entry of ours.

   The customer signs a whole transaction whose fee somebody else (the entry's fee_payer) will pay and sign for.  So it may do one thing only:
   move exactly our amount of our token to our account.  It is taken apart byte by byte and refused for anything else: another instruction,
   another program, an address table that would hide accounts, the fee payer among the accounts of an instruction.

   Sources: x402 "exact" on Solana; Solana's transaction format (short vectors, message versions legacy and 0).  Pure; any thread; allocates
   inside OpenSSL for the signature, which is checked last. */
#ifndef KMY_PAY_SOLANA_H
#define KMY_PAY_SOLANA_H

#include "pay/entry.h"
#include "pay/reason.h"

#include <stddef.h>
#include <stdint.h>

#define KMY_SOLANA_TRANSACTION_BYTES_MAX 1232 /* what fits a packet of the network: 1280 - 48 */
#define KMY_SOLANA_INSTRUCTIONS_MAX      7
#define KMY_SOLANA_UNITS_MAX             400000 /* compute units; a transfer takes 6,000 */
#define KMY_SOLANA_UNIT_PRICE_MAX                                                                  \
    5000000 /* micro-lamports: with the line above at most 2,000,000 lamports of fee */
#define KMY_SOLANA_GUARDS_MAX 3 /* Lighthouse assertions that wallets add */

typedef struct kmy_solana_payment {
    uint8_t payer[KMY_SOLANA_KEY_BYTES]; /* the transfer's authority, whose signature was checked */
    uint8_t id
        [32]; /* SHA-256 of the message: one transaction, one id, whatever its signatures look like */
} kmy_solana_payment_t;

/* KMY_PAY_NONE: good, and *out filled; else the first reason found, *out untouched. */
kmy_pay_reason_t kmy_solana_check(const uint8_t *transaction, size_t len,
                                  const kmy_pay_entry_t *entry, kmy_solana_payment_t *out);

#endif
