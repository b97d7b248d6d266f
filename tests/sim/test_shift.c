/* Which numbers of a recorded frame move, and that all else stays byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include "tools/sim/mangle.h"
#include "tools/sim/market.h"
#include "tools/sim/shift.h"

#define PATCHES 16

/* Each kind moves by its own amount, so that a wrong kind shows. */
static const int64_t by[SIM_NUMS] = {
    [SIM_TIME] = 5000, [SIM_TRADE] = 100, [SIM_AGG] = 200, [SIM_BOOK] = 300, [SIM_SLOT] = 400
};

static const struct {
    const char *what;
    const char *in;
    const char *out;
} rows[] = {
    { "a trade: E, T by time, t by trades; M, m and the strings stay",
      "{\"e\":\"trade\",\"E\":1723161255343,\"s\":\"BTCUSDT\",\"t\":3735683259,\"p\":\"61837.63\","
      "\"q\":\"0.02\",\"T\":1723161255342,\"m\":true,\"M\":true}",
      "{\"e\":\"trade\",\"E\":1723161255348,\"s\":\"BTCUSDT\",\"t\":3735683359,\"p\":\"61837.63\","
      "\"q\":\"0.02\",\"T\":1723161255347,\"m\":true,\"M\":true}" },
    { "an aggregate: a of its own, f and l with the trades",
      "{\"e\":\"aggTrade\",\"E\":1723161255343,\"s\":\"X\",\"a\":9,\"p\":\"1\",\"q\":\"1\",\"f\":1,"
      "\"l\":2,\"T\":1723161255342,\"m\":true,\"M\":true}",
      "{\"e\":\"aggTrade\",\"E\":1723161255348,\"s\":\"X\",\"a\":209,\"p\":\"1\",\"q\":\"1\",\"f\":"
      "101,\"l\":102,\"T\":1723161255347,\"m\":true,\"M\":true}" },
    { "bookTicker without e: u; b and a are strings",
      "{\"u\":999,\"s\":\"X\",\"b\":\"5\",\"B\":\"6\",\"a\":\"7\",\"A\":\"8\"}",
      "{\"u\":1299,\"s\":\"X\",\"b\":\"5\",\"B\":\"6\",\"a\":\"7\",\"A\":\"8\"}" },
    { "e behind the numbers (futures)",
      "{\"u\":1,\"e\":\"bookTicker\",\"T\":1626916403864,\"E\":1626916403871}",
      "{\"u\":301,\"e\":\"bookTicker\",\"T\":1626916403869,\"E\":1626916403876}" },
    { "depth: U, u, pu; levels stay",
      "{\"e\":\"depthUpdate\",\"E\":1626916403871,\"U\":5,\"u\":6,\"pu\":4,\"b\":[[\"1\",\"2\"]],"
      "\"a\":[]}",
      "{\"e\":\"depthUpdate\",\"E\":1626916403876,\"U\":305,\"u\":306,\"pu\":304,\"b\":[[\"1\","
      "\"2\"]],\"a\":[]}" },
    { "kline: t and T inside k are times, f and L trades; -1 stays; n stays",
      "{\"e\":\"kline\",\"E\":1626916403871,\"k\":{\"t\":1626916403000,\"T\":1626916403999,\"f\":-"
      "1,\"L\":7,\"n\":3},\"t\":5}",
      "{\"e\":\"kline\",\"E\":1626916403876,\"k\":{\"t\":1626916403005,\"T\":1626916404004,\"f\":-"
      "1,\"L\":107,\"n\":3},\"t\":5}" },
    { "Hermes: seconds stay seconds, slot moves, expo and emitter stay",
      "{\"price\":{\"price\":\"1\",\"expo\":-8,\"publish_time\":1706835671},\"metadata\":{\"slot\":"
      "5,\"emitter_chain\":26,\"prev_publish_time\":null}}",
      "{\"price\":{\"price\":\"1\",\"expo\":-8,\"publish_time\":1706835671},\"metadata\":{\"slot\":"
      "405,\"emitter_chain\":26,\"prev_publish_time\":null}}" },
    { "a partial depth has only lastUpdateId", "{\"lastUpdateId\":160,\"bids\":[[\"1\",\"2\"]]}",
      "{\"lastUpdateId\":460,\"bids\":[[\"1\",\"2\"]]}" },
    { "a referencePrice's null stays",
      "{\"e\":\"referencePrice\",\"s\":\"X\",\"r\":null,\"t\":1626916403871}",
      "{\"e\":\"referencePrice\",\"s\":\"X\",\"r\":null,\"t\":1626916403876}" },
    { "keys inside strings are no keys", "{\"s\":\"\\\"u\\\":1\",\"u\":1}",
      "{\"s\":\"\\\"u\\\":1\",\"u\":301}" },
    { "fractions and unknown members stay", "{\"u\":1.5,\"x\":7,\"slot\":1e3}",
      "{\"u\":1.5,\"x\":7,\"slot\":1e3}" },
    { "blanks are allowed", "{ \"u\" : 1 }", "{ \"u\" : 301 }" },
    { "no JSON does no harm", "\"u\":\"", "\"u\":\"" },
};

