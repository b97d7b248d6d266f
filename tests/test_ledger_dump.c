/* The dump is the whole of the journal, in order and in words; and what is no ledger, or damaged, is said. */
#include "tests/ledger_rig.h"

#include "pay/ledger_book.h"
#include "pay/ledger_dump.h"
#include "pay/ledger_pass.h"
#include "pay/ledger_usage.h"

typedef struct seen {
    char text[1024];
    size_t len;
} seen_t;

static void see_book(void *arg, const kmy_price_book_t *b, int64_t since_ns)
{
    seen_t *s = arg;
    s->len += (size_t)snprintf(s->text + s->len, sizeof s->text - s->len, "book %u %lld %d;",
                               b->version, (long long)b->tick_nusd, since_ns == NOW);
}

static void see_entry(void *arg, uint64_t id, const kmy_entry_t *e, const char *account,
                      const char *feed)
{
    seen_t *s = arg;
    s->len += (size_t)snprintf(
        s->text + s->len, sizeof s->text - s->len, "%llu %s %s %s %s %u %lld;",
        (unsigned long long)id, kmy_entry_kind_name(e->kind), account, feed,
        kmy_mode_name((kmy_mode_t)e->mode), e->price_book, (long long)e->amount_nusd);
}

static void books_come_first_and_then_each_entry_in_words(void **state)
{
    rig_t r;
    kmy_price_book_t book = kmy_price_book_default();
    kmy_pass_sale_t sale;
    int64_t granted;
    seen_t s = { .len = 0 };
    (void)state;
    book.tick_nusd = 7;
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t a = rig_account(&r, "local:a", USD);
    rig_begin(&r);
    assert_int_equal(kmy_ledger_book(r.ledger, &book, NOW, &r.ctx), KMY_OK);
    kmy_use_t use = { .mode = KMY_MODE_STREAM, .price_book = 1, .count = 2, .nusd = 14 };
    assert_int_equal(kmy_ledger_feed(r.ledger, "SOL/USD", &use.feed, &r.ctx), KMY_OK);
    kmy_ledger_report_t report = { .account_id = a,
                                   .consumed_nusd = 14,
                                   .returned_nusd = 6,
                                   .ticks_count = 2,
                                   .uses = &use,
                                   .uses_count = 1 };
    kmy_pass_order_t o = { .account_id = a,
                           .key = "",
                           .count = 1,
                           .price_nusd = book.pass_nusd,
                           .price_book = 1,
                           .feeds = { "BTC/USD" } };
    assert_int_equal(kmy_ledger_lease(r.ledger, a, 0, 20, NOW, &granted, NULL, &r.ctx), KMY_OK);
    assert_int_equal(kmy_ledger_settle(r.ledger, &report, NOW, NULL, &r.ctx), KMY_OK);
    assert_int_equal(kmy_ledger_pass_buy(r.ledger, &o, NOW, &sale, NULL, &r.ctx), KMY_OK);
    rig_commit(&r);
    rig_close(&r);
    const kmy_ledger_dump_t to = { &s, see_book, see_entry };
    assert_int_equal(kmy_ledger_dump_path(r.path, &to, &r.ctx), KMY_OK);
    assert_string_equal(s.text, "book 1 7 1;"
                                "1 credit local:a  other 0 1000000000;"
                                "2 lease local:a  other 0 20;"
                                "3 consume local:a SOL/USD stream 1 14;"
                                "4 return local:a  other 0 6;"
                                "5 pass local:a BTC/USD pass 1 10000000;");
    rig_remove(&r);
}

static void what_is_no_ledger_is_said(void **state)
{
    rig_t r;
    const kmy_ledger_dump_t to = { NULL, see_book, see_entry };
    (void)state;
    rig_make(&r, 1);
    assert_int_not_equal(kmy_ledger_dump_path(r.path, &to, &r.ctx), KMY_OK);
    rig_open(&r);
    rig_close(&r);
    assert_int_equal(kmy_ledger_dump_path(r.path, &to, &r.ctx),
                     KMY_OK); /* and an empty one is one */
    rig_remove(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(books_come_first_and_then_each_entry_in_words),
        cmocka_unit_test(what_is_no_ledger_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
