#include "engine/charges.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

kmy_charges_t *kmy_charges_new(const char *account, uint32_t count_max)
{
    kmy_charges_t *l = calloc(1, sizeof *l + count_max * sizeof l->run[0]);
    if (!l)
        return NULL;
    size_t len = strlen(account);
    KMY_ASSERT(len < sizeof l->account);
    memcpy(l->account, account, len);
    l->count_max = count_max;
    return l;
}

void kmy_charges_add(kmy_charges_t *l, uint32_t feed, uint64_t from, uint64_t to)
{
    if (from >= to)
        return;
    KMY_ASSERT(l->count < l->count_max);
    l->run[l->count++] = (kmy_charged_t){ .from = from, .to = to, .feed = feed };
}

static int by_feed_and_offset(const void *a, const void *b)
{
    const kmy_charged_t *x = a;
    const kmy_charged_t *y = b;
    if (x->feed != y->feed)
        return x->feed < y->feed ? -1 : 1;
    return x->from < y->from ? -1 : x->from > y->from;
}

void kmy_charges_close(kmy_charges_t *l)
{
    qsort(l->run, l->count, sizeof l->run[0], by_feed_and_offset);
    uint32_t kept = 0;
    uint32_t of_feed = 0; /* kept of the present feed: they are the last ones */
    for (uint32_t i = 0; i < l->count; i++) {
        kmy_charged_t run = l->run[i];
        if (kept == 0 || l->run[kept - 1].feed != run.feed)
            of_feed = 0;
        kmy_charged_t *last = of_feed > 0 ? &l->run[kept - 1] : NULL;
        if (last && run.from <= last->to) {
            last->to = run.to > last->to ? run.to : last->to;
            continue;
        }
        if (of_feed == KMY_CHARGES_PER_FEED) { /* the oldest gives way */
            memmove(&l->run[kept - of_feed], &l->run[kept - of_feed + 1],
                    (of_feed - 1) * sizeof l->run[0]);
            kept--;
            of_feed--;
        }
        l->run[kept++] = run;
        of_feed++;
    }
    l->count = kept;
}

/* The first run that is not wholly below (feed, offset). */
static uint32_t find(const kmy_charges_t *l, uint32_t feed, uint64_t offset)
{
    uint32_t lo = 0;
    uint32_t hi = l->count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        const kmy_charged_t *run = &l->run[mid];
        if (run->feed < feed || (run->feed == feed && run->to <= offset))
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

uint64_t kmy_charges_border(const kmy_charges_t *l, uint32_t feed, uint64_t offset, uint64_t n,
                            bool *charged, bool *more)
{
    KMY_ASSERT(n > 0);
    uint32_t i = find(l, feed, offset);
    *more = i < l->count && l->run[i].feed == feed;
    *charged = *more && l->run[i].from <= offset;
    if (!*more)
        return n;
    uint64_t border = *charged ? l->run[i].to : l->run[i].from;
    return border - offset < n ? border - offset : n;
}
