/* What a Hermes frame comes to.  Frames are of our own making, in the server's shapes. */
#include "adapters/pyth.h"
#include "tests/page_edge.h"
#include "tests/quote_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

typedef struct {
    const char *frame;
    const char *want; /* as tests/quote_text.h writes it */
} row_t;

static kmy_parse_t parse_at_edge(const char *frame, size_t len, char text[QUOTE_TEXT_BYTES])
{
    kmy_quote_t q;
    kmy_control_t c;
    const char *edge = kmy_at_page_end(frame, len);
    kmy_parse_t r = kmy_pyth_parse(edge, len, &q, &c);
    quote_text(r, &q, &c, text);
    return r;
}

static void check_rows(const row_t *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char got[QUOTE_TEXT_BYTES];
        parse_at_edge(rows[i].frame, strlen(rows[i].frame), got);
        if (strcmp(got, rows[i].want) != 0)
            fail_msg("%s\n  came to  %s\n  not to   %s", rows[i].frame, got, rows[i].want);
    }
}
#define CHECK(rows) check_rows(rows, sizeof(rows) / sizeof((rows)[0]))

#define ID16 "00112233445566ff"
#define ID   ID16 ID16 ID16 ID16
#define EMA                                                                                        \
    ",\"ema_price\":{\"price\":\"41\",\"conf\":\"2\",\"expo\":-8,\"publish_time\":1700000000}"
#define UPDATE(id, price, conf, expo, time, rest)                                                  \
    "{\"type\":\"price_update\",\"price_feed\":{\"id\":" id ",\"price\":{\"price\":" price         \
    ",\"conf\":" conf ",\"expo\":" expo ",\"publish_time\":" time "}" rest "}}"
#define USUAL(rest) UPDATE("\"" ID "\"", "\"-4321000000\"", "\"250\"", "-8", "1700000000", rest)
#define USUAL_TEXT  ID " oracle price -43.21 e-8 conf 0.0000025 at 1700000000000000000s "

static const char plain[] = USUAL(EMA);
static const char verbose[] =
    USUAL(EMA ",\"metadata\":{\"slot\":35784966960,\"emitter_chain\":26,"
              "\"price_service_receive_time\":1700000001,\"prev_publish_time\":1699999999}");
static const char *const scanned_shapes[] = { plain, verbose };

static void an_update_becomes_a_quote(void **state)
{
    (void)state;
    static const row_t rows[] = {
        { plain, USUAL_TEXT "none 0" },
        { verbose, USUAL_TEXT "slot 35784966960" },
        { USUAL(EMA ",\"vaa\":\"UE5BVQ==\""), USUAL_TEXT "none 0" },
        { USUAL(""), USUAL_TEXT "none 0" },
        { USUAL(",\"metadata\":null"), USUAL_TEXT "none 0" },
        { USUAL(",\"metadata\":{\"slot\":null,\"emitter_chain\":26}"), USUAL_TEXT "none 0" },
        { USUAL(",\"metadata\":{\"slot\":18446744073709551615}"),
          USUAL_TEXT "slot 18446744073709551615" },
        { USUAL(",\"metadata\":{\"slot\":18446744073709551616}"), "range" },
        { USUAL(",\"metadata\":{\"slot\":-1}"), "range" },
        { USUAL(",\"metadata\":{\"slot\":\"5\"}"), "malformed" },
        { USUAL(",\"metadata\":5"), "malformed" },
        { USUAL(",\"ema_price\":{\"price\":\"1\",\"conf\":}"),
          "malformed" }, /* skipped, yet validated */
        { " { \"price_feed\" : "
          "{\"price\":{\"publish_time\":1700000000,\"expo\":-8,\"conf\":\"250\",\"price\":\"-"
          "4321000000\"},\"id\":\"" ID "\"},\"type\":\"price_update\"}",
          USUAL_TEXT "none 0" },
    };
    CHECK(rows);
}

static void the_scanner_knows_the_usual_shapes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof scanned_shapes / sizeof scanned_shapes[0]; i++) {
        kmy_quote_t scanned;
        kmy_quote_t read;
        kmy_control_t c;
        size_t len = strlen(scanned_shapes[i]);
        assert_true(kmy_pyth_scan(scanned_shapes[i], len, &scanned));
        assert_int_equal(kmy_pyth_read(scanned_shapes[i], len, &read, &c), KMY_PARSE_QUOTE);
        assert_true(quote_equal(&scanned, &read));
    }
}

