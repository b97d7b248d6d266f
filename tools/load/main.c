/* kamiyo-load: thousands of paying agents from one process (docs/kamiyo-load.md). */
#include "tools/load/door.h"
#include "tools/load/fleet.h"
#include "tools/load/load.h"
#include "tools/load/report.h"
#include "tools/load/tls.h"

#include "base/clock.h"
#include "base/money.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static const char usage[] =
    "usage: kamiyo-load run SCENARIO [option...]\n"
    "       kamiyo-load list\n"
    "\n"
    "  --duration D        measured time, such as 10s or 5m\n"
    "  --agents N          how many\n"
    "  --ramp N            new agents a second; 0: all at once\n"
    "  --ticks-per-s N     of each feed of the market\n"
    "  --encoding E        of all stream agents: json, flatbuffers or mixed\n"
    "  --tls               the daemon that is started speaks TLS (wss)\n"
    "  --json              the report as one JSON object\n"
    "  --html FILE         also a page with plots\n"
    "  --quiet             no progress\n"
    "  --no-pin            leave the cores to the kernel\n"
    "  --keep              leave the daemon's temporary folder for a look\n"
    "against a daemon that runs already:\n"
    "  --url URL           http://127.0.0.1:8402; other servers of one feed, for benches: "
    "plain://ADDR:PORT/PATH\n"
    "                      (WebSocket), nats://ADDR:PORT (nats-server's WebSocket), "
    "raw://ADDR:PORT "
    "(bench_ceiling)\n"
    "  --admin ADDR:PORT   its operator's door, to mint tokens at; KAMIYO_ADMIN; default "
    "127.0.0.1:8403\n"
    "  --admin-token T     KAMIYO_ADMIN_TOKEN; else read from DIR/admin.token\n"
    "  --data DIR          the daemon's folder; KAMIYO_DATA; default ./data\n"
    "  --token T           instead: a token for the agents to share; may stand several times\n"
    "  --server-pid PID    the daemon's process, for CPU and memory; default: who listens there\n"
    "  --ca-file FILE      whom to believe, with https:// (PEM); default: the system's list\n"
    "  --insecure          believe any certificate: for a look at a test daemon only\n"
    "debugging:\n"
    "  --inject-loss N     overlook every Nth tick: the verdict must then be fail\n"
    "\n"
    "exit: 0 pass, 1 fail, 2 wrong usage.  Without --url it starts kamiyod and kamiyo-sim "
    "itself.\n";

enum { TOKENS_MAX = 64, FD_SPARE = 512 };

typedef struct options {
    const char *scenario, *url, *admin, *admin_token, *data, *ca_file, *html, *encoding;
    const char *tokens[TOKENS_MAX];
    uint32_t tokens_count;
    int64_t duration_ns;
    long agents, ramp, server_pid, inject_loss;
    double ticks_per_s;
    bool json, quiet, keep, no_pin, tls, insecure;
} options_t;

static load_t load; /* one per process */
static volatile bool stop;

static void on_signal(int sig)
{
    (void)sig;
    stop = true;
}

static int misuse(const char *what, const char *value)
{
    fprintf(stderr, "kamiyo-load: %s%s%s; see kamiyo-load --help\n", what, value ? " " : "",
            value ? value : "");
    return 2;
}

static bool whole(const char *text, long min, long max, long *out)
{
    char *end;
    errno = 0;
    *out = strtol(text, &end, 10);
    return errno == 0 && end != text && *end == 0 && *out >= min && *out <= max;
}

enum {
    O_DURATION = 256,
    O_AGENTS,
    O_RAMP,
    O_TICKS,
    O_ENCODING,
    O_JSON,
    O_HTML,
    O_QUIET,
    O_NO_PIN,
    O_KEEP,
    O_URL,
    O_ADMIN,
    O_ADMIN_TOKEN,
    O_TOKEN,
    O_PID,
    O_LOSS,
    O_TLS,
    O_CA,
    O_INSECURE,
    O_DATA,
};

