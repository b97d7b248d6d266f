#include "base/decimal.h"

#include <string.h>

static const uint64_t pow10_u64[20] = {
    1ull,
    10ull,
    100ull,
    1000ull,
    10000ull,
    100000ull,
    1000000ull,
    10000000ull,
    100000000ull,
    1000000000ull,
    10000000000ull,
    100000000000ull,
    1000000000000ull,
    10000000000000ull,
    100000000000000ull,
    1000000000000000ull,
    10000000000000000ull,
    100000000000000000ull,
    1000000000000000000ull,
    10000000000000000000ull,
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Appends one digit to a magnitude that must stay at most INT64_MAX (INT64_MIN itself is never
 * needed: refused). */
static bool push_digit(uint64_t *mag, char c)
{
    uint64_t d = (uint64_t)(c - '0');
    if (*mag > (INT64_MAX - d) / 10)
        return false;
    *mag = *mag * 10 + d;
    return true;
}

/* The exponent part behind 'e': [+-]digits, at most four of them. */
static bool parse_exponent(const char *p, const char *end, int *out)
{
    bool neg = false;
    if (p < end && (*p == '+' || *p == '-'))
        neg = *p++ == '-';
    if (p == end || end - p > 4)
        return false;
    int v = 0;
    for (; p < end; p++) {
        if (!is_digit(*p))
            return false;
        v = v * 10 + (*p - '0');
    }
    *out = neg ? -v : v;
    return true;
}

kmy_err_t kmy_dec_parse(const char *text, size_t len, int64_t *mant, int *expo)
{
    const char *p = text;
    const char *end = text + len;
    bool neg = p < end && *p == '-';
    p += neg;

    const char *whole = p;
    while (p < end && is_digit(*p))
        p++;
    const char *whole_end = p;
    const char *frac = p;
    const char *frac_end = p;
    if (whole == whole_end)
        return KMY_BAD_INPUT;
    if (p < end && *p == '.') {
        frac = ++p;
        while (p < end && is_digit(*p))
            p++;
        frac_end = p;
        if (frac == frac_end)
            return KMY_BAD_INPUT;
    }
    int exp10 = 0;
    if (p < end && (*p == 'e' || *p == 'E')) {
        if (!parse_exponent(p + 1, end, &exp10))
            return KMY_BAD_INPUT;
        p = end;
    }
    if (p != end)
        return KMY_BAD_INPUT;

    while (frac_end > frac && frac_end[-1] == '0')
        frac_end--;
    uint64_t mag = 0;
    for (p = whole; p < whole_end; p++)
        if (!push_digit(&mag, *p))
            return KMY_OVERFLOW;
    for (p = frac; p < frac_end; p++)
        if (!push_digit(&mag, *p))
            return KMY_OVERFLOW;
    long e = (long)exp10 - (frac_end - frac);
    if (mag == 0)
        e = 0;
    if (e < KMY_DEC_EXPO_MIN || e > KMY_DEC_EXPO_MAX)
        return KMY_OVERFLOW;
    *mant = neg ? -(int64_t)mag : (int64_t)mag;
    *expo = (int)e;
    return KMY_OK;
}

bool kmy_dec_rescale(int64_t mant, int from, int to, int64_t *out)
{
    if (mant == 0) {
        *out = 0;
        return true;
    }
    int d = from - to;
    if (d > 18 || d < -18)
        return false;
    if (d >= 0) {
        int64_t v;
        if (__builtin_mul_overflow(mant, (int64_t)pow10_u64[d], &v))
            return false;
        *out = v;
        return true;
    }
    int64_t q = (int64_t)pow10_u64[-d];
    if (mant % q != 0)
        return false;
    *out = mant / q;
    return true;
}

size_t kmy_u64_digits(uint64_t v, char *out)
{
    char tmp[20];
    size_t n = 0;
    do {
        tmp[n++] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    for (size_t i = 0; i < n; i++)
        out[i] = tmp[n - 1 - i];
    return n;
}

bool kmy_u64_parse(const char *text, size_t len, uint64_t *out)
{
    if (len == 0 || len > 20 || (len > 1 && text[0] == '0'))
        return false;
    uint64_t v = 0;
    for (size_t i = 0; i < len; i++) {
        if (!is_digit(text[i]))
            return false;
        if (__builtin_mul_overflow(v, 10ull, &v) ||
            __builtin_add_overflow(v, (uint64_t)(text[i] - '0'), &v))
            return false;
    }
    *out = v;
    return true;
}

static size_t format_magnitude(uint64_t mag, int expo, char *out)
{
    char digits[20];
    size_t n = kmy_u64_digits(mag, digits);
    if (mag == 0)
        expo = 0;
    while (expo < 0 && n > 1 && digits[n - 1] == '0') {
        n--;
        expo++;
    }
    char *p = out;
    if (expo >= 0) {
        memcpy(p, digits, n);
        p += n;
        memset(p, '0', (size_t)expo);
        p += expo;
    } else if ((size_t)-expo >= n) { /* 0.00ddd */
        *p++ = '0';
        *p++ = '.';
        memset(p, '0', (size_t)-expo - n);
        p += (size_t)-expo - n;
        memcpy(p, digits, n);
        p += n;
    } else {
        size_t whole = n - (size_t)-expo;
        memcpy(p, digits, whole);
        p += whole;
        *p++ = '.';
        memcpy(p, digits + whole, n - whole);
        p += n - whole;
    }
    *p = 0;
    return (size_t)(p - out);
}

size_t kmy_dec_format_u(uint64_t mant, int expo, char *out)
{
    return format_magnitude(mant, expo, out);
}

size_t kmy_dec_format(int64_t mant, int expo, char *out)
{
    if (mant >= 0)
        return format_magnitude((uint64_t)mant, expo, out);
    *out = '-';
    return 1 + format_magnitude(0 - (uint64_t)mant, expo, out + 1);
}
