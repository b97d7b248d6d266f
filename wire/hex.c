#include "wire/hex.h"

/* Value of a digit plus one; 0 is no digit. */
static const uint8_t values[256] = {
    ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
    ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
};

bool kmy_hex_decode(const char *text, size_t len, void *out, size_t bytes)
{
    uint8_t *o = out;
    if (len % 2 || len / 2 != bytes)
        return false;
    for (size_t i = 0; i < bytes; i++) {
        unsigned high = values[(uint8_t)text[2 * i]];
        unsigned low = values[(uint8_t)text[2 * i + 1]];
        if (!high || !low)
            return false;
        o[i] = (uint8_t)((high - 1) << 4 | (low - 1));
    }
    return true;
}

bool kmy_hex_decode_0x(const char *text, size_t len, void *out, size_t bytes)
{
    return len >= 2 && text[0] == '0' && text[1] == 'x' &&
           kmy_hex_decode(text + 2, len - 2, out, bytes);
}

void kmy_hex_encode(const void *data, size_t bytes, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = data;
    for (size_t i = 0; i < bytes; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * bytes] = '\0';
}
