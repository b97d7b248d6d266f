/* dollar 6/7   in: engine/cashier_stake   out: engine/query, engine/subs (prices) */
#include "engine/discount.h"

#include "base/clock.h"
#include "engine/account.h"
#include "engine/reload.h"
#include "engine/slips.h"

#include <string.h>

enum {
    LATER_MS = 20000, /* nobody waits: the cashier answers much earlier (KMY_CALL_STAKE_MS) */
    AGAIN_MS = 10,    /* at the soonest: a clock apart between two threads asks no faster */
};
/* Payments go first. */
#define SLIPS_KEPT (KMY_SLIPS / 2)

static uint32_t slot_of(const kmy_shard_t *s, const kmy_shard_account_t *acc)
{
    return (uint32_t)(acc - s->accounts);
}

/* false: no slip now. */
static bool ask(kmy_shard_t *s, kmy_shard_account_t *acc, int64_t wait_ns)
{
    kmy_slip_t *slip = kmy_slips_left(s) > SLIPS_KEPT ? kmy_slip_take(s) : NULL;
    if (!slip)
        return false;
    slip->kind = KMY_SLIP_STAKE;
    slip->ask = KMY_SLIP_ASK_ACCOUNT;
    slip->conn = slot_of(s, acc);
    slip->gen = acc->gen;
    slip->deadline_ns = s->now_ns + wait_ns;
    memcpy(slip->account, acc->name, sizeof slip->account);
    acc->stake_due_ns = INT64_MAX; /* until it is back */
    kmy_slip_send(s, slip);
    return true;
}

bool kmy_discount_begin(kmy_shard_t *s, kmy_shard_account_t *acc)
{
    uint8_t owner[KMY_SOLANA_KEY_BYTES];
    if (!s->config->prices.stake.mint[0] || !kmy_stake_owner(acc->name, owner))
        return false;
    acc->stake_due_ns = s->now_ns;
    return ask(s, acc, s->config->prices.stake.wait_ns);
}

static bool set_percent(const kmy_shard_t *s, kmy_shard_account_t *acc)
{
    uint8_t was = acc->discount_percent;
    acc->discount_percent = (uint8_t)kmy_tier_discount(&s->config->prices.tiers, acc->stake);
    return acc->discount_percent != was;
}

static void tell_streams(kmy_shard_t *s, const kmy_shard_account_t *acc)
{
    uint32_t next;
    for (uint32_t i = acc->conns_head; i != KMY_NONE; i = next) {
        next = kmy_conn_at(s, i)->conns_next;
        kmy_reload_prices(s, kmy_conn_at(s, i));
    }
}

void kmy_discount_told(kmy_shard_t *s, const kmy_slip_t *slip)
{
    kmy_shard_account_t *acc = &s->accounts[slip->conn];
    int64_t soonest_ns = s->now_ns + AGAIN_MS * KMY_NS_PER_MS;
    if (slip->conn >= s->accounts_high || acc->gen != slip->gen || acc->state == KMY_ACCOUNT_FREE)
        return; /* forgotten meanwhile */
    acc->stake = slip->stake;
    acc->stake_due_ns = slip->again_ns > soonest_ns ? slip->again_ns : soonest_ns;
    if (set_percent(s, acc))
        tell_streams(s, acc);
    if (acc->state == KMY_ACCOUNT_OPENING)
        kmy_account_opened(s, acc);
}

void kmy_discount_turn(kmy_shard_t *s, uint32_t count)
{
    if (!s->config->prices.stake.mint[0])
        return;
    for (uint32_t i = 0; i < count && i < s->accounts_high; i++) {
        s->discount_at = s->discount_at + 1 < s->accounts_high ? s->discount_at + 1 : 0;
        kmy_shard_account_t *acc = &s->accounts[s->discount_at];
        if (acc->state == KMY_ACCOUNT_OPEN && acc->stake_due_ns <= s->now_ns)
            ask(s, acc, LATER_MS * KMY_NS_PER_MS); /* no slip: the next time round */
    }
}

void kmy_discount_retier(kmy_shard_t *s)
{
    for (uint32_t i = 0; i < s->accounts_high; i++) {
        if (s->accounts[i].state != KMY_ACCOUNT_FREE)
            set_percent(s, &s->accounts[i]);
    }
}
