/* dollar 7/7   in: engine/keeper   out: pay/receipt, the customer */
#include "pay/ledger_receipt.h"

#include "pay/ledger_audit_inside.h"

#include <endian.h>
#include <string.h>

enum {
    RECORD_VERSION = 1,
    CHAIN_BYTES = 72,
    KEPT_KEY_BYTES = 2 * KMY_ID_BYTES,
    KEPT_HEAD_BYTES = 168,
    KEPT_BYTES_MAX = KEPT_HEAD_BYTES + KMY_FEED_NAME_BYTES_MAX + KMY_RECEIPT_EPOCH_BYTES_MAX,
    KID_BYTES = 8, /* of the key's name: enough to tell our few keys apart */
};

static void put64(uint8_t *at, uint64_t v)
{
    v = htole64(v);
    memcpy(at, &v, sizeof v);
}
static uint64_t get64(const uint8_t *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof v);
    return le64toh(v);
}

/* --- the head ---------------------------------------------------------------------------------- */

static void chain_encode(const kmy_ledger_chain_t *c, uint8_t out[CHAIN_BYTES])
{
    memset(out, 0, CHAIN_BYTES);
    out[0] = RECORD_VERSION;
    put64(out + 8, c->seq);
    put64(out + 16, c->ticks);
    put64(out + 24, (uint64_t)c->amount_nusd);
    put64(out + 32, (uint64_t)c->issued_s);
    memcpy(out + 40, c->hash, sizeof c->hash);
}

static bool chain_decode(const MDB_val *v, kmy_ledger_chain_t *c)
{
    const uint8_t *at = v->mv_data;
    if (v->mv_size != CHAIN_BYTES || at[0] != RECORD_VERSION)
        return false;
    c->seq = get64(at + 8);
    c->ticks = get64(at + 16);
    c->amount_nusd = (int64_t)get64(at + 24);
    c->issued_s = (int64_t)get64(at + 32);
    memcpy(c->hash, at + 40, sizeof c->hash);
    return c->seq > 0 && c->amount_nusd >= 0 && c->issued_s >= 0;
}

static kmy_err_t chain_get(kmy_ledger_t *l, MDB_txn *txn, uint64_t account_id,
                           kmy_ledger_chain_t *out, kmy_errctx_t *ctx)
{
    uint8_t key[KMY_ID_BYTES];
    MDB_val value;
    kmy_id_encode(account_id, key);
    memset(out, 0, sizeof *out);
    kmy_err_t err = kmy_ledger_row_get(l, txn, KMY_LEDGER_CHAINS, key, sizeof key, &value, ctx);
    if (err == KMY_NOT_FOUND)
        return KMY_OK;
    if (err == KMY_OK && !chain_decode(&value, out))
        err = KMY_FAIL(ctx, KMY_CORRUPT, "receipt chain of account %llu is damaged",
                       (unsigned long long)account_id);
    return err;
}

kmy_err_t kmy_ledger_chain_get(kmy_ledger_t *l, uint64_t account_id, kmy_ledger_chain_t *out,
                               kmy_errctx_t *ctx)
{
    MDB_txn *txn;
    kmy_err_t err = kmy_ledger_view_begin(l, &txn, ctx);
    if (err != KMY_OK)
        return err;
    err = chain_get(l, txn, account_id, out, ctx);
    kmy_ledger_view_end(l, txn);
    return err;
}

/* --- kept receipts ----------------------------------------------------------------------------- */

static void kept_key(uint64_t account_id, uint64_t seq, uint8_t out[KEPT_KEY_BYTES])
{
    kmy_id_encode(account_id, out);
    kmy_id_encode(seq, out + KMY_ID_BYTES);
}

