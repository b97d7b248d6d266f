/* topology: the threads and the links between them, as one table; reading topology.c is reading the program. */
#ifndef KMY_ENGINE_TOPOLOGY_H
#define KMY_ENGINE_TOPOLOGY_H

#include "base/err.h"
#include "base/wake.h"
#include "engine/config.h"
#include "engine/job.h"
#include "engine/link.h"
#include "engine/slip.h"
#include "ringbuf/queue.h"
#include "ringbuf/ring.h"

typedef struct kmy_topology {
    kmy_ring_t *ring;                           /* feeds -> shards, recorder, same-host readers */
    kmy_queue_t *shard_keeper[KMY_SHARDS_MAX];  /* asks */
    kmy_queue_t *keeper_shard[KMY_SHARDS_MAX];  /* tells */
    kmy_queue_t *shard_history[KMY_SHARDS_MAX]; /* indices (u64) of history_chunks: asks */
    kmy_queue_t *history_shard[KMY_SHARDS_MAX]; /* and back: answers */
    kmy_history_chunk_t *history_chunks[KMY_SHARDS_MAX]; /* KMY_HISTORY_CHUNKS of each shard */
    kmy_queue_t *cashier_keeper;                         /* indices (u64) of jobs: questions */
    kmy_queue_t *keeper_cashier;                         /* and back, after the commit */
    kmy_job_t *
        jobs; /* KMY_JOBS; pages are touched as they are used, so idle ones cost address space only */
    kmy_queue_t *shard_cashier[KMY_SHARDS_MAX]; /* indices (u64) of slips: questions */
    kmy_queue_t *cashier_shard[KMY_SHARDS_MAX]; /* and back: answers */
    kmy_slip_t *slips[KMY_SHARDS_MAX]; /* KMY_SLIPS of each shard; touched pages only, too */
    kmy_recorded_t recorded;
    struct kmy_reload
        *_Atomic reload; /* newest values to take over (engine/reload.h); NULL: none yet */
    _Atomic bool
        ledger_damaged; /* the keeper met damage in the ledger's file: no payment is taken any more */
    _Atomic bool quiet;          /* no new sessions; those that are there end (engine/drain.h) */
    _Atomic uint32_t blobs_live; /* snapshots that somebody still sends (engine/blob.h) */
    kmy_wake_t shard_wake[KMY_SHARDS_MAX];
    kmy_wake_t keeper_wake;
    kmy_wake_t history_wake;
    kmy_wake_t cashier_wake;
    uint32_t shards_count;
    void *mem[8 * KMY_SHARDS_MAX + 4]; /* owned: what the above lie in */
    size_t mem_bytes[8 * KMY_SHARDS_MAX + 4];
    size_t mem_count;
} kmy_topology_t;

/* Takes all link memory, once.  ring_path: a file that same-host readers map, or NULL for private memory; first_seq: number of the next tick. */
kmy_err_t kmy_topology_make(kmy_topology_t *t, const kmy_config_t *cfg, uint32_t shards_count,
                            const char *ring_path, uint64_t first_seq, kmy_errctx_t *ctx);
/* Any thread: sets `quiet` and rouses the shards. */
void kmy_topology_quiet(kmy_topology_t *t, bool quiet);
void kmy_topology_free(kmy_topology_t *t);

#endif
