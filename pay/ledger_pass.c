/* dollar 4/7   in: POST /v1/passes (by way of the keeper)   out: pay/ledger_move */
#include "pay/ledger_pass.h"

#include "pay/ledger_audit_inside.h"
#include "pay/ledger_bytes.h"
#include "pay/ledger_payment_inside.h"
#include "pay/ledger_usage.h"

#include <stdlib.h>
#include <string.h>

enum {
    PASS_KEY_BYTES_MAX = KMY_ID_BYTES + KMY_FEED_NAME_BYTES_MAX,
    ORDER_KEY_BYTES_MAX = KMY_ID_BYTES + KMY_PASS_KEY_BYTES_MAX,
    ORDER_HEAD_BYTES = 32,
    ORDER_BYTES_MAX = ORDER_HEAD_BYTES + KMY_PASS_FEEDS_MAX * (9 + KMY_FEED_NAME_BYTES_MAX),
};

/* account, text -> key of a row; its length. */
static size_t row_key(uint64_t account_id, const char *text, size_t len, uint8_t *key)
{
    kmy_id_encode(account_id, key);
    memcpy(key + KMY_ID_BYTES, text, len);
    return KMY_ID_BYTES + len;
}

/* Where the last one ends this one begins, if that is not over. */
static int64_t end_of(int64_t before_ns, int64_t now_ns)
{
    return (before_ns > now_ns ? before_ns : now_ns) + KMY_PASS_NS;
}

/* --- one feed ------------------------------------------------------------------------------ */

static kmy_err_t pass_get(kmy_ledger_t *l, uint64_t account_id, const char *feed,
                          int64_t *expires_ns, kmy_errctx_t *ctx)
{
    uint8_t key[PASS_KEY_BYTES_MAX];
    MDB_val value;
    size_t len = row_key(account_id, feed, strlen(feed), key);
    *expires_ns = 0;
    kmy_err_t err = kmy_ledger_row_get(l, l->txn, KMY_LEDGER_PASSES, key, len, &value, ctx);
    if (err == KMY_NOT_FOUND)
        return KMY_OK;
    if (err == KMY_OK && !kmy_number_decode(value.mv_data, value.mv_size, expires_ns))
        return KMY_FAIL(ctx, KMY_CORRUPT, "pass of account %llu for %s is damaged",
                        (unsigned long long)account_id, feed);
    return err;
}

