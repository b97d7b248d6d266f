#include "adapters/pyth_update.h"

#include "wire/keccak.h"
#include "wire/secp.h"

#include <string.h>

enum {
    ROOT = 20,        /* Keccak-160: the first 20 bytes of Keccak-256 */
    SIGNATURE = 66,   /* index, r, s, recovery id */
    BODY_HEAD = 51,   /* time 4, nonce 4, chain 2, emitter 32, sequence 8, consistency 1 */
    PAYLOAD = 37,     /* "AUWV", type 1, slot 8, ring size 4, root 20 */
    PRICE_BYTES = 85, /* of a price message; later versions may append */
    CHAIN = 26,       /* Pythnet */
};

/* Bytes that are left; big-endian numbers.  Once `short_of` is set everything reads as zero. */
typedef struct reader {
    const uint8_t *at;
    size_t left;
    bool short_of;
} reader_t;

static const uint8_t *take(reader_t *r, size_t n)
{
    if (r->short_of || r->left < n) {
        r->short_of = true;
        return NULL;
    }
    r->at += n;
    r->left -= n;
    return r->at - n;
}

static uint64_t take_number(reader_t *r, size_t bytes)
{
    const uint8_t *p = take(r, bytes);
    uint64_t v = 0;
    for (size_t i = 0; p && i < bytes; i++)
        v = v << 8 | p[i];
    return v;
}

static kmy_err_t malformed(kmy_errctx_t *ctx, const char *what)
{
    return kmy_fail(ctx, KMY_BAD_INPUT, "kmy_pyth_update_read", 0, "Pyth update: %s", what);
}

static kmy_err_t unsigned_by(kmy_errctx_t *ctx, const char *what)
{
    return kmy_fail(ctx, KMY_UNAUTHENTICATED, "kmy_pyth_update_read", 0, "Pyth update: %s", what);
}

static const kmy_pyth_signers_t *set_of(const kmy_pyth_signers_t *signers, size_t count,
                                        bool retired_too, const uint8_t emitter[32], uint64_t index)
{
    for (size_t i = 0; i < count; i++)
        if (signers[i].set_index == index && memcmp(signers[i].emitter, emitter, 32) == 0 &&
            (signers[i].live || retired_too))
            return &signers[i];
    return NULL;
}

/* Every signature that is there must be its key's, places strictly rising, and enough of them. */
static kmy_err_t check_signatures(const uint8_t *list, size_t count, const uint8_t digest[32],
                                  const kmy_pyth_signers_t *set, kmy_errctx_t *ctx)
{
    int before = -1;
    if (count < set->quorum)
        return unsigned_by(ctx, "fewer signatures than the quorum");
    for (size_t i = 0; i < count; i++, list += SIGNATURE) {
        uint8_t address[KMY_SECP_ADDRESS_BYTES];
        if (list[0] <= before || list[0] >= set->count)
            return unsigned_by(ctx, "signers do not rise, or are not in the set");
        before = list[0];
        if (list[65] > 1 || !kmy_secp_recover_address(digest, list + 1, list[65], address) ||
            memcmp(address, set->address[list[0]], sizeof address) != 0)
            return unsigned_by(ctx, "a signature is not its signer's");
    }
    return KMY_OK;
}

typedef struct sets {
    const kmy_pyth_signers_t *list;
    size_t count;
    bool retired_too;
} sets_t;

static kmy_err_t read_vaa(reader_t vaa, const sets_t *sets, uint8_t root[ROOT],
                          kmy_pyth_update_t *out, kmy_errctx_t *ctx)
{
    if (take_number(&vaa, 1) != 1)
        return malformed(ctx, "VAA version is not 1");
    uint64_t set_index = take_number(&vaa, 4);
    size_t signatures_count = take_number(&vaa, 1);
    const uint8_t *signatures = take(&vaa, signatures_count * SIGNATURE);
    reader_t body = vaa;
    out->signed_s = (uint32_t)take_number(&vaa, 4);
    take(&vaa, 4); /* nonce */
    uint64_t chain = take_number(&vaa, 2);
    const uint8_t *emitter = take(&vaa, 32);
    out->sequence = take_number(&vaa, 8);
    take(&vaa, 1); /* consistency */
    const uint8_t *magic = take(&vaa, 5);
    out->slot = take_number(&vaa, 8);
    take(&vaa, 4); /* ring size */
    const uint8_t *signed_root = take(&vaa, ROOT);
    if (vaa.short_of || vaa.left != 0)
        return malformed(ctx, "VAA is not of its length");
    if (memcmp(magic, "AUWV\0", 5) != 0)
        return malformed(ctx, "VAA carries no Merkle root");
    const kmy_pyth_signers_t *set =
        chain == CHAIN ? set_of(sets->list, sets->count, sets->retired_too, emitter, set_index)
                       : NULL;
    if (!set)
        return unsigned_by(ctx, "its signer set or emitter is not known");
    uint8_t digest[KMY_KECCAK_BYTES];
    kmy_keccak256(body.at, body.left, digest);
    kmy_keccak256(digest, sizeof digest, digest);
    memcpy(root, signed_root, ROOT);
    return check_signatures(signatures, signatures_count, digest, set, ctx);
}

