/* Payments up to their settlement: reserved once, in the order of their states, found again by the next life. */
#include "tests/ledger_payment_rig.h"

#define R KMY_PAYMENT_RESERVED
#define V KMY_PAYMENT_VERIFIED
#define S KMY_PAYMENT_SUBMITTED
#define U KMY_PAYMENT_UNKNOWN
#define F KMY_PAYMENT_FAILED

static void open_ledger(rig_t *r)
{
    rig_make(r, 1);
    rig_open(r);
}

static void a_payment_goes_through_its_states_in_order(void **state)
{
    static const struct {
        kmy_payment_state_t way[5];
        kmy_payment_state_t to;
        bool may;
    } rows[] = {
        { { R }, V, true },           { { R }, S, true }, /* nothing is left to ask */
        { { R }, F, true },           { { R }, U, false },          { { R, V }, S, true },
        { { R, V }, F, true },        { { R, V }, R, false },       { { R, V }, U, false },
        { { R, V, S }, U, true },     { { R, V, S }, F, true },     { { R, V, S }, S, true },
        { { R, V, S }, V, false },    { { R, V, S, U }, F, true },  { { R, V, S, U }, U, true },
        { { R, V, S, U }, S, false }, { { R, V, S, U }, V, false }, { { R, F }, F, true },
        { { R, F }, R, true }, /* the same header, tried again */
        { { R, F }, S, true },        { { R, F }, V, false },       { { R, F }, U, false },
    };
    (void)state;
    rig_t r;
    open_ledger(&r);
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        rig_begin(&r);
        assert_int_equal(pay_reserve(&r, pay_row(i, i), NULL), KMY_OK);
        for (int step = 1; step < 5 && rows[i].way[step]; step++)
            assert_int_equal(pay_state(&r, i, rows[i].way[step]), KMY_OK);
        kmy_payment_state_t last = (kmy_payment_state_t)pay_get(&r, i).state;
        kmy_err_t err = pay_state(&r, i, rows[i].to);
        if (err != (rows[i].may ? KMY_OK : KMY_CONFLICT))
            fail_msg("%s to %s: %s", kmy_payment_state_name(last),
                     kmy_payment_state_name(rows[i].to), kmy_err_code(err));
        assert_int_equal(pay_get(&r, i).state, rows[i].may ? rows[i].to : last);
        rig_commit(&r);
        rig_assert_clean(&r);
    }
    rig_remove(&r);
}

static void what_was_promised_and_what_became_known_survives_a_crash(void **state)
{
    (void)state;
    rig_t r;
    open_ledger(&r);
    kmy_payment_row_t row = pay_query(7, 3);
    snprintf(row.client_id, sizeof row.client_id, "order-0000000017");
    rig_begin(&r);
    assert_int_equal(pay_reserve(&r, row, NULL), KMY_OK);
    rig_commit(&r);
    pay_crash(&r);
    kmy_payment_row_t news = { .from_block = 1234 };
    snprintf(news.tx, sizeof news.tx, "%s", pay_tx(99));
    rig_begin(&r);
    kmy_payment_row_t out;
    assert_int_equal(kmy_ledger_payment_state(r.ledger, row.id, S, &news, NOW + 5, &out, &r.ctx),
                     KMY_OK);
    assert_int_equal(out.json_bytes, row.json_bytes);
    assert_memory_equal(out.json, JSON, row.json_bytes);
    rig_commit(&r);
    pay_crash(&r);
    out = pay_get(&r, 7);
    assert_null(out.json); /* outside a batch */
    assert_int_equal(out.state, S);
    assert_int_equal(out.from_block, 1234);
    assert_string_equal(out.tx, pay_tx(99));
    assert_int_equal(out.created_ns, NOW);
    assert_int_equal(out.changed_ns, NOW + 5);
    assert_int_equal(out.price_nusd, row.price_nusd);
    assert_int_equal(out.amount_units, row.amount_units);
    assert_int_equal(out.valid_before_s, row.valid_before_s);
    assert_true(out.query && !out.contract && !out.answered);
    assert_string_equal(out.account, row.account);
    assert_string_equal(out.asset, row.asset);
    assert_string_equal(out.client_id, "order-0000000017");
    assert_memory_equal(out.payer, row.payer, 32);
    assert_memory_equal(out.nonce, row.nonce, 32);
    rig_remove(&r);
}

