/* dollar 4/7   in: kamiyo ledger dump   out: price books and the journal, row by row */
#include "pay/ledger_dump.h"

#include "pay/ledger_book.h"
#include "pay/ledger_inside.h"
#include "pay/ledger_usage.h"

#include <string.h>

const char *kmy_entry_kind_name(kmy_entry_kind_t kind)
{
    static const char *const names[KMY_ENTRY_KINDS_END] = {
        [KMY_ENTRY_CREDIT] = "credit",   [KMY_ENTRY_LEASE] = "lease",
        [KMY_ENTRY_CONSUME] = "consume", [KMY_ENTRY_RETURN] = "return",
        [KMY_ENTRY_RECOVER] = "recover", [KMY_ENTRY_REVERSE] = "reverse",
        [KMY_ENTRY_DEBT] = "debt",       [KMY_ENTRY_REPAY] = "repay",
        [KMY_ENTRY_PASS] = "pass",       [KMY_ENTRY_GIVE] = "give",
        [KMY_ENTRY_TAKE] = "take",
    };
    KMY_ASSERT(kind >= KMY_ENTRY_CREDIT && kind < KMY_ENTRY_KINDS_END);
    return names[kind];
}

/* One that only reads: the calls that look at a ledger work inside its one transaction. */
static kmy_err_t dump_books(kmy_ledger_t *l, const kmy_ledger_dump_t *to, kmy_errctx_t *ctx)
{
    kmy_err_t err = KMY_OK;
    for (uint32_t version = 1; err == KMY_OK; version++) {
        kmy_price_book_t book;
        int64_t since_ns;
        if (l->dbi[KMY_LEDGER_BOOKS] == KMY_LEDGER_NO_TABLE)
            return KMY_OK;
        err = kmy_ledger_book_get(l, version, &book, &since_ns, ctx);
        if (err == KMY_OK)
            to->book(to->arg, &book, since_ns);
    }
    return err == KMY_NOT_FOUND ? KMY_OK : err;
}

static kmy_err_t name_of(kmy_ledger_t *l, uint64_t account_id, char name[KMY_ACCOUNT_BYTES_MAX],
                         kmy_errctx_t *ctx)
{
    uint8_t key[KMY_ID_BYTES];
    MDB_val row;
    kmy_profile_t profile;
    kmy_id_encode(account_id, key);
    kmy_err_t err = kmy_ledger_row_get(l, l->txn, KMY_LEDGER_PROFILES, key, sizeof key, &row, ctx);
    if (err == KMY_NOT_FOUND ||
        (err == KMY_OK && !kmy_profile_decode(row.mv_data, row.mv_size, &profile)))
        return KMY_FAIL(ctx, KMY_CORRUPT, "account %llu has no name: run `kamiyo ledger audit`",
                        (unsigned long long)account_id);
    if (err == KMY_OK) {
        memcpy(name, profile.name, profile.name_bytes);
        name[profile.name_bytes] = '\0';
    }
    return err;
}

static kmy_err_t dump_entry(kmy_ledger_t *l, const kmy_ledger_dump_t *to, MDB_val key, MDB_val row,
                            kmy_errctx_t *ctx)
{
    char account[KMY_ACCOUNT_BYTES_MAX];
    char feed[KMY_FEED_NAME_BYTES_MAX] = "";
    kmy_entry_t e;
    uint64_t id = 0;
    if (!kmy_id_decode(key.mv_data, key.mv_size, &id) ||
        !kmy_entry_decode(row.mv_data, row.mv_size, &e))
        return KMY_FAIL(ctx, KMY_CORRUPT, "entry %llu is damaged: run `kamiyo ledger audit`",
                        (unsigned long long)id);
    kmy_err_t err = name_of(l, e.account_id, account, ctx);
    if (err == KMY_OK && e.feed_id > 0)
        err = kmy_ledger_feed_name(l, e.feed_id, feed, ctx);
    if (err == KMY_NOT_FOUND)
        err =
            KMY_FAIL(ctx, KMY_CORRUPT, "feed %u has no name: run `kamiyo ledger audit`", e.feed_id);
    if (err == KMY_OK && e.kind == KMY_ENTRY_PASS && e.ref_bytes < sizeof feed)
        memcpy(feed, e.ref, e.ref_bytes);
    if (err == KMY_OK)
        to->entry(to->arg, id, &e, account, feed);
    return err;
}

static kmy_err_t dump_journal(kmy_ledger_t *l, const kmy_ledger_dump_t *to, kmy_errctx_t *ctx)
{
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val row;
    kmy_err_t err = KMY_OK;
    int rc = mdb_cursor_open(l->txn, l->dbi[KMY_LEDGER_JOURNAL], &cursor);
    if (rc)
        return kmy_kv_fail(ctx, rc, "dump");
    while (err == KMY_OK && (rc = mdb_cursor_get(cursor, &key, &row, MDB_NEXT)) == 0)
        err = dump_entry(l, to, key, row, ctx);
    mdb_cursor_close(cursor);
    return err == KMY_OK && rc != MDB_NOTFOUND ? kmy_kv_fail(ctx, rc, "dump") : err;
}

static kmy_err_t dump(kmy_ledger_t *l, const kmy_ledger_dump_t *to, kmy_errctx_t *ctx)
{
    int64_t format = 0;
    kmy_err_t err = kmy_ledger_tables_open(l->txn, false, l->dbi, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_format_get(l->txn, l->dbi[KMY_LEDGER_META], &format, ctx);
    if (err == KMY_NOT_FOUND)
        err = KMY_FAIL(ctx, KMY_CORRUPT, "no format record: this is no ledger");
    if (err == KMY_OK)
        err = kmy_ledger_format_check(format, ctx);
    if (err == KMY_OK)
        err = dump_books(l, to, ctx);
    return err == KMY_OK ? dump_journal(l, to, ctx) : err;
}

kmy_err_t kmy_ledger_dump_path(const char *path, const kmy_ledger_dump_t *to, kmy_errctx_t *ctx)
{
    kmy_kv_options_t options = { .sync = KMY_KV_DURABLE,
                                 .dbis_max = KMY_LEDGER_TABLES_COUNT + 8,
                                 .read_only = true };
    struct kmy_ledger l = { .owner_fd = -1 };
    kmy_err_t err = kmy_kv_open(&l.kv, path, &options, ctx);
    if (err != KMY_OK)
        return err;
    int rc = mdb_txn_begin(l.kv.env, NULL, MDB_RDONLY, &l.txn);
    if (rc) {
        err = kmy_kv_fail(ctx, rc, "dump");
    } else {
        err = dump(&l, to, ctx);
        mdb_txn_abort(l.txn);
    }
    kmy_kv_close(&l.kv);
    return err;
}
