/* engine/catalog: which feeds there are, under which names, and what their sources must be asked for. */
#include "engine/catalog.h"

#include "base/tick.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

static kmy_err_t build(kmy_catalog_t *cat, kmy_config_t *cfg, const char *yaml, kmy_errctx_t *ctx)
{
    if (kmy_config_read(cfg, "f", yaml, strlen(yaml), ctx) != KMY_OK)
        fail_msg("%s", ctx->detail);
    return kmy_catalog_build(cat, cfg, ctx);
}

/* configuration, a name as a customer writes it, the feed it means (NULL: none) */
static const struct {
    const char *yaml, *name, *feed;
} names[] = {
    { "", "SOL/USD", "SOL/USD" },
    { "", "SOL-USD", "SOL/USD" },
    { "", "sol-usd", "SOL/USD" },
    { "", "solana-price", "SOL/USD" },
    { "", "Bitcoin-Price", "BTC/USD" },
    { "", "SOLUSDT", "SOL/USDT@binance" },
    { "", "solusdt", "SOL/USDT@binance" },
    { "", "BTC/USDT@binance", "BTC/USDT@binance" },
    { "", "BTC-USDT@binance", "BTC/USDT@binance" },
    { "", "btc/usdt@BINANCE", "BTC/USDT@binance" },
    { "", "BTC/USDT", NULL }, /* a venue's price is not the feed of all venues */
    { "", "BTC", NULL },
    { "", "", NULL },
    { "", "DOGE/USD", NULL }, /* known to the source, but nobody configured it */
    { "feeds: [ { name: DOGE/USD } ]", "dogecoin-price", "DOGE/USD" },
    { "feeds: [ { name: doge/usd } ]", "DOGE/USD",
      "DOGE/USD" }, /* the canonical name is upper case */
    { "feeds: [ { name: SOL/USD, aliases: [sun] } ]", "SUN", "SOL/USD" },
    { "feeds: [ { name: DOGE/USDT@binance } ]", "DOGE-USDT@binance", "DOGE/USDT@binance" },
    { "sources: { pyth: { feeds: [] } }", "SOL/USD", NULL },
    { "sources: { binance: { symbols: [] } }", "SOLUSDT", NULL },
};

static void every_spelling_of_a_name_finds_its_feed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        kmy_config_t cfg;
        kmy_catalog_t cat;
        kmy_errctx_t ctx = { 0 };
        if (build(&cat, &cfg, names[i].yaml, &ctx) != KMY_OK)
            fail_msg("%s: %s", names[i].yaml, ctx.detail);
        const kmy_feed_t *feed = kmy_catalog_find(&cat, names[i].name, strlen(names[i].name));
        const char *got = feed ? feed->name : "nothing";
        const char *want = names[i].feed ? names[i].feed : "nothing";
        if (strcmp(got, want) != 0)
            fail_msg("{%s} %s: wanted %s, got %s", names[i].yaml, names[i].name, want, got);
        kmy_catalog_free(&cat);
        kmy_config_free(&cfg);
    }
}

static const struct {
    const char *yaml, *error;
} refusals[] = {
    { "feeds: [ { name: SOL/USD, aliases: [BTC-USD] } ]",
      "two feeds claim the name BTC-USD: BTC/USD and SOL/USD" },
    { "feeds: [ { name: DOGE/USD, aliases: [SOLUSDT] } ]",
      "two feeds claim the name SOLUSDT: SOL/USDT@binance and DOGE/USD" },
    { "feeds: [ { name: SOL/USD }, { name: SOL/USD } ]", "feeds: SOL/USD stands twice" },
    { "feeds: [ { name: SOL/USD, sources: [chainlink] } ]",
      "feed SOL/USD: no source of it is available; there are pyth and binance" },
    { "feeds: [ { name: WEATHER/USD } ]",
      "feed WEATHER/USD: no source of it is available; there are pyth and binance" },
    { "feeds: [ { name: WEATHER/USD, sources: [pyth] } ]",
      "feed WEATHER/USD: source pyth knows no such feed" },
    { "feeds: [ { name: SOL/USDT@kraken, sources: [binance] } ]",
      "feed SOL/USDT@kraken: source binance knows no such feed" },
    { "feeds: [ { name: BTC/USDT, sources: [binance] } ]",
      "binance BTCUSDT would feed both BTC/USDT@binance and BTC/USDT" },
    { "sources: { binance: { symbols: [HELLO] } }",
      "sources.binance.symbols: HELLO ends in no known quote asset" },
    { "sources: { pyth: { feeds: "
      "[\"A23456789012345678901234567890123456789012345678901234567890/BCD\"] } }",
      "'A23456789012345678901234567890123456789012345678901234567890' is too long for a feed name; "
      "limit: 63 bytes" },
};

static void what_is_ambiguous_or_has_no_source_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        kmy_config_t cfg;
        kmy_catalog_t cat;
        kmy_errctx_t ctx = { 0 };
        kmy_err_t err = build(&cat, &cfg, refusals[i].yaml, &ctx);
        if (err != KMY_CONFIG || strcmp(ctx.detail, refusals[i].error) != 0)
            fail_msg("{%s}\nwanted: %s\n   got: %s", refusals[i].yaml, refusals[i].error,
                     err ? ctx.detail : "accepted");
        kmy_config_free(&cfg);
    }
}

static const kmy_upstream_key_t *key_of(const kmy_catalog_t *cat, const char *name, uint8_t source)
{
    const kmy_feed_t *feed = kmy_catalog_find(cat, name, strlen(name));
    for (uint32_t i = 0; feed && i < cat->keys_count; i++) {
        if (cat->keys[i].feed_idx == feed->idx && cat->keys[i].source == source)
            return &cat->keys[i];
    }
    return NULL;
}

