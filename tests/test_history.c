/* engine/history: what the store holds comes in unbroken runs, what it lost is not invented, what the recorder has not written yet is waited
   for, and no ask keeps another one waiting. */
#include "engine/history.h"

#include "base/clock.h"
#include "wire/flat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* LMDB is not instrumented: its readers are kept from its writer's new pages by the two meta pages, which the checker cannot see. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:liblmdb.so";
}

enum { FEEDS = 3, PATIENCE_S = 20 };
#define T0 INT64_C(1795000000000000000)

static struct {
    char path[64];
    kmy_config_t cfg;
    kmy_catalog_t catalog;
    kmy_snapshot_t *store;
    kmy_topology_t t;
    kmy_metrics_t metrics;
    kmy_history_t *history;
    kmy_errctx_t ctx;
    uint64_t seq; /* next */
    uint64_t offset[FEEDS];
} x;

static void must(kmy_err_t err)
{
    if (err != KMY_OK)
        fail_msg("%s", x.ctx.detail);
}

static int set_up(void **state)
{
    (void)state;
    static const char yaml[] = "sources: { pyth: { feeds: [] }, "
                               "binance: { symbols: [BTCUSDT, ETHUSDT, SOLUSDT] } }";
    memset(&x, 0, sizeof x);
    snprintf(x.path, sizeof x.path, "%s/kamiyo-history-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(x.path));
    must(kmy_config_read(&x.cfg, "test", yaml, sizeof yaml - 1, &x.ctx));
    x.cfg.ring.slots = 1024;
    must(kmy_catalog_build(&x.catalog, &x.cfg, &x.ctx));
    assert_int_equal(x.catalog.feeds_count, FEEDS);
    const kmy_snapshot_options_t options = { .map_bytes = 256 << 20,
                                             .history_age_ns_max = INT64_C(3600000000000) };
    bool clean, rebuilt;
    must(kmy_snapshot_open(&x.store, x.path, &options, &clean, &rebuilt, &x.ctx));
    uint32_t ids[FEEDS];
    for (uint32_t i = 0; i < FEEDS; i++)
        must(kmy_snapshot_feed_id(x.store, x.catalog.feeds[i].name, &ids[i], &x.ctx));
    must(kmy_catalog_assign(&x.catalog, ids, &x.ctx));
    x.seq = 1;
    must(kmy_topology_make(&x.t, &x.cfg, 2, NULL, x.seq, &x.ctx));
    return 0;
}

static void start(void)
{
    must(kmy_history_start(&x.history, x.store, &x.catalog, &x.t, &x.metrics, &x.ctx));
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    if (x.history)
        kmy_history_stop(x.history);
    kmy_topology_free(&x.t);
    kmy_snapshot_close(x.store);
    kmy_catalog_free(&x.catalog);
    kmy_config_free(&x.cfg);
    snprintf(command, sizeof command, "rm -r %s", x.path);
    return system(command);
}

/* --- the market and the recorder ------------------------------------------------------------------ */

/* n ticks of the feeds in turn (or of one alone), one a millisecond; `lost`: the recorder never saw them. */
static void ticks(size_t n, int feed, bool lost)
{
    static kmy_tick_t tick[4096];
    static uint8_t value[4096][KMY_TICK_FLAT_BYTES_MAX];
    static kmy_snapshot_item_t item[4096];
    assert_true(n <= 4096);
    for (size_t i = 0; i < n; i++, x.seq++) {
        const kmy_feed_t *f = &x.catalog.feeds[feed >= 0 ? (uint32_t)feed : x.seq % FEEDS];
        kmy_flat_t flat;
        kmy_flat_init(&flat, KMY_FLAT_STORE, f->id, f->name);
        tick[i] = (kmy_tick_t){ .seq = x.seq,
                                .offset = ++x.offset[f->idx],
                                .recv_ns = T0 + (int64_t)x.seq * KMY_NS_PER_MS,
                                .price_mant = (int64_t)x.seq,
                                .feed_id = f->id,
                                .source = KMY_SOURCE_BINANCE,
                                .kind = KMY_KIND_TRADE };
        item[i] =
            (kmy_snapshot_item_t){ &tick[i], value[i], kmy_flat_encode(&flat, &tick[i], value[i]) };
    }
    if (!lost)
        must(kmy_snapshot_flush(x.store, item, n, T0, &x.ctx));
}

static void recorded(void)
{
    atomic_store_explicit(&x.t.recorded.seq, x.seq, memory_order_release);
    kmy_wake_signal(&x.t.recorded.wake);
}

/* --- a shard ---------------------------------------------------------------------------------------- */

static kmy_history_chunk_t *ask(uint32_t shard, uint64_t slot, kmy_history_chunk_t what)
{
    kmy_history_chunk_t *c = &x.t.history_chunks[shard][slot];
    *c = what;
    if (c->count_max == 0)
        c->count_max = KMY_HISTORY_TICKS_MAX;
    c->count = 77; /* of an earlier life */
    if (c->recorded_seq == 0)
        c->recorded_seq = x.seq;
    assert_true(kmy_queue_push(x.t.shard_history[shard], &slot));
    kmy_wake_signal(&x.t.history_wake);
    return c;
}

static kmy_history_chunk_t *answer(uint32_t shard)
{
    uint64_t slot;
    int64_t stop_ns = kmy_mono_ns() + PATIENCE_S * KMY_NS_PER_S;
    for (;;) {
        kmy_wake_arm(&x.t.shard_wake[shard]);
        if (kmy_queue_pop(x.t.history_shard[shard], &slot)) {
            kmy_wake_disarm(&x.t.shard_wake[shard]);
            return &x.t.history_chunks[shard][slot];
        }
        assert_true(kmy_mono_ns() < stop_ns);
        struct pollfd p = { x.t.shard_wake[shard].fd, POLLIN, 0 };
        poll(&p, 1, 100);
    }
}

static void check_run(const kmy_history_chunk_t *c, uint64_t first, uint32_t count, uint64_t next)
{
    if (c->count != count || c->next != next || (count && c->ticks[0].offset != first))
        fail_msg("%u ticks from %llu, next %llu; wanted %u from %llu, %llu", c->count,
                 (unsigned long long)c->ticks[0].offset, (unsigned long long)c->next, count,
                 (unsigned long long)first, (unsigned long long)next);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(c->ticks[i].offset, first + i);
        assert_int_equal(c->ticks[i].feed_id, x.catalog.feeds[c->feed].id);
        assert_int_equal(c->ticks[i].price_mant, c->ticks[i].seq);
    }
}

