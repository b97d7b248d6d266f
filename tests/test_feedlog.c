/* engine/feedlog: frames back to back in a mirrored mapping: what was put in comes out whole, in order and in one piece, whatever the log does
   to make room. */
#include "engine/feedlog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

enum { FRAME_MAX = 1152, PAGE = 4096, STEPS = 60000, SECOND = 1000000000 };

static const kmy_feedlog_limits_t roomy = { .keep_ticks = 1000000,
                                            .keep_ns = INT64_C(3600) * SECOND,
                                            .bytes_max = 1 << 20 };

/* Frame o is o's low byte and its successors: a frame moved, cut or overwritten by another does not look like it. */
static uint8_t byte_of(uint64_t offset, size_t i)
{
    return (uint8_t)(offset * 7 + i);
}

static void put(kmy_feedlog_t *log, const kmy_feedlog_limits_t *limits, uint64_t offset, size_t len,
                int64_t now_ns)
{
    uint8_t *to = kmy_feedlog_reserve(log, limits, offset, FRAME_MAX, now_ns);
    for (size_t i = 0; i < len; i++)
        to[i] = byte_of(offset, i);
    memset(to + len, 0xee, FRAME_MAX - len);           /* all that was reserved may be written */
    kmy_feedlog_commit(log, len, 10 * offset, now_ns); /* other feeds tick in between */
}

static void must_be(const kmy_feedlog_t *log, uint64_t offset, size_t len)
{
    size_t bytes;
    const uint8_t *at = kmy_feedlog_run(log, offset, 1, &bytes);
    if (bytes != len)
        fail_msg("frame %llu has %zu bytes, was put in with %zu", (unsigned long long)offset, bytes,
                 len);
    for (size_t i = 0; i < len; i++) {
        if (at[i] != byte_of(offset, i))
            fail_msg("frame %llu differs at byte %zu", (unsigned long long)offset, i);
    }
}

static void the_same_pages_lie_twice_in_a_row(void **state)
{
    (void)state;
    kmy_feedlog_t log;
    assert_true(kmy_feedlog_open(&log, 1));
    assert_true(log.bytes_cap >= PAGE);
    for (uint64_t i = 0; i < log.bytes_cap; i += 511) {
        log.bytes[i] = (uint8_t)(i + 1);
        assert_int_equal(log.bytes[i + log.bytes_cap], (uint8_t)(i + 1));
        log.bytes[i + log.bytes_cap] = (uint8_t)(i + 2);
        assert_int_equal(log.bytes[i], (uint8_t)(i + 2));
    }
    kmy_feedlog_close(&log);
}

static void an_empty_log_holds_nothing_and_begins_where_it_was_told(void **state)
{
    (void)state;
    kmy_feedlog_t log;
    assert_true(kmy_feedlog_open(&log, 77));
    assert_int_equal(log.first, 77);
    assert_int_equal(log.next, 77);
    assert_int_equal(kmy_feedlog_fit(&log, 77, 0, 0), 0);
    put(&log, &roomy, 77, 10, 0);
    assert_int_equal(log.first, 77);
    assert_int_equal(log.next, 78);
    must_be(&log, 77, 10);
    kmy_feedlog_close(&log);
}

static void a_hole_in_the_offsets_drops_what_was_held(void **state)
{
    (void)state;
    kmy_feedlog_t log;
    assert_true(kmy_feedlog_open(&log, 1));
    for (uint64_t o = 1; o <= 5; o++)
        put(&log, &roomy, o, 100, 0);
    put(&log, &roomy, 9, 100, 0); /* 6, 7 and 8 were lost on the way here */
    assert_int_equal(log.first, 9);
    assert_int_equal(log.next, 10);
    must_be(&log, 9, 100);
    kmy_feedlog_close(&log);
}

