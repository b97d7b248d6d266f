/* shard_types: what the files of a shard know of each other: types and constants; the calls are in shard.h, conn.h, egress.h ...

   Everything here belongs to one shard thread.  Indices instead of pointers where a thing lives in a pool: `conn` indexes shard->conns,
   `sub` shard->subs, `account` shard->accounts; KMY_NONE is no index. */
#ifndef KMY_ENGINE_SHARD_TYPES_H
#define KMY_ENGINE_SHARD_TYPES_H

#include "base/metrics.h"
#include "base/strmap.h"
#include "base/tick.h"
#include "engine/catalog.h"
#include "engine/charges.h"
#include "engine/config.h"
#include "engine/feedlog.h"
#include "engine/feeds.h"
#include "engine/limiter.h"
#include "engine/link.h"
#include "engine/pace.h"
#include "engine/tls.h"
#include "engine/topology.h"
#include "pay/meter.h"
#include "pay/token.h"
#include "wire/flat.h"
#include "wire/http1.h"
#include "wire/http1_wait.h"
#include "wire/json.h"
#include "wire/sse.h"
#include "wire/tick_json.h"
#include "wire/ws.h"
#include "wire/ws_deflate.h"

#include <liburing.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#define KMY_NONE UINT32_MAX

enum {
    KMY_ENC_JSON,
    KMY_ENC_FLAT,
    KMY_ENC_SSE,
    KMY_ENC_JSON_Z, /* JSON through permessage-deflate, where that is shorter */
    KMY_ENCODINGS
};
enum { KMY_SLOW_CONFLATE, KMY_SLOW_DROP, KMY_SLOW_CLOSE };
enum { KMY_DOOR_PUBLIC, KMY_DOOR_ADMIN, KMY_DOORS };

enum {
    KMY_SEND_BYTES_MAX =
        65536, /* of one send: larger ones gain nothing (docs/decisions/delivery.md) */
    KMY_OUT_BYTES_MAX =
        65536, /* own frames a session may have waiting; above it the reader is too slow */
    KMY_PIPELINE_BYTES_MAX =
        262144, /* answers waiting for a client that does not read: no further request is looked at */
    KMY_IN_BYTES_MAX = KMY_HTTP_HEAD_BYTES_MAX + KMY_HTTP_BODY_BYTES_MAX +
                       8192,     /* a request being read, chunk framing included */
    KMY_STAGE_BYTES = 4 << 20,   /* gathered bytes of one submission */
    KMY_SENDS_MAX = 2048,        /* sends in one submission */
    KMY_SEGMENTS_MAX = 16384,    /* pieces in one submission */
    KMY_TLS_OUT_BYTES = 65536,   /* a server's longest flight: its certificate chain, mostly */
    KMY_SCRATCH_BYTES = 8 << 20, /* a response being written; touched pages only */
    KMY_RECV_BUFFERS = 512,      /* power of two */
    KMY_RECV_BYTES = 4096,
    KMY_TICKS_PER_TURN = 256,
    KMY_ECHO_BYTES_MAX = 16 << 20, /* conformance door */
    KMY_CONNS_RESERVE = 64,        /* slots the public door may not take */
    KMY_ACCEPTS_PER_TURN =
        64, /* newcomers between two turns of ticks; the others wait in the kernel's queue */
    KMY_PIPELINE_MAX =
        64, /* answers waiting for a client that pipelines: no further request is looked at */
    KMY_LIMIT_LINES_BYTES = 384,
    KMY_ID_BYTES_MAX = 64, /* a client's request id, echoed as sent */
};

/* Working memory of a shard's thread for what is too large for its stack: one holder at a time each.  No thread-local variables: the C library clears those in
   every thread of the process, used or not. */
typedef enum {
    KMY_ROOM_TICKS,     /* shard.c: out of the ring */
    KMY_ROOM_HEADS,     /* egress_gather.c: next ticks by age */
    KMY_ROOM_SUBSCRIBE, /* stream.c: a subscription from its check until it is done */
    KMY_ROOM_SELECTION, /* stream.c: feeds to be unsubscribed */
    KMY_ROOM_MESSAGE,   /* sse.c: the subscribe message a query string stands for */
    KMY_ROOM_ASKS,      /* query.c: the asks of a batch */
    KMY_ROOMS
} kmy_room_t;
enum { KMY_ROOM_BYTES = 128 << 10 };

