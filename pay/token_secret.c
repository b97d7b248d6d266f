/* token: where the secret comes from. */
#include "pay/secret_file.h"
#include "pay/token.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

static const char what[] = "token secret";

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
