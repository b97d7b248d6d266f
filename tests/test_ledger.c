/* The ledger's rules, one a row: what is done, what it answers, what the account then says. */
#include "tests/ledger_rig.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>

enum act { CREDIT, LEASE, SETTLE, REOPEN, COMMIT, ABORT };

typedef struct row {
    enum act act;
    char account;    /* 'A'.. */
    uint32_t shard;  /* LEASE, SETTLE */
    const char *ref; /* CREDIT */
    int64_t amount;  /* credited, wanted, consumed */
    int64_t back;    /* SETTLE: returned */
    kmy_err_t want;
    int64_t granted; /* LEASE */
    int64_t balance; /* of the account, after */
    int64_t leased;
    int64_t consumed;
    int line;
} row_t;

#define ROW(act, account, shard, ref, amount, back, want, granted, ...)                            \
    {                                                                                              \
        act, account, shard, ref, amount, back, want, granted, __VA_ARGS__, __LINE__               \
    }

/* clang-format off */
static const row_t rules[] = {
    /*  act     who  shard  ref    amount     back     answer          granted   balance  leased   consumed */
    ROW(CREDIT, 'A', 0,     "p1",  2 * USD,   0,       KMY_OK,         0,        2 * USD, 0,       0),
    ROW(CREDIT, 'A', 0,     "p1",  2 * USD,   0,       KMY_DUPLICATE,  0,        2 * USD, 0,       0), /* a retry is not a second payment */
    ROW(CREDIT, 'A', 0,     "p1",  1 * USD,   0,       KMY_CONFLICT,   0,        2 * USD, 0,       0), /* nor another amount */
    ROW(CREDIT, 'B', 0,     "p1",  2 * USD,   0,       KMY_CONFLICT,   0,        0,       0,       0), /* nor another's */
    ROW(CREDIT, 'A', 0,     "p2",  0,         0,       KMY_BAD_INPUT,  0,        2 * USD, 0,       0),
    ROW(CREDIT, 'A', 0,     "p2",  -1,        0,       KMY_BAD_INPUT,  0,        2 * USD, 0,       0),
    ROW(CREDIT, 'A', 0,     "",    1,         0,       KMY_BAD_INPUT,  0,        2 * USD, 0,       0),
    ROW(CREDIT, 'A', 0,     "p3",  INT64_MAX, 0,       KMY_OVERFLOW,   0,        2 * USD, 0,       0),
    ROW(CREDIT, 'B', 0,     "p3",  INT64_MAX, 0,       KMY_OVERFLOW,   0,        0,       0,       0), /* all accounts fit one sum */
    ROW(CREDIT, 'Z', 0,     "p4",  1,         0,       KMY_NOT_FOUND,  0,        0,       0,       0),
    ROW(COMMIT, 0,   0,     NULL,  0,         0,       KMY_OK,         0,        0,       0,       0),
    ROW(CREDIT, 'A', 0,     "p1",  2 * USD,   0,       KMY_DUPLICATE,  0,        2 * USD, 0,       0), /* also in a later batch */
    ROW(LEASE,  'A', 1,     NULL,  1 * USD,   0,       KMY_OK,         1 * USD,  1 * USD, 1 * USD, 0),
    ROW(LEASE,  'A', 1,     NULL,  1,         0,       KMY_OK,         1,  1 * USD - 1, 1 * USD + 1, 0), /* leases of a shard add up */
    ROW(LEASE,  'A', 2,     NULL,  9 * USD,   0,       KMY_OK,   1 * USD - 1,    0,       2 * USD, 0), /* what is left */
    ROW(LEASE,  'A', 3,     NULL,  1,         0,       KMY_OK,         0,        0,       2 * USD, 0), /* nothing left: granted 0 */
    ROW(LEASE,  'B', 3,     NULL,  1,         0,       KMY_OK,         0,        0,       0,       0), /* no credit for strangers */
    ROW(LEASE,  'Z', 3,     NULL,  1,         0,       KMY_NOT_FOUND,  0,        0,       0,       0),
    ROW(SETTLE, 'A', 1,     NULL,  1 * USD,   0,       KMY_OK,         0,        0,       1 * USD, 1 * USD), /* one nano-USD stays leased */
    ROW(SETTLE, 'A', 2,     NULL,  0,   1 * USD - 1,   KMY_OK,         0, 1 * USD - 1,    1,       1 * USD),
    ROW(SETTLE, 'A', 1,     NULL,  0,         0,       KMY_OK,         0, 1 * USD - 1,    1,       1 * USD), /* an empty report */
    ROW(SETTLE, 'A', 1,     NULL,  0,         1,       KMY_OK,         0,        1 * USD, 0,       1 * USD),
    ROW(COMMIT, 0,   0,     NULL,  0,         0,       KMY_OK,         0,        0,       0,       0),
    ROW(LEASE,  'A', 0,     NULL,  1 * USD,   0,       KMY_OK,         1 * USD,  0,       1 * USD, 1 * USD),
    ROW(CREDIT, 'A', 0,     "p5",  5 * USD,   0,       KMY_OK,         0,        5 * USD, 1 * USD, 1 * USD),
    ROW(ABORT,  'A', 0,     NULL,  0,         0,       KMY_OK,         0,        1 * USD, 0,       1 * USD), /* as if it had not been */
    ROW(CREDIT, 'A', 0,     "p5",  5 * USD,   0,       KMY_OK,         0,        6 * USD, 0,       1 * USD), /* so its reference is free */
    ROW(LEASE,  'A', 0,     NULL,  4 * USD,   0,       KMY_OK,         4 * USD,  2 * USD, 4 * USD, 1 * USD),
    ROW(LEASE,  'A', 63,    NULL,  1 * USD,   0,       KMY_OK,         1 * USD,  1 * USD, 5 * USD, 1 * USD),
    ROW(SETTLE, 'A', 0,     NULL,  1 * USD,   0,       KMY_OK,         0,        1 * USD, 4 * USD, 2 * USD),
    ROW(COMMIT, 0,   0,     NULL,  0,         0,       KMY_OK,         0,        0,       0,       0),
    ROW(REOPEN, 'A', 0,     NULL,  2,   4 * USD,       KMY_OK,         0,        5 * USD, 0,       2 * USD), /* leases come back */
    ROW(REOPEN, 'A', 0,     NULL,  0,         0,       KMY_OK,         0,        5 * USD, 0,       2 * USD), /* once */
    ROW(CREDIT, 'A', 0,     "p1",  2 * USD,   0,       KMY_DUPLICATE,  0,        5 * USD, 0,       2 * USD), /* for ever */
};
/* clang-format on */

