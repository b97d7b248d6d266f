/* Pyth updates from anybody.  Signatures stop a fuzzer at the VAA, so the input is also read behind a key set that wants none. */
#include "adapters/pyth_update.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static kmy_pyth_price_t prices[KMY_PYTH_PRICES_MAX];
    static kmy_pyth_signers_t nobody = { .set_index = 4, .live = true };
    kmy_pyth_update_t out;
    kmy_errctx_t ctx = { 0 };
    memcpy(nobody.emitter, kmy_pyth_signers_known[0].emitter, sizeof nobody.emitter);
    kmy_err_t err =
        kmy_pyth_update_read(data, size, kmy_pyth_signers_known, kmy_pyth_signers_known_count, true,
                             prices, KMY_PYTH_PRICES_MAX, &out, &ctx);
    KMY_ASSERT((err == KMY_OK) == (ctx.where == NULL));
    err = kmy_pyth_update_read(data, size, &nobody, 1, false, prices, KMY_PYTH_PRICES_MAX, &out,
                               NULL);
    KMY_ASSERT(err == KMY_OK || err == KMY_BAD_INPUT || err == KMY_UNAUTHENTICATED ||
               err == KMY_TOO_BIG);
    if (err == KMY_OK)
        KMY_ASSERT(out.prices_count <= out.messages);
    return 0;
}
