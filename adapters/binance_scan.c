/* tick 2/8   in: adapters/feed_ws   out: adapters/normalize

   The literal-shape scanner: trade, aggTrade and bookTicker exactly as the spot serializer writes them today (member order, no
   blanks, eight decimals).  It gives up at the first byte that differs; adapters/binance.c then reads the frame in any order. */
#include "adapters/binance.h"

#include "adapters/fields.h"
#include "adapters/scan.h"

typedef struct {
    bool us;
    int64_t ns; /* one unit of the connection's times */
} scan_unit_t;

/* "E" is validated and dropped: it has 13 digits in ms and 16 in us from 2001 to 2286. */
KMY_SCAN_INLINE bool scan_sent_time(const char **p, const char *end, scan_unit_t unit)
{
    size_t digits = unit.us ? 16 : 13;
    if (KMY_LEFT(*p, end) < digits)
        return false;
    uint64_t first = kmy_scan_nondigit(kmy_scan_load(*p));
    uint64_t last = kmy_scan_nondigit(kmy_scan_load(*p + digits - 8));
    if ((first | last) || **p == '0')
        return false;
    *p += digits;
    return true;
}

KMY_SCAN_INLINE bool scan_trade_time(const char **p, const char *end, scan_unit_t unit,
                                     kmy_quote_t *quote)
{
    uint64_t ticks;
    if (!kmy_scan_uint(p, end, &ticks) || ticks == 0 || ticks > (uint64_t)(INT64_MAX / unit.ns))
        return false;
    quote->event_ns = (int64_t)ticks * unit.ns;
    quote->event_res = unit.us ? KMY_RES_US : KMY_RES_MS;
    return true;
}

/* A symbol and its closing quote. */
KMY_SCAN_INLINE bool scan_symbol(const char **p, const char *end, kmy_quote_t *quote)
{
    const char *key = *p;
    if (!kmy_scan_plain(p, end))
        return false;
    size_t len = (size_t)(*p - key);
    if (len == 0 || len > KMY_QUOTE_KEY_BYTES_MAX)
        return false;
    quote->key = key;
    quote->key_len = (uint16_t)len;
    *p += 1;
    return true;
}

/* From "m" to the end: ,"m":b,"M":b} and another brace if the frame is combined. */
KMY_SCAN_INLINE bool scan_trade_tail(const char **p, const char *end, kmy_quote_t *quote)
{
    bool maker;
    bool ignored;
    if (!KMY_SCAN_LIT(*p, end, ",\"m\":") || !kmy_scan_bool(p, end, &maker) ||
        !KMY_SCAN_LIT(*p, end, ",\"M\":") || !kmy_scan_bool(p, end, &ignored))
        return false;
    quote->flags = maker ? KMY_TICK_BUYER_MAKER : 0;
    return true;
}

/* From E's digits on: E,"s":"..","t":..,"p":"..","q":"..", for aggTrade "f":..,"l":.., then "T":.. and the tail. */
KMY_SCAN_INLINE bool scan_trade(const char **p, const char *end, scan_unit_t unit, bool agg,
                                kmy_quote_t *quote)
{
    if (!scan_sent_time(p, end, unit) || !KMY_SCAN_LIT(*p, end, ",\"s\":\"") ||
        !scan_symbol(p, end, quote))
        return false;
    if (agg ? !KMY_SCAN_LIT(*p, end, ",\"a\":") : !KMY_SCAN_LIT(*p, end, ",\"t\":"))
        return false;
    if (!kmy_scan_uint(p, end, &quote->source_seq) || !KMY_SCAN_LIT(*p, end, ",\"p\":\"") ||
        !kmy_scan_decimal8(p, end, &quote->price_mant) || !KMY_SCAN_LIT(*p, end, ",\"q\":\"") ||
        !kmy_scan_decimal8(p, end, &quote->size_mant))
        return false;
    if (agg) {
        uint64_t span;
        if (!KMY_SCAN_LIT(*p, end, ",\"f\":") || !kmy_scan_uint(p, end, &span) ||
            !KMY_SCAN_LIT(*p, end, ",\"l\":") || !kmy_scan_uint(p, end, &span))
            return false;
    }
    if (!KMY_SCAN_LIT(*p, end, ",\"T\":") || !scan_trade_time(p, end, unit, quote) ||
        !scan_trade_tail(p, end, quote))
        return false;
    quote->source = KMY_SOURCE_BINANCE;
    quote->kind = KMY_KIND_TRADE;
    quote->has = KMY_HAS_SIZE;
    quote->seq_scheme = agg ? KMY_SEQ_AGG_ID : KMY_SEQ_TRADE_ID;
    quote->price_expo = -8;
    quote->size_expo = -8;
    quote->bid_mant = 0;
    quote->ask_mant = 0;
    quote->conf_mant = 0;
    quote->ask_size_mant = 0;
    return quote->price_mant > 0;
}

