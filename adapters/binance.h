/* tick 2/8   in: adapters/feed_ws   out: adapters/normalize

   Binance market streams, raw and combined ({"stream":"..","data":{..}}): trade, aggTrade, bookTicker; spot dialect, and the futures dialect's extra members (e, E, T, ps
   in bookTicker) are accepted.  Source: reference of the venue, "WebSocket Streams" (see docs/sources.md). */
#ifndef KMY_ADAPTERS_BINANCE_H
#define KMY_ADAPTERS_BINANCE_H

#include "adapters/quote.h"

#include <stdbool.h>

typedef enum { KMY_BINANCE_MS, KMY_BINANCE_US } kmy_binance_time_t; /* the connection's timeUnit */

/* kmy_binance_parse reads one whole text frame.  The common shapes go through a literal-shape scanner; anything else through an
   any-order reader with full validation; both give the same quote.  Exactly one of *quote, *control is written, as the result says. */
kmy_parse_t kmy_binance_parse(const char *frame, size_t len, kmy_binance_time_t unit,
                              kmy_quote_t *quote, kmy_control_t *control);

/* BTCUSDT -> "BTC/USDT": splits at the longest known quote asset; upper-cases ASCII.  false: no known quote asset, or it does not fit. */
bool kmy_binance_feed_name(const char *symbol, size_t len, char *out, size_t cap);

#endif
