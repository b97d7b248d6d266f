/* engine/keeper_jobs: the cashier's jobs over the real queues, the real keeper and the real ledger.  Cashier and shards are this file. */
#include "tests/ledger_payment_rig.h"

#include "base/clock.h"
#include "engine/keeper.h"

#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { SHARDS = 2, PATIENCE_MS = 20000 };

typedef struct world {
    rig_t rig;
    kmy_topology_t t;
    kmy_metrics_t metrics;
    kmy_keeper_t *keeper;
} world_t;

static void start(world_t *w)
{
    kmy_config_t cfg;
    memset(&cfg, 0, sizeof cfg);
    memset(&w->metrics, 0, sizeof w->metrics);
    cfg.ring.slots = 64;
    rig_open(&w->rig);
    assert_int_equal(kmy_topology_make(&w->t, &cfg, SHARDS, NULL, 1, &w->rig.ctx), KMY_OK);
    assert_int_equal(kmy_keeper_start(&w->keeper, w->rig.ledger, &w->t, &w->metrics, &w->rig.ctx),
                     KMY_OK);
}

static void stop(world_t *w)
{
    kmy_keeper_stop(w->keeper);
    rig_assert_clean(&w->rig);
    kmy_topology_free(&w->t);
    rig_close(&w->rig);
}

static void begin(world_t *w)
{
    rig_make(&w->rig, 1);
    start(w);
}

static void end(world_t *w)
{
    stop(w);
    rig_remove(&w->rig);
}

/* A fresh job at that index. */
static kmy_job_t *job(world_t *w, uint64_t i, uint32_t kind)
{
    kmy_job_t *j = &w->t.jobs[i];
    memset(j, 0, offsetof(kmy_job_t, json));
    j->kind = kind;
    j->cashier[0] = 0x1234 + i;
    return j;
}

static void ask(world_t *w, uint64_t i)
{
    assert_true(kmy_queue_push(w->t.cashier_keeper, &i));
    kmy_wake_signal(&w->t.keeper_wake);
}

static void wait_on(kmy_wake_t *wake, kmy_queue_t *queue, void *item)
{
    for (bool got = false; !got;) {
        kmy_wake_arm(wake);
        got = kmy_queue_pop(queue, item);
        struct pollfd p = { wake->fd, POLLIN, 0 };
        if (!got && poll(&p, 1, PATIENCE_MS) != 1)
            fail_msg("no answer");
        kmy_wake_disarm(wake);
        uint64_t n;
        ssize_t r = read(wake->fd, &n, sizeof n);
        (void)r;
    }
}

/* The next answer to the cashier. */
static kmy_job_t *answered(world_t *w)
{
    uint64_t i;
    wait_on(&w->t.cashier_wake, w->t.keeper_cashier, &i);
    assert_int_equal(w->t.jobs[i].cashier[0], 0x1234 + i);
    return &w->t.jobs[i];
}

static kmy_job_t *done(world_t *w, uint64_t i, kmy_err_t want)
{
    ask(w, i);
    kmy_job_t *j = answered(w);
    assert_ptr_equal(j, &w->t.jobs[i]);
    if (j->err != (int32_t)want)
        fail_msg("job of kind %u: %s: %s", j->kind, kmy_err_code((kmy_err_t)j->err), j->detail);
    assert_true((j->detail[0] == 0) == (want == KMY_OK));
    return j;
}

static void put_row(kmy_job_t *j, kmy_payment_row_t row)
{
    j->row = row;
    memcpy(j->json, row.json, row.json_bytes);
    j->row.json = j->json;
}

static kmy_job_t *reserve(world_t *w, uint64_t i, kmy_payment_row_t row, kmy_err_t want)
{
    put_row(job(w, i, KMY_JOB_RESERVE), row);
    return done(w, i, want);
}

static kmy_job_t *settle(world_t *w, uint64_t i, unsigned n, unsigned tx, kmy_err_t want)
{
    kmy_job_t *j = job(w, i, KMY_JOB_SETTLE);
    pay_id(j->row.id, n);
    snprintf(j->row.tx, sizeof j->row.tx, "%s", pay_tx(tx));
    return done(w, i, want);
}

