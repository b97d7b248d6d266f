/* Arguments to a verb. */
#include "tools/kamiyo/kamiyo.h"

#include "pay/token.h"

#include "base/decimal.h"
#include "base/nearest.h"

#include <curl/curl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct verb {
    const char *name;
    int (*run)(const cli_t *cli);
    int words_min, words_max; /* behind the verb */
    const char *use, *help;
} verbs[] = {
    { "feeds", cli_feeds, 0, 0, "feeds", "what can be bought, and its prices" },
    { "get", cli_get, 1, 1, "get FEED", "the newest value of one feed" },
    { "batch", cli_batch, 1, 100, "batch FEED...", "of several feeds, in one request" },
    { "stream", cli_stream, 1, 1000, "stream FEED... [--seconds N] [--count N]",
      "every tick as it comes; ends with what was received and what was charged" },
    { "compare", cli_compare, 1, 1, "compare FEED",
      "the sources of one feed beside each other: price, deviation, bid, ask, age" },
    { "history", cli_history, 1, 1, "history FEED [--seconds N] [--count N]",
      "ticks that the daemon keeps, oldest first: of the last N seconds, at most N (100)" },
    { "account", cli_account, 0, 1,
      "account [--account ID] |\n"
      "         account usage [--window 1h|24h|30d]",
      "balance of the token's account, or of any (operator); what it used, by feed and mode" },
    { "deposit", cli_deposit, 1, 1, "deposit USD [--network NETWORK] [--wallet FILE] [--force]",
      "pays by x402 from an EVM wallet (KAMIYO_WALLET_KEY, or --wallet) and prints the token" },
    { "snapshot", cli_snapshot, 0, 0, "snapshot [--feed FEED]",
      "last ticks, read from the store's files under --data" },
    { "conns", cli_conns, 0, 0, "conns", "open connections (operator)" },
    { "sources", cli_sources, 0, 0, "sources", "upstream connections (operator)" },
    { "drain", cli_drain, 0, 1, "drain [off]",
      "no new sessions, and those that are there end; or as before (operator)" },
    { "token", cli_token, 1, 2,
      "token mint --account ID --usd X [--spend Y] [--rate N] [--ttl SECONDS] [--feeds A,B] |\n"
      "         token revoke JTI|TOKEN |\n"
      "         token rotate [--drop]",
      "credits an account and prints a token; ends a token at once; makes a new key (operator)" },
    { "ledger", cli_ledger, 1, 1,
      "ledger audit |\n"
      "         ledger dump",
      "recounts the ledger under --data from its entries; its price books and entries" },
    { "backup", cli_backup, 1, 1, "backup DIR [--with-secrets]",
      "one instant of the ledger under --data, recounted; also while the daemon runs" },
    { "restore", cli_restore, 1, 1, "restore DIR [--force]",
      "a backup becomes the ledger of --data, whose daemon is stopped" },
    { "verify", cli_verify, 1, 1, "verify FILE [--key FILE|URL]",
      "receipts, one a line (- is standard input): genuine, and none missing?" },
    { "check", cli_check, 1, 1,
      "check json | jws --secret-file FILE | sig | pyth |\n"
      "         payment --network NETWORK [--config FILE] [--amount UNITS] [--now SECONDS]",
      "judges standard input with the code that serves users; one item a line but for json" },
};

static const char options_help[] =
    "options:\n"
    "  --url URL     public door; KAMIYO_URL; default http://127.0.0.1:8402\n"
    "  --token JWT   bearer token; KAMIYO_TOKEN\n"
    "  --admin URL   admin door; KAMIYO_ADMIN; default http://127.0.0.1:8403\n"
    "  --data DIR    the daemon's folder; KAMIYO_DATA; default ./data; operator verbs read\n"
    "                DIR/admin.token unless KAMIYO_ADMIN_TOKEN is set\n"
    "  --ca FILE     CA certificates to trust instead of the system's\n"
    "  --json        machine output: one JSON value a line\n"
    "  --help, --version\n"
    "exit: 0 done, 1 failed, 2 wrong usage\n";

static void usage(FILE *out)
{
    fputs("usage: kamiyo VERB [options]\n", out);
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        fprintf(out, "  %s\n        %s\n", verbs[i].use, verbs[i].help);
    fputs(options_help, out);
}