/* Keccak-160 of a mark and one or two pieces. */
static void node(uint8_t mark, const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len,
                 uint8_t out[ROOT])
{
    kmy_keccak_t k;
    uint8_t hash[KMY_KECCAK_BYTES];
    kmy_keccak_init(&k);
    kmy_keccak_add(&k, &mark, 1);
    kmy_keccak_add(&k, a, a_len);
    kmy_keccak_add(&k, b, b_len);
    kmy_keccak_end(&k, hash);
    memcpy(out, hash, ROOT);
}

/* A leaf is marked 0 and a branch 1, so that neither can pass for the other; the smaller child stands first, so a proof needs no directions. */
static bool in_tree(const uint8_t *message, size_t len, const uint8_t *proof, size_t proof_count,
                    const uint8_t root[ROOT])
{
    uint8_t at[ROOT];
    node(0, message, len, NULL, 0, at);
    for (size_t i = 0; i < proof_count; i++, proof += ROOT) {
        bool first = memcmp(at, proof, ROOT) <= 0;
        node(1, first ? at : proof, ROOT, first ? proof : at, ROOT, at);
    }
    return memcmp(at, root, ROOT) == 0;
}

static bool read_price(const uint8_t *message, size_t len, kmy_pyth_price_t *out)
{
    reader_t r = { message, len, false };
    if (len < PRICE_BYTES)
        return false;
    take(&r, 1); /* type */
    memcpy(out->id, take(&r, 32), 32);
    out->price = (int64_t)take_number(&r, 8);
    out->conf = take_number(&r, 8);
    out->expo = (int32_t)take_number(&r, 4);
    out->publish_s = (int64_t)take_number(&r, 8);
    out->prev_publish_s = (int64_t)take_number(&r, 8);
    out->ema_price = (int64_t)take_number(&r, 8);
    out->ema_conf = take_number(&r, 8);
    return true;
}

static kmy_err_t read_messages(reader_t *r, const uint8_t root[ROOT], kmy_pyth_price_t *prices,
                               size_t cap, kmy_pyth_update_t *out, kmy_errctx_t *ctx)
{
    out->messages = (uint32_t)take_number(r, 1);
    if (out->messages == 0)
        return malformed(ctx, "it holds nothing");
    for (uint32_t i = 0; i < out->messages; i++) {
        size_t len = take_number(r, 2);
        const uint8_t *message = take(r, len);
        size_t proof_count = take_number(r, 1);
        const uint8_t *proof = take(r, proof_count * ROOT);
        if (r->short_of || len == 0)
            return malformed(ctx, "a message is cut short");
        if (!in_tree(message, len, proof, proof_count, root))
            return malformed(ctx, "a message is not in the signed tree");
        if (message[0] != 0)
            continue; /* averages over time, caps of publishers */
        if (out->prices_count == cap)
            return kmy_fail(ctx, KMY_TOO_BIG, "kmy_pyth_update_read", 0,
                            "Pyth update: more than %zu prices", cap);
        if (!read_price(message, len, &prices[out->prices_count++]))
            return malformed(ctx, "a price message is cut short");
    }
    return r->left == 0 ? KMY_OK : malformed(ctx, "something stands behind its last message");
}

kmy_err_t kmy_pyth_update_read(const void *bytes, size_t len, const kmy_pyth_signers_t *signers,
                               size_t signers_count, bool retired_too, kmy_pyth_price_t *prices,
                               size_t cap, kmy_pyth_update_t *out, kmy_errctx_t *ctx)
{
    reader_t r = { bytes, len, false };
    const sets_t sets = { signers, signers_count, retired_too };
    kmy_pyth_update_t update = { 0 };
    uint8_t root[ROOT];
    if (len > KMY_PYTH_UPDATE_BYTES_MAX)
        return kmy_fail(ctx, KMY_TOO_BIG, __func__, 0, "Pyth update: %zu bytes, limit %d", len,
                        KMY_PYTH_UPDATE_BYTES_MAX);
    const uint8_t *magic = take(&r, 5);
    if (!magic || memcmp(magic, "PNAU\1", 5) != 0)
        return malformed(ctx, "it does not begin with PNAU and version 1");
    take(&r, 1); /* minor version: later ones only append to the header */
    take(&r, take_number(&r, 1));
    uint64_t proof_type = take_number(&r, 1);
    size_t vaa_bytes = take_number(&r, 2);
    const uint8_t *vaa = take(&r, vaa_bytes);
    if (r.short_of || proof_type != 0)
        return malformed(ctx, "it is cut short, or proven in another way");
    kmy_err_t err = read_vaa((reader_t){ vaa, vaa_bytes, false }, &sets, root, &update, ctx);
    if (err == KMY_OK)
        err = read_messages(&r, root, prices, cap, &update, ctx);
    if (err == KMY_OK)
        *out = update;
    return err;
}
