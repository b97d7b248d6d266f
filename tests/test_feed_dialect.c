/* What we say to Binance and Hermes, and which quotes a stream's name promises. */
#include "adapters/feed_dialect.h"
#include "adapters/sources.h"
#include "base/tick.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define ID_A "e62df6c8b4a85fe1a67db44dc12de5db330f7ac66b72dc658afedf0f4a415b43"
#define ID_B "ff61491a931112ddf1bd8147cd1b641375f79f5825126d665480874634fd0ace"

static void binance_streams_name_a_symbol_and_a_counter(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *key; /* NULL: refused */
        kmy_seq_scheme_t scheme;
    } rows[] = {
        { "btcusdt@trade", "BTCUSDT", KMY_SEQ_TRADE_ID },
        { "btcusdt@aggTrade", "BTCUSDT", KMY_SEQ_AGG_ID },
        { "1000satsusdt@bookTicker", "1000SATSUSDT", KMY_SEQ_UPDATE_ID },
        { "\xe5\xb8\x81usdt@trade", "\xe5\xb8\x81USDT",
          KMY_SEQ_TRADE_ID }, /* UTF-8 stays as it is */
        { "\xc3\xa4usdt@trade", "\xc3\xa4USDT", KMY_SEQ_TRADE_ID },
        { "BTCUSDT@trade", NULL, 0 },
        { "btcusdt@depth", NULL, 0 },
        { "btcusdt@trade@trade", NULL, 0 },
        { "btcusdt", NULL, 0 },
        { "@trade", NULL, 0 },
        { "", NULL, 0 },
        { "btc\"usdt@trade", NULL, 0 },
        { "btc\\usdt@trade", NULL, 0 },
        { "btc/usdt@trade", NULL, 0 },
        { "btc usdt@trade", NULL, 0 },
        { "btc\nusdt@trade", NULL, 0 },
        { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@trade",
          NULL, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        kmy_stream_key_t key;
        bool ok = kmy_dialect_binance.read_stream(rows[i].name, &key);
        assert_int_equal(ok, rows[i].key != NULL);
        if (!ok)
            continue;
        assert_int_equal(key.len, strlen(rows[i].key));
        assert_memory_equal(key.key, rows[i].key, key.len);
        assert_int_equal(key.scheme, rows[i].scheme);
    }
}

static void hermes_streams_are_64_lower_case_hex_digits(void **state)
{
    (void)state;
    kmy_stream_key_t key;
    assert_true(kmy_dialect_pyth.read_stream(ID_A, &key));
    assert_int_equal(key.len, 64);
    assert_int_equal(key.scheme, KMY_SEQ_SLOT);
    assert_false(kmy_dialect_pyth.read_stream("0x" ID_A, &key));
    assert_false(kmy_dialect_pyth.read_stream("", &key));
    assert_false(kmy_dialect_pyth.read_stream(ID_A "0", &key));
    assert_false(kmy_dialect_pyth.read_stream(
        "E62df6c8b4a85fe1a67db44dc12de5db330f7ac66b72dc658afedf0f4a415b43", &key));
}

static void many_streams_go_into_one_request(void **state)
{
    (void)state;
    static const char *const names[] = { "btcusdt@trade", "ethusdt@bookTicker" };
    static const char *const ids[] = { ID_A, ID_B };
    char out[512];
    size_t n = kmy_dialect_binance.subscribe(out, sizeof out, names, 2, 7);
    out[n] = '\0';
    assert_string_equal(out, "{\"method\":\"SUBSCRIBE\",\"params\":[\"btcusdt@trade\",\"ethusdt@"
                             "bookTicker\"],\"id\":7}");
    n = kmy_dialect_binance.list(out, sizeof out, 8);
    out[n] = '\0';
    assert_string_equal(out, "{\"method\":\"LIST_SUBSCRIPTIONS\",\"id\":8}");
    n = kmy_dialect_pyth.subscribe(out, sizeof out, ids, 2, 7);
    out[n] = '\0';
    assert_string_equal(out, "{\"type\":\"subscribe\",\"ids\":[\"" ID_A "\",\"" ID_B
                             "\"],\"verbose\":true,\"binary\":false,\"allow_out_of_order\":false,"
                             "\"ignore_invalid_price_ids\":true}");
    assert_null(kmy_dialect_pyth.list);
}

