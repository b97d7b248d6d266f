/* base/pattern: which names a pattern means, and that no pattern is dear. */
#include "base/pattern.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

static const struct {
    const char *pattern, *name;
    bool matches;
} rows[] = {
    { "*", "BTC/USD", true },
    { "*", "", true },
    { "", "", true },
    { "", "x", false },
    { "*/USD", "BTC/USD", true },
    { "*/USD", "BTC/USDT", false }, /* the end is the end */
    { "*/USD", "BTC/USD@binance", false },
    { "BTC/*", "BTC/USD", true },
    { "BTC/*", "BTC/USDT@binance", true },
    { "BTC/*", "WBTC/USD", false }, /* and so is the beginning */
    { "BTC/*", "BTC/", true },      /* a star may stand for nothing */
    { "*@binance", "SOL/USDT@binance", true },
    { "*@binance", "SOL/USD", false },
    { "tvl:*", "tvl:ethereum", true },
    { "tvl:*", "TVL:ethereum", true },
    { "btc-*", "BTC/USD", true }, /* spelt as names may be */
    { "BTC/*", "btc-usd", true },
    { "*T*", "ETH/USDT", true },
    { "*T*T*T*", "ETH/USDT", false },
    { "*T*T*", "ETH/USDT", true },
    { "***USD", "SOL/USD", true },
    { "B*C/U*D", "BTC/USD", true },
    { "B*C/U*D", "BNBC/USDTUSD", true },
    { "BTC/USD", "BTC/USD", true },
    { "BTC/USD", "BTC/US", false },
    { "BTC/U?D", "BTC/USD", false }, /* only a star is special */
    { "*aab", "aaaaaab", true },     /* needs the reading that a greedy first guess throws away */
    { "*a*b*c*", "aabbbc", true },
    { "*\xc3\xa9*", "caf\xc3\xa9/USD", true },
};

static void a_star_stands_for_any_run_of_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        kmy_pattern_t p;
        assert_true(kmy_pattern_init(&p, rows[i].pattern, strlen(rows[i].pattern)));
        if (kmy_pattern_matches(&p, rows[i].name, strlen(rows[i].name)) != rows[i].matches)
            fail_msg("%s and %s: wanted %d", rows[i].pattern, rows[i].name, rows[i].matches);
    }
}

/* By the definition, letter by letter. */
static bool slowly(const char *p, const char *n)
{
    if (*p == 0)
        return *n == 0;
    if (*p == '*')
        return slowly(p + 1, n) || (*n && slowly(p, n + 1));
    return *p == *n && slowly(p + 1, n + 1);
}

static void all_short_patterns_agree_with_the_definition(void **state)
{
    (void)state;
    static const char in_pattern[] = "ab*", in_name[] = "ab";
    for (unsigned pn = 0; pn < 729; pn++) { /* up to six of three */
        char pattern[8] = "", name[8] = "";
        unsigned len = 0;
        for (unsigned v = pn; v > 0; v /= 3)
            pattern[len++] = in_pattern[v % 3];
        kmy_pattern_t p;
        assert_true(kmy_pattern_init(&p, pattern, len));
        for (unsigned nn = 1; nn < 128; nn++) { /* the highest bit ends it: up to six of two */
            unsigned name_len = 0;
            for (unsigned v = nn; v > 1; v /= 2)
                name[name_len++] = in_name[v % 2];
            name[name_len] = 0;
            if (kmy_pattern_matches(&p, name, name_len) != slowly(pattern, name))
                fail_msg("%s and %s", pattern, name);
        }
    }
}

static void the_longest_pattern_uses_every_state(void **state)
{
    (void)state;
    char text[KMY_PATTERN_BYTES_MAX + 1];
    kmy_pattern_t p;
    memset(text, 'a', sizeof text);
    assert_false(kmy_pattern_init(&p, text, sizeof text));
    assert_true(kmy_pattern_init(&p, text, sizeof text - 1));
    assert_true(kmy_pattern_matches(&p, text, sizeof text - 1));
    assert_false(kmy_pattern_matches(&p, text, sizeof text - 2));
    assert_false(kmy_pattern_matches(&p, text, sizeof text)); /* one more than there are states */
    text[0] = '*';
    assert_true(kmy_pattern_init(&p, text, sizeof text - 1));
    assert_true(kmy_pattern_matches(&p, text + 1, sizeof text - 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_star_stands_for_any_run_of_bytes),
        cmocka_unit_test(all_short_patterns_agree_with_the_definition),
        cmocka_unit_test(the_longest_pattern_uses_every_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
