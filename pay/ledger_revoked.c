/* dollar 4/7   in: operator verbs, POST /v1/tokens/revoke   out: engine/shard (the set of revoked tokens)

   Revoked token ids, in the ledger because they must survive a restart like money does. */
#include "pay/ledger_inside.h"

#include "base/clock.h"

#include <string.h>

/* A token is dead 30 s (its leeway) after it expires.  A day more, so that a clock that was ahead and is put right brings none back. */
#define KEEP_NS (24 * 3600 * KMY_NS_PER_S)

kmy_err_t kmy_ledger_revoke(kmy_ledger_t *l, const char *jti, int64_t expires_ns, kmy_errctx_t *ctx)
{
    uint8_t number[KMY_NUMBER_BYTES];
    MDB_val value;
    int64_t before;
    kmy_err_t err = kmy_ledger_writable(l, ctx);
    if (err != KMY_OK)
        return err;
    size_t len = strnlen(jti, KMY_JTI_BYTES_MAX);
    if (len < 1 || len >= KMY_JTI_BYTES_MAX)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "token id must have 1 to %d bytes",
                        KMY_JTI_BYTES_MAX - 1);
    err = kmy_ledger_row_get(l, l->txn, KMY_LEDGER_REVOKED, jti, len, &value, ctx);
    if (err != KMY_OK && err != KMY_NOT_FOUND)
        return err;
    /* Revoked twice: the later expiry counts, and a repetition costs no commit. */
    if (err == KMY_OK && kmy_number_decode(value.mv_data, value.mv_size, &before) &&
        before >= expires_ns)
        return KMY_OK;
    err = kmy_ledger_allowance_hurry(l, jti, ctx);
    if (err != KMY_OK)
        return err;
    kmy_number_encode(expires_ns, number);
    return kmy_ledger_row_put(l, KMY_LEDGER_REVOKED, jti, len, number, sizeof number, ctx);
}

static bool outlived(int64_t expires_ns, int64_t now_ns)
{
    int64_t until;
    return !__builtin_add_overflow(expires_ns, KEEP_NS, &until) && until < now_ns;
}

static kmy_err_t visit_rows(kmy_ledger_t *l, MDB_cursor *cursor, int64_t now_ns,
                            kmy_ledger_revoked_visit_t *visit, void *arg, kmy_errctx_t *ctx)
{
    char jti[KMY_JTI_BYTES_MAX];
    MDB_val key;
    MDB_val value;
    int64_t expires_ns;
    int rc;
    while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        if (key.mv_size >= sizeof jti ||
            !kmy_number_decode(value.mv_data, value.mv_size, &expires_ns))
            return KMY_FAIL(ctx, KMY_CORRUPT, "a record of a revoked token is damaged");
        memcpy(jti, key.mv_data, key.mv_size);
        jti[key.mv_size] = '\0';
        if (!outlived(expires_ns, now_ns)) {
            if (!visit(arg, jti, expires_ns))
                return KMY_OK;
        } else if (l->txn) {
            rc = mdb_cursor_del(cursor, 0);
            if (rc)
                return kmy_ledger_broken(l, rc, "revoked tokens", ctx);
            l->changed = true;
        }
    }
    return rc == MDB_NOTFOUND ? KMY_OK : kmy_kv_fail(ctx, rc, "revoked tokens");
}

kmy_err_t kmy_ledger_visit_revoked(kmy_ledger_t *l, int64_t now_ns,
                                   kmy_ledger_revoked_visit_t *visit, void *arg, kmy_errctx_t *ctx)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    kmy_err_t err = kmy_ledger_view_begin(l, &txn, ctx);
    if (err != KMY_OK)
        return err;
    int rc = mdb_cursor_open(txn, l->dbi[KMY_LEDGER_REVOKED], &cursor);
    if (rc) {
        err = kmy_kv_fail(ctx, rc, "revoked tokens");
    } else {
        err = visit_rows(l, cursor, now_ns, visit, arg, ctx);
        mdb_cursor_close(cursor);
    }
    kmy_ledger_view_end(l, txn);
    return err;
}
