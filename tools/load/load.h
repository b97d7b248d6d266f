/* load: thousands of agents in one process and one thread: who they are, what they have seen, what was wrong.

   Way of a delivery: loop (epoll) -> agent (one read) -> frames (WebSocket frame, by type) -> scan (is it a tick) -> book (is it the next one, what
   does it cost) -> hist (how late).  Everything here belongs to the one thread that runs load_loop; nothing blocks but what stands in
   door.h and fleet.h, which run before and after. */
#ifndef KMY_TOOLS_LOAD_LOAD_H
#define KMY_TOOLS_LOAD_LOAD_H

#include "base/err.h"
#include "base/strmap.h"
#include "tools/load/hist.h"
#include "tools/load/scan.h"
#include "tools/load/scenario.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    LOAD_READ_BYTES = 1 << 18, /* one read of one agent, what was left of the last one included */
    LOAD_MESSAGE_BYTES_MAX = 1 << 17, /* one frame or HTTP answer; longer is a fault */
    LOAD_TOKEN_BYTES_MAX = 1024,
    LOAD_SECONDS_MAX = 86400, /* of the timeline; later seconds are not drawn */
};

typedef struct load_feed {
    char name[LOAD_NAME_BYTES_MAX];
    size_t name_len;
    char epoch[40];
    int64_t tick_nusd;
    int64_t query_nusd;
    uint64_t newest;                   /* highest offset anybody was given */
    load_seen_t *seen[LOAD_ENCODINGS]; /* owned; made at the first tick */
    load_values_t *values;             /* the same */
} load_feed_t;

/* Whom the stream agents talk to.  All but the first serve benches: one feed of ticks shaped like ours, nothing asked, nothing paid. */
typedef enum {
    LOAD_KAMIYO,
    LOAD_RAW, /* bare TCP: one line of hello, then WebSocket frames without a handshake (bench_ceiling) */
    LOAD_PLAIN, /* any WebSocket server: a handshake, then a tick a text frame */
    LOAD_NATS,  /* nats-server's WebSocket door: SUB tick */
} load_dialect_t;

/* Who pays: one agent's own, or shared by several. */
typedef struct load_account {
    char *token; /* owned */
    uint32_t agents;
    int64_t credited_nusd; /* 0: not known (a token that was given) */
    int64_t before_nusd;   /* consumed before the run, by the ledger; -1: not to be had */
    int64_t consumed_nusd; /* after it, less that */
} load_account_t;

/* One subscription of one agent. */
typedef struct load_sub {
    uint64_t last; /* offset held; of a fresh one: told by "subscribed" */
    uint32_t feed; /* index */
    bool fresh; /* nothing received yet: the tick `last` itself may come (snapshot), or last + 1 */
    bool told;  /* "subscribed" has come on this connection */
} load_sub_t;

typedef enum {
    LOAD_IDLE,       /* waits for its time to dial */
    LOAD_CONNECTING, /* TCP */
    LOAD_SHAKING,    /* WebSocket handshake and authentication */
    LOAD_LIVE,       /* stream: subscribed; HTTP: connected */
    LOAD_BALANCING,  /* asked for its last balance */
    LOAD_CLOSING,    /* close frame sent, reads until the end */
    LOAD_OVER,
    LOAD_STATES
} load_state_t;

/* LOAD_TOPUP beside load_kind_t: the one connection to the admin door that mints during the run. */
enum { LOAD_TOPUP = LOAD_KINDS };

typedef struct load_agent {
    int fd; /* -1: none */
    uint8_t state;
    uint8_t kind;
    uint8_t group;
    bool slow;
    bool reading;      /* in the epoll set for input */
    bool busy;         /* HTTP: a request is out */
    bool again;        /* a storm cut it: dial again once closed */
    bool away;         /* the same, until it is back */
    bool ended_early;  /* the daemon closed a slow one, as it may */
    bool sealing;      /* the TLS handshake is on its way */
    bool in_line;      /* counted in l->sealing_count */
    int64_t queued_ns; /* since when it waits to be let dial; 0: it does not */
    uint8_t encoding;  /* load_encoding_t, never LOAD_MIXED */
    uint32_t account;
    int64_t
        dial_ns; /* of the present connection; then when the balance was asked for, or the close frame sent */
    uint32_t dials;
    uint32_t subs_count;
    uint32_t hint; /* subscription that had the last tick */
    uint32_t rest_len, rest_cap;
    uint8_t *rest;                 /* begin of a frame that is not whole; owned */
    struct ssl_st *tls;            /* NULL: plain; owned */
    struct ssl_session_st *ticket; /* to resume with; owned */
    load_sub_t *subs;              /* by feed index, ascending; owned */
    uint64_t
        nats_left;    /* payload bytes of the present frame that have not come or are not used up */
    char session[33]; /* to go on with; "": none */
    bool session_told;  /* on this connection */
    bool asked;         /* this connection's subscribe was sent */
    bool goes_on;       /* and named a session */
    uint64_t conn_free; /* ticks of this connection that may have been charged on an earlier one */
    uint64_t conn_frames; /* ticks read on this connection */
    uint64_t frames;      /* ticks read */
    int64_t charged_nusd; /* by our own count: ticks and answers */
    int64_t slack_nusd;   /* may have been charged beyond that: handed to sockets that were reset */
    int64_t due_ns;       /* monotonic: next thing to do by itself; 0: none */
    int64_t intended_ns;  /* HTTP: when the request that is out was due */
    uint64_t random;
} load_agent_t;

