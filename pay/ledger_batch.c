/* dollar 4/7   in: pay/ledger   out: the disk

   Group commit: one durable transaction for a batch of calls.  Calls check everything before they write their first byte, so a refusal
   leaves no trace; a write that fails all the same (disk or map full, I/O error) leaves half a call behind, so it breaks the whole batch. */
#include "pay/ledger_inside.h"

#include <string.h>

kmy_err_t kmy_ledger_begin(kmy_ledger_t *l, kmy_errctx_t *ctx)
{
    KMY_ASSERT(l->txn == NULL);
    int rc = l->kv.env ? mdb_txn_begin(l->kv.env, NULL, 0, &l->txn) : MDB_PANIC;
    if (rc == MDB_PANIC) {
        kmy_err_t err = kmy_ledger_reopen(l, ctx);
        if (err != KMY_OK)
            return err;
        rc = mdb_txn_begin(l->kv.env, NULL, 0, &l->txn);
    }
    if (rc) {
        l->txn = NULL;
        kmy_kv_fail(ctx, rc, "ledger takes no batch");
        return KMY_IO;
    }
    l->changed = false;
    l->lost = false;
    l->broken = KMY_OK;
    KMY_ASSERT(memcmp(&l->totals, &l->saved, sizeof l->totals) == 0);
    return KMY_OK;
}

void kmy_ledger_abort(kmy_ledger_t *l)
{
    KMY_ASSERT(l->txn != NULL);
    mdb_txn_abort(l->txn);
    l->txn = NULL;
    l->totals = l->saved;
}

bool kmy_ledger_is_broken(const kmy_ledger_t *l)
{
    return l->broken != KMY_OK || l->lost;
}

bool kmy_ledger_is_damaged(const kmy_ledger_t *l)
{
    return l->damaged;
}

/* Behind it LMDB refuses all that is left of the transaction, also what is whole; and where it looks for a table's root it keeps the first fault to itself, so that only the
   refusal is seen, of a batch in which no write has failed. */
static void note_damage(kmy_ledger_t *l, const MDB_txn *txn, int rc)
{
    bool damage = rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND || rc == MDB_INVALID ||
                  (rc == MDB_BAD_TXN && l->broken == KMY_OK);
    l->damaged |= damage;
    l->lost |= damage && txn == l->txn;
}

/* Whatever LMDB calls it, to a caller it is: not stored, nothing happened. */
kmy_err_t kmy_ledger_broken(kmy_ledger_t *l, int rc, const char *what, kmy_errctx_t *ctx)
{
    kmy_errctx_t lmdb;
    kmy_kv_fail(&lmdb, rc, what);
    note_damage(l, l->txn, rc);
    l->broken = kmy_fail(&l->why, KMY_IO, lmdb.where, lmdb.sys_errno,
                         "%.120s; this batch is undone, make room or see to the disk", lmdb.detail);
    if (ctx)
        *ctx = l->why;
    return l->broken;
}

kmy_err_t kmy_ledger_spoil(kmy_ledger_t *l, kmy_err_t err, const kmy_errctx_t *ctx)
{
    if (err != KMY_OK && l->broken == KMY_OK) {
        l->broken = err;
        if (ctx)
            l->why = *ctx;
        else
            kmy_fail(&l->why, err, __func__, 0, "a call of this batch was left half done");
    }
    return err;
}

kmy_err_t kmy_ledger_writable(kmy_ledger_t *l, kmy_errctx_t *ctx)
{
    KMY_ASSERT(l->txn != NULL);
    if (l->broken != KMY_OK && ctx)
        *ctx = l->why;
    return l->broken;
}

kmy_err_t kmy_ledger_commit(kmy_ledger_t *l, kmy_errctx_t *ctx)
{
    kmy_err_t err = l->lost ? KMY_FAIL(ctx, KMY_CORRUPT, "the ledger's file is damaged")
                            : kmy_ledger_writable(l, ctx);
    if (err == KMY_OK && l->changed) {
        uint8_t totals[KMY_TOTALS_BYTES_MAX];
        KMY_ASSERT(kmy_sums_hold(&l->totals.sums));
        KMY_ASSERT(l->totals.entries_count >= l->saved.entries_count);
        size_t len = kmy_totals_encode(&l->totals, totals);
        err = kmy_ledger_row_put(l, KMY_LEDGER_META, "totals", 6, totals, len, ctx);
    }
    if (err != KMY_OK || !l->changed) {
        kmy_ledger_abort(l);
        return err;
    }
    int rc = mdb_txn_commit(l->txn); /* frees it also on failure */
    l->txn = NULL;
    if (rc) {
        l->totals = l->saved;
        return kmy_ledger_broken(l, rc, "ledger commit", ctx);
    }
    l->saved = l->totals;
    l->saved_txn = kmy_ledger_txn_number(l);
    return KMY_OK;
}

kmy_err_t kmy_ledger_view_begin(kmy_ledger_t *l, MDB_txn **txn, kmy_errctx_t *ctx)
{
    *txn = l->txn;
    if (l->txn)
        return KMY_OK;
    if (!l->kv.env)
        return KMY_FAIL(ctx, KMY_IO, "the ledger cannot be opened again yet");
    int rc = mdb_txn_begin(l->kv.env, NULL, MDB_RDONLY, txn);
    return rc ? kmy_kv_fail(ctx, rc, "ledger read") : KMY_OK;
}

void kmy_ledger_view_end(kmy_ledger_t *l, MDB_txn *txn)
{
    if (txn != l->txn)
        mdb_txn_abort(txn);
}

kmy_err_t kmy_ledger_row_get(kmy_ledger_t *l, MDB_txn *txn, kmy_ledger_table_t table,
                             const void *key, size_t key_bytes, MDB_val *value, kmy_errctx_t *ctx)
{
    MDB_val k = { key_bytes, (void *)key };
    int rc = mdb_get(txn, l->dbi[table], &k, value);
    if (rc == 0)
        return KMY_OK;
    if (rc == MDB_NOTFOUND)
        return KMY_NOT_FOUND;
    note_damage(l, txn, rc);
    return kmy_kv_fail(ctx, rc, "ledger read");
}

kmy_err_t kmy_ledger_row_put(kmy_ledger_t *l, kmy_ledger_table_t table, const void *key,
                             size_t key_bytes, const void *value, size_t value_bytes,
                             kmy_errctx_t *ctx)
{
    MDB_val k = { key_bytes, (void *)key };
    MDB_val v = { value_bytes, (void *)value };
    int rc = mdb_put(l->txn, l->dbi[table], &k, &v, table == KMY_LEDGER_JOURNAL ? MDB_APPEND : 0);
    if (rc)
        return kmy_ledger_broken(l, rc, "ledger write", ctx);
    l->changed = true;
    return KMY_OK;
}

kmy_err_t kmy_ledger_row_del(kmy_ledger_t *l, kmy_ledger_table_t table, const void *key,
                             size_t key_bytes, kmy_errctx_t *ctx)
{
    MDB_val k = { key_bytes, (void *)key };
    int rc = mdb_del(l->txn, l->dbi[table], &k, NULL);
    if (rc)
        return kmy_ledger_broken(l, rc, "ledger write", ctx);
    l->changed = true;
    return KMY_OK;
}
