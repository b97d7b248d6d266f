/* pace: max_hz.  A subscription that wants at most so many ticks a second waits here between two of them.  tick 7/8, before the gather

   A wheel of slots of about a millisecond; a waiting subscription costs nothing per tick, and one step when its time comes.  Then it gets the newest
   tick, and only that one: what it skipped shows as a jump of the offset, is no gap, and is not charged (docs/protocol.md).  Owned by one shard. */
#ifndef KMY_ENGINE_PACE_H
#define KMY_ENGINE_PACE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct kmy_shard kmy_shard_t;
typedef struct kmy_sub kmy_sub_t;

enum {
    KMY_PACE_SHIFT = 20,   /* a slot is 2^20 ns, 1.05 ms: 1,000 Hz becomes 953 */
    KMY_PACE_SLOTS = 1024, /* one round: 1.07 s; who waits longer is passed by */
    KMY_PACE_HZ_MAX = 1000,
    KMY_PACE_PERIOD_S_MAX = 3600,
};

typedef struct kmy_pace {
    uint32_t head[KMY_PACE_SLOTS]; /* subscriptions, linked through pending_next; KMY_NONE: none */
    uint64_t taken[KMY_PACE_SLOTS / 64]; /* a bit per slot that has some */
    uint64_t slot;                       /* absolute; done up to here, itself included */
    uint32_t count;
} kmy_pace_t;

void kmy_pace_init(kmy_pace_t *p, int64_t mono_ns);

/* "max_hz" as sent, mantissa x 10^expo, to slots between two ticks, rounded up so that the rate is never above it.  0 means every tick and is 0 slots.
   false: negative, above KMY_PACE_HZ_MAX, or slower than one in KMY_PACE_PERIOD_S_MAX. */
bool kmy_pace_slots(int64_t mantissa, int expo, uint32_t *slots);

/* Is it too early for this paced subscription?  Then it waits in the wheel, and is pended when its time has come. */
bool kmy_pace_holds(kmy_shard_t *s, uint32_t sub);
/* It was given a tick now. */
void kmy_pace_took(const kmy_shard_t *s, kmy_sub_t *sub);
/* Takes it out of the wheel, before it is freed. */
void kmy_pace_remove(kmy_shard_t *s, uint32_t sub);

/* Once per turn: pends everybody whose time has come and for whom there is something. */
void kmy_pace_turn(kmy_shard_t *s);
/* Monotonic time of the next occupied slot; INT64_MAX: nobody waits. */
int64_t kmy_pace_next_ns(const kmy_pace_t *p);

#endif
