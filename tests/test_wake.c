/* base/wake: a producer rouses a sleeping consumer, and pays nothing while it is awake. */
#include "base/wake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <pthread.h>

static bool is_readable(const kmy_wake_t *w)
{
    struct pollfd p = { w->fd, POLLIN, 0 };
    return poll(&p, 1, 0) == 1;
}

static void drain(kmy_wake_t *w)
{
    uint64_t n;
    assert_int_equal(read(w->fd, &n, sizeof n), sizeof n);
}

static void nobody_sleeps_so_nothing_is_written(void **state)
{
    (void)state;
    kmy_wake_t w;
    assert_true(kmy_wake_init(&w));
    kmy_wake_signal(&w);
    assert_false(is_readable(&w));
    kmy_wake_arm(&w);
    kmy_wake_disarm(&w);
    kmy_wake_signal(&w);
    assert_false(is_readable(&w));
    kmy_wake_fini(&w);
    assert_int_equal(w.fd, -1);
}

static void a_sleeper_is_roused_once_however_many_signal(void **state)
{
    (void)state;
    kmy_wake_t w;
    assert_true(kmy_wake_init(&w));
    kmy_wake_arm(&w);
    kmy_wake_signal(&w);
    kmy_wake_signal(&w);
    assert_true(is_readable(&w));
    uint64_t n;
    assert_int_equal(read(w.fd, &n, sizeof n), sizeof n);
    assert_int_equal(n, 1);
    kmy_wake_arm(&w); /* and again */
    kmy_wake_signal(&w);
    assert_true(is_readable(&w));
    drain(&w);
    kmy_wake_fini(&w);
}

static void a_second_fini_closes_nothing(void **state)
{
    (void)state;
    kmy_wake_t w;
    assert_true(kmy_wake_init(&w));
    kmy_wake_fini(&w);
    kmy_wake_fini(&w);
}

/* --- no wake-up is lost ------------------------------------------------------------------------ */

enum { ITEMS = 30000, PATIENCE_MS = 20000 };

typedef struct box {
    kmy_wake_t wake;
    _Alignas(64) _Atomic uint64_t published;
    _Atomic uint64_t consumed;
} box_t;

static void *produce(void *arg)
{
    box_t *b = arg;
    for (uint64_t i = 1; i <= ITEMS; i++) {
        atomic_store_explicit(&b->published, i, memory_order_release);
        kmy_wake_signal(&b->wake);
        while (i % 4 == 0 && /* lets the consumer fall asleep, again and again */
               atomic_load_explicit(&b->consumed, memory_order_acquire) < i)
            ;
    }
    return NULL;
}

static void a_consumer_that_looks_once_more_before_it_sleeps_misses_nothing(void **state)
{
    (void)state;
    static box_t b;
    assert_true(kmy_wake_init(&b.wake));
    pthread_t producer;
    assert_int_equal(pthread_create(&producer, NULL, produce, &b), 0);
    uint64_t seen = 0, slept = 0;
    while (seen < ITEMS) {
        kmy_wake_arm(&b.wake);
        if (atomic_load_explicit(&b.published, memory_order_acquire) == seen) {
            struct pollfd p = { b.wake.fd, POLLIN, 0 };
            if (poll(&p, 1, PATIENCE_MS) != 1)
                fail_msg("slept through item %llu", (unsigned long long)seen + 1);
            slept++;
        }
        kmy_wake_disarm(&b.wake);
        uint64_t n;
        ssize_t got = read(b.wake.fd, &n, sizeof n);
        (void)got;
        seen = atomic_load_explicit(&b.published, memory_order_acquire);
        atomic_store_explicit(&b.consumed, seen, memory_order_release);
    }
    pthread_join(producer, NULL);
    assert_true(slept > 0);
    kmy_wake_fini(&b.wake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_sleeps_so_nothing_is_written),
        cmocka_unit_test(a_sleeper_is_roused_once_however_many_signal),
        cmocka_unit_test(a_second_fini_closes_nothing),
        cmocka_unit_test(a_consumer_that_looks_once_more_before_it_sleeps_misses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