__attribute__((format(printf, 2, 0))) static void complain(const cli_t *cli, const char *fmt,
                                                           va_list ap)
{
    char text[1024];
    vsnprintf(text, sizeof text, fmt, ap);
    for (char *p = text; *p;
         p++) { /* some of it came from a peer: nothing of it drives the terminal */
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = ' ';
    }
    fflush(stdout);
    fprintf(stderr, "kamiyo%s%s: %s\n", cli->verb ? " " : "", cli->verb ? cli->verb : "", text);
}

int cli_fail(const cli_t *cli, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    complain(cli, fmt, ap);
    va_end(ap);
    return CLI_FAILED;
}

int cli_wrong(const cli_t *cli, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    complain(cli, fmt, ap);
    va_end(ap);
    return CLI_USAGE;
}

static const struct verb *find_verb(const cli_t *cli, const char *name)
{
    const char *near = NULL;
    unsigned limit = kmy_nearest_limit(strlen(name));
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        const char *known = verbs[i].name;
        unsigned d = kmy_nearest_distance(name, strlen(name), known, strlen(known), limit);
        if (strcmp(name, known) == 0)
            return &verbs[i];
        if (d <= limit)
            near = known;
    }
    if (near)
        cli_wrong(cli, "no verb '%.40s'; did you mean %s?", name, near);
    else
        cli_wrong(cli, "no verb '%.40s'; kamiyo --help lists them", name);
    return NULL;
}

enum {
    O_URL = 256,
    O_TOKEN,
    O_ADMIN,
    O_DATA,
    O_CA,
    O_JSON,
    O_SECONDS,
    O_COUNT,
    O_FEED,
    O_ACCOUNT,
    O_USD,
    O_TTL,
    O_SECRET_FILE,
    O_CONFIG,
    O_NETWORK,
    O_AMOUNT,
    O_PAY_TO,
    O_FEE_PAYER,
    O_MEMO,
    O_RESOURCE,
    O_TIMEOUT,
    O_NOW,
    O_KEY,
    O_WITH_SECRETS,
    O_FORCE,
    O_DROP,
    O_FEEDS,
    O_SPEND,
    O_RATE,
    O_WALLET,
    O_WINDOW,
    O_HELP,
    O_VERSION
};

static const struct option long_options[] = {
    { "url", required_argument, NULL, O_URL },
    { "token", required_argument, NULL, O_TOKEN },
    { "admin", required_argument, NULL, O_ADMIN },
    { "data", required_argument, NULL, O_DATA },
    { "ca", required_argument, NULL, O_CA },
    { "json", no_argument, NULL, O_JSON },
    { "seconds", required_argument, NULL, O_SECONDS },
    { "count", required_argument, NULL, O_COUNT },
    { "feed", required_argument, NULL, O_FEED },
    { "account", required_argument, NULL, O_ACCOUNT },
    { "usd", required_argument, NULL, O_USD },
    { "ttl", required_argument, NULL, O_TTL },
    { "secret-file", required_argument, NULL, O_SECRET_FILE },
    { "config", required_argument, NULL, O_CONFIG },
    { "network", required_argument, NULL, O_NETWORK },
    { "amount", required_argument, NULL, O_AMOUNT },
    { "pay-to", required_argument, NULL, O_PAY_TO },
    { "fee-payer", required_argument, NULL, O_FEE_PAYER },
    { "memo", required_argument, NULL, O_MEMO },
    { "resource", required_argument, NULL, O_RESOURCE },
    { "timeout", required_argument, NULL, O_TIMEOUT },
    { "now", required_argument, NULL, O_NOW },
    { "key", required_argument, NULL, O_KEY },
    { "with-secrets", no_argument, NULL, O_WITH_SECRETS },
    { "force", no_argument, NULL, O_FORCE },
    { "drop", no_argument, NULL, O_DROP },
    { "feeds", required_argument, NULL, O_FEEDS },
    { "spend", required_argument, NULL, O_SPEND },
    { "rate", required_argument, NULL, O_RATE },
    { "wallet", required_argument, NULL, O_WALLET },
    { "window", required_argument, NULL, O_WINDOW },
    { "help", no_argument, NULL, O_HELP },
    { "version", no_argument, NULL, O_VERSION },
    { NULL, 0, NULL, 0 },
};

/* A whole number from 1 up; false with the complaint made. */
static bool number(const cli_t *cli, const char *option, uint64_t max, uint64_t *out)
{
    if (kmy_u64_parse(optarg, strlen(optarg), out) && *out >= 1 && *out <= max)
        return true;
    cli_wrong(cli, "%s '%.40s' is not a whole number from 1 to %llu", option, optarg,
              (unsigned long long)max);
    return false;
}

