/* The parts of kamiyo-load that decide what a load test says: percentiles, the scanner, the books.  (tools/load has no library; this
   program is built from its sources, see extra.cmake.) */
#include "tools/load/book.h"
#include "tools/load/hist.h"
#include "tools/load/scan.h"
#include "tools/load/scenario.h"

#include "base/tick.h"
#include "wire/flat.h"
#include "wire/tick_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* --- hist ---------------------------------------------------------------------------------- */

static load_hist_t hist;

static void a_bucket_is_at_most_one_in_128_wide(void **state)
{
    (void)state;
    for (int64_t v = 0; v < LOAD_HIST_NS_MAX; v += 1 + v / 97) {
        uint32_t b = load_hist_bucket(v);
        assert_true(b < LOAD_HIST_BUCKETS);
        int64_t top = load_hist_top(b);
        assert_true(top >= v);
        assert_true(top - v <= v / 128);
        assert_int_equal(load_hist_bucket(top), b);
        assert_int_equal(load_hist_bucket(top + 1), b + 1);
    }
    assert_int_equal(load_hist_bucket(INT64_MAX), LOAD_HIST_BUCKETS - 1);
    assert_int_equal(load_hist_bucket(-5), 0);
}

static int by_value(const void *x, const void *y)
{
    int64_t a = *(const int64_t *)x;
    int64_t b = *(const int64_t *)y;
    return a < b ? -1 : a > b;
}

static void quantiles_are_those_of_the_sorted_values(void **state)
{
    (void)state;
    enum { N = 20000 };
    static int64_t values[N];
    static const double at[] = { 0, 0.001, 0.5, 0.9, 0.99, 0.999, 0.9999, 1 };
    uint64_t random = 42;
    load_hist_clear(&hist);
    for (int i = 0; i < N; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        values[i] = (int64_t)(random >> (24 + random % 30)); /* all magnitudes */
        load_hist_add(&hist, values[i]);
    }
    qsort(values, N, sizeof values[0], by_value);
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
        int rank = (int)(at[i] * N + 0.999999);
        int64_t want = values[rank < 1 ? 0 : rank - 1];
        int64_t got = load_hist_quantile(&hist, at[i]);
        assert_true(got >= want);
        assert_true(got - want <= want / 128 + 1);
    }
    assert_int_equal(load_hist_quantile(&hist, 1), values[N - 1]);
}

static void merged_seconds_are_the_whole(void **state)
{
    (void)state;
    static load_hist_t second;
    load_hist_clear(&hist);
    load_hist_clear(&second);
    assert_int_equal(load_hist_quantile(&hist, 0.99), 0); /* empty */
    for (int64_t v = 1; v <= 100; v++)
        load_hist_add(&second, v);
    load_hist_merge(&hist, &second);
    load_hist_clear(&second);
    load_hist_merge(&hist, &second); /* an empty second changes nothing */
    load_hist_add(&second, 1000000);
    load_hist_merge(&hist, &second);
    assert_int_equal(hist.count, 101);
    assert_int_equal(hist.min_ns, 1);
    assert_int_equal(load_hist_quantile(&hist, 0.5), 51);
    assert_int_equal(load_hist_quantile(&hist, 1), 1000000);
}

/* --- scan ---------------------------------------------------------------------------------- */

static kmy_tick_t tick(void)
{
    return (kmy_tick_t){ .seq = 9,
                         .offset = 42,
                         .event_ns = 1700000000123000000,
                         .recv_ns = 1700000000124567891,
                         .price_mant = 1871234,
                         .price_expo = -4,
                         .size_mant = 15,
                         .size_expo = -1,
                         .has = KMY_HAS_SIZE,
                         .feed_id = 7,
                         .source = KMY_SOURCE_BINANCE,
                         .kind = KMY_KIND_TRADE };
}

static size_t render(const kmy_tick_t *t, char *out)
{
    kmy_tick_json_t json;
    kmy_tick_json_init(&json, "SOL/USDT@binance");
    return kmy_tick_json_object(&json, t, out);
}

