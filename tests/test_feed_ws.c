/* What kmy_feed_ws_add accepts; what happens on the wire is in e2e_feeds.py. */
#include "adapters/feed_ws.h"

#include "base/tick.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static kmy_metrics_t metrics;

static void on_quote(void *arg, const kmy_quote_t *quote, int64_t recv_ns, int64_t mono_ns)
{
    (void)arg, (void)quote, (void)recv_ns, (void)mono_ns;
}

static kmy_err_t add(kmy_feed_ws_loop_t *loop, uint8_t source, const char *url,
                     const char *const *keys, size_t count, const char *secret, kmy_errctx_t *ctx)
{
    kmy_feed_ws_options_t o = { .source = source,
                                .url = url,
                                .ca_file = "",
                                .secret = secret,
                                .keys = keys,
                                .keys_count = count,
                                .metrics = &metrics,
                                .on_quote = on_quote };
    return kmy_feed_ws_add(loop, &o, NULL, ctx);
}

static void an_url_is_a_scheme_a_host_and_printable_ascii(void **state)
{
    (void)state;
    static const char long_host[] = "ws://"
                                    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                                    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    static char long_path[1200] = "ws://a/";
    memset(long_path + 7, 'x', sizeof long_path - 8);
    static const struct {
        const char *url;
        bool good;
    } rows[] = {
        { "ws://127.0.0.1:1", true },
        { "wss://data-stream.binance.vision/stream", true },
        { "wss://a.b:9443/stream?timeUnit=MILLISECOND", true },
        { "ws://a?x=y", true },
        { "http://a", false },
        { "a", false },
        { "", false },
        { "ws://", false },
        { "ws:///stream", false },
        { "ws://[::1]:1/", false },
        { "ws://user@host/", false },
        { "ws://a:0/", false },
        { "ws://a:65536/", false },
        { "ws://a:-1/", false },
        { "ws://a:/", false },
        { "ws://a:1x/", false },
        { "ws://a/b c", false },
        { "ws://a/b\r\nX: y", false },
        { "ws://a/b#c", false },
        { "ws://a\tb/", false },
        { long_host, false },
        { long_path, false },
    };
    static const char *const keys[] = { "btcusdt@trade" };
    kmy_errctx_t ctx = { 0 };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        kmy_feed_ws_loop_t *loop = kmy_feed_ws_loop_new(&ctx);
        assert_non_null(loop);
        kmy_err_t err = add(loop, KMY_SOURCE_BINANCE, rows[i].url, keys, 1, NULL, &ctx);
        if ((err == KMY_OK) != rows[i].good)
            fail_msg("%s: %s", rows[i].url, ctx.detail);
        assert_true(err == KMY_OK || err == KMY_BAD_INPUT);
        kmy_feed_ws_loop_free(loop);
    }
}

static void streams_must_be_of_the_source_and_differ(void **state)
{
    (void)state;
    static const char *const good[] = { "btcusdt@trade", "btcusdt@bookTicker", "ethusdt@trade" };
    static const char *const twice[] = { "btcusdt@trade", "ethusdt@trade", "btcusdt@trade" };
    static const char *const alien[] = { "btcusdt@trade", "btcusdt@depth" };
    kmy_errctx_t ctx = { 0 };
    kmy_feed_ws_loop_t *loop = kmy_feed_ws_loop_new(&ctx);
    assert_int_equal(add(loop, KMY_SOURCE_BINANCE, "ws://a", good, 3, NULL, &ctx), KMY_OK);
    assert_int_equal(add(loop, KMY_SOURCE_BINANCE, "ws://a", good, 0, NULL, &ctx), KMY_BAD_INPUT);
    assert_int_equal(add(loop, KMY_SOURCE_BINANCE, "ws://a", twice, 3, NULL, &ctx), KMY_BAD_INPUT);
    assert_int_equal(add(loop, KMY_SOURCE_BINANCE, "ws://a", alien, 2, NULL, &ctx), KMY_BAD_INPUT);
    assert_non_null(strstr(ctx.detail, "btcusdt@depth"));
    assert_int_equal(add(loop, KMY_SOURCE_PYTH, "ws://a", good, 1, NULL, &ctx), KMY_BAD_INPUT);
    assert_int_equal(add(loop, KMY_SOURCE_KRAKEN, "ws://a", good, 1, NULL, &ctx), KMY_BAD_INPUT);
    kmy_feed_ws_loop_free(loop);
}

static void a_secret_that_would_break_the_header_is_refused_and_not_repeated(void **state)
{
    (void)state;
    static const char *const keys[] = { "btcusdt@trade" };
    kmy_errctx_t ctx = { 0 };
    kmy_feed_ws_loop_t *loop = kmy_feed_ws_loop_new(&ctx);
    assert_int_equal(add(loop, KMY_SOURCE_BINANCE, "ws://a", keys, 1, "s3cret\r\nX: y", &ctx),
                     KMY_BAD_INPUT);
    assert_null(strstr(ctx.detail, "s3cret"));
    assert_int_equal(add(loop, KMY_SOURCE_BINANCE, "ws://a", keys, 1, "s3cret", &ctx), KMY_OK);
    kmy_feed_ws_loop_free(loop);
}

static void a_loop_has_room_for_sixteen_upstreams(void **state)
{
    (void)state;
    static const char *const keys[] = { "btcusdt@trade" };
    kmy_errctx_t ctx = { 0 };
    kmy_feed_ws_loop_t *loop = kmy_feed_ws_loop_new(&ctx);
    for (int i = 0; i < 16; i++)
        assert_int_equal(add(loop, KMY_SOURCE_BINANCE, "ws://a", keys, 1, NULL, &ctx), KMY_OK);
    assert_int_equal(add(loop, KMY_SOURCE_BINANCE, "ws://a", keys, 1, NULL, &ctx), KMY_FULL);
    kmy_feed_ws_loop_free(loop);
}

static void more_streams_than_a_connection_carries_are_spread(void **state)
{
    (void)state;
    static char names[2500][24];
    static const char *keys[2500];
    for (int i = 0; i < 2500; i++) {
        snprintf(names[i], sizeof names[i], "x%dusdt@trade", i);
        keys[i] = names[i];
    }
    kmy_errctx_t ctx = { 0 };
    kmy_feed_ws_loop_t *loop = kmy_feed_ws_loop_new(&ctx);
    assert_int_equal(add(loop, KMY_SOURCE_BINANCE, "ws://127.0.0.1:1", keys, 2500, NULL, &ctx),
                     KMY_OK);
    kmy_feed_ws_loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_url_is_a_scheme_a_host_and_printable_ascii),
        cmocka_unit_test(streams_must_be_of_the_source_and_differ),
        cmocka_unit_test(a_secret_that_would_break_the_header_is_refused_and_not_repeated),
        cmocka_unit_test(a_loop_has_room_for_sixteen_upstreams),
        cmocka_unit_test(more_streams_than_a_connection_carries_are_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
