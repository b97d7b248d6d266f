/* bench_snapshot: ticks a second through kmy_snapshot_flush, beside the bare LMDB loops that are its ceiling.

   Three subjects take turns, run by run, each on an environment of its own with the same options:
     upsert    mdb_put of each tick's value into one tree                       (what LMDB can do at all)
     bare      the same, MDB_APPEND of each value into a second tree, mdb_del of its oldest
     snapshot  kmy_snapshot_flush: all that, and offsets, index, ages, counters
   Values are real FlatBuffers, encoded before the clock starts.  Feeds are drawn at random. */
#include "base/clock.h"
#include "store/kv.h"
#include "store/snapshot.h"
#include "wire/flat.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define FEEDS     2000
#define RUNS_MAX  51
#define BATCH_MAX 4096

static size_t batch = 256;
static size_t ticks_per_run = 1 << 17;
static int runs = 15;
static int warm_up_runs = 5;
static uint64_t history_bytes = UINT64_C(64) << 20;

static kmy_flat_t templates[FEEDS + 1];
static uint64_t offsets[FEEDS + 1];
static kmy_tick_t ticks[BATCH_MAX];
static uint8_t values[BATCH_MAX][KMY_TICK_FLAT_BYTES_MAX];
static kmy_snapshot_item_t items[BATCH_MAX];
static uint64_t next_seq = 1;

static uint64_t rnd_state = 88172645463325252ull;
static uint64_t rnd(void)
{
    rnd_state ^= rnd_state << 13;
    rnd_state ^= rnd_state >> 7;
    return rnd_state ^= rnd_state << 17;
}

static void die(const char *what, const kmy_errctx_t *ctx)
{
    fprintf(stderr, "bench_snapshot: %s: %s\n", what, ctx ? ctx->detail : "");
    exit(1);
}

static void make_templates(void)
{
    for (uint32_t id = 1; id <= FEEDS; id++) {
        char name[32];
        snprintf(name, sizeof name, "F%04u/USD", id);
        kmy_flat_init(&templates[id], KMY_FLAT_STORE, id, name);
    }
}

static void make_batch(void)
{
    int64_t now = kmy_wall_ns();
    for (size_t i = 0; i < batch; i++) {
        uint32_t id = (uint32_t)(rnd() % FEEDS) + 1;
        ticks[i] = (kmy_tick_t){ .seq = next_seq++,
                                 .offset = ++offsets[id],
                                 .event_ns = now,
                                 .recv_ns = now,
                                 .price_mant = (int64_t)(rnd() >> 24),
                                 .price_expo = -8,
                                 .feed_id = id,
                                 .source = KMY_SOURCE_BINANCE,
                                 .kind = KMY_KIND_TRADE };
        size_t bytes = kmy_flat_encode(&templates[id], &ticks[i], values[i]);
        items[i] = (kmy_snapshot_item_t){ &ticks[i], values[i], bytes };
    }
}

typedef struct subject {
    const char *name;
    bool history;
    kmy_kv_t kv;
    MDB_dbi last;
    MDB_dbi rows;
    kmy_snapshot_t *snapshot;   /* the third one */
    uint64_t seq;               /* newest row of the bare one */
    double per_s[RUNS_MAX];     /* of wall time */
    double per_cpu_s[RUNS_MAX]; /* of this thread's CPU time */
} subject_t;

static int bare_txn(MDB_txn *txn, void *arg)
{
    subject_t *s = arg;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < batch; i++) {
        uint8_t bytes[8] = { 0 };
        uint32_t id = __builtin_bswap32(ticks[i].feed_id);
        memcpy(bytes, &id, 4);
        bytes[4] = ticks[i].source;
        bytes[5] = ticks[i].kind;
        MDB_val key = { 6, bytes };
        MDB_val data = { items[i].value_bytes, values[i] };
        rc = mdb_put(txn, s->last, &key, &data, 0);
        if (rc == 0 && s->history) {
            uint64_t seq = __builtin_bswap64(++s->seq);
            key = (MDB_val){ 8, &seq };
            rc = mdb_put(txn, s->rows, &key, &data, MDB_APPEND);
            uint64_t keep = history_bytes / items[i].value_bytes;
            if (rc == 0 && s->seq > keep) {
                seq = __builtin_bswap64(s->seq - keep);
                rc = mdb_del(txn, s->rows, &key, NULL);
            }
        }
    }
    return rc;
}

static void write_batch(subject_t *s)
{
    kmy_errctx_t ctx = { 0 };
    if (s->snapshot) {
        if (kmy_snapshot_flush(s->snapshot, items, batch, ticks[0].recv_ns, &ctx) != KMY_OK)
            die("flush", &ctx);
    } else if (kmy_kv_write(&s->kv, bare_txn, s, &ctx) != KMY_OK) {
        die("bare write", &ctx);
    }
}

static int open_trees(MDB_txn *txn, void *arg)
{
    subject_t *s = arg;
    int rc = mdb_dbi_open(txn, "last", MDB_CREATE, &s->last);
    return rc ? rc : mdb_dbi_open(txn, "rows", MDB_CREATE, &s->rows);
}

