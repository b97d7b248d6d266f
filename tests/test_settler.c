/* pay/settler: an account's nonces without gaps, each of them sent until the chain has it, and never dearer than the operator allows. */
#include "pay/settler.h"

#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define GWEI UINT64_C(1000000000)
#define S    INT64_C(1000000000)
#define NOW  1790000000 /* Unix */

static const uint8_t token[20] = { 1 }, call[] = { 0xE3, 0xEE, 0x16, 0x0E };
static kmy_settler_t s;

/* An account that has made `count` transactions, on a chain that costs little. */
static void begin(uint64_t count)
{
    kmy_settler_init(&s, 100 * GWEI);
    s.chain_checked = true;
    s.base_fee = 10 * GWEI;
    s.tip = GWEI;
    s.coin = UINT64_MAX;
    kmy_settler_count(&s, count, count, 0);
}

static int end(void **state)
{
    (void)state;
    kmy_settler_free(&s);
    return 0;
}

static kmy_settler_tx_t *take(unsigned payment, int64_t now_ns)
{
    char id[KMY_PAYMENT_ID_DIGITS + 1];
    snprintf(id, sizeof id, "%032u", payment);
    return kmy_settler_take(&s, id, token, call, sizeof call, 80000, NOW + 60, now_ns);
}

static kmy_settler_tx_t *sent(unsigned payment, int64_t now_ns)
{
    kmy_settler_tx_t *tx = take(payment, now_ns);
    assert_non_null(tx);
    kmy_settler_said(&s, tx, KMY_EVM_SEND_TAKEN, now_ns);
    return tx;
}

static void a_price_is_two_base_fees_and_a_tip_below_the_cap(void **state)
{
    (void)state;
    static const struct {
        uint64_t base_fee, tip, cap;
        bool ok;
        uint64_t fee;
    } row[] = {
        { 10, 1, 100, true, 21 },  { 0, 0, 100, true, 0 },
        { 60, 1, 100, true, 100 }, /* the cap */
        { 99, 1, 100, true, 100 }, { 100, 1, 100, false, 0 },
        { 101, 0, 100, false, 0 }, { UINT64_MAX, UINT64_MAX, 100, false, 0 },
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        kmy_settler_fees_t f = { 0 };
        assert_int_equal(kmy_settler_price(row[i].base_fee, row[i].tip, row[i].cap, &f), row[i].ok);
        assert_true(f.fee == row[i].fee);
        assert_true(!row[i].ok || (f.tip == row[i].tip && f.tip <= f.fee && f.fee <= row[i].cap));
    }
    kmy_settler_fees_t f; /* no number wraps round */
    assert_true(kmy_settler_price(UINT64_MAX / 2 + 1, 5, UINT64_MAX, &f));
    assert_true(f.fee == UINT64_MAX);
}

static void nonces_follow_one_another_from_what_waits(void **state)
{
    (void)state;
    begin(5);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(sent(i, 0)->nonce, 5 + i);
    assert_int_equal(s.txs_count, 10);
    kmy_settler_count(&s, 9, 0, S);
    assert_int_equal(s.txs_count, 6);
    assert_null(kmy_settler_at(&s, 8));
    assert_int_equal(kmy_settler_at(&s, 9)->nonce, 9);
    assert_int_equal(sent(10, S)->nonce, 15);
}

static void nothing_is_taken_before_the_chain_was_asked(void **state)
{
    (void)state;
    kmy_settler_init(&s, 100 * GWEI);
    assert_null(take(1, 0));
    kmy_settler_count(&s, 0, 0, 0);
    assert_non_null(take(1, 0));
}

static void a_payment_is_found_until_it_is_mined(void **state)
{
    (void)state;
    begin(0);
    sent(1, 0);
    char id[33];
    snprintf(id, sizeof id, "%032u", 1u);
    assert_int_equal(kmy_settler_of(&s, id)->nonce, 0);
    kmy_settler_count(&s, 1, 0, S);
    assert_null(kmy_settler_of(&s, id));
}

