/* dollar 4/7 and 7/7   in: engine/slips (shard)   out: engine/keeper, facilitators and chains, and back */
/* cashier: the thread that takes payments: it checks what is presented, has it settled, asks the chain what became of it, and answers the shard.

   It holds no money and no truth: whatever must be remembered is with the keeper before the cashier acts on it, so that it may die at any instant: at
   the next start it asks the keeper for every payment that is still open, and the chain what became of each.
   docs/decisions/payments.md has the whole way; slip.h and job.h what it is told and what it asks. */
#ifndef KMY_ENGINE_CASHIER_H
#define KMY_ENGINE_CASHIER_H

#include "base/metrics.h"
#include "engine/config.h"
#include "engine/offers.h"
#include "engine/topology.h"
#include "pay/token.h"

typedef struct kmy_cashier kmy_cashier_t;

/* All borrowed for the thread's life. */
typedef struct kmy_cashier_options {
    const kmy_config_t *config;
    kmy_topology_t *topology;
    kmy_metrics_t *metrics; /* its own */
    const kmy_token_key_t
        *token_key; /* of the start: rotations change tokens, not nonces (kmy_token_mac_keep) */
    const kmy_offers_t *offers; /* where customers sign in to */
    int64_t
        watch_ns; /* between two looks at a settled payment, whether its chain still has it; 0: 15 s */
    int64_t
        hold_ns; /* so long a query that was paid waits for its request; then its price is free; 0: 10 min */
} kmy_cashier_options_t;

/* The keeper must run.  KMY_CONFIG: a file or secret of the configuration; KMY_IO: no thread, no memory. */
kmy_err_t kmy_cashier_start(kmy_cashier_t **out, const kmy_cashier_options_t *options,
                            kmy_errctx_t *ctx);
/* Any thread: all slips that wait for a settlement are answered as pending at once, nothing more is submitted.  What the keeper alone answers still works. */
void kmy_cashier_drain(kmy_cashier_t *c);
/* Drains, waits for the keeper's last answers, joins and frees.  The shards must have stopped, the keeper not.  Calls under way are cut: what they were
   about stays as the ledger has it. */
void kmy_cashier_stop(kmy_cashier_t *c);

#endif
