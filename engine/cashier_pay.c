/* dollar 4/7 and 7/7   in: engine/cashier_verify   out: engine/keeper, engine/cashier_ask

   The life of a payment.  pay/settle decides what comes next; what it wants kept is with the keeper before it is done. */
#include "engine/cashier_inside.h"

#include "base/money.h"

#include <stdio.h>
#include <string.h>

static void do_action(kmy_cashier_t *c, kmy_case_t *k);

static void copy_row(kmy_case_t *k, const kmy_job_t *job)
{
    uint32_t json_bytes = k->row.json_bytes;
    k->row = job->row_out;
    k->account = job->account;
    k->row.json = k->json;
    k->row.json_bytes = json_bytes;
}

static void log_state(const kmy_case_t *k)
{
    char reason[KMY_LOG_TEXT_BYTES];
    const kmy_payment_row_t *r = &k->row;
    kmy_log(KMY_LOG_INFO, "cashier", "payment %s: %s%s%s%s%s", r->id,
            kmy_payment_state_name((kmy_payment_state_t)r->state), r->tx[0] ? ", transaction " : "",
            r->tx, r->reason[0] ? ": " : "", kmy_log_text(r->reason, strlen(r->reason), reason));
}

static void count_advance(kmy_cashier_t *c, const kmy_case_t *k)
{
    char usd[KMY_NUSD_BYTES_MAX];
    KMY_COUNT(c->metrics, payment_advanced_nusd_total, (uint64_t)k->row.advance_nusd);
    kmy_nusd_format(k->row.advance_nusd, usd);
    kmy_log(KMY_LOG_INFO, "cashier", "payment %s: %s USD credited in advance", k->row.id, usd);
}

/* --- what the ledger says of it -------------------------------------------------------------------- */

static void begin_settling(kmy_cashier_t *c, kmy_case_t *k)
{
    const kmy_settle_terms_t terms = {
        .solana = k->entry.family == KMY_PAY_SOLANA,
        .has_rpc = k->net->rpc[0] != 0,
        .ask_verify =
            k->entry.family == KMY_PAY_EVM && k->net->rpc[0] != 0 && !k->funded, /* the balance */
        .own = k->net->settler != NULL,
        .confirmations = (uint32_t)k->net->confirmations,
        .created_s = k->row.created_ns / KMY_NS_PER_S,
        .valid_before_s = k->row.valid_before_s,
    };
    k->settling = true;
    kmy_settle_init(&k->settle, &terms, (kmy_payment_state_t)k->row.state, k->row.from_block,
                    k->row.tx, k->row.reason);
    kmy_pay_event(c, k, &(kmy_settle_event_t){ .kind = KMY_SETTLE_EV_START });
    if (k->kind == KMY_CASE_PAYMENT && k->retry)
        kmy_pay_again(c, k);
}

void kmy_pay_go_on(kmy_cashier_t *c, kmy_case_t *k)
{
    if (k->row.state > KMY_PAYMENT_VERIFIED)
        kmy_cashier_expose(c, k);
    switch (k->row.state) {
    case KMY_PAYMENT_SETTLED:
        kmy_end_settled(c, k);
        return;
    case KMY_PAYMENT_REVERSED:
        kmy_end_refuse(c, k, KMY_CONFLICT, "invalid_transaction_state",
                       "the chain took this payment back");
        return;
    case KMY_PAYMENT_FAILED:
        if (k->late) { /* what is said of it in the ledger is the last word for the payer */
            snprintf(k->settle.reason, sizeof k->settle.reason, "%s", k->row.reason);
            kmy_end_failed(c, k);
            kmy_case_free(c, k);
            return;
        }
        k->retry = true;
        begin_settling(c, k);
        return;
    default:
        begin_settling(c, k);
    }
}

