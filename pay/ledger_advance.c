/* dollar 4/7   in: engine/cashier (by way of the keeper)   out: pay/ledger_move

   Advances: a deposit that is submitted is credited in part before its chain has confirmed it, up to a cap for each payer.  What a payer can have that was never paid is
   at most the cap: an advance needs an account without debt, all that are open stay within the cap together, and one that is taken back turns what was spent of it into
   debt, which bars the next.  So open advances and debts of failed ones are never more than the cap in sum.

   An advance ends with its payment and in the same transaction.  At the settlement, too, it is taken back first and the whole amount credited then: the credit, its
   reference, its claim and what a reorganization takes back are those of a payment that had none. */
#include "pay/ledger_payment_inside.h"

#include <string.h>

/* --- what a payer may have ----------------------------------------------------------------- */

static kmy_err_t open_advance(kmy_ledger_t *l, MDB_val key, int64_t *sum_nusd, kmy_errctx_t *ctx)
{
    char id[KMY_PAYMENT_ID_HEX + 1];
    kmy_stored_payment_t p;
    kmy_payment_id_decode((const uint8_t *)key.mv_data + KMY_PAYER_BYTES, id);
    kmy_err_t err = kmy_payment_load(l, l->txn, id, &p, ctx);
    if (err == KMY_NOT_FOUND)
        return KMY_FAIL(ctx, KMY_CORRUPT, "payment %s is open and missing", id);
    if (err == KMY_OK && p.row.advance_open &&
        __builtin_add_overflow(*sum_nusd, p.row.advance_nusd, sum_nusd))
        return KMY_FAIL(ctx, KMY_CORRUPT, "advances add up to more than there can be");
    return err;
}

