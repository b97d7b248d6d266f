/* engine/egress with engine/subs and engine/feedlog: what a socket takes, in pieces of any size, is what a client gets: whole frames, in order, each
   charged once, and nothing charged of which no byte was taken. */
#include "tests/egress_rig.h"

/* --- the rules ------------------------------------------------------------------------------------- */

static void a_balance_for_part_buys_exactly_that_part_and_more_money_the_rest(void **state)
{
    (void)state;
    for (int64_t can = 0; can <= 12; can++) {
        begin(can * PRICE + PRICE - 1); /* a nano-USD short of one more */
        subscribe(0, 0, KMY_ENC_JSON);
        for (int i = 0; i < 10; i++)
            tick(0);
        turn();
        uint64_t want = can < 10 ? (uint64_t)can : 10;
        assert_int_equal(reassemble(0).frames, want);
        assert_int_equal(x.s.conns[0].charged_ticks, want);
        assert_int_equal(lease()->spent_nusd, (int64_t)want * PRICE);
        assert_int_equal(x.starved, can < 10);
        turn(); /* nothing more comes by itself */
        assert_int_equal(reassemble(0).frames, want);
        x.s.accounts[0].lease.granted_nusd += 10 * PRICE;
        x.s.accounts[0].lease.left_nusd += 10 * PRICE;
        x.s.conns[0].starved = false;
        kmy_egress_mark(&x.s, &x.s.conns[0]);
        turn();
        client_t k = reassemble(0);
        assert_int_equal(k.frames, 10);
        assert_int_equal(k.skipped, 0);
        assert_int_equal(lease()->spent_nusd, 10 * PRICE);
        end();
    }
}

static void cut_at(size_t cut, uint8_t encoding, size_t *total)
{
    begin(1000 * PRICE);
    for (uint32_t f = 0; f < 2; f++)
        subscribe(0, f, encoding);
    own_frame(0);
    for (int i = 0; i < 6; i++)
        tick((uint32_t)i % 2);
    x.socket[0].room = cut;
    turn();
    client_t k = reassemble(0);
    assert_int_equal(x.socket[0].len, cut < *total ? cut : *total);
    /* Charged is what the socket took a byte of: whole frames and the one that is cut, unless that is our own. */
    uint64_t begun = k.frames + (k.cut > 0 && k.own == 1);
    if (x.s.conns[0].charged_ticks != begun)
        fail_msg("cut at %zu: charged %llu of %llu", cut,
                 (unsigned long long)x.s.conns[0].charged_ticks, (unsigned long long)begun);
    assert_int_equal(lease()->spent_nusd, (int64_t)begun * PRICE);
    assert_int_equal(lease()->ticks_count, begun);
    tick(0); /* the market goes on meanwhile; the peer reads a byte, then all */
    turn();
    assert_int_equal(x.socket[0].len, cut < *total ? cut : x.socket[0].len);
    readable(0, 1);
    turn();
    readable(0, UINT64_MAX);
    until_nothing_waits(0);
    k = reassemble(0);
    assert_int_equal(k.cut, 0);
    assert_int_equal(k.own, 1);
    assert_int_equal(k.frames, 7);
    assert_int_equal(k.skipped, 0);
    assert_int_equal(x.s.conns[0].charged_ticks, 7);
    assert_int_equal(lease()->spent_nusd, 7 * PRICE);
    end();
}

static void a_send_cut_at_any_byte_leaves_whole_frames_in_order_each_charged_once(void **state)
{
    (void)state;
    for (uint8_t enc = 0; enc <= KMY_ENC_FLAT; enc++) {
        begin(1000 * PRICE);
        for (uint32_t f = 0; f < 2; f++)
            subscribe(0, f, enc);
        own_frame(0);
        for (int i = 0; i < 6; i++)
            tick((uint32_t)i % 2);
        turn();
        size_t total = x.socket[0].len;
        end();
        assert_true(total > 600);
        for (size_t cut = 0; cut <= total; cut++)
            cut_at(cut, enc, &total);
    }
}

static void a_reader_too_slow_for_the_log_is_told_of_exactly_what_it_missed(void **state)
{
    (void)state;
    static const uint8_t policy[] = { KMY_SLOW_DROP, KMY_SLOW_CONFLATE };
    for (size_t p = 0; p < 2; p++) {
        begin(INT64_C(1000000) * PRICE);
        x.s.log_limits = (kmy_feedlog_limits_t){ 64, INT64_C(1000000000), 1 << 14 };
        x.cfg.limits.lag_ticks = 32;
        x.s.conns[0].slow_policy = policy[p];
        subscribe(0, 0, KMY_ENC_JSON);
        subscribe(1, 0, KMY_ENC_JSON); /* the other one reads */
        x.socket[0].room = 500;
        for (int i = 0; i < 1000; i++) {
            tick(0);
            turn();
        }
        readable(0, UINT64_MAX);
        until_nothing_waits(0);
        client_t slow = reassemble(0), quick = reassemble(1);
        assert_int_equal(quick.frames, 1000);
        assert_int_equal(quick.skipped, 0);
        assert_true(slow.skipped > 0);
        assert_int_equal(slow.frames + slow.skipped, 1000);
        assert_int_equal(slow.next[0], 1001);
        assert_int_equal(slow.warnings, 1);
        assert_int_equal(quick.warnings, 0);
        assert_int_equal(x.s.conns[0].charged_ticks, slow.frames);
        assert_int_equal(lease()->spent_nusd, (int64_t)(slow.frames + 1000) * PRICE);
        end();
    }
}

