/* kamiyod: arguments, signals, start, stop. */
#include "base/log.h"
#include "engine/config.h"
#include "engine/config_check.h"
#include "engine/daemon.h"

#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static const char usage[] =
    "usage: kamiyod run [--config FILE] [--migrate] [--conformance-echo]\n"
    "       kamiyod check-config [--config FILE]\n"
    "       kamiyod print-config [--config FILE] [--reference]\n"
    "       kamiyod --version | --help\n"
    "\n"
    "Sells real-time data by the tick.  Without a file every key has its default; any key can be "
    "set by\n"
    "environment, for example KAMIYO_PUBLIC_LISTEN=127.0.0.1:0.\n"
    "\n"
    "  run            serve in the foreground; prints 'listening public=ADDR admin=ADDR' once "
    "ready\n"
    "  check-config   exit 0 if the configuration is right, else say what is wrong and where\n"
    "  print-config   the effective configuration as YAML, secrets masked\n"
    "    --reference  the reference of all keys as Markdown instead (docs/configuration.md)\n"
    "  --migrate      a ledger of an older format becomes one of this program; back it up first, "
    "older programs refuse it then\n"
    "  --conformance-echo  also serve WebSocket /echo, for conformance suites; never in "
    "production\n"
    "\n"
    "Signals: TERM and INT drain and stop, HUP reads configuration and certificate again,\n"
    "USR2 drains without a stop, and ends that.  Exit: 0 success, 1 "
    "failure, 2 wrong usage.\n";

typedef struct arguments {
    const char *verb;
    const char *config;
    bool echo;
    bool migrate;
    bool reference;
} arguments_t;

static int complain(const char *what)
{
    fprintf(stderr, "kamiyod: %s; see kamiyod --help\n", what);
    return EXIT_USAGE;
}

/* -1: go on; else the exit status. */
static int read_arguments(int argc, char **argv, arguments_t *a)
{
    enum { OPT_VERSION = 1000, OPT_HELP, OPT_ECHO, OPT_REFERENCE, OPT_MIGRATE };
    static const struct option options[] = {
        { "config", required_argument, NULL, 'c' },
        { "version", no_argument, NULL, OPT_VERSION },
        { "help", no_argument, NULL, OPT_HELP },
        { "conformance-echo", no_argument, NULL, OPT_ECHO },
        { "migrate", no_argument, NULL, OPT_MIGRATE },
        { "reference", no_argument, NULL, OPT_REFERENCE },
        { 0 },
    };
    opterr = 0;
    for (int o; (o = getopt_long(argc, argv, "c:h", options, NULL)) != -1;) {
        switch (o) {
        case 'c':
            a->config = optarg;
            break;
        case OPT_VERSION:
            puts("kamiyod " KMY_VERSION);
            return EXIT_OK;
        case 'h':
        case OPT_HELP:
            fputs(usage, stdout);
            return EXIT_OK;
        case OPT_ECHO:
            a->echo = true;
            break;
        case OPT_MIGRATE:
            a->migrate = true;
            break;
        case OPT_REFERENCE:
            a->reference = true;
            break;
        default:
            return complain("unknown option, or one without its value");
        }
    }
    if (optind + 1 != argc)
        return complain(optind == argc ? "say what to do" : "one verb at a time");
    a->verb = argv[optind];
    return -1;
}

static void set_log_level(const kmy_config_t *cfg)
{
    static const char *const names[] = { "debug", "info", "warn", "error" };
    for (int i = 0; i < 4; i++) {
        if (strcmp(cfg->log_level, names[i]) == 0)
            kmy_log_set_level((kmy_log_level_t)i);
    }
}

/* The file and the environment are read anew, as at the start; a configuration that is wrong changes nothing. */
static void reload(kmy_daemon_t *d, const arguments_t *a)
{
    static kmy_config_t fresh;
    kmy_errctx_t ctx = { 0 };
    const char *stays = "";
    kmy_err_t err = kmy_config_load(&fresh, a->config, &ctx);
    if (err == KMY_OK) {
        stays = ", the old certificate stays";
        err = kmy_daemon_reload(d, &fresh, &ctx);
        if (err == KMY_OK)
            set_log_level(&fresh);
        kmy_config_free(&fresh);
    }
    if (err != KMY_OK)
        kmy_log(KMY_LOG_ERROR, "kamiyod", "on SIGHUP: %s; nothing was changed%s", ctx.detail,
                stays);
}

static void toggle_quiet(kmy_daemon_t *d)
{
    bool quiet = !kmy_daemon_is_quiet(d);
    kmy_log(KMY_LOG_INFO, "kamiyod", "on SIGUSR2: %s",
            quiet ? "draining without a stop, no new sessions" : "new sessions are taken again");
    kmy_daemon_quiet(d, quiet);
}

static int run(const kmy_config_t *cfg, const arguments_t *a)
{
    /* Blocked before the first thread exists, so that all of them have it blocked and sigwait gets it. */
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);

    kmy_daemon_t *d;
    kmy_errctx_t ctx = { 0 };
    kmy_daemon_options_t options = { .config = cfg,
                                     .conformance_echo = a->echo,
                                     .migrate = a->migrate };
    if (a->echo)
        kmy_log(KMY_LOG_WARN, "kamiyod",
                "the conformance door /echo is open: this is for test suites, never for customers");
    if (kmy_daemon_start(&d, &options, &ctx) != KMY_OK) {
        fprintf(stderr, "kamiyod: %s\n", ctx.detail);
        return EXIT_FAILED;
    }
    printf("listening public=%s admin=%s\n", kmy_daemon_public(d), kmy_daemon_admin(d));
    fflush(stdout);
    int sig;
    while (sigwait(&signals, &sig) == 0 && (sig == SIGHUP || sig == SIGUSR2)) {
        if (sig == SIGHUP)
            reload(d, a);
        else
            toggle_quiet(d);
    }
    kmy_log(KMY_LOG_INFO, "kamiyod", "draining on %s", sig == SIGTERM ? "SIGTERM" : "SIGINT");
    kmy_daemon_stop(d);
    kmy_log(KMY_LOG_INFO, "kamiyod", "stopped");
    return EXIT_OK;
}

int main(int argc, char **argv)
{
    arguments_t a = { 0 };
    int status = read_arguments(argc, argv, &a);
    if (status >= 0)
        return status;
    if (a.reference && strcmp(a.verb, "print-config") == 0) {
        kmy_config_reference(stdout);
        return EXIT_OK;
    }
    bool is_run = strcmp(a.verb, "run") == 0;
    bool is_print = strcmp(a.verb, "print-config") == 0;
    if (!is_run && !is_print && strcmp(a.verb, "check-config") != 0)
        return complain("the verbs are run, check-config and print-config");
    kmy_config_t cfg;
    kmy_errctx_t ctx = { 0 };
    if (kmy_config_load(&cfg, a.config, &ctx) != KMY_OK) {
        fprintf(stderr, "kamiyod: %s\n", ctx.detail);
        return EXIT_FAILED;
    }
    set_log_level(&cfg);
    if (is_print) {
        kmy_config_print(&cfg, stdout);
    } else if (is_run) {
        status = run(&cfg, &a);
    } else if (kmy_config_check(&cfg, &ctx) != KMY_OK) {
        fprintf(stderr, "kamiyod: %s\n", ctx.detail);
        status = EXIT_FAILED;
    }
    kmy_config_free(&cfg);
    return status < 0 ? EXIT_OK : status;
}
