/* Peer of bench_ring: Concurrency Kit's ring (Debian libck-dev), one producer, one consumer, ticks copied.  It has no bulk
   call. */
#include "bench/ring_peer.h"

#include <ck_ring.h>
#include <stdlib.h>

CK_RING_PROTOTYPE(tick, kmy_tick)

typedef struct ck_peer {
    ck_ring_t ring;
    struct kmy_tick *buffer;
} ck_peer_t;

static void *make(size_t slots)
{
    ck_peer_t *p = aligned_alloc(128, (sizeof *p + 127) / 128 * 128);
    if (p == NULL)
        abort();
    p->buffer = aligned_alloc(128, slots * sizeof *p->buffer);
    if (p->buffer == NULL)
        abort();
    for (size_t i = 0; i < slots; i++)
        p->buffer[i] = (kmy_tick_t){ 0 };
    ck_ring_init(&p->ring, (unsigned)slots);
    return p;
}

static size_t push(void *ring, kmy_tick_t *ticks, size_t n)
{
    ck_peer_t *p = ring;
    size_t i = 0;
    while (i < n && CK_RING_ENQUEUE_SPSC(tick, &p->ring, p->buffer, &ticks[i]))
        i++;
    return i;
}

static size_t pop(void *ring, kmy_tick_t *out, size_t n)
{
    ck_peer_t *p = ring;
    size_t i = 0;
    while (i < n && CK_RING_DEQUEUE_SPSC(tick, &p->ring, p->buffer, &out[i]))
        i++;
    return i;
}

const ring_peer_t ring_peer_ck = { "ck_ring", make, push, pop };
