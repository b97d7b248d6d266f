/* limiter: how often, over all shards together.

   A bucket holds `burst` tokens and gains one each step; it is kept as the one moment at which it will be full again (the generic cell rate
   algorithm, ITU-T I.371 annex A): below `now` it is full, each token taken moves it on by a step.  One 64-bit number, so that shards share it
   without a lock and the limit holds over the whole daemon, not per shard.

   Buckets of foreign names (addresses, accounts) live in tables of a fixed size: sets of eight, found by a keyed hash.  A newcomer takes over the
   bucket of its set that is full soonest; a full bucket says no more than no bucket, so nothing is lost as long as fewer than eight of a set are in
   use at once.  Tolerance: beyond that, and when two shards claim the same bucket in the same instant, a name may get tokens it had spent: at most
   its burst once more per takeover.

   Thread: any, where not said otherwise.  Nothing blocks; only _new allocates.  Times are monotonic nanoseconds, given by the caller. */
#ifndef KMY_ENGINE_LIMITER_H
#define KMY_ENGINE_LIMITER_H

#include "base/err.h"
#include "engine/config.h"
#include "engine/peer.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct kmy_rate {
    int64_t step_ns; /* time to gain one token, at least 1 */
    int64_t burst;   /* tokens of a full bucket, at least 1 */
} kmy_rate_t;
/* `count` tokens per window, `burst` at once. */
static inline kmy_rate_t kmy_rate(int64_t count, int64_t window_ns, int64_t burst)
{
    return (kmy_rate_t){ window_ns / count > 0 ? window_ns / count : 1, burst };
}

/* How a bucket stood after the question. */
typedef struct kmy_verdict {
    bool taken;
    int64_t left;     /* whole tokens */
    int64_t wait_ns;  /* not taken: until it could be; else 0 */
    int64_t reset_ns; /* until it is full */
} kmy_verdict_t;

/* A bucket of one owner (a connection's).  *full_ns 0: a full bucket.  cost above the burst is never taken. */
kmy_verdict_t kmy_bucket_take(int64_t *full_ns, kmy_rate_t rate, int64_t cost, int64_t now_ns);

typedef struct kmy_buckets kmy_buckets_t;
/* names: how many are meant to be told apart at once, rounded up to a power of two; 16 bytes each, pages come as they are used.  NULL: no memory. */
kmy_buckets_t *kmy_buckets_new(size_t names);
void kmy_buckets_free(kmy_buckets_t *t);
/* Takes one token from the bucket of `name` (a keyed hash: kmy_hash). */
kmy_verdict_t kmy_buckets_take(kmy_buckets_t *t, uint64_t name, kmy_rate_t rate, int64_t now_ns);
/* Gives one back that was taken and not used. */
void kmy_buckets_give(kmy_buckets_t *t, uint64_t name, kmy_rate_t rate);

/* What the daemon limits, made once, shared by its shards. */
typedef struct kmy_limiter {
    kmy_rate_t address; /* requests that end without a valid token */
    kmy_rate_t minute;  /* an account's requests to unpaid routes */
    kmy_rate_t hour;
    kmy_rate_t message; /* a session's messages; its bucket is in the connection */
    kmy_buckets_t *addresses;
    kmy_buckets_t *minutes;
    kmy_buckets_t *hours;
    kmy_buckets_t *tokens;   /* those with a rate of their own */
    struct kmy_crowd *crowd; /* connections per address; NULL: not limited */
    kmy_networks_t proxies;  /* whose word on the client's address is taken */
    uint32_t unproven_max;   /* connections that have shown no valid token, all shards together */
    uint32_t handshakes_max; /* TLS handshakes in progress */
    _Atomic uint32_t unproven;
    _Atomic uint32_t handshakes;
} kmy_limiter_t;
/* KMY_CONFIG: trusted_proxies has what is no address; KMY_IO: no memory. */
kmy_err_t kmy_limiter_new(kmy_limiter_t **out, const kmy_config_t *config, kmy_errctx_t *ctx);
void kmy_limiter_free(kmy_limiter_t *l);

typedef enum { KMY_LIMIT_MINUTE, KMY_LIMIT_HOUR } kmy_limit_window_t;
/* Both windows or none: *which says whose verdict it is (the one that refuses, else the one with fewer tokens left). */
kmy_verdict_t kmy_limiter_account(kmy_limiter_t *l, const char *name, int64_t now_ns,
                                  kmy_limit_window_t *which);
/* A token with a rate of its own, by its jti. */
kmy_verdict_t kmy_limiter_token(kmy_limiter_t *l, const char *jti, kmy_rate_t rate, int64_t now_ns);
kmy_verdict_t kmy_limiter_address(kmy_limiter_t *l, const struct in6_addr *addr, int64_t now_ns);
void kmy_limiter_address_give(kmy_limiter_t *l, const struct in6_addr *addr);

/* Connections per address, counted exactly, under a mutex that is held for a few dozen instructions: accepting costs system calls anyway.
   kmy_crowd_enter: false above max (nothing was counted); each true one needs its kmy_crowd_leave.  conns_max: of all addresses together. */
typedef struct kmy_crowd kmy_crowd_t;
kmy_crowd_t *kmy_crowd_new(uint32_t conns_max, uint32_t max);
void kmy_crowd_free(kmy_crowd_t *c);
bool kmy_crowd_enter(kmy_crowd_t *c, const struct in6_addr *addr);
void kmy_crowd_leave(kmy_crowd_t *c, const struct in6_addr *addr);

#endif
