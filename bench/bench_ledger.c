/* The ledger beside its ceiling, the bare put loop of LMDB with the same sync, measured in turn within each run.

   A row is one settlement of one account: a report of what a shard consumed, which updates the account, its lease and its hour of usage and appends
   to the journal.  Below it stands what a lease and its settlement together cost.  The ceiling puts one 56-byte value (the size of an account's
   row) under a random key of as many accounts, in batches as large, and does nothing else.

     bench_ledger [--smoke] [--json] [--dir FOLDER] [--accounts N] [--runs N]        (FOLDER: a disk, not a tmpfs; default .) */
#include "base/clock.h"
#include "base/err.h"
#include "pay/ledger_usage.h"
#include "store/kv.h"

#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { RUNS_MAX = 101, GROUPS = 4, SHARDS = 2 };

static const unsigned group_sizes[GROUPS] = { 1, 16, 256, 10000 };

typedef struct load {
    unsigned accounts;
    unsigned runs;
    int64_t phase_ns; /* of each measurement in each run */
} load_t;

typedef struct series {
    double v[RUNS_MAX];
    unsigned n;
} series_t;

static void need(kmy_err_t err, const kmy_errctx_t *ctx)
{
    if (err == KMY_OK)
        return;
    fprintf(stderr, "bench_ledger: %s\n", ctx->detail);
    exit(1);
}
static void need_mdb(int rc)
{
    if (rc == 0)
        return;
    fprintf(stderr, "bench_ledger: %s\n", mdb_strerror(rc));
    exit(1);
}

static uint64_t next_random(uint64_t *s)
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return *s * UINT64_C(2685821657736338717);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}
static double median(series_t *s)
{
    qsort(s->v, s->n, sizeof *s->v, by_value);
    return s->v[s->n / 2];
}

/* ---- ours ---- */

typedef struct ours {
    kmy_ledger_t *ledger;
    unsigned accounts;
    uint64_t rng;
    unsigned next; /* the account whose turn it is in a batch of all */
} ours_t;

/* Each account with money and a lease at each shard that no run uses up. */
static void ours_fill(ours_t *o)
{
    kmy_errctx_t ctx;
    uint32_t feed;
    need(kmy_ledger_begin(o->ledger, &ctx), &ctx);
    need(kmy_ledger_feed(o->ledger, "SOL/USD", &feed, &ctx), &ctx);
    for (unsigned i = 1; i <= o->accounts; i++) {
        char name[64];
        int64_t granted;
        snprintf(name, sizeof name, "eip155:8453:0x%040x", i);
        need(kmy_ledger_account_make(o->ledger, name, 1, NULL, &ctx), &ctx);
        need(kmy_ledger_credit(o->ledger, i, "grant", name, INT64_C(1000000000000), 1, NULL, &ctx),
             &ctx);
        for (uint32_t s = 0; s < SHARDS; s++)
            need(kmy_ledger_lease(o->ledger, i, s, INT64_C(100000000000), 1, &granted, NULL, &ctx),
                 &ctx);
    }
    need(kmy_ledger_commit(o->ledger, &ctx), &ctx);
}

static void ours_batch(ours_t *o, unsigned group, bool lease_too)
{
    kmy_errctx_t ctx;
    need(kmy_ledger_begin(o->ledger, &ctx), &ctx);
    for (unsigned i = 0; i < group; i++) {
        uint64_t r = next_random(&o->rng);
        unsigned who = group < o->accounts ? (unsigned)(r % o->accounts) : o->next++ % o->accounts;
        const kmy_use_t use = { .feed = 1, .mode = KMY_MODE_STREAM, .count = 50, .nusd = 50000 };
        kmy_ledger_report_t report = { .account_id = who + 1,
                                       .shard = (uint32_t)(r >> 40) % SHARDS,
                                       .uses = &use,
                                       .uses_count = 1,
                                       .consumed_nusd = 50000,
                                       .ticks_count = 50 };
        int64_t granted;
        if (lease_too)
            need(kmy_ledger_lease(o->ledger, report.account_id, report.shard, 50000, (int64_t)i,
                                  &granted, NULL, &ctx),
                 &ctx);
        need(kmy_ledger_settle(o->ledger, &report, (int64_t)i, NULL, &ctx), &ctx);
    }
    need(kmy_ledger_commit(o->ledger, &ctx), &ctx);
}

/* ---- the ceiling ---- */

typedef struct bare {
    kmy_kv_t kv;
    MDB_dbi dbi;
    unsigned accounts;
    uint64_t rng;
    unsigned next;
} bare_t;

