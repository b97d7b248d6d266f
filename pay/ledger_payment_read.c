/* dollar 4/7   in: pay/ledger   out: engine/keeper, the other files of payments

   Payments as they stand: the order of states, one by its id, those that are open. */
#include "pay/ledger_payment_inside.h"

#include "pay/ledger_bytes.h"

#include <string.h>

#define BIT(state) (1u << KMY_PAYMENT_##state)

/* What may follow each state (docs/decisions/payments.md).  The same state again adds what became known. */
static const struct {
    const char *name;
    unsigned next;
} states[KMY_PAYMENT_STATES] = {
    [KMY_PAYMENT_RESERVED] = { "reserved", BIT(RESERVED) | BIT(VERIFIED) | BIT(SUBMITTED) |
                                               BIT(SETTLED) | BIT(FAILED) },
    [KMY_PAYMENT_VERIFIED] = { "verified",
                               BIT(VERIFIED) | BIT(SUBMITTED) | BIT(SETTLED) | BIT(FAILED) },
    [KMY_PAYMENT_SUBMITTED] = { "submitted",
                                BIT(SUBMITTED) | BIT(UNKNOWN) | BIT(SETTLED) | BIT(FAILED) },
    [KMY_PAYMENT_UNKNOWN] = { "unknown", BIT(UNKNOWN) | BIT(SETTLED) | BIT(FAILED) },
    [KMY_PAYMENT_SETTLED] = { "settled", BIT(REVERSED) },
    [KMY_PAYMENT_FAILED] = { "failed",
                             BIT(FAILED) | BIT(RESERVED) | BIT(SUBMITTED) | BIT(SETTLED) },
    [KMY_PAYMENT_REVERSED] = { "reversed", BIT(SETTLED) }, /* mined once more, elsewhere */
};

const char *kmy_payment_state_name(kmy_payment_state_t state)
{
    return state >= KMY_PAYMENT_RESERVED && state < KMY_PAYMENT_STATES ? states[state].name : "";
}

bool kmy_payment_may_follow(kmy_payment_state_t from, kmy_payment_state_t to)
{
    return from >= KMY_PAYMENT_RESERVED && from < KMY_PAYMENT_STATES && to < KMY_PAYMENT_STATES &&
           (states[from].next >> to & 1);
}

bool kmy_payment_is_open(uint8_t state)
{
    return state >= KMY_PAYMENT_RESERVED && state <= KMY_PAYMENT_UNKNOWN;
}

int64_t kmy_payment_amount_nusd(const kmy_payment_row_t *r)
{
    return (int64_t)r->amount_units * 1000; /* kmy_payment_check: it fits */
}

/* --- reading ------------------------------------------------------------------------------- */

kmy_err_t kmy_payment_load(kmy_ledger_t *l, MDB_txn *txn, const char *id, kmy_stored_payment_t *p,
                           kmy_errctx_t *ctx)
{
    uint8_t key[KMY_PAYMENT_ID_BYTES_RAW];
    MDB_val state;
    MDB_val promise;
    if (!kmy_payment_id_encode(id, key))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "a payment id has 32 digits 0-9 a-f");
    kmy_err_t err = kmy_ledger_row_get(l, txn, KMY_LEDGER_PAYMENTS, key, sizeof key, &state, ctx);
    if (err == KMY_NOT_FOUND)
        return KMY_FAIL(ctx, KMY_NOT_FOUND, "no payment of that id");
    if (err == KMY_OK)
        err = kmy_ledger_row_get(l, txn, KMY_LEDGER_PROMISES, key, sizeof key, &promise, ctx);
    if (err != KMY_OK && err != KMY_NOT_FOUND)
        return err;
    memset(p, 0, sizeof *p);
    memcpy(p->row.id, id, sizeof p->row.id);
    if (err == KMY_NOT_FOUND || !kmy_payment_state_decode(state.mv_data, state.mv_size, p) ||
        !kmy_promise_decode(promise.mv_data, promise.mv_size, &p->row) ||
        p->row.amount_units > INT64_MAX / 1000)
        return KMY_FAIL(ctx, KMY_CORRUPT, "payment %s is damaged: run `kamiyo ledger audit`", id);
    return KMY_OK;
}

