#include "wire/base64.h"

#include <stdint.h>

static const char alphabets[2][65] = {
    [KMY_BASE64_STD] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    [KMY_BASE64_URL] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

/* Value + 1 of a character, so that what is not listed is 0, which no character has. */
#define ALNUM                                                                                      \
    ['A'] = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, \
    25, 26, ['a'] = 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45,    \
    46, 47, 48, 49, 50, 51, 52, ['0'] = 53, 54, 55, 56, 57, 58, 59, 60, 61, 62
static const uint8_t values[2][256] = {
    [KMY_BASE64_STD] = { ALNUM, ['+'] = 63, ['/'] = 64 },
    [KMY_BASE64_URL] = { ALNUM, ['-'] = 63, ['_'] = 64 },
};

/* The last one or two bytes. */
static size_t encode_rest(kmy_base64_form_t form, const uint8_t *p, size_t rest, char *out)
{
    const char *a = alphabets[form];
    uint32_t v = (uint32_t)p[0] << 16 | (rest == 2 ? (uint32_t)p[1] << 8 : 0);
    out[0] = a[v >> 18];
    out[1] = a[v >> 12 & 63];
    if (rest == 2)
        out[2] = a[v >> 6 & 63];
    if (form == KMY_BASE64_URL)
        return rest + 1;
    if (rest == 1)
        out[2] = '=';
    out[3] = '=';
    return 4;
}

size_t kmy_base64_encode(kmy_base64_form_t form, const void *bytes, size_t len, char *out)
{
    const char *a = alphabets[form];
    const uint8_t *p = bytes;
    char *o = out;
    for (; len >= 3; len -= 3, p += 3, o += 4) {
        uint32_t v = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
        o[0] = a[v >> 18];
        o[1] = a[v >> 12 & 63];
        o[2] = a[v >> 6 & 63];
        o[3] = a[v & 63];
    }
    if (len)
        o += encode_rest(form, p, len, o);
    return (size_t)(o - out);
}

/* Four characters to three bytes; false if one is foreign. */
static bool decode_group(const uint8_t *table, const char *t, uint8_t *o)
{
    uint32_t a = table[(uint8_t)t[0]];
    uint32_t b = table[(uint8_t)t[1]];
    uint32_t c = table[(uint8_t)t[2]];
    uint32_t d = table[(uint8_t)t[3]];
    if (!a || !b || !c || !d)
        return false;
    uint32_t v = (a - 1) << 18 | (b - 1) << 12 | (c - 1) << 6 | (d - 1);
    o[0] = (uint8_t)(v >> 16);
    o[1] = (uint8_t)(v >> 8);
    o[2] = (uint8_t)v;
    return true;
}

/* Two or three last characters to one or two bytes; the bits behind them must be zero. */
static bool decode_rest(const uint8_t *table, const char *t, size_t rest, uint8_t *o)
{
    uint32_t a = table[(uint8_t)t[0]];
    uint32_t b = table[(uint8_t)t[1]];
    uint32_t c = rest == 3 ? table[(uint8_t)t[2]] : 1;
    if (!a || !b || !c)
        return false;
    uint32_t v = (a - 1) << 18 | (b - 1) << 12 | (c - 1) << 6;
    if (v & (rest == 3 ? 0xFF : 0xFFFF))
        return false;
    o[0] = (uint8_t)(v >> 16);
    if (rest == 3)
        o[1] = (uint8_t)(v >> 8);
    return true;
}

bool kmy_base64_decode(kmy_base64_form_t form, const char *text, size_t len, void *out, size_t cap,
                       size_t *out_len)
{
    if (form == KMY_BASE64_STD) {
        if (len % 4)
            return false;
        for (int pads = 0; pads < 2 && len && text[len - 1] == '='; pads++)
            len--;
    }
    size_t rest = len % 4;
    size_t bytes = len / 4 * 3 + (rest ? rest - 1 : 0);
    if (rest == 1 || bytes > cap)
        return false;
    const uint8_t *table = values[form];
    uint8_t *o = out;
    for (; len >= 4; len -= 4, text += 4, o += 3)
        if (!decode_group(table, text, o))
            return false;
    if (rest && !decode_rest(table, text, rest, o))
        return false;
    *out_len = bytes;
    return true;
}