static void open_subject(subject_t *s, const char *folder)
{
    char path[512];
    bool clean;
    bool rebuilt;
    kmy_errctx_t ctx = { 0 };
    snprintf(path, sizeof path, "%s/%s", folder, s->name);
    kmy_snapshot_options_t options = { .map_bytes = UINT64_C(16) << 30,
                                       .history_age_ns_max = 3600 * KMY_NS_PER_S,
                                       .history_bytes_max = history_bytes };
    kmy_kv_options_t kv = { .sync = KMY_KV_RELAXED, .map_bytes = (size_t)16 << 30 };
    if (strcmp(s->name, "snapshot") == 0) {
        if (kmy_snapshot_open(&s->snapshot, path, &options, &clean, &rebuilt, &ctx) != KMY_OK)
            die(path, &ctx);
        return;
    }
    if (kmy_kv_open(&s->kv, path, &kv, &ctx) != KMY_OK ||
        kmy_kv_write(&s->kv, open_trees, s, &ctx) != KMY_OK)
        die(path, &ctx);
}

static void run_once(subject_t *s, int run)
{
    int64_t wall = 0;
    int64_t cpu = 0;
    for (size_t done = 0; done < ticks_per_run; done += batch) {
        make_batch();
        int64_t cpu0 = kmy_clock_read(CLOCK_THREAD_CPUTIME_ID);
        int64_t wall0 = kmy_mono_ns();
        write_batch(s);
        wall += kmy_mono_ns() - wall0;
        cpu += kmy_clock_read(CLOCK_THREAD_CPUTIME_ID) - cpu0;
    }
    s->per_s[run] = (double)ticks_per_run * 1e9 / (double)wall;
    s->per_cpu_s[run] = (double)ticks_per_run * 1e9 / (double)cpu;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void cpu_name(char *out, size_t cap)
{
    char line[256];
    snprintf(out, cap, "?");
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, "model name", 10) == 0) {
            line[strcspn(line, "\n")] = 0;
            snprintf(out, cap, "%s", strchr(line, ':') + 2);
            break;
        }
    }
    if (f)
        fclose(f);
}

static void report(subject_t *subjects, size_t n, bool json)
{
    char cpu[128];
    struct utsname os;
    cpu_name(cpu, sizeof cpu);
    uname(&os);
    if (json)
        printf("{\"bench\":\"snapshot\",\"batch\":%zu,\"feeds\":%d", batch, FEEDS);
    else
        printf("bench_snapshot  cpu=\"%s\" %ld cores  kernel=%s\n"
               "  load    feeds=%d  batch=%zu  value=%zu B  history<=%" PRIu64
               " MiB  ticks/run=%zu  runs=%d, interleaved\n",
               cpu, sysconf(_SC_NPROCESSORS_ONLN), os.release, FEEDS, batch, items[0].value_bytes,
               history_bytes >> 20, ticks_per_run, runs);
    for (size_t i = 0; i < n; i++) {
        double *v = subjects[i].per_s;
        double *c = subjects[i].per_cpu_s;
        qsort(v, (size_t)runs, sizeof *v, by_value);
        qsort(c, (size_t)runs, sizeof *c, by_value);
        if (json)
            printf(",\"%s_ticks_per_s\":{\"median\":%.0f,\"min\":%.0f,\"max\":%.0f},"
                   "\"%s_ticks_per_cpu_s\":{\"median\":%.0f,\"min\":%.0f,\"max\":%.0f}",
                   subjects[i].name, v[runs / 2], v[0], v[runs - 1], subjects[i].name, c[runs / 2],
                   c[0], c[runs - 1]);
        else
            printf("  result  %-9s %6.2f M ticks/s (%.2f..%.2f)   %6.2f M per CPU second "
                   "(%.2f..%.2f)\n",
                   subjects[i].name, v[runs / 2] / 1e6, v[0] / 1e6, v[runs - 1] / 1e6,
                   c[runs / 2] / 1e6, c[0] / 1e6, c[runs - 1] / 1e6);
    }
    puts(json ? "}" : "");
}

static void remove_folder(const char *folder)
{
    char command[600];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command) != 0)
        fprintf(stderr, "bench_snapshot: cannot remove %s\n", folder);
}

int main(int argc, char **argv)
{
    bool json = false;
    subject_t subjects[] = { { .name = "upsert" },
                             { .name = "bare", .history = true },
                             { .name = "snapshot" } };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            json = true;
        } else if (strcmp(argv[i], "--smoke") == 0) {
            runs = 1;
            warm_up_runs = 1;
            ticks_per_run = 4096;
        } else if (strcmp(argv[i], "--batch") == 0 && i + 1 < argc && atoi(argv[i + 1]) > 0 &&
                   atoi(argv[i + 1]) <= BATCH_MAX) {
            batch = (size_t)atoi(argv[++i]);
        } else {
            fprintf(stderr, "usage: bench_snapshot [--smoke] [--json] [--batch 1..%d]\n",
                    BATCH_MAX);
            return 2;
        }
    }
    const char *base = getenv("TMPDIR");
    char folder[256];
    snprintf(folder, sizeof folder, "%.200s/kmy-bench-XXXXXX", base ? base : "/var/tmp");
    if (!mkdtemp(folder))
        die("no temporary folder", NULL);
    make_templates();
    size_t n = sizeof subjects / sizeof *subjects;
    for (size_t i = 0; i < n; i++) {
        open_subject(&subjects[i], folder);
        for (int run = 0; run < warm_up_runs; run++) /* until history is at its limit */
            run_once(&subjects[i], 0);
    }
    for (int run = 0; run < runs; run++)
        for (size_t i = 0; i < n; i++)
            run_once(&subjects[i], run);
    report(subjects, n, json);
    kmy_snapshot_close(subjects[n - 1].snapshot);
    for (size_t i = 0; i + 1 < n; i++)
        kmy_kv_close(&subjects[i].kv);
    remove_folder(folder);
    return 0;
}
