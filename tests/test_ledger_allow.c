/* An allowance is an account that has exactly what its parent gave it, and gives back exactly what it did not spend; the audit recounts both. */
#include "tests/ledger_payment_rig.h"

#include "pay/ledger_allow.h"

#include <lmdb.h>

#define S   INT64_C(1000000000)
#define END (NOW + 600 * S)
#define DUE (END + KMY_ALLOWANCE_LEEWAY_NS)

static kmy_allowance_t of(uint64_t parent, const char *jti, int64_t amount_nusd)
{
    kmy_allowance_t a = {
        .parent_id = parent, .amount_nusd = amount_nusd, .expires_ns = END, .terms = 7
    };
    snprintf(a.jti, sizeof a.jti, "%s", jti);
    return a;
}

static kmy_err_t allow(rig_t *r, const kmy_allowance_t *a, kmy_account_t *child,
                       kmy_account_t *parent)
{
    int64_t expires_ns;
    rig_begin(r);
    kmy_err_t err = kmy_ledger_allow(r->ledger, a, NOW, child, parent, &expires_ns, &r->ctx);
    rig_commit(r);
    if (err == KMY_OK || err == KMY_DUPLICATE)
        assert_int_equal(expires_ns, END);
    return err;
}

static kmy_err_t give_back(rig_t *r, int64_t now_ns, kmy_account_t *child, kmy_account_t *parent)
{
    kmy_err_t due = kmy_ledger_allowance_due(r->ledger, now_ns, &r->ctx);
    rig_begin(r);
    kmy_err_t err = kmy_ledger_allowance_return(r->ledger, now_ns, child, parent, &r->ctx);
    rig_commit(r);
    assert_int_equal(due, err == KMY_NOT_FOUND ? KMY_NOT_FOUND : KMY_OK);
    return err;
}

static kmy_account_t account(rig_t *r, uint64_t id)
{
    kmy_account_t a;
    assert_int_equal(kmy_ledger_account_by_id(r->ledger, id, &a, &r->ctx), KMY_OK);
    return a;
}

/* Of what it can lease, so much is spent; the rest of the lease goes back if it is told so. */
static int64_t spend(rig_t *r, uint64_t id, uint32_t shard, int64_t want, int64_t spent, bool back)
{
    int64_t granted = 0;
    rig_begin(r);
    assert_int_equal(kmy_ledger_lease(r->ledger, id, shard, want, NOW, &granted, NULL, &r->ctx),
                     KMY_OK);
    if (spent > granted)
        spent = granted;
    kmy_ledger_report_t report = { .account_id = id,
                                   .shard = shard,
                                   .consumed_nusd = spent,
                                   .returned_nusd = back ? granted - spent : 0,
                                   .ticks_count = 1 };
    assert_int_equal(kmy_ledger_settle(r->ledger, &report, NOW, NULL, &r->ctx), KMY_OK);
    rig_commit(r);
    return spent;
}

static void void_token(rig_t *r, const char *jti)
{
    rig_begin(r);
    assert_int_equal(kmy_ledger_revoke(r->ledger, jti, END, &r->ctx), KMY_OK);
    rig_commit(r);
}

static void it_has_what_its_parent_gave_and_nothing_more(void **state)
{
    rig_t r;
    kmy_account_t child;
    kmy_account_t parent;
    (void)state;
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t id = rig_account(&r, "local:a", USD);
    kmy_allowance_t a = of(id, "one", USD / 20);
    assert_int_equal(allow(&r, &a, &child, &parent), KMY_OK);
    assert_string_equal(child.name, "local:a.one");
    assert_int_equal(child.balance_nusd, USD / 20);
    assert_int_equal(child.moved_nusd, USD / 20);
    assert_int_equal(child.credited_nusd, 0); /* a move is no credit from outside */
    assert_int_equal(parent.balance_nusd, USD - USD / 20);
    assert_int_equal(parent.credited_nusd, USD);
    assert_int_equal(parent.moved_nusd, -USD / 20);
    assert_int_equal(rig_audit(&r).credited_nusd, USD);
    rig_assert_clean(&r);
    /* On several shards together to the last nano-dollar. */
    int64_t spent = 0;
    for (uint32_t i = 0; i < 8; i++)
        spent += spend(&r, child.id, i, USD / 100, USD / 100, true);
    assert_int_equal(spent, USD / 20);
    assert_int_equal(account(&r, child.id).balance_nusd, 0);
    assert_int_equal(account(&r, id).balance_nusd, USD - USD / 20);
    rig_assert_clean(&r);
    rig_remove(&r);
}

