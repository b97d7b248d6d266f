/* into the store 1/2   in: ringbuf/ring (keeper)   out: LMDB

   A flush: one transaction of history rows, the newest values, offsets and some pruning.  What it
   costs is pages copied, so a feed's value is written once per flush however many ticks it had. */
#include "store/snapshot_impl.h"
#include "base/clock.h"

#include <stdlib.h>

#define NS_PER_MINUTE     (60 * KMY_NS_PER_S)
#define READERS_CHECK_NS  (10 * KMY_NS_PER_S)
#define PRUNE_ROWS_IDLE   256
#define FEEDS_CAP_FIRST   256
#define PAGE_BYTES        4096
/* New pages of one flush, at most: a row may copy a leaf of last, offsets, hindex and minutes, 2 n + 256
   pruned rows one of hindex each, and splits and the branches above add less than two a row. */
#define PAGES_PER_ROW_MAX 8

static uint64_t mix(uint64_t key)
{
    key *= UINT64_C(0x9e3779b97f4a7c15); /* keys are our own numbers: no need of a keyed hash */
    return key ^ key >> 32;
}

/* true the first time in this flush. */
static bool first_sight(kmy_snapshot_t *s, uint64_t key)
{
    size_t mask = s->dedupe_count - 1;
    for (size_t i = mix(key) & mask;; i = (i + 1) & mask) {
        dedupe_slot_t *slot = &s->dedupe[i];
        if (slot->flush != s->flush) {
            *slot = (dedupe_slot_t){ key, s->flush };
            return true;
        }
        if (slot->key == key)
            return false;
    }
}

static bool dedupe_room(kmy_snapshot_t *s, size_t n)
{
    size_t count = s->dedupe_count ? s->dedupe_count : 1024;
    while (count < 2 * n)
        count *= 2;
    if (count == s->dedupe_count)
        return true;
    dedupe_slot_t *slots = calloc(count, sizeof *slots);
    last_row_t *newest = calloc(count, sizeof *newest);
    if (!slots || !newest) {
        free(slots);
        free(newest);
        return false;
    }
    free(s->dedupe);
    free(s->newest);
    s->dedupe = slots;
    s->newest = newest;
    s->dedupe_count = count;
    return true;
}

bool kmy_snapshot_feeds_room(kmy_snapshot_t *s, uint32_t feed_id)
{
    if (feed_id < s->feeds_cap)
        return true;
    uint32_t old = s->feeds_cap;
    uint32_t cap = old ? old : FEEDS_CAP_FIRST;
    while (cap <= feed_id)
        cap *= 2;
    uint32_t *minutes = realloc(s->feed_minute, cap * sizeof *minutes);
    if (minutes)
        s->feed_minute = minutes;
    offsets_row_t *offsets = realloc(s->offsets, cap / OFFSETS_PER_ROW * sizeof *offsets);
    if (offsets)
        s->offsets = offsets;
    if (!minutes || !offsets)
        return false;
    memset(minutes + old, 0, (cap - old) * sizeof *minutes);
    memset(offsets + old / OFFSETS_PER_ROW, 0, (cap - old) / OFFSETS_PER_ROW * sizeof *offsets);
    s->feeds_cap = cap;
    return true;
}

_Static_assert(FEEDS_CAP_FIRST % OFFSETS_PER_ROW == 0, "whole rows");

static bool room(kmy_snapshot_t *s, const kmy_snapshot_item_t *items, size_t n)
{
    uint32_t feed_id_max = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t id = items[i].tick->feed_id;
        KMY_ASSERT(id > 0 && id <= KMY_SNAPSHOT_FEED_ID_MAX);
        KMY_ASSERT(items[i].value_bytes > 0);
        KMY_ASSERT(items[i].value_bytes <= KMY_SNAPSHOT_VALUE_BYTES_MAX);
        feed_id_max = id > feed_id_max ? id : feed_id_max;
    }
    return dedupe_room(s, n) && kmy_snapshot_feeds_room(s, feed_id_max);
}

/* --- history --- */

static uint32_t minute_of(int64_t ns)
{
    int64_t minute = ns > 0 ? ns / NS_PER_MINUTE : 0;
    return minute > UINT32_MAX ? UINT32_MAX : (uint32_t)minute;
}

static int put_new(MDB_txn *txn, MDB_dbi db, MDB_val key, MDB_val data)
{
    int rc = mdb_put(txn, db, &key, &data, MDB_NOOVERWRITE);
    return rc == MDB_KEYEXIST ? 0 : rc;
}

/* `minutes` says what goes with a minute: first (minute, 0, 0) with its first seq, then a row for each
   row of hindex made in it.  Its minute never falls, even if the wall clock steps back. */
