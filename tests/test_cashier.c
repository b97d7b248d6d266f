/* engine/cashier: whatever the facilitator does and whenever we die, a payment is credited once if the chain has it, and not at all if it has not.  The
   cashier, the keeper and the ledger are the real ones; the shards, the facilitator and the chain are this file's. */
#include "tests/cashier_rig.h"

#include "pay/payment_id.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* --- deposits ------------------------------------------------------------------------------------------ */

static void a_payment_is_settled_once_and_credited_once(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1);
    for (int version = 1; version <= 2; version++) {
        payment_t p =
            pay_with(&payer, &w->entry, version, (uint32_t)version, time(NULL) + 60, NULL);
        const kmy_slip_t *s = present(w, KMY_SLIP_DEPOSIT, &p);
        assert_slip(s, KMY_SLIP_DONE);
        assert_string_equal(s->state, "settled");
        assert_int_equal(s->paid_version, version);
        assert_int_equal(s->credited_nusd, DOLLAR);
        assert_int_equal(s->balance_nusd, version * DOLLAR);
        assert_string_equal(s->network, "eip155:8453");
        assert_int_equal(strncmp(s->account, "eip155:8453:0x", 14), 0);
        assert_string_equal(s->account + 14, payer.hex);
        assert_int_equal(strncasecmp(s->payer + 2, payer.hex, 40), 0);
        assert_string_equal(s->tx + 2, p.nonce);
        assert_int_equal(strlen(s->payment_id), 32);
        assert_int_equal(s->exposed, 0); /* it came from who signed it */
    }
    assert_int_equal(w->chain.settles, 2);
    assert_int_equal(w->metrics.value[KMY_METRIC_payment_settled_total], 2);
    world_end(w);
}

static void a_thousand_presentations_at_once_are_one_payment(void **state)
{
    (void)state;
    enum { TIMES = 1000 };
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1);
    payment_t p = pay(w, &payer, 1);
    for (uint32_t i = 0; i < TIMES; i++)
        present_on(w, i % SHARDS, KMY_SLIP_DEPOSIT, &p);
    char id[KMY_PAYMENT_ID_BYTES] = "";
    for (uint32_t i = 0; i < TIMES; i++) {
        const kmy_slip_t *s = hear(w, i % SHARDS);
        assert_slip(s, KMY_SLIP_DONE);
        assert_string_equal(s->tx + 2, p.nonce);
        assert_int_equal(s->credited_nusd, DOLLAR);
        assert_int_equal(s->balance_nusd, DOLLAR);
        if (i == 0)
            memcpy(id, s->payment_id, sizeof id);
        assert_string_equal(s->payment_id, id);
    }
    assert_int_equal(w->chain.settles, 1);
    assert_int_equal(credited_in_all(w), DOLLAR);
    world_end(w);
}

static void the_same_payment_again_later_gets_the_same_answer(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1);
    payment_t p = pay(w, &payer, 1);
    assert_slip(present(w, KMY_SLIP_DEPOSIT, &p), KMY_SLIP_DONE);
    const kmy_slip_t *again = present(w, KMY_SLIP_DEPOSIT, &p);
    assert_slip(again, KMY_SLIP_DONE);
    assert_int_equal(again->exposed, 1);
    world_restart(w);
    const kmy_slip_t *s = present(w, KMY_SLIP_DEPOSIT, &p);
    assert_slip(s, KMY_SLIP_DONE);
    assert_int_equal(s->balance_nusd, DOLLAR);
    assert_int_equal(s->exposed, 1); /* the chain shows it to everybody now */
    assert_int_equal(w->chain.settles, 1);
    assert_int_equal(credited_in_all(w), DOLLAR);
    world_end(w);
}

