/* dollar 4/7   in: engine/cashier   out: pay/ledger_payment, and back */
#include "engine/keeper_jobs.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

typedef struct doing {
    kmy_keeper_t *k;
    kmy_ledger_t *ledger;
    kmy_job_t *j;
    int64_t now_ns;
    kmy_errctx_t ctx;
} doing_t;

/* What the ledger lends is copied at once: its next write moves it. */
static void keep_json(kmy_job_t *j)
{
    kmy_payment_row_t *out = &j->row_out;
    KMY_ASSERT(out->json_bytes <= sizeof j->json);
    if (out->json)
        memcpy(j->json, out->json, out->json_bytes);
    out->json = out->json ? j->json : NULL;
}

static kmy_err_t keep_account(doing_t *d)
{
    kmy_job_t *j = d->j;
    bool credited =
        j->row_out.state == KMY_PAYMENT_SETTLED || j->row_out.state == KMY_PAYMENT_REVERSED;
    return credited
               ? kmy_ledger_account_by_name(d->ledger, j->row_out.account, &j->account, &d->ctx)
               : KMY_OK;
}

/* How it stands behind a call that says so in its error alone; a failure to read changes nothing about what was done. */
static kmy_err_t keep_row(doing_t *d, kmy_err_t err)
{
    kmy_err_t looked = kmy_ledger_payment_get(d->ledger, d->j->row.id, &d->j->row_out, NULL);
    if (looked != KMY_OK)
        memset(&d->j->row_out, 0, sizeof d->j->row_out);
    keep_json(d->j);
    return err;
}

static void keep_body(kmy_job_t *j, const void *kept, size_t kept_bytes)
{
    KMY_ASSERT(kept_bytes <= sizeof j->body);
    if (kept)
        memcpy(j->body, kept, kept_bytes);
    j->body_bytes = kept ? (uint32_t)kept_bytes : 0;
}

static kmy_err_t do_reserve(doing_t *d)
{
    kmy_err_t err = kmy_ledger_payment_reserve(d->ledger, &d->j->row, &d->j->row_out, &d->ctx);
    if (err != KMY_OK && err != KMY_DUPLICATE && err != KMY_CONFLICT)
        return err;
    keep_json(d->j);
    kmy_err_t looked = keep_account(d);
    return looked == KMY_OK ? err : looked;
}

static kmy_err_t do_get(doing_t *d)
{
    const void *kept = NULL;
    size_t kept_bytes = 0;
    kmy_err_t err = kmy_ledger_payment_get(d->ledger, d->j->row.id, &d->j->row_out, &d->ctx);
    if (err != KMY_OK)
        return err;
    keep_json(d->j);
    err = keep_account(d);
    if (err == KMY_OK && d->j->row_out.answered)
        err = kmy_ledger_payment_kept(d->ledger, d->j->row.id, d->now_ns, &kept, &kept_bytes,
                                      &d->ctx);
    keep_body(d->j, kept, kept_bytes);
    return err == KMY_NOT_FOUND ? KMY_OK : err;
}

/* Part of a deposit before its settlement.  That the cap, a debt or an earlier one forbids it, or that a record it needs is damaged, is no failure of the submission; only what took
   the batch with it is. */
static kmy_err_t advance(doing_t *d)
{
    kmy_job_t *j = d->j;
    kmy_errctx_t why = { 0 };
    kmy_err_t err = kmy_ledger_payment_advance(d->ledger, j->row.id, j->advance_max_nusd, d->now_ns,
                                               &j->row_out, &j->account, &why);
    if (kmy_ledger_is_broken(d->ledger)) {
        d->ctx = why;
        return err;
    }
    if (err == KMY_CORRUPT)
        kmy_keeper_log_damage(d->k, 0, why.detail);
    if (err == KMY_OK) {
        keep_json(j);
        kmy_keeper_tell_change(d->k, &j->account); /* streams that are paused go on */
    }
    return KMY_OK;
}

/* It may have been taken back, and then who has a lease of the account must give it back. */
static kmy_err_t advance_ended(doing_t *d)
{
    kmy_job_t *j = d->j;
    kmy_err_t err = kmy_ledger_account_by_name(d->ledger, j->row_out.account, &j->account, &d->ctx);
    if (err == KMY_OK)
        kmy_keeper_tell_change(d->k, &j->account);
    return err;
}