static kmy_err_t act(rig_t *r, const row_t *row, uint64_t id, int64_t *granted)
{
    kmy_ledger_report_t report = { .account_id = id,
                                   .shard = row->shard,
                                   .consumed_nusd = row->amount,
                                   .returned_nusd = row->back };
    switch (row->act) {
    case CREDIT:
        return kmy_ledger_credit(r->ledger, id, "grant", row->ref, row->amount, NOW, NULL, &r->ctx);
    case LEASE:
        return kmy_ledger_lease(r->ledger, id, row->shard, row->amount, NOW, granted, NULL,
                                &r->ctx);
    case SETTLE:
        return kmy_ledger_settle(r->ledger, &report, NOW, NULL, &r->ctx);
    case COMMIT:
        rig_commit(r);
        break;
    case ABORT:
        kmy_ledger_abort(r->ledger);
        break;
    case REOPEN:
        kmy_ledger_abort(r->ledger);
        rig_close(r);
        rig_open(r);
        assert_int_equal(r->recovery.leases_count, row->amount);
        assert_int_equal(r->recovery.leases_nusd, row->back);
        break;
    }
    rig_assert_clean(r);
    rig_begin(r);
    return KMY_OK;
}

static void the_rules_of_money(void **state)
{
    rig_t r;
    (void)state;
    rig_make(&r, 1);
    rig_open(&r);
    assert_int_equal(rig_account(&r, "local:a", 0), 1);
    assert_int_equal(rig_account(&r, "local:b", 0), 2);
    rig_begin(&r);
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        const row_t *row = &rules[i];
        uint64_t id = row->account ? (uint64_t)(row->account - 'A' + 1) : 1;
        int64_t granted = 0;
        kmy_err_t err = act(&r, row, id, &granted);
        kmy_account_t a = { 0 };
        if (id <= 2)
            assert_int_equal(kmy_ledger_account_by_id(r.ledger, id, &a, &r.ctx), KMY_OK);
        bool same =
            row->account == 0 || (a.balance_nusd == row->balance && a.leased_nusd == row->leased &&
                                  a.consumed_nusd == row->consumed);
        if (err != row->want || granted != row->granted || !same)
            fail_msg("rule at line %d: answered %s, granted %" PRId64 ", balance %" PRId64
                     ", leased %" PRId64 ", consumed %" PRId64,
                     row->line, kmy_err_code(err), granted, a.balance_nusd, a.leased_nusd,
                     a.consumed_nusd);
    }
    rig_commit(&r);
    rig_assert_clean(&r);
    rig_remove(&r);
}

