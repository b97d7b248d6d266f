/* dollar 4/7   in: pay/ledger   out: pay/ledger_move

   Accounts: numbers by id, names both ways. */
#include "pay/ledger_inside.h"

#include <string.h>

kmy_err_t kmy_ledger_account_get(kmy_ledger_t *l, MDB_txn *txn, uint64_t id, kmy_account_row_t *row,
                                 kmy_errctx_t *ctx)
{
    uint8_t key[KMY_ID_BYTES];
    MDB_val value;
    kmy_id_encode(id, key);
    kmy_err_t err = kmy_ledger_row_get(l, txn, KMY_LEDGER_ACCOUNTS, key, sizeof key, &value, ctx);
    if (err == KMY_NOT_FOUND)
        return KMY_FAIL(ctx, KMY_NOT_FOUND, "no account %llu", (unsigned long long)id);
    if (err == KMY_OK && !kmy_account_row_decode(value.mv_data, value.mv_size, row))
        return KMY_FAIL(ctx, KMY_CORRUPT, "account %llu is damaged or does not add up",
                        (unsigned long long)id);
    return err;
}

kmy_err_t kmy_ledger_account_put(kmy_ledger_t *l, uint64_t id, const kmy_account_row_t *row,
                                 kmy_errctx_t *ctx)
{
    uint8_t key[KMY_ID_BYTES];
    uint8_t value[KMY_ACCOUNT_ROW_BYTES_MAX];
    kmy_id_encode(id, key);
    size_t len = kmy_account_row_encode(row, value); /* asserts the invariant */
    return kmy_ledger_row_put(l, KMY_LEDGER_ACCOUNTS, key, sizeof key, value, len, ctx);
}

kmy_err_t kmy_ledger_account_fill(kmy_ledger_t *l, MDB_txn *txn, uint64_t id,
                                  const kmy_account_row_t *row, kmy_account_t *out,
                                  kmy_errctx_t *ctx)
{
    uint8_t key[KMY_ID_BYTES];
    kmy_profile_t profile;
    MDB_val value;
    kmy_id_encode(id, key);
    kmy_err_t err = kmy_ledger_row_get(l, txn, KMY_LEDGER_PROFILES, key, sizeof key, &value, ctx);
    if (err != KMY_OK && err != KMY_NOT_FOUND)
        return err;
    if (err == KMY_NOT_FOUND || !kmy_profile_decode(value.mv_data, value.mv_size, &profile))
        return KMY_FAIL(ctx, KMY_CORRUPT, "profile of account %llu is missing or damaged",
                        (unsigned long long)id);
    *out = (kmy_account_t){ .id = id,
                            .credited_nusd = row->sums.credited_nusd,
                            .balance_nusd = row->sums.balance_nusd,
                            .leased_nusd = row->sums.leased_nusd,
                            .consumed_nusd = row->sums.consumed_nusd,
                            .debt_nusd = row->sums.debt_nusd,
                            .moved_nusd = row->sums.moved_nusd,
                            .ticks_count = row->ticks_count,
                            .queries_count = row->queries_count,
                            .created_ns = profile.created_ns };
    memcpy(out->name, profile.name, profile.name_bytes);
    return row->sums.leased_nusd == 0
               ? KMY_OK
               : kmy_ledger_lease_get(l, txn, id, KMY_LEDGER_HOLD_SHARD, &out->held_nusd, ctx);
}

/* CAIP-10 characters: the name goes into tokens, logs and file listings, and must be harmless in each. */
static bool name_ok(const char *name, size_t len)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                   "-_.:%";
    return len >= 1 && len < KMY_ACCOUNT_BYTES_MAX && strspn(name, alphabet) == len;
}