static size_t kept_encode(const kmy_receipt_t *r, const kmy_receipt_public_t *key,
                          const uint8_t *signature, uint8_t out[KEPT_BYTES_MAX])
{
    size_t feed_bytes = strlen(r->feed);
    size_t epoch_bytes = strlen(r->epoch);
    memset(out, 0, KEPT_HEAD_BYTES);
    out[0] = RECORD_VERSION;
    out[1] = (uint8_t)feed_bytes;
    out[2] = (uint8_t)epoch_bytes;
    const uint64_t numbers[] = { r->from,
                                 r->to,
                                 r->ticks,
                                 (uint64_t)r->amount_nusd,
                                 r->total_ticks,
                                 (uint64_t)r->total_nusd,
                                 (uint64_t)r->issued_s };
    for (size_t i = 0; i < 7; i++)
        put64(out + 8 + 8 * i, numbers[i]);
    memcpy(out + 64, r->prev, sizeof r->prev);
    memcpy(out + 96, signature, KMY_ED25519_SIGNATURE_BYTES);
    memcpy(out + 160, key->kid, KID_BYTES);
    memcpy(out + KEPT_HEAD_BYTES, r->feed, feed_bytes);
    memcpy(out + KEPT_HEAD_BYTES + feed_bytes, r->epoch, epoch_bytes);
    return KEPT_HEAD_BYTES + feed_bytes + epoch_bytes;
}

/* All but account and seq, which are the key's. */
static bool kept_decode(const MDB_val *v, kmy_receipt_t *r)
{
    const uint8_t *at = v->mv_data;
    if (v->mv_size < KEPT_HEAD_BYTES || at[0] != RECORD_VERSION || at[1] >= sizeof r->feed ||
        at[2] >= sizeof r->epoch || v->mv_size != (size_t)KEPT_HEAD_BYTES + at[1] + at[2])
        return false;
    r->from = get64(at + 8);
    r->to = get64(at + 16);
    r->ticks = get64(at + 24);
    r->amount_nusd = (int64_t)get64(at + 32);
    r->total_ticks = get64(at + 40);
    r->total_nusd = (int64_t)get64(at + 48);
    r->issued_s = (int64_t)get64(at + 56);
    memcpy(r->prev, at + 64, sizeof r->prev);
    memcpy(r->feed, at + KEPT_HEAD_BYTES, at[1]);
    r->feed[at[1]] = '\0';
    memcpy(r->epoch, at + KEPT_HEAD_BYTES + at[1], at[2]);
    r->epoch[at[2]] = '\0';
    return true;
}

