/* dollar 4/7   in: engine/cashier_pay   out: engine/slips (shard)

   How a payment ends, and what those are told who wait for it. */
#include "engine/cashier_inside.h"

#include "wire/base58.h"

#include <stdio.h>
#include <string.h>

static void put_payer(const kmy_case_t *k, char out[48])
{
    char text[KMY_BASE58_KEY_BYTES_MAX] = "";
    if (k->entry.family == KMY_PAY_EVM)
        kmy_evm_address_text(k->row.payer, text);
    else
        kmy_base58_encode(k->row.payer, KMY_SOLANA_KEY_BYTES, text);
    snprintf(out, 48, "%s", text);
}

static void fill_names(const kmy_case_t *k, kmy_slip_t *s)
{
    const kmy_payment_row_t *r = &k->row;
    memcpy(s->payment_id, r->id, sizeof s->payment_id);
    snprintf(s->state, sizeof s->state, "%s",
             kmy_payment_state_name((kmy_payment_state_t)r->state));
    snprintf(s->network, sizeof s->network, "%s", r->chain);
    snprintf(s->tx, sizeof s->tx, "%s", r->tx);
    s->paid_version = r->version;
    put_payer(k, s->payer);
}

/* --- refused before it was ours ------------------------------------------------------------------ */

static void fill_refused(kmy_cashier_t *c, kmy_case_t *k, kmy_slip_t *s)
{
    (void)c;
    s->result = KMY_SLIP_REFUSED;
    s->err = (int32_t)k->refusal.err;
    s->paid_version = k->row.version;
    snprintf(s->network, sizeof s->network, "%s", k->row.chain);
    put_payer(k, s->payer);
    snprintf(s->reason, sizeof s->reason, "%s", k->refusal.reason);
    snprintf(s->detail, sizeof s->detail, "%s", k->refusal.detail);
}

void kmy_end_refuse(kmy_cashier_t *c, kmy_case_t *k, kmy_err_t err, const char *reason,
                    const char *detail)
{
    k->refusal.err = err;
    k->refusal.reason = reason;
    k->refusal.detail = detail;
    kmy_cashier_answer_case(c, k, fill_refused);
    kmy_case_free(c, k);
}

/* --- failed ---------------------------------------------------------------------------------------- */

static void fill_failed(kmy_cashier_t *c, kmy_case_t *k, kmy_slip_t *s)
{
    (void)c;
    fill_names(k, s);
    s->result = KMY_SLIP_REFUSED;
    const char *ours = kmy_settler_detail(k->settle.reason); /* our trouble, not the payer's */
    s->err = ours ? KMY_UNAVAILABLE : KMY_UNPAID;
    snprintf(s->state, sizeof s->state, "failed");
    snprintf(s->reason, sizeof s->reason, "%s", k->settle.reason);
    snprintf(s->detail, sizeof s->detail, "%s",
             ours ? ours : "the payment was not settled: nothing is credited");
}

void kmy_end_failed(kmy_cashier_t *c, kmy_case_t *k)
{
    kmy_cashier_answer_case(c, k, fill_failed);
}

/* --- settled --------------------------------------------------------------------------------------- */

static void fill_settled(kmy_cashier_t *c, kmy_case_t *k, kmy_slip_t *s)
{
    (void)c;
    const kmy_payment_row_t *r = &k->row;
    fill_names(k, s);
    snprintf(s->account, sizeof s->account, "%s", r->account);
    s->credited_nusd = (int64_t)r->amount_units * 1000;
    s->balance_nusd = k->account.balance_nusd;
    s->charged_nusd = r->price_nusd;
    s->result = KMY_SLIP_DONE;
    if (s->kind == KMY_SLIP_QUERY && !r->query) {
        s->result = KMY_SLIP_REFUSED;
        s->err = KMY_CONFLICT;
        snprintf(s->detail, sizeof s->detail,
                 "this payment is on its account already: ask with the account's token");
    } else if (s->kind == KMY_SLIP_DEPOSIT && r->query) {
        s->result = KMY_SLIP_REFUSED;
        s->err = KMY_CONFLICT;
        snprintf(s->detail, sizeof s->detail,
                 "this payment pays for a request, not for an account");
    }
}