static void the_second_presentation_gets_what_the_first_one_is(void **state)
{
    (void)state;
    rig_t r;
    open_ledger(&r);
    for (int life = 0; life < 3; life++) {
        kmy_payment_row_t out;
        rig_begin(&r);
        assert_int_equal(pay_reserve(&r, pay_row(1, 1), &out), life ? KMY_DUPLICATE : KMY_OK);
        assert_int_equal(out.state, R);
        assert_memory_equal(out.json, JSON, sizeof JSON - 1);
        kmy_payment_row_t dearer = pay_row(1, 1); /* the same nonce for another sum */
        dearer.amount_units *= 1000;
        assert_int_equal(pay_reserve(&r, dearer, &out), KMY_DUPLICATE);
        assert_int_equal(out.amount_units, 1000000);
        rig_commit(&r);
        pay_crash(&r);
    }
    rig_remove(&r);
}

static void a_clients_own_id_names_one_payment_of_its_own(void **state)
{
    (void)state;
    rig_t r;
    open_ledger(&r);
    kmy_payment_row_t first = pay_row(1, 1), second = pay_row(2, 1), other = pay_row(3, 2), out;
    strcpy(first.client_id, "pay_7d5d747be160e280");
    strcpy(second.client_id, "pay_7d5d747be160e280");
    strcpy(other.client_id, "pay_7d5d747be160e280");
    rig_begin(&r);
    assert_int_equal(pay_reserve(&r, first, NULL), KMY_OK);
    rig_commit(&r);
    pay_crash(&r);
    rig_begin(&r);
    assert_int_equal(pay_reserve(&r, second, &out), KMY_CONFLICT);
    assert_string_equal(out.id, first.id);
    assert_int_equal(pay_reserve(&r, first, &out), KMY_DUPLICATE);
    assert_int_equal(pay_reserve(&r, other, NULL), KMY_OK); /* another payer's word */
    rig_commit(&r);
    assert_int_equal(kmy_ledger_payment_get(r.ledger, second.id, &out, &r.ctx), KMY_NOT_FOUND);
    rig_assert_clean(&r);
    rig_remove(&r);
}

static void a_payer_has_so_many_payments_under_way_and_no_more(void **state)
{
    (void)state;
    rig_t r;
    open_ledger(&r);
    unsigned n = 0;
    rig_begin(&r);
    for (; n < KMY_PAYMENTS_OPEN_MAX; n++)
        assert_int_equal(pay_reserve(&r, pay_row(n, 1), NULL), KMY_OK);
    assert_int_equal(pay_reserve(&r, pay_row(n, 1), NULL), KMY_FULL);
    assert_int_equal(pay_reserve(&r, pay_row(100, 2), NULL), KMY_OK); /* others are not held up */
    assert_int_equal(pay_reserve(&r, pay_row(101, 0), NULL), KMY_OK);
    rig_commit(&r);
    pay_crash(&r);
    rig_begin(&r);
    assert_int_equal(pay_reserve(&r, pay_row(n, 1), NULL), KMY_FULL);
    assert_int_equal(pay_reserve(&r, pay_row(0, 1), NULL), KMY_DUPLICATE); /* it is known */
    assert_int_equal(pay_state(&r, 0, F), KMY_OK); /* one is over, by failing, */
    assert_int_equal(pay_reserve(&r, pay_row(n, 1), NULL), KMY_OK);
    assert_int_equal(pay_state(&r, 0, R), KMY_FULL); /* and cannot be tried again meanwhile */
    assert_int_equal(pay_settle(&r, 1, 1, 0, NULL), KMY_OK); /* one by being paid */
    assert_int_equal(pay_state(&r, 0, R), KMY_OK);
    assert_int_equal(pay_reserve(&r, pay_row(n + 1, 1), NULL), KMY_FULL);
    rig_commit(&r);
    rig_assert_clean(&r);
    rig_remove(&r);
}