/* A copy whose signature was turned into its other half (n - s) is refused, and is not another payment: nothing is credited for it. */
static void what_is_not_what_was_asked_for_is_refused_and_nobody_is_asked(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1), other = wallet_of(2);
    kmy_pay_entry_t cheap = w->entry, elsewhere;
    kmy_pay_entry_price(&cheap, 999999);
    const kmy_pay_terms_t terms = { .name = "base-sepolia", .pay_to = US };
    assert_int_equal(kmy_pay_entry_init(&elsewhere, &terms, NULL), KMY_OK);
    kmy_pay_entry_price(&elsewhere, 1000000);
    char forged[131];
    memset(forged, '1', 130);
    forged[130] = 0;
    struct {
        payment_t p;
        const char *reason;
    } row[] = {
        { pay_with(&payer, &cheap, 1, 1, time(NULL) + 60, NULL),
          "invalid_exact_evm_payload_authorization_value" },
        { pay_with(&payer, &elsewhere, 1, 2, time(NULL) + 60, NULL), "invalid_network" },
        { pay_with(&payer, &w->entry, 1, 3, time(NULL) + 3, NULL),
          "invalid_exact_evm_payload_authorization_valid_before" },
        { pay_with(&other, &w->entry, 1, 4, time(NULL) + 60, forged),
          "invalid_exact_evm_payload_signature" },
        { { .header = "rubbish" }, "invalid_payload" },
        { { .header = "" }, "invalid_payload" },
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        const kmy_slip_t *s = present(w, KMY_SLIP_DEPOSIT, &row[i].p);
        assert_slip(s, KMY_SLIP_REFUSED);
        assert_string_equal(s->reason, row[i].reason);
        assert_int_equal(s->err, KMY_UNPAID);
    }
    assert_int_equal(w->chain.settles, 0);
    assert_int_equal(credited_in_all(w), 0);
    world_end(w);
}

static void a_stream_takes_only_its_own_accounts_payment(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1), other = wallet_of(2);
    static const struct {
        const char *chain;
        bool own;
    } row[] = { { "eip155:8453", false }, { "eip155:8453", true }, { "eip155:1", true } };
    for (uint32_t i = 0; i < 3; i++) {
        payment_t p = pay(w, &payer, i);
        kmy_slip_t *s = take_slip(w, 0, KMY_SLIP_DEPOSIT);
        snprintf(s->account, sizeof s->account, "%s:0x%s", row[i].chain,
                 row[i].own ? payer.hex : other.hex);
        put_header(s, p.header);
        say(w, 0, s);
        s = hear(w, 0);
        assert_slip(s, row[i].own ? KMY_SLIP_DONE : KMY_SLIP_REFUSED);
        assert_int_equal(s->err, row[i].own ? 0 : KMY_FORBIDDEN);
        assert_string_equal(s->reason, row[i].own ? "" : "payer_mismatch");
    }
    world_end(w);
}

/* What ended may have been paid in time: its holder is told what the ledger has, and it is never submitted any more. */
static void a_payment_that_has_ended_is_answered_as_it_came_out(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1);
    int64_t end_s = time(NULL) + 7; /* with 6 s left it is too late for a new one */
    payment_t paid = pay_with(&payer, &w->entry, 1, 1, end_s, NULL);
    payment_t never = pay_with(&payer, &w->entry, 1, 2, end_s, NULL);
    assert_slip(present(w, KMY_SLIP_DEPOSIT, &paid), KMY_SLIP_DONE);
    while (time(NULL) + 6 <= end_s)
        poll(NULL, 0, 50);
    const kmy_slip_t *s = present(w, KMY_SLIP_DEPOSIT, &paid);
    assert_slip(s, KMY_SLIP_DONE);
    assert_int_equal(s->balance_nusd, DOLLAR);
    s = present(w, KMY_SLIP_DEPOSIT, &never);
    assert_slip(s, KMY_SLIP_REFUSED);
    assert_string_equal(s->reason, "invalid_exact_evm_payload_authorization_valid_before");
    assert_string_equal(s->state, ""); /* it was never ours */
    assert_int_equal(w->chain.settles, 1);
    world_end(w);
}

static void a_clients_own_identifier_names_one_of_its_payments(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1), other = wallet_of(2);
    static const struct {
        int who;
        uint32_t nonce;
        const char *id;
        uint32_t want;
        kmy_err_t err;
    } row[] = {
        { 1, 1, "0123456789abcdef", KMY_SLIP_DONE, KMY_OK },
        { 1, 1, "0123456789abcdef", KMY_SLIP_DONE, KMY_OK }, /* the same payment */
        { 1, 2, "0123456789abcdef", KMY_SLIP_REFUSED, KMY_CONFLICT },
        { 1, 3, "0123456789abcdeF", KMY_SLIP_DONE, KMY_OK },
        { 2, 4, "0123456789abcdef", KMY_SLIP_DONE, KMY_OK }, /* another client's */
        { 1, 5, "too-short", KMY_SLIP_REFUSED, KMY_UNPAID },
        { 1, 6, "0123456789 abcdef", KMY_SLIP_REFUSED, KMY_UNPAID },
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        payment_t p = pay_with(row[i].who == 1 ? &payer : &other, &w->entry, 2, row[i].nonce,
                               time(NULL) + 60, NULL);
        payment_t q = pay_as(&p, row[i].id);
        const kmy_slip_t *s = present(w, KMY_SLIP_DEPOSIT, &q);
        if (s->result != row[i].want)
            print_error("row %zu\n", i);
        assert_slip(s, row[i].want);
        assert_int_equal(s->err, row[i].err);
    }
    assert_int_equal(credited_in_all(w), 3 * DOLLAR);
    world_end(w);
}

