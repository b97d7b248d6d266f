/* engine/recorder: what went through the ring is in the store, in order and once, also what was published last; a full disk makes a hole and no
   more than that. */
#include "engine/recorder.h"

#include "base/clock.h"
#include "wire/flat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sched.h>
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

enum { SLOTS = 4096, PATIENCE_S = 20 };

typedef struct rig {
    char path[64];
    kmy_config_t cfg;
    kmy_catalog_t catalog;
    kmy_snapshot_t *store;
    void *mem;
    kmy_ring_t *ring;
    kmy_recorded_t recorded;
    kmy_metrics_t metrics;
    kmy_recorder_t *recorder;
    kmy_errctx_t ctx;
    uint64_t published;
    uint64_t offset[2];
} rig_t;

static void must(kmy_err_t err, const rig_t *r)
{
    if (err != KMY_OK)
        fail_msg("%s", r->ctx.detail);
}

static void begin(rig_t *r, uint64_t map_bytes, int64_t flush_every_ns)
{
    static const char yaml[] = "sources: { pyth: { feeds: [] }, "
                               "binance: { symbols: [BTCUSDT, ETHUSDT] } }";
    memset(r, 0, sizeof *r);
    snprintf(r->path, sizeof r->path, "%s/kamiyo-recorder-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    assert_non_null(mkdtemp(r->path));
    must(kmy_config_read(&r->cfg, "test", yaml, sizeof yaml - 1, &r->ctx), r);
    r->cfg.snapshot.flush_every_ns = flush_every_ns;
    must(kmy_catalog_build(&r->catalog, &r->cfg, &r->ctx), r);
    const kmy_snapshot_options_t options = { .map_bytes = map_bytes,
                                             .history_age_ns_max = INT64_C(3600000000000) };
    bool clean, rebuilt;
    must(kmy_snapshot_open(&r->store, r->path, &options, &clean, &rebuilt, &r->ctx), r);
    uint32_t ids[8];
    assert_true(r->catalog.feeds_count <= 8);
    for (uint32_t i = 0; i < r->catalog.feeds_count; i++)
        must(kmy_snapshot_feed_id(r->store, r->catalog.feeds[i].name, &ids[i], &r->ctx), r);
    must(kmy_catalog_assign(&r->catalog, ids, &r->ctx), r);
    r->mem = aligned_alloc(4096, (kmy_ring_bytes(SLOTS) + 4095) / 4096 * 4096);
    assert_non_null(r->mem);
    r->ring = kmy_ring_init(r->mem, SLOTS, 1);
    assert_true(kmy_wake_init(&r->recorded.wake));
    must(kmy_recorder_start(&r->recorder, r->store, r->ring, &r->catalog, &r->cfg, &r->recorded,
                            &r->metrics, &r->ctx),
         r);
}

static void stop(rig_t *r)
{
    kmy_recorder_stop(r->recorder);
    r->recorder = NULL;
}

static void end(rig_t *r)
{
    char command[128];
    if (r->recorder)
        stop(r);
    kmy_snapshot_close(r->store);
    kmy_catalog_free(&r->catalog);
    kmy_config_free(&r->cfg);
    kmy_wake_fini(&r->recorded.wake);
    free(r->mem);
    snprintf(command, sizeof command, "rm -r %s", r->path);
    assert_int_equal(system(command), 0);
}

static void publish(rig_t *r, size_t n)
{
    kmy_tick_t ticks[64];
    assert_true(n <= 64);
    for (size_t i = 0; i < n; i++) {
        uint32_t feed = (uint32_t)((r->published + i) % 2);
        ticks[i] = (kmy_tick_t){ .feed_id = r->catalog.feeds[feed].id,
                                 .offset = ++r->offset[feed],
                                 .recv_ns = kmy_wall_ns(),
                                 .price_mant = (int64_t)(r->published + i),
                                 .price_expo = -2,
                                 .source = KMY_SOURCE_BINANCE,
                                 .kind = KMY_KIND_TRADE };
    }
    kmy_ring_publish(r->ring, ticks, n);
    r->published += n;
}

static int64_t count(const rig_t *r, int idx)
{
    return atomic_load(&r->metrics.value[idx]);
}
#define STORED(r) count(r, KMY_METRIC_snapshot_tick_total)
#define LOST(r)   count(r, KMY_METRIC_snapshot_lost_total)

static void until_all_are_accounted_for(const rig_t *r)
{
    for (int64_t tries = 0; STORED(r) + LOST(r) < (int64_t)r->published; tries++) {
        if (tries > PATIENCE_S * 1000)
            fail_msg("%lld stored and %lld lost of %llu", (long long)STORED(r), (long long)LOST(r),
                     (unsigned long long)r->published);
        usleep(1000); /* the recorder has a pace of its own and signals nobody */
    }
}

typedef struct seen {
    uint64_t next, holes;
    bool wrong;
} seen_t;

static bool look(void *arg, uint64_t seq, const void *value, size_t bytes)
{
    seen_t *s = arg;
    kmy_tick_t tick;
    s->wrong |= kmy_flat_decode(value, bytes, &tick, NULL, NULL) != KMY_OK || tick.seq != seq ||
                tick.price_mant != (int64_t)seq - 1 || seq < s->next;
    s->holes += seq - s->next;
    s->next = seq + 1;
    return true;
}

static seen_t history(rig_t *r)
{
    seen_t s = { .next = 1 };
    kmy_snapshot_reader_t *reader;
    must(kmy_snapshot_reader_share(&reader, r->store, &r->ctx), r);
    must(kmy_snapshot_visit_history(reader, 0, look, &s, &r->ctx), r);
    kmy_snapshot_reader_close(reader);
    assert_false(s.wrong);
    return s;
}

static void every_tick_is_stored_in_order_and_once(void **state)
{
    (void)state;
    rig_t r;
    begin(&r, 64 << 20, 1000000);
    for (int i = 0; i < 400; i++) {
        publish(&r, 1 + (size_t)(i * 7 % 50));
        if (i % 20 == 0)
            until_all_are_accounted_for(&r); /* not faster than the ring is long */
    }
    until_all_are_accounted_for(&r);
    assert_int_equal(LOST(&r), 0);
    stop(&r);
    assert_int_equal(r.recorded.seq, r.published + 1); /* all of lower seq are there */
    seen_t s = history(&r);
    assert_int_equal(s.holes, 0);
    assert_int_equal(s.next - 1, r.published);
    for (uint32_t i = 0; i < 2; i++) {
        uint64_t offset;
        must(kmy_snapshot_last_offset(r.store, r.catalog.feeds[i].id, &offset, &r.ctx), &r);
        assert_int_equal(offset, r.offset[i]);
    }
    end(&r);
}

static void what_was_published_before_the_stop_is_written(void **state)
{
    (void)state;
    rig_t r;
    begin(&r, 64 << 20, 50000000); /* asleep for 50 ms at a time */
    for (int i = 0; i < 60; i++)
        publish(&r, 64); /* 3,840 ticks: several batches, less than the ring */
    stop(&r);
    assert_int_equal(STORED(&r), r.published);
    seen_t s = history(&r);
    assert_int_equal(s.holes, 0);
    assert_int_equal(s.next - 1, r.published);
    end(&r);
}

static void who_is_lapped_counts_exactly_what_it_lost(void **state)
{
    (void)state;
    rig_t r;
    begin(&r, 64 << 20, 200000000);
    publish(&r, 1);
    until_all_are_accounted_for(&r); /* and asleep again */
    for (int i = 0; i < 160; i++)
        publish(&r, 64); /* two and a half rings */
    stop(&r);
    assert_true(LOST(&r) > 0);
    assert_int_equal(STORED(&r) + LOST(&r), r.published);
    seen_t s = history(&r);
    assert_int_equal(s.holes, LOST(&r));
    assert_int_equal(s.next - 1, r.published); /* the newest are there */
    end(&r);
}

/* A reader that stays inside one transaction: no page is reused meanwhile, so the map fills up. */
static bool hold_on(void *arg, uint64_t seq, const void *value, size_t bytes)
{
    (void)seq;
    (void)value;
    (void)bytes;
    rig_t *r = arg;
    for (int i = 0; i < 20000 && LOST(r) == 0; i++) {
        publish(r, 64);
        until_all_are_accounted_for(r);
    }
    return false;
}

static void a_full_store_makes_a_hole_and_the_recorder_goes_on(void **state)
{
    (void)state;
    rig_t r;
    begin(&r, 1 << 20, 100000);
    publish(&r, 64);
    until_all_are_accounted_for(&r);
    kmy_snapshot_reader_t *reader;
    must(kmy_snapshot_reader_share(&reader, r.store, &r.ctx), &r);
    must(kmy_snapshot_visit_history(reader, 0, hold_on, &r, &r.ctx), &r);
    kmy_snapshot_reader_close(reader);
    const int64_t lost = LOST(&r), stored = STORED(&r);
    assert_true(lost > 0);
    for (int i = 0; i < 10; i++) { /* there is room again */
        publish(&r, 64);
        until_all_are_accounted_for(&r);
    }
    stop(&r);
    assert_int_equal(LOST(&r), lost);
    assert_int_equal(STORED(&r), stored + 640);
    assert_int_equal(history(&r).next - 1, r.published);
    end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tick_is_stored_in_order_and_once),
        cmocka_unit_test(what_was_published_before_the_stop_is_written),
        cmocka_unit_test(who_is_lapped_counts_exactly_what_it_lost),
        cmocka_unit_test(a_full_store_makes_a_hole_and_the_recorder_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
