/* The audit finds each kind of damage.  It is planted with plain LMDB calls, as a broken disk or a bug would. */
#include "tests/ledger_payment_rig.h"

#include "pay/ledger_usage.h"

#include <lmdb.h>

enum how { FLIP, DROP, PUT_OTHER };

typedef struct damage {
    const char *what;
    const char *table;
    const char *key;
    size_t key_bytes;
    enum how how;
    size_t at;       /* FLIP: which byte of the value is xored with 1 */
    const char *put; /* PUT_OTHER: a row of this key with another row's value */
    size_t put_bytes;
    const char *want; /* part of what the audit says first */
} damage_t;

#define K(text) text, sizeof(text) - 1
#define ID(n)   K("\0\0\0\0\0\0\0" n)
#define NONE    NULL, 0

#define USAGE K("\0\0\0\0\0\0\0\1\0\7\x9b\xb3") /* account 1, the hour of NOW */

/* The ledger below has, by entries: 1 credit a, 2 credit b, 3 lease a to 0, 4 lease a to 1, 5 consume a 0, 6 return a 0. */
static const damage_t damages[] = {
    { "balance of an account", "accounts", ID("\1"), FLIP, 16, NONE, "does not add up" },
    { "ticks of an account", "accounts", ID("\1"), FLIP, 40, NONE, "its entries say other" },
    { "version of an account", "accounts", ID("\1"), FLIP, 0, NONE, "account 1 is damaged" },
    { "an account's row", "accounts", ID("\2"), DROP, 0, NONE, "account records" },
    { "an account's row, not the last", "accounts", ID("\1"), DROP, 0, NONE, "account 2 stands" },
    { "an account too many", "accounts", ID("\2"), PUT_OTHER, 0, ID("\3"), "account records" },
    { "a profile", "profiles", ID("\1"), DROP, 0, NONE, "" },
    { "name inside a profile", "profiles", ID("\1"), FLIP, 22, NONE, "name of account 1" },
    { "a name", "names", K("local:b"), DROP, 0, NONE, "name of account 2" },
    { "a name that leads elsewhere", "names", K("local:b"), FLIP, 7, NONE, "name of account 2" },
    { "a name too many", "names", K("local:b"), PUT_OTHER, 0, K("local:c"), "names" },
    { "amount of a credit", "journal", ID("\1"), FLIP, 24, NONE, "reference first-local:a" },
    { "amount of a lease", "journal", ID("\4"), FLIP, 24, NONE, "account 1 says" },
    { "amount of a consumption", "journal", ID("\5"), FLIP, 24, NONE, "" },
    { "sign of an amount", "journal", ID("\5"), FLIP, 31, NONE, "" },
    { "ticks of a consumption", "journal", ID("\5"), FLIP, 40, NONE, "its entries say other" },
    { "shard of an entry", "journal", ID("\6"), FLIP, 4, NONE, "shard 0" },
    { "account of an entry", "journal", ID("\2"), FLIP, 8, NONE, "account 3" },
    { "kind of an entry", "journal", ID("\3"), FLIP, 1, NONE, "entry 3 is damaged" },
    { "side of an entry", "journal", ID("\6"), FLIP, 2, NONE, "entry 6 is damaged" },
    { "the last entry", "journal", ID("\6"), DROP, 0, NONE, "" },
    { "an entry in the middle", "journal", ID("\4"), DROP, 0, NONE, "entry 5 where 4" },
    { "an entry too many", "journal", ID("\5"), PUT_OTHER, 0, ID("\7"), "" },
    { "a reference", "refs", K("first-local:b"), DROP, 0, NONE, "could be credited again" },
    { "amount in a reference", "refs", K("first-local:b"), FLIP, 16, NONE, "first-local:b" },
    { "entry in a reference", "refs", K("first-local:b"), FLIP, 24, NONE, "first-local:b" },
    { "a reference too many", "refs", K("first-local:b"), PUT_OTHER, 0, K("x"), "references" },
    { "a lease", "leases", K("\0\0\0\0\0\0\0\1\0\0\0\1"), DROP, 0, NONE, "open leases" },
    { "amount of an open lease", "leases", K("\0\0\0\0\0\0\0\1\0\0\0\1"), FLIP, 8, NONE,
      "shard 1" },
    { "a lease nobody was given", "leases", K("\0\0\0\0\0\0\0\1\0\0\0\1"), PUT_OTHER, 0,
      K("\0\0\0\0\0\0\0\2\0\0\0\1"), "account 2" },
    { "count in a row of usage", "usage", USAGE, FLIP, 16, NONE, "in mode stream is 0 nano-USD" },
    { "amount in a row of usage", "usage", USAGE, FLIP, 24, NONE, "in mode stream is" },
    { "mode in a row of usage", "usage", USAGE, FLIP, 12, NONE, "in mode" },
    { "feed in a row of usage", "usage", USAGE, FLIP, 9, NONE, "usage of account 1 is damaged" },
    { "version of a row of usage", "usage", USAGE, FLIP, 0, NONE, "a row of usage is damaged" },
    { "a row of usage", "usage", USAGE, DROP, 0, NONE, "usage of account 1 in mode stream" },
    { "a row of usage too many", "usage", USAGE, PUT_OTHER, 0, K("\0\0\0\0\0\0\0\2\0\7\x9b\xb3"),
      "usage of account 2 in mode stream" },
    { "mode of an entry", "journal", ID("\5"), FLIP, 6, NONE, "usage of account 1" },
    { "feed of an entry", "journal", ID("\5"), FLIP, 33, NONE, "has no name" },
    { "price book of an entry", "journal", ID("\5"), FLIP, 36, NONE, "names price book 1" },
    { "name of a feed", "feeds", ID("\1"), FLIP, 8, NONE, "the name of feed 1" },
    { "a feed", "feeds", ID("\1"), DROP, 0, NONE, "has no name" },
    { "number of a feed", "feed_ids", K("SOL/USD"), FLIP, 8, NONE, "the name of feed 1" },
    { "a feed's number", "feed_ids", K("SOL/USD"), DROP, 0, NONE, "the name of feed 1" },
    { "sums of the totals", "meta", K("totals"), FLIP, 8, NONE, "totals" },
    { "count of accounts", "meta", K("totals"), FLIP, 40, NONE, "" },
    { "count of entries", "meta", K("totals"), FLIP, 48, NONE, "entries" },
    { "the totals", "meta", K("totals"), DROP, 0, NONE, "no totals" },
};

