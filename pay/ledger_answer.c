/* dollar 4/7 and 7/7   in: engine/query (by way of cashier and keeper)   out: pay/ledger_move

   A query that was paid by header: its price is held from the settlement to the answer, the answer is kept for the same header.  And what a chain
   takes back. */
#include "pay/ledger_payment_inside.h"

#include "base/clock.h"
#include "pay/ledger_bytes.h"

#include <stdlib.h>
#include <string.h>

#define KEPT_NS (24 * 3600 * KMY_NS_PER_S)

/* --- holds --------------------------------------------------------------------------------- */

static void hold_key(uint64_t account_id, const char *id, uint8_t key[KMY_HOLD_KEY_BYTES])
{
    kmy_id_encode(account_id, key);
    KMY_ASSERT(kmy_payment_id_encode(id, key + KMY_ID_BYTES));
}

kmy_err_t kmy_hold_get(kmy_ledger_t *l, MDB_txn *txn, uint64_t account_id, const char *id,
                       int64_t *nusd, kmy_errctx_t *ctx)
{
    uint8_t key[KMY_HOLD_KEY_BYTES];
    MDB_val value;
    hold_key(account_id, id, key);
    *nusd = 0;
    kmy_err_t err = kmy_ledger_row_get(l, txn, KMY_LEDGER_HOLDS, key, sizeof key, &value, ctx);
    if (err == KMY_NOT_FOUND)
        return KMY_OK;
    if (err == KMY_OK && (!kmy_number_decode(value.mv_data, value.mv_size, nusd) || *nusd <= 0))
        return KMY_FAIL(ctx, KMY_CORRUPT, "hold of payment %s is damaged", id);
    return err;
}

