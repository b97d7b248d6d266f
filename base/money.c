#include "base/money.h"

#include "base/decimal.h"

#include <string.h>

kmy_err_t kmy_nusd_parse(const char *text, size_t len, int64_t *out_nusd)
{
    if (len == 0 || memchr(text, '-', len) || memchr(text, 'e', len) || memchr(text, 'E', len))
        return KMY_BAD_INPUT;
    int64_t mant;
    int expo;
    kmy_err_t err = kmy_dec_parse(text, len, &mant, &expo);
    if (err != KMY_OK)
        return err;
    return kmy_dec_rescale(mant, expo, -9, out_nusd) ? KMY_OK : KMY_OVERFLOW;
}

size_t kmy_nusd_format(int64_t nusd, char out[KMY_NUSD_BYTES_MAX])
{
    uint64_t mag = nusd < 0 ? 0 - (uint64_t)nusd : (uint64_t)nusd;
    char *p = out;
    if (nusd < 0)
        *p++ = '-';
    p += kmy_u64_digits(mag / (uint64_t)KMY_NUSD_PER_USD, p);
    *p++ = '.';
    uint64_t frac = mag % (uint64_t)KMY_NUSD_PER_USD;
    for (int i = 8; i >= 0; i--) {
        p[i] = (char)('0' + frac % 10);
        frac /= 10;
    }
    p += 9;
    *p = 0;
    return (size_t)(p - out);
}
