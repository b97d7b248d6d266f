/* dollar 7/7   in: engine/keeper   out: pay/ledger_answer (by way of the keeper)

   Queries that were paid and that nobody answered, since whoever asked went away between settlement and answer: after a time their price is free again. */
#include "engine/cashier_inside.h"

static void expired(kmy_cashier_t *c, kmy_job_t *job)
{
    c->holds_asked = false;
    if (job->err == KMY_OK) {
        c->holds_due_ns = c->now_ns; /* there may be more */
        if (job->row_out.id[0])
            kmy_log(KMY_LOG_INFO, "cashier",
                    "payment %s: nobody came for its answer, its price is %s's again",
                    job->row_out.id, job->account.name);
    } else if (job->err == KMY_NOT_FOUND) {
        c->holds_due_ns = c->now_ns + c->o.hold_ns / KMY_HOLD_LOOKS + KMY_ROOM_MS * KMY_NS_PER_MS;
    } else {
        c->holds_due_ns = c->now_ns + KMY_DISK_MS * KMY_NS_PER_MS;
        if (job->err != KMY_IO)
            kmy_log(KMY_LOG_ERROR, "cashier", "a hold cannot be given back: %s", job->detail);
    }
}

int64_t kmy_holds_turn(kmy_cashier_t *c)
{
    if (c->holds_asked || c->draining)
        return INT64_MAX;
    if (c->now_ns < c->holds_due_ns)
        return c->holds_due_ns;
    kmy_job_t *job = kmy_cashier_job(c);
    if (!job)
        return c->now_ns + KMY_ROOM_MS * KMY_NS_PER_MS;
    job->kind = KMY_JOB_EXPIRE;
    job->expires_ns = kmy_wall_ns() - c->o.hold_ns;
    c->holds_asked = true;
    kmy_cashier_send(c, job, &(kmy_job_note_t){ .done = expired });
    return INT64_MAX;
}
