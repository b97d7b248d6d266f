/* dollar 7/7   in: pay/ledger_move, pay/ledger_pass, pay/ledger_answer   out: GET /v1/account/usage */
#include "pay/ledger_usage.h"

#include "base/clock.h"
#include "pay/ledger_audit_inside.h"
#include "pay/ledger_bytes.h"

#include <stdlib.h>
#include <string.h>

#define HOUR_NS (3600 * KMY_NS_PER_S)

/* A row's key is as a lease's: the hour since the epoch where the shard stands, or OLDER.  Its value: head (8), then items, ascending by mode and feed:
      0 feed (4)   4 mode   5 zeros   8 count   16 nano-USD
   All feeds of an hour in one value: a report of fifty feeds is then one read and one write of 1.2 KB, and 30 days are 720 rows. */
enum { HEAD_BYTES = 8, ITEM_BYTES = 24, OLDER = 0, SWEEP_ROWS = 3 };

static uint32_t hour_of(int64_t ns)
{
    return ns < HOUR_NS ? OLDER + 1 : (uint32_t)(ns / HOUR_NS);
}

/* --- items --------------------------------------------------------------------------------- */

static void item_put(uint8_t *at, const kmy_use_t *u)
{
    memset(at, 0, ITEM_BYTES);
    kmy_put32(at, u->feed);
    at[4] = (uint8_t)u->mode;
    kmy_put64(at + 8, u->count);
    kmy_put64(at + 16, (uint64_t)u->nusd);
}

/* false: damaged. */
static bool item_get(const uint8_t *at, kmy_use_t *u)
{
    *u = (kmy_use_t){ .feed = kmy_get32(at),
                      .mode = at[4],
                      .count = kmy_get64(at + 8),
                      .nusd = (int64_t)kmy_get64(at + 16) };
    return u->mode < KMY_MODES && u->nusd >= 0;
}

static bool row_ok(MDB_val v)
{
    return v.mv_size >= HEAD_BYTES && (v.mv_size - HEAD_BYTES) % ITEM_BYTES == 0 &&
           kmy_head_ok(v.mv_data, v.mv_size, v.mv_size);
}

/* Items of an old row and uses become one ascending row in out, which has room for all of them; its length, 0: the old one is damaged. */
static size_t merge(MDB_val old, const kmy_use_t *uses, size_t count, uint8_t *out)
{
    const uint8_t *in = (const uint8_t *)old.mv_data + HEAD_BYTES;
    const uint8_t *end = (const uint8_t *)old.mv_data + old.mv_size;
    uint8_t *at = out + HEAD_BYTES;
    size_t i = 0;
    kmy_head_put(out);
    while (in < end || i < count) {
        kmy_use_t item = { .count = 0 };
        bool have = in < end;
        if (have && !item_get(in, &item))
            return 0;
        kmy_use_t use = i < count ? uses[i] : item;
        use.price_book = use.discount_percent = 0; /* the journal's; here all prices are one */
        int order = !have ? 1 : i == count ? -1 : kmy_use_compare(&item, &use);
        if (order > 0)
            item = use;
        else
            in += ITEM_BYTES;
        if (order == 0) {
            item.count += use.count;
            if (__builtin_add_overflow(item.nusd, use.nusd, &item.nusd))
                return 0;
        }
        i += (size_t)(order >= 0);
        item_put(at, &item);
        at += ITEM_BYTES;
    }
    return (size_t)(at - out);
}

/* --- rows ---------------------------------------------------------------------------------- */

static kmy_err_t room(kmy_ledger_t *l, size_t bytes, kmy_errctx_t *ctx)
{
    if (bytes <= l->usage_cap)
        return KMY_OK;
    size_t cap = 2 * bytes;
    uint8_t *grown = realloc(l->usage, cap);
    if (!grown)
        return KMY_FAIL(ctx, KMY_INTERNAL, "out of memory for a row of usage");
    l->usage = grown;
    l->usage_cap = cap;
    return KMY_OK;
}

