/* engine/account: what nobody waits for leaves room in the keeper's queue for what somebody does. */
#include "engine/account.h"
#include "engine/shard.h"
#include "engine/uses.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 16, ACCOUNTS = 40, LEFT = 1000, SPENT = 10 };

static struct {
    kmy_shard_t s;
    kmy_config_t cfg;
    kmy_topology_t t;
    kmy_metrics_t metrics;
    void *mem;
} x;

/* Forty accounts with a session each, which spent something, and whose report is due. */
static int begin(void **state)
{
    (void)state;
    kmy_errctx_t ctx;
    static const char yaml[] = "sources: { pyth: { feeds: [] }, binance: { symbols: [SOLUSDT] } }";
    memset(&x, 0, sizeof x);
    assert_int_equal(kmy_config_read(&x.cfg, "test", yaml, sizeof yaml - 1, &ctx), KMY_OK);
    assert_true(kmy_wake_init(&x.t.keeper_wake));
    x.mem = aligned_alloc(64, (kmy_queue_bytes(SLOTS, sizeof(kmy_ask_t)) + 63) / 64 * 64);
    x.s.asks = kmy_queue_init(x.mem, SLOTS, sizeof(kmy_ask_t));
    x.s.config = &x.cfg;
    x.s.metrics = &x.metrics;
    x.s.o.topology = &x.t;
    x.s.now_ns = 1000 * KMY_NS_PER_S;
    x.s.accounts = calloc(ACCOUNTS, sizeof *x.s.accounts);
    x.s.touched = calloc(ACCOUNTS, sizeof *x.s.touched);
    x.s.accounts_high = x.s.accounts_max = ACCOUNTS;
    for (uint32_t i = 0; i < ACCOUNTS; i++) {
        kmy_shard_account_t *acc = &x.s.accounts[i];
        *acc = (kmy_shard_account_t){ .state = KMY_ACCOUNT_OPEN,
                                      .id = i + 1,
                                      .conns_count = 1,
                                      .conns_head = KMY_NONE,
                                      .waiters_head = KMY_NONE,
                                      .waiters_tail = KMY_NONE };
        acc->lease = (kmy_lease_t){ LEFT + SPENT, LEFT, SPENT, 1, 0 };
        kmy_uses_add(&acc->uses,
                     &(kmy_use_t){ .mode = KMY_MODE_STREAM, .feed = 1, .count = 1, .nusd = SPENT });
        kmy_account_touch(&x.s, acc);
    }
    return 0;
}

static int end(void **state)
{
    (void)state;
    kmy_config_free(&x.cfg);
    kmy_wake_fini(&x.t.keeper_wake);
    for (uint32_t i = 0; i < ACCOUNTS; i++)
        kmy_uses_free(&x.s.accounts[i].uses);
    free(x.s.accounts);
    free(x.s.touched);
    free(x.mem);
    return 0;
}

static void reports_leave_a_quarter_of_the_queue_to_who_waits(void **state)
{
    (void)state;
    kmy_account_report(&x.s, false);
    assert_int_equal(kmy_queue_count(x.s.asks), SLOTS - SLOTS / 4);
    assert_false(kmy_shard_keeper_keeps_up(&x.s));
    /* A session that has run dry is heard all the same, its report ahead of its wish. */
    kmy_shard_account_t *dry = &x.s.accounts[ACCOUNTS - 1];
    dry->free_nusd = 2 * x.cfg.lease.max_nusd;
    assert_int_equal(kmy_account_cover(&x.s, dry, x.cfg.lease.max_nusd), KMY_COVER_WAIT);
    assert_true(dry->lease_asked);
    assert_int_equal(kmy_queue_count(x.s.asks), SLOTS - SLOTS / 4 + 2);
}

