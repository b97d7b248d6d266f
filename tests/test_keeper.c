/* engine/keeper: what the thread of the money answers to shards, over the real queues and the real ledger.  The shards are this file. */
#include "tests/keeper_rig.h"

#include "base/clock.h"

enum { SHARDS = 4 };

static void begin(world_t *w)
{
    begin_with(w, SHARDS);
}

static kmy_ask_t lease_of(uint64_t id, int64_t want_nusd)
{
    return (
        kmy_ask_t){ .kind = KMY_ASK_LEASE, .slot = 3, .account_id = id, .amount_nusd = want_nusd };
}

static kmy_tell_t lease(world_t *w, uint32_t shard, uint64_t id, int64_t want_nusd)
{
    say(w, shard, lease_of(id, want_nusd));
    return hear_kind(w, shard, KMY_TELL_LEASED);
}

static kmy_ask_t report_of(uint64_t id, int64_t consumed, int64_t returned, bool closes)
{
    return (kmy_ask_t){ .kind = KMY_ASK_REPORT,
                        .slot = 3,
                        .account_id = id,
                        .consumed_nusd = consumed,
                        .returned_nusd = returned,
                        .ticks_count = (uint64_t)consumed,
                        .closes = closes };
}

/* Sums of all accounts; every ask of that shard before it has been done. */
static kmy_tell_t totals(world_t *w, uint32_t shard)
{
    say(w, shard, (kmy_ask_t){ .kind = KMY_ASK_LEDGER });
    kmy_tell_t t = hear_kind(w, shard, KMY_TELL_ANSWER);
    assert_int_equal(t.ask_kind, KMY_ASK_LEDGER);
    assert_int_equal(t.credited_nusd, t.free_nusd + t.leased_nusd + t.consumed_nusd);
    return t;
}

/* --- one rule each ------------------------------------------------------------------------------ */

static void an_unknown_account_is_told_to_whom_asked(void **state)
{
    (void)state;
    world_t w;
    begin(&w);
    kmy_tell_t t = open_account(&w, 2, "local:nobody");
    assert_int_equal(t.err, KMY_NOT_FOUND);
    assert_int_equal(t.slot, 3);
    assert_int_equal(t.gen, 9);
    say(&w, 2, report_of(0, 0, 0, true)); /* forgotten by its shard; means nothing here */
    assert_int_equal(totals(&w, 2).accounts_count, 0);
    end(&w);
}

static void an_idempotency_key_credits_once(void **state)
{
    (void)state;
    world_t w;
    begin(&w);
    kmy_tell_t first = mint(&w, 0, "local:a", "key-1", 5 * USD);
    assert_int_equal(first.err, KMY_OK);
    assert_int_equal(first.credited_nusd, 5 * USD);
    kmy_tell_t again =
        mint(&w, 1, "local:a", "key-1", 5 * USD); /* the answer was lost: asked again */
    assert_int_equal(again.err, KMY_OK);
    assert_int_equal(again.account_id, first.account_id);
    assert_int_equal(again.amount_nusd, 5 * USD);
    assert_int_equal(again.credited_nusd, 5 * USD);
    kmy_tell_t other = mint(&w, 0, "local:a", "key-1", 6 * USD); /* the same key for another sum */
    assert_int_equal(other.err, KMY_CONFLICT);
    assert_true(other.detail[0] != 0);
    assert_int_equal(mint(&w, 0, "local:b", "key-1", 5 * USD).err, KMY_CONFLICT);
    assert_int_equal(mint(&w, 0, "local:a", "key-2", 5 * USD).credited_nusd, 10 * USD);
    assert_int_equal(mint(&w, 0, "local:c", "", 0).err, KMY_OK); /* a token without money */
    assert_int_equal(mint(&w, 0, "no such/name", "key-3", USD).err, KMY_BAD_INPUT);
    assert_int_equal(totals(&w, 0).credited_nusd, 10 * USD);
    end(&w);
}

