/* dollar 5/7 in: pay/ledger (keeper)  out: pay/meter (shard), and back

   One producer, one consumer, bounded, never drops: a full queue is the producer's business (it keeps the item and tries
   again).  For leases, reports and replies between shard and keeper.  Not for ticks: that is ring.h. */
#ifndef KMY_RINGBUF_QUEUE_H
#define KMY_RINGBUF_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct kmy_queue kmy_queue_t;

/* slots: a power of two in [2, KMY_QUEUE_SLOTS_MAX]; item_bytes: a multiple of 8 in [8, 4096]; else 0.  mem is 64-byte aligned,
   zeroed or not, and owned by the caller for the queue's life. */
size_t kmy_queue_bytes(size_t slots, size_t item_bytes);
kmy_queue_t *kmy_queue_init(void *mem, size_t slots, size_t item_bytes);

/* Producer thread only.  false: full, nothing taken. */
bool kmy_queue_push(kmy_queue_t *q, const void *item);
/* Consumer thread only.  false: empty, *item untouched. */
bool kmy_queue_pop(kmy_queue_t *q, void *item);
/* Any thread; a snapshot. */
size_t kmy_queue_count(const kmy_queue_t *q);
/* As it was made. */
size_t kmy_queue_slots(const kmy_queue_t *q);

#endif
