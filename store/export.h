/* into the store 2/2   in: store/snapshot   out: a file for whoever asks (engine/history)

   The newest ticks as an LMDB environment of their own, in memory: the tables `last`, `feeds` and `meta` (format, epoch) of the snapshot store, the
   others empty, so that whatever reads the store reads this too.  Written in one transaction: as small as it can be. */
#ifndef KMY_STORE_EXPORT_H
#define KMY_STORE_EXPORT_H

#include "store/snapshot.h"

typedef struct kmy_export {
    void *
        bytes; /* the data file (data.mdb, or a file opened with MDB_NOSUBDIR); a mapping, the caller's to munmap */
    size_t len;
} kmy_export_t;

/* The rows of `last` that `wants` takes (KMY_SNAPSHOT visit: false leaves a row out), and the names of those feeds.  Blocks as long as that takes, some
   3 us a row; opens a read transaction of r.  KMY_IO: no memory, no memory file; nothing is left behind. */
kmy_err_t kmy_snapshot_export(kmy_export_t *out, kmy_snapshot_reader_t *r, const char *epoch,
                              kmy_snapshot_visit_t *wants, void *arg, kmy_errctx_t *ctx);

#endif