static kmy_err_t row_add(kmy_ledger_t *l, uint64_t account_id, uint32_t hour, const kmy_use_t *uses,
                         size_t count, bool *fresh, kmy_errctx_t *ctx)
{
    static uint8_t none[HEAD_BYTES] = { KMY_RECORD_VERSION };
    uint8_t key[KMY_LEASE_KEY_BYTES];
    MDB_val old;
    kmy_lease_key_encode(account_id, hour, key);
    kmy_err_t err = kmy_ledger_row_get(l, l->txn, KMY_LEDGER_USAGE, key, sizeof key, &old, ctx);
    *fresh = err == KMY_NOT_FOUND;
    if (*fresh)
        old = (MDB_val){ sizeof none, none };
    if (*fresh || err == KMY_OK)
        err = room(l, old.mv_size + count * ITEM_BYTES, ctx);
    if (err != KMY_OK)
        return err;
    size_t len = row_ok(old) ? merge(old, uses, count, l->usage) : 0;
    if (len == 0)
        return KMY_FAIL(ctx, KMY_CORRUPT, "usage of account %llu is damaged", ULL(account_id));
    return kmy_ledger_row_put(l, KMY_LEDGER_USAGE, key, sizeof key, l->usage, len, ctx);
}

/* --- what is too old ----------------------------------------------------------------------- */

/* By mode, without feeds; false: damaged. */
static bool add_modes(MDB_val row, kmy_usage_sums_t *sums)
{
    if (!row_ok(row))
        return false;
    for (size_t at = HEAD_BYTES; at < row.mv_size; at += ITEM_BYTES) {
        kmy_use_t u;
        if (!item_get((const uint8_t *)row.mv_data + at, &u) ||
            __builtin_add_overflow(sums->nusd[u.mode], u.nusd, &sums->nusd[u.mode]))
            return false;
        sums->count[u.mode] += u.count;
    }
    return true;
}

static kmy_err_t age(kmy_ledger_t *l, const uint8_t key[KMY_LEASE_KEY_BYTES], uint64_t account_id,
                     MDB_val row, kmy_errctx_t *ctx)
{
    kmy_usage_sums_t sums = { .count = { 0 } };
    kmy_use_t uses[KMY_MODES];
    size_t n = 0;
    bool fresh;
    if (!add_modes(row, &sums))
        return KMY_FAIL(ctx, KMY_CORRUPT, "usage of account %llu is damaged", ULL(account_id));
    for (uint32_t m = 0; m < KMY_MODES; m++) {
        if (sums.count[m] > 0 || sums.nusd[m] > 0)
            uses[n++] = (kmy_use_t){ .mode = m, .count = sums.count[m], .nusd = sums.nusd[m] };
    }
    kmy_err_t err = kmy_ledger_row_del(l, KMY_LEDGER_USAGE, key, KMY_LEASE_KEY_BYTES, ctx);
    return err == KMY_OK ? row_add(l, account_id, OLDER, uses, n, &fresh, ctx) : err;
}

/* The row at or behind key, whose key it becomes; false: none. */
static bool row_from(kmy_ledger_t *l, uint8_t key[KMY_LEASE_KEY_BYTES], MDB_val *row, int *rc)
{
    MDB_cursor *cursor;
    MDB_val k = { KMY_LEASE_KEY_BYTES, key };
    *rc = mdb_cursor_open(l->txn, l->dbi[KMY_LEDGER_USAGE], &cursor);
    if (*rc)
        return false;
    *rc = mdb_cursor_get(cursor, &k, row, MDB_SET_RANGE);
    bool found = *rc == 0 && k.mv_size == KMY_LEASE_KEY_BYTES;
    if (found)
        memcpy(key, k.mv_data, KMY_LEASE_KEY_BYTES);
    mdb_cursor_close(cursor);
    *rc = *rc == MDB_NOTFOUND ? 0 : *rc;
    return found;
}

/* A new row has come: looks at the next three of the whole table.  So all of it is passed once while a third as many come, and also who never comes back
   is swept. */
