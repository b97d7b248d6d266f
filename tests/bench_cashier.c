/* What a payment costs the cashier's thread, end to end, beside the check alone (bench_payment has that one, and its ceiling), in turn within each run:

     check     parse and verify, called directly: what the thread cannot do without
     judged    the same through the thread: a slip comes over the shard's queue, is judged by every check, signature included, refused for its account, and goes back
     paid      a whole deposit: looked up, the payer's balance, reserved, submitted, its receipt, credited; facilitator and chain are a stand-in on loopback, the ledger lies in memory

   CPU time of the cashier's thread (and for `paid` of the keeper's), as the kernel counts it for each.

     bench_cashier [--smoke] [--json] */
#include "tests/cashier_rig.h"

#include "base/log.h"
#include "pay/verify.h"

#include <dirent.h>
#include <sys/utsname.h>

enum { CHECK, JUDGED, PAID, PAID_KEEPER, KINDS, RUNS_MAX = 21, PAID_MAX = USES_MAX };
static const char *const kind_names[KINDS] = { "check", "judged", "paid", "keeper" };

typedef struct series {
    double v[RUNS_MAX];
    unsigned n;
} series_t;

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

/* CPU time of our thread of that name.  Source: Linux, Documentation/scheduler/sched-stats.rst: the first number of /proc/<pid>/schedstat, ns. */
static int64_t thread_cpu_ns(const char *name)
{
    char path[300], line[128];
    struct dirent *e;
    long long ns = 0;
    DIR *tasks = opendir("/proc/self/task");
    while (tasks && (e = readdir(tasks))) {
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", e->d_name);
        FILE *f = fopen(path, "r");
        bool ours = f && fgets(line, sizeof line, f) && strncmp(line, name, strlen(name)) == 0;
        if (f)
            fclose(f);
        if (!ours)
            continue;
        snprintf(path, sizeof path, "/proc/self/task/%s/schedstat", e->d_name);
        f = fopen(path, "r");
        if (!f || fscanf(f, "%lld", &ns) != 1)
            ns = 0;
        if (f)
            fclose(f);
    }
    if (tasks)
        closedir(tasks);
    return ns;
}

static double check_alone(world_t *w, const payment_t *p, unsigned count)
{
    char buffer[KMY_PAYMENT_BYTES_MAX];
    const kmy_pay_offer_t offer = { &w->entry, 1, NULL };
    int64_t start = kmy_clock_read(CLOCK_THREAD_CPUTIME_ID);
    for (unsigned i = 0; i < count; i++) {
        kmy_payment_t payment;
        kmy_pay_verdict_t verdict;
        assert_int_equal(kmy_payment_parse(p->header, strlen(p->header), buffer, &payment, NULL),
                         KMY_PAY_NONE);
        assert_int_equal(kmy_pay_verify(&offer, &payment, time(NULL), &verdict, NULL),
                         KMY_PAY_VALID);
    }
    return (double)(kmy_clock_read(CLOCK_THREAD_CPUTIME_ID) - start) / count;
}

/* As a stream's payment that somebody else signed: the last thing that is looked at. */
static void say_for_another(world_t *w, uint32_t shard, const payment_t *p)
{
    kmy_slip_t *s = take_slip(w, shard, KMY_SLIP_DEPOSIT);
    snprintf(s->account, sizeof s->account, "eip155:8453:0x%040d", 1);
    put_header(s, p->header);
    say(w, shard, s);
}

/* 32 at once on each shard: the thread is never idle for long. */
static double judged(world_t *w, const payment_t *p, unsigned count)
{
    enum { AT_ONCE = 32 * SHARDS };
    int64_t start = thread_cpu_ns("kmy-cashier");
    for (unsigned i = 0; i < count + AT_ONCE; i++) {
        if (i >= AT_ONCE)
            assert_slip(hear(w, i % SHARDS), KMY_SLIP_REFUSED);
        if (i < count)
            say_for_another(w, i % SHARDS, p);
    }
    return (double)(thread_cpu_ns("kmy-cashier") - start) / count;
}