static const struct option long_options[] = {
    { "duration", required_argument, NULL, O_DURATION },
    { "agents", required_argument, NULL, O_AGENTS },
    { "ramp", required_argument, NULL, O_RAMP },
    { "ticks-per-s", required_argument, NULL, O_TICKS },
    { "encoding", required_argument, NULL, O_ENCODING },
    { "json", no_argument, NULL, O_JSON },
    { "html", required_argument, NULL, O_HTML },
    { "quiet", no_argument, NULL, O_QUIET },
    { "no-pin", no_argument, NULL, O_NO_PIN },
    { "keep", no_argument, NULL, O_KEEP },
    { "url", required_argument, NULL, O_URL },
    { "admin", required_argument, NULL, O_ADMIN },
    { "admin-token", required_argument, NULL, O_ADMIN_TOKEN },
    { "token", required_argument, NULL, O_TOKEN },
    { "server-pid", required_argument, NULL, O_PID },
    { "tls", no_argument, NULL, O_TLS },
    { "ca-file", required_argument, NULL, O_CA },
    { "insecure", no_argument, NULL, O_INSECURE },
    { "data", required_argument, NULL, O_DATA },
    { "inject-loss", required_argument, NULL, O_LOSS },
    { 0 },
};

/* One option; what was wrong with it, or NULL. */
static const char *take_option(options_t *o, int c)
{
    char *end = NULL;
    switch (c) {
    case O_DURATION:
        return load_duration_parse(optarg, &o->duration_ns) && o->duration_ns > 0 ? NULL
                                                                                  : "--duration";
    case O_AGENTS:
        return whole(optarg, 1, LOAD_AGENTS_MAX, &o->agents) ? NULL : "--agents";
    case O_RAMP:
        return whole(optarg, 0, 1000000, &o->ramp) ? NULL : "--ramp";
    case O_TICKS:
        o->ticks_per_s = strtod(optarg, &end);
        return end != optarg && *end == 0 && o->ticks_per_s >= 0.125 && o->ticks_per_s <= 125000
                   ? NULL
                   : "--ticks-per-s";
    case O_ENCODING:
        o->encoding = optarg;
        return load_encoding_parse(optarg, &(load_encoding_t){ LOAD_JSON }) ? NULL : "--encoding";
    case O_TOKEN:
        if (o->tokens_count == TOKENS_MAX || strlen(optarg) >= LOAD_TOKEN_BYTES_MAX)
            return "--token";
        o->tokens[o->tokens_count++] = optarg;
        return NULL;
    case O_PID:
        return whole(optarg, 1, 1L << 30, &o->server_pid) ? NULL : "--server-pid";
    case O_LOSS:
        return whole(optarg, 1, 1L << 40, &o->inject_loss) ? NULL : "--inject-loss";
    case O_ADMIN_TOKEN:
        o->admin_token = optarg;
        return strlen(optarg) < sizeof load.admin_token ? NULL : "--admin-token";
    }
    if (c == O_JSON)
        o->json = true;
    else if (c == O_QUIET)
        o->quiet = true;
    else if (c == O_NO_PIN)
        o->no_pin = true;
    else if (c == O_KEEP)
        o->keep = true;
    else if (c == O_TLS)
        o->tls = true;
    else if (c == O_INSECURE)
        o->insecure = true;
    else if (c == O_CA)
        o->ca_file = optarg;
    else if (c == O_DATA)
        o->data = optarg;
    else if (c == O_HTML)
        o->html = optarg;
    else if (c == O_URL)
        o->url = optarg;
    else if (c == O_ADMIN)
        o->admin = optarg;
    return NULL;
}

static int list(void)
{
    kmy_errctx_t ctx;
    load_scenario_t s;
    for (size_t i = 0; i < load_shipped_count; i++) {
        if (load_scenario_read(load_shipped[i].name, &s, &ctx) == KMY_OK)
            printf("%-14s %s\n", load_shipped[i].name, s.about);
    }
    return 0;
}

