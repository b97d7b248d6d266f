/* What bench_ring asks of every ring it measures.  Peers stand in files of their own: their headers want other compiler flags
   than ours, and each is left out where its package is missing. */
#ifndef KMY_BENCH_RING_PEER_H
#define KMY_BENCH_RING_PEER_H

#include "base/tick.h"

#include <stddef.h>

typedef struct ring_peer {
    const char *name;
    /* slots: a power of two.  Returns the object that push and pop take; the process's end frees it. */
    void *(*make)(size_t slots);
    /* One thread each.  Both return how many ticks were taken or delivered, 0..n: full or empty is 0. */
    size_t (*push)(void *ring, kmy_tick_t *ticks, size_t n);
    size_t (*pop)(void *ring, kmy_tick_t *out, size_t n);
} ring_peer_t;

#ifdef KMY_BENCH_CK
extern const ring_peer_t ring_peer_ck;
#endif
#ifdef KMY_BENCH_RTE
extern const ring_peer_t ring_peer_rte;
#endif

#endif
