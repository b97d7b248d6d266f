/* into the store 1/2   in: ringbuf/ring (keeper)   out: LMDB

   Opening and closing: what happened to this store since it was last written, and what can be kept of
   it.  The table of that decision is in judge(). */
#include "store/snapshot_impl.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAP_BYTES_DEFAULT (UINT64_C(16) << 30)
#define READERS_DEFAULT   1024
#define DAMAGED_COPIES    4

const char *const kmy_snapshot_db_names[DB_COUNT] = {
    [DB_LAST] = "last",       [DB_HISTORY] = "history", [DB_HINDEX] = "hindex",
    [DB_FEEDS] = "feeds",     [DB_OFFSETS] = "offsets", [DB_META] = "meta",
    [DB_MINUTES] = "minutes",
};

/* --- meta --- */

int kmy_snapshot_put_meta(kmy_snapshot_t *s, MDB_txn *txn, const char *word, const void *value,
                          size_t bytes)
{
    MDB_val key = val(word, strlen(word));
    MDB_val data = val(value, bytes);
    return mdb_put(txn, s->db[DB_META], &key, &data, 0);
}

int kmy_snapshot_get_u64(MDB_txn *txn, MDB_dbi db, const char *word, uint64_t *out)
{
    MDB_val key = val(word, strlen(word));
    MDB_val data;
    int rc = mdb_get(txn, db, &key, &data);
    if (rc)
        return rc;
    if (data.mv_size != 8)
        return MDB_CORRUPTED;
    *out = get_be64(data.mv_data);
    return 0;
}

int kmy_snapshot_open_dbs(MDB_txn *txn, MDB_dbi db[DB_COUNT], unsigned flags)
{
    for (int i = 0; i < DB_COUNT; i++) {
        int rc = mdb_dbi_open(txn, kmy_snapshot_db_names[i], flags, &db[i]);
        if (rc)
            return rc;
    }
    return 0;
}

/* --- loading what is there --- */

