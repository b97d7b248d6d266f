/* tick 2/8   in: adapters/feed_ws   out: adapters/normalize

   The any-order reader: collects the members that mean something to us in one pass over the frame, then decides what it is. */
#include "adapters/binance.h"

#include "adapters/fields.h"

#include <string.h>

/* Binance's names differ by case only, and nearly all have one letter: those are found by it. */
#define NAME_TABLE(X)                                                                              \
    X(EVENT, "e")                                                                                  \
    X(SENT, "E")                                                                                   \
    X(SYMBOL, "s")                                                                                 \
    X(TRADE_ID, "t")                                                                               \
    X(AGG_ID_OR_ASK, "a") /* aggTrade: id; bookTicker: ask */                                      \
    X(PRICE, "p")                                                                                  \
    X(SIZE, "q")                                                                                   \
    X(TIME, "T")                                                                                   \
    X(MAKER, "m")                                                                                  \
    X(UPDATE_ID, "u")                                                                              \
    X(BID, "b")                                                                                    \
    X(BID_SIZE, "B")                                                                               \
    X(ASK_SIZE, "A")                                                                               \
    X(STREAM, "stream")                                                                            \
    X(DATA, "data")                                                                                \
    X(RESULT, "result")                                                                            \
    X(ID, "id")                                                                                    \
    X(CODE, "code")                                                                                \
    X(MSG, "msg")                                                                                  \
    X(ERROR, "error")

enum {
#define NAME_ENUM(name, text) NAME_##name,
    NAME_TABLE(NAME_ENUM)
#undef NAME_ENUM
        NAME_COUNT,
    NAME_OTHER = NAME_COUNT,
    NAME_LETTERS = NAME_STREAM /* the first so many have one letter */
};

static const char *const name_text[NAME_COUNT] = {
#define NAME_TEXT(name, text) text,
    NAME_TABLE(NAME_TEXT)
#undef NAME_TEXT
};

typedef struct {
    kmy_json_token_t at[NAME_COUNT]; /* type KMY_JSON_ERROR: absent */
} members_t;

static int name_of(kmy_json_token_t key)
{
    static const uint8_t by_letter[128] = {
        ['e'] = NAME_EVENT + 1,     ['E'] = NAME_SENT + 1,  ['s'] = NAME_SYMBOL + 1,
        ['t'] = NAME_TRADE_ID + 1,  ['p'] = NAME_PRICE + 1, ['a'] = NAME_AGG_ID_OR_ASK + 1,
        ['q'] = NAME_SIZE + 1,      ['T'] = NAME_TIME + 1,  ['m'] = NAME_MAKER + 1,
        ['u'] = NAME_UPDATE_ID + 1, ['b'] = NAME_BID + 1,   ['B'] = NAME_BID_SIZE + 1,
        ['A'] = NAME_ASK_SIZE + 1,
    };
    if (!key.escaped && key.len == 1) {
        uint8_t c = (uint8_t)key.text[0];
        return c < 128 && by_letter[c] ? by_letter[c] - 1 : NAME_OTHER;
    }
    for (int i = key.escaped ? 0 : NAME_LETTERS; i < NAME_COUNT; i++)
        if (kmy_json_is(key, name_text[i]))
            return i;
    return NAME_OTHER;
}

/* Reads members up to the closing brace; js stands behind the opening one.  An object "data" goes to *data (NULL: there is no
   further level).  false: not JSON, or a name of ours stands twice. */
static bool read_members(kmy_json_t *js, members_t *members, members_t *data)
{
    for (;;) {
        kmy_json_token_t key = kmy_json_next(js);
        if (key.type == KMY_JSON_OBJECT_END)
            return true;
        if (key.type != KMY_JSON_KEY)
            return false;
        int name = name_of(key);
        if (name != NAME_OTHER && members->at[name].type != KMY_JSON_ERROR)
            return false;
        kmy_json_token_t value = kmy_json_next(js);
        if (name == NAME_DATA && data && value.type == KMY_JSON_OBJECT) {
            if (!read_members(js, data, NULL))
                return false;
        } else if (!kmy_json_skip(js, value)) {
            return false;
        }
        if (value.type == KMY_JSON_OBJECT || value.type == KMY_JSON_ARRAY)
            value.len = (size_t)(js->at - value.text);
        if (name != NAME_OTHER)
            members->at[name] = value;
    }
}

