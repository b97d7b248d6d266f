/* dollar 3/7   in: pay/payment   out: pay/ledger (engine/keeper) */
/* verify: is this a payment of what we asked for?  Everything that can be known without the chain, cheapest first, always against an entry of
   ours.  What remains is the chain's: balance, a nonce that was used elsewhere, contract wallets.  That the nonce is new here is the
   ledger's to say (kmy_pay_verdict_t.nonce is its key).

   Pure but for OpenSSL's allocations on Solana; any thread, but costs 60 us and more: not on a shard. */
#ifndef KMY_PAY_VERIFY_H
#define KMY_PAY_VERIFY_H

#include "base/limits.h"
#include "pay/entry.h"
#include "pay/payment.h"
#include "pay/reason.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KMY_PAY_SECONDS_LEFT_MIN                                                                   \
    6 /* a payment that ends sooner cannot be settled any more; what the facilitators want */

/* What was asked for: any of these entries.  resource_url: what a v2 payment must name if it names one; NULL: not looked at. */
typedef struct kmy_pay_offer {
    const kmy_pay_entry_t *entries;
    size_t entries_count;
    const char *resource_url;
} kmy_pay_offer_t;

typedef enum {
    KMY_PAY_INVALID,     /* reason says why; the rest is not to be used, unless ask_chain */
    KMY_PAY_VALID,       /* signed by account */
    KMY_PAY_NEEDS_CHAIN, /* all but the signature was checked: a contract wallet's (EIP-1271, EIP-6492), which only its chain can judge */
} kmy_pay_result_t;

typedef struct kmy_pay_verdict {
    kmy_pay_result_t result;
    kmy_pay_reason_t reason;
    bool
        ask_chain; /* KMY_PAY_INVALID with a 65-byte signature of somebody else: right if the payer is a contract, which its chain knows; the rest holds then */
    const kmy_pay_entry_t *entry; /* of the offer, what was paid; NULL: none */
    char account
        [KMY_ACCOUNT_BYTES_MAX]; /* payer as CAIP-10: eip155:8453:0x<lower case>, solana:<genesis>:<base58> */
    uint8_t payer[32];           /* EVM: the first 20 bytes */
    uint8_t nonce
        [32]; /* EVM: the authorization's nonce; Solana: SHA-256 of the message.  With entry and payer it names the payment */
    int64_t valid_before_s;     /* EVM; INT64_MAX: later than any clock */
    uint8_t digest[32];         /* EVM: what was signed */
    kmy_json_token_t signature; /* EVM: 0x and digits, borrowed from the payment */
} kmy_pay_verdict_t;

/* now_s: Unix seconds.  *out is always filled; ctx (may be NULL) says more, for people. */
kmy_pay_result_t kmy_pay_verify(const kmy_pay_offer_t *offer, const kmy_payment_t *payment,
                                int64_t now_s, kmy_pay_verdict_t *out, kmy_errctx_t *ctx);

#endif