static void one_more_than_there_are_places_must_wait(void **state)
{
    (void)state;
    begin(0);
    for (unsigned i = 0; i < KMY_SETTLER_TXS_MAX; i++)
        sent(i, 0);
    assert_null(take(1000, 0));
    kmy_settler_count(&s, 1, 0, S);
    assert_int_equal(take(1000, 0)->nonce, KMY_SETTLER_TXS_MAX);
}

/* --- what must be sent again ------------------------------------------------------------------------- */

static void bump_for_ever(uint64_t cap)
{
    begin(0);
    s.cap = cap;
    kmy_settler_tx_t *tx = sent(1, 0);
    kmy_settler_fees_t last = tx->fees;
    int64_t now = 0;
    assert_null(kmy_settler_again(&s, KMY_SETTLER_STUCK_NS - 1, NOW));
    for (int i = 0; i < 40; i++) {
        now += KMY_SETTLER_STUCK_NS;
        assert_ptr_equal(kmy_settler_again(&s, now, NOW), tx);
        bool same = tx->fees.fee == last.fee && tx->fees.tip == last.tip;
        /* what nodes want of a replacement: 10 % more of both */
        bool dearer =
            tx->fees.fee >= last.fee + last.fee / 10 && tx->fees.tip >= last.tip + last.tip / 10;
        assert_true(same || dearer);
        assert_true(tx->fees.fee <= s.cap && tx->fees.tip <= tx->fees.fee);
        last = tx->fees;
        kmy_settler_said(&s, tx, KMY_EVM_SEND_TAKEN, now);
    }
    assert_false(tx->empty);
}

static void what_is_not_mined_is_sent_again_dearer_and_never_above_the_cap(void **state)
{
    (void)state;
    bump_for_ever(30 * GWEI);
    assert_int_equal(s.txs[0].bumps, 3); /* 21, 23.6, 26.6, 29.9 */
    kmy_settler_free(&s);
    bump_for_ever(1000 * GWEI);
    assert_int_equal(s.txs[0].bumps, KMY_SETTLER_BUMPS_MAX);
}

static void one_that_only_waits_behind_another_is_sent_as_it_was(void **state)
{
    (void)state;
    begin(0);
    sent(1, 0);
    kmy_settler_tx_t *second = sent(2, 0);
    kmy_settler_fees_t first = second->fees;
    kmy_settler_tx_t *tx = kmy_settler_again(&s, KMY_SETTLER_STUCK_NS, NOW);
    assert_int_equal(tx->nonce, 0);
    kmy_settler_said(&s, tx, KMY_EVM_SEND_TAKEN, KMY_SETTLER_STUCK_NS);
    assert_ptr_equal(kmy_settler_again(&s, KMY_SETTLER_STUCK_NS, NOW), second);
    assert_true(second->fees.fee == first.fee);
    kmy_settler_said(&s, second, KMY_EVM_SEND_TAKEN, KMY_SETTLER_STUCK_NS);
    assert_null(kmy_settler_again(&s, KMY_SETTLER_STUCK_NS, NOW));
    s.base_fee = 40 * GWEI; /* now both are too cheap */
    kmy_settler_said(&s, kmy_settler_again(&s, 2 * KMY_SETTLER_STUCK_NS, NOW), KMY_EVM_SEND_TAKEN,
                     2 * KMY_SETTLER_STUCK_NS);
    assert_ptr_equal(kmy_settler_again(&s, 2 * KMY_SETTLER_STUCK_NS, NOW), second);
    assert_true(second->fees.fee == 81 * GWEI);
}

static void a_price_too_low_is_mended_within_a_second(void **state)
{
    (void)state;
    begin(0);
    kmy_settler_tx_t *tx = take(1, 0);
    uint64_t fee = tx->fees.fee;
    kmy_settler_said(&s, tx, KMY_EVM_SEND_PRICE, 0);
    assert_null(kmy_settler_again(&s, S - 1, NOW));
    assert_ptr_equal(kmy_settler_again(&s, S, NOW), tx);
    assert_true(tx->fees.fee > fee);
}

