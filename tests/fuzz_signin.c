/* Sign-in proofs from anybody, as JSON (it begins with a brace) or as a header's base64 behind the first byte. */
#include "pay/signin.h"
#include "wire/base64.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const chains[] = { "eip155:8453",
                                          "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp" };
    static const kmy_signin_terms_t terms = { "feed.example", "https://feed.example", chains, 2 };
    static char header[KMY_BASE64_TEXT_BYTES(KMY_PAYMENT_BYTES_MAX)];
    kmy_signin_t s;
    kmy_errctx_t ctx = { 0 };
    if (size == 0 || size > KMY_PAYMENT_BYTES_MAX)
        return 0;
    const char *text = (const char *)data + 1;
    size_t len = size - 1;
    if (data[0] == '{') {
        len = kmy_base64_encode(KMY_BASE64_STD, data, size, header);
        text = header;
    }
    kmy_err_t err = kmy_signin_verify(text, len, &terms, 1767225600, &s, &ctx);
    KMY_ASSERT((err == KMY_OK) == (ctx.where == NULL));
    KMY_ASSERT(err == KMY_OK || err == KMY_BAD_INPUT || err == KMY_UNAUTHENTICATED ||
               err == KMY_UNSUPPORTED);
    if (err == KMY_OK)
        KMY_ASSERT(s.account[0] && s.nonce[0]);
    return 0;
}
