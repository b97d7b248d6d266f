/* dollar 4/7   in: pay/verify, operator verbs   out: pay/lease

   Opening and closing: who owns the file, which format it has, whether its sums hold. */
#include "pay/ledger_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static const char *const table_names[KMY_LEDGER_TABLES_COUNT] = {
#define KMY_LEDGER_TABLE_NAME(id, name) [KMY_LEDGER_##id] = (name),
    KMY_LEDGER_TABLES(KMY_LEDGER_TABLE_NAME)
#undef KMY_LEDGER_TABLE_NAME
};

kmy_err_t kmy_ledger_tables_open(MDB_txn *txn, bool create, MDB_dbi dbi[KMY_LEDGER_TABLES_COUNT],
                                 kmy_errctx_t *ctx)
{
    for (int i = 0; i < KMY_LEDGER_TABLES_COUNT; i++) {
        int rc = mdb_dbi_open(txn, table_names[i], create ? MDB_CREATE : 0, &dbi[i]);
        if (rc == MDB_NOTFOUND && i >= KMY_LEDGER_CHAINS) {
            dbi[i] = KMY_LEDGER_NO_TABLE; /* of an older format, looked at only */
            continue;
        }
        if (rc == MDB_NOTFOUND)
            return KMY_FAIL(ctx, KMY_CORRUPT, "table %s is missing: this is no ledger",
                            table_names[i]);
        if (rc)
            return kmy_kv_fail(ctx, rc, "ledger table");
    }
    return KMY_OK;
}

kmy_err_t kmy_ledger_format_get(MDB_txn *txn, MDB_dbi meta, int64_t *format, kmy_errctx_t *ctx)
{
    MDB_val key = { 6, (void *)"format" };
    MDB_val value;
    int rc = mdb_get(txn, meta, &key, &value);
    if (rc == MDB_NOTFOUND)
        return KMY_NOT_FOUND;
    if (rc)
        return kmy_kv_fail(ctx, rc, "ledger format");
    if (!kmy_number_decode(value.mv_data, value.mv_size, format))
        return KMY_FAIL(ctx, KMY_CORRUPT, "ledger format record is damaged");
    return KMY_OK;
}

kmy_err_t kmy_ledger_totals_get(MDB_txn *txn, MDB_dbi meta, kmy_totals_t *totals, kmy_errctx_t *ctx)
{
    MDB_val key = { 6, (void *)"totals" };
    MDB_val value;
    int rc = mdb_get(txn, meta, &key, &value);
    if (rc == MDB_NOTFOUND)
        return KMY_FAIL(ctx, KMY_CORRUPT, "ledger has no totals record");
    if (rc)
        return kmy_kv_fail(ctx, rc, "ledger totals");
    if (!kmy_totals_decode(value.mv_data, value.mv_size, totals))
        return KMY_FAIL(ctx, KMY_CORRUPT, "ledger totals are damaged or do not add up");
    return KMY_OK;
}

kmy_err_t kmy_ledger_format_check(int64_t format, kmy_errctx_t *ctx)
{
    if (format >= 1 && format <= KMY_LEDGER_FORMAT)
        return KMY_OK;
    return KMY_FAIL(ctx, KMY_CONFIG, "ledger has format %lld, this program knows %d: run %s one",
                    (long long)format, KMY_LEDGER_FORMAT,
                    format > KMY_LEDGER_FORMAT ? "a newer" : "the older");
}

/* Two writers would each return the other's open leases, and money would be spent twice.  LMDB does not refuse the second one; this lock
   does, and the kernel lifts it however we die. */
static kmy_err_t own(kmy_ledger_t *l, const char *path, kmy_errctx_t *ctx)
{
    char file[PATH_MAX];
    if (snprintf(file, sizeof file, "%s/owner.lock", path) >= (int)sizeof file)
        return KMY_FAIL(ctx, KMY_CONFIG, "ledger path is too long: %.80s", path);
    l->owner_fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (l->owner_fd < 0)
        return KMY_FAIL_SYS(ctx, KMY_IO, "cannot open %.150s", file);
    if (flock(l->owner_fd, LOCK_EX | LOCK_NB) == 0)
        return KMY_OK;
    if (errno == EWOULDBLOCK)
        return KMY_FAIL(ctx, KMY_CONFLICT,
                        "another process has the ledger %.80s open: stop it first", path);
    return KMY_FAIL_SYS(ctx, KMY_IO, "cannot lock %.150s", file);
}

static int format_put(kmy_ledger_t *l, MDB_txn *txn)
{
    uint8_t number[KMY_NUMBER_BYTES];
    kmy_number_encode(KMY_LEDGER_FORMAT, number);
    MDB_val key = { 6, (void *)"format" };
    MDB_val value = { sizeof number, number };
    return mdb_put(txn, l->dbi[KMY_LEDGER_META], &key, &value, 0);
}

