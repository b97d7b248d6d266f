/* tick 2/8   in: adapters/feed_ws   out: adapters/normalize

   Binance market streams, raw and combined ({"stream":"..","data":{..}}): trade, aggTrade, bookTicker; spot dialect, and the futures dialect's extra members (e, E, T, ps
   in bookTicker) are accepted.  Source: reference of the venue, "WebSocket Streams" (see docs/sources.md). */
#ifndef KMY_ADAPTERS_BINANCE_H
#define KMY_ADAPTERS_BINANCE_H

#include "adapters/quote.h"

#include <stdbool.h>

typedef enum { KMY_BINANCE_MS, KMY_BINANCE_US } kmy_binance_time_t; /* the connection's timeUnit */

/* kmy_binance_parse reads one whole text frame.  The common shapes go through a literal-shape scanner; anything else through an
   any-order reader with full validation; both give the same quote.  *quote is good after KMY_PARSE_QUOTE only, *control after
   KMY_PARSE_CONTROL only; otherwise they hold rubbish.  Any thread; neither blocks nor allocates.  What the reader decides:

     members     names are compared case-sensitively with escapes undone; a name of ours (wherever it stands on the top level or in
                 "data") that stands twice is MALFORMED; other members are validated and skipped
     type        "e"; without "e" it is a bookTicker if u, s, b and a are there.  The stream name is not interpreted
     numbers     price and size are strings, at 10^-8 where that is exact, else at the greatest exponent that is exact for all that
                 share it.  Ids and times are JSON integers.  What is well-formed but does not fit is RANGE, never wrapped
     trade       price > 0, size >= 0, "m" boolean, event time "T" ("E" must be an integer if it is there)
     bookTicker  bid and ask > 0 (an empty side is RANGE: no price is not price 0), price the exact mid; event time "T", else "E",
                 else none.  bid > ask: KMY_TICK_CROSSED and no conf
     control     "error" object or "code": an error, whatever the code (0 is one); "result": null or a scalar is an ACK, an array a
                 LIST; e "serverShutdown", raw or combined */
kmy_parse_t kmy_binance_parse(const char *frame, size_t len, kmy_binance_time_t unit,
                              kmy_quote_t *quote, kmy_control_t *control);

/* The two halves, for tests and benches: whatever kmy_binance_scan accepts (true: *quote is filled), kmy_binance_read reads to
   KMY_PARSE_QUOTE with the same members. */
bool kmy_binance_scan(const char *frame, size_t len, kmy_binance_time_t unit, kmy_quote_t *quote);
kmy_parse_t kmy_binance_read(const char *frame, size_t len, kmy_binance_time_t unit,
                             kmy_quote_t *quote, kmy_control_t *control);

/* BTCUSDT -> "BTC/USDT": splits at the longest known quote asset; upper-cases ASCII.  false: no known quote asset, or it does not fit. */
bool kmy_binance_feed_name(const char *symbol, size_t len, char *out, size_t cap);

#endif
