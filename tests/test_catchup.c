/* engine/catchup: whatever history holds and however far the log has moved on meanwhile, a subscription that begins in the past gets every offset once:
   as a tick where it is to be had, else in a gap; in turn with the others of its connection, in bounded memory.

   The file under test is compiled into this one; the reader's thread, the market and the gather are played here. */
#include "engine/catchup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "engine/catchup.c"

enum { CONNS = 4, FEEDS = 3, SUBS = CONNS * FEEDS, OFFSETS = 20000 };

static struct {
    kmy_shard_t s;
    kmy_topology_t t;
    kmy_metrics_t metrics;
    kmy_sub_t sub[SUBS];
    kmy_conn_t conn[CONNS];
    kmy_shard_feed_t feed[FEEDS];
    uint64_t offset[FEEDS]; /* newest */
    bool stored[FEEDS][OFFSETS];
    uint64_t at[SUBS]; /* the client's: next offset it expects; 0: not subscribed */
    bool pended[SUBS];
    uint64_t ticks, gaps, random;
    uint32_t frame_bytes;
} x;

static uint64_t rnd(uint64_t n)
{
    x.random ^= x.random >> 12;
    x.random ^= x.random << 25;
    x.random ^= x.random >> 27;
    return (x.random * UINT64_C(2685821657736338717) >> 11) % n;
}

/* --- the shard's other files ------------------------------------------------------------------------ */

void kmy_egress_pend(kmy_shard_t *s, uint32_t sub)
{
    (void)s;
    x.pended[sub] = true;
}

static size_t frame(uint64_t feed, uint64_t offset, uint8_t *out)
{
    memset(out, (int)(offset % 251), x.frame_bytes);
    memcpy(out, &offset, sizeof offset);
    memcpy(out + sizeof offset, &feed, sizeof feed);
    return x.frame_bytes;
}

size_t kmy_subs_encode(kmy_shard_t *s, kmy_shard_feed_t *f, int enc, const kmy_tick_t *tick,
                       uint8_t *out)
{
    (void)enc;
    return frame((uint64_t)(f - s->feeds), tick->offset, out);
}

uint32_t kmy_subs_find(const kmy_shard_t *s, const kmy_conn_t *c, uint32_t feed)
{
    (void)s, (void)c, (void)feed; /* of past.c, which is not what is tested here */
    return KMY_NONE;
}

/* --- the market, and the reader's thread ------------------------------------------------------------- */

static void tick(uint32_t feed, bool stored)
{
    static const kmy_feedlog_limits_t limits = { 64, 0, 16384 };
    uint64_t offset = ++x.offset[feed];
    assert_true(offset < OFFSETS);
    x.stored[feed][offset] = stored;
    uint8_t *out =
        kmy_feedlog_reserve(&x.feed[feed].log[0], &limits, offset, KMY_TICK_JSON_BYTES_MAX, 0);
    kmy_feedlog_commit(&x.feed[feed].log[0], frame(feed, offset, out), offset, 0);
    for (uint32_t i = 0; i < SUBS; i++)
        x.pended[i] |= x.at[i] && x.sub[i].feed == feed;
}

static bool answer_one(void)
{
    uint64_t slot;
    if (!kmy_queue_pop(x.t.shard_history[0], &slot))
        return false;
    kmy_history_chunk_t *c = &x.t.history_chunks[0][slot];
    uint64_t most = 1 + rnd(c->count_max);
    uint64_t o = c->from;
    assert_int_equal(c->kind, KMY_HISTORY_OFFSETS);
    assert_true(c->from <= c->to);
    assert_true(c->to < x.feed[c->feed].log[0].first);
    while (o <= c->to && !x.stored[c->feed][o])
        o++;
    c->count = 0;
    for (; o <= c->to && x.stored[c->feed][o] && c->count < most; o++)
        c->ticks[c->count++] = (kmy_tick_t){ .offset = o, .seq = o * 10 };
    c->next = c->count > 0 ? o : c->to + 1;
    c->next_seq = o * 10;
    assert_true(kmy_queue_push(x.t.history_shard[0], &slot));
    return true;
}

/* --- a client, by way of the gather ------------------------------------------------------------------- */