/* A new environment has no format word, and then nothing else either. */
static kmy_err_t format_make(kmy_ledger_t *l, MDB_txn *txn, kmy_errctx_t *ctx)
{
    uint8_t totals[KMY_TOTALS_BYTES_MAX];
    MDB_stat journal;
    int rc = mdb_stat(txn, l->dbi[KMY_LEDGER_JOURNAL], &journal);
    if (rc)
        return kmy_kv_fail(ctx, rc, "ledger journal");
    if (journal.ms_entries > 0)
        return KMY_FAIL(ctx, KMY_CORRUPT, "ledger has entries but no format record");
    rc = format_put(l, txn);
    if (rc)
        return kmy_kv_fail(ctx, rc, "new ledger");
    size_t totals_bytes = kmy_totals_encode(&(kmy_totals_t){ 0 }, totals);
    MDB_val key = { 6, (void *)"totals" };
    MDB_val value = { totals_bytes, totals };
    rc = mdb_put(txn, l->dbi[KMY_LEDGER_META], &key, &value, 0);
    return rc ? kmy_kv_fail(ctx, rc, "new ledger") : KMY_OK;
}

/* Adds up one account's row into the counted totals. */
static kmy_err_t count_row(kmy_totals_t *counted, MDB_val key, MDB_val value, kmy_errctx_t *ctx)
{
    kmy_account_row_t row;
    uint64_t id;
    if (!kmy_id_decode(key.mv_data, key.mv_size, &id) ||
        !kmy_account_row_decode(value.mv_data, value.mv_size, &row))
        return KMY_FAIL(ctx, KMY_CORRUPT, "ledger account %llu is damaged or does not add up",
                        (unsigned long long)counted->accounts_count + 1);
    counted->accounts_count++;
    kmy_sums_t *s = &counted->sums;
    if (__builtin_add_overflow(s->credited_nusd, row.sums.credited_nusd, &s->credited_nusd) ||
        __builtin_add_overflow(s->balance_nusd, row.sums.balance_nusd, &s->balance_nusd) ||
        __builtin_add_overflow(s->leased_nusd, row.sums.leased_nusd, &s->leased_nusd) ||
        __builtin_add_overflow(s->consumed_nusd, row.sums.consumed_nusd, &s->consumed_nusd) ||
        __builtin_add_overflow(s->debt_nusd, row.sums.debt_nusd, &s->debt_nusd) ||
        __builtin_add_overflow(s->moved_nusd, row.sums.moved_nusd, &s->moved_nusd))
        return KMY_FAIL(ctx, KMY_CORRUPT, "ledger accounts add up to more than there can be");
    return KMY_OK;
}

/* Each account adds up (the decoder checks), and all of them to the totals.  About 0.1 s per million accounts; that the journal agrees
   is the audit's question. */
static kmy_err_t sums_check(kmy_ledger_t *l, MDB_txn *txn, kmy_errctx_t *ctx)
{
    kmy_totals_t counted = { .entries_count = l->totals.entries_count };
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val value;
    int rc = mdb_cursor_open(txn, l->dbi[KMY_LEDGER_ACCOUNTS], &cursor);
    if (rc)
        return kmy_kv_fail(ctx, rc, "ledger accounts");
    kmy_err_t err = KMY_OK;
    while (err == KMY_OK && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0)
        err = count_row(&counted, key, value, ctx);
    mdb_cursor_close(cursor);
    if (err != KMY_OK)
        return err;
    if (rc != MDB_NOTFOUND)
        return kmy_kv_fail(ctx, rc, "ledger accounts");
    if (memcmp(&counted, &l->totals, sizeof counted) != 0)
        return KMY_FAIL(ctx, KMY_CORRUPT,
                        "ledger accounts do not add up to its totals: run `kamiyo ledger audit`");
    return KMY_OK;
}

/* The tables are there by now, empty; what was consumed before has no usage. */
static kmy_err_t migrate(kmy_ledger_t *l, MDB_txn *txn, int64_t format, kmy_errctx_t *ctx)
{
    if (!l->migrate)
        return KMY_FAIL(ctx, KMY_CONFIG,
                        "ledger has format %lld, this program writes %d: back it up, then start "
                        "once with --migrate; older programs will not open it after that",
                        (long long)format, KMY_LEDGER_FORMAT);
    int rc = format_put(l, txn);
    if (rc == 0)
        rc = kmy_ledger_usage_from_put(txn, l->dbi[KMY_LEDGER_META], l->totals.entries_count);
    return rc ? kmy_kv_fail(ctx, rc, "ledger of an older format") : KMY_OK;
}

