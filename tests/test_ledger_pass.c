/* A pass is paid once, all feeds of an order or none; it begins where the one before it ends; and the journal alone tells when each is over. */
#include "tests/ledger_rig.h"

#include "pay/ledger_pass.h"

#include <lmdb.h>

#define PRICE (USD / 100)

static kmy_pass_order_t order_of(uint64_t id, const char *key, const char *first,
                                 const char *second)
{
    return (kmy_pass_order_t){ .account_id = id,
                               .key = key,
                               .count = second ? 2 : 1,
                               .price_nusd = PRICE,
                               .feeds = { first, second } };
}

static kmy_err_t buy(rig_t *r, const kmy_pass_order_t *o, int64_t now_ns, kmy_pass_sale_t *sale,
                     kmy_account_t *acc)
{
    rig_begin(r);
    kmy_err_t err = kmy_ledger_pass_buy(r->ledger, o, now_ns, sale, acc, &r->ctx);
    kmy_errctx_t kept = r->ctx;
    rig_commit(r);
    r->ctx = kept;
    return err;
}

typedef struct seen {
    uint32_t count;
    char feed[8][KMY_FEED_NAME_BYTES_MAX];
    int64_t expires_ns[8];
} seen_t;

static bool see(void *arg, const char *feed, int64_t expires_ns)
{
    seen_t *s = arg;
    assert_true(s->count < 8);
    snprintf(s->feed[s->count], sizeof s->feed[0], "%s", feed);
    s->expires_ns[s->count++] = expires_ns;
    return true;
}

static seen_t passes(rig_t *r, uint64_t id, int64_t now_ns)
{
    seen_t s = { 0 };
    assert_int_equal(kmy_ledger_visit_passes(r->ledger, id, now_ns, see, &s, &r->ctx), KMY_OK);
    return s;
}

static void a_pass_costs_its_price_and_ends_a_day_later(void **state)
{
    rig_t r;
    kmy_pass_sale_t sale;
    kmy_account_t acc;
    (void)state;
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t id = rig_account(&r, "local:a", USD);
    uint64_t other = rig_account(&r, "local:b", USD);
    kmy_pass_order_t o = order_of(id, "", "SOL/USD", "BTC/USD");
    assert_int_equal(buy(&r, &o, NOW, &sale, &acc), KMY_OK);
    assert_int_equal(sale.charged_nusd, 2 * PRICE);
    assert_int_equal(sale.balance_nusd, USD - 2 * PRICE);
    assert_int_equal(acc.balance_nusd, USD - 2 * PRICE);
    assert_int_equal(acc.consumed_nusd, 2 * PRICE);
    assert_int_equal(sale.expires_ns[0], NOW + KMY_PASS_NS);
    assert_int_equal(sale.expires_ns[1], NOW + KMY_PASS_NS);
    seen_t s = passes(&r, id, NOW);
    assert_int_equal(s.count, 2);
    assert_string_equal(s.feed[0], "BTC/USD");
    assert_string_equal(s.feed[1], "SOL/USD");
    assert_int_equal(passes(&r, id, NOW + KMY_PASS_NS - 1).count, 2);
    assert_int_equal(passes(&r, id, NOW + KMY_PASS_NS).count, 0); /* over */
    assert_int_equal(passes(&r, other, NOW).count, 0);
    rig_assert_clean(&r);
    rig_close(&r); /* and it stays bought */
    rig_open(&r);
    assert_int_equal(passes(&r, id, NOW).count, 2);
    rig_assert_clean(&r);
    rig_remove(&r);
}

static void a_pass_that_runs_is_extended_and_one_that_is_over_begins_anew(void **state)
{
    rig_t r;
    kmy_pass_sale_t sale;
    (void)state;
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t id = rig_account(&r, "local:a", USD);
    kmy_pass_order_t o = order_of(id, "", "SOL/USD", NULL);
    assert_int_equal(buy(&r, &o, NOW, &sale, NULL), KMY_OK);
    assert_int_equal(buy(&r, &o, NOW + 5, &sale, NULL), KMY_OK);
    assert_int_equal(sale.expires_ns[0], NOW + 2 * KMY_PASS_NS);
    int64_t later = NOW + 2 * KMY_PASS_NS; /* the very instant of its end */
    assert_int_equal(buy(&r, &o, later, &sale, NULL), KMY_OK);
    assert_int_equal(sale.expires_ns[0], later + KMY_PASS_NS);
    assert_int_equal(sale.balance_nusd, USD - 3 * PRICE);
    rig_assert_clean(&r);
    rig_remove(&r);
}

