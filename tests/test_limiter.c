/* engine/limiter: buckets under a clock of our own, their table when it is too small, connections per address. */
#include "engine/limiter.h"

#include "base/strmap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <pthread.h>
#include <string.h>

#define S  INT64_C(1000000000)
#define MS INT64_C(1000000)

static const int64_t t0 = 1000 * S;

static void a_bucket_gives_its_burst_at_once_and_then_its_rate(void **state)
{
    (void)state;
    kmy_rate_t rate = kmy_rate(10, S, 50);
    int64_t bucket = 0;
    for (int i = 0; i < 50; i++) {
        kmy_verdict_t v = kmy_bucket_take(&bucket, rate, 1, t0);
        assert_true(v.taken);
        assert_int_equal(v.left, 49 - i);
        assert_int_equal(v.reset_ns, (i + 1) * 100 * MS);
    }
    kmy_verdict_t v = kmy_bucket_take(&bucket, rate, 1, t0);
    assert_false(v.taken);
    assert_int_equal(v.left, 0);
    assert_int_equal(v.wait_ns, 100 * MS);
    assert_int_equal(v.reset_ns, 5 * S);
    /* Asking costs nothing, and exactly at the time told there is one. */
    assert_false(kmy_bucket_take(&bucket, rate, 1, t0 + 100 * MS - 1).taken);
    assert_true(kmy_bucket_take(&bucket, rate, 1, t0 + 100 * MS).taken);
    assert_false(kmy_bucket_take(&bucket, rate, 1, t0 + 100 * MS).taken);
    /* In ten seconds at full speed: what the rate says, no more and no less. */
    int taken = 0;
    for (int64_t t = t0 + 100 * MS; t < t0 + 10100 * MS; t += MS)
        taken += kmy_bucket_take(&bucket, rate, 1, t).taken;
    assert_int_equal(taken, 99);
}

static void a_bucket_never_holds_more_than_its_burst(void **state)
{
    (void)state;
    kmy_rate_t rate = kmy_rate(100, 60 * S, 100);
    int64_t bucket = 0;
    int taken = 0;
    while (kmy_bucket_take(&bucket, rate, 1, t0).taken)
        taken++;
    assert_int_equal(taken, 100);
    taken = 0;
    while (kmy_bucket_take(&bucket, rate, 1, t0 + 3600 * S).taken)
        taken++;
    assert_int_equal(taken, 100);
}

static void a_dear_thing_takes_several_or_none(void **state)
{
    (void)state;
    kmy_rate_t rate = kmy_rate(100, S, 1000);
    int64_t bucket = 0;
    assert_true(kmy_bucket_take(&bucket, rate, 990, t0).taken);
    kmy_verdict_t v = kmy_bucket_take(&bucket, rate, 65, t0);
    assert_false(v.taken);
    assert_int_equal(v.left, 10);
    assert_int_equal(v.wait_ns, 550 * MS);
    assert_true(kmy_bucket_take(&bucket, rate, 10, t0).taken);
    assert_false(kmy_bucket_take(&bucket, rate, 1001, t0 + 3600 * S).taken);
}

static void a_table_keeps_names_apart(void **state)
{
    (void)state;
    kmy_rate_t rate = kmy_rate(1, S, 3);
    /* The hash has a random key: with 8,192 sets for 1,000 names none gets a ninth (once in 10^12), which would rightly take a bucket over. */
    kmy_buckets_t *t = kmy_buckets_new(65536);
    for (uint64_t i = 0; i < 1000; i++) {
        uint64_t name = kmy_hash(&i, sizeof i);
        for (int k = 0; k < 3; k++)
            assert_true(kmy_buckets_take(t, name, rate, t0).taken);
        assert_false(kmy_buckets_take(t, name, rate, t0).taken);
    }
    for (uint64_t i = 0; i < 1000; i++) { /* and remembers each */
        uint64_t name = kmy_hash(&i, sizeof i);
        assert_false(kmy_buckets_take(t, name, rate, t0 + S - 1).taken);
        assert_true(kmy_buckets_take(t, name, rate, t0 + S).taken);
    }
    uint64_t one = 1;
    uint64_t name = kmy_hash(&one, sizeof one);
    kmy_buckets_give(t, name, rate);
    assert_true(kmy_buckets_take(t, name, rate, t0 + S).taken);
    kmy_buckets_free(t);
}