static void young_frames_make_it_grow_and_old_ones_make_room(void **state)
{
    (void)state;
    kmy_feedlog_limits_t limits = roomy;
    limits.keep_ns = SECOND;
    kmy_feedlog_t log;
    assert_true(kmy_feedlog_open(&log, 1));
    const uint64_t cap = log.bytes_cap;
    for (uint64_t o = 1; o <= 1000; o++) /* each older than the limit when the next comes */
        put(&log, &limits, o, 1000, (int64_t)o * 2 * SECOND);
    assert_int_equal(log.bytes_cap, cap);
    for (uint64_t o = 1001; o <= 1100; o++)
        put(&log, &limits, o, 1000, INT64_C(2000) * SECOND);
    assert_true(log.bytes_cap > cap);
    assert_true(log.first <= 1001);
    for (uint64_t o = 1001; o <= 1100; o++)
        must_be(&log, o, 1000);
    kmy_feedlog_close(&log);
}

static void at_its_maximum_the_oldest_go_however_young(void **state)
{
    (void)state;
    kmy_feedlog_limits_t limits = roomy;
    limits.bytes_max = 32768;
    kmy_feedlog_t log;
    assert_true(kmy_feedlog_open(&log, 1));
    for (uint64_t o = 1; o <= 500; o++)
        put(&log, &limits, o, FRAME_MAX, 0);
    assert_int_equal(log.bytes_cap, 32768);
    assert_int_equal(log.next, 501);
    assert_int_equal(log.next - log.first, 32768 / FRAME_MAX);
    for (uint64_t o = log.first; o < log.next; o++)
        must_be(&log, o, FRAME_MAX);
    kmy_feedlog_close(&log);
}

static void no_more_frames_are_kept_than_asked_for_once_room_is_needed(void **state)
{
    (void)state;
    kmy_feedlog_limits_t limits = roomy;
    limits.keep_ticks = 300;
    kmy_feedlog_t log;
    assert_true(kmy_feedlog_open(&log, 1));
    for (uint64_t o = 1; o <= 5000; o++)
        put(&log, &limits, o, 2, 0);
    assert_true(log.next - log.first >= 300);
    assert_true(log.marks_cap <= 512);
    kmy_feedlog_close(&log);
}

/* --- against a model that keeps everything --------------------------------------------------- */

typedef struct model {
    uint16_t len[STEPS + 200];
    int64_t put_ns[STEPS + 200];
} model_t;

static uint64_t rnd(uint64_t *s)
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return *s * UINT64_C(2685821657736338717);
}

static uint64_t naive_fit(const model_t *m, uint64_t from, uint64_t n, size_t bytes)
{
    uint64_t fits = 0;
    for (size_t sum = 0; fits < n && (sum += m->len[from + fits]) <= bytes; fits++)
        ;
    return fits;
}

/* A run anywhere: one piece, whole frames, the right ones. */
static bool check_run(const kmy_feedlog_t *log, const model_t *m, uint64_t *s)
{
    uint64_t held = log->next - log->first;
    uint64_t from = log->first + rnd(s) % (held + 1);
    uint64_t n = rnd(s) % (log->next - from + 1);
    size_t bytes;
    const uint8_t *at = kmy_feedlog_run(log, from, n, &bytes);
    size_t sum = 0;
    for (uint64_t o = from; o < from + n; sum += m->len[o++]) {
        for (size_t i = 0; i < m->len[o]; i++) {
            if (at[sum + i] != byte_of(o, i))
                fail_msg("run from %llu: frame %llu differs at %zu", (unsigned long long)from,
                         (unsigned long long)o, i);
        }
    }
    assert_int_equal(sum, bytes);
    size_t budget = rnd(s) % (bytes + 2);
    assert_int_equal(kmy_feedlog_fit(log, from, n, budget), naive_fit(m, from, n, budget));
    assert_int_equal(kmy_feedlog_fit(log, from, n, bytes), n);
    return (size_t)(at - log->bytes) + bytes > log->bytes_cap; /* over the seam */
}

/* Whoever was dropped had to be. */
static void check_dropped(const kmy_feedlog_t *log, const kmy_feedlog_limits_t *l, const model_t *m,
                          uint64_t first_before, uint64_t put_offset, uint64_t held_bytes,
                          int64_t now_ns)
{
    for (uint64_t o = first_before; o < log->first && o < put_offset; o++) {
        bool many = put_offset - o >= l->keep_ticks;
        bool old = now_ns - m->put_ns[o] >= l->keep_ns;
        bool full = held_bytes + FRAME_MAX > l->bytes_max && log->bytes_cap * 2 > l->bytes_max;
        if (!many && !old && !full)
            fail_msg("frame %llu was dropped without need", (unsigned long long)o);
        held_bytes -= m->len[o];
    }
}