static void what_it_did_not_spend_goes_back_when_its_token_is_void(void **state)
{
    static const struct {
        int64_t spent;
        bool revoked;
        bool reopened;
        bool killed; /* with a lease out: it is given back at the next start */
    } rows[] = {
        { 0, false, false, false },        { USD / 50, false, false, false },
        { USD / 20, false, false, false }, { USD / 50, true, false, false },
        { USD / 50, false, true, false },  { USD / 50, true, true, false },
        { USD / 50, true, true, true },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        rig_t r;
        kmy_account_t child;
        kmy_account_t parent;
        rig_make(&r, 1);
        rig_open(&r);
        uint64_t id = rig_account(&r, "local:a", USD);
        kmy_allowance_t a = of(id, "one", USD / 20);
        assert_int_equal(allow(&r, &a, &child, &parent), KMY_OK);
        uint64_t child_id = child.id;
        if (rows[i].spent > 0)
            spend(&r, child_id, 1, USD / 20, rows[i].spent, !rows[i].killed);
        if (rows[i].revoked)
            void_token(&r, "one");
        if (rows[i].reopened) {
            rig_close(&r);
            rig_open(&r);
        }
        int64_t when = rows[i].revoked ? NOW : DUE;
        if (!rows[i].revoked)
            assert_int_equal(give_back(&r, DUE - 1, &child, &parent), KMY_NOT_FOUND);
        assert_int_equal(give_back(&r, when, &child, &parent), KMY_OK);
        assert_int_equal(child.id, child_id);
        assert_int_equal(child.balance_nusd, 0);
        assert_int_equal(child.moved_nusd, rows[i].spent);
        assert_int_equal(parent.balance_nusd, USD - rows[i].spent);
        assert_int_equal(parent.moved_nusd, -rows[i].spent);
        assert_int_equal(give_back(&r, INT64_MAX, &child, &parent), KMY_NOT_FOUND); /* once */
        void_token(&r, "one"); /* and no more */
        assert_int_equal(give_back(&r, INT64_MAX, &child, &parent), KMY_NOT_FOUND);
        assert_int_equal(account(&r, id).balance_nusd, USD - rows[i].spent);
        rig_assert_clean(&r);
        rig_remove(&r);
    }
}

static void nothing_goes_back_while_a_shard_has_a_lease_of_it(void **state)
{
    rig_t r;
    kmy_account_t child;
    kmy_account_t parent;
    (void)state;
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t id = rig_account(&r, "local:a", USD);
    kmy_allowance_t a = of(id, "one", USD / 20);
    kmy_allowance_t b = of(id, "two", USD / 20);
    assert_int_equal(allow(&r, &a, &child, &parent), KMY_OK);
    uint64_t first = child.id;
    assert_int_equal(allow(&r, &b, &child, &parent), KMY_OK);
    spend(&r, first, 0, USD / 100, 1, false);
    assert_int_equal(give_back(&r, DUE, &child, &parent), KMY_AGAIN);
    assert_int_equal(child.id, first);
    assert_int_equal(account(&r, first).leased_nusd, USD / 100 - 1);
    assert_int_equal(give_back(&r, DUE, &child, &parent),
                     KMY_OK); /* nor does another wait for it */
    assert_int_not_equal(child.id, first);
    assert_int_equal(give_back(&r, DUE, &child, &parent), KMY_NOT_FOUND);
    assert_int_equal(give_back(&r, DUE + KMY_ALLOWANCE_AGAIN_NS, &child, &parent), KMY_AGAIN);
    rig_assert_clean(&r);
    rig_begin(&r);
    kmy_ledger_report_t report = { .account_id = first, .returned_nusd = USD / 100 - 1 };
    assert_int_equal(kmy_ledger_settle(r.ledger, &report, NOW, NULL, &r.ctx), KMY_OK);
    rig_commit(&r);
    assert_int_equal(give_back(&r, DUE + 2 * KMY_ALLOWANCE_AGAIN_NS, &child, &parent), KMY_OK);
    assert_int_equal(parent.balance_nusd, USD - 1);
    rig_assert_clean(&r);
    rig_remove(&r);
}

