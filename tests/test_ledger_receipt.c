/* What a receipt says was delivered is durably consumed; the chain goes on over crashes, and a batch that was undone leaves nothing of it. */
#include "tests/ledger_rig.h"

#include "pay/ledger_receipt.h"

#include <lmdb.h>

#define PRICE INT64_C(1000)

static kmy_receipt_key_t *a_key(uint8_t n)
{
    uint8_t seed[32] = { n };
    kmy_receipt_key_t *key = kmy_receipt_key_new(seed, NULL);
    assert_non_null(key);
    return key;
}

/* n ticks were delivered: what the shard reports. */
static void consume(rig_t *r, uint64_t id, uint64_t n)
{
    int64_t granted;
    kmy_ledger_report_t report = { .account_id = id,
                                   .consumed_nusd = (int64_t)n * PRICE,
                                   .ticks_count = n };
    assert_int_equal(
        kmy_ledger_lease(r->ledger, id, 0, (int64_t)n * PRICE, NOW, &granted, NULL, &r->ctx),
        KMY_OK);
    assert_int_equal(granted, (int64_t)n * PRICE);
    assert_int_equal(kmy_ledger_settle(r->ledger, &report, NOW, NULL, &r->ctx), KMY_OK);
}

static kmy_receipt_t run_of(uint64_t from, uint64_t n)
{
    return (kmy_receipt_t){ .feed = "SOL/USD",
                            .epoch = "e1",
                            .from = from,
                            .to = from + n - 1,
                            .ticks = n,
                            .amount_nusd = (int64_t)n * PRICE,
                            .issued_s = NOW / 1000000000 };
}

typedef struct chain {
    kmy_receipt_t last;
    uint8_t hash[KMY_RECEIPT_HASH_BYTES];
    uint64_t count;
    uint64_t first_seq;
    kmy_receipt_public_t key;
} chain_t;

/* As a customer would: opens the text and checks that it follows. */
static bool follow(void *arg, const kmy_receipt_t *r, const uint8_t *signature)
{
    chain_t *c = arg;
    char text[KMY_RECEIPT_BYTES_MAX];
    kmy_receipt_t read;
    kmy_errctx_t ctx = { 0 };
    size_t len = kmy_receipt_text(&c->key, r, signature, text);
    assert_int_equal(kmy_receipt_open(&c->key, 1, text, len, &read, &ctx), KMY_OK);
    if (c->count == 0)
        c->first_seq = read.seq;
    if (c->count > 0 || read.seq == 1) {
        kmy_err_t err = kmy_receipt_follows(c->count ? &c->last : NULL, c->hash, &read, &ctx);
        if (err != KMY_OK)
            fail_msg("%s", ctx.detail);
    }
    c->last = read;
    kmy_receipt_hash(text, len, c->hash);
    c->count++;
    return true;
}

static void issue(rig_t *r, uint64_t id, const kmy_receipt_key_t *key, kmy_receipt_t *receipt)
{
    uint8_t signature[KMY_ED25519_SIGNATURE_BYTES];
    assert_int_equal(kmy_ledger_receipt_issue(r->ledger, id, key, receipt, signature, &r->ctx),
                     KMY_OK);
}

static chain_t kept(rig_t *r, uint64_t id, const kmy_receipt_key_t *key, uint64_t after)
{
    chain_t c = { .key = *kmy_receipt_key_public(key) };
    assert_int_equal(kmy_ledger_visit_receipts(r->ledger, id, &c.key, after, follow, &c, &r->ctx),
                     KMY_OK);
    return c;
}