/* Moves an entry between the account and its holds, both records of it, and the hold's own: amount 0 removes that. */
static kmy_err_t hold_move(kmy_ledger_t *l, kmy_account_row_t *row, const kmy_entry_t *e,
                           const char *id, int64_t hold_nusd, kmy_errctx_t *ctx)
{
    uint8_t key[KMY_HOLD_KEY_BYTES];
    uint8_t number[KMY_NUMBER_BYTES];
    int64_t open_nusd;
    hold_key(e->account_id, id, key);
    kmy_err_t err =
        kmy_ledger_lease_get(l, l->txn, e->account_id, KMY_LEDGER_HOLD_SHARD, &open_nusd, ctx);
    if (err != KMY_OK)
        return err;
    open_nusd += e->kind == KMY_ENTRY_LEASE ? e->amount_nusd : -e->amount_nusd;
    KMY_ASSERT(open_nusd >= 0);
    err = kmy_ledger_move(l, row, e, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_lease_put(l, e->account_id, KMY_LEDGER_HOLD_SHARD, open_nusd, ctx);
    kmy_number_encode(hold_nusd, number);
    if (err == KMY_OK && hold_nusd > 0)
        return kmy_ledger_row_put(l, KMY_LEDGER_HOLDS, key, sizeof key, number, sizeof number, ctx);
    return err == KMY_OK ? kmy_ledger_row_del(l, KMY_LEDGER_HOLDS, key, sizeof key, ctx) : err;
}

static kmy_entry_t hold_entry(kmy_entry_kind_t kind, uint64_t account_id, int64_t amount_nusd,
                              int64_t now_ns)
{
    return (kmy_entry_t){ .kind = kind,
                          .shard = KMY_LEDGER_HOLD_SHARD,
                          .account_id = account_id,
                          .time_ns = now_ns,
                          .amount_nusd = amount_nusd };
}

kmy_err_t kmy_hold_make(kmy_ledger_t *l, uint64_t account_id, const char *id, int64_t amount_nusd,
                        int64_t now_ns, kmy_errctx_t *ctx)
{
    kmy_account_row_t row;
    kmy_entry_t e = hold_entry(KMY_ENTRY_LEASE, account_id, amount_nusd, now_ns);
    kmy_err_t err = kmy_ledger_account_get(l, l->txn, account_id, &row, ctx);
    if (err != KMY_OK || row.sums.balance_nusd < amount_nusd)
        return err; /* a debt took it: the query is answered if something comes in, or not at all */
    err = hold_move(l, &row, &e, id, amount_nusd, ctx);
    return err == KMY_OK ? kmy_ledger_account_put(l, account_id, &row, ctx) : err;
}

static kmy_err_t hold_end(kmy_ledger_t *l, kmy_account_row_t *row, const kmy_entry_t *e,
                          const char *id, kmy_errctx_t *ctx)
{
    kmy_err_t err = hold_move(l, row, e, id, 0, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_repay(l, row, e->account_id, e->time_ns, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_account_put(l, e->account_id, row, ctx);
    return err;
}

kmy_err_t kmy_hold_return(kmy_ledger_t *l, uint64_t account_id, const char *id, int64_t now_ns,
                          kmy_errctx_t *ctx)
{
    kmy_account_row_t row;
    int64_t nusd;
    kmy_err_t err = kmy_hold_get(l, l->txn, account_id, id, &nusd, ctx);
    if (err != KMY_OK || nusd == 0)
        return err;
    kmy_entry_t e = hold_entry(KMY_ENTRY_RETURN, account_id, nusd, now_ns);
    err = kmy_ledger_account_get(l, l->txn, account_id, &row, ctx);
    return err == KMY_OK ? hold_end(l, &row, &e, id, ctx) : err;
}

kmy_err_t kmy_ledger_holds_forget(kmy_ledger_t *l, uint64_t account_id, kmy_errctx_t *ctx)
{
    uint8_t first[KMY_HOLD_KEY_BYTES] = { 0 };
    MDB_cursor *cursor;
    MDB_val key = { sizeof first, first };
    MDB_val value;
    kmy_id_encode(account_id, first);
    int rc = mdb_cursor_open(l->txn, l->dbi[KMY_LEDGER_HOLDS], &cursor);
    if (rc)
        return kmy_kv_fail(ctx, rc, "holds");
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (rc == 0 && key.mv_size >= KMY_ID_BYTES &&
           memcmp(key.mv_data, first, KMY_ID_BYTES) == 0) {
        rc = mdb_cursor_del(cursor, 0);
        l->changed = true;
        if (rc == 0)
            rc = mdb_cursor_get(cursor, &key, &value,
                                MDB_NEXT); /* behind a deletion: the one that moved up */
    }
    mdb_cursor_close(cursor);
    return rc == 0 || rc == MDB_NOTFOUND ? KMY_OK : kmy_ledger_broken(l, rc, "holds", ctx);
}

/* --- answers ------------------------------------------------------------------------------- */

/* KMY_NOT_FOUND: none, or it has expired. */
static kmy_err_t kept_get(kmy_ledger_t *l, const char *id, int64_t now_ns, const void **kept,
                          size_t *kept_bytes, kmy_errctx_t *ctx)
{
    uint8_t key[KMY_PAYMENT_ID_BYTES_RAW];
    MDB_val value;
    if (!kmy_payment_id_encode(id, key))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "a payment id has 32 digits 0-9 a-f");
    kmy_err_t err = kmy_ledger_row_get(l, l->txn, KMY_LEDGER_ANSWERS, key, sizeof key, &value, ctx);
    if (err == KMY_NOT_FOUND)
        return KMY_FAIL(ctx, KMY_NOT_FOUND, "no answer is kept for this payment");
    if (err != KMY_OK)
        return err;
    const uint8_t *in = value.mv_data;
    if (value.mv_size < KMY_ANSWER_HEAD_BYTES || !kmy_head_ok(in, value.mv_size, value.mv_size))
        return KMY_FAIL(ctx, KMY_CORRUPT, "the answer kept for payment %s is damaged", id);
    if ((int64_t)kmy_get64(in + 8) < now_ns)
        return KMY_FAIL(ctx, KMY_NOT_FOUND, "the answer to this payment is not kept any more");
    *kept = in + KMY_ANSWER_HEAD_BYTES;
    *kept_bytes = value.mv_size - KMY_ANSWER_HEAD_BYTES;
    return KMY_OK;
}

kmy_err_t kmy_ledger_payment_kept(kmy_ledger_t *l, const char *id, int64_t now_ns,
                                  const void **kept, size_t *kept_bytes, kmy_errctx_t *ctx)
{
    kmy_err_t err = kmy_ledger_writable(l, ctx);
    *kept = NULL;
    *kept_bytes = 0;
    return err == KMY_OK ? kept_get(l, id, now_ns, kept, kept_bytes, ctx) : err;
}

/* Straight into LMDB's page: a body has up to 64 KiB. */
static kmy_err_t kept_put(kmy_ledger_t *l, const char *id, const void *body, size_t body_bytes,
                          int64_t now_ns, kmy_errctx_t *ctx)
{
    uint8_t key[KMY_PAYMENT_ID_BYTES_RAW];
    KMY_ASSERT(kmy_payment_id_encode(id, key));
    MDB_val k = { sizeof key, key };
    MDB_val v = { KMY_ANSWER_HEAD_BYTES + body_bytes, NULL };
    int rc = mdb_put(l->txn, l->dbi[KMY_LEDGER_ANSWERS], &k, &v, MDB_RESERVE);
    if (rc)
        return kmy_ledger_broken(l, rc, "ledger write", ctx);
    l->changed = true;
    kmy_head_put(v.mv_data);
    kmy_put64((uint8_t *)v.mv_data + 8, (uint64_t)(now_ns + KEPT_NS));
    memcpy((uint8_t *)v.mv_data + KMY_ANSWER_HEAD_BYTES, body, body_bytes);
    return KMY_OK;
}

/* Makes the hold what is charged: what it holds above that is free again; one that a crash gave back is taken anew. */
static kmy_err_t hold_fit(kmy_ledger_t *l, const kmy_stored_payment_t *p, int64_t held_nusd,
                          int64_t charged_nusd, kmy_account_row_t *row, int64_t now_ns,
                          kmy_errctx_t *ctx)
{
    bool less = held_nusd > charged_nusd;
    kmy_entry_t e = hold_entry(less ? KMY_ENTRY_RETURN : KMY_ENTRY_LEASE, p->account_id,
                               less ? held_nusd - charged_nusd : charged_nusd - held_nusd, now_ns);
    return e.amount_nusd == 0 ? KMY_OK : hold_move(l, row, &e, p->row.id, charged_nusd, ctx);
}

static kmy_err_t consume(kmy_ledger_t *l, const kmy_stored_payment_t *p, const kmy_use_t *as,
                         int64_t held_nusd, int64_t charged_nusd, kmy_account_row_t *row,
                         int64_t now_ns, kmy_errctx_t *ctx)
{
    kmy_use_t use = as ? *as : (kmy_use_t){ .mode = KMY_MODE_QUERY, .count = 1 };
    KMY_ASSERT(use.mode == KMY_MODE_QUERY || use.mode == KMY_MODE_BATCH);
    use.nusd = charged_nusd;
    kmy_entry_t e = hold_entry(KMY_ENTRY_CONSUME, p->account_id, charged_nusd, now_ns);
    kmy_err_t err = hold_fit(l, p, held_nusd, charged_nusd, row, now_ns, ctx);
    e.mode = (uint8_t)use.mode;
    e.feed_id = use.feed;
    e.price_book = use.price_book;
    e.queries_count = use.count;
    row->queries_count += use.count;
    if (err == KMY_OK)
        err = kmy_ledger_usage_add(l, p->account_id, &use, 1, now_ns, ctx);
    return err == KMY_OK ? hold_end(l, row, &e, p->row.id, ctx) : err;
}

static kmy_err_t answer_apply(kmy_ledger_t *l, kmy_stored_payment_t *p, const kmy_use_t *as,
                              kmy_account_row_t *row, int64_t held_nusd, int64_t charged_nusd,
                              const void *body, size_t body_bytes, int64_t now_ns,
                              kmy_errctx_t *ctx)
{
    kmy_err_t err = body ? consume(l, p, as, held_nusd, charged_nusd, row, now_ns, ctx)
                         : kmy_hold_return(l, p->account_id, p->row.id, now_ns, ctx);
    if (err == KMY_OK && body)
        err = kept_put(l, p->row.id, body, body_bytes, now_ns, ctx);
    p->row.answered = true;
    p->row.released = !body;
    p->row.changed_ns = now_ns;
    if (err == KMY_OK)
        err = kmy_payment_put_state(l, p, p->row.state, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_sweep(l, KMY_LEDGER_ANSWERS, &l->swept_answers, now_ns, ctx);
    return err;
}

static kmy_err_t account_answer(kmy_ledger_t *l, uint64_t id, kmy_account_t *acc, kmy_errctx_t *ctx)
{
    kmy_account_row_t row;
    if (!acc)
        return KMY_OK;
    kmy_err_t err = kmy_ledger_account_get(l, l->txn, id, &row, ctx);
    return err == KMY_OK ? kmy_ledger_account_fill(l, l->txn, id, &row, acc, ctx) : err;
}

/* KMY_DUPLICATE: answered before, with what was kept (expired or given up: nothing). */
static kmy_err_t answered_before(kmy_ledger_t *l, const kmy_stored_payment_t *p, int64_t now_ns,
                                 const void **kept, size_t *kept_bytes, kmy_account_t *acc,
                                 kmy_errctx_t *ctx)
{
    kmy_err_t err = kept_get(l, p->row.id, now_ns, kept, kept_bytes, ctx);
    if (err == KMY_OK || err == KMY_NOT_FOUND)
        err = account_answer(l, p->account_id, acc, ctx);
    return err == KMY_OK ? KMY_FAIL(ctx, KMY_DUPLICATE, "this payment was answered before") : err;
}

static kmy_err_t answer_check(const kmy_stored_payment_t *p, kmy_errctx_t *ctx)
{
    if (!p->row.query)
        return KMY_FAIL(ctx, KMY_CONFLICT, "this payment pays no query");
    if (p->row.state == KMY_PAYMENT_REVERSED)
        return KMY_FAIL(ctx, KMY_NO_BALANCE, "its chain took this payment back");
    if (p->row.state != KMY_PAYMENT_SETTLED)
        return KMY_FAIL(ctx, KMY_CONFLICT, "this payment is %s, not settled",
                        kmy_payment_state_name(p->row.state));
    return KMY_OK;
}

kmy_err_t kmy_ledger_payment_answer(kmy_ledger_t *l, const char *id, const kmy_use_t *as,
                                    const void *body, size_t body_bytes, int64_t charged_nusd,
                                    int64_t now_ns, const void **kept, size_t *kept_bytes,
                                    kmy_account_t *acc, kmy_errctx_t *ctx)
{
    kmy_stored_payment_t p;
    kmy_account_row_t row;
    int64_t held_nusd = 0;
    *kept = NULL;
    *kept_bytes = 0;
    kmy_err_t err = kmy_ledger_writable(l, ctx);
    if (err == KMY_OK)
        err = kmy_payment_load(l, l->txn, id, &p, ctx);
    if (err == KMY_OK && p.row.query && p.row.answered)
        return answered_before(l, &p, now_ns, kept, kept_bytes, acc, ctx);
    if (err == KMY_OK)
        err = answer_check(&p, ctx);
    if (err == KMY_OK)
        err = kmy_hold_get(l, l->txn, p.account_id, id, &held_nusd, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_account_get(l, l->txn, p.account_id, &row, ctx);
    if (err != KMY_OK)
        return err;
    KMY_ASSERT(!body || (charged_nusd > 0 && charged_nusd <= p.row.price_nusd));
    if (body && held_nusd == 0 && row.sums.balance_nusd < charged_nusd)
        return KMY_FAIL(ctx, KMY_NO_BALANCE, "what this payment brought was spent elsewhere");
    err = answer_apply(l, &p, as, &row, held_nusd, charged_nusd, body, body_bytes, now_ns, ctx);
    err = KMY_SPOILS(l, err, ctx);
    return err == KMY_OK ? KMY_SPOILS(l, account_answer(l, p.account_id, acc, ctx), ctx) : err;
}

/* --- holds that nobody comes for ----------------------------------------------------------- */

/* The next one behind where the last look ended, which it moves.  KMY_NOT_FOUND: no more; begins anew. */
static kmy_err_t next_hold(kmy_ledger_t *l, char id[KMY_PAYMENT_ID_HEX + 1], kmy_errctx_t *ctx)
{
    kmy_ledger_sweep_t *at = &l->swept_holds;
    MDB_cursor *cursor;
    MDB_val key = { at->key_bytes, at->key };
    MDB_val value;
    int rc = mdb_cursor_open(l->txn, l->dbi[KMY_LEDGER_HOLDS], &cursor);
    if (rc)
        return kmy_kv_fail(ctx, rc, "holds");
    rc = mdb_cursor_get(cursor, &key, &value, at->key_bytes ? MDB_SET_RANGE : MDB_FIRST);
    if (rc == 0 && key.mv_size == at->key_bytes && memcmp(key.mv_data, at->key, key.mv_size) == 0)
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    mdb_cursor_close(cursor);
    if (rc) {
        at->key_bytes = 0;
        return rc == MDB_NOTFOUND ? KMY_FAIL(ctx, KMY_NOT_FOUND, "no more holds")
                                  : kmy_kv_fail(ctx, rc, "holds");
    }
    at->key_bytes = key.mv_size < sizeof at->key ? key.mv_size : sizeof at->key;
    memcpy(at->key, key.mv_data, at->key_bytes);
    if (key.mv_size != KMY_HOLD_KEY_BYTES)
        return KMY_FAIL(ctx, KMY_CORRUPT, "a hold is damaged: run `kamiyo ledger audit`");
    kmy_payment_id_decode(at->key + KMY_ID_BYTES, id);
    return KMY_OK;
}

kmy_err_t kmy_ledger_hold_expire(kmy_ledger_t *l, int64_t until_ns, int64_t now_ns,
                                 kmy_payment_row_t *out, kmy_account_t *acc, kmy_errctx_t *ctx)
{
    enum { LOOKED_AT_MAX = 64 };
    kmy_stored_payment_t p;
    const void *kept;
    size_t kept_bytes;
    memset(out, 0, sizeof *out);
    kmy_err_t err = kmy_ledger_writable(l, ctx);
    for (int i = 0; i < LOOKED_AT_MAX && err == KMY_OK; i++) {
        char id[KMY_PAYMENT_ID_HEX + 1];
        err = next_hold(l, id, ctx);
        if (err == KMY_OK && (err = kmy_payment_load(l, l->txn, id, &p, ctx)) == KMY_NOT_FOUND)
            err = KMY_FAIL(ctx, KMY_CORRUPT, "payment %s has a hold and is not there", id);
        if (err != KMY_OK || p.row.changed_ns > until_ns)
            continue;
        err = kmy_ledger_payment_answer(l, id, NULL, NULL, 0, 0, now_ns, &kept, &kept_bytes, acc,
                                        ctx);
        return err == KMY_OK ? kmy_ledger_payment_get(l, id, out, ctx) : err;
    }
    return err;
}
