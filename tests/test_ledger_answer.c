/* A query that was paid by header: held, answered once, repeated for a day; and what a chain takes back becomes a debt. */
#include "tests/ledger_payment_rig.h"

#define PRICE (1000 * 1000) /* of pay_query, all of what it pays */
#define DAY   (INT64_C(24) * 3600 * 1000000000)

static void open_ledger(rig_t *r)
{
    rig_make(r, 1);
    rig_open(r);
}

/* Payment n of payer p is settled by transaction n; a batch of its own. */
static kmy_account_t settled(rig_t *r, kmy_payment_row_t row, unsigned n)
{
    kmy_account_t acc;
    rig_begin(r);
    assert_int_equal(pay_reserve(r, row, NULL), KMY_OK);
    assert_int_equal(pay_settle(r, n, n, 0, &acc), KMY_OK);
    rig_commit(r);
    rig_assert_clean(r);
    return acc;
}

static void assert_account(rig_t *r, uint64_t id, int64_t balance, int64_t leased, int64_t consumed,
                           int64_t debt)
{
    kmy_account_t a;
    assert_int_equal(kmy_ledger_account_by_id(r->ledger, id, &a, &r->ctx), KMY_OK);
    if (a.balance_nusd != balance || a.leased_nusd != leased || a.consumed_nusd != consumed ||
        a.debt_nusd != debt)
        fail_msg("balance %lld, leased %lld, consumed %lld, debt %lld", (long long)a.balance_nusd,
                 (long long)a.leased_nusd, (long long)a.consumed_nusd, (long long)a.debt_nusd);
    rig_assert_clean(r);
}

static void the_price_is_held_and_the_answer_is_charged_once(void **state)
{
    (void)state;
    rig_t r;
    const char *kept;
    kmy_account_t acc;
    open_ledger(&r);
    uint64_t id = settled(&r, pay_query(1, 1), 1).id;
    assert_account(&r, id, 0, PRICE, 0, 0);
    rig_begin(&r); /* nobody else can spend it meanwhile */
    int64_t granted;
    assert_int_equal(kmy_ledger_lease(r.ledger, id, 0, PRICE, NOW, &granted, NULL, &r.ctx), KMY_OK);
    assert_int_equal(granted, 0);
    assert_int_equal(pay_answer(&r, 1, "187.1234", NOW, &kept, &acc), KMY_OK);
    assert_int_equal(acc.queries_count, 1);
    rig_commit(&r);
    assert_account(&r, id, 0, 0, PRICE, 0);
    for (int life = 0; life < 2; life++) {
        rig_begin(&r);
        assert_int_equal(pay_answer(&r, 1, "another", NOW + DAY, &kept, &acc), KMY_DUPLICATE);
        assert_string_equal(kept, "187.1234"); /* the same bytes */
        assert_int_equal(acc.consumed_nusd, PRICE);
        assert_int_equal(pay_answer(&r, 1, "another", NOW + DAY + 1, &kept, NULL), KMY_DUPLICATE);
        assert_null(kept);
        rig_commit(&r);
        pay_crash(&r);
    }
    assert_true(pay_get(&r, 1).answered && !pay_get(&r, 1).released);
    assert_account(&r, id, 0, 0, PRICE, 0);
    rig_remove(&r);
}

static void an_answer_that_is_less_than_was_paid_for_costs_less_and_the_rest_is_free(void **state)
{
    (void)state;
    rig_t r;
    const char *kept;
    kmy_account_t acc;
    open_ledger(&r);
    static const int64_t charged[] = { 1, PRICE / 3, PRICE - 1, PRICE };
    int64_t spent = 0;
    for (unsigned n = 1; n <= 4; n++) {
        uint64_t id = settled(&r, pay_query(n, 1), n).id;
        bool restart = n == 2; /* a restart gives the hold back: it is taken from the balance */
        if (restart)
            pay_crash(&r);
        rig_begin(&r);
        assert_int_equal(pay_answer_for(&r, n, "some", charged[n - 1], NOW, &kept, &acc), KMY_OK);
        rig_commit(&r);
        spent += charged[n - 1];
        assert_account(&r, id, n * PRICE - spent, 0, spent, 0);
        rig_begin(&r);
        assert_int_equal(pay_answer_for(&r, n, "more", PRICE, NOW, &kept, NULL), KMY_DUPLICATE);
        assert_string_equal(kept, "some");
        rig_commit(&r);
        pay_crash(&r);
        assert_account(&r, id, n * PRICE - spent, 0, spent, 0);
    }
    rig_remove(&r);
}