const char *kmy_end_used(const kmy_payment_row_t *r)
{
    return r->released ? "no answer is kept for this payment: its money is on the payer's account, "
                         "less what was charged there; sign in for its token at POST /v1/tokens"
                       : "this payment was used, and its answer is not kept any more";
}

/* A query that was answered before gets the same bytes, as long as they are kept. */
static void fill_again(kmy_cashier_t *c, kmy_case_t *k, kmy_slip_t *s)
{
    fill_settled(c, k, s);
    if (s->result != KMY_SLIP_DONE)
        return;
    if (k->kept_job->err == KMY_OK && k->kept_job->body_bytes > 0) {
        s->result = KMY_SLIP_AGAIN;
        s->body_bytes = k->kept_job->body_bytes;
        memcpy(s->body, k->kept_job->body, s->body_bytes);
    } else {
        s->result = KMY_SLIP_REFUSED;
        s->err = KMY_CONFLICT;
        snprintf(s->detail, sizeof s->detail, "%s", kmy_end_used(&k->row));
    }
}

static void kept(kmy_cashier_t *c, kmy_case_t *k, kmy_job_t *job)
{
    if (job->err == KMY_OK) {
        k->row = job->row_out;
        k->row.json = k->json;
        k->row.json_bytes = 0;
        k->account = job->account;
    }
    k->kept_job = job;
    kmy_cashier_answer_case(c, k, fill_again);
    k->kept_job = NULL;
    kmy_case_free(c, k);
}

static void ask_kept(kmy_cashier_t *c, kmy_case_t *k)
{
    kmy_job_t *job = kmy_case_job(c, k, KMY_JOB_GET, false);
    if (job)
        kmy_case_send(c, k, job, kept);
}

/* Paid, and its request did not come for the answer in time (cashier_holds.c gives back what is held; a restart did that, too). */
static bool is_over(const kmy_cashier_t *c, const kmy_payment_row_t *r)
{
    return r->state == KMY_PAYMENT_SETTLED && r->query && !r->answered &&
           r->changed_ns <= kmy_wall_ns() - c->o.hold_ns;
}

static void gave_up(kmy_cashier_t *c, kmy_case_t *k, kmy_job_t *job)
{
    if (job->err == KMY_OK || job->err == KMY_DUPLICATE)
        kmy_case_next(c, k, ask_kept); /* what is said of it from now on */
    else
        kmy_end_refuse(c, k, KMY_UNAVAILABLE, "", job->detail);
}

static void give_up(kmy_cashier_t *c, kmy_case_t *k)
{
    kmy_job_t *job = kmy_case_job(c, k, KMY_JOB_ANSWER, false);
    if (job)
        kmy_case_send(c, k, job, gave_up);
}

static void fill_nothing(kmy_cashier_t *c, kmy_case_t *k, kmy_slip_t *s)
{
    (void)c;
    (void)k;
    s->result = KMY_SLIP_NOT_FOUND;
}

static void looked_up(kmy_cashier_t *c, kmy_case_t *k, kmy_job_t *job)
{
    const kmy_payment_row_t *r = &job->row_out;
    if (job->err == KMY_OK && r->state == KMY_PAYMENT_SETTLED && r->query && r->answered) {
        kept(c, k, job);
        return;
    }
    if (job->err == KMY_OK && is_over(c, r)) {
        k->row = *r;
        k->row.json = k->json;
        kmy_case_next(c, k, give_up);
        return;
    }
    kmy_cashier_answer_case(c, k, fill_nothing);
    kmy_case_free(c, k);
}

void kmy_end_known(kmy_cashier_t *c, kmy_case_t *k)
{
    kmy_job_t *job = kmy_case_job(c, k, KMY_JOB_GET, false);
    if (job)
        kmy_case_send(c, k, job, looked_up);
}

void kmy_end_settled(kmy_cashier_t *c, kmy_case_t *k)
{
    if (k->row.query && k->row.answered) {
        kmy_case_next(c, k, ask_kept);
        return;
    }
    bool now = k->settling && k->settle.state == KMY_PAYMENT_SETTLED;
    if (!now && is_over(c, &k->row)) {
        kmy_case_next(c, k, give_up);
        return;
    }
    kmy_cashier_answer_case(c, k, fill_settled);
    if (now)
        kmy_watch_begin(c, k);
    else
        kmy_case_free(c, k);
}
