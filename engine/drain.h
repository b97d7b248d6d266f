/* drain: sessions end, spread over a window, so that a thousand agents do not come back at once.

   Two occasions: the daemon stops (phase DRAIN), or it is kept quiet (topology->quiet: SIGUSR2, POST /v1/admin/drain): then it goes on, without
   new sessions, until it is told otherwise.  Each stream is told at once (`goaway`, with a time of its own to come back at), gets its ticks until its
   moment has come; then its last receipts, and close 1012.  Shard thread. */
#ifndef KMY_ENGINE_DRAIN_H
#define KMY_ENGINE_DRAIN_H

#include "engine/shard_types.h"

enum {
    KMY_DRAIN_CLOSES_PER_S = 100, /* of a shard: few sessions need no window */
    KMY_DRAIN_RECEIPTS_MS = 2000, /* a disk may be slow; the goodbye must not be late for it */
    KMY_DRAIN_PATIENCE_S = 5,     /* behind the window, for receipts and last words */
    KMY_DRAIN_RETURN_MS = 1000,   /* nobody need come back sooner: the daemon has to start */
};

/* How long the closes of so many connections are spread: limits.drain_window, or less for few. */
static inline int64_t kmy_drain_window(int64_t most_ns, uint32_t conns)
{
    int64_t need_ns = (int64_t)conns * (INT64_C(1000000000) / KMY_DRAIN_CLOSES_PER_S);
    return need_ns < most_ns ? need_ns : most_ns;
}
/* How many of `count` slots are closed after gone_ns. */
static inline uint32_t kmy_drain_due(uint32_t count, int64_t gone_ns, int64_t window_ns)
{
    if (gone_ns >= window_ns)
        return count;
    return (uint32_t)((__int128)count * gone_ns / window_ns);
}
/* When the connection of that number should come back: spread evenly, whatever the numbers. */
static inline int64_t kmy_drain_return_ms(uint64_t seed, uint32_t conn, int64_t window_ns)
{
    uint64_t x = seed + (uint64_t)conn * UINT64_C(0x9e3779b97f4a7c15); /* splitmix64, S. Vigna */
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    x ^= x >> 31;
    return KMY_DRAIN_RETURN_MS + (int64_t)(x % (uint64_t)(window_ns / 1000000 + 1));
}

/* No new sessions at the public door? */
static inline bool kmy_draining(const kmy_shard_t *s)
{
    return s->quiet || atomic_load_explicit(&s->phase, memory_order_relaxed) != KMY_PHASE_RUN;
}

/* Tells all streams, and begins the window. */
void kmy_drain_start(kmy_shard_t *s, const char *reason);
/* Ends those whose moment has come, and HTTP connections that owe nothing.  Returns how many receipts are still on their way. */
uint32_t kmy_drain_turn(kmy_shard_t *s);
/* Each turn: follows topology->quiet. */
void kmy_drain_quiet(kmy_shard_t *s);

/* POST /v1/admin/drain {"on":true|false}; without a body: on. */
bool kmy_drain_verb(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body);

#endif