static void a_chain_goes_on_over_restarts_and_only_the_newest_are_kept(void **state)
{
    (void)state;
    rig_t r;
    kmy_receipt_key_t *key = a_key(1);
    kmy_ledger_chain_t head;
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t id = rig_account(&r, "local:a", USD);
    uint64_t other = rig_account(&r, "local:b", USD);
    assert_int_equal(kmy_ledger_chain_get(r.ledger, id, &head, &r.ctx), KMY_OK);
    assert_int_equal(head.seq, 0);
    enum { ISSUED = KMY_LEDGER_RECEIPTS_KEPT + 9 };
    for (uint64_t i = 0; i < ISSUED; i++) {
        kmy_receipt_t a = run_of(1 + 10 * i, 10);
        kmy_receipt_t b = run_of(1 + 10 * i, 5);
        rig_begin(&r);
        consume(&r, id, 10);
        issue(&r, id, key, &a);
        consume(&r, other, 5);
        issue(&r, other, key, &b);
        rig_commit(&r);
        assert_int_equal(a.seq, i + 1);
        assert_string_equal(a.account, "local:a");
        if (i % 7 == 0) {
            rig_close(&r);
            rig_open(&r);
        }
    }
    assert_int_equal(kmy_ledger_chain_get(r.ledger, id, &head, &r.ctx), KMY_OK);
    assert_int_equal(head.seq, ISSUED);
    assert_int_equal(head.ticks, ISSUED * 10);
    assert_int_equal(head.amount_nusd, ISSUED * 10 * PRICE);
    chain_t c = kept(&r, id, key, 0);
    assert_int_equal(c.count, KMY_LEDGER_RECEIPTS_KEPT);
    assert_int_equal(c.first_seq, ISSUED - KMY_LEDGER_RECEIPTS_KEPT + 1);
    assert_memory_equal(c.hash, head.hash, sizeof head.hash);
    assert_int_equal(kept(&r, id, key, ISSUED - 3).count, 3);
    assert_int_equal(kept(&r, id, key, ISSUED).count, 0);
    assert_int_equal(kept(&r, id, key, UINT64_MAX).count, 0);
    assert_int_equal(kept(&r, other, key, 0).last.ticks, 5);
    rig_assert_clean(&r);
    rig_remove(&r);
    kmy_receipt_key_free(key);
}

static void a_batch_that_was_undone_issued_nothing(void **state)
{
    (void)state;
    rig_t r;
    kmy_receipt_key_t *key = a_key(1);
    kmy_receipt_t lost = run_of(1, 10);
    kmy_receipt_t again = run_of(1, 10);
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t id = rig_account(&r, "local:a", USD);
    rig_begin(&r);
    consume(&r, id, 10);
    issue(&r, id, key, &lost);
    kmy_ledger_abort(r.ledger);
    assert_int_equal(kept(&r, id, key, 0).count, 0);
    rig_begin(&r);
    consume(&r, id, 10);
    issue(&r, id, key, &again);
    rig_commit(&r);
    assert_int_equal(again.seq, 1);
    assert_int_equal(kept(&r, id, key, 0).count, 1);
    rig_assert_clean(&r);
    rig_remove(&r);
    kmy_receipt_key_free(key);
}

static void a_clock_that_went_back_does_not_break_the_chain(void **state)
{
    (void)state;
    rig_t r;
    kmy_receipt_key_t *key = a_key(1);
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t id = rig_account(&r, "local:a", USD);
    rig_begin(&r);
    consume(&r, id, 20);
    kmy_receipt_t first = run_of(1, 10);
    kmy_receipt_t second = run_of(11, 10);
    second.issued_s -= 3600;
    issue(&r, id, key, &first);
    issue(&r, id, key, &second);
    rig_commit(&r);
    assert_int_equal(second.issued_s, first.issued_s);
    assert_int_equal(kept(&r, id, key, 0).count, 2);
    rig_remove(&r);
    kmy_receipt_key_free(key);
}

static void receipts_of_a_replaced_key_are_not_told_again_as_the_new_ones(void **state)
{
    (void)state;
    rig_t r;
    kmy_receipt_key_t *old = a_key(1);
    kmy_receipt_key_t *new = a_key(2);
    rig_make(&r, 1);
    rig_open(&r);
    uint64_t id = rig_account(&r, "local:a", USD);
    rig_begin(&r);
    consume(&r, id, 20);
    kmy_receipt_t first = run_of(1, 10);
    kmy_receipt_t second = run_of(11, 10);
    issue(&r, id, old, &first);
    issue(&r, id, new, &second);
    rig_commit(&r);
    assert_int_equal(kept(&r, id, new, 0).count, 1);
    assert_int_equal(kept(&r, id, new, 0).first_seq, 2);
    assert_int_equal(kept(&r, id, old, 0).count, 1);
    rig_remove(&r);
    kmy_receipt_key_free(old);
    kmy_receipt_key_free(new);
}