#define LOAD_FAULT_TABLE(X)                                                                        \
    X(CONNECT, "connect")     /* refused, or no answer */                                          \
    X(HANDSHAKE, "handshake") /* not 101, or a wrong accept */                                     \
    X(PROTOCOL, "protocol")   /* a frame that RFC 6455 forbids */                                  \
    X(DECODE, "decode")       /* not a message of ours */                                          \
    X(DIFFERS, "differs")     /* two agents, one offset, other bytes */                            \
    X(ORDER, "order")         /* an offset that was there before */                                \
    X(UNASKED, "unasked")     /* a feed nobody subscribed */                                       \
    X(CLOSED, "closed")       /* by the server, without reason of ours */                          \
    X(REFUSED, "refused")     /* an error frame or a paused stream */                              \
    X(STATUS, "http_status")  /* not 200 */                                                        \
    X(TIMEOUT, "timeout")     /* no end within its time */                                         \
    X(UNSPENT, "unspent")     /* money for a tick that came, and no tick */                        \
    X(LEDGER, "ledger")       /* the books of the daemon cannot be had */

typedef enum {
#define LOAD_FAULT_ENUM(name, text) LOAD_FAULT_##name,
    LOAD_FAULT_TABLE(LOAD_FAULT_ENUM)
#undef LOAD_FAULT_ENUM
        LOAD_FAULTS
} load_fault_t;
extern const char *const load_fault_names[LOAD_FAULTS];

enum { LOAD_GAP_REASONS = 6 }; /* conflated dropped history_too_short epoch source other */
extern const char *const load_gap_names[LOAD_GAP_REASONS];

/* One second of the timeline. */
typedef struct load_second {
    uint32_t delivered;
    uint32_t answers;
    float p50_ms, p99_ms; /* of ticks, or of answers where nobody streams */
    float cpu;            /* of the daemon, 1: a whole core */
    uint32_t rss_kib;
} load_second_t;

/* What a process has used. */
typedef struct load_usage {
    int64_t cpu_ns;
    int64_t rss_bytes;
} load_usage_t;

typedef struct load_timer {
    int64_t due_ns;
    uint32_t agent;
} load_timer_t;