/* The life of a connection.  conn.c has the table of who may follow whom. */
typedef enum {
    KMY_CONN_FREE,
    KMY_CONN_HTTP, /* reading requests, answering them */
    KMY_CONN_WS,   /* WebSocket is open: stream or echo */
    KMY_CONN_SSE, /* the body of a stream of server-sent events is under way; what the client sends is dropped */
    KMY_CONN_LINGER, /* our last bytes are queued or sent; waits for the peer's end */
    KMY_CONN_DEAD,   /* shut down; waits for the ring's last completions */
    KMY_CONN_STATES
} kmy_conn_state_t;

/* Bytes that wait to go out ahead of any tick: own frames, responses, the rest of a cut frame. */
typedef struct kmy_out {
    uint32_t begin;
    uint32_t end;
    uint32_t cap;
    uint8_t bytes[];
} kmy_out_t;

/* Bytes that came in and are not consumed yet. */
typedef struct kmy_in {
    uint32_t len;
    uint32_t cap;
    uint32_t head_bytes;    /* of a chunked request whose body is being decoded in place; 0: none */
    uint32_t decoded_bytes; /* payload so far, right behind the head */
    uint32_t chunks_used;   /* input bytes of that request, once its last chunk is through */
    kmy_http_wait_t wait;   /* of the request that stands first */
    kmy_http_chunks_t chunks;
    uint8_t bytes[];
} kmy_in_t;

/* A WebSocket frame or message that is not whole yet. */
typedef struct kmy_ws_in {
    kmy_ws_header_t header;
    kmy_ws_stream_t stream;
    uint64_t got_bytes; /* of the present frame's payload */
    bool in_frame;
    uint8_t message_opcode;
    bool message_compressed;
    uint8_t control[125];
    uint32_t len; /* message so far */
    uint32_t cap;
    uint8_t *message; /* owned */
} kmy_ws_in_t;

typedef struct kmy_catchup kmy_catchup_t;       /* catchup.c */
typedef struct kmy_past kmy_past_t;             /* past.h */
typedef struct kmy_page kmy_page_t;             /* page.h */
typedef struct kmy_body kmy_body_t;             /* body.h */
typedef struct kmy_stream_pay kmy_stream_pay_t; /* stream_pay.c */
typedef struct kmy_grant kmy_grant_t;           /* grant.h */
typedef struct kmy_shard_account kmy_shard_account_t;

