/* tick 1/8   in: adapters/feed_ws   out: adapters/feed_ws

   What the files of feed_ws share; included by them alone.

     loop  one thread's libwebsockets context
      `- upstream (kmy_feed_ws)  one venue: its URL, its certificate store, its streams
          `- link  up to streams_max of the streams; more streams, more links
              `- leg 0, leg 1  sockets; one delivers, the other is idle or takes over (rollover)

   feed_ws.c   the loop and the public calls
   feed_dial.c URL, name, TLS store, connect
   feed_io.c   libwebsockets' callback: bytes to frames to quotes
   feed_leg.c  events to actions: subscribe, answers, loss, takeover
   feed_roll.c rollover: which leg delivers what, and the takeover
   feed_clock.c  everything that happens because time passes */
#ifndef KMY_ADAPTERS_FEED_INNER_H
#define KMY_ADAPTERS_FEED_INNER_H

#include "adapters/feed_state.h"
#include "adapters/feed_ws.h"
#include "adapters/sources.h"
#include "base/limits.h"
#include "base/strmap.h"

#include <libwebsockets.h>
#include <netdb.h>

#define KMY_UPSTREAMS_MAX       16
#define KMY_HOST_BYTES_MAX      96  /* libwebsockets cuts a Host header at 127 */
#define KMY_TARGET_BYTES_MAX    768 /* and a request line at 2,047 */
#define KMY_MALFORMED_RUN_MAX   64 /* so many bad frames with no good one between: not our protocol */
#define KMY_UPSTREAM_READ_BYTES 65536
/* What one leg may take of a turn; then the others have theirs and the batch is published. */
#define KMY_TURN_BYTES          262144
#define KMY_TURN_RECORDS        4096

typedef enum { KMY_STREAM_WANTED, KMY_STREAM_ASKED, KMY_STREAM_ACKED } kmy_stream_state_t;

typedef struct kmy_leg_stream {
    uint64_t seq;     /* the last this leg brought; 0: none */
    uint32_t request; /* ASKED: by which request */
    kmy_stream_state_t state;
    bool handed; /* rollover, on the heir: this stream is taken from it now */
} kmy_leg_stream_t;

typedef struct kmy_leg {
    struct kmy_link *link;
    struct lws *wsi; /* NULL: no socket */
    kmy_upstream_state_t state;
    int64_t since_ns;
    int64_t wake_ns;           /* BACKOFF, MISCONFIGURED: when to try again */
    struct kmy_lookup *lookup; /* DIALING: a name that is being resolved */
    char fault[96];            /* DIALING: what TLS said about the certificate */

    kmy_leg_stream_t *streams; /* as many as the link has; owned */
    uint32_t wanted_count, asked_count;
    uint32_t request;      /* the last one made, from 1 */
    int64_t progress_ns;   /* asked_count > 0: last request or answer */
    uint32_t list_request; /* 0: no question open */
    int64_t list_ns;
    bool list_wanted;
    bool ping_wanted;
    int64_t send_ns; /* no message before */

    int64_t up_ns, byte_ns, ping_ns;
    int64_t first_data_ns, last_data_ns;
    int64_t roll_ns;     /* when to be replaced */
    uint64_t stamp_turn; /* recv_ns and mono_ns belong to this read */
    int64_t recv_ns, mono_ns;
    bool stamps_by_read; /* TLS: the socket's own read takes them */
    bool dry;            /* TLS: the last read of the socket found nothing */

    char *assembly; /* KMY_UPSTREAM_FRAME_BYTES_MAX; owned */
    size_t assembly_len;
    bool assembling;
    uint32_t malformed_run;
} kmy_leg_t;

/* A quote of the heir that the old leg may still bring: kept until it does, or until the heir takes over. */
typedef struct kmy_held {
    kmy_quote_t quote; /* its key leads to the copy below */
    char key[KMY_STREAM_BYTES_MAX];
    int64_t recv_ns, mono_ns;
    uint32_t i; /* the link's stream */
} kmy_held_t;

/* More than that ahead of the old leg, and the heir takes over at once: four seconds of the busiest recorded minute of one symbol. */
#define KMY_HELD_MAX 1024

typedef struct kmy_link {
    struct kmy_feed_ws *up;
    kmy_leg_t legs[2];
    uint8_t main; /* the leg that counts */
    bool lost;    /* data may have been missed; the next connection says so */
    bool ever_up;
    bool roll_wanted; /* the venue says so */
    bool alarmed;     /* the operator was told of the 401 */
    kmy_backoff_t backoff;
    uint32_t first, count; /* its streams among the upstream's */
} kmy_link_t;

struct kmy_feed_ws {
    kmy_feed_ws_loop_t *loop;
    kmy_source_row_t row; /* the table's, with the options' changes */
    const kmy_dialect_t *dialect;
    kmy_feed_ws_options_t options; /* its pointers lead to the copies below */
    bool tls, micros;
    char host[KMY_HOST_BYTES_MAX];
    char authority[KMY_HOST_BYTES_MAX + 8]; /* host, and the port unless it is the scheme's own */
    int port;
    char target[KMY_TARGET_BYTES_MAX];
    char *secret; /* owned, wiped */
    struct ssl_ctx_st *tls_ctx;
    struct lws_vhost *vhost;
    uint32_t address_turn; /* which of a name's addresses is tried next */