static kmy_job_t *of(world_t *w, uint64_t i, uint32_t kind, unsigned n)
{
    kmy_job_t *j = job(w, i, kind);
    pay_id(j->row.id, n);
    return j;
}

static kmy_tell_t hear(world_t *w, uint32_t shard, uint32_t kind)
{
    kmy_tell_t tell;
    wait_on(&w->t.shard_wake[shard], w->t.keeper_shard[shard], &tell);
    if (tell.kind != kind)
        fail_msg("shard %u was told %u, not %u", shard, tell.kind, kind);
    return tell;
}

static uint64_t open_account(world_t *w, uint32_t shard, const char *name)
{
    kmy_ask_t a = { .kind = KMY_ASK_OPEN, .slot = 1, .gen = 1 };
    snprintf(a.text, sizeof a.text, "%s", name);
    assert_true(kmy_queue_push(w->t.shard_keeper[shard], &a));
    kmy_wake_signal(&w->t.keeper_wake);
    return hear(w, shard, KMY_TELL_OPENED).account_id;
}

static int64_t lease(world_t *w, uint32_t shard, uint64_t id, int64_t want)
{
    kmy_ask_t a = { .kind = KMY_ASK_LEASE, .slot = 1, .gen = 1, .account_id = id };
    a.amount_nusd = want;
    assert_true(kmy_queue_push(w->t.shard_keeper[shard], &a));
    kmy_wake_signal(&w->t.keeper_wake);
    return hear(w, shard, KMY_TELL_LEASED).amount_nusd;
}

static void report(world_t *w, uint32_t shard, uint64_t id, int64_t consumed, int64_t returned)
{
    kmy_ask_t a = { .kind = KMY_ASK_REPORT, .slot = 1, .gen = 1, .account_id = id };
    a.consumed_nusd = consumed;
    a.returned_nusd = returned;
    assert_true(kmy_queue_push(w->t.shard_keeper[shard], &a));
    kmy_wake_signal(&w->t.keeper_wake);
}

/* --- each kind ---------------------------------------------------------------------------------- */

static void a_deposit_is_reserved_submitted_and_settled(void **state)
{
    (void)state;
    world_t w;
    begin(&w);
    kmy_job_t *j = reserve(&w, 0, pay_row(1, 1), KMY_OK);
    assert_int_equal(j->row_out.state, KMY_PAYMENT_RESERVED);
    j = of(&w, 1, KMY_JOB_STATE, 1);
    j->to = KMY_PAYMENT_SUBMITTED;
    j->row.from_block = 77;
    j = done(&w, 1, KMY_OK);
    assert_int_equal(j->row_out.from_block, 77);
    assert_ptr_equal(j->row_out.json, j->json); /* in memory that goes along with the index */
    assert_memory_equal(j->json, JSON, sizeof JSON - 1);
    j = of(&w, 1, KMY_JOB_STATE, 1);
    j->to = KMY_PAYMENT_VERIFIED;
    j = done(&w, 1, KMY_CONFLICT);
    assert_int_equal(j->row_out.state, KMY_PAYMENT_SUBMITTED);
    j = settle(&w, 0, 1, 9, KMY_OK);
    assert_int_equal(j->account.balance_nusd, USD);
    assert_string_equal(j->row_out.account, pay_payer(BASE, 1));
    assert_int_equal(w.metrics.value[KMY_METRIC_ledger_credited_nusd_total], USD);
    j = settle(&w, 0, 1, 9, KMY_DUPLICATE);
    assert_int_equal(j->account.balance_nusd, USD);
    assert_int_equal(w.metrics.value[KMY_METRIC_ledger_credited_nusd_total], USD);
    j = reserve(&w, 0, pay_row(1, 1), KMY_DUPLICATE); /* the same header, on another connection */
    assert_int_equal(j->row_out.state, KMY_PAYMENT_SETTLED);
    assert_string_equal(j->row_out.tx, pay_tx(9));
    assert_int_equal(j->account.credited_nusd, USD);
    of(&w, 0, KMY_JOB_GET, 1);
    assert_int_equal(done(&w, 0, KMY_OK)->account.balance_nusd, USD);
    of(&w, 0, KMY_JOB_GET, 2);
    done(&w, 0, KMY_NOT_FOUND);
    end(&w);
}