static int64_t unit_ns(kmy_binance_time_t unit)
{
    return unit == KMY_BINANCE_US ? 1000 : 1000000;
}

static bool is_absent(kmy_json_token_t token)
{
    return token.type == KMY_JSON_ERROR;
}

static bool is_integer(kmy_json_token_t token)
{
    if (token.type != KMY_JSON_NUMBER)
        return false;
    for (size_t i = token.text[0] == '-'; i < token.len; i++)
        if (token.text[i] < '0' || token.text[i] > '9')
            return false;
    return true;
}

static kmy_parse_t read_trade(const members_t *m, bool agg, kmy_binance_time_t unit,
                              kmy_quote_t *quote)
{
    kmy_parse_t r = kmy_field_key(m->at[NAME_SYMBOL], quote);
    if (r != KMY_PARSE_QUOTE)
        return r;
    kmy_json_token_t maker = m->at[NAME_MAKER];
    if (maker.type != KMY_JSON_TRUE && maker.type != KMY_JSON_FALSE)
        return KMY_PARSE_MALFORMED;
    if (!is_absent(m->at[NAME_SENT]) && !is_integer(m->at[NAME_SENT]))
        return KMY_PARSE_MALFORMED;

    kmy_dec_t price;
    kmy_dec_t size;
    if ((r = kmy_field_u64(m->at[agg ? NAME_AGG_ID_OR_ASK : NAME_TRADE_ID], KMY_JSON_NUMBER,
                           &quote->source_seq)) != KMY_PARSE_QUOTE ||
        (r = kmy_field_dec(m->at[NAME_PRICE], &price)) != KMY_PARSE_QUOTE ||
        (r = kmy_field_dec(m->at[NAME_SIZE], &size)) != KMY_PARSE_QUOTE ||
        (r = kmy_field_time(m->at[NAME_TIME], unit_ns(unit), &quote->event_ns)) != KMY_PARSE_QUOTE)
        return r;
    if (price.mant <= 0 || size.mant < 0)
        return KMY_PARSE_RANGE;
    if (!kmy_dec_align(&price, 1, -8, &quote->price_expo) ||
        !kmy_dec_align(&size, 1, -8, &quote->size_expo))
        return KMY_PARSE_RANGE;
    quote->kind = KMY_KIND_TRADE;
    quote->has = KMY_HAS_SIZE;
    quote->seq_scheme = agg ? KMY_SEQ_AGG_ID : KMY_SEQ_TRADE_ID;
    quote->event_res = unit == KMY_BINANCE_US ? KMY_RES_US : KMY_RES_MS;
    quote->flags = maker.type == KMY_JSON_TRUE ? KMY_TICK_BUYER_MAKER : 0;
    quote->price_mant = price.mant;
    quote->size_mant = size.mant;
    return KMY_PARSE_QUOTE;
}

/* Spot has no time here; futures have T (transaction) and E (sent). */
static kmy_parse_t read_book_time(const members_t *m, kmy_binance_time_t unit, kmy_quote_t *quote)
{
    kmy_json_token_t time = is_absent(m->at[NAME_TIME]) ? m->at[NAME_SENT] : m->at[NAME_TIME];
    if (is_absent(time))
        return KMY_PARSE_QUOTE;
    kmy_parse_t r = kmy_field_time(time, unit_ns(unit), &quote->event_ns);
    if (r == KMY_PARSE_QUOTE)
        quote->event_res = unit == KMY_BINANCE_US ? KMY_RES_US : KMY_RES_MS;
    return r;
}

