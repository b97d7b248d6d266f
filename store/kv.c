#include "store/kv.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAP_BYTES_DEFAULT  ((size_t)1 << 30)
#define DBIS_DEFAULT       16
#define RESERVE_STEP_BYTES ((size_t)32 << 20) /* a few seconds of the fastest history */
#define OPEN_ENVS_MAX      64

/* Which environments this process has open: LMDB cannot tell, and breaks silently. */
static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;
static struct open_env {
    dev_t dev;
    ino_t ino;
} open_envs[OPEN_ENVS_MAX];
static size_t open_envs_count;

static bool claim(dev_t dev, ino_t ino)
{
    bool free_slot = true;
    pthread_mutex_lock(&open_lock);
    for (size_t i = 0; i < open_envs_count; i++)
        if (open_envs[i].dev == dev && open_envs[i].ino == ino)
            free_slot = false;
    free_slot = free_slot && open_envs_count < OPEN_ENVS_MAX;
    if (free_slot)
        open_envs[open_envs_count++] = (struct open_env){ dev, ino };
    pthread_mutex_unlock(&open_lock);
    return free_slot;
}

static void disclaim(dev_t dev, ino_t ino)
{
    pthread_mutex_lock(&open_lock);
    for (size_t i = 0; i < open_envs_count; i++) {
        if (open_envs[i].dev == dev && open_envs[i].ino == ino) {
            open_envs[i] = open_envs[--open_envs_count];
            break;
        }
    }
    pthread_mutex_unlock(&open_lock);
}

static kmy_err_t err_of(int rc)
{
    switch (rc) {
    case 0:
        return KMY_OK;
    case MDB_NOTFOUND:
        return KMY_NOT_FOUND;
    case MDB_KEYEXIST:
        return KMY_DUPLICATE;
    case MDB_MAP_FULL:
    case MDB_DBS_FULL:
    case MDB_READERS_FULL:
    case MDB_TXN_FULL:
    case MDB_CURSOR_FULL:
    case MDB_PAGE_FULL:
        return KMY_FULL;
    case MDB_INVALID:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_PANIC:
    case MDB_BAD_DBI:
    case MDB_INCOMPATIBLE:
        return KMY_CORRUPT;
    case MDB_VERSION_MISMATCH:
        return KMY_CONFIG;
    default:
        return rc > 0 ? KMY_IO
                      : KMY_INTERNAL; /* LMDB's own codes are negative, the rest is errno */
    }
}

kmy_err_t kmy_kv_fail(kmy_errctx_t *ctx, int mdb_rc, const char *what)
{
    return kmy_fail(ctx, err_of(mdb_rc), __func__, mdb_rc > 0 ? mdb_rc : 0, "%s: %s", what,
                    mdb_strerror(mdb_rc));
}

static void fill_defaults(kmy_kv_options_t *o)
{
    if (o->map_bytes == 0)
        o->map_bytes = MAP_BYTES_DEFAULT;
    if (o->dbis_max == 0)
        o->dbis_max = DBIS_DEFAULT;
}

static unsigned env_flags(const kmy_kv_options_t *o)
{
    /* NOTLS: a reader's slot belongs to its transaction, not to the thread that began it. */
    if (o->read_only)
        return MDB_NOTLS | MDB_RDONLY;
    if (o->sync == KMY_KV_DURABLE)
        return MDB_NOTLS;
    /* NOSYNC rather than MAPASYNC: msync(MS_ASYNC) has done nothing on Linux since 2.6.19, so it is
       the same promise and two system calls a commit less. */
    return MDB_NOTLS | MDB_WRITEMAP | MDB_NOSYNC;
}

static int configure(MDB_env *env, const kmy_kv_options_t *o)
{
    int rc = 0;
    if (!o->read_only) /* a reader takes the size the writer wrote down */
        rc = mdb_env_set_mapsize(env, o->map_bytes);
    if (rc == 0)
        rc = mdb_env_set_maxdbs(env, o->dbis_max);
    if (rc == 0 && o->readers_max)
        rc = mdb_env_set_maxreaders(env, o->readers_max);
    return rc;
}

static size_t used_bytes(MDB_env *env)
{
    MDB_envinfo info;
    MDB_stat stat;
    mdb_env_info(env, &info);
    mdb_env_stat(env, &stat);
    return (info.me_last_pgno + 1) * (size_t)stat.ms_psize;
}

/* -1: there is none. */
static off_t data_file_bytes(const char *path)
{
    char file[PATH_MAX];
    struct stat st;
    if (snprintf(file, sizeof file, "%s/data.mdb", path) >= (int)sizeof file || stat(file, &st))
        return -1;
    return st.st_size;
}

