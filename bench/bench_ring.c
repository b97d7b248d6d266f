/* The ring beside its peers and beside the floor under all of them, the bare hand-over of a cache line.

   Everything is measured in turn within each run, so that the noise of the machine meets all alike; a figure is the median of the
   runs with the smallest and the largest, and a ratio is taken within a run before its median is.  Two threads, each pinned
   to a core of its own.

     bulk      32 ticks a call, nothing lost: peers are bounded, ours is held to the reader's cursor by this file
     single    one tick a call, the same
     laps      ours as it is used: the writer waits for nobody; what was lost is told
     p50       one tick each 10 us; from just before the push to just after the pop, by the time-stamp counter (CLOCK_MONOTONIC
               where there is none); against the round trip of one line between the cores, and against one line that holds number
               and stamp, handed over at the same pace and stamped in the same way: what any hand-over costs here at the least */
#include "base/clock.h"
#include "base/err.h"
#include "bench/ring_peer.h"
#include "ringbuf/ring.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

enum {
    BULK = 32,
    SLOTS = 4096, /* 512 KiB: like all contestants it fits the second-level caches */
    RUNS_MAX = 101,
    CONTESTANTS_MAX = 4,
};

typedef struct load {
    int runs;
    size_t bulk_ticks, single_ticks, paced_ticks, pings;
} load_t;

static const load_t full = { 21, 4000000, 1000000, 10000, 100000 };
static const load_t smoke = { 3, 20000, 5000, 200, 1000 };

/* ---- ours, in the peers' clothes: the reader tells where it is, the writer does not lap it ---- */

typedef struct held {
    _Alignas(128) kmy_ring_t *ring; /* constants */
    size_t slots;
    _Alignas(128) uint64_t head, room_until; /* writer's own */
    _Alignas(128) _Atomic uint64_t cursor_told;
    _Alignas(128) uint64_t cursor, lost; /* reader's own */
} held_t;

static void *held_make(size_t slots)
{
    held_t *h = aligned_alloc(128, sizeof *h);
    void *mem = aligned_alloc(4096, (kmy_ring_bytes(slots) + 4095) / 4096 * 4096);
    if (h == NULL || mem == NULL)
        abort();
    *h = (held_t){ .ring = kmy_ring_init(mem, slots, 1), .slots = slots, .head = 1, .cursor = 1 };
    h->room_until = 1 + slots;
    atomic_init(&h->cursor_told, 1);
    return h;
}

static size_t held_push(void *ring, kmy_tick_t *ticks, size_t n)
{
    held_t *h = ring;
    if (h->head + n > h->room_until) {
        h->room_until = atomic_load_explicit(&h->cursor_told, memory_order_acquire) + h->slots;
        if (h->head + n > h->room_until)
            return 0;
    }
    kmy_ring_publish(h->ring, ticks, n);
    h->head += n;
    return n;
}

static size_t held_pop(void *ring, kmy_tick_t *out, size_t n)
{
    held_t *h = ring;
    size_t got = kmy_ring_read(h->ring, &h->cursor, out, n, &h->lost);
    if (got > 0) /* pairs with the load in held_push */
        atomic_store_explicit(&h->cursor_told, h->cursor, memory_order_release);
    return got;
}

static const ring_peer_t ours = { "kamiyo", held_make, held_push, held_pop };

static size_t laps_push(void *ring, kmy_tick_t *ticks, size_t n)
{
    held_t *h = ring;
    kmy_ring_publish(h->ring, ticks, n);
    return n;
}

static size_t laps_pop(void *ring, kmy_tick_t *out, size_t n)
{
    held_t *h = ring;
    return kmy_ring_read(h->ring, &h->cursor, out, n, &h->lost);
}

static const ring_peer_t ours_lapping = { "kamiyo laps", held_make, laps_push, laps_pop };

