/* dollar 2/7   in: pay/verify   out: pay/ledger (engine/keeper) */
/* payment_id: the name of an authorization: the first 32 hex digits of SHA-256 over

       chain|asset|payer|nonce

   chain is CAIP-2; asset and payer are addresses (EVM: 0x and lower-case digits; Solana: base58); nonce is 64 lower-case digits (Solana: the SHA-256 of the
   message).  It names what was authorized and not the bytes that carried it, so a malleated or re-encoded copy of a payment is the same payment
   (threat model P1, P4).  Written into the ledger: the construction never changes.

   Any thread; allocates inside OpenSSL. */
#ifndef KMY_PAY_PAYMENT_ID_H
#define KMY_PAY_PAYMENT_ID_H

#include "pay/entry.h"

#define KMY_PAYMENT_ID_DIGITS 32

/* payer: 20 bytes on EVM, 32 on Solana; nonce: 32 bytes (both as in kmy_pay_verdict_t). */
void kmy_payment_id(const kmy_pay_entry_t *entry, const uint8_t *payer, const uint8_t nonce[32],
                    char out[KMY_PAYMENT_ID_DIGITS + 1]);

#endif