static void what_is_refused_leaves_no_trace(void **state)
{
    static const char solana[] = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp:"
                                 "9WzDXwBbmkg8ZTbNMqUxvQRAyrZzDsGYdLVL9zYtAWWM";
    static const char longest[] =
        "local:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    static const char jti[] = "A4_TcFtkv_h6m15pE44Mtw";
    static const struct {
        const char *parent;
        const char *jti;
        int64_t amount_nusd;
        kmy_err_t err;
    } rows[] = {
        { solana, jti, USD, KMY_OK },
        { longest, jti, USD, KMY_BAD_INPUT },
        { "local:a", jti, USD + 1, KMY_NO_BALANCE },
        { "local:a", jti, INT64_MAX, KMY_NO_BALANCE },
        { "local:a", jti, 0, KMY_BAD_INPUT },
        { "local:a", jti, -1, KMY_BAD_INPUT },
        { "local:a", "", USD, KMY_BAD_INPUT },
        { "local:a", "a b", USD, KMY_BAD_INPUT },
        { "local:a", "taken", USD, KMY_CONFLICT },
        { NULL, jti, USD, KMY_NOT_FOUND },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        rig_t r;
        kmy_account_t child;
        kmy_account_t parent;
        rig_make(&r, 1);
        rig_open(&r);
        rig_account(&r, "local:a.taken", 0);
        uint64_t id = rows[i].parent ? rig_account(&r, rows[i].parent, USD) : 99;
        uint64_t entries = rig_audit(&r).entries_count;
        kmy_allowance_t a = of(id, rows[i].jti, rows[i].amount_nusd);
        rig_begin(&r);
        assert_int_equal(kmy_ledger_allow_check(r.ledger, &a, 0, &r.ctx), rows[i].err);
        rig_commit(&r);
        assert_int_equal(allow(&r, &a, &child, &parent), rows[i].err);
        kmy_ledger_audit_t audit = rig_audit(&r);
        assert_int_equal(audit.entries_count, entries + (rows[i].err == KMY_OK ? 2 : 0));
        assert_int_equal(audit.accounts_count, rows[i].parent ? rows[i].err == KMY_OK ? 3 : 2 : 1);
        rig_assert_clean(&r);
        rig_remove(&r);
    }
}