static void a_payer_has_only_so_many_under_way(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1);
    CHAIN_LOCKED(&w->chain, w->chain.manners = IS_SILENT);
    for (uint32_t i = 0; i < 4; i++) {
        payment_t p = pay(w, &payer, i);
        present_on(w, 1 + i, KMY_SLIP_DEPOSIT, &p);
    }
    for (unsigned seen = 0; seen < 4;)
        CHAIN_LOCKED(&w->chain, seen = w->chain.settles);
    payment_t p = pay(w, &payer, 4);
    const kmy_slip_t *s = present(w, KMY_SLIP_DEPOSIT, &p);
    assert_slip(s, KMY_SLIP_REFUSED);
    assert_int_equal(s->err, KMY_FULL);
    kmy_cashier_drain(w->cashier);
    for (uint32_t i = 0; i < 4; i++)
        assert_slip(hear(w, 1 + i), KMY_SLIP_PENDING);
    world_end(w);
}

/* --- the disk --------------------------------------------------------------------------------------------- */

static void file_bytes_max(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void what_the_disk_refused_is_credited_when_it_takes_it(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1), other = wallet_of(2);
    payment_t p = pay(w, &payer, 1), q = pay(w, &other, 2);
    signal(SIGXFSZ, SIG_IGN);
    CHAIN_LOCKED(&w->chain,
                 w->chain.manners = SETTLES_AND_CUTS); /* so that it is found a second later */
    present_on(w, 0, KMY_SLIP_DEPOSIT, &p);
    for (unsigned seen = 0; seen == 0;)
        CHAIN_LOCKED(&w->chain, seen = w->chain.settles);
    file_bytes_max(4096); /* any write beyond the meta pages fails */
    const kmy_slip_t *s = hear_within(w, 0, 1800);
    assert_null(s); /* nothing is said to be credited that is not on disk */
    present_on(w, 1, KMY_SLIP_DEPOSIT, &q);
    s = hear(w, 1);
    assert_slip(s, KMY_SLIP_REFUSED);
    assert_int_equal(s->err, KMY_UNAVAILABLE);
    file_bytes_max(RLIM_INFINITY);
    assert_slip(hear(w, 0), KMY_SLIP_DONE);
    assert_int_equal(w->chain.settles, 1);
    assert_int_equal(credited_in_all(w), DOLLAR);
    world_end(w);
}

/* --- the facilitator, with a chain that is asked -------------------------------------------------------- */

static void until_submitted(world_t *w, unsigned count)
{
    for (unsigned seen = 0; seen < count;)
        CHAIN_LOCKED(&w->chain, seen = w->chain.settles);
}

