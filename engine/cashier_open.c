/* dollar 7/7   in: engine/keeper   out: engine/cashier_pay

   Payments of an earlier life that have not come to their end, then those that settled so lately that a reorganization may reach them: one after another, as there is room. */
#include "engine/cashier_inside.h"

#include <stdlib.h>
#include <string.h>

static const kmy_cashier_network_t *network_of(const kmy_cashier_t *c, const kmy_payment_row_t *r)
{
    const kmy_cashier_network_t *net = kmy_cashier_network(c, r->chain);
    if (!net)
        return NULL;
    const kmy_pay_entry_t *e = &net->way.entry;
    bool same = e->family == KMY_PAY_EVM ? strcasecmp(e->asset, r->asset) == 0
                                         : strcmp(e->asset, r->asset) == 0;
    return same ? net : NULL;
}

static void resume(kmy_cashier_t *c, const kmy_payment_row_t *row)
{
    const kmy_cashier_network_t *net = network_of(c, row);
    if (!net || !row->json || row->json_bytes > KMY_PAYMENT_BYTES_MAX) {
        kmy_log(KMY_LOG_WARN, "cashier",
                "payment %s is open and cannot be gone on with: %s is not configured", row->id,
                net ? "what was presented is gone, or it" : "its network");
        return;
    }
    kmy_case_t *k = kmy_case_take(c, KMY_CASE_PAYMENT);
    char *json = k ? malloc(row->json_bytes + 1) : NULL;
    if (!json) {
        if (k)
            kmy_case_free(c, k);
        return;
    }
    memcpy(json, row->json, row->json_bytes);
    k->row = *row;
    k->row.json = k->json = json;
    k->net = net;
    k->entry = net->way.entry;
    kmy_pay_entry_price(&k->entry, row->amount_units);
    kmy_case_enter(c, k);
    kmy_log(KMY_LOG_INFO, "cashier", "payment %s is gone on with: it is %s", row->id,
            kmy_payment_state_name((kmy_payment_state_t)row->state));
    kmy_pay_go_on(c, k);
}

/* In 15 minutes 64 blocks stand on a settled payment of Ethereum (12 s each), and more elsewhere. */
#define WATCHED_NS (900 * KMY_NS_PER_S)

static void watch(kmy_cashier_t *c, const kmy_payment_row_t *row)
{
    const kmy_cashier_network_t *net = network_of(c, row);
    if (net && !kmy_case_of(c, row->id))
        kmy_watch_resume(c, net, row);
}

static void next(kmy_cashier_t *c, kmy_job_t *job)
{
    c->open_asked = false;
    if (job->err == KMY_NOT_FOUND) {
        c->settled_done = c->open_done;
        c->open_done = true;
        c->open_id[0] = 0;
    } else if (job->err == KMY_OK) {
        memcpy(c->open_id, job->row_out.id, sizeof c->open_id);
        if (job->kind == KMY_JOB_NEXT_SETTLED && job->row_out.state == KMY_PAYMENT_SETTLED)
            watch(c, &job->row_out);
        else if (job->kind == KMY_JOB_NEXT_OPEN &&
                 !kmy_case_of(c, job->row_out.id)) /* else it was presented again meanwhile */
            resume(c, &job->row_out);
    } else {
        c->open_again_ns = c->now_ns + KMY_DISK_MS * KMY_NS_PER_MS;
    }
}

int64_t kmy_open_turn(kmy_cashier_t *c)
{
    if (c->settled_done || c->open_asked || c->draining ||
        c->cases_count >= KMY_CASES - KMY_CASES_RESERVE)
        return INT64_MAX;
    if (c->now_ns < c->open_again_ns)
        return c->open_again_ns;
    kmy_job_t *job = kmy_cashier_job(c);
    if (!job)
        return c->now_ns + KMY_ROOM_MS * KMY_NS_PER_MS;
    job->kind = c->open_done ? KMY_JOB_NEXT_SETTLED : KMY_JOB_NEXT_OPEN;
    job->expires_ns = kmy_wall_ns() - WATCHED_NS;
    memcpy(job->row.id, c->open_id, sizeof job->row.id);
    c->open_asked = true;
    kmy_cashier_send(c, job, &(kmy_job_note_t){ .done = next });
    return INT64_MAX;
}
