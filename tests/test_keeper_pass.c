/* engine/keeper_pass: who is told of a pass, and when.  Over the real queues and the real ledger; the shards are this file. */
#include "tests/keeper_rig.h"

enum { SHARDS = 3 };

static void begin(world_t *w)
{
    begin_with(w, SHARDS);
}

static kmy_catalog_t two_feeds(void)
{
    kmy_config_t cfg;
    kmy_catalog_t cat;
    kmy_errctx_t ctx = { 0 };
    assert_int_equal(kmy_config_read(&cfg, "f", "", 0, &ctx), KMY_OK);
    assert_int_equal(kmy_catalog_build(&cat, &cfg, &ctx), KMY_OK);
    assert_true(cat.feeds_count >= 2);
    kmy_config_free(&cfg); /* the catalog has its own copies */
    return cat;
}

static kmy_ask_t order_of(uint64_t id, const char *key, uint16_t first, uint16_t second)
{
    kmy_ask_t a = { .kind = KMY_ASK_PASSES,
                    .slot = 5,
                    .gen = 7,
                    .account_id = id,
                    .amount_nusd = 10,
                    .from = 2,
                    .feeds = { first, second } };
    snprintf(a.ref, sizeof a.ref, "%s", key);
    return a;
}

static void who_serves_an_account_knows_its_passes_before_the_buyer_has_the_answer(void **state)
{
    (void)state;
    world_t w;
    begin(&w);
    kmy_catalog_t cat = two_feeds();
    kmy_keeper_sell_with(w.keeper, &cat);
    uint64_t id = mint(&w, 0, "local:a", "k", 20).account_id;
    open_account(&w, 0, "local:a");
    open_account(&w, 1, "local:a");
    kmy_tell_passes_t sold = { 0 };
    for (int again = 0; again < 2; again++) { /* and a repeated order tells the buyer alone */
        say(&w, 1, order_of(id, "key", 1, 0));
        for (uint32_t i = 0; i < 2 && !again; i++) {
            assert_int_equal(hear_kind(&w, i, KMY_TELL_FIGURES).free_nusd, 0);
            sold = hear_kind(&w, i, KMY_TELL_PASSES).passes;
            assert_int_equal(sold.count, 2);
            assert_int_equal(sold.feed[0], 1);
            assert_int_equal(sold.feed[1], 0);
        }
        kmy_tell_t t = hear_kind(&w, 1, KMY_TELL_ANSWER);
        assert_int_equal(t.err, again ? KMY_DUPLICATE : KMY_OK);
        assert_int_equal(t.slot, 5);
        assert_int_equal(t.gen, 7);
        assert_int_equal(t.amount_nusd, 20);
        assert_memory_equal(&t.passes, &sold, sizeof sold);
    }
    say(&w, 1, order_of(id, "key", 0, 1));
    assert_int_equal(hear_kind(&w, 1, KMY_TELL_ANSWER).err, KMY_CONFLICT);
    say(&w, 1, order_of(id, "", 0, 1));
    assert_int_equal(hear_kind(&w, 1, KMY_TELL_ANSWER).err, KMY_NO_BALANCE);
    say(&w, 2, named(KMY_ASK_OPEN, "local:a")); /* and who begins to serve it later */
    assert_int_equal(hear_kind(&w, 2, KMY_TELL_PASSES).passes.count, 2);
    hear_kind(&w, 2, KMY_TELL_OPENED);
    end(&w);
    kmy_catalog_free(&cat);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_serves_an_account_knows_its_passes_before_the_buyer_has_the_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