static void who_hangs_up_has_paid_for_what_was_taken_and_no_more(void **state)
{
    (void)state;
    begin(100 * PRICE);
    subscribe(0, 0, KMY_ENC_JSON);
    for (int i = 0; i < 10; i++)
        tick(0);
    x.socket[0].room = 300;
    turn();
    client_t k = reassemble(0);
    kmy_stream_unsubscribe_all(&x.s, &x.s.conns[0]);
    kmy_conn_kill(&x.s, &x.s.conns[0]);
    turn();
    assert_int_equal(lease()->spent_nusd, (int64_t)(k.frames + (k.cut > 0)) * PRICE);
    assert_int_equal(lease()->spent_nusd + lease()->left_nusd, 100 * PRICE);
    end();
}

static void a_session_that_takes_none_of_our_own_frames_is_ended(void **state)
{
    (void)state;
    begin(0);
    x.socket[0].room = 0;
    for (int i = 0; i < KMY_OUT_BYTES_MAX && x.killed == 0; i++) {
        own_frame(0);
        turn();
    }
    assert_int_equal(x.killed, 1);
    assert_true(kmy_out_count(&x.s.conns[0]) <= KMY_OUT_BYTES_MAX);
    end();
}

static void pass_slots(uint32_t slots)
{
    x.s.now_ns += (int64_t)slots << KMY_PACE_SHIFT;
    kmy_pace_turn(&x.s);
}

static void max_hz_gets_the_newest_tick_at_its_time_and_pays_for_that_alone(void **state)
{
    (void)state;
    static const uint32_t period[] = { 1, 10, 1023, 1024, 1025, 5000 };
    for (size_t p = 0; p < sizeof period / sizeof period[0]; p++) {
        begin(1000 * PRICE);
        subscribe_paced(0, 0, KMY_ENC_JSON, period[p]);
        subscribe(1, 0, KMY_ENC_JSON);
        uint64_t due = 0;
        for (int round = 0; round < 5; round++) {
            for (int i = 0; i < 7;
                 i++) { /* the first of a round goes at once only in the first round */
                tick(0);
                turn();
            }
            if (round == 0)
                assert_int_equal(reassemble(0).next[0], 2);
            pass_slots(period[p] - 1);
            turn();
            assert_int_equal(reassemble(0).frames, due + (round == 0));
            pass_slots(1);
            turn();
            due = (uint64_t)round + 2;
            client_t k = reassemble(0);
            assert_int_equal(k.frames, due);
            assert_int_equal(k.next[0], x.s.feeds[0].last.offset + 1); /* the newest */
            assert_int_equal(k.skipped, 0);                            /* and no gap */
        }
        assert_int_equal(x.s.conns[0].charged_ticks, due);
        assert_int_equal(x.s.conns[1].charged_ticks, 35);
        assert_int_equal(lease()->spent_nusd, (int64_t)(due + 35) * PRICE);
        assert_int_equal(x.s.pace.count, 0);
        pass_slots(20000); /* nothing new: nothing comes */
        turn();
        assert_int_equal(reassemble(0).frames, due);
        tick(0); /* its time is long over: at once */
        turn();
        assert_int_equal(reassemble(0).frames, due + 1);
        end();
    }
}

static void the_wheel_forgets_who_leaves_and_wakes_for_who_stays(void **state)
{
    (void)state;
    begin(1000 * PRICE);
    for (uint32_t c = 0; c < CONNS; c++)
        subscribe_paced(c, 0, KMY_ENC_JSON, 100 + c % 2);
    assert_int_equal(kmy_pace_next_ns(&x.s.pace), INT64_MAX);
    tick(0);
    turn();
    int64_t began_ns = x.s.now_ns;
    tick(0);
    turn();
    assert_int_equal(x.s.pace.count, CONNS);
    int64_t next_ns = kmy_pace_next_ns(&x.s.pace);
    assert_true(next_ns > began_ns + (INT64_C(99) << KMY_PACE_SHIFT));
    assert_true(next_ns <= began_ns + (INT64_C(100) << KMY_PACE_SHIFT));
    static const uint32_t leaves[] = { 2, 0, 5 };
    for (uint32_t i = 0; i < 3; i++)
        kmy_stream_unsubscribe_all(&x.s, &x.s.conns[leaves[i]]);
    assert_int_equal(x.s.pace.count, CONNS - 3);
    pass_slots(101);
    turn();
    for (uint32_t c = 0; c < CONNS; c++)
        assert_int_equal(x.s.conns[c].charged_ticks, c == 2 || c == 0 || c == 5 ? 1 : 2);
    assert_int_equal(x.s.pace.count, 0);
    assert_int_equal(kmy_pace_next_ns(&x.s.pace), INT64_MAX);
    end();
}

