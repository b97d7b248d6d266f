/* What a payer has of a deposit before its chain confirms it: never more than the cap, once for a payment, and gone with it. */
#include "tests/ledger_payment_rig.h"

#include "pay/ledger_payment_record.h"

#define CAP (USD / 4) /* a payment of pay_row is a dollar */

static void open_ledger(rig_t *r)
{
    rig_make(r, 1);
    rig_open(r);
}

static kmy_err_t advance(rig_t *r, unsigned n, int64_t cap, kmy_account_t *acc)
{
    char id[KMY_PAYMENT_ID_HEX + 1];
    pay_id(id, n);
    return kmy_ledger_payment_advance(r->ledger, id, cap, NOW, NULL, acc, &r->ctx);
}

/* Payment n is submitted and, as the cashier does it, advanced in the same transaction. */
static kmy_account_t submitted(rig_t *r, kmy_payment_row_t row, int64_t cap, kmy_err_t want)
{
    kmy_account_t acc = { 0 };
    unsigned n = row.nonce[31];
    rig_begin(r);
    assert_int_equal(pay_reserve(r, row, NULL), KMY_OK);
    assert_int_equal(pay_state(r, n, KMY_PAYMENT_SUBMITTED), KMY_OK);
    assert_int_equal(advance(r, n, cap, &acc), want);
    rig_commit(r);
    rig_assert_clean(r);
    return acc;
}

static void in_state(rig_t *r, unsigned n, kmy_payment_state_t to)
{
    rig_begin(r);
    assert_int_equal(pay_state(r, n, to), KMY_OK);
    rig_commit(r);
    rig_assert_clean(r);
}

static void settled(rig_t *r, unsigned n)
{
    rig_begin(r);
    assert_int_equal(pay_settle(r, n, n, 0, NULL), KMY_OK);
    rig_commit(r);
    rig_assert_clean(r);
}

/* Of what is free, so much is leased, and so much of that consumed. */
static void use(rig_t *r, uint64_t id, int64_t leased, int64_t consumed)
{
    int64_t granted = 0;
    kmy_ledger_report_t report = { .account_id = id,
                                   .consumed_nusd = consumed,
                                   .ticks_count = consumed > 0 };
    rig_begin(r);
    if (leased > 0)
        assert_int_equal(kmy_ledger_lease(r->ledger, id, 0, leased, NOW, &granted, NULL, &r->ctx),
                         KMY_OK);
    assert_int_equal(granted, leased);
    assert_int_equal(kmy_ledger_settle(r->ledger, &report, NOW, NULL, &r->ctx), KMY_OK);
    rig_commit(r);
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

static int64_t advanced(rig_t *r)
{
    return rig_audit(r).advanced_nusd;
}

static void it_is_the_amount_or_the_cap_whichever_is_less(void **state)
{
    (void)state;
    static const struct {
        int64_t cap, want;
    } rows[] = { { 1, 1 }, { CAP, CAP }, { USD - 1, USD - 1 }, { USD, USD }, { 9 * USD, USD } };
    rig_t r;
    open_ledger(&r);
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        kmy_account_t a = submitted(&r, pay_row(1 + i, 1 + i), rows[i].cap, KMY_OK);
        assert_string_equal(a.name, pay_payer(BASE, 1 + i)); /* its first: it has an account now */
        assert_int_equal(a.balance_nusd, rows[i].want);
        assert_int_equal(pay_get(&r, 1 + i).advance_nusd, rows[i].want);
        assert_true(pay_get(&r, 1 + i).advance_open);
        assert_string_equal(pay_get(&r, 1 + i).account, a.name);
    }
    rig_remove(&r);
}