static void numbers_are_exact_or_refused(void **state)
{
    (void)state;
#define NUMBERS(price, conf, expo, time) UPDATE("\"" ID "\"", price, conf, expo, time, EMA)
#define T                                "1700000000"
#define AT                               " at 1700000000000000000s none 0"
    static const row_t rows[] = {
        { NUMBERS("\"9223372036854775807\"", "\"18446744073709551615\"", "-8",
                  T), /* conf is unsigned */
          ID " oracle price 92233720368.54775807 e-8 conf 184467440737.09551615" AT },
        { NUMBERS("\"-9223372036854775808\"", "\"0\"", "-8", T),
          ID " oracle price -92233720368.54775808 e-8 conf 0" AT },
        { NUMBERS("\"9223372036854775808\"", "\"0\"", "-8", T), "range" },
        { NUMBERS("\"1\"", "\"18446744073709551616\"", "-8", T), "range" },
        { NUMBERS("\"1\"", "\"-1\"", "-8", T), "range" },
        { NUMBERS("\"0\"", "\"0\"", "-8", T),
          ID " oracle price 0 e-8 conf 0" AT }, /* a rate may be zero */
        { NUMBERS("\"76612\"", "\"0\"", "2", T), ID " oracle price 7661200 e2 conf 0" AT },
        { NUMBERS("\"1\"", "\"0\"", "64", T),
          ID " oracle price 10000000000000000000000000000000000000000000000000000000000000000 e64 "
             "conf 0" AT },
        { NUMBERS("\"1\"", "\"0\"", "65", T), "range" },
        { NUMBERS("\"1\"", "\"0\"", "-65", T), "range" },
        { NUMBERS("\"1\"", "\"0\"", "99999999999999999999", T), "range" },
        { NUMBERS("\"1\"", "\"0\"", "-8.0", T), "malformed" },
        { NUMBERS("\"1\"", "\"0\"", "\"-8\"", T), "malformed" },
        { NUMBERS("1", "\"0\"", "-8", T), "malformed" },
        { NUMBERS("\"1.5\"", "\"0\"", "-8", T), "malformed" },
        { NUMBERS("\"\"", "\"0\"", "-8", T), "malformed" },
        { NUMBERS("\"-\"", "\"0\"", "-8", T), "malformed" },
        { NUMBERS("\"+1\"", "\"0\"", "-8", T), "malformed" },
        { NUMBERS("\"1\"", "\"0\"", "-8", "0"), "range" },
        { NUMBERS("\"1\"", "\"0\"", "-8", "-5"), "range" },
        { NUMBERS("\"1\"", "\"0\"", "-8", "9223372036"),
          ID " oracle price 0.00000001 e-8 conf 0 at 9223372036000000000s none 0" },
        { NUMBERS("\"1\"", "\"0\"", "-8", "9223372037"), "range" },
    };
    CHECK(rows);
}

static void an_id_is_64_hex_digits_in_lower_case(void **state)
{
    (void)state;
#define NAMED(id) UPDATE(id, "\"-4321000000\"", "\"250\"", "-8", "1700000000", EMA)
    static const row_t rows[] = {
        { NAMED("\"0x" ID "\""), USUAL_TEXT "none 0" },
        { NAMED("\"" ID16 ID16 ID16 "00112233445566FF"
                "\""),
          USUAL_TEXT "none 0" },
        { NAMED("\"\\u0030"
                "0112233445566ff" ID16 ID16 ID16 "\""),
          USUAL_TEXT "none 0" },
        { NAMED("\"" ID16 ID16 ID16 "00112233445566fg"
                "\""),
          "malformed" },
        { NAMED("\"" ID16 ID16 ID16 "00112233445566f"
                "\""),
          "malformed" },
        { NAMED("\"" ID "0\""), "malformed" },
        { NAMED("\"01" ID "\""), "malformed" },
        { NAMED("\"\""), "malformed" },
        { NAMED("null"), "malformed" },
    };
    CHECK(rows);
}

