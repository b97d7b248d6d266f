#include "wire/base58.h"

#include "base/err.h"

#include <string.h>

static const char alphabet[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

static int value_of(char c)
{
    const char *at = c ? strchr(alphabet, c) : NULL;
    return at ? (int)(at - alphabet) : -1;
}

bool kmy_base58_decode(const char *text, size_t len, void *out, size_t bytes)
{
    uint8_t value[KMY_BASE58_DATA_BYTES_MAX] = { 0 }; /* big-endian, right-aligned in `bytes` */
    KMY_ASSERT(bytes <= sizeof value);
    size_t zeros = 0;
    if (len >= KMY_BASE58_TEXT_BYTES_MAX)
        return false;
    while (zeros < len && text[zeros] == alphabet[0])
        zeros++;
    for (size_t i = zeros; i < len; i++) {
        int digit = value_of(text[i]);
        if (digit < 0)
            return false;
        uint32_t carry = (uint32_t)digit;
        for (size_t k = bytes; k-- > 0;) {
            carry += 58u * value[k];
            value[k] = (uint8_t)carry;
            carry >>= 8;
        }
        if (carry)
            return false;
    }
    size_t leading = 0;
    while (leading < bytes && value[leading] == 0)
        leading++;
    if (leading != zeros)
        return false;
    memcpy(out, value, bytes);
    return true;
}

size_t kmy_base58_encode(const void *data, size_t bytes, char *out)
{
    uint8_t digits[KMY_BASE58_TEXT_BYTES_MAX]; /* little-endian */
    const uint8_t *p = data;
    size_t count = 0;
    size_t zeros = 0;
    KMY_ASSERT(bytes <= KMY_BASE58_DATA_BYTES_MAX);
    while (zeros < bytes && p[zeros] == 0)
        zeros++;
    for (size_t i = zeros; i < bytes; i++) {
        uint32_t carry = p[i];
        for (size_t k = 0; k < count; k++) {
            carry += (uint32_t)digits[k] << 8;
            digits[k] = (uint8_t)(carry % 58);
            carry /= 58;
        }
        for (; carry; carry /= 58)
            digits[count++] = (uint8_t)(carry % 58);
    }
    memset(out, alphabet[0], zeros);
    for (size_t k = 0; k < count; k++)
        out[zeros + k] = alphabet[digits[count - 1 - k]];
    out[zeros + count] = '\0';
    return zeros + count;
}
