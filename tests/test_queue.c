/* The queue between shard and keeper: nothing is dropped, nothing is invented. */
#include "base/limits.h"
#include "ringbuf/queue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

static kmy_queue_t *new_queue(size_t slots, size_t item_bytes)
{
    const size_t bytes = kmy_queue_bytes(slots, item_bytes);
    void *mem = aligned_alloc(64, (bytes + 63) / 64 * 64);
    assert_non_null(mem);
    memset(mem, 0xa5, bytes); /* init must not count on zeroes */
    return kmy_queue_init(mem, slots, item_bytes);
}

static void sizes_out_of_range_need_no_memory(void **state)
{
    static const struct {
        size_t slots, item_bytes;
        int valid;
    } row[] = {
        { 2, 8, 1 },        { 1024, 64, 1 },
        { 2, 4096, 1 },     { KMY_QUEUE_SLOTS_MAX, 8, 1 },
        { 0, 8, 0 },        { 1, 8, 0 },
        { 3, 8, 0 },        { (size_t)KMY_QUEUE_SLOTS_MAX * 2, 8, 0 },
        { 2, 0, 0 },        { 2, 4, 0 },
        { 2, 12, 0 },       { 2, 4104, 0 },
        { SIZE_MAX, 8, 0 }, { 2, SIZE_MAX, 0 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        const size_t bytes = kmy_queue_bytes(row[i].slots, row[i].item_bytes);
        if (row[i].valid)
            assert_true(bytes >= row[i].slots * row[i].item_bytes);
        else
            assert_int_equal(bytes, 0);
    }
}

static void an_empty_queue_leaves_the_item_alone(void **state)
{
    kmy_queue_t *q = new_queue(2, 8);
    uint64_t item = 42;
    (void)state;
    assert_false(kmy_queue_pop(q, &item));
    assert_int_equal(item, 42);
    assert_int_equal(kmy_queue_count(q), 0);
    free(q);
}

static void a_full_queue_takes_nothing_until_one_is_popped(void **state)
{
    kmy_queue_t *q = new_queue(4, 8);
    uint64_t item;
    (void)state;
    for (uint64_t i = 1; i <= 4; i++)
        assert_true(kmy_queue_push(q, &i));
    for (uint64_t round = 5; round < 40; round++) {
        assert_int_equal(kmy_queue_count(q), 4);
        assert_false(kmy_queue_push(q, &round));
        assert_true(kmy_queue_pop(q, &item));
        assert_int_equal(item, round - 4);
        assert_int_equal(kmy_queue_count(q), 3);
        assert_true(kmy_queue_push(q, &round));
    }
    free(q);
}

static void items_are_copied_whole(void **state)
{
    static const size_t sizes[] = { 8, 24, 64, 136, 4096 };
    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        kmy_queue_t *q = new_queue(2, sizes[s]);
        unsigned char in[4096], out[4097];
        for (int round = 0; round < 5; round++) {
            memset(in, 'a' + round, sizes[s]);
            out[sizes[s]] = 0x5a;
            assert_true(kmy_queue_push(q, in));
            memset(in, 0, sizes[s]); /* the queue has its own */
            assert_true(kmy_queue_pop(q, out));
            assert_int_equal(out[0], 'a' + round);
            assert_int_equal(out[sizes[s] - 1], 'a' + round);
            assert_int_equal(out[sizes[s]], 0x5a);
        }
        free(q);
    }
}

enum { ITEMS = 200000 };

typedef struct item {
    uint64_t number, square, number_again;
} item_t;

static void *produce(void *arg)
{
    for (uint64_t i = 1; i <= ITEMS; i++) {
        const item_t item = { i, i * i, i };
        while (!kmy_queue_push(arg, &item))
            sched_yield();
    }
    return NULL;
}

static void two_threads_pass_every_item_once_and_in_order(void **state)
{
    kmy_queue_t *q = new_queue(16, sizeof(item_t));
    pthread_t producer;
    (void)state;
    assert_int_equal(pthread_create(&producer, NULL, produce, q), 0);
    for (uint64_t i = 1; i <= ITEMS; i++) {
        item_t item;
        while (!kmy_queue_pop(q, &item))
            sched_yield();
        assert_int_equal(item.number, i);
        assert_int_equal(item.square, i * i);
        assert_int_equal(item.number_again, i);
        assert_true(kmy_queue_count(q) <= 16);
    }
    pthread_join(producer, NULL);
    assert_int_equal(kmy_queue_count(q), 0);
    free(q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_out_of_range_need_no_memory),
        cmocka_unit_test(an_empty_queue_leaves_the_item_alone),
        cmocka_unit_test(a_full_queue_takes_nothing_until_one_is_popped),
        cmocka_unit_test(items_are_copied_whole),
        cmocka_unit_test(two_threads_pass_every_item_once_and_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