static void a_querys_answer_is_kept_and_comes_back(void **state)
{
    (void)state;
    world_t w;
    begin(&w);
    reserve(&w, 0, pay_query(1, 1), KMY_OK);
    settle(&w, 0, 1, 1, KMY_OK);
    for (int i = 0; i < 2; i++) {
        kmy_job_t *j = of(&w, 3, KMY_JOB_ANSWER, 1);
        j->body_bytes = (uint32_t)snprintf(j->body, sizeof j->body, "%s", i ? "new" : "first one");
        j->charged_nusd = 1000 * 1000;
        j = done(&w, 3, i ? KMY_DUPLICATE : KMY_OK);
        assert_int_equal(j->account.consumed_nusd, 1000 * 1000);
        assert_int_equal(j->row_out.price_nusd, 1000 * 1000); /* what it cost */
        assert_true(j->row_out.answered);
        assert_int_equal(j->body_bytes, 9);
        assert_memory_equal(j->body, "first one", 9);
    }
    of(&w, 4, KMY_JOB_GET, 1);
    w.t.jobs[4].body_bytes = 5;
    kmy_job_t *j = done(&w, 4, KMY_OK);
    assert_int_equal(j->body_bytes, 9);
    assert_memory_equal(j->body, "first one", 9);
    reserve(&w, 0, pay_query(2, 1), KMY_OK);
    settle(&w, 0, 2, 2, KMY_OK);
    of(&w, 5, KMY_JOB_ANSWER, 2); /* there is none */
    j = done(&w, 5, KMY_OK);
    assert_int_equal(j->account.balance_nusd, 1000 * 1000);
    of(&w, 5, KMY_JOB_GET, 2);
    j = done(&w, 5, KMY_OK);
    assert_true(j->row_out.released);
    assert_int_equal(j->body_bytes, 0);
    end(&w);
}

static void a_transfer_a_nonce_and_a_payer_are_asked_for(void **state)
{
    (void)state;
    world_t w;
    begin(&w);
    kmy_job_t *j = job(&w, 0, KMY_JOB_TRANSFER);
    j->transfer = pay_transfer(5, 1, 3);
    assert_int_equal(done(&w, 0, KMY_OK)->account.balance_nusd, USD);
    assert_int_equal(done(&w, 0, KMY_DUPLICATE)->account.balance_nusd, USD);
    j = of(&w, 1, KMY_JOB_TRANSFER, 8); /* with the id that its nonce gives */
    j->transfer = pay_transfer(6, 1, 3);
    assert_int_equal(done(&w, 1, KMY_OK)->account.balance_nusd, 2 * USD);
    assert_int_equal(j->row_out.state, KMY_PAYMENT_SETTLED);
    assert_int_equal(reserve(&w, 2, pay_row(8, 3), KMY_DUPLICATE)->row_out.state,
                     KMY_PAYMENT_SETTLED);
    assert_int_equal(w.metrics.value[KMY_METRIC_ledger_credited_nusd_total], 2 * USD);
    j = job(&w, 0, KMY_JOB_NONCE);
    strcpy(j->text, "0123456789abcdef");
    j->expires_ns = kmy_wall_ns() + KMY_NS_PER_S;
    done(&w, 0, KMY_OK);
    done(&w, 0, KMY_DUPLICATE);
    j = job(&w, 0, KMY_JOB_PAYER);
    snprintf(j->row.account, sizeof j->row.account, "%s", pay_payer(MAIN, 3));
    assert_string_equal(done(&w, 0, KMY_OK)->account.name, pay_payer(BASE, 3));
    j = job(&w, 0, KMY_JOB_PAYER);
    snprintf(j->row.account, sizeof j->row.account, "%s", pay_payer(BASE, 4));
    done(&w, 0, KMY_NOT_FOUND);
    end(&w);
}

