/* token: where the secret comes from. */
#include "pay/secret_file.h"
#include "pay/token.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char what[] = "token secret";
static const char earlier[] = "token.key.until-"; /* then seconds since 1970 */

kmy_err_t kmy_token_secret_load(const char *path, const char *data_dir, uint8_t *out, size_t cap,
                                size_t *len, kmy_errctx_t *ctx)
{
    char made[PATH_MAX];
    uint8_t secret[KMY_SECRET_MADE_BYTES];
    if (path && path[0] != '\0') {
        kmy_err_t err = kmy_secret_read(what, path, KMY_TOKEN_KEY_BYTES_MIN, out, cap, len, ctx);
        return err == KMY_NOT_FOUND ? KMY_CONFIG : err;
    }
    if (snprintf(made, sizeof made, "%s/token.key", data_dir) >= (int)sizeof made)
        return KMY_FAIL(ctx, KMY_CONFIG, "path of the data folder is too long");
    kmy_err_t err = kmy_secret_read(what, made, KMY_TOKEN_KEY_BYTES_MIN, out, cap, len, ctx);
    if (err != KMY_NOT_FOUND)
        return err;
    err = kmy_secret_random(secret, ctx);
    if (err == KMY_OK)
        err = kmy_secret_write(what, made, secret, sizeof secret, ctx);
    OPENSSL_cleanse(secret, sizeof secret);
    if (err == KMY_OK) /* what lies there now: ours, or that of whoever was quicker */
        err = kmy_secret_read(what, made, KMY_TOKEN_KEY_BYTES_MIN, out, cap, len, ctx);
    return err;
}

/* --- earlier keys ------------------------------------------------------------------------------ */

/* The name's time; false: another file. */
static bool until_of(const char *name, int64_t *until_s)
{
    size_t n = sizeof earlier - 1;
    size_t digits = strncmp(name, earlier, n) == 0 ? strspn(name + n, "0123456789") : 0;
    if (digits == 0 || digits > 12 || name[n + digits] != '\0')
        return false;
    *until_s = strtoll(name + n, NULL, 10);
    return true;
}

typedef kmy_err_t visit_t(void *arg, const char *path, int64_t until_s, kmy_errctx_t *ctx);

static kmy_err_t visit_earlier(const char *data_dir, visit_t *visit, void *arg, kmy_errctx_t *ctx)
{
    char path[PATH_MAX];
    DIR *dir = opendir(data_dir);
    if (!dir)
        return KMY_FAIL_SYS(ctx, KMY_IO, "cannot read the folder %.100s", data_dir);
    kmy_err_t err = KMY_OK;
    for (struct dirent *e; err == KMY_OK && (e = readdir(dir));) {
        int64_t until_s;
        if (until_of(e->d_name, &until_s) &&
            snprintf(path, sizeof path, "%s/%s", data_dir, e->d_name) < (int)sizeof path)
            err = visit(arg, path, until_s, ctx);
    }
    closedir(dir);
    return err;
}

typedef struct load {
    kmy_token_key_t *keys;
    int64_t now_s;
} load_t;

static kmy_err_t add_earlier(void *arg, const char *path, int64_t until_s, kmy_errctx_t *ctx)
{
    load_t *l = arg;
    uint8_t secret[256]; /* one that was put there by hand may be longer than ours */
    size_t len;
    if (until_s <= l->now_s)
        return KMY_OK; /* its last token has expired; the next rotation removes it */
    kmy_err_t err =
        kmy_secret_read(what, path, KMY_TOKEN_KEY_BYTES_MIN, secret, sizeof secret, &len, ctx);
    if (err == KMY_OK && !kmy_token_key_add(l->keys, secret, len, ctx))
        err = KMY_CONFIG;
    OPENSSL_cleanse(secret, sizeof secret);
    return err;
}

