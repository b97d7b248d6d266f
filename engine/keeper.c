/* dollar 5/7 in: pay/ledger  out: pay/meter (shard)

   What shards ask, one verb each; who serves which account; start and stop.  keeper_batch.c is the thread. */
#include "engine/keeper_inside.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Each ask may be told to every shard twice, and answered; or answered with all receipts that are kept, or with all passes.  Each job may be told to every
   shard twice.  Hardly a page of it is ever touched. */
static size_t tells_max(const kmy_topology_t *t)
{
    size_t each = 2 * t->shards_count + 1;
    size_t passes = KMY_FEEDS_MAX / KMY_PASS_FEEDS_MAX + 1; /* more than receipts are kept */
    return BATCH_MAX * (each > passes ? each : passes) + (size_t)KMY_JOBS * t->shards_count * 2;
}

/* --- who serves what ----------------------------------------------------------------------- */

served_t *kmy_keeper_served(kmy_keeper_t *k, uint64_t id)
{
    if (id >= k->by_id_cap) {
        uint64_t cap = k->by_id_cap ? k->by_id_cap : 256;
        while (cap <= id)
            cap *= 2;
        served_t **grown = realloc(k->by_id, cap * sizeof *grown);
        KMY_ASSERT(grown !=
                   NULL); /* eight bytes an account; without memory the ledger cannot be served */
        memset(grown + k->by_id_cap, 0, (cap - k->by_id_cap) * sizeof *grown);
        k->by_id = grown;
        k->by_id_cap = cap;
    }
    if (!k->by_id[id]) {
        k->by_id[id] = calloc(1, kmy_keeper_served_bytes(k->topology));
        KMY_ASSERT(k->by_id[id] != NULL);
        k->by_id[id]->id = id;
    }
    served_t *v = k->by_id[id];
    if (v->batch != k->batch) {
        v->batch = k->batch;
        memcpy(kmy_keeper_before(k, k->before_count++), v, kmy_keeper_served_bytes(k->topology));
    }
    return v;
}

/* --- tells --------------------------------------------------------------------------------- */

static kmy_tell_t *tell(kmy_keeper_t *k, uint32_t shard, uint32_t kind)
{
    KMY_ASSERT(k->tells_count < tells_max(k->topology));
    addressed_t *a = &k->tells[k->tells_count++];
    memset(a, 0, sizeof *a);
    a->shard = shard;
    a->tell.kind = kind;
    return &a->tell;
}

void kmy_keeper_put_figures(kmy_tell_t *t, const kmy_account_t *acc)
{
    t->account_id = acc->id;
    t->credited_nusd = acc->credited_nusd;
    t->free_nusd = acc->balance_nusd;
    t->leased_nusd = acc->leased_nusd;
    t->consumed_nusd = acc->consumed_nusd;
    t->debt_nusd = acc->debt_nusd;
    t->moved_nusd = acc->moved_nusd;
    t->ticks_count = acc->ticks_count;
    t->queries_count = acc->queries_count;
}

kmy_tell_t *kmy_keeper_tell_shard(kmy_keeper_t *k, const served_t *v, uint32_t shard, uint32_t kind,
                                  const kmy_account_t *acc)
{
    kmy_tell_t *t = tell(k, shard, kind);
    t->slot = v->shard[shard].slot;
    t->gen = v->shard[shard].gen;
    t->mine_nusd = v->shard[shard].lease_nusd;
    kmy_keeper_put_figures(t, acc);
    t->leased_nusd -= acc->held_nusd; /* no shard will give that back: not worth waiting for */
    return t;
}

static void tell_account(kmy_keeper_t *k, const served_t *v, uint32_t shard, uint32_t kind,
                         const kmy_account_t *acc, int64_t amount_nusd)
{
    kmy_keeper_tell_shard(k, v, shard, kind, acc)->amount_nusd = amount_nusd;
}

/* To all shards of the mask. */
static void tell_shards(kmy_keeper_t *k, const served_t *v, uint64_t mask, uint32_t kind,
                        const kmy_account_t *acc)
{
    for (uint32_t i = 0; i < k->topology->shards_count; i++) {
        if (mask >> i & 1)
            tell_account(k, v, i, kind, acc, 0);
    }
}

