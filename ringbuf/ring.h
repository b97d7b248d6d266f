/* tick 4/8   in: adapters/normalize   out: engine/shard, engine/keeper (store/snapshot), same-host agents

   One writer, any number of readers, the newest data wins.  A reader that is lapped is told so, with the exact number of ticks
   it lost; the writer is never slowed down by anybody.  Not for anything that must not be lost: that is queue.h.

   Memory: one header of three cache lines (constants; published head, alone on its line; writer's private line), then `slots`
   slots of 128 bytes: sequence word and tick.  Position-independent, so that another process can map it read-only. */
#ifndef KMY_RINGBUF_RING_H
#define KMY_RINGBUF_RING_H

#include "base/err.h"
#include "base/tick.h"

#include <stddef.h>
#include <stdint.h>

typedef struct kmy_ring kmy_ring_t;

/* kmy_ring_bytes: memory a ring of `slots` needs; 0 if `slots` is not a power of two in [2, KMY_RING_SLOTS_MAX].
   kmy_ring_init formats the caller's `mem` (64-byte aligned, at least that many bytes); the first tick published will be number
   first_seq (>= 1).  The ring lives exactly as long as `mem`.  Nothing here allocates. */
size_t kmy_ring_bytes(size_t slots);
kmy_ring_t *kmy_ring_init(void *mem, size_t slots, uint64_t first_seq);

/* kmy_ring_attach checks memory that another process formatted (magic, version, sizes against `bytes`); NULL and *ctx if it is
   no such ring. */
const kmy_ring_t *kmy_ring_attach(const void *mem, size_t bytes, kmy_errctx_t *ctx);

/* Writer only.  Publishes ticks[0..n) under the next n sequence numbers and writes those into ticks[i].seq.  n <= slots / 2.
   Mark, fill and release are separate passes; the head is stored once per batch. */
void kmy_ring_publish(kmy_ring_t *ring, kmy_tick_t *ticks, size_t n);

/* The next sequence number to be published.  Any thread. */
uint64_t kmy_ring_head(const kmy_ring_t *ring);

/* kmy_ring_read copies up to `max` ticks from *cursor (a sequence number) on into out, oldest first, advances *cursor and
   returns how many.  If the reader was lapped, *lost grows by the number of ticks that are gone and reading goes on at the oldest
   one still safe.  0: nothing new.  Any thread; never blocks. */
size_t kmy_ring_read(const kmy_ring_t *ring, uint64_t *cursor, kmy_tick_t *out, size_t max,
                     uint64_t *lost);

#endif