static void a_payment_that_ended_leaves_its_nonce_to_an_empty_transaction(void **state)
{
    (void)state;
    begin(0);
    kmy_settler_tx_t *tx = sent(1, 0);
    uint64_t fee = tx->fees.fee;
    assert_ptr_equal(kmy_settler_again(&s, KMY_SETTLER_STUCK_NS, NOW + 60), tx);
    assert_true(tx->empty && !tx->data && !tx->id[0]);
    assert_int_equal(tx->gas, KMY_SETTLER_GAS_EMPTY);
    assert_true(tx->fees.fee > fee); /* it replaces another */
}

static void while_nothing_can_be_had_below_the_cap_nothing_is_sent(void **state)
{
    (void)state;
    begin(0);
    sent(1, 0);
    s.base_fee = 100 * GWEI;
    assert_null(take(2, 0));
    assert_null(kmy_settler_again(&s, KMY_SETTLER_STUCK_NS, NOW));
    s.base_fee = GWEI;
    assert_non_null(kmy_settler_again(&s, KMY_SETTLER_STUCK_NS, NOW));
}

/* --- what the node said ------------------------------------------------------------------------------ */

static void a_lost_reply_keeps_the_nonce(void **state)
{
    (void)state;
    begin(3);
    kmy_settler_tx_t *tx = take(1, 0);
    kmy_settler_said(&s, tx, KMY_EVM_SEND_LOST, 0);
    assert_int_equal(take(2, 0)->nonce, 4);
    assert_ptr_equal(kmy_settler_again(&s, KMY_SETTLER_STUCK_NS, NOW), tx);
    assert_int_equal(tx->nonce, 3);
    assert_false(tx->empty);
}

static void what_cannot_be_paid_for_gives_its_nonce_back(void **state)
{
    (void)state;
    begin(3);
    kmy_settler_said(&s, take(1, 0), KMY_EVM_SEND_FUNDS, 0);
    assert_int_equal(s.txs_count, 0);
    assert_string_equal(kmy_settler_closed(&s), "settler_out_of_gas");
    s.coin = UINT64_MAX;
    assert_int_equal(take(2, 0)->nonce, 3);
}

static void a_gap_is_taken_by_the_next_payment_or_filled(void **state)
{
    (void)state;
    begin(3);
    kmy_settler_tx_t *gap = take(1, 0);
    sent(2, 0); /* nonce 4 waits behind it */
    kmy_settler_said(&s, gap, KMY_EVM_SEND_FUNDS, 0);
    assert_int_equal(s.txs_count, 2);
    assert_int_equal(take(3, 0)->nonce, 3);
    kmy_settler_drop(&s, kmy_settler_at(&s, 3), 0); /* not sent after all */
    assert_null(kmy_settler_again(&s, S - 1, NOW));
    kmy_settler_tx_t *tx = kmy_settler_again(&s, S, NOW);
    assert_int_equal(tx->nonce, 3);
    assert_true(tx->empty);
    assert_true(tx->fees.fee == 21 * GWEI); /* nothing to outbid */
    assert_int_equal(take(4, S)->nonce,
                     5); /* the gap is being filled, and not to be had any more */
}

static void a_gap_with_nobody_behind_it_is_none(void **state)
{
    (void)state;
    begin(3);
    kmy_settler_drop(&s, take(1, 0), 0);
    assert_int_equal(s.txs_count, 0);
    assert_int_equal(s.next, 3);
    assert_null(kmy_settler_again(&s, 100 * S, NOW));
}

