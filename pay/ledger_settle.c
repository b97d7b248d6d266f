/* dollar 4/7   in: pay/settle (by way of the keeper)   out: pay/ledger_move

   What a chain has done becomes a credit, once: by the payment's id, and by the transfer it was.  Both claims stand in the transaction that
   credits, so a settled deposit cannot be redeemed as a transfer, nor the other way round. */
#include "pay/ledger_payment_inside.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* One credit, checked whole before anything of it is written. */
typedef struct kmy_paid {
    const char *payer; /* canonical */
    bool contract;
    int64_t amount_nusd;
    const char *word;
    char ref[KMY_LEDGER_REF_BYTES_MAX + 1];
    char claim[KMY_CLAIM_KEY_BYTES_MAX];
    const char *payment_id; /* NULL: a plain transfer */
    /* filled by paid_apply */
    uint64_t account_id;
    uint64_t entry_id;
} kmy_paid_t;

static kmy_err_t claim_get(kmy_ledger_t *l, const char *key, kmy_claim_t *claim, kmy_errctx_t *ctx)
{
    MDB_val value;
    kmy_err_t err = kmy_ledger_row_get(l, l->txn, KMY_LEDGER_CLAIMS, key, strlen(key), &value, ctx);
    if (err == KMY_OK && !kmy_claim_decode(value.mv_data, value.mv_size, claim))
        return KMY_FAIL(ctx, KMY_CORRUPT, "claim %s is damaged", key);
    return err;
}

static kmy_err_t paid_check(kmy_ledger_t *l, const kmy_paid_t *c, kmy_errctx_t *ctx)
{
    MDB_val value;
    kmy_err_t err = kmy_ledger_room(l, c->amount_nusd, ctx);
    if (err != KMY_OK)
        return err;
    err = kmy_ledger_row_get(l, l->txn, KMY_LEDGER_REFS, c->ref, strlen(c->ref), &value, ctx);
    if (err == KMY_NOT_FOUND)
        return KMY_OK;
    return err != KMY_OK
               ? err
               : KMY_FAIL(ctx, KMY_CONFLICT, "reference %s was used for another credit", c->ref);
}

static kmy_err_t paid_apply(kmy_ledger_t *l, kmy_paid_t *c, int64_t now_ns, kmy_errctx_t *ctx)
{
    uint8_t value[KMY_CLAIM_BYTES];
    kmy_claim_t claim = { .payment = c->payment_id != NULL, .amount_nusd = c->amount_nusd };
    kmy_err_t err = kmy_payer_make(l, c->payer, c->contract, now_ns, &c->account_id, ctx);
    c->entry_id = l->totals.entries_count + 1;
    if (err == KMY_OK)
        err =
            kmy_ledger_credit(l, c->account_id, c->word, c->ref, c->amount_nusd, now_ns, NULL, ctx);
    if (err != KMY_OK)
        return err;
    claim.account_id = c->account_id;
    claim.entry_id = c->entry_id;
    if (c->payment_id)
        KMY_ASSERT(kmy_payment_id_encode(c->payment_id, claim.id));
    kmy_claim_encode(&claim, value);
    return kmy_ledger_row_put(l, KMY_LEDGER_CLAIMS, c->claim, strlen(c->claim), value, sizeof value,
                              ctx);
}

static kmy_err_t account_answer(kmy_ledger_t *l, uint64_t id, kmy_account_t *acc, kmy_errctx_t *ctx)
{
    kmy_account_row_t row;
    if (!acc)
        return KMY_OK;
    kmy_err_t err = kmy_ledger_account_get(l, l->txn, id, &row, ctx);
    return err == KMY_OK ? kmy_ledger_account_fill(l, l->txn, id, &row, acc, ctx) : err;
}

/* --- a payment that we were promised ------------------------------------------------------- */

static kmy_err_t settle_apply(kmy_ledger_t *l, kmy_stored_payment_t *p, kmy_paid_t *c,
                              const char *tx, uint32_t log_index, int64_t now_ns, bool holds,
                              kmy_errctx_t *ctx)
{
    uint8_t was = p->row.state;
    kmy_err_t err = kmy_advance_end(l, p, now_ns, ctx); /* what it owes is paid by the credit */
    if (err == KMY_OK)
        err = paid_apply(l, c, now_ns, ctx);
    if (err == KMY_OK && holds && p->row.query && !p->row.answered)
        err = kmy_hold_make(l, c->account_id, p->row.id, p->row.price_nusd, now_ns, ctx);
    p->account_id = c->account_id;
    p->entry_id = c->entry_id;
    p->row.state = KMY_PAYMENT_SETTLED;
    p->row.changed_ns = now_ns;
    p->row.log_index = log_index;
    memset(p->row.tx, 0, sizeof p->row.tx);
    memcpy(p->row.tx, tx, strlen(tx));
    memset(p->row.reason, 0, sizeof p->row.reason); /* an earlier failure's */
    return err == KMY_OK ? kmy_payment_put_state(l, p, was, ctx) : err;
}

