/* pace: ticks by the clock, for every server of bench/fanout that makes them itself; C and C++, one thread, nothing blocks or allocates.

   Tick i is due at start + i x period, in bursts of `gather` where that is above 1 (all of a burst are due when its first one is).  A tick carries the
   wall-clock time it was due, or the time the loop woke for it where that was within a millisecond: a timer's own lateness is not delivery.
   All ticks have one length (offsets of ten digits), that of the daemon's trades. */
#ifndef KMY_BENCH_PACE_H
#define KMY_BENCH_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

enum {
    PACE_TICK_BYTES_MAX = 256,
    PACE_PER_TURN_MAX = 4096, /* a turn of the loop takes no more, however late it is */
    PACE_WOKE_LATE_NS = 1000000,
};

typedef struct pace {
    int64_t start_ns; /* monotonic */
    int64_t wall_minus_mono_ns;
    double period_ns;
    uint64_t gather;
    uint64_t made;
} pace_t;

static inline int64_t pace_clock_ns(clockid_t clock)
{
    struct timespec ts;
    clock_gettime(clock, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static inline int64_t pace_now_ns(void)
{
    return pace_clock_ns(CLOCK_MONOTONIC);
}

/* rate: ticks a second, above 0; gather: 1 or more. */
static inline void pace_begin(pace_t *p, double rate, uint64_t gather)
{
    p->start_ns = pace_now_ns();
    p->wall_minus_mono_ns = pace_clock_ns(CLOCK_REALTIME) - p->start_ns;
    p->period_ns = 1e9 / rate;
    p->gather = gather;
    p->made = 0;
}

/* When the next tick is due, monotonic. */
static inline int64_t pace_due_ns(const pace_t *p)
{
    uint64_t first = p->made - p->made % p->gather;
    return p->start_ns + (int64_t)((double)first * p->period_ns);
}

/* The next tick's text, without terminator in the returned length; 0: none is due. */
static inline size_t pace_tick(pace_t *p, int64_t now_ns, char out[PACE_TICK_BYTES_MAX])
{
    int64_t due_ns = pace_due_ns(p);
    if (due_ns > now_ns)
        return 0;
    uint64_t offset = 1000000000 + p->made++; /* ten digits for months */
    int64_t stamp = p->wall_minus_mono_ns + (now_ns - due_ns < PACE_WOKE_LATE_NS ? now_ns : due_ns);
    int n = snprintf(out, PACE_TICK_BYTES_MAX,
                     "{\"type\":\"tick\",\"feed\":\"SOL/USDT@binance\",\"offset\":%llu,\"kind\":"
                     "\"trade\",\"price\":\"100.1%d\",\"size\":\"1.2345\",\"source\":\"binance\","
                     "\"ts_event\":\"%lld\",\"ts_recv\":\"%lld\"}",
                     (unsigned long long)offset, (int)(offset % 9 + 1),
                     (long long)(stamp / 1000000 * 1000000), (long long)stamp);
    return (size_t)n;
}

#endif
