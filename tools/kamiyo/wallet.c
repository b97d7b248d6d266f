#include "tools/kamiyo/wallet.h"

#include "wire/hex.h"
#include "wire/secp.h"

#include <errno.h>
#include <fcntl.h>
#include <secp256k1_recovery.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KEY_TEXT_BYTES_MAX = 128 };

static secp256k1_context *context(void)
{
    static secp256k1_context *ctx;
    if (!ctx)
        ctx = secp256k1_context_create(SECP256K1_CONTEXT_SIGN);
    KMY_ASSERT(ctx != NULL);
    return ctx;
}

static int read_file(const cli_t *cli, char text[KEY_TEXT_BYTES_MAX])
{
    struct stat st;
    int fd = open(cli->wallet, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        if (fd >= 0)
            close(fd);
        return cli_fail(cli, "%s: %s", cli->wallet, strerror(errno));
    }
    ssize_t n = read(fd, text, KEY_TEXT_BYTES_MAX - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    if (st.st_mode & 077) {
        explicit_bzero(text, KEY_TEXT_BYTES_MAX);
        return cli_fail(cli, "%s can be read by others: chmod 600 it", cli->wallet);
    }
    return CLI_OK;
}

static bool take_key(const char *text, wallet_t *w)
{
    secp256k1_pubkey public_key;
    uint8_t serial[65];
    size_t len = sizeof serial;
    size_t digits;
    if (strncmp(text, "0x", 2) == 0)
        text += 2;
    digits = strcspn(text, " \t\r\n");
    if (digits != 64 || !kmy_hex_decode(text, digits, w->key, sizeof w->key) ||
        !secp256k1_ec_pubkey_create(context(), &public_key, w->key))
        return false;
    secp256k1_ec_pubkey_serialize(context(), serial, &len, &public_key, SECP256K1_EC_UNCOMPRESSED);
    kmy_secp_address(serial + 1, w->address);
    return true;
}

int cli_wallet_open(const cli_t *cli, wallet_t *w)
{
    char text[KEY_TEXT_BYTES_MAX] = "";
    const char *given = getenv("KAMIYO_WALLET_KEY");
    memset(w, 0, sizeof *w);
    if (cli->wallet) {
        int code = read_file(cli, text);
        if (code != CLI_OK)
            return code;
    } else if (given && strlen(given) < sizeof text) {
        memcpy(text, given, strlen(given) + 1);
    } else {
        return cli_wrong(cli, "no wallet: set KAMIYO_WALLET_KEY, or name a file with --wallet");
    }
    bool good = take_key(text, w);
    explicit_bzero(text, sizeof text);
    return good ? CLI_OK
                : cli_fail(cli, "the wallet's key must be 64 hex digits, as of an EVM key");
}

void cli_wallet_close(wallet_t *w)
{
    explicit_bzero(w, sizeof *w);
}

void cli_wallet_sign(const wallet_t *w, const uint8_t digest[KMY_EVM_WORD_BYTES],
                     uint8_t signature[KMY_EVM_SIGNATURE_BYTES])
{
    secp256k1_ecdsa_recoverable_signature s;
    int recid;
    KMY_ASSERT(secp256k1_ecdsa_sign_recoverable(context(), &s, digest, w->key, NULL, NULL) == 1);
    secp256k1_ecdsa_recoverable_signature_serialize_compact(context(), signature, &recid, &s);
    signature[64] = (uint8_t)(27 + recid);
}
