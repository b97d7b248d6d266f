/* tick 2/8   in: adapters/feed_ws   out: adapters/normalize

   The any-order reader of Hermes frames. */
#include "adapters/pyth.h"

#include "adapters/fields.h"

#include <string.h>

enum { NS_PER_S = 1000000000 };

/* Members of the object whose raw span is `object`.  A span that came from a member is valid JSON already; what can still fail is a
   name that stands twice. */
static bool read_members(kmy_json_token_t object, kmy_json_field_t *fields, size_t count)
{
    kmy_json_t js;
    if (object.type != KMY_JSON_OBJECT)
        return false;
    kmy_json_init(&js, object.text, object.len);
    return kmy_json_object(&js, fields, count, NULL) == KMY_OK;
}

static bool is_none(kmy_json_token_t token)
{
    return token.type == KMY_JSON_ERROR || token.type == KMY_JSON_NULL;
}

static kmy_parse_t read_id(kmy_json_token_t token, kmy_quote_t *quote)
{
    char text[80]; /* 0x, 64 digits, terminator; longer is no id */
    size_t len;
    if (token.type != KMY_JSON_STRING || !kmy_json_unescape(token, text, sizeof text, &len) ||
        !kmy_pyth_canonical_id(text, len, quote->key_store))
        return KMY_PARSE_MALFORMED;
    quote->key = quote->key_store;
    quote->key_len = 64;
    return KMY_PARSE_QUOTE;
}

static kmy_parse_t read_price(kmy_json_token_t object, kmy_quote_t *quote)
{
    enum { PRICE, CONF, EXPO, TIME, COUNT };
    kmy_json_field_t f[COUNT] = {
        [PRICE] = { .key = "price" },
        [CONF] = { .key = "conf" },
        [EXPO] = { .key = "expo" },
        [TIME] = { .key = "publish_time" },
    };
    int64_t expo;
    kmy_parse_t r;
    if (!read_members(object, f, COUNT))
        return KMY_PARSE_MALFORMED;
    if ((r = kmy_field_i64(f[PRICE].token, KMY_JSON_STRING, INT64_MIN, INT64_MAX,
                           &quote->price_mant)) != KMY_PARSE_QUOTE ||
        (r = kmy_field_u64(f[CONF].token, KMY_JSON_STRING, &quote->conf_mant)) != KMY_PARSE_QUOTE ||
        (r = kmy_field_i64(f[EXPO].token, KMY_JSON_NUMBER, KMY_DEC_EXPO_MIN, KMY_DEC_EXPO_MAX,
                           &expo)) != KMY_PARSE_QUOTE ||
        (r = kmy_field_time(f[TIME].token, NS_PER_S, &quote->event_ns)) != KMY_PARSE_QUOTE)
        return r;
    quote->price_expo = (int8_t)expo;
    return KMY_PARSE_QUOTE;
}

static kmy_parse_t read_slot(kmy_json_token_t metadata, kmy_quote_t *quote)
{
    kmy_json_field_t slot = { .key = "slot" };
    if (is_none(metadata))
        return KMY_PARSE_QUOTE;
    if (!read_members(metadata, &slot, 1))
        return KMY_PARSE_MALFORMED;
    if (is_none(slot.token))
        return KMY_PARSE_QUOTE;
    quote->seq_scheme = KMY_SEQ_SLOT;
    return kmy_field_u64(slot.token, KMY_JSON_NUMBER, &quote->source_seq);
}

static kmy_parse_t read_update(kmy_json_token_t feed, kmy_quote_t *quote)
{
    enum { ID, PRICE, METADATA, COUNT };
    kmy_json_field_t f[COUNT] = {
        [ID] = { .key = "id" },
        [PRICE] = { .key = "price" },
        [METADATA] = { .key = "metadata" },
    };
    kmy_parse_t r;
    memset(quote, 0, offsetof(kmy_quote_t, key_store));
    quote->source = KMY_SOURCE_PYTH;
    quote->kind = KMY_KIND_ORACLE;
    quote->has = KMY_HAS_CONF;
    quote->event_res = KMY_RES_S;
    if (!read_members(feed, f, COUNT))
        return KMY_PARSE_MALFORMED;
    if ((r = read_id(f[ID].token, quote)) != KMY_PARSE_QUOTE ||
        (r = read_price(f[PRICE].token, quote)) != KMY_PARSE_QUOTE)
        return r;
    return read_slot(f[METADATA].token, quote);
}

static kmy_parse_t read_error(kmy_json_token_t error, kmy_control_t *control)
{
    control->kind = KMY_CONTROL_ERROR;
    if (kmy_json_is(error, "Rate limit exceeded"))
        control->kind = KMY_CONTROL_RATE_LIMITED;
    else if (kmy_json_is(error, "Connection timeout reached (24h)"))
        control->kind = KMY_CONTROL_LIFETIME;
    kmy_control_set_text(control, error);
    return KMY_PARSE_CONTROL;
}

kmy_parse_t kmy_pyth_read(const char *frame, size_t len, kmy_quote_t *quote, kmy_control_t *control)
{
    enum { TYPE, FEED, STATUS, ERROR, COUNT };
    kmy_json_field_t f[COUNT] = {
        [TYPE] = { .key = "type" },
        [FEED] = { .key = "price_feed" },
        [STATUS] = { .key = "status" },
        [ERROR] = { .key = "error" },
    };
    kmy_json_t js;
    kmy_json_init(&js, frame, len);
    if (kmy_json_next(&js).type != KMY_JSON_OBJECT)
        return kmy_json_valid(frame, len) ? KMY_PARSE_IGNORED : KMY_PARSE_MALFORMED;
    kmy_json_init(&js, frame, len);
    if (kmy_json_object(&js, f, COUNT, NULL) != KMY_OK || kmy_json_next(&js).type != KMY_JSON_END)
        return KMY_PARSE_MALFORMED;
    kmy_json_token_t type = f[TYPE].token;
    bool failed = kmy_json_is(f[STATUS].token, "error");
    *control = (kmy_control_t){ .kind = KMY_CONTROL_ACK, .id = -1 };
    if (type.type == KMY_JSON_ERROR)
        return failed ? read_error(f[ERROR].token, control) : KMY_PARSE_IGNORED;
    if (type.type != KMY_JSON_STRING)
        return KMY_PARSE_MALFORMED;
    if (kmy_json_is(type, "price_update"))
        return read_update(f[FEED].token, quote);
    if (!kmy_json_is(type, "response"))
        return KMY_PARSE_IGNORED;
    if (failed)
        return read_error(f[ERROR].token, control);
    return kmy_json_is(f[STATUS].token, "success") ? KMY_PARSE_CONTROL : KMY_PARSE_MALFORMED;
}

kmy_parse_t kmy_pyth_parse(const char *frame, size_t len, kmy_quote_t *quote,
                           kmy_control_t *control)
{
    if (kmy_pyth_scan(frame, len, quote))
        return KMY_PARSE_QUOTE;
    return kmy_pyth_read(frame, len, quote, control);
}