/* What a hand-over costs at the least, taken by the same stamps at the same pace: one line that holds its number and the stamp. */
typedef struct line {
    _Alignas(128) _Atomic uint64_t seq;
    _Atomic uint64_t stamp;
    _Alignas(128) uint64_t seen; /* reader's own */
} line_t;

static void *line_make(size_t slots)
{
    (void)slots;
    line_t *l = aligned_alloc(128, sizeof *l);
    if (l == NULL)
        abort();
    memset(l, 0, sizeof *l);
    return l;
}

static size_t line_push(void *ring, kmy_tick_t *ticks, size_t n)
{
    line_t *l = ring;
    atomic_store_explicit(&l->stamp, (uint64_t)ticks[0].mono_ns, memory_order_relaxed);
    atomic_store_explicit(&l->seq, atomic_load_explicit(&l->seq, memory_order_relaxed) + 1,
                          memory_order_release); /* pairs with the load in line_pop */
    return n;
}

static size_t line_pop(void *ring, kmy_tick_t *out, size_t n)
{
    line_t *l = ring;
    uint64_t seq = atomic_load_explicit(&l->seq, memory_order_acquire);
    if (seq == l->seen)
        return 0;
    l->seen = seq;
    out[0].seq = seq;
    out[0].mono_ns = (int64_t)atomic_load_explicit(&l->stamp, memory_order_relaxed);
    (void)n;
    return 1;
}

static const ring_peer_t one_line = { "one line", line_make, line_push, line_pop };

static const ring_peer_t *const contestants[] = {
    &ours,
#ifdef KMY_BENCH_RTE
    &ring_peer_rte,
#endif
#ifdef KMY_BENCH_CK
    &ring_peer_ck,
#endif
};
enum { CONTESTANTS = sizeof contestants / sizeof contestants[0] };

/* ---- two threads ---- */

static int cpu_of[2];

static void pin(int which)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu_of[which], &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set); /* refused: the figures are worse */
}

static void choose_cpus(void)
{
    cpu_set_t set;
    int found = 0;
    CPU_ZERO(&set);
    sched_getaffinity(0, sizeof set, &set);
    for (int cpu = 0; cpu < CPU_SETSIZE && found < 2; cpu++) {
        if (CPU_ISSET(cpu, &set))
            cpu_of[found++] = cpu;
    }
    if (found == 1)
        cpu_of[1] = cpu_of[0];
}

static inline uint64_t stamp(void)
{
#if defined(__x86_64__)
    unsigned aux;
    return __rdtscp(&aux);
#else
    return (uint64_t)kmy_mono_ns();
#endif
}

static double stamps_per_ns(void)
{
    const int64_t ns0 = kmy_mono_ns();
    const uint64_t s0 = stamp();
    while (kmy_mono_ns() - ns0 < 20 * KMY_NS_PER_MS)
        ;
    return (double)(stamp() - s0) / (double)(kmy_mono_ns() - ns0);
}

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

typedef struct job { /* on lines of its own: the producer writes to the stack around it */
    _Alignas(128) const ring_peer_t *peer;
    void *ring;
    size_t ticks, batch;
    uint64_t interval;                /* stamps between two pushes; 0: as fast as it goes */
    uint64_t *latency;                /* [ticks], or NULL */
    _Alignas(128) uint64_t delivered; /* by the consumer, at the end */
    uint64_t hash;                    /* of what was delivered, so that nothing is optimized away */
    int64_t ended_ns;
    _Atomic int ready;
    _Atomic bool finished; /* the producer */
} job_t;

static void meet(job_t *job)
{
    atomic_fetch_add(&job->ready, 1);
    while (atomic_load(&job->ready) < 2)
        relax();
}