static kmy_err_t name_get(kmy_ledger_t *l, MDB_txn *txn, const char *name, uint64_t *id,
                          kmy_errctx_t *ctx)
{
    MDB_val value;
    size_t len = strnlen(name, KMY_ACCOUNT_BYTES_MAX);
    if (!name_ok(name, len))
        return KMY_FAIL(ctx, KMY_BAD_INPUT,
                        "account name must have 1 to %d characters of A-Z a-z 0-9 - _ . : %%",
                        KMY_ACCOUNT_BYTES_MAX - 1);
    kmy_err_t err = kmy_ledger_row_get(l, txn, KMY_LEDGER_NAMES, name, len, &value, ctx);
    if (err == KMY_NOT_FOUND)
        return KMY_FAIL(ctx, KMY_NOT_FOUND, "no account of that name");
    if (err == KMY_OK && !kmy_id_decode(value.mv_data, value.mv_size, id))
        return KMY_FAIL(ctx, KMY_CORRUPT, "name index is damaged at %s", name);
    return err;
}

static kmy_err_t read_id(kmy_ledger_t *l, MDB_txn *txn, uint64_t id, kmy_account_t *out,
                         kmy_errctx_t *ctx)
{
    kmy_account_row_t row;
    kmy_err_t err = kmy_ledger_account_get(l, txn, id, &row, ctx);
    return err == KMY_OK ? kmy_ledger_account_fill(l, txn, id, &row, out, ctx) : err;
}

static kmy_err_t make(kmy_ledger_t *l, const char *name, int64_t now_ns, uint64_t id,
                      kmy_errctx_t *ctx)
{
    uint8_t key[KMY_ID_BYTES];
    uint8_t value[KMY_PROFILE_BYTES_MAX];
    kmy_profile_t profile = { now_ns, name, strlen(name) };
    kmy_id_encode(id, key);
    size_t len = kmy_profile_encode(&profile, value);
    kmy_err_t err = kmy_ledger_row_put(l, KMY_LEDGER_PROFILES, key, sizeof key, value, len, ctx);
    if (err == KMY_OK)
        err =
            kmy_ledger_row_put(l, KMY_LEDGER_NAMES, name, profile.name_bytes, key, sizeof key, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_account_put(l, id, &(kmy_account_row_t){ 0 }, ctx);
    if (err == KMY_OK)
        l->totals.accounts_count = id;
    return err;
}

kmy_err_t kmy_ledger_account_make(kmy_ledger_t *l, const char *name, int64_t now_ns,
                                  kmy_account_t *out, kmy_errctx_t *ctx)
{
    uint64_t id = 0;
    kmy_err_t err = kmy_ledger_writable(l, ctx);
    if (err != KMY_OK)
        return err;
    err = name_get(l, l->txn, name, &id, ctx);
    if (err == KMY_NOT_FOUND) {
        id = l->totals.accounts_count + 1;
        err = make(l, name, now_ns, id, ctx);
    }
    return err == KMY_OK && out ? read_id(l, l->txn, id, out, ctx) : err;
}

kmy_err_t kmy_ledger_account_by_name(kmy_ledger_t *l, const char *name, kmy_account_t *out,
                                     kmy_errctx_t *ctx)
{
    MDB_txn *txn;
    uint64_t id = 0;
    kmy_err_t err = kmy_ledger_view_begin(l, &txn, ctx);
    if (err != KMY_OK)
        return err;
    err = name_get(l, txn, name, &id, ctx);
    if (err == KMY_OK)
        err = read_id(l, txn, id, out, ctx);
    kmy_ledger_view_end(l, txn);
    return err;
}

kmy_err_t kmy_ledger_account_by_id(kmy_ledger_t *l, uint64_t id, kmy_account_t *out,
                                   kmy_errctx_t *ctx)
{
    MDB_txn *txn;
    kmy_err_t err = kmy_ledger_view_begin(l, &txn, ctx);
    if (err != KMY_OK)
        return err;
    err = read_id(l, txn, id, out, ctx);
    kmy_ledger_view_end(l, txn);
    return err;
}
