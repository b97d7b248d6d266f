/* into the store 1/2   in: ringbuf/ring (keeper)   out: engine/routes, tools/kamiyo snapshot, any LMDB binding

   The snapshot store: an LMDB environment with, keys big-endian,
     last     u32 feed, u8 source, u8 kind   -> newest tick of that feed from that source of that kind
     history  u64 seq                        -> tick, so that writes append
     hindex   u32 feed, u32 minute (epoch)   -> u64 first seq, u64 first offset in that minute
     feeds    name                           -> u32 id (stable for ever)
     meta     word                           -> format version, epoch, clean-stop mark, next seq, offsets
   Values are FlatBuffers of wire/tick.fbs without size prefix; the caller brings the encoded bytes (store knows no wire format).
   One writer (the keeper thread), any number of reading processes.  Relaxed durability: see kv.h. */
#ifndef KMY_STORE_SNAPSHOT_H
#define KMY_STORE_SNAPSHOT_H

#include "base/err.h"
#include "base/limits.h"
#include "base/tick.h"
#include "store/kv.h"

typedef struct kmy_snapshot_options {
    uint64_t map_bytes;         /* 0: 16 GiB of address space */
    unsigned readers_max;       /* 0: 1024 */
    int64_t history_age_ns_max; /* ticks older than this are removed; 0: keep none at all */
    uint64_t history_bytes_max; /* the oldest are removed above this many bytes of values */
} kmy_snapshot_options_t;

typedef struct kmy_snapshot kmy_snapshot_t;

/* Opens for writing.  *clean: the last writer stopped by kmy_snapshot_close (true for a fresh store).  A damaged environment is moved aside
   (<path>.damaged-<n>) and rebuilt empty, and *rebuilt says so.  A newer format version is KMY_CONFIG. */
kmy_err_t kmy_snapshot_open(kmy_snapshot_t **out, const char *path,
                            const kmy_snapshot_options_t *options, bool *clean, bool *rebuilt,
                            kmy_errctx_t *ctx);
/* Marks a clean stop (what it needs on disk is synced) and frees. */
void kmy_snapshot_close(kmy_snapshot_t *s);

/* The id of a feed name, given at first sight and kept for ever.  Start-up only. */
kmy_err_t kmy_snapshot_feed_id(kmy_snapshot_t *s, const char *name, uint32_t *id,
                               kmy_errctx_t *ctx);
/* Next tick number to give out (above everything in history), and a feed's last offset (0: none).  Start-up only. */
kmy_err_t kmy_snapshot_resume(kmy_snapshot_t *s, uint64_t *next_seq, kmy_errctx_t *ctx);
kmy_err_t kmy_snapshot_last_offset(kmy_snapshot_t *s, uint32_t feed_id, uint64_t *offset,
                                   kmy_errctx_t *ctx);
/* The epoch: kept over clean stops, new after an unclean one or a rebuild; text of [0-9a-z], terminated. */
const char *kmy_snapshot_epoch(const kmy_snapshot_t *s);

/* One tick with its encoded value (borrowed until the flush returns). */
typedef struct kmy_snapshot_item {
    const kmy_tick_t *tick;
    const void *value;
    size_t value_bytes;
} kmy_snapshot_item_t;
/* Writes items[0..n) (ascending seq) in one transaction and prunes history by age and bytes, a bounded amount per call.  On failure nothing of
   this batch is stored; the caller may go on with the next one (KMY_IO: disk full and the like). */
kmy_err_t kmy_snapshot_flush(kmy_snapshot_t *s, const kmy_snapshot_item_t *items, size_t n,
                             int64_t now_ns, kmy_errctx_t *ctx);

/* Readers: any process.  Opened read-only; values are borrowed from the map until the visitor returns. */
typedef struct kmy_snapshot_reader kmy_snapshot_reader_t;
kmy_err_t kmy_snapshot_reader_open(kmy_snapshot_reader_t **out, const char *path,
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
/* First seq and offset of a feed at or after a minute, from hindex; KMY_NOT_FOUND: none. */
kmy_err_t kmy_snapshot_seek(kmy_snapshot_reader_t *r, uint32_t feed_id, uint32_t minute,
                            uint64_t *seq, uint64_t *offset, kmy_errctx_t *ctx);

#endif
