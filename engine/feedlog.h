/* tick 6/8   in: wire/tick_json, wire/flat   out: engine/egress

   The log of one feed in one encoding: finished frames, back to back, the newest few thousand.  A subscription is a cursor into it, so that a
   connection costs a cursor and not a queue.  Owned by one shard.

   Bytes lie in a mirrored mapping (the same pages twice in a row), so that any run of frames is one contiguous piece.  The log grows by
   doubling while it would have to drop frames younger than the lag limits, up to its maximum; then the oldest go, and readers behind them
   have a gap. */
#ifndef KMY_ENGINE_FEEDLOG_H
#define KMY_ENGINE_FEEDLOG_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct kmy_feedlog_mark {
    uint64_t begin;  /* byte position of the frame, counted from the log's birth */
    int64_t mono_ns; /* when it was appended */
    uint64_t seq;    /* of its tick: daemon-wide, rises within a log */
} kmy_feedlog_mark_t;

typedef struct kmy_feedlog {
    uint8_t *bytes;            /* 2 x bytes_cap of address space; owned */
    kmy_feedlog_mark_t *marks; /* marks_cap; mark of offset o at o & (marks_cap - 1); owned */
    uint64_t bytes_cap;        /* power of two, at least a page; 0: never used */
    uint64_t marks_cap;        /* power of two */
    uint64_t first;            /* oldest offset held; == next: empty */
    uint64_t next;             /* offset that comes next */
    uint64_t end;              /* byte position behind the newest frame */
    int64_t
        unused_ns; /* since when nobody has a cursor on it; the owner closes it some time later */
    uint32_t users_count; /* cursors on it */
} kmy_feedlog_t;

typedef struct kmy_feedlog_limits {
    uint64_t keep_ticks; /* hold at least this many ticks ... */
    int64_t keep_ns;     /* ... or those of the last so many ns, whichever is less */
    uint64_t bytes_max;  /* never more than this, power of two */
} kmy_feedlog_limits_t;

/* Opens an empty log whose first frame will have offset `next`.  false: no memory. */
bool kmy_feedlog_open(kmy_feedlog_t *log, uint64_t next);
void kmy_feedlog_close(kmy_feedlog_t *log);

/* Room for a frame of up to frame_bytes_max; write it, then kmy_feedlog_commit its true length under `offset`.  If offset is not log->next (ticks were
   lost on the way here), everything held is dropped first: cursors below see a gap.  Never fails: at its limits it drops the oldest. */
uint8_t *kmy_feedlog_reserve(kmy_feedlog_t *log, const kmy_feedlog_limits_t *limits,
                             uint64_t offset, size_t frame_bytes_max, int64_t mono_ns);
void kmy_feedlog_commit(kmy_feedlog_t *log, size_t frame_bytes, uint64_t seq, int64_t mono_ns);

static inline uint64_t kmy_feedlog_begin(const kmy_feedlog_t *log, uint64_t offset)
{
    return offset == log->next ? log->end : log->marks[offset & (log->marks_cap - 1)].begin;
}

/* Of the frame at `offset`: first <= offset < next. */
static inline uint64_t kmy_feedlog_seq(const kmy_feedlog_t *log, uint64_t offset)
{
    return log->marks[offset & (log->marks_cap - 1)].seq;
}

/* The byte at a position. */
static inline const uint8_t *kmy_feedlog_at(const kmy_feedlog_t *log, uint64_t position)
{
    return log->bytes + (position & (log->bytes_cap - 1));
}

/* The frames [from, from + n): one contiguous piece.  first <= from, from + n <= next. */
static inline const uint8_t *kmy_feedlog_run(const kmy_feedlog_t *log, uint64_t from, uint64_t n,
                                             size_t *bytes)
{
    uint64_t begin = kmy_feedlog_begin(log, from);
    *bytes = (size_t)(kmy_feedlog_begin(log, from + n) - begin);
    return kmy_feedlog_at(log, begin);
}

/* How many whole frames from `from` on fit into `bytes` (all of them if they do). */
uint64_t kmy_feedlog_fit(const kmy_feedlog_t *log, uint64_t from, uint64_t n, size_t bytes);

/* As many whole frames of [from, from + *n) as fit into `room` bytes: one contiguous piece; *n says how many.  The limits are those of kmy_feedlog_run. */
static inline const uint8_t *kmy_feedlog_piece(const kmy_feedlog_t *log, uint64_t from, uint64_t *n,
                                               size_t room, size_t *bytes)
{
    uint64_t begin = kmy_feedlog_begin(log, from);
    *bytes = (size_t)(kmy_feedlog_begin(log, from + *n) - begin);
    if (__builtin_expect(*bytes > room, false)) {
        *n = kmy_feedlog_fit(log, from, *n, room);
        *bytes = (size_t)(kmy_feedlog_begin(log, from + *n) - begin);
    }
    return kmy_feedlog_at(log, begin);
}

/* The first offset at or after `from` whose seq is above `seq`; next: none is.  first <= from <= next. */
uint64_t kmy_feedlog_after(const kmy_feedlog_t *log, uint64_t from, uint64_t seq);

#endif
