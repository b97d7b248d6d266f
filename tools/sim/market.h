/* market: seeded random walks in the shapes of the two venues, deterministic to the bit by (seed, rate, symbols).

   The state is a plain struct: a copy goes on exactly as the original.  Integers only.  Nothing allocates; any thread.
   Not a model of a market: prices step a few ticks up or down with equal chance and never leave [1/2, 2] of where they began. */
#ifndef KMY_SIM_MARKET_H
#define KMY_SIM_MARKET_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_MARKET_SYMBOLS_MAX 1000
#define SIM_MARKET_NAME_BYTES  24
#define SIM_MARKET_RATE_MAX    1000000 /* events a second of one symbol */

/* Simulated clock at position 0 unless rebased: 2024-08-08T23:54:15.000Z, the hour of the reference recording. */
#define SIM_MARKET_BEGIN_US INT64_C(1723161255000000)

typedef struct sim_market_symbol {
    char name[SIM_MARKET_NAME_BYTES]; /* "BTCUSDT"; Hermes: "BTC/USD" */
    char feed_id[65];                 /* Hermes: 64 lower-case hex */
    uint32_t stream; /* Binance: bookTicker; +1 trade, +2 aggTrade.  Hermes: the feed */
    uint64_t rng;
    int64_t begin;   /* price at start, 10^-8 */
    int64_t price;   /* now */
    int64_t step;    /* one tick, 10^-8 */
    int64_t average; /* Hermes: moving average */
    uint64_t trade_id, agg_id, book_id;
    uint64_t agg_first; /* first trade of the aggregate being gathered; 0: none */
    int64_t agg_qty;
} sim_market_symbol_t;

typedef struct sim_market {
    bool hermes;
    uint64_t seed;
    uint64_t rate;   /* Binance: events a second of each symbol */
    int64_t slot_ns; /* Hermes: one update of every feed each slot */
    uint64_t events; /* given so far */
    size_t symbols_count;
    sim_market_symbol_t symbols[SIM_MARKET_SYMBOLS_MAX];
} sim_market_t;

/* One event, before it becomes text. */
typedef enum { SIM_QUOTE, SIM_DEAL, SIM_AGGREGATE, SIM_ORACLE } sim_market_kind_t;
typedef struct sim_market_event {
    sim_market_kind_t kind;
    const sim_market_symbol_t *symbol; /* in the market it came from */
    int64_t at_ns;
    int64_t price, ask; /* 10^-8; bid and ask of a quote */
    int64_t qty, ask_qty;
    uint64_t id, first, last;
    uint64_t conf;
    uint64_t slot;
    bool buyer_is_maker;
} sim_market_event_t;

/* Reads "seed=1,rate=200,symbols=BTCUSDT:61000.00,SOLUSDT:150.00,feeds=BTC/USD:61000,<64 hex>:1.5,slot-ms=400" into both markets; what is not named keeps
   its default.  KMY_BAD_INPUT says which word is wrong. */
kmy_err_t sim_market_parse(const char *text, sim_market_t *binance, sim_market_t *hermes,
                           kmy_errctx_t *ctx);
int64_t sim_market_due_ns(const sim_market_t *m);
void sim_market_next(sim_market_t *m, sim_market_event_t *ev);

#endif
