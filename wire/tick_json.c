/* tick 6/8   in: engine/shard   out: pay/meter, engine/egress

   Fast because it never loops over digits: sixteen of them are made at once in one register, and what is
   constant is copied in strides of fixed size that may run over (out has room for that). */
#include "wire/tick_json.h"
#include "base/decimal.h"
#include "base/err.h"
#include "wire/utf8.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif
#include <stdbool.h>
#include <string.h>

#define E8  UINT64_C(100000000)
#define E16 UINT64_C(10000000000000000)

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first digit is the lowest byte");

static const uint64_t pow10_u64[17] = {
    UINT64_C(1),
    UINT64_C(10),
    UINT64_C(100),
    UINT64_C(1000),
    UINT64_C(10000),
    UINT64_C(100000),
    UINT64_C(1000000),
    UINT64_C(10000000),
    E8,
    UINT64_C(1000000000),
    UINT64_C(10000000000),
    UINT64_C(100000000000),
    UINT64_C(1000000000000),
    UINT64_C(10000000000000),
    UINT64_C(100000000000000),
    UINT64_C(1000000000000000),
    E16,
};

/* --- digits --- */

#define ASCII_ZEROS UINT64_C(0x3030303030303030)

/* The 8 digits of v < 10^8, one a byte (0..9), the first in the lowest byte.  Each step halves the
   lanes: 4+4 digits, then 2+2+2+2, then eight.  The reciprocals are exact in their range:
   x * 10486 >> 20 is x / 100 for x < 10^4, x * 103 >> 10 is x / 10 for x < 100 (all values are
   checked by the tests). */
static inline uint64_t eight_digits(uint32_t v)
{
    uint64_t x = (v / 10000) | (uint64_t)(v % 10000) << 32;
    uint64_t hundreds = ((x * 10486) >> 20) & UINT64_C(0x0000007f0000007f);
    x = hundreds | (x - hundreds * 100) << 16;
    uint64_t tens = ((x * 103) >> 10) & UINT64_C(0x000f000f000f000f);
    return tens | (x - tens * 10) << 8;
}

/* v < 10^8 without leading zeros. */
static inline char *put_short(char *p, uint32_t v)
{
    uint64_t digits = eight_digits(v);
    /* The lowest byte that is not 0 is the first digit; of 0 the last byte stays. */
    int skip = __builtin_ctzll(digits | UINT64_C(1) << 56) & ~7;
    digits = (digits | ASCII_ZEROS) >> skip;
    memcpy(p, &digits, 8);
    return p + 8 - skip / 8;
}

/* Sixteen digits as text, and which of them are not 0: bit i for digit i, counted from the left. */
typedef struct digits16 {
    uint64_t left;
    uint64_t right;
    unsigned used;
} digits16_t;

#ifdef __SSE2__
/* eight_digits of both halves, each < 10^8, in one register.  A quotient q of x by d is made beside its
   remainder: (x - q d) moved up by half a lane, or q.  x * 3518437209 >> 45 is x / 10000 for all x < 2^32,
   x * 5243 >> 19 is x / 100 for x < 10^4, x * 6554 >> 16 is x / 10 for x < 100. */
static inline digits16_t sixteen_digits(uint32_t left, uint32_t right)
{
    __m128i x = _mm_set_epi64x(right, left);
    __m128i q = _mm_srli_epi64(_mm_mul_epu32(x, _mm_set1_epi64x(3518437209)), 45);
    x = _mm_sub_epi64(x, _mm_mul_epu32(q, _mm_set1_epi64x(10000)));
    x = _mm_or_si128(_mm_slli_epi64(x, 32), q);
    q = _mm_srli_epi16(_mm_mulhi_epu16(x, _mm_set1_epi16(5243)), 3);
    x = _mm_sub_epi32(x, _mm_madd_epi16(q, _mm_set1_epi32(100)));
    x = _mm_or_si128(_mm_slli_epi32(x, 16), q);
    q = _mm_mulhi_epu16(x, _mm_set1_epi16(6554));
    /* (x - 10 q) << 8 | q */
    x = _mm_sub_epi16(_mm_slli_epi16(x, 8), _mm_mullo_epi16(q, _mm_set1_epi16((10 << 8) - 1)));
    unsigned zero = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_setzero_si128()));
    x = _mm_or_si128(x, _mm_set1_epi8('0'));
    return (digits16_t){ (uint64_t)_mm_cvtsi128_si64(x),
                         (uint64_t)_mm_cvtsi128_si64(_mm_unpackhi_epi64(x, x)), ~zero & 0xffff };
}
#else
/* One bit for each byte that is not 0 (all are below 10). */
static inline unsigned used_bits(uint64_t digits)
{
    uint64_t high = (digits + UINT64_C(0x7f7f7f7f7f7f7f7f)) & UINT64_C(0x8080808080808080);
    return (unsigned)((high >> 7) * UINT64_C(0x0102040810204080) >> 56);
}

