/* dollar 4/7   in: engine/cashier (by way of the keeper)   out: pay/ledger_move

   A reorganization took a payment back: P6 of the threat model. */
#include "pay/ledger_payment_inside.h"

#include <string.h>

/* The words of the credit that is taken back, borrowed from the journal until the next write; copied into ref. */
static kmy_err_t credit_get(kmy_ledger_t *l, const kmy_stored_payment_t *p, kmy_entry_t *e,
                            char ref[KMY_LEDGER_REF_BYTES_MAX], kmy_errctx_t *ctx)
{
    uint8_t key[KMY_ID_BYTES];
    MDB_val value;
    kmy_id_encode(p->entry_id, key);
    kmy_err_t err = kmy_ledger_row_get(l, l->txn, KMY_LEDGER_JOURNAL, key, sizeof key, &value, ctx);
    if (err != KMY_OK && err != KMY_NOT_FOUND)
        return err;
    if (err == KMY_NOT_FOUND || !kmy_entry_decode(value.mv_data, value.mv_size, e) ||
        e->kind != KMY_ENTRY_CREDIT || e->account_id != p->account_id ||
        e->amount_nusd != kmy_payment_amount_nusd(&p->row))
        return KMY_FAIL(ctx, KMY_CORRUPT, "entry %llu is not the credit of payment %s",
                        (unsigned long long)p->entry_id, p->row.id);
    memcpy(ref, e->ref, e->ref_bytes);
    e->ref = ref;
    e->word = "x402";
    e->word_bytes = 4;
    return KMY_OK;
}

kmy_err_t kmy_credit_take_back(kmy_ledger_t *l, const kmy_entry_t *credit, int64_t now_ns,
                               kmy_errctx_t *ctx)
{
    kmy_account_row_t row;
    kmy_entry_t e = *credit;
    kmy_err_t err = kmy_ledger_account_get(l, l->txn, credit->account_id, &row, ctx);
    if (err != KMY_OK)
        return err;
    int64_t free_nusd =
        row.sums.balance_nusd < credit->amount_nusd ? row.sums.balance_nusd : credit->amount_nusd;
    e.time_ns = now_ns;
    e.kind = KMY_ENTRY_REVERSE;
    e.amount_nusd = free_nusd;
    if (free_nusd > 0)
        err = kmy_ledger_move(l, &row, &e, ctx);
    e.kind = KMY_ENTRY_DEBT;
    e.amount_nusd = credit->amount_nusd - free_nusd;
    if (err == KMY_OK && e.amount_nusd > 0)
        err = kmy_ledger_move(l, &row, &e, ctx);
    return err == KMY_OK ? kmy_ledger_account_put(l, credit->account_id, &row, ctx) : err;
}

static kmy_err_t reverse_apply(kmy_ledger_t *l, kmy_stored_payment_t *p, const kmy_entry_t *credit,
                               int64_t now_ns, kmy_errctx_t *ctx)
{
    char claim[KMY_CLAIM_KEY_BYTES_MAX];
    kmy_err_t err = kmy_hold_return(l, p->account_id, p->row.id, now_ns, ctx);
    if (err == KMY_OK)
        err = kmy_credit_take_back(l, credit, now_ns, ctx);
    KMY_ASSERT(kmy_claim_key(p->row.chain, p->row.tx, p->row.log_index, claim));
    if (err == KMY_OK)
        err = kmy_ledger_row_del(l, KMY_LEDGER_CLAIMS, claim, strlen(claim), ctx);
    p->row.state = KMY_PAYMENT_REVERSED;
    p->row.changed_ns = now_ns;
    p->reversals++;
    return err == KMY_OK ? kmy_payment_put_state(l, p, KMY_PAYMENT_SETTLED, ctx) : err;
}

kmy_err_t kmy_ledger_payment_reverse(kmy_ledger_t *l, const char *id, int64_t now_ns,
                                     kmy_account_t *acc, kmy_errctx_t *ctx)
{
    char ref[KMY_LEDGER_REF_BYTES_MAX];
    kmy_stored_payment_t p;
    kmy_entry_t credit;
    kmy_err_t err = kmy_ledger_writable(l, ctx);
    if (err == KMY_OK)
        err = kmy_payment_load(l, l->txn, id, &p, ctx);
    if (err != KMY_OK)
        return err;
    bool before = p.row.state == KMY_PAYMENT_REVERSED;
    if (!before && p.row.state != KMY_PAYMENT_SETTLED)
        return KMY_FAIL(ctx, KMY_CONFLICT, "this payment is %s: there is nothing to take back",
                        kmy_payment_state_name(p.row.state));
    if (!before)
        err = credit_get(l, &p, &credit, ref, ctx);
    if (err == KMY_OK && !before)
        err = KMY_SPOILS(l, reverse_apply(l, &p, &credit, now_ns, ctx), ctx);
    if (err == KMY_OK && acc)
        err = before ? kmy_ledger_account_by_id(l, p.account_id, acc, ctx)
                     : KMY_SPOILS(l, kmy_ledger_account_by_id(l, p.account_id, acc, ctx), ctx);
    return err == KMY_OK && before
               ? KMY_FAIL(ctx, KMY_DUPLICATE, "this payment is reversed already")
               : err;
}
