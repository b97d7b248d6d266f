#include "tools/sim/options.h"

#include "base/clock.h"
#include "tools/sim/trouble.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    O_BINANCE = 256,
    O_HERMES,
    O_CONTROL,
    O_REPLAY,
    O_MARKET,
    O_SPEED,
    O_LOOP,
    O_LIMIT,
    O_REBASE,
    O_BEGIN,
    O_GAP,
    O_GATHER,
    O_KEY,
    O_CERT,
    O_TLSKEY,
    O_AUTO,
    O_BPING,
    O_HPING,
    O_PONG,
    O_LIFETIME,
    O_MESSAGES,
    O_BYTES,
    O_CONNECTS,
    O_QUEUE,
    O_CONNECTIONS,
    O_SCRIPT,
    O_SECONDS,
    O_JSON,
    O_VERBOSE,
    O_VERSION,
    O_HELP
};

static const struct option longs[] = {
    { "binance", 1, 0, O_BINANCE },
    { "hermes", 1, 0, O_HERMES },
    { "control", 1, 0, O_CONTROL },
    { "replay", 1, 0, O_REPLAY },
    { "market", 1, 0, O_MARKET },
    { "speed", 1, 0, O_SPEED },
    { "loop", 1, 0, O_LOOP },
    { "limit", 1, 0, O_LIMIT },
    { "rebase-time", 0, 0, O_REBASE },
    { "begin", 1, 0, O_BEGIN },
    { "gap", 1, 0, O_GAP },
    { "gather", 1, 0, O_GATHER },
    { "hermes-key", 1, 0, O_KEY },
    { "tls-cert", 1, 0, O_CERT },
    { "tls-key", 1, 0, O_TLSKEY },
    { "tls-auto", 1, 0, O_AUTO },
    { "binance-ping", 1, 0, O_BPING },
    { "hermes-ping", 1, 0, O_HPING },
    { "pong-timeout", 1, 0, O_PONG },
    { "lifetime", 1, 0, O_LIFETIME },
    { "messages-per-second", 1, 0, O_MESSAGES },
    { "hermes-bytes", 1, 0, O_BYTES },
    { "connects", 1, 0, O_CONNECTS },
    { "queue", 1, 0, O_QUEUE },
    { "max-connections", 1, 0, O_CONNECTIONS },
    { "script", 1, 0, O_SCRIPT },
    { "seconds", 1, 0, O_SECONDS },
    { "json", 0, 0, O_JSON },
    { "verbose", 0, 0, O_VERBOSE },
    { "version", 0, 0, O_VERSION },
    { "help", 0, 0, O_HELP },
    { 0 },
};

