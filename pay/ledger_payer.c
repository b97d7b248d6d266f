/* dollar 4/7   in: pay/ledger_settle   out: pay/ledger_account

   Which account a payer has: a key-held EVM address one over all its chains, named after the chain of its first credit; everybody else (contract
   wallets, Solana) the one of that name.  An account is made by its first credit. */
#include "pay/ledger_payment_inside.h"

#include <string.h>

/* 0: the table has no such row. */
static kmy_err_t index_get(kmy_ledger_t *l, MDB_txn *txn, kmy_ledger_table_t table, const char *key,
                           uint64_t *id, kmy_errctx_t *ctx)
{
    MDB_val value;
    *id = 0;
    kmy_err_t err = kmy_ledger_row_get(l, txn, table, key, strlen(key), &value, ctx);
    if (err == KMY_NOT_FOUND)
        return KMY_OK;
    if (err == KMY_OK && !kmy_id_decode(value.mv_data, value.mv_size, id))
        return KMY_FAIL(ctx, KMY_CORRUPT, "the row of %s leads to no account", key);
    return err;
}

kmy_err_t kmy_payer_find(kmy_ledger_t *l, MDB_txn *txn, const char *payer, bool contract,
                         uint64_t *id, kmy_errctx_t *ctx)
{
    char address[KMY_ACCOUNT_BYTES_MAX];
    *id = 0;
    if (!contract && kmy_payer_address(payer, address)) {
        kmy_err_t err = index_get(l, txn, KMY_LEDGER_ADDRESSES, address, id, ctx);
        if (err != KMY_OK || *id != 0)
            return err;
    }
    /* Not by its address: an account of that very name may be there all the same, by an operator's grant. */
    return index_get(l, txn, KMY_LEDGER_NAMES, payer, id, ctx);
}

kmy_err_t kmy_payer_make(kmy_ledger_t *l, const char *payer, bool contract, int64_t now_ns,
                         uint64_t *id, kmy_errctx_t *ctx)
{
    char address[KMY_ACCOUNT_BYTES_MAX];
    uint8_t value[KMY_ID_BYTES];
    MDB_val there;
    kmy_account_t account;
    kmy_err_t err = kmy_payer_find(l, l->txn, payer, contract, id, ctx);
    if (err == KMY_OK && *id == 0) {
        err = kmy_ledger_account_make(l, payer, now_ns, &account, ctx);
        *id = account.id;
    }
    if (err != KMY_OK || contract || !kmy_payer_address(payer, address))
        return err;
    err =
        kmy_ledger_row_get(l, l->txn, KMY_LEDGER_ADDRESSES, address, strlen(address), &there, ctx);
    if (err != KMY_NOT_FOUND)
        return err;
    kmy_id_encode(*id, value);
    return kmy_ledger_row_put(l, KMY_LEDGER_ADDRESSES, address, strlen(address), value,
                              sizeof value, ctx);
}

kmy_err_t kmy_ledger_account_of_payer(kmy_ledger_t *l, const char *payer, bool contract,
                                      kmy_account_t *out, kmy_errctx_t *ctx)
{
    char name[KMY_ACCOUNT_BYTES_MAX];
    kmy_account_row_t row;
    MDB_txn *txn;
    uint64_t id;
    if (!kmy_payer_canonical(payer, name))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "a payer must be CAIP-10");
    kmy_err_t err = kmy_ledger_view_begin(l, &txn, ctx);
    if (err != KMY_OK)
        return err;
    err = kmy_payer_find(l, txn, name, contract, &id, ctx);
    if (err == KMY_OK && id == 0)
        err = KMY_FAIL(ctx, KMY_NOT_FOUND, "this payer has no account: it never paid");
    if (err == KMY_OK)
        err = kmy_ledger_account_get(l, txn, id, &row, ctx);
    if (err == KMY_OK && out)
        err = kmy_ledger_account_fill(l, txn, id, &row, out, ctx);
    kmy_ledger_view_end(l, txn);
    return err;
}
