/* into the store 1/2   in: ringbuf/ring (keeper)   out: engine/routes, tools/kamiyo snapshot, any LMDB binding

   The snapshot store: an LMDB environment (keys and the numbers below big-endian) with
     last     u32 feed, u8 source, u8 kind   -> newest tick of that feed from that source of that kind
     history  u64 seq                        -> tick, so that writes append
     hindex   u32 feed, u32 minute (epoch)   -> u64 first seq, u64 first offset received in that minute
     feeds    name                           -> u32 id (stable for ever, over a rebuild too)
     offsets  u32 feed / 128                 -> 128 x u64: newest offset of each of these feeds
     meta     word                           -> format, epoch, clean, next_seq, history_bytes
     minutes  u32 minute, u32 feed, u32 minute of hindex -> what retention takes away with that minute
   Values of last and history are FlatBuffers of wire/tick.fbs without size prefix; the caller brings
   the encoded bytes (store knows no wire format).

   A binding that wants a map size (python3-lmdb takes 10 MiB by itself) is given the size of data.mdb,
   else the environment outgrows it (MDB_MAP_RESIZED).

   One writer (the keeper thread; a second process is refused), any number of reading processes.
   Relaxed durability (kv.h), so the folder also holds `state`, a small text file that is written
   durably at open and close: epoch, which boot of the machine, clean or dirty, feed ids.  From it an
   open knows what happened since: a clean stop; a death of the process (the environment is whole, the
   epoch changes, because ticks may have been delivered that were never stored); or a death of the
   machine (the environment cannot be trusted: moved aside, rebuilt, feed ids kept). */
#ifndef KMY_STORE_SNAPSHOT_H
#define KMY_STORE_SNAPSHOT_H

#include "base/err.h"
#include "base/limits.h"
#include "base/tick.h"
#include "store/kv.h"

#define KMY_SNAPSHOT_FORMAT          1
#define KMY_SNAPSHOT_EPOCH_BYTES     24 /* of an epoch's text, with terminator */
#define KMY_SNAPSHOT_VALUE_BYTES_MAX 512
#define KMY_SNAPSHOT_FEED_ID_MAX     (1u << 20)

typedef struct kmy_snapshot_options {
    uint64_t map_bytes;   /* 0: 16 GiB of address space; the file has that size, but sparse */
    unsigned readers_max; /* 0: 1024 */
    int64_t
        history_age_ns_max; /* ticks received longer ago are removed, at most a minute late; 0: no
                                   history is kept at all */
    uint64_t
        history_bytes_max; /* the oldest are removed above this many bytes of values; 0, or more
                                   than half the map: half the map */
} kmy_snapshot_options_t;

typedef struct kmy_snapshot kmy_snapshot_t;

/* Opens for writing; blocks on the disk.  *clean: the last writer stopped by kmy_snapshot_close (true
   for a fresh store).  A damaged environment is moved aside (<path>.damaged-<n>, n from 1 to 4; the
   fourth gives way to a fifth) and rebuilt empty, and *rebuilt says so.
     KMY_CONFIG    a newer format version, another LMDB version
     KMY_CONFLICT  another process writes this store, or this one has it open already
     KMY_IO        no permission, no space
   *out is NULL on failure. */
kmy_err_t kmy_snapshot_open(kmy_snapshot_t **out, const char *path,
                            const kmy_snapshot_options_t *options, bool *clean, bool *rebuilt,
                            kmy_errctx_t *ctx);
/* Marks a clean stop (what it needs on disk is synced) and frees.  Shared readers are closed before.
   NULL is allowed. */
void kmy_snapshot_close(kmy_snapshot_t *s);

/* The id of a feed name, given at first sight and kept for ever.  1 to KMY_FEED_NAME_BYTES_MAX - 1
   bytes without control characters, else KMY_BAD_INPUT.  Start-up only: a transaction for a new name. */
kmy_err_t kmy_snapshot_feed_id(kmy_snapshot_t *s, const char *name, uint32_t *id,
                               kmy_errctx_t *ctx);
/* Next tick number to give out (above everything in history, from 1), and a feed's last offset (0: none). */
kmy_err_t kmy_snapshot_resume(kmy_snapshot_t *s, uint64_t *next_seq, kmy_errctx_t *ctx);
kmy_err_t kmy_snapshot_last_offset(kmy_snapshot_t *s, uint32_t feed_id, uint64_t *offset,
                                   kmy_errctx_t *ctx);
/* The epoch: kept over clean stops, new after an unclean one or a rebuild; text of [0-9a-z], terminated,
   valid until close. */
const char *kmy_snapshot_epoch(const kmy_snapshot_t *s);