typedef struct kmy_conn {
    int fd;
    uint32_t gen; /* rises with each use of the slot: late completions and answers are told apart */
    uint8_t state; /* kmy_conn_state_t */
    uint8_t door;
    uint8_t encoding;
    uint8_t slow_policy;
    bool recv_armed : 1;
    bool recv_paused : 1; /* what came cannot be looked at yet: TCP holds the peer back meanwhile */
    bool poll_armed : 1;  /* waits for POLLOUT */
    bool in_flight : 1;   /* a send is in the present submission */
    bool dirty : 1;       /* in shard->dirty */
    bool parked : 1;      /* input waits for an answer of the keeper */
    bool authenticated : 1;
    bool auth_waits : 1;  /* a token was good, its account is being opened */
    bool paused : 1;      /* out of balance: told, and waiting for money */
    bool starved : 1;     /* waits for a lease */
    bool slow : 1;        /* its socket refused bytes since it last had everything */
    bool slow_warned : 1; /* and was told how far behind it is, or is about to be */
    bool close_sent : 1;
    bool close_got : 1;   /* the peer's close frame came */
    bool peer_ended : 1;  /* the peer ended its side of the connection */
    bool close_after : 1; /* HTTP: close once out is empty */
    bool tls_bye : 1;     /* close_notify was sealed */
    bool echo : 1;
    bool deflate : 1;   /* permessage-deflate was negotiated */
    bool continued : 1; /* 100 Continue was sent for the present request */
    bool answering : 1; /* what is queued now belongs to one answer, whatever its length */
    bool proven : 1;    /* has shown a valid token, or came to the operator's door: no stranger */
    bool stranger : 1;  /* a stream that will count for its address if it ends without a token */
    bool crowded : 1;   /* counted in the limiter's crowd */
    bool counted : 1; /* the present request took a token of its address, which may be given back */
    bool
        rated : 1; /* the present request took one of its token's rate, however often it is looked at */
    bool shaking : 1;     /* TLS handshake in progress */
    bool unpaid_told : 1; /* payment_required was sent, and no tick was paid since */
    bool low_told : 1;    /* the same of low_balance, and the balance did not rise since */
    bool leaving : 1;     /* the daemon drains: no more ticks, its last receipts are on the way */
    bool claiming : 1; /* ticks wait until another shard has given up the session it goes on with */
    bool
        answered : 1; /* what it was parked for is in shard->answer or shard->slip: the parked request takes it */
    uint32_t account;        /* slot */
    uint8_t pipelined;       /* requests answered since the last time everything was sent */
    uint8_t early_count;     /* messages before a token */
    uint16_t early_bytes;    /* and their payload */
    uint32_t waiter_next;    /* in the account's list of parked connections; in the free list */
    uint32_t parked_account; /* whose list; KMY_NONE: parked for an operator's answer */
    uint32_t
        conns_prev; /* in the account's list of its sessions; before a valid token was shown, in the shard's list of strangers */
    uint32_t conns_next;
    uint32_t subs_head;
    uint32_t pending_head; /* subscriptions with something to deliver */
    uint32_t pending_tail;
    uint32_t subs_count;
    uint32_t pass_subs;  /* of them, those that cost nothing: they run on while it is paused */
    uint32_t slow_ticks; /* a slow_reader_warning of so many is due; 0: none */
    kmy_in_t *in;
    kmy_out_t *out;
    kmy_ws_in_t *ws;
    kmy_tls_session_t *tls;     /* NULL: plain; owned */
    kmy_out_t *sealed;          /* ciphertext that waits to go out, ahead of everything; owned */
    kmy_shard_account_t *payer; /* the slot `account`: slots never move; NULL: none */
    int64_t deadline_ns;        /* monotonic; what it means depends on the state; 0: none */
    int64_t blocked_ns;         /* since when the socket takes nothing; 0: it does */
    int64_t sent_ns;            /* last time the socket took bytes */
    int64_t recv_ns;            /* last time bytes came */
    int64_t messages_full_ns;   /* bucket of its messages (limiter.h) */
    int64_t unpaid_ns;          /* since when it is paused */
    int64_t receipt_ns;         /* when its receipts were last made */
    int64_t receipt_asked_ns;   /* and when it asked for them itself */
    uint64_t charged_ticks;     /* of this connection */
    uint64_t after_seq;         /* server-sent events: up to here the client has everything */
    uint64_t jti_hash;
    int64_t token_expires_s;
    struct in6_addr peer;
    uint16_t peer_port;
    uint64_t session[2];    /* its id; 0: none, or ended and kept in the session table */
    kmy_charges_t *charges; /* of the session it went on with; owned; NULL: of none */
    kmy_stream_pay_t *pay;  /* the payment that it brought and that is not decided yet; owned */
    char *scope;            /* of its token: the feeds it may have; owned; NULL: all */
    kmy_catchup_t *catchup; /* while it reads history; owned */
    kmy_past_t *past;       /* the same, for server-sent events; owned */
    kmy_page_t *page;       /* of history, that it waits for; owned */
    kmy_body_t *body;       /* the rest of an answer that goes out in pieces; owned */
    kmy_grant_t *grant; /* what the present request's payment bought for it; owned; NULL: none */
} kmy_conn_t;

/* Where a price is from: the book of then and the customer's discount of then. */
typedef struct kmy_price_of {
    uint32_t book;
    uint8_t discount_percent;
} kmy_price_of_t;

