/* dollar 6/7   in: engine/cashier_stake   out: engine/query, engine/subs (prices) */
/* discount: what an account's stake takes off its prices here.  Shard thread; nothing blocks.

   The cashier knows stakes (cashier_stake.c); a shard asks when it opens an account, and again when the cashier said so.  An account is not open before its
   discount is known or prices.stake.wait is over, so that the first query has it.  A change while streams are open is told as a change of price is (reload.h):
   what was published before keeps its price.  Prices themselves stand where they stood: in the subscription, and in what a query adds up. */
#ifndef KMY_ENGINE_DISCOUNT_H
#define KMY_ENGINE_DISCOUNT_H

#include "engine/shard_types.h"

/* The ledger knows the account.  true: it is asked for; kmy_account_opened follows.  false: it can be opened now, at its prices so far. */
bool kmy_discount_begin(kmy_shard_t *s, kmy_shard_account_t *acc);
/* A slip came back. */
void kmy_discount_told(kmy_shard_t *s, const kmy_slip_t *slip);
/* At each housekeeping: of the next `count` accounts, those whose time has come are asked for again. */
void kmy_discount_turn(kmy_shard_t *s, uint32_t count);
/* prices.tiers have changed; streams are told by who changed them. */
void kmy_discount_retier(kmy_shard_t *s);

#endif
