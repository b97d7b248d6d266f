/* subs: subscriptions: which connection follows which feed, and from where.  tick 5/8's fan-out list. */
#ifndef KMY_ENGINE_SUBS_H
#define KMY_ENGINE_SUBS_H

#include "engine/shard_types.h"

typedef struct kmy_resume {
    bool given;
    bool same_epoch;
    uint64_t offset; /* the last one the client holds */
} kmy_resume_t;

typedef struct kmy_sub_options {
    uint8_t
        encoding; /* KMY_ENC_JSON becomes KMY_ENC_JSON_Z where permessage-deflate was negotiated, and the other way round */
    bool snapshot;
    uint32_t pace_slots; /* max_hz (pace.h); 0: every tick */
    bool pass;           /* costs nothing; that there is a pass was checked (passes.h) */
} kmy_sub_options_t;

/* Where a client that holds everything up to `seq` goes on in a feed: behind offset 0 if that is not known any more. */
kmy_resume_t kmy_subs_resume(const kmy_shard_t *s, uint32_t feed, uint64_t seq);

/* Subscribes c to a feed (again: changes nothing and returns the old one).  KMY_NONE: no room. */
uint32_t kmy_subs_add(kmy_shard_t *s, kmy_conn_t *c, uint32_t feed, const kmy_sub_options_t *o,
                      const kmy_resume_t *resume);
/* c's subscription to a feed; KMY_NONE: it has none.  Takes as long as the shorter of the feed's and the connection's list. */
uint32_t kmy_subs_find(const kmy_shard_t *s, const kmy_conn_t *c, uint32_t feed);
/* How many of these feeds c is not subscribed to yet. */
uint32_t kmy_subs_fresh(const kmy_shard_t *s, const kmy_conn_t *c, const uint32_t *feeds,
                        uint32_t count);
void kmy_subs_remove(kmy_shard_t *s, kmy_conn_t *c, uint32_t feed);

/* Puts a new tick into the feed's logs and its last values; the feed is noted as touched. */
void kmy_subs_tick(kmy_shard_t *s, const kmy_tick_t *tick);
/* Marks the subscribers of all touched feeds. */
void kmy_subs_fan_out(kmy_shard_t *s);

/* Frees the logs of a feed that nobody has read for a minute. */
void kmy_subs_close_unused(kmy_shard_t *s, uint32_t feed);

/* Moves the cursor on to `offset`, if that is ahead: a hole that is told before the next tick. */
static inline void kmy_sub_skip(kmy_sub_t *sub, uint64_t offset, uint8_t reason)
{
    if (offset <= sub->cursor)
        return;
    if (!sub->skipped) {
        sub->skipped = true;
        sub->skipped_from = sub->cursor;
        sub->skip_reason = reason;
    }
    sub->cursor = sub->run_from = offset;
}

/* The price that was announced for this offset comes into force; behind kmy_uses_take. */
static inline void kmy_sub_price(kmy_sub_t *sub)
{
    sub->last_price_of = sub->price_of;
    sub->price_nusd = sub->next_price_nusd;
    sub->price_of = sub->next_price_of;
    sub->price_from = 0;
}

/* One frame of a feed in an encoding; out has room for KMY_TICK_JSON_BYTES_MAX. */
size_t kmy_subs_encode(kmy_shard_t *s, kmy_shard_feed_t *f, int enc, const kmy_tick_t *tick,
                       uint8_t *out);
/* A session that was paused for want of money goes on: at the first undelivered tick, out of history if need be. */
void kmy_subs_go_on(kmy_shard_t *s, kmy_conn_t *c);

/* No tick within the feed's limit (or none at all). */
bool kmy_feed_is_stale(const kmy_shard_t *s, uint32_t feed);

#endif