kmy_tell_t *kmy_keeper_answer(kmy_keeper_t *k, uint32_t shard, const kmy_ask_t *a, kmy_err_t err,
                              const kmy_errctx_t *ctx)
{
    kmy_tell_t *t = tell(k, shard, KMY_TELL_ANSWER);
    t->slot = a->slot;
    t->gen = a->gen;
    t->ask_kind = a->kind;
    t->err = (int32_t)err;
    t->when_s = a->when_s;
    memcpy(t->text, a->text, sizeof t->text);
    if (err != KMY_OK)
        memcpy(t->detail, ctx->detail, sizeof t->detail);
    return t;
}

/* --- asks ---------------------------------------------------------------------------------- */

static void do_open(kmy_keeper_t *k, uint32_t shard, const kmy_ask_t *a)
{
    kmy_account_t acc;
    kmy_errctx_t ctx = { 0 };
    kmy_err_t err = kmy_ledger_account_by_name(k->ledger, a->text, &acc, &ctx);
    if (err == KMY_OK) {
        served_t *v = kmy_keeper_served(k, acc.id);
        v->open_mask |= UINT64_C(1) << shard;
        v->shard[shard].slot = a->slot;
        v->shard[shard].gen = a->gen;
        kmy_keeper_tell_passes(k, v, shard, &acc);
        tell_account(k, v, shard, KMY_TELL_OPENED, &acc, 0);
        return;
    }
    if (err == KMY_CORRUPT && !kmy_ledger_is_broken(k->ledger))
        kmy_keeper_log_damage(k, 0, ctx.detail);
    kmy_keeper_fail(k, shard, a, err, &ctx);
}

/* What it had of its lease is spent or given back; where it closes, it serves the account no more. */
static void forget_reported(served_t *v, uint32_t shard, const kmy_ask_t *a)
{
    uint64_t bit = UINT64_C(1) << shard;
    v->shard[shard].lease_nusd -= a->consumed_nusd + a->returned_nusd;
    KMY_ASSERT(v->shard[shard].lease_nusd >= 0);
    if (a->closes) {
        v->open_mask &= ~bit;
        v->short_mask &= ~bit;
    }
}

/* A broken batch is done again, all of it, so nothing is said yet.  Else it is this account's records that cannot be read, and again would change nothing. */
static void could_not(kmy_keeper_t *k, uint32_t shard, const kmy_ask_t *a, kmy_err_t err,
                      const kmy_errctx_t *ctx)
{
    if (kmy_ledger_is_broken(k->ledger))
        return;
    kmy_keeper_log_damage(k, a->account_id, ctx->detail);
    kmy_keeper_fail(k, shard, a, err, ctx);
}

static void do_lease(kmy_keeper_t *k, uint32_t shard, const kmy_ask_t *a)
{
    served_t *v = kmy_keeper_served(k, a->account_id);
    kmy_account_t acc;
    kmy_errctx_t ctx = { 0 };
    int64_t granted = 0;
    kmy_err_t err = kmy_ledger_lease(k->ledger, a->account_id, shard, a->amount_nusd, kmy_wall_ns(),
                                     &granted, &acc, &ctx);
    if (err != KMY_OK) {
        could_not(k, shard, a, err, &ctx);
        return;
    }
    v->shard[shard].lease_nusd += granted;
    if (granted == 0) {
        uint64_t others = v->open_mask & ~(UINT64_C(1) << shard);
        v->short_mask |= UINT64_C(1) << shard;
        for (uint32_t i = 0; i < k->topology->shards_count; i++) {
            if ((others >> i & 1) && v->shard[i].lease_nusd > 0)
                tell_account(k, v, i, KMY_TELL_RECALL, &acc, 0);
        }
    }
    tell_account(k, v, shard, KMY_TELL_LEASED, &acc, granted);
}