static const char help_text[] =
    "kamiyo-sim: stand-ins for Binance and Pyth Hermes on this machine\n"
    "\n"
    "usage: kamiyo-sim [options]\n"
    "       kamiyo-sim ctl CONTROL-URL KIND [binance|hermes|all] [DURATION] [key=value...]\n"
    "       kamiyo-sim ctl CONTROL-URL stats|stop\n"
    "\n"
    "Prints one line when ready: listening binance=URL hermes=URL control=URL [ca=FILE]\n"
    "DURATION is 5, 2.5s, 250ms, 10m or 24h.\n"
    "\n"
    "doors\n"
    "  --binance ADDR:PORT      Binance combined and raw streams (port 0: any; off: not served)\n"
    "  --hermes ADDR:PORT       Pyth Hermes WebSocket\n"
    "                           (neither given: both on 127.0.0.1:0)\n"
    "  --control ADDR:PORT      trouble and statistics over HTTP (default 127.0.0.1:0; off)\n"
    "  --tls-cert FILE          serve wss:// with this certificate chain (PEM)\n"
    "  --tls-key FILE           and this key\n"
    "  --tls-auto DIR           make a throw-away CA and a certificate for 127.0.0.1 and "
    "localhost\n"
    "                           in DIR (ca.pem, server.pem, server.key) and serve wss://\n"
    "  --hermes-key KEY         Hermes wants Bearer KEY or ?ACCESS_TOKEN=KEY; 401 without\n"
    "                           (also from the environment: KAMIYO_SIM_HERMES_KEY)\n"
    "\n"
    "data (default: a market with seed 1)\n"
    "  --replay FILE            send a recording, .gz or plain; may be given up to 16 times\n"
    "  --market SPEC            random walks for the venues without a recording:\n"
    "                           seed=1,rate=200,symbols=BTCUSDT:61000.00,SOLUSDT:150.00,\n"
    "                           feeds=BTC/USD:61000,HEX64:1.5,slot-ms=400\n"
    "  --speed N|max            N times as fast as recorded (default 1); max: no pacing, each\n"
    "                           connection gets everything from the start at the pace it reads\n"
    "  --loop N|forever         send the recording N times (default 1), numbers moved each time\n"
    "  --limit N                silent after N data frames (max: of each connection)\n"
    "  --rebase-time            event times are moved to now\n"
    "  --begin subscribe|now    when the timeline starts (default: with the first subscription)\n"
    "  --gap DURATION           between frames recorded without times (default 400ms)\n"
    "  --gather DURATION        paced frames go out at most so much late, several at once (default "
    "0)\n"
    "\n"
    "rules of the venues\n"
    "  --binance-ping DURATION  (default 20s; 0: none)     --pong-timeout DURATION (default 60s)\n"
    "  --hermes-ping DURATION   (default 30s; 0: none)     --lifetime DURATION     (default 24h)\n"
    "  --messages-per-second N  from a Binance client (default 5; 0: no limit)\n"
    "  --hermes-bytes N         a second to all of Hermes (default 262144, with max 0; 0: no "
    "limit)\n"
    "  --connects N             to Binance in 5 minutes, then 429 (default 300; 0: no limit)\n"
    "  --queue BYTES            a reader that leaves more unread is cut (default 2097152)\n"
    "  --max-connections N      (default 1024)\n"
    "\n"
    "running\n"
    "  --script FILE            trouble by the clock, lines such as: at 2.5s stall binance 5s\n"
    "  --seconds N              end after N seconds\n"
    "  --json                   the ready line as JSON\n"
    "  --verbose                say on stderr what connections do\n"
    "  --help, --version\n"
    "\n"
    "trouble (POST /trouble {\"kind\":..., \"target\":\"binance|hermes|all\", \"seconds\":, "
    "\"count\":,\n"
    "         \"conn\":, \"bytes\":, \"ms\":, \"status\":, \"retry_after\":, \"location\":, "
    "\"code\":})\n";

static int print_help(void)
{
    fputs(help_text, stdout);
    for (int k = 0; k < SIM_TROUBLE_KINDS; k++)
        printf("  %-12s %s\n", sim_trouble_word((sim_trouble_kind_t)k),
               sim_trouble_help((sim_trouble_kind_t)k));
    puts("\nexit status: 0 ended as asked, 1 failed, 2 wrong usage");
    return 0;
}

static bool whole(const char *text, uint64_t max, uint64_t *out)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    unsigned long long v = strtoull(text, &end, 10);
    *out = v;
    return *end == '\0' && v <= max && strlen(text) <= 19;
}

static bool span(const char *text, int64_t *ns)
{
    double seconds;
    if (!sim_duration(text, &seconds))
        return false;
    *ns = (int64_t)(seconds * 1e9);
    return true;
}

static bool door(const char *text, const char **out)
{
    *out = strcmp(text, "off") == 0 ? NULL : text;
    return true;
}

static bool set_data(sim_options_t *o, int opt, const char *arg)
{
    char *end;
    switch (opt) {
    case O_REPLAY:
        if (o->replay_count == SIM_REPLAYS_MAX)
            return false;
        o->replay[o->replay_count++] = arg;
        return true;
    case O_SPEED:
        o->speed_max = strcmp(arg, "max") == 0;
        o->speed = o->speed_max ? 1 : strtod(arg, &end);
        return o->speed_max || (*arg && !*end && o->speed >= 0.001 && o->speed <= 1e6);
    case O_LOOP:
        if (strcmp(arg, "forever") == 0)
            return o->loops = 0, true;
        return whole(arg, 1000000000, &o->loops) && o->loops > 0;
    case O_BEGIN:
        o->begin_now = strcmp(arg, "now") == 0;
        return o->begin_now || strcmp(arg, "subscribe") == 0;
    case O_GAP:
        return span(arg, &o->gap_ns) && o->gap_ns > 0;
    default:
        return whole(arg, UINT64_MAX >> 1, &o->limit);
    }
}

