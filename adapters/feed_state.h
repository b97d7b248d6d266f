/* tick 1/8   in: adapters/feed_ws   out: adapters/feed_ws

   What an upstream connection does next, as a table, and the three numbers that keep us from being banned: back-off, connect budget, Retry-After.
   Pure code: the clock and the random bits come in as arguments, no socket, no allocation, no state of its own.  Thread: any. */
#ifndef KMY_ADAPTERS_FEED_STATE_H
#define KMY_ADAPTERS_FEED_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum {
    KMY_UP_IDLE,          /* no socket and none wanted */
    KMY_UP_DIALING,       /* name, TCP, TLS and WebSocket handshake */
    KMY_UP_SUBSCRIBING,   /* up; not everything we want is acknowledged; ticks may come already */
    KMY_UP_LIVE,          /* all acknowledged */
    KMY_UP_BACKOFF,       /* waits for its turn to dial */
    KMY_UP_MISCONFIGURED, /* refused by 401 or 403: somebody has to change something */
    KMY_UP_STATES
} kmy_upstream_state_t;

typedef enum {
    KMY_UPEV_START,   /* a connection is wanted, the budget allows it */
    KMY_UPEV_UP,      /* WebSocket handshake done */
    KMY_UPEV_ACKED,   /* nothing is left to be acknowledged */
    KMY_UPEV_DOWN,    /* the peer or the network ended it, or it never came up */
    KMY_UPEV_DEAD,    /* we give it up: too slow, silent, or it talks nonsense */
    KMY_UPEV_REFUSED, /* 401, 403 */
    KMY_UPEV_LIMITED, /* 429, 418, or the dialect's own frame of that meaning */
    KMY_UPEV_TIMER,   /* the wait is over, the budget allows it */
    KMY_UPEV_STOP,    /* not wanted any more */
    KMY_UPEV_COUNT
} kmy_upstream_event_t;

typedef enum {
    KMY_UPACT_ABORT, /* impossible */
    KMY_UPACT_NOTHING,
    KMY_UPACT_DIAL,
    KMY_UPACT_SUBSCRIBE,
    KMY_UPACT_WAIT,      /* let go of the socket, back off */
    KMY_UPACT_WAIT_HOST, /* let go of the socket, close the whole host's gate */
    KMY_UPACT_ALARM, /* let go of the socket, tell the operator once, try again in five minutes */
    KMY_UPACT_CLOSE, /* close politely */
    KMY_UPACT_COUNT
} kmy_upstream_act_t;

typedef struct kmy_upstream_step {
    kmy_upstream_act_t act;
    kmy_upstream_state_t to;
} kmy_upstream_step_t;

/* A pair that is not in the table is a bug of ours: abort. */
kmy_upstream_step_t kmy_upstream_step(kmy_upstream_state_t state, kmy_upstream_event_t event);
/* Whether the pair is in the table; for tests. */
bool kmy_upstream_step_exists(kmy_upstream_state_t state, kmy_upstream_event_t event);
const char *kmy_upstream_state_name(kmy_upstream_state_t state);

/* Full-jitter back-off: the n-th failure in a row waits a uniform time in [250 ms, min(30 s, 250 ms x 2^n)], n from 1.  The jitter starts at
   250 ms and not at 0, so that no draw is a retry at once. */
#define KMY_BACKOFF_NS_MIN     INT64_C(250000000)
#define KMY_BACKOFF_NS_MAX     INT64_C(30000000000)
#define KMY_BACKOFF_RESET_NS   INT64_C(60000000000) /* a minute of real data forgives the past */
#define KMY_MISCONFIGURED_NS   INT64_C(300000000000)
#define KMY_RETRY_AFTER_NS_MIN INT64_C(10000000000)
#define KMY_RETRY_AFTER_NS_MAX INT64_C(259200000000000) /* Binance's longest ban: 3 days */

typedef struct kmy_backoff {
    uint32_t failures; /* in a row */
} kmy_backoff_t;

int64_t kmy_backoff_next_ns(kmy_backoff_t *b, uint64_t random);
/* Data was seen from first_ns to last_ns on one connection (0: none). */
void kmy_backoff_data(kmy_backoff_t *b, int64_t first_ns, int64_t last_ns);

/* A sliding window of connects, exact.  Binance allows 300 per 5 minutes and address; we stay at a fifth of it, for others may share our address. */
#define KMY_CONNECTS_MAX       60
#define KMY_CONNECTS_WINDOW_NS INT64_C(300000000000)

typedef struct kmy_connect_budget {
    int64_t at_ns[KMY_CONNECTS_MAX]; /* of the last connects, a ring */
    uint32_t next;
    uint32_t count;
    int64_t gate_ns; /* no connect before this: Retry-After; 0: open */
} kmy_connect_budget_t;

/* The earliest time a connect is allowed: now_ns, or later. */
int64_t kmy_connect_budget_at(const kmy_connect_budget_t *b, int64_t now_ns);
void kmy_connect_budget_spend(kmy_connect_budget_t *b, int64_t now_ns);
void kmy_connect_budget_close(kmy_connect_budget_t *b, int64_t until_ns); /* never shortens */

/* Retry-After (RFC 9110, 10.2.3): seconds, or an IMF-fixdate seen from wall_ns.  Within [KMY_RETRY_AFTER_NS_MIN, _MAX]; text NULL, empty
   or not understood: fallback_ns, within the same bounds. */
int64_t kmy_retry_after_ns(const char *text, int64_t wall_ns, int64_t fallback_ns);

/* When to replace a connection that lives lifetime_ns: uniform in [20/24, 23/24] of it, so that many connections do not go at once. */
int64_t kmy_rollover_ns(int64_t lifetime_ns, uint64_t random);

#endif
