/* engine/selection: what a list of names and patterns means, feed by feed, and when it is refused. */
#include "engine/selection.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char yaml[] = "sources: { pyth: { feeds: [BTC/USD, ETH/USD, SOL/USD] }, binance: { "
                           "symbols: [BTCUSDT, ETHBTC] } }";

/* names, the most feeds allowed, the error, "feed<asked" of each */
static const struct {
    const char *names;
    uint32_t max;
    kmy_err_t err;
    const char *want;
} rows[] = {
    { "SOL/USD", 9, KMY_OK, "SOL/USD<0" },
    { "*/USD", 9, KMY_OK, "BTC/USD<0 ETH/USD<0 SOL/USD<0" },
    { "*", 5, KMY_OK, "BTC/USDT@binance<0 ETH/BTC@binance<0 BTC/USD<0 ETH/USD<0 SOL/USD<0" },
    { "*", 4, KMY_FULL, "" },
    { "*@binance btc/*", 9, KMY_OK, "BTC/USDT@binance<0 ETH/BTC@binance<0 BTC/USD<1" },
    { "ETH* eth-usd", 9, KMY_OK, "ETH/BTC@binance<0 ETH/USD<0 ETH/USD<1" }, /* a name is answered */
    { "eth-usd ETH*", 9, KMY_OK, "ETH/USD<0 ETH/BTC@binance<1" },
    { "SOL/USD solana-price", 9, KMY_OK, "SOL/USD<0 SOL/USD<1" },
    { "SOL/* SOL/*", 9, KMY_OK, "SOL/USD<0" },
    { "solana*", 9, KMY_UNKNOWN_FEED, "" }, /* aliases are not matched */
    { "SOL/USD tvl:*", 9, KMY_UNKNOWN_FEED, "" },
    { "SOL/UDS", 9, KMY_UNKNOWN_FEED, "" },
    { "* * * * * * * * * * * * * * * *", 9, KMY_OK,
      "BTC/USDT@binance<0 ETH/BTC@binance<0 BTC/USD<0 ETH/USD<0 SOL/USD<0" },
    { "* * * * * * * * * * * * * * * * *", 9, KMY_FULL, "" },
};

static kmy_err_t add_all(kmy_selection_t *sel, const char *names, kmy_errctx_t *ctx)
{
    kmy_err_t err = KMY_OK;
    while (*names && err == KMY_OK) {
        size_t len = strcspn(names, " ");
        err = kmy_selection_add(sel, names, len, ctx);
        names += len + (names[len] == ' ');
    }
    return err;
}

static void a_list_means_its_names_and_what_its_patterns_match(void **state)
{
    (void)state;
    static kmy_selection_t sel;
    kmy_config_t cfg;
    kmy_catalog_t cat;
    kmy_errctx_t ctx = { 0 };
    assert_int_equal(kmy_config_read(&cfg, "f", yaml, sizeof yaml - 1, &ctx), KMY_OK);
    assert_int_equal(kmy_catalog_build(&cat, &cfg, &ctx), KMY_OK);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char got[512] = "";
        kmy_selection_init(&sel, &cat, rows[i].max);
        kmy_err_t err = add_all(&sel, rows[i].names, &ctx);
        if (err != rows[i].err)
            fail_msg("%s: error %s (%s)", rows[i].names, kmy_err_code(err), ctx.detail);
        for (uint32_t j = 0; err == KMY_OK && j < sel.count; j++) {
            size_t at = strlen(got);
            snprintf(got + at, sizeof got - at, "%s%s<%u", j ? " " : "",
                     cat.feeds[sel.feed[j]].name, sel.asked[j]);
            assert_true(kmy_selection_has(&sel, sel.feed[j]));
        }
        if (strcmp(got, rows[i].want) != 0)
            fail_msg("%s: %s", rows[i].names, got);
    }
    kmy_catalog_free(&cat);
    kmy_config_free(&cfg);
}

/* Every name nearly matches every pattern, and none does: a matcher that goes back would never end. */
static void thousands_of_hostile_patterns_are_refused_in_no_time(void **state)
{
    (void)state;
    static kmy_selection_t sel;
    kmy_catalog_t cat = { .feeds = calloc(KMY_FEEDS_MAX, sizeof(kmy_feed_t)),
                          .feeds_count = KMY_FEEDS_MAX };
    assert_non_null(cat.feeds);
    kmy_strmap_init(&cat.names);
    for (uint32_t i = 0; i < KMY_FEEDS_MAX; i++)
        memset(cat.feeds[i].name, 'a', KMY_FEED_NAME_BYTES_MAX - 1);
    char pattern[KMY_FEED_NAME_BYTES_MAX];
    for (size_t i = 0; i + 1 < sizeof pattern; i++)
        pattern[i] = i % 2 ? 'a' : '*';
    pattern[sizeof pattern - 2] = 'b';
    kmy_errctx_t ctx;
    clock_t begin = clock();
    for (int i = 0; i < 64; i++) {
        kmy_selection_init(&sel, &cat, KMY_FEEDS_MAX);
        assert_int_equal(kmy_selection_add(&sel, pattern, sizeof pattern - 1, &ctx),
                         KMY_UNKNOWN_FEED);
    }
    kmy_selection_init(&sel, &cat, KMY_FEEDS_MAX);
    kmy_err_t err = KMY_OK;
    uint32_t taken = 0;
    while (err == KMY_OK && taken < KMY_FEEDS_MAX) {
        err = kmy_selection_add(&sel, "a*", 2, &ctx);
        taken++;
    }
    assert_int_equal(err, KMY_FULL);
    assert_int_equal(taken, KMY_PATTERNS_MAX + 1);
    assert_true(clock() - begin < 10 * CLOCKS_PER_SEC); /* 0.03 s where it was written */
    kmy_strmap_fini(&cat.names);
    free(cat.feeds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_means_its_names_and_what_its_patterns_match),
        cmocka_unit_test(thousands_of_hostile_patterns_are_refused_in_no_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