static void a_full_table_takes_the_bucket_that_is_full_soonest_and_forgets_nobody_else(void **state)
{
    (void)state;
    kmy_rate_t rate = kmy_rate(1, S, 100);
    kmy_buckets_t *t = kmy_buckets_new(8);          /* one set */
    for (uint64_t name = 1; name < 16; name += 2) { /* owes 1 s, 3 s, 5 s ... */
        for (uint64_t k = 0; k < name; k++)
            kmy_buckets_take(t, name, rate, t0);
    }
    kmy_verdict_t v = kmy_buckets_take(t, 101, rate, t0);
    assert_int_equal(v.left, 99); /* its own start, not what number 1 left */
    for (uint64_t name = 3; name < 16; name += 2)
        assert_int_equal(kmy_buckets_take(t, name, rate, t0).left, 100 - (int)name - 1);
    kmy_buckets_free(t);
}

enum { SHARDS = 4, TRIES = 20000 };
static struct {
    kmy_buckets_t *table;
    kmy_rate_t rate;
} shared;

static void *shard(void *arg)
{
    long *taken = arg;
    for (int i = 0; i < TRIES; i++) /* the clock of each moves on alike: 20 ms in all */
        *taken += kmy_buckets_take(shared.table, 77, shared.rate, t0 + i * 1000).taken;
    return NULL;
}

static void the_limit_holds_over_all_shards_together(void **state)
{
    (void)state;
    shared.table = kmy_buckets_new(64);
    shared.rate = kmy_rate(1000, S, 500);
    pthread_t thread[SHARDS];
    long taken[SHARDS] = { 0 };
    long sum = 0;
    for (int i = 0; i < SHARDS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, shard, &taken[i]), 0);
    for (int i = 0; i < SHARDS; i++) {
        pthread_join(thread[i], NULL);
        sum += taken[i];
    }
    assert_in_range(sum, 500, 520); /* the burst, and 20 ms at 1,000/s if one of them came last */
    kmy_buckets_free(shared.table);
}

static kmy_config_t small(void)
{
    kmy_config_t c;
    memset(&c, 0, sizeof c);
    c.limits.connections = 100;
    c.limits.unauthenticated_per_s = 10;
    c.limits.unauthenticated_burst = 50;
    c.limits.requests_per_min = 100;
    c.limits.requests_per_hour = 250;
    c.limits.messages_per_s = 100;
    c.limits.messages_burst = 1000;
    return c;
}

static void an_account_has_a_minute_and_an_hour_and_a_refusal_costs_neither(void **state)
{
    (void)state;
    kmy_config_t c = small();
    kmy_limiter_t *l;
    kmy_errctx_t ctx;
    assert_int_equal(kmy_limiter_new(&l, &c, &ctx), KMY_OK);
    kmy_limit_window_t which;
    for (int i = 0; i < 100; i++)
        assert_true(kmy_limiter_account(l, "local:a", t0, &which).taken);
    kmy_verdict_t v = kmy_limiter_account(l, "local:a", t0, &which);
    assert_false(v.taken);
    assert_int_equal(which, KMY_LIMIT_MINUTE);
    assert_int_equal(v.wait_ns, 600 * MS);
    assert_true(kmy_limiter_account(l, "local:b", t0, &which).taken); /* another's is its own */
    int taken = 0;
    int64_t t = t0;
    while (taken < 400 && t < t0 + 600 * S) { /* one a second is within the minute's */
        t += S;
        v = kmy_limiter_account(l, "local:a", t, &which);
        if (!v.taken)
            break;
        taken++;
    }
    assert_false(v.taken);
    assert_int_equal(which, KMY_LIMIT_HOUR); /* 250, and 250/h over three minutes */
    assert_in_range(100 + taken, 250, 265);
    /* Refused by the hour a thousand times: the minute's bucket is none the emptier. */
    for (int i = 0; i < 1000; i++)
        assert_false(kmy_limiter_account(l, "local:a", t, &which).taken);
    assert_int_equal(which, KMY_LIMIT_HOUR);
    assert_true(kmy_limiter_account(l, "local:a", t + 15 * S, &which).taken);
    kmy_limiter_free(l);
}