static bool set_rule(sim_options_t *o, int opt, const char *arg)
{
    uint64_t v = 0;
    switch (opt) {
    case O_BPING:
        return span(arg, &o->ping_ns[SIM_BINANCE]);
    case O_HPING:
        return span(arg, &o->ping_ns[SIM_HERMES]);
    case O_PONG:
        return span(arg, &o->pong_ns) && o->pong_ns > 0;
    case O_LIFETIME:
        return span(arg, &o->lifetime_ns) && o->lifetime_ns > 0;
    case O_MESSAGES:
        return whole(arg, 64, &v) && ((o->messages_per_s = (uint32_t)v), true);
    case O_BYTES:
        return whole(arg, INT64_MAX, &o->bytes_per_s);
    case O_CONNECTS:
        return whole(arg, 4096, &v) && ((o->connects = (uint32_t)v), true);
    case O_QUEUE:
        return whole(arg, 1u << 30, &v) && v >= 65536 && ((o->queue_bytes = v), true);
    default:
        return whole(arg, 65536, &v) && v > 0 && ((o->connections_max = (uint32_t)v), true);
    }
}

static bool set(sim_options_t *o, int opt, const char *arg)
{
    switch (opt) {
    case O_BINANCE:
    case O_HERMES:
    case O_CONTROL:
        return door(arg, &o->listen[opt - O_BINANCE]);
    case O_MARKET:
        o->market = arg;
        return true;
    case O_REBASE:
        o->rebase_time = true;
        return true;
    case O_KEY:
        o->hermes_key = arg;
        return *arg != '\0';
    case O_CERT:
        o->tls_cert = arg;
        return true;
    case O_TLSKEY:
        o->tls_key = arg;
        return true;
    case O_AUTO:
        o->tls_auto = arg;
        return true;
    case O_SCRIPT:
        o->script = arg;
        return true;
    case O_GATHER:
        return span(arg, &o->gather_ns) && o->gather_ns <= KMY_NS_PER_S;
    case O_SECONDS:
        return span(arg, &o->run_ns) && o->run_ns > 0;
    case O_JSON:
        o->json = true;
        return true;
    case O_VERBOSE:
        o->verbose = true;
        return true;
    default:
        return opt <= O_GAP ? set_data(o, opt, arg) : set_rule(o, opt, arg);
    }
}

static int usage(const char *what, const char *which)
{
    fprintf(stderr, "kamiyo-sim: %s%s; kamiyo-sim --help lists the options\n", what, which);
    return 2;
}

static int check(sim_options_t *o, bool door_given, bool bytes_given)
{
    if (!door_given)
        o->listen[SIM_BINANCE] = o->listen[SIM_HERMES] = "127.0.0.1:0";
    if (!o->listen[SIM_BINANCE] && !o->listen[SIM_HERMES])
        return usage("neither --binance nor --hermes is served", "");
    if (!o->tls_cert != !o->tls_key)
        return usage("--tls-cert and --tls-key go together", "");
    if (o->tls_auto && o->tls_cert)
        return usage("either --tls-auto or --tls-cert", "");
    if (!bytes_given)
        o->bytes_per_s = o->speed_max ? 0 : 262144;
    return -1;
}

int sim_options_parse(int argc, char **argv, sim_options_t *o)
{
    *o = (sim_options_t){ .listen = { NULL, NULL, "127.0.0.1:0" },
                          .speed = 1,
                          .loops = 1,
                          .gap_ns = 400 * KMY_NS_PER_MS,
                          .ping_ns = { 20 * KMY_NS_PER_S, 30 * KMY_NS_PER_S },
                          .pong_ns = 60 * KMY_NS_PER_S,
                          .lifetime_ns = 86400 * KMY_NS_PER_S,
                          .messages_per_s = 5,
                          .connects = 300,
                          .queue_bytes = 2u << 20,
                          .connections_max = 1024 };
    o->hermes_key = getenv("KAMIYO_SIM_HERMES_KEY");
    bool door_given = false, bytes_given = false;
    int opt, at = 0;
    opterr = 0;
    while ((opt = getopt_long(argc, argv, "", longs, &at)) != -1) {
        if (opt == O_HELP)
            return print_help();
        if (opt == O_VERSION)
            return printf("kamiyo-sim %s\n", KMY_VERSION), 0;
        if (opt == '?')
            return usage("unknown option or missing argument: ", argv[optind - 1]);
        if (!set(o, opt, optarg))
            return usage("bad value of --", longs[opt - O_BINANCE].name);
        door_given |= opt == O_BINANCE || opt == O_HERMES;
        bytes_given |= opt == O_BYTES;
    }
    if (optind < argc)
        return usage("unexpected word: ", argv[optind]);
    return check(o, door_given, bytes_given);
}
