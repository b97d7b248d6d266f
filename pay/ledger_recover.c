/* dollar 4/7   in: pay/ledger (open)   out: pay/ledger_batch

   After an unclean stop: whatever a shard held goes back to its account.  What it delivered since its last report is the house's loss, at
   most one lease per account and shard. */
#include "pay/ledger_inside.h"

#include "base/clock.h"

/* Rows in one commit: about 8 MB of dirty pages at worst, far below where LMDB spills. */
enum { CHUNK_ROWS = 4096 };

/* The first lease there is; each one returned is removed, so it is always another.  KMY_NOT_FOUND: none left. */
static kmy_err_t first_lease(kmy_ledger_t *l, uint64_t *account_id, uint32_t *shard, int64_t *open,
                             kmy_errctx_t *ctx)
{
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val value;
    int rc = mdb_cursor_open(l->txn, l->dbi[KMY_LEDGER_LEASES], &cursor);
    if (rc)
        return kmy_kv_fail(ctx, rc, "ledger leases");
    rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
    mdb_cursor_close(cursor);
    if (rc == MDB_NOTFOUND)
        return KMY_NOT_FOUND;
    if (rc)
        return kmy_kv_fail(ctx, rc, "ledger leases");
    if (!kmy_lease_key_decode(key.mv_data, key.mv_size, account_id, shard) ||
        (*shard >= KMY_SHARDS_MAX && *shard != KMY_LEDGER_HOLD_SHARD) ||
        !kmy_number_decode(value.mv_data, value.mv_size, open) || *open <= 0)
        return KMY_FAIL(ctx, KMY_CORRUPT, "a lease record is damaged: run `kamiyo ledger audit`");
    return KMY_OK;
}

static kmy_err_t return_first(kmy_ledger_t *l, int64_t now_ns, kmy_ledger_recovery_t *recovery,
                              kmy_errctx_t *ctx)
{
    kmy_entry_t e = { .kind = KMY_ENTRY_RECOVER, .time_ns = now_ns };
    kmy_account_row_t row;
    uint32_t shard = 0;
    kmy_err_t err = first_lease(l, &e.account_id, &shard, &e.amount_nusd, ctx);
    if (err != KMY_OK)
        return err;
    e.shard = (uint16_t)shard;
    err = kmy_ledger_account_get(l, l->txn, e.account_id, &row, ctx);
    if (err == KMY_NOT_FOUND || (err == KMY_OK && row.sums.leased_nusd < e.amount_nusd))
        return KMY_FAIL(ctx, KMY_CORRUPT, "account %llu has less leased than its leases say",
                        (unsigned long long)e.account_id);
    if (err == KMY_OK)
        err = kmy_ledger_move(l, &row, &e, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_repay(l, &row, e.account_id, now_ns, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_lease_put(l, e.account_id, shard, 0, ctx);
    if (err == KMY_OK && shard == KMY_LEDGER_HOLD_SHARD)
        err = kmy_ledger_holds_forget(l, e.account_id, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_account_put(l, e.account_id, &row, ctx);
    if (err == KMY_OK && shard == KMY_LEDGER_HOLD_SHARD) {
        recovery->holds_count++;
        recovery->holds_nusd += e.amount_nusd;
    } else if (err == KMY_OK) {
        recovery->leases_count++;
        recovery->leases_nusd += e.amount_nusd;
    }
    return err;
}

kmy_err_t kmy_ledger_recover(kmy_ledger_t *l, kmy_ledger_recovery_t *recovery, kmy_errctx_t *ctx)
{
    int64_t now_ns = kmy_wall_ns();
    kmy_err_t err = KMY_OK;
    *recovery = (kmy_ledger_recovery_t){ 0 };
    while (err == KMY_OK) {
        err = kmy_ledger_begin(l, ctx);
        if (err != KMY_OK)
            return err;
        for (int i = 0; err == KMY_OK && i < CHUNK_ROWS; i++)
            err = return_first(l, now_ns, recovery, ctx);
        if (err != KMY_OK && err != KMY_NOT_FOUND) {
            kmy_ledger_abort(l);
            return err;
        }
        kmy_err_t committed = kmy_ledger_commit(l, ctx);
        if (committed != KMY_OK)
            return committed;
    }
    if (l->totals.sums.leased_nusd != 0)
        return KMY_FAIL(
            ctx, KMY_CORRUPT,
            "accounts have more leased than their leases say: run `kamiyo ledger audit`");
    return KMY_OK;
}
