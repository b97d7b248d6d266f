/* into the store 2/2   in: LMDB   out: engine/routes, tools/kamiyo snapshot */
#include "store/snapshot_impl.h"

#include <stdlib.h>

struct kmy_snapshot_reader {
    kmy_kv_t kv; /* env NULL: shared */
    MDB_env *env;
    MDB_dbi db[DB_COUNT];
    MDB_txn *txn; /* reset between visits: keeps its slot in the reader table, but no page */
};

static kmy_err_t check_format(kmy_snapshot_reader_t *r, kmy_errctx_t *ctx)
{
    uint64_t format = 0;
    int rc = kmy_snapshot_get_u64(r->txn, r->db[DB_META], "format", &format);
    if (rc)
        return kmy_kv_fail(ctx, rc, "cannot read the snapshot store's format");
    if (format != KMY_SNAPSHOT_FORMAT)
        return KMY_FAIL(ctx, KMY_CONFIG, "snapshot store has format %llu, this program reads %d",
                        (unsigned long long)format, KMY_SNAPSHOT_FORMAT);
    return KMY_OK;
}

static kmy_err_t open_own(kmy_snapshot_reader_t *r, const char *path, kmy_errctx_t *ctx)
{
    kmy_kv_options_t options = { .read_only = true, .dbis_max = DB_COUNT };
    kmy_err_t err = kmy_kv_open(&r->kv, path, &options, ctx);
    if (err != KMY_OK)
        return err;
    r->env = r->kv.env;
    int rc = mdb_txn_begin(r->env, NULL, MDB_RDONLY, &r->txn);
    if (rc)
        return kmy_kv_fail(ctx, rc, "cannot begin reading the snapshot store");
    /* Handles opened in a transaction are the environment's only after its commit. */
    rc = kmy_snapshot_open_dbs(r->txn, r->db, 0);
    if (rc == 0)
        err = check_format(r, ctx);
    if (rc == MDB_NOTFOUND)
        return KMY_FAIL(ctx, KMY_CORRUPT, "%.100s is no snapshot store", path);
    if (rc)
        return kmy_kv_fail(ctx, rc, "cannot read the snapshot store");
    if (err != KMY_OK)
        return err;
    mdb_txn_commit(r->txn);
    r->txn = NULL;
    return KMY_OK;
}

static kmy_err_t take_slot(kmy_snapshot_reader_t *r, kmy_errctx_t *ctx)
{
    int rc = mdb_txn_begin(r->env, NULL, MDB_RDONLY, &r->txn);
    if (rc)
        return kmy_kv_fail(ctx, rc, "cannot begin reading the snapshot store");
    mdb_txn_reset(r->txn);
    return KMY_OK;
}

kmy_err_t kmy_snapshot_reader_open(kmy_snapshot_reader_t **out, const char *path, kmy_errctx_t *ctx)
{
    *out = NULL;
    kmy_snapshot_reader_t *r = calloc(1, sizeof *r);
    if (!r)
        return KMY_FAIL(ctx, KMY_IO, "out of memory");
    kmy_err_t err = open_own(r, path, ctx);
    if (err == KMY_OK)
        err = take_slot(r, ctx);
    if (err != KMY_OK) {
        kmy_snapshot_reader_close(r);
        return err;
    }
    *out = r;
    return KMY_OK;
}

kmy_err_t kmy_snapshot_reader_share(kmy_snapshot_reader_t **out, kmy_snapshot_t *s,
                                    kmy_errctx_t *ctx)
{
    *out = NULL;
    kmy_snapshot_reader_t *r = calloc(1, sizeof *r);
    if (!r)
        return KMY_FAIL(ctx, KMY_IO, "out of memory");
    r->env = s->kv.env;
    memcpy(r->db, s->db, sizeof r->db);
    kmy_err_t err = take_slot(r, ctx);
    if (err != KMY_OK) {
        free(r);
        return err;
    }
    *out = r;
    return KMY_OK;
}

void kmy_snapshot_reader_close(kmy_snapshot_reader_t *r)
{
    if (!r)
        return;
    if (r->txn)
        mdb_txn_abort(r->txn);
    kmy_kv_close(&r->kv);
    free(r);
}

/* --- visits: begin, move a cursor, end --- */

static int begin_visit(kmy_snapshot_reader_t *r, int db, MDB_cursor **cursor)
{
    int rc = mdb_txn_renew(r->txn);
    if (rc == MDB_MAP_RESIZED) { /* the writer was started anew with a larger map */
        rc = mdb_env_set_mapsize(r->env, 0);
        if (rc == 0)
            rc = mdb_txn_renew(r->txn);
    }
    if (rc)
        return rc;
    rc = mdb_cursor_open(r->txn, r->db[db], cursor);
    if (rc)
        mdb_txn_reset(r->txn);
    return rc;
}

static kmy_err_t end_visit(kmy_snapshot_reader_t *r, MDB_cursor *cursor, int rc, kmy_errctx_t *ctx)
{
    mdb_cursor_close(cursor);
    mdb_txn_reset(r->txn);
    if (rc == 0 || rc == MDB_NOTFOUND)
        return KMY_OK;
    return kmy_kv_fail(ctx, rc, "reading the snapshot store");
}

