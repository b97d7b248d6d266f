/* scan: the few bytes-at-once steps the literal-shape scanners are made of.

   A scanner knows how a source's serializer writes a message today and compares whole pieces of it.  Each step either passes over
   bytes it has validated completely or says false, upon which the any-order reader decides; so a step may be narrow but never
   lenient.  Digits are taken eight at a time from one 64-bit word: the first character is the lowest byte, hence little-endian only
   (elsewhere KMY_SCAN_SHAPES is 0 and every frame takes the any-order reader).  No step loads a byte at or beyond `end`.

   In `(w - 01..01) & ~w & 80..80` a borrow can raise a false mark, but only above a true one; the lowest mark is always right, and
   only the lowest is used. */
#ifndef KMY_ADAPTERS_SCAN_H
#define KMY_ADAPTERS_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define KMY_SCAN_SHAPES (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
#define KMY_SCAN_INLINE static inline __attribute__((always_inline))

#define KMY_EACH(byte)   (0x0101010101010101ull * (uint8_t)(byte))
#define KMY_LEFT(p, end) ((size_t)((end) - (p)))

/* Passes over the literal; stays where it is otherwise. */
#define KMY_SCAN_LIT(p, end, lit)                                                                  \
    (KMY_LEFT(p, end) >= sizeof(lit) - 1 && memcmp((p), (lit), sizeof(lit) - 1) == 0 &&            \
     ((p) += sizeof(lit) - 1, true))

KMY_SCAN_INLINE uint64_t kmy_scan_load(const char *p)
{
    uint64_t w;
    memcpy(&w, p, sizeof w);
    return w;
}

KMY_SCAN_INLINE uint64_t kmy_scan_zero_bytes(uint64_t w)
{
    return (w - KMY_EACH(0x01)) & ~w & KMY_EACH(0x80);
}

/* Marks what cannot stand in a plain ASCII string: quote, backslash, controls, bytes from 0x80. */
KMY_SCAN_INLINE uint64_t kmy_scan_special(uint64_t w)
{
    uint64_t control = (w - KMY_EACH(0x20)) & ~w & KMY_EACH(0x80);
    return control | kmy_scan_zero_bytes(w ^ KMY_EACH('"')) |
           kmy_scan_zero_bytes(w ^ KMY_EACH('\\')) | (w & KMY_EACH(0x80));
}

/* Non-zero in the first byte that is no digit, perhaps also above it: a digit has 3 as its upper half, also after adding 6. */
KMY_SCAN_INLINE uint64_t kmy_scan_nondigit(uint64_t w)
{
    return ((w & KMY_EACH(0xf0)) ^ KMY_EACH(0x30)) |
           (((w + KMY_EACH(0x06)) & KMY_EACH(0xf0)) ^ KMY_EACH(0x30));
}

KMY_SCAN_INLINE unsigned kmy_scan_first(uint64_t marks)
{
    return (unsigned)__builtin_ctzll(marks) / 8;
}

/* Eight digits to their number: pairs, then fours, then all (each product's upper part is the sum). */
KMY_SCAN_INLINE uint64_t kmy_scan_eight(uint64_t w)
{
    w = (w & KMY_EACH(0x0f)) * 2561 >> 8;                         /* 2561 = 10 * 256 + 1 */
    w = (w & 0x00ff00ff00ff00ffull) * 6553601 >> 16;              /* 100 * 65536 + 1 */
    return (w & 0x0000ffff0000ffffull) * 42949672960001ull >> 32; /* 10000 * 2^32 + 1 */
}

/* The first k bytes (1..8) of w, moved behind 8 - k zeros. */
KMY_SCAN_INLINE uint64_t kmy_scan_head(uint64_t w, unsigned k)
{
    return k == 8 ? w : w << (64 - 8 * k) | KMY_EACH('0') >> (8 * k);
}

/* Eight bytes from `at`, of which 0 to 7 may lie beyond `end` and are read as 0; eight bytes before `end` are readable. */
KMY_SCAN_INLINE uint64_t kmy_scan_load_near(const char *at, const char *end)
{
    size_t left = KMY_LEFT(at, end);
    if (__builtin_expect(left >= 8, 1))
        return kmy_scan_load(at);
    return left ? kmy_scan_load(end - 8) >> (64 - 8 * left) : 0;
}