kmy_token_key_t *kmy_token_keys_load(const char *path, const char *data_dir, int64_t now_s,
                                     kmy_errctx_t *ctx)
{
    uint8_t secret[256]; /* a file of the operator's own may be longer than ours */
    size_t len;
    load_t l = { NULL, now_s };
    if (kmy_token_secret_load(path, data_dir, secret, sizeof secret, &len, ctx) == KMY_OK)
        l.keys = kmy_token_key_new(secret, len, ctx);
    OPENSSL_cleanse(secret, sizeof secret);
    if (l.keys && visit_earlier(data_dir, add_earlier, &l, ctx) != KMY_OK) {
        kmy_token_key_free(l.keys);
        return NULL;
    }
    return l.keys;
}

typedef struct sweep {
    int64_t now_s;
    size_t kept;
    bool all;
} sweep_t;

static kmy_err_t remove_over(void *arg, const char *path, int64_t until_s, kmy_errctx_t *ctx)
{
    sweep_t *sweep = arg;
    if (!sweep->all && until_s > sweep->now_s) {
        sweep->kept++;
        return KMY_OK;
    }
    if (unlink(path) == 0 || errno == ENOENT)
        return KMY_OK;
    return KMY_FAIL_SYS(ctx, KMY_IO, "cannot remove the earlier token key %.100s", path);
}

typedef struct places {
    char now[PATH_MAX];
    char next[PATH_MAX];
    char old[PATH_MAX];
} places_t;

/* A second rotation within one second finds the name taken, by another key. */
static bool find_places(places_t *p, const char *data_dir, int64_t until_s)
{
    if (snprintf(p->now, sizeof p->now, "%s/token.key", data_dir) >= (int)sizeof p->now ||
        snprintf(p->next, sizeof p->next, "%s/token.key.next", data_dir) >= (int)sizeof p->next)
        return false;
    do {
        if (snprintf(p->old, sizeof p->old, "%s/%s%lld", data_dir, earlier, (long long)until_s++) >=
            (int)sizeof p->old)
            return false;
    } while (access(p->old, F_OK) == 0);
    return true;
}

/* The old key gets its second name first: at each instant token.key is a whole key, and the old one is there as long as it is needed. */
static kmy_err_t replace(const char *data_dir, int64_t until_s, bool drop, kmy_errctx_t *ctx)
{
    places_t p;
    uint8_t secret[KMY_SECRET_MADE_BYTES];
    if (!find_places(&p, data_dir, until_s))
        return KMY_FAIL(ctx, KMY_CONFIG, "path of the data folder is too long");
    unlink(p.next); /* of a rotation that was cut off */
    kmy_err_t err = kmy_secret_random(secret, ctx);
    if (err == KMY_OK)
        err = kmy_secret_write(what, p.next, secret, sizeof secret, ctx);
    OPENSSL_cleanse(secret, sizeof secret);
    if (err == KMY_OK && !drop && link(p.now, p.old) != 0)
        err = KMY_FAIL_SYS(ctx, KMY_IO, "cannot keep the old token key as %.100s", p.old);
    if (err == KMY_OK && rename(p.next, p.now) != 0)
        err = KMY_FAIL_SYS(ctx, KMY_IO, "cannot put a new token key in place of %.100s", p.now);
    int dir = err == KMY_OK ? open(data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (dir >= 0) {
        if (fsync(dir) != 0)
            err = KMY_FAIL_SYS(ctx, KMY_IO, "cannot sync the folder of %.100s", p.now);
        close(dir);
    }
    return err;
}

kmy_err_t kmy_token_keys_rotate(const char *data_dir, int64_t now_s, int64_t until_s, bool drop,
                                kmy_errctx_t *ctx)
{
    sweep_t over = { .now_s = now_s };
    sweep_t all = { .all = true };
    kmy_err_t err = visit_earlier(data_dir, remove_over, &over, ctx);
    if (err == KMY_OK && !drop && over.kept + 2 > KMY_TOKEN_KEYS_MAX)
        err = KMY_FAIL(
            ctx, KMY_FULL,
            "%zu earlier token keys are still needed: wait until their tokens have expired",
            over.kept);
    if (err == KMY_OK)
        err = replace(data_dir, until_s, drop, ctx);
    return err == KMY_OK && drop ? visit_earlier(data_dir, remove_over, &all, ctx) : err;
}
