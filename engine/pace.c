/* tick 7/8   in: engine/subs   out: engine/egress, at most max_hz times a second */
#include "engine/pace.h"

#include "base/clock.h"
#include "engine/egress.h"

void kmy_pace_init(kmy_pace_t *p, int64_t mono_ns)
{
    *p = (kmy_pace_t){ .slot = (uint64_t)mono_ns >> KMY_PACE_SHIFT };
    for (uint32_t i = 0; i < KMY_PACE_SLOTS; i++)
        p->head[i] = KMY_NONE;
}

bool kmy_pace_slots(int64_t mantissa, int expo, uint32_t *slots)
{
    if (mantissa < 0)
        return false;
    *slots = 0;
    if (mantissa == 0)
        return true;
    /* period = 10^9 / (mantissa x 10^expo) ns = 10^(9 - expo) / mantissa */
    __int128 nominator = 1;
    if (expo > 3 || expo < -18)
        return false;
    for (int i = 0; i < 9 - expo; i++)
        nominator *= 10;
    __int128 period_ns = (nominator + mantissa - 1) / mantissa;
    if (nominator < (__int128)mantissa * (KMY_NS_PER_S / KMY_PACE_HZ_MAX) ||
        period_ns > KMY_PACE_PERIOD_S_MAX * KMY_NS_PER_S)
        return false;
    *slots = (uint32_t)(((int64_t)period_ns + (1 << KMY_PACE_SHIFT) - 1) >> KMY_PACE_SHIFT);
    return true;
}

static uint64_t slot_of(const kmy_shard_t *s)
{
    return (uint64_t)s->now_ns >> KMY_PACE_SHIFT;
}

static void add(kmy_shard_t *s, uint32_t idx)
{
    kmy_pace_t *p = &s->pace;
    kmy_sub_t *sub = &s->subs[idx];
    uint32_t at = sub->due_slot % KMY_PACE_SLOTS;
    sub->paced = true;
    sub->pace_prev = KMY_NONE;
    sub->pending_next = p->head[at];
    if (p->head[at] != KMY_NONE)
        s->subs[p->head[at]].pace_prev = idx;
    p->head[at] = idx;
    p->taken[at / 64] |= UINT64_C(1) << (at % 64);
    p->count++;
}

void kmy_pace_remove(kmy_shard_t *s, uint32_t idx)
{
    kmy_pace_t *p = &s->pace;
    kmy_sub_t *sub = &s->subs[idx];
    if (!sub->paced)
        return;
    uint32_t at = sub->due_slot % KMY_PACE_SLOTS;
    if (sub->pace_prev != KMY_NONE)
        s->subs[sub->pace_prev].pending_next = sub->pending_next;
    else
        p->head[at] = sub->pending_next;
    if (sub->pending_next != KMY_NONE)
        s->subs[sub->pending_next].pace_prev = sub->pace_prev;
    if (p->head[at] == KMY_NONE)
        p->taken[at / 64] &= ~(UINT64_C(1) << (at % 64));
    sub->paced = false;
    sub->pending_next = KMY_NONE;
    p->count--;
}

bool kmy_pace_holds(kmy_shard_t *s, uint32_t idx)
{
    kmy_sub_t *sub = &s->subs[idx];
    if (slot_of(s) >= sub->due_slot) {
        kmy_pace_remove(s, idx); /* due, but the wheel has not come round to it in this turn */
        return false;
    }
    if (!sub->paced)
        add(s, idx);
    return true;
}

void kmy_pace_took(const kmy_shard_t *s, kmy_sub_t *sub)
{
    KMY_ASSERT(!sub->paced); /* it would stand in the wheel under another slot */
    sub->due_slot = slot_of(s) + sub->pace_slots;
}

static void fire(kmy_shard_t *s, uint32_t at, uint64_t now_slot)
{
    uint32_t idx = s->pace.head[at];
    while (idx != KMY_NONE) {
        const kmy_sub_t *sub = &s->subs[idx];
        uint32_t next = sub->pending_next;
        if (sub->due_slot <= now_slot) { /* else of a later round */
            kmy_pace_remove(s, idx);
            if (sub->cursor < s->feeds[sub->feed].log[sub->encoding].next)
                kmy_egress_pend(s, idx);
        }
        idx = next;
    }
}

void kmy_pace_turn(kmy_shard_t *s)
{
    kmy_pace_t *p = &s->pace;
    uint64_t now_slot = slot_of(s);
    uint64_t steps = now_slot - p->slot;
    if (steps > KMY_PACE_SLOTS)
        steps = KMY_PACE_SLOTS; /* each slot once is enough */
    for (uint64_t i = 1; i <= steps && p->count > 0; i++)
        fire(s, (uint32_t)((p->slot + i) % KMY_PACE_SLOTS), now_slot);
    p->slot = now_slot;
}

int64_t kmy_pace_next_ns(const kmy_pace_t *p)
{
    if (p->count == 0)
        return INT64_MAX;
    for (uint64_t i = 1; i <= KMY_PACE_SLOTS; i++) {
        uint32_t at = (uint32_t)((p->slot + i) % KMY_PACE_SLOTS);
        if (p->taken[at / 64] == 0) { /* straight to the next word */
            i += 63 - at % 64;
            continue;
        }
        if (p->taken[at / 64] >> (at % 64) & 1)
            return (int64_t)((p->slot + i) << KMY_PACE_SHIFT);
    }
    return INT64_MAX;
}