kmy_err_t kmy_snapshot_visit_last(kmy_snapshot_reader_t *r, uint32_t feed_id,
                                  kmy_snapshot_visit_t *visit, void *arg, kmy_errctx_t *ctx)
{
    MDB_cursor *cursor;
    int rc = begin_visit(r, DB_LAST, &cursor);
    if (rc)
        return kmy_kv_fail(ctx, rc, "reading the snapshot store");
    uint8_t from[6] = { 0 };
    be32(from, feed_id);
    MDB_val key = val(from, sizeof from);
    MDB_val data;
    rc = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
    for (; rc == 0; rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) {
        if (key.mv_size != 6) {
            rc = MDB_CORRUPTED;
            break;
        }
        const uint8_t *k = key.mv_data;
        uint32_t id = get_be32(k);
        if ((feed_id && id != feed_id) || !visit(arg, id, k[4], k[5], data.mv_data, data.mv_size))
            break;
    }
    return end_visit(r, cursor, rc, ctx);
}

kmy_err_t kmy_snapshot_visit_history(kmy_snapshot_reader_t *r, uint64_t from_seq,
                                     kmy_snapshot_history_visit_t *visit, void *arg,
                                     kmy_errctx_t *ctx)
{
    MDB_cursor *cursor;
    int rc = begin_visit(r, DB_HISTORY, &cursor);
    if (rc)
        return kmy_kv_fail(ctx, rc, "reading the snapshot store");
    uint8_t from[8];
    be64(from, from_seq);
    MDB_val key = val(from, sizeof from);
    MDB_val data;
    rc = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
    for (; rc == 0; rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) {
        if (key.mv_size != 8) {
            rc = MDB_CORRUPTED;
            break;
        }
        if (!visit(arg, get_be64(key.mv_data), data.mv_data, data.mv_size))
            break;
    }
    return end_visit(r, cursor, rc, ctx);
}

kmy_err_t kmy_snapshot_visit_feeds(kmy_snapshot_reader_t *r, kmy_snapshot_feed_visit_t *visit,
                                   void *arg, kmy_errctx_t *ctx)
{
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val data;
    int rc = begin_visit(r, DB_FEEDS, &cursor);
    if (rc)
        return kmy_kv_fail(ctx, rc, "reading the snapshot store");
    while ((rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) == 0) {
        if (data.mv_size != 4) {
            rc = MDB_CORRUPTED;
            break;
        }
        if (!visit(arg, key.mv_data, key.mv_size, get_be32(data.mv_data)))
            break;
    }
    return end_visit(r, cursor, rc, ctx);
}

kmy_err_t kmy_snapshot_seek(kmy_snapshot_reader_t *r, uint32_t feed_id, uint32_t minute,
                            uint64_t *seq, uint64_t *offset, kmy_errctx_t *ctx)
{
    MDB_cursor *cursor;
    int rc = begin_visit(r, DB_HINDEX, &cursor);
    if (rc)
        return kmy_kv_fail(ctx, rc, "reading the snapshot store");
    uint8_t from[8];
    be32(from, feed_id);
    be32(from + 4, minute);
    MDB_val key = val(from, sizeof from);
    MDB_val data;
    rc = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
    if (rc == 0 && (key.mv_size != 8 || data.mv_size != 16))
        rc = MDB_CORRUPTED;
    bool found = rc == 0 && get_be32(key.mv_data) == feed_id;
    if (found) {
        *seq = get_be64(data.mv_data);
        *offset = get_be64((const uint8_t *)data.mv_data + 8);
    }
    kmy_err_t err = end_visit(r, cursor, rc, ctx);
    if (err != KMY_OK || found)
        return err;
    return KMY_FAIL(ctx, KMY_NOT_FOUND, "no history of feed %u from that minute on", feed_id);
}

/* Of two rows of one feed the one with the larger offset has the larger seq too, so any row at or below the offset is a safe
   place to begin, whatever the wall clock did between them; going back, the first such row is the nearest. */
static int find_below(MDB_cursor *cursor, uint32_t feed_id, uint64_t offset, uint64_t *seq)
{
    uint8_t behind[8] = { 0 };
    be32(behind, feed_id + 1);
    MDB_val key = val(behind, sizeof behind);
    MDB_val data;
    uint64_t lowest = UINT64_MAX;
    int rc = mdb_cursor_get(cursor, &key, &data, MDB_SET_RANGE);
    rc = mdb_cursor_get(cursor, &key, &data, rc == MDB_NOTFOUND ? MDB_LAST : MDB_PREV);
    for (; rc == 0; rc = mdb_cursor_get(cursor, &key, &data, MDB_PREV)) {
        if (key.mv_size != 8 || data.mv_size != 16)
            return MDB_CORRUPTED;
        if (get_be32(key.mv_data) != feed_id)
            break;
        uint64_t first = get_be64((const uint8_t *)data.mv_data + 8);
        if (first >= lowest)
            continue;
        lowest = first;
        *seq = get_be64(data.mv_data);
        if (first <= offset)
            return 0;
    }
    if (rc != 0 && rc != MDB_NOTFOUND)
        return rc;
    return lowest == UINT64_MAX ? MDB_NOTFOUND : 0;
}

kmy_err_t kmy_snapshot_seek_offset(kmy_snapshot_reader_t *r, uint32_t feed_id, uint64_t offset,
                                   uint64_t *seq, kmy_errctx_t *ctx)
{
    MDB_cursor *cursor;
    int rc = begin_visit(r, DB_HINDEX, &cursor);
    if (rc)
        return kmy_kv_fail(ctx, rc, "reading the snapshot store");
    uint64_t at = 0;
    rc = find_below(cursor, feed_id, offset, &at);
    kmy_err_t err = end_visit(r, cursor, rc, ctx);
    if (err != KMY_OK)
        return err;
    if (rc == MDB_NOTFOUND)
        return KMY_FAIL(ctx, KMY_NOT_FOUND, "no history of feed %u", feed_id);
    *seq = at;
    return KMY_OK;
}