static void a_lease_is_what_is_wanted_or_what_is_left(void **state)
{
    (void)state;
    world_t w;
    begin(&w);
    uint64_t id = mint(&w, 0, "local:a", "k", 10).account_id;
    assert_int_equal(open_account(&w, 0, "local:a").free_nusd, 10);
    kmy_tell_t t = lease(&w, 0, id, 4);
    assert_int_equal(t.amount_nusd, 4);
    assert_int_equal(t.free_nusd, 6);
    assert_int_equal(t.mine_nusd, 4);
    t = lease(&w, 0, id, 100);
    assert_int_equal(t.amount_nusd, 6);
    assert_int_equal(t.free_nusd, 0);
    assert_int_equal(t.mine_nusd, 10);
    t = lease(&w, 0, id, 1); /* nobody else holds any: nobody is called */
    assert_int_equal(t.amount_nusd, 0);
    assert_int_equal(t.leased_nusd, t.mine_nusd);
    say(&w, 0, report_of(id, 7, 3, false));
    kmy_tell_t sum = totals(&w, 0);
    assert_int_equal(sum.consumed_nusd, 7);
    assert_int_equal(sum.free_nusd, 3);
    assert_int_equal(sum.leased_nusd, 0);
    end(&w);
}

static void what_a_shard_says_is_done_in_the_order_it_said_it(void **state)
{
    (void)state;
    world_t w;
    begin(&w);
    uint64_t id = mint(&w, 0, "local:a", "k", 10).account_id;
    open_account(&w, 0, "local:a");
    /* In one go, so that most of it is one batch: each lease can only be granted because the report before it was done. */
    for (int i = 0; i < 100; i++) {
        say(&w, 0, lease_of(id, 10));
        say(&w, 0, report_of(id, 0, 10, false));
    }
    for (int i = 0; i < 100; i++) {
        kmy_tell_t t = hear_kind(&w, 0, KMY_TELL_LEASED);
        assert_int_equal(t.amount_nusd, 10);
        assert_int_equal(t.mine_nusd, 10);
    }
    end(&w);
}

static void a_revocation_reaches_every_shard_before_the_answer(void **state)
{
    (void)state;
    world_t w;
    begin(&w);
    for (int twice = 0; twice < 2; twice++) { /* a second time is no fault */
        kmy_ask_t a = named(KMY_ASK_REVOKE, "0123456789abcdef");
        a.when_s = kmy_wall_ns() / KMY_NS_PER_S + 3600;
        say(&w, 1, a);
        for (uint32_t i = 0; i < SHARDS; i++) {
            kmy_tell_t t = hear_kind(&w, i, KMY_TELL_REVOKED);
            assert_string_equal(t.text, "0123456789abcdef");
            assert_int_equal(t.when_s, a.when_s);
        }
        assert_int_equal(hear_kind(&w, 1, KMY_TELL_ANSWER).err, KMY_OK);
    }
    end(&w);
}

static void an_operator_sees_one_account(void **state)
{
    (void)state;
    world_t w;
    begin(&w);
    mint(&w, 0, "local:a", "k", 10);
    say(&w, 3, named(KMY_ASK_ACCOUNT, "local:a"));
    kmy_tell_t t = hear_kind(&w, 3, KMY_TELL_ANSWER);
    assert_int_equal(t.err, KMY_OK);
    assert_int_equal(t.free_nusd, 10);
    say(&w, 3, named(KMY_ASK_ACCOUNT, "local:b"));
    assert_int_equal(hear_kind(&w, 3, KMY_TELL_ANSWER).err, KMY_NOT_FOUND);
    end(&w);
}

static void a_credit_is_told_to_those_who_serve_the_account(void **state)
{
    (void)state;
    world_t w;
    begin(&w);
    uint64_t id = mint(&w, 0, "local:a", "k", 10).account_id;
    open_account(&w, 1, "local:a");
    open_account(&w, 2, "local:a");
    say(&w, 2, report_of(id, 0, 0, true)); /* and one has stopped to */
    totals(&w, 2);
    mint(&w, 0, "local:a", "k2", 5);
    kmy_tell_t t = hear_kind(&w, 1, KMY_TELL_CHANGED);
    assert_int_equal(t.free_nusd, 15);
    totals(&w, 2);
    assert_int_equal(kmy_queue_count(w.t.keeper_shard[2]), 0);
    mint(&w, 0, "local:a", "k2", 5); /* the same credit again is none */
    assert_int_equal(kmy_queue_count(w.t.keeper_shard[1]), 0);
    end(&w);
}