/* Options of `check` and `verify`; false: another option, or a complaint was made (*known tells). */
static bool take_check(cli_t *cli, int option, bool *known)
{
    const struct {
        int option;
        const char **to;
    } texts[] = {
        { O_SECRET_FILE, &cli->secret_file },
        { O_CONFIG, &cli->config },
        { O_NETWORK, &cli->network },
        { O_AMOUNT, &cli->amount },
        { O_PAY_TO, &cli->pay_to },
        { O_FEE_PAYER, &cli->fee_payer },
        { O_MEMO, &cli->memo },
        { O_RESOURCE, &cli->resource },
        { O_KEY, &cli->key },
        { O_FEEDS, &cli->feeds },
        { O_SPEND, &cli->spend },
        { O_WALLET, &cli->wallet },
        { O_WINDOW, &cli->window },
    };
    uint64_t n = 0;
    *known = true;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (texts[i].option == option) {
            *texts[i].to = optarg;
            return true;
        }
    if (option == O_TIMEOUT && number(cli, "--timeout", INT32_MAX, &n)) {
        cli->timeout_s = (int64_t)n;
        return true;
    }
    if (option == O_NOW && number(cli, "--now", INT64_MAX, &n)) {
        cli->now_s = (int64_t)n;
        return true;
    }
    if (option == O_RATE && number(cli, "--rate", KMY_TOKEN_RATE_MAX, &cli->rate))
        return true;
    *known = option == O_TIMEOUT || option == O_NOW || option == O_RATE;
    return false;
}

static bool take(cli_t *cli, int option)
{
    uint64_t n = 0;
    bool known;
    bool taken = take_check(cli, option, &known);
    if (known)
        return taken;
    switch (option) {
    case O_URL:
        cli->url = optarg;
        return true;
    case O_TOKEN:
        cli->token = optarg;
        return true;
    case O_ADMIN:
        cli->admin = optarg;
        return true;
    case O_DATA:
        cli->data = optarg;
        return true;
    case O_CA:
        cli->ca = optarg;
        return true;
    case O_JSON:
        cli->json = true;
        return true;
    case O_WITH_SECRETS:
        cli->with_secrets = true;
        return true;
    case O_FORCE:
        cli->force = true;
        return true;
    case O_DROP:
        cli->drop = true;
        return true;
    case O_FEED:
        cli->feed = optarg;
        return true;
    case O_ACCOUNT:
        cli->account = optarg;
        return true;
    case O_USD:
        cli->usd = optarg;
        return true;
    case O_COUNT:
        return number(cli, "--count", UINT64_MAX, &cli->count);
    case O_SECONDS:
        if (!number(cli, "--seconds", 31536000, &n))
            return false;
        cli->seconds = (int64_t)n;
        return true;
    case O_TTL:
        if (!number(cli, "--ttl", 86400, &n))
            return false;
        cli->ttl_s = (int64_t)n;
        return true;
    default:
        return false;
    }
}

static const char *setting(const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

int main(int argc, char **argv)
{
    cli_t cli = { .url = setting("KAMIYO_URL", "http://127.0.0.1:8402"),
                  .admin = setting("KAMIYO_ADMIN", "http://127.0.0.1:8403"),
                  .token = setting("KAMIYO_TOKEN", NULL),
                  .data = setting("KAMIYO_DATA", "./data") };
    signal(SIGPIPE, SIG_IGN);
    opterr = 0;
    for (int o; (o = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        if (o == O_HELP) {
            usage(stdout);
            return CLI_OK;
        }
        if (o == O_VERSION) {
            printf("kamiyo %s\n", KMY_VERSION);
            return CLI_OK;
        }
        if (o == '?')
            return cli_wrong(&cli, "option '%.40s' is unknown or lacks its value; see --help",
                             argv[optind - 1]);
        if (!take(&cli, o))
            return CLI_USAGE;
    }
    if (optind == argc) {
        cli_wrong(&cli, "no verb given; kamiyo --help lists them");
        return CLI_USAGE;
    }
    const struct verb *verb = find_verb(&cli, argv[optind]);
    if (!verb)
        return CLI_USAGE;
    cli.verb = verb->name;
    cli.words = argv + optind + 1;
    cli.words_count = argc - optind - 1;
    if (cli.words_count < verb->words_min || cli.words_count > verb->words_max)
        return cli_wrong(&cli, "wrong number of words; usage: kamiyo %s", verb->use);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int code = verb->run(&cli);
    curl_global_cleanup();
    if (fflush(stdout) != 0 || ferror(stdout))
        return cli_fail(&cli, "standard output could not be written");
    return code;
}
