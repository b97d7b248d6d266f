/* What a chain has done is credited once, by the payment's id and by the transfer it was, whichever comes first. */
#include "tests/ledger_payment_rig.h"

static void open_ledger(rig_t *r)
{
    rig_make(r, 1);
    rig_open(r);
}

static int64_t credited(rig_t *r)
{
    kmy_ledger_totals_t totals;
    kmy_ledger_totals(r->ledger, &totals);
    return totals.credited_nusd;
}

static kmy_err_t transfer(rig_t *r, kmy_transfer_t t, kmy_account_t *acc)
{
    return kmy_ledger_transfer_credit(r->ledger, &t, NOW, acc, &r->ctx);
}

static void a_thousand_presentations_credit_once(void **state)
{
    (void)state;
    rig_t r;
    kmy_account_t acc;
    open_ledger(&r);
    for (int i = 0; i < 1000;
         i++) { /* some in one batch, some in the next, some in the next life */
        if (i % 10 == 0)
            rig_begin(&r);
        assert_int_equal(pay_reserve(&r, pay_row(1, 1), NULL), i ? KMY_DUPLICATE : KMY_OK);
        assert_int_equal(pay_settle(&r, 1, 7, 2, &acc), i ? KMY_DUPLICATE : KMY_OK);
        assert_int_equal(acc.credited_nusd, USD);
        assert_int_equal(acc.balance_nusd, USD);
        if (i % 10 == 9)
            rig_commit(&r);
        if (i % 250 == 9)
            pay_crash(&r);
    }
    rig_assert_clean(&r);
    rig_remove(&r);
}

static void a_payment_may_settle_from_whatever_state_its_transfer_finds_it_in(void **state)
{
    static const kmy_payment_state_t ways[][4] = {
        { 0 },
        { KMY_PAYMENT_VERIFIED },
        { KMY_PAYMENT_SUBMITTED },
        { KMY_PAYMENT_SUBMITTED, KMY_PAYMENT_UNKNOWN },
        { KMY_PAYMENT_FAILED }, /* the chain shows it after all */
        { KMY_PAYMENT_SUBMITTED, KMY_PAYMENT_FAILED, KMY_PAYMENT_RESERVED },
    };
    (void)state;
    rig_t r;
    open_ledger(&r);
    for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++) {
        rig_begin(&r);
        assert_int_equal(pay_reserve(&r, pay_row(i, i), NULL), KMY_OK);
        for (int j = 0; j < 4 && ways[i][j]; j++)
            assert_int_equal(pay_state(&r, i, ways[i][j]), KMY_OK);
        assert_int_equal(pay_settle(&r, i, 100 + i, 0, NULL), KMY_OK);
        assert_int_equal(pay_state(&r, i, KMY_PAYMENT_FAILED), KMY_CONFLICT); /* and stays so */
        rig_commit(&r);
        pay_crash(&r);
        kmy_payment_row_t row = pay_get(&r, i);
        assert_int_equal(row.state, KMY_PAYMENT_SETTLED);
        assert_string_equal(row.tx, pay_tx(100 + i));
        assert_int_equal(credited(&r), (i + 1) * USD);
    }
    rig_remove(&r);
}

static void one_transfer_pays_one_payment(void **state)
{
    (void)state;
    rig_t r;
    char id[KMY_PAYMENT_ID_HEX + 1];
    open_ledger(&r);
    rig_begin(&r);
    for (unsigned n = 1; n <= 3; n++)
        assert_int_equal(pay_reserve(&r, pay_row(n, n), NULL), KMY_OK);
    assert_int_equal(pay_settle(&r, 1, 0xabcdef, 4, NULL), KMY_OK);
    assert_int_equal(pay_settle(&r, 2, 0xabcdef, 4, NULL), KMY_CONFLICT);
    assert_int_equal(pay_get(&r, 2).state, KMY_PAYMENT_RESERVED);
    pay_id(id, 2); /* the same transaction in capitals is the same */
    assert_int_equal(kmy_ledger_payment_settle(
                         r.ledger, id,
                         "0x0000000000000000000000000000000000000000000000000000000000ABCDEF", 4,
                         NOW, NULL, NULL, &r.ctx),
                     KMY_CONFLICT);
    assert_int_equal(pay_settle(&r, 2, 0xabcdef, 5, NULL), KMY_OK); /* another log of it */
    static const char *const bad[] = { "", "0x12", "no hash", "0x|" };
    pay_id(id, 3);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(
            kmy_ledger_payment_settle(r.ledger, id, bad[i], 0, NOW, NULL, NULL, &r.ctx),
            KMY_BAD_INPUT);
    rig_commit(&r);
    rig_assert_clean(&r);
    assert_int_equal(credited(&r), 2 * USD);
    rig_remove(&r);
}

