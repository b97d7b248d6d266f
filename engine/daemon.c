#include "engine/daemon.h"

#include "base/clock.h"
#include "base/log.h"
#include "engine/cashier.h"
#include "engine/catalog.h"
#include "engine/config_diff.h"
#include "engine/demand.h"
#include "engine/doors.h"
#include "engine/feeds.h"
#include "engine/history.h"
#include "engine/keeper.h"
#include "engine/limiter.h"
#include "engine/offers.h"
#include "engine/recorder.h"
#include "engine/reload.h"
#include "engine/roster.h"
#include "engine/session_table.h"
#include "engine/shard.h"
#include "engine/topology.h"
#include "pay/ledger_book.h"
#include "pay/token_jws.h"
#include "store/snapshot.h"
#include "wire/flat.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* The longest a token lives (24 h), what clocks may differ, and a minute for tokens that are being signed now. */
enum { TOKEN_LIFE_S_MAX = 86400 + KMY_TOKEN_LEEWAY_S + 60 };
enum { METRICS_FIXED = 5, ADMIN_TOKEN_BYTES = 64, PATH_BYTES = KMY_CONFIG_TEXT_BYTES_MAX + 64 };

struct kmy_daemon {
    const kmy_config_t *config;
    kmy_config_t live;     /* what is in force: config, and what was taken over since */
    uint32_t price_book;   /* at the start */
    kmy_reload_t *reloads; /* all that were given to the shards; owned */
    int lock_fd;
    kmy_catalog_t catalog;
    kmy_snapshot_t *snapshot;
    kmy_ledger_t *ledger;
    kmy_topology_t topology;
    kmy_keeper_t *keeper;
    kmy_cashier_t *cashier;
    kmy_recorder_t *recorder;
    kmy_history_t *history;
    kmy_feeds_t
        *_Atomic feeds; /* the shards look at it for the operator's view; set when it runs */
    kmy_shard_t *shards[KMY_SHARDS_MAX];
    uint32_t shards_count;
    uint32_t shards_started;
    uint64_t next_seq;
    kmy_tick_t *last;
    kmy_tick_t *last_quote;
    kmy_revoked_t *revoked;
    size_t revoked_count;
    kmy_token_key_t *_Atomic token_keys; /* the present table */
    kmy_token_key_t **token_tables; /* all there were: a shard may still look at an older one */
    size_t token_tables_count;
    char admin_token[ADMIN_TOKEN_BYTES + 1];
    char epoch[64];
    char public_text[KMY_DOOR_TEXT_BYTES];
    kmy_offers_t offers;
    char admin_text[KMY_DOOR_TEXT_BYTES];
    kmy_roster_t *roster;
    kmy_session_table_t *sessions;
    kmy_limiter_t *limiter;
    kmy_receipt_key_t *receipt_key;
    kmy_tls_t *tls; /* NULL: the public door is plain */
    _Atomic uint32_t public_open;
    kmy_metrics_t *metrics; /* feeds, recorder, keeper, history, cashier, then one per shard */
    kmy_metrics_t *all_metrics[METRICS_FIXED + KMY_SHARDS_MAX];
    int64_t start_mono_ns;
};

static void path_in(const kmy_daemon_t *d, const char *name, char out[PATH_BYTES])
{
    snprintf(out, PATH_BYTES, "%s/%s", d->config->data, name);
}

/* --- data folder ----------------------------------------------------------------------------- */

/* One daemon per data folder: two would both believe they own the ledger. */
static kmy_err_t lock_data(kmy_daemon_t *d, kmy_errctx_t *ctx)
{
    char path[PATH_BYTES];
    if (mkdir(d->config->data, 0700) != 0 && errno != EEXIST)
        return KMY_FAIL_SYS(ctx, KMY_IO, "cannot make the data folder %.100s: %s", d->config->data,
                            strerror(errno));
    path_in(d, "lock", path);
    d->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (d->lock_fd < 0)
        return KMY_FAIL_SYS(ctx, KMY_IO, "cannot open %.120s: %s", path, strerror(errno));
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return KMY_FAIL_SYS(ctx, KMY_IO, "the data folder %.100s is in use by another kamiyod",
                            d->config->data);
    return KMY_OK;
}