static void what_cannot_be_answered_goes_back_and_stays_back(void **state)
{
    (void)state;
    rig_t r;
    const char *kept;
    open_ledger(&r);
    uint64_t id = settled(&r, pay_query(1, 1), 1).id;
    for (int i = 0; i < 3; i++) {
        rig_begin(&r);
        assert_int_equal(pay_answer(&r, 1, NULL, NOW, &kept, NULL), i ? KMY_DUPLICATE : KMY_OK);
        assert_int_equal(pay_answer(&r, 1, "too late", NOW, &kept, NULL), KMY_DUPLICATE);
        assert_null(kept);
        rig_commit(&r);
        assert_account(&r, id, PRICE, 0, 0, 0);
        pay_crash(&r);
    }
    assert_true(pay_get(&r, 1).answered && pay_get(&r, 1).released);
    rig_remove(&r);
}

static void a_crash_gives_the_hold_back_and_the_query_is_answered_from_the_balance(void **state)
{
    (void)state;
    rig_t r;
    const char *kept;
    int64_t granted;
    open_ledger(&r);
    uint64_t a = settled(&r, pay_query(1, 1), 1).id;
    uint64_t b = settled(&r, pay_query(2, 2), 2).id;
    settled(&r, pay_query(3, 2), 3);
    rig_close(&r);
    rig_open(&r);
    assert_int_equal(r.recovery.leases_count, 0); /* no shard's */
    assert_int_equal(r.recovery.holds_count, 2);
    assert_int_equal(r.recovery.holds_nusd, 3 * PRICE);
    assert_account(&r, a, PRICE, 0, 0, 0);
    assert_account(&r, b, 2 * PRICE, 0, 0, 0);
    rig_begin(&r);
    assert_int_equal(kmy_ledger_lease(r.ledger, b, 0, PRICE, NOW, &granted, NULL, &r.ctx), KMY_OK);
    assert_int_equal(pay_answer(&r, 1, "one", NOW, &kept, NULL), KMY_OK);
    assert_int_equal(pay_answer(&r, 2, "two", NOW, &kept, NULL), KMY_OK);
    assert_int_equal(pay_answer(&r, 3, "three", NOW, &kept, NULL), KMY_NO_BALANCE);
    rig_commit(&r);
    assert_account(&r, a, 0, 0, PRICE, 0);
    assert_account(&r, b, 0, PRICE, PRICE, 0);
    assert_false(pay_get(&r, 3).answered); /* paid again, it could be */
    rig_remove(&r);
}

/* Until NOW + until: how many are given back in one round, in at most `calls` looks. */
static unsigned expire(rig_t *r, int64_t until, unsigned calls)
{
    kmy_payment_row_t row;
    kmy_account_t acc;
    kmy_err_t err = KMY_OK;
    unsigned n = 0;
    for (unsigned i = 0; i < calls && err == KMY_OK; i++) {
        rig_begin(r);
        err = kmy_ledger_hold_expire(r->ledger, NOW + until, NOW + 1000, &row, &acc, &r->ctx);
        rig_commit(r);
        if (err != KMY_OK || !row.id[0])
            continue;
        n++;
        assert_true(row.answered && row.released && row.state == KMY_PAYMENT_SETTLED);
        assert_string_equal(acc.name, row.account);
    }
    assert_int_equal(err, KMY_NOT_FOUND);
    rig_assert_clean(r);
    return n;
}

static void a_hold_that_nobody_comes_for_is_given_back_once_when_its_time_is_over(void **state)
{
    (void)state;
    enum { OLD = 5, ALL = 200 }; /* more than one look */
    rig_t r;
    const char *kept;
    uint64_t ids[ALL + 1];
    open_ledger(&r);
    assert_int_equal(expire(&r, 1000, 1), 0);
    rig_begin(&r);
    for (unsigned n = 1; n <= ALL; n++) { /* the old ones are the last in the table */
        kmy_account_t acc;
        char id[KMY_PAYMENT_ID_HEX + 1];
        pay_id(id, n);
        assert_int_equal(pay_reserve(&r, pay_query(n, n), NULL), KMY_OK);
        assert_int_equal(kmy_ledger_payment_settle(r.ledger, id, pay_tx(n), 0,
                                                   NOW + (n > ALL - OLD ? 100 : 101), NULL, &acc,
                                                   &r.ctx),
                         KMY_OK);
        ids[n] = acc.id;
    }
    assert_int_equal(pay_answer(&r, ALL, "in time", NOW + 100, &kept, NULL), KMY_OK);
    rig_commit(&r);
    assert_int_equal(expire(&r, 99, ALL), 0);
    assert_int_equal(expire(&r, 100, 4 + OLD), OLD - 1);
    assert_int_equal(expire(&r, 100, ALL), 0);
    for (unsigned n = 1; n <= ALL; n++) {
        bool old = n > ALL - OLD && n < ALL;
        assert_int_equal(pay_get(&r, n).released, old);
        kmy_account_t a;
        assert_int_equal(kmy_ledger_account_by_id(r.ledger, ids[n], &a, &r.ctx), KMY_OK);
        assert_int_equal(a.balance_nusd, old ? PRICE : 0);
    }
    rig_begin(&r);
    assert_int_equal(pay_answer(&r, ALL - 1, "too late", NOW + 200, &kept, NULL), KMY_DUPLICATE);
    assert_null(kept);
    assert_int_equal(pay_answer(&r, 1, "not too late", NOW + 200, &kept, NULL), KMY_OK);
    rig_commit(&r);
    assert_int_equal(expire(&r, 101, 2 * ALL), ALL - OLD - 1);
    assert_int_equal(expire(&r, 1000, 1), 0);
    rig_remove(&r);
}