static void the_scanner_knows_every_tick_the_daemon_writes(void **state)
{
    (void)state;
    char text[KMY_TICK_JSON_BYTES_MAX];
    for (unsigned has = 0; has < 32; has++) {
        for (unsigned v = 0; v < 16; v++) {
            kmy_tick_t t = tick();
            t.has = (uint8_t)has;
            t.event_ns = v & 1 ? t.event_ns : 0;
            t.flags = v & 2 ? KMY_TICK_DEGRADED : 0;
            t.price_mant = v & 4 ? 0 : -t.price_mant;
            t.kind = (uint8_t)(1 + v % (KMY_KIND_COUNT - 1));
            t.source = (uint8_t)(1 + v % (KMY_SOURCE_COUNT - 1));
            t.bid_mant = t.ask_mant = 5;
            load_tick_t got;
            load_tick_t slow;
            size_t n = render(&t, text);
            assert_true(load_scan_json(text, n, &got));
            assert_int_equal(load_read_json(text, n, &slow, NULL), KMY_OK);
            assert_int_equal(got.offset, 42);
            assert_int_equal(got.recv_ns, t.recv_ns);
            assert_memory_equal(got.feed, "SOL/USDT@binance", got.feed_len);
            assert_int_equal(slow.offset, got.offset);
            assert_int_equal(slow.recv_ns, got.recv_ns);
        }
    }
}

static void a_tick_cut_or_changed_anywhere_is_not_scanned_as_the_same(void **state)
{
    (void)state;
    char text[KMY_TICK_JSON_BYTES_MAX];
    kmy_tick_t t = tick();
    size_t n = render(&t, text);
    load_tick_t got;
    for (size_t cut = 0; cut < n; cut++) {
        char *copy = malloc(cut + 1); /* exact, so that a sanitizer sees an over-read */
        memcpy(copy, text, cut);
        assert_false(load_scan_json(copy, cut, &got));
        assert_int_not_equal(load_read_json(copy, cut, &got, NULL), KMY_OK);
        free(copy);
    }
    for (size_t i = 0; i < n; i++) { /* a control character is legal nowhere */
        char saved = text[i];
        text[i] = 1;
        assert_false(load_scan_json(text, n, &got));
        assert_int_not_equal(load_read_json(text, n, &got, NULL), KMY_OK);
        text[i] = saved;
    }
}

static void texts_are_judged_as_the_contract_says(void **state)
{
    (void)state;
#define T(rest) "{\"type\":\"tick\",\"feed\":\"A/B\",\"offset\":" rest
#define TAIL    ",\"source\":\"pyth\",\"ts_recv\":\"5\"}"
    static const struct {
        const char *text;
        bool fast, legal;
    } rows[] = {
        { T("1,\"kind\":\"trade\",\"price\":\"1\"") TAIL, true, true },
        { T("1,\"kind\":\"trade\",\"price\":\"0.5\"") TAIL, true, true },
        { T("1,\"kind\":\"trade\",\"price\":\"1.50\"") TAIL, false,
          true },                                                     /* trailing zero: not ours */
        { T("1,\"kind\":\"trade\",\"price\":1") TAIL, false, false }, /* a binary float's shape */
        { T("01,\"kind\":\"trade\",\"price\":\"1\"") TAIL, false, false }, /* not JSON */
        { T("0,\"kind\":\"trade\",\"price\":\"1\"") TAIL, false, false }, /* offsets begin with 1 */
        { T("-1,\"kind\":\"trade\",\"price\":\"1\"") TAIL, false, false },
        { T("1,\"kind\":\"trade\",\"price\":\"\"") TAIL, false, false },
        { T("1,\"kind\":\"nonsense\",\"price\":\"1\"") TAIL, false, true }, /* a kind of tomorrow */
        { T("1,\"kind\":\"trade\",\"price\":\"1\"") TAIL "x", false, false }, /* something behind */
        { "{\"offset\":1,\"type\":\"tick\",\"feed\":\"A/"
          "B\",\"kind\":\"trade\",\"new\":[],\"price\":\"1\"" TAIL,
          false, true }, /* another order, a member of tomorrow */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        load_tick_t t;
        size_t n = strlen(rows[i].text);
        assert_int_equal(load_scan_json(rows[i].text, n, &t), rows[i].fast);
        assert_int_equal(load_read_json(rows[i].text, n, &t, NULL) == KMY_OK, rows[i].legal);
    }
}