static void *consume(void *arg)
{
    job_t *job = arg;
    kmy_tick_t out[BULK];
    pin(1);
    meet(job);
    uint64_t got_all = 0, hash = 0;
    for (;;) {
        const bool last = atomic_load_explicit(&job->finished, memory_order_acquire);
        const size_t got = job->peer->pop(job->ring, out, job->batch);
        if (got == 0) {
            if (last)
                break;
            continue;
        }
        if (job->latency != NULL)
            job->latency[got_all] = stamp() - (uint64_t)out[0].mono_ns;
        for (size_t i = 0; i < got; i++)
            hash = hash * 31 + out[i].seq;
        got_all += got;
    }
    job->ended_ns = kmy_mono_ns();
    job->delivered = got_all;
    job->hash = hash;
    return NULL;
}

/* Million ticks a second that arrived. */
static double transfer(job_t *job)
{
    pthread_t consumer;
    kmy_tick_t ticks[BULK] = { 0 };
    KMY_ASSERT(pthread_create(&consumer, NULL, consume, job) == 0);
    pin(0);
    meet(job);
    const int64_t began_ns = kmy_mono_ns();
    uint64_t next = stamp() + job->interval;
    for (size_t sent = 0; sent < job->ticks;) {
        if (job->interval != 0) {
            while ((int64_t)(stamp() - next) < 0)
                relax();
            next =
                stamp() +
                job->interval; /* not in bursts after a pause: the hand-over is measured, no queue */
            ticks[0].mono_ns = (int64_t)stamp();
        }
        for (size_t i = 0; i < job->batch; i++)
            ticks[i].seq = sent + i + 1;
        size_t done = 0;
        while (done < job->batch)
            done += job->peer->push(job->ring, ticks + done, job->batch - done);
        sent += done;
    }
    atomic_store_explicit(&job->finished, true, memory_order_release);
    pthread_join(consumer, NULL);
    return (double)job->delivered * 1e3 / (double)(job->ended_ns - began_ns);
}

