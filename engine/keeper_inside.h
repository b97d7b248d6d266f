/* dollar 4..5/7   in: engine/keeper   out: the files keeper*.c, and nobody else */
#ifndef KMY_ENGINE_KEEPER_INSIDE_H
#define KMY_ENGINE_KEEPER_INSIDE_H

#include "engine/keeper.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

enum {
    BATCH_MAX = 512, /* asks in one transaction */
    IDLE_MS = 1000,
    RETURNS_MAX = 32, /* allowances in one transaction of their own */
};

/* One shard's part in an account that is served. */
typedef struct served_by {
    uint32_t slot; /* there */
    uint32_t gen;
    int64_t lease_nusd; /* what the keeper has leased to it */
} served_by_t;

/* Who serves an account now.  As long as there are shards (served_bytes): for 64 of them it would be 1 KiB, and there is one for each account in use. */
typedef struct served {
    uint64_t id;
    uint64_t
        batch; /* in which it was last looked at: its state before that batch is kept until the commit */
    uint64_t open_mask;  /* shards that opened it */
    uint64_t short_mask; /* shards that were refused a lease and wait for a change */
    served_by_t shard[];
} served_t;

typedef struct kmy_keeper_book {
    kmy_price_book_t book;
    kmy_err_t err;
    kmy_errctx_t ctx;
    sem_t done;
} kmy_keeper_book_t;

typedef struct addressed {
    uint32_t shard;
    kmy_tell_t tell;
} addressed_t;

struct kmy_keeper {
    kmy_ledger_t *ledger;
    kmy_topology_t *topology;
    kmy_metrics_t *metrics;
    served_t **by_id; /* ledger ids are dense from 1; owned */
    uint64_t by_id_cap;
    addressed_t *tells; /* made in this batch, sent after its commit */
    size_t tells_count;
    kmy_ask_t *asks;
    uint32_t *ask_shard;
    size_t asks_count;
    uint64_t entries_count;  /* of the journal, after the last commit */
    uint64_t jobs[KMY_JOBS]; /* of this batch: indices of topology->jobs */
    size_t jobs_count;
    uint64_t credited_nusd; /* by this batch: counted once it is on disk */
    uint64_t batch;
    uint8_t *
        before; /* copies of what this batch touched (kmy_keeper_before), to go back to if the disk refuses it */
    size_t before_count;
    kmy_keeper_rotate_t *rotate; /* NULL: keys are not rotated here */
    void *rotate_arg;
    int64_t refused_ns;     /* since when the disk refuses batches; 0: it does not */
    int64_t told_ns;        /* when the log said so last */
    int64_t returns_ns;     /* not looked at allowances again before; monotonic */
    int64_t damage_told_ns; /* the same of stored data that is damaged; 0: none was met */
    const kmy_receipt_key_t *receipt_key; /* NULL: none are issued */
    const kmy_catalog_t *catalog;         /* NULL: no passes are sold */
    uint32_t *feed_ids; /* the ledger's, by feed (engine/uses.h); 0: not asked yet; owned */
    kmy_use_t *uses;    /* of the report being done, with the ledger's ids; owned */
    size_t uses_cap;
    kmy_keeper_book_t *_Atomic book_wanted; /* the main thread waits for it */
    kmy_keeper_book_t *book;                /* of this batch */
    atomic_bool stop;
    pthread_t thread;
};

/* keeper.c: one ask, inside the batch.  Its tells wait for the commit. */
void kmy_keeper_do_ask(kmy_keeper_t *k, uint32_t shard, const kmy_ask_t *a);
/* It cannot be done, for good: whoever asked is told so. */
void kmy_keeper_fail(kmy_keeper_t *k, uint32_t shard, const kmy_ask_t *a, kmy_err_t err,
                     const kmy_errctx_t *ctx);
/* Of an account (0: not known) whose records, or of a file that, cannot be read: to the log, now and then. */
void kmy_keeper_log_damage(kmy_keeper_t *k, uint64_t account_id, const char *what);
/* An operator's answer, to be filled further. */
kmy_tell_t *kmy_keeper_answer(kmy_keeper_t *k, uint32_t shard, const kmy_ask_t *a, kmy_err_t err,
                              const kmy_errctx_t *ctx);
/* The account has more, or less: who serves it looks again; in debt, who holds a lease is called to give it back. */
void kmy_keeper_tell_change(kmy_keeper_t *k, const kmy_account_t *acc);

/* The account as a shard's message about it begins: to be filled further. */
kmy_tell_t *kmy_keeper_tell_shard(kmy_keeper_t *k, const served_t *v, uint32_t shard, uint32_t kind,
                                  const kmy_account_t *acc);
/* Who serves it; made if need be, and kept as it was until the commit. */
served_t *kmy_keeper_served(kmy_keeper_t *k, uint64_t id);

static inline size_t kmy_keeper_served_bytes(const kmy_topology_t *t)
{
    return sizeof(served_t) + t->shards_count * sizeof(served_by_t);
}
/* The i-th copy. */
static inline served_t *kmy_keeper_before(const kmy_keeper_t *k, size_t i)
{
    return (served_t *)(k->before + i * kmy_keeper_served_bytes(k->topology));
}

/* keeper.c: the account's figures, as it is answered. */
void kmy_keeper_put_figures(kmy_tell_t *t, const kmy_account_t *acc);

/* keeper_allow.c: an allowance of the parent, and its answer; whether it can be made once ask's amount_nusd was credited (kmy_ledger_allow_check). */
void kmy_keeper_allow(kmy_keeper_t *k, uint32_t shard, const kmy_ask_t *a, uint64_t parent_id);
kmy_err_t kmy_keeper_allow_check(kmy_keeper_t *k, const kmy_ask_t *a, uint64_t parent_id,
                                 kmy_errctx_t *ctx);
void kmy_keeper_do_allow(kmy_keeper_t *k, uint32_t shard, const kmy_ask_t *a);
/* Gives back what is due, at most so many; the number it looked at. */
uint32_t kmy_keeper_do_returns(kmy_keeper_t *k, uint32_t max);

/* keeper_pass.c: the account's passes, to the shard that opens it; and a purchase. */
void kmy_keeper_tell_passes(kmy_keeper_t *k, const served_t *v, uint32_t shard,
                            const kmy_account_t *acc);
void kmy_keeper_do_passes(kmy_keeper_t *k, uint32_t shard, const kmy_ask_t *a);

/* keeper_use.c: the ledger's id of a feed (engine/uses.h); a report's uses with such ids, borrowed until the next; an account's usage; a price book. */
kmy_err_t kmy_keeper_feed(kmy_keeper_t *k, uint32_t feed, uint32_t *id, kmy_errctx_t *ctx);
kmy_err_t kmy_keeper_uses(kmy_keeper_t *k, const kmy_ask_t *a, const kmy_use_t **uses,
                          kmy_errctx_t *ctx);
/* Behind a batch that was refused: ids that it made are none. */
void kmy_keeper_forget_feeds(kmy_keeper_t *k);
void kmy_keeper_do_usage(kmy_keeper_t *k, uint32_t shard, const kmy_ask_t *a);
void kmy_keeper_do_book(kmy_keeper_t *k);
/* err: of the batch. */
void kmy_keeper_answer_book(kmy_keeper_t *k, kmy_err_t err, const kmy_errctx_t *ctx);

/* keeper_batch.c: the thread. */
void *kmy_keeper_run(void *arg);

#endif