static kmy_err_t do_state(doing_t *d)
{
    kmy_job_t *j = d->j;
    if (j->to < KMY_PAYMENT_RESERVED || j->to >= KMY_PAYMENT_SETTLED)
        KMY_ASSERT(j->to ==
                   KMY_PAYMENT_FAILED); /* the others move money: they have verbs of their own */
    kmy_err_t err = kmy_ledger_payment_state(d->ledger, j->row.id, (kmy_payment_state_t)j->to,
                                             &j->row, d->now_ns, &j->row_out, &d->ctx);
    if (err != KMY_OK && err != KMY_CONFLICT)
        return err;
    keep_json(j);
    if (err == KMY_OK && j->to == KMY_PAYMENT_SUBMITTED && j->advance_max_nusd > 0)
        return advance(d);
    if (err == KMY_OK && j->to == KMY_PAYMENT_FAILED && j->row_out.advance_nusd > 0)
        return advance_ended(d);
    kmy_err_t looked = keep_account(d);
    return looked == KMY_OK ? err : looked;
}

static kmy_err_t do_settle(doing_t *d)
{
    kmy_job_t *j = d->j;
    kmy_err_t err = kmy_ledger_payment_settle(d->ledger, j->row.id, j->row.tx, j->row.log_index,
                                              d->now_ns, &j->row_out, &j->account, &d->ctx);
    if (err != KMY_OK && err != KMY_DUPLICATE)
        return err;
    keep_json(j);
    if (err == KMY_OK) {
        d->k->credited_nusd += j->row_out.amount_units * 1000;
        kmy_keeper_tell_change(d->k, &j->account);
    }
    return err;
}

static kmy_err_t do_reverse(doing_t *d)
{
    kmy_job_t *j = d->j;
    kmy_err_t err =
        kmy_ledger_payment_reverse(d->ledger, j->row.id, d->now_ns, &j->account, &d->ctx);
    if (err == KMY_OK)
        kmy_keeper_tell_change(d->k, &j->account);
    return keep_row(d, err);
}

static kmy_err_t do_transfer(doing_t *d)
{
    kmy_job_t *j = d->j;
    kmy_transfer_t t = j->transfer;
    t.payment_id = j->row.id[0] ? j->row.id : NULL;
    kmy_err_t err = kmy_ledger_transfer_credit(d->ledger, &t, d->now_ns, &j->account, &d->ctx);
    if (err == KMY_OK) {
        d->k->credited_nusd += t.amount_units * 1000;
        kmy_keeper_tell_change(d->k, &j->account);
    }
    return t.payment_id ? keep_row(d, err) : err;
}

static kmy_err_t do_answer(doing_t *d)
{
    kmy_job_t *j = d->j;
    const void *kept;
    size_t kept_bytes;
    KMY_ASSERT(j->body_bytes <= sizeof j->body);
    kmy_use_t use = j->use;
    if (j->body_bytes == 0 || use.mode == KMY_MODE_NONE)
        use = (kmy_use_t){ .mode = KMY_MODE_QUERY, .count = 1 };
    kmy_err_t err = kmy_keeper_feed(d->k, use.feed, &use.feed, &d->ctx);
    if (err != KMY_OK)
        return err;
    err = kmy_ledger_payment_answer(d->ledger, j->row.id, &use, j->body_bytes ? j->body : NULL,
                                    j->body_bytes, j->charged_nusd, d->now_ns, &kept, &kept_bytes,
                                    &j->account, &d->ctx);
    if (err == KMY_DUPLICATE)
        keep_body(j, kept, kept_bytes);
    if (err == KMY_OK || err == KMY_DUPLICATE) { /* what it cost stands in the row */
        kmy_err_t looked = kmy_ledger_payment_get(d->ledger, j->row.id, &j->row_out, &d->ctx);
        if (looked != KMY_OK)
            return looked;
        j->row_out.json = NULL;
        j->row_out.json_bytes = 0;
    }
    if (err == KMY_OK) /* what was held is spent, or free again: who is short looks */
        kmy_keeper_tell_change(d->k, &j->account);
    return keep_row(d, err);
}

static kmy_err_t do_nonce(doing_t *d)
{
    return kmy_ledger_spend_nonce(d->ledger, d->j->text, d->j->expires_ns, d->now_ns, &d->ctx);
}

static kmy_err_t do_payer(doing_t *d)
{
    return kmy_ledger_account_of_payer(d->ledger, d->j->row.account, d->j->row.contract,
                                       &d->j->account, &d->ctx);
}