    char **names; /* owned */
    size_t names_count;
    int64_t *data_ns;                      /* per stream: last data; 0: none yet */
    int64_t *checked_ns;                   /* per stream: the venue said it is subscribed */
    bool *silent;                          /* per stream: the log was told */
    kmy_strmap_t keys;                     /* payload key -> row of streams_of */
    uint32_t (*streams_of)[KMY_SEQ_COUNT]; /* UINT32_MAX: none */
    uint32_t keys_count;
    char key_before[KMY_STREAM_BYTES_MAX]; /* the lookup before: bursts are of one symbol */
    uint32_t key_before_len, key_before_row;

    kmy_link_t *links;
    uint32_t links_count;
    kmy_connect_budget_t *budget; /* the host's, in the loop */
    uint64_t connects_count, frames_count;
    uint64_t turn_frames, turn_bytes; /* not yet in the metrics */
    char last_error[192];
};

typedef struct kmy_host {
    char name[KMY_HOST_BYTES_MAX];
    kmy_connect_budget_t budget;
} kmy_host_t;

struct kmy_feed_ws_loop {
    struct lws_context *lws;
    lws_sorted_usec_list_t sul; /* bounds the wait of a turn */
    kmy_feed_ws_t *ups[KMY_UPSTREAMS_MAX];
    size_t ups_count;
    kmy_host_t hosts[KMY_UPSTREAMS_MAX];
    size_t hosts_count;
    kmy_link_t *rolling; /* one rollover at a time; NULL: none */
    kmy_held_t *held;    /* KMY_HELD_MAX, of the link that rolls; owned */
    uint32_t held_count;
    bool held_lost; /* there was no room */
    uint64_t turn;
    size_t frames, bytes; /* of this turn */
    bool busy;            /* TLS holds more than a turn may take */
    int64_t clock_ns;     /* when kmy_link_clock has to look again */
    int closing_count;    /* sockets that say goodbye */
    uint64_t random;
    char request[LWS_PRE + 256 + KMY_SOURCE_BATCH_MAX * (KMY_STREAM_BYTES_MAX + 3)];
};

/* feed_dial.c */
kmy_err_t kmy_dial_url(kmy_feed_ws_t *up, const char *url, kmy_errctx_t *ctx);
kmy_err_t kmy_dial_tls(kmy_feed_ws_t *up, const char *ca_file, kmy_errctx_t *ctx);
void kmy_dial(kmy_leg_t *leg, int64_t now_ns);      /* resolves, then connects */
void kmy_dial_look(kmy_leg_t *leg, int64_t now_ns); /* is the name resolved? */
void kmy_dial_forget(kmy_leg_t *leg);

/* feed_io.c */
extern const struct lws_protocols kmy_io_protocols[];
bool kmy_io_drain(kmy_leg_t *leg); /* what TLS has read but not given yet; true: there is more */
void kmy_io_release(kmy_leg_t *leg, bool politely);

/* feed_leg.c */
void kmy_leg_event(kmy_leg_t *leg, kmy_upstream_event_t event, int64_t now_ns);
/* The event, and what to tell the operator. */
__attribute__((format(printf, 4, 5))) void kmy_leg_lost(kmy_leg_t *leg, kmy_upstream_event_t event,
                                                        int64_t now_ns, const char *fmt, ...);
void kmy_leg_control(kmy_leg_t *leg, const kmy_control_t *control, int64_t now_ns);
bool kmy_leg_send(kmy_leg_t *leg, int64_t now_ns); /* the socket is writable; false: it broke */
bool kmy_leg_has_words(const kmy_leg_t *leg);
void kmy_leg_limited(kmy_leg_t *leg, int64_t wait_ns, int64_t now_ns, const char *why);
void kmy_link_takeover(kmy_link_t *link, int64_t now_ns);
bool kmy_link_turn_of(kmy_leg_t *leg, uint32_t i,
                      const kmy_quote_t *q); /* rollover: true: deliver it */

/* feed_clock.c */
void kmy_link_clock(kmy_link_t *link, int64_t now_ns);

static inline kmy_leg_t *kmy_leg_other(kmy_leg_t *leg)
{
    return &leg->link->legs[leg == &leg->link->legs[0]];
}
static inline bool kmy_leg_is_main(const kmy_leg_t *leg)
{
    return leg == &leg->link->legs[leg->link->main];
}
static inline bool kmy_leg_is_up(const kmy_leg_t *leg)
{
    return leg->state == KMY_UP_SUBSCRIBING || leg->state == KMY_UP_LIVE;
}
uint64_t kmy_loop_random(kmy_feed_ws_loop_t *loop);

#endif