/* The operator's bearer: made at first start, 0600, read by `kamiyo` from there. */
static kmy_err_t load_admin_token(kmy_daemon_t *d, kmy_errctx_t *ctx)
{
    char path[PATH_BYTES];
    path_in(d, "admin.token", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t n = read(fd, d->admin_token, ADMIN_TOKEN_BYTES);
        close(fd);
        if (n == ADMIN_TOKEN_BYTES)
            return KMY_OK;
        return KMY_FAIL(ctx, KMY_CONFIG, "%.120s is damaged; delete it and a new one is made",
                        path);
    }
    uint8_t raw[ADMIN_TOKEN_BYTES / 2];
    if (getrandom(raw, sizeof raw, 0) != (ssize_t)sizeof raw)
        return KMY_FAIL(ctx, KMY_IO, "no randomness");
    for (size_t i = 0; i < sizeof raw; i++)
        snprintf(d->admin_token + 2 * i, 3, "%02x", raw[i]);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && write(fd, d->admin_token, ADMIN_TOKEN_BYTES) == ADMIN_TOKEN_BYTES &&
              fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return ok ? KMY_OK
              : KMY_FAIL_SYS(ctx, KMY_IO, "cannot write %.120s: %s", path, strerror(errno));
}

/* --- token keys -------------------------------------------------------------------------------- */

/* The table on disk becomes the present one. */
static kmy_err_t load_token_keys(kmy_daemon_t *d, kmy_errctx_t *ctx)
{
    kmy_token_key_t **grown =
        realloc(d->token_tables, (d->token_tables_count + 1) * sizeof(kmy_token_key_t *));
    if (!grown)
        return KMY_FAIL(ctx, KMY_IO, "out of memory");
    d->token_tables = grown;
    kmy_token_key_t *keys = kmy_token_keys_load(d->config->tokens.secret_file, d->config->data,
                                                kmy_wall_ns() / KMY_NS_PER_S, ctx);
    if (!keys)
        return KMY_CONFIG;
    if (d->token_tables_count > 0)
        kmy_token_mac_keep(keys, d->token_tables[0]);
    grown[d->token_tables_count++] = keys;
    atomic_store_explicit(&d->token_keys, keys, memory_order_release);
    return KMY_OK;
}

/* On the keeper's thread. */
static kmy_err_t rotate_token_key(void *arg, bool drop, char kid[KMY_JTI_BYTES_MAX],
                                  kmy_errctx_t *ctx)
{
    kmy_daemon_t *d = arg;
    int64_t now_s = kmy_wall_ns() / KMY_NS_PER_S;
    if (d->config->tokens.secret_file[0])
        return KMY_FAIL(ctx, KMY_CONFLICT,
                        "tokens.secret_file names the key, so it is yours to replace");
    kmy_err_t err =
        kmy_token_keys_rotate(d->config->data, now_s, now_s + TOKEN_LIFE_S_MAX, drop, ctx);
    if (err == KMY_OK)
        err = load_token_keys(d, ctx);
    if (err != KMY_OK)
        return err;
    kmy_token_key_t *keys = atomic_load_explicit(&d->token_keys, memory_order_relaxed);
    snprintf(kid, KMY_JTI_BYTES_MAX, "%s", kmy_token_key_id(keys));
    kmy_log(KMY_LOG_INFO, "kamiyod",
            "token key %s signs from now on; %zu earlier ones are good for checks", kid,
            kmy_token_key_count(keys) - 1);
    return KMY_OK;
}

/* --- snapshot store: ids, offsets, newest values ------------------------------------------------ */

