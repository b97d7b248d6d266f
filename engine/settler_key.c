#include "engine/settler_key.h"

#include "pay/secret_file.h"
#include "wire/hex.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { DIGITS = 2 * KMY_SECP_KEY_BYTES, TEXT_MAX = 2 + DIGITS + 2 /* 0x, CR and LF */ };

static const char *in_environment(const kmy_config_t *config)
{
    const char *name = config->payments.settler_key_env;
    const char *text = name[0] ? getenv(name) : NULL;
    return text && text[0] ? text : NULL;
}

bool kmy_settler_key_given(const kmy_config_t *config)
{
    return config->payments.settler_key_file[0] || in_environment(config);
}

bool kmy_settler_key_serves(const kmy_config_t *config, const kmy_config_network_t *network)
{
    return network->rpc[0] && strncmp(network->chain, "eip155:", 7) == 0 &&
           kmy_settler_key_given(config);
}

/* A token's secret may be shared with a group of operators; whoever has this one can spend it. */
static kmy_err_t check_mode(const char *path, kmy_errctx_t *ctx)
{
    struct stat st;
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & (S_IRWXG | S_IRWXO)))
        return KMY_FAIL(ctx, KMY_CONFIG,
                        "payments.settler_key_file: %.100s is open to others: chmod 600 it", path);
    return KMY_OK;
}

static kmy_err_t read_text(const kmy_config_t *config, char text[TEXT_MAX], size_t *len,
                           kmy_errctx_t *ctx)
{
    const char *path = config->payments.settler_key_file;
    const char *given = in_environment(config);
    if (path[0]) {
        kmy_err_t err = check_mode(path, ctx);
        if (err == KMY_OK)
            err = kmy_secret_read("payments.settler_key_file", path, DIGITS, (uint8_t *)text,
                                  TEXT_MAX, len, ctx);
        return err == KMY_NOT_FOUND ? KMY_CONFIG : err; /* one is configured, and not there */
    }
    if (!given)
        return KMY_FAIL(ctx, KMY_NOT_FOUND, "no settler key is configured");
    *len = strnlen(given, TEXT_MAX);
    memcpy(text, given, *len);
    return KMY_OK;
}

kmy_err_t kmy_settler_key_load(const kmy_config_t *config, uint8_t key[KMY_SECP_KEY_BYTES],
                               uint8_t address[KMY_EVM_ADDRESS_BYTES], kmy_errctx_t *ctx)
{
    char text[TEXT_MAX];
    size_t len = 0;
    kmy_err_t err = read_text(config, text, &len, ctx);
    while (err == KMY_OK && len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        len--;
    if (err == KMY_OK && !kmy_hex_decode(text, len, key, KMY_SECP_KEY_BYTES) &&
        !kmy_hex_decode_0x(text, len, key, KMY_SECP_KEY_BYTES))
        err = KMY_FAIL(ctx, KMY_CONFIG,
                       "payments.settler_key: a private key is 64 hex digits and nothing else");
    explicit_bzero(text, sizeof text);
    if (err == KMY_OK && !kmy_secp_key_address(key, address))
        err = KMY_FAIL(ctx, KMY_CONFIG, "payments.settler_key: this is no key of secp256k1");
    if (err != KMY_OK)
        explicit_bzero(key, KMY_SECP_KEY_BYTES);
    return err;
}