static void with_a_chain_to_ask_no_manners_of_the_facilitator_change_what_is_credited(void **state)
{
    (void)state;
    static const struct {
        manners_t manners;
        uint32_t want;
        const char *reason;
    } row[] = {
        { SETTLES, KMY_SLIP_DONE, "" },
        { SETTLES_AND_CUTS, KMY_SLIP_DONE, "" },
        { SETTLES_AND_SAYS_NO, KMY_SLIP_DONE, "" },
        { SETTLES_LATER, KMY_SLIP_DONE, "" },
        { ANSWERS_FOR_ANOTHER, KMY_SLIP_DONE, "" },
        { REFUSES, KMY_SLIP_REFUSED, "insufficient_funds" },
        { PAYS_LESS, KMY_SLIP_REFUSED, "invalid_transaction_state" },
        { ONLY_EMITS, KMY_SLIP_REFUSED, "invalid_transaction_state" },
        { CUTS, KMY_SLIP_PENDING, "" },
        { ANSWERS_500, KMY_SLIP_PENDING, "" },
        { ANSWERS_GARBAGE, KMY_SLIP_PENDING, "" },
        { LIES, KMY_SLIP_PENDING, "" },
        { IS_SILENT, KMY_SLIP_PENDING, "" },
    };
    enum { ROWS = sizeof row / sizeof row[0] };
    world_t *w = new_world(true, "");
    manners_t manners[ROWS];
    int64_t credited = 0;
    for (uint32_t i = 0; i < ROWS; i++)
        manners[i] = row[i].manners;
    CHAIN_LOCKED(&w->chain, w->chain.manners_of = manners);
    for (uint32_t i = 0; i < ROWS; i++) { /* all of them at once: each on its own shard */
        wallet_t payer = wallet_of(100 + i);
        payment_t p = pay(w, &payer, i);
        kmy_slip_t *s = take_slip(w, i, KMY_SLIP_DEPOSIT);
        put_header(s, p.header);
        if (row[i].want == KMY_SLIP_PENDING)
            s->deadline_ns = kmy_mono_ns() + 2000 * KMY_NS_PER_MS;
        say(w, i, s);
    }
    for (uint32_t i = 0; i < ROWS; i++) {
        const kmy_slip_t *s = hear(w, i);
        if (s->result != row[i].want)
            print_error("row %u\n", i);
        assert_slip(s, row[i].want);
        assert_string_equal(s->reason, row[i].reason);
        if (s->result == KMY_SLIP_PENDING)
            assert_true(strcmp(s->state, "settled") != 0 && strcmp(s->state, "failed") != 0);
        credited += row[i].want == KMY_SLIP_DONE ? DOLLAR : 0;
    }
    until_submitted(w, ROWS);
    assert_int_equal(credited_in_all(w), credited);
    assert_int_equal(w->chain.settles, ROWS); /* one submission each */
    world_end(w);
}

static void a_transaction_that_comes_late_is_credited_when_it_comes(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1);
    payment_t p = pay(w, &payer, 1);
    CHAIN_LOCKED(&w->chain, w->chain.manners = LIES);
    kmy_slip_t *s = take_slip(w, 0, KMY_SLIP_DEPOSIT);
    s->deadline_ns = kmy_mono_ns() + 100 * KMY_NS_PER_MS;
    put_header(s, p.header);
    say(w, 0, s);
    s = hear(w, 0);
    assert_slip(s, KMY_SLIP_PENDING);
    until_submitted(w, 1);
    present_on(w, 0, KMY_SLIP_DEPOSIT, &p); /* the same header waits again */
    CHAIN_LOCKED(&w->chain, chain_mine(&w->chain, payer.hex, p.nonce, 1000000, true, false));
    s = hear(w, 0);
    assert_slip(s, KMY_SLIP_DONE);
    assert_int_equal(s->exposed,
                     1); /* who came when it was submitted already may not be who signed it */
    assert_int_equal(w->chain.settles, 1);
    assert_int_equal(credited_in_all(w), DOLLAR);
    world_end(w);
}

static void somebody_else_submitted_it_first_and_it_counts(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1);
    payment_t p = pay(w, &payer, 1);
    CHAIN_LOCKED(&w->chain, chain_mine(&w->chain, payer.hex, p.nonce, 1000000, true, false));
    const kmy_slip_t *s = present(w, KMY_SLIP_DEPOSIT, &p);
    assert_slip(s, KMY_SLIP_DONE);
    assert_int_equal(s->exposed, 1); /* who brings it now may have read it in the chain */
    assert_int_equal(w->chain.settles, 0);
    assert_int_equal(credited_in_all(w), DOLLAR);
    world_end(w);
}

static void a_cancelled_authorization_is_worth_nothing(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1);
    payment_t p = pay(w, &payer, 1);
    CHAIN_LOCKED(&w->chain, chain_mine(&w->chain, payer.hex, p.nonce, 0, false, true));
    const kmy_slip_t *s = present(w, KMY_SLIP_DEPOSIT, &p);
    assert_slip(s, KMY_SLIP_REFUSED);
    assert_string_equal(s->state, "failed");
    assert_int_equal(w->chain.settles, 0);
    assert_int_equal(credited_in_all(w), 0);
    world_end(w);
}

