/* engine/uses: what a report tells of a stream is what its subscriptions were charged for, at the price and the book of then. */
#include "engine/receipts.h"
#include "engine/subs.h"
#include "engine/uses.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

enum { OLD = 1000, NEW = 700, OLD_BOOK = 3, NEW_BOOK = 4 };

static struct {
    kmy_shard_t s;
    kmy_shard_account_t acc;
    kmy_conn_t conn[2];
    kmy_sub_t sub[3];
} x;

/* One account, two connections: subscriptions 0 and 1 (feeds 5 and 6) of the first, 2 (feed 5, by a pass) of the second. */
static int begin(void **state)
{
    (void)state;
    memset(&x, 0, sizeof x);
    x.s.accounts = &x.acc;
    x.s.conns = x.conn;
    x.s.conns_max = x.s.conns_high = 2;
    x.s.subs = x.sub;
    x.conn[0] = (kmy_conn_t){ .conns_next = 1, .subs_head = 0 };
    x.conn[1] = (kmy_conn_t){ .conns_next = KMY_NONE, .subs_head = 2 };
    x.sub[0] = (kmy_sub_t){ .price_nusd = OLD, .price_of = { OLD_BOOK, 0 }, .feed = 5, .next = 1 };
    x.sub[1] =
        (kmy_sub_t){ .price_nusd = OLD, .price_of = { OLD_BOOK, 0 }, .feed = 6, .next = KMY_NONE };
    x.sub[2] = (kmy_sub_t){
        .pass = true, .price_of = { OLD_BOOK, 0 }, .feed = 5, .conn = 1, .next = KMY_NONE
    };
    return 0;
}

static int end(void **state)
{
    (void)state;
    kmy_uses_free(&x.acc.uses);
    return 0;
}

static void assert_use(uint32_t at, uint32_t feed, kmy_mode_t mode, uint32_t book, uint64_t count,
                       int64_t nusd)
{
    const kmy_use_t *u = &x.acc.uses.of[at];
    assert_in_range(at, 0, x.acc.uses.count - 1);
    assert_int_equal(u->feed, kmy_use_feed(feed));
    assert_int_equal(u->mode, mode);
    assert_int_equal(u->price_book, book);
    assert_int_equal(u->count, count);
    assert_int_equal(u->nusd, nusd);
}

static void deliver(kmy_sub_t *sub, uint64_t n)
{
    kmy_receipts_note(sub, sub->cursor, n, sub->price_nusd * (int64_t)n);
    sub->cursor += n;
}

static void each_delivered_tick_is_taken_once(void **state)
{
    (void)state;
    deliver(&x.sub[1], 2);
    deliver(&x.sub[0], 10);
    deliver(&x.sub[2], 4);
    kmy_uses_take_all(&x.s, &x.acc);
    kmy_uses_take_all(&x.s, &x.acc);
    assert_int_equal(x.acc.uses.count, 3);
    assert_use(0, 5, KMY_MODE_STREAM, OLD_BOOK, 10, 10 * OLD);
    assert_use(1, 6, KMY_MODE_STREAM, OLD_BOOK, 2, 2 * OLD);
    assert_use(2, 5, KMY_MODE_PASS, OLD_BOOK, 4, 0);
    assert_int_equal(x.acc.uses.nusd, 12 * OLD);
    assert_int_equal(x.acc.uses.ticks_count, 16);
    deliver(&x.sub[0], 1);
    kmy_uses_take(&x.s, &x.sub[0]);
    assert_use(0, 5, KMY_MODE_STREAM, OLD_BOOK, 11, 11 * OLD);
}

/* 3 ticks at the old price were delivered, 2 more are on their way when the subscription goes over to the new one. */
static void ticks_keep_the_book_of_their_price(void **state)
{
    (void)state;
    kmy_sub_t *sub = &x.sub[0];
    deliver(sub, 3);
    x.s.price_book = NEW_BOOK;
    sub->next_price_of = (kmy_price_of_t){ NEW_BOOK, 30 };
    sub->next_price_nusd = NEW;
    sub->price_from = sub->cursor + 2;
    kmy_uses_take(&x.s, sub);
    kmy_sub_price(sub);
    kmy_receipts_note(sub, sub->cursor, 2, 2 * OLD);
    kmy_uses_run(&x.s, sub, 2, 2 * OLD);
    sub->cursor += 2;
    deliver(sub, 7);
    kmy_uses_take_all(&x.s, &x.acc);
    assert_int_equal(x.acc.uses.count, 2);
    assert_use(0, 5, KMY_MODE_STREAM, OLD_BOOK, 5, 5 * OLD);
    assert_use(1, 5, KMY_MODE_STREAM, NEW_BOOK, 7, 7 * NEW);
    assert_int_equal(x.acc.uses.of[0].discount_percent, 0);
    assert_int_equal(x.acc.uses.of[1].discount_percent, 30);
}

static void a_list_is_in_order_whatever_comes_first(void **state)
{
    (void)state;
    uint64_t count = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        uint32_t n = i * 7919 % 1000;
        kmy_use_t u = { .feed = n / 8, .mode = 1 + n % 4, .price_book = n / 4 % 2, .count = 1 + n };
        kmy_uses_add(&x.acc.uses, &u);
        kmy_uses_add(&x.acc.uses, &u);
        count += 2 * (1 + n);
    }
    assert_int_equal(x.acc.uses.count, 1000);
    assert_int_equal(x.acc.uses.ticks_count + x.acc.uses.queries_count, count);
    for (uint32_t i = 1; i < 1000; i++)
        assert_true(kmy_use_compare(&x.acc.uses.of[i - 1], &x.acc.uses.of[i]) < 0);
}

static void a_report_has_few_in_itself_and_owns_many(void **state)
{
    (void)state;
    for (uint32_t n = 0; n <= 2 * KMY_ASK_USES; n++) {
        kmy_ask_t a = { .kind = KMY_ASK_REPORT };
        for (uint32_t i = 0; i < n; i++)
            kmy_uses_add(&x.acc.uses,
                         &(kmy_use_t){ .feed = i, .mode = KMY_MODE_QUERY, .count = 1, .nusd = 5 });
        kmy_uses_report(&x.acc.uses, &a);
        assert_int_equal(a.uses_count, n);
        assert_int_equal(a.consumed_nusd, 5 * n);
        assert_int_equal(a.queries_count, n);
        assert_int_equal(a.uses_owned != NULL, n > KMY_ASK_USES);
        assert_int_equal(x.acc.uses.count, 0);
        assert_int_equal(x.acc.uses.nusd, 0);
        kmy_uses_undo(&x.acc.uses, &a);
        assert_int_equal(x.acc.uses.count, n);
        assert_int_equal(x.acc.uses.nusd, 5 * n);
        kmy_uses_free(&x.acc.uses);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_delivered_tick_is_taken_once, begin, end),
        cmocka_unit_test_setup_teardown(ticks_keep_the_book_of_their_price, begin, end),
        cmocka_unit_test_setup_teardown(a_list_is_in_order_whatever_comes_first, begin, end),
        cmocka_unit_test_setup_teardown(a_report_has_few_in_itself_and_owns_many, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