static kmy_err_t load(kmy_ledger_t *l, MDB_txn *txn, kmy_errctx_t *ctx)
{
    int64_t format = 0;
    kmy_err_t err = kmy_ledger_tables_open(txn, true, l->dbi, ctx);
    if (err != KMY_OK)
        return err;
    err = kmy_ledger_format_get(txn, l->dbi[KMY_LEDGER_META], &format, ctx);
    if (err == KMY_NOT_FOUND) {
        err = format_make(l, txn, ctx);
        format = KMY_LEDGER_FORMAT;
    }
    if (err == KMY_OK)
        err = kmy_ledger_format_check(format, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_totals_get(txn, l->dbi[KMY_LEDGER_META], &l->totals, ctx);
    if (err == KMY_OK && format < KMY_LEDGER_FORMAT)
        err = migrate(l, txn, format, ctx);
    if (err == KMY_OK)
        err = sums_check(l, txn, ctx);
    l->saved = l->totals;
    return err;
}

static kmy_err_t open_kv(kmy_ledger_t *l, kmy_errctx_t *ctx)
{
    kmy_kv_options_t kv = { .sync = KMY_KV_DURABLE,
                            .map_bytes = l->map_bytes,
                            .dbis_max = KMY_LEDGER_TABLES_COUNT + 8 };
    return kmy_kv_open(&l->kv, l->path, &kv, ctx);
}

size_t kmy_ledger_txn_number(const kmy_ledger_t *l)
{
    MDB_envinfo info;
    mdb_env_info(l->kv.env, &info);
    return info.me_last_txnid;
}

/* The same tables, in the new environment. */
static kmy_err_t find_tables(kmy_ledger_t *l, kmy_errctx_t *ctx)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(l->kv.env, NULL, MDB_RDONLY, &txn);
    if (rc)
        return kmy_kv_fail(ctx, rc, "ledger");
    kmy_err_t err = kmy_ledger_tables_open(txn, false, l->dbi, ctx);
    rc = mdb_txn_commit(txn); /* keeps the handles */
    return err == KMY_OK && rc ? kmy_kv_fail(ctx, rc, "ledger") : err;
}

kmy_err_t kmy_ledger_reopen(kmy_ledger_t *l, kmy_errctx_t *ctx)
{
    KMY_ASSERT(l->txn == NULL);
    kmy_errctx_t why;
    kmy_kv_close(&l->kv);
    kmy_err_t err = open_kv(l, &why);
    if (err == KMY_OK && kmy_ledger_txn_number(l) != l->saved_txn) {
        kmy_kv_close(&l->kv);
        return KMY_FAIL(ctx, KMY_CONFLICT,
                        "the disk refused a batch of the ledger and has it all the same");
    }
    if (err == KMY_OK)
        err = find_tables(l, &why);
    if (err == KMY_OK)
        return KMY_OK;
    kmy_kv_close(&l->kv);
    return KMY_FAIL(ctx, KMY_IO, "the ledger cannot be opened again yet: %.120s", why.detail);
}

static kmy_err_t start(kmy_ledger_t *l, const char *path, const kmy_ledger_options_t *options,
                       kmy_ledger_recovery_t *recovery, kmy_errctx_t *ctx)
{
    l->path = strdup(path);
    l->migrate = options->migrate;
    l->map_bytes = options->map_bytes ? options->map_bytes : KMY_LEDGER_MAP_BYTES;
    if (!l->path)
        return KMY_FAIL(ctx, KMY_INTERNAL, "out of memory");
    kmy_err_t err = open_kv(l, ctx);
    if (err != KMY_OK)
        return err;
    err = own(l, path, ctx);
    if (err != KMY_OK)
        return err;
    MDB_txn *txn;
    int rc = mdb_txn_begin(l->kv.env, NULL, 0, &txn);
    if (rc)
        return kmy_kv_fail(ctx, rc, "ledger");
    err = load(l, txn, ctx);
    if (err != KMY_OK) {
        mdb_txn_abort(txn);
        return err;
    }
    rc = mdb_txn_commit(txn);
    if (rc)
        return kmy_kv_fail(ctx, rc, "ledger");
    l->saved_txn = kmy_ledger_txn_number(l);
    return kmy_ledger_recover(l, recovery, ctx);
}

kmy_err_t kmy_ledger_open_with(kmy_ledger_t **out, const char *path,
                               const kmy_ledger_options_t *options, kmy_ledger_recovery_t *recovery,
                               kmy_errctx_t *ctx)
{
    kmy_ledger_recovery_t ignored;
    kmy_ledger_t *l = calloc(1, sizeof *l);
    if (!l)
        return KMY_FAIL(ctx, KMY_INTERNAL, "out of memory");
    l->owner_fd = -1;
    kmy_err_t err = start(l, path, options, recovery ? recovery : &ignored, ctx);
    if (err != KMY_OK) {
        kmy_ledger_close(l);
        return err;
    }
    *out = l;
    return KMY_OK;
}

kmy_err_t kmy_ledger_open(kmy_ledger_t **out, const char *path, kmy_ledger_recovery_t *recovery,
                          kmy_errctx_t *ctx)
{
    return kmy_ledger_open_with(out, path, &(kmy_ledger_options_t){ 0 }, recovery, ctx);
}

void kmy_ledger_close(kmy_ledger_t *l)
{
    if (!l)
        return;
    if (l->txn)
        mdb_txn_abort(l->txn);
    kmy_kv_close(&l->kv);
    if (l->owner_fd >= 0)
        close(l->owner_fd); /* last: the next owner finds everything closed */
    free(l->usage);
    free(l->path);
    free(l);
}