static void make_ledger(rig_t *r)
{
    int64_t granted;
    rig_make(r, 1);
    rig_open(r);
    rig_account(r, "local:a", 10 * USD);
    rig_account(r, "local:b", 5 * USD);
    rig_begin(r);
    assert_int_equal(kmy_ledger_lease(r->ledger, 1, 0, 2 * USD, NOW, &granted, NULL, &r->ctx),
                     KMY_OK);
    assert_int_equal(kmy_ledger_lease(r->ledger, 1, 1, 3 * USD, NOW, &granted, NULL, &r->ctx),
                     KMY_OK);
    kmy_use_t use = { .mode = KMY_MODE_STREAM, .count = 1000, .nusd = USD };
    assert_int_equal(kmy_ledger_feed(r->ledger, "SOL/USD", &use.feed, &r->ctx), KMY_OK);
    kmy_ledger_report_t report = { .account_id = 1,
                                   .shard = 0,
                                   .uses = &use,
                                   .uses_count = 1,
                                   .consumed_nusd = 1 * USD,
                                   .returned_nusd = USD / 2,
                                   .ticks_count = 1000 };
    assert_int_equal(kmy_ledger_settle(r->ledger, &report, NOW, NULL, &r->ctx), KMY_OK);
    rig_commit(r);
    rig_close(r); /* as after a crash: the leases are open */
}

