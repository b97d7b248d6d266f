/* dollar 4/7   in: POST /v1/passes   out: pay/ledger_pass, and the shards that serve the account */
#include "engine/keeper_inside.h"

#include "base/clock.h"
#include "base/log.h"
#include "pay/ledger_pass.h"

#include <string.h>

typedef struct telling {
    kmy_keeper_t *k;
    const served_t *v;
    const kmy_account_t *acc;
    uint32_t shard;
    kmy_tell_t *tell; /* that has room; NULL: none yet */
} telling_t;

static bool tell_one(void *arg, const char *name, int64_t expires_ns)
{
    telling_t *to = arg;
    const kmy_feed_t *feed = kmy_catalog_find(to->k->catalog, name, strlen(name));
    if (!feed)
        return true; /* it is not sold any more, or not in this configuration */
    if (!to->tell || to->tell->passes.count == KMY_PASS_FEEDS_MAX)
        to->tell = kmy_keeper_tell_shard(to->k, to->v, to->shard, KMY_TELL_PASSES, to->acc);
    kmy_tell_passes_t *p = &to->tell->passes;
    p->feed[p->count] = (uint16_t)feed->idx;
    p->expires_ns[p->count++] = expires_ns;
    return true;
}

void kmy_keeper_tell_passes(kmy_keeper_t *k, const served_t *v, uint32_t shard,
                            const kmy_account_t *acc)
{
    kmy_errctx_t ctx = { 0 };
    telling_t to = { k, v, acc, shard, NULL };
    if (!k->catalog)
        return;
    kmy_err_t err = kmy_ledger_visit_passes(k->ledger, acc->id, kmy_wall_ns(), tell_one, &to, &ctx);
    if (err != KMY_OK)
        kmy_log(KMY_LOG_ERROR, "keeper", "passes of account %llu cannot be read: %s",
                (unsigned long long)acc->id, ctx.detail);
}

static void put_sale(kmy_tell_passes_t *p, const kmy_ask_t *a, const kmy_pass_sale_t *sale)
{
    p->count = (uint32_t)a->from;
    memcpy(p->feed, a->feeds, sizeof p->feed);
    memcpy(p->expires_ns, sale->expires_ns, sizeof p->expires_ns);
}

void kmy_keeper_do_passes(kmy_keeper_t *k, uint32_t shard, const kmy_ask_t *a)
{
    kmy_pass_sale_t sale;
    kmy_account_t acc;
    kmy_errctx_t ctx = { 0 };
    kmy_pass_order_t o = { .account_id = a->account_id,
                           .key = a->ref,
                           .count = (uint32_t)a->from,
                           .price_nusd = a->amount_nusd,
                           .price_book = a->price_book,
                           .discount_percent = a->discount_percent };
    KMY_ASSERT(k->catalog != NULL && a->from <= KMY_PASS_FEEDS_MAX);
    for (uint32_t i = 0; i < o.count; i++) {
        KMY_ASSERT(a->feeds[i] < k->catalog->feeds_count);
        o.feeds[i] = k->catalog->feeds[a->feeds[i]].name;
    }
    kmy_err_t err = kmy_ledger_pass_buy(k->ledger, &o, kmy_wall_ns(), &sale, &acc, &ctx);
    const served_t *v = kmy_keeper_served(k, a->account_id);
    for (uint32_t i = 0; err == KMY_OK && i < k->topology->shards_count; i++) {
        if ((v->open_mask >> i & 1) == 0)
            continue;
        kmy_keeper_tell_shard(k, v, i, KMY_TELL_FIGURES, &acc);
        put_sale(&kmy_keeper_tell_shard(k, v, i, KMY_TELL_PASSES, &acc)->passes, a, &sale);
    }
    kmy_tell_t *t = kmy_keeper_answer(k, shard, a, err, &ctx);
    if (err != KMY_OK && err != KMY_DUPLICATE)
        return;
    t->amount_nusd =
        sale.charged_nusd; /* a repeated order has the answer of the first, not a word else */
    t->free_nusd = sale.balance_nusd;
    put_sale(&t->passes, a, &sale);
}
