/* tick 2/8   in: adapters/feed_ws, adapters/feed_http   out: adapters/normalize

   A quote is what one upstream message says, before it has a feed id, an offset and our clocks.  Parsers (binance.c, pyth.c, ...) are
   pure functions from bytes to quotes: no socket, no allocation, no state, no clock. */
#ifndef KMY_ADAPTERS_QUOTE_H
#define KMY_ADAPTERS_QUOTE_H

#include "base/tick.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KMY_QUOTE_KEY_BYTES_MAX                                                                    \
    64 /* a Pyth id has 64 hex digits; Binance's longest symbols stay below 30 bytes */

typedef enum { /* which counter source_seq is: ids of different counters are never compared */
               KMY_SEQ_NONE,
               KMY_SEQ_TRADE_ID,
               KMY_SEQ_AGG_ID,
               KMY_SEQ_UPDATE_ID,
               KMY_SEQ_SLOT,
               KMY_SEQ_COUNT
} kmy_seq_scheme_t;

/* Members are valid as `has`, `kind` and `event_res` say; what is absent is 0.  price, bid, ask and conf share price_expo, both sizes
   share size_expo; both exponents are in [KMY_DEC_EXPO_MIN, KMY_DEC_EXPO_MAX].

   key is upstream's name: the symbol as in the payload ("BTCUSDT", may be UTF-8) or 64 lower-case hex digits, 1 to
   KMY_QUOTE_KEY_BYTES_MAX bytes, no NUL among them, not terminated.  Keys are compared as bytes with their JSON escapes undone.  It
   points into the frame, or into key_store where the frame's bytes had to be changed (escapes; upper-case hex): so it lives as long
   as both the frame and this very struct; a copy of the struct must not outlive the original. */
typedef struct kmy_quote {
    const char *key;
    uint16_t key_len;
    uint8_t source;
    uint8_t kind;
    uint8_t has;
    uint8_t event_res;
    uint8_t seq_scheme; /* kmy_seq_scheme_t */
    int8_t price_expo;
    int8_t size_expo;
    uint16_t flags;
    int64_t event_ns; /* 0: unknown; else 0 < event_ns, before the year 2262 */
    int64_t price_mant;
    int64_t bid_mant;
    int64_t ask_mant;
    uint64_t conf_mant;
    int64_t size_mant;
    int64_t ask_size_mant;
    uint64_t source_seq;
    char key_store[KMY_QUOTE_KEY_BYTES_MAX + 1]; /* not initialized unless key points here */
} kmy_quote_t;

typedef enum {
    KMY_PARSE_QUOTE,   /* *quote is filled */
    KMY_PARSE_CONTROL, /* ack, error, shutdown notice: *control is filled */
    KMY_PARSE_IGNORED, /* valid, of a type we do not sell (depth, kline, an unknown future type) */
    KMY_PARSE_MALFORMED, /* not what the source's documentation allows */
    KMY_PARSE_RANGE, /* well-formed, but a number does not fit or makes no sense (price <= 0 on a trade) */
} kmy_parse_t;

typedef enum {
    KMY_CONTROL_ACK,   /* a request succeeded; id says which */
    KMY_CONTROL_LIST,  /* LIST_SUBSCRIPTIONS reply: text spans the JSON array */
    KMY_CONTROL_ERROR, /* a request failed, or the connection is about to end; text is the message */
    KMY_CONTROL_RATE_LIMITED, /* Hermes: "Rate limit exceeded" */
    KMY_CONTROL_LIFETIME,     /* Hermes: 24 h are over */
    KMY_CONTROL_SHUTDOWN,     /* Binance serverShutdown: open the replacement now */
} kmy_control_kind_t;

typedef struct kmy_control {
    kmy_control_kind_t kind;
    int64_t id;       /* numeric request id; -1: none or not a number */
    int64_t code;     /* Binance error code; 0 may be an error, see kind */
    const char *text; /* borrowed, raw (escapes not undone); NULL: none */
    size_t text_len;
} kmy_control_t;

#endif