/* json of an open payment; borrowed. */
static kmy_err_t json_get(kmy_ledger_t *l, MDB_txn *txn, const char *id, kmy_payment_row_t *out,
                          kmy_errctx_t *ctx)
{
    uint8_t key[KMY_PAYMENT_ID_BYTES_RAW];
    MDB_val value;
    KMY_ASSERT(kmy_payment_id_encode(id, key));
    kmy_err_t err = kmy_ledger_row_get(l, txn, KMY_LEDGER_PRESENTED, key, sizeof key, &value, ctx);
    if (err != KMY_OK)
        return err == KMY_NOT_FOUND ? KMY_OK : err;
    if (value.mv_size < 8 || !kmy_head_ok(value.mv_data, value.mv_size, value.mv_size))
        return KMY_FAIL(ctx, KMY_CORRUPT, "what was presented as payment %s is damaged", id);
    out->json = (const char *)value.mv_data + 8;
    out->json_bytes = (uint32_t)value.mv_size - 8;
    return KMY_OK;
}

kmy_err_t kmy_payment_answer_row(kmy_ledger_t *l, MDB_txn *txn, const kmy_stored_payment_t *p,
                                 kmy_payment_row_t *out, kmy_errctx_t *ctx)
{
    kmy_account_row_t row;
    kmy_account_t account;
    if (!out)
        return KMY_OK;
    *out = p->row;
    if (p->account_id != 0) {
        kmy_err_t err = kmy_ledger_account_get(l, txn, p->account_id, &row, ctx);
        if (err == KMY_OK)
            err = kmy_ledger_account_fill(l, txn, p->account_id, &row, &account, ctx);
        if (err != KMY_OK)
            return err;
        memcpy(out->account, account.name, sizeof out->account);
    }
    return txn == l->txn ? json_get(l, txn, p->row.id, out, ctx) : KMY_OK;
}

kmy_err_t kmy_ledger_payment_get(kmy_ledger_t *l, const char *id, kmy_payment_row_t *out,
                                 kmy_errctx_t *ctx)
{
    kmy_stored_payment_t p;
    MDB_txn *txn;
    kmy_err_t err = kmy_ledger_view_begin(l, &txn, ctx);
    if (err != KMY_OK)
        return err;
    err = kmy_payment_load(l, txn, id, &p, ctx);
    if (err == KMY_OK)
        err = kmy_payment_answer_row(l, txn, &p, out, ctx);
    kmy_ledger_view_end(l, txn);
    return err;
}

/* --- those that are open ------------------------------------------------------------------- */

static kmy_err_t open_row(kmy_ledger_t *l, MDB_txn *txn, MDB_val key, kmy_payment_row_t *out,
                          kmy_errctx_t *ctx)
{
    char id[KMY_PAYMENT_ID_HEX + 1];
    kmy_stored_payment_t p;
    if (key.mv_size != KMY_PAYMENT_ID_BYTES_RAW)
        return KMY_FAIL(ctx, KMY_CORRUPT, "index of open payments is damaged");
    kmy_payment_id_decode(key.mv_data, id);
    kmy_err_t err = kmy_payment_load(l, txn, id, &p, ctx);
    if (err == KMY_NOT_FOUND)
        return KMY_FAIL(ctx, KMY_CORRUPT, "open payment %s is not there", id);
    return err == KMY_OK ? kmy_payment_answer_row(l, txn, &p, out, ctx) : err;
}

kmy_err_t kmy_ledger_next_open_payment(kmy_ledger_t *l, const char *after_id,
                                       kmy_payment_row_t *out, kmy_errctx_t *ctx)
{
    uint8_t after[KMY_PAYMENT_ID_BYTES_RAW] = { 0 };
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val key = { sizeof after, after };
    MDB_val value;
    if (after_id[0] && !kmy_payment_id_encode(after_id, after))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "a payment id has 32 digits 0-9 a-f");
    kmy_err_t err = kmy_ledger_view_begin(l, &txn, ctx);
    if (err != KMY_OK)
        return err;
    int rc = mdb_cursor_open(txn, l->dbi[KMY_LEDGER_OPEN], &cursor);
    if (rc == 0) {
        rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
        if (rc == 0 && after_id[0] && key.mv_size == sizeof after &&
            memcmp(key.mv_data, after, sizeof after) == 0)
            rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        mdb_cursor_close(cursor);
    }
    if (rc == MDB_NOTFOUND)
        err = KMY_FAIL(ctx, KMY_NOT_FOUND, "no more open payments");
    else
        err = rc ? kmy_kv_fail(ctx, rc, "open payments") : open_row(l, txn, key, out, ctx);
    kmy_ledger_view_end(l, txn);
    return err;
}

