/* engine/egress_gather for server-sent events: ticks in order of seq over all feeds, whatever the socket takes and the lease covers. */
#include "tests/egress_rig.h"

/* --- server-sent events ---------------------------------------------------------------------------- */

/* Connection 0 reads all feeds as events. */
static void events(uint32_t pace_slots)
{
    x.s.conns[0].state = KMY_CONN_SSE;
    for (uint32_t f = 0; f < FEEDS; f++)
        subscribe_paced(0, f, KMY_ENC_SSE, pace_slots);
}

typedef struct listener {
    client_t k;
    uint64_t seq; /* of the last event; they must rise */
} listener_t;

static void an_event(listener_t *l, const char *at, size_t len)
{
    static const char tick_head[] = "event: tick\nid: e1:", gap_head[] = "event: gap\ndata: ";
    const char *data = memmem(at, len, "\ndata: ", 7);
    assert_non_null(data);
    data += 7;
    if (strncmp(at, tick_head, sizeof tick_head - 1) == 0) {
        uint64_t seq = strtoull(at + sizeof tick_head - 1, NULL, 10);
        assert_true(seq > l->seq);
        l->seq = seq;
    } else if (strncmp(at, gap_head, sizeof gap_head - 1) != 0) {
        assert_memory_equal(at, "event: warning\n", 15);
    }
    assert_memory_equal(at + len - 2, "\n\n", 2);
    a_frame(&l->k, KMY_WS_TEXT, (const uint8_t *)data, (size_t)(at + len - 2 - data));
}

/* Chunk by chunk: each is one event. */
static listener_t listen_to(uint32_t conn)
{
    const socket_t *so = &x.socket[conn];
    listener_t l = { .k.jumps = x.s.subs[x.s.conns[conn].subs_head].pace_slots > 0 };
    for (size_t at = 0; at < so->len;) {
        const char *text = (const char *)so->got + at;
        size_t left = so->len - at;
        const char *eol = memmem(text, left, "\r\n", 2);
        size_t size = eol ? strtoull(text, NULL, 16) : 0;
        size_t head = eol ? (size_t)(eol + 2 - text) : 0;
        if (!eol || left < head + size + 2) {
            l.k.cut = left;
            break;
        }
        an_event(&l, text + head, size);
        assert_memory_equal(text + head + size, "\r\n", 2);
        at += head + size + 2;
    }
    return l;
}

static void a_few_ticks_of_all_feeds(void)
{
    static const uint8_t order[] = { 0, 1, 0, 0, 2, 1, 1, 0, 2, 0 };
    for (size_t i = 0; i < sizeof order; i++)
        tick(order[i]);
}

static void events_come_in_order_of_seq_and_a_send_cut_at_any_byte_changes_nothing(void **state)
{
    (void)state;
    static uint8_t whole[8192];
    size_t whole_len = 0;
    for (size_t cut = 0; cut == 0 || cut < whole_len; cut++) { /* first the whole */
        begin(1000 * PRICE);
        events(0);
        a_few_ticks_of_all_feeds();
        x.socket[0].room = cut ? cut : UINT64_MAX;
        turn();
        assert_int_equal(lease()->spent_nusd, (int64_t)x.s.conns[0].charged_ticks * PRICE);
        tick(2); /* newer than all that waits */
        readable(0, UINT64_MAX);
        turn();
        until_nothing_waits(0);
        listener_t l = listen_to(0);
        assert_int_equal(l.seq, 11);
        assert_int_equal(l.k.frames, 11);
        assert_int_equal(l.k.cut, 0);
        assert_int_equal(x.s.conns[0].charged_ticks, 11);
        assert_int_equal(lease()->spent_nusd, 11 * PRICE);
        if (!cut) {
            whole_len = x.socket[0].len;
            assert_true(whole_len < sizeof whole);
            memcpy(whole, x.socket[0].got, whole_len);
        }
        assert_int_equal(x.socket[0].len, whole_len);
        assert_memory_equal(x.socket[0].got, whole, whole_len);
        end();
    }
}

static void money_for_part_buys_the_oldest_of_all_feeds_and_more_money_the_rest(void **state)
{
    (void)state;
    for (uint64_t can = 1; can < 10; can++) {
        begin((int64_t)can * PRICE);
        events(0);
        a_few_ticks_of_all_feeds();
        turn();
        listener_t l = listen_to(0);
        assert_int_equal(l.k.frames, can);
        assert_int_equal(l.seq, can); /* none was passed over */
        assert_int_equal(x.starved, 1);
        x.s.accounts[0].lease.granted_nusd += 100 * PRICE;
        x.s.accounts[0].lease.left_nusd += 100 * PRICE;
        x.s.conns[0].starved = false;
        kmy_egress_mark(&x.s, &x.s.conns[0]);
        turn();
        l = listen_to(0);
        assert_int_equal(l.k.frames, 10);
        assert_int_equal(lease()->spent_nusd, 10 * PRICE);
        end();
    }
}