static bool keep_last(void *arg, uint32_t feed_id, uint8_t source, uint8_t kind, const void *value,
                      size_t bytes)
{
    (void)source;
    (void)kind;
    kmy_daemon_t *d = arg;
    const kmy_feed_t *feed = kmy_catalog_by_id(&d->catalog, feed_id);
    kmy_tick_t tick;
    if (!feed || kmy_flat_decode(value, bytes, &tick, NULL, NULL) != KMY_OK ||
        tick.feed_id != feed_id)
        return true;  /* a feed no longer sold; a damaged value is as good as none */
    tick.mono_ns = 0; /* of another boot, perhaps */
    if (tick.offset > d->last[feed->idx].offset)
        d->last[feed->idx] = tick;
    if ((tick.has & KMY_HAS_BID) && tick.offset > d->last_quote[feed->idx].offset)
        d->last_quote[feed->idx] = tick;
    return true;
}

static kmy_err_t assign_ids(kmy_daemon_t *d, kmy_errctx_t *ctx)
{
    uint32_t *ids = calloc(d->catalog.feeds_count + 1, sizeof *ids);
    if (!ids)
        return KMY_FAIL(ctx, KMY_IO, "out of memory");
    kmy_err_t err = KMY_OK;
    for (uint32_t i = 0; err == KMY_OK && i < d->catalog.feeds_count; i++) {
        kmy_feed_t *f = &d->catalog.feeds[i];
        err = kmy_snapshot_feed_id(d->snapshot, f->name, &ids[i], ctx);
        if (err == KMY_OK)
            err = kmy_snapshot_last_offset(d->snapshot, ids[i], &f->last_offset, ctx);
    }
    if (err == KMY_OK)
        err = kmy_catalog_assign(&d->catalog, ids, ctx);
    free(ids);
    return err;
}

static kmy_err_t open_snapshot(kmy_daemon_t *d, kmy_errctx_t *ctx)
{
    char path[PATH_BYTES];
    path_in(d, "snapshot", path);
    kmy_snapshot_options_t o = {
        .history_age_ns_max = d->config->snapshot.history_age_ns,
        .history_bytes_max = (uint64_t)d->config->snapshot.history_bytes,
    };
    bool clean;
    bool rebuilt;
    kmy_err_t err = kmy_snapshot_open(&d->snapshot, path, &o, &clean, &rebuilt, ctx);
    if (err != KMY_OK)
        return err;
    if (rebuilt)
        kmy_log(KMY_LOG_WARN, "kamiyod",
                "the snapshot store was damaged: moved aside and begun anew; history is gone, "
                "money is not in it");
    else if (!clean)
        kmy_log(KMY_LOG_WARN, "kamiyod", "the last stop was unclean: offsets begin a new epoch");
    snprintf(d->epoch, sizeof d->epoch, "%s", kmy_snapshot_epoch(d->snapshot));
    err = kmy_snapshot_resume(d->snapshot, &d->next_seq, ctx);
    if (err == KMY_OK)
        err = assign_ids(d, ctx);
    return err;
}

/* The store's writer, then the newest values of the last life through it (LMDB allows one handle per process). */
static kmy_err_t open_store(kmy_daemon_t *d, kmy_errctx_t *ctx)
{
    kmy_err_t err = open_snapshot(d, ctx);
    if (err != KMY_OK)
        return err;
    kmy_snapshot_reader_t *reader;
    err = kmy_snapshot_reader_share(&reader, d->snapshot, ctx);
    if (err != KMY_OK)
        return err;
    err = kmy_snapshot_visit_last(reader, 0, keep_last, d, ctx);
    kmy_snapshot_reader_close(reader);
    return err;
}

/* --- ledger ------------------------------------------------------------------------------------ */

