/* dollar 1/7   in: engine (configuration, price)   out: pay/verify, the offers of a 402 */
/* entry: one way to pay, ours.  What a client signs is always judged against such an entry and never against what the client says it was
   offered.  An entry is made once per network and price from texts; everything that does not depend on the payment (addresses as bytes, the
   EIP-712 domain, the associated accounts) is computed then.

   Any thread once made; never blocks; kmy_pay_entry_init allocates inside OpenSSL for Solana (start-up). */
#ifndef KMY_PAY_ENTRY_H
#define KMY_PAY_ENTRY_H

#include "base/err.h"
#include "pay/evm.h"
#include "pay/solana_account.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KMY_PAY_NAME_BYTES_MAX    33 /* all with their terminator */
#define KMY_PAY_CHAIN_BYTES_MAX   81
#define KMY_PAY_ADDRESS_BYTES_MAX 48 /* base58 of 32 bytes has 44, 0x and 40 digits have 42 */
#define KMY_PAY_TOKEN_BYTES_MAX   81 /* name of the token's domain */
#define KMY_PAY_VERSION_BYTES_MAX 17
#define KMY_PAY_MEMO_BYTES_MAX    129
#define KMY_PAY_DECIMALS          6 /* of USDC everywhere: a base unit is a millionth of a dollar */
#define KMY_PAY_TIMEOUT_S_MAX     INT32_MAX /* what every client reads as a whole number */

typedef enum { KMY_PAY_EVM, KMY_PAY_SOLANA } kmy_pay_family_t;

/* What an entry is made of; NULL and "" are the same.  For a network of pay/network.h all but name (or chain) and pay_to may be left out. */
typedef struct kmy_pay_terms {
    const char *name;          /* x402 v1 name */
    const char *chain;         /* CAIP-2: eip155:<number>, solana:<genesis> */
    const char *asset;         /* token contract or mint */
    const char *asset_name;    /* EVM: EIP-712 domain of the token */
    const char *asset_version; /* EVM */
    const char *pay_to;
    const char *
        fee_payer; /* Solana: who pays the fee, never the customer; "": nothing can be accepted yet */
    const char *memo;   /* Solana: must stand in the transaction; "": any or none */
    uint32_t timeout_s; /* maxTimeoutSeconds; 0: 60 */
} kmy_pay_terms_t;

typedef struct kmy_pay_entry {
    kmy_pay_family_t family;
    uint32_t timeout_s;
    uint64_t chain_id; /* EVM */
    /* As offered, to be compared with what comes back as spelled. */
    char name[KMY_PAY_NAME_BYTES_MAX];
    char chain[KMY_PAY_CHAIN_BYTES_MAX];
    char asset[KMY_PAY_ADDRESS_BYTES_MAX];
    char asset_name[KMY_PAY_TOKEN_BYTES_MAX];
    char asset_version[KMY_PAY_VERSION_BYTES_MAX];
    char pay_to[KMY_PAY_ADDRESS_BYTES_MAX];
    char fee_payer[KMY_PAY_ADDRESS_BYTES_MAX];
    char memo[KMY_PAY_MEMO_BYTES_MAX];
    char amount[KMY_EVM_DECIMAL_BYTES_MAX]; /* base units */
    uint8_t amount_word[KMY_EVM_WORD_BYTES];
    uint64_t amount_units; /* UINT64_MAX: that or more */
    union {
        struct {
            uint8_t asset[KMY_EVM_ADDRESS_BYTES];
            uint8_t pay_to[KMY_EVM_ADDRESS_BYTES];
            uint8_t domain[KMY_EVM_WORD_BYTES];
        } evm;
        struct {
            uint8_t mint[KMY_SOLANA_KEY_BYTES];
            uint8_t fee_payer[KMY_SOLANA_KEY_BYTES];
            uint8_t account[KMY_SOLANA_TOKENS]
                           [KMY_SOLANA_KEY_BYTES]; /* of pay_to, by token program */
        } solana;
    };
} kmy_pay_entry_t;

/* kmy_pay_entry_init fills *entry, with an amount of 0.  KMY_CONFIG: ctx->detail says which term is wrong and what is legal.  A mixed-case EVM
   address must be right by EIP-55: an operator who mistypes an address gives money away. */
kmy_err_t kmy_pay_entry_init(kmy_pay_entry_t *entry, const kmy_pay_terms_t *terms,
                             kmy_errctx_t *ctx);
/* kmy_pay_entry_price sets the amount from base units; _text from decimal text below 2^256 (false: it is none, or on Solana not below
   2^64; *entry unchanged). */
void kmy_pay_entry_price(kmy_pay_entry_t *entry, uint64_t units);
bool kmy_pay_entry_price_text(kmy_pay_entry_t *entry, const char *text, size_t len);
/* What amount_nusd > 0 costs in base units: rounded up (the surplus is credited), and never below min_nusd (networks[].min_payment; 0: none), which
   is rounded up as well.  At least 1. */
uint64_t kmy_pay_units(int64_t amount_nusd, int64_t min_nusd);

#endif