/* Each by its own wallet; all at once. */
static void paid(world_t *w, unsigned count, double *cashier_ns, double *keeper_ns)
{
    static payment_t p[PAID_MAX];
    for (unsigned i = 0; i < count; i++) {
        wallet_t payer = wallet_of(1000 + i);
        p[i] = pay(w, &payer, i);
    }
    int64_t cashier = thread_cpu_ns("kmy-cashier"), keeper = thread_cpu_ns("kmy-keeper");
    for (unsigned i = 0; i < count; i++)
        present_on(w, i % SHARDS, KMY_SLIP_DEPOSIT, &p[i]);
    for (unsigned i = 0; i < count; i++)
        assert_slip(hear(w, i % SHARDS), KMY_SLIP_DONE);
    *cashier_ns = (double)(thread_cpu_ns("kmy-cashier") - cashier) / count;
    *keeper_ns = (double)(thread_cpu_ns("kmy-keeper") - keeper) / count;
}

static void run_once(series_t s[KINDS], unsigned checks, unsigned payments)
{
    world_t *w = new_world(true, "");
    world_stop(w);
    w->watch_ns = 60 * KMY_NS_PER_S; /* what is settled is not looked at again meanwhile */
    world_start(w);
    wallet_t payer = wallet_of(1);
    payment_t p = pay(w, &payer, 999);
    s[CHECK].v[s[CHECK].n++] = check_alone(w, &p, checks);
    s[JUDGED].v[s[JUDGED].n++] = judged(w, &p, checks);
    paid(w, payments, &s[PAID].v[s[PAID].n++], &s[PAID_KEEPER].v[s[PAID_KEEPER].n++]);
    world_end(w);
}

static void print_block(series_t s[KINDS], unsigned checks, unsigned payments)
{
    struct utsname u;
    uname(&u);
    printf("bench_cashier  version=%s  %s, %ld cores  kernel=%s\n", KMY_VERSION, u.machine,
           sysconf(_SC_NPROCESSORS_ONLN), u.release);
    printf("  load    checks=%u  payments=%u at once  runs=%u  CPU time of the thread\n", checks,
           payments, s[0].n);
    for (int k = 0; k < KINDS; k++) {
        double m = median(&s[k]);
        printf("  result  %-9s us p50=%.1f  (%.1f..%.1f)  %.0f/s\n", kind_names[k], m / 1e3,
               s[k].v[0] / 1e3, s[k].v[s[k].n - 1] / 1e3, 1e9 / m);
    }
    printf("  ratio   judged / check = %.3f\n", median(&s[JUDGED]) / median(&s[CHECK]));
}

int main(int argc, char **argv)
{
    static series_t s[KINDS];
    unsigned runs = 11, checks = 4000, payments = PAID_MAX;
    bool json = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--smoke") == 0) {
            runs = 1;
            checks = 600;
            payments = 8;
        } else if (strcmp(argv[i], "--json") == 0) {
            json = true;
        } else {
            fprintf(stderr, "usage: bench_cashier [--smoke] [--json]\n");
            return 2;
        }
    }
    kmy_log_set_level(
        KMY_LOG_ERROR); /* a line for each change of state is the daemon's, but not what is measured */
    for (unsigned r = 0; r < runs; r++)
        run_once(s, checks, payments);
    if (!json) {
        print_block(s, checks, payments);
        return 0;
    }
    printf(
        "{\"bench\":\"cashier\",\"runs\":%u,\"check_ns\":%.0f,\"judged_ns\":%.0f,\"paid_ns\":%.0f,"
        "\"keeper_ns\":%.0f,\"judged_per_s\":%.0f}\n",
        runs, median(&s[CHECK]), median(&s[JUDGED]), median(&s[PAID]), median(&s[PAID_KEEPER]),
        1e9 / median(&s[JUDGED]));
    return 0;
}
