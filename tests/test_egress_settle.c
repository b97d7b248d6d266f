/* What a run costs, by where it stands: the usual way of a tick is the short one (gather_whole), and each of these makes a run that must not take it. */
#include "tests/egress_rig.h"

static int64_t counted(int metric)
{
    kmy_metrics_t *all = &x.metrics;
    return kmy_metrics_sum(&all, 1, metric);
}

static void ticks(int n)
{
    for (int i = 0; i < n; i++)
        tick(0);
}

/* The operator's page says what the lease says, and what the client has. */
static void books_agree(uint64_t paid, uint64_t got)
{
    assert_int_equal(reassemble(0).frames, got);
    assert_int_equal(x.s.conns[0].charged_ticks, paid);
    assert_int_equal(counted(KMY_METRIC_delivered_tick_total), got);
    assert_int_equal(counted(KMY_METRIC_delivered_byte_total), x.socket[0].len);
    assert_int_equal(counted(KMY_METRIC_consumed_nusd_total), lease()->spent_nusd);
    assert_int_equal(x.s.subs[0].receipt_nusd, lease()->spent_nusd);
}

static void each_turn_is_counted_once(void **state)
{
    (void)state;
    begin(100 * PRICE);
    subscribe(0, 0, KMY_ENC_JSON);
    for (int i = 1; i <= 4; i++) {
        ticks(i);
        turn();
    }
    assert_int_equal(lease()->spent_nusd, 10 * PRICE);
    assert_int_equal(lease()->ticks_count, 10);
    books_agree(10, 10);
    end();
}

static void ticks_before_an_announced_price_cost_the_old_one(void **state)
{
    (void)state;
    begin(100 * PRICE);
    subscribe(0, 0, KMY_ENC_JSON);
    x.s.subs[0].next_price_nusd = 3 * PRICE;
    x.s.subs[0].price_from = 5; /* offsets 1 to 4 at the old one */
    ticks(6);
    turn();
    until_nothing_waits(0);
    assert_int_equal(lease()->spent_nusd, (4 + 2 * 3) * PRICE);
    books_agree(6, 6);
    end();
}

static void what_an_earlier_session_paid_for_comes_again_free_of_charge(void **state)
{
    (void)state;
    begin(100 * PRICE);
    kmy_charges_t *l = kmy_charges_new("local:a", 1);
    kmy_charges_add(l, 0, 3, 6);
    kmy_charges_close(l);
    x.s.conns[0].charges = l;
    subscribe(0, 0, KMY_ENC_JSON);
    ticks(8);
    turn();
    until_nothing_waits(0);
    assert_int_equal(lease()->spent_nusd, 5 * PRICE);
    assert_int_equal(counted(KMY_METRIC_repeated_tick_total), 3);
    books_agree(5, 8);
    free(l);
    x.s.conns[0].charges = NULL;
    end();
}

static void what_a_pass_covers_is_delivered_and_not_charged(void **state)
{
    (void)state;
    begin(0);
    kmy_resume_t none = { .given = false };
    kmy_sub_options_t o = { .encoding = KMY_ENC_JSON, .pass = true };
    assert_int_not_equal(kmy_subs_add(&x.s, &x.s.conns[0], 0, &o, &none), KMY_NONE);
    x.s.conns[0].unpaid_told = true;
    ticks(5);
    turn();
    assert_true(x.s.conns[0].unpaid_told); /* no sign of money */
    assert_int_equal(lease()->spent_nusd, 0);
    books_agree(0, 5);
    end();
}

static void a_backlog_longer_than_a_send_takes_several(void **state)
{
    (void)state;
    begin(1000 * PRICE);
    subscribe(0, 0, KMY_ENC_JSON);
    ticks(700);
    turn();
    assert_in_range(x.socket[0].len, KMY_SEND_BYTES_MAX / 2, KMY_SEND_BYTES_MAX);
    until_nothing_waits(0);
    assert_true(x.socket[0].len > KMY_SEND_BYTES_MAX);
    books_agree(700, 700);
    end();
}

static void a_slow_reader_has_the_newest_though_the_log_holds_all(void **state)
{
    (void)state;
    begin(100 * PRICE);
    x.cfg.limits.lag_ticks = 4;
    x.s.conns[0].slow_policy = KMY_SLOW_CONFLATE;
    subscribe(0, 0, KMY_ENC_JSON);
    x.socket[0].room = 20;
    ticks(1);
    turn(); /* cut in its first frame */
    ticks(19);
    readable(0, UINT64_MAX);
    turn();
    until_nothing_waits(0);
    assert_int_equal(reassemble(0).skipped, 18);
    books_agree(2, 2);
    end();
}

static void a_session_that_waited_for_money_is_told_what_the_log_has_dropped(void **state)
{
    (void)state;
    begin(0);
    x.s.log_limits = (kmy_feedlog_limits_t){ 64, INT64_C(1000000000), 1 << 14 };
    subscribe(0, 0, KMY_ENC_JSON);
    ticks(1);
    turn();
    assert_true(x.s.conns[0].starved);
    ticks(999);
    x.s.accounts[0].lease = (kmy_lease_t){ 1000 * PRICE, 1000 * PRICE, 0, 0, 0 };
    x.s.conns[0].starved = false;
    kmy_egress_mark(&x.s, &x.s.conns[0]);
    turn();
    until_nothing_waits(0);
    client_t k = reassemble(0);
    assert_true(k.skipped > 0);
    assert_int_equal(k.frames + k.skipped, 1000);
    assert_int_equal(k.next[0], 1001);
    assert_int_equal(lease()->spent_nusd, (int64_t)k.frames * PRICE);
    end();
}

static void the_next_request_is_looked_at_when_all_that_was_sent_is_settled(void **state)
{
    (void)state;
    begin(100 * PRICE);
    x.s.conns[0].state = KMY_CONN_HTTP;
    assert_true(kmy_egress_bytes(&x.s, &x.s.conns[0], "an answer", 9));
    subscribe(1, 0, KMY_ENC_JSON);
    x.socket[1].room = 10; /* of a stream that is sent to at the same time, most comes back */
    ticks(3);
    turn();
    assert_int_equal(x.drained, 1);
    assert_int_equal(x.socket[0].len, 9);
    assert_int_equal(lease()->spent_nusd,
                     PRICE); /* of the cut one; its rest goes first next time */
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_turn_is_counted_once),
        cmocka_unit_test(the_next_request_is_looked_at_when_all_that_was_sent_is_settled),
        cmocka_unit_test(ticks_before_an_announced_price_cost_the_old_one),
        cmocka_unit_test(what_an_earlier_session_paid_for_comes_again_free_of_charge),
        cmocka_unit_test(what_a_pass_covers_is_delivered_and_not_charged),
        cmocka_unit_test(a_backlog_longer_than_a_send_takes_several),
        cmocka_unit_test(a_slow_reader_has_the_newest_though_the_log_holds_all),
        cmocka_unit_test(a_session_that_waited_for_money_is_told_what_the_log_has_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
