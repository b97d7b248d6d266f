/* tick 4/8   in: adapters/normalize   out: engine/shard, engine/keeper (store/snapshot), same-host agents

   How a reader knows that what it copied is whole.  Slot words hold the number of the tick that is, or is about to be, in the
   slot; the head says up to which number ticks are complete.

     writer, for a batch                                reader, for up to 32 ticks from number c
       F1  release fence                                  R1  head, acquire: c < head, so tick c was complete
       W1  slot words := new numbers    (mark)            R2  tick words, relaxed
       F2  release fence                                  F3  acquire fence
       W2  tick words, relaxed          (fill)            R4  slot word of tick c: still c, then all are whole
       W3  head := next, release        (publish)         else F5 acquire fence, head again: go on at head - slots / 2

   Why one look at the oldest slot is enough: the writer overwrites in order of numbers, so a batch that fills the slot of tick
   c + i has marked the slot of tick c itself, or an earlier batch has.  F2 stands between all marks of a batch and its first
   fill.  So if any load of R2 got a word of W2, F2 synchronizes with F3 (fence to fence, through that word), and R4 sees the mark.

   A slot word needs no second value "complete": readers look at it only below the head, and W3 covers that. */
#include "ringbuf/ring.h"

#include "base/limits.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

enum {
    TICK_WORDS = sizeof(kmy_tick_t) / sizeof(uint64_t), /* 15 */
    READ_BATCH = 32, /* ticks copied before one look whether they are whole */
    OWN_AHEAD =
        32, /* slots whose lines the writer asks for in advance, at most: 64 lines, four times what a core keeps in flight */
    LINE = 64,
};

#define RING_MAGIC   UINT64_C(0x00676e6972796d6b) /* "kmyring" in memory */
#define RING_VERSION 1

typedef struct slot {
    _Atomic uint64_t seq; /* 0: never used */
    _Atomic uint64_t word[TICK_WORDS];
} slot_t;

/* Pairs of lines are kept apart, not lines: x86 fetches the neighbour of a line within its 128 bytes as well, and a reader must
   not draw a line of the writer's to its side that it does not want. */
struct kmy_ring {
    _Alignas(LINE) _Atomic uint64_t magic; /* stored last */
    uint32_t version;
    uint32_t slot_bytes;
    uint64_t slots;
    uint64_t first_seq;
    uint8_t pad0[128 - 32];

    _Atomic uint64_t head; /* next number to be published; written by the writer only */
    uint8_t pad1[128 - 8];

    slot_t slot[];
};

_Static_assert(sizeof(slot_t) == 128, "a slot is two cache lines");
_Static_assert(offsetof(struct kmy_ring, head) == 128, "the head has a pair of lines to itself");
_Static_assert(offsetof(struct kmy_ring, slot) == 256, "slots begin on a pair of lines");
_Static_assert(sizeof(kmy_tick_t) % sizeof(uint64_t) == 0, "a tick is copied in words");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2,
               "a lock inside the atomics would write to read-only memory");

static bool slots_valid(uint64_t slots)
{
    return slots >= 2 && slots <= KMY_RING_SLOTS_MAX && (slots & (slots - 1)) == 0;
}

size_t kmy_ring_bytes(size_t slots)
{
    if (!slots_valid(slots))
        return 0;
    return sizeof(kmy_ring_t) + slots * sizeof(slot_t); /* at most 2 GiB + 256 */
}

kmy_ring_t *kmy_ring_init(void *mem, size_t slots, uint64_t first_seq)
{
    KMY_ASSERT(mem != NULL);
    KMY_ASSERT((uintptr_t)mem % LINE == 0);
    KMY_ASSERT(slots_valid(slots));
    KMY_ASSERT(first_seq >= 1);
    KMY_ASSERT(first_seq <= KMY_RING_SEQ_MAX);

    kmy_ring_t *ring = mem;
    atomic_store_explicit(&ring->magic, 0,
                          memory_order_relaxed); /* no ring while it is being made */
    atomic_thread_fence(memory_order_release);
    ring->version = RING_VERSION;
    ring->slot_bytes = sizeof(slot_t);
    ring->slots = slots;
    ring->first_seq = first_seq;
    memset(ring->pad0, 0, sizeof ring->pad0);
    memset(ring->pad1, 0, sizeof ring->pad1);
    atomic_init(&ring->head, first_seq);
    for (size_t i = 0; i < slots; i++) {
        atomic_init(&ring->slot[i].seq, 0);
        for (size_t w = 0; w < TICK_WORDS; w++)
            atomic_init(&ring->slot[i].word[w], 0);
    }
    atomic_store_explicit(&ring->magic, RING_MAGIC,
                          memory_order_release); /* pairs with the load in kmy_ring_attach */
    return ring;
}