static void no_report_is_lost_by_waiting_its_turn(void **state)
{
    (void)state;
    uint32_t seen = 0;
    int64_t consumed = 0;
    for (int turn = 0; turn < 10; turn++) {
        kmy_ask_t a;
        kmy_account_report(&x.s, false);
        while (kmy_queue_pop(x.s.asks, &a)) {
            assert_int_equal(a.kind, KMY_ASK_REPORT);
            consumed += a.consumed_nusd;
            seen++;
        }
    }
    assert_int_equal(seen, ACCOUNTS);
    assert_int_equal(consumed, ACCOUNTS * SPENT);
    assert_int_equal(x.s.touched_count, 0);
}

static void a_report_tells_what_it_was_for(void **state)
{
    (void)state;
    kmy_ask_t a;
    assert_true(kmy_account_report_now(&x.s, &x.s.accounts[0]));
    assert_true(kmy_queue_pop(x.s.asks, &a));
    assert_int_equal(a.uses_count, 1);
    assert_int_equal(a.uses[0].feed, 1);
    assert_int_equal(a.uses[0].mode, KMY_MODE_STREAM);
    assert_int_equal(a.uses[0].nusd, SPENT);
    assert_int_equal(a.ticks_count, 1);
}

/* Gathered for a send that is not over: taken from the lease, but the socket may refuse it, and then it comes back. */
static void what_is_on_its_way_to_a_socket_is_reported_later(void **state)
{
    (void)state;
    kmy_shard_account_t *acc = &x.s.accounts[0];
    kmy_ask_t a;
    kmy_meter_take_ticks(&acc->lease, 7, 3);
    assert_true(kmy_account_report_now(&x.s, acc));
    assert_true(kmy_queue_pop(x.s.asks, &a));
    assert_int_equal(a.consumed_nusd, SPENT);
    assert_int_equal(a.ticks_count, 1);
    assert_int_equal(acc->lease.spent_nusd, 21);
    kmy_meter_untake_ticks(&acc->lease, 7, 3);
    kmy_lease_check(&acc->lease);
    assert_int_equal(acc->lease.left_nusd, LEFT);
    assert_int_equal(acc->lease.granted_nusd, LEFT);
}

/* A lease that is wholly on its way leaves no room for another one: the wish is kept until it is known what came of it. */
static void who_has_all_on_its_way_is_heard_at_the_next_housekeeping(void **state)
{
    (void)state;
    kmy_shard_account_t *acc = &x.s.accounts[0];
    kmy_ask_t a;
    assert_true(kmy_account_report_now(&x.s, acc));
    acc->free_nusd = 10 * x.cfg.lease.max_nusd;
    acc->lease = (kmy_lease_t){ x.cfg.lease.max_nusd, 0, x.cfg.lease.max_nusd, 1, 0 };
    kmy_account_ask_more(&x.s, acc);
    assert_false(acc->lease_asked);
    assert_true(acc->retry_nusd > 0);
    kmy_uses_add(&acc->uses, &(kmy_use_t){ .mode = KMY_MODE_STREAM,
                                           .feed = 1,
                                           .count = 1,
                                           .nusd = x.cfg.lease.max_nusd }); /* it arrived */
    kmy_account_report(&x.s, false);
    assert_true(acc->lease_asked);
    assert_int_equal(acc->lease.spent_nusd, 0);
    while (kmy_queue_pop(x.s.asks, &a))
        ;
}

static void what_the_queue_does_not_take_is_reported_another_time(void **state)
{
    (void)state;
    kmy_shard_account_t *acc = &x.s.accounts[0];
    kmy_ask_t a = { .kind = KMY_ASK_REVOKE };
    for (uint32_t i = 2; i <= 9; i++) /* more than stand in an ask */
        kmy_uses_add(&acc->uses,
                     &(kmy_use_t){ .mode = KMY_MODE_STREAM, .feed = i, .count = 1, .nusd = 1 });
    kmy_meter_take_ticks(&acc->lease, 1, 8);
    while (kmy_queue_push(x.s.asks, &a))
        ;
    assert_false(kmy_account_report_now(&x.s, acc));
    assert_int_equal(acc->lease.spent_nusd, SPENT + 8);
    while (kmy_queue_pop(x.s.asks, &a))
        ;
    assert_true(kmy_account_report_now(&x.s, acc));
    assert_true(kmy_queue_pop(x.s.asks, &a));
    assert_int_equal(a.uses_count, 9);
    assert_int_equal(a.consumed_nusd, SPENT + 8);
    assert_int_equal(a.uses_owned[8].feed, 9);
    assert_int_equal(acc->lease.spent_nusd, 0);
    free(a.uses_owned);
}