static void a_settled_deposit_is_not_redeemed_as_a_transfer(void **state)
{
    (void)state;
    rig_t r;
    kmy_account_t acc;
    open_ledger(&r);
    rig_begin(&r);
    assert_int_equal(pay_reserve(&r, pay_row(1, 1), NULL), KMY_OK);
    assert_int_equal(pay_settle(&r, 1, 7, 2, NULL), KMY_OK);
    rig_commit(&r);
    for (int life = 0; life < 2; life++) {
        char id[KMY_PAYMENT_ID_HEX + 1];
        kmy_transfer_t t = pay_transfer(7, 2, 1);
        rig_begin(&r);
        assert_int_equal(transfer(&r, t, &acc), KMY_DUPLICATE);
        assert_int_equal(acc.credited_nusd, USD);
        pay_id(id, 1);
        t.payment_id = id;
        assert_int_equal(transfer(&r, t, NULL), KMY_DUPLICATE);
        t.log_index = 3; /* the nonce's other log */
        assert_int_equal(transfer(&r, t, NULL), KMY_DUPLICATE);
        assert_int_equal(transfer(&r, pay_transfer(7, 2, 9), NULL), KMY_CONFLICT); /* not theirs */
        rig_commit(&r);
        pay_crash(&r);
    }
    assert_int_equal(credited(&r), USD);
    rig_remove(&r);
}

static void a_redeemed_transfer_is_not_settled_as_a_payment(void **state)
{
    (void)state;
    for (int knows_nonce = 0; knows_nonce < 2; knows_nonce++)
        for (int reserved = 0; reserved < 2; reserved++) {
            rig_t r;
            kmy_account_t acc;
            kmy_payment_row_t out;
            char id[KMY_PAYMENT_ID_HEX + 1];
            open_ledger(&r);
            pay_id(id, 1);
            kmy_transfer_t t = pay_transfer(7, 2, 1);
            t.payment_id = knows_nonce ? id : NULL;
            rig_begin(&r);
            if (reserved)
                assert_int_equal(pay_reserve(&r, pay_row(1, 1), NULL), KMY_OK);
            assert_int_equal(transfer(&r, t, &acc), KMY_OK);
            assert_int_equal(acc.balance_nusd, USD);
            rig_commit(&r);
            pay_crash(&r);
            rig_begin(&r);
            assert_int_equal(transfer(&r, t, NULL), KMY_DUPLICATE);
            kmy_err_t err = pay_reserve(&r, pay_row(1, 1), &out);
            assert_int_equal(err, knows_nonce || reserved ? KMY_DUPLICATE : KMY_OK);
            assert_int_equal(out.state, knows_nonce ? KMY_PAYMENT_SETTLED : KMY_PAYMENT_RESERVED);
            assert_int_equal(pay_settle(&r, 1, 7, 2, NULL),
                             knows_nonce ? KMY_DUPLICATE : KMY_CONFLICT);
            rig_commit(&r);
            rig_assert_clean(&r);
            assert_int_equal(credited(&r), USD);
            rig_remove(&r);
        }
}

static void a_nonce_used_for_another_sum_credits_what_moved(void **state)
{
    (void)state;
    rig_t r;
    kmy_account_t acc;
    char id[KMY_PAYMENT_ID_HEX + 1];
    open_ledger(&r);
    pay_id(id, 1);
    rig_begin(&r);
    assert_int_equal(pay_reserve(&r, pay_row(1, 1), NULL), KMY_OK); /* promises a dollar */
    kmy_transfer_t t = pay_transfer(7, 2, 1);
    t.amount_units = 10000; /* and moves a cent under the same nonce */
    t.payment_id = id;
    assert_int_equal(transfer(&r, t, &acc), KMY_OK);
    assert_int_equal(acc.credited_nusd, USD / 100);
    assert_int_equal(pay_get(&r, 1).state, KMY_PAYMENT_FAILED);
    assert_int_equal(pay_settle(&r, 1, 7, 2, NULL), KMY_CONFLICT);
    assert_int_equal(transfer(&r, t, &acc), KMY_DUPLICATE);
    rig_commit(&r);
    pay_crash(&r);
    assert_int_equal(credited(&r), USD / 100);
    rig_remove(&r);
}