static void bare_batch(bare_t *b, unsigned group)
{
    MDB_txn *txn;
    need_mdb(mdb_txn_begin(b->kv.env, NULL, 0, &txn));
    for (unsigned i = 0; i < group; i++) {
        uint8_t key_bytes[8] = { 0 };
        uint8_t value_bytes[56] = { (uint8_t)i };
        unsigned who = group < b->accounts ? (unsigned)(next_random(&b->rng) % b->accounts)
                                           : b->next++ % b->accounts;
        for (int k = 0; k < 4; k++)
            key_bytes[7 - k] = (uint8_t)(who >> (8 * k));
        MDB_val key = { sizeof key_bytes, key_bytes };
        MDB_val value = { sizeof value_bytes, value_bytes };
        need_mdb(mdb_put(txn, b->dbi, &key, &value, 0));
    }
    need_mdb(mdb_txn_commit(txn));
}

static void bare_open(bare_t *b, const char *path)
{
    kmy_errctx_t ctx;
    MDB_txn *txn;
    need(kmy_kv_open(&b->kv, path,
                     &(kmy_kv_options_t){ .sync = KMY_KV_DURABLE, .map_bytes = (size_t)1 << 30 },
                     &ctx),
         &ctx);
    need_mdb(mdb_txn_begin(b->kv.env, NULL, 0, &txn));
    need_mdb(mdb_dbi_open(txn, "rows", MDB_CREATE, &b->dbi));
    need_mdb(mdb_txn_commit(txn));
    bare_batch(b, b->accounts); /* all rows are there: from now on it updates */
}

/* ---- measuring ---- */

enum { SETTLE, LEASE_AND_SETTLE, BARE, KINDS };
static const char *const kind_names[KINDS] = { "settle", "lease+settle", "bare put" };

static double rows_per_s(int kind, unsigned group, ours_t *o, bare_t *b, int64_t phase_ns)
{
    uint64_t rows = 0;
    int64_t start = kmy_mono_ns();
    int64_t now;
    do {
        if (kind == BARE)
            bare_batch(b, group);
        else
            ours_batch(o, group, kind == LEASE_AND_SETTLE);
        rows += group;
        now = kmy_mono_ns();
    } while (now - start < phase_ns);
    return (double)rows * 1e9 / (double)(now - start);
}

static void cpu_name(char *out, size_t cap)
{
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "r");
    snprintf(out, cap, "unknown");
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && colon) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(out, cap, "%s", colon + 2);
            break;
        }
    }
    if (f)
        fclose(f);
}

static void print_head(const load_t *load)
{
    char cpu[128];
    struct utsname u;
    cpu_name(cpu, sizeof cpu);
    uname(&u);
    printf("bench_ledger  version=%s  cpu=\"%s\" %ld cores  kernel=%s  lmdb=%d.%d.%d\n",
           KMY_VERSION, cpu, sysconf(_SC_NPROCESSORS_ONLN), u.release, MDB_VERSION_MAJOR,
           MDB_VERSION_MINOR, MDB_VERSION_PATCH);
    printf("  load    accounts=%u  shards=%d  runs=%u  phase=%" PRId64
           " ms  random accounts, durable commits\n",
           load->accounts, SHARDS, load->runs, load->phase_ns / KMY_NS_PER_MS);
}

static void print_results(series_t s[GROUPS][KINDS], series_t ratio[GROUPS], uint64_t faults,
                          double entry_bytes)
{
    for (int g = 0; g < GROUPS; g++) {
        for (int k = 0; k < KINDS; k++) {
            double m = median(&s[g][k]);
            printf("  result  group=%-5u %-12s rows/s p50=%.0f  (%.0f..%.0f)\n", group_sizes[g],
                   kind_names[k], m, s[g][k].v[0], s[g][k].v[s[g][k].n - 1]);
        }
        double m = median(&ratio[g]);
        printf("  ratio   group=%-5u settle / bare put = %.2f  (%.2f..%.2f)\n", group_sizes[g], m,
               ratio[g].v[0], ratio[g].v[ratio[g].n - 1]);
    }
    printf("  health  audit faults=%" PRIu64 "  file bytes per entry=%.0f\n", faults, entry_bytes);
}

