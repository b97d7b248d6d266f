/* dollar 6/7   in: engine/uses (shard)   out: pay/ledger_usage

   What was used: so much of one feed, in one mode, at the prices of one book.  Plain numbers; any thread. */
#ifndef KMY_PAY_USE_H
#define KMY_PAY_USE_H

#include <stdint.h>

/* What was used, as GET /v1/account/usage tells it. */
typedef enum {
    KMY_MODE_NONE, /* no use, or of a time that did not tell */
    KMY_MODE_STREAM,
    KMY_MODE_QUERY, /* one question: a query, a page of history, a comparison */
    KMY_MODE_BATCH, /* an item of a batch or of a snapshot */
    KMY_MODE_PASS,  /* a pass that was bought, and ticks that came by it */
    KMY_MODES
} kmy_mode_t;

/* "stream", "query", "batch", "pass"; "other" for KMY_MODE_NONE. */
static inline const char *kmy_mode_name(kmy_mode_t mode)
{
    static const char *const names[KMY_MODES] = { "other", "stream", "query", "batch", "pass" };
    return names[mode];
}

/* Ordered by mode, book, discount and feed (kmy_use_compare): so what makes one entry of the journal stands together. */
typedef struct kmy_use {
    uint32_t feed;       /* whose number it is, who has it says; 0 in the ledger: several at once */
    uint32_t price_book; /* version; 0: not told */
    uint32_t mode;       /* kmy_mode_t */
    uint32_t discount_percent; /* the customer's, off the prices of that book */
    uint64_t count;            /* ticks, questions or items */
    int64_t nusd;
} kmy_use_t;

static inline int kmy_use_compare(const kmy_use_t *a, const kmy_use_t *b)
{
    if (a->mode != b->mode)
        return a->mode < b->mode ? -1 : 1;
    if (a->price_book != b->price_book)
        return a->price_book < b->price_book ? -1 : 1;
    if (a->discount_percent != b->discount_percent)
        return a->discount_percent < b->discount_percent ? -1 : 1;
    return a->feed < b->feed ? -1 : a->feed > b->feed;
}

#endif