static void each_source_is_asked_by_its_own_key(void **state)
{
    (void)state;
    kmy_config_t cfg;
    kmy_catalog_t cat;
    kmy_errctx_t ctx = { 0 };
    assert_int_equal(build(&cat, &cfg, "", &ctx), KMY_OK);
    assert_int_equal(cat.feeds_count, 6);
    assert_int_equal(cat.keys_count, 6);
    assert_string_equal(key_of(&cat, "BTC/USDT@binance", KMY_SOURCE_BINANCE)->key, "BTCUSDT");
    assert_string_equal(key_of(&cat, "SOL/USD", KMY_SOURCE_PYTH)->key,
                        "ef0d8b6fda2ceba41da15d4095d1da392a0d2f8ed0c6c7bc0f4cfac8c280b56d");
    assert_null(key_of(&cat, "SOL/USD", KMY_SOURCE_BINANCE));
    for (uint32_t i = 0; i < cat.feeds_count; i++)
        assert_int_equal(cat.feeds[i].idx, i);
    kmy_catalog_free(&cat);
    kmy_config_free(&cfg);
}

static void a_feed_takes_its_entrys_order_and_limits(void **state)
{
    (void)state;
    kmy_config_t cfg;
    kmy_catalog_t cat;
    kmy_errctx_t ctx = { 0 };
    assert_int_equal(build(&cat, &cfg,
                           "feeds: [ { name: SOL/USD, sources: [chainlink, pyth], stale_after: 7s, "
                           "required: true } ]\nprices: { tick: \"0.5\", query: \"0.75\" }",
                           &ctx),
                     KMY_OK);
    const kmy_feed_t *sol = kmy_catalog_find(&cat, "SOL/USD", 7);
    assert_int_equal(sol->sources_count, 1); /* chainlink is not available yet: warned of */
    assert_int_equal(sol->sources[0], KMY_SOURCE_PYTH);
    assert_int_equal(sol->stale_after_ns, INT64_C(7000000000));
    assert_true(sol->required);
    assert_int_equal(sol->tick_nusd, 500000000);
    assert_int_equal(sol->query_nusd, 750000000);
    assert_false(kmy_catalog_find(&cat, "BTC/USD", 7)->required);
    kmy_catalog_free(&cat);
    kmy_config_free(&cfg);
}

static void ids_come_from_the_store(void **state)
{
    (void)state;
    kmy_config_t cfg;
    kmy_catalog_t cat;
    kmy_errctx_t ctx = { 0 };
    assert_int_equal(build(&cat, &cfg, "", &ctx), KMY_OK);
    assert_null(kmy_catalog_by_id(&cat, 0)); /* before any id is given */
    const uint32_t ids[] = { 9, 1, 4, 2, 7, 3 };
    assert_int_equal(kmy_catalog_assign(&cat, ids, &ctx), KMY_OK);
    for (uint32_t i = 0; i < 6; i++) {
        assert_int_equal(cat.feeds[i].id, ids[i]);
        assert_ptr_equal(kmy_catalog_by_id(&cat, ids[i]), &cat.feeds[i]);
    }
    assert_null(kmy_catalog_by_id(&cat, 0));
    assert_null(kmy_catalog_by_id(&cat, 5));
    assert_null(kmy_catalog_by_id(&cat, 10));
    const uint32_t twice[] = { 1, 2, 3, 4, 5, 1 };
    assert_int_equal(kmy_catalog_assign(&cat, twice, &ctx), KMY_CORRUPT);
    const uint32_t huge[] = { 1, 2, 3, 4, 5, UINT32_MAX };
    assert_int_equal(kmy_catalog_assign(&cat, huge, &ctx), KMY_CORRUPT);
    kmy_catalog_free(&cat);
    kmy_config_free(&cfg);
}

static void a_misspelt_name_is_answered_with_the_nearest(void **state)
{
    (void)state;
    static const struct {
        const char *name, *feed;
    } rows[] = {
        { "SOLUSD", "SOL/USD" },
        { "SOL/UDS", "SOL/USD" },
        { "SOLUSDC", "SOL/USDT@binance" },
        { "solana-prise", "SOL/USD" },
        { "BTC/USDT@binanse", "BTC/USDT@binance" },
        { "completely-different", "none" },
        { "", "none" },
    };
    kmy_config_t cfg;
    kmy_catalog_t cat;
    kmy_errctx_t ctx = { 0 };
    assert_int_equal(build(&cat, &cfg, "", &ctx), KMY_OK);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const kmy_feed_t *f = kmy_catalog_closest(&cat, rows[i].name, strlen(rows[i].name));
        assert_string_equal(f ? f->name : "none", rows[i].feed);
    }
    /* Each name and alias, with any one letter another: something is near it. */
    for (uint32_t i = 0; i < cat.words_count; i++) {
        const kmy_feed_t *feed = &cat.feeds[cat.words[i].feed_idx];
        const char *word = cat.words[i].alias ? feed->aliases[cat.words[i].alias - 1] : feed->name;
        for (size_t j = 0; j < strlen(word); j++) {
            char slip[KMY_FEED_NAME_BYTES_MAX];
            strcpy(slip, word);
            slip[j] = '~';
            assert_non_null(kmy_catalog_closest(&cat, slip, strlen(slip)));
        }
    }
    kmy_catalog_free(&cat);
    kmy_config_free(&cfg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_spelling_of_a_name_finds_its_feed),
        cmocka_unit_test(what_is_ambiguous_or_has_no_source_is_refused),
        cmocka_unit_test(each_source_is_asked_by_its_own_key),
        cmocka_unit_test(a_feed_takes_its_entrys_order_and_limits),
        cmocka_unit_test(ids_come_from_the_store),
        cmocka_unit_test(a_misspelt_name_is_answered_with_the_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