/* One comparison after every run of ticks stands for two: is it listed for the next report, and does the lease run low? */
static void an_account_off_the_list_is_listed_by_the_next_tick_it_pays(void **state)
{
    (void)state;
    kmy_shard_account_t *acc = &x.s.accounts[0];
    kmy_ask_t a;
    acc->lease.left_nusd = INT64_C(1) << 50; /* nowhere near low */
    acc->lease.granted_nusd = acc->lease.left_nusd + SPENT;
    kmy_account_report(&x.s, false);
    while (kmy_queue_pop(x.s.asks, &a))
        ;
    assert_false(acc->in_touched);
    uint32_t listed = x.s.touched_count;
    assert_int_equal(kmy_meter_take_up_to(&acc->lease, 1, 1), 1);
    kmy_account_took(&x.s, acc);
    assert_true(acc->in_touched);
    assert_int_equal(x.s.touched_count, listed + 1);
    kmy_account_took(&x.s, acc); /* once is enough */
    assert_int_equal(x.s.touched_count, listed + 1);
    assert_false(acc->lease_asked);
}

static void a_lease_that_runs_low_is_asked_for_by_the_tick_that_makes_it_low(void **state)
{
    (void)state;
    kmy_shard_account_t *acc = &x.s.accounts[0];
    acc->free_nusd = x.cfg.lease.max_nusd;
    acc->low_nusd = acc->watch_nusd = LEFT - 5;
    kmy_meter_take_up_to(&acc->lease, 1, 5);
    kmy_account_took(&x.s, acc);
    assert_false(acc->lease_asked);
    kmy_meter_take_up_to(&acc->lease, 1, 1);
    kmy_account_took(&x.s, acc);
    assert_true(acc->lease_asked);
}

/* Nothing spent, so nothing to report: only the wish itself is left to remember it by. */
static void who_found_no_room_to_ask_for_a_lease_is_heard_later(void **state)
{
    (void)state;
    kmy_ask_t a = { .kind = KMY_ASK_REPORT };
    kmy_shard_account_t *dry = &x.s.accounts[0];
    dry->lease = (kmy_lease_t){ 0 };
    dry->free_nusd = x.cfg.lease.max_nusd;
    while (kmy_queue_push(x.s.asks, &a))
        ;
    assert_int_equal(kmy_account_cover(&x.s, dry, 100), KMY_COVER_WAIT);
    assert_false(dry->lease_asked);
    while (kmy_queue_pop(x.s.asks, &a))
        ;
    kmy_account_report(&x.s, false);
    assert_true(dry->lease_asked);
    assert_true(kmy_queue_pop(x.s.asks, &a));
    assert_int_equal(a.kind, KMY_ASK_LEASE);
    assert_true(a.amount_nusd >= 100);
}

/* What is asked for when the last lease lasted that long. */
static int64_t next_lease(int64_t lasted_ns)
{
    kmy_ask_t a;
    kmy_shard_account_t *dry = &x.s.accounts[0];
    dry->lease = (kmy_lease_t){ 0 };
    dry->free_nusd = 2 * x.cfg.lease.max_nusd;
    dry->leased_ns = x.s.now_ns - lasted_ns;
    dry->lease_asked = false;
    assert_int_equal(kmy_account_cover(&x.s, dry, 1), KMY_COVER_WAIT);
    assert_true(kmy_queue_pop(x.s.asks, &a));
    assert_int_equal(a.kind, KMY_ASK_LEASE);
    return a.amount_nusd;
}