static void a_nonce_that_another_used_is_counted_anew(void **state)
{
    (void)state;
    begin(3);
    kmy_settler_said(&s, take(1, 0), KMY_EVM_SEND_NONCE, 0);
    assert_null(take(1, 0)); /* until the chain was asked */
    kmy_settler_count(&s, 6, 8, 0);
    assert_int_equal(s.txs_count, 2); /* 6 and 7 wait, and are not ours to know */
    assert_int_equal(take(1, 0)->nonce, 8);
}

static void what_an_earlier_life_left_waiting_is_outbid_when_it_is_stuck(void **state)
{
    (void)state;
    kmy_settler_init(&s, 100 * GWEI);
    s.base_fee = 10 * GWEI;
    s.tip = GWEI;
    kmy_settler_count(&s, 3, 5, 0);
    assert_int_equal(sent(1, 0)->nonce, 5);
    assert_null(kmy_settler_again(&s, KMY_SETTLER_STUCK_NS - 1, NOW));
    kmy_settler_count(&s, 4, 0, S); /* one of the two is mined by itself */
    kmy_settler_tx_t *tx = kmy_settler_again(&s, KMY_SETTLER_STUCK_NS, NOW);
    assert_int_equal(tx->nonce, 4);
    assert_true(tx->empty && kmy_settler_has_foreign(&s));
    uint64_t fee = tx->fees.fee;
    kmy_settler_said(&s, tx, KMY_EVM_SEND_PRICE, KMY_SETTLER_STUCK_NS);
    tx = kmy_settler_again(&s, KMY_SETTLER_STUCK_NS + S, NOW);
    assert_int_equal(tx->nonce, 4);
    assert_true(tx->fees.fee > fee);
    kmy_settler_count(&s, 5, 0, 30 * S);
    assert_false(kmy_settler_has_foreign(&s));
}

static void what_a_reorganization_takes_away_is_filled(void **state)
{
    (void)state;
    begin(0);
    sent(1, 0);
    sent(2, 0);
    kmy_settler_count(&s, 2, 0, S);
    assert_int_equal(s.txs_count, 0);
    kmy_settler_count(&s, 1, 0, 2 * S);
    assert_int_equal(s.txs_count, 1);
    assert_int_equal(sent(3, 2 * S)->nonce, 2);
    kmy_settler_tx_t *tx = kmy_settler_again(&s, 2 * S + KMY_SETTLER_STUCK_NS, NOW);
    assert_int_equal(tx->nonce, 1);
    assert_true(tx->empty);
}

/* --- whether at all -------------------------------------------------------------------------------------- */

static void it_is_said_why_nothing_can_be_settled(void **state)
{
    (void)state;
    begin(0);
    assert_null(kmy_settler_closed(&s));
    s.coin = 21 * GWEI * KMY_SETTLER_GAS_USUAL - 1;
    assert_string_equal(kmy_settler_closed(&s), "settler_out_of_gas");
    s.coin++;
    assert_null(kmy_settler_closed(&s));
    assert_int_equal(kmy_settler_left(&s), 1); /* at 11 gwei that are taken of it */
    s.base_fee = 100 * GWEI;
    assert_string_equal(kmy_settler_closed(&s), "settler_fees_above_cap");
    s.known = false;
    assert_string_equal(kmy_settler_closed(&s), "settler_unreachable");
    s.chain_wrong = true;
    assert_string_equal(kmy_settler_closed(&s), "settler_wrong_chain");
    s.base_fee = s.tip = 0; /* a chain that costs nothing */
    assert_int_equal(kmy_settler_left(&s), INT32_MAX);
}

/* --- worlds ------------------------------------------------------------------------------------------------- */

/* A node and its chain: which nonces it holds, mines in order, forgets at times.  Whatever happens, in the end all nonces that were given out are in blocks. */
typedef struct world {
    uint64_t mined;
    bool holds[4096];
    unsigned seed;
} world_t;

static unsigned dice(world_t *w, unsigned sides)
{
    w->seed = w->seed * 1103515245u + 12345u;
    return (w->seed >> 16) % sides;
}

