/* kill -9 at random instants.  A child works on the ledger and tells through a pipe what it is about to commit and what was committed;
   it is killed, the ledger is opened again, and must say exactly what was acknowledged, or that and the one batch that was under way,
   never a part of it and nothing twice.  A failing seed is printed; run it alone with KAMIYO_SEED=N. */
#include "tests/ledger_rig.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

enum { ACCOUNTS = 5, SHARDS = 3, ROUNDS = 100, BATCH_MAX = 12 };

typedef struct op {
    enum { OP_CREDIT, OP_LEASE, OP_SETTLE } what;
    int account;
    int shard;
    int ref;
    int64_t amount; /* credited, granted, consumed */
    int64_t returned;
} op_t;

/* One write() of at most PIPE_BUF bytes: whole or not at all. */
typedef struct news {
    enum { INTENDED = 1, COMMITTED } what;
    int count;
    op_t ops[BATCH_MAX];
} news_t;
_Static_assert(sizeof(news_t) <= 4096, "one piece of news is atomic in a pipe");

typedef struct model {
    int64_t credited[ACCOUNTS];
    int64_t balance[ACCOUNTS];
    int64_t consumed[ACCOUNTS];
    int64_t leased[ACCOUNTS][SHARDS];
    int refs_count; /* references 0..refs_count-1 were credited */
} model_t;

static void apply(model_t *m, const news_t *batch)
{
    for (int i = 0; i < batch->count; i++) {
        const op_t *op = &batch->ops[i];
        switch (op->what) {
        case OP_CREDIT:
            m->credited[op->account] += op->amount;
            m->balance[op->account] += op->amount;
            m->refs_count = op->ref + 1;
            break;
        case OP_LEASE:
            m->balance[op->account] -= op->amount;
            m->leased[op->account][op->shard] += op->amount;
            break;
        case OP_SETTLE:
            m->leased[op->account][op->shard] -= op->amount + op->returned;
            m->consumed[op->account] += op->amount;
            m->balance[op->account] += op->returned;
            break;
        }
    }
}

static void leases_back(model_t *m)
{
    for (int a = 0; a < ACCOUNTS; a++) {
        for (int s = 0; s < SHARDS; s++) {
            m->balance[a] += m->leased[a][s];
            m->leased[a][s] = 0;
        }
    }
}

/* -- the child: no assertion of the test library, an exit code says what went wrong -- */

#define OR_EXIT(cond, code)                                                                        \
    do {                                                                                           \
        if (!(cond))                                                                               \
            _exit(code);                                                                           \
    } while (0)

static op_t random_op(kmy_ledger_t *l, model_t *m, uint64_t *rng)
{
    op_t op = { .account = (int)(rig_random(rng) % ACCOUNTS),
                .shard = (int)(rig_random(rng) % SHARDS) };
    uint64_t id = (uint64_t)op.account + 1;
    int64_t open = m->leased[op.account][op.shard];
    char ref[32];
    uint64_t pick = rig_random(rng) % 4;
    if (pick == 0) {
        op.what = OP_CREDIT;
        op.ref = m->refs_count;
        op.amount = 1 + (int64_t)(rig_random(rng) % (uint64_t)USD);
        snprintf(ref, sizeof ref, "pay-%d", op.ref);
        OR_EXIT(kmy_ledger_credit(l, id, "grant", ref, op.amount, NOW, NULL, NULL) == KMY_OK, 2);
    } else if (pick == 1 || open == 0) {
        op.what = OP_LEASE;
        OR_EXIT(kmy_ledger_lease(l, id, (uint32_t)op.shard,
                                 1 + (int64_t)(rig_random(rng) % 1000000), NOW, &op.amount, NULL,
                                 NULL) == KMY_OK,
                3);
    } else {
        op.what = OP_SETTLE;
        op.amount = (int64_t)(rig_random(rng) % ((uint64_t)open + 1));
        op.returned = rig_random(rng) % 2 ? open - op.amount : 0;
        kmy_ledger_report_t report = { .account_id = id,
                                       .shard = (uint32_t)op.shard,
                                       .consumed_nusd = op.amount,
                                       .returned_nusd = op.returned,
                                       .ticks_count = 1 };
        OR_EXIT(kmy_ledger_settle(l, &report, NOW, NULL, NULL) == KMY_OK, 4);
    }
    return op;
}

