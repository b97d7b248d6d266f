/* passes: which feeds an account may stream for nothing, and until when; what ends when a pass does.  Shard thread.

   dollar 4/7   in: engine/keeper_pass   out: engine/subs

   The keeper tells them when the account is opened here and when more are bought; they stay with the account's slot.  A subscription of the plan
   "pass" costs nothing a tick (kmy_sub.pass), runs on while its connection is paused for want of money, and never becomes a metered one: when its
   pass ends, it ends, and its client is told. */
#ifndef KMY_ENGINE_PASSES_H
#define KMY_ENGINE_PASSES_H

#include "engine/selection.h"
#include "engine/shard_types.h"

/* A tell of the keeper: these are there now, or last longer. */
void kmy_passes_told(kmy_shard_t *s, kmy_shard_account_t *acc, const kmy_tell_passes_t *p);
/* Has the account one for each of these feeds?  KMY_NO_PASS: it has not; KMY_AGAIN: it may have, the keeper has told something that is not read yet. */
kmy_err_t kmy_passes_check(const kmy_shard_t *s, const kmy_shard_account_t *acc,
                           const kmy_selection_t *sel, kmy_errctx_t *ctx);
/* A JSON array of those that run. */
void kmy_passes_put(const kmy_shard_t *s, const kmy_shard_account_t *acc, kmy_buf_t *b);
/* Ends what has come to its end; at each housekeeping. */
void kmy_passes_turn(kmy_shard_t *s);
/* The slot is given up. */
void kmy_passes_forget(kmy_shard_account_t *acc);

#endif