static void read_some(uint32_t idx)
{
    kmy_sub_t *sub = &x.sub[idx];
    const kmy_feedlog_t *live = &x.feed[sub->feed].log[0];
    const kmy_feedlog_t *log = sub->past ? kmy_catchup_log(&x.s, &x.conn[sub->conn], idx) : live;
    x.pended[idx] = false;
    if (!log || sub->cursor >= log->next)
        return;
    if (sub->skipped) {
        assert_int_equal(sub->skip_reason, KMY_GAP_HISTORY);
        assert_int_equal(sub->skipped_from, x.at[idx]);
        assert_int_equal(sub->run_from, sub->cursor);
        for (uint64_t o = sub->skipped_from; o < sub->cursor; o++)
            assert_false(x.stored[sub->feed][o]); /* nothing is called missing that is there */
        x.gaps += sub->cursor - sub->skipped_from;
        x.at[idx] = sub->cursor;
        sub->skipped = false;
    }
    assert_int_equal(sub->cursor, x.at[idx]);
    assert_true(sub->cursor >= log->first);
    uint64_t n = 1 + rnd(log->next - sub->cursor);
    for (uint64_t i = 0; i < n; i++, sub->cursor++, x.at[idx]++, x.ticks++) {
        size_t bytes;
        uint8_t want[KMY_TICK_JSON_BYTES_MAX];
        const uint8_t *run = kmy_feedlog_run(log, sub->cursor, 1, &bytes);
        assert_int_equal(bytes, frame(sub->feed, x.at[idx], want));
        assert_memory_equal(run, want, bytes);
    }
    x.pended[idx] = true; /* it looks again: for another log, or whether it has caught up */
}

static void subscribe(uint32_t idx, uint64_t from)
{
    kmy_sub_t *sub = &x.sub[idx];
    *sub =
        (kmy_sub_t){ .conn = idx / FEEDS, .feed = idx % FEEDS, .cursor = from, .run_from = from };
    x.at[idx] = from;
    kmy_catchup_begin(sub);
    x.pended[idx] = true;
}

static void unsubscribe(uint32_t idx)
{
    kmy_catchup_forget(&x.s, &x.conn[idx / FEEDS], idx);
    x.at[idx] = 0;
    x.pended[idx] = false;
}

static void hang_up(uint32_t conn)
{
    for (uint32_t i = conn * FEEDS; i < (conn + 1) * FEEDS; i++) {
        if (x.at[i])
            unsubscribe(i);
    }
    kmy_catchup_free(&x.s, &x.conn[conn]);
    x.conn[conn].gen++;
}

static void turn(void)
{
    kmy_catchup_turn(&x.s);
    for (uint32_t i = 0; i < SUBS; i++) {
        if (x.at[i] && x.pended[i])
            read_some(i);
    }
    kmy_catchup_ask(&x.s);
}

static int set_up(void **state)
{
    (void)state;
    kmy_config_t cfg;
    kmy_errctx_t ctx;
    memset(&cfg, 0, sizeof cfg);
    memset(&x, 0, sizeof x);
    x.random = 88172645463325252;
    x.frame_bytes = 100;
    cfg.ring.slots = 64;
    assert_int_equal(kmy_topology_make(&x.t, &cfg, 1, NULL, 1, &ctx), KMY_OK);
    x.s.o.topology = &x.t;
    x.s.history_asks = x.t.shard_history[0];
    x.s.history_answers = x.t.history_shard[0];
    x.s.chunks = x.t.history_chunks[0];
    x.s.metrics = &x.metrics;
    x.s.conns = x.conn;
    x.s.subs = x.sub;
    x.s.feeds = x.feed;
    x.s.scratch = malloc(KMY_SCRATCH_BYTES);
    for (uint32_t i = 0; i < FEEDS; i++)
        assert_true(kmy_feedlog_open(&x.feed[i].log[0], 1));
    kmy_catchup_init(&x.s);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < CONNS; i++)
        hang_up(i);
    for (uint32_t i = 0; i < FEEDS; i++)
        kmy_feedlog_close(&x.feed[i].log[0]);
    kmy_topology_free(&x.t);
    free(x.s.scratch);
    return 0;
}

/* Until everybody has caught up, the market standing still. */
static void settle(void)
{
    for (int i = 0; i < 100000; i++) {
        bool waits = false;
        turn();
        while (answer_one())
            ;
        for (uint32_t j = 0; j < SUBS; j++)
            waits |= x.at[j] && (x.sub[j].past || x.at[j] <= x.offset[x.sub[j].feed]);
        if (!waits)
            return;
    }
    fail_msg("somebody never catches up");
}

/* --- the rules ------------------------------------------------------------------------------------------ */

static void history_and_log_make_one_stream(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++)
        tick(0, true);
    assert_true(x.feed[0].log[0].first > 800);
    subscribe(0, 1);
    settle();
    assert_int_equal(x.ticks, 1000);
    assert_int_equal(x.gaps, 0);
    assert_false(x.sub[0].past);
    assert_int_equal(x.sub[0].run_from, 1);
    tick(0, true);
    turn();
    assert_int_equal(x.ticks, 1001);
}