static void the_same_again_is_the_same_and_anything_else_is_not(void **state)
{
    rig_t r;
    kmy_account_t child;
    kmy_account_t parent;
    (void)state;
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t id = rig_account(&r, "local:a", USD);
    uint64_t other = rig_account(&r, "local:b", USD);
    kmy_allowance_t a = of(id, "one", USD / 20);
    assert_int_equal(allow(&r, &a, &child, &parent), KMY_OK);
    uint64_t first = child.id;
    uint64_t entries = rig_audit(&r).entries_count;
    a.expires_ns += 5; /* asked later: the first answer counts */
    assert_int_equal(allow(&r, &a, &child, &parent), KMY_DUPLICATE);
    assert_int_equal(child.id, first);
    assert_int_equal(parent.balance_nusd, USD - USD / 20);
    kmy_allowance_t more = of(id, "one", USD / 10);
    kmy_allowance_t terms = of(id, "one", USD / 20);
    kmy_allowance_t whose = of(other, "one", USD / 20);
    terms.terms = 8;
    assert_int_equal(allow(&r, &more, &child, &parent), KMY_CONFLICT);
    assert_int_equal(allow(&r, &terms, &child, &parent), KMY_CONFLICT);
    assert_int_equal(allow(&r, &whose, &child, &parent), KMY_CONFLICT);
    kmy_allowance_t below = of(first, "two", 1);
    assert_int_equal(allow(&r, &below, &child, &parent), KMY_FORBIDDEN); /* of its own: none */
    assert_int_equal(rig_audit(&r).entries_count, entries);
    rig_assert_clean(&r);
    rig_remove(&r);
}

static void a_credit_that_comes_with_it_counts(void **state)
{
    rig_t r;
    kmy_account_t child;
    kmy_account_t parent;
    (void)state;
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t id = rig_account(&r, "local:a", USD);
    kmy_allowance_t a = of(id, "one", USD);
    assert_int_equal(allow(&r, &a, &child, &parent), KMY_OK);
    assert_int_equal(parent.balance_nusd, 0);
    kmy_allowance_t b = of(id, "two", USD);
    rig_begin(&r);
    assert_int_equal(kmy_ledger_allow_check(r.ledger, &b, USD - 1, &r.ctx), KMY_NO_BALANCE);
    assert_int_equal(kmy_ledger_allow_check(r.ledger, &b, USD, &r.ctx), KMY_OK);
    rig_commit(&r);
    rig_assert_clean(&r);
    rig_remove(&r);
}

/* A chain takes the payment back whose money was given away: its payer owes it, the allowance goes on, and what comes back of it pays. */
static void what_comes_back_pays_a_debt_first(void **state)
{
    static const struct {
        int64_t given;
        int64_t spent;
        int64_t owed; /* behind the reversal, and */
        int64_t left; /* behind the return: balance, less debt */
    } rows[] = {
        { USD, 0, USD, 0 },
        { USD, USD / 4, USD, -USD / 4 },
        { USD / 2, USD / 4, USD / 2, -USD / 4 },
        { USD, USD, USD, -USD },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        rig_t r;
        kmy_account_t child;
        kmy_account_t parent;
        rig_make(&r, 1);
        rig_open(&r);
        rig_begin(&r);
        assert_int_equal(pay_reserve(&r, pay_row(1, 1), NULL), KMY_OK);
        assert_int_equal(pay_state(&r, 1, KMY_PAYMENT_VERIFIED), KMY_OK);
        assert_int_equal(pay_state(&r, 1, KMY_PAYMENT_SUBMITTED), KMY_OK);
        assert_int_equal(pay_settle(&r, 1, 1, 0, &parent), KMY_OK);
        rig_commit(&r);
        assert_int_equal(parent.balance_nusd, USD);
        kmy_allowance_t a = of(parent.id, "one", rows[i].given);
        assert_int_equal(allow(&r, &a, &child, &parent), KMY_OK);
        if (rows[i].spent > 0)
            spend(&r, child.id, 0, rows[i].spent, rows[i].spent, true);
        rig_begin(&r);
        assert_int_equal(pay_reverse(&r, 1, &parent), KMY_OK);
        rig_commit(&r);
        assert_int_equal(parent.debt_nusd, rows[i].owed);
        assert_int_equal(account(&r, child.id).balance_nusd, rows[i].given - rows[i].spent);
        rig_assert_clean(&r);
        void_token(&r, "one");
        assert_int_equal(give_back(&r, NOW, &child, &parent), KMY_OK);
        assert_int_equal(parent.balance_nusd - parent.debt_nusd, rows[i].left);
        assert_true(parent.balance_nusd == 0 || parent.debt_nusd == 0);
        rig_assert_clean(&r);
        rig_remove(&r);
    }
}