/* fsync of a folder, or of the one that it is in; a file system that cannot (EINVAL) needs none. */
static bool sync_folder(const char *path, bool parent)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && parent) {
        int up = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        close(fd);
        fd = up;
    }
    if (fd < 0)
        return false;
    bool ok = fsync(fd) == 0 || errno == EINVAL;
    int was = errno;
    close(fd);
    errno = was;
    return ok;
}

static int make_file(const char *file, const kmy_kv_options_t *o)
{
    MDB_env *env;
    int rc = mdb_env_create(&env);
    if (rc)
        return rc;
    rc = configure(env, o);
    if (rc == 0)
        rc = mdb_env_open(env, file, MDB_NOSUBDIR | MDB_NOLOCK, 0600);
    if (rc == 0)
        rc = mdb_env_sync(env, 1);
    mdb_env_close(env);
    return rc;
}

/* LMDB writes the two pages of a new environment without a sync: a power cut may leave one of them, and no LMDB would ever open that.  So they are
   made aside, and the file gets its name when they are on the disk.  Where two do this at once, the first name stands. */
static kmy_err_t make_durable(const char *path, const kmy_kv_options_t *o, kmy_errctx_t *ctx)
{
    char file[PATH_MAX];
    char aside[PATH_MAX];
    if (snprintf(file, sizeof file, "%s/data.mdb", path) >= (int)sizeof file ||
        snprintf(aside, sizeof aside, "%s/new-%d.mdb", path, (int)getpid()) >= (int)sizeof aside)
        return KMY_FAIL(ctx, KMY_TOO_BIG, "path of an environment has %zu bytes", strlen(path));
    unlink(aside); /* of one that had our id and died; else it stays, two pages in nobody's way */
    int rc = make_file(aside, o);
    kmy_err_t err = rc ? kmy_kv_fail(ctx, rc, "cannot make an LMDB environment") : KMY_OK;
    if (err == KMY_OK && link(aside, file) != 0 && errno != EEXIST)
        err = KMY_FAIL_SYS(ctx, KMY_IO, "cannot make %.80s", file);
    unlink(aside);
    return err;
}

/* Before anybody is told that it is open, its name is on the disk, and that of its folder. */
static kmy_err_t prepare_durable(const char *path, bool is_new, const kmy_kv_options_t *o,
                                 kmy_errctx_t *ctx)
{
    kmy_err_t err = is_new ? make_durable(path, o, ctx) : KMY_OK;
    if (err == KMY_OK && (!sync_folder(path, false) || !sync_folder(path, true)))
        err = KMY_FAIL_SYS(ctx, KMY_IO, "cannot sync the folder %.80s", path);
    return err;
}

static kmy_err_t open_env(kmy_kv_t *kv, const char *path, kmy_errctx_t *ctx)
{
    char what[128];
    snprintf(what, sizeof what, "cannot open the LMDB environment %.80s", path);
    off_t file_bytes = data_file_bytes(path);
    if (kv->options.sync == KMY_KV_DURABLE && !kv->options.read_only) {
        kmy_err_t err = prepare_durable(path, file_bytes < 0, &kv->options, ctx);
        if (err != KMY_OK)
            return err;
    }

    int rc = mdb_env_create(&kv->env);
    if (rc)
        return kmy_kv_fail(ctx, rc, what);
    rc = configure(kv->env, &kv->options);
    if (rc == 0)
        rc = mdb_env_open(kv->env, path, env_flags(&kv->options), 0600);
    if (rc) {
        mdb_env_close(kv->env);
        return kmy_kv_fail(ctx, rc, what);
    }
    /* A file cut short, whose missing pages would read as zeros.  Only a relaxed environment can be judged: its file has the
       map's size, or comes from a copy.  A durable one may end a page early, where a transaction dropped the last page it took
       (LMDB does not write such "loose" pages). */
    size_t used = used_bytes(kv->env);
    bool judge = kv->options.sync == KMY_KV_RELAXED && !kv->options.read_only;
    if (judge && file_bytes > 0 && (size_t)file_bytes < used) {
        mdb_env_close(kv->env);
        return KMY_FAIL(ctx, KMY_CORRUPT, "%s: file has %lld bytes, its meta page speaks of %zu",
                        what, (long long)file_bytes, used);
    }
    MDB_envinfo info;
    mdb_env_info(kv->env, &info);
    kv->map_bytes = info.me_mapsize;
    kv->reserved_bytes = used;
    return KMY_OK;
}