static size_t shifted(const char *text, bool micro, char *out)
{
    sim_patch_t patches[PATCHES];
    int n = sim_shift_find(text, strlen(text), patches, PATCHES);
    assert_in_range(n, 0, PATCHES);
    size_t len = sim_shift_write(text, 0, strlen(text), patches, n, by, micro, out);
    out[len] = '\0';
    return len;
}

static void numbers_move_by_what_they_mean(void **state)
{
    (void)state;
    char out[1024];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        shifted(rows[i].in, false, out);
        if (strcmp(out, rows[i].out) != 0)
            fail_msg("%s:\n%s", rows[i].what, out);
    }
}

static void every_prefix_of_a_frame_is_harmless(void **state)
{
    (void)state;
    char out[1024];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (size_t len = 0; len <= strlen(rows[i].in); len++) {
            char *cut = malloc(len + 1); /* its end is the sanitizer's */
            sim_patch_t patches[PATCHES];
            memcpy(cut, rows[i].in, len);
            int n = sim_shift_find(cut, len, patches, PATCHES);
            assert_true(sim_shift_write(cut, 0, len, patches, n, by, false, out) >= len);
            free(cut);
        }
}

static void milliseconds_become_microseconds_and_back(void **state)
{
    (void)state;
    char out[256];
    shifted("{\"E\":1723161255343}", true, out);
    assert_string_equal(out, "{\"E\":1723161255348000}");
    shifted("{\"E\":1723161255343777}", true, out);
    assert_string_equal(out, "{\"E\":1723161255348777}");
    shifted("{\"E\":1723161255343777}", false, out);
    assert_string_equal(out, "{\"E\":1723161255348}");
}

static void a_part_of_a_frame_can_be_written(void **state)
{
    (void)state;
    const char *text = "{\"u\":99,\"x\":1,\"slot\":7}";
    sim_patch_t patches[PATCHES];
    char out[64];
    int n = sim_shift_find(text, strlen(text), patches, PATCHES);
    assert_int_equal(n, 2);
    size_t len = sim_shift_write(text, 7, strlen(text), patches, n, by, false, out);
    out[len] = '\0';
    assert_string_equal(out, ",\"x\":1,\"slot\":407}");
}

static void more_numbers_than_room_is_said(void **state)
{
    (void)state;
    sim_patch_t one[1];
    assert_int_equal(sim_shift_find("{\"u\":1,\"slot\":2}", 16, one, 1), -1);
}