static kmy_evm_send_t node_takes(world_t *w, const kmy_settler_tx_t *tx, bool trouble)
{
    if (tx->nonce < w->mined)
        return KMY_EVM_SEND_NONCE;
    unsigned what = trouble ? dice(w, 8) : 7;
    if (what == 0)
        return KMY_EVM_SEND_FUNDS;
    if (what == 1)
        return KMY_EVM_SEND_PRICE;
    if (what == 2)
        return KMY_EVM_SEND_LOST; /* and it has not got it */
    w->holds[tx->nonce] = true;
    return what == 3 ? KMY_EVM_SEND_LOST : KMY_EVM_SEND_TAKEN;
}

static void one_world(unsigned seed)
{
    static world_t w;
    memset(&w, 0, sizeof w);
    w.seed = seed;
    w.mined = 7;
    begin(7);
    int64_t now = 0;
    unsigned payment = 0;
    for (int turn = 0; turn < 400; turn++) {
        bool trouble = turn < 200;
        now += S;
        s.coin = UINT64_MAX;
        kmy_settler_tx_t *tx = trouble && dice(&w, 2) ? take(++payment, now) : NULL;
        if (tx) {
            if (dice(&w, 9) == 0)
                kmy_settler_drop(&s, tx, now);
            else
                kmy_settler_said(&s, tx, node_takes(&w, tx, true), now);
        }
        while ((tx = kmy_settler_again(&s, now, NOW + (int64_t)turn / 10)))
            kmy_settler_said(&s, tx, node_takes(&w, tx, trouble), now);
        while (w.mined < 4096 && w.holds[w.mined] && dice(&w, 3))
            w.mined++;
        if (trouble && dice(&w, 20) == 0)
            w.holds[w.mined + dice(&w, 4)] = false;
        uint64_t pending = w.mined;
        while (pending < 4096 && w.holds[pending])
            pending++;
        uint64_t lag = trouble && dice(&w, 10) == 0 && w.mined > 8 ? 1 : 0;
        kmy_settler_count(&s, w.mined - lag, pending, now);
        for (uint32_t i = 1; i < s.txs_count; i++)
            KMY_ASSERT(s.txs[i - 1].nonce < s.txs[i].nonce && s.txs[i].nonce < s.next);
    }
    if (s.mined != s.next || s.txs_count != 0)
        fail_msg("seed %u: %u are left of %u payments", seed, s.txs_count, payment);
    kmy_settler_free(&s);
}

static void in_the_end_every_nonce_is_in_a_block(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 2000; seed++)
        one_world(seed);
}

int main(void)
{
#define T(name) cmocka_unit_test_teardown(name, end)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_price_is_two_base_fees_and_a_tip_below_the_cap),
        T(nonces_follow_one_another_from_what_waits),
        T(nothing_is_taken_before_the_chain_was_asked),
        T(a_payment_is_found_until_it_is_mined),
        T(one_more_than_there_are_places_must_wait),
        T(what_is_not_mined_is_sent_again_dearer_and_never_above_the_cap),
        T(one_that_only_waits_behind_another_is_sent_as_it_was),
        T(a_price_too_low_is_mended_within_a_second),
        T(a_payment_that_ended_leaves_its_nonce_to_an_empty_transaction),
        T(while_nothing_can_be_had_below_the_cap_nothing_is_sent),
        T(a_lost_reply_keeps_the_nonce),
        T(what_cannot_be_paid_for_gives_its_nonce_back),
        T(a_gap_is_taken_by_the_next_payment_or_filled),
        T(a_gap_with_nobody_behind_it_is_none),
        T(a_nonce_that_another_used_is_counted_anew),
        T(what_an_earlier_life_left_waiting_is_outbid_when_it_is_stuck),
        T(what_a_reorganization_takes_away_is_filled),
        T(it_is_said_why_nothing_can_be_settled),
        T(in_the_end_every_nonce_is_in_a_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
