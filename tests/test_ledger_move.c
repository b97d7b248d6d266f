/* Random sequences of moves against a model so simple that it is right by inspection.  A failing seed is printed; run it alone with
   KAMIYO_SEED=N. */
#include "tests/ledger_rig.h"

enum { ACCOUNTS = 6, SHARDS = 4, REFS = 24, SEEDS = 3000, STEPS = 60 };

typedef struct model {
    struct {
        int64_t credited;
        int64_t balance;
        int64_t consumed;
        int64_t leased[SHARDS];
        uint64_t ticks;
    } account[ACCOUNTS];
    struct {
        int account; /* -1: unused */
        int64_t amount;
    } ref[REFS];
} model_t;

static model_t model_new(void)
{
    model_t m = { 0 };
    for (int i = 0; i < REFS; i++)
        m.ref[i].account = -1;
    return m;
}

#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond))                                                                               \
            fail_msg("seed %llu, step %d: not so: %s", (unsigned long long)seed, step, #cond);     \
    } while (0)

/* Mostly small amounts, now and then one at the end of the range. */
static int64_t amount_of(uint64_t *rng)
{
    uint64_t pick = rig_random(rng);
    if (pick % 50 == 0)
        return INT64_MAX - (int64_t)(rig_random(rng) % 3);
    return 1 + (int64_t)(rig_random(rng) % (uint64_t)(pick % 3 == 0 ? 10 * USD : 1000));
}

static void step_credit(rig_t *r, model_t *m, uint64_t *rng, uint64_t seed, int step)
{
    int who = (int)(rig_random(rng) % ACCOUNTS);
    int ref = (int)(rig_random(rng) % REFS);
    int64_t amount = amount_of(rng);
    bool used = m->ref[ref].account >= 0;
    if (used && rig_random(rng) % 2) { /* a true repetition */
        who = m->ref[ref].account;
        amount = m->ref[ref].amount;
    }
    int64_t sum = amount;
    bool fits = true;
    for (int i = 0; i < ACCOUNTS; i++)
        fits = fits && !__builtin_add_overflow(sum, m->account[i].credited, &sum);
    kmy_err_t want = fits ? KMY_OK : KMY_OVERFLOW;
    if (used)
        want = m->ref[ref].account == who && m->ref[ref].amount == amount ? KMY_DUPLICATE
                                                                          : KMY_CONFLICT;
    char word[16];
    snprintf(word, sizeof word, "ref-%d", ref);
    kmy_err_t err =
        kmy_ledger_credit(r->ledger, (uint64_t)who + 1, "grant", word, amount, NOW, NULL, &r->ctx);
    CHECK(err == want);
    if (err != KMY_OK)
        return;
    m->ref[ref].account = who;
    m->ref[ref].amount = amount;
    m->account[who].credited += amount;
    m->account[who].balance += amount;
}

static void step_lease(rig_t *r, model_t *m, uint64_t *rng, uint64_t seed, int step)
{
    int who = (int)(rig_random(rng) % ACCOUNTS);
    uint32_t shard = (uint32_t)(rig_random(rng) % SHARDS);
    int64_t want = amount_of(rng);
    int64_t grant = want < m->account[who].balance ? want : m->account[who].balance;
    int64_t granted = -1;
    CHECK(kmy_ledger_lease(r->ledger, (uint64_t)who + 1, shard, want, NOW, &granted, NULL,
                           &r->ctx) == KMY_OK);
    CHECK(granted == grant);
    m->account[who].balance -= grant;
    m->account[who].leased[shard] += grant;
}

static void step_settle(rig_t *r, model_t *m, uint64_t *rng, uint64_t seed, int step)
{
    int who = (int)(rig_random(rng) % ACCOUNTS);
    uint32_t shard = (uint32_t)(rig_random(rng) % SHARDS);
    int64_t open = m->account[who].leased[shard];
    int64_t consumed = open ? (int64_t)(rig_random(rng) % ((uint64_t)open + 1)) : 0;
    int64_t rest = open - consumed;
    int64_t returned =
        rig_random(rng) % 2 ? rest : (int64_t)(rig_random(rng) % ((uint64_t)rest + 1));
    kmy_ledger_report_t report = { .account_id = (uint64_t)who + 1,
                                   .shard = shard,
                                   .consumed_nusd = consumed,
                                   .returned_nusd = returned,
                                   .ticks_count = rig_random(rng) % 5 };
    CHECK(kmy_ledger_settle(r->ledger, &report, NOW, NULL, &r->ctx) == KMY_OK);
    m->account[who].leased[shard] -= consumed + returned;
    m->account[who].consumed += consumed;
    m->account[who].balance += returned;
    m->account[who].ticks += report.ticks_count;
}

