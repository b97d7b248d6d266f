/* tick 2/8   in: adapters/feed_ws   out: adapters/normalize

   The literal-shape scanner: price_update exactly as the server's serializer writes it, plain or verbose, without vaa.  It gives up at
   the first byte that differs; adapters/pyth.c then reads the frame in any order. */
#include "adapters/pyth.h"

#include "adapters/scan.h"
#include "base/decimal.h"

#define NS_PER_S 1000000000

/* One accumulator per lane and no exit inside: the compiler makes vector code of it. */
static inline bool is_lower_hex_64(const char *text)
{
    uint8_t bad = 0;
    for (int i = 0; i < 64; i++) {
        uint8_t c = (uint8_t)text[i];
        uint8_t digit = (uint8_t)(c - '0') <= 9;
        uint8_t letter = (uint8_t)(c - 'a') <= 5;
        bad |= (uint8_t) !(digit | letter);
    }
    return bad == 0;
}

/* An i64 of at most 16 digits, as text in a string or as a number. */
KMY_SCAN_INLINE bool scan_int(const char **p, const char *end, int64_t *out)
{
    bool minus = *p < end && **p == '-';
    uint64_t magnitude;
    *p += minus;
    if (!kmy_scan_uint(p, end, &magnitude))
        return false;
    *out = minus ? -(int64_t)magnitude : (int64_t)magnitude;
    return true;
}

/* {"price":"..","conf":"..","expo":..,"publish_time":..} of the price itself; *tail is what stands behind conf's digits. */
KMY_SCAN_INLINE bool scan_price(const char **p, const char *end, kmy_quote_t *quote,
                                const char **tail)
{
    int64_t expo;
    uint64_t seconds;
    if (!KMY_SCAN_LIT(*p, end, "{\"price\":\"") || !scan_int(p, end, &quote->price_mant) ||
        !KMY_SCAN_LIT(*p, end, "\",\"conf\":\"") || !kmy_scan_uint(p, end, &quote->conf_mant))
        return false;
    *tail = *p;
    if (!KMY_SCAN_LIT(*p, end, "\",\"expo\":") || !scan_int(p, end, &expo) ||
        !KMY_SCAN_LIT(*p, end, ",\"publish_time\":") || !kmy_scan_uint(p, end, &seconds) ||
        !KMY_SCAN_LIT(*p, end, "}"))
        return false;
    if (expo < KMY_DEC_EXPO_MIN || expo > KMY_DEC_EXPO_MAX || seconds == 0 ||
        seconds > INT64_MAX / NS_PER_S)
        return false;
    quote->price_expo = (int8_t)expo;
    quote->event_ns = (int64_t)seconds * NS_PER_S;
    return true;
}

/* The same members of ema_price, which we validate and drop.  `tail` is the price's own text from behind conf's digits to its brace:
   the same bytes again need no second look, and they nearly always are the same. */
KMY_SCAN_INLINE bool scan_ema(const char **p, const char *end, const char *tail, size_t tail_len)
{
    if (!KMY_SCAN_LIT(*p, end, ",\"ema_price\":{\"price\":\""))
        return false;
    *p += *p < end && **p == '-';
    if (!kmy_scan_skip_digits(p, end) || !KMY_SCAN_LIT(*p, end, "\",\"conf\":\"") ||
        !kmy_scan_skip_digits(p, end))
        return false;
    if (KMY_LEFT(*p, end) < tail_len || memcmp(*p, tail, tail_len) != 0)
        return false;
    *p += tail_len;
    return true;
}

/* ,"metadata":{..}: the slot, and three numbers nobody needs. */
KMY_SCAN_INLINE bool scan_metadata(const char **p, const char *end, kmy_quote_t *quote)
{
    uint64_t ignored;
    return KMY_SCAN_LIT(*p, end, "\"slot\":") && kmy_scan_uint(p, end, &quote->source_seq) &&
           KMY_SCAN_LIT(*p, end, ",\"emitter_chain\":") && kmy_scan_uint(p, end, &ignored) &&
           KMY_SCAN_LIT(*p, end, ",\"price_service_receive_time\":") &&
           kmy_scan_uint(p, end, &ignored) && KMY_SCAN_LIT(*p, end, ",\"prev_publish_time\":") &&
           kmy_scan_uint(p, end, &ignored) && KMY_SCAN_LIT(*p, end, "}");
}

bool kmy_pyth_scan(const char *frame, size_t len, kmy_quote_t *quote)
{
    const char *p = frame;
    const char *end = frame + len;
    if (!KMY_SCAN_SHAPES ||
        !KMY_SCAN_LIT(p, end, "{\"type\":\"price_update\",\"price_feed\":{\"id\":\""))
        return false;
    if (KMY_LEFT(p, end) < 64 || !is_lower_hex_64(p))
        return false;
    quote->key = p;
    quote->key_len = 64;
    p += 64;
    const char *tail;
    if (!KMY_SCAN_LIT(p, end, "\",\"price\":") || !scan_price(&p, end, quote, &tail))
        return false;
    if (!scan_ema(&p, end, tail, (size_t)(p - tail)))
        return false;
    quote->source_seq = 0;
    quote->seq_scheme = KMY_SEQ_NONE;
    if (KMY_SCAN_LIT(p, end, ",\"metadata\":{")) {
        if (!scan_metadata(&p, end, quote))
            return false;
        quote->seq_scheme = KMY_SEQ_SLOT;
    }
    if (KMY_LEFT(p, end) != 2 || memcmp(p, "}}", 2) != 0)
        return false;
    quote->source = KMY_SOURCE_PYTH;
    quote->kind = KMY_KIND_ORACLE;
    quote->has = KMY_HAS_CONF;
    quote->event_res = KMY_RES_S;
    quote->size_expo = 0;
    quote->flags = 0;
    quote->bid_mant = 0;
    quote->ask_mant = 0;
    quote->size_mant = 0;
    quote->ask_size_mant = 0;
    return true;
}
