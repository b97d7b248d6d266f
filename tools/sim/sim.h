/* sim: what the parts of the simulator know of each other: one process, one thread, three doors (venues), connections behind them.

   A connection is owned by the loop in server.c; others hold pointers for the length of a call.  Every wait is in epoll; nothing blocks. */
#ifndef KMY_SIM_SIM_H
#define KMY_SIM_SIM_H

#include "tools/sim/options.h"
#include "tools/sim/source.h"
#include "tools/sim/tls.h"
#include "tools/sim/trouble.h"
#include "wire/http1.h"
#include "wire/ws.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define SIM_CLIENT_MESSAGE_BYTES_MAX                                                               \
    (1u << 20)                       /* Hermes' cap; Binance's control messages are far below */
#define SIM_BINANCE_STREAMS_MAX 1024 /* per connection */
#define SIM_HISTORY_FRAMES      64   /* kept for the trouble "repeat" */
#define SIM_HISTORY_BYTES       1024 /* longer frames are not kept */
#define SIM_STAMPS_MAX          64

typedef struct sim sim_t;
typedef struct sim_conn sim_conn_t;
typedef struct sim_venue sim_venue_t;

/* How a connection stands; only sim_conn_go changes it. */
typedef enum {
    SIM_CONN_TLS,     /* handshake under way */
    SIM_CONN_HTTP,    /* waiting for a request head */
    SIM_CONN_OPEN,    /* WebSocket */
    SIM_CONN_CLOSING, /* what is queued still goes out, then FIN */
    SIM_CONN_FROZEN,  /* half-open or hung: out of epoll */
    SIM_CONN_DEAD     /* freed at the end of this turn */
} sim_conn_state_t;

/* Options of one subscribed stream. */
enum { SIM_SUB = 1, SIM_SUB_VERBOSE = 2, SIM_SUB_BINARY = 4, SIM_SUB_LATE = 8 };

struct sim_conn {
    sim_t *sim;
    sim_venue_t *venue;
    sim_conn_t *next;
    uint64_t id;
    int fd;
    SSL *ssl; /* NULL: plain */
    sim_conn_state_t state;
    bool want_write; /* registered for EPOLLOUT */
    bool is_ready;   /* finished TLS, HTTP and upgrade at least once */
    uint8_t *in;     /* unread bytes of the client, owned */
    size_t in_len, in_cap;
    uint8_t *out; /* unsent bytes out[out_at..out_len), owned */
    size_t out_at, out_len, out_cap;
    uint8_t *message; /* fragments of a client message, owned */
    size_t message_len, message_cap;
    kmy_ws_stream_t ws;

    uint8_t *subs;        /* per stream of the venue: SIM_SUB... ; owned */
    size_t subs_known;    /* streams of the venue that are subscribed */
    sim_streams_t wanted; /* Binance: names ever asked for, also unknown ones */
    bool *wanted_on;      /* per name of wanted: subscribed now; owned */
    size_t wanted_cap, wanted_count;
    bool combined, micro;
    bool has_begun;      /* max speed: its cursor runs */
    sim_cursor_t cursor; /* max speed only */
    uint64_t cursor_given;

    int64_t born_ns, ping_ns, pong_due_ns; /* pong_due_ns 0: no ping outstanding */
    int64_t stamps[SIM_STAMPS_MAX];        /* of the last messages, for the rate rule */
    uint32_t stamps_at;
    int64_t ping_first_ms, ping_last_ms; /* Binance's payloads that are not answered yet */
    size_t
        credit_bytes;   /* of the trouble huge: allowed above the queue's limit until it is empty */
    int64_t trickle_ns; /* next time a trickle may write */
    int64_t close_ns;   /* SIM_CONN_CLOSING ends by then at the latest */

    uint8_t *held; /* reorder: the frame that waits for its successor; owned; held_len 0: none */
    size_t held_len, held_cap;
    int64_t held_ns;  /* since when */
    uint8_t *history; /* SIM_HISTORY_FRAMES x SIM_HISTORY_BYTES, owned, made with the first frame */
    uint16_t history_len[SIM_HISTORY_FRAMES];
    uint64_t history_count;

    uint64_t frames, bytes, messages, pings, pongs, subscribes;
};

typedef struct sim_active {
    bool on;
    int64_t until_ns; /* INT64_MAX: until clear */
    uint64_t left;    /* 0: no matter how many */
    sim_trouble_t what;
} sim_active_t;

typedef struct sim_stream_stat {
    uint64_t frames, last_id;
} sim_stream_stat_t;

struct sim_venue {
    const char *name;
    int which; /* SIM_BINANCE ... */
    int fd;    /* listening; -1: closed */
    struct sockaddr_storage addr;
    socklen_t addr_len;
    char url[96];

    sim_streams_t streams;
    sim_tape_t tape;
    sim_market_t market;
    sim_source_t source;
    sim_cursor_t timeline; /* shared; unused with speed max */
    bool has_begun, has_ended;
    int64_t begun_ns, begun_wall_us;
    sim_stream_stat_t *stats; /* per stream; owned */