static int load_feeds(kmy_snapshot_t *s, MDB_txn *txn)
{
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val data;
    int rc = mdb_cursor_open(txn, s->db[DB_FEEDS], &cursor);
    if (rc)
        return rc;
    while ((rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) == 0) {
        uint32_t id = data.mv_size == 4 ? get_be32(data.mv_data) : 0;
        if (id == 0 || id > KMY_SNAPSHOT_FEED_ID_MAX || key.mv_size >= KMY_FEED_NAME_BYTES_MAX)
            rc = MDB_CORRUPTED;
        else if (!kmy_snapshot_state_set_feed(&s->state, id, key.mv_data, key.mv_size))
            rc = ENOMEM;
        if (rc)
            break;
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int load_offsets(kmy_snapshot_t *s, MDB_txn *txn)
{
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val data;
    int rc = mdb_cursor_open(txn, s->db[DB_OFFSETS], &cursor);
    if (rc)
        return rc;
    while ((rc = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) == 0) {
        bool sane = key.mv_size == 4 && data.mv_size == sizeof s->offsets->offset;
        uint32_t row = sane ? get_be32(key.mv_data) : UINT32_MAX;
        if (row > KMY_SNAPSHOT_FEED_ID_MAX / OFFSETS_PER_ROW)
            rc = MDB_CORRUPTED;
        else if (!kmy_snapshot_feeds_room(s, row * OFFSETS_PER_ROW))
            rc = ENOMEM;
        if (rc)
            break;
        memcpy(s->offsets[row].offset, data.mv_data, data.mv_size);
    }
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Number at the start of the first or last key of a tree; 0: the tree is empty. */
static int edge_key(MDB_txn *txn, MDB_dbi db, MDB_cursor_op op, size_t key_bytes, uint64_t *out)
{
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val data;
    *out = 0;
    int rc = mdb_cursor_open(txn, db, &cursor);
    if (rc)
        return rc;
    rc = mdb_cursor_get(cursor, &key, &data, op);
    if (rc == 0 && key.mv_size != key_bytes)
        rc = MDB_CORRUPTED;
    if (rc == 0)
        *out = key_bytes == 8 ? get_be64(key.mv_data) : get_be32(key.mv_data);
    mdb_cursor_close(cursor);
    return rc == MDB_NOTFOUND ? 0 : rc;
}

static int load_history_edges(kmy_snapshot_t *s, MDB_txn *txn)
{
    uint64_t minute = 0;
    int rc = edge_key(txn, s->db[DB_HISTORY], MDB_FIRST, 8, &s->at.oldest_seq);
    if (rc == 0)
        rc = edge_key(txn, s->db[DB_HISTORY], MDB_LAST, 8, &s->at.newest_seq);
    if (rc == 0)
        rc = edge_key(txn, s->db[DB_MINUTES], MDB_LAST, 12, &minute);
    s->at.minute = (uint32_t)minute;
    s->index_left = true;
    return rc;
}

static int load_counters(kmy_snapshot_t *s, MDB_txn *txn)
{
    MDB_dbi meta = s->db[DB_META];
    int rc = kmy_snapshot_get_u64(txn, meta, "next_seq", &s->at.next_seq);
    if (rc && rc != MDB_NOTFOUND)
        return rc;
    rc = kmy_snapshot_get_u64(txn, meta, "history_bytes", &s->at.bytes);
    if (rc && rc != MDB_NOTFOUND)
        return rc;
    if (s->at.next_seq <= s->at.newest_seq)
        s->at.next_seq = s->at.newest_seq + 1;
    return 0;
}

/* What the environment says about itself. */
typedef struct self_report {
    bool formatted; /* a store of ours, not an empty environment */
    bool clean;
    uint64_t format;
    char epoch[KMY_SNAPSHOT_EPOCH_BYTES];
} self_report_t;

static int load_report(kmy_snapshot_t *s, MDB_txn *txn, self_report_t *report)
{
    uint64_t clean = 0;
    int rc = kmy_snapshot_get_u64(txn, s->db[DB_META], "format", &report->format);
    if (rc)
        return rc;
    rc = kmy_snapshot_get_u64(txn, s->db[DB_META], "clean", &clean);
    if (rc && rc != MDB_NOTFOUND)
        return rc;
    report->clean = clean == 1;
    MDB_val key = val("epoch", 5);
    MDB_val data;
    rc = mdb_get(txn, s->db[DB_META], &key, &data);
    if (rc)
        return rc;
    if (data.mv_size == 0 || data.mv_size >= sizeof report->epoch)
        return MDB_CORRUPTED;
    memcpy(report->epoch, data.mv_data, data.mv_size);
    return 0;
}

static int load_all(kmy_snapshot_t *s, MDB_txn *txn, self_report_t *report)
{
    int rc = mdb_dbi_open(txn, "meta", 0, &s->db[DB_META]);
    if (rc == MDB_NOTFOUND)
        return 0; /* nothing of ours here yet */
    report->formatted = true;
    if (rc == 0)
        rc = load_report(s, txn, report);
    if (rc || report->format != KMY_SNAPSHOT_FORMAT)
        return rc;
    rc = kmy_snapshot_open_dbs(txn, s->db, 0);
    if (rc == 0)
        rc = load_feeds(s, txn);
    if (rc == 0)
        rc = load_offsets(s, txn);
    if (rc == 0)
        rc = load_history_edges(s, txn);
    return rc ? rc : load_counters(s, txn);
}

static kmy_err_t newer_format(const kmy_snapshot_t *s, kmy_errctx_t *ctx)
{
    return KMY_FAIL(
        ctx, KMY_CONFIG,
        "snapshot store %.100s has a newer format than %d: use the newer program, or move "
        "the folder away",
        s->path, KMY_SNAPSHOT_FORMAT);
}

/* Opens the environment and reads all that is needed, writing nothing. */
static kmy_err_t open_and_load(kmy_snapshot_t *s, self_report_t *report, kmy_errctx_t *ctx)
{
    kmy_kv_options_t kv = { .sync = KMY_KV_RELAXED,
                            .map_bytes = s->options.map_bytes,
                            .dbis_max = DB_COUNT,
                            .readers_max = s->options.readers_max };
    MDB_txn *txn;
    *report = (self_report_t){ 0 };
    s->at = (history_at_t){ 0 };
    kmy_err_t err = kmy_kv_open(&s->kv, s->path, &kv, ctx);
    if (err != KMY_OK)
        return err;
    int rc = mdb_txn_begin(s->kv.env, NULL, MDB_RDONLY, &txn);
    if (rc == 0) {
        rc = load_all(s, txn, report);
        if (rc == 0)
            rc = mdb_txn_commit(txn); /* keeps the handles of the named trees */
        else
            mdb_txn_abort(txn);
    }
    if (rc == MDB_NOTFOUND)
        rc = MDB_CORRUPTED; /* formatted, but a tree or a word is missing */
    if (rc)
        err = kmy_kv_fail(ctx, rc, "cannot read the snapshot store");
    else if (report->formatted && report->format != KMY_SNAPSHOT_FORMAT)
        err = newer_format(s, ctx);
    if (err != KMY_OK)
        kmy_kv_close(&s->kv);
    return err;
}

/* --- moving a damaged store aside --- */

static void remove_store(const char *path)
{
    static const char *const files[] = { "data.mdb", "lock.mdb", "state", "state.new", "writer" };
    char file[PATH_MAX];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (snprintf(file, sizeof file, "%s/%s", path, files[i]) < (int)sizeof file)
            unlink(file);
    rmdir(path);
}

static kmy_err_t move_aside(const char *path, kmy_errctx_t *ctx)
{
    char aside[PATH_MAX];
    struct stat st;
    for (int n = 1; n <= DAMAGED_COPIES; n++) {
        if (snprintf(aside, sizeof aside, "%s.damaged-%d", path, n) >= (int)sizeof aside)
            return KMY_FAIL(ctx, KMY_TOO_BIG, "path of the snapshot store is too long");
        if (n == DAMAGED_COPIES)
            remove_store(aside); /* crash after crash must not fill the disk */
        if (stat(aside, &st) != 0 && rename(path, aside) == 0)
            return KMY_OK;
    }
    return KMY_FAIL_SYS(ctx, KMY_IO, "cannot move the damaged store aside to %s", aside);
}

static kmy_err_t lock_writer(kmy_snapshot_t *s, kmy_errctx_t *ctx)
{
    char file[PATH_MAX];
    if (mkdir(s->path, 0700) != 0 && errno != EEXIST)
        return KMY_FAIL_SYS(ctx, KMY_IO, "cannot make the folder %s", s->path);
    if (snprintf(file, sizeof file, "%s/writer", s->path) >= (int)sizeof file)
        return KMY_FAIL(ctx, KMY_TOO_BIG, "path of the snapshot store is too long");
    s->writer_fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->writer_fd < 0)
        return KMY_FAIL_SYS(ctx, KMY_IO, "cannot open %s", file);
    if (flock(s->writer_fd, LOCK_EX | LOCK_NB) == 0)
        return KMY_OK;
    return KMY_FAIL_SYS(ctx, KMY_CONFLICT, "%s is being written already: stop the other daemon",
                        s->path);
}

static void free_feeds(kmy_snapshot_t *s)
{
    free(s->feed_minute);
    free(s->offsets);
    s->feed_minute = NULL;
    s->offsets = NULL;
    s->feeds_cap = 0;
}

static kmy_err_t rebuild(kmy_snapshot_t *s, self_report_t *report, kmy_errctx_t *ctx)
{
    kmy_err_t err = move_aside(s->path, ctx);
    close(s->writer_fd); /* its file went along */
    s->writer_fd = -1;
    free_feeds(s);
    if (err == KMY_OK)
        err = lock_writer(s, ctx);
    return err == KMY_OK ? open_and_load(s, report, ctx) : err;
}

/* --- what happened since? --- */

typedef enum { AS_FRESH, AS_CLEAN, AS_KILLED, AS_DAMAGED } judgement_t;

/* Before the environment is touched: only a death of the machine (or of the state file) makes it
   unreadable.

      state file   mark    boot of the machine   data file   so
      absent       -       -                     no          fresh
      absent       -       -                     yes         a copy somebody made: whole, but whose?  killed
      bad          -       -                     -           damaged
      ok           clean   any                   yes         clean (if the environment says so too)
      ok           dirty   this                  yes         killed: the page cache outlives a process
      ok           dirty   another, unknown      yes         damaged
      ok           any     any                   no          damaged: somebody took it away */
static judgement_t judge(state_result_t result, const snapshot_state_t *state, bool data_file)
{
    char boot[48];
    if (result == STATE_ABSENT)
        return data_file ? AS_KILLED : AS_FRESH;
    if (result == STATE_BAD || !data_file)
        return AS_DAMAGED;
    if (state->clean)
        return AS_CLEAN;
    kmy_snapshot_boot_id(boot);
    return boot[0] && strcmp(boot, state->boot) == 0 ? AS_KILLED : AS_DAMAGED;
}

static bool has_data_file(const char *path)
{
    char file[PATH_MAX];
    struct stat st;
    return snprintf(file, sizeof file, "%s/data.mdb", path) < (int)sizeof file &&
           stat(file, &st) == 0;
}

static kmy_err_t recover(kmy_snapshot_t *s, judgement_t *as, kmy_errctx_t *ctx)
{
    self_report_t report = { 0 };
    kmy_err_t err = KMY_CORRUPT;
    state_result_t result = kmy_snapshot_state_read(s->path, &s->state);
    if (result == STATE_NEWER)
        return newer_format(s, ctx);
    *as = judge(result, &s->state, has_data_file(s->path));
    if (*as != AS_DAMAGED)
        err = open_and_load(s, &report, ctx);
    if (err == KMY_CORRUPT) {
        *as = AS_DAMAGED;
        err = rebuild(s, &report, ctx);
    }
    if (err == KMY_OK && *as == AS_CLEAN &&
        (!report.clean || strcmp(report.epoch, s->state.epoch) != 0))
        *as = AS_KILLED; /* the two do not belong together: a backup was put back, for example */
    return err;
}

/* --- the first transaction: trees, feed names, the dirty mark --- */

static int format_txn(MDB_txn *txn, void *arg)
{
    kmy_snapshot_t *s = arg;
    uint8_t value[8];
    int rc = kmy_snapshot_open_dbs(txn, s->db, MDB_CREATE);
    be64(value, KMY_SNAPSHOT_FORMAT);
    if (rc == 0)
        rc = kmy_snapshot_put_meta(s, txn, "format", value, 8);
    if (rc == 0)
        rc = kmy_snapshot_put_meta(s, txn, "epoch", s->state.epoch, strlen(s->state.epoch));
    be64(value, 0);
    if (rc == 0)
        rc = kmy_snapshot_put_meta(s, txn, "clean", value, 8);
    for (uint32_t i = 0; rc == 0 && i < s->state.feeds_count; i++) {
        const char *name = s->state.feed_names[i];
        if (!name[0])
            continue;
        MDB_val key = val(name, strlen(name));
        MDB_val data = val(value, 4);
        be32(value, i + 1);
        rc = mdb_put(txn, s->db[DB_FEEDS], &key, &data, MDB_NOOVERWRITE);
        if (rc == MDB_KEYEXIST)
            rc = 0;
    }
    return rc;
}

static kmy_err_t begin_writing(kmy_snapshot_t *s, judgement_t as, kmy_errctx_t *ctx)
{
    if (as != AS_CLEAN)
        kmy_snapshot_new_epoch(s->state.epoch);
    kmy_snapshot_boot_id(s->state.boot);
    s->state.clean = false;
    /* Dirty on disk before the first page changes. */
    kmy_err_t err = kmy_snapshot_state_write(s->path, &s->state, ctx);
    if (err == KMY_OK)
        err = kmy_kv_reserve(&s->kv, (size_t)1 << 20, ctx);
    return err == KMY_OK ? kmy_kv_write(&s->kv, format_txn, s, ctx) : err;
}

static void fill_defaults(kmy_snapshot_options_t *o)
{
    if (o->map_bytes == 0)
        o->map_bytes = MAP_BYTES_DEFAULT;
    if (o->readers_max == 0)
        o->readers_max = READERS_DEFAULT;
    if (o->history_bytes_max == 0 || o->history_bytes_max > o->map_bytes / 2)
        o->history_bytes_max = o->map_bytes / 2; /* the rest: keys, page ends, pages readers hold */
}

static void free_all(kmy_snapshot_t *s)
{
    kmy_kv_close(&s->kv);
    if (s->writer_fd >= 0)
        close(s->writer_fd);
    kmy_snapshot_state_fini(&s->state);
    free_feeds(s);
    free(s->dedupe);
    free(s->newest);
    free(s);
}

kmy_err_t kmy_snapshot_open(kmy_snapshot_t **out, const char *path,
                            const kmy_snapshot_options_t *options, bool *clean, bool *rebuilt,
                            kmy_errctx_t *ctx)
{
    judgement_t as = AS_FRESH;
    *out = NULL;
    if (strlen(path) >= PATH_MAX - 32)
        return KMY_FAIL(ctx, KMY_TOO_BIG, "path of the snapshot store is too long");
    kmy_snapshot_t *s = calloc(1, sizeof *s);
    if (!s)
        return KMY_FAIL(ctx, KMY_IO, "out of memory");
    s->options = *options;
    fill_defaults(&s->options);
    memcpy(s->path, path, strlen(path) + 1); /* measured above */
    s->writer_fd = -1;

    kmy_err_t err = lock_writer(s, ctx);
    if (err == KMY_OK)
        err = recover(s, &as, ctx);
    if (err == KMY_OK)
        err = begin_writing(s, as, ctx);
    if (err != KMY_OK) {
        free_all(s);
        return err;
    }
    *clean = as == AS_FRESH || as == AS_CLEAN;
    *rebuilt = as == AS_DAMAGED;
    *out = s;
    return KMY_OK;
}

static int clean_txn(MDB_txn *txn, void *arg)
{
    uint8_t one[8];
    be64(one, 1);
    return kmy_snapshot_put_meta(arg, txn, "clean", one, sizeof one);
}

void kmy_snapshot_close(kmy_snapshot_t *s)
{
    if (!s)
        return;
    /* The order is the promise: the pages, then the word that they are there.  Where one fails, the
       store stays dirty, which is true. */
    if (kmy_kv_write(&s->kv, clean_txn, s, NULL) == KMY_OK && mdb_env_sync(s->kv.env, 1) == 0) {
        s->state.clean = true;
        kmy_snapshot_state_write(s->path, &s->state, NULL);
    }
    free_all(s);
}

/* --- start-up questions --- */

typedef struct new_feed {
    kmy_snapshot_t *s;
    const char *name;
    uint32_t id;
} new_feed_t;

static int put_feed_txn(MDB_txn *txn, void *arg)
{
    new_feed_t *feed = arg;
    uint8_t id[4];
    be32(id, feed->id);
    MDB_val key = val(feed->name, strlen(feed->name));
    MDB_val data = val(id, sizeof id);
    return mdb_put(txn, feed->s->db[DB_FEEDS], &key, &data, 0);
}

static bool is_feed_name(const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++)
        if ((uint8_t)name[i] < 0x20 || name[i] == 0x7f)
            return false;
    return n > 0 && n < KMY_FEED_NAME_BYTES_MAX;
}

static int find_feed(kmy_snapshot_t *s, const char *name, uint32_t *id)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(s->kv.env, NULL, MDB_RDONLY, &txn);
    if (rc)
        return rc;
    MDB_val key = val(name, strlen(name));
    MDB_val data;
    rc = mdb_get(txn, s->db[DB_FEEDS], &key, &data);
    if (rc == 0)
        *id = get_be32(data.mv_data);
    mdb_txn_abort(txn);
    return rc;
}