static void control_frames_are_told_apart(void **state)
{
    (void)state;
    static const row_t rows[] = {
        { "{\"type\":\"response\",\"status\":\"success\"}", "ack -1 0 " },
        { "{\"type\":\"response\",\"status\":\"error\",\"error\":\"Price ids not found\"}",
          "error -1 0 Price ids not found" },
        { "{\"type\":\"response\",\"status\":\"error\"}", "error -1 0 " },
        { "{\"type\":\"response\",\"status\":\"error\",\"error\":\"Connection timeout reached "
          "(24h)\"}",
          "lifetime -1 0 Connection timeout reached (24h)" },
        { "{\"status\":\"error\",\"error\":\"Rate limit exceeded\"}",
          "rate_limit -1 0 Rate limit exceeded" }, /* it has no type */
        { "{\"type\":\"response\",\"status\":\"maybe\"}", "malformed" },
        { "{\"type\":\"response\"}", "malformed" },
        { "{\"type\":\"brand_new\"}", "ignored" },
        { "{\"status\":\"online\"}", "ignored" },
        { "{}", "ignored" },
        { "[]", "ignored" },
        { " 7 ", "ignored" },
        { "{\"type\":null}", "malformed" },
        { "{\"type\":\"price_update\"}", "malformed" },
        { "{\"type\":\"price_update\",\"price_feed\":[]}", "malformed" },
        { "{\"type\":\"response\",\"type\":\"response\",\"status\":\"success\"}", "malformed" },
        { "{\"type\":\"response\",\"status\":\"success\"", "malformed" },
        { "{\"type\":\"response\",\"status\":\"success\"}x", "malformed" },
        { "", "malformed" },
        { "event: error\ndata: x\n\n", "malformed" },
    };
    CHECK(rows);
}

static void every_cut_frame_is_refused_without_reading_beyond_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof scanned_shapes / sizeof scanned_shapes[0]; i++) {
        for (size_t cut = 0; cut < strlen(scanned_shapes[i]); cut++) {
            char got[QUOTE_TEXT_BYTES];
            assert_int_equal(parse_at_edge(scanned_shapes[i], cut, got), KMY_PARSE_MALFORMED);
        }
    }
}

/* The scanner may refuse what it likes, but what it accepts the reader must read alike: any one byte, changed to any other. */
static void no_changed_byte_makes_the_readers_differ(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof scanned_shapes / sizeof scanned_shapes[0]; i++) {
        size_t len = strlen(scanned_shapes[i]);
        for (size_t at = 0; at < len; at++) {
            char *edge = kmy_at_page_end(scanned_shapes[i], len);
            for (int byte = 0; byte < 256; byte++) {
                kmy_quote_t scanned;
                kmy_quote_t read;
                kmy_control_t c;
                edge[at] = (char)byte;
                if (!kmy_pyth_scan(edge, len, &scanned))
                    continue;
                assert_int_equal(kmy_pyth_read(edge, len, &read, &c), KMY_PARSE_QUOTE);
                assert_true(quote_equal(&scanned, &read));
            }
        }
    }
}

static void common_feeds_have_names(void **state)
{
    (void)state;
    char hex[65];
    assert_string_equal(kmy_pyth_feed_id("SOL/USD", hex),
                        "ef0d8b6fda2ceba41da15d4095d1da392a0d2f8ed0c6c7bc0f4cfac8c280b56d");
    assert_string_equal(kmy_pyth_feed_id("BTC/USD", hex),
                        "e62df6c8b4a85fe1a67db44dc12de5db330f7ac66b72dc658afedf0f4a415b43");
    assert_string_equal(kmy_pyth_feed_id(ID, hex), ID);
    assert_string_equal(kmy_pyth_feed_id("0X00112233445566FF" ID16 ID16 ID16, hex), ID);
    assert_null(kmy_pyth_feed_id("sol/usd", hex));
    assert_null(kmy_pyth_feed_id("0x" ID16, hex));
    assert_null(kmy_pyth_feed_id("", hex));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_update_becomes_a_quote),
        cmocka_unit_test(the_scanner_knows_the_usual_shapes),
        cmocka_unit_test(numbers_are_exact_or_refused),
        cmocka_unit_test(an_id_is_64_hex_digits_in_lower_case),
        cmocka_unit_test(control_frames_are_told_apart),
        cmocka_unit_test(every_cut_frame_is_refused_without_reading_beyond_it),
        cmocka_unit_test(no_changed_byte_makes_the_readers_differ),
        cmocka_unit_test(common_feeds_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
