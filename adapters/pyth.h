/* tick 2/8   in: adapters/feed_ws   out: adapters/normalize

   Pyth Hermes WebSocket frames (/ws): price_update, response, errors with and without a type member.
   Source: hermes server, ws.rs (see docs/sources.md). */
#ifndef KMY_ADAPTERS_PYTH_H
#define KMY_ADAPTERS_PYTH_H

#include "adapters/quote.h"

/* One whole text frame; the rules of kmy_binance_parse.  source_seq is the slot (KMY_SEQ_SLOT) when metadata carries one, else
   KMY_SEQ_NONE.  What the reader decides:

     id          64 hex digits; a 0x and upper case are put right, so that the key is always 64 lower-case digits
     price, conf strings of an i64 and a u64 (a price may be negative: rates and spreads are); expo in [-64, 64] though the source
                 allows any i32: beyond is RANGE
     time        publish_time in whole seconds, > 0
     metadata    absent or null is none, and so is its slot
     control     type "response", or no type at all but status "error" (the rate limit's notice); ema_price and vaa are validated as
                 JSON and skipped */
kmy_parse_t kmy_pyth_parse(const char *frame, size_t len, kmy_quote_t *quote,
                           kmy_control_t *control);

/* The two halves, for tests and benches, as in adapters/binance.h. */
bool kmy_pyth_scan(const char *frame, size_t len, kmy_quote_t *quote);
kmy_parse_t kmy_pyth_read(const char *frame, size_t len, kmy_quote_t *quote,
                          kmy_control_t *control);

/* "BTC/USD" -> its 64 hex digits on the stable network, from a built-in table of common feeds; a name that is 64 hex digits already (0x
   optional) is returned as lower case.  NULL: unknown.  The result has static storage or is `hex`. */
const char *kmy_pyth_feed_id(const char *name, char hex[65]);
/* 64 hex digits of any case, 0x optional, to 64 lower-case ones and a terminator; false: text is no such thing. */
bool kmy_pyth_canonical_id(const char *text, size_t len, char hex[65]);

#endif