static void named(kmy_cashier_t *c, kmy_case_t *k, kmy_job_t *job)
{
    snprintf(k->payer_account, sizeof k->payer_account, "%s",
             job->err == KMY_OK ? job->account.name : k->row.account);
    kmy_pay_go_on(c, k);
}

/* A payer who has paid on another chain has an account of that name: whoever is told "pending" has a token for it. */
static void name_payer(kmy_cashier_t *c, kmy_case_t *k)
{
    kmy_job_t *job = kmy_case_job(c, k, KMY_JOB_PAYER, false);
    if (job)
        kmy_case_send(c, k, job, named);
}

static void reserved(kmy_cashier_t *c, kmy_case_t *k, kmy_job_t *job)
{
    switch (job->err) {
    case KMY_OK:
        k->row.state = KMY_PAYMENT_RESERVED;
        log_state(k);
        kmy_case_next(c, k, name_payer);
        return;
    case KMY_DUPLICATE: /* of an earlier life, or ended meanwhile */
        copy_row(k, job);
        kmy_pay_go_on(c, k);
        return;
    case KMY_CONFLICT:
        kmy_end_refuse(c, k, KMY_CONFLICT, "",
                       "this payment identifier was used for another payment");
        return;
    case KMY_FULL:
        kmy_end_refuse(c, k, KMY_FULL, "",
                       "this payer has too many payments under way: wait for one of them");
        return;
    default:
        kmy_end_refuse(c, k, job->err == KMY_IO ? KMY_UNAVAILABLE : (kmy_err_t)job->err, "",
                       job->err == KMY_IO ? "the ledger cannot be written: nothing was taken"
                                          : job->detail);
    }
}

static void reserve(kmy_cashier_t *c, kmy_case_t *k)
{
    kmy_job_t *job = kmy_case_job(c, k, KMY_JOB_RESERVE, true);
    if (job)
        kmy_case_send(c, k, job, reserved);
}

void kmy_pay_reserve(kmy_cashier_t *c, kmy_case_t *k)
{
    k->unwritten = false;
    kmy_case_next(c, k, reserve);
}

static void looked_up(kmy_cashier_t *c, kmy_case_t *k, kmy_job_t *job)
{
    if (job->err == KMY_OK) {
        k->unwritten = false;
        copy_row(k, job);
        kmy_pay_go_on(c, k);
    } else if (job->err != KMY_NOT_FOUND) {
        kmy_end_refuse(c, k, KMY_UNAVAILABLE, "", job->detail);
    } else if (k->late) { /* nobody may reserve it any more */
        kmy_end_refuse(c, k, KMY_UNPAID, kmy_pay_reason(KMY_PAY_EVM_BEFORE),
                       "it ends in less than 6 seconds");
    } else if (kmy_settler_refuses(k)) { /* nothing new is begun */
        const char *why = kmy_settler_refuses(k);
        kmy_end_refuse(c, k, KMY_UNAVAILABLE, why, kmy_settler_detail(why));
    } else {
        kmy_funds_begin(c, k);
    }
}

/* One that is there already goes on whatever its payer has by now: that may be what it has paid. */
static void look_up(kmy_cashier_t *c, kmy_case_t *k)
{
    kmy_job_t *job = kmy_case_job(c, k, KMY_JOB_GET, false);
    if (job)
        kmy_case_send(c, k, job, looked_up);
}

void kmy_pay_begin(kmy_cashier_t *c, kmy_case_t *k)
{
    if (k->known_only) {
        kmy_case_next(c, k, kmy_end_known);
        return;
    }
    k->row.created_ns = k->row.changed_ns = kmy_wall_ns();
    kmy_case_enter(c, k);
    k->unwritten = k->late || k->net->rpc[0];
    kmy_case_next(c, k, k->unwritten ? look_up : reserve);
}

/* --- what pay/settle says ---------------------------------------------------------------------------- */

