/* dollar 6/7   in: engine/cashier_stake (chain), configuration (prices.tiers)   out: engine/stakes (shard) */
/* stake: what an account's stake is worth: which tier it reaches, what that takes off every price, and how long a reading of the chain counts.

   A stake is what the account's own key holds of the house's token on Solana, in whole tokens.  Discounts multiply with those of pay/price: 100 -> 80
   (batch) -> 72, 64, 56 micro-USD.  Pure; any thread. */
#ifndef KMY_PAY_STAKE_H
#define KMY_PAY_STAKE_H

#include "base/err.h"
#include "pay/solana_account.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    KMY_TIERS_MAX = 8,
    KMY_STAKE_DECIMALS_MAX = 18, /* 10^18 < 2^64; SPL tokens have 9 mostly */
};

typedef struct kmy_tier {
    int64_t stake;            /* whole tokens, from which on */
    int64_t discount_percent; /* 0..100 */
} kmy_tier_t;

typedef struct kmy_tiers {
    kmy_tier_t at[KMY_TIERS_MAX];
    size_t count;
} kmy_tiers_t;

/* 1,000 / 10,000 / 100,000 tokens: 10 / 20 / 30 % (docs/protocol.md). */
kmy_tiers_t kmy_tiers_default(void);
/* Rows rise in stake, and no discount falls; a first row of stake 0 may stand there, with no discount.  KMY_CONFIG says which row is wrong (from 0). */
kmy_err_t kmy_tiers_check(const kmy_tiers_t *tiers, kmy_errctx_t *ctx);
/* Which tier so many tokens reach, from 1; 0: none. */
uint32_t kmy_tier_of(const kmy_tiers_t *tiers, uint64_t stake);
/* Percent off every price. */
uint32_t kmy_tier_discount(const kmy_tiers_t *tiers, uint64_t stake);

/* Whole tokens in so many base units: a part of one is none.  decimals <= KMY_STAKE_DECIMALS_MAX. */
uint64_t kmy_stake_whole(uint64_t units, uint32_t decimals);

/* Whose tokens count for an account: the key that a Solana account (CAIP-10) is named after, on whichever of its networks.  false: it is none, and has no
   stake. */
bool kmy_stake_owner(const char *account, uint8_t owner[KMY_SOLANA_KEY_BYTES]);

/* The last reading.  Times in ns of one clock, which never runs backwards. */
typedef struct kmy_stake {
    uint64_t tokens;
    int64_t read_ns;  /* when the chain said so; meaningless unless known */
    int64_t tried_ns; /* when it was last asked in vain; meaningless unless failed */
    bool known;
    bool failed; /* since read_ns */
} kmy_stake_t;

typedef struct kmy_stake_rule {
    int64_t refresh_ns; /* a reading is good for so long */
    int64_t keep_ns;    /* and counts so much longer while the chain cannot be asked */
} kmy_stake_rule_t;

/* Need the chain not be asked: it said so lately, or was asked in vain lately (a tenth of refresh, at least 100 ms)? */
bool kmy_stake_rests(const kmy_stake_t *stake, const kmy_stake_rule_t *rule, int64_t now_ns);
/* When that ends; now_ns or earlier: it has. */
int64_t kmy_stake_due(const kmy_stake_t *stake, const kmy_stake_rule_t *rule);
/* What counts now: 0 once the reading is older than refresh and keep, or if there never was one. */
uint64_t kmy_stake_counts(const kmy_stake_t *stake, const kmy_stake_rule_t *rule, int64_t now_ns);

#endif