static void mangling_makes_the_fault_and_no_other(void **state)
{
    (void)state;
    static const struct {
        sim_trouble_kind_t kind;
        const char *in, *out;
    } cases[] = {
        { SIM_T_SPIKE, "{\"p\":\"61837.63000000\",\"q\":\"1.0\"}",
          "{\"p\":\"61837630.00000\",\"q\":\"1.0\"}" },
        { SIM_T_SPIKE, "{\"b\":\"7.61\",\"a\":\"7\"}", "{\"b\":\"7000.61\",\"a\":\"7000\"}" },
        { SIM_T_SPIKE, "{\"price\":{\"price\":\"6140\"}}", "{\"price\":{\"price\":\"6140000\"}}" },
        { SIM_T_WRONGTYPE, "{\"p\":\"1.5\"}", "{\"p\":1.5}" },
        { SIM_T_NULLPRICE, "{\"p\":\"1.5\"}", "{\"p\":null}" },
        { SIM_T_NULLPRICE, "{\"result\":1}", "{\"result\":1}" },
        { SIM_T_ARRAY, "{}", "[{}]" },
        { SIM_T_TRUNCATED, "{\"p\":1}", "{\"p\"" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256];
        size_t len = strlen(cases[i].in);
        memcpy(text, cases[i].in, len);
        len = sim_mangle(cases[i].kind, text, len, sizeof text);
        text[len] = '\0';
        assert_string_equal(text, cases[i].out);
    }
}

static void a_copied_market_goes_on_the_same_way(void **state)
{
    (void)state;
    static sim_market_t a, b, hermes;
    kmy_errctx_t ctx;
    assert_int_equal(sim_market_parse("seed=3,rate=250,symbols=BTCUSDT:61000.00,ETHUSDT:2600.00",
                                      &a, &hermes, &ctx),
                     KMY_OK);
    sim_market_event_t x, y;
    for (int i = 0; i < 1000; i++)
        sim_market_next(&a, &x);
    assert_int_equal(x.at_ns, 499 * INT64_C(4000000) +
                                  2000000); /* the 500th of the second symbol, half a step later */
    b = a;
    for (int i = 0; i < 1000; i++) {
        sim_market_next(&a, &x);
        sim_market_next(&b, &y);
        x.symbol = y.symbol = NULL;
        assert_memory_equal(&x, &y, sizeof x);
    }
}

static void a_market_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = { "seed=",
                                       "seed=-1",
                                       "rate=0",
                                       "rate=1000001",
                                       "symbols=BTCUSDT",
                                       "symbols=btc:1.0",
                                       "symbols=BTCUSDT:x",
                                       "symbols=BTCUSDT:0.00",
                                       "feeds=DOGE/USD:1",
                                       "feeds=abc:1",
                                       "colour=red",
                                       "BTCUSDT:1.00",
                                       "slot-ms=0" };
    static sim_market_t a, b;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        kmy_errctx_t ctx = { 0 };
        if (sim_market_parse(bad[i], &a, &b, &ctx) != KMY_BAD_INPUT)
            fail_msg("accepted %s", bad[i]);
    }
}

static void troubles_are_read_from_words(void **state)
{
    (void)state;
    char *words[] = {
        "http", "hermes", "2.5s", "status=429", "retry_after=7", "location=https://x/"
    };
    kmy_errctx_t ctx = { 0 };
    sim_trouble_t t;
    json_t *root = sim_trouble_from_words(6, words, &ctx);
    assert_int_equal(sim_trouble_from_json(root, &t, &ctx), KMY_OK);
    json_decref(root);
    assert_int_equal(t.kind, SIM_T_HTTP);
    assert_int_equal(t.targets, 2);
    assert_true(t.seconds == 2.5);
    assert_int_equal(t.status, 429);
    assert_int_equal(t.retry_after, 7);
    assert_string_equal(t.location, "https://x/");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_move_by_what_they_mean),
        cmocka_unit_test(every_prefix_of_a_frame_is_harmless),
        cmocka_unit_test(milliseconds_become_microseconds_and_back),
        cmocka_unit_test(a_part_of_a_frame_can_be_written),
        cmocka_unit_test(more_numbers_than_room_is_said),
        cmocka_unit_test(mangling_makes_the_fault_and_no_other),
        cmocka_unit_test(a_copied_market_goes_on_the_same_way),
        cmocka_unit_test(a_market_that_makes_no_sense_is_refused),
        cmocka_unit_test(troubles_are_read_from_words),
    };
    return cmocka_run_group_tests_name("sim", tests, NULL, NULL);
}
