/* engine/cashier_watch: what a chain takes back is taken back, and nothing is watched for ever. */
#include "tests/cashier_rig.h"

/* --- reorganizations ---------------------------------------------------------------------------------------- */

static void until_metric(world_t *w, int metric, int64_t want)
{
    int64_t late_ns = kmy_mono_ns() + PATIENCE_MS * KMY_NS_PER_MS;
    while (atomic_load(&w->metrics.value[metric]) < want && kmy_mono_ns() < late_ns)
        poll(NULL, 0, 5);
    assert_int_equal(atomic_load(&w->metrics.value[metric]), want);
}

static void what_a_reorganization_takes_back_is_taken_back(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1), other = wallet_of(2);
    payment_t p = pay(w, &payer, 1), q = pay(w, &other, 2);
    assert_slip(present(w, KMY_SLIP_DEPOSIT, &p), KMY_SLIP_DONE);
    assert_slip(present(w, KMY_SLIP_DEPOSIT, &q), KMY_SLIP_DONE);
    CHAIN_LOCKED(&w->chain, chain_forget(&w->chain, p.nonce));
    until_metric(w, KMY_METRIC_payment_reversed_total, 1);
    const kmy_slip_t *s = present(w, KMY_SLIP_DEPOSIT, &p);
    assert_slip(s, KMY_SLIP_REFUSED);
    assert_int_equal(s->err, KMY_CONFLICT);
    s = present(w, KMY_SLIP_DEPOSIT, &q); /* the other one stands */
    assert_slip(s, KMY_SLIP_DONE);
    assert_int_equal(s->balance_nusd, DOLLAR);
    world_end(w);
}

static void it_is_watched_on_after_a_restart(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1), other = wallet_of(2);
    payment_t p = pay(w, &payer, 1), q = pay(w, &other, 2);
    assert_slip(present(w, KMY_SLIP_DEPOSIT, &p), KMY_SLIP_DONE);
    assert_slip(present(w, KMY_SLIP_QUERY, &q), KMY_SLIP_DONE);
    for (int life = 0; life < 2; life++) {
        world_restart(w);
        CHAIN_LOCKED(&w->chain, w->chain.questions = 0);
        if (life == 0)
            CHAIN_LOCKED(&w->chain, chain_forget(&w->chain, p.nonce));
        else
            CHAIN_LOCKED(&w->chain, chain_forget(&w->chain, q.nonce));
        until_metric(w, KMY_METRIC_payment_reversed_total, life + 1);
    }
    const kmy_slip_t *s = present(w, KMY_SLIP_DEPOSIT, &p);
    assert_slip(s, KMY_SLIP_REFUSED);
    assert_int_equal(s->err, KMY_CONFLICT);
    world_end(w);
}

static void a_settled_payment_is_watched_only_until_it_is_deep(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1);
    payment_t p = pay(w, &payer, 1);
    assert_slip(present(w, KMY_SLIP_DEPOSIT, &p), KMY_SLIP_DONE);
    CHAIN_LOCKED(&w->chain, w->chain.head += 64);
    unsigned before = 0, after = 1;
    while (before != after) { /* until no more questions come: six looks' time */
        CHAIN_LOCKED(&w->chain, before = w->chain.questions);
        poll(NULL, 0, 300);
        CHAIN_LOCKED(&w->chain, after = w->chain.questions);
    }
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_reorganization_takes_back_is_taken_back),
        cmocka_unit_test(it_is_watched_on_after_a_restart),
        cmocka_unit_test(a_settled_payment_is_watched_only_until_it_is_deep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