/* The one that has become too old goes. */
static kmy_err_t kept_put(kmy_ledger_t *l, uint64_t account_id, const kmy_receipt_t *r,
                          const kmy_receipt_public_t *key, const uint8_t *signature,
                          kmy_errctx_t *ctx)
{
    uint8_t at[KEPT_KEY_BYTES];
    uint8_t value[KEPT_BYTES_MAX];
    MDB_val old;
    kept_key(account_id, r->seq, at);
    size_t len = kept_encode(r, key, signature, value);
    kmy_err_t err = kmy_ledger_row_put(l, KMY_LEDGER_RECEIPTS, at, sizeof at, value, len, ctx);
    if (err != KMY_OK || r->seq <= KMY_LEDGER_RECEIPTS_KEPT)
        return err;
    kept_key(account_id, r->seq - KMY_LEDGER_RECEIPTS_KEPT, at);
    err = kmy_ledger_row_get(l, l->txn, KMY_LEDGER_RECEIPTS, at, sizeof at, &old, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_row_del(l, KMY_LEDGER_RECEIPTS, at, sizeof at, ctx);
    return err == KMY_NOT_FOUND ? KMY_OK : err;
}

/* --- issuing ----------------------------------------------------------------------------------- */

/* What follows the head, covered by what the account durably consumed: the one thing a receipt must never overstate. */
static void link_on(kmy_receipt_t *r, const kmy_account_t *account, const kmy_ledger_chain_t *head)
{
    memcpy(r->account, account->name, sizeof r->account);
    memcpy(r->prev, head->hash, sizeof r->prev);
    r->seq = head->seq + 1;
    r->total_ticks = head->ticks + r->ticks;
    r->total_nusd = head->amount_nusd + r->amount_nusd;
    if (r->issued_s < head->issued_s)
        r->issued_s = head->issued_s;
    KMY_ASSERT(r->total_nusd >= head->amount_nusd);
    KMY_ASSERT(r->total_nusd <= account->consumed_nusd);
    KMY_ASSERT(r->total_ticks <= account->ticks_count);
}

kmy_err_t kmy_ledger_receipt_issue(kmy_ledger_t *l, uint64_t account_id,
                                   const kmy_receipt_key_t *key, kmy_receipt_t *r,
                                   uint8_t signature[KMY_ED25519_SIGNATURE_BYTES],
                                   kmy_errctx_t *ctx)
{
    kmy_account_t account;
    kmy_ledger_chain_t head;
    char text[KMY_RECEIPT_BYTES_MAX];
    uint8_t at[KMY_ID_BYTES];
    uint8_t value[CHAIN_BYTES];
    const kmy_receipt_public_t *public = kmy_receipt_key_public(key);
    kmy_err_t err = kmy_ledger_writable(l, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_account_by_id(l, account_id, &account, ctx);
    if (err == KMY_OK)
        err = chain_get(l, l->txn, account_id, &head, ctx);
    if (err != KMY_OK)
        return err;
    link_on(r, &account, &head);
    kmy_receipt_sign(key, r, signature);
    head = (kmy_ledger_chain_t){ .seq = r->seq,
                                 .ticks = r->total_ticks,
                                 .amount_nusd = r->total_nusd,
                                 .issued_s = r->issued_s };
    kmy_receipt_hash(text, kmy_receipt_text(public, r, signature, text), head.hash);
    kmy_id_encode(account_id, at);
    chain_encode(&head, value);
    err = kmy_ledger_row_put(l, KMY_LEDGER_CHAINS, at, sizeof at, value, sizeof value, ctx);
    if (err == KMY_OK)
        err = kept_put(l, account_id, r, public, signature, ctx);
    return kmy_ledger_spoil(l, err, ctx);
}

/* --- visiting ---------------------------------------------------------------------------------- */

static kmy_err_t visit_rows(MDB_cursor *cursor, const kmy_account_t *account,
                            const kmy_receipt_public_t *key, uint64_t after_seq,
                            kmy_ledger_receipt_visit_t *visit, void *arg, kmy_errctx_t *ctx)
{
    uint8_t from[KEPT_KEY_BYTES];
    kept_key(account->id, after_seq + 1, from);
    MDB_val k = { sizeof from, from };
    MDB_val v;
    int rc = after_seq == UINT64_MAX ? MDB_NOTFOUND : mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
    for (; rc == 0; rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) {
        kmy_receipt_t r = { .seq = 0 };
        uint64_t id;
        if (k.mv_size != KEPT_KEY_BYTES || !kmy_id_decode(k.mv_data, KMY_ID_BYTES, &id) ||
            !kmy_id_decode((uint8_t *)k.mv_data + KMY_ID_BYTES, KMY_ID_BYTES, &r.seq) ||
            !kept_decode(&v, &r))
            return KMY_FAIL(ctx, KMY_CORRUPT, "a kept receipt of account %llu is damaged",
                            (unsigned long long)account->id);
        if (id != account->id)
            return KMY_OK;
        memcpy(r.account, account->name, sizeof r.account);
        if (memcmp((uint8_t *)v.mv_data + 160, key->kid, KID_BYTES) == 0 &&
            !visit(arg, &r, (uint8_t *)v.mv_data + 96))
            return KMY_OK;
    }
    return rc == MDB_NOTFOUND ? KMY_OK : kmy_kv_fail(ctx, rc, "ledger receipts");
}

kmy_err_t kmy_ledger_visit_receipts(kmy_ledger_t *l, uint64_t account_id,
                                    const kmy_receipt_public_t *key, uint64_t after_seq,
                                    kmy_ledger_receipt_visit_t *visit, void *arg, kmy_errctx_t *ctx)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    kmy_account_t account;
    kmy_err_t err = kmy_ledger_account_by_id(l, account_id, &account, ctx);
    if (err == KMY_OK)
        err = kmy_ledger_view_begin(l, &txn, ctx);
    if (err != KMY_OK)
        return err;
    int rc = mdb_cursor_open(txn, l->dbi[KMY_LEDGER_RECEIPTS], &cursor);
    if (rc) {
        err = kmy_kv_fail(ctx, rc, "ledger receipts");
    } else {
        err = visit_rows(cursor, &account, key, after_seq, visit, arg, ctx);
        mdb_cursor_close(cursor);
    }
    kmy_ledger_view_end(l, txn);
    return err;
}

/* --- the audit --------------------------------------------------------------------------------- */

static bool kept_find(const kmy_audit_t *a, uint64_t account_id, uint64_t seq, kmy_receipt_t *r)
{
    uint8_t key[KEPT_KEY_BYTES];
    MDB_val value;
    kept_key(account_id, seq, key);
    return kmy_audit_find(a, KMY_LEDGER_RECEIPTS, key, sizeof key, &value) &&
           kept_decode(&value, r);
}

static uint64_t kept_of(const kmy_ledger_chain_t *head)
{
    return head->seq < KMY_LEDGER_RECEIPTS_KEPT ? head->seq : KMY_LEDGER_RECEIPTS_KEPT;
}

static kmy_err_t visit_chain(kmy_audit_t *a, MDB_val key, MDB_val value, kmy_errctx_t *ctx)
{
    uint64_t id;
    kmy_ledger_chain_t head;
    kmy_receipt_t newest;
    (void)ctx;
    if (!kmy_id_decode(key.mv_data, key.mv_size, &id) || id == 0 || id > a->tallies_count ||
        !chain_decode(&value, &head)) {
        kmy_audit_fault(a, "a chain of receipts is damaged, or nobody's");
        return KMY_OK;
    }
    const kmy_account_row_t *row = &a->tallies[id - 1].row;
    a->receipts_count += kept_of(&head);
    if (head.amount_nusd > row->sums.consumed_nusd || head.ticks > row->ticks_count)
        kmy_audit_fault(a,
                        "receipts of account %llu say %lld nano-USD for %llu ticks; its entries "
                        "have consumed %lld for %llu",
                        ULL(id), (long long)head.amount_nusd, ULL(head.ticks),
                        (long long)row->sums.consumed_nusd, ULL(row->ticks_count));
    if (!kept_find(a, id, head.seq, &newest) || newest.total_ticks != head.ticks ||
        newest.total_nusd != head.amount_nusd || newest.issued_s != head.issued_s)
        kmy_audit_fault(a, "the newest receipt of account %llu is not the head of its chain",
                        ULL(id));
    return KMY_OK;
}

/* What a kept one says follows the one before it, down to the oldest. */
static kmy_err_t visit_kept(kmy_audit_t *a, MDB_val key, MDB_val value, kmy_errctx_t *ctx)
{
    uint64_t id = 0;
    uint64_t seq = 0;
    MDB_val chain;
    kmy_ledger_chain_t head;
    kmy_receipt_t r;
    kmy_receipt_t before;
    (void)ctx;
    bool whole = key.mv_size == KEPT_KEY_BYTES && kmy_id_decode(key.mv_data, KMY_ID_BYTES, &id) &&
                 kmy_id_decode((uint8_t *)key.mv_data + KMY_ID_BYTES, KMY_ID_BYTES, &seq) &&
                 kept_decode(&value, &r) &&
                 kmy_audit_find(a, KMY_LEDGER_CHAINS, key.mv_data, KMY_ID_BYTES, &chain) &&
                 chain_decode(&chain, &head) && seq <= head.seq && seq + kept_of(&head) > head.seq;
    if (!whole) {
        kmy_audit_fault(a, "a kept receipt of account %llu is damaged, or in no chain", ULL(id));
        return KMY_OK;
    }
    bool oldest = seq + kept_of(&head) == head.seq + 1;
    if (!oldest &&
        (!kept_find(a, id, seq - 1, &before) || before.total_ticks + r.ticks != r.total_ticks ||
         before.total_nusd + r.amount_nusd != r.total_nusd))
        kmy_audit_fault(a, "receipt %llu of account %llu does not follow the one before it",
                        ULL(seq), ULL(id));
    return KMY_OK;
}

kmy_err_t kmy_audit_receipts(kmy_audit_t *a, kmy_errctx_t *ctx)
{
    kmy_err_t err = kmy_audit_each(a, KMY_LEDGER_CHAINS, visit_chain, ctx);
    if (err == KMY_OK)
        err = kmy_audit_each(a, KMY_LEDGER_RECEIPTS, visit_kept, ctx);
    if (err == KMY_OK)
        kmy_audit_check_count(a, "kept receipts", kmy_audit_count(a, KMY_LEDGER_RECEIPTS),
                              a->receipts_count);
    return err;
}
