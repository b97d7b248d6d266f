#include "adapters/fields.h"

#include "base/decimal.h"

#include <string.h>

/* The text a token stands for: its own bytes, or those of `buf` once escapes are undone. */
static bool plain_text(kmy_json_token_t token, char buf[KMY_FIELD_TEXT_BYTES_MAX],
                       const char **text, size_t *len)
{
    *text = token.text;
    *len = token.len;
    if (!token.escaped)
        return true;
    *text = buf;
    return kmy_json_unescape(token, buf, KMY_FIELD_TEXT_BYTES_MAX, len);
}

/* Sign and magnitude of an integer text; a magnitude above 2^64 - 1 is RANGE. */
static kmy_parse_t read_integer(kmy_json_token_t token, kmy_json_type_t type, bool *minus,
                                uint64_t *mag)
{
    char buf[KMY_FIELD_TEXT_BYTES_MAX];
    const char *text;
    size_t len;
    if (token.type != type || !plain_text(token, buf, &text, &len))
        return KMY_PARSE_MALFORMED;
    *minus = len > 0 && text[0] == '-';
    size_t i = *minus;
    if (i == len)
        return KMY_PARSE_MALFORMED;
    bool fits = true;
    uint64_t v = 0;
    for (; i < len; i++) {
        unsigned digit = (unsigned)(uint8_t)text[i] - '0';
        if (digit > 9)
            return KMY_PARSE_MALFORMED;
        fits = fits && !__builtin_mul_overflow(v, 10ull, &v) &&
               !__builtin_add_overflow(v, (uint64_t)digit, &v);
    }
    *mag = v;
    return fits ? KMY_PARSE_QUOTE : KMY_PARSE_RANGE;
}

kmy_parse_t kmy_field_u64(kmy_json_token_t token, kmy_json_type_t type, uint64_t *out)
{
    bool minus;
    uint64_t mag;
    kmy_parse_t r = read_integer(token, type, &minus, &mag);
    if (r != KMY_PARSE_QUOTE)
        return r;
    if (minus && mag != 0)
        return KMY_PARSE_RANGE;
    *out = mag;
    return KMY_PARSE_QUOTE;
}

kmy_parse_t kmy_field_i64(kmy_json_token_t token, kmy_json_type_t type, int64_t lo, int64_t hi,
                          int64_t *out)
{
    bool minus;
    uint64_t mag;
    kmy_parse_t r = read_integer(token, type, &minus, &mag);
    if (r != KMY_PARSE_QUOTE)
        return r;
    if (mag > (uint64_t)INT64_MAX + minus)
        return KMY_PARSE_RANGE;
    int64_t v = minus ? (int64_t)(0 - mag) : (int64_t)mag;
    if (v < lo || v > hi)
        return KMY_PARSE_RANGE;
    *out = v;
    return KMY_PARSE_QUOTE;
}

kmy_parse_t kmy_field_time(kmy_json_token_t token, int64_t ns_per_tick, int64_t *out_ns)
{
    int64_t ticks;
    kmy_parse_t r = kmy_field_i64(token, KMY_JSON_NUMBER, 1, INT64_MAX / ns_per_tick, &ticks);
    if (r == KMY_PARSE_QUOTE)
        *out_ns = ticks * ns_per_tick;
    return r;
}

kmy_parse_t kmy_field_dec(kmy_json_token_t token, kmy_dec_t *out)
{
    char buf[KMY_FIELD_TEXT_BYTES_MAX];
    const char *text;
    size_t len;
    if (token.type != KMY_JSON_STRING || !plain_text(token, buf, &text, &len))
        return KMY_PARSE_MALFORMED;
    switch (kmy_dec_parse(text, len, &out->mant, &out->expo)) {
    case KMY_OK:
        return KMY_PARSE_QUOTE;
    case KMY_OVERFLOW:
        return KMY_PARSE_RANGE;
    default:
        return KMY_PARSE_MALFORMED;
    }
}

static bool rescale_all(kmy_dec_t *decs, size_t count, int to)
{
    int64_t scaled[4];
    if (count > sizeof scaled / sizeof scaled[0])
        return false;
    for (size_t i = 0; i < count; i++)
        if (!kmy_dec_rescale(decs[i].mant, decs[i].expo, to, &scaled[i]))
            return false;
    for (size_t i = 0; i < count; i++)
        decs[i] = (kmy_dec_t){ scaled[i], to };
    return true;
}

bool kmy_dec_align(kmy_dec_t *decs, size_t count, int want, int8_t *expo)
{
    int to = want;
    if (!rescale_all(decs, count, want)) {
        to = KMY_DEC_EXPO_MAX;
        for (size_t i = 0; i < count; i++)
            if (decs[i].mant != 0 && decs[i].expo < to)
                to = decs[i].expo;
        if (!rescale_all(decs, count, to))
            return false;
    }
    *expo = (int8_t)to;
    return true;
}

kmy_parse_t kmy_field_key(kmy_json_token_t token, kmy_quote_t *quote)
{
    if (token.type != KMY_JSON_STRING)
        return KMY_PARSE_MALFORMED;
    const char *key = token.text;
    size_t len = token.len;
    if (token.escaped) {
        if (!kmy_json_unescape(token, quote->key_store, sizeof quote->key_store, &len))
            return KMY_PARSE_MALFORMED;
        key = quote->key_store;
    }
    if (len == 0 || len > KMY_QUOTE_KEY_BYTES_MAX)
        return KMY_PARSE_MALFORMED;
    quote->key = key;
    quote->key_len = (uint16_t)len;
    return KMY_PARSE_QUOTE;
}