static void a_request_that_does_not_fit_is_not_written(void **state)
{
    (void)state;
    static const char *const names[] = { "btcusdt@trade", "ethusdt@bookTicker" };
    static const char *const ids[] = { ID_A, ID_B };
    const kmy_dialect_t *both[] = { &kmy_dialect_binance, &kmy_dialect_pyth };
    for (int d = 0; d < 2; d++) {
        char whole[512];
        size_t full = both[d]->subscribe(whole, sizeof whole, d ? ids : names, 2, INT64_MAX);
        assert_true(full > 0);
        for (size_t cap = 0; cap < full; cap++) {
            char out[512];
            memset(out, 'x', sizeof out);
            assert_int_equal(both[d]->subscribe(out, cap, d ? ids : names, 2, INT64_MAX), 0);
            for (size_t i = cap; i < sizeof out; i++)
                assert_int_equal(out[i], 'x');
        }
    }
}

static void the_time_unit_is_read_from_what_was_dialled(void **state)
{
    (void)state;
    assert_true(kmy_dialect_binance.micros("/stream?timeUnit=MICROSECOND"));
    assert_true(kmy_dialect_binance.micros("/stream?a=b&timeUnit=microsecond"));
    assert_false(kmy_dialect_binance.micros("/stream?timeUnit=MILLISECOND"));
    assert_false(kmy_dialect_binance.micros("/stream"));
}

static void names_of_a_list_come_one_by_one(void **state)
{
    (void)state;
    static const struct {
        const char *array;
        const char *want; /* joined by | */
    } rows[] = {
        { "[]", "" },
        { "[\"a@trade\"]", "a@trade|" },
        { "[\"a@trade\" , \"b@trade\"]", "a@trade|b@trade|" },
        { "[\"\"]", "|" },
        { "[\"a\\\"b\",\"c\"]", "a\\\"b|c|" },
        { "[\"a\",\"open", "a|" },
        { "[\"a\\", "" },
        { "", "" },
        { "\"", "" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char got[128] = "";
        const char *name;
        size_t at = 0, len, used = 0;
        while (kmy_dialect_next_name(rows[i].array, strlen(rows[i].array), &at, &name, &len))
            used += (size_t)snprintf(got + used, sizeof got - used, "%.*s|", (int)len, name);
        assert_string_equal(got, rows[i].want);
    }
}

static void the_table_of_sources_keeps_the_venues_rules(void **state)
{
    (void)state;
    const int64_t s = INT64_C(1000000000);
    for (int source = 0; source < 256; source++) {
        const kmy_source_row_t *row = kmy_source_row((uint8_t)source);
        if (row == NULL || row->dialect == NULL)
            continue;
        assert_int_equal(row->source, source);
        assert_true(row->batch_max >= 1 && row->batch_max <= KMY_SOURCE_BATCH_MAX);
        assert_true(row->streams_max <= 1024);
        assert_true(5 * row->send_gap_ns > s);          /* fewer than 5 messages a second */
        assert_true(row->silence_ns_max / 2 >= 20 * s); /* our pings are seldom */
        assert_true(row->overlap_ns < row->lifetime_ns / 24);
        assert_true(row->limited_ns >= 10 * s);
    }
    assert_non_null(kmy_source_row(KMY_SOURCE_BINANCE));
    assert_non_null(kmy_source_row(KMY_SOURCE_PYTH));
    assert_null(kmy_source_row(KMY_SOURCE_NONE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(binance_streams_name_a_symbol_and_a_counter),
        cmocka_unit_test(hermes_streams_are_64_lower_case_hex_digits),
        cmocka_unit_test(many_streams_go_into_one_request),
        cmocka_unit_test(a_request_that_does_not_fit_is_not_written),
        cmocka_unit_test(the_time_unit_is_read_from_what_was_dialled),
        cmocka_unit_test(names_of_a_list_come_one_by_one),
        cmocka_unit_test(the_table_of_sources_keeps_the_venues_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
