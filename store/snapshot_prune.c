/* Retention: the oldest history goes first, a bounded number of rows per flush.

   Deleting from the front while appending at the end keeps both ends' pages hot and gives whole pages
   back, which later flushes reuse; only a reader that stays in an old transaction stops that. */
#include "store/snapshot_impl.h"
#include "base/clock.h"

#define NS_PER_MINUTE (60 * KMY_NS_PER_S)

/* First seq of the first minute at or after `minute`; *found false: there is none. */
static int first_seq_from(kmy_snapshot_t *s, MDB_cursor *minutes, uint32_t minute, uint64_t *seq,
                          bool *found)
{
    (void)s;
    uint8_t key_bytes[12] = { 0 };
    be32(key_bytes, minute);
    MDB_val key = val(key_bytes, sizeof key_bytes);
    MDB_val data;
    int rc = mdb_cursor_get(minutes, &key, &data, MDB_SET_RANGE);
    *found = rc == 0;
    if (rc == MDB_NOTFOUND)
        return 0;
    if (rc == 0 && data.mv_size != 8)
        return MDB_CORRUPTED; /* a minute begins with its (minute, 0, 0) row */
    if (rc == 0)
        *seq = get_be64(data.mv_data);
    return rc;
}

/* Which seqs are too old, looked up once per minute. */
static int find_age_limit(kmy_snapshot_t *s, MDB_cursor *minutes, int64_t now_ns)
{
    int64_t oldest_ns = now_ns - s->options.history_age_ns_max;
    uint32_t minute = oldest_ns > 0 ? (uint32_t)(oldest_ns / NS_PER_MINUTE) : 0;
    if (minute == s->at.prune_minute)
        return 0;
    uint64_t seq = 0;
    bool found;
    int rc = first_seq_from(s, minutes, minute, &seq, &found);
    if (rc)
        return rc;
    s->at.prune_minute = minute;
    s->at.prune_below = found ? seq : s->at.newest_seq + 1;
    return 0;
}

static bool too_old(const kmy_snapshot_t *s, uint64_t seq)
{
    return seq < s->at.prune_below || s->at.bytes > s->options.history_bytes_max;
}

static int prune_rows(kmy_snapshot_t *s, MDB_txn *txn, size_t *rows_left)
{
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val data;
    int rc = mdb_cursor_open(txn, s->db[DB_HISTORY], &cursor);
    if (rc)
        return rc;
    rc = mdb_cursor_get(cursor, &key, &data, MDB_FIRST);
    while (rc == 0 && *rows_left > 0) {
        size_t bytes = data.mv_size;
        s->at.oldest_seq = get_be64(key.mv_data);
        if (!too_old(s, s->at.oldest_seq))
            break;
        rc = mdb_cursor_del(cursor, 0);
        if (rc)
            break;
        s->at.bytes -= bytes;
        s->index_left = true;
        --*rows_left;
        rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT); /* after a delete: the one behind it */
        if (rc == 0)
            s->at.oldest_seq = get_be64(key.mv_data);
    }
    mdb_cursor_close(cursor);
    if (rc != MDB_NOTFOUND)
        return rc;
    s->at.newest_seq = 0; /* empty */
    s->at.oldest_seq = 0;
    return 0;
}

/* The first minute held; *rc MDB_NOTFOUND: none. */
static uint32_t first_minute(MDB_cursor *minutes, int *rc)
{
    MDB_val key;
    MDB_val data;
    *rc = mdb_cursor_get(minutes, &key, &data, MDB_FIRST);
    if (*rc == 0 && key.mv_size != 12)
        *rc = MDB_CORRUPTED;
    return *rc == 0 ? get_be32(key.mv_data) : 0;
}

/* Takes the rows of one whole minute from hindex and minutes; *done: it is gone. */
static int drop_minute(kmy_snapshot_t *s, MDB_txn *txn, MDB_cursor *minutes, uint32_t minute,
                       size_t *rows_left, bool *done)
{
    *done = false;
    while (*rows_left > 0) {
        MDB_val key;
        MDB_val data;
        int rc = mdb_cursor_get(minutes, &key, &data, MDB_FIRST);
        if (rc == MDB_NOTFOUND || (rc == 0 && get_be32(key.mv_data) != minute)) {
            *done = true;
            return 0;
        }
        if (rc)
            return rc;
        uint8_t hindex[8];
        memcpy(hindex, (const uint8_t *)key.mv_data + 4, sizeof hindex);
        if (get_be32(hindex) != 0) {
            MDB_val hkey = val(hindex, sizeof hindex);
            rc = mdb_del(txn, s->db[DB_HINDEX], &hkey, NULL);
            if (rc && rc != MDB_NOTFOUND)
                return rc;
        }
        rc = mdb_cursor_del(minutes, 0);
        if (rc)
            return rc;
        --*rows_left;
    }
    return 0;
}

/* Minutes all of whose ticks are gone: those whose successor begins at or below the oldest tick held.
   The newest minute stays, for it is being written. */
static int prune_index(kmy_snapshot_t *s, MDB_txn *txn, MDB_cursor *minutes, size_t *rows_left)
{
    while (*rows_left > 0) {
        int rc;
        uint64_t seq = 0;
        bool found;
        bool done;
        uint32_t minute = first_minute(minutes, &rc);
        if (rc == MDB_NOTFOUND || (rc == 0 && minute >= s->at.minute)) {
            s->index_left = false;
            return 0;
        }
        if (rc == 0)
            rc = first_seq_from(s, minutes, minute + 1, &seq, &found);
        if (rc)
            return rc;
        bool empty = s->at.newest_seq == 0;
        if (!empty && (!found || seq > s->at.oldest_seq)) {
            s->index_left = false;
            return 0;
        }
        rc = drop_minute(s, txn, minutes, minute, rows_left, &done);
        if (rc)
            return rc;
    }
    return 0;
}

int kmy_snapshot_prune(kmy_snapshot_t *s, MDB_txn *txn, int64_t now_ns, size_t rows_max)
{
    MDB_cursor *minutes;
    int rc = mdb_cursor_open(txn, s->db[DB_MINUTES], &minutes);
    if (rc)
        return rc;
    rc = find_age_limit(s, minutes, now_ns);
    if (rc == 0 && s->at.newest_seq != 0 && too_old(s, s->at.oldest_seq))
        rc = prune_rows(s, txn, &rows_max);
    if (rc == 0 && s->index_left)
        rc = prune_index(s, txn, minutes, &rows_max);
    mdb_cursor_close(minutes);
    return rc;
}