/* From u's digits on: u,"s":"..","b":"..","B":"..","a":"..","A":"..". */
KMY_SCAN_INLINE bool scan_book(const char **p, const char *end, kmy_quote_t *quote)
{
    int64_t bid;
    int64_t ask;
    if (!kmy_scan_uint(p, end, &quote->source_seq) || !KMY_SCAN_LIT(*p, end, ",\"s\":\"") ||
        !scan_symbol(p, end, quote) || !KMY_SCAN_LIT(*p, end, ",\"b\":\"") ||
        !kmy_scan_decimal8(p, end, &bid) || !KMY_SCAN_LIT(*p, end, ",\"B\":\"") ||
        !kmy_scan_decimal8(p, end, &quote->size_mant) || !KMY_SCAN_LIT(*p, end, ",\"a\":\"") ||
        !kmy_scan_decimal8(p, end, &ask) || !KMY_SCAN_LIT(*p, end, ",\"A\":\"") ||
        !kmy_scan_decimal8(p, end, &quote->ask_size_mant))
        return false;
    if (bid <= 0 || ask <= 0)
        return false;
    quote->source = KMY_SOURCE_BINANCE;
    quote->kind = KMY_KIND_QUOTE;
    quote->has = KMY_HAS_SIZE | KMY_HAS_ASK_SIZE;
    quote->seq_scheme = KMY_SEQ_UPDATE_ID;
    quote->size_expo = -8;
    quote->flags = 0;
    quote->event_ns = 0; /* spot's bookTicker carries no time: unknown, not "now" */
    quote->event_res = KMY_RES_NONE;
    return kmy_quote_set_book(quote, bid, ask, -8);
}

bool kmy_binance_scan(const char *frame, size_t len, kmy_binance_time_t unit, kmy_quote_t *quote)
{
    if (!KMY_SCAN_SHAPES)
        return false;
    const char *p = frame;
    const char *end = frame + len;
    const scan_unit_t times = { unit == KMY_BINANCE_US, unit == KMY_BINANCE_US ? 1000 : 1000000 };
    bool combined = KMY_SCAN_LIT(p, end, "{\"stream\":\"");
    if (combined && (!kmy_scan_plain(&p, end) || !KMY_SCAN_LIT(p, end, "\",\"data\":")))
        return false;

    bool good;
    if (KMY_SCAN_LIT(p, end, "{\"u\":"))
        good = scan_book(&p, end, quote);
    else if (KMY_SCAN_LIT(p, end, "{\"e\":\"trade\",\"E\":"))
        good = scan_trade(&p, end, times, false, quote);
    else if (KMY_SCAN_LIT(p, end, "{\"e\":\"aggTrade\",\"E\":"))
        good = scan_trade(&p, end, times, true, quote);
    else
        return false;
    if (!good)
        return false;
    return combined ? KMY_LEFT(p, end) == 2 && memcmp(p, "}}", 2) == 0
                    : KMY_LEFT(p, end) == 1 && *p == '}';
}
