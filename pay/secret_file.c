#include "pay/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static kmy_err_t read_whole(int fd, const char *what, const char *path, size_t least, uint8_t *out,
                            size_t cap, size_t *len, kmy_errctx_t *ctx)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return KMY_FAIL(ctx, KMY_CONFIG, "%s %.100s is no file", what, path);
    if (st.st_mode & S_IRWXO)
        return KMY_FAIL(ctx, KMY_CONFIG, "%s %.100s is open to everybody: chmod 600 it", what,
                        path);
    size_t at = 0;
    ssize_t n = 1;
    while (at < cap && (n = read(fd, out + at, cap - at)) > 0)
        at += (size_t)n;
    uint8_t more;
    if (n < 0)
        return KMY_FAIL_SYS(ctx, KMY_IO, "cannot read %s %.100s", what, path);
    if (at == cap && read(fd, &more, 1) == 1)
        return KMY_FAIL(ctx, KMY_CONFIG, "%s %.100s has more than %zu bytes", what, path, cap);
    if (at > 0 && out[at - 1] == '\n') /* an editor's or echo's, not the secret's */
        at--;
    if (at < least)
        return KMY_FAIL(ctx, KMY_CONFIG, "%s %.100s has %zu bytes; it needs at least %zu", what,
                        path, at, least);
    *len = at;
    return KMY_OK;
}

kmy_err_t kmy_secret_read(const char *what, const char *path, size_t least, uint8_t *out,
                          size_t cap, size_t *len, kmy_errctx_t *ctx)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return KMY_FAIL(ctx, KMY_NOT_FOUND, "no %s %.100s", what, path);
    if (fd < 0)
        return KMY_FAIL_SYS(ctx, KMY_IO, "cannot open %s %.100s", what, path);
    kmy_err_t err = read_whole(fd, what, path, least, out, cap, len, ctx);
    close(fd);
    if (err != KMY_OK)
        OPENSSL_cleanse(out, cap);
    return err;
}

static bool write_synced(const char *path, const void *secret, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool ok = write(fd, secret, len) == (ssize_t)len && fsync(fd) == 0;
    return close(fd) == 0 && ok;
}

static bool sync_folder_of(const char *path)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash)
        *slash = '\0';
    int dir = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return true; /* may be written to and not read: nothing to be done about it */
    bool ok = fsync(dir) == 0;
    close(dir);
    return ok;
}

/* Written aside and linked into place: a crash leaves the whole secret or none, and of two makers one wins and both read the same. */
kmy_err_t kmy_secret_write(const char *what, const char *path, const void *secret, size_t len,
                           kmy_errctx_t *ctx)
{
    char aside[PATH_MAX];
    if (snprintf(aside, sizeof aside, "%s.%ld", path, (long)getpid()) >= (int)sizeof aside)
        return KMY_FAIL(ctx, KMY_CONFIG, "path of the %s is too long", what);
    unlink(aside); /* of a process that had our id and died */
    bool ok = write_synced(aside, secret, len) && (link(aside, path) == 0 || errno == EEXIST);
    kmy_err_t err = ok ? KMY_OK : KMY_FAIL_SYS(ctx, KMY_IO, "cannot write %s %.100s", what, path);
    unlink(aside);
    if (ok && !sync_folder_of(path))
        err = KMY_FAIL_SYS(ctx, KMY_IO, "cannot sync the folder of %.100s", path);
    return err;
}

kmy_err_t kmy_secret_random(uint8_t out[KMY_SECRET_MADE_BYTES], kmy_errctx_t *ctx)
{
    do {
        if (RAND_bytes(out, KMY_SECRET_MADE_BYTES) != 1)
            return KMY_FAIL(ctx, KMY_INTERNAL, "no random numbers for a secret");
    } while (out[KMY_SECRET_MADE_BYTES - 1] == '\n');
    return KMY_OK;
}

kmy_err_t kmy_secret_load(const char *what, const char *path, uint8_t out[KMY_SECRET_MADE_BYTES],
                          kmy_errctx_t *ctx)
{
    size_t len;
    kmy_err_t err =
        kmy_secret_read(what, path, KMY_SECRET_MADE_BYTES, out, KMY_SECRET_MADE_BYTES, &len, ctx);
    if (err != KMY_NOT_FOUND)
        return err;
    uint8_t made[KMY_SECRET_MADE_BYTES];
    err = kmy_secret_random(made, ctx);
    if (err == KMY_OK)
        err = kmy_secret_write(what, path, made, sizeof made, ctx);
    OPENSSL_cleanse(made, sizeof made);
    return err == KMY_OK ? kmy_secret_read(what, path, KMY_SECRET_MADE_BYTES, out,
                                           KMY_SECRET_MADE_BYTES, &len, ctx)
                         : err;
}
