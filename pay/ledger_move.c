/* dollar 4/7   in: pay/verify, shards' reports   out: pay/ledger_batch

   The three moves: credit, lease, settle.  Each reads and checks everything first, then writes; see ledger_batch.c. */
#include "pay/ledger_inside.h"

#include <string.h>

kmy_err_t kmy_ledger_move(kmy_ledger_t *l, kmy_account_row_t *row, const kmy_entry_t *e,
                          kmy_errctx_t *ctx)
{
    uint8_t key[KMY_ID_BYTES];
    uint8_t value[KMY_ENTRY_BYTES_MAX];
    kmy_side_t from = kmy_entry_from(e->kind);
    kmy_side_t to = kmy_entry_to(e->kind);
    bool moved = kmy_sums_move(&row->sums, from, to, e->amount_nusd);
    KMY_ASSERT(moved);
    moved = kmy_sums_move(&l->totals.sums, from, to, e->amount_nusd);
    KMY_ASSERT(moved);
    l->totals.entries_count++;
    kmy_id_encode(l->totals.entries_count, key);
    size_t len = kmy_entry_encode(e, value);
    return kmy_ledger_row_put(l, KMY_LEDGER_JOURNAL, key, sizeof key, value, len, ctx);
}

kmy_err_t kmy_ledger_repay(kmy_ledger_t *l, kmy_account_row_t *row, uint64_t account_id,
                           int64_t now_ns, kmy_errctx_t *ctx)
{
    const kmy_sums_t *s = &row->sums;
    kmy_entry_t e = { .kind = KMY_ENTRY_REPAY,
                      .account_id = account_id,
                      .time_ns = now_ns,
                      .amount_nusd =
                          s->debt_nusd < s->balance_nusd ? s->debt_nusd : s->balance_nusd };
    return e.amount_nusd > 0 ? kmy_ledger_move(l, row, &e, ctx) : KMY_OK;
}

kmy_err_t kmy_ledger_lease_get(kmy_ledger_t *l, MDB_txn *txn, uint64_t account_id, uint32_t shard,
                               int64_t *open_nusd, kmy_errctx_t *ctx)
{
    uint8_t key[KMY_LEASE_KEY_BYTES];
    MDB_val value;
    kmy_lease_key_encode(account_id, shard, key);
    *open_nusd = 0;
    kmy_err_t err = kmy_ledger_row_get(l, txn, KMY_LEDGER_LEASES, key, sizeof key, &value, ctx);
    if (err == KMY_NOT_FOUND)
        return KMY_OK;
    if (err == KMY_OK &&
        (!kmy_number_decode(value.mv_data, value.mv_size, open_nusd) || *open_nusd <= 0))
        return KMY_FAIL(ctx, KMY_CORRUPT, "lease of account %llu to shard %u is damaged",
                        (unsigned long long)account_id, shard);
    return err;
}

kmy_err_t kmy_ledger_lease_put(kmy_ledger_t *l, uint64_t account_id, uint32_t shard,
                               int64_t open_nusd, kmy_errctx_t *ctx)
{
    uint8_t key[KMY_LEASE_KEY_BYTES];
    uint8_t value[KMY_NUMBER_BYTES];
    KMY_ASSERT(open_nusd >= 0);
    kmy_lease_key_encode(account_id, shard, key);
    if (open_nusd == 0)
        return kmy_ledger_row_del(l, KMY_LEDGER_LEASES, key, sizeof key, ctx);
    kmy_number_encode(open_nusd, value);
    return kmy_ledger_row_put(l, KMY_LEDGER_LEASES, key, sizeof key, value, sizeof value, ctx);
}

static bool word_ok(const char *word, size_t len)
{
    return len >= 1 && len <= KMY_LEDGER_KIND_BYTES_MAX &&
           strspn(word, "abcdefghijklmnopqrstuvwxyz0123456789_-") == len;
}

static kmy_err_t credit_check(const kmy_entry_t *e, kmy_errctx_t *ctx)
{
    if (e->amount_nusd <= 0)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "a credit must be above zero");
    if (!word_ok(e->word, e->word_bytes))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "kind of a credit must be 1 to %d of a-z 0-9 _ -",
                        KMY_LEDGER_KIND_BYTES_MAX);
    if (e->ref_bytes < 1 || e->ref_bytes > KMY_LEDGER_REF_BYTES_MAX)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "reference of a credit must have 1 to %d bytes",
                        KMY_LEDGER_REF_BYTES_MAX);
    return KMY_OK;
}

