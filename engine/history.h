/* history: the thread that reads the snapshot store for the shards: ticks older than their logs.

   beside the way of a tick   in: store/snapshot   out: engine/catchup (shard)

   A shard never reads LMDB: a page that is not in memory would hold up every client it has.  It sends an ask (link.h) and goes on;
   the answer is a chunk of ticks, which comes through the other queue.  Asks of all shards are served in turn, a bounded number of rows of
   each, so that a long way through the store delays nobody for more than a few milliseconds; a read transaction lasts as long.

   What the recorder has not written yet is waited for, not missed: an ask says up to which seq everything must have been seen. */
#ifndef KMY_ENGINE_HISTORY_H
#define KMY_ENGINE_HISTORY_H

#include "base/metrics.h"
#include "engine/catalog.h"
#include "engine/topology.h"
#include "store/snapshot.h"

#define KMY_HISTORY_PATIENCE_NS                                                                    \
    INT64_C(2000000000) /* for a recorder that does not come: then what is missing is a gap */

typedef struct kmy_history kmy_history_t;

/* All borrowed for the thread's life; the store by way of a shared reader, so that its writer goes on.  KMY_IO: no thread, no memory. */
kmy_err_t kmy_history_start(kmy_history_t **out, kmy_snapshot_t *store,
                            const kmy_catalog_t *catalog, kmy_topology_t *topology,
                            kmy_metrics_t *metrics, kmy_errctx_t *ctx);
/* Joins, frees; asks under way are dropped.  The shards must have stopped, the store not been closed. */
void kmy_history_stop(kmy_history_t *h);

#endif