struct kmy_sub {
    uint64_t cursor; /* next offset to deliver */
    int64_t price_nusd;
    int64_t next_price_nusd; /* from offset price_from on */
    uint64_t price_from;     /* 0: no change is due */
    uint32_t conn;
    uint32_t feed;     /* idx in the catalog */
    uint32_t feed_pos; /* in the feed's dense list */
    uint32_t next;     /* in the connection's list; in the free list */
    uint32_t
        pending_next; /* in the connection's pending list, or in the pace wheel: never in both */
    uint32_t pace_prev;
    uint32_t pace_slots; /* max_hz: at least so many slots between two ticks; 0: every tick */
    uint64_t due_slot;   /* not before this slot */
    uint8_t encoding;
    bool pending : 1;
    bool paced : 1;       /* waits in the wheel */
    bool past : 1;        /* has not caught up yet: catchup.h */
    bool past_listed : 1; /* wants a chunk */
    bool repeats : 1;     /* some of what comes was charged to an earlier connection: session.h */
    bool pass : 1;        /* of the plan "pass": price_nusd is 0, and stays so */
    bool skipped : 1;     /* a hole begins at skipped_from: tell before the next tick */
    uint8_t skip_reason;
    uint32_t past_next; /* in the connection's list of those who want a chunk */
    uint64_t skipped_from;
    uint64_t
        run_from; /* [run_from, cursor) was delivered without a hole, and charged now or earlier */
    uint64_t
        receipt_from; /* receipts.h: charged since the last receipt; nothing if receipt_ticks is 0 */
    uint64_t receipt_to;
    uint64_t receipt_ticks;
    int64_t receipt_nusd;
    uint64_t
        told_ticks; /* uses.h: of receipt_ticks, what stands in the account's list or was reported */
    int64_t told_nusd;
    kmy_price_of_t price_of;      /* of price_nusd */
    kmy_price_of_t next_price_of; /* of next_price_nusd */
    kmy_price_of_t
        last_price_of; /* of the one before: what is on its way to the socket may be of that */
    uint64_t past_seq; /* of history: nothing at or behind the cursor lies below this seq */
};

typedef enum {
    KMY_ACCOUNT_FREE,
    KMY_ACCOUNT_OPENING,
    KMY_ACCOUNT_OPEN,
    KMY_ACCOUNT_UNKNOWN
} kmy_account_state_t;

/* A feed that an account may stream for nothing (passes.h). */
typedef struct kmy_pass {
    int64_t expires_ns; /* wall clock */
    uint32_t feed;      /* idx in the catalog */
} kmy_pass_t;

/* What was used and is not reported yet (uses.h). */
typedef struct kmy_uses {
    kmy_use_t *of; /* owned; ordered */
    uint32_t count;
    uint32_t cap;
    uint64_t ticks_count; /* sums of it */
    uint64_t queries_count;
    int64_t nusd;
} kmy_uses_t;

struct kmy_shard_account {
    char name[KMY_ACCOUNT_BYTES_MAX];
    uint32_t gen;
    uint8_t state;        /* kmy_account_state_t */
    bool lease_asked : 1; /* one request at a time */
    bool in_touched : 1;  /* in shard->touched: has something to report */
    bool exhausted : 1;   /* the keeper had nothing left anywhere */
    bool damaged : 1;     /* ... or could not read what there is: money would not help */
    bool
        recalled : 1; /* another shard is short, and the queue was full when that was to be answered */
    bool open_sent : 1;       /* OPEN reached the queue */
    uint8_t discount_percent; /* of its stake, off every price (discount.h) */
    uint64_t id;
    kmy_lease_t lease;
    kmy_uses_t uses;        /* owned */
    int64_t free_nusd;      /* at the keeper, as last told */
    int64_t elsewhere_nusd; /* leased to other shards, as last told */
    int64_t
        retry_nusd; /* a lease of so much that no room was to ask for: at the next housekeeping; 0: none */
    int64_t rate_nusd_s; /* spending rate of the last report periods */
    int64_t low_nusd;    /* a lease below it is filled up: half of what the rate wants */
    int64_t watch_nusd;  /* low_nusd; while it is not in_touched, above any lease */
    int64_t report_ns;   /* monotonic time of the last report */
    int64_t looked_ns;   /* when the balance was last held against the rate between reports */
    int64_t leased_ns;   /* the same of the last lease; 0: none yet */
    int64_t idle_ns;     /* since when nobody uses it; 0: somebody does */
    uint64_t stake;      /* whole tokens, as last told */
    int64_t
        stake_due_ns; /* when it is asked for again; INT64_MAX: it is being asked for, or never */
    uint32_t conns_head; /* sessions */
    uint32_t conns_count;
    uint32_t waiters_head; /* parked connections */
    uint32_t waiters_tail;
    uint32_t next_free;
    kmy_pass_t *passes; /* owned */
    uint32_t passes_count;
    uint32_t passes_cap;
};

/* The newest of one source. */
typedef struct kmy_source_last {
    kmy_tick_t last; /* of any kind; offset 0: none yet */
    kmy_tick_t last_quote;
} kmy_source_last_t;

