/* The price list of the contract, section 4, in nano-USD. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pay/price.h"

enum { UUSD = 1000 };

static void discounts_multiply_exactly(void **state)
{
    static const struct {
        size_t count;
        uint32_t tier_percent;
        int64_t each; /* price of one */
        int64_t want;
    } rows[] = {
        /* n   tier  each        charge */
        { 1, 0, 100 * UUSD, 100 * UUSD },
        { 1, 10, 100 * UUSD, 90 * UUSD },
        { 1, 20, 100 * UUSD, 80 * UUSD },
        { 1, 30, 100 * UUSD, 70 * UUSD },
        { 9, 0, 100 * UUSD, 900 * UUSD }, /* nine delivered: no batch, whatever was asked for */
        { 10, 0, 100 * UUSD, 800 * UUSD },
        { 10, 10, 100 * UUSD, 720 * UUSD },
        { 10, 20, 100 * UUSD, 640 * UUSD },
        { 10, 30, 100 * UUSD, 560 * UUSD },
        { 100, 30, 100 * UUSD, 5600 * UUSD },
        { 100, 0, 200 * UUSD, 16000 * UUSD },
        { 10, 100, 100 * UUSD, 0 },
        { 0, 0, 100 * UUSD, 0 },
        { 10, 0, 0, 0 },
        { 1, 10, 1, 0 }, /* what does not divide is the customer's */
        { 10, 0, 1, 8 }, /* once for the charge, not once for each item */
        { 11, 0, 1, 8 },
        { 10, 30, 3, 16 }, /* 30 x 0.8 x 0.7 = 16.8 */
        { 4096, 0, KMY_PRICE_NUSD_MAX, 4096 * KMY_PRICE_NUSD_MAX / 5 * 4 },
        { 4096, 30, KMY_PRICE_NUSD_MAX, 4096 * KMY_PRICE_NUSD_MAX / 100 * 56 },
    };
    static int64_t prices[KMY_PRICE_ITEMS_MAX];
    kmy_price_book_t book = kmy_price_book_default();
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        for (size_t j = 0; j < rows[i].count; j++)
            prices[j] = rows[i].each;
        assert_int_equal(kmy_price_batch(&book, prices, rows[i].count, rows[i].tier_percent),
                         rows[i].want);
        if (rows[i].count == 1)
            assert_int_equal(kmy_price_discounted(rows[i].each, rows[i].tier_percent),
                             rows[i].want);
    }
}

static void each_item_of_a_batch_has_its_own_price(void **state)
{
    kmy_price_book_t book = kmy_price_book_default();
    int64_t prices[12];
    (void)state;
    for (int i = 0; i < 12; i++)
        prices[i] = i < 7 ? book.query_nusd : book.market_query_nusd;
    assert_int_equal(kmy_price_batch(&book, prices, 12, 0), (7 * 100 + 5 * 200) * UUSD / 10 * 8);
    assert_int_equal(kmy_price_batch(&book, prices, 9, 0), (7 * 100 + 2 * 200) * UUSD);
    book.batch_from = 0; /* no batch discount at all */
    assert_int_equal(kmy_price_batch(&book, prices, 12, 0), (7 * 100 + 5 * 200) * UUSD);
}

static void a_tick_is_a_micro_usd_and_tiers_take_their_part(void **state)
{
    kmy_price_book_t book = kmy_price_book_default();
    (void)state;
    assert_int_equal(kmy_price_discounted(book.tick_nusd, 0), 1000);
    assert_int_equal(kmy_price_discounted(book.tick_nusd, 10), 900);
    assert_int_equal(kmy_price_discounted(book.tick_nusd, 20), 800);
    assert_int_equal(kmy_price_discounted(book.tick_nusd, 30), 700);
    assert_int_equal(kmy_price_discounted(book.pass_nusd, 30), 7 * 1000 * UUSD);
}

/* M6: polling a price is never cheaper than streaming it, whatever the discounts of one customer. */
static void polling_is_not_a_cheaper_stream(void **state)
{
    kmy_price_book_t book = kmy_price_book_default();
    int64_t prices[100];
    (void)state;
    for (int i = 0; i < 100; i++)
        prices[i] = book.query_nusd;
    for (uint32_t tier = 0; tier <= 30; tier += 10)
        assert_true(kmy_price_batch(&book, prices, 100, tier) / 100 >=
                    kmy_price_discounted(book.tick_nusd, tier));
}

static void a_slip_of_the_pen_is_refused(void **state)
{
    static const struct {
        int64_t tick;
        uint32_t discount;
        kmy_err_t want;
    } rows[] = {
        { 0, 0, KMY_OK },
        { KMY_PRICE_NUSD_MAX, 100, KMY_OK },
        { KMY_PRICE_NUSD_MAX + 1, 0, KMY_CONFIG },
        { -1, 0, KMY_CONFIG },
        { 1, 101, KMY_CONFIG },
    };
    kmy_errctx_t ctx;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        kmy_price_book_t book = kmy_price_book_default();
        assert_int_equal(kmy_price_book_check(&book, &ctx), KMY_OK);
        book.tick_nusd = rows[i].tick;
        book.batch_discount_percent = rows[i].discount;
        assert_int_equal(kmy_price_book_check(&book, &ctx), rows[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(discounts_multiply_exactly),
        cmocka_unit_test(each_item_of_a_batch_has_its_own_price),
        cmocka_unit_test(a_tick_is_a_micro_usd_and_tiers_take_their_part),
        cmocka_unit_test(polling_is_not_a_cheaper_stream),
        cmocka_unit_test(a_slip_of_the_pen_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