kmy_err_t kmy_snapshot_feed_id(kmy_snapshot_t *s, const char *name, uint32_t *id, kmy_errctx_t *ctx)
{
    if (!is_feed_name(name))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "a feed name has 1 to %d bytes, none of them a control",
                        KMY_FEED_NAME_BYTES_MAX - 1);
    int rc = find_feed(s, name, id);
    if (rc == 0)
        return KMY_OK;
    if (rc != MDB_NOTFOUND)
        return kmy_kv_fail(ctx, rc, "look-up of a feed name");
    new_feed_t feed = { s, name, s->state.feeds_count + 1 };
    if (feed.id > KMY_SNAPSHOT_FEED_ID_MAX)
        return KMY_FAIL(ctx, KMY_FULL, "all %u feed ids are given away", KMY_SNAPSHOT_FEED_ID_MAX);
    kmy_err_t err = kmy_kv_reserve(&s->kv, (size_t)1 << 20, ctx);
    if (err == KMY_OK)
        err = kmy_kv_write(&s->kv, put_feed_txn, &feed, ctx);
    if (err != KMY_OK)
        return err;
    if (!kmy_snapshot_state_set_feed(&s->state, feed.id, name, strlen(name)))
        return KMY_FAIL(ctx, KMY_IO, "out of memory");
    s->feeds_unsaved = true;
    *id = feed.id;
    return KMY_OK;
}