static void only_a_settled_query_is_answered(void **state)
{
    (void)state;
    rig_t r;
    const char *kept;
    open_ledger(&r);
    settled(&r, pay_row(1, 1), 1);
    rig_begin(&r);
    assert_int_equal(pay_reserve(&r, pay_query(2, 2), NULL), KMY_OK);
    assert_int_equal(pay_answer(&r, 1, "x", NOW, &kept, NULL), KMY_CONFLICT); /* a deposit */
    assert_int_equal(pay_answer(&r, 2, "x", NOW, &kept, NULL), KMY_CONFLICT); /* a promise */
    assert_int_equal(pay_answer(&r, 3, "x", NOW, &kept, NULL), KMY_NOT_FOUND);
    rig_commit(&r);
    rig_assert_clean(&r);
    rig_remove(&r);
}

static void kept_answers_are_given_up_a_few_at_a_time(void **state)
{
    (void)state;
    rig_t r;
    const char *kept;
    char id[KMY_PAYMENT_ID_HEX + 1];
    const void *bytes;
    size_t len;
    static char body[40000];
    memset(body, 'b', sizeof body - 1);
    open_ledger(&r);
    for (unsigned n = 0; n < 60; n++) { /* half of them two days later */
        int64_t now = n < 30 ? NOW : NOW + 2 * DAY;
        settled(&r, pay_query(n, n), n);
        rig_begin(&r);
        assert_int_equal(pay_answer(&r, n, body, now, &kept, NULL), KMY_OK);
        rig_commit(&r);
    }
    rig_begin(&r);
    for (unsigned n = 0; n < 60; n++) {
        pay_id(id, n); /* asked in the past, so that expiry does not hide what is still there */
        kmy_err_t err = kmy_ledger_payment_kept(r.ledger, id, NOW, &bytes, &len, &r.ctx);
        assert_int_equal(err, n < 30 ? KMY_NOT_FOUND : KMY_OK);
    }
    assert_int_equal(len, sizeof body);
    rig_commit(&r);
    rig_assert_clean(&r);
    rig_remove(&r);
}

/* --- taken back ----------------------------------------------------------------------------------- */

static void lease(rig_t *r, uint64_t id, uint32_t shard, int64_t want, int64_t expect)
{
    int64_t granted;
    rig_begin(r);
    assert_int_equal(kmy_ledger_lease(r->ledger, id, shard, want, NOW, &granted, NULL, &r->ctx),
                     KMY_OK);
    assert_int_equal(granted, expect);
    rig_commit(r);
}

static void report(rig_t *r, uint64_t id, uint32_t shard, int64_t consumed, int64_t returned)
{
    kmy_ledger_report_t report = {
        .account_id = id, .shard = shard, .consumed_nusd = consumed, .returned_nusd = returned
    };
    rig_begin(r);
    assert_int_equal(kmy_ledger_settle(r->ledger, &report, NOW, NULL, &r->ctx), KMY_OK);
    rig_commit(r);
}

static void what_was_not_spent_is_simply_gone(void **state)
{
    (void)state;
    rig_t r;
    open_ledger(&r);
    uint64_t id = settled(&r, pay_row(1, 1), 1).id;
    settled(&r, pay_row(2, 1), 2);
    for (int i = 0; i < 2; i++) {
        kmy_account_t acc;
        rig_begin(&r);
        assert_int_equal(pay_reverse(&r, 1, &acc), i ? KMY_DUPLICATE : KMY_OK);
        assert_int_equal(acc.credited_nusd, USD);
        rig_commit(&r);
        assert_account(&r, id, USD, 0, 0, 0);
        pay_crash(&r);
    }
    assert_int_equal(pay_get(&r, 1).state, KMY_PAYMENT_REVERSED);
    rig_remove(&r);
}