/* Whether the ledger has it: the state in its own words, "" if it has not. */
static const char *state_of(world_t *w, const wallet_t *payer, const payment_t *p)
{
    static char state[16];
    uint8_t nonce[32], word[32] = { 0 };
    kmy_slip_t *s = take_slip(w, 1, KMY_SLIP_STATE);
    assert_true(kmy_hex_decode(p->nonce, 64, nonce, sizeof nonce));
    memcpy(word, payer->address, sizeof payer->address);
    kmy_payment_id(&w->entry, word, nonce, s->payment_id);
    say(w, 1, s);
    s = hear(w, 1);
    snprintf(state, sizeof state, "%s", s->result == KMY_SLIP_DONE ? s->state : "");
    return state;
}

static void for_an_empty_wallet_nothing_is_written_and_nothing_submitted(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1);
    payment_t p = pay(w, &payer, 1);
    CHAIN_LOCKED(&w->chain, w->chain.empty_wallets = true);
    for (int again = 0; again < 2; again++) {
        const kmy_slip_t *s = present(w, KMY_SLIP_DEPOSIT, &p);
        assert_slip(s, KMY_SLIP_REFUSED);
        assert_int_equal(s->err, KMY_UNPAID);
        assert_string_equal(s->reason, "insufficient_funds");
        assert_string_equal(s->state, "");
        assert_string_equal(state_of(w, &payer, &p), "");
    }
    assert_int_equal(w->chain.settles, 0);
    assert_int_equal(w->chain.questions, 4); /* and nobody asks any more: two each, no watch */
    CHAIN_LOCKED(&w->chain, w->chain.empty_wallets = false);
    assert_slip(present(w, KMY_SLIP_DEPOSIT, &p), KMY_SLIP_DONE); /* the same header, funded now */
    assert_string_equal(state_of(w, &payer, &p), "settled");
    assert_int_equal(credited_in_all(w), DOLLAR);
    world_end(w);
}

/* As it is when many who hold the same header come at once. */
static void many_presentations_for_an_empty_wallet_are_one_question(void **state)
{
    (void)state;
    enum { TIMES = 200 };
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1);
    payment_t p = pay(w, &payer, 1);
    CHAIN_LOCKED(&w->chain, w->chain.node_is_down = true); /* all of them come while it is asked */
    for (uint32_t i = 0; i < TIMES; i++)
        present_on(w, i % SHARDS, KMY_SLIP_DEPOSIT, &p);
    for (unsigned asked = 0; asked == 0;)
        CHAIN_LOCKED(&w->chain, asked = w->chain.questions);
    while (w->metrics.value[KMY_METRIC_payment_check_total] < TIMES)
        poll(NULL, 0, 10);
    unsigned before;
    CHAIN_LOCKED(&w->chain, {
        w->chain.empty_wallets = true;
        w->chain.node_is_down = false;
        before = w->chain.questions;
    });
    for (uint32_t i = 0; i < TIMES; i++) {
        const kmy_slip_t *s = hear(w, i % SHARDS);
        assert_slip(s, KMY_SLIP_REFUSED);
        assert_string_equal(s->reason, "insufficient_funds");
    }
    assert_int_equal(w->chain.questions - before, 2);
    world_end(w);
}

/* Who paid all he had is answered as before, whether the chain says so or says nothing. */
static void what_was_paid_is_answered_though_the_wallet_is_empty_now(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1);
    payment_t p = pay(w, &payer, 1);
    assert_slip(present(w, KMY_SLIP_DEPOSIT, &p), KMY_SLIP_DONE);
    world_restart(w);
    CHAIN_LOCKED(&w->chain, w->chain.empty_wallets = true);
    assert_slip(present(w, KMY_SLIP_DEPOSIT, &p), KMY_SLIP_DONE);
    CHAIN_LOCKED(&w->chain, w->chain.node_is_down = true);
    assert_slip(present(w, KMY_SLIP_DEPOSIT, &p), KMY_SLIP_DONE);
    assert_int_equal(w->chain.settles, 1);
    world_end(w);
}

/* The wallet is empty because the money is with us. */
static void submitted_by_somebody_else_it_counts_for_an_empty_wallet_too(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1);
    payment_t p = pay(w, &payer, 1);
    CHAIN_LOCKED(&w->chain, {
        w->chain.empty_wallets = true;
        chain_mine(&w->chain, payer.hex, p.nonce, 1000000, true, false);
    });
    assert_slip(present(w, KMY_SLIP_DEPOSIT, &p), KMY_SLIP_DONE);
    assert_int_equal(w->chain.settles, 0);
    assert_int_equal(credited_in_all(w), DOLLAR);
    world_end(w);
}