static void nobody_unknown_gets_a_receipt(void **state)
{
    (void)state;
    rig_t r;
    kmy_receipt_key_t *key = a_key(1);
    uint8_t signature[KMY_ED25519_SIGNATURE_BYTES];
    kmy_receipt_t receipt = run_of(1, 1);
    rig_make(&r, 1);
    rig_open(&r);
    rig_begin(&r);
    assert_int_equal(kmy_ledger_receipt_issue(r.ledger, 7, key, &receipt, signature, &r.ctx),
                     KMY_NOT_FOUND);
    kmy_ledger_abort(r.ledger);
    rig_remove(&r);
    kmy_receipt_key_free(key);
}

/* A row of a table changed as a broken disk or a bug would. */
static void damage(rig_t *r, const char *table, const void *key, size_t key_bytes, int at)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_val k = { key_bytes, (void *)key };
    MDB_val v;
    uint8_t copy[512];
    assert_int_equal(mdb_env_create(&env), 0);
    mdb_env_set_maxdbs(env, 64);
    assert_int_equal(mdb_env_open(env, r->path, 0, 0600), 0);
    assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_dbi_open(txn, table, 0, &dbi), 0);
    assert_int_equal(mdb_get(txn, dbi, &k, &v), 0);
    memcpy(copy, v.mv_data, v.mv_size);
    if (at < 0) {
        assert_int_equal(mdb_del(txn, dbi, &k, NULL), 0);
    } else {
        copy[at] ^= 1;
        v.mv_data = copy;
        assert_int_equal(mdb_put(txn, dbi, &k, &v, 0), 0);
    }
    assert_int_equal(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
}

static void the_audit_names_what_is_wrong_with_a_chain(void **state)
{
    (void)state;
    static const uint8_t id[8] = { 0, 0, 0, 0, 0, 0, 0, 1 };
    static const uint8_t third[16] = { 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3 };
    static const uint8_t last[16] = { 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 5 };
    static const struct {
        const char *table;
        const uint8_t *key;
        size_t key_bytes;
        int at; /* which byte of the value; -1: the row is gone */
        const char *want;
    } rows[] = {
        { "chains", id, 8, 26, "have consumed" }, /* 65,536 nano-USD more than there were */
        { "chains", id, 8, 17, "have consumed" }, /* 256 ticks more */
        { "chains", id, 8, 8, "head of its chain" },
        { "chains", id, 8, 0, "damaged" },
        { "chains", id, 8, -1, "in no chain" },
        { "receipts", last, 16, -1, "head of its chain" },
        { "receipts", third, 16, -1, "does not follow" },
        { "receipts", third, 16, 24, "does not follow" },
        { "receipts", third, 16, 32, "does not follow" },
        { "receipts", third, 16, 1, "damaged" },
    };
    kmy_receipt_key_t *key = a_key(1);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        rig_t r;
        rig_make(&r, 1);
        rig_open(&r);
        uint64_t account = rig_account(&r, "local:a", USD);
        assert_int_equal(account, 1);
        for (uint64_t n = 0; n < 5; n++) {
            kmy_receipt_t receipt = run_of(1 + 10 * n, 10);
            rig_begin(&r);
            consume(&r, account, 10);
            issue(&r, account, key, &receipt);
            rig_commit(&r);
        }
        rig_close(&r);
        rig_assert_clean(&r);
        damage(&r, rows[i].table, rows[i].key, rows[i].key_bytes, rows[i].at);
        kmy_ledger_audit_t audit = rig_audit(&r);
        if (audit.faults_count == 0 || !strstr(audit.first_fault, rows[i].want))
            fail_msg("damage %zu: %s", i, audit.first_fault);
        rig_remove(&r);
    }
    kmy_receipt_key_free(key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_goes_on_over_restarts_and_only_the_newest_are_kept),
        cmocka_unit_test(a_batch_that_was_undone_issued_nothing),
        cmocka_unit_test(a_clock_that_went_back_does_not_break_the_chain),
        cmocka_unit_test(receipts_of_a_replaced_key_are_not_told_again_as_the_new_ones),
        cmocka_unit_test(nobody_unknown_gets_a_receipt),
        cmocka_unit_test(the_audit_names_what_is_wrong_with_a_chain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
