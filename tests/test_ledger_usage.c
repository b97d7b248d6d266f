/* Usage is written by the call that moves the money, adds up to it by account and mode, and says for which feed and in which hour. */
#include "tests/ledger_payment_rig.h"

#include "pay/ledger_pass.h"
#include "pay/ledger_usage.h"

#include <lmdb.h>
#include <signal.h>
#include <sys/wait.h>

#define HOUR (INT64_C(3600) * 1000000000)
#define DAY  (24 * HOUR)

static uint32_t feed(rig_t *r, const char *name)
{
    uint32_t id = 0;
    assert_int_equal(kmy_ledger_feed(r->ledger, name, &id, &r->ctx), KMY_OK);
    return id;
}

/* In a batch of its own: so much is leased and reported as spent on these. */
static void spend(rig_t *r, uint64_t account, const kmy_use_t *uses, size_t count, int64_t now_ns)
{
    int64_t granted;
    kmy_ledger_report_t report = { .account_id = account, .uses = uses, .uses_count = count };
    for (size_t i = 0; i < count; i++) {
        bool asked = uses[i].mode == KMY_MODE_QUERY || uses[i].mode == KMY_MODE_BATCH;
        report.consumed_nusd += uses[i].nusd;
        *(asked ? &report.queries_count : &report.ticks_count) += uses[i].count;
    }
    if (report.consumed_nusd > 0) {
        assert_int_equal(kmy_ledger_lease(r->ledger, account, 0, report.consumed_nusd, now_ns,
                                          &granted, NULL, &r->ctx),
                         KMY_OK);
        assert_int_equal(granted, report.consumed_nusd);
    }
    assert_int_equal(kmy_ledger_settle(r->ledger, &report, now_ns, NULL, &r->ctx), KMY_OK);
}

static kmy_usage_t *usage(rig_t *r, uint64_t account, int64_t from_ns)
{
    kmy_usage_t *u;
    assert_int_equal(
        kmy_ledger_usage(r->ledger, account, from_ns, 0, KMY_USAGE_FEEDS_MAX, &u, &r->ctx), KMY_OK);
    return u;
}

static void assert_feed(const kmy_usage_feed_t *f, const char *name, kmy_mode_t mode,
                        uint64_t count, int64_t nusd)
{
    assert_string_equal(f->name, name);
    assert_int_equal(f->sums.count[mode], count);
    assert_int_equal(f->sums.nusd[mode], nusd);
}

static void what_is_reported_stands_under_its_feed_and_mode(void **state)
{
    rig_t r;
    (void)state;
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t a = rig_account(&r, "local:a", USD);
    uint64_t b = rig_account(&r, "local:b", USD);
    rig_begin(&r);
    uint32_t sol = feed(&r, "SOL/USD");
    uint32_t btc = feed(&r, "BTC/USD");
    assert_int_equal(feed(&r, "SOL/USD"), sol); /* the same for ever */
    const kmy_use_t first[] = {
        { .mode = KMY_MODE_STREAM, .feed = sol, .count = 10, .nusd = 100 },
        { .mode = KMY_MODE_STREAM, .feed = btc, .count = 5, .nusd = 50 },
        { .mode = KMY_MODE_QUERY, .feed = sol, .count = 1, .nusd = 7 },
        { .mode = KMY_MODE_PASS, .feed = btc, .count = 4, .nusd = 0 },
    };
    const kmy_use_t more[] = {
        { .mode = KMY_MODE_STREAM, .feed = btc, .count = 1, .nusd = 10 },
        { .mode = KMY_MODE_BATCH, .feed = sol, .count = 2, .nusd = 8 },
    };
    const kmy_use_t others = { .mode = KMY_MODE_STREAM, .feed = sol, .count = 3, .nusd = 30 };
    spend(&r, a, first, 4, NOW);
    spend(&r, b, &others, 1, NOW);
    spend(&r, a, more, 2, NOW + 1);
    rig_commit(&r);
    kmy_usage_t *u = usage(&r, a, NOW);
    assert_int_equal(u->count, 2);
    assert_false(u->more);
    assert_feed(&u->feeds[0], "SOL/USD", KMY_MODE_STREAM, 10, 100);
    assert_feed(&u->feeds[0], "SOL/USD", KMY_MODE_QUERY, 1, 7);
    assert_feed(&u->feeds[0], "SOL/USD", KMY_MODE_BATCH, 2, 8);
    assert_feed(&u->feeds[1], "BTC/USD", KMY_MODE_STREAM, 6, 60);
    assert_feed(&u->feeds[1], "BTC/USD", KMY_MODE_PASS, 4, 0);
    assert_int_equal(u->total.nusd[KMY_MODE_STREAM], 160);
    assert_int_equal(u->total.count[KMY_MODE_STREAM], 16);
    free(u);
    kmy_account_t acc;
    assert_int_equal(kmy_ledger_account_by_id(r.ledger, a, &acc, &r.ctx), KMY_OK);
    assert_int_equal(acc.consumed_nusd, 175);
    assert_int_equal(acc.ticks_count, 20);
    assert_int_equal(acc.queries_count, 3);
    rig_assert_clean(&r);
    rig_remove(&r);
}