static void plant(const char *path, const damage_t *d)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_val key = { d->key_bytes, (void *)d->key };
    MDB_val value;
    uint8_t bytes[512];
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 32), 0);
    assert_int_equal(mdb_env_open(env, path, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, d->table, 0, &dbi), 0);
    assert_int_equal(mdb_get(txn, dbi, &key, &value), 0);
    assert_true(value.mv_size <= sizeof bytes && d->at < value.mv_size);
    memcpy(bytes, value.mv_data, value.mv_size);
    value.mv_data = bytes;
    if (d->how == DROP)
        assert_int_equal(mdb_del(txn, dbi, &key, NULL), 0);
    if (d->how == FLIP)
        bytes[d->at] ^= d->at == 31 ? 0x80 : 1;
    if (d->how == PUT_OTHER)
        key = (MDB_val){ d->put_bytes, (void *)d->put };
    if (d->how != DROP)
        assert_int_equal(mdb_put(txn, dbi, &key, &value, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static void each_planted_damage_is_found_and_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        rig_t r;
        make_ledger(&r);
        rig_assert_clean(&r);
        plant(r.path, &damages[i]);
        kmy_ledger_audit_t audit = rig_audit(&r);
        if (audit.faults_count == 0 || !strstr(audit.first_fault, damages[i].want))
            fail_msg("%s: %llu faults, the first: %s", damages[i].what,
                     (unsigned long long)audit.faults_count, audit.first_fault);
        rig_remove(&r);
    }
}

/* 1 settled deposit of payer 1, 2 a query of payer 2 that is held, 3 an open one with a client's id, 4 reversed, 5 answered, and a plain
   transfer of payer 7.  Accounts in that order: 1 of payer 1, 2 of payer 2, 3 of payer 4, 4 of payer 5, 5 of payer 7. */
#define PAY(n)   K("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" n)
#define TX(n)    "0x000000000000000000000000000000000000000000000000000000000000000" n
#define ADDRESS1 K("eip155:0x0000000000000000000000000000000000000001")
#define CLAIM1   K(BASE "|" TX("1") "|0")
#define CLAIM7   K(BASE "|" TX("7") "|3")
#define HOLD2    K("\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2")
#define PAYER(p) "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" p "\0\0\0\0\0\0\0\0\0\0\0\0"
static const damage_t payment_damages[] = {
    { "state of a settled one", "payments", PAY("\1"), FLIP, 1, NONE, "" },
    { "version of one", "payments", PAY("\1"), FLIP, 0, NONE, "a payment is damaged" },
    { "account of one", "payments", PAY("\1"), FLIP, 24, NONE, "entry 1 is not its credit" },
    { "entry of one", "payments", PAY("\1"), FLIP, 32, NONE, "entry 0 is not its credit" },
    { "log index of one", "payments", PAY("\1"), FLIP, 4, NONE, "could be redeemed again" },
    { "transaction of one", "payments", PAY("\1"), FLIP, 60, NONE, "could be redeemed again" },
    { "reversals of one", "payments", PAY("\4"), FLIP, 40, NONE, "never was" },
    { "a settled one", "payments", PAY("\1"), DROP, 0, NONE, "promises" },
    { "one too many", "payments", PAY("\1"), PUT_OTHER, 0, PAY("\6"), "its promise is missing" },
    { "amount that was promised", "promises", PAY("\1"), FLIP, 24, NONE, "is not its credit" },
    { "chain that was promised", "promises", PAY("\1"), FLIP, 160, NONE, "could be redeemed" },
    { "a promise", "promises", PAY("\1"), DROP, 0, NONE, "its promise is missing" },
    { "a claim of a payment", "claims", CLAIM1, DROP, 0, NONE, "could be redeemed again" },
    { "account in a claim", "claims", CLAIM1, FLIP, 8, NONE, "does not say what its payment" },
    { "id in a claim", "claims", CLAIM1, FLIP, 47, NONE, "does not say what its payment" },
    { "a payment's claim turned plain", "claims", CLAIM1, FLIP, 1, NONE, "does not say" },
    { "a claim of a transfer", "claims", CLAIM7, DROP, 0, NONE, "credits of transfers" },
    { "amount in a transfer's claim", "claims", CLAIM7, FLIP, 24, NONE, "says a credit" },
    { "a claim too many", "claims", CLAIM1, PUT_OTHER, 0, K(BASE "|" TX("8") "|0"), "claims" },
    { "a hold", "holds", HOLD2, DROP, 0, NONE, "has holds of 0" },
    { "amount of a hold", "holds", HOLD2, FLIP, 8, NONE, "waits for no answer" },
    { "a hold of an answered one", "holds", HOLD2, PUT_OTHER, 0,
      K("\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\5"), "waits for no answer" },
    { "an open one's place", "open", PAY("\3"), DROP, 0, NONE, "nobody would ask" },
    { "an open one's place at its payer", "open_payers",
      K(PAYER("\3") "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\3"), DROP, 0, NONE, "nobody would ask" },
    { "a place too many", "open", PAY("\3"), PUT_OTHER, 0, PAY("\1"), "open payments" },
    { "a client's id", "client_ids", K(PAYER("\3") "my-own-id-123456"), DROP, 0, NONE,
      "client's own" },
    { "what was presented too many", "presented", PAY("\3"), PUT_OTHER, 0, PAY("\1"), "not open" },
    { "an answer too many", "answers", PAY("\5"), PUT_OTHER, 0, PAY("\2"), "was not answered" },
    { "an address that leads elsewhere", "addresses", ADDRESS1, FLIP, 7, NONE, "another's" },
    { "an advance", "payments", PAY("\x9"), FLIP, 48, NONE, "entry" },
    { "entry of an advance", "payments", PAY("\x9"), FLIP, 56, NONE, "is not its credit" },
    { "account of an advance", "payments", PAY("\x9"), FLIP, 24, NONE, "is not its credit" },
    { "an advance of one that failed", "payments", PAY("\x9"), FLIP, 1, NONE, "cannot have" },
    { "a credit of a payment", "refs", K("x402:00000000000000000000000000000001"), DROP, 0, NONE,
      "credited again" },
};