static void the_next_life_finds_what_is_open_and_goes_on(void **state)
{
    (void)state;
    world_t w;
    begin(&w);
    for (unsigned n = 1; n <= 3; n++)
        reserve(&w, n, pay_row(n, n), KMY_OK);
    kmy_job_t *j = of(&w, 1, KMY_JOB_STATE, 2);
    j->to = KMY_PAYMENT_FAILED;
    snprintf(j->row.reason, sizeof j->row.reason, "insufficient_funds");
    done(&w, 1, KMY_OK);
    stop(&w);
    start(&w);
    char id[KMY_PAYMENT_ID_HEX + 1] = "";
    unsigned seen = 0;
    for (;;) {
        j = job(&w, 0, KMY_JOB_NEXT_OPEN);
        memcpy(j->row.id, id, sizeof id);
        ask(&w, 0);
        j = answered(&w);
        if (j->err == KMY_NOT_FOUND)
            break;
        assert_int_equal(j->err, KMY_OK);
        assert_memory_equal(j->row_out.json, JSON, sizeof JSON - 1);
        memcpy(id, j->row_out.id, sizeof id);
        seen = seen * 10 + (unsigned)(id[31] - '0');
    }
    assert_int_equal(seen, 13);
    of(&w, 0, KMY_JOB_GET, 2);
    assert_string_equal(done(&w, 0, KMY_OK)->row_out.reason, "insufficient_funds");
    end(&w);
}

/* --- who serves the account ---------------------------------------------------------------------- */

static void shards_that_serve_the_account_are_told_before_the_cashier(void **state)
{
    (void)state;
    world_t w;
    begin(&w);
    reserve(&w, 0, pay_row(1, 1), KMY_OK);
    settle(&w, 0, 1, 1, KMY_OK);
    uint64_t id = open_account(&w, 0, pay_payer(BASE, 1));
    reserve(&w, 0, pay_row(2, 1), KMY_OK);
    settle(&w, 0, 2, 2, KMY_OK);
    kmy_tell_t t;
    assert_true(kmy_queue_pop(w.t.keeper_shard[0], &t)); /* it is there already */
    assert_int_equal(t.kind, KMY_TELL_CHANGED);
    assert_int_equal(t.free_nusd, 2 * USD);
    assert_int_equal(kmy_queue_count(w.t.keeper_shard[1]),
                     0); /* who does not serve it hears nothing */
    assert_int_equal(lease(&w, 0, id, USD), USD);
    of(&w, 0, KMY_JOB_REVERSE, 1); /* the free dollar goes */
    assert_int_equal(done(&w, 0, KMY_OK)->account.balance_nusd, 0);
    assert_int_equal(w.t.jobs[0].row_out.state, KMY_PAYMENT_REVERSED);
    assert_int_equal(hear(&w, 0, KMY_TELL_CHANGED).free_nusd, 0);
    of(&w, 0, KMY_JOB_REVERSE, 2); /* the other is leased: it is owed, and called back */
    assert_int_equal(done(&w, 0, KMY_OK)->account.debt_nusd, USD);
    hear(&w, 0, KMY_TELL_CHANGED);
    assert_int_equal(hear(&w, 0, KMY_TELL_RECALL).mine_nusd, USD);
    report(&w, 0, id, 0, USD);
    assert_int_equal(lease(&w, 0, id, 1), 0); /* it went into the debt */
    of(&w, 0, KMY_JOB_REVERSE, 2);
    done(&w, 0, KMY_DUPLICATE);
    assert_int_equal(kmy_queue_count(w.t.keeper_shard[0]), 0);
    end(&w);
}

static kmy_job_t *submit(world_t *w, unsigned n, int64_t cap)
{
    kmy_job_t *j = of(w, 0, KMY_JOB_STATE, n);
    j->to = KMY_PAYMENT_SUBMITTED;
    j->advance_max_nusd = cap;
    return done(w, 0, KMY_OK);
}