static inline digits16_t sixteen_digits(uint32_t left, uint32_t right)
{
    uint64_t l = eight_digits(left);
    uint64_t r = eight_digits(right);
    return (digits16_t){ l | ASCII_ZEROS, r | ASCII_ZEROS, used_bits(l) | used_bits(r) << 8 };
}
#endif

/* The left eight without leading zeros. */
static inline char *put_left(char *p, digits16_t d)
{
    unsigned skip = (unsigned)__builtin_ctz(d.used | 1U << 7); /* of 0 the last digit stays */
    uint64_t text = d.left >> 8 * skip;
    memcpy(p, &text, 8);
    return p + 8 - skip;
}

/* "." and the right eight without trailing zeros, nothing at all for 0. */
static inline char *put_right_fraction(char *p, digits16_t d)
{
    unsigned used = d.used >> 8;
    unsigned len = 31 - (unsigned)__builtin_clz(used << 1 | 1);
    *p = '.';
    memcpy(p + 1, &d.right, 8);
    return p + len + (used != 0);
}

static inline char *put_sixteen(char *p, digits16_t d)
{
    memcpy(p, &d.left, 8);
    memcpy(p + 8, &d.right, 8);
    return p + 16;
}

/* v < 10^4 without leading zeros: half of put_short. */
static inline char *put_four(char *p, uint32_t v)
{
    uint32_t hundreds = v * 5243 >> 19;
    uint32_t x = hundreds | (v - hundreds * 100) << 16;
    uint32_t tens = ((x * 103) >> 10) & 0x000f000f;
    uint32_t digits = tens | (x - tens * 10) << 8;
    int skip = __builtin_ctz(digits | 1U << 24) & ~7;
    digits = (digits | 0x30303030) >> skip;
    memcpy(p, &digits, 4);
    return p + 4 - skip / 8;
}

static inline char *put_u64(char *p, uint64_t v)
{
    if (v < E8)
        return put_short(p, (uint32_t)v);
    uint64_t high = v / E8;
    uint32_t low = (uint32_t)(v - high * E8);
    if (high < E8) {
        digits16_t d = sixteen_digits((uint32_t)high, low);
        p = put_left(p, d);
        memcpy(p, &d.right, 8);
        return p + 8;
    }
    uint64_t top = high / E8; /* < 1845; a time in ns is one of these */
    p = put_four(p, (uint32_t)top);
    return put_sixteen(p, sixteen_digits((uint32_t)(high - top * E8), low));
}