static kmy_err_t do_next_open(doing_t *d)
{
    kmy_err_t err = kmy_ledger_next_open_payment(d->ledger, d->j->row.id, &d->j->row_out, &d->ctx);
    if (err == KMY_OK)
        keep_json(d->j);
    return err;
}

static kmy_err_t do_expire(doing_t *d)
{
    kmy_job_t *j = d->j;
    kmy_err_t err = kmy_ledger_hold_expire(d->ledger, j->expires_ns, d->now_ns, &j->row_out,
                                           &j->account, &d->ctx);
    j->row_out.json = NULL;
    j->row_out.json_bytes = 0;
    if (err == KMY_OK && j->row_out.id[0]) /* it is free: who is short looks */
        kmy_keeper_tell_change(d->k, &j->account);
    return err;
}

static kmy_err_t do_next_settled(doing_t *d)
{
    kmy_job_t *j = d->j;
    kmy_err_t err =
        kmy_ledger_next_settled_payment(d->ledger, j->row.id, j->expires_ns, &j->row_out, &d->ctx);
    j->row_out.json = NULL; /* nobody submits it again */
    j->row_out.json_bytes = 0;
    return err;
}

static void do_job(kmy_keeper_t *k, kmy_job_t *j)
{
    static kmy_err_t (*const verbs[])(doing_t *) = {
        [KMY_JOB_RESERVE] = do_reserve, [KMY_JOB_GET] = do_get,
        [KMY_JOB_STATE] = do_state,     [KMY_JOB_SETTLE] = do_settle,
        [KMY_JOB_REVERSE] = do_reverse, [KMY_JOB_TRANSFER] = do_transfer,
        [KMY_JOB_ANSWER] = do_answer,   [KMY_JOB_NONCE] = do_nonce,
        [KMY_JOB_PAYER] = do_payer,     [KMY_JOB_NEXT_OPEN] = do_next_open,
        [KMY_JOB_EXPIRE] = do_expire,   [KMY_JOB_NEXT_SETTLED] = do_next_settled,
    };
    doing_t d = { .k = k, .ledger = k->ledger, .j = j, .now_ns = kmy_wall_ns() };
    KMY_ASSERT(j->kind < sizeof verbs / sizeof verbs[0] && verbs[j->kind]);
    memset(&j->row_out, 0, sizeof j->row_out);
    memset(&j->account, 0, sizeof j->account);
    kmy_err_t err = verbs[j->kind](&d);
    if (err == KMY_CORRUPT && !kmy_ledger_is_broken(k->ledger))
        kmy_keeper_log_damage(k, 0, d.ctx.detail);
    j->err = (int32_t)err;
    snprintf(j->detail, sizeof j->detail, "%s", err == KMY_OK ? "" : d.ctx.detail);
}

void kmy_keeper_collect_jobs(kmy_keeper_t *k)
{
    k->jobs_count = 0;
    while (k->jobs_count < KMY_JOBS &&
           kmy_queue_pop(k->topology->cashier_keeper, &k->jobs[k->jobs_count])) {
        KMY_ASSERT(k->jobs[k->jobs_count] < KMY_JOBS);
        k->jobs_count++;
    }
}

void kmy_keeper_do_job(kmy_keeper_t *k, size_t i)
{
    do_job(k, &k->topology->jobs[k->jobs[i]]);
}

void kmy_keeper_fail_job(kmy_keeper_t *k, size_t i, kmy_err_t err, const kmy_errctx_t *ctx)
{
    kmy_job_t *j = &k->topology->jobs[k->jobs[i]];
    j->err = (int32_t)err;
    snprintf(j->detail, sizeof j->detail, "%s", ctx->detail);
}

void kmy_keeper_send_jobs(kmy_keeper_t *k, kmy_err_t err, const kmy_errctx_t *ctx)
{
    for (size_t i = 0; i < k->jobs_count; i++) {
        if (err != KMY_OK)
            kmy_keeper_fail_job(k, i, KMY_IO, ctx);
        bool pushed = kmy_queue_push(k->topology->keeper_cashier, &k->jobs[i]);
        KMY_ASSERT(pushed); /* as many places as jobs */
    }
    if (k->jobs_count > 0)
        kmy_wake_signal(&k->topology->cashier_wake);
    k->jobs_count = 0;
}