static void random_histories_agree_with_the_model(void **state)
{
    (void)state;
    model_t *m = calloc(1, sizeof *m);
    assert_non_null(m);
    uint64_t seams = 0, grown = 0, dropped = 0;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        uint64_t s = seed * UINT64_C(0x9e3779b97f4a7c15);
        kmy_feedlog_limits_t l = { .keep_ticks = 16 + rnd(&s) % 2000,
                                   .keep_ns = (int64_t)(1 + rnd(&s) % 4) * SECOND,
                                   .bytes_max = UINT64_C(1) << (14 + rnd(&s) % 5) };
        kmy_feedlog_t log;
        uint64_t next = 1 + rnd(&s) % 100;
        assert_true(kmy_feedlog_open(&log, next));
        uint64_t cap = log.bytes_cap;
        int64_t now = 0;
        for (int step = 0; step < STEPS / 8; step++) {
            now += (int64_t)(rnd(&s) % (SECOND / 100)) * (rnd(&s) % 200 == 0 ? 300 : 1);
            if (rnd(&s) % 1000 == 0)
                next += 1 + rnd(&s) % 5; /* the shard was lapped */
            uint64_t first = log.first, held = 0;
            for (uint64_t o = log.first; next == log.next && o < log.next; o++)
                held += m->len[o];
            m->len[next] = (uint16_t)(rnd(&s) % 20 == 0 ? FRAME_MAX : 1 + rnd(&s) % 300);
            m->put_ns[next] = now;
            const bool hole = next != log.next;
            put(&log, &l, next, m->len[next], now);
            next++;
            assert_int_equal(log.next, next);
            assert_true(log.first < log.next);
            assert_true(log.bytes_cap <= l.bytes_max || log.bytes_cap == cap);
            if (!hole)
                check_dropped(&log, &l, m, first, next - 1, held, now);
            dropped += log.first - first;
            seams += check_run(&log, m, &s);
        }
        grown += log.bytes_cap > cap;
        kmy_feedlog_close(&log);
    }
    free(m);
    assert_true(seams > 100); /* the mirror, growth and eviction have been at work */
    assert_true(grown > 1);
    assert_true(dropped > 1000);
}

static void a_seq_is_found_wherever_it_falls(void **state)
{
    (void)state;
    kmy_feedlog_t log;
    kmy_feedlog_limits_t limits = { .keep_ticks = 4, .keep_ns = 0, .bytes_max = 1 << 16 };
    assert_true(kmy_feedlog_open(&log, 1));
    assert_int_equal(kmy_feedlog_after(&log, 1, 0), 1); /* empty: what comes next */
    for (uint64_t o = 1; o <= 1000; o++) {
        put(&log, &limits, o, 100, 0); /* seq 10 x offset; it wraps, and the oldest go */
        for (uint64_t from = log.first; from <= log.next; from += 13) {
            for (uint64_t seq = 10 * from - 15; seq <= 10 * o + 10; seq += 97) {
                uint64_t want = from;
                while (want < log.next && 10 * want <= seq)
                    want++;
                assert_int_equal(kmy_feedlog_after(&log, from, seq), want);
            }
        }
    }
    kmy_feedlog_close(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_pages_lie_twice_in_a_row),
        cmocka_unit_test(an_empty_log_holds_nothing_and_begins_where_it_was_told),
        cmocka_unit_test(a_hole_in_the_offsets_drops_what_was_held),
        cmocka_unit_test(young_frames_make_it_grow_and_old_ones_make_room),
        cmocka_unit_test(at_its_maximum_the_oldest_go_however_young),
        cmocka_unit_test(no_more_frames_are_kept_than_asked_for_once_room_is_needed),
        cmocka_unit_test(random_histories_agree_with_the_model),
        cmocka_unit_test(a_seq_is_found_wherever_it_falls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