/* Length of the plain ASCII run before the closing quote at *p; passes over it, not over the quote. */
KMY_SCAN_INLINE bool kmy_scan_plain(const char **p, const char *end)
{
    const char *at = *p;
    while (KMY_LEFT(at, end) >= 8) {
        uint64_t special = kmy_scan_special(kmy_scan_load(at));
        if (special) {
            at += kmy_scan_first(special);
            *p = at;
            return *at == '"';
        }
        at += 8;
    }
    return false;
}

/* A JSON integer of 1 to 16 digits, with no leading zero. */
KMY_SCAN_INLINE bool kmy_scan_uint(const char **p, const char *end, uint64_t *out)
{
    static const uint32_t ten_to[8] = { 1, 10, 100, 1000, 10000, 100000, 1000000, 10000000 };
    const char *at = *p;
    if (KMY_LEFT(at, end) < 8)
        return false;
    uint64_t w = kmy_scan_load(at);
    uint64_t stop = kmy_scan_nondigit(w);
    if (stop) {
        unsigned k = kmy_scan_first(stop);
        if (k == 0 || (k > 1 && *at == '0'))
            return false;
        *out = kmy_scan_eight(kmy_scan_head(w, k));
        *p = at + k;
        return true;
    }
    if (*at == '0')
        return false;
    uint64_t high = kmy_scan_eight(w);
    w = kmy_scan_load_near(at + 8, end);
    stop = kmy_scan_nondigit(w);
    unsigned k = stop ? kmy_scan_first(stop) : 8;
    if (k == 8)
        *out = high * 100000000 + kmy_scan_eight(w);
    else
        *out = high * ten_to[k] + (k ? kmy_scan_eight(kmy_scan_head(w, k)) : 0);
    *p = at + 8 + k;
    return true;
}

/* 1 to 16 digits whose number nobody needs, as the inside of a string. */
KMY_SCAN_INLINE bool kmy_scan_skip_digits(const char **p, const char *end)
{
    const char *at = *p;
    for (unsigned passed = 0; passed < 16; passed += 8, at += 8) {
        if (KMY_LEFT(at, end) < 8)
            return false;
        uint64_t stop = kmy_scan_nondigit(kmy_scan_load(at));
        if (stop) {
            unsigned k = kmy_scan_first(stop);
            *p = at + k;
            return passed + k > 0;
        }
    }
    return false;
}

/* Digits, a point and exactly eight decimals, then a quote (passed over too): the value at 10^-8.  At most 15 digits before the
   point; false also if it does not fit. */
KMY_SCAN_INLINE bool kmy_scan_decimal8(const char **p, const char *end, int64_t *out)
{
    const char *at = *p;
    if (KMY_LEFT(at, end) < 8)
        return false;
    uint64_t w = kmy_scan_load(at);
    uint64_t point = kmy_scan_zero_bytes(w ^ KMY_EACH('.'));
    uint64_t whole = 0;
    if (__builtin_expect(point == 0, 0)) {
        static const uint32_t ten_to[8] = { 1, 10, 100, 1000, 10000, 100000, 1000000, 10000000 };
        if (kmy_scan_nondigit(w) || KMY_LEFT(at, end) < 16)
            return false;
        whole = kmy_scan_eight(w);
        at += 8;
        w = kmy_scan_load(at);
        point = kmy_scan_zero_bytes(w ^ KMY_EACH('.'));
        if (point == 0)
            return false;
        whole *= ten_to[kmy_scan_first(point)];
    } else if (kmy_scan_first(point) == 0) {
        return false;
    }
    unsigned k = kmy_scan_first(point);
    if (KMY_LEFT(at, end) < k + 10)
        return false;
    uint64_t head = k ? kmy_scan_head(w, k) : KMY_EACH('0');
    uint64_t frac = kmy_scan_load(at + k + 1);
    if ((kmy_scan_nondigit(head) | kmy_scan_nondigit(frac)) || at[k + 9] != '"')
        return false;
    whole += kmy_scan_eight(head);
    int64_t v;
    if (__builtin_mul_overflow((int64_t)whole, 100000000, &v) ||
        __builtin_add_overflow(v, (int64_t)kmy_scan_eight(frac), &v))
        return false;
    *out = v;
    *p = at + k + 10;
    return true;
}

KMY_SCAN_INLINE bool kmy_scan_bool(const char **p, const char *end, bool *out)
{
    const char *at = *p;
    if (KMY_LEFT(at, end) < 5)
        return false;
    *out = *at == 't';
    *p = at + (*out ? 4 : 5);
    return *out ? memcmp(at, "true", 4) == 0 : memcmp(at, "false", 5) == 0;
}

#endif