static void do_report(kmy_keeper_t *k, uint32_t shard, const kmy_ask_t *a)
{
    if (a->account_id == 0)
        return; /* an account that the ledger does not know, forgotten by its shard */
    served_t *v = kmy_keeper_served(k, a->account_id);
    uint64_t bit = UINT64_C(1) << shard;
    kmy_ledger_report_t r = {
        .account_id = a->account_id,
        .shard = shard,
        .consumed_nusd = a->consumed_nusd,
        .returned_nusd = a->returned_nusd,
        .ticks_count = a->ticks_count,
        .queries_count = a->queries_count,
    };
    kmy_account_t acc;
    kmy_errctx_t ctx = { 0 };
    kmy_err_t err = kmy_keeper_uses(k, a, &r.uses, &ctx);
    r.uses_count = a->uses_count;
    if (err == KMY_OK)
        err = kmy_ledger_settle(k->ledger, &r, kmy_wall_ns(), &acc, &ctx);
    if (err != KMY_OK) {
        could_not(k, shard, a, err, &ctx);
        return;
    }
    forget_reported(v, shard, a);
    /* Whoever was short looks again: there is more now, or it is known that there is less elsewhere. */
    uint64_t waiting = v->short_mask & ~bit;
    v->short_mask &= bit;
    tell_shards(k, v, waiting, KMY_TELL_CHANGED, &acc);
    tell_shards(k, v, v->open_mask & ~bit & ~waiting, KMY_TELL_FIGURES, &acc);
}

static void put_receipt(kmy_tell_t *t, const kmy_receipt_t *r, const uint8_t *signature)
{
    t->ticks_count = r->ticks;
    t->amount_nusd = r->amount_nusd;
    t->when_s = r->issued_s;
    t->receipt.from = r->from;
    t->receipt.to = r->to;
    t->receipt.seq = r->seq;
    t->receipt.total_ticks = r->total_ticks;
    t->receipt.total_nusd = r->total_nusd;
    memcpy(t->receipt.feed, r->feed, sizeof r->feed);
    memcpy(t->receipt.epoch, r->epoch, sizeof r->epoch);
    memcpy(t->receipt.prev, r->prev, sizeof r->prev);
    memcpy(t->receipt.signature, signature, sizeof t->receipt.signature);
}

static kmy_tell_t *tell_receipt(kmy_keeper_t *k, uint32_t shard, const kmy_ask_t *a, kmy_err_t err)
{
    kmy_tell_t *t = tell(k, shard, KMY_TELL_RECEIPT);
    t->slot = a->slot;
    t->gen = a->gen;
    t->ask_kind = a->kind;
    t->err = (int32_t)err;
    return t;
}

/* The report that it covers came before it by the same queue, so it is in this batch or in an earlier one. */
static void do_receipt(kmy_keeper_t *k, uint32_t shard, const kmy_ask_t *a)
{
    uint8_t signature[KMY_ED25519_SIGNATURE_BYTES];
    kmy_errctx_t ctx = { 0 };
    kmy_receipt_t r = { .from = a->from,
                        .to = a->to,
                        .ticks = a->ticks_count,
                        .amount_nusd = a->amount_nusd,
                        .issued_s = kmy_wall_ns() / KMY_NS_PER_S };
    KMY_ASSERT(k->receipt_key != NULL);
    memcpy(r.feed, a->text, sizeof r.feed);
    memcpy(r.epoch, a->ref, sizeof r.epoch);
    kmy_err_t err =
        kmy_ledger_receipt_issue(k->ledger, a->account_id, k->receipt_key, &r, signature, &ctx);
    if (err == KMY_IO || kmy_ledger_is_broken(k->ledger))
        return; /* as in could_not */
    if (err != KMY_OK)
        kmy_log(KMY_LOG_ERROR, "keeper", "no receipt for account %llu: %s",
                (unsigned long long)a->account_id, ctx.detail);
    kmy_tell_t *t = tell_receipt(k, shard, a, err);
    if (err == KMY_OK)
        put_receipt(t, &r, signature);
}

typedef struct kept_for {
    kmy_keeper_t *k;
    uint32_t shard;
    const kmy_ask_t *ask;
} kept_for_t;