static kmy_history_chunk_t *range(uint32_t feed, uint64_t from, uint64_t to, uint64_t seq)
{
    ask(0, 3,
        (kmy_history_chunk_t){
            .kind = KMY_HISTORY_OFFSETS, .feed = feed, .from = from, .to = to, .seq = seq });
    return answer(0);
}

/* --- the rules ---------------------------------------------------------------------------------------- */

static void what_is_asked_for_comes_and_nothing_else(void **state)
{
    (void)state;
    ticks(3000, -1, false); /* 1,000 of each feed */
    recorded();
    start();
    static const struct {
        uint64_t from, to;
        uint32_t count;
        uint64_t next;
    } rows[] = {
        { 1, 1, 1, 2 },          { 5, 20, 16, 21 },       { 1, 128, 128, 129 },
        { 1, 1000, 128, 129 },   { 990, 1000, 11, 1001 }, { 1000, 1000, 1, 1001 },
        { 990, 2000, 11, 2001 }, /* behind the end: there is none */
        { 1001, 1500, 0, 1501 },
    };
    for (uint32_t feed = 0; feed < FEEDS; feed++) {
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
            check_run(range(feed, rows[i].from, rows[i].to, 0), rows[i].from, rows[i].count,
                      rows[i].next);
    }
}

static void a_long_range_is_read_piece_by_piece_from_where_the_last_one_ended(void **state)
{
    (void)state;
    ticks(3000, -1, false);
    recorded();
    start();
    uint64_t seq = 0;
    uint64_t next = 7;
    while (next <= 1000) {
        kmy_history_chunk_t *c = range(1, next, 1000, seq);
        uint32_t left = (uint32_t)(1001 - next);
        check_run(c, next, left < 128 ? left : 128, next + (left < 128 ? left : 128));
        next = c->next;
        seq = c->next_seq;
    }
    assert_int_equal(next, 1001);
    /* 994 ticks among 2,982 rows, each looked at once, but for the few that a seek begins before. */
    assert_in_range(x.metrics.value[KMY_METRIC_history_row_total], 2900, 3100);
}

