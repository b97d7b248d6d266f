/* The input is a message's compressed payload; its first byte chooses the limit.  Properties: what is accepted is within the limit and the
   same under a wider one; what came out goes round; the next message is not touched by this one. */
#include "wire/ws_deflate.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define CHECK(cond) KMY_ASSERT(cond)
#define WIDE        65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void goes_round(kmy_ws_deflate_t *z, const uint8_t *message, size_t len)
{
    static uint8_t packed[WIDE + KMY_WS_DEFLATE_SPARE];
    static uint8_t back[WIDE];
    size_t n = kmy_ws_deflate(z, message, len, packed, sizeof packed);
    if (n == 0) {
        CHECK(len > WIDE / 8 * 7); /* what does not compress becomes longer, but not much */
        return;
    }
    size_t got;
    CHECK(kmy_ws_inflate(z, packed, n, back, len, &got, NULL) == KMY_OK);
    CHECK(got == len && memcmp(back, message, len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static kmy_ws_deflate_t *z;
    static uint8_t wide[WIDE];
    static uint8_t tight[WIDE];
    if (!z)
        z = kmy_ws_deflate_new();
    CHECK(z);
    if (size == 0)
        return 0;
    size_t cap = (size_t)data[0] * 256;
    size_t n = 0;
    size_t m = 0;
    kmy_err_t err = kmy_ws_inflate(z, data + 1, size - 1, wide, sizeof wide, &n, NULL);
    kmy_err_t tighter = kmy_ws_inflate(z, data + 1, size - 1, tight, cap, &m, NULL);
    CHECK(err == KMY_OK || err == KMY_BAD_DEFLATE || err == KMY_TOO_BIG);
    if (err == KMY_OK && n <= cap)
        CHECK(tighter == KMY_OK && m == n && memcmp(wide, tight, n) == 0);
    else
        CHECK(tighter == KMY_BAD_DEFLATE || tighter == KMY_TOO_BIG);
    if (err == KMY_OK)
        goes_round(z, wide, n);
    return 0;
}
