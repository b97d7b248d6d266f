/* kv: an LMDB environment opened once, with its sizes, its sync policy and what every user of it
   needs: a write transaction that retries after growing the map, disk space taken before it is
   written to, clearing of dead readers.  Not for anything on a tick's way.

   LMDB's own rule is checked here: one environment is opened once per process (closing a second
   handle would drop the first one's file locks, and the next process to come would then wipe the
   reader table under it).  A second open is refused with KMY_CONFLICT. */
#ifndef KMY_STORE_KV_H
#define KMY_STORE_KV_H

#include "base/err.h"

#include <lmdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef enum {
    KMY_KV_DURABLE, /* LMDB's default: a commit is on disk when it returns.  The ledger. */
    KMY_KV_RELAXED, /* MDB_WRITEMAP | MDB_NOSYNC: whole after any death of the process, worthless
                       after one of the machine (6 of 6 power cuts left it corrupt): who opens it
                       must know which of the two it was, as store/snapshot does */
} kmy_kv_sync_t;

typedef struct kmy_kv_options {
    kmy_kv_sync_t sync;
    size_t map_bytes; /* address space to reserve; 0: 1 GiB.  A relaxed environment's file has this
                             size at once, but sparse */
    size_t map_bytes_max; /* kmy_kv_write may double the map up to this; 0: it never grows */
    unsigned dbis_max;    /* 0: 16 */
    unsigned readers_max; /* 0: LMDB's default of 126, too few for same-host agents */
    bool read_only;
} kmy_kv_options_t;

typedef struct kmy_kv {
    MDB_env *env;
    kmy_kv_options_t options;
    size_t map_bytes;      /* now */
    size_t reserved_bytes; /* of the file, from its start, that have disk blocks for sure */
    dev_t dev;             /* of the folder: the once-per-process rule is kept by these two */
    ino_t ino;
} kmy_kv_t;

/* Makes the folder (0700, its parent must exist) unless read_only, opens the environment, clears
   dead readers.
     KMY_IO        no such folder, no permission, no space: ctx says which
     KMY_CORRUPT   there is a data file, but no LMDB environment in it, or a truncated one
     KMY_CONFIG    made by another LMDB version
     KMY_CONFLICT  this process has it open already
   Nothing is left open on failure.  Thread: any, one at a time per kv. */
kmy_err_t kmy_kv_open(kmy_kv_t *kv, const char *path, const kmy_kv_options_t *options,
                      kmy_errctx_t *ctx);
/* No transaction may be open any more.  Does not sync a relaxed environment. */
void kmy_kv_close(kmy_kv_t *kv);

/* Maps an LMDB result to ours with its text: MDB_NOTFOUND is KMY_NOT_FOUND, MDB_KEYEXIST
   KMY_DUPLICATE, everything that ran out inside LMDB KMY_FULL, damage KMY_CORRUPT, an errno KMY_IO. */
kmy_err_t kmy_kv_fail(kmy_errctx_t *ctx, int mdb_rc, const char *what);

/* Runs fn in a write transaction and commits if it returns 0 (an LMDB result otherwise).  If the map
   is full, it grows (x 2, up to map_bytes_max) and runs fn again, so fn must be able to run twice.  On
   failure nothing of it is stored.  Growing needs that this process has no other transaction open. */
typedef int kmy_kv_write_t(MDB_txn *txn, void *arg);
kmy_err_t kmy_kv_write(kmy_kv_t *kv, kmy_kv_write_t *fn, void *arg, kmy_errctx_t *ctx);

/* Takes disk blocks for `bytes` beyond the last used page, so that a full disk is an error here and
   not a SIGBUS in the middle of a write to the map.  Only a relaxed environment needs it; free (a
   comparison) while what was taken before suffices.  KMY_IO: no space, nothing changed. */
kmy_err_t kmy_kv_reserve(kmy_kv_t *kv, size_t bytes, kmy_errctx_t *ctx);

/* Frees the slots of readers whose process died; returns how many. */
unsigned kmy_kv_clear_dead_readers(kmy_kv_t *kv);

/* Hot copy of the environment into a folder that does not exist yet (mdb_env_copy2, compacting),
   durable when it returns.  On failure nothing is left behind. */
kmy_err_t kmy_kv_copy(kmy_kv_t *kv, const char *path, kmy_errctx_t *ctx);

#endif