static void an_advance_wakes_who_serves_the_account_and_its_end_calls_leases_back(void **state)
{
    (void)state;
    world_t w;
    begin(&w);
    reserve(&w, 0, pay_row(1, 1), KMY_OK);
    kmy_job_t *j = submit(&w, 1, USD / 4); /* of a payer who never had an account */
    assert_true(j->row_out.advance_open);
    assert_int_equal(j->account.balance_nusd, USD / 4);
    assert_memory_equal(j->json, JSON, sizeof JSON - 1); /* to be submitted, as ever */
    assert_int_equal(w.metrics.value[KMY_METRIC_ledger_credited_nusd_total], 0); /* no money yet */
    uint64_t id = open_account(&w, 0, pay_payer(BASE, 1));
    settle(&w, 0, 1, 1, KMY_OK);
    assert_int_equal(hear(&w, 0, KMY_TELL_CHANGED).free_nusd, USD);
    reserve(&w, 0, pay_row(2, 1), KMY_OK);
    submit(&w, 2, USD / 4);
    assert_int_equal(hear(&w, 0, KMY_TELL_CHANGED).free_nusd, USD + USD / 4);
    reserve(&w, 0, pay_row(3, 1), KMY_OK);
    assert_int_equal(submit(&w, 3, USD / 4)->row_out.advance_nusd,
                     0); /* the cap: submitted all the same */
    reserve(&w, 0, pay_row(4, 1), KMY_OK);
    assert_int_equal(submit(&w, 4, 0)->row_out.advance_nusd, 0); /* nobody is told */
    assert_int_equal(lease(&w, 0, id, 2 * USD), USD + USD / 4);
    j = of(&w, 0, KMY_JOB_STATE, 2);
    j->to = KMY_PAYMENT_FAILED;
    assert_int_equal(done(&w, 0, KMY_OK)->account.debt_nusd, USD / 4);
    hear(&w, 0, KMY_TELL_CHANGED);
    assert_int_equal(hear(&w, 0, KMY_TELL_RECALL).mine_nusd, USD + USD / 4);
    end(&w);
}

static void who_has_no_room_to_be_told_is_waited_for_before_the_cashier_is_answered(void **state)
{
    (void)state;
    world_t w;
    begin(&w);
    reserve(&w, 0, pay_row(1, 1), KMY_OK);
    settle(&w, 0, 1, 1, KMY_OK);
    open_account(&w, 0, pay_payer(BASE, 1));
    reserve(&w, 0, pay_row(2, 1), KMY_OK);
    kmy_tell_t t = { 0 };
    size_t full = kmy_queue_slots(w.t.keeper_shard[0]);
    for (size_t i = 0; i < full; i++) /* by us, while the keeper has nothing to say */
        assert_true(kmy_queue_push(w.t.keeper_shard[0], &t));
    kmy_wake_t *wake = &w.t.shard_wake[0];
    kmy_wake_arm(wake);
    kmy_job_t *j = job(&w, 0, KMY_JOB_SETTLE);
    pay_id(j->row.id, 2);
    snprintf(j->row.tx, sizeof j->row.tx, "%s", pay_tx(2));
    ask(&w, 0);
    struct pollfd p = { wake->fd, POLLIN, 0 };
    assert_int_equal(poll(&p, 1, PATIENCE_MS), 1); /* the shard is asked to make room */
    kmy_wake_disarm(wake);
    assert_int_equal(kmy_queue_count(w.t.keeper_cashier), 0);
    for (size_t i = 0; i < full; i++)
        assert_true(kmy_queue_pop(w.t.keeper_shard[0], &t));
    kmy_wake_signal(&w.t.keeper_wake);
    assert_int_equal(hear(&w, 0, KMY_TELL_CHANGED).free_nusd, 2 * USD);
    assert_int_equal(answered(&w)->err, KMY_OK);
    end(&w);
}

static void what_is_held_for_an_answer_is_nobodys_to_wait_for(void **state)
{
    (void)state;
    world_t w;
    begin(&w);
    reserve(&w, 0, pay_query(1, 1), KMY_OK);
    kmy_job_t *j = settle(&w, 0, 1, 1, KMY_OK);
    assert_int_equal(j->account.leased_nusd, 1000 * 1000);
    assert_int_equal(j->account.held_nusd, 1000 * 1000);
    uint64_t id = open_account(&w, 0, pay_payer(BASE, 1));
    kmy_ask_t a = {
        .kind = KMY_ASK_LEASE, .slot = 1, .gen = 1, .account_id = id, .amount_nusd = 1
    };
    assert_true(kmy_queue_push(w.t.shard_keeper[0], &a));
    kmy_wake_signal(&w.t.keeper_wake);
    kmy_tell_t t = hear(&w, 0, KMY_TELL_LEASED);
    assert_int_equal(t.amount_nusd, 0);
    assert_int_equal(t.leased_nusd, t.mine_nusd); /* so the shard says that it is used up */
    of(&w, 0, KMY_JOB_ANSWER, 1);
    done(&w, 0, KMY_OK); /* there is no answer: it is free, and the shard looks again */
    assert_int_equal(hear(&w, 0, KMY_TELL_CHANGED).free_nusd, 1000 * 1000);
    end(&w);
}