static kmy_err_t sweep(kmy_ledger_t *l, uint32_t hour, kmy_errctx_t *ctx)
{
    kmy_ledger_sweep_t *at = &l->swept_usage;
    kmy_err_t err = KMY_OK;
    if (at->key_bytes != KMY_LEASE_KEY_BYTES)
        memset(at->key, 0, KMY_LEASE_KEY_BYTES);
    at->key_bytes = KMY_LEASE_KEY_BYTES;
    for (int i = 0; err == KMY_OK && i < SWEEP_ROWS; i++) {
        uint64_t id;
        uint32_t of;
        MDB_val row;
        int rc;
        if (!row_from(l, at->key, &row, &rc)) {
            at->key_bytes = 0; /* from the start again */
            return rc ? kmy_kv_fail(ctx, rc, "ledger usage") : KMY_OK;
        }
        if (!kmy_lease_key_decode(at->key, KMY_LEASE_KEY_BYTES, &id, &of))
            return KMY_FAIL(ctx, KMY_CORRUPT, "a row of usage is damaged");
        if (of != OLDER && of + KMY_USAGE_HOURS < hour)
            err = age(l, at->key, id, row, ctx);
        kmy_lease_key_encode(id, of + 1, at->key);
    }
    return err;
}

kmy_err_t kmy_ledger_usage_add(kmy_ledger_t *l, uint64_t account_id, const kmy_use_t *uses,
                               size_t count, int64_t now_ns, kmy_errctx_t *ctx)
{
    bool fresh = false;
    uint32_t hour = hour_of(now_ns);
    kmy_err_t err = row_add(l, account_id, hour, uses, count, &fresh, ctx);
    return err == KMY_OK && fresh ? sweep(l, hour, ctx) : err;
}

/* --- feeds --------------------------------------------------------------------------------- */

static uint32_t feeds_count(const kmy_ledger_t *l, MDB_txn *txn)
{
    MDB_stat stat;
    return mdb_stat(txn, l->dbi[KMY_LEDGER_FEEDS], &stat) == 0 ? (uint32_t)stat.ms_entries : 0;
}

static size_t feed_row(const char *name, uint8_t out[HEAD_BYTES + KMY_FEED_NAME_BYTES_MAX])
{
    size_t len = strlen(name);
    kmy_head_put(out);
    memcpy(out + HEAD_BYTES, name, len);
    return HEAD_BYTES + len;
}

