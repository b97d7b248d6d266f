/* engine/cashier_transfer: a transfer that was made without us is its sender's, once, whichever way it comes. */
#include "tests/cashier_rig.h"

/* --- transfers ---------------------------------------------------------------------------------------------- */

static kmy_slip_t *claim(world_t *w, const char *nonce, const char *account)
{
    kmy_slip_t *s = take_slip(w, 0, KMY_SLIP_TRANSFER);
    snprintf(s->network, sizeof s->network, "base");
    snprintf(s->tx, sizeof s->tx, "0x%s", nonce);
    snprintf(s->account, sizeof s->account, "%s", account);
    say(w, 0, s);
    return hear(w, 0);
}

static void a_transfer_is_credited_to_its_sender_once(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1), thief = wallet_of(2);
    payment_t p = pay(w, &payer, 1);
    char mine[KMY_ACCOUNT_BYTES_MAX], his[KMY_ACCOUNT_BYTES_MAX];
    snprintf(mine, sizeof mine, "eip155:8453:0x%s", payer.hex);
    snprintf(his, sizeof his, "eip155:8453:0x%s", thief.hex);
    const kmy_slip_t *s = claim(w, p.nonce, mine);
    assert_slip(s, KMY_SLIP_PENDING); /* not in the chain yet */
    CHAIN_LOCKED(&w->chain, chain_mine(&w->chain, payer.hex, p.nonce, 2000000, true, false));
    s = claim(w, p.nonce, his);
    assert_slip(s, KMY_SLIP_REFUSED);
    assert_int_equal(s->err, KMY_FORBIDDEN);
    for (int i = 0; i < 2; i++) {
        s = claim(w, p.nonce, mine);
        assert_slip(s, KMY_SLIP_DONE);
        assert_int_equal(s->credited_nusd, 2 * DOLLAR);
        assert_int_equal(s->balance_nusd, 2 * DOLLAR);
        assert_string_equal(s->account, mine);
    }
    assert_int_equal(credited_in_all(w), 2 * DOLLAR);
    world_end(w);
}

static void a_settled_deposit_is_not_redeemed_again_as_a_transfer(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1);
    payment_t p = pay(w, &payer, 1);
    char mine[KMY_ACCOUNT_BYTES_MAX];
    snprintf(mine, sizeof mine, "eip155:8453:0x%s", payer.hex);
    assert_slip(present(w, KMY_SLIP_DEPOSIT, &p), KMY_SLIP_DONE);
    assert_slip(claim(w, p.nonce, mine),
                KMY_SLIP_DONE); /* the same money, and its account has it */
    assert_int_equal(credited_in_all(w), DOLLAR);
    payment_t q = pay(w, &payer, 2); /* and the other way round */
    CHAIN_LOCKED(&w->chain, chain_mine(&w->chain, payer.hex, q.nonce, 1000000, true, false));
    assert_slip(claim(w, q.nonce, mine), KMY_SLIP_DONE);
    assert_int_equal(credited_in_all(w), 2 * DOLLAR);
    assert_slip(present(w, KMY_SLIP_DEPOSIT, &q), KMY_SLIP_DONE);
    assert_int_equal(credited_in_all(w), 2 * DOLLAR);
    assert_int_equal(w->chain.settles, 1);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_transfer_is_credited_to_its_sender_once),
        cmocka_unit_test(a_settled_deposit_is_not_redeemed_again_as_a_transfer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
