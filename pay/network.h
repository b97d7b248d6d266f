/* network: the chains Kamiyo knows by itself, so that a configuration need name only the chain and the address that is paid.  Source: the
   tables of the x402 packages and of the token's issuer; a network that stands here under another name or token can still be configured
   in full. */
#ifndef KMY_PAY_NETWORK_H
#define KMY_PAY_NETWORK_H

#include <stdbool.h>
#include <stdint.h>

typedef struct kmy_pay_network {
    const char *name;  /* x402 v1 name */
    const char *chain; /* CAIP-2 */
    const char *asset; /* USDC there: contract (checksummed) or mint */
    const char *asset_name;
    const char *asset_version; /* EIP-712 domain of the token; "" on Solana */
    int64_t
        min_payment_nusd; /* 0: whatever the price is; a chain whose fee eats small payments has more */
    int64_t
        max_fee_gwei; /* what a unit of gas may cost our own account: many times what is usual there */
} kmy_pay_network_t;

#define KMY_PAY_MAX_FEE_GWEI 20 /* elsewhere */

/* true if the legacy client (x402 1.2.0) knows the network's name: one that it does not know breaks it for the whole offer, so such
   entries are offered in v2 only. */
bool kmy_pay_network_in_v1(const char *name);

/* By v1 name or by CAIP-2 id; NULL: not known. */
const kmy_pay_network_t *kmy_pay_network(const char *name_or_chain);

enum { KMY_PAY_NETWORK_NAMES_BYTES_MAX = 128 };
/* For people: the names of all known ones, "base, ethereum, ...". */
void kmy_pay_network_names(char out[KMY_PAY_NETWORK_NAMES_BYTES_MAX]);
/* The known name that was probably meant by another one; NULL: nothing is near. */
const char *kmy_pay_network_closest(const char *name);

#endif
