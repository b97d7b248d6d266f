/* tick 7/8   in: engine/shard   out: engine/egress
   dollar 6/7 in: pay/lease (shard)   out: pay/ledger (by way of reports)

   Spends a lease, tick by tick; header-inline; no lock, no system call.  Both ways of the program cross here and nowhere else. */
#ifndef KMY_PAY_METER_H
#define KMY_PAY_METER_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* A slice of one account's balance in the hands of one shard.  Owned by that shard; no other thread looks.
   granted = left + spent, always. */
typedef struct kmy_lease {
    int64_t granted_nusd; /* since the last report */
    int64_t left_nusd;
    int64_t spent_nusd;
    uint64_t ticks_count; /* charged since the last report */
    uint64_t queries_count;
} kmy_lease_t;

static inline void kmy_lease_check(const kmy_lease_t *lease)
{
    KMY_ASSERT(lease->left_nusd >= 0);
    KMY_ASSERT(lease->spent_nusd >= 0);
    KMY_ASSERT(lease->granted_nusd >= lease->spent_nusd); /* so the difference cannot overflow */
    KMY_ASSERT(lease->left_nusd == lease->granted_nusd - lease->spent_nusd);
}

/* price x n; that it fits is the caller's promise (n <= left / price), kept here: a product that wrapped would be a gift. */
static inline int64_t kmy_meter_sum(int64_t price_nusd, uint64_t n)
{
    int64_t sum = 0;
    KMY_ASSERT(price_nusd >= 0);
    KMY_ASSERT(price_nusd == 0 || !__builtin_mul_overflow(price_nusd, n, &sum));
    return sum;
}

/* How many of n items at price_nusd the lease covers. price 0: all. */
static inline uint64_t kmy_meter_affordable(const kmy_lease_t *lease, int64_t price_nusd,
                                            uint64_t n)
{
    KMY_ASSERT(price_nusd >= 0);
    if (price_nusd == 0)
        return n;
    uint64_t can = (uint64_t)(lease->left_nusd / price_nusd);
    return n < can ? n : can;
}

/* Takes n x price; the caller asked kmy_meter_affordable before, so it cannot fail. */
static inline void kmy_meter_take_ticks(kmy_lease_t *lease, int64_t price_nusd, uint64_t n)
{
    int64_t sum = kmy_meter_sum(price_nusd, n);
    KMY_ASSERT(sum <= lease->left_nusd);
    lease->left_nusd -= sum;
    lease->spent_nusd += sum;
    lease->ticks_count += n;
}

/* Does the lease cover one? */
static inline bool kmy_meter_covers(const kmy_lease_t *lease, int64_t price_nusd)
{
    return lease->left_nusd >= price_nusd;
}

/* Takes n x price if the lease covers it; n < 2^63.  false: it does not, and nothing was taken.  The sum is compared without its sign: below zero, as of a
   price below zero, it is more than anybody has. */
static inline bool kmy_meter_take_all(kmy_lease_t *lease, int64_t price_nusd, uint64_t n)
{
    int64_t sum;
    uint64_t left;
    if (__builtin_expect(
            __builtin_mul_overflow(price_nusd, (int64_t)n, &sum) ||
                __builtin_sub_overflow((uint64_t)lease->left_nusd, (uint64_t)sum, &left),
            false))
        return false;
    lease->left_nusd = (int64_t)left;
    lease->spent_nusd += sum;
    lease->ticks_count += n;
    return true;
}

/* Takes as many of n as the lease covers, and returns how many; n >= 1.  A lease nearly always covers them all, and that is seen by a product; the division that
   counts the affordable ones is for the rest. */
static inline uint64_t kmy_meter_take_up_to(kmy_lease_t *lease, int64_t price_nusd, uint64_t n)
{
    if (kmy_meter_take_all(lease, price_nusd, n))
        return n;
    n = kmy_meter_affordable(lease, price_nusd, n);
    kmy_meter_take_ticks(lease, price_nusd, n);
    return n;
}

/* Gives back ticks of which no byte was taken by the socket. */
static inline void kmy_meter_untake_ticks(kmy_lease_t *lease, int64_t price_nusd, uint64_t n)
{
    int64_t sum = kmy_meter_sum(price_nusd, n);
    KMY_ASSERT(sum <= lease->spent_nusd);
    KMY_ASSERT(n <= lease->ticks_count);
    lease->left_nusd += sum;
    lease->spent_nusd -= sum;
    lease->ticks_count -= n;
}

/* One query at price_nusd, all or nothing. */
static inline bool kmy_meter_take_query(kmy_lease_t *lease, int64_t price_nusd)
{
    KMY_ASSERT(price_nusd >= 0);
    if (lease->left_nusd < price_nusd)
        return false;
    lease->left_nusd -= price_nusd;
    lease->spent_nusd += price_nusd;
    lease->queries_count++;
    return true;
}

#endif
