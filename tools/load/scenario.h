/* scenario: what a load test is made of, as read from YAML (docs/kamiyo-load.md has every key). */
#ifndef KMY_TOOLS_LOAD_SCENARIO_H
#define KMY_TOOLS_LOAD_SCENARIO_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LOAD_GROUPS_MAX = 16,
    LOAD_AGENTS_MAX = 100000,
    LOAD_FEEDS_MAX = 1000, /* symbols of one simulated market; a Binance stream takes 1,024 */
    LOAD_BATCH_MAX = 100,  /* items of one batch: the daemon's limit */
    LOAD_NAME_BYTES_MAX = 64,
};

typedef enum { LOAD_STREAM, LOAD_QUERY, LOAD_BATCH, LOAD_KINDS } load_kind_t;
typedef enum { LOAD_SAME_SET, LOAD_RANDOM_SET, LOAD_ZIPF_SET, LOAD_EVEN_SET } load_pick_t;
/* How the number of an agent's feeds is spread between feeds_min and feeds: all alike, evenly, or most have few. */
typedef enum { LOAD_FIXED, LOAD_UNIFORM, LOAD_ZIPF } load_spread_t;
typedef enum {
    LOAD_JSON,
    LOAD_FLAT,
    LOAD_ENCODINGS,
    LOAD_MIXED = LOAD_ENCODINGS, /* every other agent of the group: JSON, FlatBuffers, JSON ... */
} load_encoding_t;

/* One part of the mix. */
typedef struct load_group {
    load_kind_t kind;
    uint32_t share;     /* weight among all groups */
    uint32_t feeds;     /* how many: subscriptions of a stream agent, items of a batch; the most */
    uint32_t feeds_min; /* the least; 0: as many as `feeds` */
    load_spread_t spread;
    load_pick_t pick; /* which */
    double zipf_s;    /* exponent; popular feeds come first */
    load_encoding_t encoding;
    char slow_reader[16];           /* "conflate", "drop", "close" */
    bool slow;                      /* judged apart: not part of the percentiles */
    bool stays;                     /* no storm cuts it */
    uint64_t read_bytes_per_s;      /* of a slow agent; 0: it never reads once subscribed */
    char feed[LOAD_NAME_BYTES_MAX]; /* of a query agent; "": the market's first */
    int64_t think_min_ns;
    int64_t think_max_ns;
} load_group_t;

typedef struct load_bars {
    double p50_ms, p99_ms, p999_ms; /* 0: not judged; likewise the others */
    double query_p99_ms;
    double slow_warned_min;
    double back_p99_ms; /* from the dial to "subscribed" */
    double cpu_us_per_delivery;
    double rss_mib;
    double delivered_min;
    double delivered_per_s_min;
    double lost, miscounted, errors; /* at most; 0 is a bar as well */
} load_bars_t;

typedef struct load_scenario {
    char name[LOAD_NAME_BYTES_MAX];
    char about[256];
    uint32_t agents;
    double ramp_per_s; /* 0: all at once */
    int64_t duration_ns;
    int64_t settle_ns; /* between the last agent's arrival and the first measured second */
    char balance[32];  /* USD minted for each account */
    uint32_t accounts; /* shared by the agents in turn; 0: each has its own */
    bool
        spend; /* all of the balance is to be spent: no error if it ends, an error if not to the last tick */
    uint32_t shards; /* of the daemon that is started */
    bool tls;        /* that daemon's public door */
    uint64_t seed;
    /* market */
    uint32_t market_feeds;
    double ticks_per_s; /* of each feed */
    char stream[16]; /* aggTrade: evenly spaced; bookTicker, trade: as the simulator mixes them */
    bool pyth;       /* BTC/USD, ETH/USD, SOL/USD beside it, every 400 ms */
    /* mix */
    load_group_t groups[LOAD_GROUPS_MAX];
    uint32_t groups_count;
    /* storm */
    int64_t storm_every_ns; /* 0: none */
    uint32_t storms_max;    /* 0: as many as fit */
    bool storm_reset;       /* RST instead of a close handshake */
    int64_t storm_away_ns;  /* before they dial again */
    /* top-ups */
    int64_t topup_every_ns; /* 0: none */
    char topup_usd[32];
    load_bars_t bars;
} load_scenario_t;

/* json, flatbuffers, mixed. */
bool load_encoding_parse(const char *text, load_encoding_t *out);
/* A shipped scenario's name, or a path (it has a '/' or ends in .yaml).  On failure ctx->detail says file, line and key. */
kmy_err_t load_scenario_read(const char *name, load_scenario_t *out, kmy_errctx_t *ctx);
/* "2.5s", "250ms", "10m", "1h", or seconds. */
bool load_duration_parse(const char *text, int64_t *out_ns);

/* Those built in (scenarios/ beside this file, in order of name). */
typedef struct load_shipped {
    const char *name;
    const char *text;
    size_t len;
} load_shipped_t;
extern const load_shipped_t load_shipped[];
extern const size_t load_shipped_count;

#endif
