/* Runs the feeds thread with a ring and says on stdout what comes out, line by line, for e2e_feeds.py and for measuring.

   Configuration comes from the environment (KAMIYO_SOURCES_...) as for the daemon; options shorten the limits of the upstreams:
     --silence MS --data-silence MS --lifetime MS --dial MS --ack MS --overlap MS
     --quiet            no line per tick
     --until N          ends after N ticks
   Ends when stdin does.  Lines:
     tick SEQ FEED OFFSET SOURCE KIND SOURCE_SEQ FLAGS PRICE_MANT
     source NAME STATE CONNECTS LAST-ERROR        whenever one of them changes
     end {json} */
#include "adapters/quote.h"
#include "base/clock.h"
#include "base/log.h"
#include "engine/feeds.h"

#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define SLOTS (1u << 16)

static kmy_feed_ws_options_t limits;
static bool quiet;
static uint64_t until;

static void tune(kmy_feed_ws_options_t *o)
{
    o->silence_ns_max = limits.silence_ns_max;
    o->data_silence_ns_max = limits.data_silence_ns_max;
    o->lifetime_ns = limits.lifetime_ns;
    o->dial_ns_max = limits.dial_ns_max;
    o->ack_ns_max = limits.ack_ns_max;
    o->overlap_ns = limits.overlap_ns;
}

static int usage(void)
{
    fputs("usage: feeds_probe [--silence MS] [--data-silence MS] [--lifetime MS] [--dial MS] "
          "[--ack MS] [--overlap MS] [--quiet] [--until N] [--debug]\n",
          stderr);
    return 2;
}

static bool read_options(int argc, char **argv)
{
    static const struct option longs[] = {
        { "silence", 1, 0, 's' },  { "data-silence", 1, 0, 'd' },
        { "lifetime", 1, 0, 'l' }, { "dial", 1, 0, 'c' },
        { "ack", 1, 0, 'a' },      { "overlap", 1, 0, 'o' },
        { "quiet", 0, 0, 'q' },    { "until", 1, 0, 'u' },
        { "debug", 0, 0, 'v' },    { 0 },
    };
    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        int64_t ms = optarg ? atoll(optarg) * KMY_NS_PER_MS : 0;
        switch (c) {
        case 's':
            limits.silence_ns_max = ms;
            break;
        case 'd':
            limits.data_silence_ns_max = ms;
            break;
        case 'l':
            limits.lifetime_ns = ms;
            break;
        case 'c':
            limits.dial_ns_max = ms;
            break;
        case 'a':
            limits.ack_ns_max = ms;
            break;
        case 'o':
            limits.overlap_ns = ms;
            break;
        case 'q':
            quiet = true;
            break;
        case 'u':
            until = strtoull(optarg, NULL, 10);
            break;
        case 'v':
            kmy_log_set_level(KMY_LOG_DEBUG);
            break;
        default:
            return false;
        }
    }
    return optind == argc;
}

static void print_tick(const kmy_catalog_t *cat, const kmy_tick_t *t)
{
    printf("tick %llu %s %llu %s %s %llu %u %lld\n", (unsigned long long)t->seq,
           kmy_catalog_by_id(cat, t->feed_id)->name, (unsigned long long)t->offset,
           kmy_source_name(t->source), kmy_kind_name(t->kind), (unsigned long long)t->source_seq,
           t->flags, (long long)t->price_mant);
}

static void print_sources(kmy_feeds_t *feeds, char before[KMY_SOURCE_COUNT][320])
{
    kmy_feeds_source_t s[KMY_SOURCE_COUNT];
    size_t n = kmy_feeds_sources(feeds, s, KMY_SOURCE_COUNT);
    for (size_t i = 0; i < n; i++) {
        char line[320];
        snprintf(line, sizeof line, "source %s %s %llu %s", kmy_source_name(s[i].source),
                 kmy_upstream_state_name(s[i].status.state),
                 (unsigned long long)s[i].status.connects_count, s[i].status.last_error);
        if (strcmp(line, before[i]) != 0)
            puts(line);
        memcpy(before[i], line, sizeof line);
    }
}

typedef struct {
    uint64_t ticks, lost;
    int64_t first_ns, last_ns;
} totals_t;

