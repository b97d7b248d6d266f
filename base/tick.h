/* tick: the one value every stage passes on, made by adapters/normalize and never changed
   afterwards.

   120 bytes, so that a ring slot of two cache lines holds it beside its sequence word.  Prices are
   exact: value = mant x 10^price_expo, with one exponent for price, bid, ask and conf, and one for
   both sizes.  Absence is a bit in `has`, never 0. */
#ifndef KMY_BASE_TICK_H
#define KMY_BASE_TICK_H

#include <stdint.h>

typedef enum { /* stored in LMDB keys and sent in FlatBuffers: only ever append */
               KMY_SOURCE_NONE = 0,
               KMY_SOURCE_PYTH = 1,
               KMY_SOURCE_BINANCE = 2,
               KMY_SOURCE_CHAINLINK = 3,
               KMY_SOURCE_COINGECKO = 4,
               KMY_SOURCE_DEFILLAMA = 5,
               KMY_SOURCE_COINBASE = 6,
               KMY_SOURCE_KRAKEN = 7,
               KMY_SOURCE_COUNT
} kmy_source_t;

typedef enum { /* the same */
               KMY_KIND_NONE = 0,
               KMY_KIND_TRADE = 1,
               KMY_KIND_QUOTE = 2, /* price is the exact mid of bid and ask */
               KMY_KIND_ORACLE = 3,
               KMY_KIND_STAT = 4,
               KMY_KIND_EVENT = 5,
               KMY_KIND_COUNT
} kmy_kind_t;

enum { /* kmy_tick_t.has */
       KMY_HAS_BID = 1 << 0,
       KMY_HAS_ASK = 1 << 1,
       KMY_HAS_CONF = 1 << 2,
       KMY_HAS_SIZE = 1 << 3, /* trade size, or the bid's size on a quote */
       KMY_HAS_ASK_SIZE = 1 << 4,
};

enum {                              /* kmy_tick_t.flags */
       KMY_TICK_RECONNECT = 1 << 0, /* first of its feed after a reconnect */
       KMY_TICK_CROSSED = 1 << 1,   /* bid above ask */
       KMY_TICK_DEGRADED = 1 << 2,  /* from a fallback source */
       KMY_TICK_BUYER_MAKER = 1 << 3,
       KMY_TICK_CONF_IS_SPREAD = 1 << 4, /* conf is ask - bid, not a source's own figure */
       KMY_TICK_VERIFIED = 1 << 5,
};

enum {
    KMY_RES_NONE = 0,
    KMY_RES_S = 1,
    KMY_RES_MS = 2,
    KMY_RES_US = 3,
    KMY_RES_NS = 4
}; /* event_res */

typedef struct kmy_tick {
    uint64_t seq;     /* daemon-wide, in order of receipt, from 1; the ring position of this tick */
    uint64_t offset;  /* of its feed, rises by one per tick, from 1 */
    int64_t event_ns; /* the source's clock, Unix epoch; 0: it gave none */
    int64_t recv_ns;  /* our wall clock when the bytes were read from the socket */
    int64_t mono_ns;  /* CLOCK_MONOTONIC at the same instant, for latencies */
    int64_t price_mant;
    int64_t bid_mant;
    int64_t ask_mant;
    uint64_t conf_mant;
    int64_t size_mant;
    int64_t ask_size_mant;
    uint64_t source_seq; /* trade id, update id, slot: whatever the source counts by */
    uint32_t feed_id;    /* stable across restarts, from the snapshot store; from 1 */
    uint16_t flags;      /* KMY_TICK_* */
    uint8_t source;      /* kmy_source_t */
    uint8_t kind;        /* kmy_kind_t */
    int8_t price_expo;
    int8_t size_expo;
    uint8_t event_res;    /* KMY_RES_* of event_ns */
    uint8_t has;          /* KMY_HAS_* */
    uint8_t reserved[12]; /* zero */
} kmy_tick_t;

_Static_assert(sizeof(kmy_tick_t) == 120, "a tick and its sequence word fill two cache lines");

const char *kmy_source_name(uint8_t source);  /* "pyth"; "?" for an unknown number */
const char *kmy_kind_name(uint8_t kind);      /* "trade" */
uint8_t kmy_source_by_name(const char *name); /* KMY_SOURCE_NONE if there is none */

#endif