/* One tick with its encoded value (borrowed until the flush returns). */
typedef struct kmy_snapshot_item {
    const kmy_tick_t
        *tick; /* feed_id from kmy_snapshot_feed_id (1..KMY_SNAPSHOT_FEED_ID_MAX, asserted) */
    const void *value;
    size_t value_bytes; /* 1..KMY_SNAPSHOT_VALUE_BYTES_MAX, asserted */
} kmy_snapshot_item_t;

/* Writes items[0..n) in one transaction: all of them to history, the newest of each (feed, source,
   kind) to last; then prunes, at most 2 n + 256 rows, so that retention keeps up at any rate; n = 0
   only prunes.  Items stand in ascending seq; others are stored all the same, slower (one
   below the oldest minute's first seq counts as too old).  Allocates only
   when n or a feed id is larger than ever before.  now_ns: wall clock.
   On failure nothing of this batch is stored, and the caller may go on with the next one:
     KMY_IO    no disk space      KMY_FULL  the map is full, for a reader holds on to old pages */
kmy_err_t kmy_snapshot_flush(kmy_snapshot_t *s, const kmy_snapshot_item_t *items, size_t n,
                             int64_t now_ns, kmy_errctx_t *ctx);

/* Figures of the writer, for metrics and tests. */
typedef struct kmy_snapshot_stats {
    uint64_t history_rows;
    uint64_t history_bytes;
    uint64_t oldest_seq; /* 0: history is empty */
    uint64_t newest_seq;
    uint64_t file_bytes_used; /* up to the highest page ever used */
    unsigned dead_readers_cleared;
} kmy_snapshot_stats_t;
kmy_err_t kmy_snapshot_stats(kmy_snapshot_t *s, kmy_snapshot_stats_t *out, kmy_errctx_t *ctx);

/* --- readers: one thread at a time each; values are borrowed from the map until the visitor returns.
   A visit is one transaction: it sees one instant of the store, and while it lasts no page of it is
   reused, so a long visit makes the file grow. --- */
typedef struct kmy_snapshot_reader kmy_snapshot_reader_t;

/* From any other process.  (KMY_CONFLICT in the writer's own: kmy_snapshot_reader_share.) */
kmy_err_t kmy_snapshot_reader_open(kmy_snapshot_reader_t **out, const char *path,
                                   kmy_errctx_t *ctx);
/* A reader of the writer's own process, for any thread; closed before the snapshot is. */
kmy_err_t kmy_snapshot_reader_share(kmy_snapshot_reader_t **out, kmy_snapshot_t *s,
                                    kmy_errctx_t *ctx);
void kmy_snapshot_reader_close(kmy_snapshot_reader_t *r);

/* A visitor returns false to stop. */
typedef bool kmy_snapshot_visit_t(void *arg, uint32_t feed_id, uint8_t source, uint8_t kind,
                                  const void *value, size_t bytes);
typedef bool kmy_snapshot_history_visit_t(void *arg, uint64_t seq, const void *value, size_t bytes);
kmy_err_t kmy_snapshot_visit_last(kmy_snapshot_reader_t *r, uint32_t feed_id /* 0: all */,
                                  kmy_snapshot_visit_t *visit, void *arg, kmy_errctx_t *ctx);
/* History from seq on, ascending. */
kmy_err_t kmy_snapshot_visit_history(kmy_snapshot_reader_t *r, uint64_t from_seq,
                                     kmy_snapshot_history_visit_t *visit, void *arg,
                                     kmy_errctx_t *ctx);
typedef bool kmy_snapshot_feed_visit_t(void *arg, const char *name, size_t name_bytes,
                                       uint32_t feed_id);
kmy_err_t kmy_snapshot_visit_feeds(kmy_snapshot_reader_t *r, kmy_snapshot_feed_visit_t *visit,
                                   void *arg, kmy_errctx_t *ctx);
/* Where to begin reading history for a feed's tick of this offset: *seq is at or below that tick's, the nearest that hindex
   knows (a minute of ticks of all feeds may lie between).  An offset older than all that is held gives the oldest place.  In the
   oldest minute held, the tick of that seq may be gone already.  KMY_NOT_FOUND: no history of this feed at all.  Looks at the
   feed's rows of hindex, one a minute, from the newest back. */
kmy_err_t kmy_snapshot_seek_offset(kmy_snapshot_reader_t *r, uint32_t feed_id, uint64_t offset,
                                   uint64_t *seq, kmy_errctx_t *ctx);
/* First seq and offset of a feed at or after a minute, from hindex; KMY_NOT_FOUND: none.  In the
   oldest minute held, that seq may be gone already: visiting history from it starts at the oldest. */
kmy_err_t kmy_snapshot_seek(kmy_snapshot_reader_t *r, uint32_t feed_id, uint32_t minute,
                            uint64_t *seq, uint64_t *offset, kmy_errctx_t *ctx);

#endif