static void saved(kmy_cashier_t *c, kmy_case_t *k, kmy_job_t *job)
{
    if (job->err == KMY_OK) {
        bool news = k->row.state != k->settle.state;
        copy_row(k, job);
        if (news)
            log_state(k);
        if (job->advance_max_nusd > 0 && k->row.advance_open)
            count_advance(c, k);
        do_action(c, k);
        return;
    }
    if (job->err ==
        KMY_CONFLICT) { /* a transfer that was claimed by its sender settled it meanwhile */
        copy_row(k, job);
        k->settling = false;
        if (job->row_out.state == KMY_PAYMENT_SETTLED) {
            kmy_pay_go_on(c, k);
            return;
        }
        kmy_log(KMY_LOG_ERROR, "cashier", "payment %s is %s, which nobody here made it", k->row.id,
                kmy_payment_state_name((kmy_payment_state_t)k->row.state));
        kmy_end_refuse(c, k, KMY_INTERNAL, "", "the ledger says otherwise");
        return;
    }
    k->settle = k->before;
    kmy_pay_event(c, k, &(kmy_settle_event_t){ .kind = KMY_SETTLE_EV_SAVE_FAILED });
}

/* The cap of what its payer may have of it before it is settled; 0: this step gives nothing.  Only at the first submission, and only where a chain was asked first: without
   it nobody knows whether the payer has the money at all. */
static int64_t advance_max(const kmy_cashier_t *c, const kmy_case_t *k)
{
    bool first = (k->row.state == KMY_PAYMENT_RESERVED || k->row.state == KMY_PAYMENT_VERIFIED) &&
                 k->settle.state == KMY_PAYMENT_SUBMITTED;
    return first && k->net->rpc[0] && !k->row.query ? c->o.config->payments.advance_nusd : 0;
}

static void save(kmy_cashier_t *c, kmy_case_t *k)
{
    bool anew = k->row.state == KMY_PAYMENT_FAILED && k->settle.state != KMY_PAYMENT_FAILED;
    kmy_job_t *job = kmy_case_job(c, k, KMY_JOB_STATE, anew);
    if (!job)
        return;
    job->to = k->settle.state;
    job->advance_max_nusd = advance_max(c, k);
    job->row.from_block = k->settle.from_block;
    memcpy(job->row.tx, k->settle.tx, sizeof job->row.tx);
    memcpy(job->row.reason, k->settle.reason, sizeof job->row.reason);
    kmy_case_send(c, k, job, saved);
}

static void timer(kmy_cashier_t *c, kmy_case_t *k)
{
    k->waiting = false;
    kmy_pay_event(c, k, &(kmy_settle_event_t){ .kind = KMY_SETTLE_EV_TIMER });
}

static void credited(kmy_cashier_t *c, kmy_case_t *k, kmy_job_t *job)
{
    kmy_settle_event_t e = { .kind = KMY_SETTLE_EV_SAVE_FAILED };
    if (job->err == KMY_OK || job->err == KMY_DUPLICATE) {
        copy_row(k, job);
        e.kind = KMY_SETTLE_EV_CREDITED;
    } else if (job->err == KMY_CONFLICT) {
        e.kind = KMY_SETTLE_EV_CREDIT_CONFLICT;
        kmy_log(KMY_LOG_ERROR, "cashier", "payment %s: its transfer was credited under another id",
                k->row.id);
    } else {
        kmy_log(KMY_LOG_ERROR, "cashier", "payment %s is settled and cannot be credited yet: %s",
                k->row.id, job->detail);
    }
    kmy_pay_event(c, k, &e);
    if (e.kind == KMY_SETTLE_EV_CREDITED) {
        KMY_COUNT(c->metrics, payment_settled_total, 1);
        if (k->settle.submits == 0) /* somebody else submitted it */
            kmy_cashier_expose(c, k);
        log_state(k);
        kmy_end_settled(c, k);
    }
}