static void while_the_chain_is_silent_nothing_is_written_and_who_waits_is_told(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1);
    payment_t p = pay(w, &payer, 1);
    CHAIN_LOCKED(&w->chain, w->chain.node_is_down = true);
    kmy_slip_t *s = take_slip(w, 0, KMY_SLIP_DEPOSIT);
    s->deadline_ns = kmy_mono_ns() + 300 * KMY_NS_PER_MS;
    put_header(s, p.header);
    say(w, 0, s);
    s = hear(w, 0);
    assert_slip(s, KMY_SLIP_REFUSED);
    assert_int_equal(s->err, KMY_UNAVAILABLE);
    assert_string_equal(state_of(w, &payer, &p), "");
    present_on(w, 0, KMY_SLIP_DEPOSIT, &p); /* waits until the node is back */
    CHAIN_LOCKED(&w->chain, w->chain.node_is_down = false);
    assert_slip(hear(w, 0), KMY_SLIP_DONE);
    assert_int_equal(credited_in_all(w), DOLLAR);
    world_end(w);
}

static void a_refused_payment_can_be_sent_again_and_is_tried_again(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1);
    payment_t p = pay(w, &payer, 1);
    CHAIN_LOCKED(&w->chain, w->chain.manners = REFUSES);
    assert_slip(present(w, KMY_SLIP_DEPOSIT, &p), KMY_SLIP_REFUSED);
    assert_slip(present(w, KMY_SLIP_DEPOSIT, &p), KMY_SLIP_REFUSED);
    assert_int_equal(w->chain.settles, 2);
    CHAIN_LOCKED(&w->chain, w->chain.manners = SETTLES);
    assert_slip(present(w, KMY_SLIP_DEPOSIT, &p), KMY_SLIP_DONE);
    assert_int_equal(w->chain.settles, 3);
    assert_int_equal(credited_in_all(w), DOLLAR);
    world_end(w);
}

static void refused_and_restarted_it_can_be_sent_again_too(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1);
    payment_t p = pay(w, &payer, 1);
    CHAIN_LOCKED(&w->chain, w->chain.manners = REFUSES);
    assert_slip(present(w, KMY_SLIP_DEPOSIT, &p), KMY_SLIP_REFUSED);
    world_restart(w);
    CHAIN_LOCKED(&w->chain, w->chain.manners = SETTLES);
    assert_slip(present(w, KMY_SLIP_DEPOSIT, &p), KMY_SLIP_DONE);
    assert_int_equal(credited_in_all(w), DOLLAR);
    world_end(w);
}

static void it_counts_when_it_is_as_deep_as_wanted(void **state)
{
    (void)state;
    world_t *w = new_world(true, ", confirmations: 3");
    wallet_t payer = wallet_of(1);
    payment_t p = pay(w, &payer, 1);
    kmy_slip_t *s = take_slip(w, 0, KMY_SLIP_DEPOSIT);
    s->deadline_ns = kmy_mono_ns() + 1500 * KMY_NS_PER_MS;
    put_header(s, p.header);
    say(w, 0, s);
    assert_slip(hear(w, 0), KMY_SLIP_PENDING);
    assert_int_equal(credited_in_all(w), 0);
    present_on(w, 0, KMY_SLIP_DEPOSIT, &p);
    CHAIN_LOCKED(&w->chain, w->chain.head += 2);
    assert_slip(hear(w, 0), KMY_SLIP_DONE);
    world_end(w);
}

/* --- the facilitator alone ------------------------------------------------------------------------------ */

static void without_a_chain_the_facilitators_word_counts_if_it_is_about_ours(void **state)
{
    (void)state;
    static const struct {
        manners_t manners;
        uint32_t want;
    } row[] = {
        { SETTLES, KMY_SLIP_DONE },
        { REFUSES, KMY_SLIP_REFUSED },
        { ANSWERS_FOR_ANOTHER, KMY_SLIP_PENDING },
        { ANSWERS_GARBAGE, KMY_SLIP_PENDING },
    };
    world_t *w = new_world(false, "");
    for (uint32_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        wallet_t payer = wallet_of(100 + i);
        payment_t p = pay(w, &payer, i);
        CHAIN_LOCKED(&w->chain, w->chain.manners = row[i].manners);
        kmy_slip_t *s = take_slip(w, 0, KMY_SLIP_DEPOSIT);
        if (row[i].want == KMY_SLIP_PENDING)
            s->deadline_ns = kmy_mono_ns() + 300 * KMY_NS_PER_MS;
        put_header(s, p.header);
        say(w, 0, s);
        assert_slip(hear(w, 0), row[i].want);
    }
    assert_int_equal(w->chain.questions, 0);
    assert_int_equal(credited_in_all(w), DOLLAR);
    world_end(w);
}