static void what_was_spent_is_owed_and_whatever_comes_in_pays_it_first(void **state)
{
    (void)state;
    rig_t r;
    open_ledger(&r);
    uint64_t id = settled(&r, pay_row(1, 1), 1).id;
    lease(&r, id, 0, USD * 8 / 10, USD * 8 / 10);
    report(&r, id, 0, USD / 2, 0); /* spent 0.5, 0.3 are at the shard, 0.2 are free */
    rig_begin(&r);
    assert_int_equal(pay_reverse(&r, 1, NULL), KMY_OK);
    rig_commit(&r);
    assert_account(&r, id, 0, USD * 3 / 10, USD / 2, USD * 8 / 10);
    lease(&r, id, 1, 1, 0); /* an account in debt gets nothing */
    report(&r, id, 0, USD / 10, USD / 10);
    assert_account(&r, id, 0, USD / 10, USD * 6 / 10, USD * 7 / 10); /* what came back paid */
    pay_crash(&r);
    assert_account(&r, id, 0, 0, USD * 6 / 10, USD * 6 / 10); /* recovery as well */
    rig_begin(&r);
    assert_int_equal(kmy_ledger_credit(r.ledger, id, "grant", "g", USD / 10, NOW, NULL, &r.ctx),
                     KMY_OK);
    rig_commit(&r);
    assert_account(&r, id, 0, 0, USD * 6 / 10, USD / 2);
    const char *kept;
    settled(&r, pay_query(2, 1), 2); /* all of it goes into the debt: nothing is held */
    rig_begin(&r);
    assert_int_equal(pay_answer(&r, 2, "x", NOW, &kept, NULL), KMY_NO_BALANCE);
    rig_commit(&r);
    assert_account(&r, id, 0, 0, USD * 6 / 10, USD / 2 - PRICE);
    settled(&r, pay_row(3, 1), 3);
    assert_account(&r, id, USD / 2 + PRICE, 0, USD * 6 / 10, 0);
    rig_begin(&r);
    assert_int_equal(pay_answer(&r, 2, "x", NOW, &kept, NULL), KMY_OK);
    rig_commit(&r);
    assert_account(&r, id, USD / 2, 0, USD * 6 / 10 + PRICE, 0);
    rig_remove(&r);
}

static void a_query_that_waits_for_its_answer_is_not_answered_once_it_is_taken_back(void **state)
{
    (void)state;
    rig_t r;
    const char *kept;
    open_ledger(&r);
    uint64_t id = settled(&r, pay_query(1, 1), 1).id;
    rig_begin(&r);
    assert_int_equal(pay_reverse(&r, 1, NULL), KMY_OK);
    assert_int_equal(pay_answer(&r, 1, "x", NOW, &kept, NULL), KMY_NO_BALANCE);
    rig_commit(&r);
    assert_account(&r, id, 0, 0, 0, 0);
    rig_remove(&r);
}

static void what_is_mined_once_more_is_credited_once_more(void **state)
{
    (void)state;
    rig_t r;
    kmy_account_t acc;
    open_ledger(&r);
    uint64_t id = settled(&r, pay_query(1, 1), 1).id;
    for (unsigned again = 1; again < 4; again++) {
        rig_begin(&r);
        assert_int_equal(pay_reverse(&r, 1, NULL), KMY_OK);
        rig_commit(&r);
        assert_account(&r, id, 0, 0, 0, 0);
        rig_begin(&r);
        assert_int_equal(pay_settle(&r, 1, 1, again, &acc), KMY_OK);
        assert_int_equal(pay_settle(&r, 1, 1, again, &acc), KMY_DUPLICATE);
        rig_commit(&r);
        assert_account(&r, id, 0, PRICE, 0, 0);
    }
    kmy_ledger_audit_t audit = rig_audit(&r);
    assert_int_equal(audit.paid_nusd, PRICE);
    assert_int_equal(audit.payments_count, 1);
    rig_begin(&r);
    assert_int_equal(pay_reserve(&r, pay_row(2, 2), NULL), KMY_OK);
    assert_int_equal(pay_reverse(&r, 2, NULL), KMY_CONFLICT); /* nothing was given */
    rig_commit(&r);
    rig_remove(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_price_is_held_and_the_answer_is_charged_once),
        cmocka_unit_test(an_answer_that_is_less_than_was_paid_for_costs_less_and_the_rest_is_free),
        cmocka_unit_test(what_cannot_be_answered_goes_back_and_stays_back),
        cmocka_unit_test(a_crash_gives_the_hold_back_and_the_query_is_answered_from_the_balance),
        cmocka_unit_test(a_hold_that_nobody_comes_for_is_given_back_once_when_its_time_is_over),
        cmocka_unit_test(only_a_settled_query_is_answered),
        cmocka_unit_test(kept_answers_are_given_up_a_few_at_a_time),
        cmocka_unit_test(what_was_not_spent_is_simply_gone),
        cmocka_unit_test(what_was_spent_is_owed_and_whatever_comes_in_pays_it_first),
        cmocka_unit_test(a_query_that_waits_for_its_answer_is_not_answered_once_it_is_taken_back),
        cmocka_unit_test(what_is_mined_once_more_is_credited_once_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