static void what_one_shard_reports_as_spent_the_others_learn(void **state)
{
    (void)state;
    world_t w;
    begin(&w);
    uint64_t id = mint(&w, 0, "local:a", "k", 10).account_id;
    for (uint32_t i = 0; i < 3; i++)
        open_account(&w, i, "local:a");
    lease(&w, 0, id, 6);
    say(&w, 0, report_of(id, 4, 0, false));
    for (uint32_t i = 1; i < 3; i++) {
        kmy_tell_t t = hear_kind(&w, i, KMY_TELL_FIGURES);
        assert_int_equal(t.free_nusd, 4);
        assert_int_equal(t.leased_nusd, 2);
        assert_int_equal(t.consumed_nusd, 4);
        assert_int_equal(t.mine_nusd, 0);
    }
    assert_int_equal(kmy_queue_count(w.t.keeper_shard[0]), 0); /* it knows */
    end(&w);
}

/* --- two who are short --------------------------------------------------------------------------- */

static void who_is_short_gets_what_another_gives_back(void **state)
{
    (void)state;
    world_t w;
    begin(&w);
    uint64_t id = mint(&w, 0, "local:a", "k", 1000).account_id;
    open_account(&w, 0, "local:a");
    open_account(&w, 1, "local:a");
    assert_int_equal(lease(&w, 0, id, 1000).amount_nusd, 1000);
    kmy_tell_t t = lease(&w, 1, id, 1000);
    assert_int_equal(t.amount_nusd, 0);
    assert_int_equal(t.leased_nusd - t.mine_nusd,
                     1000); /* there is some elsewhere: not exhausted */
    hear_kind(&w, 0, KMY_TELL_RECALL);
    say(&w, 0, report_of(id, 100, 450, false)); /* spent some, keeps half of the rest */
    t = hear_kind(&w, 1, KMY_TELL_CHANGED);
    assert_int_equal(t.free_nusd, 450);
    assert_int_equal(lease(&w, 1, id, 1000).amount_nusd, 450);
    totals(&w, 0);
    end(&w);
}

enum { PRICE = 7, SMALL = 50 };

/* Asks until it can buy, or knows that there is no more; who is recalled keeps half, or gives a small rest whole (engine/account.c).
   true: it is over for this shard. */
static bool ask_on(world_t *w, uint32_t me, uint64_t id, int64_t left[2], int *asks)
{
    while (left[me] < PRICE) {
        assert_true(++*asks < 200);
        say(w, me, lease_of(id, 400));
        kmy_tell_t t;
        while ((t = hear(w, me)).kind != KMY_TELL_LEASED)
            assert_true(t.kind == KMY_TELL_CHANGED || t.kind == KMY_TELL_FIGURES);
        left[me] += t.amount_nusd;
        if (t.amount_nusd > 0)
            continue;
        if (t.free_nusd == 0 && t.leased_nusd == t.mine_nusd)
            return true;
        while (hear(w, 1 - me).kind != KMY_TELL_RECALL)
            ;
        int64_t give = left[1 - me] < SMALL ? left[1 - me] : left[1 - me] / 2;
        left[1 - me] -= give;
        say(w, 1 - me, report_of(id, 0, give, false));
        hear_kind(w, me, KMY_TELL_CHANGED);
    }
    return false;
}

static void two_who_are_short_halve_the_rest_until_both_know_that_it_is_over(void **state)
{
    (void)state;
    world_t w;
    begin(&w);
    uint64_t id = mint(&w, 0, "local:a", "k", 1000).account_id;
    int64_t left[2] = { 0, 0 }, spent = 0;
    for (uint32_t i = 0; i < 2; i++)
        open_account(&w, i, "local:a");
    bool over[2] = { false, false };
    int asks = 0;
    for (uint32_t me = 0; !over[0] || !over[1]; me = 1 - me) {
        over[me] = ask_on(&w, me, id, left, &asks);
        if (over[me])
            continue;
        left[me] -= PRICE; /* a tick each in turn */
        spent += PRICE;
        say(&w, me, report_of(id, PRICE, 0, false));
    }
    for (uint32_t i = 0; i < 2; i++)
        say(&w, i, report_of(id, 0, left[i], true));
    stop_keeper(&w);
    kmy_ledger_totals_t sum;
    kmy_ledger_totals(w.rig.ledger, &sum);
    assert_int_equal(sum.consumed_nusd, spent);
    assert_int_equal(sum.balance_nusd, 1000 - spent);
    assert_int_equal(sum.leased_nusd, 0);
    assert_true(1000 - spent < PRICE); /* not a tick's money was left with anybody */
    end(&w);
}

