/* wire/tick_json: the tick frame of docs/protocol.md.  The same numbers against Python's decimal: tests/test_tick_decimal.py. */
#include "wire/tick_json.h"
#include "base/decimal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t seed = 88172645463325252ull; /* xorshift64, fixed: a failure can be repeated */
static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

/* Exactly KMY_TICK_JSON_BYTES_MAX bytes, so that a sanitizer sees one too many. */
static const char *object(const char *feed, const kmy_tick_t *tick)
{
    static char text[KMY_TICK_JSON_BYTES_MAX + 1];
    char *out = malloc(KMY_TICK_JSON_BYTES_MAX);
    kmy_tick_json_t t;
    kmy_tick_json_init(&t, feed);
    size_t len = kmy_tick_json_object(&t, tick, out);
    assert_true(len <= KMY_TICK_JSON_BYTES_MAX - 64);
    memcpy(text, out, len);
    text[len] = 0;
    free(out);
    return text;
}

static kmy_tick_t trade(void)
{
    return (kmy_tick_t){ .seq = 9,
                         .offset = 42,
                         .event_ns = 1700000000123000000,
                         .recv_ns = 1700000000124567891,
                         .price_mant = 1871234,
                         .price_expo = -4,
                         .size_mant = 150,
                         .size_expo = -2,
                         .source = KMY_SOURCE_BINANCE,
                         .kind = KMY_KIND_TRADE,
                         .has = KMY_HAS_SIZE };
}

static void members_stand_in_the_order_of_the_contract(void **state)
{
    (void)state;
    kmy_tick_t tick = trade();
    assert_string_equal(
        object("SOL/USDT@binance", &tick),
        "{\"type\":\"tick\",\"feed\":\"SOL/USDT@binance\",\"offset\":42,\"kind\":"
        "\"trade\",\"price\":\"187.1234\",\"size\":\"1.5\",\"source\":\"binance\","
        "\"ts_event\":\"1700000000123000000\",\"ts_recv\":\"1700000000124567891\"}");
    tick.kind = KMY_KIND_ORACLE;
    tick.source = KMY_SOURCE_PYTH;
    tick.has = 31;
    tick.conf_mant = 12;
    tick.bid_mant = 1871230;
    tick.ask_mant = 1871240;
    tick.flags = KMY_TICK_DEGRADED;
    assert_string_equal(
        object("SOL/USD", &tick),
        "{\"type\":\"tick\",\"feed\":\"SOL/USD\",\"offset\":42,\"kind\":\"oracle\",\"price\":"
        "\"187.1234\",\"conf\":\"0.0012\",\"bid\":\"187.123\",\"ask\":\"187.124\",\"size\":\"1.5\","
        "\"source\":\"pyth\",\"ts_event\":\"1700000000123000000\",\"ts_recv\":"
        "\"1700000000124567891\",\"degraded\":true}");
}

static void what_a_tick_does_not_have_is_left_out(void **state)
{
    (void)state;
    kmy_tick_t tick = trade();
    tick.has = 0;
    tick.event_ns = 0;
    assert_string_equal(object("A/B", &tick),
                        "{\"type\":\"tick\",\"feed\":\"A/B\",\"offset\":42,\"kind\":\"trade\","
                        "\"price\":\"187.1234\",\"source\":\"binance\",\"ts_recv\":"
                        "\"1700000000124567891\"}");
}

static void a_conf_that_is_only_the_spread_is_left_out(void **state)
{
    (void)state;
    kmy_tick_t tick = trade();
    tick.has = KMY_HAS_CONF;
    tick.conf_mant = 7;
    assert_non_null(strstr(object("A/B", &tick), "\"conf\":\"0.0007\""));
    tick.flags = KMY_TICK_CONF_IS_SPREAD;
    assert_null(strstr(object("A/B", &tick), "conf"));
}

