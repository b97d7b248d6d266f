/* dollar 7/7   in: engine/keeper   out: pay/receipt, the customer

   The chain of receipts of each account: its head stands in the ledger, written in the same transaction as the consumption it covers, or in a
   later one, never in an earlier: what a receipt says was delivered is durably consumed.  So a crash loses neither receipt nor consumption
   alone, and the chain goes on after it.

   The newest KMY_LEDGER_RECEIPTS_KEPT of each account are kept whole, for a customer whose connection broke before it had them. */
#ifndef KMY_PAY_LEDGER_RECEIPT_H
#define KMY_PAY_LEDGER_RECEIPT_H

#include "pay/ledger.h"
#include "pay/receipt.h"

enum { KMY_LEDGER_RECEIPTS_KEPT = 32 }; /* of some 230 bytes each */

typedef struct kmy_ledger_chain {
    uint64_t seq; /* of the newest receipt; 0: none yet */
    uint64_t ticks;
    int64_t amount_nusd;
    int64_t issued_s;
    uint8_t hash[KMY_RECEIPT_HASH_BYTES]; /* of the newest; zeros before the first */
} kmy_ledger_chain_t;

/* The head of an account's chain; seq 0 if it has none. */
kmy_err_t kmy_ledger_chain_get(kmy_ledger_t *l, uint64_t account_id, kmy_ledger_chain_t *out,
                               kmy_errctx_t *ctx);

/* Issues the next receipt of the account, inside a batch: *r says feed, epoch, from, to, ticks, amount_nusd and issued_s, and gets the rest;
   signature is what kmy_receipt_text wants.  It may be told to the customer once the commit returned.  The account's consumption must cover the
   chain with this receipt: else it is our bug (assert).  A clock that went back does not show: issued_s is at least that of the receipt
   before.  KMY_NOT_FOUND: no such account; KMY_CORRUPT; KMY_IO. */
kmy_err_t kmy_ledger_receipt_issue(kmy_ledger_t *l, uint64_t account_id,
                                   const kmy_receipt_key_t *key, kmy_receipt_t *r,
                                   uint8_t signature[KMY_ED25519_SIGNATURE_BYTES],
                                   kmy_errctx_t *ctx);

/* The kept receipts above after_seq that this key signed, oldest first.  A visitor returns false to stop. */
typedef bool kmy_ledger_receipt_visit_t(void *arg, const kmy_receipt_t *r,
                                        const uint8_t signature[KMY_ED25519_SIGNATURE_BYTES]);
kmy_err_t kmy_ledger_visit_receipts(kmy_ledger_t *l, uint64_t account_id,
                                    const kmy_receipt_public_t *key, uint64_t after_seq,
                                    kmy_ledger_receipt_visit_t *visit, void *arg,
                                    kmy_errctx_t *ctx);

#endif