static void what_was_said_before_the_stop_is_still_done(void **state)
{
    (void)state;
    world_t w;
    begin(&w);
    uint64_t id = mint(&w, 0, "local:a", "k", 100000).account_id;
    open_account(&w, 0, "local:a");
    lease(&w, 0, id, 1000);
    for (int i = 0; i < 1000; i++)
        say(&w, 0, report_of(id, 1, 0, false));
    stop_keeper(&w);
    kmy_ledger_totals_t sum;
    kmy_ledger_totals(w.rig.ledger, &sum);
    assert_int_equal(sum.consumed_nusd, 1000);
    assert_int_equal(sum.leased_nusd, 0);
    end(&w);
}

/* --- a market day: four shards, many accounts, anything in any order -------------------------------- */

enum { ACCOUNTS = 40, DAYS = 6, STEPS = 4000 };

typedef struct holding { /* what one shard thinks of one account */
    uint64_t id;
    uint32_t gen;
    bool opening, open, asked, recalled;
    int64_t left, spent;
} holding_t;

typedef struct day {
    world_t w;
    uint64_t random;
    holding_t held[SHARDS][ACCOUNTS];
    int64_t credited[ACCOUNTS], consumed[ACCOUNTS];
    uint64_t minted, recalls, granted, answers_due_of[SHARDS];
} day_t;

static uint64_t some(day_t *d, uint64_t n)
{
    return rig_random(&d->random) % n;
}

static void listen_to(day_t *d, uint32_t shard, bool wait);

static void say_as(day_t *d, uint32_t shard, const kmy_ask_t *a)
{
    while (!kmy_queue_push(d->w.t.shard_keeper[shard], a)) {
        kmy_wake_signal(&d->w.t.keeper_wake);
        for (uint32_t i = 0; i < SHARDS; i++)
            listen_to(d, i, false);
    }
    kmy_wake_signal(&d->w.t.keeper_wake);
}

static void report_as(day_t *d, uint32_t shard, uint32_t account, int64_t returned, bool closes)
{
    holding_t *h = &d->held[shard][account];
    kmy_ask_t a = report_of(h->id, h->spent, returned, closes);
    a.slot = account;
    a.gen = h->gen;
    h->left -= returned;
    d->consumed[account] += h->spent;
    h->spent = 0;
    h->open = !closes;
    say_as(d, shard, &a);
}

static void told(day_t *d, uint32_t shard, const kmy_tell_t *t)
{
    if (t->kind == KMY_TELL_ANSWER) {
        assert_int_equal(t->err, KMY_OK);
        d->answers_due_of[shard]--;
        return;
    }
    assert_true(t->slot < ACCOUNTS);
    holding_t *h = &d->held[shard][t->slot];
    assert_true(t->free_nusd >= 0);
    assert_true(t->mine_nusd >= 0);
    assert_true(t->leased_nusd >= t->mine_nusd);
    if (t->gen != h->gen) {
        assert_int_not_equal(t->kind, KMY_TELL_LEASED); /* that would be money for nobody */
        return;
    }
    switch (t->kind) {
    case KMY_TELL_OPENED:
        assert_true(h->opening);
        h->opening = false;
        h->open = t->err == KMY_OK;
        h->id = t->account_id;
        break;
    case KMY_TELL_LEASED:
        assert_true(h->asked);
        h->asked = false;
        h->left += t->amount_nusd;
        d->granted += (uint64_t)t->amount_nusd;
        break;
    case KMY_TELL_RECALL:
        h->recalled = h->open;
        d->recalls++;
        break;
    default:
        assert_true(t->kind == KMY_TELL_CHANGED || t->kind == KMY_TELL_FIGURES);
    }
}

