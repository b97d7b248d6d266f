/* hist: a log-linear histogram of nanoseconds (the idea of HdrHistogram, in forty lines).

   Each power of two is cut into 128 equal buckets, so that a value read back is at most 1/128 (0.8 %) too large and never too small;
   below 128 ns every nanosecond has its own.  Values above LOAD_HIST_NS_MAX are counted at the top.  Fixed memory, no allocation;
   one thread at a time. */
#ifndef KMY_TOOLS_LOAD_HIST_H
#define KMY_TOOLS_LOAD_HIST_H

#include <stdint.h>

enum {
    LOAD_HIST_SUB_BITS = 7,
    LOAD_HIST_SUB = 1 << LOAD_HIST_SUB_BITS,
    LOAD_HIST_BITS = 42, /* 2^42 ns = 73 minutes */
    LOAD_HIST_BUCKETS = (LOAD_HIST_BITS - LOAD_HIST_SUB_BITS + 1) * LOAD_HIST_SUB,
};
#define LOAD_HIST_NS_MAX ((INT64_C(1) << LOAD_HIST_BITS) - 1)

typedef struct load_hist {
    uint64_t count;
    int64_t min_ns; /* exact; INT64_MAX while empty */
    int64_t max_ns; /* exact */
    uint64_t counts[LOAD_HIST_BUCKETS];
} load_hist_t;

static inline uint32_t load_hist_bucket(int64_t ns)
{
    if (ns < LOAD_HIST_SUB)
        return ns < 0 ? 0 : (uint32_t)ns;
    if (ns > LOAD_HIST_NS_MAX)
        ns = LOAD_HIST_NS_MAX;
    uint32_t shift = 63 - LOAD_HIST_SUB_BITS - (uint32_t)__builtin_clzll((uint64_t)ns);
    return (shift << LOAD_HIST_SUB_BITS) + (uint32_t)(ns >> shift);
}

/* A negative value counts as 0: a wall clock that was set back. */
static inline void load_hist_add(load_hist_t *h, int64_t ns)
{
    h->counts[load_hist_bucket(ns)]++;
    h->count++;
    h->min_ns = ns < h->min_ns ? ns : h->min_ns;
    h->max_ns = ns > h->max_ns ? ns : h->max_ns;
}

void load_hist_clear(load_hist_t *h);
/* Adds all of `from`. */
void load_hist_merge(load_hist_t *h, const load_hist_t *from);
/* The highest value of bucket idx. */
int64_t load_hist_top(uint32_t idx);
/* The least value that at least `quantile` (0..1) of all do not exceed, at the bucket's upper end but never above max_ns; 0 if empty. */
int64_t load_hist_quantile(const load_hist_t *h, double quantile);

#endif
