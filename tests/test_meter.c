/* The meter: nothing is made, nothing is lost, and it stops at zero exactly (M9). */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "pay/meter.h"

static kmy_lease_t lease_of(int64_t nusd)
{
    return (kmy_lease_t){ .granted_nusd = nusd, .left_nusd = nusd };
}

static void affordable_is_what_the_lease_covers(void **state)
{
    static const struct {
        int64_t left;
        int64_t price;
        uint64_t n;
        uint64_t want;
    } rows[] = {
        { 1000, 1000, 1, 1 },
        { 999, 1000, 1, 0 },
        { 1999, 1000, 5, 1 },
        { 5000, 1000, 5, 5 },
        { 5000, 1000, 0, 0 },
        { 0, 1, 1, 0 },
        { 0, 0, 7, 7 }, /* what is free is delivered on an empty balance */
        { 0, 0, UINT64_MAX, UINT64_MAX },
        { INT64_MAX, 1, UINT64_MAX, INT64_MAX },
        { INT64_MAX, INT64_MAX, UINT64_MAX, 1 },
        { INT64_MAX - 1, INT64_MAX, 1, 0 },
        { INT64_MAX, 2, UINT64_MAX, INT64_MAX / 2 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        kmy_lease_t lease = lease_of(rows[i].left);
        uint64_t n = kmy_meter_affordable(&lease, rows[i].price, rows[i].n);
        assert_int_equal(n, rows[i].want);
        kmy_meter_take_ticks(&lease, rows[i].price, n); /* and all of it can be taken */
        kmy_lease_check(&lease);
        assert_int_equal(lease.ticks_count, n);
        if (n < rows[i].n)
            assert_true(lease.left_nusd < rows[i].price);
    }
}

static void a_query_is_all_or_nothing(void **state)
{
    kmy_lease_t lease = lease_of(250);
    (void)state;
    assert_true(kmy_meter_take_query(&lease, 100));
    assert_true(kmy_meter_take_query(&lease, 100));
    assert_false(kmy_meter_take_query(&lease, 100));
    assert_int_equal(lease.left_nusd, 50);
    assert_int_equal(lease.spent_nusd, 200);
    assert_int_equal(lease.queries_count, 2);
    assert_true(kmy_meter_take_query(&lease, 50)); /* to zero exactly */
    assert_false(kmy_meter_take_query(&lease, 1));
    assert_true(kmy_meter_take_query(&lease, 0));
    kmy_lease_check(&lease);
    lease = lease_of(INT64_MAX);
    assert_true(kmy_meter_take_query(&lease, INT64_MAX));
    assert_false(kmy_meter_take_query(&lease, INT64_MAX));
    kmy_lease_check(&lease);
}

static uint64_t next_random(uint64_t *s)
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return *s * UINT64_C(2685821657736338717);
}

static void whatever_is_taken_and_given_back_adds_up(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5000; seed++) {
        uint64_t rng = seed * UINT64_C(0x9e3779b97f4a7c15);
        int64_t granted = (int64_t)(next_random(&rng) >> (1 + next_random(&rng) % 60));
        int64_t price = (int64_t)(next_random(&rng) >> (1 + next_random(&rng) % 63));
        kmy_lease_t lease = lease_of(granted);
        uint64_t ticks = 0;
        uint64_t queries = 0;
        for (int step = 0; step < 50; step++) {
            uint64_t want = next_random(&rng) % 1000;
            uint64_t n = kmy_meter_affordable(&lease, price, want);
            kmy_meter_take_ticks(&lease, price, n);
            uint64_t back = n ? next_random(&rng) % (n + 1) : 0;
            kmy_meter_untake_ticks(&lease, price, back);
            ticks += n - back;
            queries += kmy_meter_take_query(&lease, price);
            kmy_lease_check(&lease);
            bool same = lease.ticks_count == ticks && lease.queries_count == queries &&
                        (__int128)lease.spent_nusd == (__int128)price * (ticks + queries) &&
                        lease.left_nusd == granted - lease.spent_nusd;
            if (!same)
                fail_msg("seed %llu, step %d: the lease does not add up", (unsigned long long)seed,
                         step);
        }
    }
}