    sim_active_t active[SIM_TROUBLE_KINDS];
    unsigned active_count; /* of them on; 0: the short way */
    uint64_t held_open;    /* connections now */
    uint64_t accepted, refused, slow_cut, frames, bytes, messages, subscribes, pings, pongs;
    int64_t connect_ns[4096]; /* Binance's 300 in 5 minutes, a ring */
    uint32_t connect_at;
    int64_t second_ns; /* Hermes' bytes of this second */
    uint64_t second_bytes;
};

typedef struct sim_script sim_script_t;

struct sim {
    sim_options_t o;
    sim_tls_t tls;
    sim_venue_t venues[SIM_VENUES];
    sim_conn_t *conns;
    size_t conns_count;
    uint64_t next_id;
    int epoll;
    int64_t start_ns, now_ns, timers_ns;
    bool stop;
    bool has_dead; /* connections to free at the end of the turn */
    sim_script_t *script;
};

/* conn.c: bytes in and out. */
sim_conn_t *sim_conn_new(sim_t *sim, sim_venue_t *venue, int fd);
void sim_conn_free(sim_conn_t *c);
void sim_conn_go(sim_conn_t *c, sim_conn_state_t state);
void sim_conn_readable(sim_conn_t *c);
/* Writes what the socket takes.  Frozen, mute and trickling connections keep theirs. */
void sim_conn_flush(sim_conn_t *c);
/* Room for len more bytes behind out_len; NULL: out of memory, and the connection is dead. */
uint8_t *sim_conn_room(sim_conn_t *c, size_t len);
void sim_conn_reset(sim_conn_t *c); /* RST */
void sim_conn_drop(sim_conn_t *c);  /* FIN without a word */
size_t sim_conn_queued(const sim_conn_t *c);

/* speak.c: HTTP answers, WebSocket messages in, frames out. */
void sim_http_answer(sim_conn_t *c, int status, const char *extra_headers, const char *type,
                     const char *body, size_t len);
void sim_http_input(sim_conn_t *c);
void sim_ws_input(sim_conn_t *c);
void sim_ws_send(sim_conn_t *c, int opcode, const void *payload, size_t len);
void sim_ws_close(sim_conn_t *c, int code, const char *reason);
/* A text answer to a request; the trouble noack keeps it back. */
void sim_ws_reply(sim_conn_t *c, const char *text, size_t len);

/* door.c: what a request is answered before it is a stream. */
void sim_door_request(sim_conn_t *c, const kmy_http_request_t *req);

/* binance.c, hermes.c: the two dialects. */
bool sim_binance_open(sim_conn_t *c, const kmy_http_request_t *req); /* false: path unknown, 404 */
void sim_binance_message(sim_conn_t *c, const char *text, size_t len);
bool sim_binance_within_rate(sim_conn_t *c);
void sim_hermes_message(sim_conn_t *c, const char *text, size_t len);
bool sim_hermes_authorized(const sim_conn_t *c, const kmy_http_request_t *req);
/* Takes len bytes from Hermes' budget of this second; false: over it, and the connection was told and closed. */
bool sim_hermes_within_bytes(sim_conn_t *c, size_t len);

/* deliver.c: one event to one connection, troubles applied; repeat and held frames. */
void sim_deliver(sim_conn_t *c, const sim_event_t *ev);
void sim_deliver_held(sim_conn_t *c);
void sim_deliver_repeat(sim_conn_t *c, uint64_t count);

/* pump.c: the timelines. */
void sim_pump_subscribed(sim_conn_t *c); /* a subscription was made */
void sim_pump(sim_t *sim);
/* When the next frame is due, monotonic; INT64_MAX: never. */
int64_t sim_pump_due_ns(const sim_t *sim);

/* mischief.c: troubles at work. */
size_t sim_mischief_do(sim_t *sim, const sim_trouble_t *t); /* connections it met */
/* The active trouble of that kind that meets c; NULL: none. */
sim_active_t *sim_mischief_on(sim_conn_t *c, sim_trouble_kind_t kind);
sim_active_t *sim_mischief_at_door(sim_venue_t *v, sim_trouble_kind_t kind);
void sim_mischief_used(sim_active_t *a); /* one of its count */
void sim_mischief_timers(sim_t *sim);
void sim_lifetime_over(sim_conn_t *c);

/* control.c */
void sim_control_request(sim_conn_t *c, const kmy_http_request_t *req, const char *body);

/* script.c */
kmy_err_t sim_script_load(const char *path, sim_script_t **out, kmy_errctx_t *ctx);
void sim_script_run(sim_t *sim);
void sim_script_free(sim_script_t *script);

/* server.c */
kmy_err_t sim_server_open(sim_t *sim, kmy_errctx_t *ctx);
kmy_err_t sim_server_listen(sim_venue_t *v, sim_t *sim, kmy_errctx_t *ctx);
void sim_server_unlisten(sim_venue_t *v, sim_t *sim);
void sim_server_run(sim_t *sim);
void sim_server_close(sim_t *sim);

/* ctl.c */
int sim_ctl(int argc, char **argv);

#endif
