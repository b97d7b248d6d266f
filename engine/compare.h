/* compare: the sources of one feed beside each other: median, deviation in basis points, rank.  Exact integers throughout; pure; any thread. */
#ifndef KMY_ENGINE_COMPARE_H
#define KMY_ENGINE_COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KMY_COMPARE_MAX = 8 }; /* KMY_FEED_SOURCES_MAX */

typedef struct kmy_compare_row {
    int64_t mant; /* price = mant x 10^expo */
    int expo;     /* KMY_DEC_EXPO_MIN .. KMY_DEC_EXPO_MAX */
    int64_t age_ns;
    bool
        fresh; /* within the feed's limit: stale prices do not count for median and range, unless there are no others */

    bool
        has_bps; /* out: false where the median is 0, or the price is out of all proportion to it */
    int64_t
        cbps; /* out: (price - median) / median in hundredths of a basis point, rounded half away from zero */
    uint32_t source; /* the caller's own word */
} kmy_compare_row_t;

typedef struct kmy_compare {
    bool has_median; /* false: no rows, or it does not fit 63 bits */
    int64_t median_mant;
    int median_expo;
    int64_t low_mant, high_mant; /* range of what counts; each row's own price */
    int low_expo, high_expo;
} kmy_compare_t;

/* Ranks rows[0..n), n <= KMY_COMPARE_MAX: those that count first, nearest to the median first, of two as near the younger first.  The median of an even
   number is the exact mean of the two in the middle. */
void kmy_compare(kmy_compare_row_t *rows, size_t n, kmy_compare_t *out);

/* -1, 0, 1: a x 10^ae below, equal to, above b x 10^be. */
int kmy_compare_prices(int64_t a, int ae, int64_t b, int be);

/* Hundredths as a decimal with two digits: "-0.05", "12.30"; terminated. */
#define KMY_COMPARE_BPS_BYTES 32
void kmy_compare_bps_text(int64_t cbps, char out[KMY_COMPARE_BPS_BYTES]);

#endif