/* What becomes of a payment, by what was done with its advance before. */
static void it_ends_with_its_payment(void **state)
{
    (void)state;
    const kmy_payment_state_t unknown = KMY_PAYMENT_UNKNOWN, failed = KMY_PAYMENT_FAILED;
    const struct {
        int64_t leased, consumed;
        kmy_payment_state_t ends;
        int64_t want_balance, want_leased, want_consumed, want_debt;
    } rows[] = {
        { 0, 0, KMY_PAYMENT_SETTLED, USD, 0, 0, 0 },
        { CAP, CAP, KMY_PAYMENT_SETTLED, USD - CAP, 0, CAP, 0 },
        { CAP, 1, KMY_PAYMENT_SETTLED, USD - CAP, CAP - 1, 1, 0 },
        { 0, 0, failed, 0, 0, 0, 0 },
        { CAP, CAP, failed, 0, 0, CAP, CAP },
        { CAP, 0, failed, 0, CAP, 0, CAP }, /* a shard has it: it comes back, or is spent */
        { CAP / 2, 7, failed, 0, CAP / 2 - 7, 7, CAP / 2 },
        { CAP / 2, 7, unknown, CAP - CAP / 2, CAP / 2 - 7, 7, 0 }, /* and it may settle yet */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rig_t r;
        open_ledger(&r);
        uint64_t id = submitted(&r, pay_row(1, 1), CAP, KMY_OK).id;
        use(&r, id, rows[i].leased, rows[i].consumed);
        if (rows[i].ends == KMY_PAYMENT_SETTLED)
            settled(&r, 1);
        else
            in_state(&r, 1, rows[i].ends);
        assert_account(&r, id, rows[i].want_balance, rows[i].want_leased, rows[i].want_consumed,
                       rows[i].want_debt);
        assert_int_equal(advanced(&r), rows[i].ends == unknown ? CAP : 0);
        assert_int_equal(pay_get(&r, 1).advance_open, rows[i].ends == unknown);
        rig_remove(&r);
    }
}

static void one_that_settles_after_it_failed_pays_the_debt(void **state)
{
    (void)state;
    rig_t r;
    open_ledger(&r);
    uint64_t id = submitted(&r, pay_row(1, 1), CAP, KMY_OK).id;
    use(&r, id, CAP, CAP);
    in_state(&r, 1, KMY_PAYMENT_FAILED);
    assert_account(&r, id, 0, 0, CAP, CAP);
    settled(&r, 1);
    assert_account(&r, id, USD - CAP, 0, CAP, 0);
    assert_int_equal(rig_audit(&r).paid_nusd, USD);
    rig_remove(&r);
}

static void a_reorganization_takes_the_whole_payment_back(void **state)
{
    (void)state;
    rig_t r;
    open_ledger(&r);
    uint64_t id = submitted(&r, pay_row(1, 1), CAP, KMY_OK).id;
    use(&r, id, CAP, CAP);
    settled(&r, 1);
    rig_begin(&r);
    assert_int_equal(pay_reverse(&r, 1, NULL), KMY_OK);
    rig_commit(&r);
    assert_account(&r, id, 0, 0, CAP, CAP);
    settled(&r, 1); /* mined once more */
    assert_account(&r, id, USD - CAP, 0, CAP, 0);
    rig_remove(&r);
}

static void a_payment_has_one_whatever_becomes_of_it(void **state)
{
    (void)state;
    rig_t r;
    open_ledger(&r);
    uint64_t id = submitted(&r, pay_row(1, 1), CAP, KMY_OK).id;
    rig_begin(&r);
    assert_int_equal(advance(&r, 1, USD, NULL), KMY_DUPLICATE);
    assert_int_equal(pay_state(&r, 1, KMY_PAYMENT_FAILED), KMY_OK);    /* refused, for now */
    assert_int_equal(pay_state(&r, 1, KMY_PAYMENT_SUBMITTED), KMY_OK); /* the same header again */
    assert_int_equal(advance(&r, 1, CAP, NULL), KMY_DUPLICATE);
    rig_commit(&r);
    assert_account(&r, id, 0, 0, 0, 0);
    rig_remove(&r);
}

static void the_cap_is_for_all_that_a_payer_has_under_way(void **state)
{
    (void)state;
    rig_t r;
    open_ledger(&r);
    const int64_t cap = 2 * USD + USD / 2;
    static const int64_t given[] = { USD, USD, USD / 2 };
    uint64_t id = 0;
    for (unsigned n = 1; n <= 3; n++) {
        int64_t before = advanced(&r);
        id = submitted(&r, pay_row(n, 1), cap, KMY_OK).id;
        assert_int_equal(advanced(&r) - before, given[n - 1]);
        pay_crash(&r);
    }
    submitted(&r, pay_row(4, 1), cap, KMY_NO_BALANCE);
    assert_account(&r, id, cap, 0, 0, 0);
    submitted(&r, pay_row(5, 2), cap, KMY_OK); /* another payer's is another's */
    settled(&r, 2);                            /* what is settled makes room */
    assert_account(&r, id, cap, 0, 0, 0);      /* ... and was there already */
    rig_begin(&r);
    assert_int_equal(advance(&r, 4, cap, NULL), KMY_OK);
    assert_int_equal(advance(&r, 4, cap, NULL), KMY_DUPLICATE);
    rig_commit(&r);
    assert_int_equal(advanced(&r), cap + USD);
    settled(&r, 1);
    submitted(&r, pay_row(6, 1), CAP, KMY_NO_BALANCE); /* the operator lowered it meanwhile */
    rig_remove(&r);
}