static void what_the_client_holds_already_is_neither_sent_nor_charged(void **state)
{
    (void)state;
    for (uint64_t held = 0; held <= 10; held++) {
        begin(1000 * PRICE);
        x.s.conns[0].after_seq = held; /* another shard, ahead of this one, sent it */
        events(0);
        a_few_ticks_of_all_feeds();
        turn();
        assert_int_equal(listen_to(0).k.frames, 10 - held);
        assert_int_equal(lease()->spent_nusd, (int64_t)(10 - held) * PRICE);
        assert_int_equal(x.s.conns[0].pending_head, KMY_NONE);
        end();
    }
}

static void a_client_that_holds_seq_n_goes_on_behind_it_in_every_feed(void **state)
{
    (void)state;
    begin(1000 * PRICE);
    subscribe(1, 0, KMY_ENC_JSON); /* any encoding's log knows */
    subscribe(1, 1, KMY_ENC_FLAT);
    subscribe(1, 2, KMY_ENC_SSE);
    a_few_ticks_of_all_feeds(); /* 0: seq 1 3 4 8 10; 1: 2 6 7; 2: 5 9 */
    static const uint64_t want[11][FEEDS] = {
        { 0, 0, 0 }, { 1, 0, 0 }, { 1, 1, 0 }, { 2, 1, 0 }, { 3, 1, 0 }, { 3, 1, 1 },
        { 3, 2, 1 }, { 3, 3, 1 }, { 4, 3, 1 }, { 4, 3, 2 }, { 5, 3, 2 },
    };
    for (uint64_t seq = 0; seq <= 10; seq++) {
        for (uint32_t f = 0; f < FEEDS; f++) {
            kmy_resume_t r = kmy_subs_resume(&x.s, f, seq);
            assert_true(r.given && r.same_epoch);
            assert_int_equal(r.offset, want[seq][f]);
        }
    }
    end();
}

static void events_at_max_hz_are_the_newest_of_all_feeds_in_order(void **state)
{
    (void)state;
    begin(1000000 * PRICE);
    events(50);
    uint64_t rounds = 0, before = 0;
    for (int i = 0; i < 4000; i++) {
        x.s.now_ns += INT64_C(1) << KMY_PACE_SHIFT;
        for (uint32_t f = 0; f < FEEDS; f++) {
            if (rnd(1 + 20 * f * f) == 0) /* one at every step, one often, one seldom */
                tick(f);
        }
        if (i % 700 > 600) /* its socket is full now and then, longer than a period */
            x.socket[0].room = 0;
        else
            readable(0, UINT64_MAX);
        kmy_subs_fan_out(&x.s);
        kmy_pace_turn(&x.s);
        kmy_egress_flush(&x.s);
        rounds += x.socket[0].len > before;
        before = x.socket[0].len;
    }
    readable(0, UINT64_MAX);
    turn();
    listener_t l = listen_to(0);     /* checks the order */
    assert_in_range(rounds, 60, 80); /* 4,000 / 50 */
    assert_in_range(l.k.frames, rounds, 3 * rounds);
    assert_int_equal(lease()->spent_nusd, (int64_t)l.k.frames * PRICE);
    end();
}

static void whatever_happens_events_are_whole_and_in_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        begin(100000 * PRICE);
        x.random = seed * UINT64_C(0x9e3779b97f4a7c15);
        x.s.log_limits.bytes_max = 16384; /* holds some 60: who blocks long has gaps */
        x.s.conns[0].slow_policy = seed % 2 ? KMY_SLOW_DROP : KMY_SLOW_CONFLATE;
        x.cfg.limits.lag_ticks = 40;
        events(0);
        for (int i = 0; i < 3000; i++) {
            for (uint64_t n = rnd(4); n > 0; n--)
                tick((uint32_t)rnd(FEEDS));
            x.s.now_ns += INT64_C(1000000);
            if (rnd(3) == 0)
                readable(0, rnd(10) ? rnd(1500) : 0);
            turn();
        }
        readable(0, UINT64_MAX);
        turn();
        until_nothing_waits(0);
        listener_t l = listen_to(0);
        assert_int_equal(l.k.cut, 0);
        uint64_t all = 0;
        for (uint32_t f = 0; f < FEEDS; f++)
            all += x.s.feeds[f].last.offset;
        assert_int_equal(l.k.frames + l.k.skipped, all);
        assert_true(l.k.skipped > 0);
        assert_int_equal(lease()->spent_nusd, (int64_t)l.k.frames * PRICE);
        end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_come_in_order_of_seq_and_a_send_cut_at_any_byte_changes_nothing),
        cmocka_unit_test(money_for_part_buys_the_oldest_of_all_feeds_and_more_money_the_rest),
        cmocka_unit_test(what_the_client_holds_already_is_neither_sent_nor_charged),
        cmocka_unit_test(a_client_that_holds_seq_n_goes_on_behind_it_in_every_feed),
        cmocka_unit_test(events_at_max_hz_are_the_newest_of_all_feeds_in_order),
        cmocka_unit_test(whatever_happens_events_are_whole_and_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