static bool tell_kept(void *arg, const kmy_receipt_t *r, const uint8_t *signature)
{
    const kept_for_t *to = arg;
    put_receipt(tell_receipt(to->k, to->shard, to->ask, KMY_OK), r, signature);
    return true;
}

static void do_receipts(kmy_keeper_t *k, uint32_t shard, const kmy_ask_t *a)
{
    kmy_errctx_t ctx = { 0 };
    kept_for_t to = { k, shard, a };
    KMY_ASSERT(k->receipt_key != NULL);
    kmy_err_t err =
        kmy_ledger_visit_receipts(k->ledger, a->account_id, kmy_receipt_key_public(k->receipt_key),
                                  a->from, tell_kept, &to, &ctx);
    if (err != KMY_OK)
        kmy_log(KMY_LOG_ERROR, "keeper", "receipts of account %llu cannot be read: %s",
                (unsigned long long)a->account_id, ctx.detail);
}

void kmy_keeper_tell_change(kmy_keeper_t *k, const kmy_account_t *acc)
{
    if (acc->id >= k->by_id_cap || !k->by_id[acc->id])
        return; /* nobody serves it */
    served_t *v = kmy_keeper_served(k, acc->id);
    v->short_mask = 0;
    tell_shards(k, v, v->open_mask, KMY_TELL_CHANGED, acc);
    for (uint32_t i = 0; acc->debt_nusd > 0 && i < k->topology->shards_count; i++) {
        if ((v->open_mask >> i & 1) && v->shard[i].lease_nusd > 0)
            tell_account(k, v, i, KMY_TELL_RECALL, acc, 0);
    }
}

static void do_mint(kmy_keeper_t *k, uint32_t shard, const kmy_ask_t *a)
{
    kmy_account_t acc;
    kmy_errctx_t ctx = { 0 };
    int64_t now_ns = kmy_wall_ns();
    kmy_err_t err = kmy_ledger_account_make(k->ledger, a->text, now_ns, &acc, &ctx);
    if (err == KMY_OK && a->spend_nusd > 0) { /* all of it, or nothing */
        kmy_err_t can = kmy_keeper_allow_check(k, a, acc.id, &ctx);
        if (can == KMY_DUPLICATE) {
            kmy_keeper_allow(k, shard, a, acc.id);
            return;
        }
        err = can;
    }
    if (err == KMY_OK && a->amount_nusd > 0)
        err = kmy_ledger_credit(k->ledger, acc.id, "grant", a->ref, a->amount_nusd, now_ns, &acc,
                                &ctx);
    bool credited = err == KMY_OK && a->amount_nusd > 0;
    if (err == KMY_DUPLICATE && a->spend_nusd > 0)
        err = KMY_FAIL(&ctx, KMY_CONFLICT, "this key was used for a token without a spend cap");
    if (err == KMY_DUPLICATE)
        err = KMY_OK; /* the same request again: the same answer, no second credit */
    if (credited) {
        k->credited_nusd += (uint64_t)a->amount_nusd;
        if (a->spend_nusd == 0) /* else they are told below, once */
            kmy_keeper_tell_change(k, &acc);
    }
    if (err == KMY_OK && a->spend_nusd > 0) {
        kmy_keeper_allow(k, shard, a, acc.id);
        return;
    }
    kmy_tell_t *t = kmy_keeper_answer(k, shard, a, err, &ctx);
    if (err != KMY_OK)
        return;
    kmy_keeper_put_figures(t, &acc);
    t->amount_nusd = a->amount_nusd;
}

static void do_revoke(kmy_keeper_t *k, uint32_t shard, const kmy_ask_t *a)
{
    kmy_errctx_t ctx = { 0 };
    kmy_err_t err = kmy_ledger_revoke(k->ledger, a->text, a->when_s * KMY_NS_PER_S, &ctx);
    if (err == KMY_DUPLICATE)
        err = KMY_OK;
    for (uint32_t i = 0; err == KMY_OK && i < k->topology->shards_count; i++) {
        kmy_tell_t *t = tell(k, i, KMY_TELL_REVOKED);
        t->when_s = a->when_s;
        memcpy(t->text, a->text, sizeof t->text);
    }
    kmy_keeper_answer(k, shard, a, err, &ctx);
}