static int index_minute(kmy_snapshot_t *s, MDB_txn *txn, const kmy_tick_t *tick, uint32_t minute)
{
    uint8_t key[12] = { 0 };
    uint8_t value[16];
    int rc = 0;
    be64(value, tick->seq);
    be64(value + 8, tick->offset);
    if (minute > s->at.minute || s->at.minute == 0) {
        s->at.minute = minute;
        be32(key, minute);
        rc = put_new(txn, s->db[DB_MINUTES], val(key, 12), val(value, 8));
        if (rc)
            return rc;
    }
    be32(key, s->at.minute);
    be32(key + 4, tick->feed_id);
    be32(key + 8, minute);
    rc = put_new(txn, s->db[DB_HINDEX], val(key + 4, 8), val(value, 16));
    return rc ? rc : put_new(txn, s->db[DB_MINUTES], val(key, 12), val(key, 0));
}

/* seq is not above the newest: a tick written before is replaced, any other finds its place. */
static int put_out_of_order(kmy_snapshot_t *s, MDB_cursor *cursor, MDB_val key, MDB_val data,
                            uint64_t seq)
{
    MDB_val old_key = key;
    MDB_val old;
    int rc = mdb_cursor_get(cursor, &old_key, &old, MDB_SET);
    if (rc == 0)
        s->at.bytes -= old.mv_size;
    else if (rc != MDB_NOTFOUND)
        return rc;
    if (seq < s->at.oldest_seq)
        s->at.oldest_seq = seq;
    return mdb_cursor_put(cursor, &key, &data, 0);
}

static int put_history_row(kmy_snapshot_t *s, MDB_cursor *cursor, const kmy_snapshot_item_t *item)
{
    uint64_t seq = item->tick->seq;
    uint8_t key_bytes[8];
    be64(key_bytes, seq);
    MDB_val key = val(key_bytes, 8);
    MDB_val data = val(item->value, item->value_bytes);
    int rc;
    if (seq > s->at.newest_seq || s->at.newest_seq == 0) {
        rc = mdb_cursor_put(cursor, &key, &data, MDB_APPEND);
        if (s->at.newest_seq == 0)
            s->at.oldest_seq = seq;
        s->at.newest_seq = seq;
    } else {
        rc = put_out_of_order(s, cursor, key, data, seq);
    }
    s->at.bytes += item->value_bytes;
    return rc;
}

static int put_history(kmy_snapshot_t *s, MDB_txn *txn, const kmy_snapshot_item_t *items, size_t n)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn, s->db[DB_HISTORY], &cursor);
    if (rc)
        return rc;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const kmy_tick_t *tick = items[i].tick;
        uint32_t minute = minute_of(tick->recv_ns);
        rc = put_history_row(s, cursor, &items[i]);
        if (rc == 0 && s->feed_minute[tick->feed_id] != minute) {
            rc = index_minute(s, txn, tick, minute);
            s->feed_minute[tick->feed_id] = minute;
        }
    }
    mdb_cursor_close(cursor);
    return rc;
}

/* --- newest values --- */

/* Ascending keys: a cursor that stands on the right page already need not come down from the root.
   One counting pass for each byte in which keys differ: two or three of six (a comparing sort took a
   tenth of the flush).  Leaves the result in rows; spare has the same room. */
static void sort_newest(last_row_t *rows, last_row_t *spare, size_t n)
{
    uint64_t differ = 0;
    for (size_t i = 1; i < n; i++)
        differ |= rows[i].key ^ rows[0].key;
    last_row_t *from = rows;
    last_row_t *to = spare;
    for (unsigned shift = 0; shift < 48; shift += 8) {
        if ((differ >> shift & 255) == 0)
            continue;
        uint32_t at[256] = { 0 };
        uint32_t sum = 0;
        for (size_t i = 0; i < n; i++)
            at[from[i].key >> shift & 255]++;
        for (size_t b = 0; b < 256; b++) {
            uint32_t count = at[b];
            at[b] = sum;
            sum += count;
        }
        for (size_t i = 0; i < n; i++)
            to[at[from[i].key >> shift & 255]++] = from[i];
        last_row_t *swap = from;
        from = to;
        to = swap;
    }
    if (from != rows)
        memcpy(rows, from, n * sizeof *rows);
}

/* The newest item of each (feed, source, kind); returns how many. */
static size_t find_newest(kmy_snapshot_t *s, const kmy_snapshot_item_t *items, size_t n)
{
    size_t count = 0;
    for (size_t i = n; i-- > 0;) { /* from the end: the first seen is the newest */
        const kmy_tick_t *tick = items[i].tick;
        uint64_t key = (uint64_t)tick->feed_id << 16 | (uint64_t)tick->source << 8 | tick->kind;
        if (first_sight(s, key))
            s->newest[count++] = (last_row_t){ key, i };
    }
    sort_newest(s->newest, s->newest + s->dedupe_count / 2, count);
    return count;
}

static int put_last(kmy_snapshot_t *s, MDB_txn *txn, const kmy_snapshot_item_t *items, size_t n)
{
    MDB_cursor *cursor;
    int rc = mdb_cursor_open(txn, s->db[DB_LAST], &cursor);
    if (rc)
        return rc;
    size_t count = find_newest(s, items, n);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        const kmy_snapshot_item_t *item = &items[s->newest[i].item_idx];
        uint8_t key_bytes[8];
        be64(key_bytes, s->newest[i].key << 16);
        MDB_val key = val(key_bytes, 6);
        MDB_val data = val(item->value, item->value_bytes);
        rc = mdb_cursor_put(cursor, &key, &data, 0);
    }
    mdb_cursor_close(cursor);
    return rc;
}

