/* What the files of the snapshot store share; nobody else includes this. */
#ifndef KMY_STORE_SNAPSHOT_IMPL_H
#define KMY_STORE_SNAPSHOT_IMPL_H

#include "store/snapshot.h"

#include <limits.h>
#include <string.h>

enum { DB_LAST, DB_HISTORY, DB_HINDEX, DB_FEEDS, DB_OFFSETS, DB_META, DB_MINUTES, DB_COUNT };
extern const char *const kmy_snapshot_db_names[DB_COUNT];

/* --- the state file (snapshot_state.c) --- */

typedef enum {
    STATE_ABSENT,
    STATE_BAD,
    STATE_NEWER, /* of a format this program does not know */
    STATE_OK
} state_result_t;

typedef struct snapshot_state {
    char epoch[KMY_SNAPSHOT_EPOCH_BYTES];
    char boot[48]; /* /proc/sys/kernel/random/boot_id */
    bool clean;
    char (*feed_names)[KMY_FEED_NAME_BYTES_MAX]; /* owned; [id - 1], "" where there is none */
    uint32_t feeds_count;                        /* highest id */
} snapshot_state_t;

state_result_t kmy_snapshot_state_read(const char *path, snapshot_state_t *state);
/* Durable when it returns: written aside, synced, renamed, folder synced. */
kmy_err_t kmy_snapshot_state_write(const char *path, const snapshot_state_t *state,
                                   kmy_errctx_t *ctx);
bool kmy_snapshot_state_set_feed(snapshot_state_t *state, uint32_t id, const char *name,
                                 size_t name_bytes); /* false: out of memory */
void kmy_snapshot_state_fini(snapshot_state_t *state);
void kmy_snapshot_boot_id(char out[48]); /* "" if the kernel does not tell */
void kmy_snapshot_new_epoch(char out[KMY_SNAPSHOT_EPOCH_BYTES]);

/* --- the writer --- */

/* One row of `offsets` is an array: 2,000 feeds are 16 small writes a flush instead of one each. */
#define OFFSETS_PER_ROW 128

typedef struct offsets_row {
    uint64_t flush;                     /* number of the flush that wrote it: once per flush */
    uint8_t offset[OFFSETS_PER_ROW][8]; /* as stored */
} offsets_row_t;

typedef struct dedupe_slot {
    uint64_t key;
    uint64_t flush; /* stale unless it is this flush: no clearing between them */
} dedupe_slot_t;

typedef struct last_row {
    uint64_t key; /* feed, source, kind: in the order of the tree */
    size_t item_idx;
} last_row_t;

/* Where history stands; restored as a whole when a transaction fails. */
typedef struct history_at {
    uint64_t newest_seq; /* 0: empty */
    uint64_t oldest_seq; /* of what is left; only meaningful if not empty */
    uint64_t next_seq;
    uint64_t bytes;
    uint32_t minute;       /* newest in `minutes` */
    uint32_t prune_minute; /* age limit, for which prune_below was looked up */
    uint64_t prune_below;  /* all of lower seq are too old */
} history_at_t;

struct kmy_snapshot {
    kmy_kv_t kv;
    MDB_dbi db[DB_COUNT];
    kmy_snapshot_options_t options;
    snapshot_state_t state;
    bool feeds_unsaved; /* feed ids the state file does not have yet */
    bool index_left;    /* rows of hindex that retention has still to take */
    int writer_fd;      /* flock: one writing process */
    history_at_t at;
    uint64_t flush;
    int64_t readers_checked_ns;
    unsigned dead_readers;
    uint32_t *feed_minute;  /* [feed_id] newest minute in hindex as far as we remember, 0: look */
    offsets_row_t *offsets; /* [feed_id / OFFSETS_PER_ROW] newest of each feed */
    uint32_t feeds_cap;     /* multiple of OFFSETS_PER_ROW */
    dedupe_slot_t *dedupe;
    size_t dedupe_count; /* power of two, at least twice the largest batch */
    last_row_t *newest;  /* dedupe_count / 2, and as many to sort in: the items that go to `last` */
    char path[PATH_MAX];
};

int kmy_snapshot_open_dbs(MDB_txn *txn, MDB_dbi db[DB_COUNT], unsigned flags);
bool kmy_snapshot_feeds_room(kmy_snapshot_t *s, uint32_t feed_id);
int kmy_snapshot_prune(kmy_snapshot_t *s, MDB_txn *txn, int64_t now_ns, size_t rows_max);
int kmy_snapshot_put_meta(kmy_snapshot_t *s, MDB_txn *txn, const char *word, const void *value,
                          size_t bytes);
int kmy_snapshot_get_u64(MDB_txn *txn, MDB_dbi db, const char *word, uint64_t *out);

/* --- big-endian numbers and LMDB's pointer-and-length --- */

static inline void be32(uint8_t *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(p, &v, sizeof v);
}
static inline void be64(uint8_t *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, sizeof v);
}
static inline uint32_t get_be32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return __builtin_bswap32(v);
}
static inline uint64_t get_be64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return __builtin_bswap64(v);
}
static inline MDB_val val(const void *data, size_t size)
{
    return (MDB_val){ size, (void *)(uintptr_t)data };
}

#endif
