/* dollar 6/7   in: engine/cashier_stake (chain), configuration (prices.tiers)   out: engine/stakes (shard) */
#include "pay/stake.h"

#include "base/clock.h"
#include "wire/base58.h"

#include <string.h>

enum { WHOLE = 100, RETRY_MS_MIN = 100 };

kmy_tiers_t kmy_tiers_default(void)
{
    return (kmy_tiers_t){ .at = { { 1000, 10 }, { 10000, 20 }, { 100000, 30 } }, .count = 3 };
}

kmy_err_t kmy_tiers_check(const kmy_tiers_t *tiers, kmy_errctx_t *ctx)
{
    KMY_ASSERT(tiers->count <= KMY_TIERS_MAX);
    for (size_t i = 0; i < tiers->count; i++) {
        const kmy_tier_t *t = &tiers->at[i];
        KMY_ASSERT(t->discount_percent >= 0 && t->discount_percent <= WHOLE);
        if (t->stake < 0 || (t->stake == 0 && t->discount_percent > 0))
            return KMY_FAIL(ctx, KMY_CONFIG,
                            "prices.tiers[%zu] gives a discount for a stake of 0: lower the prices "
                            "instead",
                            i);
        if (i > 0 && t->stake <= t[-1].stake)
            return KMY_FAIL(ctx, KMY_CONFIG,
                            "prices.tiers[%zu].stake must be above that of the tier before", i);
        if (i > 0 && t->discount_percent < t[-1].discount_percent)
            return KMY_FAIL(ctx, KMY_CONFIG,
                            "prices.tiers[%zu].discount is below that of the tier before", i);
    }
    return KMY_OK;
}

uint32_t kmy_tier_of(const kmy_tiers_t *tiers, uint64_t stake)
{
    uint32_t tier = 0;
    for (size_t i = 0; i < tiers->count && stake >= (uint64_t)tiers->at[i].stake; i++)
        tier += tiers->at[i].stake > 0;
    return tier;
}

uint32_t kmy_tier_discount(const kmy_tiers_t *tiers, uint64_t stake)
{
    uint32_t percent = 0;
    for (size_t i = 0; i < tiers->count && stake >= (uint64_t)tiers->at[i].stake; i++)
        percent = (uint32_t)tiers->at[i].discount_percent;
    return percent;
}

uint64_t kmy_stake_whole(uint64_t units, uint32_t decimals)
{
    uint64_t one = 1;
    KMY_ASSERT(decimals <= KMY_STAKE_DECIMALS_MAX);
    for (uint32_t i = 0; i < decimals; i++)
        one *= 10;
    return units / one;
}

bool kmy_stake_owner(const char *account, uint8_t owner[KMY_SOLANA_KEY_BYTES])
{
    static const char solana[] = "solana:";
    const char *key = strrchr(account, ':');
    if (strncmp(account, solana, sizeof solana - 1) != 0 || key < account + sizeof solana)
        return false;
    return kmy_base58_decode(key + 1, strlen(key + 1), owner, KMY_SOLANA_KEY_BYTES);
}

static int64_t retry_ns(const kmy_stake_rule_t *rule)
{
    int64_t ns = rule->refresh_ns / 10;
    return ns > RETRY_MS_MIN * KMY_NS_PER_MS ? ns : RETRY_MS_MIN * KMY_NS_PER_MS;
}

int64_t kmy_stake_due(const kmy_stake_t *stake, const kmy_stake_rule_t *rule)
{
    if (stake->failed)
        return stake->tried_ns + retry_ns(rule);
    return stake->known ? stake->read_ns + rule->refresh_ns : INT64_MIN;
}

bool kmy_stake_rests(const kmy_stake_t *stake, const kmy_stake_rule_t *rule, int64_t now_ns)
{
    return now_ns < kmy_stake_due(stake, rule);
}

uint64_t kmy_stake_counts(const kmy_stake_t *stake, const kmy_stake_rule_t *rule, int64_t now_ns)
{
    bool counts = stake->known && now_ns - stake->read_ns < rule->refresh_ns + rule->keep_ns;
    return counts ? stake->tokens : 0;
}