static bool keep_revoked(void *arg, const char *jti, int64_t expires_ns)
{
    kmy_daemon_t *d = arg;
    kmy_revoked_t *grown = realloc(d->revoked, (d->revoked_count + 1) * sizeof *grown);
    if (!grown)
        return false;
    d->revoked = grown;
    kmy_revoked_t *r = &grown[d->revoked_count++];
    snprintf(r->jti, sizeof r->jti, "%s", jti);
    r->expires_s = expires_ns / KMY_NS_PER_S;
    return true;
}

static kmy_price_book_t book_of(const kmy_config_t *c)
{
    return (kmy_price_book_t){ .query_nusd = c->prices.query_nusd,
                               .market_query_nusd = c->prices.market_query_nusd,
                               .tick_nusd = c->prices.tick_nusd,
                               .pass_nusd = c->prices.pass_nusd,
                               .batch_discount_percent = (uint32_t)c->prices.batch_discount_percent,
                               .batch_from = (uint32_t)c->prices.batch_from };
}

/* Before the keeper has the ledger. */
static kmy_err_t open_book(kmy_daemon_t *d, kmy_errctx_t *ctx)
{
    kmy_price_book_t book = book_of(d->config);
    kmy_err_t err = kmy_ledger_begin(d->ledger, ctx);
    if (err != KMY_OK)
        return err;
    err = kmy_ledger_book(d->ledger, &book, kmy_wall_ns(), ctx);
    kmy_err_t committed = kmy_ledger_commit(d->ledger, err == KMY_OK ? ctx : NULL);
    d->price_book = book.version;
    return err == KMY_OK ? committed : err;
}

static kmy_err_t open_ledger(kmy_daemon_t *d, bool migrate, kmy_errctx_t *ctx)
{
    char path[PATH_BYTES];
    path_in(d, "ledger", path);
    kmy_ledger_recovery_t recovery = { 0 };
    kmy_err_t err = kmy_ledger_open_with(
        &d->ledger, path, &(kmy_ledger_options_t){ .migrate = migrate }, &recovery, ctx);
    if (err != KMY_OK)
        return err;
    if (recovery.leases_count > 0)
        kmy_log(KMY_LOG_WARN, "kamiyod",
                "recovered: %llu leases of %lld nano-USD went back to their accounts",
                (unsigned long long)recovery.leases_count, (long long)recovery.leases_nusd);
    err = open_book(d, ctx);
    if (err != KMY_OK)
        return err;
    return kmy_ledger_visit_revoked(d->ledger, kmy_wall_ns(), keep_revoked, d, ctx);
}

/* --- threads ----------------------------------------------------------------------------------- */

static uint32_t cpus(int out[KMY_SHARDS_MAX])
{
    cpu_set_t set;
    uint32_t n = 0;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        for (int i = 0; i < CPU_SETSIZE && n < KMY_SHARDS_MAX; i++) {
            if (CPU_ISSET((size_t)i, &set))
                out[n++] = i;
        }
    }
    if (n == 0)
        out[n++] = -1;
    return n;
}

static kmy_err_t make_metrics(kmy_daemon_t *d, kmy_errctx_t *ctx)
{
    size_t n = METRICS_FIXED + d->shards_count;
    d->metrics = aligned_alloc(64, n * sizeof *d->metrics);
    if (!d->metrics)
        return KMY_FAIL(ctx, KMY_IO, "out of memory");
    memset(d->metrics, 0, n * sizeof *d->metrics);
    for (size_t i = 0; i < n; i++)
        d->all_metrics[i] = &d->metrics[i];
    return KMY_OK;
}