/* Over all open payments of that payer: KMY_PAYMENTS_OPEN_MAX at most. */
static kmy_err_t open_advances(kmy_ledger_t *l, const kmy_payment_row_t *r, int64_t *sum_nusd,
                               kmy_errctx_t *ctx)
{
    MDB_cursor *cursor;
    MDB_val key = { KMY_PAYER_BYTES, (void *)r->payer };
    MDB_val value;
    kmy_err_t err = KMY_OK;
    *sum_nusd = 0;
    int rc = mdb_cursor_open(l->txn, l->dbi[KMY_LEDGER_OPEN_PAYERS], &cursor);
    if (rc)
        return kmy_kv_fail(ctx, rc, "open payments");
    rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    while (rc == 0 && err == KMY_OK && key.mv_size == KMY_PAYER_OPEN_KEY_BYTES &&
           memcmp(key.mv_data, r->payer, KMY_PAYER_BYTES) == 0) {
        err = open_advance(l, key, sum_nusd, ctx);
        rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return err == KMY_OK && rc && rc != MDB_NOTFOUND ? kmy_kv_fail(ctx, rc, "open payments") : err;
}

/* KMY_NO_BALANCE: its account has a debt.  A payer without an account has none. */
static kmy_err_t no_debt(kmy_ledger_t *l, const kmy_payment_row_t *r, kmy_errctx_t *ctx)
{
    uint64_t id = 0;
    kmy_account_row_t row;
    kmy_err_t err = kmy_payer_find(l, l->txn, r->account, r->contract, &id, ctx);
    if (err != KMY_OK || id == 0)
        return err;
    err = kmy_ledger_account_get(l, l->txn, id, &row, ctx);
    return err == KMY_OK && row.sums.debt_nusd > 0
               ? KMY_FAIL(ctx, KMY_NO_BALANCE, "an account in debt has no advance")
               : err;
}

static kmy_err_t may_have(const kmy_payment_row_t *r, kmy_errctx_t *ctx)
{
    if (r->advance_nusd > 0)
        return KMY_FAIL(ctx, KMY_DUPLICATE, "this payment had an advance");
    if (r->state != KMY_PAYMENT_SUBMITTED || r->query)
        return KMY_FAIL(ctx, KMY_CONFLICT, "only a deposit that is submitted has an advance");
    return KMY_OK;
}

static kmy_err_t how_much(kmy_ledger_t *l, const kmy_payment_row_t *r, int64_t max_nusd,
                          int64_t *nusd, kmy_errctx_t *ctx)
{
    int64_t open_nusd = 0;
    kmy_err_t err = may_have(r, ctx);
    if (err == KMY_OK)
        err = no_debt(l, r, ctx);
    if (err == KMY_OK)
        err = open_advances(l, r, &open_nusd, ctx);
    if (err != KMY_OK)
        return err;
    if (open_nusd >= max_nusd)
        return KMY_FAIL(ctx, KMY_NO_BALANCE, "this payer has all that may be advanced");
    int64_t amount_nusd = kmy_payment_amount_nusd(r);
    *nusd = amount_nusd < max_nusd - open_nusd ? amount_nusd : max_nusd - open_nusd;
    return kmy_ledger_room(l, *nusd, ctx);
}

/* --- given --------------------------------------------------------------------------------- */

static kmy_err_t advance_apply(kmy_ledger_t *l, kmy_stored_payment_t *p, int64_t nusd,
                               int64_t now_ns, kmy_account_t *acc, kmy_errctx_t *ctx)
{
    char ref[KMY_LEDGER_REF_BYTES_MAX + 1];
    kmy_advance_ref(p, ref);
    kmy_err_t err = kmy_payer_make(l, p->row.account, p->row.contract, now_ns, &p->account_id, ctx);
    p->advance_entry = l->totals.entries_count + 1;
    if (err == KMY_OK)
        err = kmy_ledger_credit(l, p->account_id, KMY_ADVANCE_WORD, ref, nusd, now_ns, acc, ctx);
    if (err == KMY_DUPLICATE || err == KMY_CONFLICT) /* its payment says that there was none */
        return KMY_FAIL(ctx, KMY_CORRUPT, "reference %s is taken: run `kamiyo ledger audit`", ref);
    p->row.advance_nusd = nusd;
    p->row.advance_open = true;
    return err == KMY_OK ? kmy_payment_put_state(l, p, p->row.state, ctx) : err;
}

kmy_err_t kmy_ledger_payment_advance(kmy_ledger_t *l, const char *id, int64_t max_nusd,
                                     int64_t now_ns, kmy_payment_row_t *out, kmy_account_t *acc,
                                     kmy_errctx_t *ctx)
{
    kmy_stored_payment_t p;
    int64_t nusd = 0;
    KMY_ASSERT(max_nusd > 0);
    kmy_err_t err = kmy_ledger_writable(l, ctx);
    if (err == KMY_OK)
        err = kmy_payment_load(l, l->txn, id, &p, ctx);
    if (err == KMY_OK)
        err = how_much(l, &p.row, max_nusd, &nusd, ctx);
    if (err != KMY_OK)
        return err;
    err = advance_apply(l, &p, nusd, now_ns, acc, ctx);
    if (err == KMY_OK)
        err = kmy_payment_answer_row(l, l->txn, &p, out, ctx);
    return KMY_SPOILS(l, err, ctx);
}

/* --- taken back ---------------------------------------------------------------------------- */

kmy_err_t kmy_advance_end(kmy_ledger_t *l, kmy_stored_payment_t *p, int64_t now_ns,
                          kmy_errctx_t *ctx)
{
    char ref[KMY_LEDGER_REF_BYTES_MAX + 1];
    if (!p->row.advance_open)
        return KMY_OK;
    kmy_advance_ref(p, ref);
    kmy_entry_t e = { .kind = KMY_ENTRY_CREDIT,
                      .account_id = p->account_id,
                      .amount_nusd = p->row.advance_nusd,
                      .word = KMY_ADVANCE_WORD,
                      .ref = ref,
                      .word_bytes = sizeof KMY_ADVANCE_WORD - 1,
                      .ref_bytes = (uint8_t)strlen(ref) };
    p->row.advance_open = false;
    return kmy_credit_take_back(l, &e, now_ns, ctx);
}
