/* pyth_update: Pyth's signed container ("accumulator update", PNAU), verified and decoded.

   One update carries a Wormhole-shaped VAA, signed by a quorum of known keys over the root of a Merkle tree, and per feed a message with its proof.
   Whoever hands it over (Hermes, a proxy, a file) need not be trusted then.  Source: reference of Pyth's pythnet_sdk (wire format, Merkle
   tree over Keccak-160) and of Wormhole's VAA, version 1.

   Pure and bounded; any thread; nothing blocks or allocates.  13 signatures cost 0.8 ms, 3 cost 0.2 ms: not per tick on a busy thread; updates of one
   slot share a VAA. */
#ifndef KMY_ADAPTERS_PYTH_UPDATE_H
#define KMY_ADAPTERS_PYTH_UPDATE_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KMY_PYTH_SIGNERS_MAX      19
#define KMY_PYTH_PRICES_MAX       255         /* the update count is one byte */
#define KMY_PYTH_UPDATE_BYTES_MAX (256 << 10) /* 255 feeds of 328 bytes are 85 KiB */

/* Keys of one set, in order: a signature names its key by place. */
typedef struct kmy_pyth_signers {
    uint8_t emitter[32]; /* whose messages these keys vouch for, on chain 26 */
    uint32_t set_index;
    bool live; /* false: was replaced; good for old recordings only */
    uint8_t quorum;
    uint8_t count;
    uint8_t address[KMY_PYTH_SIGNERS_MAX][20];
} kmy_pyth_signers_t;

/* The sets of Pyth's stable network that are publicly known, retired ones included (pyth_signers.c). */
extern const kmy_pyth_signers_t kmy_pyth_signers_known[];
extern const size_t kmy_pyth_signers_known_count;

typedef struct kmy_pyth_price {
    uint8_t id[32];
    int32_t expo; /* price x 10^expo; any value */
    int64_t price;
    uint64_t conf;
    int64_t publish_s;
    int64_t prev_publish_s;
    int64_t ema_price;
    uint64_t ema_conf;
} kmy_pyth_price_t;

typedef struct kmy_pyth_update {
    uint64_t slot;
    uint64_t sequence;
    uint32_t signed_s; /* the VAA's time, Unix seconds */
    uint32_t
        messages; /* all of them, also those of other types, which are verified and passed over */
    size_t prices_count;
} kmy_pyth_update_t;

/* kmy_pyth_update_read verifies bytes[0..len) against `signers` (signers_count sets; retired ones only if retired_too) and writes its prices in
   order to prices[0..cap).
     KMY_OK               *out and prices are what the signers say
     KMY_BAD_INPUT        not of the format, or a message that is not in the tree
     KMY_UNAUTHENTICATED  unknown set or emitter, below the quorum, or a signature that is not its key's
     KMY_TOO_BIG          more prices than cap, or longer than KMY_PYTH_UPDATE_BYTES_MAX
   On failure *out is untouched and prices may hold rubbish. */
kmy_err_t kmy_pyth_update_read(const void *bytes, size_t len, const kmy_pyth_signers_t *signers,
                               size_t signers_count, bool retired_too, kmy_pyth_price_t *prices,
                               size_t cap, kmy_pyth_update_t *out, kmy_errctx_t *ctx);

#endif