const kmy_ring_t *kmy_ring_attach(const void *mem, size_t bytes, kmy_errctx_t *ctx)
{
    KMY_ASSERT(mem != NULL);
    const kmy_ring_t *ring = mem;
    const char *const foreign = "map the file the daemon names, whole";

    if ((uintptr_t)mem % LINE != 0)
        return KMY_FAIL(ctx, KMY_CORRUPT, "ring mapped at an address that is no multiple of %d",
                        LINE),
               NULL;
    if (bytes < sizeof *ring)
        return KMY_FAIL(ctx, KMY_CORRUPT, "%zu bytes are too few for a ring's header (%zu): %s",
                        bytes, sizeof *ring, foreign),
               NULL;

    /* acquire: pairs with the store of the magic in kmy_ring_init, so the constants below are all there */
    uint64_t magic = atomic_load_explicit(&ring->magic, memory_order_acquire);
    if (magic != RING_MAGIC)
        return KMY_FAIL(ctx, KMY_CORRUPT, "not a tick ring: magic %016llx: %s",
                        (unsigned long long)magic, foreign),
               NULL;
    if (ring->version != RING_VERSION)
        return KMY_FAIL(ctx, KMY_UNSUPPORTED,
                        "ring version %u, this program reads %d: update the older one",
                        (unsigned)ring->version, RING_VERSION),
               NULL;
    if (ring->slot_bytes != sizeof(slot_t))
        return KMY_FAIL(ctx, KMY_CORRUPT, "ring slot of %u bytes, expected %zu",
                        (unsigned)ring->slot_bytes, sizeof(slot_t)),
               NULL;
    if (!slots_valid(ring->slots))
        return KMY_FAIL(ctx, KMY_CORRUPT, "ring of %llu slots: no power of two in [2, %u]",
                        (unsigned long long)ring->slots, KMY_RING_SLOTS_MAX),
               NULL;
    if (kmy_ring_bytes(ring->slots) > bytes)
        return KMY_FAIL(ctx, KMY_CORRUPT, "ring needs %zu bytes, %zu are mapped: %s",
                        kmy_ring_bytes(ring->slots), bytes, foreign),
               NULL;
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    if (ring->first_seq < 1 || ring->first_seq > KMY_RING_SEQ_MAX || head < ring->first_seq)
        return KMY_FAIL(ctx, KMY_CORRUPT, "ring head %llu, first number %llu",
                        (unsigned long long)head, (unsigned long long)ring->first_seq),
               NULL;
    return ring;
}

/* Word by word without a buffer between, so that it compiles to fifteen pairs of plain moves. */
static inline void fill(slot_t *slot, const kmy_tick_t *tick)
{
    const unsigned char *from = (const unsigned char *)tick;
#pragma GCC unroll 15
    for (size_t i = 0; i < TICK_WORDS; i++) {
        uint64_t word;
        memcpy(&word, from + i * sizeof word, sizeof word);
        /* relaxed: ordered by F2 before and W3 behind */
        atomic_store_explicit(&slot->word[i], word, memory_order_relaxed);
    }
}

/* Asks for a slot's lines for writing.  Spelled out, because for plain x86-64 compilers make a prefetch for reading of
   __builtin_prefetch(p, 1); a processor that does not know the instruction does nothing. */
static inline void own(const slot_t *slot)
{
    const char *line = (const char *)slot;
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(line[0]));
    __asm__ volatile("prefetchw %0" : : "m"(line[LINE]));
#else
    __builtin_prefetch(line, 1);
    __builtin_prefetch(line + LINE, 1);
#endif
}

