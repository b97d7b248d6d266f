/* Each change of prices is a version of its own, and what is counted at one can be recounted. */
#include "tests/ledger_rig.h"

#include "pay/ledger_book.h"
#include "pay/ledger_pass.h"
#include "pay/ledger_usage.h"

static uint32_t version_of(rig_t *r, kmy_price_book_t book)
{
    rig_begin(r);
    assert_int_equal(kmy_ledger_book(r->ledger, &book, NOW, &r->ctx), KMY_OK);
    rig_commit(r);
    return book.version;
}

static void a_version_for_each_change_and_none_without(void **state)
{
    rig_t r;
    kmy_price_book_t one = kmy_price_book_default();
    kmy_price_book_t two = one;
    kmy_price_book_t got;
    int64_t since_ns;
    (void)state;
    two.tick_nusd = 777;
    rig_make(&r, 1);
    rig_open(&r);
    assert_int_equal(kmy_ledger_book_get(r.ledger, 1, &got, NULL, &r.ctx), KMY_NOT_FOUND);
    assert_int_equal(version_of(&r, one), 1);
    assert_int_equal(version_of(&r, one), 1);
    assert_int_equal(version_of(&r, two), 2);
    rig_close(&r);
    rig_open(&r);
    assert_int_equal(version_of(&r, two), 2);
    assert_int_equal(version_of(&r, one), 3); /* back again: a change like any other */
    assert_int_equal(kmy_ledger_book_get(r.ledger, 2, &got, &since_ns, &r.ctx), KMY_OK);
    assert_int_equal(got.version, 2);
    assert_int_equal(got.tick_nusd, 777);
    assert_int_equal(got.query_nusd, one.query_nusd);
    assert_int_equal(got.pass_nusd, one.pass_nusd);
    assert_int_equal(got.market_query_nusd, one.market_query_nusd);
    assert_int_equal(got.batch_from, one.batch_from);
    assert_int_equal(got.batch_discount_percent, one.batch_discount_percent);
    assert_int_equal(since_ns, NOW);
    rig_assert_clean(&r);
    rig_remove(&r);
}

/* 10 ticks, spent as said, at a book of 1,000 nano-USD a tick. */
static kmy_ledger_audit_t audit_of_ten_ticks(kmy_mode_t mode, uint32_t version, uint32_t discount,
                                             int64_t nusd)
{
    rig_t r;
    int64_t granted;
    kmy_price_book_t book = kmy_price_book_default();
    book.tick_nusd = 1000;
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t a = rig_account(&r, "local:a", USD);
    version_of(&r, book);
    rig_begin(&r);
    kmy_use_t use = {
        .mode = mode, .price_book = version, .discount_percent = discount, .count = 10, .nusd = nusd
    };
    assert_int_equal(kmy_ledger_feed(r.ledger, "SOL/USD", &use.feed, &r.ctx), KMY_OK);
    kmy_ledger_report_t report = {
        .account_id = a, .consumed_nusd = nusd, .ticks_count = 10, .uses = &use, .uses_count = 1
    };
    assert_int_equal(kmy_ledger_lease(r.ledger, a, 0, 20000, NOW, &granted, NULL, &r.ctx), KMY_OK);
    assert_int_equal(kmy_ledger_settle(r.ledger, &report, NOW, NULL, &r.ctx), KMY_OK);
    rig_commit(&r);
    kmy_ledger_audit_t audit = rig_audit(&r);
    rig_remove(&r);
    return audit;
}

static void the_audit_counts_ticks_at_their_book(void **state)
{
    static const struct {
        kmy_mode_t mode;
        uint32_t version;
        uint32_t discount;
        int64_t nusd;
        const char *want; /* NULL: clean */
    } rows[] = {
        { KMY_MODE_STREAM, 1, 0, 10000, NULL },
        { KMY_MODE_STREAM, 1, 0, 9999, "by price book 1 it is 10000" },
        { KMY_MODE_STREAM, 1, 30, 7000, NULL },
        { KMY_MODE_STREAM, 1, 30, 10000, "by price book 1 it is 7000" },
        { KMY_MODE_STREAM, 0, 0, 9999, NULL }, /* it does not say */
        { KMY_MODE_STREAM, 2, 0, 10000, "names price book 2" },
        { KMY_MODE_PASS, 1, 0, 0, NULL },
        { KMY_MODE_PASS, 1, 0, 1, "by price book 1 it is 0" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        kmy_ledger_audit_t a =
            audit_of_ten_ticks(rows[i].mode, rows[i].version, rows[i].discount, rows[i].nusd);
        assert_int_equal(a.faults_count, rows[i].want ? 1 : 0);
        if (rows[i].want && !strstr(a.first_fault, rows[i].want))
            fail_msg("row %zu: %s", i, a.first_fault);
    }
}

static void a_pass_names_the_book_of_its_price(void **state)
{
    rig_t r;
    kmy_pass_sale_t sale;
    kmy_price_book_t book = kmy_price_book_default();
    (void)state;
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t a = rig_account(&r, "local:a", USD);
    kmy_pass_order_t o = { .account_id = a,
                           .key = "",
                           .count = 1,
                           .price_nusd = book.pass_nusd,
                           .price_book = version_of(&r, book),
                           .feeds = { "SOL/USD" } };
    rig_begin(&r);
    assert_int_equal(kmy_ledger_pass_buy(r.ledger, &o, NOW, &sale, NULL, &r.ctx), KMY_OK);
    rig_commit(&r);
    rig_assert_clean(&r);
    rig_begin(&r);
    o.price_nusd--;
    assert_int_equal(kmy_ledger_pass_buy(r.ledger, &o, NOW, &sale, NULL, &r.ctx), KMY_OK);
    rig_commit(&r);
    kmy_ledger_audit_t audit = rig_audit(&r);
    assert_int_equal(audit.faults_count, 1);
    assert_non_null(strstr(audit.first_fault, "by price book 1 it is"));
    rig_remove(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_version_for_each_change_and_none_without),
        cmocka_unit_test(the_audit_counts_ticks_at_their_book),
        cmocka_unit_test(a_pass_names_the_book_of_its_price),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
