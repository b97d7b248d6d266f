/* into the store 2/2   in: store/snapshot   out: a file for whoever asks (engine/history) */
#include "store/export.h"

#include "store/snapshot_impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Address space only.  4,096 feeds of 8 sources in 5 kinds are 164,000 rows of some 300 bytes: 50 MB, in half-filled pages twice that. */
#define MAP_BYTES (UINT64_C(256) << 20)

typedef struct work {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi db[DB_COUNT];
    kmy_snapshot_visit_t *wants;
    void *arg;
    uint8_t taken[KMY_SNAPSHOT_FEED_ID_MAX / 8 + 1]; /* feeds with a row, a bit each by id */
    int rc;                                          /* of LMDB: what stopped it */
} work_t;

static bool put(work_t *w, int db, MDB_val key, MDB_val data, unsigned flags)
{
    w->rc = mdb_put(w->txn, w->db[db], &key, &data, flags);
    return w->rc == 0;
}

/* Rows come in the order of their keys: appended, pages are full. */
static bool take_row(void *arg, uint32_t feed_id, uint8_t source, uint8_t kind, const void *value,
                     size_t bytes)
{
    work_t *w = arg;
    if (feed_id > KMY_SNAPSHOT_FEED_ID_MAX ||
        !w->wants(w->arg, feed_id, source, kind, value, bytes))
        return true;
    uint8_t key[6];
    be32(key, feed_id);
    key[4] = source;
    key[5] = kind;
    w->taken[feed_id / 8] |= (uint8_t)(1u << feed_id % 8);
    return put(w, DB_LAST, val(key, sizeof key), val(value, bytes), MDB_APPEND);
}

static bool take_name(void *arg, const char *name, size_t name_bytes, uint32_t feed_id)
{
    work_t *w = arg;
    if (feed_id > KMY_SNAPSHOT_FEED_ID_MAX || !(w->taken[feed_id / 8] >> feed_id % 8 & 1))
        return true;
    uint8_t id[4];
    be32(id, feed_id);
    return put(w, DB_FEEDS, val(name, name_bytes), val(id, sizeof id), MDB_APPEND);
}

static bool put_meta(work_t *w, const char *epoch)
{
    uint8_t format[8];
    be64(format, KMY_SNAPSHOT_FORMAT);
    return put(w, DB_META, val("format", 6), val(format, sizeof format), 0) &&
           put(w, DB_META, val("epoch", 5), val(epoch, strlen(epoch)), 0);
}

static int open_env(work_t *w, int fd)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int rc = mdb_env_create(&w->env);
    if (rc == 0)
        rc = mdb_env_set_maxdbs(w->env, DB_COUNT);
    if (rc == 0)
        rc = mdb_env_set_mapsize(w->env, MAP_BYTES);
    if (rc == 0)
        rc = mdb_env_open(w->env, path, MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOSYNC, 0600);
    if (rc == 0)
        rc = mdb_txn_begin(w->env, NULL, 0, &w->txn);
    return rc ? rc : kmy_snapshot_open_dbs(w->txn, w->db, MDB_CREATE);
}

static kmy_err_t write_env(work_t *w, int fd, kmy_snapshot_reader_t *r, const char *epoch,
                           kmy_errctx_t *ctx)
{
    w->rc = open_env(w, fd);
    kmy_err_t err = KMY_OK;
    if (w->rc == 0)
        err = kmy_snapshot_visit_last(r, 0, take_row, w, ctx);
    if (w->rc == 0 && err == KMY_OK)
        err = kmy_snapshot_visit_feeds(r, take_name, w, ctx);
    if (w->rc == 0 && err == KMY_OK && put_meta(w, epoch)) {
        w->rc = mdb_txn_commit(w->txn);
        w->txn = NULL;
    }
    if (w->txn)
        mdb_txn_abort(w->txn);
    if (w->env)
        mdb_env_close(w->env);
    if (err == KMY_OK && w->rc)
        err = KMY_FAIL(ctx, KMY_IO, "cannot write a snapshot: %s", mdb_strerror(w->rc));
    return err;
}

static kmy_err_t map_file(kmy_export_t *out, int fd, kmy_errctx_t *ctx)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || st.st_size == 0)
        return KMY_FAIL_SYS(ctx, KMY_IO, "the snapshot's file is empty");
    out->len = (size_t)st.st_size;
    out->bytes = mmap(NULL, out->len, PROT_READ, MAP_PRIVATE, fd, 0);
    return out->bytes == MAP_FAILED ? KMY_FAIL_SYS(ctx, KMY_IO, "no memory for a snapshot")
                                    : KMY_OK;
}

kmy_err_t kmy_snapshot_export(kmy_export_t *out, kmy_snapshot_reader_t *r, const char *epoch,
                              kmy_snapshot_visit_t *wants, void *arg, kmy_errctx_t *ctx)
{
    *out = (kmy_export_t){ 0 };
    work_t *w = calloc(1, sizeof *w);
    int fd = memfd_create("kamiyo-snapshot", MFD_CLOEXEC);
    kmy_err_t err = KMY_OK;
    if (!w || fd < 0)
        err = KMY_FAIL_SYS(ctx, KMY_IO, "no memory file for a snapshot");
    if (err == KMY_OK) {
        w->wants = wants;
        w->arg = arg;
        err = write_env(w, fd, r, epoch, ctx);
    }
    if (err == KMY_OK)
        err = map_file(out, fd, ctx);
    if (fd >= 0)
        close(fd);
    free(w);
    return err;
}