static void a_flatbuffers_frame_is_walked_by_its_prefixes(void **state)
{
    (void)state;
    kmy_flat_t flat;
    uint8_t frame[3 * KMY_TICK_FLAT_BYTES_MAX];
    size_t len = 0;
    kmy_tick_t t = tick();
    kmy_flat_init(&flat, KMY_FLAT_STREAM, t.feed_id, "SOL/USDT@binance");
    for (int i = 0; i < 3; i++, t.offset++)
        len += kmy_flat_encode(&flat, &t, frame + len);
    size_t at = 0;
    for (uint64_t want = 42; want < 45; want++) {
        load_tick_t got;
        size_t bytes;
        size_t peeked;
        char name[64];
        uint64_t offset;
        uint32_t id;
        assert_int_equal(load_read_flat(frame + at, len - at, &got, &bytes, name, NULL), KMY_OK);
        assert_true(load_peek_flat(frame + at, len - at, &peeked, &offset, &id));
        assert_int_equal(bytes, peeked);
        assert_int_equal(got.offset, want);
        assert_int_equal(offset, want);
        assert_int_equal(id, 7);
        assert_string_equal(name, "SOL/USDT@binance");
        at += bytes;
    }
    assert_int_equal(at, len);
    for (size_t cut = 0; cut < flat.len; cut++) { /* a tick cut short is none */
        uint8_t *copy = malloc(cut + 1);
        memcpy(copy, frame, cut);
        load_tick_t got;
        size_t bytes;
        char name[64];
        assert_int_equal(load_read_flat(copy, cut, &got, &bytes, name, NULL), KMY_CORRUPT);
        free(copy);
    }
}

static void any_bytes_may_be_peeked_at(void **state)
{
    (void)state;
    uint64_t random = 7;
    for (int round = 0; round < 20000; round++) {
        uint8_t *data = malloc(64);
        for (int i = 0; i < 64; i++) {
            random = random * UINT64_C(6364136223846793005) + 1;
            data[i] = (uint8_t)(random >> 56);
        }
        data[0] = (uint8_t)(data[0] % 61);
        data[1] = data[2] = data[3] = 0;
        if (round & 1) /* a root within reach */
            data[4] %= 60, data[5] = data[6] = data[7] = 0;
        size_t bytes;
        uint64_t offset;
        uint32_t id;
        load_peek_flat(data, 64, &bytes, &offset, &id); /* the sanitizers judge */
        free(data);
    }
}

static void the_same_offset_with_other_bytes_is_noticed(void **state)
{
    (void)state;
    static load_seen_t seen;
    int64_t recv;
    assert_int_equal(load_seen_find(&seen, 1, "abc", 3, &recv), LOAD_NEW);
    load_seen_put(&seen, 1, "abc", 3, 99);
    assert_int_equal(load_seen_find(&seen, 1, "abc", 3, &recv), LOAD_SAME);
    assert_int_equal(recv, 99);
    assert_int_equal(load_seen_find(&seen, 1, "abd", 3, &recv), LOAD_DIFFERS);
    assert_int_equal(load_seen_find(&seen, 1, "ab", 2, &recv), LOAD_DIFFERS);
    assert_int_equal(load_seen_find(&seen, 1 + LOAD_SEEN_SLOTS, "abc", 3, &recv), LOAD_NEW);
}