static inline char *put_i64(char *p, int64_t v)
{
    *p = '-';
    p += v < 0;
    return put_u64(p, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

/* --- decimals --- */

/* ".123" of `fraction` x 10^-16 without trailing zeros, nothing at all for 0. */
static inline char *put_fraction16(char *p, uint64_t fraction)
{
    uint64_t high = fraction / E8;
    uint32_t low = (uint32_t)(fraction - high * E8);
    if (low == 0)
        return put_right_fraction(p, sixteen_digits(0, (uint32_t)high));
    digits16_t d = sixteen_digits((uint32_t)high, low);
    *p++ = '.';
    put_sixteen(p, d);
    return p + 32 - __builtin_clz(d.used);
}

/* What is neither usual nor absurd: 9 to 16 places, or 17 digits and more. */
static char *put_decimal_long(char *p, uint64_t mant, unsigned places)
{
    uint64_t whole = mant / pow10_u64[places];
    uint64_t fraction = mant - whole * pow10_u64[places];
    return put_fraction16(put_u64(p, whole), fraction * pow10_u64[16 - places]); /* < 10^16 */
}

/* mant x 10^expo.  Up to 8 places, as nearly all prices have, are first made 8: so the divisor is a
   constant and the division a multiplication, and eight digits before the point and eight behind it
   are made at once. */
static inline char *put_decimal_u(char *p, uint64_t mant, int expo)
{
    unsigned places = (unsigned)-expo;
    uint64_t scaled;
    if (places > 16)
        return p + kmy_dec_format_u(mant, expo, p);
    if (places > 8 || __builtin_mul_overflow(mant, pow10_u64[8 - places], &scaled) || scaled >= E16)
        return put_decimal_long(p, mant, places);
    uint64_t whole = scaled / E8;
    digits16_t d = sixteen_digits((uint32_t)whole, (uint32_t)(scaled - whole * E8));
    return put_right_fraction(put_left(p, d), d);
}

static inline char *put_decimal(char *p, int64_t mant, int expo)
{
    *p = '-';
    p += mant < 0;
    return put_decimal_u(p, mant < 0 ? 0 - (uint64_t)mant : (uint64_t)mant, expo);
}

/* --- constant pieces --- */

#define STRIDE_BYTES 32

/* Text of at most 32 bytes, copied as 32: two moves whatever its length. */
typedef struct piece {
    char text[STRIDE_BYTES];
    uint8_t len;
} piece_t;

#define PIECE(literal)                                                                             \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

static inline char *put_piece(char *p, const piece_t *piece)
{
    memcpy(p, piece->text, STRIDE_BYTES);
    return p + piece->len;
}

#define PUT(p, literal) (memcpy((p), (literal), sizeof(literal) - 1), (p) + sizeof(literal) - 1)

#define KIND(name) PIECE(",\"kind\":\"" name "\",\"price\":\"")
static const piece_t kind_pieces[] = {
    [KMY_KIND_NONE] = KIND("none"),     [KMY_KIND_TRADE] = KIND("trade"),
    [KMY_KIND_QUOTE] = KIND("quote"),   [KMY_KIND_ORACLE] = KIND("oracle"),
    [KMY_KIND_STAT] = KIND("stat"),     [KMY_KIND_EVENT] = KIND("event"),
    [KMY_KIND_COUNT] = KIND("unknown"),
};
#undef KIND

#define SOURCE(name) PIECE("\",\"source\":\"" name "\"")
static const piece_t source_pieces[] = {
    [KMY_SOURCE_NONE] = SOURCE("none"),           [KMY_SOURCE_PYTH] = SOURCE("pyth"),
    [KMY_SOURCE_BINANCE] = SOURCE("binance"),     [KMY_SOURCE_CHAINLINK] = SOURCE("chainlink"),
    [KMY_SOURCE_COINGECKO] = SOURCE("coingecko"), [KMY_SOURCE_DEFILLAMA] = SOURCE("defillama"),
    [KMY_SOURCE_COINBASE] = SOURCE("coinbase"),   [KMY_SOURCE_KRAKEN] = SOURCE("kraken"),
    [KMY_SOURCE_COUNT] = SOURCE("unknown"),
};
#undef SOURCE

static const piece_t *kind_piece(uint8_t kind)
{
    return &kind_pieces[kind < KMY_KIND_COUNT ? kind : KMY_KIND_COUNT];
}

static const piece_t *source_piece(uint8_t source)
{
    return &source_pieces[source < KMY_SOURCE_COUNT ? source : KMY_SOURCE_COUNT];
}

/* --- the template --- */

static char *put_escaped_byte(char *p, uint8_t c)
{
    static const char hex[] = "0123456789abcdef";
    if (c == '"' || c == '\\') {
        *p++ = '\\';
        *p++ = (char)c;
        return p;
    }
    memcpy(p, "\\u00", 4);
    p[4] = hex[c >> 4];
    p[5] = hex[c & 15];
    return p + 6;
}

static char *put_escaped(char *p, const char *text, size_t len)
{
    while (len > 0) {
        size_t n = kmy_utf8_char_bytes(text, len);
        uint8_t c = (uint8_t)*text;
        if (n == 0) {
            p = PUT(p, "\xef\xbf\xbd"); /* U+FFFD */
            n = 1;
        } else if (c < 0x20 || c == '"' || c == '\\') {
            p = put_escaped_byte(p, c);
        } else {
            memcpy(p, text, n);
            p += n;
        }
        text += n;
        len -= n;
    }
    return p;
}

void kmy_tick_json_init(kmy_tick_json_t *t, const char *feed_name)
{
    size_t name_bytes = strlen(feed_name);
    KMY_ASSERT(name_bytes > 0 && name_bytes < KMY_FEED_NAME_BYTES_MAX);
    memset(t, 0, sizeof *t);
    char *p = PUT(t->head, "{\"type\":\"tick\",\"feed\":\"");
    p = put_escaped(p, feed_name, name_bytes);
    p = PUT(p, "\",\"offset\":");
    t->len = (uint16_t)(p - t->head);
}

static inline char *put_head(char *p, const kmy_tick_json_t *t)
{
    size_t at = 0;
    do {
        memcpy(p + at, t->head + at, STRIDE_BYTES);
        at += STRIDE_BYTES;
    } while (at < t->len);
    return p + t->len;
}

_Static_assert(sizeof(((kmy_tick_json_t *)0)->head) >=
                   23 + 6 * (KMY_FEED_NAME_BYTES_MAX - 1) + 11 + STRIDE_BYTES,
               "the longest head, read in whole strides");

/* --- the tick --- */

static inline bool in_range(int expo)
{
    return expo >= KMY_DEC_EXPO_MIN && expo <= KMY_DEC_EXPO_MAX;
}

/* conf?, bid?, ask?, size?: each leaves its closing quote to the next. */
static inline char *put_optional(char *p, const kmy_tick_t *tick)
{
    int expo = tick->price_expo;
    if ((tick->has & KMY_HAS_CONF) && !(tick->flags & KMY_TICK_CONF_IS_SPREAD))
        p = put_decimal_u(PUT(p, "\",\"conf\":\""), tick->conf_mant, expo);
    if (tick->has & KMY_HAS_BID)
        p = put_decimal(PUT(p, "\",\"bid\":\""), tick->bid_mant, expo);
    if (tick->has & KMY_HAS_ASK)
        p = put_decimal(PUT(p, "\",\"ask\":\""), tick->ask_mant, expo);
    if (tick->has & KMY_HAS_SIZE)
        p = put_decimal(PUT(p, "\",\"size\":\""), tick->size_mant, tick->size_expo);
    return p;
}

size_t kmy_tick_json_object(const kmy_tick_json_t *t, const kmy_tick_t *tick, char *out)
{
    KMY_ASSERT(in_range(tick->price_expo) && in_range(tick->size_expo));
    char *p = put_u64(put_head(out, t), tick->offset);
    p = put_piece(p, kind_piece(tick->kind));
    p = put_decimal(p, tick->price_mant, tick->price_expo);
    p = put_optional(p, tick);
    p = put_piece(p, source_piece(tick->source));
    if (tick->event_ns != 0) {
        p = put_i64(PUT(p, ",\"ts_event\":\""), tick->event_ns);
        *p++ = '"';
    }
    p = put_i64(PUT(p, ",\"ts_recv\":\""), tick->recv_ns);
    p = PUT(p, "\"}");
    if (tick->flags & KMY_TICK_DEGRADED)
        p = PUT(p - 1, ",\"degraded\":true}");
    return (size_t)(p - out);
}

/* RFC 6455 section 5.2: 81 is FIN and text; a length below 126 stands in the second byte, else 126 and
   two bytes, the high one first. */
size_t kmy_tick_json_frame(const kmy_tick_json_t *t, const kmy_tick_t *tick, char *out)
{
    size_t len = kmy_tick_json_object(t, tick, out + 4);
    out[0] = (char)0x81;
    if (len < 126) { /* rare: a short name, no source time, no quote */
        out[1] = (char)len;
        memmove(out + 2, out + 4, len);
        return len + 2;
    }
    out[1] = 126;
    out[2] = (char)(len >> 8);
    out[3] = (char)len;
    return len + 4;
}
