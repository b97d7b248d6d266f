/* dollar 4/7   in: POST /v1/tokens, POST /v1/admin/tokens   out: pay/ledger_allow, and the shards that serve its accounts */
#include "engine/keeper_inside.h"

#include "base/clock.h"
#include "pay/ledger_allow.h"

#include <string.h>

static kmy_allowance_t wanted(const kmy_ask_t *a, uint64_t parent_id)
{
    kmy_allowance_t w = { .parent_id = parent_id,
                          .amount_nusd = a->spend_nusd,
                          .expires_ns = a->expires_s * KMY_NS_PER_S,
                          .terms = a->terms };
    memcpy(w.jti, a->jti, sizeof w.jti);
    return w;
}

static void answer(kmy_keeper_t *k, uint32_t shard, const kmy_ask_t *a, kmy_err_t err,
                   const kmy_account_t *child, int64_t expires_ns, const kmy_errctx_t *ctx)
{
    kmy_tell_t *t = kmy_keeper_answer(k, shard, a, err, ctx);
    if (err != KMY_OK)
        return;
    kmy_keeper_put_figures(t, child);
    t->amount_nusd = a->amount_nusd;
    t->spend_nusd = a->spend_nusd;
    t->expires_s = expires_ns / KMY_NS_PER_S;
    memcpy(t->jti, a->jti, sizeof t->jti);
    memcpy(t->text, child->name, sizeof t->text);
}

void kmy_keeper_allow(kmy_keeper_t *k, uint32_t shard, const kmy_ask_t *a, uint64_t parent_id)
{
    kmy_account_t child = { 0 };
    kmy_account_t parent;
    int64_t expires_ns = 0;
    kmy_errctx_t ctx = { 0 };
    kmy_allowance_t w = wanted(a, parent_id);
    kmy_err_t err =
        kmy_ledger_allow(k->ledger, &w, kmy_wall_ns(), &child, &parent, &expires_ns, &ctx);
    if (err == KMY_OK)
        kmy_keeper_tell_change(k, &parent); /* it has less */
    answer(k, shard, a, err == KMY_DUPLICATE ? KMY_OK : err, &child, expires_ns, &ctx);
}

kmy_err_t kmy_keeper_allow_check(kmy_keeper_t *k, const kmy_ask_t *a, uint64_t parent_id,
                                 kmy_errctx_t *ctx)
{
    kmy_allowance_t w = wanted(a, parent_id);
    return kmy_ledger_allow_check(k->ledger, &w, a->amount_nusd, ctx);
}

void kmy_keeper_do_allow(kmy_keeper_t *k, uint32_t shard, const kmy_ask_t *a)
{
    kmy_keeper_allow(k, shard, a, a->account_id);
}

/* Its token is void: no shard has use for the lease. */
static void recall(kmy_keeper_t *k, const kmy_account_t *child)
{
    if (child->id >= k->by_id_cap || !k->by_id[child->id])
        return;
    const served_t *v = kmy_keeper_served(k, child->id);
    for (uint32_t i = 0; i < k->topology->shards_count; i++) {
        if ((v->open_mask >> i & 1) && v->shard[i].lease_nusd > 0)
            kmy_keeper_tell_shard(k, v, i, KMY_TELL_RECALL, child);
    }
}

uint32_t kmy_keeper_do_returns(kmy_keeper_t *k, uint32_t max)
{
    uint32_t done = 0;
    kmy_err_t err = KMY_OK;
    while (done < max && (err == KMY_OK || err == KMY_AGAIN)) {
        kmy_account_t child;
        kmy_account_t parent;
        kmy_errctx_t ctx = { 0 };
        err = kmy_ledger_allowance_return(k->ledger, kmy_wall_ns(), &child, &parent, &ctx);
        if (err == KMY_OK) {
            kmy_keeper_tell_change(k, &child);
            kmy_keeper_tell_change(k, &parent);
        } else if (err == KMY_AGAIN) {
            recall(k, &child);
        } else if (err == KMY_CORRUPT) {
            kmy_keeper_log_damage(k, 0, ctx.detail);
        }
        done += err == KMY_OK || err == KMY_AGAIN;
    }
    return done;
}