/* What is in memory runs ahead of the disk if the transaction fails: harmless, for the next flush of
   any feed of the row writes it, and those offsets were given out. */
static int put_offsets(kmy_snapshot_t *s, MDB_txn *txn, const kmy_snapshot_item_t *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t id = items[i].tick->feed_id;
        be64(s->offsets[id / OFFSETS_PER_ROW].offset[id % OFFSETS_PER_ROW], items[i].tick->offset);
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t row_idx = items[i].tick->feed_id / OFFSETS_PER_ROW;
        offsets_row_t *row = &s->offsets[row_idx];
        if (row->flush == s->flush)
            continue;
        row->flush = s->flush;
        uint8_t key_bytes[4];
        be32(key_bytes, row_idx);
        MDB_val key = val(key_bytes, sizeof key_bytes);
        MDB_val data = val(row->offset, sizeof row->offset);
        int rc = mdb_put(txn, s->db[DB_OFFSETS], &key, &data, 0);
        if (rc)
            return rc;
    }
    return 0;
}

static int put_counters(kmy_snapshot_t *s, MDB_txn *txn)
{
    uint8_t value[8];
    be64(value, s->at.next_seq);
    int rc = kmy_snapshot_put_meta(s, txn, "next_seq", value, 8);
    be64(value, s->at.bytes);
    return rc ? rc : kmy_snapshot_put_meta(s, txn, "history_bytes", value, 8);
}

/* --- the flush --- */

static int write_all(kmy_snapshot_t *s, MDB_txn *txn, const kmy_snapshot_item_t *items, size_t n,
                     int64_t now_ns)
{
    int rc = 0;
    if (s->options.history_age_ns_max > 0)
        rc = put_history(s, txn, items, n);
    for (size_t i = 0; i < n; i++)
        if (items[i].tick->seq >= s->at.next_seq)
            s->at.next_seq = items[i].tick->seq + 1;
    if (rc == 0)
        rc = put_last(s, txn, items, n);
    if (rc == 0)
        rc = put_offsets(s, txn, items, n);
    if (rc == 0)
        rc = kmy_snapshot_prune(s, txn, now_ns, 2 * n + PRUNE_ROWS_IDLE);
    return rc ? rc : put_counters(s, txn);
}

/* What was remembered about rows that are not there after all. */
static void forget(kmy_snapshot_t *s, const history_at_t *before)
{
    s->at = *before;
    s->index_left = true;
    memset(s->feed_minute, 0, s->feeds_cap * sizeof *s->feed_minute);
}

static void check_readers(kmy_snapshot_t *s, int64_t now_ns)
{
    if (now_ns - s->readers_checked_ns < READERS_CHECK_NS && now_ns >= s->readers_checked_ns)
        return;
    s->readers_checked_ns = now_ns;
    s->dead_readers += kmy_kv_clear_dead_readers(&s->kv);
}

static kmy_err_t prepare(kmy_snapshot_t *s, const kmy_snapshot_item_t *items, size_t n,
                         int64_t now_ns, kmy_errctx_t *ctx)
{
    check_readers(s, now_ns);
    if (!room(s, items, n))
        return KMY_FAIL(ctx, KMY_IO, "out of memory for a batch of %zu ticks", n);
    if (s->feeds_unsaved) { /* once after start-up */
        kmy_err_t err = kmy_snapshot_state_write(s->path, &s->state, ctx);
        if (err != KMY_OK)
            return err;
        s->feeds_unsaved = false;
    }
    return kmy_kv_reserve(&s->kv, (n + PRUNE_ROWS_IDLE) * PAGES_PER_ROW_MAX * PAGE_BYTES, ctx);
}

kmy_err_t kmy_snapshot_flush(kmy_snapshot_t *s, const kmy_snapshot_item_t *items, size_t n,
                             int64_t now_ns, kmy_errctx_t *ctx)
{
    kmy_err_t err = prepare(s, items, n, now_ns, ctx);
    if (err != KMY_OK)
        return err;
    MDB_txn *txn;
    int rc = mdb_txn_begin(s->kv.env, NULL, 0, &txn);
    if (rc)
        return kmy_kv_fail(ctx, rc, "snapshot flush");
    history_at_t before = s->at;
    s->flush++;
    rc = write_all(s, txn, items, n, now_ns);
    if (rc == 0)
        rc = mdb_txn_commit(txn);
    else
        mdb_txn_abort(txn);
    if (rc) {
        forget(s, &before);
        s->readers_checked_ns = 0; /* a dead reader may be why */
        return kmy_kv_fail(ctx, rc, "snapshot flush");
    }
    return KMY_OK;
}