kmy_err_t kmy_ledger_feed(kmy_ledger_t *l, const char *name, uint32_t *id, kmy_errctx_t *ctx)
{
    uint8_t row[HEAD_BYTES + KMY_FEED_NAME_BYTES_MAX];
    uint8_t number[KMY_NUMBER_BYTES];
    uint8_t key[KMY_ID_BYTES];
    int64_t known = 0;
    MDB_val value;
    size_t len = strnlen(name, KMY_FEED_NAME_BYTES_MAX);
    KMY_ASSERT(len > 0 && len < KMY_FEED_NAME_BYTES_MAX);
    kmy_err_t err = kmy_ledger_writable(l, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_row_get(l, l->txn, KMY_LEDGER_FEED_IDS, name, len, &value, ctx);
    if (err == KMY_OK && !kmy_number_decode(value.mv_data, value.mv_size, &known))
        return KMY_FAIL(ctx, KMY_CORRUPT, "the number of feed %s is damaged", name);
    *id = (uint32_t)known;
    if (err != KMY_NOT_FOUND)
        return err;
    *id = feeds_count(l, l->txn) + 1;
    kmy_id_encode(*id, key);
    kmy_number_encode(*id, number);
    err = kmy_ledger_row_put(l, KMY_LEDGER_FEEDS, key, sizeof key, row, feed_row(name, row), ctx);
    return err == KMY_OK
               ? kmy_ledger_row_put(l, KMY_LEDGER_FEED_IDS, name, len, number, sizeof number, ctx)
               : err;
}

static bool feed_row_name(MDB_val row, char name[KMY_FEED_NAME_BYTES_MAX])
{
    if (row.mv_size <= HEAD_BYTES || row.mv_size >= HEAD_BYTES + KMY_FEED_NAME_BYTES_MAX ||
        !kmy_head_ok(row.mv_data, row.mv_size, row.mv_size))
        return false;
    memcpy(name, (const uint8_t *)row.mv_data + HEAD_BYTES, row.mv_size - HEAD_BYTES);
    name[row.mv_size - HEAD_BYTES] = '\0';
    return true;
}

static kmy_err_t feed_name(kmy_ledger_t *l, MDB_txn *txn, uint32_t id,
                           char name[KMY_FEED_NAME_BYTES_MAX], kmy_errctx_t *ctx)
{
    uint8_t key[KMY_ID_BYTES];
    MDB_val row;
    kmy_id_encode(id, key);
    kmy_err_t err = kmy_ledger_row_get(l, txn, KMY_LEDGER_FEEDS, key, sizeof key, &row, ctx);
    if (err == KMY_OK && !feed_row_name(row, name))
        return KMY_FAIL(ctx, KMY_CORRUPT, "the name of feed %u is damaged", id);
    return err;
}

kmy_err_t kmy_ledger_feed_name(kmy_ledger_t *l, uint32_t id, char name[KMY_FEED_NAME_BYTES_MAX],
                               kmy_errctx_t *ctx)
{
    MDB_txn *txn;
    kmy_err_t err = kmy_ledger_view_begin(l, &txn, ctx);
    if (err != KMY_OK)
        return err;
    err = feed_name(l, txn, id, name, ctx);
    kmy_ledger_view_end(l, txn);
    return err;
}

/* --- sums of a window ---------------------------------------------------------------------- */

typedef struct sums {
    kmy_usage_sums_t *of; /* by feed; owned */
    uint32_t count;       /* feeds, and 0 */
    kmy_usage_sums_t total;
} sums_t;

static bool add_row(sums_t *s, MDB_val row)
{
    if (!row_ok(row))
        return false;
    for (size_t at = HEAD_BYTES; at < row.mv_size; at += ITEM_BYTES) {
        kmy_use_t u;
        if (!item_get((const uint8_t *)row.mv_data + at, &u) || u.feed >= s->count ||
            __builtin_add_overflow(s->total.nusd[u.mode], u.nusd, &s->total.nusd[u.mode]))
            return false;
        s->total.count[u.mode] += u.count;
        s->of[u.feed].count[u.mode] += u.count;
        s->of[u.feed].nusd[u.mode] += u.nusd; /* at most the total */
    }
    return true;
}

static kmy_err_t add_rows(kmy_ledger_t *l, MDB_txn *txn, uint64_t account_id, uint32_t hour,
                          sums_t *s, kmy_errctx_t *ctx)
{
    uint8_t from[KMY_LEASE_KEY_BYTES];
    MDB_cursor *cursor;
    MDB_val key = { sizeof from, from };
    MDB_val row;
    uint64_t id = account_id;
    kmy_lease_key_encode(account_id, hour, from);
    int rc = mdb_cursor_open(txn, l->dbi[KMY_LEDGER_USAGE], &cursor);
    if (rc)
        return kmy_kv_fail(ctx, rc, "ledger usage");
    bool whole = true;
    rc = mdb_cursor_get(cursor, &key, &row, MDB_SET_RANGE);
    while (rc == 0 && whole) {
        whole = kmy_lease_key_decode(key.mv_data, key.mv_size, &id, &hour);
        if (id != account_id)
            break;
        whole = whole && add_row(s, row);
        rc = mdb_cursor_get(cursor, &key, &row, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    if (!whole)
        return KMY_FAIL(ctx, KMY_CORRUPT, "usage of account %llu is damaged", ULL(account_id));
    return rc == 0 || rc == MDB_NOTFOUND ? KMY_OK : kmy_kv_fail(ctx, rc, "ledger usage");
}

static bool used(const kmy_usage_sums_t *s)
{
    bool any = false;
    for (int m = 0; m < KMY_MODES; m++)
        any |= s->count[m] > 0 || s->nusd[m] > 0;
    return any;
}

/* The page of those that were used. */
static kmy_err_t fill(kmy_ledger_t *l, MDB_txn *txn, const sums_t *s, uint32_t first_feed,
                      uint32_t feeds_max, kmy_usage_t *out, kmy_errctx_t *ctx)
{
    kmy_err_t err = KMY_OK;
    out->total = s->total;
    for (uint32_t id = first_feed; err == KMY_OK && id < s->count; id++) {
        if (!used(&s->of[id]))
            continue;
        out->more = out->count == feeds_max;
        if (out->more)
            break;
        kmy_usage_feed_t *f = &out->feeds[out->count++];
        f->id = id;
        f->sums = s->of[id];
        if (id > 0)
            err = feed_name(l, txn, id, f->name, ctx);
    }
    return err == KMY_NOT_FOUND ? KMY_FAIL(ctx, KMY_CORRUPT, "a feed has no name") : err;
}

static kmy_err_t usage_of(kmy_ledger_t *l, MDB_txn *txn, uint64_t account_id, uint32_t first_feed,
                          uint32_t feeds_max, kmy_usage_t *out, kmy_errctx_t *ctx)
{
    sums_t s = { .count = feeds_count(l, txn) + 1 };
    s.of = calloc(s.count, sizeof *s.of);
    if (!s.of)
        return KMY_FAIL(ctx, KMY_INTERNAL, "out of memory");
    kmy_err_t err = add_rows(l, txn, account_id, hour_of(out->from_ns), &s, ctx);
    if (err == KMY_OK)
        err = fill(l, txn, &s, first_feed, feeds_max, out, ctx);
    free(s.of);
    return err;
}

kmy_err_t kmy_ledger_usage(kmy_ledger_t *l, uint64_t account_id, int64_t from_ns,
                           uint32_t first_feed, uint32_t feeds_max, kmy_usage_t **out,
                           kmy_errctx_t *ctx)
{
    MDB_txn *txn;
    KMY_ASSERT(feeds_max > 0 && feeds_max <= KMY_USAGE_FEEDS_MAX);
    kmy_usage_t *u = calloc(1, sizeof *u + feeds_max * sizeof u->feeds[0]);
    if (!u)
        return KMY_FAIL(ctx, KMY_INTERNAL, "out of memory");
    u->from_ns = hour_of(from_ns) * HOUR_NS;
    kmy_err_t err = kmy_ledger_view_begin(l, &txn, ctx);
    if (err == KMY_OK) {
        err = usage_of(l, txn, account_id, first_feed, feeds_max, u, ctx);
        kmy_ledger_view_end(l, txn);
    }
    if (err != KMY_OK) {
        free(u);
        u = NULL;
    }
    *out = u;
    return err;
}

/* --- the first entry that counts ----------------------------------------------------------- */

kmy_err_t kmy_ledger_usage_from_get(MDB_txn *txn, MDB_dbi meta, uint64_t *entry_id,
                                    kmy_errctx_t *ctx)
{
    MDB_val key = { 10, (void *)"usage_from" };
    MDB_val value;
    int64_t number = 0;
    int rc = mdb_get(txn, meta, &key, &value);
    if (rc == 0 && (!kmy_number_decode(value.mv_data, value.mv_size, &number) || number < 0))
        return KMY_FAIL(ctx, KMY_CORRUPT, "the ledger's word usage_from is damaged");
    *entry_id = (uint64_t)number;
    return rc == 0 || rc == MDB_NOTFOUND ? KMY_OK : kmy_kv_fail(ctx, rc, "ledger usage");
}

int kmy_ledger_usage_from_put(MDB_txn *txn, MDB_dbi meta, uint64_t entry_id)
{
    uint8_t number[KMY_NUMBER_BYTES];
    kmy_number_encode((int64_t)entry_id, number);
    MDB_val key = { 10, (void *)"usage_from" };
    MDB_val value = { sizeof number, number };
    return mdb_put(txn, meta, &key, &value, 0);
}

/* --- the audit ----------------------------------------------------------------------------- */

void kmy_audit_use(kmy_audit_t *a, const kmy_entry_t *e, uint64_t id)
{
    if (kmy_entry_to(e->kind) != KMY_SIDE_CONSUMED || id <= a->usage_from ||
        a->dbi[KMY_LEDGER_USAGE] == KMY_LEDGER_NO_TABLE)
        return;
    kmy_usage_sums_t *missing = &a->tallies[e->account_id - 1].missing;
    missing->count[e->mode] += e->ticks_count + e->queries_count;
    missing->nusd[e->mode] += e->amount_nusd; /* at most what was consumed */
    if (e->feed_id > kmy_audit_count(a, KMY_LEDGER_FEEDS))
        kmy_audit_fault(a, "entry %llu is of feed %u, which has no name", ULL(id), e->feed_id);
}

static kmy_err_t visit_usage(kmy_audit_t *a, MDB_val key, MDB_val row, kmy_errctx_t *ctx)
{
    uint64_t id = 0;
    uint32_t hour;
    (void)ctx;
    if (!kmy_lease_key_decode(key.mv_data, key.mv_size, &id, &hour) || id > a->tallies_count ||
        !row_ok(row)) {
        kmy_audit_fault(a, "a row of usage is damaged, or nobody's");
        return KMY_OK;
    }
    kmy_use_t before = { .count = 0 };
    kmy_usage_sums_t *missing = &a->tallies[id - 1].missing;
    for (size_t at = HEAD_BYTES; at < row.mv_size; at += ITEM_BYTES) {
        kmy_use_t u;
        bool whole = item_get((const uint8_t *)row.mv_data + at, &u) &&
                     u.feed <= kmy_audit_count(a, KMY_LEDGER_FEEDS) &&
                     (hour != OLDER || u.feed == 0) &&
                     (at == HEAD_BYTES || kmy_use_compare(&before, &u) < 0);
        if (!whole) {
            kmy_audit_fault(a, "usage of account %llu is damaged", ULL(id));
            return KMY_OK;
        }
        missing->count[u.mode] -= u.count; /* may wrap: that is a fault below */
        missing->nusd[u.mode] = (int64_t)((uint64_t)missing->nusd[u.mode] - (uint64_t)u.nusd);
        before = u;
    }
    return KMY_OK;
}

/* Each feed's name leads back to it. */
static kmy_err_t visit_feed(kmy_audit_t *a, MDB_val key, MDB_val row, kmy_errctx_t *ctx)
{
    char name[KMY_FEED_NAME_BYTES_MAX];
    uint64_t id = 0;
    int64_t back = 0;
    MDB_val value;
    (void)ctx;
    if (!kmy_id_decode(key.mv_data, key.mv_size, &id) || !feed_row_name(row, name) ||
        !kmy_audit_find(a, KMY_LEDGER_FEED_IDS, name, strlen(name), &value) ||
        !kmy_number_decode(value.mv_data, value.mv_size, &back) || (uint64_t)back != id)
        kmy_audit_fault(a, "the name of feed %llu leads to feed %llu", ULL(id), ULL(back));
    return KMY_OK;
}

kmy_err_t kmy_audit_usage(kmy_audit_t *a, kmy_errctx_t *ctx)
{
    kmy_err_t err = kmy_audit_each(a, KMY_LEDGER_USAGE, visit_usage, ctx);
    if (err == KMY_OK)
        err = kmy_audit_each(a, KMY_LEDGER_FEEDS, visit_feed, ctx);
    kmy_audit_check_count(a, "numbers of feeds", kmy_audit_count(a, KMY_LEDGER_FEED_IDS),
                          kmy_audit_count(a, KMY_LEDGER_FEEDS));
    for (uint64_t i = 0; i < a->tallies_count; i++) {
        const kmy_usage_sums_t *missing = &a->tallies[i].missing;
        for (int m = 0; m < KMY_MODES; m++) {
            if (missing->count[m] != 0 || missing->nusd[m] != 0)
                kmy_audit_fault(a,
                                "usage of account %llu in mode %s is %lld nano-USD for %lld less "
                                "than its entries say",
                                ULL(i + 1), kmy_mode_name((kmy_mode_t)m),
                                (long long)missing->nusd[m], (long long)missing->count[m]);
        }
    }
    return err;
}