static void what_history_has_lost_is_a_gap_and_nothing_more(void **state)
{
    (void)state;
    for (int i = 1; i <= 1000; i++)
        tick(0,
             i > 100 && (i < 300 || i >= 350) && i % 50 != 0); /* pruned, a hole, many small ones */
    uint64_t first = x.feed[0].log[0].first;
    uint64_t lost = 0;
    for (uint64_t o = 1; o < first; o++)
        lost += !x.stored[0][o];
    subscribe(0, 1);
    settle();
    assert_int_equal(x.gaps, lost);
    assert_int_equal(x.ticks, 1000 - lost);
}

static void a_log_that_runs_away_is_followed(void **state)
{
    (void)state;
    for (int i = 0; i < 500; i++)
        tick(0, true);
    subscribe(0, 1);
    for (int i = 0; i < 400; i++) { /* as fast as it reads, for a while */
        for (int j = 0; j < 20; j++)
            tick(0, true);
        turn();
        answer_one();
    }
    settle();
    assert_int_equal(x.ticks, 8500);
    assert_int_equal(x.gaps, 0);
}

static void long_frames_are_cut_to_the_memory_of_a_chunk(void **state)
{
    (void)state;
    x.frame_bytes = KMY_TICK_JSON_BYTES_MAX;
    for (int i = 0; i < 1000; i++)
        tick(0, true);
    subscribe(0, 1);
    settle(); /* the sanitizer looks on: 28 of them fill a chunk */
    assert_int_equal(x.ticks, 1000);
    assert_int_equal(x.gaps, 0);
}

static void one_connection_has_one_chunk_and_its_feeds_take_turns(void **state)
{
    (void)state;
    for (int i = 0; i < 2000; i++)
        tick((uint32_t)(i % FEEDS), true);
    for (uint32_t i = 0; i < FEEDS; i++)
        subscribe(i, 1);
    turn();
    assert_int_equal(kmy_queue_count(x.t.shard_history[0]), 1);
    uint64_t furthest = 1;
    for (int i = 0; i < 20; i++) {
        turn();
        assert_true(kmy_queue_count(x.t.shard_history[0]) <= 1);
        answer_one();
        uint64_t least = OFFSETS;
        for (uint32_t j = 0; j < FEEDS; j++) {
            least = x.at[j] < least ? x.at[j] : least;
            furthest = x.at[j] > furthest ? x.at[j] : furthest;
        }
        assert_true(furthest - least <= 2 * KMY_HISTORY_TICKS_MAX);
    }
    settle();
    assert_int_equal(x.ticks, 2000);
}

static void an_answer_for_who_is_gone_is_nobody_s(void **state)
{
    (void)state;
    for (int i = 0; i < 500; i++)
        tick(0, true);
    subscribe(0, 1);
    turn();
    turn();
    assert_int_equal(kmy_queue_count(x.t.shard_history[0]), 1);
    unsubscribe(0);
    subscribe(0, 200); /* the same slot, another beginning: the answer on the way is not for it */
    turn();
    answer_one();
    settle();
    assert_int_equal(x.ticks, 301);
    subscribe(FEEDS, 1);
    turn();
    turn();
    hang_up(1);
    subscribe(FEEDS, 300);
    settle();
    assert_int_equal(x.ticks, 301 + 201);
    assert_int_equal(x.s.chunks_free, CHUNKS_ALL);
}

static void whatever_happens_every_offset_comes_once(void **state)
{
    (void)state;
    for (int step = 0; step < 60000; step++) {
        uint32_t idx = (uint32_t)rnd(SUBS);
        uint32_t feed = idx % FEEDS;
        switch (rnd(40)) {
        case 0:
            if (x.offset[feed] < OFFSETS - 20)
                for (uint64_t n = rnd(20); n > 0; n--)
                    tick(feed, rnd(30) > 0);
            break;
        case 1:
            if (x.at[idx])
                unsubscribe(idx);
            else if (x.offset[feed] > 0)
                subscribe(idx, 1 + rnd(x.offset[feed]));
            break;
        case 2:
            if (rnd(20) == 0)
                hang_up(idx / FEEDS);
            break;
        default:
            if (rnd(2))
                turn();
            else
                answer_one();
        }
    }
    settle();
    assert_true(x.ticks > 20000);
    assert_true(x.gaps > 100);
    assert_int_equal(x.s.chunks_free, CHUNKS_ALL);
    assert_int_equal(x.s.catchup_head, KMY_NONE);
    assert_int_equal(x.s.catchup_tail, KMY_NONE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(history_and_log_make_one_stream),
        TEST(what_history_has_lost_is_a_gap_and_nothing_more),
        TEST(a_log_that_runs_away_is_followed),
        TEST(long_frames_are_cut_to_the_memory_of_a_chunk),
        TEST(one_connection_has_one_chunk_and_its_feeds_take_turns),
        TEST(an_answer_for_who_is_gone_is_nobody_s),
        TEST(whatever_happens_every_offset_comes_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
