/* tick 4/8   in: adapters/normalize   out: engine/shard, engine/keeper (store/snapshot), same-host agents

   One writer, any number of readers, the newest data wins.  A reader that is lapped is told so, with the exact number of ticks
   it lost; the writer is never slowed down by anybody.  Not for anything that must not be lost: that is queue.h.

     offset 0     constants: magic, version, sizes, first sequence number
            128   published head: the next number to be published; nothing else lives in these 128 bytes
            256   slot 0: its sequence word (8 bytes), its tick (120 bytes); tick number s is in slot s mod slots
            384   slot 1 ...

   Position-independent, so that another process can map it read-only; it should map with MAP_POPULATE, for the first touch of
   a page costs as much as ten thousand ticks.  Why this layout: docs/decisions/ring.md; the algorithm is model-checked in
   tests/model/ring.pml. */
#ifndef KMY_RINGBUF_RING_H
#define KMY_RINGBUF_RING_H

#include "base/err.h"
#include "base/tick.h"

#include <stddef.h>
#include <stdint.h>

typedef struct kmy_ring kmy_ring_t;

/* Numbers stay below this, so that adding sizes to them cannot wrap: at 100 M ticks/s it lasts 1,400 years. */
#define KMY_RING_SEQ_MAX (UINT64_C(1) << 62)

/* kmy_ring_bytes: memory a ring of `slots` needs; 0 if `slots` is not a power of two in [2, KMY_RING_SLOTS_MAX].
   kmy_ring_init formats the caller's `mem` (64-byte aligned, at least that many bytes, zeroed or not; aligned to 128, as every
   page is, it is faster) and touches all its pages; the first tick published will be number first_seq, in
   [1, KMY_RING_SEQ_MAX].  No reader may be at work in `mem` meanwhile: a daemon that restarts formats new memory.  The ring
   lives exactly as long as `mem`.  Nothing here allocates.  A `slots` or first_seq out of range is a fault of ours: abort. */
size_t kmy_ring_bytes(size_t slots);
kmy_ring_t *kmy_ring_init(void *mem, size_t slots, uint64_t first_seq);

/* kmy_ring_attach checks memory that another process formatted (magic, version, sizes against `bytes`; alignment); NULL and *ctx
   if it is no such ring (or not one yet).  Reads only.  The reader trusts the writer's process from then on: it may read wrong
   ticks if that one is malicious, which is why agents never write to a ring of the daemon. */
const kmy_ring_t *kmy_ring_attach(const void *mem, size_t bytes, kmy_errctx_t *ctx);

/* Writer only.  Publishes ticks[0..n) under the next n sequence numbers and writes those into ticks[i].seq.  n in [0, slots / 2].
   All or nothing for the readers: the head is stored once per batch.  Never blocks. */
void kmy_ring_publish(kmy_ring_t *ring, kmy_tick_t *ticks, size_t n);

/* The next sequence number to be published: where a reader starts that wants only what is new.  Any thread. */
uint64_t kmy_ring_head(const kmy_ring_t *ring);

/* kmy_ring_read copies up to `max` ticks from *cursor (a sequence number, >= 1) on into out, oldest first, advances *cursor and
   returns how many.  0: nothing new (or max is 0).  Any thread; never blocks.

   The ticks returned have consecutive numbers: whatever was lost was lost before out[0].  *lost grows by exactly the number of
   ticks this reader will never get, so that always: cursor now - cursor at the start = ticks returned + lost.  Two ways to lose:
     - lapped: the writer has begun to overwrite tick *cursor.  Reading goes on at head - slots / 2: everything from there on is
       safe from the batch that may be under way (n <= slots / 2), and the reader has half a ring of room instead of being lapped
       again at once.  A tick older than that is still delivered if it is whole when it has been copied.
     - *cursor is below first_seq: those ticks were in the ring of an earlier life of the daemon.
   It tries again only when the writer has lapped it while it copied, so it ends unless the writer publishes half a ring each time
   32 ticks are copied.  out[] beyond the ticks returned may hold garbage. */
size_t kmy_ring_read(const kmy_ring_t *ring, uint64_t *cursor, kmy_tick_t *out, size_t max,
                     uint64_t *lost);

#endif