static void every_source_and_kind_has_its_own_name(void **state)
{
    (void)state;
    char want[64];
    for (unsigned i = 0; i < KMY_SOURCE_COUNT; i++) {
        kmy_tick_t tick = trade();
        tick.source = (uint8_t)i;
        snprintf(want, sizeof want, "\"source\":\"%s\",", kmy_source_name((uint8_t)i));
        assert_non_null(strstr(object("A/B", &tick), want));
    }
    for (unsigned i = 0; i < KMY_KIND_COUNT; i++) {
        kmy_tick_t tick = trade();
        tick.kind = (uint8_t)i;
        snprintf(want, sizeof want, "\"kind\":\"%s\",", kmy_kind_name((uint8_t)i));
        assert_non_null(strstr(object("A/B", &tick), want));
    }
    kmy_tick_t tick = trade();
    tick.source = 255; /* a number from a newer writer */
    tick.kind = 255;
    assert_non_null(strstr(object("A/B", &tick), "\"source\":\"unknown\""));
    assert_non_null(strstr(object("A/B", &tick), "\"kind\":\"unknown\""));
}

static void feed_names_are_escaped(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *json;
    } rows[] = {
        { "SOL/USD", "\"feed\":\"SOL/USD\"" },
        { "a\"b\\c", "\"feed\":\"a\\\"b\\\\c\"" },
        { "a\x01\n\x1f", "\"feed\":\"a\\u0001\\u000a\\u001f\"" },
        { "\xc3\xa9/\xe2\x82\xac/\xf0\x9f\x98\x80",
          "\"feed\":\"\xc3\xa9/\xe2\x82\xac/\xf0\x9f\x98\x80\"" },
        { "\xc3", "\"feed\":\"\xef\xbf\xbd\"" },                                   /* cut short */
        { "\xed\xa0\x80!", "\"feed\":\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd!\"" }, /* surrogate */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        kmy_tick_t tick = trade();
        assert_non_null(strstr(object(rows[i].name, &tick), rows[i].json));
    }
}

/* The digits of all four numbers of a tick agree with the plain way of writing them. */
static void check_numbers(uint64_t u, int64_t a, int64_t b, int expo)
{
    char want[1024];
    char conf[KMY_DEC_BYTES_MAX];
    char price[KMY_DEC_BYTES_MAX];
    char bid[KMY_DEC_BYTES_MAX];
    kmy_tick_t tick = trade();
    tick.offset = u;
    tick.conf_mant = u;
    tick.price_mant = a;
    tick.bid_mant = b;
    tick.price_expo = (int8_t)expo;
    tick.recv_ns = b;
    tick.event_ns = a ? a : 1;
    tick.has = KMY_HAS_CONF | KMY_HAS_BID;
    kmy_dec_format_u(u, expo, conf);
    kmy_dec_format(a, expo, price);
    kmy_dec_format(b, expo, bid);
    snprintf(want, sizeof want,
             "{\"type\":\"tick\",\"feed\":\"A/B\",\"offset\":%" PRIu64 ",\"kind\":\"trade\","
             "\"price\":\"%s\",\"conf\":\"%s\",\"bid\":\"%s\",\"source\":\"binance\",\"ts_event\":"
             "\"%" PRId64 "\",\"ts_recv\":\"%" PRId64 "\"}",
             u, price, conf, bid, a ? a : 1, b);
    assert_string_equal(object("A/B", &tick), want);
}

static void numbers_agree_with_the_plain_way_of_writing_them(void **state)
{
    (void)state;
    for (int expo = KMY_DEC_EXPO_MIN; expo <= KMY_DEC_EXPO_MAX; expo++) {
        check_numbers(0, 0, 0, expo);
        check_numbers(UINT64_MAX, INT64_MAX, INT64_MIN, expo);
        for (uint64_t p = 1; p < UINT64_C(10000000000000000000);
             p *= 10) { /* where lengths change */
            check_numbers(p, (int64_t)p, -(int64_t)p, expo);
            check_numbers(p - 1, (int64_t)(p - 1), -(int64_t)(p - 1), expo);
            check_numbers(p + 1, (int64_t)(p + 1), -(int64_t)(p + 1), expo);
        }
    }
    for (int i = 0; i < 300000; i++) {
        int shift = (int)(rnd() % 64);
        check_numbers(rnd() >> shift, (int64_t)rnd() >> shift, (int64_t)rnd() >> shift,
                      (int)(rnd() % 24) - 20);
    }
}