static void the_sooner_a_lease_is_gone_the_larger_is_the_next_up_to_the_most(void **state)
{
    (void)state;
    const int64_t least = x.cfg.lease.min_nusd, target_ns = x.cfg.lease.target_ns;
    assert_int_equal(next_lease(target_ns / 4), least);
    assert_in_range(next_lease(target_ns / 64), 2 * least, 2 * least + 1000);
    assert_in_range(next_lease(target_ns / 64 - 1), 2 * 8 * least, 2 * 8 * least + 10000);
    int64_t last = 0;
    for (int i = 0; i < 10; i++)
        last = next_lease(1);
    assert_int_equal(last, x.cfg.lease.max_nusd);
}

static bool hurried(kmy_shard_account_t *acc)
{
    kmy_wake_arm(&x.t.keeper_wake);
    kmy_account_ask_more(&x.s, acc);
    assert_true(acc->lease_asked);
    return atomic_load(&x.t.keeper_wake.armed) == 0;
}

static void a_lease_that_will_not_last_is_asked_for_at_once(void **state)
{
    (void)state;
    static const struct {
        const char *what;
        int64_t left, rate_s; /* low: LEFT */
        bool hurried;
    } row[] = {
        { "half full, an hour's worth", LEFT / 2, LEFT / 7200, false },
        { "nearly empty", LEFT / 4 - 1, 0, true },
        { "half full, gone in a tenth of a second", LEFT / 2, 5 * LEFT + 10, true },
        { "half full, gone a little later", LEFT / 2, 5 * LEFT - 10, false },
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        kmy_shard_account_t *acc = &x.s.accounts[i];
        acc->lease = (kmy_lease_t){ row[i].left, row[i].left, 0, 0, 0 };
        acc->low_nusd = LEFT;
        acc->rate_nusd_s = row[i].rate_s;
        acc->free_nusd = x.cfg.lease.max_nusd;
        if (hurried(acc) != row[i].hurried)
            fail_msg("%s", row[i].what);
    }
}

static void what_was_asked_without_hurry_is_hurried_when_it_is_needed(void **state)
{
    (void)state;
    kmy_shard_account_t *acc = &x.s.accounts[0];
    acc->lease = (kmy_lease_t){ LEFT, LEFT, 0, 0, 0 };
    acc->low_nusd = LEFT + 1;
    acc->free_nusd = x.cfg.lease.max_nusd;
    assert_false(hurried(acc));
    assert_int_equal(kmy_account_cover(&x.s, acc, LEFT + 1), KMY_COVER_WAIT);
    assert_int_equal(atomic_load(&x.t.keeper_wake.armed), 0);
    assert_int_equal(kmy_queue_count(x.s.asks), 1); /* and not asked twice */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reports_leave_a_quarter_of_the_queue_to_who_waits, begin,
                                        end),
        cmocka_unit_test_setup_teardown(no_report_is_lost_by_waiting_its_turn, begin, end),
        cmocka_unit_test_setup_teardown(a_report_tells_what_it_was_for, begin, end),
        cmocka_unit_test_setup_teardown(what_is_on_its_way_to_a_socket_is_reported_later, begin,
                                        end),
        cmocka_unit_test_setup_teardown(who_has_all_on_its_way_is_heard_at_the_next_housekeeping,
                                        begin, end),
        cmocka_unit_test_setup_teardown(what_the_queue_does_not_take_is_reported_another_time,
                                        begin, end),
        cmocka_unit_test_setup_teardown(an_account_off_the_list_is_listed_by_the_next_tick_it_pays,
                                        begin, end),
        cmocka_unit_test_setup_teardown(
            a_lease_that_runs_low_is_asked_for_by_the_tick_that_makes_it_low, begin, end),
        cmocka_unit_test_setup_teardown(who_found_no_room_to_ask_for_a_lease_is_heard_later, begin,
                                        end),
        cmocka_unit_test_setup_teardown(
            the_sooner_a_lease_is_gone_the_larger_is_the_next_up_to_the_most, begin, end),
        cmocka_unit_test_setup_teardown(a_lease_that_will_not_last_is_asked_for_at_once, begin,
                                        end),
        cmocka_unit_test_setup_teardown(what_was_asked_without_hurry_is_hurried_when_it_is_needed,
                                        begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