static void a_name_is_one_account_for_ever(void **state)
{
    rig_t r;
    kmy_account_t a;
    kmy_account_t b;
    (void)state;
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t id = rig_account(&r, "eip155:8453:0x00000000000000000000000000000000000000aa", USD);
    rig_close(&r);
    rig_open(&r);
    rig_begin(&r);
    assert_int_equal(
        kmy_ledger_account_make(r.ledger, "eip155:8453:0x00000000000000000000000000000000000000aa",
                                NOW + 5, &a, &r.ctx),
        KMY_OK);
    assert_int_equal(a.id, id);
    assert_int_equal(a.created_ns, NOW);
    assert_int_equal(a.credited_nusd, USD);
    assert_int_equal(kmy_ledger_account_by_name(r.ledger, a.name, &b, &r.ctx), KMY_OK);
    assert_memory_equal(&a, &b, sizeof a);
    assert_int_equal(kmy_ledger_account_make(r.ledger, "local:other", NOW, &b, &r.ctx), KMY_OK);
    assert_int_equal(b.id, id + 1);
    rig_commit(&r);
    assert_int_equal(kmy_ledger_account_by_name(r.ledger, "local:nobody", &b, &r.ctx),
                     KMY_NOT_FOUND);
    assert_int_equal(kmy_ledger_account_by_id(r.ledger, 3, &b, &r.ctx), KMY_NOT_FOUND);
    assert_int_equal(kmy_ledger_account_by_id(r.ledger, 0, &b, &r.ctx), KMY_NOT_FOUND);
    rig_remove(&r);
}

static void names_that_could_do_harm_elsewhere_are_refused(void **state)
{
    static const char *const bad[] = { "", "a b", "a\nb", "a\"b", "<a>", "a/../b", "\xc3\xa4" };
    char big[KMY_ACCOUNT_BYTES_MAX + 1];
    rig_t r;
    (void)state;
    rig_make(&r, 1);
    rig_open(&r);
    rig_begin(&r);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(kmy_ledger_account_make(r.ledger, bad[i], NOW, NULL, &r.ctx),
                         KMY_BAD_INPUT);
    memset(big, 'a', sizeof big);
    big[KMY_ACCOUNT_BYTES_MAX] = '\0';
    assert_int_equal(kmy_ledger_account_make(r.ledger, big, NOW, NULL, &r.ctx), KMY_BAD_INPUT);
    big[KMY_ACCOUNT_BYTES_MAX - 1] = '\0';
    assert_int_equal(kmy_ledger_account_make(r.ledger, big, NOW, NULL, &r.ctx), KMY_OK);
    rig_commit(&r);
    rig_assert_clean(&r);
    rig_remove(&r);
}

