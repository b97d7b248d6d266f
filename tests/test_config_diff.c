/* engine/config_diff: every key that differs is told, nothing else is, and only what may change in a running daemon does. */
#include "engine/config_diff.h"

#include "engine/config_keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static char told[4096];

static void note(void *arg, const char *path, const char *was, const char *is, bool live)
{
    (void)arg;
    size_t n = strlen(told);
    snprintf(told + n, sizeof told - n, "%s%s: %s -> %s%s", n ? "; " : "", path, was, is,
             live ? "" : " (restart)");
}

static void load(kmy_config_t *cfg, const char *yaml)
{
    kmy_errctx_t ctx = { 0 };
    if (kmy_config_read(cfg, "test", yaml, strlen(yaml), &ctx) != KMY_OK)
        fail_msg("%s: %s", yaml, ctx.detail);
}

static void each_difference_is_told_once_with_both_values(void **state)
{
    (void)state;
    static const struct {
        const char *was, *is, *told;
    } rows[] = {
        { "", "", "" },
        { "prices: { tick: \"0.000001\" }", "", "" }, /* the default, spelt out */
        { "", "prices: { tick: \"0.000002\", query: \"0.1\" }",
          "prices.query: 0.0001 -> 0.1; prices.tick: 0.000001 -> 0.000002" },
        { "stream: { heartbeat: 1s }", "stream: { heartbeat: 250ms }",
          "stream.heartbeat: 1s -> 250ms" },
        { "", "limits: { lag_ms: 5 }", "limits.lag_ms: 1000 -> 5 (restart)" },
        { "", "shards: { pin: false }", "shards.pin: true -> false (restart)" },
        { "", "log_level: warn", "log_level: \"info\" -> \"warn\"" },
        { "", "prices: { tiers: [ { stake: 1, discount: 1 } ] }",
          "prices.tiers: (changed) -> (changed)" },
        { "",
          "prices: { tiers: [ { stake: 1000, discount: 10 }, { stake: 10000, discount: 20 }, "
          "{ stake: 100000, discount: 30 } ] }",
          "" }, /* the default, spelt out */
        { "", "prices: { stake: { refresh: 1s } }", "prices.stake.refresh: 5m -> 1s (restart)" },
        { "", "data: /x", "data: \"./data\" -> \"/x\" (restart)" },
        { "", "sources: { pyth: { url: \"wss://u/key-1234\", feeds: [SOL/USD] } }",
          "sources.pyth.url: (changed) -> (changed) (restart); "
          "sources.pyth.feeds: [BTC/USD, ETH/USD, SOL/USD] -> [SOL/USD] (restart)" },
        { "", "feeds: [{ name: SOL/USD }]", "feeds: (changed) -> (changed) (restart)" },
        { "feeds: [{ name: SOL/USD }]", "feeds: [{ name: SOL/USD }]", "" },
        { "feeds: [{ name: SOL/USD, aliases: [a] }]", "feeds: [{ name: SOL/USD, aliases: [b] }]",
          "feeds: (changed) -> (changed) (restart)" },
        { "feeds: [{ name: SOL/USD, required: true }]", "feeds: [{ name: SOL/USD }]",
          "feeds: (changed) -> (changed) (restart)" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        kmy_config_t a, b;
        load(&a, rows[i].was);
        load(&b, rows[i].is);
        told[0] = 0;
        size_t n = kmy_config_diff(&a, &b, note, NULL);
        if (strcmp(told, rows[i].told) != 0)
            fail_msg("\"%s\": told \"%s\", wanted \"%s\"", rows[i].is, told, rows[i].told);
        assert_true((n == 0) == (told[0] == 0));
        kmy_config_free(&a);
        kmy_config_free(&b);
    }
}

static void what_is_taken_over_is_what_was_told_to_be_live(void **state)
{
    (void)state;
    kmy_config_t a, b;
    load(&a, "");
    load(&b,
         "prices: { tick: \"0.5\", batch_from: 3 }\nlog_level: debug\nlimits: { connections: 7, "
         "idle_timeout: 1s }\ndata: /elsewhere\nsources: { pyth: { feeds: [] } }");
    kmy_config_take_live(&a, &b);
    assert_int_equal(a.prices.tick_nusd, 500000000);
    assert_int_equal(a.prices.batch_from, 3);
    assert_string_equal(a.log_level, "debug");
    assert_int_equal(a.limits.idle_timeout_ns, 1000000000);
    told[0] = 0;
    assert_int_equal(kmy_config_diff(&a, &b, note, NULL), 3);
    assert_string_equal(told,
                        "data: \"./data\" -> \"/elsewhere\" (restart); sources.pyth.feeds: "
                        "[BTC/USD, ETH/USD, SOL/USD] -> [] (restart); limits.connections: 20000 "
                        "-> 7 (restart)");
    kmy_config_free(&a);
    kmy_config_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_difference_is_told_once_with_both_values),
        cmocka_unit_test(what_is_taken_over_is_what_was_told_to_be_live),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