static void a_hole_ends_a_run_and_the_next_one_begins_behind_it(void **state)
{
    (void)state;
    ticks(30, 0, false);
    ticks(10, 0, true); /* offsets 31 to 40 */
    ticks(30, 0, false);
    ticks(30, 0, true); /* 71 to 100: and nothing behind them */
    recorded();
    start();
    kmy_history_chunk_t *c = range(0, 1, 100, 0);
    check_run(c, 1, 30, 31);
    c = range(0, 31, 100, c->next_seq);
    check_run(c, 41, 30, 101); /* the rest is not to be had: both are told at once */
    check_run(range(0, 35, 38, 0), 0, 0, 39);
    check_run(range(0, 71, 100, 0), 0, 0, 101);
}

static void what_retention_took_is_missing_in_front(void **state)
{
    (void)state;
    ticks(100, 0, false);
    int64_t later_ns = T0 + 7200 * KMY_NS_PER_S;
    must(kmy_snapshot_flush(x.store, NULL, 0, later_ns, &x.ctx)); /* age: one hour */
    kmy_snapshot_stats_t stats;
    must(kmy_snapshot_stats(x.store, &stats, &x.ctx));
    assert_int_equal(stats.history_rows, 0);
    recorded();
    start();
    check_run(range(0, 1, 100, 0), 0, 0, 101);
    check_run(range(1, 1, 100, 0), 0, 0, 101); /* and a feed that never had any */
}

static void what_is_not_recorded_yet_is_waited_for(void **state)
{
    (void)state;
    ticks(10, 0, false);
    start();
    uint64_t before = x.seq;
    ask(0, 0,
        (kmy_history_chunk_t){
            .kind = KMY_HISTORY_OFFSETS, .from = 5, .to = 20, .recorded_seq = before + 10 });
    check_run(answer(0), 5, 6, 11); /* what there is, at once */
    ask(0, 1,
        (kmy_history_chunk_t){
            .kind = KMY_HISTORY_OFFSETS, .from = 11, .to = 20, .recorded_seq = before + 10 });
    ask(1, 0,
        (kmy_history_chunk_t){
            .kind = KMY_HISTORY_OFFSETS, .from = 1, .to = 10, .recorded_seq = before });
    check_run(answer(1), 1, 10, 11); /* who waits is in nobody's way */
    assert_int_equal(kmy_queue_count(x.t.history_shard[0]), 0);
    ticks(10, 0, false);
    recorded();
    check_run(answer(0), 11, 10, 21);
}

static void a_recorder_that_does_not_come_is_given_up(void **state)
{
    (void)state;
    ticks(10, 0, false);
    start();
    int64_t start_ns = kmy_mono_ns();
    ask(0, 0,
        (kmy_history_chunk_t){
            .kind = KMY_HISTORY_OFFSETS, .from = 11, .to = 20, .recorded_seq = x.seq + 10 });
    check_run(answer(0), 0, 0, 21);
    assert_true(kmy_mono_ns() - start_ns >= KMY_HISTORY_PATIENCE_NS);
}

static void a_short_ask_does_not_wait_for_a_long_one(void **state)
{
    (void)state;
    ticks(1, 2, false);
    for (int i = 0; i < 15; i++)
        ticks(4096, 0,
              false); /* 61,440 ms: the index knows one place or two, 60,000 rows lie between */
    ticks(10, 1, false);
    recorded();
    ask(0, 0,
        (kmy_history_chunk_t){
            .kind = KMY_HISTORY_SEQS, .feeds = { 1u << 2 }, .from = 2, .to = x.seq - 1 });
    ask(1, 0, (kmy_history_chunk_t){ .kind = KMY_HISTORY_OFFSETS, .feed = 1, .from = 1, .to = 10 });
    start(); /* both are there when it looks */
    check_run(answer(1), 1, 10, 11);
    assert_int_equal(kmy_queue_count(x.t.history_shard[0]), 0);
    assert_int_equal(answer(0)->count, 0);
}

static void a_rare_feed_is_found_by_the_index_and_not_by_reading_all(void **state)
{
    (void)state;
    ticks(1, 2, false);
    for (int i = 0; i < 20; i++)
        ticks(4096, 0, false); /* 82 s */
    ticks(1, 2, false);
    recorded();
    start();
    kmy_history_chunk_t *c = range(2, 1, 2, 0);
    check_run(c, 1, 2, 3);
    assert_true(x.metrics.value[KMY_METRIC_history_row_total] < 60000); /* of 81,922 */
}