static kmy_err_t start_shards(kmy_daemon_t *d, const kmy_daemon_options_t *options, const int *cpu,
                              uint32_t cpus_count, kmy_errctx_t *ctx)
{
    kmy_door_t public_door;
    kmy_door_t admin_door;
    kmy_err_t err = kmy_door_parse(d->config->public_door.listen, &public_door, ctx);
    if (err == KMY_OK)
        err = kmy_door_parse(d->config->admin.listen, &admin_door, ctx);
    if (err == KMY_OK)
        err = kmy_door_probe(&public_door, ctx);
    for (uint32_t i = 0; err == KMY_OK && i < d->shards_count; i++) {
        kmy_shard_options_t o = {
            .index = i,
            .cpu = d->config->shards.pin && d->shards_count <= cpus_count ? cpu[i] : -1,
            .listen_fd = { -1, -1 },
            .config = d->config,
            .price_book = d->price_book,
            .catalog = &d->catalog,
            .topology = &d->topology,
            .feeds = &d->feeds,
            .last = d->last,
            .last_quote = d->last_quote,
            .epoch = d->epoch,
            .revoked = d->revoked,
            .revoked_count = d->revoked_count,
            .token_keys = &d->token_keys,
            .admin_token = d->admin_token,
            .receipt_key = kmy_receipt_key_public(d->receipt_key),
            .metrics = d->all_metrics[METRICS_FIXED + i],
            .all_metrics = d->all_metrics,
            .all_metrics_count = METRICS_FIXED + d->shards_count,
            .roster = d->roster,
            .sessions = d->sessions,
            .limiter = d->limiter,
            .tls = d->tls,
            .public_open = &d->public_open,
            .offers = &d->offers,
            .conformance_echo = options->conformance_echo,
            .start_mono_ns = d->start_mono_ns,
        };
        err =
            kmy_door_listen(&public_door, d->shards_count > 1, &o.listen_fd[KMY_DOOR_PUBLIC], ctx);
        if (err == KMY_OK && i == 0) {
            kmy_door_text(&public_door, d->public_text);
            err = kmy_offers_init(&d->offers, d->config, d->public_text, ctx);
            if (err == KMY_OK) {
                kmy_demand_members(&d->offers);
                kmy_offers_tell(&d->offers);
            }
        }
        if (err == KMY_OK && i == 0)
            err = kmy_door_listen(&admin_door, false, &o.listen_fd[KMY_DOOR_ADMIN], ctx);
        if (err == KMY_OK)
            err = kmy_shard_start(&d->shards[i], &o, ctx);
        if (err == KMY_OK) {
            d->shards_started++;
            continue;
        }
        for (int door = 0; door < KMY_DOORS; door++) {
            if (o.listen_fd[door] >= 0)
                close(o.listen_fd[door]);
        }
    }
    kmy_door_text(&admin_door, d->admin_text);
    return err;
}

/* Behind the shards, since where customers sign in is theirs to know; what they ask before waits in its queue. */
static kmy_err_t start_cashier(kmy_daemon_t *d, kmy_errctx_t *ctx)
{
    kmy_cashier_options_t o = {
        .config = d->config,
        .topology = &d->topology,
        .metrics = d->all_metrics[4],
        .token_key = atomic_load_explicit(&d->token_keys, memory_order_relaxed),
        .offers = &d->offers,
    };
    return kmy_cashier_start(&d->cashier, &o, ctx);
}

static kmy_err_t start_feeds(kmy_daemon_t *d, kmy_errctx_t *ctx)
{
    static kmy_wake_t *wakes[KMY_SHARDS_MAX];
    for (uint32_t i = 0; i < d->shards_count; i++)
        wakes[i] = &d->topology.shard_wake[i];
    kmy_feeds_options_t o = {
        .config = d->config,
        .catalog = &d->catalog,
        .ring = d->topology.ring,
        .wakes = wakes,
        .wakes_count = d->shards_count,
        .metrics = d->all_metrics[0],
    };
    kmy_feeds_t *feeds;
    kmy_err_t err = kmy_feeds_start(&feeds, &o, ctx);
    if (err == KMY_OK)
        atomic_store(&d->feeds, feeds);
    return err;
}

/* Sockets, upstream and LMDB want descriptors: as many as we are allowed. */
static void raise_limits(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
    struct rlimit none = { 0, 0 };
    setrlimit(RLIMIT_CORE, &none); /* a core dump would hold keys and tokens */
}

