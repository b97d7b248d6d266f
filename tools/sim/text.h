/* text: the few appenders frames are written with.  Each writes at `at` and returns the place behind; the caller has made room.
   Nothing allocates; any thread. */
#ifndef KMY_SIM_TEXT_H
#define KMY_SIM_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SIM_U64_DIGITS_MAX 20 /* 18446744073709551615 */

static inline char *sim_put(char *at, const void *bytes, size_t len)
{
    memcpy(at, bytes, len);
    return at + len;
}

static inline char *sim_put_str(char *at, const char *text)
{
    return sim_put(at, text, strlen(text));
}

static inline char *sim_put_u64(char *at, uint64_t v)
{
    char digits[SIM_U64_DIGITS_MAX];
    size_t n = sizeof digits;
    do {
        digits[--n] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    return sim_put(at, digits + n, sizeof digits - n);
}

/* mant x 10^-decimals as text with exactly `decimals` (1..18) digits behind the point. */
static inline char *sim_put_fixed(char *at, uint64_t mant, int decimals)
{
    uint64_t unit = 1;
    for (int i = 0; i < decimals; i++)
        unit *= 10;
    at = sim_put_u64(at, mant / unit);
    *at++ = '.';
    uint64_t rest = mant % unit;
    for (int i = decimals - 1; i >= 0; i--) {
        at[i] = (char)('0' + rest % 10);
        rest /= 10;
    }
    return at + decimals;
}

#endif