static _Noreturn void work(const char *path, int news_fd, model_t m, uint64_t rng)
{
    kmy_ledger_t *l;
    OR_EXIT(kmy_ledger_open(&l, path, NULL, NULL) == KMY_OK, 5);
    for (;;) {
        news_t news = { .what = INTENDED, .count = 1 + (int)(rig_random(&rng) % BATCH_MAX) };
        OR_EXIT(kmy_ledger_begin(l, NULL) == KMY_OK, 6);
        for (int i = 0; i < news.count; i++) {
            news_t one = { .count = 1 };
            news.ops[i] = one.ops[0] = random_op(l, &m, &rng);
            apply(&m, &one);
        }
        OR_EXIT(write(news_fd, &news, sizeof news) == sizeof news, 7);
        OR_EXIT(kmy_ledger_commit(l, NULL) == KMY_OK, 8);
        news.what = COMMITTED;
        OR_EXIT(write(news_fd, &news, sizeof news) == sizeof news, 9);
    }
}

/* -- the parent -- */

static bool read_news(int fd, news_t *news)
{
    ssize_t n;
    do
        n = read(fd, news, sizeof *news);
    while (n < 0 && errno == EINTR);
    assert_true(n == 0 || n == (ssize_t)sizeof *news);
    return n != 0;
}

/* Lets the child work for a random while (by news read, then by time, so that it dies inside a commit too), and kills it. */
static void kill_at_random(pid_t child, int fd, uint64_t *rng, model_t *acknowledged,
                           news_t *under_way)
{
    news_t news;
    uint64_t pieces = rig_random(rng) % 3 == 0 ? 0 : rig_random(rng) % 60;
    under_way->count = 0;
    while (pieces-- > 0 && read_news(fd, &news)) {
        *under_way = news;
        if (news.what == COMMITTED) {
            apply(acknowledged, &news);
            under_way->count = 0;
        }
    }
    struct timespec moment = { 0, (long)(rig_random(rng) %
                                         2000000) }; /* the instant, not a wait for anything */
    nanosleep(&moment, NULL);
    kill(child, SIGKILL);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status))
        fail_msg("the child failed at its exit %d", WEXITSTATUS(status));
    while (read_news(fd, &news)) {
        *under_way = news;
        if (news.what == COMMITTED) {
            apply(acknowledged, &news);
            under_way->count = 0;
        }
    }
}

static bool same(rig_t *r, const model_t *m)
{
    for (int i = 0; i < ACCOUNTS; i++) {
        kmy_account_t a;
        assert_int_equal(kmy_ledger_account_by_id(r->ledger, (uint64_t)i + 1, &a, &r->ctx), KMY_OK);
        if (a.credited_nusd != m->credited[i] || a.balance_nusd != m->balance[i] ||
            a.consumed_nusd != m->consumed[i] || a.leased_nusd != 0)
            return false;
    }
    return true;
}

/* An acknowledged payment sent once more is known, and its account is no richer. */
static void assert_known(rig_t *r, const model_t *m, uint64_t seed)
{
    char ref[32];
    rig_begin(r);
    for (int i = 0; i < m->refs_count; i++) {
        snprintf(ref, sizeof ref, "pay-%d", i);
        kmy_err_t err =
            kmy_ledger_credit(r->ledger, 1, "grant", ref, INT64_C(1) << 40, NOW, NULL, &r->ctx);
        if (err != KMY_CONFLICT)
            fail_msg("seed %llu: payment %s is forgotten", (unsigned long long)seed, ref);
    }
    kmy_ledger_abort(r->ledger);
}