static void a_ledger_has_one_owner(void **state)
{
    rig_t r;
    kmy_ledger_t *second;
    (void)state;
    rig_make(&r, 1);
    rig_open(&r);
    assert_int_equal(kmy_ledger_open(&second, r.path, NULL, &r.ctx), KMY_CONFLICT);
    rig_close(&r);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) { /* another process: opens, and dies with the ledger open */
        kmy_ledger_t *l;
        _exit(kmy_ledger_open(&l, r.path, NULL, NULL) == KMY_OK ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    rig_open(&r); /* the dead owner's lock died with it */
    child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "test_ledger", "--try-open", r.path, (char *)NULL);
        _exit(9);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), KMY_CONFLICT);
    rig_remove(&r);
}

/* The program that is refused in the test above. */
static int try_open(const char *path)
{
    kmy_ledger_t *l;
    kmy_errctx_t ctx;
    return (int)kmy_ledger_open(&l, path, NULL, &ctx);
}

static void spending_more_than_the_lease_is_our_bug_and_stops_the_program(void **state)
{
    static const kmy_ledger_report_t bugs[] = {
        { .account_id = 1, .shard = 0, .consumed_nusd = USD + 1 },
        { .account_id = 1, .shard = 0, .consumed_nusd = USD, .returned_nusd = 1 },
        { .account_id = 1, .shard = 2, .consumed_nusd = 1 }, /* another shard's money */
        { .account_id = 1, .shard = 0, .consumed_nusd = -1 },
        { .account_id = 1, .shard = 0, .consumed_nusd = INT64_MAX, .returned_nusd = INT64_MAX },
    };
    (void)state;
    for (size_t i = 0; i < sizeof bugs / sizeof *bugs; i++) {
        rig_t r;
        rig_make(&r, 1);
        pid_t child = fork();
        if (child == 0) {
            int64_t granted;
            if (!freopen("/dev/null", "w", stderr))
                _exit(1);
            rig_open(&r);
            rig_account(&r, "local:a", 3 * USD);
            rig_begin(&r);
            /* shard 1 holds enough, so that only the lease of the shard that reports can tell */
            if (kmy_ledger_lease(r.ledger, 1, 0, USD, NOW, &granted, NULL, &r.ctx) != KMY_OK ||
                kmy_ledger_lease(r.ledger, 1, 1, USD, NOW, &granted, NULL, &r.ctx) != KMY_OK)
                _exit(1);
            signal(SIGABRT, SIG_DFL);
            (void)kmy_ledger_settle(r.ledger, &bugs[i], NOW, NULL, &r.ctx);
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGABRT);
        rig_remove(&r);
    }
}

static void a_missing_folder_is_an_error_in_words(void **state)
{
    kmy_ledger_t *l = NULL;
    kmy_errctx_t ctx = { 0 };
    kmy_ledger_audit_t audit;
    (void)state;
    assert_int_equal(kmy_ledger_open(&l, "/nonexistent/ledger", NULL, &ctx), KMY_IO);
    assert_null(l);
    assert_non_null(strstr(ctx.detail, "/nonexistent/ledger"));
    assert_int_equal(kmy_ledger_audit_path("/nonexistent/ledger", &audit, &ctx), KMY_IO);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rules_of_money),
        cmocka_unit_test(a_name_is_one_account_for_ever),
        cmocka_unit_test(names_that_could_do_harm_elsewhere_are_refused),
        cmocka_unit_test(a_ledger_has_one_owner),
        cmocka_unit_test(spending_more_than_the_lease_is_our_bug_and_stops_the_program),
        cmocka_unit_test(a_missing_folder_is_an_error_in_words),
    };
    if (argc == 3 && strcmp(argv[1], "--try-open") == 0)
        return try_open(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
