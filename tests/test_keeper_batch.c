/* engine/keeper_batch: stored data that is damaged costs whoever meets it and nobody else; a damaged file ends the taking of money.  The damage is planted as a broken disk would. */
#include "tests/keeper_rig.h"
#include "tests/ledger_payment_rig.h"

#include <fcntl.h>
#include <lmdb.h>
#include <sys/stat.h>

enum { SHARDS = 2, A = 1, B = 2 }; /* accounts 1 and 2 are those of payers 1 and 2 */

/* --- a ledger, and what breaks in it ------------------------------------------------------------ */

/* Payers 1 and 2 have a dollar each; payments 3 and 4 of theirs are reserved. */
static void make_ledger(rig_t *r)
{
    rig_make(r, 1);
    rig_open(r);
    rig_begin(r);
    for (unsigned p = A; p <= B; p++) {
        assert_int_equal(pay_reserve(r, pay_row(p, p), NULL), KMY_OK);
        assert_int_equal(pay_settle(r, p, p, 0, NULL), KMY_OK);
        assert_int_equal(pay_reserve(r, pay_row(p + 2, p), NULL), KMY_OK);
    }
    rig_commit(r);
    rig_close(r);
}

static void drop_row(const rig_t *r, const char *table, const void *key, size_t key_bytes)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_val k = { key_bytes, (void *)key };
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 40), 0);
    assert_int_equal(mdb_env_open(env, r->path, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, table, 0, &dbi), 0);
    assert_int_equal(mdb_del(txn, dbi, &k, NULL), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

/* Whose name is gone: what moves its money finds out behind its first write. */
static void lose_name_of(const rig_t *r, uint8_t account)
{
    drop_row(r, "profiles", (uint8_t[8]){ 0, 0, 0, 0, 0, 0, 0, account }, 8);
}

/* Every page that holds rows says that it is of no kind.  LMDB reads the file through a shared mapping, so it meets them at once.
   Source: lmdb's MDB_page: number 8, pad 2, flags 2 (2: a leaf). */
static void scribble(const rig_t *r)
{
    char file[160];
    uint8_t head[16];
    struct stat st;
    snprintf(file, sizeof file, "%s/data.mdb", r->path);
    int fd = open(file, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0 && fstat(fd, &st) == 0);
    for (off_t at = 2 * 4096; at < st.st_size; at += 4096) {
        assert_int_equal(pread(fd, head, sizeof head, at), sizeof head);
        if (head[10] & 2)
            assert_int_equal(pwrite(fd, "\0\0", 2, at + 10), 2);
    }
    close(fd);
}

/* --- a keeper that finds all of it in its first batch ---------------------------------------------- */

static void open_world(world_t *w)
{
    kmy_config_t cfg;
    memset(&cfg, 0, sizeof cfg);
    memset(&w->metrics, 0, sizeof w->metrics);
    cfg.ring.slots = 64;
    w->keeper = NULL;
    rig_open(&w->rig);
    assert_int_equal(kmy_topology_make(&w->t, &cfg, SHARDS, NULL, 1, &w->rig.ctx), KMY_OK);
}

static void start_keeper(world_t *w)
{
    assert_int_equal(kmy_keeper_start(&w->keeper, w->rig.ledger, &w->t, &w->metrics, &w->rig.ctx),
                     KMY_OK);
}

/* What is damaged stays so: the books are looked at by whoever planted it. */
static kmy_ledger_totals_t close_world(world_t *w)
{
    kmy_ledger_totals_t totals;
    stop_keeper(w);
    kmy_ledger_totals(w->rig.ledger, &totals);
    kmy_topology_free(&w->t);
    rig_close(&w->rig);
    return totals;
}

static void ask_lease(world_t *w, uint32_t shard, uint64_t id, int64_t want)
{
    say(w, shard, (kmy_ask_t){ .kind = KMY_ASK_LEASE, .account_id = id, .amount_nusd = want });
}

static kmy_job_t *ask_job(world_t *w, uint64_t i, uint32_t kind, unsigned n)
{
    kmy_job_t *j = &w->t.jobs[i];
    memset(j, 0, offsetof(kmy_job_t, json));
    j->kind = kind;
    pay_id(j->row.id, n);
    snprintf(j->row.tx, sizeof j->row.tx, "%s", pay_tx(n));
    assert_true(kmy_queue_push(w->t.cashier_keeper, &i));
    kmy_wake_signal(&w->t.keeper_wake);
    return j;
}

static void hear_jobs(world_t *w, unsigned count)
{
    for (unsigned n = 0; n < count;) {
        uint64_t i;
        kmy_wake_t *wake = &w->t.cashier_wake;
        kmy_wake_arm(wake);
        bool got = kmy_queue_pop(w->t.keeper_cashier, &i);
        struct pollfd p = { wake->fd, POLLIN, 0 };
        if (!got && poll(&p, 1, PATIENCE_MS) != 1)
            fail_msg("no answer to a job");
        kmy_wake_disarm(wake);
        ssize_t r = read(wake->fd, &i, sizeof i);
        (void)r;
        n += got;
    }
}

/* --- one rule each ------------------------------------------------------------------------------- */

static void an_account_that_cannot_be_read_fails_alone(void **state)
{
    (void)state;
    world_t w;
    make_ledger(&w.rig);
    lose_name_of(&w.rig, B);
    open_world(&w);
    ask_lease(&w, 0, B, USD / 4);
    say(&w, 0, (kmy_ask_t){ .kind = KMY_ASK_REPORT, .account_id = B, .ticks_count = 1 });
    ask_lease(&w, 0, A, USD / 4);
    ask_lease(&w, 1, A, USD / 8);
    start_keeper(&w);
    kmy_tell_t t = hear_kind(&w, 0, KMY_TELL_LEASED);
    assert_int_equal(t.err, KMY_CORRUPT);
    assert_int_equal(t.amount_nusd, 0);
    t = hear_kind(&w, 0, KMY_TELL_LEASED);
    assert_int_equal(t.err, KMY_OK);
    assert_int_equal(t.amount_nusd, USD / 4);
    assert_int_equal(hear_kind(&w, 1, KMY_TELL_LEASED).amount_nusd, USD / 8);
    assert_int_equal(mint(&w, 1, "local:c", "k", USD).err, KMY_OK); /* and so on */
    assert_false(atomic_load(&w.t.ledger_damaged));                 /* one account, not the file */
    kmy_ledger_totals_t sums = close_world(&w);
    assert_int_equal(sums.leased_nusd, USD / 4 + USD / 8); /* of the other nothing was written */
    assert_int_equal(sums.balance_nusd, 3 * USD - sums.leased_nusd);
    assert_int_equal(sums.entries_count, 2 + 2 + 1);
    assert_int_equal(rig_audit(&w.rig).leased_nusd, sums.leased_nusd);
    rig_remove(&w.rig);
}

static void a_payment_that_meets_damage_fails_alone(void **state)
{
    (void)state;
    world_t w;
    make_ledger(&w.rig);
    lose_name_of(&w.rig, B);
    open_world(&w);
    kmy_job_t *bad = ask_job(&w, 0, KMY_JOB_SETTLE, 4);
    kmy_job_t *good = ask_job(&w, 1, KMY_JOB_SETTLE, 3);
    ask_lease(&w, 0, A, 2 * USD);
    start_keeper(&w);
    assert_int_equal(hear_kind(&w, 0, KMY_TELL_LEASED).amount_nusd, USD); /* before the credit */
    hear_jobs(&w, 2);
    assert_int_equal(bad->err, KMY_CORRUPT);
    assert_true(bad->detail[0] != 0);
    assert_int_equal(good->err, KMY_OK);
    assert_int_equal(good->account.balance_nusd, USD);
    assert_int_equal(w.metrics.value[KMY_METRIC_ledger_credited_nusd_total], USD);
    ask_job(&w, 0, KMY_JOB_SETTLE, 4); /* as often as the cashier likes: nobody waits for it */
    ask_lease(&w, 1, A, USD / 2);
    assert_int_equal(hear_kind(&w, 1, KMY_TELL_LEASED).amount_nusd, USD / 2);
    hear_jobs(&w, 1);
    assert_int_equal(bad->err, KMY_CORRUPT);
    assert_int_equal(close_world(&w).credited_nusd, 3 * USD);
    rig_remove(&w.rig);
}

static void a_damaged_file_is_said_and_nobody_waits_for_it(void **state)
{
    (void)state;
    world_t w;
    make_ledger(&w.rig);
    open_world(&w);
    start_keeper(&w);
    assert_int_equal(mint(&w, 0, "local:c", "k1", USD).err, KMY_OK);
    scribble(&w.rig);
    ask_lease(&w, 0, A, USD / 4);
    kmy_job_t *j = ask_job(&w, 0, KMY_JOB_SETTLE, 3);
    kmy_tell_t t = hear_kind(&w, 0, KMY_TELL_LEASED);
    assert_int_equal(t.amount_nusd, 0);
    assert_int_not_equal(t.err, KMY_OK);
    hear_jobs(&w, 1);
    assert_int_not_equal(j->err, KMY_OK);
    assert_int_not_equal(mint(&w, 0, "local:d", "k2", USD).err, KMY_OK);
    assert_int_not_equal(open_account(&w, 1, pay_payer(BASE, A)).err, KMY_OK);
    assert_true(atomic_load(&w.t.ledger_damaged));
    close_world(&w);
    rig_remove(&w.rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_account_that_cannot_be_read_fails_alone),
        cmocka_unit_test(a_payment_that_meets_damage_fails_alone),
        cmocka_unit_test(a_damaged_file_is_said_and_nobody_waits_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
