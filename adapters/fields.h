/* fields: what the members of a source's message mean: integers, exact decimals, times, names.

   Shared by the any-order readers of all sources; pure functions.  Each returns KMY_PARSE_QUOTE for "good so far", KMY_PARSE_MALFORMED
   for a member that is absent or of another type, KMY_PARSE_RANGE for a number that is one but does not fit.  Outputs are untouched
   unless good.  A text with escapes means what it means with its escapes undone. */
#ifndef KMY_ADAPTERS_FIELDS_H
#define KMY_ADAPTERS_FIELDS_H

#include "adapters/quote.h"
#include "base/decimal.h"
#include "wire/json.h"

#define KMY_FIELD_TEXT_BYTES_MAX 200 /* of a number written with escapes, escapes undone */

/* An integer: -?digits, in a token of exactly `type` (KMY_JSON_NUMBER or KMY_JSON_STRING), by value in [lo, hi]. */
kmy_parse_t kmy_field_i64(kmy_json_token_t token, kmy_json_type_t type, int64_t lo, int64_t hi,
                          int64_t *out);
kmy_parse_t kmy_field_u64(kmy_json_token_t token, kmy_json_type_t type, uint64_t *out);

/* An integer JSON number of ticks of ns_per_tick since the epoch, to ns; it must be after 1970 and before 2262. */
kmy_parse_t kmy_field_time(kmy_json_token_t token, int64_t ns_per_tick, int64_t *out_ns);

typedef struct kmy_dec {
    int64_t mant;
    int expo;
} kmy_dec_t;

/* A decimal in a string, exactly as kmy_dec_parse reads it. */
kmy_parse_t kmy_field_dec(kmy_json_token_t token, kmy_dec_t *out);
/* Brings all to one exponent: `want` if that is exact for each, else the smallest among them.  false: a mantissa does not fit. */
bool kmy_dec_align(kmy_dec_t *decs, size_t count, int want, int8_t *expo);

/* A key into quote->key: borrowed from the token's text, or copied to key_store where there are escapes to undo. */
kmy_parse_t kmy_field_key(kmy_json_token_t token, kmy_quote_t *quote);

/* Bid and ask, both > 0, at `expo`: sets price (their exact mid, one exponent lower when their sum is odd), bid, ask, conf, flags, has.
   false: the mid does not fit. */
static inline bool kmy_quote_set_book(kmy_quote_t *quote, int64_t bid, int64_t ask, int expo)
{
    uint64_t sum = (uint64_t)bid + (uint64_t)ask; /* both below 2^63: cannot wrap */
    int64_t mid = (int64_t)(sum / 2);
    if (sum % 2) { /* half a unit is five of the next lower exponent */
        if (expo == KMY_DEC_EXPO_MIN || __builtin_mul_overflow(bid, 10, &bid) ||
            __builtin_mul_overflow(ask, 10, &ask))
            return false;
        mid = bid / 2 + ask / 2; /* both are even now */
        expo--;
    }
    quote->price_expo = (int8_t)expo;
    quote->price_mant = mid;
    quote->bid_mant = bid;
    quote->ask_mant = ask;
    bool crossed = bid > ask;
    quote->conf_mant = crossed ? 0 : (uint64_t)ask - (uint64_t)bid;
    quote->has |= KMY_HAS_BID | KMY_HAS_ASK | (crossed ? 0 : KMY_HAS_CONF);
    quote->flags |= crossed ? KMY_TICK_CROSSED : KMY_TICK_CONF_IS_SPREAD;
    return true;
}

/* A message text of a control frame: raw, NULL if the token is no string. */
static inline void kmy_control_set_text(kmy_control_t *control, kmy_json_token_t token)
{
    bool is_text = token.type == KMY_JSON_STRING;
    control->text = is_text ? token.text : NULL;
    control->text_len = is_text ? token.len : 0;
}

#endif