static void a_bearer_for_the_facilitator_comes_from_the_environment(void **state)
{
    (void)state;
    setenv("KAMIYO_FACILITATOR_TOKEN", "f4c-word", 1);
    world_t *w = new_world(false, "");
    unsetenv("KAMIYO_FACILITATOR_TOKEN");
    wallet_t payer = wallet_of(1);
    payment_t p = pay(w, &payer, 1);
    assert_slip(present(w, KMY_SLIP_DEPOSIT, &p), KMY_SLIP_DONE);
    assert_string_equal(w->chain.bearer, "f4c-word");
    world_end(w);
}

/* --- restarts -------------------------------------------------------------------------------------------- */

static void settled_while_we_were_away_it_is_credited_at_the_next_start(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1);
    payment_t p = pay(w, &payer, 1);
    CHAIN_LOCKED(&w->chain, w->chain.manners = IS_SILENT);
    present_on(w, 0, KMY_SLIP_DEPOSIT, &p);
    for (unsigned seen = 0; seen == 0;) /* until it was submitted */
        CHAIN_LOCKED(&w->chain, seen = w->chain.settles);
    kmy_cashier_drain(w->cashier); /* who waits is told at once */
    const kmy_slip_t *s = hear(w, 0);
    assert_slip(s, KMY_SLIP_PENDING);
    assert_string_equal(s->state, "submitted");
    char id[KMY_PAYMENT_ID_BYTES];
    memcpy(id, s->payment_id, sizeof id);
    world_stop(w);
    CHAIN_LOCKED(&w->chain, chain_mine(&w->chain, payer.hex, p.nonce, 1000000, true, false));
    world_start(w);
    for (bool settled = false; !settled;) { /* the payer asks how it stands, and pays no more */
        kmy_slip_t *q = take_slip(w, 0, KMY_SLIP_STATE);
        memcpy(q->payment_id, id, sizeof id);
        say(w, 0, q);
        q = hear(w, 0);
        assert_slip(q, KMY_SLIP_DONE);
        settled = strcmp(q->state, "settled") == 0;
        if (settled)
            assert_int_equal(q->credited_nusd, DOLLAR);
    }
    assert_slip(present(w, KMY_SLIP_DEPOSIT, &p), KMY_SLIP_DONE);
    assert_int_equal(w->chain.settles, 1);
    assert_int_equal(credited_in_all(w), DOLLAR);
    world_end(w);
}

static void a_drained_cashier_submits_nothing(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1);
    payment_t p = pay(w, &payer, 1);
    kmy_cashier_drain(w->cashier);
    const kmy_slip_t *s = present(w, KMY_SLIP_DEPOSIT, &p);
    assert_slip(s, KMY_SLIP_REFUSED);
    assert_int_equal(s->err, KMY_UNAVAILABLE);
    assert_int_equal(w->chain.settles, 0);
    world_end(w);
}

static void on_a_damaged_ledger_no_payment_is_taken(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t payer = wallet_of(1);
    payment_t p = pay(w, &payer, 1);
    atomic_store(&w->t.ledger_damaged, true);
    const kmy_slip_t *s = present(w, KMY_SLIP_DEPOSIT, &p);
    assert_slip(s, KMY_SLIP_REFUSED);
    assert_int_equal(s->err, KMY_UNAVAILABLE);
    assert_int_equal(w->chain.questions + w->chain.settles, 0);
    world_end(w);
}

/* --- contract wallets -------------------------------------------------------------------------------------- */