/* Was this reference here before?  KMY_NOT_FOUND: no. */
static kmy_err_t ref_check(kmy_ledger_t *l, const kmy_entry_t *e, kmy_errctx_t *ctx)
{
    MDB_val value;
    kmy_ref_t ref;
    kmy_err_t err =
        kmy_ledger_row_get(l, l->txn, KMY_LEDGER_REFS, e->ref, e->ref_bytes, &value, ctx);
    if (err != KMY_OK)
        return err;
    if (!kmy_ref_decode(value.mv_data, value.mv_size, &ref))
        return KMY_FAIL(ctx, KMY_CORRUPT, "reference %.*s is damaged", (int)e->ref_bytes, e->ref);
    bool same = ref.account_id == e->account_id && ref.amount_nusd == e->amount_nusd &&
                ref.word_bytes == e->word_bytes && memcmp(ref.word, e->word, e->word_bytes) == 0;
    if (same)
        return KMY_FAIL(ctx, KMY_DUPLICATE, "this reference was credited before");
    return KMY_FAIL(ctx, KMY_CONFLICT,
                    "this reference was used for another account, amount or kind");
}

static kmy_err_t ref_put(kmy_ledger_t *l, const kmy_entry_t *e, kmy_errctx_t *ctx)
{
    uint8_t value[KMY_REF_BYTES_MAX];
    kmy_ref_t ref = { .account_id = e->account_id,
                      .amount_nusd = e->amount_nusd,
                      .entry_id = l->totals.entries_count,
                      .word = e->word,
                      .word_bytes = e->word_bytes };
    size_t len = kmy_ref_encode(&ref, value);
    return kmy_ledger_row_put(l, KMY_LEDGER_REFS, e->ref, e->ref_bytes, value, len, ctx);
}

kmy_err_t kmy_ledger_room(const kmy_ledger_t *l, int64_t amount_nusd, kmy_errctx_t *ctx)
{
    const kmy_sums_t *s = &l->totals.sums; /* at least the account's, so one check covers both */
    int64_t sum;
    if (__builtin_add_overflow(s->credited_nusd + s->debt_nusd, amount_nusd, &sum))
        return KMY_FAIL(ctx, KMY_OVERFLOW, "the ledger cannot hold that much money");
    return KMY_OK;
}

