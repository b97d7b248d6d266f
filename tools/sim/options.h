/* options: the command line as one checked struct. */
#ifndef KMY_SIM_OPTIONS_H
#define KMY_SIM_OPTIONS_H

#include "tools/sim/market.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_REPLAYS_MAX 16

enum { SIM_BINANCE, SIM_HERMES, SIM_CONTROL, SIM_VENUES };

typedef struct sim_options {
    const char *listen[SIM_VENUES]; /* "ADDR:PORT"; NULL: not served */
    const char *replay[SIM_REPLAYS_MAX];
    int replay_count;
    const char *market;
    double speed;   /* paced: 1 is real time */
    bool speed_max; /* as fast as each connection takes it */
    uint64_t loops; /* of a recording; 0: for ever */
    uint64_t limit; /* data frames; 0: none */
    bool rebase_time;
    bool begin_now;    /* else with the first subscription */
    int64_t gap_ns;    /* between frames recorded without times */
    int64_t gather_ns; /* paced: no wake-up sooner than this behind the one before */
    const char *hermes_key;
    const char *tls_cert, *tls_key, *tls_auto;
    int64_t ping_ns[2]; /* by venue */
    int64_t pong_ns;    /* Binance: cut after so long without a pong */
    int64_t lifetime_ns;
    uint32_t messages_per_s; /* Binance; 0: no limit */
    uint64_t bytes_per_s;    /* Hermes; 0: no limit */
    uint32_t connects;       /* Binance: per 5 minutes; 0: no limit */
    size_t queue_bytes;      /* a reader with more than this unsent is cut (paced) */
    uint32_t connections_max;
    const char *script;
    int64_t run_ns; /* 0: until told to stop */
    bool json, verbose;
} sim_options_t;

/* -1: go on; else the exit code (--help and --version print and give 0; wrong usage says so on stderr and gives 2). */
int sim_options_parse(int argc, char **argv, sim_options_t *out);

#endif