static void both_encodings_of_a_tick_must_say_the_same(void **state)
{
    (void)state;
    static load_values_t values;
    static const struct {
        load_tick_t tick;
        bool agrees;
    } rows[] = {
        { { .offset = 5, .recv_ns = 7, .price_mant = 18710, .price_expo = -2 }, true },
        { { .offset = 5, .recv_ns = 7, .price_mant = 1871, .price_expo = -1 }, true },
        { { .offset = 5, .recv_ns = 7, .price_mant = 187100, .price_expo = -3 }, true },
        { { .offset = 5, .recv_ns = 7, .price_mant = 1872, .price_expo = -1 }, false },
        { { .offset = 5, .recv_ns = 7, .price_mant = 1871, .price_expo = -2 }, false },
        { { .offset = 5, .recv_ns = 8, .price_mant = 18710, .price_expo = -2 }, false },
        { { .offset = 6, .recv_ns = 8, .price_mant = 1, .price_expo = 0 }, true },
        { { .offset = 6, .recv_ns = 8, .price_mant = INT64_MAX, .price_expo = 9 }, false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(load_values_agree(&values, &rows[i].tick), rows[i].agrees);
}

/* --- book ---------------------------------------------------------------------------------- */

/* One subscription's life: what comes, what it means.  t: a tick; g: a gap up to `to`; e: a gap with reason epoch. */
static void the_books_know_the_next_tick(void **state)
{
    (void)state;
    enum { T = 't', G = 'g', E = 'e' };
    static const struct {
        char what;
        uint64_t from, to;
        load_book_t want;
        uint64_t missing;
    } rows[] = {
        { T, 10, 0, LOAD_BOOK_NEXT, 0 }, /* the snapshot: subscribed said 10 */
        { T, 11, 0, LOAD_BOOK_NEXT, 0 },
        { T, 11, 0, LOAD_BOOK_BEFORE, 0 }, /* twice */
        { T, 12, 0, LOAD_BOOK_NEXT, 0 },
        { T, 15, 0, LOAD_BOOK_LOST, 2 }, /* 13 and 14, unsaid */
        { T, 16, 0, LOAD_BOOK_NEXT, 0 }, /* counted once */
        { G, 17, 20, LOAD_BOOK_NEXT, 0 },
        { T, 21, 0, LOAD_BOOK_NEXT, 0 },
        { G, 23, 25, LOAD_BOOK_LOST, 1 },   /* the gap leaves 22 out */
        { G, 20, 30, LOAD_BOOK_BEFORE, 0 }, /* what we hold cannot be a hole */
        { G, 28, 27, LOAD_BOOK_BEFORE, 0 }, /* upside down */
        { T, 26, 0, LOAD_BOOK_NEXT, 0 },
        { E, 1, 3, LOAD_BOOK_NEXT, 0 }, /* another epoch counts anew */
        { T, 4, 0, LOAD_BOOK_NEXT, 0 },
    };
    load_sub_t sub = { .last = 10, .fresh = true };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t missing;
        load_book_t got = rows[i].what == T ? load_book_tick(&sub, rows[i].from, &missing)
                                            : load_book_gap(&sub, rows[i].from, rows[i].to,
                                                            rows[i].what == E, &missing);
        assert_int_equal(got, rows[i].want);
        assert_int_equal(missing, rows[i].missing);
    }
}

static void a_fresh_subscription_may_begin_behind_the_snapshot_but_not_later(void **state)
{
    (void)state;
    uint64_t missing;
    load_sub_t sub = { .last = 10, .fresh = true };
    assert_int_equal(load_book_tick(&sub, 11, &missing), LOAD_BOOK_NEXT);
    sub = (load_sub_t){ .last = 10, .fresh = true };
    assert_int_equal(load_book_tick(&sub, 12, &missing), LOAD_BOOK_LOST);
    assert_int_equal(missing, 1);
    sub = (load_sub_t){ .last = 0, .fresh = true }; /* nobody told us where it begins */
    assert_int_equal(load_book_tick(&sub, 500, &missing), LOAD_BOOK_NEXT);
}

/* --- scenario ------------------------------------------------------------------------------ */

static void every_shipped_scenario_is_legal(void **state)
{
    (void)state;
    static const char *const names[] = {
        "agents-1000",  "agents-10000", "ceiling", "exit",  "mixed-http",
        "slow-readers", "soak",         "spend",   "storm",
    };
    assert_int_equal(load_shipped_count, sizeof names / sizeof names[0]);
    for (size_t i = 0; i < load_shipped_count; i++) {
        load_scenario_t s;
        kmy_errctx_t ctx = { 0 };
        assert_int_equal(load_scenario_read(names[i], &s, &ctx), KMY_OK);
        assert_string_equal(s.name, names[i]);
        assert_true(s.about[0] != 0);
    }
}

static void durations_have_units(void **state)
{
    (void)state;
    int64_t ns = 0;
    assert_true(load_duration_parse("10s", &ns) && ns == 10000000000);
    assert_true(load_duration_parse("2.5", &ns) && ns == 2500000000);
    assert_true(load_duration_parse("250ms", &ns) && ns == 250000000);
    assert_true(load_duration_parse("1h", &ns) && ns == 3600000000000);
    static const char *const wrong[] = { "", "s", "-1s", "1x", "nan", "inf", "1e300s", "1 s" };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(load_duration_parse(wrong[i], &ns));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bucket_is_at_most_one_in_128_wide),
        cmocka_unit_test(quantiles_are_those_of_the_sorted_values),
        cmocka_unit_test(merged_seconds_are_the_whole),
        cmocka_unit_test(the_scanner_knows_every_tick_the_daemon_writes),
        cmocka_unit_test(a_tick_cut_or_changed_anywhere_is_not_scanned_as_the_same),
        cmocka_unit_test(texts_are_judged_as_the_contract_says),
        cmocka_unit_test(a_flatbuffers_frame_is_walked_by_its_prefixes),
        cmocka_unit_test(any_bytes_may_be_peeked_at),
        cmocka_unit_test(the_same_offset_with_other_bytes_is_noticed),
        cmocka_unit_test(both_encodings_of_a_tick_must_say_the_same),
        cmocka_unit_test(the_books_know_the_next_tick),
        cmocka_unit_test(a_fresh_subscription_may_begin_behind_the_snapshot_but_not_later),
        cmocka_unit_test(every_shipped_scenario_is_legal),
        cmocka_unit_test(durations_have_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