static void listen_to(day_t *d, uint32_t shard, bool wait)
{
    kmy_tell_t t;
    if (wait) {
        t = hear(&d->w, shard);
        told(d, shard, &t);
    }
    while (kmy_queue_pop(d->w.t.keeper_shard[shard], &t))
        told(d, shard, &t);
    kmy_wake_signal(&d->w.t.keeper_wake);
}

static void give_back(day_t *d, uint32_t shard)
{
    for (uint32_t i = 0; i < ACCOUNTS; i++) {
        holding_t *h = &d->held[shard][i];
        if (!h->recalled)
            continue;
        h->recalled = false;
        report_as(d, shard, i, h->left < 50 ? h->left : h->left / 2, false);
    }
}

static void mint_some(day_t *d, uint32_t shard, uint32_t account)
{
    kmy_ask_t a = { .kind = KMY_ASK_MINT };
    static char last_ref[KMY_ACCOUNT_BYTES_MAX];
    static int64_t last_amount;
    static uint32_t last_account;
    snprintf(a.text, sizeof a.text, "local:%u", account);
    bool again = d->minted > 0 && some(d, 4) == 0;
    if (again) {
        account = last_account;
        snprintf(a.text, sizeof a.text, "local:%u", account);
    } else {
        last_amount = (int64_t)some(d, 5000);
        last_account = account;
        snprintf(last_ref, sizeof last_ref, "ref-%llu", (unsigned long long)d->minted++);
        d->credited[account] += last_amount;
    }
    a.amount_nusd = last_amount;
    memcpy(a.ref, last_ref, sizeof a.ref);
    d->answers_due_of[shard]++;
    say_as(d, shard, &a);
}

static void one_step(day_t *d)
{
    uint32_t shard = (uint32_t)some(d, SHARDS), account = (uint32_t)some(d, ACCOUNTS);
    holding_t *h = &d->held[shard][account];
    kmy_ask_t a = { .slot = account };
    switch (some(d, 8)) {
    case 0:
        mint_some(d, shard, account);
        break;
    case 1:
    case 2:
        if (h->open && !h->asked && some(d, 10) == 0) {
            h->recalled = false;
            report_as(d, shard, account, h->left, true);
        } else if (!h->open && !h->opening) {
            h->gen++;
            h->opening = true;
            a = named(KMY_ASK_OPEN, "");
            snprintf(a.text, sizeof a.text, "local:%u", account);
            a.slot = account;
            a.gen = h->gen;
            say_as(d, shard, &a);
        }
        break;
    case 3:
    case 4:
        if (h->open && !h->asked) {
            a = lease_of(h->id, 1 + (int64_t)some(d, 3000));
            a.slot = account;
            a.gen = h->gen;
            h->asked = true;
            say_as(d, shard, &a);
        }
        break;
    case 5:
        if (h->open)
            report_as(d, shard, account, (int64_t)some(d, (uint64_t)h->left + 1), false);
        break;
    default:
        for (uint32_t i = 0; i < ACCOUNTS; i++) { /* ticks for everybody on that shard */
            holding_t *x = &d->held[shard][i];
            int64_t n = (int64_t)some(d, (uint64_t)x->left / 2 + 1);
            x->left -= n;
            x->spent += n;
        }
    }
    listen_to(d, shard, false);
    give_back(d, shard);
}

/* Until nobody has anything to say to anybody: an answer of the ledger on each shard, with nothing heard besides. */
static kmy_tell_t stand_still(day_t *d)
{
    for (;;) {
        bool quiet = true;
        for (uint32_t i = 0; i < SHARDS; i++) {
            d->answers_due_of[i]++;
            say_as(d, i, &(kmy_ask_t){ .kind = KMY_ASK_LEDGER });
        }
        for (uint32_t i = 0; i < SHARDS; i++) {
            while (d->answers_due_of[i] > 0)
                listen_to(d, i, true);
        }
        for (uint32_t i = 0; i < SHARDS; i++)
            listen_to(d, i, false); /* what others' last words brought it after its own answer */
        for (uint32_t i = 0; i < SHARDS; i++) {
            for (uint32_t j = 0; j < ACCOUNTS; j++)
                quiet &= !d->held[i][j].recalled && !d->held[i][j].asked && !d->held[i][j].opening;
            give_back(d, i);
        }
        if (quiet)
            return totals(&d->w, 0);
    }
}