kmy_err_t kmy_kv_open(kmy_kv_t *kv, const char *path, const kmy_kv_options_t *options,
                      kmy_errctx_t *ctx)
{
    struct stat st;
    *kv = (kmy_kv_t){ .options = *options };
    fill_defaults(&kv->options);
    if (!options->read_only && mkdir(path, 0700) != 0 && errno != EEXIST)
        return KMY_FAIL_SYS(ctx, KMY_IO, "cannot make the folder %s", path);
    if (stat(path, &st) != 0)
        return KMY_FAIL_SYS(ctx, KMY_IO, "no folder %s", path);
    if (!claim(st.st_dev, st.st_ino))
        return KMY_FAIL(ctx, KMY_CONFLICT, "%s is open in this process already", path);
    kv->dev = st.st_dev;
    kv->ino = st.st_ino;

    kmy_err_t err = open_env(kv, path, ctx);
    if (err != KMY_OK) {
        disclaim(kv->dev, kv->ino);
        *kv = (kmy_kv_t){ 0 };
        return err;
    }
    kmy_kv_clear_dead_readers(kv);
    return KMY_OK;
}

void kmy_kv_close(kmy_kv_t *kv)
{
    if (!kv->env)
        return;
    mdb_env_close(kv->env);
    disclaim(kv->dev, kv->ino);
    *kv = (kmy_kv_t){ 0 };
}

unsigned kmy_kv_clear_dead_readers(kmy_kv_t *kv)
{
    int dead = 0;
    if (mdb_reader_check(kv->env, &dead) != 0)
        return 0;
    return (unsigned)dead;
}

static int write_once(kmy_kv_t *kv, kmy_kv_write_t *fn, void *arg)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(kv->env, NULL, 0, &txn);
    if (rc)
        return rc;
    rc = fn(txn, arg);
    if (rc) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn); /* frees the transaction, also where it fails */
}

static bool grow(kmy_kv_t *kv)
{
    size_t bytes = kv->map_bytes * 2;
    if (bytes > kv->options.map_bytes_max)
        bytes = kv->options.map_bytes_max;
    if (bytes <= kv->map_bytes || mdb_env_set_mapsize(kv->env, bytes) != 0)
        return false;
    kv->map_bytes = bytes;
    return true;
}

kmy_err_t kmy_kv_write(kmy_kv_t *kv, kmy_kv_write_t *fn, void *arg, kmy_errctx_t *ctx)
{
    int rc = write_once(kv, fn, arg);
    while (rc == MDB_MAP_FULL && grow(kv))
        rc = write_once(kv, fn, arg);
    return rc ? kmy_kv_fail(ctx, rc, "write transaction") : KMY_OK;
}

kmy_err_t kmy_kv_reserve(kmy_kv_t *kv, size_t bytes, kmy_errctx_t *ctx)
{
    if (kv->options.read_only || kv->options.sync != KMY_KV_RELAXED)
        return KMY_OK;
    size_t need = used_bytes(kv->env) + bytes;
    if (need > kv->map_bytes)
        need = kv->map_bytes; /* LMDB itself stops there, with MDB_MAP_FULL */
    if (need <= kv->reserved_bytes)
        return KMY_OK;
    size_t until = need + RESERVE_STEP_BYTES;
    if (until > kv->map_bytes)
        until = kv->map_bytes;
    int fd;
    mdb_env_get_fd(kv->env, &fd);
    int rc = fallocate(fd, 0, (off_t)kv->reserved_bytes, (off_t)(until - kv->reserved_bytes));
    /* A file system without fallocate: the map is all there is, as in plain LMDB. */
    if (rc != 0 && errno != EOPNOTSUPP && errno != ENOSYS)
        return KMY_FAIL_SYS(ctx, KMY_IO, "cannot take %zu bytes of disk: make room",
                            until - kv->reserved_bytes);
    kv->reserved_bytes = until;
    return KMY_OK;
}

static bool sync_path(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool ok = fsync(fd) == 0;
    close(fd);
    return ok;
}

kmy_err_t kmy_kv_copy(kmy_kv_t *kv, const char *path, kmy_errctx_t *ctx)
{
    char file[PATH_MAX];
    if (snprintf(file, sizeof file, "%s/data.mdb", path) >= (int)sizeof file)
        return KMY_FAIL(ctx, KMY_TOO_BIG, "path of the copy has %zu bytes", strlen(path));
    if (mkdir(path, 0700) != 0)
        return KMY_FAIL_SYS(ctx, KMY_IO, "cannot make the folder %s for a copy", path);
    int rc = mdb_env_copy2(kv->env, path, MDB_CP_COMPACT);
    if (rc == 0 && sync_path(file) && sync_path(path))
        return KMY_OK;
    kmy_err_t err = rc ? kmy_kv_fail(ctx, rc, "hot copy")
                       : KMY_FAIL_SYS(ctx, KMY_IO, "cannot sync the copy %s", file);
    unlink(file);
    rmdir(path);
    return err;
}