typedef struct load {
    load_scenario_t s;
    uint8_t dialect; /* load_dialect_t */
    bool raw;        /* not our daemon: one feed, no subscription message, no money */
    char path[128];  /* of the WebSocket handshake */
    struct sockaddr_in public_at, admin_at;
    char admin_token[128];  /* "": no admin door */
    char authority[64];     /* for Host: */
    char prefix[32];        /* of the accounts' names: "load:" */
    bool one_shard;         /* known: the daemon is ours and has one */
    int server_pid;         /* 0: unknown */
    struct ssl_ctx_st *tls; /* of the public door; NULL: plain */
    const char *tls_host;   /* whom its certificate must name; borrowed */
    bool tls_insecure;
    uint64_t inject_loss; /* debugging: every so many ticks one is overlooked; 0: never */
    bool quiet;
    bool color; /* stderr is a terminal */

    load_feed_t *feeds;
    uint32_t feeds_count;
    kmy_strmap_t feed_names;
    uint32_t market[LOAD_FEEDS_MAX]; /* feeds the scenario's market has, by popularity */
    uint32_t market_count;

    load_account_t *accounts;
    uint32_t accounts_count;
    load_agent_t *agents; /* s.agents, and one more for top-ups */
    uint32_t agents_count;
    uint32_t over_count;
    uint32_t up_count; /* reached LIVE at least once */
    uint32_t live_count;
    uint32_t dialed_count;
    load_timer_t *timers; /* binary heap */
    size_t timers_count, timers_cap;
    uint8_t *buffer; /* LOAD_READ_BYTES */
    int epoll_fd;

    int64_t now_ns;      /* monotonic */
    int64_t now_wall_ns; /* of the last read */
    int64_t start_ns, ramped_ns, measure_ns, stop_ns, end_ns;
    bool measuring, ending;
    uint32_t storms;
    int64_t storm_due_ns;
    uint32_t topup_next; /* account */
    uint32_t away_count; /* cut by a storm and not yet back */
    int64_t storm_ns;    /* when the last one was */
    int64_t all_back_ns; /* the longest a storm's agents took until all were back */

    /* what was seen */
    uint64_t delivered, delivered_slow, answers, batches, topups, frames_injected;
    uint64_t measured_delivered, measured_answers;
    uint64_t lost, miscounted, unspent;
    uint64_t gaps[LOAD_GAP_REASONS];      /* frames */
    uint64_t gap_ticks[LOAD_GAP_REASONS]; /* ticks they name */
    uint64_t slow_warnings, evicted, reconnects, resumes, sessions, paused, bytes, reads,
        stale_status, clock_back;
    uint64_t faults[LOAD_FAULTS];
    char fault_detail[LOAD_FAULTS][160]; /* the first of each */
    char miscount_detail[200];
    char lost_detail[200];
    load_hist_t tick, tick_second, query, batch, topup, answer_second;
    load_hist_t join, back; /* dial to "subscribed": the first time, and after a storm */
    load_hist_t answer,
        bye; /* at the end: asked for the balance and told; close frame and end of the connection */
    load_second_t *timeline; /* LOAD_SECONDS_MAX, as address space */
    uint32_t seconds;

    uint64_t tls_handshakes, tls_resumed;
    uint32_t sealing_count; /* dials whose TLS handshake is not through */
    uint64_t server_sends,
        server_ticks; /* by the daemon's counters, of the measured time and the settling before it */
    load_usage_t server_begin, server_measure, server_stop, server_end, server_last;
    load_usage_t self_measure, self_stop;
    int64_t server_rss_max;
    int64_t ledger_nusd, charged_nusd,
        slack_nusd; /* at the end: the daemon's count, ours, and what resets leave open */
} load_t;

/* --- what went wrong --- */
__attribute__((format(printf, 4, 5))) void load_fault(load_t *l, const load_agent_t *a,
                                                      load_fault_t fault, const char *fmt, ...);

/* --- agent.c: connections --- */
/* Makes the agents by the scenario's mix: kinds, feeds, times to dial.  false: no memory. */
bool load_agents_make(load_t *l);
void load_agents_free(load_t *l);
/* The agent's time has come: dial, ask, read slowly. */
void load_agent_due(load_t *l, load_agent_t *a);
void load_agent_ready(load_t *l, load_agent_t *a, uint32_t events);
/* Cuts it: RST, or a close handshake.  It dials again if l is not ending. */
void load_agent_cut(load_t *l, load_agent_t *a, bool reset);
/* The run is over: last balance, close, read to the end. */
void load_agent_end(load_t *l, load_agent_t *a);
void load_agent_over(load_t *l, load_agent_t *a);
/* Closes the socket and, if a storm did that, sets the time to dial again. */
void load_agent_hangup(load_t *l, load_agent_t *a);
bool load_agent_send(load_t *l, load_agent_t *a, const void *bytes, size_t len);
bool load_agent_text(load_t *l, load_agent_t *a, const char *text, size_t len); /* a masked frame */
void load_agent_live(load_t *l, load_agent_t *a);
void load_agent_close(load_t *l, load_agent_t *a); /* close frame, state CLOSING */
uint64_t load_random(uint64_t *state);

/* --- frames.c: what a stream agent reads --- */
/* Judges the whole frames of data; returns the bytes used up.  The agent may be closed afterwards (fd -1). */
size_t load_frames(load_t *l, load_agent_t *a, const uint8_t *data, size_t len);

/* One text message: a tick, or anything else our daemon says. */
void load_text(load_t *l, load_agent_t *a, const char *text, size_t len);

/* --- nats.c: what an agent of nats-server reads; as load_frames --- */
bool load_nats_subscribe(load_t *l, load_agent_t *a);
size_t load_nats(load_t *l, load_agent_t *a, const uint8_t *data, size_t len);

/* --- request.c: query, batch and top-up agents --- */
void load_request_send(load_t *l, load_agent_t *a);
size_t load_request_read(load_t *l, load_agent_t *a, const uint8_t *data, size_t len);
int64_t load_request_think(load_t *l, load_agent_t *a);

/* --- loop.c --- */
void load_at(load_t *l, load_agent_t *a, int64_t due_ns);
kmy_err_t load_loop(load_t *l, volatile bool *stop, kmy_errctx_t *ctx);

#endif