kmy_err_t kmy_ledger_visit_open_payments(kmy_ledger_t *l, kmy_ledger_payment_visit_t *visit,
                                         void *arg, kmy_errctx_t *ctx)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val value;
    kmy_payment_row_t row;
    kmy_err_t err = kmy_ledger_view_begin(l, &txn, ctx);
    if (err != KMY_OK)
        return err;
    int rc = mdb_cursor_open(txn, l->dbi[KMY_LEDGER_OPEN], &cursor);
    bool opened = rc == 0;
    bool more = opened;
    while (more && (rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0) {
        err = open_row(l, txn, key, &row, ctx);
        more = err == KMY_OK && visit(arg, &row);
    }
    if (opened)
        mdb_cursor_close(cursor);
    if (err == KMY_OK && rc && rc != MDB_NOTFOUND)
        err = kmy_kv_fail(ctx, rc, "open payments");
    kmy_ledger_view_end(l, txn);
    return err;
}

/* --- those that settled lately ------------------------------------------------------------- */

/* From after (exclusive; NULL: from the first), at most 1024 states: the last one looked at.  KMY_NOT_FOUND: there was none. */
static kmy_err_t look_for_settled(MDB_cursor *cursor, const uint8_t *after, int64_t since_ns,
                                  kmy_payment_row_t *out, kmy_errctx_t *ctx)
{
    enum { LOOKED_AT_MAX = 1024 };
    kmy_stored_payment_t p;
    MDB_val value;
    MDB_val key = { KMY_PAYMENT_ID_BYTES_RAW, (void *)after };
    int rc = mdb_cursor_get(cursor, &key, &value, after ? MDB_SET_RANGE : MDB_FIRST);
    if (rc == 0 && after && key.mv_size == KMY_PAYMENT_ID_BYTES_RAW &&
        memcmp(key.mv_data, after, key.mv_size) == 0)
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    if (rc == MDB_NOTFOUND)
        return KMY_FAIL(ctx, KMY_NOT_FOUND, "no more payments");
    for (int i = 0; rc == 0; i++) {
        memset(&p, 0, sizeof p);
        if (key.mv_size != KMY_PAYMENT_ID_BYTES_RAW ||
            !kmy_payment_state_decode(value.mv_data, value.mv_size, &p))
            return KMY_FAIL(ctx, KMY_CORRUPT, "a payment is damaged: run `kamiyo ledger audit`");
        kmy_payment_id_decode(key.mv_data, out->id);
        bool found = p.row.state == KMY_PAYMENT_SETTLED && p.row.changed_ns >= since_ns;
        out->state = found ? KMY_PAYMENT_SETTLED : 0;
        if (found || i == LOOKED_AT_MAX - 1)
            return KMY_OK;
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    return rc == MDB_NOTFOUND ? KMY_OK : kmy_kv_fail(ctx, rc, "payments");
}

kmy_err_t kmy_ledger_next_settled_payment(kmy_ledger_t *l, const char *after_id, int64_t since_ns,
                                          kmy_payment_row_t *out, kmy_errctx_t *ctx)
{
    uint8_t after[KMY_PAYMENT_ID_BYTES_RAW];
    kmy_stored_payment_t p;
    MDB_txn *txn;
    MDB_cursor *cursor;
    memset(out, 0, sizeof *out);
    if (after_id[0] && !kmy_payment_id_encode(after_id, after))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "a payment id has 32 digits 0-9 a-f");
    kmy_err_t err = kmy_ledger_view_begin(l, &txn, ctx);
    if (err != KMY_OK)
        return err;
    int rc = mdb_cursor_open(txn, l->dbi[KMY_LEDGER_PAYMENTS], &cursor);
    err = rc ? kmy_kv_fail(ctx, rc, "payments")
             : look_for_settled(cursor, after_id[0] ? after : NULL, since_ns, out, ctx);
    if (rc == 0)
        mdb_cursor_close(cursor);
    if (err == KMY_OK && out->state == KMY_PAYMENT_SETTLED) {
        err = kmy_payment_load(l, txn, out->id, &p, ctx);
        if (err == KMY_OK)
            err = kmy_payment_answer_row(l, txn, &p, out, ctx);
    }
    kmy_ledger_view_end(l, txn);
    return err;
}