static void compare(rig_t *r, const model_t *m, uint64_t seed, int step)
{
    for (int i = 0; i < ACCOUNTS; i++) {
        kmy_account_t a;
        int64_t leased = 0;
        for (int s = 0; s < SHARDS; s++)
            leased += m->account[i].leased[s];
        CHECK(kmy_ledger_account_by_id(r->ledger, (uint64_t)i + 1, &a, &r->ctx) == KMY_OK);
        CHECK(a.credited_nusd == m->account[i].credited);
        CHECK(a.balance_nusd == m->account[i].balance);
        CHECK(a.leased_nusd == leased);
        CHECK(a.consumed_nusd == m->account[i].consumed);
        CHECK(a.ticks_count == m->account[i].ticks);
        CHECK(a.credited_nusd == a.balance_nusd + a.leased_nusd + a.consumed_nusd);
    }
}

static void reopen(rig_t *r, model_t *m, uint64_t seed, int step)
{
    uint64_t open = 0;
    for (int i = 0; i < ACCOUNTS; i++) {
        for (int s = 0; s < SHARDS; s++) {
            open += m->account[i].leased[s] > 0;
            m->account[i].balance += m->account[i].leased[s];
            m->account[i].leased[s] = 0;
        }
    }
    rig_close(r);
    rig_open(r);
    CHECK(r->recovery.leases_count == open);
}

static void run_seed(uint64_t seed)
{
    rig_t r;
    uint64_t rng = rig_seed(seed);
    model_t model = model_new(); /* with this batch */
    model_t saved = model;       /* as committed */
    rig_make(&r, 1);
    rig_open(&r);
    for (int i = 0; i < ACCOUNTS; i++) {
        char name[32];
        snprintf(name, sizeof name, "local:%d", i);
        rig_account(&r, name, 0);
    }
    rig_begin(&r);
    for (int step = 0; step < STEPS; step++) {
        switch (rig_random(&rng) % 12) {
        case 0: /* the batch is done */
            rig_commit(&r);
            saved = model;
            rig_begin(&r);
            break;
        case 1: /* or undone */
            kmy_ledger_abort(r.ledger);
            model = saved;
            rig_begin(&r);
            break;
        case 2:
            if (rig_random(&rng) % 4 == 0) { /* or cut off by a crash */
                model = saved;
                reopen(&r, &model, seed, step);
                saved = model;
                rig_begin(&r);
            }
            break;
        case 3:
        case 4:
        case 5:
            step_credit(&r, &model, &rng, seed, step);
            break;
        case 6:
        case 7:
        case 8:
            step_lease(&r, &model, &rng, seed, step);
            break;
        default:
            step_settle(&r, &model, &rng, seed, step);
        }
        if (step % 8 == 0)
            compare(&r, &model, seed, step);
    }
    rig_commit(&r);
    compare(&r, &model, seed, STEPS);
    kmy_ledger_audit_t audit = rig_audit(&r);
    if (audit.faults_count)
        fail_msg("seed %llu: audit: %s", (unsigned long long)seed, audit.first_fault);
    rig_remove(&r);
}

static void random_moves_agree_with_the_model(void **state)
{
    (void)state;
    const char *one = getenv("KAMIYO_SEED");
    if (one) {
        run_seed(strtoull(one, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run_seed(seed);
}

/* Issue of a million debits in one sum: what the reports say is what the account says, to the nano-USD. */
static void a_deposit_and_a_million_debits_are_exact(void **state)
{
    enum { REPORTS = 20000, TICKS_EACH = 50 };
    const int64_t price = 1000;
    rig_t r;
    kmy_account_t a;
    int64_t granted;
    (void)state;
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t id = rig_account(&r, "local:a", REPORTS * TICKS_EACH * price + 7);
    for (int i = 0; i < REPORTS; i += 500) {
        rig_begin(&r);
        for (int j = 0; j < 500; j++) {
            kmy_ledger_report_t report = { .account_id = id,
                                           .consumed_nusd = TICKS_EACH * price,
                                           .ticks_count = TICKS_EACH };
            assert_int_equal(
                kmy_ledger_lease(r.ledger, id, 0, TICKS_EACH * price, NOW, &granted, NULL, &r.ctx),
                KMY_OK);
            assert_int_equal(kmy_ledger_settle(r.ledger, &report, NOW, NULL, &r.ctx), KMY_OK);
        }
        rig_commit(&r);
    }
    assert_int_equal(kmy_ledger_account_by_id(r.ledger, id, &a, &r.ctx), KMY_OK);
    assert_int_equal(a.ticks_count, 1000000);
    assert_int_equal(a.consumed_nusd, USD);
    assert_int_equal(a.balance_nusd, 7);
    assert_int_equal(a.leased_nusd, 0);
    rig_assert_clean(&r);
    rig_remove(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_moves_agree_with_the_model),
        cmocka_unit_test(a_deposit_and_a_million_debits_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