static void who_owes_has_none(void **state)
{
    (void)state;
    rig_t r;
    open_ledger(&r);
    uint64_t id = submitted(&r, pay_row(1, 1), CAP, KMY_OK).id;
    use(&r, id, CAP, 1);
    in_state(&r, 1, KMY_PAYMENT_FAILED);
    assert_account(&r, id, 0, CAP - 1, 1, CAP);
    submitted(&r, pay_row(2, 1), CAP, KMY_NO_BALANCE);
    pay_crash(&r); /* what shards had comes back, into the debt: one nano-USD of it is left */
    assert_account(&r, id, 0, 0, 1, 1);
    submitted(&r, pay_row(3, 1), CAP, KMY_NO_BALANCE);
    settled(&r, 3);
    assert_account(&r, id, USD - 1, 0, 1, 0);
    rig_begin(&r);
    assert_int_equal(advance(&r, 2, CAP, NULL), KMY_OK);
    rig_commit(&r);
    rig_assert_clean(&r);
    rig_remove(&r);
}

static void only_a_deposit_that_is_submitted_has_one(void **state)
{
    (void)state;
    rig_t r;
    open_ledger(&r);
    rig_begin(&r);
    assert_int_equal(advance(&r, 1, CAP, NULL), KMY_NOT_FOUND);
    assert_int_equal(pay_reserve(&r, pay_row(1, 1), NULL), KMY_OK);
    assert_int_equal(advance(&r, 1, CAP, NULL), KMY_CONFLICT);
    assert_int_equal(pay_state(&r, 1, KMY_PAYMENT_SUBMITTED), KMY_OK);
    assert_int_equal(pay_state(&r, 1, KMY_PAYMENT_UNKNOWN), KMY_OK);
    assert_int_equal(advance(&r, 1, CAP, NULL), KMY_CONFLICT);
    assert_int_equal(pay_settle(&r, 1, 1, 0, NULL), KMY_OK);
    assert_int_equal(advance(&r, 1, CAP, NULL), KMY_CONFLICT);
    rig_commit(&r);
    submitted(&r, pay_query(2, 2), CAP, KMY_CONFLICT); /* its price waits for one answer */
    assert_int_equal(rig_audit(&r).accounts_count, 1); /* nobody else has an account by that */
    rig_remove(&r);
}

/* The nonce of a payment under way was used on the chain without us. */
static void a_transfer_ends_it_as_well(void **state)
{
    (void)state;
    for (int same = 0; same < 2; same++) {
        rig_t r;
        char id[KMY_PAYMENT_ID_HEX + 1];
        open_ledger(&r);
        uint64_t account = submitted(&r, pay_row(1, 1), CAP, KMY_OK).id;
        use(&r, account, CAP, CAP);
        kmy_transfer_t t = pay_transfer(9, 0, 1);
        pay_id(id, 1);
        t.payment_id = id;
        t.amount_units = same ? t.amount_units : 7; /* not what was promised */
        rig_begin(&r);
        assert_int_equal(kmy_ledger_transfer_credit(r.ledger, &t, NOW, NULL, &r.ctx), KMY_OK);
        rig_commit(&r);
        assert_int_equal(pay_get(&r, 1).state, same ? KMY_PAYMENT_SETTLED : KMY_PAYMENT_FAILED);
        assert_account(&r, account, same ? USD - CAP : 0, 0, CAP, same ? 0 : CAP - 7000);
        assert_int_equal(advanced(&r), 0);
        rig_remove(&r);
    }
}