static int by_u64(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static int by_double(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* ---- the floor: one line to and fro ---- */

static struct {
    _Alignas(128) _Atomic uint64_t ball;
    _Alignas(128) uint64_t rounds;
} court;

static void *answer(void *arg)
{
    (void)arg;
    pin(1);
    for (uint64_t i = 0; i <= court.rounds; i++) {
        while (atomic_load_explicit(&court.ball, memory_order_acquire) != 2 * i + 1)
            ;
        atomic_store_explicit(&court.ball, 2 * i + 2, memory_order_release);
    }
    return NULL;
}

/* Nanoseconds of the median round trip, taken in hundreds so that reading the clock does not count. */
static double ping_pong(size_t rounds)
{
    enum { GROUP = 100 };
    pthread_t other;
    uint64_t took[1000];
    size_t groups = rounds / GROUP < 1000 ? rounds / GROUP : 1000;
    atomic_store(&court.ball, 0);
    court.rounds = groups * GROUP; /* and one to begin with, in which the other thread comes up */
    KMY_ASSERT(pthread_create(&other, NULL, answer, NULL) == 0);
    pin(0);
    uint64_t i = 0, began = 0;
    for (; i <= court.rounds; i++) {
        if (i % GROUP == 1)
            began = stamp();
        atomic_store_explicit(&court.ball, 2 * i + 1, memory_order_release);
        while (atomic_load_explicit(&court.ball, memory_order_acquire) != 2 * i + 2)
            ;
        if (i > 0 && i % GROUP == 0)
            took[i / GROUP - 1] = stamp() - began;
    }
    pthread_join(other, NULL);
    qsort(took, groups, sizeof took[0], by_u64);
    return (double)took[groups / 2] / GROUP;
}

/* ---- figures ---- */

typedef struct figure {
    double at[RUNS_MAX];
} figure_t;

static figure_t bulk[CONTESTANTS], single[CONTESTANTS], p50[CONTESTANTS], p99[CONTESTANTS];
static figure_t laps, laps_lost, round_trip, line50, line99;
static uint64_t hash_of_all; /* printed, so that no work can be optimized away */

static double rate_of(const ring_peer_t *peer, void *ring, size_t ticks, size_t batch,
                      double *lost_share)
{
    job_t job = { .peer = peer, .ring = ring, .ticks = ticks, .batch = batch };
    const double rate = transfer(&job);
    if (lost_share != NULL)
        *lost_share = 1 - (double)job.delivered / (double)ticks;
    else
        KMY_ASSERT(job.delivered == ticks);
    hash_of_all = hash_of_all * 31 + job.hash;
    return rate;
}

static void latency_of(const ring_peer_t *peer, void *ring, size_t ticks, double per_ns,
                       double *ns50, double *ns99)
{
    uint64_t *latency = calloc(ticks, sizeof *latency);
    KMY_ASSERT(latency != NULL);
    job_t job = { .peer = peer, .ring = ring, .ticks = ticks, .batch = 1, .latency = latency };
    job.interval = (uint64_t)(10000 * per_ns);
    transfer(&job);
    qsort(latency, ticks, sizeof *latency, by_u64);
    *ns50 = (double)latency[ticks / 2] / per_ns;
    *ns99 = (double)latency[ticks * 99 / 100] / per_ns;
    free(latency);
}

static void measure(const load_t *load)
{
    void *ring[CONTESTANTS]; /* made once: the first touch of a page is not the subject */
    for (size_t c = 0; c < CONTESTANTS; c++)
        ring[c] = contestants[c]->make(SLOTS);
    void *lapping = ours_lapping.make(SLOTS);
    void *line = one_line.make(SLOTS);
    const double per_ns = stamps_per_ns();

    for (int r = -1; r < load->runs; r++) { /* run -1 warms up, run 0 writes over it */
        const int at = r < 0 ? 0 : r;
        for (size_t i = 0; i < CONTESTANTS; i++) {
            const size_t c = (i + (size_t)at) % CONTESTANTS; /* nobody is always first */
            const ring_peer_t *peer = contestants[c];
            bulk[c].at[at] = rate_of(peer, ring[c], load->bulk_ticks, BULK, NULL);
            single[c].at[at] = rate_of(peer, ring[c], load->single_ticks, 1, NULL);
            latency_of(peer, ring[c], load->paced_ticks, per_ns, &p50[c].at[at], &p99[c].at[at]);
        }
        laps.at[at] = rate_of(&ours_lapping, lapping, load->bulk_ticks, BULK, &laps_lost.at[at]);
        latency_of(&one_line, line, load->paced_ticks, per_ns, &line50.at[at], &line99.at[at]);
        round_trip.at[at] = ping_pong(load->pings) / per_ns;
    }
}

typedef struct spread {
    double median, min, max;
} spread_t;

static spread_t spread_of(const figure_t *f, int runs)
{
    double sorted[RUNS_MAX];
    memcpy(sorted, f->at, (size_t)runs * sizeof sorted[0]);
    qsort(sorted, (size_t)runs, sizeof sorted[0], by_double);
    return (spread_t){ sorted[runs / 2], sorted[0], sorted[runs - 1] };
}

/* Run by run, so that what slowed both down falls out. */
static spread_t ratio_of(const figure_t *a, const figure_t *b, int runs)
{
    figure_t q;
    for (int r = 0; r < runs; r++)
        q.at[r] = a->at[r] / b->at[r];
    return spread_of(&q, runs);
}

static bool as_json;

static void row(const char *who, const char *what, const char *unit, spread_t s)
{
    static bool any;
    if (as_json)
        printf(
            "%s\n    {\"who\":\"%s\",\"what\":\"%s\",\"unit\":\"%s\",\"median\":%.4g,\"min\":%.4g,"
            "\"max\":%.4g}",
            any ? "," : "", who, what, unit, s.median, s.min, s.max);
    else
        printf("  %-13s %-16s %9.4g  (%.4g..%.4g) %s\n", who, what, s.median, s.min, s.max, unit);
    any = true;
}

static void report_ratios(int runs)
{
    row(ours.name, "p50/round trip", "", ratio_of(&p50[0], &round_trip, runs));
    row(ours.name, "p50/one line", "", ratio_of(&p50[0], &line50, runs));
    for (size_t c = 1; c < CONTESTANTS; c++) {
        char what[32];
        snprintf(what, sizeof what, "bulk/%s", contestants[c]->name);
        row(ours.name, what, "", ratio_of(&bulk[0], &bulk[c], runs));
        snprintf(what, sizeof what, "single/%s", contestants[c]->name);
        row(ours.name, what, "", ratio_of(&single[0], &single[c], runs));
        snprintf(what, sizeof what, "p50/%s", contestants[c]->name);
        row(ours.name, what, "", ratio_of(&p50[0], &p50[c], runs));
    }
}

static void report(const load_t *load)
{
    const int runs = load->runs;
    struct utsname host;
    uname(&host);
    if (as_json)
        printf("{\"bench\":\"ring\",\"kernel\":\"%s\",\"cpus\":[%d,%d],\"item_bytes\":128,"
               "\"slots\":%d,"
               "\"runs\":%d,\"bulk_ticks\":%zu,\"single_ticks\":%zu,\"paced_ticks\":%zu,"
               "\"hash\":\"%016llx\",\"rows\":[",
               host.release, cpu_of[0], cpu_of[1], SLOTS, runs, load->bulk_ticks,
               load->single_ticks, load->paced_ticks, (unsigned long long)hash_of_all);
    else
        printf("bench_ring  kernel=%s  cpus=%d,%d (pinned)\n"
               "  load    slots=%d x 128 B  bulk=%zu by %d  single=%zu  paced=%zu at 100k/s  "
               "runs=%d interleaved\n"
               "  figures median (min..max of the runs); ratios run by run\n",
               host.release, cpu_of[0], cpu_of[1], SLOTS, load->bulk_ticks, BULK,
               load->single_ticks, load->paced_ticks, runs);
    row("cache line", "round trip", "ns", spread_of(&round_trip, runs));
    row("one line", "p50", "ns", spread_of(&line50, runs));
    row("one line", "p99", "ns", spread_of(&line99, runs));
    for (size_t c = 0; c < CONTESTANTS; c++) {
        const char *name = contestants[c]->name;
        row(name, "bulk", "M/s", spread_of(&bulk[c], runs));
        row(name, "single", "M/s", spread_of(&single[c], runs));
        row(name, "p50", "ns", spread_of(&p50[c], runs));
        row(name, "p99", "ns", spread_of(&p99[c], runs));
    }
    row(ours_lapping.name, "delivered", "M/s", spread_of(&laps, runs));
    row(ours_lapping.name, "lost share", "", spread_of(&laps_lost, runs));
    report_ratios(runs);
    if (as_json)
        printf("\n]}\n");
    else
        printf("  hash    %016llx\n", (unsigned long long)hash_of_all);
}

int main(int argc, char **argv)
{
    load_t load = full;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--smoke") == 0)
            load = smoke;
        else if (strcmp(argv[i], "--json") == 0)
            as_json = true;
        else if (strcmp(argv[i], "--runs") == 0 && i + 1 < argc && atoi(argv[i + 1]) > 0 &&
                 atoi(argv[i + 1]) <= RUNS_MAX)
            load.runs = atoi(argv[++i]);
        else {
            fprintf(stderr, "usage: bench_ring [--smoke] [--json] [--runs 1..%d]\n", RUNS_MAX);
            return 2;
        }
    }
    choose_cpus();
    if (cpu_of[0] == cpu_of[1]) {
        /* Two spinning threads that take turns on one core would measure the scheduler. */
        fprintf(stderr, "bench_ring: two cores are needed, one is allowed\n");
        return 77;
    }
    measure(&load);
    report(&load);
    return 0;
}