/* Eight digits at a time rest on two reciprocals: every four-digit lane is seen in both places. */
static void every_group_of_four_digits_is_right_in_both_lanes(void **state)
{
    (void)state;
    kmy_tick_json_t t;
    kmy_tick_json_init(&t, "A/B");
    for (uint32_t v = 0; v < 10000; v++) {
        char out[KMY_TICK_JSON_BYTES_MAX];
        char want[32];
        kmy_tick_t tick = trade();
        tick.offset = 10000000000000000 + v * UINT64_C(10000) + (9999 - v);
        int n = snprintf(want, sizeof want, "%" PRIu64 ",", tick.offset);
        kmy_tick_json_object(&t, &tick, out);
        assert_memory_equal(out + t.len, want, (size_t)n);
    }
}

static void the_longest_tick_fits(void **state)
{
    (void)state;
    char name[KMY_FEED_NAME_BYTES_MAX];
    memset(name, 1, sizeof name - 1); /* each byte becomes \u0001 */
    name[sizeof name - 1] = 0;
    kmy_tick_json_t t;
    kmy_tick_json_init(&t, name);
    char *out = malloc(KMY_TICK_JSON_BYTES_MAX);
    size_t longest = 0;
    for (int sign = 0; sign < 2; sign++) {
        for (unsigned kind = 0; kind <= KMY_KIND_COUNT; kind++) {
            for (int expo = KMY_DEC_EXPO_MIN; expo <= KMY_DEC_EXPO_MAX; expo++) {
                kmy_tick_t tick = { .offset = UINT64_MAX,
                                    .event_ns = INT64_MIN,
                                    .recv_ns = INT64_MIN,
                                    .price_mant = sign ? INT64_MIN : INT64_MAX,
                                    .bid_mant = sign ? INT64_MIN : INT64_MAX,
                                    .ask_mant = INT64_MIN,
                                    .conf_mant = UINT64_MAX,
                                    .size_mant = INT64_MIN,
                                    .price_expo = (int8_t)expo,
                                    .size_expo = (int8_t)expo,
                                    .source = KMY_SOURCE_COINGECKO,
                                    .kind = (uint8_t)kind,
                                    .flags = KMY_TICK_DEGRADED,
                                    .has = 31 };
                size_t len = kmy_tick_json_frame(&t, &tick, out);
                longest = len > longest ? len : longest;
            }
        }
    }
    free(out);
    /* The sum in base/limits.h. */
    assert_int_equal(longest, 4 + 34 + 6 * 63 + 20 + 27 + 5 * 84 + 38 + 22 + 2 * 20 + 27 + 17);
    assert_true(longest + 64 <= KMY_TICK_JSON_BYTES_MAX);
}

static void a_frame_is_one_whole_unmasked_text_frame(void **state)
{
    (void)state;
    char name[KMY_FEED_NAME_BYTES_MAX] = "";
    for (size_t i = 0; i + 1 < sizeof name; i++) { /* payloads from below to above 126 bytes */
        name[i] = 'N';
        name[i + 1] = 0;
        kmy_tick_t tick = trade();
        tick.has = 0;
        tick.event_ns = 0;
        kmy_tick_json_t t;
        kmy_tick_json_init(&t, name);
        char out[KMY_TICK_JSON_BYTES_MAX];
        size_t len = kmy_tick_json_frame(&t, &tick, out);
        const char *want = object(name, &tick);
        size_t payload = strlen(want);
        size_t head = payload < 126 ? 2 : 4;
        assert_int_equal(len, head + payload);
        assert_int_equal((uint8_t)out[0], 0x81);
        if (head == 2) {
            assert_int_equal((uint8_t)out[1], payload);
        } else {
            assert_int_equal((uint8_t)out[1], 126);
            assert_int_equal((uint8_t)out[2] << 8 | (uint8_t)out[3], payload);
        }
        assert_memory_equal(out + head, want, payload);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_stand_in_the_order_of_the_contract),
        cmocka_unit_test(what_a_tick_does_not_have_is_left_out),
        cmocka_unit_test(a_conf_that_is_only_the_spread_is_left_out),
        cmocka_unit_test(every_source_and_kind_has_its_own_name),
        cmocka_unit_test(feed_names_are_escaped),
        cmocka_unit_test(numbers_agree_with_the_plain_way_of_writing_them),
        cmocka_unit_test(every_group_of_four_digits_is_right_in_both_lanes),
        cmocka_unit_test(the_longest_tick_fits),
        cmocka_unit_test(a_frame_is_one_whole_unmasked_text_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
