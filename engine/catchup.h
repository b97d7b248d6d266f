/* catchup: a subscription that begins, or goes on, before the first tick its feed's log holds: history first, then the log.  tick 5/8, from the other end

   Its cursor says all: below the log's first offset the next ticks are asked of the history reader (engine/history), a chunk at a time, encoded here
   into a piece of a log of this connection alone, and gathered, charged and settled from there like any others; from the log's first
   offset on, the log serves.  So nothing comes twice, nothing is left out, and what history has lost is a gap that says so.

   Bounded: one chunk (KMY_CATCHUP_BYTES_MAX of frames) for a connection, whatever it subscribes to; KMY_HISTORY_CHUNKS asks of a shard at a time,
   connections in turn, and of each connection its subscriptions in turn.  Until it has caught up once, a subscription is not slow: what it lags is history. */
#ifndef KMY_ENGINE_CATCHUP_H
#define KMY_ENGINE_CATCHUP_H

#include "engine/shard_types.h"

void kmy_catchup_init(kmy_shard_t *s);

/* The cursor was set to something old, or time went by while the session was paused. */
static inline void kmy_catchup_begin(kmy_sub_t *sub)
{
    sub->past = true;
    sub->past_seq = 0;
}

/* Where a subscription that is `past` reads now: its chunk, or the live log; NULL: it waits for a chunk and is pended when that is there.  What it returns
   stays as it is until the connection's sends are settled. */
const kmy_feedlog_t *kmy_catchup_log(kmy_shard_t *s, kmy_conn_t *c, uint32_t sub);

/* The chunk that c holds, while sends of it are not settled. */
const kmy_feedlog_t *kmy_catchup_chunk(const kmy_conn_t *c);

/* Before a subscription is freed; before a connection is. */
void kmy_catchup_forget(kmy_shard_t *s, kmy_conn_t *c, uint32_t sub);
void kmy_catchup_free(kmy_shard_t *s, kmy_conn_t *c);

/* Each turn: takes a few answers (how many), and after the sends: asks for what is wanted. */
uint32_t kmy_catchup_turn(kmy_shard_t *s);
void kmy_catchup_ask(kmy_shard_t *s);

#endif