void kmy_ring_publish(kmy_ring_t *ring, kmy_tick_t *ticks, size_t n)
{
    const uint64_t mask = ring->slots - 1;
    const uint64_t first =
        atomic_load_explicit(&ring->head, memory_order_relaxed); /* our own store */
    KMY_ASSERT(n <= ring->slots / 2);
    if (n == 0)
        return;

    /* F1 puts the last batch's W3 before these marks.  Pairs with F5: a reader that was lapped by this batch finds head >= first
       and so moves forward. */
    atomic_thread_fence(memory_order_release);
    for (size_t i = 0; i < n; i++)
        atomic_store_explicit(&ring->slot[(first + i) & mask].seq, first + i, memory_order_relaxed);

    atomic_thread_fence(memory_order_release); /* F2: pairs with F3, see the top */
    for (size_t i = 0; i < n; i++) {
        ticks[i].seq = first + i;
        fill(&ring->slot[(first + i) & mask], &ticks[i]);
    }
    /* W3: pairs with the load in published() (R1) */
    atomic_store_explicit(&ring->head, first + n, memory_order_release);

    /* The readers still have the lines of the next slots from the round before; taking them back ahead of need raised bulk
       throughput about 1.4 times (docs/decisions/ring.md). */
    for (size_t i = 0; i < n && i < OWN_AHEAD; i++)
        own(&ring->slot[(first + n + i) & mask]);
}

static inline uint64_t published(const kmy_ring_t *ring)
{
    return atomic_load_explicit(&ring->head, memory_order_acquire); /* R1: pairs with W3 */
}

uint64_t kmy_ring_head(const kmy_ring_t *ring)
{
    return published(ring);
}

static inline void copy(const slot_t *slot, kmy_tick_t *out)
{
    unsigned char *to = (unsigned char *)out;
#pragma GCC unroll 15
    for (size_t i = 0; i < TICK_WORDS; i++) {
        /* relaxed: ordered by R1 before and F3 behind */
        uint64_t word = atomic_load_explicit(&slot->word[i], memory_order_relaxed);
        memcpy(to + i * sizeof word, &word, sizeof word);
    }
}

/* Copies ticks [first, first + n); false if the writer has begun to overwrite them meanwhile. */
static bool copy_whole(const kmy_ring_t *ring, uint64_t first, kmy_tick_t *out, size_t n)
{
    const uint64_t mask = ring->slots - 1;
    for (size_t i = 0; i < n; i++)
        copy(&ring->slot[(first + i) & mask], &out[i]);
    atomic_thread_fence(memory_order_acquire); /* F3: pairs with F2 */
    return atomic_load_explicit(&ring->slot[first & mask].seq, memory_order_relaxed) == first;
}

/* Where a reader that needs tick `at` can go on, given the head. */
static uint64_t oldest_kept(const kmy_ring_t *ring, uint64_t at, uint64_t head)
{
    if (at < ring->first_seq)
        at = ring->first_seq;
    if (head > at && head - at > ring->slots)
        at = head - ring->slots / 2;
    return at;
}

/* Nothing new: asks for the lines of the tick that is due.  The processor runs ahead over the polls, so when the writer takes head
   and slot away, all three lines come back side by side and not the slot after the head: 15 % less from publish to read, and bulk as it was
   (docs/decisions/ring.md).  A hint only: nothing is read, and the order of R1..R4 is untouched. */
static inline void expect(const slot_t *slot)
{
    const char *line = (const char *)slot;
    __builtin_prefetch(line, 0);
    __builtin_prefetch(line + LINE, 0);
}

size_t kmy_ring_read(const kmy_ring_t *ring, uint64_t *cursor, kmy_tick_t *out, size_t max,
                     uint64_t *lost)
{
    KMY_ASSERT(*cursor >= 1);
    uint64_t head = published(ring);
    uint64_t first = oldest_kept(ring, *cursor, head); /* number of out[0] */
    size_t got = 0;

    if (head == *cursor) {
        expect(&ring->slot[head & (ring->slots - 1)]);
        return 0;
    }
    while (got < max && first + got < head) {
        size_t n = max - got < READ_BATCH ? max - got : READ_BATCH;
        if (n > head - first - got)
            n = head - first - got;
        if (copy_whole(ring, first + got, out + got, n)) {
            got += n;
            continue;
        }
        if (got > 0)
            break; /* keep what we have consecutive; the next call counts the loss */
        atomic_thread_fence(memory_order_acquire); /* F5: pairs with F1 */
        head = published(ring);
        /* The mark was of a batch [b, b + m), m <= slots / 2, that reaches number first + slots: b > first + slots / 2.  And
           head >= b by F1 and F5.  So we go forward, by at least one. */
        KMY_ASSERT(head - ring->slots / 2 > first);
        first = head - ring->slots / 2;
    }
    *lost += first - *cursor;
    *cursor = first + got;
    return got;
}