static void a_contract_wallets_signature_is_its_chains_to_judge(void **state)
{
    (void)state;
    world_t *w = new_world(true, "");
    wallet_t wallet = wallet_of(1);
    char short_one[131], long_one[301];
    memset(short_one, '1', 130);
    short_one[130] = 0;
    memset(long_one, '2', 300);
    long_one[300] = 0;
    struct {
        const char *signature;
        bool code, ok;
        uint32_t want;
    } row[] = {
        { short_one, false, true, KMY_SLIP_REFUSED }, /* nobody's */
        { short_one, true, false, KMY_SLIP_REFUSED }, { short_one, true, true, KMY_SLIP_DONE },
        { long_one, true, false, KMY_SLIP_REFUSED },  { long_one, true, true, KMY_SLIP_DONE },
    };
    for (uint32_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        CHAIN_LOCKED(&w->chain, {
            snprintf(w->chain.contract, sizeof w->chain.contract, "%s",
                     row[i].code ? wallet.hex : "");
            w->chain.signature_ok = row[i].ok;
        });
        payment_t p = pay_with(&wallet, &w->entry, 1, i, time(NULL) + 60, row[i].signature);
        const kmy_slip_t *s = present(w, KMY_SLIP_DEPOSIT, &p);
        if (s->result != row[i].want)
            print_error("row %u\n", i);
        assert_slip(s, row[i].want);
        if (row[i].want == KMY_SLIP_REFUSED)
            assert_string_equal(s->reason, "invalid_exact_evm_payload_signature");
    }
    assert_int_equal(w->chain.settles, 2);
    assert_int_equal(w->chain.verifies, 0);
    world_end(w);
}

static void without_a_chain_the_facilitator_judges_it(void **state)
{
    (void)state;
    world_t *w = new_world(false, "");
    wallet_t wallet = wallet_of(1);
    char signature[301];
    memset(signature, '2', 300);
    signature[300] = 0;
    for (uint32_t ok = 0; ok < 2; ok++) {
        CHAIN_LOCKED(&w->chain, w->chain.signature_ok = ok);
        payment_t p = pay_with(&wallet, &w->entry, 1, ok, time(NULL) + 60, signature);
        assert_slip(present(w, KMY_SLIP_DEPOSIT, &p), ok ? KMY_SLIP_DONE : KMY_SLIP_REFUSED);
    }
    assert_int_equal(w->chain.settles, 1);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_payment_is_settled_once_and_credited_once),
        cmocka_unit_test(a_thousand_presentations_at_once_are_one_payment),
        cmocka_unit_test(the_same_payment_again_later_gets_the_same_answer),
        cmocka_unit_test(what_is_not_what_was_asked_for_is_refused_and_nobody_is_asked),
        cmocka_unit_test(a_stream_takes_only_its_own_accounts_payment),
        cmocka_unit_test(a_payment_that_has_ended_is_answered_as_it_came_out),
        cmocka_unit_test(a_clients_own_identifier_names_one_of_its_payments),
        cmocka_unit_test(a_payer_has_only_so_many_under_way),
        cmocka_unit_test(what_the_disk_refused_is_credited_when_it_takes_it),
        cmocka_unit_test(with_a_chain_to_ask_no_manners_of_the_facilitator_change_what_is_credited),
        cmocka_unit_test(a_transaction_that_comes_late_is_credited_when_it_comes),
        cmocka_unit_test(somebody_else_submitted_it_first_and_it_counts),
        cmocka_unit_test(a_cancelled_authorization_is_worth_nothing),
        cmocka_unit_test(for_an_empty_wallet_nothing_is_written_and_nothing_submitted),
        cmocka_unit_test(many_presentations_for_an_empty_wallet_are_one_question),
        cmocka_unit_test(what_was_paid_is_answered_though_the_wallet_is_empty_now),
        cmocka_unit_test(submitted_by_somebody_else_it_counts_for_an_empty_wallet_too),
        cmocka_unit_test(while_the_chain_is_silent_nothing_is_written_and_who_waits_is_told),
        cmocka_unit_test(a_refused_payment_can_be_sent_again_and_is_tried_again),
        cmocka_unit_test(refused_and_restarted_it_can_be_sent_again_too),
        cmocka_unit_test(it_counts_when_it_is_as_deep_as_wanted),
        cmocka_unit_test(without_a_chain_the_facilitators_word_counts_if_it_is_about_ours),
        cmocka_unit_test(a_bearer_for_the_facilitator_comes_from_the_environment),
        cmocka_unit_test(settled_while_we_were_away_it_is_credited_at_the_next_start),
        cmocka_unit_test(a_drained_cashier_submits_nothing),
        cmocka_unit_test(on_a_damaged_ledger_no_payment_is_taken),
        cmocka_unit_test(a_contract_wallets_signature_is_its_chains_to_judge),
        cmocka_unit_test(without_a_chain_the_facilitator_judges_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