static kmy_parse_t read_book(const members_t *m, kmy_binance_time_t unit, kmy_quote_t *quote)
{
    kmy_dec_t price[2];
    kmy_dec_t size[2];
    kmy_parse_t r;
    if ((r = kmy_field_key(m->at[NAME_SYMBOL], quote)) != KMY_PARSE_QUOTE ||
        (r = kmy_field_u64(m->at[NAME_UPDATE_ID], KMY_JSON_NUMBER, &quote->source_seq)) !=
            KMY_PARSE_QUOTE ||
        (r = kmy_field_dec(m->at[NAME_BID], &price[0])) != KMY_PARSE_QUOTE ||
        (r = kmy_field_dec(m->at[NAME_AGG_ID_OR_ASK], &price[1])) != KMY_PARSE_QUOTE ||
        (r = kmy_field_dec(m->at[NAME_BID_SIZE], &size[0])) != KMY_PARSE_QUOTE ||
        (r = kmy_field_dec(m->at[NAME_ASK_SIZE], &size[1])) != KMY_PARSE_QUOTE ||
        (r = read_book_time(m, unit, quote)) != KMY_PARSE_QUOTE)
        return r;
    if (price[0].mant <= 0 || price[1].mant <= 0 || size[0].mant < 0 || size[1].mant < 0)
        return KMY_PARSE_RANGE;
    if (!kmy_dec_align(price, 2, -8, &quote->price_expo) ||
        !kmy_dec_align(size, 2, -8, &quote->size_expo) ||
        !kmy_quote_set_book(quote, price[0].mant, price[1].mant, quote->price_expo))
        return KMY_PARSE_RANGE;
    quote->kind = KMY_KIND_QUOTE;
    quote->has |= KMY_HAS_SIZE | KMY_HAS_ASK_SIZE;
    quote->seq_scheme = KMY_SEQ_UPDATE_ID;
    quote->size_mant = size[0].mant;
    quote->ask_size_mant = size[1].mant;
    return KMY_PARSE_QUOTE;
}

static kmy_parse_t set_error(kmy_json_token_t code, kmy_json_token_t msg, kmy_control_t *control)
{
    control->kind = KMY_CONTROL_ERROR;
    if (!is_absent(code) && !kmy_json_i64(code, &control->code))
        return KMY_PARSE_MALFORMED;
    kmy_control_set_text(control, msg);
    return KMY_PARSE_CONTROL;
}

/* {"error":{"code":..,"msg":".."},"id":..}; the span is known to be valid JSON. */
static kmy_parse_t set_nested_error(kmy_json_token_t error, kmy_control_t *control)
{
    kmy_json_field_t fields[] = { { .key = "code" }, { .key = "msg" } };
    kmy_json_t js;
    if (error.type != KMY_JSON_OBJECT)
        return KMY_PARSE_MALFORMED;
    kmy_json_init(&js, error.text, error.len);
    if (kmy_json_object(&js, fields, 2, NULL) != KMY_OK)
        return KMY_PARSE_MALFORMED;
    return set_error(fields[0].token, fields[1].token, control);
}

/* Answers to our requests, and errors; anything else is none of our business. */
static kmy_parse_t read_control(const members_t *m, kmy_control_t *control)
{
    *control = (kmy_control_t){ .id = -1 };
    if (!kmy_json_i64(m->at[NAME_ID], &control->id))
        control->id = -1; /* a string, null, absent, or beyond 64 bits */
    kmy_json_token_t error = m->at[NAME_ERROR];
    if (!is_absent(error) && error.type != KMY_JSON_NULL)
        return set_nested_error(error, control);
    if (!is_absent(m->at[NAME_CODE]))
        return set_error(m->at[NAME_CODE], m->at[NAME_MSG], control);
    kmy_json_token_t result = m->at[NAME_RESULT];
    if (is_absent(result))
        return KMY_PARSE_IGNORED;
    control->kind = KMY_CONTROL_ACK;
    if (result.type == KMY_JSON_ARRAY) {
        control->kind = KMY_CONTROL_LIST;
        control->text = result.text;
        control->text_len = result.len;
    }
    return KMY_PARSE_CONTROL;
}

static kmy_parse_t read_event(const members_t *m, kmy_binance_time_t unit, kmy_quote_t *quote,
                              kmy_control_t *control)
{
    kmy_json_token_t event = m->at[NAME_EVENT];
    if (event.type != KMY_JSON_STRING)
        return KMY_PARSE_MALFORMED;
    if (kmy_json_is(event, "trade"))
        return read_trade(m, false, unit, quote);
    if (kmy_json_is(event, "aggTrade"))
        return read_trade(m, true, unit, quote);
    if (kmy_json_is(event, "bookTicker"))
        return read_book(m, unit, quote);
    if (!kmy_json_is(event, "serverShutdown"))
        return KMY_PARSE_IGNORED;
    *control = (kmy_control_t){ .kind = KMY_CONTROL_SHUTDOWN, .id = -1 };
    return KMY_PARSE_CONTROL;
}