static bool note(void *arg, const kmy_payment_row_t *row)
{
    char *seen = arg;
    snprintf(seen + strlen(seen), 64, "%c%s ", row->id[KMY_PAYMENT_ID_HEX - 1],
             row->json ? "+" : "");
    return strlen(seen) < 12;
}

static void open_payments_are_visited_in_order_and_the_others_are_not(void **state)
{
    (void)state;
    rig_t r;
    char seen[64] = "";
    open_ledger(&r);
    rig_begin(&r);
    for (unsigned n = 9; n > 0; n--)
        assert_int_equal(pay_reserve(&r, pay_row(n, n), NULL), KMY_OK);
    assert_int_equal(pay_state(&r, 2, F), KMY_OK);
    assert_int_equal(pay_settle(&r, 4, 4, 0, NULL), KMY_OK);
    assert_int_equal(pay_state(&r, 5, S), KMY_OK);
    assert_int_equal(pay_state(&r, 5, U), KMY_OK);
    rig_commit(&r);
    pay_crash(&r);
    assert_int_equal(kmy_ledger_visit_open_payments(r.ledger, note, seen, &r.ctx), KMY_OK);
    assert_string_equal(seen, "1 3 5 6 7 8 ");
    seen[0] = 0;
    rig_begin(&r);
    assert_int_equal(kmy_ledger_visit_open_payments(r.ledger, note, seen, &r.ctx), KMY_OK);
    assert_string_equal(seen, "1+ 3+ 5+ 6+ ");
    rig_commit(&r);
    /* One at a time, as the cashier asks. */
    kmy_payment_row_t row = { 0 };
    seen[0] = 0;
    kmy_err_t err;
    while ((err = kmy_ledger_next_open_payment(r.ledger, row.id, &row, &r.ctx)) == KMY_OK)
        note(seen, &row);
    assert_int_equal(err, KMY_NOT_FOUND);
    assert_string_equal(seen, "1 3 5 6 7 8 9 ");
    rig_remove(&r);
}

static void what_is_no_payment_is_refused_and_leaves_no_trace(void **state)
{
    (void)state;
    rig_t r;
    open_ledger(&r);
    kmy_payment_row_t rows[10];
    for (int i = 0; i < 10; i++)
        rows[i] = pay_query(1, 1);
    rows[0].id[0] = 'A'; /* upper case would be a second spelling */
    rows[1].id[31] = 0;
    rows[2].amount_units = 0;
    rows[3].price_nusd = rows[3].price_nusd + 1; /* more than is paid */
    rows[4].price_nusd = 0;
    rows[5].chain[0] = 0;
    rows[6].asset[0] = 0;
    strcpy(rows[7].account, "eip155:8453:0x1234");
    strcpy(rows[8].account, "solana:x:a b");
    rows[9].json_bytes = KMY_PAYMENT_BYTES_MAX + 1;
    kmy_ledger_audit_t before = rig_audit(&r);
    rig_begin(&r);
    for (int i = 0; i < 10; i++)
        if (pay_reserve(&r, rows[i], NULL) != KMY_BAD_INPUT)
            fail_msg("row %d was taken", i);
    kmy_payment_row_t huge = pay_row(1, 1);
    huge.amount_units = INT64_MAX / 1000 + 1;
    assert_int_equal(pay_reserve(&r, huge, NULL), KMY_OVERFLOW);
    assert_int_equal(pay_settle(&r, 5, 1, 0, NULL), KMY_NOT_FOUND);
    assert_int_equal(pay_state(&r, 5, F), KMY_NOT_FOUND);
    assert_int_equal(pay_reverse(&r, 5, NULL), KMY_NOT_FOUND);
    rig_commit(&r);
    kmy_ledger_audit_t after = rig_audit(&r);
    assert_memory_equal(&before, &after, sizeof before);
    rig_remove(&r);
}

