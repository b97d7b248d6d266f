#include "tools/load/fleet.h"

#include "base/clock.h"
#include "base/log.h"
#include "tools/load/door.h"
#include "tools/load/tls.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { READY_S = 20, END_S = 40, LINE_BYTES_MAX = 1024, SYMBOL_BYTES_MAX = 16 };

/* --- usage --------------------------------------------------------------------------------- */

static bool read_text(const char *path, char *out, size_t cap)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, out, cap - 1) : -1;
    if (fd >= 0)
        close(fd);
    out[n > 0 ? n : 0] = 0;
    return n > 0;
}

static int64_t threads_cpu_ns(int pid)
{
    char path[320];
    char text[256];
    int64_t sum = 0;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *d = opendir(path);
    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/schedstat", pid, e->d_name);
        if (e->d_name[0] != '.' && read_text(path, text, sizeof text))
            sum += strtoll(text, NULL, 10);
    }
    if (d)
        closedir(d);
    return sum;
}

static int64_t ticks_cpu_ns(int pid)
{
    char path[64];
    char text[1024];
    unsigned long user = 0;
    unsigned long sys = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    const char *at = read_text(path, text, sizeof text) ? strrchr(text, ')') : NULL;
    if (!at ||
        sscanf(at, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &sys) != 2)
        return 0;
    return (int64_t)(user + sys) * (KMY_NS_PER_S / sysconf(_SC_CLK_TCK));
}

load_usage_t load_usage_read(int pid)
{
    char path[64];
    char text[4096];
    load_usage_t u = { 0 };
    if (pid <= 0)
        return u;
    u.cpu_ns = threads_cpu_ns(pid);
    if (u.cpu_ns == 0)
        u.cpu_ns = ticks_cpu_ns(pid);
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    const char *rss = read_text(path, text, sizeof text) ? strstr(text, "VmRSS:") : NULL;
    if (rss)
        u.rss_bytes = strtoll(rss + 6, NULL, 10) * 1024;
    return u;
}

/* Inode of the socket that listens there; 0: none. */
static unsigned long listener_inode(const struct sockaddr_in *at)
{
    char line[256];
    FILE *f = fopen("/proc/net/tcp", "r");
    unsigned long inode = 0;
    while (f && inode == 0 && fgets(line, sizeof line, f)) {
        unsigned addr, port, state;
        unsigned long found;
        if (sscanf(line, " %*u: %x:%x %*x:%*x %x %*x:%*x %*x:%*x %*x %*u %*u %lu", &addr, &port,
                   &state, &found) == 4 &&
            state == 0x0a && port == ntohs(at->sin_port) &&
            (addr == at->sin_addr.s_addr || addr == INADDR_ANY))
            inode = found;
    }
    if (f)
        fclose(f);
    return inode;
}

static bool holds(int pid, const char *link)
{
    char path[320], to[64];
    bool found = false;
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *d = opendir(path);
    for (struct dirent *e = d ? readdir(d) : NULL; e && !found; e = readdir(d)) {
        snprintf(path, sizeof path, "/proc/%d/fd/%.20s", pid, e->d_name);
        ssize_t n = readlink(path, to, sizeof to - 1);
        to[n > 0 ? n : 0] = 0;
        found = strcmp(to, link) == 0;
    }
    if (d)
        closedir(d);
    return found;
}

int load_pid_of(const struct sockaddr_in *at)
{
    char link[64];
    unsigned long inode = listener_inode(at);
    int pid = 0;
    snprintf(link, sizeof link, "socket:[%lu]", inode);
    DIR *d = inode ? opendir("/proc") : NULL;
    for (struct dirent *e = d ? readdir(d) : NULL; e && pid == 0; e = readdir(d)) {
        int one = atoi(e->d_name);
        if (one > 0 && holds(one, link))
            pid = one;
    }
    if (d)
        closedir(d);
    return pid;
}

/* --- starting a program -------------------------------------------------------------------- */