/* *p is not settled.  holds: a query's price is held for it. */
static kmy_err_t settle(kmy_ledger_t *l, kmy_stored_payment_t *p, const char *tx,
                        uint32_t log_index, int64_t now_ns, bool holds, kmy_errctx_t *ctx)
{
    kmy_paid_t c = { .payer = p->row.account,
                     .contract = p->row.contract,
                     .amount_nusd = kmy_payment_amount_nusd(&p->row),
                     .word = "x402",
                     .payment_id = p->row.id };
    kmy_claim_t claim;
    kmy_payment_ref(p, c.ref);
    if (!kmy_claim_key(p->row.chain, tx, log_index, c.claim))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "that is no transaction of %s", p->row.chain);
    kmy_err_t err = claim_get(l, c.claim, &claim, ctx);
    if (err == KMY_OK)
        return KMY_FAIL(ctx, KMY_CONFLICT, "that transfer was credited before");
    if (err == KMY_NOT_FOUND)
        err = paid_check(l, &c, ctx);
    if (err != KMY_OK)
        return err;
    return KMY_SPOILS(l, settle_apply(l, p, &c, tx, log_index, now_ns, holds, ctx), ctx);
}

kmy_err_t kmy_ledger_payment_settle(kmy_ledger_t *l, const char *id, const char *tx,
                                    uint32_t log_index, int64_t now_ns, kmy_payment_row_t *out,
                                    kmy_account_t *acc, kmy_errctx_t *ctx)
{
    kmy_stored_payment_t p;
    kmy_err_t err = kmy_ledger_writable(l, ctx);
    if (err == KMY_OK)
        err = kmy_payment_load(l, l->txn, id, &p, ctx);
    if (err != KMY_OK)
        return err;
    bool before = p.row.state == KMY_PAYMENT_SETTLED;
    if (!before)
        err = settle(l, &p, tx, log_index, now_ns, true, ctx);
    if (err != KMY_OK)
        return err;
    err = kmy_payment_answer_row(l, l->txn, &p, out, ctx);
    if (err == KMY_OK)
        err = account_answer(l, p.account_id, acc, ctx);
    if (!before)
        err = KMY_SPOILS(l, err, ctx);
    return err == KMY_OK && before ? KMY_FAIL(ctx, KMY_DUPLICATE, "this payment was settled before")
                                   : err;
}

/* --- a transfer that somebody else sent ---------------------------------------------------- */

/* Was what was promised under that id what this transfer moved? */
static bool same_promise(const kmy_payment_row_t *r, const kmy_transfer_t *t)
{
    bool evm = strncmp(t->chain, "eip155:", 7) == 0;
    return r->amount_units == t->amount_units && strcmp(r->chain, t->chain) == 0 &&
           strcmp(r->account, t->account) == 0 &&
           (evm ? strcasecmp(r->asset, t->asset) : strcmp(r->asset, t->asset)) == 0;
}

/* A payment that we never saw: made, so that nobody can present its header later. */
static kmy_err_t payment_from(const kmy_transfer_t *t, int64_t now_ns, kmy_stored_payment_t *p,
                              kmy_errctx_t *ctx)
{
    *p = (kmy_stored_payment_t){ .row = { .contract = t->contract,
                                          .amount_units = t->amount_units,
                                          .created_ns = now_ns,
                                          .valid_before_s = INT64_MAX } };
    uint8_t id[KMY_PAYMENT_ID_BYTES_RAW];
    if (!kmy_payment_id_encode(t->payment_id, id))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "a payment id has 32 digits 0-9 a-f");
    memcpy(p->row.id, t->payment_id, sizeof p->row.id);
    memcpy(p->row.account, t->account, sizeof p->row.account);
    memcpy(p->row.chain, t->chain, sizeof p->row.chain);
    memcpy(p->row.asset, t->asset, sizeof p->row.asset);
    return kmy_payment_check(&p->row, ctx);
}

static kmy_err_t plain_credit(kmy_ledger_t *l, const kmy_transfer_t *t, const char *claim,
                              int64_t now_ns, uint64_t *account_id, kmy_errctx_t *ctx)
{
    kmy_paid_t c = { .payer = t->account,
                     .contract = t->contract,
                     .amount_nusd = (int64_t)t->amount_units * 1000,
                     .word = "transfer" };
    memcpy(c.claim, claim, sizeof c.claim);
    kmy_claim_ref(claim, c.ref);
    kmy_err_t err = paid_check(l, &c, ctx);
    if (err != KMY_OK)
        return err;
    err = KMY_SPOILS(l, paid_apply(l, &c, now_ns, ctx), ctx);
    *account_id = c.account_id;
    return err;
}