static kmy_err_t start(kmy_daemon_t *d, const kmy_daemon_options_t *options, kmy_errctx_t *ctx)
{
    int cpu[KMY_SHARDS_MAX];
    uint32_t cpus_count = cpus(cpu);
    d->shards_count = d->config->shards.count > 0 ? (uint32_t)d->config->shards.count : cpus_count;
    raise_limits();
    char ring_path[PATH_BYTES];
    path_in(d, "ring", ring_path);
    kmy_err_t err = lock_data(d, ctx);
    if (err == KMY_OK)
        err = make_metrics(d, ctx);
    if (err == KMY_OK &&
        (!(d->roster = kmy_roster_new()) || !(d->sessions = kmy_session_table_new())))
        err = KMY_FAIL(ctx, KMY_IO, "out of memory");
    if (err == KMY_OK)
        err = kmy_limiter_new(&d->limiter, d->config, ctx);
    if (err == KMY_OK)
        err = kmy_catalog_build(&d->catalog, d->config, ctx);
    if (err == KMY_OK) {
        d->last = calloc(d->catalog.feeds_count + 1, sizeof *d->last);
        d->last_quote = calloc(d->catalog.feeds_count + 1, sizeof *d->last_quote);
        if (!d->last || !d->last_quote)
            err = KMY_FAIL(ctx, KMY_IO, "out of memory");
    }
    if (err == KMY_OK)
        err = load_token_keys(d, ctx);
    if (err == KMY_OK && !(d->receipt_key = kmy_receipt_key_load(d->config->data, ctx)))
        err = KMY_CONFIG;
    if (err == KMY_OK)
        err = load_admin_token(d, ctx);
    if (err == KMY_OK && d->config->public_door.tls_cert[0])
        err = kmy_tls_new(&d->tls, d->config->public_door.tls_cert, d->config->public_door.tls_key,
                          ctx);
    if (err == KMY_OK)
        err = open_ledger(d, options->migrate, ctx);
    if (err == KMY_OK)
        err = open_store(d, ctx);
    if (err == KMY_OK)
        err = kmy_topology_make(&d->topology, d->config, d->shards_count,
                                d->config->ring.shared ? ring_path : NULL, d->next_seq, ctx);
    if (err == KMY_OK)
        err = kmy_keeper_start(&d->keeper, d->ledger, &d->topology, d->all_metrics[2], ctx);
    if (err == KMY_OK)
        kmy_keeper_sign_with(d->keeper, d->receipt_key);
    if (err == KMY_OK)
        kmy_keeper_sell_with(d->keeper, &d->catalog);
    if (err == KMY_OK)
        kmy_keeper_rotate_with(d->keeper, rotate_token_key, d);
    if (err == KMY_OK)
        err = kmy_recorder_start(&d->recorder, d->snapshot, d->topology.ring, &d->catalog,
                                 d->config, &d->topology.recorded, d->all_metrics[1], ctx);
    if (err == KMY_OK)
        err = kmy_history_start(&d->history, d->snapshot, &d->catalog, &d->topology,
                                d->all_metrics[3], ctx);
    if (err == KMY_OK)
        err = start_shards(d, options, cpu, cpus_count, ctx);
    if (err == KMY_OK)
        err = start_cashier(d, ctx);
    if (err == KMY_OK)
        err = start_feeds(d, ctx);
    return err;
}

kmy_err_t kmy_daemon_start(kmy_daemon_t **out, const kmy_daemon_options_t *options,
                           kmy_errctx_t *ctx)
{
    kmy_daemon_t *d = calloc(1, sizeof *d);
    if (!d)
        return KMY_FAIL(ctx, KMY_IO, "out of memory");
    d->config = options->config;
    d->live = *options->config;
    d->lock_fd = -1;
    d->start_mono_ns = kmy_mono_ns();
    kmy_err_t err = start(d, options, ctx);
    if (err != KMY_OK) {
        kmy_daemon_stop(d);
        return err;
    }
    *out = d;
    return KMY_OK;
}