static kmy_err_t pass_sell(kmy_ledger_t *l, kmy_account_row_t *row, const kmy_pass_order_t *o,
                           uint32_t i, int64_t now_ns, int64_t *expires_ns, kmy_errctx_t *ctx)
{
    uint8_t key[PASS_KEY_BYTES_MAX];
    uint8_t number[KMY_NUMBER_BYTES];
    kmy_entry_t e = { .kind = KMY_ENTRY_PASS,
                      .mode = KMY_MODE_PASS,
                      .price_book = o->price_book,
                      .discount_percent = (uint8_t)o->discount_percent,
                      .account_id = o->account_id,
                      .time_ns = now_ns,
                      .amount_nusd = o->price_nusd,
                      .word = "pass",
                      .ref = o->feeds[i],
                      .word_bytes = 4,
                      .ref_bytes = (uint8_t)strlen(o->feeds[i]) };
    kmy_use_t use = { .mode = KMY_MODE_PASS, .nusd = o->price_nusd }; /* its ticks come later */
    int64_t before_ns;
    kmy_err_t err = pass_get(l, o->account_id, o->feeds[i], &before_ns, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_feed(l, o->feeds[i], &use.feed, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_move(l, row, &e, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_usage_add(l, o->account_id, &use, 1, now_ns, ctx);
    if (err != KMY_OK)
        return err;
    *expires_ns = end_of(before_ns, now_ns);
    kmy_number_encode(*expires_ns, number);
    size_t len = row_key(o->account_id, o->feeds[i], e.ref_bytes, key);
    return kmy_ledger_row_put(l, KMY_LEDGER_PASSES, key, len, number, sizeof number, ctx);
}

/* --- orders that are kept ------------------------------------------------------------------ */

/*  0 version   1 count   2 zeros   8 until when it is kept   16 charged   24 balance   32 for each feed: end (8), length of name, name */
static size_t order_encode(const kmy_pass_order_t *o, const kmy_pass_sale_t *sale, int64_t now_ns,
                           uint8_t out[ORDER_BYTES_MAX])
{
    uint8_t *at = out + ORDER_HEAD_BYTES;
    kmy_head_put(out);
    out[1] = (uint8_t)o->count;
    kmy_put64(out + 8, (uint64_t)(now_ns + KMY_PASS_KEPT_NS));
    kmy_put64(out + 16, (uint64_t)sale->charged_nusd);
    kmy_put64(out + 24, (uint64_t)sale->balance_nusd);
    for (uint32_t i = 0; i < o->count; i++) {
        size_t len = strlen(o->feeds[i]);
        kmy_put64(at, (uint64_t)sale->expires_ns[i]);
        at[8] = (uint8_t)len;
        memcpy(at + 9, o->feeds[i], len);
        at += 9 + len;
    }
    return (size_t)(at - out);
}

/* false: damaged.  *same: it was of these feeds, in this order. */
static bool order_decode(const MDB_val *v, const kmy_pass_order_t *o, kmy_pass_sale_t *sale,
                         int64_t *until_ns, bool *same)
{
    const uint8_t *in = v->mv_data;
    size_t at = ORDER_HEAD_BYTES;
    if (v->mv_size < ORDER_HEAD_BYTES || in[0] != KMY_RECORD_VERSION || in[1] < 1 ||
        in[1] > KMY_PASS_FEEDS_MAX)
        return false;
    *until_ns = (int64_t)kmy_get64(in + 8);
    sale->charged_nusd = (int64_t)kmy_get64(in + 16);
    sale->balance_nusd = (int64_t)kmy_get64(in + 24);
    *same = !o || in[1] == o->count;
    for (uint32_t i = 0; i < in[1]; i++) {
        if (v->mv_size < at + 9 || in[at + 8] < 1 || v->mv_size < at + 9 + in[at + 8])
            return false;
        sale->expires_ns[i] = (int64_t)kmy_get64(in + at);
        *same = *same && (!o || (strlen(o->feeds[i]) == in[at + 8] &&
                                 memcmp(o->feeds[i], in + at + 9, in[at + 8]) == 0));
        at += (size_t)9 + in[at + 8];
    }
    return at == v->mv_size;
}

/* KMY_NOT_FOUND: nothing was done under that key, or so long ago that it counts no more. */
static kmy_err_t order_find(kmy_ledger_t *l, const kmy_pass_order_t *o, int64_t now_ns,
                            kmy_pass_sale_t *sale, kmy_errctx_t *ctx)
{
    uint8_t key[ORDER_KEY_BYTES_MAX];
    MDB_val value;
    int64_t until_ns;
    bool same;
    if (o->key[0] == '\0')
        return KMY_NOT_FOUND;
    size_t len = row_key(o->account_id, o->key, strlen(o->key), key);
    kmy_err_t err = kmy_ledger_row_get(l, l->txn, KMY_LEDGER_ORDERS, key, len, &value, ctx);
    if (err != KMY_OK)
        return err;
    if (!order_decode(&value, o, sale, &until_ns, &same))
        return KMY_FAIL(ctx, KMY_CORRUPT, "an order of account %llu is damaged",
                        (unsigned long long)o->account_id);
    if (until_ns <= now_ns)
        return KMY_NOT_FOUND;
    return same ? KMY_FAIL(ctx, KMY_DUPLICATE, "this order was done before")
                : KMY_FAIL(ctx, KMY_CONFLICT,
                           "this Idempotency-Key was used for other feeds: take another one");
}

static kmy_err_t order_keep(kmy_ledger_t *l, const kmy_pass_order_t *o, const kmy_pass_sale_t *sale,
                            int64_t now_ns, kmy_errctx_t *ctx)
{
    uint8_t key[ORDER_KEY_BYTES_MAX];
    uint8_t value[ORDER_BYTES_MAX];
    if (o->key[0] == '\0')
        return KMY_OK;
    size_t len = row_key(o->account_id, o->key, strlen(o->key), key);
    size_t bytes = order_encode(o, sale, now_ns, value);
    kmy_err_t err = kmy_ledger_row_put(l, KMY_LEDGER_ORDERS, key, len, value, bytes, ctx);
    return err == KMY_OK ? kmy_ledger_sweep(l, KMY_LEDGER_ORDERS, &l->swept_orders, now_ns, ctx)
                         : err;
}

/* --- a purchase ---------------------------------------------------------------------------- */

static kmy_err_t check(const kmy_pass_order_t *o, kmy_errctx_t *ctx)
{
    KMY_ASSERT(o->count >= 1 && o->count <= KMY_PASS_FEEDS_MAX);
    KMY_ASSERT(o->price_nusd >= 0 && o->price_nusd <= INT64_MAX / KMY_PASS_FEEDS_MAX);
    if (strnlen(o->key, KMY_PASS_KEY_BYTES_MAX) == KMY_PASS_KEY_BYTES_MAX)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "an Idempotency-Key has at most %d bytes",
                        KMY_PASS_KEY_BYTES_MAX - 1);
    for (uint32_t i = 0; i < o->count; i++) {
        size_t len = strnlen(o->feeds[i], KMY_FEED_NAME_BYTES_MAX);
        if (len < 1 || len == KMY_FEED_NAME_BYTES_MAX)
            return KMY_FAIL(ctx, KMY_BAD_INPUT, "a feed's name has 1 to %d bytes",
                            KMY_FEED_NAME_BYTES_MAX - 1);
    }
    return KMY_OK;
}

static kmy_err_t sell(kmy_ledger_t *l, kmy_account_row_t *row, const kmy_pass_order_t *o,
                      int64_t now_ns, kmy_pass_sale_t *out, kmy_errctx_t *ctx)
{
    kmy_err_t err = KMY_OK;
    for (uint32_t i = 0; err == KMY_OK && i < o->count; i++)
        err = pass_sell(l, row, o, i, now_ns, &out->expires_ns[i], ctx);
    out->charged_nusd = o->price_nusd * o->count;
    out->balance_nusd = row->sums.balance_nusd + row->sums.leased_nusd;
    if (err == KMY_OK)
        err = kmy_ledger_account_put(l, o->account_id, row, ctx);
    return err == KMY_OK ? order_keep(l, o, out, now_ns, ctx) : err;
}

kmy_err_t kmy_ledger_pass_buy(kmy_ledger_t *l, const kmy_pass_order_t *order, int64_t now_ns,
                              kmy_pass_sale_t *out, kmy_account_t *acc, kmy_errctx_t *ctx)
{
    kmy_account_row_t row;
    memset(out, 0, sizeof *out);
    kmy_err_t err = kmy_ledger_writable(l, ctx);
    if (err == KMY_OK)
        err = check(order, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_account_get(l, l->txn, order->account_id, &row, ctx);
    if (err != KMY_OK)
        return err;
    err = order_find(l, order, now_ns, out, ctx);
    if (err == KMY_NOT_FOUND && row.sums.balance_nusd < order->price_nusd * order->count)
        err = KMY_FAIL(ctx, KMY_NO_BALANCE, "the balance does not cover it");
    else if (err == KMY_NOT_FOUND)
        err = KMY_SPOILS(l, sell(l, &row, order, now_ns, out, ctx), ctx);
    if (acc &&
        (err == KMY_OK || err == KMY_DUPLICATE || err == KMY_CONFLICT || err == KMY_NO_BALANCE)) {
        kmy_err_t told = kmy_ledger_account_fill(l, l->txn, order->account_id, &row, acc, ctx);
        if (err == KMY_OK)
            told = KMY_SPOILS(l, told, ctx);
        return told == KMY_OK ? err : told;
    }
    return err;
}

/* --- visiting ------------------------------------------------------------------------------ */

/* false: damaged.  The name gets its terminator. */
static bool pass_decode(MDB_val key, MDB_val value, uint64_t *id,
                        char feed[KMY_FEED_NAME_BYTES_MAX], int64_t *expires_ns)
{
    if (key.mv_size <= KMY_ID_BYTES || key.mv_size >= PASS_KEY_BYTES_MAX ||
        !kmy_id_decode(key.mv_data, KMY_ID_BYTES, id) ||
        !kmy_number_decode(value.mv_data, value.mv_size, expires_ns))
        return false;
    memcpy(feed, (char *)key.mv_data + KMY_ID_BYTES, key.mv_size - KMY_ID_BYTES);
    feed[key.mv_size - KMY_ID_BYTES] = '\0';
    return true;
}

static kmy_err_t visit_rows(MDB_cursor *cursor, uint64_t account_id, int64_t now_ns,
                            kmy_ledger_pass_visit_t *visit, void *arg, kmy_errctx_t *ctx)
{
    uint8_t from[KMY_ID_BYTES];
    MDB_val key = { sizeof from, from };
    MDB_val value;
    kmy_id_encode(account_id, from);
    int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    for (; rc == 0; rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        char feed[KMY_FEED_NAME_BYTES_MAX];
        int64_t expires_ns;
        uint64_t id;
        if (!pass_decode(key, value, &id, feed, &expires_ns))
            return KMY_FAIL(ctx, KMY_CORRUPT, "a pass of account %llu is damaged",
                            (unsigned long long)account_id);
        if (id != account_id || (expires_ns > now_ns && !visit(arg, feed, expires_ns)))
            return KMY_OK;
    }
    return rc == MDB_NOTFOUND ? KMY_OK : kmy_kv_fail(ctx, rc, "ledger passes");
}

kmy_err_t kmy_ledger_visit_passes(kmy_ledger_t *l, uint64_t account_id, int64_t now_ns,
                                  kmy_ledger_pass_visit_t *visit, void *arg, kmy_errctx_t *ctx)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    kmy_err_t err = kmy_ledger_view_begin(l, &txn, ctx);
    if (err != KMY_OK)
        return err;
    int rc = mdb_cursor_open(txn, l->dbi[KMY_LEDGER_PASSES], &cursor);
    if (rc) {
        err = kmy_kv_fail(ctx, rc, "ledger passes");
    } else {
        err = visit_rows(cursor, account_id, now_ns, visit, arg, ctx);
        mdb_cursor_close(cursor);
    }
    kmy_ledger_view_end(l, txn);
    return err;
}

/* --- the audit ----------------------------------------------------------------------------- */

kmy_err_t kmy_audit_pass(kmy_audit_t *a, const kmy_entry_t *e, kmy_errctx_t *ctx)
{
    uint8_t key[KMY_ID_BYTES + KMY_LEDGER_REF_BYTES_MAX];
    uint32_t at = a->passes_count;
    if (e->kind != KMY_ENTRY_PASS)
        return KMY_OK;
    size_t len = row_key(e->account_id, e->ref, e->ref_bytes, key);
    if (kmy_strmap_get(&a->pass_names, key, len, &at)) {
        a->passes_ns[at] = end_of(a->passes_ns[at], e->time_ns);
        return KMY_OK;
    }
    if (at == a->passes_cap) {
        uint32_t cap = at ? 2 * at : 64;
        int64_t *grown = realloc(a->passes_ns, cap * sizeof *grown);
        if (!grown)
            return KMY_FAIL(ctx, KMY_INTERNAL, "out of memory in the audit");
        a->passes_ns = grown;
        a->passes_cap = cap;
    }
    if (!kmy_strmap_put(&a->pass_names, key, len, at))
        return KMY_FAIL(ctx, KMY_INTERNAL, "out of memory in the audit");
    a->passes_ns[a->passes_count++] = end_of(0, e->time_ns);
    return KMY_OK;
}

static kmy_err_t visit_pass(kmy_audit_t *a, MDB_val key, MDB_val value, kmy_errctx_t *ctx)
{
    char feed[KMY_FEED_NAME_BYTES_MAX];
    uint64_t id = 0;
    int64_t expires_ns;
    uint32_t at;
    (void)ctx;
    if (!pass_decode(key, value, &id, feed, &expires_ns))
        kmy_audit_fault(a, "a pass of account %llu is damaged", ULL(id));
    else if (!kmy_strmap_get(&a->pass_names, key.mv_data, key.mv_size, &at))
        kmy_audit_fault(a, "account %llu has a pass for %s that it did not buy", ULL(id), feed);
    else if (a->passes_ns[at] != expires_ns)
        kmy_audit_fault(a, "the pass of account %llu for %s ends %lld; its entries say %lld",
                        ULL(id), feed, (long long)expires_ns, (long long)a->passes_ns[at]);
    return KMY_OK;
}

static kmy_err_t visit_order(kmy_audit_t *a, MDB_val key, MDB_val value, kmy_errctx_t *ctx)
{
    kmy_pass_sale_t sale;
    int64_t until_ns;
    bool same;
    uint64_t id;
    (void)ctx;
    if (key.mv_size <= KMY_ID_BYTES || !kmy_id_decode(key.mv_data, KMY_ID_BYTES, &id) ||
        id > a->tallies_count || !order_decode(&value, NULL, &sale, &until_ns, &same))
        kmy_audit_fault(a, "an order of passes is damaged, or nobody's");
    return KMY_OK;
}

kmy_err_t kmy_audit_passes(kmy_audit_t *a, kmy_errctx_t *ctx)
{
    kmy_err_t err = kmy_audit_each(a, KMY_LEDGER_PASSES, visit_pass, ctx);
    if (err == KMY_OK)
        err = kmy_audit_each(a, KMY_LEDGER_ORDERS, visit_order, ctx);
    if (err == KMY_OK)
        kmy_audit_check_count(a, "passes", kmy_audit_count(a, KMY_LEDGER_PASSES), a->passes_count);
    return err;
}