static void pin_to(int core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)core, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static bool two_cores(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 && CPU_ISSET(0, &set) && CPU_ISSET(1, &set);
}

void load_pin_self(void)
{
    if (two_cores())
        pin_to(1);
}

static void in_child(char *const *argv, int out, const char *err_path, int core)
{
    int err = open(err_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* never outlive the harness */
    if (core >= 0)
        pin_to(core);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    execv(argv[0], argv);
    dprintf(STDERR_FILENO, "cannot run %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

/* Its first line on stdout; out is the read end. */
static kmy_err_t ready_line(int out, const char *what, const char *err_path, char *line,
                            kmy_errctx_t *ctx)
{
    size_t len = 0;
    int64_t until = kmy_mono_ns() + READY_S * KMY_NS_PER_S;
    struct pollfd p = { .fd = out, .events = POLLIN };
    while (len < LINE_BYTES_MAX - 1 && kmy_mono_ns() < until) {
        if (poll(&p, 1, 100) <= 0)
            continue;
        ssize_t n = read(out, line + len, 1);
        if (n <= 0)
            break;
        if (line[len] == '\n') {
            line[len] = 0;
            return KMY_OK;
        }
        len += (size_t)n;
    }
    char text[128] = "";
    read_text(err_path, text, sizeof text);
    return KMY_FAIL(ctx, KMY_UNAVAILABLE, "%s did not start: %s", what, text);
}

static kmy_err_t spawn(const char *what, char *const *argv, const char *err_path, int core,
                       int *pid, char *line, kmy_errctx_t *ctx)
{
    int pipe_fd[2];
    if (pipe2(pipe_fd, O_CLOEXEC) != 0)
        return KMY_FAIL_SYS(ctx, KMY_IO, "no pipe: %s", strerror(errno));
    *pid = fork();
    if (*pid == 0)
        in_child(argv, pipe_fd[1], err_path, core);
    close(pipe_fd[1]);
    kmy_err_t err = *pid > 0 ? ready_line(pipe_fd[0], what, err_path, line, ctx)
                             : KMY_FAIL_SYS(ctx, KMY_IO, "cannot fork: %s", strerror(errno));
    close(pipe_fd[0]);
    return err;
}

/* --- what they are told -------------------------------------------------------------------- */

/* Names of the market's symbols: three that everybody knows, then numbered ones. */
static void symbol_name(uint32_t i, char out[SYMBOL_BYTES_MAX])
{
    static const char *const known[] = { "SOL", "ETH", "BTC" };
    if (i < 3)
        snprintf(out, SYMBOL_BYTES_MAX, "%s", known[i]);
    else
        snprintf(out, SYMBOL_BYTES_MAX, i < 100 ? "K%02u" : "K%03u", i % 1000);
}

/* Events a second that make so many ticks: the simulator's eight are five bookTicker, two trade, one aggTrade. */
static uint64_t event_rate(const load_scenario_t *s)
{
    double per_eight = strcmp(s->stream, "bookTicker") == 0 ? 5
                       : strcmp(s->stream, "trade") == 0    ? 2
                                                            : 1;
    double rate = s->ticks_per_s * 8 / per_eight;
    return rate < 1 ? 1 : (uint64_t)(rate + 0.5);
}

static kmy_err_t start_sim(load_fleet_t *f, load_t *l, const char *bin, int core, char *line,
                           kmy_errctx_t *ctx)
{
    char program[320], err_path[300];
    static char market[LOAD_FEEDS_MAX * 32 + 256];
    int n = snprintf(market, sizeof market,
                     "seed=%" PRIu64 ",rate=%" PRIu64 ",symbols=", l->s.seed ? l->s.seed : 1,
                     event_rate(&l->s));
    for (uint32_t i = 0; i < l->s.market_feeds; i++) {
        char name[SYMBOL_BYTES_MAX];
        symbol_name(i, name);
        n += snprintf(market + n, sizeof market - (size_t)n, "%s%sUSDT:%u.00", i ? "," : "", name,
                      100 + i);
    }
    if (l->s.pyth)
        snprintf(market + n, sizeof market - (size_t)n,
                 ",feeds=BTC/USD:61000,feeds=ETH/USD:3000,feeds=SOL/USD:150");
    snprintf(program, sizeof program, "%s/kamiyo-sim", bin);
    snprintf(err_path, sizeof err_path, "%s/sim.log", f->dir);
    /* It shares its core with us: beyond a thousand ticks a second waking up for each would take a quarter of it. */
    char gather[] = "1ms";
    if (l->s.ticks_per_s * l->s.market_feeds <= 1000)
        gather[0] = '0';
    char *argv[] = { program, "--market", market,     "--rebase-time", "--messages-per-second",
                     "0",     "--queue",  "67108864", "--gather",      gather,
                     NULL };
    return spawn("kamiyo-sim", argv, err_path, core, &f->sim_pid, line, ctx);
}

/* "listening binance=URL hermes=URL ..." -> the value of key. */
static bool word_of(const char *line, const char *key, char *out, size_t cap)
{
    char want[32];
    int n = snprintf(want, sizeof want, " %s=", key);
    const char *at = strstr(line, want);
    if (!at)
        return false;
    at += n;
    size_t len = strcspn(at, " ");
    if (len >= cap)
        return false;
    memcpy(out, at, len);
    out[len] = 0;
    return true;
}

static kmy_err_t write_config(const load_fleet_t *f, const load_t *l, const char *binance,
                              const char *hermes, kmy_errctx_t *ctx)
{
    char path[300];
    snprintf(path, sizeof path, "%s/kamiyod.yaml", f->dir);
    FILE *c = fopen(path, "w");
    if (!c)
        return KMY_FAIL_SYS(ctx, KMY_IO, "cannot write %.120s: %s", path, strerror(errno));
    fprintf(c, "public: { listen: \"127.0.0.1:0\"");
    if (l->s.tls)
        fprintf(c, ", tls_cert: \"%s/cert.pem\", tls_key: \"%s/key.pem\"", f->dir, f->dir);
    fprintf(c, " }\nadmin: { listen: \"127.0.0.1:0\" }\n");
    fprintf(c, "data: \"%s/data\"\nshards: { count: %u, pin: true }\n", f->dir, l->s.shards);
    fprintf(c, "limits: { connections: %u }\n", l->s.agents + 1000);
    fprintf(c, "snapshot: { history_bytes: 64MiB }\nlog_level: warn\nsources:\n");
    fprintf(c, "  binance: { url: \"%s/stream\", streams: [%s], symbols: [", binance, l->s.stream);
    for (uint32_t i = 0; i < l->s.market_feeds; i++) {
        char name[SYMBOL_BYTES_MAX];
        symbol_name(i, name);
        fprintf(c, "%s%sUSDT", i ? ", " : "", name);
    }
    fprintf(c, "] }\n  pyth: { url: \"%s/ws\", feeds: [%s] }\n", hermes,
            l->s.pyth ? "BTC/USD, ETH/USD, SOL/USD" : "");
    return fclose(c) == 0 ? KMY_OK : KMY_FAIL(ctx, KMY_IO, "cannot write %.120s", path);
}

/* A certificate of this run's own; the agents believe it and nothing else. */
static kmy_err_t start_tls(load_fleet_t *f, load_t *l, kmy_errctx_t *ctx)
{
    char key[300];
    snprintf(f->cert, sizeof f->cert, "%s/cert.pem", f->dir);
    snprintf(key, sizeof key, "%s/key.pem", f->dir);
    kmy_err_t err = load_tls_certificate(f->cert, key, ctx);
    return err == KMY_OK ? load_tls_init(l, f->cert, false, "127.0.0.1", ctx) : err;
}

static kmy_err_t start_daemon(load_fleet_t *f, load_t *l, const char *bin, int core, char *line,
                              kmy_errctx_t *ctx)
{
    char program[320], config[300], err_path[300], path[300];
    snprintf(program, sizeof program, "%s/kamiyod", bin);
    snprintf(config, sizeof config, "%s/kamiyod.yaml", f->dir);
    snprintf(err_path, sizeof err_path, "%s/kamiyod.log", f->dir);
    char *argv[] = { program, "run", "--config", config, NULL };
    kmy_err_t err = spawn("kamiyod", argv, err_path, core, &f->daemon_pid, line, ctx);
    char public[64], admin[64];
    if (err != KMY_OK)
        return err;
    l->server_pid = f->daemon_pid;
    if (!word_of(line, "public", public, sizeof public) ||
        !word_of(line, "admin", admin, sizeof admin) ||
        !load_address_parse(public, &l->public_at) || !load_address_parse(admin, &l->admin_at))
        return KMY_FAIL(ctx, KMY_UNAVAILABLE, "kamiyod said: %.120s", line);
    snprintf(l->authority, sizeof l->authority, "%s", public);
    snprintf(path, sizeof path, "%s/data/admin.token", f->dir);
    if (!read_text(path, l->admin_token, sizeof l->admin_token))
        return KMY_FAIL(ctx, KMY_IO, "no admin token in %.120s", path);
    l->admin_token[strcspn(l->admin_token, "\r\n")] = 0;
    return KMY_OK;
}

kmy_err_t load_fleet_start(load_fleet_t *f, load_t *l, bool pin, kmy_errctx_t *ctx)
{
    char bin[256], line[LINE_BYTES_MAX], binance[64], hermes[64];
    const char *tmp = getenv("TMPDIR");
    ssize_t n = readlink("/proc/self/exe", bin, sizeof bin - 1);
    bin[n > 0 ? n : 0] = 0;
    char *slash = strrchr(bin, '/');
    if (slash)
        *slash = 0;
    snprintf(f->dir, sizeof f->dir, "%s/kamiyo-load-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(f->dir)) {
        f->dir[0] = 0;
        return KMY_FAIL_SYS(ctx, KMY_IO, "no temporary folder: %s", strerror(errno));
    }
    bool both = pin && two_cores();
    kmy_err_t err = start_sim(f, l, bin, both ? 1 : -1, line, ctx);
    if (err == KMY_OK && (!word_of(line, "binance", binance, sizeof binance) ||
                          !word_of(line, "hermes", hermes, sizeof hermes)))
        err = KMY_FAIL(ctx, KMY_UNAVAILABLE, "kamiyo-sim said: %.120s", line);
    if (err == KMY_OK && l->s.tls)
        err = start_tls(f, l, ctx);
    if (err == KMY_OK)
        err = write_config(f, l, binance, hermes, ctx);
    if (err == KMY_OK)
        err = start_daemon(f, l, bin, both && l->s.shards == 1 ? 0 : -1, line, ctx);
    if (err != KMY_OK) {
        bool ok;
        load_fleet_stop(f, &ok);
    } else if (both) {
        pin_to(1);
    }
    return err;
}

/* --- the end ------------------------------------------------------------------------------- */

static int end_child(int *pid)
{
    int status = -1;
    if (*pid <= 0)
        return 0;
    kill(*pid, SIGTERM);
    int64_t until = kmy_mono_ns() + END_S * KMY_NS_PER_S;
    while (waitpid(*pid, &status, WNOHANG) == 0) {
        if (kmy_mono_ns() > until)
            kill(*pid, SIGKILL);
        poll(NULL, 0, 5);
    }
    *pid = 0;
    return status;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

void load_fleet_stop(load_fleet_t *f, bool *ok)
{
    int status = end_child(&f->daemon_pid); /* customers before the market */
    end_child(&f->sim_pid);
    *ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (f->dir[0] && !f->keep)
        nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    f->dir[0] = 0;
}