static void check_sums(day_t *d)
{
    kmy_tell_t sum = stand_still(d);
    int64_t credited = 0, leased = 0, consumed = 0;
    for (uint32_t j = 0; j < ACCOUNTS; j++) {
        int64_t mine = 0;
        for (uint32_t i = 0; i < SHARDS; i++)
            mine += d->held[i][j].left + d->held[i][j].spent;
        credited += d->credited[j];
        consumed += d->consumed[j];
        leased += mine;
        kmy_ask_t a = { .kind = KMY_ASK_ACCOUNT };
        snprintf(a.text, sizeof a.text, "local:%u", j);
        say(&d->w, 1, a);
        kmy_tell_t t = hear_kind(&d->w, 1, KMY_TELL_ANSWER);
        if (t.err == KMY_NOT_FOUND)
            continue;
        assert_int_equal(t.leased_nusd, mine); /* shards and ledger agree, account by account */
        assert_int_equal(t.credited_nusd, d->credited[j]);
        assert_int_equal(t.consumed_nusd, d->consumed[j]);
        assert_int_equal(t.credited_nusd, t.free_nusd + t.leased_nusd + t.consumed_nusd);
    }
    assert_int_equal(sum.credited_nusd, credited);
    assert_int_equal(sum.leased_nusd, leased);
    assert_int_equal(sum.consumed_nusd, consumed);
}

static void what_shards_hold_is_what_the_ledger_leased_whatever_happens(void **state)
{
    (void)state;
    uint64_t recalls = 0, granted = 0;
    day_t *d = calloc(1, sizeof *d);
    assert_non_null(d);
    for (uint64_t seed = 1; seed <= DAYS; seed++) {
        memset(d, 0, sizeof *d);
        d->random = rig_seed(seed);
        begin(&d->w);
        for (int step = 1; step <= STEPS; step++) {
            one_step(d);
            if (step % 500 == 0)
                check_sums(d);
        }
        for (uint32_t i = 0; i < SHARDS; i++) { /* the evening */
            for (uint32_t j = 0; j < ACCOUNTS; j++) {
                if (d->held[i][j].open)
                    report_as(d, i, j, d->held[i][j].left, true);
            }
        }
        check_sums(d);
        assert_int_equal(totals(&d->w, 0).leased_nusd, 0);
        recalls += d->recalls;
        granted += d->granted;
        end(&d->w);
    }
    free(d);
    assert_true(recalls > 100); /* money was short often enough for this to mean something */
    assert_true(granted > 100000);
}

/* Tells of receipts as a customer would read them. */
typedef struct reader {
    const kmy_receipt_public_t *key;
    kmy_receipt_t last;
    uint8_t hash[KMY_RECEIPT_HASH_BYTES];
} reader_t;

static void read_receipt(reader_t *reader, const kmy_tell_t *t)
{
    char text[KMY_RECEIPT_BYTES_MAX];
    kmy_receipt_t read;
    kmy_errctx_t ctx = { 0 };
    kmy_receipt_t r = { .account = "local:a",
                        .from = t->receipt.from,
                        .to = t->receipt.to,
                        .ticks = t->ticks_count,
                        .amount_nusd = t->amount_nusd,
                        .seq = t->receipt.seq,
                        .total_ticks = t->receipt.total_ticks,
                        .total_nusd = t->receipt.total_nusd,
                        .issued_s = t->when_s };
    assert_int_equal(t->err, KMY_OK);
    memcpy(r.feed, t->receipt.feed, sizeof r.feed);
    memcpy(r.epoch, t->receipt.epoch, sizeof r.epoch);
    memcpy(r.prev, t->receipt.prev, sizeof r.prev);
    size_t len = kmy_receipt_text(reader->key, &r, t->receipt.signature, text);
    assert_int_equal(kmy_receipt_open(reader->key, 1, text, len, &read, &ctx), KMY_OK);
    if (kmy_receipt_follows(read.seq > 1 ? &reader->last : NULL, reader->hash, &read, &ctx) !=
        KMY_OK)
        fail_msg("%s", ctx.detail);
    reader->last = read;
    kmy_receipt_hash(text, len, reader->hash);
}