static struct in6_addr addr(const char *text)
{
    struct in6_addr a;
    assert_true(kmy_peer_parse(text, strlen(text), &a));
    return a;
}

static void an_address_is_one_of_ipv4_or_the_64_of_ipv6(void **state)
{
    (void)state;
    kmy_config_t c = small();
    c.limits.unauthenticated_burst = 1;
    kmy_limiter_t *l;
    kmy_errctx_t ctx;
    assert_int_equal(kmy_limiter_new(&l, &c, &ctx), KMY_OK);
    static const struct {
        const char *addr;
        bool taken;
    } rows[] = {
        { "192.0.2.1", true },        { "192.0.2.1", false },        { "::ffff:192.0.2.1", false },
        { "192.0.2.2", true },        { "2001:db8:0:1::1", true },   { "2001:db8:0:1::1", false },
        { "2001:db8:0:1::2", false }, { "2001:db8:0:1:f::", false }, { "2001:db8:0:2::1", true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct in6_addr a = addr(rows[i].addr);
        if (kmy_limiter_address(l, &a, t0).taken != rows[i].taken)
            fail_msg("row %zu: %s", i, rows[i].addr);
    }
    kmy_limiter_free(l);
}

static void connections_of_an_address_are_counted_exactly(void **state)
{
    (void)state;
    kmy_crowd_t *c = kmy_crowd_new(10, 3);
    struct in6_addr a = addr("192.0.2.1");
    struct in6_addr b = addr("2001:db8::1");
    struct in6_addr b2 = addr("2001:db8::2"); /* the same /64 */
    for (int turn = 0; turn < 100; turn++) {
        for (int i = 0; i < 3; i++)
            assert_true(kmy_crowd_enter(c, &a));
        assert_false(kmy_crowd_enter(c, &a));
        assert_true(kmy_crowd_enter(c, &b));
        assert_true(kmy_crowd_enter(c, &b2));
        kmy_crowd_leave(c, &a);
        assert_true(kmy_crowd_enter(c, &a));
        assert_true(kmy_crowd_enter(c, &b));
        assert_false(kmy_crowd_enter(c, &b2));
        for (int i = 0; i < 3; i++) {
            kmy_crowd_leave(c, &a);
            kmy_crowd_leave(c, &b);
        }
    }
    struct in6_addr many[12];
    for (int i = 0; i < 12; i++) { /* more names than it has room for: refused, not forgotten */
        many[i] = addr("198.51.100.0");
        many[i].s6_addr[15] = (uint8_t)i;
        assert_int_equal(kmy_crowd_enter(c, &many[i]), i < 10);
    }
    for (int i = 0; i < 10; i++)
        kmy_crowd_leave(c, &many[i]);
    kmy_crowd_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bucket_gives_its_burst_at_once_and_then_its_rate),
        cmocka_unit_test(a_bucket_never_holds_more_than_its_burst),
        cmocka_unit_test(a_dear_thing_takes_several_or_none),
        cmocka_unit_test(a_table_keeps_names_apart),
        cmocka_unit_test(
            a_full_table_takes_the_bucket_that_is_full_soonest_and_forgets_nobody_else),
        cmocka_unit_test(the_limit_holds_over_all_shards_together),
        cmocka_unit_test(an_account_has_a_minute_and_an_hour_and_a_refusal_costs_neither),
        cmocka_unit_test(an_address_is_one_of_ipv4_or_the_64_of_ipv6),
        cmocka_unit_test(connections_of_an_address_are_counted_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
