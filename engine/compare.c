#include "engine/compare.h"

#include "base/decimal.h"
#include "base/err.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

typedef __int128 wide_t;

/* A 19-digit mantissa at a common exponent, times 10^6 for the division, must stay below 1.7 x 10^38: 13 digits are left for exponents that
   differ.  Prices of one thing differ by far less. */
enum { DIGITS_MAX = 12 };
#define CBPS_PER_ONE 1000000 /* hundredths of a basis point */

/* mant x 10^(expo - to); false: too far apart. */
static bool widen(int64_t mant, int expo, int to, wide_t *out)
{
    if (expo < to || expo - to > DIGITS_MAX)
        return false;
    *out = mant;
    for (int i = to; i < expo; i++)
        *out *= 10;
    return true;
}

int kmy_compare_prices(int64_t a, int ae, int64_t b, int be)
{
    while (ae != be && a != 0 && b != 0) {
        /* The larger exponent comes down by a digit as long as there is room; without room its magnitude is the larger one. */
        int64_t *up = ae > be ? &a : &b;
        if (*up > INT64_MAX / 10 || *up < INT64_MIN / 10) {
            bool above = *up > 0;
            return (up == &a) == above ? 1 : -1;
        }
        *up *= 10;
        (*(ae > be ? &ae : &be))--;
    }
    return a < b ? -1 : a > b;
}

static int by_price(const void *pa, const void *pb)
{
    const kmy_compare_row_t *a = *(kmy_compare_row_t *const *)pa;
    const kmy_compare_row_t *b = *(kmy_compare_row_t *const *)pb;
    return kmy_compare_prices(a->mant, a->expo, b->mant, b->expo);
}

/* The exact mean of two prices; false: it does not fit. */
static bool mean(const kmy_compare_row_t *a, const kmy_compare_row_t *b, int64_t *mant, int *expo)
{
    int to = a->expo < b->expo ? a->expo : b->expo;
    wide_t va;
    wide_t vb;
    if (!widen(a->mant, a->expo, to, &va) || !widen(b->mant, b->expo, to, &vb))
        return false;
    wide_t sum = (va + vb) * 5; /* half of it, one digit further down */
    to--;
    while (sum != 0 && sum % 10 == 0) {
        sum /= 10;
        to++;
    }
    if (sum > INT64_MAX || sum < -INT64_MAX || to < KMY_DEC_EXPO_MIN)
        return false;
    *mant = (int64_t)sum;
    *expo = sum == 0 ? 0 : to;
    return true;
}

static void deviate(kmy_compare_row_t *r, const kmy_compare_t *c)
{
    int to = r->expo < c->median_expo ? r->expo : c->median_expo;
    wide_t price;
    wide_t median;
    r->has_bps = c->has_median && c->median_mant != 0 && widen(r->mant, r->expo, to, &price) &&
                 widen(c->median_mant, c->median_expo, to, &median);
    if (!r->has_bps)
        return;
    wide_t down = median < 0 ? -median : median;
    wide_t up = (price - median) * CBPS_PER_ONE;
    wide_t cbps = (up + (up < 0 ? -(down / 2) : down / 2)) / down;
    r->has_bps = cbps < INT64_MAX && cbps > -INT64_MAX;
    r->cbps = r->has_bps ? (int64_t)cbps : 0;
}

static int by_rank(const void *pa, const void *pb)
{
    const kmy_compare_row_t *a = pa;
    const kmy_compare_row_t *b = pb;
    if (a->fresh != b->fresh)
        return a->fresh ? -1 : 1;
    if (a->has_bps != b->has_bps)
        return a->has_bps ? -1 : 1;
    int64_t da = a->cbps < 0 ? -a->cbps : a->cbps;
    int64_t db = b->cbps < 0 ? -b->cbps : b->cbps;
    if (a->has_bps && da != db)
        return da < db ? -1 : 1;
    return a->age_ns < b->age_ns ? -1 : a->age_ns > b->age_ns;
}

void kmy_compare(kmy_compare_row_t *rows, size_t n, kmy_compare_t *out)
{
    kmy_compare_row_t *counts[KMY_COMPARE_MAX];
    size_t k = 0;
    KMY_ASSERT(n <= KMY_COMPARE_MAX);
    *out = (kmy_compare_t){ 0 };
    for (size_t i = 0; i < n; i++) {
        if (rows[i].fresh)
            counts[k++] = &rows[i];
    }
    for (size_t i = 0; k == 0 && i < n; i++)
        counts[i] = &rows[i];
    if (k == 0)
        k = n;
    if (k == 0)
        return;
    qsort(counts, k, sizeof counts[0], by_price);
    out->low_mant = counts[0]->mant;
    out->low_expo = counts[0]->expo;
    out->high_mant = counts[k - 1]->mant;
    out->high_expo = counts[k - 1]->expo;
    out->median_mant = counts[k / 2]->mant;
    out->median_expo = counts[k / 2]->expo;
    out->has_median =
        k % 2 == 1 || mean(counts[k / 2 - 1], counts[k / 2], &out->median_mant, &out->median_expo);
    for (size_t i = 0; i < n; i++)
        deviate(&rows[i], out);
    qsort(rows, n, sizeof rows[0], by_rank);
}

void kmy_compare_bps_text(int64_t cbps, char out[KMY_COMPARE_BPS_BYTES])
{
    uint64_t v = cbps < 0 ? 0 - (uint64_t)cbps : (uint64_t)cbps;
    snprintf(out, KMY_COMPARE_BPS_BYTES, "%s%" PRIu64 ".%02" PRIu64, cbps < 0 ? "-" : "", v / 100,
             v % 100);
}
