/* dollar 4/7   in: engine/cashier   out: pay/ledger_payment, and back

   The cashier's jobs (job.h), done inside the keeper's batch; the keeper's thread. */
#ifndef KMY_ENGINE_KEEPER_JOBS_H
#define KMY_ENGINE_KEEPER_JOBS_H

#include "engine/keeper_inside.h"

/* What the cashier has asked so far, KMY_JOBS at most, into k->jobs.  Those of the batch before have been sent. */
void kmy_keeper_collect_jobs(kmy_keeper_t *k);
/* Inside the batch: the i-th of them. */
void kmy_keeper_do_job(kmy_keeper_t *k, size_t i);
/* After the commit: it is answered with that error instead, since nothing of it counts. */
void kmy_keeper_fail_job(kmy_keeper_t *k, size_t i, kmy_err_t err, const kmy_errctx_t *ctx);
/* All answers go back.  err other than KMY_OK: the disk refused, each is answered KMY_IO with that detail, and nothing counts. */
void kmy_keeper_send_jobs(kmy_keeper_t *k, kmy_err_t err, const kmy_errctx_t *ctx);

#endif