static void make_payments(rig_t *r)
{
    const char *kept;
    rig_make(r, 1);
    rig_open(r);
    rig_begin(r);
    kmy_payment_row_t open = pay_row(3, 3);
    strcpy(open.client_id, "my-own-id-123456");
    assert_int_equal(pay_reserve(r, pay_row(1, 1), NULL), KMY_OK);
    assert_int_equal(pay_reserve(r, pay_query(2, 2), NULL), KMY_OK);
    assert_int_equal(pay_reserve(r, open, NULL), KMY_OK);
    assert_int_equal(pay_reserve(r, pay_row(4, 4), NULL), KMY_OK);
    assert_int_equal(pay_reserve(r, pay_query(5, 5), NULL), KMY_OK);
    static const unsigned settled[] = { 1, 2, 4, 5 };
    for (int i = 0; i < 4; i++)
        assert_int_equal(pay_settle(r, settled[i], settled[i], 0, NULL), KMY_OK);
    assert_int_equal(pay_reverse(r, 4, NULL), KMY_OK);
    assert_int_equal(pay_answer(r, 5, "answer", NOW, &kept, NULL), KMY_OK);
    kmy_transfer_t t = pay_transfer(7, 3, 7);
    assert_int_equal(kmy_ledger_transfer_credit(r->ledger, &t, NOW, NULL, &r->ctx), KMY_OK);
    assert_int_equal(pay_reserve(r, pay_row(9, 9), NULL), KMY_OK);
    assert_int_equal(pay_state(r, 9, KMY_PAYMENT_SUBMITTED), KMY_OK);
    char id[KMY_PAYMENT_ID_HEX + 1];
    pay_id(id, 9);
    assert_int_equal(kmy_ledger_payment_advance(r->ledger, id, USD / 4, NOW, NULL, NULL, &r->ctx),
                     KMY_OK);
    rig_commit(r);
    rig_close(r);
}