/* What a shard keeps of one feed. */
typedef struct kmy_shard_feed {
    kmy_tick_t last;              /* newest of any kind; offset 0: none yet */
    kmy_tick_t last_quote;        /* newest that has bid and ask */
    kmy_source_last_t *of_source; /* by position in feed->sources; NULL: it has but one; owned */
    kmy_feedlog_t log[KMY_ENCODINGS];
    kmy_tick_json_t json;
    kmy_flat_t flat;
    uint32_t *subs; /* dense list; owned */
    uint32_t subs_count;
    uint32_t subs_cap;
    bool touched;    /* has new ticks in this turn */
    bool told_stale; /* what was last said in a status frame */
} kmy_shard_feed_t;

/* One piece of one gathered send; kmy_egress_complete walks them. */
typedef enum {
    KMY_SEG_OUT,
    KMY_SEG_OWN,
    KMY_SEG_TICKS,
    KMY_SEG_SEALED, /* a fresh record in the stage */
    KMY_SEG_RESEND, /* ciphertext from the connection's queue */
} kmy_segment_kind_t;
typedef struct kmy_segment {
    uint8_t kind;
    uint32_t sub;
    uint32_t bytes;
    uint32_t ticks;
    bool past;           /* TICKS: of the connection's chunk, not of the live log */
    bool free_of_charge; /* TICKS: charged to an earlier connection */
    bool pass;           /* TICKS: by a pass */
    uint64_t from;       /* TICKS: first offset; OWN: where in the stage */
    int64_t price_nusd;  /* TICKS: of each */
} kmy_segment_t;

typedef struct kmy_send {
    uint32_t conn;
    uint32_t bytes;
    uint32_t segments_begin;
    uint32_t segments_count;
} kmy_send_t;

enum {
    KMY_GAP_CONFLATED,
    KMY_GAP_DROPPED,
    KMY_GAP_HISTORY,
    KMY_GAP_EPOCH,
    KMY_GAP_SOURCE,
    KMY_GAPS
}; /* reasons of a hole */

typedef struct kmy_revoked {
    char jti[KMY_JTI_BYTES_MAX];
    int64_t expires_s;
} kmy_revoked_t;

typedef struct kmy_receipt_due kmy_receipt_due_t;     /* receipts.c */
typedef struct kmy_session_table kmy_session_table_t; /* session_table.h */
typedef struct kmy_roster kmy_roster_t;               /* roster.h */
enum { KMY_ROSTER_WAITERS_MAX = 16 };
typedef struct kmy_roster_waiter {
    uint32_t conn;
    uint32_t gen;
    unsigned wanted;
} kmy_roster_waiter_t;

typedef struct kmy_shard_options {
    uint32_t index;
    int cpu;                  /* to pin to; -1: not */
    int listen_fd[KMY_DOORS]; /* owned from here on; -1: none */
    const kmy_config_t *config;
    uint32_t price_book; /* the ledger's version of its prices */
    const kmy_catalog_t *catalog;
    kmy_topology_t *topology;
    kmy_feeds_t *_Atomic const *feeds; /* set once the shards are up */
    const kmy_tick_t *
        last; /* feeds_count: newest tick per feed from the store; offset 0: none.  Borrowed until started */
    const kmy_tick_t *last_quote;
    const char *epoch;
    const kmy_revoked_t *revoked; /* tokens revoked in earlier lives; borrowed until started */
    size_t revoked_count;
    kmy_token_key_t *_Atomic const
        *token_keys;                 /* the present table; an operator's rotation stores another */
    const char *admin_token;         /* bearer of the operator verbs */
    const struct kmy_offers *offers; /* offers.h; of all shards; borrowed */
    const kmy_receipt_public_t *receipt_key; /* borrowed */
    kmy_metrics_t *metrics;                  /* this shard's own */
    kmy_metrics_t *const *all_metrics;       /* for the page */
    size_t all_metrics_count;
    kmy_roster_t *roster;
    kmy_session_table_t *sessions;
    kmy_limiter_t *limiter;        /* of all shards; borrowed */
    kmy_tls_t *tls;                /* of the public door; NULL: plain */
    _Atomic uint32_t *public_open; /* connections at the public door, of all shards together */
    bool conformance_echo;
    int64_t start_mono_ns;
} kmy_shard_options_t;

