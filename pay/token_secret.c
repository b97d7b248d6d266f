/* token: where the secret comes from. */
#include "pay/token.h"

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

enum { MADE_BYTES = 32 };

static kmy_err_t read_whole(int fd, const char *path, uint8_t *out, size_t cap, size_t *len,
                            kmy_errctx_t *ctx)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return KMY_FAIL(ctx, KMY_CONFIG, "token secret %.100s is no file", path);
    if (st.st_mode & S_IRWXO)
        return KMY_FAIL(ctx, KMY_CONFIG, "token secret %.100s is open to everybody: chmod 600 it",
                        path);
    size_t at = 0;
    ssize_t n = 1;
    while (at < cap && (n = read(fd, out + at, cap - at)) > 0)
        at += (size_t)n;
    uint8_t more;
    if (n < 0)
        return KMY_FAIL_SYS(ctx, KMY_IO, "cannot read token secret %.100s", path);
    if (at == cap && read(fd, &more, 1) == 1)
        return KMY_FAIL(ctx, KMY_CONFIG, "token secret %.100s has more than %zu bytes", path, cap);
    if (at > 0 && out[at - 1] == '\n') /* an editor's or echo's, not the secret's */
        at--;
    if (at < KMY_TOKEN_KEY_BYTES_MIN)
        return KMY_FAIL(ctx, KMY_CONFIG, "token secret %.100s has %zu bytes; it needs at least %d",
                        path, at, KMY_TOKEN_KEY_BYTES_MIN);
    *len = at;
    return KMY_OK;
}

static kmy_err_t secret_read(const char *path, uint8_t *out, size_t cap, size_t *len,
                             kmy_errctx_t *ctx)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return KMY_FAIL(ctx, KMY_NOT_FOUND, "no token secret %.100s", path);
    if (fd < 0)
        return KMY_FAIL_SYS(ctx, KMY_IO, "cannot open token secret %.100s", path);
    kmy_err_t err = read_whole(fd, path, out, cap, len, ctx);
    close(fd);
    if (err != KMY_OK)
        OPENSSL_cleanse(out, cap);
    return err;
}

static bool write_synced(const char *path, const uint8_t *secret)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool ok = write(fd, secret, MADE_BYTES) == MADE_BYTES && fsync(fd) == 0;
    return close(fd) == 0 && ok;
}

/* Written aside and linked into place: a crash leaves the whole secret or none, and of two makers one wins and both read the same. */
static kmy_err_t secret_make(const char *path, const char *data_dir, kmy_errctx_t *ctx)
{
    uint8_t secret[MADE_BYTES];
    char aside[PATH_MAX];
    if (snprintf(aside, sizeof aside, "%s.%ld", path, (long)getpid()) >= (int)sizeof aside)
        return KMY_FAIL(ctx, KMY_CONFIG, "path of the token secret is too long");
    do { /* a newline at the end would be taken for an editor's when it is read */
        if (RAND_bytes(secret, sizeof secret) != 1)
            return KMY_FAIL(ctx, KMY_INTERNAL, "no random numbers for a token secret");
    } while (secret[MADE_BYTES - 1] == '\n');
    unlink(aside); /* of a process that had our id and died */
    bool ok = write_synced(aside, secret);
    OPENSSL_cleanse(secret, sizeof secret);
    ok = ok && (link(aside, path) == 0 || errno == EEXIST);
    kmy_err_t err =
        ok ? KMY_OK : KMY_FAIL_SYS(ctx, KMY_IO, "cannot write token secret %.100s", path);
    unlink(aside);
    int dir = ok ? open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (dir >= 0) {
        if (fsync(dir) != 0)
            err = KMY_FAIL_SYS(ctx, KMY_IO, "cannot sync the folder of %.100s", path);
        close(dir);
    }
    return err;
}

kmy_err_t kmy_token_secret_load(const char *path, const char *data_dir, uint8_t *out, size_t cap,
                                size_t *len, kmy_errctx_t *ctx)
{
    char made[PATH_MAX];
    if (path && path[0] != '\0') {
        kmy_err_t err = secret_read(path, out, cap, len, ctx);
        return err == KMY_NOT_FOUND ? KMY_CONFIG : err;
    }
    if (snprintf(made, sizeof made, "%s/token.key", data_dir) >= (int)sizeof made)
        return KMY_FAIL(ctx, KMY_CONFIG, "path of the data folder is too long");
    kmy_err_t err = secret_read(made, out, cap, len, ctx);
    if (err != KMY_NOT_FOUND)
        return err;
    err = secret_make(made, data_dir, ctx);
    return err == KMY_OK ? secret_read(made, out, cap, len, ctx) : err;
}
