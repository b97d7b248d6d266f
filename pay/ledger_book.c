/* dollar 4/7   in: engine/daemon (start, reload)   out: entries of the journal */
#include "pay/ledger_book.h"

#include "pay/ledger_audit_inside.h"
#include "pay/ledger_bytes.h"

#include <string.h>

/* Key: version, big-endian (8).   0 head   8 since   16 query   24 market query   32 tick   40 pass   48 batch discount (4)   52 batch from (4) */
enum { BOOK_BYTES = 56, PRICES_AT = 16 };

static void encode(const kmy_price_book_t *b, int64_t since_ns, uint8_t out[BOOK_BYTES])
{
    kmy_head_put(out);
    kmy_put64(out + 8, (uint64_t)since_ns);
    kmy_put64(out + 16, (uint64_t)b->query_nusd);
    kmy_put64(out + 24, (uint64_t)b->market_query_nusd);
    kmy_put64(out + 32, (uint64_t)b->tick_nusd);
    kmy_put64(out + 40, (uint64_t)b->pass_nusd);
    kmy_put32(out + 48, b->batch_discount_percent);
    kmy_put32(out + 52, b->batch_from);
}

/* false: damaged. */
static bool decode(MDB_val v, uint32_t version, kmy_price_book_t *b, int64_t *since_ns)
{
    const uint8_t *in = v.mv_data;
    kmy_errctx_t why;
    if (!kmy_head_ok(in, v.mv_size, BOOK_BYTES))
        return false;
    if (since_ns)
        *since_ns = (int64_t)kmy_get64(in + 8);
    *b = (kmy_price_book_t){ .query_nusd = (int64_t)kmy_get64(in + 16),
                             .market_query_nusd = (int64_t)kmy_get64(in + 24),
                             .tick_nusd = (int64_t)kmy_get64(in + 32),
                             .pass_nusd = (int64_t)kmy_get64(in + 40),
                             .batch_discount_percent = kmy_get32(in + 48),
                             .batch_from = kmy_get32(in + 52),
                             .version = version };
    return kmy_price_book_check(b, &why) == KMY_OK;
}

static kmy_err_t get(kmy_ledger_t *l, MDB_txn *txn, uint32_t version, MDB_val *row,
                     kmy_errctx_t *ctx)
{
    uint8_t key[KMY_ID_BYTES];
    kmy_id_encode(version, key);
    return kmy_ledger_row_get(l, txn, KMY_LEDGER_BOOKS, key, sizeof key, row, ctx);
}

kmy_err_t kmy_ledger_book(kmy_ledger_t *l, kmy_price_book_t *book, int64_t now_ns,
                          kmy_errctx_t *ctx)
{
    uint8_t key[KMY_ID_BYTES];
    uint8_t bytes[BOOK_BYTES];
    MDB_stat stat;
    MDB_val newest;
    kmy_err_t err = kmy_ledger_writable(l, ctx);
    if (err != KMY_OK)
        return err;
    int rc = mdb_stat(l->txn, l->dbi[KMY_LEDGER_BOOKS], &stat);
    if (rc)
        return kmy_kv_fail(ctx, rc, "ledger price books");
    book->version = (uint32_t)stat.ms_entries;
    encode(book, now_ns, bytes);
    err = book->version > 0 ? get(l, l->txn, book->version, &newest, ctx) : KMY_NOT_FOUND;
    if (err != KMY_OK && err != KMY_NOT_FOUND)
        return err;
    if (err == KMY_OK && newest.mv_size == sizeof bytes &&
        memcmp((const uint8_t *)newest.mv_data + PRICES_AT, bytes + PRICES_AT,
               sizeof bytes - PRICES_AT) == 0)
        return KMY_OK;
    kmy_id_encode(++book->version, key);
    return kmy_ledger_row_put(l, KMY_LEDGER_BOOKS, key, sizeof key, bytes, sizeof bytes, ctx);
}

kmy_err_t kmy_ledger_book_get(kmy_ledger_t *l, uint32_t version, kmy_price_book_t *book,
                              int64_t *since_ns, kmy_errctx_t *ctx)
{
    MDB_txn *txn;
    MDB_val row;
    kmy_err_t err = kmy_ledger_view_begin(l, &txn, ctx);
    if (err != KMY_OK)
        return err;
    err = get(l, txn, version, &row, ctx);
    if (err == KMY_OK && !decode(row, version, book, since_ns))
        err = KMY_FAIL(ctx, KMY_CORRUPT, "price book %u is damaged", version);
    kmy_ledger_view_end(l, txn);
    return err;
}

/* --- the audit ----------------------------------------------------------------------------- */

static bool find(const kmy_audit_t *a, uint32_t version, kmy_price_book_t *book)
{
    uint8_t key[KMY_ID_BYTES];
    MDB_val row;
    kmy_id_encode(version, key);
    return kmy_audit_find(a, KMY_LEDGER_BOOKS, key, sizeof key, &row) &&
           decode(row, version, book, NULL);
}

/* A question may cost more than one query, and an item less: those only name their book. */
void kmy_audit_book(kmy_audit_t *a, const kmy_entry_t *e, uint64_t id)
{
    int64_t want = e->amount_nusd;
    if (e->price_book == 0 || kmy_entry_to(e->kind) != KMY_SIDE_CONSUMED)
        return;
    if (a->book.version != e->price_book && !find(a, e->price_book, &a->book)) {
        kmy_audit_fault(a, "entry %llu names price book %u, which is damaged or not there", ULL(id),
                        e->price_book);
        a->book.version = 0;
        return;
    }
    if (e->kind == KMY_ENTRY_PASS)
        want = kmy_price_discounted(a->book.pass_nusd, e->discount_percent);
    else if (e->mode == KMY_MODE_STREAM &&
             __builtin_mul_overflow(kmy_price_discounted(a->book.tick_nusd, e->discount_percent),
                                    e->ticks_count, &want))
        want = -1;
    else if (e->mode == KMY_MODE_PASS)
        want = 0;
    if (want != e->amount_nusd)
        kmy_audit_fault(a, "entry %llu takes %lld nano-USD; by price book %u it is %lld", ULL(id),
                        (long long)e->amount_nusd, e->price_book, (long long)want);
}