static void the_same_order_under_a_key_is_done_once_and_answered_alike(void **state)
{
    rig_t r;
    kmy_pass_sale_t first;
    kmy_pass_sale_t again;
    kmy_account_t acc;
    (void)state;
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t id = rig_account(&r, "local:a", 2 * PRICE);
    uint64_t other = rig_account(&r, "local:b", PRICE);
    kmy_pass_order_t o = order_of(id, "k1", "SOL/USD", "BTC/USD");
    assert_int_equal(buy(&r, &o, NOW, &first, NULL), KMY_OK);
    for (int i = 0; i < 2; i++) { /* nothing is left, and a restart lies between */
        assert_int_equal(buy(&r, &o, NOW + 9, &again, &acc), KMY_DUPLICATE);
        assert_memory_equal(&again, &first, sizeof again);
        assert_int_equal(acc.consumed_nusd, 2 * PRICE);
        rig_close(&r);
        rig_open(&r);
    }
    const kmy_pass_order_t others[] = { order_of(id, "k1", "SOL/USD", NULL),
                                        order_of(id, "k1", "SOL/USD", "ETH/USD"),
                                        order_of(id, "k1", "SOL/USD", "BTC/US") };
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(buy(&r, &others[i], NOW, &again, NULL), KMY_CONFLICT);
    o = order_of(other, "k1", "SOL/USD", NULL); /* a key is its account's own */
    assert_int_equal(buy(&r, &o, NOW, &again, NULL), KMY_OK);
    rig_assert_clean(&r);
    rig_remove(&r);
}

static void a_key_counts_for_a_day(void **state)
{
    rig_t r;
    kmy_pass_sale_t sale;
    (void)state;
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t id = rig_account(&r, "local:a", USD);
    kmy_pass_order_t o = order_of(id, "k1", "SOL/USD", NULL);
    kmy_pass_order_t p = order_of(id, "k1", "BTC/USD", NULL);
    assert_int_equal(buy(&r, &o, NOW, &sale, NULL), KMY_OK);
    assert_int_equal(buy(&r, &p, NOW + KMY_PASS_KEPT_NS - 1, &sale, NULL), KMY_CONFLICT);
    assert_int_equal(buy(&r, &p, NOW + KMY_PASS_KEPT_NS, &sale, NULL), KMY_OK);
    rig_assert_clean(&r);
    rig_remove(&r);
}

static void who_cannot_pay_all_of_it_gets_none_of_it(void **state)
{
    rig_t r;
    kmy_pass_sale_t sale;
    kmy_account_t acc;
    int64_t granted;
    (void)state;
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t id = rig_account(&r, "local:a", 2 * PRICE);
    rig_begin(&r); /* what a shard holds is not free */
    assert_int_equal(kmy_ledger_lease(r.ledger, id, 0, 1, NOW, &granted, NULL, &r.ctx), KMY_OK);
    rig_commit(&r);
    kmy_pass_order_t o = order_of(id, "k1", "SOL/USD", "BTC/USD");
    assert_int_equal(buy(&r, &o, NOW, &sale, &acc), KMY_NO_BALANCE);
    assert_int_equal(acc.balance_nusd, 2 * PRICE - 1);
    assert_int_equal(acc.consumed_nusd, 0);
    assert_int_equal(passes(&r, id, NOW).count, 0);
    kmy_ledger_report_t back = { .account_id = id, .returned_nusd = 1 };
    rig_begin(&r);
    assert_int_equal(kmy_ledger_settle(r.ledger, &back, NOW, NULL, &r.ctx), KMY_OK);
    rig_commit(&r);
    assert_int_equal(buy(&r, &o, NOW, &sale, &acc), KMY_OK); /* the key was not used up */
    assert_int_equal(acc.balance_nusd, 0);
    rig_assert_clean(&r);
    rig_remove(&r);
}

