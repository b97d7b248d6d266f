/* kv: an LMDB environment opened once, with its sizes, its sync policy and what every user of it needs: growth of the map, clearing of
   dead readers, a write transaction that retries after growing.  Not for anything on a tick's way. */
#ifndef KMY_STORE_KV_H
#define KMY_STORE_KV_H

#include "base/err.h"

#include <lmdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    KMY_KV_DURABLE, /* LMDB's default: a commit is on disk when it returns.  The ledger. */
    KMY_KV_RELAXED, /* MDB_NOSYNC | MDB_WRITEMAP kind: whole after a crash of the process, rebuilt after one of the machine */
} kmy_kv_sync_t;

typedef struct kmy_kv_options {
    kmy_kv_sync_t sync;
    size_t map_bytes; /* address space to reserve; the file grows as needed up to it */
    unsigned dbis_max;
    unsigned readers_max; /* LMDB's default of 126 is too few for same-host agents */
    bool read_only;
} kmy_kv_options_t;

typedef struct kmy_kv {
    MDB_env *env;
    kmy_kv_options_t options;
} kmy_kv_t;

/* Makes the folder (0700) unless read_only, opens the environment, clears dead readers.  KMY_IO with ctx on failure, nothing left
   open.  One environment is opened once per process (LMDB's rule). */
kmy_err_t kmy_kv_open(kmy_kv_t *kv, const char *path, const kmy_kv_options_t *options,
                      kmy_errctx_t *ctx);
void kmy_kv_close(kmy_kv_t *kv);
/* Maps an LMDB result to ours with its text. */
kmy_err_t kmy_kv_fail(kmy_errctx_t *ctx, int mdb_rc, const char *what);
/* Hot copy of the environment into a fresh folder (mdb_env_copy2, compacting). */
kmy_err_t kmy_kv_copy(kmy_kv_t *kv, const char *path, kmy_errctx_t *ctx);

#endif
