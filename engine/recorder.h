/* into the store 1/2   the recorder thread: ring to snapshot store, in batches, never on a tick's way

   It is a reader of the ring like any other: if the disk is slower than the market it is lapped, says so in snapshot_lost_total, and
   goes on with the newest. */
#ifndef KMY_ENGINE_RECORDER_H
#define KMY_ENGINE_RECORDER_H

#include "base/metrics.h"
#include "engine/catalog.h"
#include "engine/config.h"
#include "engine/link.h"
#include "ringbuf/ring.h"
#include "store/snapshot.h"

typedef struct kmy_recorder kmy_recorder_t;

/* All borrowed for the thread's life; the store is written by nobody else meanwhile.  recorded->seq is kept up with each flush, the
   ring's head to begin with. */
kmy_err_t kmy_recorder_start(kmy_recorder_t **out, kmy_snapshot_t *store, kmy_ring_t *ring,
                             const kmy_catalog_t *catalog, const kmy_config_t *cfg,
                             kmy_recorded_t *recorded, kmy_metrics_t *metrics, kmy_errctx_t *ctx);
/* Writes what the ring still holds, joins, frees.  The ring's writer must have stopped. */
void kmy_recorder_stop(kmy_recorder_t *r);

#endif
