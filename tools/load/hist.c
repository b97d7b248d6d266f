#include "tools/load/hist.h"

#include <math.h>
#include <string.h>

void load_hist_clear(load_hist_t *h)
{
    memset(h, 0, sizeof *h);
    h->min_ns = INT64_MAX;
}

void load_hist_merge(load_hist_t *h, const load_hist_t *from)
{
    if (from->count == 0)
        return;
    for (uint32_t i = 0; i < LOAD_HIST_BUCKETS; i++)
        h->counts[i] += from->counts[i];
    h->count += from->count;
    h->min_ns = from->min_ns < h->min_ns ? from->min_ns : h->min_ns;
    h->max_ns = from->max_ns > h->max_ns ? from->max_ns : h->max_ns;
}

int64_t load_hist_top(uint32_t idx)
{
    if (idx < 2 * LOAD_HIST_SUB)
        return idx;
    uint32_t shift = (idx >> LOAD_HIST_SUB_BITS) - 1;
    int64_t base = (int64_t)(idx & (LOAD_HIST_SUB - 1)) + LOAD_HIST_SUB;
    return ((base + 1) << shift) - 1;
}

int64_t load_hist_quantile(const load_hist_t *h, double quantile)
{
    if (h->count == 0)
        return 0;
    double want = ceil(quantile * (double)h->count);
    uint64_t rank = want < 1 ? 1 : want > (double)h->count ? h->count : (uint64_t)want;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < LOAD_HIST_BUCKETS; i++) {
        seen += h->counts[i];
        if (seen >= rank)
            return load_hist_top(i) < h->max_ns ? load_hist_top(i) : h->max_ns;
    }
    return h->max_ns;
}