/* What matters of a completion. */
typedef struct kmy_cqe {
    uint64_t data;
    int32_t res;
    uint32_t flags;
} kmy_cqe_t;

struct kmy_shard {
    kmy_shard_options_t o;
    const kmy_config_t
        *config; /* own_config: what may change while it runs changes between two turns */
    const kmy_catalog_t *catalog; /* own_catalog: prices are this shard's, all else is shared */
    kmy_config_t own_config;
    kmy_catalog_t own_catalog;
    uint32_t price_book;             /* version of the prices in force */
    const struct kmy_reload *reload; /* the one taken over last; NULL: as at the start */
    kmy_metrics_t *metrics;
    kmy_ring_t *ring;
    kmy_queue_t *asks;
    kmy_queue_t *tells;
    kmy_queue_t *history_asks;
    kmy_queue_t *history_answers;
    kmy_history_chunk_t *chunks; /* KMY_HISTORY_CHUNKS */
    uint32_t chunks_free;        /* a bit each */
    uint32_t catchup_head;       /* connections that want to ask for history, in order */
    uint32_t catchup_tail;
    kmy_queue_t *slip_asks;
    kmy_queue_t *slip_answers;
    kmy_slip_t *slips;                   /* KMY_SLIPS */
    uint64_t slips_free[KMY_SLIPS / 64]; /* a bit each */
    uint64_t slips_sent[KMY_SLIPS / 64]; /* a bit each: with the cashier */
    uint32_t past_head; /* connections that want to ask for history by seq, in order */
    uint32_t past_tail;
    uint32_t past_busy;  /* of their asks, how many are under way */
    uint32_t pages_head; /* connections that wait for a page of history, in order */
    uint32_t pages_tail;
    uint32_t pages_busy; /* chunks that are under way for such pages */
    uint32_t pages_back; /* of them, those whose answer is here, a bit each */
    kmy_wake_t *wake;
    kmy_token_key_t *token_key; /* of o.token_keys, as of this turn; borrowed */

    struct io_uring uring;
    struct io_uring_buf_ring *recv_ring;
    uint8_t *recv_mem;
    kmy_cqe_t *deferred; /* completions that came while sends were awaited */
    uint32_t deferred_count;

    kmy_conn_t *conns;
    uint32_t *dying; /* killed in this turn: released when nobody looks at them any more */
    uint32_t dying_count;
    uint32_t conns_max;
    uint32_t conns_high; /* slots ever used */
    uint32_t conns_free; /* list through waiter_next */
    uint32_t conns_count;
    uint32_t strangers_head; /* connections that have shown no valid token, oldest first */
    uint32_t strangers_tail;
    kmy_sub_t *subs;
    uint32_t subs_max;
    uint32_t subs_high;
    uint32_t subs_free;
    uint32_t subs_count;
    kmy_shard_account_t *accounts;
    uint32_t accounts_max;
    uint32_t accounts_high;
    uint32_t accounts_free;
    kmy_strmap_t account_names;
    kmy_strmap_t revoked; /* jti -> expiry in s */
    uint32_t *touched;    /* accounts with something to report */
    uint32_t touched_count;
    kmy_receipt_due_t *receipts; /* wait for the keeper; owned */
    uint32_t receipts_count;
    uint32_t receipts_cap;
    uint32_t receipts_open; /* asked for, not answered yet */
    bool
        head_only; /* the present request is a HEAD: it is given no body, so it is charged nothing */
    bool keeper_due;          /* asks were queued for which the keeper was not woken yet */
    const kmy_tell_t *answer; /* to the request that is being resumed */
    kmy_slip_t
        *slip; /* the same of the cashier; NULL: it is resumed for another reason (slips.h) */

    kmy_shard_feed_t *feeds; /* by catalog idx */
    kmy_feedlog_limits_t log_limits;
    uint32_t *touched_feeds;
    uint32_t touched_feeds_count;
    kmy_pace_t pace; /* subscriptions with max_hz that wait */
    uint64_t ring_cursor;
    uint64_t ring_lost;

    uint32_t
        *dirty; /* connections with something to send; the two lists change places each flush */
    uint32_t *dirty_next;
    uint32_t dirty_count;
    uint32_t *starving; /* sessions that ran out of lease in this flush */
    uint32_t starving_count;
    uint8_t *stage;
    uint32_t stage_used;
    kmy_send_t *sends;
    uint32_t sends_count;
    kmy_segment_t *segments;
    uint32_t segments_count;
    int64_t
        consumed_nusd; /* of the present submission, as are the next two: counted when it is over */
    uint64_t delivered_ticks;
    uint64_t delivered_bytes;
    uint32_t *drained; /* connections of the present submission that have sent all they had */
    uint32_t drained_count;

