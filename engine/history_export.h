/* history_export: the newest ticks of all feeds as an LMDB file, for whoever asks at about the same time.  The history thread's. */
#ifndef KMY_ENGINE_HISTORY_EXPORT_H
#define KMY_ENGINE_HISTORY_EXPORT_H

#include "engine/blob.h"
#include "engine/catalog.h"
#include "store/snapshot.h"

enum { KMY_BLOBS_MAX = 16 }; /* files that somebody still sends; more are not made meanwhile */

/* Borrowed but for `newest`, a reference that the owner gives back in the end. */
typedef struct kmy_history_export {
    kmy_snapshot_reader_t *reader;
    const kmy_catalog_t *catalog;
    const char *epoch;
    _Atomic uint32_t *live;
    kmy_blob_t *newest; /* NULL: none yet */
    int64_t made_ns;    /* monotonic */
    int64_t told_ns;    /* when a failure was last logged */
} kmy_history_export_t;

/* A reference to a file at most 50 ms old; NULL: it cannot be made now.  Takes some 3 us for each row of `last`, when it makes one. */
kmy_blob_t *kmy_history_export(kmy_history_export_t *x, int64_t now_ns);

#endif