static void each_planted_damage_of_a_payment_is_found_and_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof payment_damages / sizeof *payment_damages; i++) {
        const damage_t *d = &payment_damages[i];
        rig_t r;
        make_payments(&r);
        rig_assert_clean(&r);
        plant(r.path, d);
        kmy_ledger_audit_t audit = rig_audit(&r);
        if (audit.faults_count == 0 || !strstr(audit.first_fault, d->want))
            fail_msg("%s: %llu faults, the first: %s", d->what,
                     (unsigned long long)audit.faults_count, audit.first_fault);
        rig_remove(&r);
    }
}

/* Each row may be a credit's equal, and their sum is compared all the same. */
static void money_that_is_on_one_side_only_is_missed_in_the_sum_as_well(void **state)
{
    (void)state;
    static const damage_t claim = { "", "claims", CLAIM7, DROP, 0, NONE, "" };
    rig_t r;
    make_payments(&r);
    plant(r.path, &claim);
    kmy_ledger_audit_t audit = rig_audit(&r);
    assert_int_equal(audit.faults_count, 2); /* a transfer too many, and its dollar */
    rig_remove(&r);
}

static void an_honest_ledger_has_no_faults_and_its_sums_are_told(void **state)
{
    rig_t r;
    (void)state;
    make_ledger(&r);
    for (int opened = 0; opened < 2; opened++) {
        kmy_ledger_audit_t audit = rig_audit(&r);
        assert_int_equal(audit.faults_count, 0);
        assert_string_equal(audit.first_fault, "");
        assert_int_equal(audit.accounts_count, 2);
        assert_int_equal(audit.entries_count, opened ? 8 : 6); /* two leases came back */
        assert_int_equal(audit.credited_nusd, 15 * USD);
        assert_int_equal(audit.leased_nusd, opened ? 0 : 3 * USD + USD / 2);
        assert_int_equal(audit.consumed_nusd, USD);
        if (!opened)
            rig_open(&r);
    }
    rig_remove(&r);
}

