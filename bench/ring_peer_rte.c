/* Peer of bench_ring: DPDK's rte_ring (Debian libdpdk-dev), one producer, one consumer, ticks copied, burst calls.  It is formatted
   in memory of our own, for which DPDK's environment (huge pages, arguments, root) need not be started.  An element is a
   tick and the 8 bytes that round it up to 128, as in a slot of ours: its copy loop is fastest at multiples of 16. */
#include "bench/ring_peer.h"

#include <rte_ring.h>
#include <rte_ring_elem.h>
#include <stdlib.h>
#include <string.h>

typedef struct element {
    _Alignas(16) kmy_tick_t tick;
} element_t;

enum { BURST_MAX = 32 };
_Static_assert(sizeof(element_t) == 128, "the same size as a slot of ours");

static void *make(size_t slots)
{
    const size_t bytes = (size_t)rte_ring_get_memsize_elem(sizeof(element_t), (unsigned)slots);
    struct rte_ring *ring = aligned_alloc(128, (bytes + 127) / 128 * 128);
    if (ring == NULL)
        abort();
    memset(ring, 0, bytes);
    if (rte_ring_init(ring, "bench", (unsigned)slots, RING_F_SP_ENQ | RING_F_SC_DEQ) != 0)
        abort();
    return ring;
}

/* The elements are handed over as they stand in an array of elements; the ticks of bench_ring are 120 bytes apart, so that one more
   copy would be charged to the peer.  It is spared that: the array is filled once, the first word only is written anew. */
static size_t push(void *ring, kmy_tick_t *ticks, size_t n)
{
    static element_t batch[BURST_MAX];
    for (size_t i = 0; i < n; i++) {
        batch[i].tick.seq = ticks[i].seq;
        batch[i].tick.mono_ns = ticks[i].mono_ns;
    }
    return rte_ring_sp_enqueue_burst_elem(ring, batch, sizeof(element_t), (unsigned)n, NULL);
}

static size_t pop(void *ring, kmy_tick_t *out, size_t n)
{
    static element_t batch[BURST_MAX];
    const size_t got =
        rte_ring_sc_dequeue_burst_elem(ring, batch, sizeof(element_t), (unsigned)n, NULL);
    for (size_t i = 0; i < got; i++) {
        out[i].seq = batch[i].tick.seq;
        out[i].mono_ns = batch[i].tick.mono_ns;
    }
    return got;
}

const ring_peer_t ring_peer_rte = { "rte_ring", make, push, pop };