static void print_json(const load_t *load, series_t s[GROUPS][KINDS], series_t ratio[GROUPS],
                       uint64_t faults)
{
    printf("{\"bench\":\"ledger\",\"accounts\":%u,\"runs\":%u,\"faults\":%" PRIu64 ",\"groups\":[",
           load->accounts, load->runs, faults);
    for (int g = 0; g < GROUPS; g++) {
        double settle = median(&s[g][SETTLE]);
        double both = median(&s[g][LEASE_AND_SETTLE]);
        double bare = median(&s[g][BARE]);
        printf("%s{\"group\":%u,\"settle_per_s\":%.0f,\"settle_min\":%.0f,\"settle_max\":%.0f,"
               "\"lease_settle_per_s\":%.0f,\"bare_per_s\":%.0f,\"ratio\":%.3f}",
               g ? "," : "", group_sizes[g], settle, s[g][SETTLE].v[0],
               s[g][SETTLE].v[s[g][SETTLE].n - 1], both, bare, median(&ratio[g]));
    }
    printf("]}\n");
}

static double file_bytes(const char *folder)
{
    char file[PATH_MAX + 16];
    struct stat st;
    snprintf(file, sizeof file, "%s/data.mdb", folder);
    return stat(file, &st) == 0 ? (double)st.st_size : 0;
}

static void remove_env(const char *folder)
{
    static const char *const files[] = { "data.mdb", "lock.mdb", "owner.lock" };
    char file[PATH_MAX + 16];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(file, sizeof file, "%s/%s", folder, files[i]);
        unlink(file);
    }
    rmdir(folder);
}

static void run(const load_t *load, const char *dir, bool json)
{
    static series_t s[GROUPS][KINDS];
    static series_t ratio[GROUPS];
    char root[PATH_MAX - 32];
    char ledger_path[PATH_MAX];
    char bare_path[PATH_MAX];
    kmy_errctx_t ctx;
    kmy_ledger_audit_t audit;
    ours_t ours = { .accounts = load->accounts, .rng = 42 };
    bare_t bare = { .accounts = load->accounts, .rng = 42 };
    snprintf(root, sizeof root, "%s/bench-ledger-XXXXXX", dir);
    if (!mkdtemp(root)) {
        fprintf(stderr, "bench_ledger: cannot make a folder in %s\n", dir);
        exit(1);
    }
    snprintf(ledger_path, sizeof ledger_path, "%s/ledger", root);
    snprintf(bare_path, sizeof bare_path, "%s/bare", root);
    need(kmy_ledger_open(&ours.ledger, ledger_path, NULL, &ctx), &ctx);
    ours_fill(&ours);
    bare_open(&bare, bare_path);
    for (unsigned r = 0; r < load->runs; r++) {
        for (int g = 0; g < GROUPS; g++) {
            for (int k = 0; k < KINDS; k++)
                s[g][k].v[s[g][k].n++] =
                    rows_per_s(k, group_sizes[g], &ours, &bare, load->phase_ns);
            ratio[g].v[ratio[g].n++] = s[g][SETTLE].v[r] / s[g][BARE].v[r];
        }
    }
    need(kmy_ledger_audit(ours.ledger, &audit, &ctx), &ctx);
    double per_entry = file_bytes(ledger_path) / (double)audit.entries_count;
    kmy_ledger_close(ours.ledger);
    kmy_kv_close(&bare.kv);
    remove_env(ledger_path);
    remove_env(bare_path);
    rmdir(root);
    if (json) {
        print_json(load, s, ratio, audit.faults_count);
    } else {
        print_head(load);
        print_results(s, ratio, audit.faults_count, per_entry);
    }
    if (audit.faults_count)
        exit(1);
}

int main(int argc, char **argv)
{
    load_t load = { .accounts = 10000, .runs = 7, .phase_ns = 300 * KMY_NS_PER_MS };
    const char *dir = ".";
    bool json = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--smoke") == 0) {
            load = (load_t){ .accounts = 200, .runs = 1, .phase_ns = 5 * KMY_NS_PER_MS };
        } else if (strcmp(argv[i], "--json") == 0) {
            json = true;
        } else if (i + 1 < argc && strcmp(argv[i], "--dir") == 0) {
            dir = argv[++i];
        } else if (i + 1 < argc && strcmp(argv[i], "--accounts") == 0) {
            load.accounts = (unsigned)strtoul(argv[++i], NULL, 10);
        } else if (i + 1 < argc && strcmp(argv[i], "--runs") == 0) {
            load.runs = (unsigned)strtoul(argv[++i], NULL, 10);
        } else {
            fprintf(stderr, "usage: bench_ledger [--smoke] [--json] [--dir FOLDER] [--accounts N] "
                            "[--runs N]\n");
            return 2;
        }
    }
    if (load.accounts < 1 || load.accounts > 1000000 || load.runs < 1 || load.runs > RUNS_MAX) {
        fprintf(stderr, "bench_ledger: accounts 1..1000000, runs 1..%d\n", RUNS_MAX);
        return 2;
    }
    run(&load, dir, json);
    return 0;
}