static kmy_err_t credit_apply(kmy_ledger_t *l, kmy_account_row_t *row, const kmy_entry_t *e,
                              kmy_errctx_t *ctx)
{
    kmy_err_t err = kmy_ledger_room(l, e->amount_nusd, ctx);
    if (err != KMY_OK)
        return err;
    err = kmy_ledger_move(l, row, e, ctx);
    if (err == KMY_OK)
        err = ref_put(l, e, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_repay(l, row, e->account_id, e->time_ns, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_account_put(l, e->account_id, row, ctx);
    return err;
}

kmy_err_t kmy_ledger_credit(kmy_ledger_t *l, uint64_t account_id, const char *kind, const char *ref,
                            int64_t amount_nusd, int64_t now_ns, kmy_account_t *out,
                            kmy_errctx_t *ctx)
{
    kmy_entry_t e = { .kind = KMY_ENTRY_CREDIT,
                      .account_id = account_id,
                      .time_ns = now_ns,
                      .amount_nusd = amount_nusd,
                      .word = kind,
                      .ref = ref,
                      .word_bytes = (uint8_t)strnlen(kind, KMY_LEDGER_KIND_BYTES_MAX + 1),
                      .ref_bytes = (uint8_t)strnlen(ref, KMY_LEDGER_REF_BYTES_MAX + 1) };
    kmy_account_row_t row;
    kmy_err_t err = kmy_ledger_writable(l, ctx);
    if (err == KMY_OK)
        err = credit_check(&e, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_account_get(l, l->txn, account_id, &row, ctx);
    if (err != KMY_OK)
        return err;
    kmy_err_t before = ref_check(l, &e, ctx);
    if (before == KMY_NOT_FOUND)
        err = credit_apply(l, &row, &e, ctx);
    else if (before != KMY_DUPLICATE)
        return before;
    if (err == KMY_OK && out) {
        err = kmy_ledger_account_fill(l, l->txn, account_id, &row, out, ctx);
        err = before == KMY_NOT_FOUND ? kmy_ledger_spoil(l, err, ctx) : err;
    }
    return err == KMY_OK && before == KMY_DUPLICATE ? KMY_DUPLICATE : err;
}

kmy_err_t kmy_ledger_lease(kmy_ledger_t *l, uint64_t account_id, uint32_t shard, int64_t want_nusd,
                           int64_t now_ns, int64_t *granted_nusd, kmy_account_t *out,
                           kmy_errctx_t *ctx)
{
    kmy_account_row_t row;
    int64_t open_nusd;
    KMY_ASSERT(want_nusd > 0);
    KMY_ASSERT(shard < KMY_SHARDS_MAX);
    kmy_err_t err = kmy_ledger_writable(l, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_account_get(l, l->txn, account_id, &row, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_lease_get(l, l->txn, account_id, shard, &open_nusd, ctx);
    if (err != KMY_OK)
        return err;
    int64_t grant = want_nusd < row.sums.balance_nusd ? want_nusd : row.sums.balance_nusd;
    if (grant > 0) { /* open + grant <= leased + balance <= credited: fits */
        kmy_entry_t e = { .kind = KMY_ENTRY_LEASE,
                          .shard = (uint16_t)shard,
                          .account_id = account_id,
                          .time_ns = now_ns,
                          .amount_nusd = grant };
        err = kmy_ledger_move(l, &row, &e, ctx);
        if (err == KMY_OK)
            err = kmy_ledger_lease_put(l, account_id, shard, open_nusd + grant, ctx);
        if (err == KMY_OK)
            err = kmy_ledger_account_put(l, account_id, &row, ctx);
    }
    if (err == KMY_OK && out)
        err = kmy_ledger_account_fill(l, l->txn, account_id, &row, out, ctx);
    if (err == KMY_OK)
        *granted_nusd = grant;
    return grant > 0 ? kmy_ledger_spoil(l, err, ctx) : err;
}

/* What one entry can tell: uses[0..count) are of one mode, one price book and one discount. */
static kmy_err_t consume(kmy_ledger_t *l, const kmy_ledger_report_t *r, const kmy_use_t *uses,
                         size_t count, int64_t now_ns, kmy_account_row_t *row, kmy_errctx_t *ctx)
{
    uint64_t n = 0;
    kmy_entry_t e = { .kind = KMY_ENTRY_CONSUME,
                      .mode = (uint8_t)uses[0].mode,
                      .shard = (uint16_t)r->shard,
                      .account_id = r->account_id,
                      .time_ns = now_ns,
                      .feed_id = count == 1 ? uses[0].feed : 0,
                      .price_book = uses[0].price_book,
                      .discount_percent = (uint8_t)uses[0].discount_percent };
    for (size_t i = 0; i < count; i++) {
        n += uses[i].count;
        e.amount_nusd += uses[i].nusd; /* at most what was consumed: settle_check */
    }
    bool asked = e.mode == KMY_MODE_QUERY || e.mode == KMY_MODE_BATCH;
    e.ticks_count = asked ? 0 : n;
    e.queries_count = asked ? n : 0;
    if (e.mode == KMY_MODE_NONE) { /* not told */
        e.ticks_count = r->ticks_count;
        e.queries_count = r->queries_count;
    }
    kmy_err_t err = kmy_ledger_move(l, row, &e, ctx);
    return err == KMY_OK ? kmy_ledger_usage_add(l, r->account_id, uses, count, now_ns, ctx) : err;
}

static kmy_err_t consume_all(kmy_ledger_t *l, const kmy_ledger_report_t *r, int64_t now_ns,
                             kmy_account_row_t *row, kmy_errctx_t *ctx)
{
    const kmy_use_t *u = r->uses;
    kmy_err_t err = KMY_OK;
    for (size_t from = 0, to = 0; err == KMY_OK && from < r->uses_count; from = to) {
        while (to < r->uses_count && u[to].mode == u[from].mode &&
               u[to].price_book == u[from].price_book &&
               u[to].discount_percent == u[from].discount_percent)
            to++;
        err = consume(l, r, u + from, to - from, now_ns, row, ctx);
    }
    return err;
}

/* Who reports for what must be right about it: rows of usage follow from it, and so does the money. */
static void uses_check(const kmy_ledger_report_t *r)
{
    int64_t nusd = 0;
    uint64_t ticks = 0;
    uint64_t queries = 0;
    for (size_t i = 0; i < r->uses_count; i++) {
        const kmy_use_t *u = &r->uses[i];
        bool asked = u->mode == KMY_MODE_QUERY || u->mode == KMY_MODE_BATCH;
        KMY_ASSERT(u->mode > KMY_MODE_NONE && u->mode < KMY_MODES && u->nusd >= 0 &&
                   u->discount_percent <= 100);
        KMY_ASSERT(i == 0 || kmy_use_compare(u - 1, u) < 0);
        KMY_ASSERT(!__builtin_add_overflow(nusd, u->nusd, &nusd));
        *(asked ? &queries : &ticks) += u->count;
    }
    KMY_ASSERT(nusd == r->consumed_nusd && ticks == r->ticks_count && queries == r->queries_count);
}

/* An entry for each mode, price book and discount of what was spent, and one for what comes back. */
static kmy_err_t settle_moves(kmy_ledger_t *l, const kmy_ledger_report_t *r, int64_t now_ns,
                              kmy_account_row_t *row, kmy_errctx_t *ctx)
{
    kmy_err_t err = KMY_OK;
    kmy_use_t all = { .feed = r->feed_id,
                      .count = r->ticks_count + r->queries_count,
                      .nusd = r->consumed_nusd };
    if (r->uses_count > 0)
        err = consume_all(l, r, now_ns, row, ctx);
    else if (all.nusd > 0 || all.count > 0)
        err = consume(l, r, &all, 1, now_ns, row, ctx);
    row->ticks_count += r->ticks_count;
    row->queries_count += r->queries_count;
    if (err == KMY_OK && r->returned_nusd > 0) {
        kmy_entry_t e = { .kind = KMY_ENTRY_RETURN,
                          .shard = (uint16_t)r->shard,
                          .account_id = r->account_id,
                          .time_ns = now_ns,
                          .amount_nusd = r->returned_nusd };
        err = kmy_ledger_move(l, row, &e, ctx);
        if (err == KMY_OK)
            err = kmy_ledger_repay(l, row, r->account_id, now_ns, ctx);
    }
    return err;
}

kmy_err_t kmy_ledger_settle(kmy_ledger_t *l, const kmy_ledger_report_t *report, int64_t now_ns,
                            kmy_account_t *out, kmy_errctx_t *ctx)
{
    const kmy_ledger_report_t *r = report;
    kmy_account_row_t row;
    int64_t open_nusd;
    KMY_ASSERT(r->shard < KMY_SHARDS_MAX);
    KMY_ASSERT(r->consumed_nusd >= 0);
    KMY_ASSERT(r->returned_nusd >= 0);
    if (r->uses_count > 0)
        uses_check(r);
    kmy_err_t err = kmy_ledger_writable(l, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_account_get(l, l->txn, r->account_id, &row, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_lease_get(l, l->txn, r->account_id, r->shard, &open_nusd, ctx);
    if (err != KMY_OK)
        return err;
    KMY_ASSERT(r->consumed_nusd <= open_nusd);
    KMY_ASSERT(r->returned_nusd <= open_nusd - r->consumed_nusd);
    int64_t left = open_nusd - r->consumed_nusd - r->returned_nusd;
    bool counts = r->ticks_count > 0 || r->queries_count > 0;
    if (left != open_nusd || counts)
        err = settle_moves(l, r, now_ns, &row, ctx);
    if (err == KMY_OK && left != open_nusd)
        err = kmy_ledger_lease_put(l, r->account_id, r->shard, left, ctx);
    if (err == KMY_OK && (left != open_nusd || counts))
        err = kmy_ledger_account_put(l, r->account_id, &row, ctx);
    if (err == KMY_OK && out)
        err = kmy_ledger_account_fill(l, l->txn, r->account_id, &row, out, ctx);
    return left != open_nusd || counts ? kmy_ledger_spoil(l, err, ctx) : err;
}