/* --- the parts of a run -------------------------------------------------------------------- */

static void apply(const options_t *o, load_t *l)
{
    if (o->duration_ns)
        l->s.duration_ns = o->duration_ns;
    if (o->agents)
        l->s.agents = (uint32_t)o->agents;
    if (o->ramp >= 0)
        l->s.ramp_per_s = (double)o->ramp;
    if (o->ticks_per_s > 0)
        l->s.ticks_per_s = o->ticks_per_s;
    for (uint32_t i = 0; o->encoding && i < l->s.groups_count; i++)
        load_encoding_parse(o->encoding, &l->s.groups[i].encoding);
    l->s.tls |= o->tls;
    l->quiet = o->quiet;
    l->color = isatty(STDERR_FILENO);
    l->inject_loss = (uint64_t)o->inject_loss;
    l->server_pid = (int)o->server_pid;
}

/* Agents, their daemon's and the rest's descriptors. */
static kmy_err_t raise_limit(const load_t *l, kmy_errctx_t *ctx)
{
    struct rlimit r;
    getrlimit(RLIMIT_NOFILE, &r);
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
    if (r.rlim_cur >= l->s.agents + FD_SPARE)
        return KMY_OK;
    return KMY_FAIL(ctx, KMY_FULL, "%u agents need %u descriptors, the limit is %llu (ulimit -n)",
                    l->s.agents, l->s.agents + FD_SPARE, (unsigned long long)r.rlim_cur);
}

/* Where tokens come from: those given, or the operator's door, found as the program kamiyo finds it. */
static kmy_err_t read_admin(const options_t *o, load_t *l, kmy_errctx_t *ctx)
{
    if (o->tokens_count > 0 && !o->admin)
        return KMY_OK;
    const char *at = o->admin ? o->admin : getenv("KAMIYO_ADMIN");
    at = at ? at : "127.0.0.1:8403";
    at += strncmp(at, "http://", 7) == 0 ? 7 : 0;
    if (!load_address_parse(at, &l->admin_at))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "--admin must be an IPv4 address and a port, not %.60s",
                        at);
    const char *secret = o->admin_token ? o->admin_token : getenv("KAMIYO_ADMIN_TOKEN");
    const char *data = o->data ? o->data : getenv("KAMIYO_DATA");
    char path[512];
    snprintf(path, sizeof path, "%s/admin.token", data ? data : "./data");
    FILE *f = secret ? NULL : fopen(path, "r");
    if (secret)
        snprintf(l->admin_token, sizeof l->admin_token, "%s", secret);
    else if (f && fgets(l->admin_token, sizeof l->admin_token, f))
        l->admin_token[strcspn(l->admin_token, "\r\n")] = 0;
    if (f)
        fclose(f);
    if (l->admin_token[0])
        return KMY_OK;
    return KMY_FAIL(ctx, KMY_BAD_INPUT,
                    "no tokens for the agents: name the daemon's folder with --data, set "
                    "KAMIYO_ADMIN_TOKEN, or give --token");
}