/* --- anything in any order --------------------------------------------------------------------------- */

static void do_anything(void)
{
    uint32_t conn = (uint32_t)rnd(CONNS);
    switch (rnd(6)) {
    case 0:
        readable(conn, rnd(4) ? rnd(3000) : rnd(200000));
        break;
    case 1:
        if (kmy_out_count(&x.s.conns[conn]) < KMY_OUT_BYTES_MAX / 2)
            own_frame(conn);
        break;
    case 2: { /* money comes */
        int64_t more = (int64_t)rnd(100) * PRICE / 3;
        x.s.accounts[0].lease.granted_nusd += more;
        x.s.accounts[0].lease.left_nusd += more;
        for (uint32_t i = 0; i < CONNS; i++) {
            x.s.conns[i].starved = false;
            kmy_egress_mark(&x.s, &x.s.conns[i]);
        }
        break;
    }
    default:
        for (uint64_t n = rnd(8); n > 0; n--)
            tick((uint32_t)rnd(FEEDS));
    }
    x.s.now_ns += (int64_t)rnd(20000000);
    kmy_pace_turn(&x.s);
}

/* What has no receipt yet is what was charged, subscription by subscription. */
static void runs_agree(uint32_t conn)
{
    uint64_t ticks = 0;
    for (uint32_t i = x.s.conns[conn].subs_head; i != KMY_NONE; i = x.s.subs[i].next) {
        const kmy_sub_t *sub = &x.s.subs[i];
        ticks += sub->receipt_ticks;
        assert_int_equal(sub->receipt_nusd, (int64_t)sub->receipt_ticks * PRICE);
        if (sub->receipt_ticks == 0)
            continue;
        assert_true(sub->receipt_from >= 1 && sub->receipt_to <= x.s.feeds[sub->feed].last.offset);
        assert_true(sub->receipt_ticks <= sub->receipt_to - sub->receipt_from + 1);
    }
    assert_int_equal(ticks, x.s.conns[conn].charged_ticks);
}

static void whatever_happens_clients_get_whole_frames_and_pay_for_those(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        begin(50 * PRICE);
        x.random = seed * UINT64_C(0x9e3779b97f4a7c15);
        x.s.log_limits = (kmy_feedlog_limits_t){ 256, INT64_C(2000000000), 1 << 16 };
        x.cfg.limits.lag_ticks = 200;
        x.cfg.limits.lag_ns = 1000000000;
        for (uint32_t i = 0; i < CONNS; i++) {
            x.s.conns[i].slow_policy = (uint8_t)(i % 2 ? KMY_SLOW_DROP : KMY_SLOW_CONFLATE);
            for (uint32_t f = 0; f <= i % FEEDS; f++)
                subscribe_paced(i, f, (uint8_t)(i / 3), i == CONNS - 1 ? 40 : 0);
        }
        for (int step = 0; step < 4000; step++) {
            do_anything();
            turn();
            uint64_t charged = 0;
            for (uint32_t i = 0; i < CONNS; i++) {
                charged += x.s.conns[i].charged_ticks;
                runs_agree(i);
            }
            assert_int_equal(lease()->spent_nusd, (int64_t)charged * PRICE);
            assert_int_equal(lease()->ticks_count, charged);
        }
        x.s.accounts[0].lease.granted_nusd += INT64_C(1000000) * PRICE;
        x.s.accounts[0].lease.left_nusd += INT64_C(1000000) * PRICE;
        pass_slots(40);
        for (uint32_t i = 0; i < CONNS; i++) {
            x.s.conns[i].starved = false;
            readable(i, UINT64_MAX);
            kmy_egress_mark(&x.s, &x.s.conns[i]);
            until_nothing_waits(i);
            client_t k = reassemble(i);
            assert_int_equal(k.cut, 0);
            assert_int_equal(k.frames, x.s.conns[i].charged_ticks);
            uint64_t due = 0;
            for (uint32_t f = 0; f <= i % FEEDS; f++) {
                assert_int_equal(k.next[f], x.s.feeds[f].last.offset + 1);
                due += x.s.feeds[f].last.offset;
            }
            if (!k.jumps)
                assert_int_equal(k.frames + k.skipped,
                                 due); /* each tick came or was told missing */
        }
        assert_int_equal(x.killed, 0);
        end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_balance_for_part_buys_exactly_that_part_and_more_money_the_rest),
        cmocka_unit_test(a_send_cut_at_any_byte_leaves_whole_frames_in_order_each_charged_once),
        cmocka_unit_test(a_reader_too_slow_for_the_log_is_told_of_exactly_what_it_missed),
        cmocka_unit_test(who_hangs_up_has_paid_for_what_was_taken_and_no_more),
        cmocka_unit_test(a_session_that_takes_none_of_our_own_frames_is_ended),
        cmocka_unit_test(max_hz_gets_the_newest_tick_at_its_time_and_pays_for_that_alone),
        cmocka_unit_test(the_wheel_forgets_who_leaves_and_wakes_for_who_stays),
        cmocka_unit_test(whatever_happens_clients_get_whole_frames_and_pay_for_those),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