static void do_rotate(kmy_keeper_t *k, uint32_t shard, const kmy_ask_t *a)
{
    kmy_errctx_t ctx = { 0 };
    char kid[KMY_JTI_BYTES_MAX] = "";
    KMY_ASSERT(k->rotate != NULL);
    kmy_err_t err = k->rotate(k->rotate_arg, a->amount_nusd != 0, kid, &ctx);
    kmy_tell_t *t = kmy_keeper_answer(k, shard, a, err, &ctx);
    memcpy(t->text, kid, sizeof kid);
}

static void do_account(kmy_keeper_t *k, uint32_t shard, const kmy_ask_t *a)
{
    kmy_account_t acc;
    kmy_errctx_t ctx = { 0 };
    kmy_err_t err = kmy_ledger_account_by_name(k->ledger, a->text, &acc, &ctx);
    kmy_tell_t *t = kmy_keeper_answer(k, shard, a, err, &ctx);
    if (err == KMY_OK)
        kmy_keeper_put_figures(t, &acc);
}

static void do_ledger(kmy_keeper_t *k, uint32_t shard, const kmy_ask_t *a)
{
    kmy_ledger_totals_t totals;
    kmy_ledger_totals(k->ledger, &totals);
    kmy_tell_t *t = kmy_keeper_answer(k, shard, a, KMY_OK, NULL);
    t->accounts_count = (uint32_t)totals.accounts_count;
    t->credited_nusd = totals.credited_nusd;
    t->free_nusd = totals.balance_nusd;
    t->leased_nusd = totals.leased_nusd;
    t->consumed_nusd = totals.consumed_nusd;
    t->debt_nusd = totals.debt_nusd;
}

#define DAMAGE_TOLD_EVERY_NS (10 * KMY_NS_PER_S)

void kmy_keeper_log_damage(kmy_keeper_t *k, uint64_t account_id, const char *what)
{
    int64_t now_ns = kmy_mono_ns();
    if (k->damage_told_ns != 0 && now_ns - k->damage_told_ns < DAMAGE_TOLD_EVERY_NS)
        return;
    k->damage_told_ns = now_ns;
    kmy_log(KMY_LOG_ERROR, "keeper",
            "what is stored is damaged (account %llu): %s; what was asked of it is refused, "
            "everything else goes "
            "on; run `kamiyo ledger audit`",
            (unsigned long long)account_id, what);
}

static void fail_lease(kmy_keeper_t *k, uint32_t shard, const kmy_ask_t *a, kmy_err_t err)
{
    const served_t *v = kmy_keeper_served(k, a->account_id);
    kmy_account_t unknown = { .id = a->account_id, .leased_nusd = v->shard[shard].lease_nusd };
    kmy_keeper_tell_shard(k, v, shard, KMY_TELL_LEASED, &unknown)->err = (int32_t)err;
}

void kmy_keeper_fail(kmy_keeper_t *k, uint32_t shard, const kmy_ask_t *a, kmy_err_t err,
                     const kmy_errctx_t *ctx)
{
    kmy_tell_t *t;
    switch (a->kind) {
    case KMY_ASK_OPEN:
        t = tell(k, shard, KMY_TELL_OPENED);
        t->slot = a->slot;
        t->gen = a->gen;
        t->err = (int32_t)err;
        return;
    case KMY_ASK_LEASE:
        fail_lease(k, shard, a, err);
        return;
    case KMY_ASK_REPORT: /* the house's loss: what was delivered cannot be charged */
        forget_reported(kmy_keeper_served(k, a->account_id), shard, a);
        return;
    case KMY_ASK_RECEIPT:
        tell_receipt(k, shard, a, err);
        return;
    case KMY_ASK_RECEIPTS: /* those that could be read are all there are */
        return;
    default:
        kmy_keeper_answer(k, shard, a, err, ctx);
    }
}