static void crash_round(rig_t *r, model_t *m, uint64_t seed)
{
    uint64_t rng = rig_seed(seed);
    int fds[2];
    news_t under_way;
    assert_int_equal(pipe(fds), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(fds[0]);
        work(r->path, fds[1], *m, rig_seed(seed + 1000000));
    }
    close(fds[1]);
    kill_at_random(child, fds[0], &rng, m, &under_way);
    close(fds[0]);

    rig_open(r);
    model_t with_last = *m;
    apply(&with_last, &under_way);
    leases_back(m);
    leases_back(&with_last);
    if (same(r, &with_last))
        *m = with_last;
    else if (!same(r, m))
        fail_msg("seed %llu: the ledger says neither what was acknowledged nor that and the last "
                 "batch",
                 (unsigned long long)seed);
    kmy_ledger_audit_t audit = rig_audit(r);
    if (audit.faults_count)
        fail_msg("seed %llu: audit: %s", (unsigned long long)seed, audit.first_fault);
    assert_known(r, m, seed);
    rig_close(r);
}

static void kill_9_at_any_instant_loses_nothing_acknowledged_and_doubles_nothing(void **state)
{
    rig_t r;
    model_t m = { 0 };
    const char *fixed = getenv("KAMIYO_SEED");
    uint64_t seed = fixed ? strtoull(fixed, NULL, 10) : 1;
    (void)state;
    rig_make(&r, 0); /* a real disk: commits take long enough to die in */
    rig_open(&r);
    for (int i = 0; i < ACCOUNTS; i++) {
        char name[32];
        snprintf(name, sizeof name, "local:%d", i);
        rig_account(&r, name, 0);
    }
    rig_close(&r);
    for (int round = 0; round < (fixed ? 1 : ROUNDS); round++)
        crash_round(&r, &m, seed + (uint64_t)round);
    kmy_ledger_audit_t audit = rig_audit(&r);
    assert_true(fixed || audit.entries_count > ROUNDS);
    print_message("             %llu entries survived %d kills\n",
                  (unsigned long long)audit.entries_count, ROUNDS);
    rig_remove(&r);
}

static void many_open_leases_come_back_in_chunks(void **state)
{
    enum { PEOPLE = 3000, HANDS = 3 }; /* 9,000 leases: three chunks */
    rig_t r;
    int64_t granted;
    (void)state;
    rig_make(&r, 1);
    rig_open(&r);
    rig_begin(&r);
    for (int i = 1; i <= PEOPLE; i++) {
        char name[32];
        snprintf(name, sizeof name, "local:%d", i);
        assert_int_equal(kmy_ledger_account_make(r.ledger, name, NOW, NULL, &r.ctx), KMY_OK);
        assert_int_equal(
            kmy_ledger_credit(r.ledger, (uint64_t)i, "grant", name, 10, NOW, NULL, &r.ctx), KMY_OK);
        for (uint32_t s = 0; s < HANDS; s++)
            assert_int_equal(
                kmy_ledger_lease(r.ledger, (uint64_t)i, s, 3, NOW, &granted, NULL, &r.ctx), KMY_OK);
    }
    rig_commit(&r);
    rig_assert_clean(&r);
    rig_close(&r);
    rig_open(&r);
    assert_int_equal(r.recovery.leases_count, PEOPLE * HANDS);
    assert_int_equal(r.recovery.leases_nusd, PEOPLE * HANDS * 3);
    kmy_ledger_audit_t audit = rig_audit(&r);
    assert_int_equal(audit.faults_count, 0);
    assert_int_equal(audit.balance_nusd, PEOPLE * 10);
    assert_int_equal(audit.leased_nusd, 0);
    rig_remove(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_open_leases_come_back_in_chunks),
        cmocka_unit_test(kill_9_at_any_instant_loses_nothing_acknowledged_and_doubles_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
