/* trouble: the ways a real upstream fails, to be had on command.  One table of kinds; a trouble arrives as JSON over the control door, as
   a line of a script, or from `kamiyo-sim ctl`, and all three become the same struct. */
#ifndef KMY_SIM_TROUBLE_H
#define KMY_SIM_TROUBLE_H

#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum {
    SIM_WINDOW, /* a state of the connection that lasts `seconds` */
    SIM_MANGLE, /* changes the next `count` data frames */
    SIM_ONCE,   /* happens at once to the connections that are open */
    SIM_DOOR,   /* meets connections that arrive, for `seconds` or `count` of them */
} sim_trouble_group_t;

/* name, group, default seconds (0: until clear), default count (0: no matter how many), what it does */
#define SIM_TROUBLE_TABLE(X)                                                                       \
    X(STALL, "stall", WINDOW, 5, 0, "no data; the socket stays open and pings are answered")       \
    X(MUTE, "mute", WINDOW, 5, 0, "nothing is sent at all: no data, no pongs, no answers")         \
    X(DUPLICATE, "duplicate", WINDOW, 5, 0, "each data frame is sent twice")                       \
    X(REORDER, "reorder", WINDOW, 5, 0, "neighbouring data frames change places")                  \
    X(FRAGMENT, "fragment", WINDOW, 5, 0, "data frames come in WebSocket fragments of `bytes`")    \
    X(TRICKLE, "trickle", WINDOW, 5, 0, "`bytes` bytes (default 1) every `ms` milliseconds")       \
    X(NOACK, "noack", WINDOW, 5, 0, "requests are obeyed, answers withheld")                       \
    X(SPIKE, "spike", MANGLE, 0, 1, "prices of the frame times 1000")                              \
    X(WRONGTYPE, "wrongtype", MANGLE, 0, 1, "a number where the price string should be")           \
    X(NULLPRICE, "nullprice", MANGLE, 0, 1, "null where the price should be")                      \
    X(ARRAY, "array", MANGLE, 0, 1, "the frame inside an array")                                   \
    X(TRUNCATED, "truncated", MANGLE, 0, 1, "the frame's JSON ends in the middle")                 \
    X(MASKED, "masked", MANGLE, 0, 1, "the frame is masked, which a server must not do")           \
    X(DROP, "drop", ONCE, 0, 0, "FIN without a close frame")                                       \
    X(RESET, "reset", ONCE, 0, 0, "RST")                                                           \
    X(HALFOPEN, "halfopen", ONCE, 0, 0, "neither read nor written any more, socket kept")          \
    X(CLOSE, "close", ONCE, 0, 0, "close frame with `code` (default 1001)")                        \
    X(GARBAGE, "garbage", ONCE, 0, 1, "`count` text frames of `bytes` random letters")             \
    X(BADUTF8, "badutf8", ONCE, 0, 1, "`count` text frames that are not UTF-8")                    \
    X(HUGE, "huge", ONCE, 0, 1, "`count` text frames of `bytes` (default 8 MiB)")                  \
    X(REPEAT, "repeat", ONCE, 0, 1, "the last `count` data frames again (at most 64)")             \
    X(SHUTDOWN, "shutdown", ONCE, 0, 0, "Binance's serverShutdown event; nothing closes")          \
    X(LIFETIME, "lifetime", ONCE, 0, 0, "what happens after 24 h: Hermes' error, then close")      \
    X(RATELIMIT, "ratelimit", ONCE, 0, 0, "Hermes' rate limit error; Binance's policy close")      \
    X(HTTP, "http", DOOR, 5, 0, "handshakes get `status` (`retry_after`, `location`)")             \
    X(HANG, "hang", DOOR, 5, 0, "connections are accepted and never answered")                     \
    X(REFUSE, "refuse", DOOR, 5, 0, "connections are refused; the port is closed")                 \
    X(TLSABORT, "tlsabort", DOOR, 5, 0, "the TLS handshake is cut off")                            \
    X(WRONGHOST, "wronghost", DOOR, 5, 0, "a certificate for another host")                        \
    X(SELFSIGNED, "selfsigned", DOOR, 5, 0, "a certificate of no known authority")                 \
    X(CLEAR, "clear", ONCE, 0, 0, "ends every trouble of the target")

typedef enum {
#define SIM_TROUBLE_ENUM(name, word, group, seconds, count, help) SIM_T_##name,
    SIM_TROUBLE_TABLE(SIM_TROUBLE_ENUM)
#undef SIM_TROUBLE_ENUM
        SIM_TROUBLE_KINDS
} sim_trouble_kind_t;

typedef struct sim_trouble {
    sim_trouble_kind_t kind;
    unsigned targets;   /* bit per venue: 1 binance, 2 hermes */
    double seconds;     /* 0: until clear */
    uint64_t count;     /* 0: no matter how many */
    uint64_t conn;      /* only this connection; 0: all of the target */
    uint64_t bytes;     /* fragment, trickle, garbage, huge; 0: the kind's default */
    uint32_t ms;        /* trickle */
    int status;         /* http */
    int retry_after;    /* http; seconds, -1: header absent */
    int code;           /* close */
    char location[256]; /* http redirect */
} sim_trouble_t;

sim_trouble_group_t sim_trouble_group(sim_trouble_kind_t kind);
const char *sim_trouble_word(sim_trouble_kind_t kind);
const char *sim_trouble_help(sim_trouble_kind_t kind);
/* KMY_BAD_INPUT with the member that is wrong; unknown members are refused. */
kmy_err_t sim_trouble_from_json(json_t *root, sim_trouble_t *out, kmy_errctx_t *ctx);
/* Words of a script line or of ctl: KIND [TARGET] [DURATION] [key=value...], for example "stall binance 5s".  The result is a new
   reference for sim_trouble_from_json; NULL with *ctx. */
json_t *sim_trouble_from_words(int count, char *const *words, kmy_errctx_t *ctx);
/* "5", "2.5s", "250ms", "24h" -> seconds. */
bool sim_duration(const char *text, double *seconds);

#endif