static void a_window_is_whole_hours(void **state)
{
    static const struct {
        int64_t from_ns;
        int64_t nusd;
    } rows[] = { { 0, 111 },   { NOW / HOUR * HOUR, 111 }, { NOW + HOUR, 110 },
                 { NOW, 111 }, { NOW + DAY, 100 },         { NOW + DAY + HOUR, 0 } };
    rig_t r;
    (void)state;
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t a = rig_account(&r, "local:a", USD);
    rig_begin(&r);
    kmy_use_t use = { .mode = KMY_MODE_STREAM, .feed = feed(&r, "SOL/USD"), .count = 1, .nusd = 1 };
    spend(&r, a, &use, 1, NOW);
    use.nusd = 10;
    spend(&r, a, &use, 1, NOW + HOUR);
    use.nusd = 100;
    spend(&r, a, &use, 1, NOW + DAY);
    rig_commit(&r);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        kmy_usage_t *u = usage(&r, a, rows[i].from_ns);
        assert_int_equal(u->total.nusd[KMY_MODE_STREAM], rows[i].nusd);
        assert_int_equal(u->from_ns % HOUR, 0);
        free(u);
    }
    rig_remove(&r);
}

static void pages_go_through_all_feeds_and_the_total_is_of_all(void **state)
{
    enum { FEEDS = 7 };
    rig_t r;
    kmy_use_t uses[FEEDS];
    char name[16];
    (void)state;
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t a = rig_account(&r, "local:a", USD);
    rig_begin(&r);
    for (uint32_t i = 0; i < FEEDS; i++) {
        snprintf(name, sizeof name, "F%u", i);
        uses[i] = (kmy_use_t){
            .mode = KMY_MODE_STREAM, .feed = feed(&r, name), .count = 1, .nusd = 1 + i
        };
    }
    feed(&r, "never used");
    spend(&r, a, uses, FEEDS, NOW);
    rig_commit(&r);
    uint32_t next = 0;
    uint32_t seen = 0;
    for (bool more = true; more;) {
        kmy_usage_t *u;
        assert_int_equal(kmy_ledger_usage(r.ledger, a, NOW, next, 3, &u, &r.ctx), KMY_OK);
        assert_int_equal(u->total.nusd[KMY_MODE_STREAM], 28);
        for (uint32_t i = 0; i < u->count; i++, seen++)
            assert_int_equal(u->feeds[i].sums.nusd[KMY_MODE_STREAM], 1 + seen);
        more = u->more;
        assert_int_equal(u->count, more ? 3 : 1);
        next = u->feeds[u->count - 1].id + 1;
        free(u);
    }
    assert_int_equal(seen, FEEDS);
    rig_remove(&r);
}

static void a_pass_and_a_paid_query_are_usage_too(void **state)
{
    rig_t r;
    kmy_pass_sale_t sale;
    const void *kept;
    size_t kept_bytes;
    char id[KMY_PAYMENT_ID_HEX + 1];
    kmy_account_t acc;
    (void)state;
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t a = rig_account(&r, "local:a", USD);
    kmy_pass_order_t o = {
        .account_id = a, .key = "", .count = 1, .price_nusd = 40, .feeds = { "SOL/USD" }
    };
    rig_begin(&r);
    assert_int_equal(kmy_ledger_pass_buy(r.ledger, &o, NOW, &sale, NULL, &r.ctx), KMY_OK);
    assert_int_equal(pay_reserve(&r, pay_query(2, 2), NULL), KMY_OK);
    assert_int_equal(pay_settle(&r, 2, 2, 0, &acc), KMY_OK);
    pay_id(id, 2);
    const int64_t charged_nusd = 900; /* less than was promised: the rest is free again */
    kmy_use_t as = {
        .mode = KMY_MODE_BATCH, .feed = feed(&r, "BTC/USD"), .count = 3, .price_book = 0
    };
    assert_int_equal(kmy_ledger_payment_answer(r.ledger, id, &as, "x", 1, charged_nusd, NOW, &kept,
                                               &kept_bytes, &acc, &r.ctx),
                     KMY_OK);
    rig_commit(&r);
    kmy_usage_t *u = usage(&r, a, NOW);
    assert_int_equal(u->count, 1);
    assert_feed(&u->feeds[0], "SOL/USD", KMY_MODE_PASS, 0, 40);
    free(u);
    u = usage(&r, acc.id, NOW);
    assert_int_equal(u->count, 1);
    assert_feed(&u->feeds[0], "BTC/USD", KMY_MODE_BATCH, 3, charged_nusd);
    assert_int_equal(acc.queries_count, 3);
    free(u);
    rig_assert_clean(&r);
    rig_remove(&r);
}