static void clear_quote(kmy_quote_t *quote)
{
    memset(quote, 0, offsetof(kmy_quote_t, key_store));
    quote->source = KMY_SOURCE_BINANCE;
}

kmy_parse_t kmy_binance_read(const char *frame, size_t len, kmy_binance_time_t unit,
                             kmy_quote_t *quote, kmy_control_t *control)
{
    kmy_json_t js;
    members_t top = { 0 };
    members_t data = { 0 };
    kmy_json_init(&js, frame, len);
    kmy_json_token_t first = kmy_json_next(&js);
    bool is_object = first.type == KMY_JSON_OBJECT;
    if (is_object ? !read_members(&js, &top, &data) : !kmy_json_skip(&js, first))
        return KMY_PARSE_MALFORMED;
    if (kmy_json_next(&js).type != KMY_JSON_END)
        return KMY_PARSE_MALFORMED;
    if (!is_object)
        return KMY_PARSE_IGNORED;

    bool combined =
        top.at[NAME_STREAM].type == KMY_JSON_STRING && top.at[NAME_DATA].type == KMY_JSON_OBJECT;
    const members_t *m = combined ? &data : &top;
    clear_quote(quote);
    if (!is_absent(m->at[NAME_EVENT]))
        return read_event(m, unit, quote, control);
    if (!is_absent(m->at[NAME_UPDATE_ID]) && !is_absent(m->at[NAME_SYMBOL]) &&
        !is_absent(m->at[NAME_BID]) && !is_absent(m->at[NAME_AGG_ID_OR_ASK]))
        return read_book(m, unit, quote);
    return combined ? KMY_PARSE_IGNORED : read_control(&top, control);
}

kmy_parse_t kmy_binance_parse(const char *frame, size_t len, kmy_binance_time_t unit,
                              kmy_quote_t *quote, kmy_control_t *control)
{
    if (kmy_binance_scan(frame, len, unit, quote))
        return KMY_PARSE_QUOTE;
    return kmy_binance_read(frame, len, unit, quote, control);
}

/* Longest first: BTCFDUSD is BTC/FDUSD, not BTCFD/USD.  From the venue's exchangeInfo and its later listings.  Where both splits
   exist somewhere (DOTUSD at the US venue: DOT/USD) the spot venue's own quote asset wins: name such feeds in the configuration. */
static const char *const quote_assets[] = {
    "FDUSD", "BUSD", "USDT", "USDC", "TUSD", "USDP", "USDS", "USD1", "EURI", "BIDR", "IDRT",
    "BVND",  "BKRW", "GYEN", "DOGE", "BTC",  "ETH",  "BNB",  "EUR",  "TRY",  "BRL",  "GBP",
    "AUD",   "RUB",  "UAH",  "NGN",  "ZAR",  "PLN",  "RON",  "ARS",  "JPY",  "MXN",  "CZK",
    "COP",   "XRP",  "TRX",  "DAI",  "PAX",  "VAI",  "SOL",  "DOT",  "USD",
};

static char ascii_upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

static bool ends_with(const char *symbol, size_t len, const char *tail, size_t tail_len)
{
    if (len <= tail_len) /* a base asset must be left */
        return false;
    for (size_t i = 0; i < tail_len; i++)
        if (ascii_upper(symbol[len - tail_len + i]) != tail[i])
            return false;
    return true;
}

bool kmy_binance_feed_name(const char *symbol, size_t len, char *out, size_t cap)
{
    for (size_t i = 0; i < sizeof quote_assets / sizeof quote_assets[0]; i++) {
        size_t tail = strlen(quote_assets[i]);
        if (!ends_with(symbol, len, quote_assets[i], tail))
            continue;
        if (len + 2 > cap) /* the slash and the terminator */
            return false;
        size_t base = len - tail;
        for (size_t j = 0; j < base; j++)
            out[j] = ascii_upper(symbol[j]);
        out[base] = '/';
        memcpy(out + base + 1, quote_assets[i], tail + 1);
        return true;
    }
    return false;
}