/* --- the audit finds what no call of ours writes --------------------------------------------- */

typedef struct fault {
    const char *table;
    const char *key; /* NULL: the first row */
    int at;          /* byte to change; -1: the row is gone */
    const char *says;
} fault_t;

static void spoil(const rig_t *r, const fault_t *f)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val value;
    uint8_t bytes[256];
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 64), 0);
    assert_int_equal(mdb_env_set_mapsize(env, (size_t)1 << 30), 0);
    assert_int_equal(mdb_env_open(env, r->path, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, f->table, 0, &dbi), 0);
    assert_int_equal(mdb_cursor_open(txn, dbi, &cursor), 0);
    MDB_cursor_op op = strcmp(f->table, "journal") == 0 ? MDB_LAST : MDB_FIRST;
    assert_int_equal(mdb_cursor_get(cursor, &key, &value, op), 0);
    if (f->at < 0) {
        assert_int_equal(mdb_cursor_del(cursor, 0), 0);
    } else {
        assert_true(value.mv_size < sizeof bytes && (size_t)f->at < value.mv_size);
        memcpy(bytes, value.mv_data, value.mv_size);
        bytes[f->at] ^= 1;
        value.mv_data = bytes;
        assert_int_equal(mdb_cursor_put(cursor, &key, &value, MDB_CURRENT), 0);
    }
    mdb_cursor_close(cursor);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static void the_audit_finds_each_fault(void **state)
{
    static const fault_t faults[] = {
        { "allowances", NULL, -1, "allowances say" },      /* the row is gone */
        { "allowances", NULL, 0, "damaged, or nobody's" }, /* another version */
        { "allowances", NULL, 1, "times of allowances" },  /* closed, and has a time */
        { "allowances", NULL, 8, "damaged, or nobody's" }, /* another parent */
        { "allowances", NULL, 24, "its entries say" },     /* another amount */
        { "allowances", NULL, 40, "never be given back" }, /* another time */
        { "allowances_due", NULL, -1, "never be given back" },
        { "allowances_due", NULL, 7, "never be given back" }, /* another child */
        { "journal", NULL, 24, "does not take" },             /* takes another amount */
        { "journal", NULL, 33, "does not take" },             /* of another account */
        { "journal", NULL, -1, "its entries say other" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        rig_t r;
        kmy_account_t child;
        kmy_account_t parent;
        char all[256];
        rig_make(&r, 1);
        rig_open(&r);
        rig_account(&r, "local:z", 0);
        uint64_t id = rig_account(&r, "local:a", USD);
        kmy_allowance_t a = of(id, "one", USD / 20);
        assert_int_equal(allow(&r, &a, &child, &parent), KMY_OK);
        rig_assert_clean(&r);
        rig_close(&r);
        spoil(&r, &faults[i]);
        kmy_ledger_audit_t audit = rig_audit(&r);
        snprintf(all, sizeof all, "%s", audit.first_fault);
        if (!strstr(all, faults[i].says))
            print_error("fault %zu: %s\n", i, all);
        assert_true(audit.faults_count > 0);
        assert_non_null(strstr(all, faults[i].says));
        rig_remove(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_has_what_its_parent_gave_and_nothing_more),
        cmocka_unit_test(what_it_did_not_spend_goes_back_when_its_token_is_void),
        cmocka_unit_test(nothing_goes_back_while_a_shard_has_a_lease_of_it),
        cmocka_unit_test(what_is_refused_leaves_no_trace),
        cmocka_unit_test(the_same_again_is_the_same_and_anything_else_is_not),
        cmocka_unit_test(a_credit_that_comes_with_it_counts),
        cmocka_unit_test(what_comes_back_pays_a_debt_first),
        cmocka_unit_test(the_audit_finds_each_fault),
    };
    return cmocka_run_group_tests_name("ledger_allow", tests, NULL, NULL);
}
