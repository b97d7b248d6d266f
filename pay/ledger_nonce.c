/* dollar 3/7   in: pay/signin (by way of cashier and keeper)   out: pay/ledger_batch

   Sign-in nonces that were spent, and the sweeping of what has an expiry. */
#include "pay/ledger_payment_inside.h"

#include "base/clock.h"
#include "pay/ledger_bytes.h"

#include <string.h>

/* A clock that was ahead and is put right brings none back. */
#define KEEP_NS (24 * 3600 * KMY_NS_PER_S)

/* Rows looked at for each one that is added: the whole table is passed once while a third of its rows come in. */
enum { SWEEP_ROWS = 3 };

static void sweep_note(kmy_ledger_sweep_t *swept, MDB_val key)
{
    KMY_ASSERT(key.mv_size <= sizeof swept->key);
    swept->key_bytes = key.mv_size;
    memcpy(swept->key, key.mv_data, key.mv_size);
}

kmy_err_t kmy_ledger_sweep(kmy_ledger_t *l, kmy_ledger_table_t table, kmy_ledger_sweep_t *swept,
                           int64_t until_ns, kmy_errctx_t *ctx)
{
    MDB_cursor *cursor;
    MDB_val key = { swept->key_bytes, swept->key };
    MDB_val value;
    int rc = mdb_cursor_open(l->txn, l->dbi[table], &cursor);
    if (rc)
        return kmy_kv_fail(ctx, rc, "ledger sweep");
    rc = mdb_cursor_get(cursor, &key, &value, swept->key_bytes ? MDB_SET_RANGE : MDB_FIRST);
    for (int i = 0; rc == 0 && i < SWEEP_ROWS; i++) {
        sweep_note(swept, key);
        if (value.mv_size >= 16 && (int64_t)kmy_get64((uint8_t *)value.mv_data + 8) < until_ns) {
            rc = mdb_cursor_del(cursor, 0);
            l->changed = true;
        }
        if (rc == 0)
            rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    if (rc == 0)
        sweep_note(swept, key);
    mdb_cursor_close(cursor);
    if (rc == MDB_NOTFOUND) {
        swept->key_bytes = 0;
        return KMY_OK;
    }
    return rc == 0 ? KMY_OK : kmy_ledger_broken(l, rc, "ledger sweep", ctx);
}

kmy_err_t kmy_ledger_spend_nonce(kmy_ledger_t *l, const char *nonce, int64_t expires_ns,
                                 int64_t now_ns, kmy_errctx_t *ctx)
{
    uint8_t number[KMY_NUMBER_BYTES];
    MDB_val value;
    kmy_err_t err = kmy_ledger_writable(l, ctx);
    if (err != KMY_OK)
        return err;
    size_t len = strnlen(nonce, KMY_LEDGER_NONCE_BYTES_MAX);
    if (len < 1 || len >= KMY_LEDGER_NONCE_BYTES_MAX)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "a nonce must have 1 to %d bytes",
                        KMY_LEDGER_NONCE_BYTES_MAX - 1);
    err = kmy_ledger_row_get(l, l->txn, KMY_LEDGER_NONCES, nonce, len, &value, ctx);
    if (err == KMY_OK)
        return KMY_FAIL(ctx, KMY_DUPLICATE, "this nonce was used before");
    if (err != KMY_NOT_FOUND)
        return err;
    kmy_number_encode(expires_ns, number);
    err = kmy_ledger_row_put(l, KMY_LEDGER_NONCES, nonce, len, number, sizeof number, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_sweep(l, KMY_LEDGER_NONCES, &l->swept_nonces, now_ns - KEEP_NS, ctx);
    return KMY_SPOILS(l, err, ctx);
}
