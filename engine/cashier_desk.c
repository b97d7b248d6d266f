/* dollar 4/7   in: engine/slips (shard)   out: engine/keeper, and back

   What the keeper alone knows: who signs in, how a payment stands, a query's answer. */
#include "engine/cashier_inside.h"

#include "pay/signin.h"
#include "pay/signin_nonce.h"

#include <stdio.h>
#include <string.h>

static void to_keeper(kmy_cashier_t *c, kmy_job_t *job, uint32_t shard, uint32_t slip,
                      void (*done)(kmy_cashier_t *, kmy_job_t *))
{
    kmy_cashier_send(c, job, &(kmy_job_note_t){ .done = done, .shard = shard, .slip = slip });
}

static const kmy_job_note_t *note_of(const kmy_cashier_t *c, const kmy_job_t *job)
{
    return &c->notes[job - c->topology->jobs];
}

static void refuse(kmy_cashier_t *c, const kmy_job_t *job, kmy_err_t err, const char *detail)
{
    const kmy_job_note_t *n = note_of(c, job);
    bool disk = err == KMY_IO;
    kmy_cashier_refuse(c, n->shard, n->slip, disk ? KMY_UNAVAILABLE : err, "",
                       disk ? "the ledger cannot be written now" : detail);
}

/* --- how does it stand? ------------------------------------------------------------------------- */

static void got_state(kmy_cashier_t *c, kmy_job_t *job)
{
    const kmy_job_note_t *n = note_of(c, job);
    kmy_slip_t *s = kmy_cashier_slip(c, n->shard, n->slip);
    const kmy_payment_row_t *r = &job->row_out;
    if (job->err == KMY_NOT_FOUND || job->err == KMY_BAD_INPUT) {
        kmy_cashier_answer(c, n->shard, n->slip, KMY_SLIP_NOT_FOUND);
        return;
    }
    if (job->err != KMY_OK) {
        refuse(c, job, (kmy_err_t)job->err, job->detail);
        return;
    }
    snprintf(s->state, sizeof s->state, "%s",
             kmy_payment_state_name((kmy_payment_state_t)r->state));
    snprintf(s->reason, sizeof s->reason, "%s", r->reason);
    snprintf(s->network, sizeof s->network, "%s", r->chain);
    snprintf(s->tx, sizeof s->tx, "%s", r->tx);
    snprintf(s->account, sizeof s->account, "%s", r->account);
    s->paid_version = r->version;
    if (r->state == KMY_PAYMENT_SETTLED) {
        s->credited_nusd = (int64_t)r->amount_units * 1000;
        s->balance_nusd = job->account.balance_nusd;
    }
    kmy_cashier_answer(c, n->shard, n->slip, KMY_SLIP_DONE);
}

static void state(kmy_cashier_t *c, uint32_t shard, uint32_t slip, kmy_job_t *job)
{
    job->kind = KMY_JOB_GET;
    memcpy(job->row.id, kmy_cashier_slip(c, shard, slip)->payment_id, sizeof job->row.id);
    to_keeper(c, job, shard, slip, got_state);
}

/* --- the answer to a query ------------------------------------------------------------------------ */

static void kept(kmy_cashier_t *c, kmy_job_t *job)
{
    const kmy_job_note_t *n = note_of(c, job);
    kmy_slip_t *s = kmy_cashier_slip(c, n->shard, n->slip);
    bool again = job->err == KMY_DUPLICATE;
    if (job->err != KMY_OK && !again) {
        refuse(c, job, (kmy_err_t)job->err, job->detail);
        return;
    }
    if (again && job->body_bytes == 0) {
        refuse(c, job, KMY_CONFLICT, kmy_end_used(&job->row_out));
        return;
    }
    if (again) { /* what was kept first */
        KMY_ASSERT(job->body_bytes <= sizeof s->body);
        s->body_bytes = job->body_bytes;
        memcpy(s->body, job->body, job->body_bytes);
    }
    s->balance_nusd = job->account.balance_nusd;
    kmy_cashier_answer(c, n->shard, n->slip, again ? KMY_SLIP_AGAIN : KMY_SLIP_DONE);
}