void kmy_keeper_do_ask(kmy_keeper_t *k, uint32_t shard, const kmy_ask_t *a)
{
    static void (*const verbs[])(kmy_keeper_t *, uint32_t, const kmy_ask_t *) = {
        [KMY_ASK_OPEN] = do_open,
        [KMY_ASK_LEASE] = do_lease,
        [KMY_ASK_REPORT] = do_report,
        [KMY_ASK_REVOKE] = do_revoke,
        [KMY_ASK_MINT] = do_mint,
        [KMY_ASK_ACCOUNT] = do_account,
        [KMY_ASK_LEDGER] = do_ledger,
        [KMY_ASK_RECEIPT] = do_receipt,
        [KMY_ASK_RECEIPTS] = do_receipts,
        [KMY_ASK_ROTATE] = do_rotate,
        [KMY_ASK_PASSES] = kmy_keeper_do_passes,
        [KMY_ASK_USAGE] = kmy_keeper_do_usage,
        [KMY_ASK_ALLOW] = kmy_keeper_do_allow,
    };
    KMY_ASSERT(a->kind < sizeof verbs / sizeof verbs[0] && verbs[a->kind]);
    verbs[a->kind](k, shard, a);
}

/* --- start and stop ------------------------------------------------------------------------ */

static void release(kmy_keeper_t *k)
{
    for (uint64_t i = 0; i < k->by_id_cap; i++)
        free(k->by_id[i]);
    free(k->by_id);
    free(k->tells);
    free(k->asks);
    free(k->ask_shard);
    free(k->before);
    free(k->feed_ids);
    free(k->uses);
    free(k);
}

kmy_err_t kmy_keeper_start(kmy_keeper_t **out, kmy_ledger_t *ledger, kmy_topology_t *topology,
                           kmy_metrics_t *metrics, kmy_errctx_t *ctx)
{
    kmy_keeper_t *k = calloc(1, sizeof *k);
    if (!k)
        return KMY_FAIL(ctx, KMY_IO, "out of memory");
    k->ledger = ledger;
    k->topology = topology;
    k->metrics = metrics;
    k->tells = calloc(tells_max(topology), sizeof *k->tells);
    k->asks = calloc(BATCH_MAX, sizeof *k->asks);
    k->ask_shard = calloc(BATCH_MAX, sizeof *k->ask_shard);
    k->before = calloc(BATCH_MAX + KMY_JOBS, /* each touches one account */
                       kmy_keeper_served_bytes(topology));
    atomic_init(&k->stop, false);
    kmy_ledger_totals_t totals;
    kmy_ledger_totals(ledger, &totals);
    k->entries_count = totals.entries_count;
    kmy_err_t err = k->tells && k->asks && k->ask_shard && k->before
                        ? KMY_OK
                        : KMY_FAIL(ctx, KMY_IO, "out of memory");
    if (err == KMY_OK) {
        int rc = pthread_create(&k->thread, NULL, kmy_keeper_run, k);
        if (rc != 0) {
            errno = rc;
            err = KMY_FAIL_SYS(ctx, KMY_IO, "no thread for the keeper");
        }
    }
    if (err != KMY_OK) {
        release(k);
        return err;
    }
    *out = k;
    return KMY_OK;
}

void kmy_keeper_rotate_with(kmy_keeper_t *k, kmy_keeper_rotate_t *rotate, void *arg)
{
    k->rotate_arg = arg;
    k->rotate = rotate;
}

void kmy_keeper_sell_with(kmy_keeper_t *k, const kmy_catalog_t *catalog)
{
    k->catalog = catalog;
}

void kmy_keeper_sign_with(kmy_keeper_t *k, const kmy_receipt_key_t *key)
{
    k->receipt_key =
        key; /* read by the keeper's thread behind a queue that no shard writes to yet */
}

void kmy_keeper_stop(kmy_keeper_t *k)
{
    atomic_store(&k->stop, true);
    kmy_wake_signal(&k->topology->keeper_wake);
    pthread_join(k->thread, NULL);
    release(k);
}