static kmy_err_t read_url(const options_t *o, load_t *l, kmy_errctx_t *ctx)
{
    static const struct {
        const char *scheme;
        uint8_t dialect;
    } known[] = { { "http://", LOAD_KAMIYO }, { "ws://", LOAD_KAMIYO }, { "https://", LOAD_KAMIYO },
                  { "wss://", LOAD_KAMIYO },  { "raw://", LOAD_RAW },   { "plain://", LOAD_PLAIN },
                  { "nats://", LOAD_NATS } };
    size_t i = 0;
    while (i < sizeof known / sizeof known[0] &&
           strncmp(o->url, known[i].scheme, strlen(known[i].scheme)) != 0)
        i++;
    bool schemed = i < sizeof known / sizeof known[0];
    const char *at = o->url + (schemed ? strlen(known[i].scheme) : 0);
    size_t host = strcspn(at, "/");
    l->dialect = schemed ? known[i].dialect : LOAD_KAMIYO;
    l->raw = l->dialect != LOAD_KAMIYO;
    snprintf(l->authority, sizeof l->authority, "%.*s", (int)host, at);
    if (!load_address_parse(l->authority, &l->public_at) || strlen(at + host) >= sizeof l->path)
        return KMY_FAIL(ctx, KMY_BAD_INPUT,
                        "--url must be http://ADDR:PORT, or plain://, nats:// or raw:// with an "
                        "IPv4 address and a port");
    if (l->raw && at[host])
        snprintf(l->path, sizeof l->path, "%s", at + host);
    else if (l->raw)
        snprintf(l->path, sizeof l->path, "/");
    if (l->raw)
        return KMY_OK;
    bool tls = strncmp(o->url, "https://", 8) == 0 || strncmp(o->url, "wss://", 6) == 0;
    if (tls && o->insecure)
        fputs("kamiyo-load: WARNING: --insecure: nobody checks who answers; tokens may go to "
              "anybody\n",
              stderr);
    static char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(l->authority, ":"), l->authority);
    kmy_err_t err = tls ? load_tls_init(l, o->ca_file, o->insecure, name, ctx) : KMY_OK;
    if (err == KMY_OK && (o->insecure || o->ca_file) && !tls)
        err = KMY_FAIL(ctx, KMY_BAD_INPUT, "--ca-file and --insecure need an https:// URL");
    return err == KMY_OK ? read_admin(o, l, ctx) : err;
}

/* A raw server's one feed has no name we could ask for: the frames of bench_ceiling carry this one. */
static kmy_err_t raw_feed(load_t *l, kmy_errctx_t *ctx)
{
    static const char name[] = "SOL/USDT@binance";
    l->feeds = calloc(1, sizeof *l->feeds);
    if (!l->feeds || !kmy_strmap_put(&l->feed_names, name, sizeof name - 1, 0))
        return KMY_FAIL(ctx, KMY_INTERNAL, "out of memory");
    memcpy(l->feeds[0].name, name, sizeof name);
    l->feeds[0].name_len = sizeof name - 1;
    l->feeds_count = l->market_count = 1;
    return KMY_OK;
}

static kmy_err_t share_tokens(const options_t *o, load_t *l, kmy_errctx_t *ctx)
{
    for (uint32_t i = 0; i < l->accounts_count; i++) {
        l->accounts[i].token = strdup(o->tokens[i]);
        if (!l->accounts[i].token)
            return KMY_FAIL(ctx, KMY_INTERNAL, "out of memory");
    }
    return KMY_OK;
}

static kmy_err_t prepare(const options_t *o, load_t *l, kmy_errctx_t *ctx)
{
    kmy_err_t err = l->raw ? raw_feed(l, ctx) : load_door_feeds(l, ctx);
    bool given = !l->raw && !l->admin_token[0];
    uint32_t accounts = given ? o->tokens_count : l->s.accounts ? l->s.accounts : l->s.agents;
    l->accounts_count = accounts < l->s.agents ? accounts : l->s.agents;
    if (err == KMY_OK && !load_agents_make(l))
        err = KMY_FAIL(ctx, KMY_INTERNAL, "out of memory");
    if (err == KMY_OK && l->admin_token[0])
        err = load_door_mint(l, ctx);
    else if (err == KMY_OK && !l->raw)
        err = share_tokens(o, l, ctx);
    return err;
}

static void report(const options_t *o, const load_t *l, const load_verdict_t *v)
{
    if (o->json)
        load_report_json(l, v, stdout);
    else
        load_report_text(l, v, stdout);
    if (o->html && !load_report_html(l, v, o->html))
        fprintf(stderr, "kamiyo-load: cannot write %s: %s\n", o->html, strerror(errno));
}