static void answer(kmy_cashier_t *c, uint32_t shard, uint32_t slip, kmy_job_t *job)
{
    const kmy_slip_t *s = kmy_cashier_slip(c, shard, slip);
    job->kind = KMY_JOB_ANSWER;
    memcpy(job->row.id, s->payment_id, sizeof job->row.id);
    if (s->kind == KMY_SLIP_ANSWER) {
        KMY_ASSERT(s->body_bytes > 0 && s->body_bytes <= sizeof job->body);
        job->body_bytes = s->body_bytes;
        job->charged_nusd = s->charged_nusd;
        job->use = s->use;
        memcpy(job->body, s->body, s->body_bytes);
    }
    to_keeper(c, job, shard, slip, kept);
}

/* --- sign-in --------------------------------------------------------------------------------------- */

static void found_payer(kmy_cashier_t *c, kmy_job_t *job)
{
    const kmy_job_note_t *n = note_of(c, job);
    kmy_slip_t *s = kmy_cashier_slip(c, n->shard, n->slip);
    if (job->err == KMY_NOT_FOUND) { /* proven, but it never paid */
        snprintf(s->account, sizeof s->account, "%s", job->row.account);
        kmy_cashier_answer(c, n->shard, n->slip, KMY_SLIP_NOT_FOUND);
        return;
    }
    if (job->err != KMY_OK) {
        refuse(c, job, (kmy_err_t)job->err, job->detail);
        return;
    }
    memcpy(s->account, job->account.name, sizeof s->account);
    s->balance_nusd = job->account.balance_nusd;
    KMY_COUNT(c->metrics, signin_total, 1);
    kmy_cashier_answer(c, n->shard, n->slip, KMY_SLIP_DONE);
}

static void spent_nonce(kmy_cashier_t *c, kmy_job_t *job)
{
    const kmy_job_note_t *n = note_of(c, job);
    if (job->err == KMY_DUPLICATE) {
        refuse(c, job, KMY_UNAUTHENTICATED, "this sign-in was used: ask for a new nonce");
        return;
    }
    if (job->err != KMY_OK) {
        refuse(c, job, (kmy_err_t)job->err, job->detail);
        return;
    }
    job->kind = KMY_JOB_PAYER;
    to_keeper(c, job, n->shard, n->slip, found_payer);
}

static kmy_err_t check_signin(kmy_cashier_t *c, const kmy_slip_t *s, kmy_signin_t *in,
                              int64_t *expires_s, kmy_errctx_t *ctx)
{
    const char *chains[KMY_CONFIG_NETWORKS_MAX];
    kmy_signin_terms_t terms = { .domain = c->o.offers->domain,
                                 .origin = c->o.offers->origin,
                                 .chains = chains,
                                 .chains_count = c->networks_count };
    for (uint32_t i = 0; i < c->networks_count; i++)
        chains[i] = c->networks[i].way.entry.chain;
    kmy_err_t err = kmy_signin_verify(s->header, s->header_bytes, &terms, c->now_s, in, ctx);
    if (err == KMY_OK)
        err = kmy_signin_nonce_check(c->o.token_key, in->nonce, strlen(in->nonce), c->now_s,
                                     expires_s, ctx);
    return err;
}

static void sign_in(kmy_cashier_t *c, uint32_t shard, uint32_t slip, kmy_job_t *job)
{
    const kmy_slip_t *s = kmy_cashier_slip(c, shard, slip);
    kmy_signin_t in;
    kmy_errctx_t ctx = { 0 };
    int64_t expires_s = 0;
    kmy_err_t err = check_signin(c, s, &in, &expires_s, &ctx);
    if (err != KMY_OK) {
        kmy_cashier_give_back(c, job);
        kmy_cashier_refuse(c, shard, slip, err, "", ctx.detail);
        return;
    }
    job->kind = KMY_JOB_NONCE;
    job->expires_ns = expires_s * KMY_NS_PER_S;
    snprintf(job->text, sizeof job->text, "%s", in.nonce);
    memcpy(job->row.account, in.account, sizeof job->row.account);
    to_keeper(c, job, shard, slip, spent_nonce);
}

void kmy_cashier_desk(kmy_cashier_t *c, uint32_t shard, uint32_t slip)
{
    kmy_job_t *job = kmy_cashier_job(c);
    KMY_ASSERT(job); /* slips are taken in only while there are some */
    switch (kmy_cashier_slip(c, shard, slip)->kind) {
    case KMY_SLIP_STATE:
        state(c, shard, slip, job);
        return;
    case KMY_SLIP_ANSWER:
    case KMY_SLIP_RELEASE:
        answer(c, shard, slip, job);
        return;
    default:
        KMY_ASSERT(kmy_cashier_slip(c, shard, slip)->kind == KMY_SLIP_SIGNIN);
        sign_in(c, shard, slip, job);
    }
}