static void what_does_not_add_up_is_not_opened_for_business(void **state)
{
    static const damage_t rows[] = {
        { "", "accounts", ID("\1"), FLIP, 16, NONE, "" },
        { "", "accounts", ID("\2"), DROP, 0, NONE, "" },
        { "", "meta", K("totals"), FLIP, 8, NONE, "" },
        { "", "leases", K("\0\0\0\0\0\0\0\1\0\0\0\1"), DROP, 0, NONE, "" },
        { "", "leases", K("\0\0\0\0\0\0\0\1\0\0\0\1"), FLIP, 15, NONE, "" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rig_t r;
        make_ledger(&r);
        plant(r.path, &rows[i]);
        assert_int_equal(kmy_ledger_open(&r.ledger, r.path, NULL, &r.ctx), KMY_CORRUPT);
        assert_true(strlen(r.ctx.detail) > 10);
        rig_remove(&r);
    }
}

static void a_newer_format_is_left_alone(void **state)
{
    static const damage_t newer = { "", "meta", K("format"), FLIP, 9, NONE, "" }; /* 3 + 256 */
    rig_t r;
    kmy_ledger_audit_t audit;
    (void)state;
    make_ledger(&r);
    plant(r.path, &newer);
    assert_int_equal(kmy_ledger_open(&r.ledger, r.path, NULL, &r.ctx), KMY_CONFIG);
    assert_non_null(strstr(r.ctx.detail, "format 259"));
    assert_int_equal(kmy_ledger_audit_path(r.path, &audit, &r.ctx), KMY_CONFIG);
    plant(r.path, &newer); /* and back */
    rig_open(&r);
    assert_int_equal(r.recovery.leases_count, 2);
    rig_remove(&r);
}

/* As a program wrote it that knew no usage, or no payments either: without their tables. */
static void make_older(const char *path, uint8_t format)
{
    static const char *const tables[] = { "usage",      "feeds",     "feed_ids", "books", /* 3 */
                                          "chains",     "receipts",  "payments", "promises",
                                          "presented",  "open",      "claims",   "open_payers",
                                          "client_ids", "addresses", "holds",    "answers",
                                          "nonces",     "passes",    "orders" };
    const size_t count = format == 2 ? 4 : sizeof tables / sizeof *tables;
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 32), 0);
    assert_int_equal(mdb_env_open(env, path, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(mdb_dbi_open(txn, tables[i], 0, &dbi), 0);
        assert_int_equal(mdb_drop(txn, dbi, 1), 0);
    }
    uint8_t number[16] = { 1, 0, 0, 0, 0, 0, 0, 0, format };
    MDB_val key = { 6, (void *)"format" };
    MDB_val value = { sizeof number, number };
    assert_int_equal(mdb_dbi_open(txn, "meta", 0, &dbi), 0);
    assert_int_equal(mdb_put(txn, dbi, &key, &value, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

/* What was consumed before has no usage, and what comes after it has: the audit tells the one from the other. */
static void an_older_format_is_read_as_it_is_and_opened_only_to_be_migrated(void **state)
{
    (void)state;
    for (uint8_t format = 1; format <= 2; format++) {
        rig_t r;
        int64_t granted;
        make_ledger(&r);
        make_older(r.path, format);
        kmy_ledger_audit_t before = rig_audit(&r);
        assert_int_equal(before.faults_count, 0);
        assert_int_equal(before.credited_nusd, 15 * USD);
        assert_int_equal(before.payments_count, 0);
        assert_int_equal(kmy_ledger_open(&r.ledger, r.path, NULL, &r.ctx), KMY_CONFIG);
        assert_non_null(strstr(r.ctx.detail, "--migrate"));
        assert_int_equal(rig_audit(&r).faults_count, 0); /* and nothing was touched */
        kmy_ledger_options_t migrate = { .migrate = true };
        assert_int_equal(kmy_ledger_open_with(&r.ledger, r.path, &migrate, &r.recovery, &r.ctx),
                         KMY_OK);
        rig_assert_clean(&r);
        rig_begin(&r);
        kmy_use_t use = { .mode = KMY_MODE_QUERY, .count = 1, .nusd = 5 };
        assert_int_equal(kmy_ledger_feed(r.ledger, "BTC/USD", &use.feed, &r.ctx), KMY_OK);
        kmy_ledger_report_t report = {
            .account_id = 1, .consumed_nusd = 5, .queries_count = 1, .uses = &use, .uses_count = 1
        };
        assert_int_equal(kmy_ledger_lease(r.ledger, 1, 0, 10, NOW, &granted, NULL, &r.ctx), KMY_OK);
        assert_int_equal(kmy_ledger_settle(r.ledger, &report, NOW, NULL, &r.ctx), KMY_OK);
        rig_commit(&r);
        rig_close(&r);
        rig_assert_clean(&r);
        rig_open(&r); /* it is ours by now */
        rig_close(&r);
        static const damage_t newer = { "", "meta", K("format"), FLIP, 9, NONE, "" };
        plant(r.path, &newer);
        assert_int_equal(kmy_ledger_open(&r.ledger, r.path, NULL, &r.ctx), KMY_CONFIG);
        assert_non_null(strstr(r.ctx.detail, "format 259"));
        rig_remove(&r);
    }
}

static void an_empty_environment_is_no_ledger(void **state)
{
    rig_t r;
    MDB_env *env;
    MDB_txn *txn;
    kmy_ledger_audit_t audit;
    (void)state;
    rig_make(&r, 1);
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_open(env, r.path, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    assert_int_equal(kmy_ledger_audit_path(r.path, &audit, &r.ctx), KMY_CORRUPT);
    rig_remove(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_planted_damage_is_found_and_named),
        cmocka_unit_test(each_planted_damage_of_a_payment_is_found_and_named),
        cmocka_unit_test(money_that_is_on_one_side_only_is_missed_in_the_sum_as_well),
        cmocka_unit_test(an_honest_ledger_has_no_faults_and_its_sums_are_told),
        cmocka_unit_test(what_does_not_add_up_is_not_opened_for_business),
        cmocka_unit_test(a_newer_format_is_left_alone),
        cmocka_unit_test(an_older_format_is_read_as_it_is_and_opened_only_to_be_migrated),
        cmocka_unit_test(an_empty_environment_is_no_ledger),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
