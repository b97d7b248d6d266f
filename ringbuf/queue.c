/* dollar 5/7 in: pay/ledger (keeper)  out: pay/meter (shard), and back */
#include "ringbuf/queue.h"

#include "base/err.h"
#include "base/limits.h"

#include <stdatomic.h>
#include <string.h>

enum {
    ITEM_BYTES_MAX = 4096,
    LINE = 64,
    PAIR =
        128, /* x86 fetches lines in pairs: what different threads write is kept two lines apart */
};

/* Counts run freely and never wrap (2^64 items); the slot of item number k is k mod slots. */
struct kmy_queue {
    _Alignas(LINE) uint64_t slots; /* constants */
    uint64_t item_bytes;
    uint8_t pad0[PAIR - 16];

    _Atomic uint64_t pushed; /* items ever pushed; written by the producer */
    uint64_t popped_seen;    /* producer's own: `popped` when it last had to look */
    uint8_t pad1[PAIR - 16];

    _Atomic uint64_t popped; /* items ever popped; written by the consumer */
    uint64_t pushed_seen;    /* consumer's own: `pushed` when it last had to look */
    uint8_t pad2[PAIR - 16];

    unsigned char item[];
};

_Static_assert(offsetof(struct kmy_queue, pushed) == PAIR, "the producer's pair of lines");
_Static_assert(offsetof(struct kmy_queue, popped) == 2 * PAIR, "the consumer's pair of lines");
_Static_assert(offsetof(struct kmy_queue, item) == 3 * PAIR, "items follow");

size_t kmy_queue_bytes(size_t slots, size_t item_bytes)
{
    if (slots < 2 || slots > KMY_QUEUE_SLOTS_MAX || (slots & (slots - 1)) != 0)
        return 0;
    if (item_bytes < 8 || item_bytes > ITEM_BYTES_MAX || item_bytes % 8 != 0)
        return 0;
    return sizeof(kmy_queue_t) + slots * item_bytes; /* at most 2^20 x 4 KiB + 384 */
}

kmy_queue_t *kmy_queue_init(void *mem, size_t slots, size_t item_bytes)
{
    KMY_ASSERT(mem != NULL);
    KMY_ASSERT((uintptr_t)mem % LINE == 0);
    KMY_ASSERT(kmy_queue_bytes(slots, item_bytes) != 0);
    kmy_queue_t *q = memset(mem, 0, kmy_queue_bytes(slots, item_bytes)); /* maps the pages, too */
    q->slots = slots;
    q->item_bytes = item_bytes;
    return q;
}

static inline unsigned char *item_at(kmy_queue_t *q, uint64_t number)
{
    return q->item + (number & (q->slots - 1)) * q->item_bytes;
}

bool kmy_queue_push(kmy_queue_t *q, const void *item)
{
    const uint64_t pushed =
        atomic_load_explicit(&q->pushed, memory_order_relaxed); /* our own store */
    if (pushed - q->popped_seen == q->slots) {
        /* acquire: pairs with the store of popped in kmy_queue_pop, so the consumer has done with the slot's old item */
        q->popped_seen = atomic_load_explicit(&q->popped, memory_order_acquire);
        KMY_ASSERT(pushed - q->popped_seen <= q->slots);
        if (pushed - q->popped_seen == q->slots)
            return false;
    }
    memcpy(item_at(q, pushed), item, q->item_bytes);
    atomic_store_explicit(&q->pushed, pushed + 1,
                          memory_order_release); /* pairs with the load in kmy_queue_pop */
    return true;
}

bool kmy_queue_pop(kmy_queue_t *q, void *item)
{
    const uint64_t popped =
        atomic_load_explicit(&q->popped, memory_order_relaxed); /* our own store */
    if (popped == q->pushed_seen) {
        /* acquire: pairs with the store of pushed in kmy_queue_push, so the items below it are whole */
        q->pushed_seen = atomic_load_explicit(&q->pushed, memory_order_acquire);
        KMY_ASSERT(q->pushed_seen - popped <= q->slots);
        if (popped == q->pushed_seen)
            return false;
    }
    memcpy(item, item_at(q, popped), q->item_bytes);
    atomic_store_explicit(&q->popped, popped + 1,
                          memory_order_release); /* pairs with the load in kmy_queue_push */
    return true;
}

size_t kmy_queue_count(const kmy_queue_t *q)
{
    /* popped first (acquire keeps the loads in order): both only grow, so the difference is never negative.  It can be too large
       by what was popped and pushed in between, hence the bound. */
    const uint64_t popped = atomic_load_explicit(&q->popped, memory_order_acquire);
    const uint64_t pushed = atomic_load_explicit(&q->pushed, memory_order_acquire);
    const uint64_t count = pushed - popped;
    return count < q->slots ? count : q->slots;
}

size_t kmy_queue_slots(const kmy_queue_t *q)
{
    return q->slots;
}