/* --- many, and none ------------------------------------------------------------------------------- */

static void as_many_as_there_are_go_in_one_breath_and_each_comes_back_once(void **state)
{
    (void)state;
    world_t w;
    begin(&w);
    for (int round = 0; round < 5; round++) {
        bool back[KMY_JOBS] = { false };
        for (uint64_t i = 0; i < KMY_JOBS; i++) {
            put_row(job(&w, i, KMY_JOB_RESERVE), pay_row((unsigned)i / 4, (unsigned)i / 4));
            assert_true(kmy_queue_push(w.t.cashier_keeper, &i));
        }
        kmy_wake_signal(&w.t.keeper_wake);
        int made = 0;
        for (int i = 0; i < KMY_JOBS; i++) {
            kmy_job_t *j = answered(&w);
            assert_false(back[j - w.t.jobs]);
            back[j - w.t.jobs] = true;
            made += j->err == KMY_OK;
            assert_true(j->err == KMY_OK || j->err == KMY_DUPLICATE);
        }
        assert_int_equal(made, round == 0 ? KMY_JOBS / 4 : 0);
    }
    end(&w);
}

static void file_bytes_max(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_disk_that_refuses_is_said_to_the_cashier_while_reports_wait(void **state)
{
    (void)state;
    world_t w;
    char file[160];
    struct stat st;
    signal(SIGXFSZ, SIG_IGN);
    begin(&w);
    reserve(&w, 0, pay_row(1, 1), KMY_OK);
    settle(&w, 0, 1, 1, KMY_OK);
    uint64_t id = open_account(&w, 0, pay_payer(BASE, 1));
    open_account(&w, 1, pay_payer(BASE, 1));
    assert_int_equal(lease(&w, 0, id, USD / 2), USD / 2);
    reserve(&w, 0, pay_row(2, 2), KMY_OK);
    snprintf(file, sizeof file, "%s/data.mdb", w.rig.path);
    assert_int_equal(stat(file, &st), 0);
    int refused = 0;
    file_bytes_max(4096); /* any write beyond the meta pages fails */
    report(&w, 0, id, USD / 4, 0);
    for (int i = 0; i < 3; i++) { /* each is answered, although the report is still being tried */
        kmy_job_t *j = settle(&w, 0, 2, 2, KMY_IO);
        refused += strstr(j->detail, "undone") != NULL;
    }
    assert_int_equal(refused, 3);
    assert_int_equal(w.metrics.value[KMY_METRIC_ledger_credited_nusd_total], USD);
    file_bytes_max(RLIM_INFINITY);
    kmy_tell_t t = hear(&w, 1, KMY_TELL_FIGURES); /* the report was done once there was room */
    assert_int_equal(t.consumed_nusd, USD / 4);
    of(&w, 0, KMY_JOB_GET, 2);
    assert_int_equal(done(&w, 0, KMY_OK)->row_out.state, KMY_PAYMENT_RESERVED);
    assert_int_equal(settle(&w, 0, 2, 2, KMY_OK)->account.balance_nusd, USD);
    assert_int_equal(w.metrics.value[KMY_METRIC_ledger_credited_nusd_total], 2 * USD);
    report(&w, 0, id, 0, USD / 4);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_deposit_is_reserved_submitted_and_settled),
        cmocka_unit_test(a_querys_answer_is_kept_and_comes_back),
        cmocka_unit_test(a_transfer_a_nonce_and_a_payer_are_asked_for),
        cmocka_unit_test(the_next_life_finds_what_is_open_and_goes_on),
        cmocka_unit_test(shards_that_serve_the_account_are_told_before_the_cashier),
        cmocka_unit_test(an_advance_wakes_who_serves_the_account_and_its_end_calls_leases_back),
        cmocka_unit_test(who_has_no_room_to_be_told_is_waited_for_before_the_cashier_is_answered),
        cmocka_unit_test(what_is_held_for_an_answer_is_nobodys_to_wait_for),
        cmocka_unit_test(as_many_as_there_are_go_in_one_breath_and_each_comes_back_once),
        cmocka_unit_test(a_disk_that_refuses_is_said_to_the_cashier_while_reports_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