const char *kmy_daemon_public(const kmy_daemon_t *d)
{
    return d->public_text;
}
const char *kmy_daemon_admin(const kmy_daemon_t *d)
{
    return d->admin_text;
}

bool kmy_daemon_is_quiet(const kmy_daemon_t *d)
{
    return atomic_load(&d->topology.quiet);
}

void kmy_daemon_quiet(kmy_daemon_t *d, bool quiet)
{
    kmy_topology_quiet(&d->topology, quiet);
}

static void tell_change(void *arg, const char *path, const char *was, const char *is, bool live)
{
    (void)arg;
    kmy_log(live ? KMY_LOG_INFO : KMY_LOG_WARN, "kamiyod", "reload: %s: %s -> %s%s", path, was, is,
            live ? "" : "; needs a restart, the old one stays in force");
}

kmy_err_t kmy_daemon_reload(kmy_daemon_t *d, const kmy_config_t *fresh, kmy_errctx_t *ctx)
{
    kmy_reload_t *r = malloc(sizeof *r);
    if (!r)
        return KMY_FAIL(ctx, KMY_IO, "out of memory");
    r->config = d->live;
    kmy_config_take_live(&r->config, fresh);
    kmy_price_book_t book = book_of(&r->config);
    kmy_err_t err = kmy_keeper_book(d->keeper, &book, ctx);
    if (err == KMY_OK && d->tls)
        err = kmy_tls_reload(d->tls, ctx);
    if (err != KMY_OK) {
        free(r);
        return err;
    }
    size_t n = kmy_config_diff(&d->live, fresh, tell_change, NULL);
    kmy_config_take_live(&d->live, fresh);
    r->price_book = book.version;
    r->older = d->reloads;
    d->reloads = r;
    kmy_reload_give(&d->topology, r);
    kmy_log(KMY_LOG_INFO, "kamiyod", "reload: %zu keys differ%s", n,
            d->tls ? "; certificate read again on SIGHUP: new connections get it" : "");
    return KMY_OK;
}

/* Customers first, while the market still runs for them; then the way of a tick from its source on; money last. */
void kmy_daemon_stop(kmy_daemon_t *d)
{
    if (d->cashier)
        kmy_cashier_drain(d->cashier); /* who waits for a settlement is told how it stands */
    for (uint32_t i = 0; i < d->shards_started; i++)
        kmy_shard_drain(d->shards[i]);
    for (uint32_t i = 0; i < d->shards_started; i++)
        kmy_shard_join(d->shards[i]);
    if (d->cashier)
        kmy_cashier_stop(d->cashier);
    if (d->history)
        kmy_history_stop(d->history);
    if (d->feeds)
        kmy_feeds_stop(d->feeds);
    if (d->recorder)
        kmy_recorder_stop(d->recorder);
    if (d->keeper)
        kmy_keeper_stop(d->keeper);
    if (d->snapshot)
        kmy_snapshot_close(d->snapshot);
    if (d->ledger)
        kmy_ledger_close(d->ledger);
    kmy_topology_free(&d->topology);
    kmy_catalog_free(&d->catalog);
    kmy_reload_free(d->reloads);
    free(d->last);
    free(d->last_quote);
    free(d->revoked);
    free(d->metrics);
    kmy_roster_free(d->roster);
    kmy_session_table_free(d->sessions);
    kmy_tls_free(d->tls);
    kmy_receipt_key_free(d->receipt_key);
    kmy_limiter_free(d->limiter);
    if (d->lock_fd >= 0)
        close(d->lock_fd);
    for (size_t i = 0; i < d->token_tables_count; i++)
        kmy_token_key_free(d->token_tables[i]);
    free(d->token_tables);
    explicit_bzero(d->admin_token, sizeof d->admin_token);
    free(d);
}
