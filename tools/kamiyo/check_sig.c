/* kamiyo check sig: lines of `ALG PUB MSG SIG` in hex, `-` for empty; 1 or 0 for each.

     secp256k1-keccak  as payments are signed: Keccak-256; low s only; SIG is r, s and v (27 or 28), or r and s; PUB a key or an address of 20 bytes
     secp256k1-sha256  plain ECDSA: SHA-256; s of either kind; SIG is r and s, or strict DER; PUB a key
     ed25519           as Solana's runtime judges them

   A key of secp256k1 is 33 or 65 bytes, or 64 without the 04. */
#include "tools/kamiyo/check.h"

#include "pay/ed25519.h"
#include "wire/hex.h"
#include "wire/keccak.h"
#include "wire/secp.h"

#include <openssl/sha.h>
#include <string.h>

typedef struct bytes {
    uint8_t *data;
    size_t len;
} bytes_t;

/* The next word of the line as bytes, decoded in place; false: none, or no hex. */
static bool next_bytes(char **at, bytes_t *out)
{
    char *word = *at + strspn(*at, " \t");
    size_t len = strcspn(word, " \t");
    *at = word + len;
    out->data = (uint8_t *)word;
    out->len = len == 1 && word[0] == '-' ? 0 : len / 2;
    return len > 0 && (out->len == 0 ? word[0] == '-' : kmy_hex_decode(word, len, word, len / 2));
}

/* A key with its leading byte; its length, 0: no key. */
static size_t key_of(bytes_t in, uint8_t key[65])
{
    if (in.len != 33 && in.len != 64 && in.len != 65)
        return 0;
    key[0] = 4;
    memcpy(key + (in.len == 64), in.data, in.len);
    return in.len == 33 ? 33 : 65;
}

static bool keccak_good(bytes_t pub, bytes_t msg, bytes_t sig)
{
    uint8_t digest[32], key[65], signer[KMY_SECP_PUBLIC_BYTES], address[KMY_SECP_ADDRESS_BYTES];
    size_t key_len = key_of(pub, key);
    kmy_keccak256(msg.data, msg.len, digest);
    if (sig.len == 64)
        return key_len && kmy_secp_verify(digest, key, key_len, sig.data, true);
    if (sig.len != 65 || (sig.data[64] != 27 && sig.data[64] != 28) ||
        !kmy_secp_low_s(sig.data + 32) ||
        !kmy_secp_recover(digest, sig.data, sig.data[64] - 27, signer))
        return false;
    if (pub.len == KMY_SECP_ADDRESS_BYTES) {
        kmy_secp_address(signer, address);
        return memcmp(address, pub.data, sizeof address) == 0;
    }
    if (key_len == 33)
        return key[0] == (2 | (signer[63] & 1)) && memcmp(key + 1, signer, 32) == 0;
    return key_len == 65 && key[0] == 4 && memcmp(key + 1, signer, sizeof signer) == 0;
}

static bool sha256_good(bytes_t pub, bytes_t msg, bytes_t sig)
{
    uint8_t digest[32], key[65];
    size_t key_len = key_of(pub, key);
    SHA256(msg.data, msg.len, digest);
    if (key_len == 0)
        return false;
    if (sig.len == 64 && kmy_secp_verify(digest, key, key_len, sig.data, false))
        return true;
    return sig.len > 0 && kmy_secp_verify_der(digest, key, key_len, sig.data, sig.len, false);
}

static bool ed25519_good(bytes_t pub, bytes_t msg, bytes_t sig)
{
    return pub.len == KMY_ED25519_KEY_BYTES && sig.len == KMY_ED25519_SIGNATURE_BYTES &&
           kmy_ed25519_verify(pub.data, sig.data, msg.data, msg.len);
}

static bool line_good(char *line, size_t len)
{
    bytes_t pub, msg, sig;
    if (len == SIZE_MAX || strlen(line) != len)
        return false;
    size_t alg = strcspn(line, " \t");
    char *at = line + alg;
    if (!next_bytes(&at, &pub) || !next_bytes(&at, &msg) || !next_bytes(&at, &sig) ||
        at[strspn(at, " \t")])
        return false;
    if (alg == 16 && memcmp(line, "secp256k1-keccak", 16) == 0)
        return keccak_good(pub, msg, sig);
    if (alg == 16 && memcmp(line, "secp256k1-sha256", 16) == 0)
        return sha256_good(pub, msg, sig);
    return alg == 7 && memcmp(line, "ed25519", 7) == 0 && ed25519_good(pub, msg, sig);
}

int check_sig(const cli_t *cli)
{
    char *line;
    size_t len;
    (void)cli;
    while (check_line(&line, &len))
        check_say(line_good(line, len) ? "1" : "0");
    return CLI_OK;
}