static void credit(kmy_cashier_t *c, kmy_case_t *k)
{
    kmy_job_t *job = kmy_case_job(c, k, KMY_JOB_SETTLE, false);
    if (!job)
        return;
    memcpy(job->row.tx, k->settle.tx, sizeof job->row.tx);
    job->row.log_index = k->settle.log_index;
    kmy_case_send(c, k, job, credited);
}

static void ask(kmy_cashier_t *c, kmy_case_t *k)
{
    kmy_ask(c, k);
}

static void wait_until(kmy_cashier_t *c, kmy_case_t *k, int64_t until_ns)
{
    k->waiting = true;
    kmy_case_later(c, k, timer, until_ns > c->now_ns ? until_ns - c->now_ns : 0);
}

static void do_action(kmy_cashier_t *c, kmy_case_t *k)
{
    const kmy_settle_action_t a = k->action;
    switch (a.kind) {
    case KMY_SETTLE_NONE:
        if (k->row.state != KMY_PAYMENT_FAILED)
            return; /* settled: credited() goes on */
        if (k->retry && k->settle.phase == KMY_SETTLE_ASLEEP) {
            k->retry = false;
            kmy_pay_event(c, k, &(kmy_settle_event_t){ .kind = KMY_SETTLE_EV_RETRY });
            return;
        }
        kmy_end_failed(c, k);
        kmy_case_free(c, k);
        return;
    case KMY_SETTLE_WAIT:
        wait_until(c, k, a.until_ns);
        if (k->retry)
            kmy_pay_again(c, k);
        return;
    case KMY_SETTLE_FAIL:
        KMY_COUNT(c->metrics, payment_failed_total, 1);
        kmy_end_failed(c, k);
        k->retry = false; /* whoever sent it again meanwhile has this answer */
        if (a.final || a.until_ns == 0)
            kmy_case_free(c, k);
        else
            wait_until(c, k, a.until_ns);
        return;
    case KMY_SETTLE_CREDIT:
        kmy_case_next(c, k, credit);
        return;
    default:
        kmy_case_next(c, k, ask);
    }
}

void kmy_pay_event(kmy_cashier_t *c, kmy_case_t *k, const kmy_settle_event_t *e)
{
    kmy_settle_now_t now = { c->now_ns, c->now_s };
    kmy_settle_t before = k->settle;
    kmy_settle_action_t a = kmy_settle_step(&k->settle, e, now);
    if (a.kind == KMY_SETTLE_SUBMIT && c->draining) {
        k->settle =
            before; /* nothing is submitted any more: the next life goes on from what the ledger has */
        return;
    }
    if (a.kind == KMY_SETTLE_NONE && !a.save && k->settle.phase != KMY_SETTLE_ASLEEP &&
        k->settle.phase != KMY_SETTLE_OVER)
        return; /* what was asked for stays asked for */
    k->action = a;
    if (a.save) {
        k->before = before;
        kmy_case_next(c, k, save);
    } else {
        do_action(c, k);
    }
}

/* The payer sent it again: one that failed is tried again, now or when what is under way has ended. */
void kmy_pay_again(kmy_cashier_t *c, kmy_case_t *k)
{
    kmy_settle_phase_t phase = k->settle.phase;
    k->retry = false;
    if (!k->settling || k->settle.state != KMY_PAYMENT_FAILED)
        return; /* it is under way */
    if (k->settle.submits >= KMY_SETTLE_SUBMITS_MAX || kmy_settler_refuses(k)) {
        kmy_end_failed(c, k);
        return;
    }
    bool questions = phase == KMY_SETTLE_PROBING || phase == KMY_SETTLE_LOOKING ||
                     phase == KMY_SETTLE_SEARCHING; /* there it changes only what comes of them */
    if (!questions && !k->waiting) {
        k->retry = true; /* something is being written: after that */
        return;
    }
    k->waiting = false;
    kmy_pay_event(c, k, &(kmy_settle_event_t){ .kind = KMY_SETTLE_EV_RETRY });
}