static uint64_t rows_of_usage(const char *path)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_stat stat;
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 64), 0);
    assert_int_equal(mdb_env_open(env, path, MDB_RDONLY, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, "usage", 0, &dbi), 0);
    assert_int_equal(mdb_stat(txn, dbi, &stat), 0);
    mdb_txn_abort(txn);
    mdb_env_close(env);
    return stat.ms_entries;
}

/* 100 days of one busy account, and one that was here on the first day only: rows stay below 31 days and a third more, and no nano-USD is lost. */
static void old_hours_become_one_row_and_nothing_is_lost(void **state)
{
    enum { HOURS = 100 * 24 };
    rig_t r;
    (void)state;
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t gone = rig_account(&r, "local:gone", USD);
    uint64_t a = rig_account(&r, "local:a", USD);
    rig_begin(&r);
    kmy_use_t use = { .mode = KMY_MODE_STREAM, .feed = feed(&r, "SOL/USD"), .count = 1, .nusd = 3 };
    for (int i = 0; i < 24; i++)
        spend(&r, gone, &use, 1, NOW + i * HOUR);
    for (int i = 0; i < HOURS; i++) {
        spend(&r, a, &use, 1, NOW + i * HOUR);
        if (i % 7 > 0)
            continue;
        kmy_usage_t *u = usage(&r, a, NOW + (i - KMY_USAGE_HOURS) * HOUR);
        int kept = i < KMY_USAGE_HOURS ? i + 1 : KMY_USAGE_HOURS + 1; /* not an hour less */
        assert_int_equal(u->total.count[KMY_MODE_STREAM], kept);
        free(u);
    }
    rig_commit(&r);
    rig_assert_clean(&r);
    kmy_usage_t *u = usage(&r, a, NOW + (HOURS - 30 * 24) * HOUR);
    assert_int_equal(u->total.count[KMY_MODE_STREAM], 30 * 24); /* all of a month is there */
    free(u);
    u = usage(&r, gone, 0);
    assert_int_equal(u->total.count[KMY_MODE_STREAM], 0);
    free(u);
    rig_close(&r);
    assert_in_range(rows_of_usage(r.path), 31 * 24, 31 * 24 * 4 / 3 + 2);
    rig_remove(&r);
}

static void a_batch_that_is_given_up_leaves_no_usage(void **state)
{
    rig_t r;
    (void)state;
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t a = rig_account(&r, "local:a", USD);
    rig_begin(&r);
    kmy_use_t use = { .mode = KMY_MODE_STREAM, .feed = feed(&r, "SOL/USD"), .count = 1, .nusd = 3 };
    spend(&r, a, &use, 1, NOW);
    kmy_ledger_abort(r.ledger);
    kmy_usage_t *u = usage(&r, a, 0);
    assert_int_equal(u->count, 0);
    free(u);
    char name[KMY_FEED_NAME_BYTES_MAX];
    assert_int_equal(kmy_ledger_feed_name(r.ledger, 1, name, &r.ctx), KMY_NOT_FOUND);
    rig_assert_clean(&r);
    rig_remove(&r);
}

static bool settle_dies(rig_t *r, kmy_ledger_report_t report)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGABRT, SIG_DFL);
        close(STDERR_FILENO);
        kmy_ledger_settle(r->ledger, &report, NOW, NULL, &r->ctx);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void uses_that_do_not_add_up_are_our_bug(void **state)
{
    rig_t r;
    int64_t granted;
    (void)state;
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t a = rig_account(&r, "local:a", USD);
    rig_begin(&r);
    kmy_use_t one = { .mode = KMY_MODE_STREAM, .feed = feed(&r, "SOL/USD"), .count = 1, .nusd = 1 };
    const kmy_use_t twice[] = { one, one };
    assert_int_equal(kmy_ledger_lease(r.ledger, a, 0, 10, NOW, &granted, NULL, &r.ctx), KMY_OK);
    kmy_ledger_report_t report = {
        .account_id = a, .uses = twice, .uses_count = 1, .consumed_nusd = 1, .ticks_count = 1
    };
    assert_false(settle_dies(&r, report));
    report.consumed_nusd = 2;
    assert_true(settle_dies(&r, report));
    report.consumed_nusd = 1;
    report.ticks_count = 2;
    assert_true(settle_dies(&r, report));
    report.consumed_nusd = 2; /* they add up, but stand twice */
    report.uses_count = 2;
    assert_true(settle_dies(&r, report));
    rig_remove(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_reported_stands_under_its_feed_and_mode),
        cmocka_unit_test(a_window_is_whole_hours),
        cmocka_unit_test(pages_go_through_all_feeds_and_the_total_is_of_all),
        cmocka_unit_test(a_pass_and_a_paid_query_are_usage_too),
        cmocka_unit_test(old_hours_become_one_row_and_nothing_is_lost),
        cmocka_unit_test(a_batch_that_is_given_up_leaves_no_usage),
        cmocka_unit_test(uses_that_do_not_add_up_are_our_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
