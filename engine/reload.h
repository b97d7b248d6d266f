/* reload: values that change while the daemon runs (engine/config_diff.h says which), from the main thread to each shard.

   A shard reads configuration and prices from copies of its own, and takes new ones over between two turns: within a turn, and so within an answer,
   nothing changes.  Ticks that were published before keep their price, whenever they are delivered; subscribers are told from which offset on the new one
   counts (frame `prices`). */
#ifndef KMY_ENGINE_RELOAD_H
#define KMY_ENGINE_RELOAD_H

#include "engine/shard_types.h"

typedef struct kmy_reload {
    kmy_config_t config; /* live keys are looked at, nothing else; its lists are not ours */
    uint32_t price_book; /* the ledger's version of its prices */
    struct kmy_reload *older;
} kmy_reload_t;

/* Main thread: hands r to the shards, which may look at it until they are joined. */
void kmy_reload_give(kmy_topology_t *t, kmy_reload_t *r);
/* r and all older ones; the shards have ended.  NULL is allowed. */
void kmy_reload_free(kmy_reload_t *r);

/* At a shard's start: its own copies.  false: no memory. */
bool kmy_reload_own(kmy_shard_t *s);
/* c's subscriptions whose price is another than they were told: what is published from now on costs it, and their client is told.  While no send is under
   way. */
void kmy_reload_prices(kmy_shard_t *s, kmy_conn_t *c);
/* Each turn, while no send is under way: takes over what is new. */
void kmy_reload_turn(kmy_shard_t *s);

#endif