static void a_solana_signature_is_one_payment_whichever_instruction_it_is_found_in(void **state)
{
    static const char sig[] =
        "5VERv8NMvzbJMEkV8xnrLkEaWRtSz9CosKDYjCJjBRnbJLgp8uirBgmQpjKhoR4tjF3ZpRzrFmBV6UjKdiSZkQUW";
    (void)state;
    rig_t r;
    open_ledger(&r);
    kmy_payment_row_t row = pay_row(1, 1);
    snprintf(row.chain, sizeof row.chain, "%s", SOLANA);
    snprintf(row.account, sizeof row.account, "%s", pay_payer(SOLANA, 1));
    rig_begin(&r);
    assert_int_equal(pay_reserve(&r, row, NULL), KMY_OK);
    assert_int_equal(kmy_ledger_payment_settle(r.ledger, row.id, sig, 0, NOW, NULL, NULL, &r.ctx),
                     KMY_OK);
    kmy_transfer_t t = pay_transfer(1, 2, 1);
    snprintf(t.chain, sizeof t.chain, "%s", SOLANA);
    snprintf(t.account, sizeof t.account, "%s", pay_payer(SOLANA, 1));
    snprintf(t.tx, sizeof t.tx, "%s", sig);
    assert_int_equal(transfer(&r, t, NULL), KMY_DUPLICATE);
    t.tx[0] = '6'; /* another signature: its reference is too long for the chain's whole name */
    assert_int_equal(transfer(&r, t, NULL), KMY_OK);
    rig_commit(&r);
    rig_assert_clean(&r);
    rig_remove(&r);
}

/* --- whose account ------------------------------------------------------------------------------ */

static uint64_t pays(rig_t *r, const char *chain, unsigned payer, bool contract, unsigned n,
                     kmy_account_t *acc)
{
    kmy_transfer_t t = pay_transfer(n, 0, payer);
    snprintf(t.chain, sizeof t.chain, "%s", chain);
    snprintf(t.account, sizeof t.account, "%s", pay_payer(chain, payer));
    t.contract = contract;
    rig_begin(r);
    assert_int_equal(transfer(r, t, acc), KMY_OK);
    rig_commit(r);
    rig_assert_clean(r);
    return acc->id;
}

static void a_key_has_one_account_over_its_chains_named_after_the_first_that_paid(void **state)
{
    (void)state;
    rig_t r;
    kmy_account_t acc;
    open_ledger(&r);
    assert_int_equal(kmy_ledger_account_of_payer(r.ledger, pay_payer(MAIN, 1), false, &acc, &r.ctx),
                     KMY_NOT_FOUND);
    rig_begin(&r);
    assert_int_equal(pay_reserve(&r, pay_row(50, 1), NULL), KMY_OK);
    rig_commit(&r);
    assert_int_equal(kmy_ledger_account_of_payer(r.ledger, pay_payer(BASE, 1), false, &acc, &r.ctx),
                     KMY_NOT_FOUND); /* a promise makes none */
    uint64_t key = pays(&r, MAIN, 1, false, 1, &acc);
    assert_string_equal(acc.name, pay_payer(MAIN, 1));
    assert_int_equal(pays(&r, BASE, 1, false, 2, &acc), key);
    assert_string_equal(acc.name, pay_payer(MAIN, 1));
    assert_int_equal(acc.credited_nusd, 2 * USD);
    pay_crash(&r);
    assert_int_equal(kmy_ledger_account_of_payer(
                         r.ledger, "eip155:8453:0x0000000000000000000000000000000000000001", false,
                         &acc, &r.ctx),
                     KMY_OK);
    assert_int_equal(acc.id, key);
    rig_begin(&r);
    assert_int_equal(pay_settle(&r, 50, 60, 0, &acc), KMY_OK);
    assert_int_equal(acc.id, key);
    rig_commit(&r);
    assert_string_equal(pay_get(&r, 50).account, pay_payer(MAIN, 1)); /* who was credited */
    rig_remove(&r);
}

static void a_contract_wallet_has_one_account_per_chain(void **state)
{
    (void)state;
    rig_t r;
    kmy_account_t acc;
    open_ledger(&r);
    uint64_t on_main = pays(&r, MAIN, 1, true, 1, &acc);
    uint64_t on_base = pays(&r, BASE, 1, true, 2, &acc);
    assert_int_not_equal(on_main, on_base); /* the same address may be another's there */
    assert_string_equal(acc.name, pay_payer(BASE, 1));
    assert_int_equal(pays(&r, MAIN, 1, true, 3, &acc), on_main);
    assert_int_equal(kmy_ledger_account_of_payer(r.ledger, pay_payer(BASE, 1), true, &acc, &r.ctx),
                     KMY_OK);
    assert_int_equal(acc.id, on_base);
    /* The address table is for keys alone. */
    assert_int_equal(
        kmy_ledger_account_of_payer(r.ledger, pay_payer("eip155:10", 1), false, &acc, &r.ctx),
        KMY_NOT_FOUND);
    rig_remove(&r);
}