static void free_all(load_t *l)
{
    load_agents_free(l);
    for (uint32_t i = 0; i < l->feeds_count; i++) {
        free(l->feeds[i].seen[LOAD_JSON]);
        free(l->feeds[i].seen[LOAD_FLAT]);
        free(l->feeds[i].values);
    }
    free(l->feeds);
    load_tls_fini(l);
    free(l->timers);
    free(l->buffer);
    kmy_strmap_fini(&l->feed_names);
}

static int run(const options_t *o)
{
    load_t *l = &load;
    load_fleet_t fleet = { .keep = o->keep };
    load_verdict_t v = { 0 };
    kmy_errctx_t ctx = { 0 };
    bool own = !o->url;
    kmy_err_t err = load_scenario_read(o->scenario, &l->s, &ctx);
    snprintf(l->path, sizeof l->path, "/v1/stream");
    snprintf(l->prefix, sizeof l->prefix, "load:");
    l->one_shard = own && l->s.shards == 1;
    if (!own && l->s.spend) /* what is left of earlier runs would have to be spent as well */
        snprintf(l->prefix, sizeof l->prefix, "load:%llx:", (unsigned long long)kmy_wall_ns());
    if (err == KMY_OK && o->url)
        err = read_url(o, l, &ctx);
    if (err != KMY_OK)
        return misuse(ctx.detail, NULL);
    apply(o, l);
    kmy_strmap_init(&l->feed_names);
    err = raise_limit(l, &ctx);
    if (err == KMY_OK && own)
        err = load_fleet_start(&fleet, l, !o->no_pin, &ctx);
    else if (err == KMY_OK && !o->no_pin)
        load_pin_self();
    if (!own && l->server_pid == 0 && l->dialect == LOAD_KAMIYO)
        l->server_pid = load_pid_of(&l->public_at);
    if (err == KMY_OK)
        err = prepare(o, l, &ctx);
    int64_t before = l->admin_token[0] && err == KMY_OK ? load_door_before(l, own) : 0;
    if (err == KMY_OK)
        err = load_loop(l, &stop, &ctx);
    if (err == KMY_OK && l->admin_token[0])
        load_door_audit(l, own, before);
    if (o->keep && own)
        fprintf(stderr, "kamiyo-load: the daemon's folder is %s\n", fleet.dir);
    bool clean = true;
    if (own)
        load_fleet_stop(&fleet, &clean);
    if (!clean && err == KMY_OK)
        load_fault(l, NULL, LOAD_FAULT_CLOSED, "kamiyod did not end with status 0");
    if (err != KMY_OK) {
        fprintf(stderr, "kamiyo-load: %s\n", ctx.detail);
    } else {
        load_judge(l, &v);
        report(o, l, &v);
    }
    free_all(l);
    return err == KMY_OK && v.pass ? 0 : 1;
}

int main(int argc, char **argv)
{
    options_t o = { .ramp = -1 };
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
        return fputs(usage, stdout) < 0;
    if (argc > 1 && strcmp(argv[1], "--version") == 0)
        return puts("kamiyo-load " KMY_VERSION) < 0;
    if (argc > 1 && strcmp(argv[1], "list") == 0)
        return argc == 2 ? list() : misuse("list takes nothing, not", argv[2]);
    if (argc < 2 || strcmp(argv[1], "run") != 0)
        return misuse(argc < 2 ? "say what: run or list" : "unknown command", argv[1]);
    opterr = 0;
    for (int c; (c = getopt_long(argc - 1, argv + 1, "h", long_options, NULL)) != -1;) {
        if (c == 'h')
            return fputs(usage, stdout) < 0;
        if (c == '?' || c == ':')
            return misuse("unknown option or no value:", argv[optind]);
        const char *wrong = take_option(&o, c);
        if (wrong)
            return misuse(wrong, optarg);
    }
    if (optind != argc - 2)
        return misuse(optind > argc - 2 ? "name one scenario" : "one scenario only", NULL);
    o.scenario = argv[optind + 1];
    struct sigaction act = { .sa_handler = on_signal }, ignore = { .sa_handler = SIG_IGN };
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGPIPE, &ignore, NULL);
    return run(&o);
}