static kmy_ask_t receipt_of(uint64_t id, uint64_t from, uint64_t ticks)
{
    kmy_ask_t a = { .kind = KMY_ASK_RECEIPT,
                    .slot = 4,
                    .gen = 7,
                    .account_id = id,
                    .from = from,
                    .to = from + ticks - 1,
                    .ticks_count = ticks,
                    .amount_nusd = (int64_t)ticks };
    strcpy(a.text, "SOL/USD");
    strcpy(a.ref, "epoch1");
    return a;
}

static void receipts_follow_the_report_that_covers_them_over_all_shards(void **state)
{
    (void)state;
    static const uint8_t seed[32] = { 3 };
    world_t w;
    begin(&w);
    kmy_receipt_key_t *key = kmy_receipt_key_new(seed, NULL);
    kmy_keeper_sign_with(w.keeper, key);
    reader_t reader = { .key = kmy_receipt_key_public(key) };
    uint64_t id = mint(&w, 0, "local:a", "k", USD).account_id;
    for (uint64_t i = 0; i < 40; i++) {
        uint32_t shard = (uint32_t)(i % 2);
        open_account(&w, shard, "local:a");
        say(&w, shard, lease_of(id, 10)); /* all three in one go, perhaps one batch */
        say(&w, shard, report_of(id, 10, 0, false));
        say(&w, shard, receipt_of(id, 1 + 10 * i, 10));
        hear_kind(&w, shard, KMY_TELL_LEASED);
        kmy_tell_t t = hear_kind(&w, shard, KMY_TELL_RECEIPT);
        assert_int_equal(t.slot, 4);
        assert_int_equal(t.gen, 7);
        assert_int_equal(t.ask_kind, KMY_ASK_RECEIPT);
        assert_int_equal(t.receipt.seq, i + 1);
        read_receipt(&reader, &t);
    }
    assert_int_equal(reader.last.total_nusd, 400);
    assert_string_equal(reader.last.feed, "SOL/USD");
    /* The kept ones, by whichever shard. */
    say(&w, 3, (kmy_ask_t){ .kind = KMY_ASK_RECEIPTS, .slot = 5, .account_id = id, .from = 38 });
    for (uint64_t seq = 39; seq <= 40; seq++) {
        kmy_tell_t t = hear_kind(&w, 3, KMY_TELL_RECEIPT);
        assert_int_equal(t.ask_kind, KMY_ASK_RECEIPTS);
        assert_int_equal(t.slot, 5);
        assert_int_equal(t.receipt.seq, seq);
    }
    /* Who is not in the ledger gets a word, so that nobody waits for ever. */
    say(&w, 3, receipt_of(id + 1, 1, 1));
    assert_int_equal(hear_kind(&w, 3, KMY_TELL_RECEIPT).err, KMY_NOT_FOUND);
    end(&w);
    kmy_receipt_key_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unknown_account_is_told_to_whom_asked),
        cmocka_unit_test(an_idempotency_key_credits_once),
        cmocka_unit_test(a_lease_is_what_is_wanted_or_what_is_left),
        cmocka_unit_test(what_a_shard_says_is_done_in_the_order_it_said_it),
        cmocka_unit_test(a_revocation_reaches_every_shard_before_the_answer),
        cmocka_unit_test(an_operator_sees_one_account),
        cmocka_unit_test(a_credit_is_told_to_those_who_serve_the_account),
        cmocka_unit_test(what_one_shard_reports_as_spent_the_others_learn),
        cmocka_unit_test(who_is_short_gets_what_another_gives_back),
        cmocka_unit_test(two_who_are_short_halve_the_rest_until_both_know_that_it_is_over),
        cmocka_unit_test(receipts_follow_the_report_that_covers_them_over_all_shards),
        cmocka_unit_test(what_was_said_before_the_stop_is_still_done),
        cmocka_unit_test(what_shards_hold_is_what_the_ledger_leased_whatever_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