static void a_contract_at_a_keys_address_on_another_chain_is_not_the_keys(void **state)
{
    (void)state;
    rig_t r;
    kmy_account_t acc;
    open_ledger(&r);
    uint64_t key = pays(&r, MAIN, 1, false, 1, &acc);
    assert_int_equal(kmy_ledger_account_of_payer(r.ledger, pay_payer(BASE, 1), true, &acc, &r.ctx),
                     KMY_NOT_FOUND);
    assert_int_not_equal(pays(&r, BASE, 1, true, 2, &acc),
                         key); /* whoever got that address there */
    assert_int_equal(acc.credited_nusd, USD);
    assert_int_equal(pays(&r, BASE, 1, false, 3, &acc), key);
    rig_remove(&r);
}

static void an_account_that_an_operator_made_is_its_payers(void **state)
{
    (void)state;
    rig_t r;
    kmy_account_t acc;
    open_ledger(&r);
    uint64_t id = rig_account(&r, pay_payer(BASE, 1), 5 * USD);
    assert_int_equal(kmy_ledger_account_of_payer(r.ledger, pay_payer(BASE, 1), false, &acc, &r.ctx),
                     KMY_OK);
    assert_int_equal(pays(&r, BASE, 1, false, 1, &acc), id);
    assert_int_equal(pays(&r, MAIN, 1, false, 2, &acc), id);
    assert_int_equal(acc.credited_nusd, 7 * USD);
    rig_remove(&r);
}

/* --- when the disk does not play along ------------------------------------------------------------ */

static void a_full_map_leaves_no_half_of_a_payment(void **state)
{
    (void)state;
    static const kmy_ledger_options_t small = { .map_bytes = (size_t)512 << 10 };
    rig_t r;
    rig_make(&r, 1);
    assert_int_equal(kmy_ledger_open_with(&r.ledger, r.path, &small, NULL, &r.ctx), KMY_OK);
    static char json[6000];
    memset(json, 'j', sizeof json);
    unsigned done = 0, refusals = 0;
    for (unsigned n = 0; refusals < 3; n++) {
        assert_true(n < 10000);
        kmy_payment_row_t row = pay_query(n, n);
        row.json = json;
        row.json_bytes = sizeof json;
        const char *kept;
        kmy_ledger_audit_t before = rig_audit(&r);
        rig_begin(&r);
        kmy_err_t err = pay_reserve(&r, row, NULL);
        if (err == KMY_OK)
            err = pay_settle(&r, n, n, 0, NULL);
        if (err == KMY_OK)
            err = pay_answer(&r, n, "an answer", NOW, &kept, NULL);
        kmy_err_t committed = kmy_ledger_commit(r.ledger, &r.ctx);
        assert_int_equal(err != KMY_OK ? err : committed, committed);
        assert_true(committed == KMY_OK || committed == KMY_IO);
        kmy_ledger_audit_t after = rig_audit(&r);
        assert_int_equal(after.faults_count, 0);
        if (committed != KMY_OK) {
            assert_memory_equal(&before, &after, sizeof before);
            refusals++;
        } else {
            done++;
        }
    }
    assert_true(done > 10);
    rig_close(&r);
    rig_open(&r); /* with room */
    rig_assert_clean(&r);
    assert_int_equal(rig_audit(&r).payments_count, done);
    rig_remove(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thousand_presentations_credit_once),
        cmocka_unit_test(a_payment_may_settle_from_whatever_state_its_transfer_finds_it_in),
        cmocka_unit_test(one_transfer_pays_one_payment),
        cmocka_unit_test(a_settled_deposit_is_not_redeemed_as_a_transfer),
        cmocka_unit_test(a_redeemed_transfer_is_not_settled_as_a_payment),
        cmocka_unit_test(a_nonce_used_for_another_sum_credits_what_moved),
        cmocka_unit_test(a_solana_signature_is_one_payment_whichever_instruction_it_is_found_in),
        cmocka_unit_test(a_key_has_one_account_over_its_chains_named_after_the_first_that_paid),
        cmocka_unit_test(a_contract_wallet_has_one_account_per_chain),
        cmocka_unit_test(a_contract_at_a_keys_address_on_another_chain_is_not_the_keys),
        cmocka_unit_test(an_account_that_an_operator_made_is_its_payers),
        cmocka_unit_test(a_full_map_leaves_no_half_of_a_payment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