kmy_err_t kmy_snapshot_resume(kmy_snapshot_t *s, uint64_t *next_seq, kmy_errctx_t *ctx)
{
    (void)ctx;
    *next_seq = s->at.next_seq ? s->at.next_seq : 1;
    return KMY_OK;
}

kmy_err_t kmy_snapshot_last_offset(kmy_snapshot_t *s, uint32_t feed_id, uint64_t *offset,
                                   kmy_errctx_t *ctx)
{
    (void)ctx;
    *offset = 0;
    if (feed_id < s->feeds_cap)
        *offset = get_be64(s->offsets[feed_id / OFFSETS_PER_ROW].offset[feed_id % OFFSETS_PER_ROW]);
    return KMY_OK;
}

const char *kmy_snapshot_epoch(const kmy_snapshot_t *s)
{
    return s->state.epoch;
}

kmy_err_t kmy_snapshot_stats(kmy_snapshot_t *s, kmy_snapshot_stats_t *out, kmy_errctx_t *ctx)
{
    MDB_txn *txn;
    MDB_stat stat = { 0 };
    MDB_envinfo info;
    int rc = mdb_txn_begin(s->kv.env, NULL, MDB_RDONLY, &txn);
    if (rc == 0) {
        rc = mdb_stat(txn, s->db[DB_HISTORY], &stat);
        mdb_txn_abort(txn);
    }
    if (rc)
        return kmy_kv_fail(ctx, rc, "snapshot figures");
    mdb_env_info(s->kv.env, &info);
    *out = (kmy_snapshot_stats_t){ .history_rows = stat.ms_entries,
                                   .history_bytes = s->at.bytes,
                                   .oldest_seq = s->at.newest_seq ? s->at.oldest_seq : 0,
                                   .newest_seq = s->at.newest_seq,
                                   .file_bytes_used =
                                       (info.me_last_pgno + 1) * (uint64_t)stat.ms_psize,
                                   .dead_readers_cleared = s->dead_readers };
    return KMY_OK;
}
