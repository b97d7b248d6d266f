/* tick 2/8   in: adapters/feed_ws   out: adapters/normalize

   Pyth Hermes WebSocket frames (/ws): price_update, response, errors with and without a type member.
   Source: hermes server, ws.rs (see docs/sources.md). */
#ifndef KMY_ADAPTERS_PYTH_H
#define KMY_ADAPTERS_PYTH_H

#include "adapters/quote.h"

/* One whole text frame; the rules of kmy_binance_parse.  source_seq is the slot (KMY_SEQ_SLOT) when metadata carries one, else KMY_SEQ_NONE. */
kmy_parse_t kmy_pyth_parse(const char *frame, size_t len, kmy_quote_t *quote,
                           kmy_control_t *control);

/* "BTC/USD" -> its 64 hex digits on the stable network, from a built-in table of common feeds; a name that is 64 hex digits already (0x
   optional) is returned as lower case.  NULL: unknown.  The result has static storage or is `hex`. */
const char *kmy_pyth_feed_id(const char *name, char hex[65]);

#endif
