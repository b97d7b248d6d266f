/* tick 1/8   in: an upstream's socket   out: adapters/binance, adapters/pyth

   One upstream over WebSocket: dials, subscribes, keeps alive, notices death, backs off, rolls over.  libwebsockets as client, one context per
   thread; everything here runs on that thread and calls back on it.

   Three clocks per upstream: bytes on the socket, pong (the peer answers), data for each key.  A silent socket that answers pings is alive; a
   feed without data beyond its limit is checked against the server's own list before the connection is given up.
   Reconnect: full-jitter back-off 250 ms .. 30 s, reset only after a minute of data, within a connect budget; make-before-break rollover before the
   venue's 24 h (both connections deliver; the normalizer drops what comes twice).  401/403: an alarm, retried every 5 minutes at most.
   429/418: Retry-After is obeyed, for the whole host.
   No proxy is used, whatever the environment says; a redirect is not followed, for it would carry the secret elsewhere.
   libwebsockets takes masked frames of a server for good; what is in them is parsed like any other. */
#ifndef KMY_ADAPTERS_FEED_WS_H
#define KMY_ADAPTERS_FEED_WS_H

#include "adapters/feed_state.h"
#include "adapters/quote.h"
#include "base/err.h"
#include "base/metrics.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct kmy_feed_ws kmy_feed_ws_t; /* one upstream */
typedef struct kmy_feed_ws_loop
    kmy_feed_ws_loop_t; /* one thread's libwebsockets context and its upstreams */

/* Called for each quote the dialect's parser found.  recv_ns (wall) and mono_ns were taken once per socket read. */
typedef void kmy_feed_ws_quote_t(void *arg, const kmy_quote_t *quote, int64_t recv_ns,
                                 int64_t mono_ns);
/* Called when a connection came up again after a loss (not on a seamless rollover). */
typedef void kmy_feed_ws_reconnected_t(void *arg, uint8_t source);

typedef struct kmy_feed_ws_options {
    uint8_t source;          /* picks the dialect: KMY_SOURCE_BINANCE or KMY_SOURCE_PYTH */
    const char *url;         /* ws:// or wss:// */
    const char *ca_file;     /* "": the system's store */
    const char *secret;      /* bearer; NULL or "": none; copied, wiped on free, never logged */
    const char *const *keys; /* what to subscribe: "btcusdt@trade" or 64 hex digits; copied */
    size_t keys_count;
    int64_t
        lifetime_ns; /* roll over at a random point between 20/24 and 23/24 of it; 0: the dialect's default of 24 h */
    int64_t silence_ns_max; /* no byte and no pong for so long: dead; 0: dialect's default */
    int64_t
        data_silence_ns_max; /* no data of a key for so long: ask the venue what is subscribed, and subscribe what it lacks (a venue that cannot be
                                asked: subscribe again); no data at all for twice so long: reconnect; 0: dialect's default */
    int64_t dial_ns_max;     /* from name to handshake; 0: default */
    int64_t ack_ns_max;      /* request to answer; 0: default */
    int64_t overlap_ns;      /* both connections of a rollover deliver for so long; 0: default */
    kmy_metrics_t *metrics;
    kmy_feed_ws_quote_t *on_quote;
    kmy_feed_ws_reconnected_t *on_reconnected;
    void *arg;
} kmy_feed_ws_options_t;

/* NULL and *ctx: no memory or no descriptors.  Made on any thread, then used by one. */
kmy_feed_ws_loop_t *kmy_feed_ws_loop_new(kmy_errctx_t *ctx);
/* Says goodbye to the venues (waits at most 300 ms for their answers) and frees all. */
void kmy_feed_ws_loop_free(kmy_feed_ws_loop_t *loop);
/* KMY_BAD_INPUT: the URL or a key is wrong; KMY_CONFIG: the CA file; KMY_FULL: 16 upstreams are there; nothing is left behind.  The upstream
   belongs to the loop and starts dialling in the next turn.  More streams than one connection may carry are spread over several. */
kmy_err_t kmy_feed_ws_add(kmy_feed_ws_loop_t *loop, const kmy_feed_ws_options_t *options,
                          kmy_feed_ws_t **out, kmy_errctx_t *ctx);
/* One turn: waits at most timeout_ms for events, handles them, runs timers.  Returns how many frames came in. */
size_t kmy_feed_ws_loop_turn(kmy_feed_ws_loop_t *loop, int timeout_ms);
/* Any thread: makes a waiting turn return. */
void kmy_feed_ws_loop_cancel(kmy_feed_ws_loop_t *loop);

/* What an operator sees of one upstream (any thread may read the copy its owner publishes). */
typedef struct kmy_feed_ws_status {
    kmy_upstream_state_t state; /* of several connections: the worst */
    uint64_t connects_count;
    uint64_t frames_count;
    int64_t last_byte_mono_ns;
    int64_t last_data_mono_ns;
    int64_t since_mono_ns; /* of this state */
    char last_error[192];
} kmy_feed_ws_status_t;
void kmy_feed_ws_status(const kmy_feed_ws_t *up, kmy_feed_ws_status_t *out); /* loop's thread */

#endif