static int dies(void (*bug)(void))
{
    pid_t child = fork();
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr))
            _exit(1);
        signal(SIGABRT, SIG_DFL);
        bug();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

/* The quick way and the way by division are one: the same number, the same lease afterwards. */
static void as_many_as_the_lease_covers_are_taken_at_once(void **state)
{
    (void)state;
    static const struct {
        int64_t left, price;
        uint64_t n, want;
    } t[] = {
        { 1000, 10, 100, 100 },
        { 1000, 10, 101, 100 },
        { 999, 10, 100, 99 },
        { 9, 10, 1, 0 },
        { 0, 10, 5, 0 },
        { 0, 0, 5, 5 },
        { INT64_MAX, 1, 7, 7 },
        { 1000, INT64_C(1) << 62, 4, 0 },      /* 2^64: zero, if it wrapped */
        { INT64_MAX, INT64_C(1) << 62, 2, 1 }, /* 2^63: below zero, if signed */
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        kmy_lease_t a = lease_of(t[i].left);
        kmy_lease_t b = a;
        assert_int_equal(kmy_meter_take_up_to(&a, t[i].price, t[i].n), t[i].want);
        kmy_meter_take_ticks(&b, t[i].price, kmy_meter_affordable(&b, t[i].price, t[i].n));
        assert_memory_equal(&a, &b, sizeof a);
        kmy_lease_check(&a);
        assert_int_equal(kmy_meter_covers(&b, t[i].price), b.left_nusd >= t[i].price);
    }
}

static void take_too_many(void)
{
    kmy_lease_t lease = lease_of(1999);
    kmy_meter_take_ticks(&lease, 1000, 2);
}
static void take_so_many_that_the_sum_wraps(void)
{
    kmy_lease_t lease = lease_of(1000);
    kmy_meter_take_ticks(&lease, INT64_C(1) << 62, 4); /* 2^64: zero, if it wrapped */
}
static void take_at_a_negative_price(void)
{
    kmy_lease_t lease = lease_of(1000);
    kmy_meter_take_ticks(&lease, -1, 1);
}
static void take_up_to_some_at_a_negative_price(void)
{
    kmy_lease_t lease = lease_of(1000);
    kmy_meter_take_up_to(&lease, -1, 1);
}
static void untake_what_was_not_taken(void)
{
    kmy_lease_t lease = lease_of(1000);
    kmy_meter_untake_ticks(&lease, 0, 1);
}
static void check_a_lease_that_grew(void)
{
    kmy_lease_t lease = { .granted_nusd = 5, .left_nusd = 5, .spent_nusd = 1 };
    kmy_lease_check(&lease);
}
static void check_a_lease_that_wrapped(void)
{
    kmy_lease_t lease = { .granted_nusd = INT64_MIN, .left_nusd = INT64_MAX, .spent_nusd = 1 };
    kmy_lease_check(&lease);
}

static void our_own_bugs_stop_the_program(void **state)
{
    (void)state;
    assert_true(dies(take_too_many));
    assert_true(dies(take_so_many_that_the_sum_wraps));
    assert_true(dies(take_at_a_negative_price));
    assert_true(dies(take_up_to_some_at_a_negative_price));
    assert_true(dies(untake_what_was_not_taken));
    assert_true(dies(check_a_lease_that_grew));
    assert_true(dies(check_a_lease_that_wrapped));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(affordable_is_what_the_lease_covers),
        cmocka_unit_test(as_many_as_the_lease_covers_are_taken_at_once),
        cmocka_unit_test(a_query_is_all_or_nothing),
        cmocka_unit_test(whatever_is_taken_and_given_back_adds_up),
        cmocka_unit_test(our_own_bugs_stop_the_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