/* Its nonce was used for something else than was promised here: that promise can never be kept, and what moved is credited. */
static kmy_err_t broken_promise(kmy_ledger_t *l, kmy_stored_payment_t *p, const kmy_transfer_t *t,
                                const char *claim, int64_t now_ns, uint64_t *account_id,
                                kmy_errctx_t *ctx)
{
    uint8_t was = p->row.state;
    kmy_err_t err = plain_credit(l, t, claim, now_ns, account_id, ctx);
    if (err != KMY_OK || !kmy_payment_may_follow(was, KMY_PAYMENT_FAILED))
        return err;
    p->row.state = KMY_PAYMENT_FAILED;
    p->row.changed_ns = now_ns;
    memset(p->row.reason, 0, sizeof p->row.reason);
    snprintf(p->row.reason, sizeof p->row.reason, "invalid_exact_evm_nonce_already_used");
    err = kmy_advance_end(l, p, now_ns, ctx);
    return KMY_SPOILS(l, err == KMY_OK ? kmy_payment_put_state(l, p, was, ctx) : err, ctx);
}

/* The payment that the nonce names is settled by it. */
static kmy_err_t nonce_credit(kmy_ledger_t *l, const kmy_transfer_t *t, const char *claim,
                              int64_t now_ns, uint64_t *account_id, kmy_errctx_t *ctx)
{
    kmy_stored_payment_t p;
    kmy_err_t err = kmy_payment_load(l, l->txn, t->payment_id, &p, ctx);
    bool fresh = err == KMY_NOT_FOUND;
    if (fresh)
        err = payment_from(t, now_ns, &p, ctx);
    if (err != KMY_OK)
        return err;
    if (!same_promise(&p.row, t))
        return broken_promise(l, &p, t, claim, now_ns, account_id, ctx);
    if (p.row.state == KMY_PAYMENT_SETTLED) {
        *account_id =
            p.account_id; /* a nonce is used once on a chain: a log elsewhere of the same */
        return KMY_FAIL(ctx, KMY_DUPLICATE, "this payment was settled before");
    }
    err = settle(l, &p, t->tx, t->log_index, now_ns, false, ctx);
    if (err == KMY_OK && fresh)
        err = KMY_SPOILS(l, kmy_payment_put_promise(l, &p.row, ctx), ctx);
    *account_id = p.account_id;
    return err;
}

static kmy_err_t transfer_check(kmy_transfer_t *t, char claim[KMY_CLAIM_KEY_BYTES_MAX],
                                kmy_errctx_t *ctx)
{
    char payer[KMY_ACCOUNT_BYTES_MAX];
    if (!kmy_claim_key(t->chain, t->tx, t->log_index, claim))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "that is no transaction of a chain");
    if (!kmy_payer_canonical(t->account, payer))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "sender of a transfer must be CAIP-10");
    memcpy(t->account, payer, sizeof payer);
    if (t->amount_units == 0)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "a credit must be above zero");
    if (t->amount_units > INT64_MAX / 1000)
        return KMY_FAIL(ctx, KMY_OVERFLOW, "the ledger cannot hold that much money");
    return KMY_OK;
}

kmy_err_t kmy_ledger_transfer_credit(kmy_ledger_t *l, const kmy_transfer_t *transfer,
                                     int64_t now_ns, kmy_account_t *acc, kmy_errctx_t *ctx)
{
    kmy_transfer_t t = *transfer;
    char claim_key[KMY_CLAIM_KEY_BYTES_MAX];
    kmy_claim_t claim;
    uint64_t id = 0;
    kmy_err_t err = kmy_ledger_writable(l, ctx);
    if (err == KMY_OK)
        err = transfer_check(&t, claim_key, ctx);
    if (err != KMY_OK)
        return err;
    err = claim_get(l, claim_key, &claim, ctx);
    if (err == KMY_OK) {
        id = claim.account_id;
        err = KMY_FAIL(ctx, KMY_DUPLICATE, "that transfer was credited before");
    } else if (err == KMY_NOT_FOUND && t.payment_id) {
        err = nonce_credit(l, &t, claim_key, now_ns, &id, ctx);
    } else if (err == KMY_NOT_FOUND) {
        err = plain_credit(l, &t, claim_key, now_ns, &id, ctx);
    }
    if (err == KMY_DUPLICATE) {
        uint64_t sender = 0;
        kmy_err_t looked = kmy_payer_find(l, l->txn, t.account, t.contract, &sender, ctx);
        if (looked != KMY_OK)
            return looked;
        if (sender != id)
            return KMY_FAIL(ctx, KMY_CONFLICT, "that transfer was credited to another account");
    }
    if (err != KMY_OK && err != KMY_DUPLICATE)
        return err;
    kmy_err_t told = account_answer(l, id, acc, ctx);
    if (err == KMY_OK)
        told = KMY_SPOILS(l, told, ctx);
    return told == KMY_OK ? err : told;
}
