/* uses: what an account used on this shard since its last report, by mode, price book and feed: what a report tells beside the sum.

   dollar 6/7   in: engine/egress_settle, engine/account   out: engine/account (reports), pay/ledger_usage

   Queries are added as they are charged.  A stream costs nothing here: its subscriptions add up what was delivered for their receipts already, and a
   report takes what came since the last one (kmy_sub.told_*).  So the list is made at a report, when a receipt is taken off, when a price changes and when a
   subscription ends, and at no other time.

   A list is ordered (kmy_use_compare) and has as many rows as the account used feeds and modes: 32 bytes each.  Shard thread. */
#ifndef KMY_ENGINE_USES_H
#define KMY_ENGINE_USES_H

#include "engine/shard_types.h"

/* A feed in a list: its idx in the catalog, and one more; 0: several at once. */
static inline uint32_t kmy_use_feed(uint32_t feed)
{
    return feed + 1;
}

/* Adds to the row of that mode, book and feed.  Nothing at all is no use. */
void kmy_uses_add(kmy_uses_t *u, const kmy_use_t *use);
/* Gives up the list. */
void kmy_uses_free(kmy_uses_t *u);

/* Adds what one subscription, or each of the account's, was charged for since it was last taken.  Its ticks were all charged at its present price: who changes
   that takes before. */
void kmy_uses_take(kmy_shard_t *s, kmy_sub_t *sub);
void kmy_uses_take_all(kmy_shard_t *s, kmy_shard_account_t *acc);
/* A run that was sent at the price its subscription had until this submission: apart, and taken already.  There is but one such price: prices are announced
   between submissions. */
void kmy_uses_run(kmy_shard_t *s, kmy_sub_t *sub, uint64_t ticks, int64_t nusd);

/* Moves the list into a report, sums and all.  If that cannot be sent after all, _undo takes it back. */
void kmy_uses_report(kmy_uses_t *u, kmy_ask_t *report);
void kmy_uses_undo(kmy_uses_t *u, kmy_ask_t *report);

#endif