    uint8_t *rooms; /* KMY_ROOMS of KMY_ROOM_BYTES; touched pages only */
    char *scratch;
    kmy_ws_deflate_t *deflate; /* NULL: not offered to anybody */
    uint8_t *inflated;         /* KMY_ECHO_BYTES_MAX: the message being read; touched pages only */
    uint8_t *tls_plain;        /* what one call opened: a record */
    uint8_t *tls_out;          /* what the handshake wants to say */
    char
        limit_lines[KMY_LIMIT_LINES_BYTES]; /* header lines for the answer to the present request */
    char date[40];                          /* IMF-fixdate of now, for the Date header */
    int64_t date_s;
    int64_t now_ns; /* monotonic, once per turn */
    int64_t now_wall_ns;
    int64_t housekeep_ns; /* when it is due */
    int64_t
        passes_end_ns; /* wall clock: no pass of the accounts here ends before; 0: there is none */
    int64_t status_ns; /* the same for status frames */
    int64_t accept_told_ns; /* when it was last logged that no descriptors are left; 0: never */
    uint8_t
        accepts_due; /* doors whose accept ended without one, by bit: armed again at the next housekeeping */
    uint32_t scan_at;     /* where the slice scan of connections stands */
    uint32_t discount_at; /* the same of accounts whose stake is to be asked for again */

    unsigned roster_seen;
    uint32_t roster_waiters_count;
    kmy_roster_waiter_t roster_waiters[KMY_ROSTER_WAITERS_MAX];

    uint64_t session_seed[2];
    _Atomic int phase;       /* kmy_shard_phase_t */
    bool stopping;           /* the phase is DRAIN, and that was begun */
    bool quiet;              /* topology->quiet, as last looked at */
    int64_t quiet_ns;        /* when those who are to go are looked at again */
    int64_t drain_ns;        /* when the drain began */
    int64_t drain_window_ns; /* over which closes are spread */
    uint32_t
        drain_left; /* streams in slots below it get no more ticks: their last receipts are on the way */
    uint32_t drain_at;   /* slots below it have been closed */
    uint32_t drain_high; /* slots that were in use when it began */
    pthread_t thread;
    sem_t *started;
    kmy_err_t start_err;
    kmy_errctx_t start_ctx;
};

typedef enum { KMY_PHASE_RUN, KMY_PHASE_DRAIN, KMY_PHASE_STOPPED } kmy_shard_phase_t;

/* io_uring user_data: what came back. */
typedef enum {
    KMY_OP_ACCEPT = 1,
    KMY_OP_RECV,
    KMY_OP_POLL,
    KMY_OP_SEND,
    KMY_OP_WAKE,
    KMY_OP_CANCEL
} kmy_op_t;
static inline uint64_t kmy_op_pack(kmy_op_t op, uint32_t gen, uint32_t idx)
{
    return (uint64_t)op << 56 | (uint64_t)(gen & 0xffffff) << 32 | idx;
}
static inline kmy_op_t kmy_op_of(uint64_t data)
{
    return (kmy_op_t)(data >> 56);
}
static inline uint32_t kmy_op_gen(uint64_t data)
{
    return (uint32_t)(data >> 32) & 0xffffff;
}
static inline uint32_t kmy_op_idx(uint64_t data)
{
    return (uint32_t)data;
}

/* Is it a stream of ours, by whichever transport? */
static inline bool kmy_conn_streams(const kmy_conn_t *c)
{
    return c->state == KMY_CONN_SSE || (c->state == KMY_CONN_WS && !c->echo);
}

static inline void *kmy_shard_room(const kmy_shard_t *s, kmy_room_t room)
{
    return s->rooms + (size_t)room * KMY_ROOM_BYTES;
}

static inline kmy_conn_t *kmy_conn_at(kmy_shard_t *s, uint32_t idx)
{
    return &s->conns[idx];
}
static inline uint32_t kmy_conn_idx(const kmy_shard_t *s, const kmy_conn_t *c)
{
    return (uint32_t)(c - s->conns);
}

#endif