static void a_sign_in_nonce_is_spent_once_and_forgotten_a_day_behind_its_end(void **state)
{
    (void)state;
    rig_t r;
    const int64_t s = 1000000000, day = 24 * 3600 * s;
    open_ledger(&r);
    rig_begin(&r);
    assert_int_equal(kmy_ledger_spend_nonce(r.ledger, "n-1", NOW + 300 * s, NOW, &r.ctx), KMY_OK);
    assert_int_equal(kmy_ledger_spend_nonce(r.ledger, "n-1", NOW + 300 * s, NOW, &r.ctx),
                     KMY_DUPLICATE);
    assert_int_equal(kmy_ledger_spend_nonce(r.ledger, "", NOW, NOW, &r.ctx), KMY_BAD_INPUT);
    rig_commit(&r);
    pay_crash(&r);
    char nonce[32];
    int64_t now = NOW;
    int i = 0;
    for (; i < 60; i++, now += 3600 * s) { /* an hour apart: the first end while the last come */
        rig_begin(&r);
        kmy_err_t err = kmy_ledger_spend_nonce(r.ledger, "n-1", now + 300 * s, now, &r.ctx);
        if (err == KMY_OK)
            break;
        assert_int_equal(err, KMY_DUPLICATE);
        snprintf(nonce, sizeof nonce, "x-%d", i);
        assert_int_equal(kmy_ledger_spend_nonce(r.ledger, nonce, now + 300 * s, now, &r.ctx),
                         KMY_OK);
        rig_commit(&r);
    }
    assert_true(now > NOW + 300 * s + day); /* not before, */
    assert_in_range(i, 25, 45);             /* and once a sweep has come round to it */
    rig_remove(&r);
}

static void payments_that_settled_lately_are_found_a_thousand_states_at_a_time(void **state)
{
    (void)state;
    enum { ALL = 2100 };
    rig_t r;
    kmy_payment_row_t row;
    unsigned found = 0, calls = 0;
    rig_make(&r, 1);
    rig_open(&r);
    rig_begin(&r);
    for (unsigned n = 1; n <= ALL; n++) {
        char id[KMY_PAYMENT_ID_HEX + 1];
        pay_id(id, n);
        assert_int_equal(pay_reserve(&r, pay_row(n, n), NULL), KMY_OK);
        if (n % 700 == 0) /* one old, two young */
            assert_int_equal(kmy_ledger_payment_settle(r.ledger, id, pay_tx(n), 0,
                                                       NOW + (n == 700 ? 99 : 100), NULL, NULL,
                                                       &r.ctx),
                             KMY_OK);
    }
    rig_commit(&r);
    memset(&row, 0, sizeof row);
    for (;; calls++) {
        char after[KMY_PAYMENT_ID_HEX + 1];
        memcpy(after, row.id, sizeof after);
        kmy_err_t err = kmy_ledger_next_settled_payment(r.ledger, after, NOW + 100, &row, &r.ctx);
        if (err == KMY_NOT_FOUND)
            break;
        assert_int_equal(err, KMY_OK);
        assert_true(strcmp(row.id, after) > 0);
        if (row.state != KMY_PAYMENT_SETTLED)
            continue;
        char id[KMY_PAYMENT_ID_HEX + 1];
        pay_id(id, 1400 + 700 * found++);
        assert_string_equal(row.id, id);
        assert_int_equal(row.amount_units, 1000000);
    }
    assert_int_equal(found, 2);
    assert_in_range(calls, 3, 4);
    assert_int_equal(kmy_ledger_next_settled_payment(r.ledger, "no id", NOW, &row, &r.ctx),
                     KMY_BAD_INPUT);
    rig_remove(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_payment_goes_through_its_states_in_order),
        cmocka_unit_test(what_was_promised_and_what_became_known_survives_a_crash),
        cmocka_unit_test(the_second_presentation_gets_what_the_first_one_is),
        cmocka_unit_test(a_clients_own_id_names_one_payment_of_its_own),
        cmocka_unit_test(a_payer_has_so_many_payments_under_way_and_no_more),
        cmocka_unit_test(open_payments_are_visited_in_order_and_the_others_are_not),
        cmocka_unit_test(what_is_no_payment_is_refused_and_leaves_no_trace),
        cmocka_unit_test(a_sign_in_nonce_is_spent_once_and_forgotten_a_day_behind_its_end),
        cmocka_unit_test(payments_that_settled_lately_are_found_a_thousand_states_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
