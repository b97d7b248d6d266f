/* engine/keeper_pass: who is told of a pass, and when.  Over the real queues and the real ledger; the shards are this file. */
#include "tests/ledger_rig.h"

#include "engine/keeper.h"

#include <poll.h>

enum { SHARDS = 3, PATIENCE_MS = 20000 };

typedef struct world {
    rig_t rig;
    kmy_topology_t t;
    kmy_metrics_t metrics;
    kmy_keeper_t *keeper;
} world_t;

static void begin(world_t *w)
{
    kmy_config_t cfg;
    memset(&cfg, 0, sizeof cfg);
    memset(&w->metrics, 0, sizeof w->metrics);
    cfg.ring.slots = 64;
    rig_make(&w->rig, 1);
    rig_open(&w->rig);
    assert_int_equal(kmy_topology_make(&w->t, &cfg, SHARDS, NULL, 1, &w->rig.ctx), KMY_OK);
    assert_int_equal(kmy_keeper_start(&w->keeper, w->rig.ledger, &w->t, &w->metrics, &w->rig.ctx),
                     KMY_OK);
}

static void stop_keeper(world_t *w)
{
    kmy_keeper_stop(w->keeper);
    w->keeper = NULL;
}

static void end(world_t *w)
{
    if (w->keeper)
        stop_keeper(w);
    rig_assert_clean(&w->rig);
    kmy_topology_free(&w->t);
    rig_remove(&w->rig);
}

static void say(world_t *w, uint32_t shard, kmy_ask_t a)
{
    assert_true(kmy_queue_push(w->t.shard_keeper[shard], &a));
    kmy_wake_signal(&w->t.keeper_wake);
}

/* The next tell for that shard, waited for as a shard does. */
static kmy_tell_t hear(world_t *w, uint32_t shard)
{
    kmy_tell_t tell;
    kmy_wake_t *wake = &w->t.shard_wake[shard];
    for (;;) {
        kmy_wake_arm(wake);
        bool got = kmy_queue_pop(w->t.keeper_shard[shard], &tell);
        struct pollfd p = { wake->fd, POLLIN, 0 };
        if (!got && poll(&p, 1, PATIENCE_MS) != 1)
            fail_msg("shard %u: no answer", shard);
        kmy_wake_disarm(wake);
        uint64_t n;
        ssize_t r = read(wake->fd, &n, sizeof n);
        (void)r;
        if (got) {
            kmy_wake_signal(&w->t.keeper_wake); /* there is room again */
            return tell;
        }
    }
}

static kmy_tell_t hear_kind(world_t *w, uint32_t shard, uint32_t kind)
{
    kmy_tell_t tell;
    do
        tell = hear(w, shard);
    while (tell.kind == KMY_TELL_FIGURES &&
           kind != KMY_TELL_FIGURES); /* news, asking for nothing */
    if (tell.kind != kind)
        fail_msg("shard %u was told %u, not %u", shard, tell.kind, kind);
    return tell;
}

static kmy_ask_t named(uint32_t kind, const char *text)
{
    kmy_ask_t a = { .kind = kind, .slot = 3, .gen = 9 };
    snprintf(a.text, sizeof a.text, "%s", text);
    return a;
}

static kmy_tell_t mint(world_t *w, uint32_t shard, const char *name, const char *ref, int64_t nusd)
{
    kmy_ask_t a = named(KMY_ASK_MINT, name);
    a.amount_nusd = nusd;
    snprintf(a.ref, sizeof a.ref, "%s", ref);
    say(w, shard, a);
    return hear_kind(w, shard, KMY_TELL_ANSWER);
}

static kmy_tell_t open_account(world_t *w, uint32_t shard, const char *name)
{
    say(w, shard, named(KMY_ASK_OPEN, name));
    return hear_kind(w, shard, KMY_TELL_OPENED);
}

static kmy_catalog_t two_feeds(void)
{
    kmy_config_t cfg;
    kmy_catalog_t cat;
    kmy_errctx_t ctx = { 0 };
    assert_int_equal(kmy_config_read(&cfg, "f", "", 0, &ctx), KMY_OK);
    assert_int_equal(kmy_catalog_build(&cat, &cfg, &ctx), KMY_OK);
    assert_true(cat.feeds_count >= 2);
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