static void it_is_on_disk_with_the_submission_or_not_at_all(void **state)
{
    (void)state;
    rig_t r;
    open_ledger(&r);
    rig_begin(&r);
    assert_int_equal(pay_reserve(&r, pay_row(1, 1), NULL), KMY_OK);
    rig_commit(&r);
    rig_begin(&r);
    assert_int_equal(pay_state(&r, 1, KMY_PAYMENT_SUBMITTED), KMY_OK);
    assert_int_equal(advance(&r, 1, CAP, NULL), KMY_OK);
    pay_crash(&r); /* before the commit */
    assert_int_equal(pay_get(&r, 1).state, KMY_PAYMENT_RESERVED);
    assert_int_equal(advanced(&r), 0);
    rig_begin(&r);
    assert_int_equal(pay_state(&r, 1, KMY_PAYMENT_SUBMITTED), KMY_OK);
    assert_int_equal(advance(&r, 1, CAP, NULL), KMY_OK);
    rig_commit(&r);
    pay_crash(&r); /* behind it */
    assert_true(pay_get(&r, 1).advance_open);
    assert_int_equal(advanced(&r), CAP);
    rig_remove(&r);
}

/* --- the record ---------------------------------------------------------------------------- */

static kmy_stored_payment_t stored(int64_t advance_nusd, bool open)
{
    kmy_stored_payment_t p = { .row = pay_row(1, 1), .account_id = 3, .entry_id = 0 };
    p.row.state = KMY_PAYMENT_SUBMITTED;
    p.row.advance_nusd = advance_nusd;
    p.row.advance_open = open;
    p.advance_entry = advance_nusd ? 42 : 0;
    snprintf(p.row.tx, sizeof p.row.tx, "%s", pay_tx(1));
    return p;
}

static void a_payment_without_one_is_written_as_ever(void **state)
{
    (void)state;
    uint8_t bytes[KMY_PAYMENT_STATE_BYTES_MAX];
    kmy_stored_payment_t p = stored(0, false), back = { 0 };
    size_t len = kmy_payment_state_encode(&p, bytes);
    assert_int_equal(bytes[0], 1);
    assert_int_equal(len, 48 + strlen(p.row.tx));
    assert_true(kmy_payment_state_decode(bytes, len, &back));
    assert_int_equal(back.row.advance_nusd, 0);
    bytes[2] |= 4; /* open, and there is none */
    assert_false(kmy_payment_state_decode(bytes, len, &back));
}

static void a_payment_with_one_is_read_back_or_refused(void **state)
{
    (void)state;
    static const struct {
        size_t at;
        uint8_t bit;
    } damages[] = { { 0, 1 }, { 0, 2 }, { 2, 8 }, { 2, 2 }, { 55, 0x80 }, { 56, 42 } };
    uint8_t bytes[KMY_PAYMENT_STATE_BYTES_MAX];
    for (int open = 0; open < 2; open++) {
        kmy_stored_payment_t p = stored(CAP, open), back = { 0 };
        size_t len = kmy_payment_state_encode(&p, bytes);
        assert_int_equal(bytes[0], 2);
        assert_int_equal(len, 64 + strlen(p.row.tx));
        assert_true(kmy_payment_state_decode(bytes, len, &back));
        assert_int_equal(back.row.advance_nusd, CAP);
        assert_int_equal(back.row.advance_open, open);
        assert_int_equal(back.advance_entry, 42);
        assert_string_equal(back.row.tx, p.row.tx);
        for (size_t cut = 0; cut < len; cut++)
            assert_false(kmy_payment_state_decode(bytes, cut, &back));
        for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
            bytes[damages[i].at] ^= damages[i].bit;
            if (kmy_payment_state_decode(bytes, len, &back))
                fail_msg("byte %zu", damages[i].at);
            bytes[damages[i].at] ^= damages[i].bit;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_the_amount_or_the_cap_whichever_is_less),
        cmocka_unit_test(it_ends_with_its_payment),
        cmocka_unit_test(one_that_settles_after_it_failed_pays_the_debt),
        cmocka_unit_test(a_reorganization_takes_the_whole_payment_back),
        cmocka_unit_test(a_payment_has_one_whatever_becomes_of_it),
        cmocka_unit_test(the_cap_is_for_all_that_a_payer_has_under_way),
        cmocka_unit_test(who_owes_has_none),
        cmocka_unit_test(only_a_deposit_that_is_submitted_has_one),
        cmocka_unit_test(a_transfer_ends_it_as_well),
        cmocka_unit_test(it_is_on_disk_with_the_submission_or_not_at_all),
        cmocka_unit_test(a_payment_without_one_is_written_as_ever),
        cmocka_unit_test(a_payment_with_one_is_read_back_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