static bool read_ring(const kmy_ring_t *ring, const kmy_catalog_t *cat, uint64_t *cursor,
                      totals_t *t)
{
    static kmy_tick_t ticks[256];
    size_t n = kmy_ring_read(ring, cursor, ticks, 256, &t->lost);
    for (size_t i = 0; i < n && !quiet; i++)
        print_tick(cat, &ticks[i]);
    if (n > 0 && t->first_ns == 0)
        t->first_ns = kmy_mono_ns();
    if (n > 0)
        t->last_ns = kmy_mono_ns();
    t->ticks += n;
    return n > 0;
}

static void loop(kmy_feeds_t *feeds, const kmy_ring_t *ring, const kmy_catalog_t *cat,
                 kmy_wake_t *wake, uint64_t *cursor_out, totals_t *t)
{
    static char before[KMY_SOURCE_COUNT][320];
    uint64_t cursor = 1, woken;
    struct pollfd fds[2] = { { .fd = wake->fd, .events = POLLIN }, { .fd = 0, .events = POLLIN } };
    while (until == 0 || t->ticks + t->lost < until) {
        if (read_ring(ring, cat, &cursor, t))
            continue;
        print_sources(feeds, before);
        fflush(stdout);
        kmy_wake_arm(wake);
        if (kmy_ring_head(ring) == cursor)
            poll(fds, 2, 50);
        kmy_wake_disarm(wake);
        if (fds[0].revents && read(wake->fd, &woken, sizeof woken) < 0)
            continue;
        if (fds[1].revents)
            break;
    }
    *cursor_out = cursor;
}

static void print_end(kmy_metrics_t *m, const totals_t *t)
{
    static const struct {
        const char *name;
        int idx;
    } counters[] = {
#define KMY_METRIC_NAME(name, type, help) { #name, KMY_METRIC_##name },
        KMY_METRICS_TABLE(KMY_METRIC_NAME)
#undef KMY_METRIC_NAME
    };
    double seconds = (double)(t->last_ns - t->first_ns) / 1e9;
    printf("end {\"ticks\":%llu,\"lost\":%llu,\"seconds\":%.6f,\"ticks_per_s\":%.0f",
           (unsigned long long)t->ticks, (unsigned long long)t->lost, seconds,
           seconds > 0 ? (double)(t->ticks + t->lost) / seconds : 0);
    for (size_t i = 0; i < sizeof counters / sizeof *counters; i++)
        if (strncmp(counters[i].name, "upstream", 8) == 0 ||
            strncmp(counters[i].name, "tick", 4) == 0)
            printf(",\"%s\":%lld", counters[i].name,
                   (long long)kmy_metrics_sum(&m, 1, counters[i].idx));
    puts("}");
}

static kmy_err_t build(kmy_config_t *cfg, kmy_catalog_t *cat, kmy_errctx_t *ctx)
{
    kmy_err_t err = kmy_config_load(cfg, NULL, ctx);
    if (err == KMY_OK)
        err = kmy_catalog_build(cat, cfg, ctx);
    uint32_t ids[KMY_FEEDS_MAX];
    for (uint32_t i = 0; i < KMY_FEEDS_MAX; i++)
        ids[i] = i + 1;
    return err == KMY_OK ? kmy_catalog_assign(cat, ids, ctx) : err;
}

int main(int argc, char **argv)
{
    if (!read_options(argc, argv))
        return usage();
    static kmy_config_t cfg;
    static kmy_catalog_t cat;
    static kmy_metrics_t metrics;
    kmy_errctx_t ctx = { 0 };
    kmy_wake_t wake, *wakes[] = { &wake };
    kmy_feeds_t *feeds;
    totals_t totals = { 0 };
    void *mem = aligned_alloc(4096, (kmy_ring_bytes(SLOTS) + 4095) / 4096 * 4096);
    if (mem == NULL || !kmy_wake_init(&wake))
        return 1;
    kmy_ring_t *ring = kmy_ring_init(mem, SLOTS, 1);
    kmy_feeds_options_t o = { &cfg, &cat, ring, wakes, 1, &metrics, tune };
    if (build(&cfg, &cat, &ctx) != KMY_OK || kmy_feeds_start(&feeds, &o, &ctx) != KMY_OK) {
        fprintf(stderr, "feeds_probe: %s\n", ctx.detail);
        return 1;
    }
    uint64_t cursor;
    loop(feeds, ring, &cat, &wake, &cursor, &totals);
    kmy_feeds_stop(feeds); /* publishes what it has in hand: that counts as well */
    while (until == 0 && read_ring(ring, &cat, &cursor, &totals))
        ;
    print_end(&metrics, &totals);
    kmy_catalog_free(&cat);
    kmy_config_free(&cfg);
    kmy_wake_fini(&wake);
    free(mem);
    return 0;
}