static void what_is_too_long_is_refused(void **state)
{
    rig_t r;
    kmy_pass_sale_t sale;
    char text[KMY_PASS_KEY_BYTES_MAX + 1];
    (void)state;
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t id = rig_account(&r, "local:a", USD);
    memset(text, 'x', sizeof text);
    text[KMY_PASS_KEY_BYTES_MAX] = '\0';
    kmy_pass_order_t o = order_of(id, text, "SOL/USD", NULL);
    assert_int_equal(buy(&r, &o, NOW, &sale, NULL), KMY_BAD_INPUT);
    o.key = text + 1;
    assert_int_equal(buy(&r, &o, NOW, &sale, NULL), KMY_OK);
    o = order_of(id, "", text + sizeof text - 1 - KMY_FEED_NAME_BYTES_MAX, NULL);
    assert_int_equal(buy(&r, &o, NOW, &sale, NULL), KMY_BAD_INPUT);
    o = order_of(id + 7, "", "SOL/USD", NULL);
    assert_int_equal(buy(&r, &o, NOW, &sale, NULL), KMY_NOT_FOUND);
    rig_assert_clean(&r);
    rig_remove(&r);
}

/* Changes one row behind the ledger's back. */
static void plant(rig_t *r, const char *table, const char *feed, const int64_t *expires_ns)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    uint8_t key[8 + KMY_FEED_NAME_BYTES_MAX] = { 0, 0, 0, 0, 0, 0, 0, 1 };
    uint8_t number[16] = { 1 };
    size_t len = 8 + strlen(feed);
    memcpy(key + 8, feed, len - 8);
    assert_int_equal(mdb_env_create(&env), 0);
    assert_int_equal(mdb_env_set_maxdbs(env, 64), 0);
    assert_int_equal(mdb_env_open(env, r->path, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, table, 0, &dbi), 0);
    MDB_val k = { len, key };
    MDB_val v = { sizeof number, number };
    if (expires_ns) {
        memcpy(number + 8, expires_ns, 8);
        assert_int_equal(mdb_put(txn, dbi, &k, &v, 0), 0);
    } else {
        assert_int_equal(mdb_del(txn, dbi, &k, NULL), 0);
    }
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static void the_audit_sees_a_pass_that_is_not_what_was_bought(void **state)
{
    static const int64_t longer = NOW + KMY_PASS_NS + 1;
    static const struct {
        const char *table;
        const char *row;
        const int64_t *expires_ns;
        const char *says;
    } rows[] = {
        { "passes", "SOL/USD", &longer, "for SOL/USD ends" },
        { "passes", "ETH/USD", &longer, "for ETH/USD that it did not buy" },
        { "passes", "SOL/USD", NULL, "0 passes where there should be 1" },
        { "orders", "k1", &longer, "an order of passes is damaged" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rig_t r;
        kmy_pass_sale_t sale;
        rig_make(&r, 1);
        rig_open(&r);
        kmy_pass_order_t o = order_of(rig_account(&r, "local:a", USD), "k1", "SOL/USD", NULL);
        assert_int_equal(buy(&r, &o, NOW, &sale, NULL), KMY_OK);
        rig_assert_clean(&r);
        rig_close(&r);
        plant(&r, rows[i].table, rows[i].row, rows[i].expires_ns);
        kmy_ledger_audit_t audit = rig_audit(&r);
        assert_true(audit.faults_count >= 1);
        if (!strstr(audit.first_fault, rows[i].says))
            fail_msg("%s", audit.first_fault);
        rig_remove(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pass_costs_its_price_and_ends_a_day_later),
        cmocka_unit_test(a_pass_that_runs_is_extended_and_one_that_is_over_begins_anew),
        cmocka_unit_test(the_same_order_under_a_key_is_done_once_and_answered_alike),
        cmocka_unit_test(a_key_counts_for_a_day),
        cmocka_unit_test(who_cannot_pay_all_of_it_gets_none_of_it),
        cmocka_unit_test(what_is_too_long_is_refused),
        cmocka_unit_test(the_audit_sees_a_pass_that_is_not_what_was_bought),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