static void a_set_of_feeds_comes_in_order_of_seq(void **state)
{
    (void)state;
    ticks(300, -1, false);
    start();
    uint64_t before = x.seq;
    recorded();
    ask(0, 0,
        (kmy_history_chunk_t){ .kind = KMY_HISTORY_SEQS,
                               .feeds = { 1u << 0 | 1u << 2 },
                               .from = 10,
                               .to = before - 1,
                               .recorded_seq = before });
    kmy_history_chunk_t *c = answer(0);
    uint64_t seq = 9;
    assert_int_equal(c->count, KMY_HISTORY_TICKS_MAX);
    for (uint32_t i = 0; i < c->count; i++) {
        do
            seq++;
        while (seq % FEEDS == 1);
        assert_int_equal(c->ticks[i].seq, seq);
    }
    assert_int_equal(c->next, seq + 1);
    ask(0, 0,
        (kmy_history_chunk_t){ .kind = KMY_HISTORY_SEQS,
                               .feeds = { 1u << 0 | 1u << 2 },
                               .from = c->next,
                               .to = before - 1,
                               .recorded_seq = before });
    c = answer(0);
    assert_int_equal(c->count, 194 - 128); /* of 291 numbers two thirds */
    assert_int_equal(c->next, before);
}

static void a_time_leads_to_the_ticks_received_then(void **state)
{
    (void)state;
    ticks(600, -1, false);
    recorded();
    start();
    const uint64_t from = T0 + 100 * KMY_NS_PER_MS;
    const uint64_t to = T0 + 400 * KMY_NS_PER_MS;
    ask(0, 0,
        (kmy_history_chunk_t){
            .kind = KMY_HISTORY_TIMES, .feed = 1, .from = from, .to = to, .count_max = 60 });
    kmy_history_chunk_t *c = answer(0);
    assert_int_equal(c->count, 60);
    assert_int_equal(c->ticks[0].seq, 100);
    assert_int_equal(c->ticks[59].seq, 277);
    assert_true(c->next <= to); /* there is more */
    ask(0, 0,
        (kmy_history_chunk_t){ .kind = KMY_HISTORY_TIMES,
                               .feed = 1,
                               .from = from,
                               .to = to,
                               .seq = c->next_seq,
                               .count_max = 60 });
    c = answer(0);
    assert_int_equal(c->count, 41);
    assert_int_equal(c->ticks[0].seq, 280);
    assert_int_equal(c->ticks[40].seq, 400);
    assert_int_equal(c->next, to + 1);
}

static kmy_history_chunk_t *times(uint32_t feed, uint64_t from, uint64_t to, uint64_t seq)
{
    ask(0, 3,
        (kmy_history_chunk_t){
            .kind = KMY_HISTORY_TIMES, .feed = feed, .from = from, .to = to, .seq = seq });
    return answer(0);
}

static void a_rare_feed_is_found_by_time_without_reading_all(void **state)
{
    (void)state;
    ticks(1, 2, false);
    for (int i = 0; i < 50; i++)
        ticks(4096, 0, false); /* 205 s */
    ticks(1, 2, false);
    recorded();
    start();
    kmy_history_chunk_t *c = times(2, T0, T0 + 400 * KMY_NS_PER_S, 0);
    assert_int_equal(c->count, 2);
    assert_int_equal(c->next, c->to + 1);
    assert_true(x.metrics.value[KMY_METRIC_history_row_total] <
                130000); /* two minutes of 204,802 */
    /* By a cursor as well; and what is asked for ends a minute behind its end, whether the feed ticks there or not. */
    x.metrics.value[KMY_METRIC_history_row_total] = 0;
    c = times(2, T0, T0 + 400 * KMY_NS_PER_S, 2);
    assert_int_equal(c->count, 1);
    assert_true(x.metrics.value[KMY_METRIC_history_row_total] < 130000);
    x.metrics.value[KMY_METRIC_history_row_total] = 0;
    assert_int_equal(times(2, T0, T0 + 5 * KMY_NS_PER_S, 0)->count, 1);
    assert_true(x.metrics.value[KMY_METRIC_history_row_total] < 121000);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_is_asked_for_comes_and_nothing_else),
        TEST(a_long_range_is_read_piece_by_piece_from_where_the_last_one_ended),
        TEST(a_hole_ends_a_run_and_the_next_one_begins_behind_it),
        TEST(what_retention_took_is_missing_in_front),
        TEST(what_is_not_recorded_yet_is_waited_for),
        TEST(a_recorder_that_does_not_come_is_given_up),
        TEST(a_short_ask_does_not_wait_for_a_long_one),
        TEST(a_rare_feed_is_found_by_the_index_and_not_by_reading_all),
        TEST(a_set_of_feeds_comes_in_order_of_seq),
        TEST(a_time_leads_to_the_ticks_received_then),
        TEST(a_rare_feed_is_found_by_time_without_reading_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
