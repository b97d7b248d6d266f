/* What a Binance frame comes to.  Frames are of our own making, in the venue's shapes. */
#include "adapters/binance.h"
#include "tests/page_edge.h"
#include "tests/quote_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

typedef struct {
    const char *frame;
    const char *want; /* as tests/quote_text.h writes it */
} row_t;

static kmy_parse_t parse_at_edge(const char *frame, size_t len, kmy_binance_time_t unit,
                                 char text[QUOTE_TEXT_BYTES])
{
    kmy_quote_t q;
    kmy_control_t c;
    const char *edge = kmy_at_page_end(frame, len);
    kmy_parse_t r = kmy_binance_parse(edge, len, unit, &q, &c);
    quote_text(r, &q, &c, text);
    return r;
}

static void check_rows(const row_t *rows, size_t count, kmy_binance_time_t unit)
{
    for (size_t i = 0; i < count; i++) {
        char got[QUOTE_TEXT_BYTES];
        parse_at_edge(rows[i].frame, strlen(rows[i].frame), unit, got);
        if (strcmp(got, rows[i].want) != 0)
            fail_msg("%s\n  came to  %s\n  not to   %s", rows[i].frame, got, rows[i].want);
    }
}
#define CHECK(rows, unit) check_rows(rows, sizeof(rows) / sizeof((rows)[0]), unit)

#define TRADE_WITH(p, q, T)                                                                        \
    "{\"e\":\"trade\",\"E\":1700000000001,\"s\":\"KMYUSDT\",\"t\":77,\"p\":" p ",\"q\":" q         \
    ",\"T\":" T ",\"m\":true,\"M\":true}"
#define BOOK_WITH(b, B, a, A)                                                                      \
    "{\"u\":900,\"s\":\"KMYUSDT\",\"b\":" b ",\"B\":" B ",\"a\":" a ",\"A\":" A "}"

static const char trade[] =
    "{\"stream\":\"kmyusdt@trade\",\"data\":{\"e\":\"trade\",\"E\":1700000000001,\"s\":\"KMYUSDT\","
    "\"t\":3000000077,\"p\":\"4321.50000000\",\"q\":\"0.02500000\",\"T\":1700000000000,\"m\":true,"
    "\"M\":true}}";
static const char agg_trade[] =
    "{\"e\":\"aggTrade\",\"E\":1700000000001,\"s\":\"KMYUSDT\",\"a\":5,\"p\":\"0.00000001\",\"q\":"
    "\"12345678.00000000\",\"f\":1,\"l\":3,\"T\":1700000000000,\"m\":false,\"M\":true}";
static const char book[] =
    "{\"stream\":\"kmyusdt@bookTicker\",\"data\":{\"u\":40000000001,\"s\":\"KMYUSDT\",\"b\":"
    "\"4321.50000000\",\"B\":\"3.00000000\",\"a\":\"4321.51000000\",\"A\":\"12.50000000\"}}";
static const char *const scanned_shapes[] = { trade, agg_trade, book };

static void the_usual_shapes_become_quotes(void **state)
{
    (void)state;
    static const row_t rows[] = {
        { trade, "KMYUSDT trade price 4321.5 e-8 size 0.025 at 1700000000000000000ms trade "
                 "3000000077 maker" },
        { agg_trade,
          "KMYUSDT trade price 0.00000001 e-8 size 12345678 at 1700000000000000000ms agg 5" },
        { book, "KMYUSDT quote price 4321.505 e-8 bid 4321.5 ask 4321.51 conf 0.01 size 3 ask_size "
                "12.5 at 0 "
                "update 40000000001 spread" },
        /* the futures dialect: more members, other decimals, and a time */
        { "{\"e\":\"bookTicker\",\"u\":9,\"s\":\"KMYUSD_PERP\",\"ps\":\"KMYUSD\",\"b\":\"427.84\","
          "\"B\":\"24\",\"a\":\"427.90\",\"A\":"
          "\"669\",\"T\":1700000000002,\"E\":1700000000003}",
          "KMYUSD_PERP quote price 427.87 e-8 bid 427.84 ask 427.9 conf 0.06 size 24 ask_size 669 "
          "at 1700000000002000000ms "
          "update 9 spread" },
        { "{\"u\":9,\"s\":\"K\",\"b\":\"1\",\"B\":\"0\",\"a\":\"1\",\"A\":\"0\",\"E\":"
          "1700000000003}",
          "K quote price 1 e-8 bid 1 ask 1 conf 0 size 0 ask_size 0 at 1700000000003000000ms "
          "update 9 spread" },
    };
    CHECK(rows, KMY_BINANCE_MS);
}

static void the_scanner_knows_the_usual_shapes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof scanned_shapes / sizeof scanned_shapes[0]; i++) {
        kmy_quote_t scanned;
        kmy_quote_t read;
        kmy_control_t c;
        size_t len = strlen(scanned_shapes[i]);
        assert_true(kmy_binance_scan(scanned_shapes[i], len, KMY_BINANCE_MS, &scanned));
        assert_int_equal(kmy_binance_read(scanned_shapes[i], len, KMY_BINANCE_MS, &read, &c),
                         KMY_PARSE_QUOTE);
        assert_true(quote_equal(&scanned, &read));
    }
}

static void member_order_and_blanks_change_nothing(void **state)
{
    (void)state;
    static const char want[] =
        "KMYUSDT trade price 4321.5 e-8 size 0.025 at 1700000000000000000ms trade 77 maker";
    static const row_t rows[] = {
        { " {\n\"M\" : "
          "true,\t\"m\":true,\"T\":1700000000000,\"q\":\"0.025\",\"p\":\"4321.5\",\"t\":77,\"s\":"
          "\"KMYUSDT\",\"e\":\"trade\"}\r\n",
          want },
        { "{\"data\":{\"E\":1,\"e\":\"trade\",\"x\":[{\"e\":1}],\"s\":\"KMYUSDT\",\"t\":77,\"p\":"
          "\"43215e-1\",\"q\":\"2.5E-2\",\"T\":1700000000000,"
          "\"m\":true},\"stream\":\"whatever\"}",
          want },
        { "{\"\\u0065\":\"tr\\u0061de\",\"s\":\"\\u004bMYUSDT\",\"t\":77,\"p\":\"4321\\u002e5\","
          "\"q\":\"0.025\",\"T\":1700000000000,\"m\":true}",
          want },
    };
    CHECK(rows, KMY_BINANCE_MS);
}

static void numbers_are_exact_or_refused(void **state)
{
    (void)state;
#define AT   " at 1700000000000000000ms trade 77 maker"
#define TIME "1700000000000"
    static const row_t rows[] = {
        { TRADE_WITH("\"0.00000001\"", "\"92233720368.54775807\"", TIME),
          "KMYUSDT trade price 0.00000001 e-8 size 92233720368.54775807" AT },
        { TRADE_WITH("\"0.00000001\"", "\"92233720368.54775808\"", TIME), "range" },
        { TRADE_WITH("\"92233720369.00000000\"", "\"1.00000000\"",
                     TIME), /* too large at -8, exact at 0 */
          "KMYUSDT trade price 92233720369 e0 size 1" AT },
        { TRADE_WITH("\"0.000000012\"", "\"1\"", TIME),
          "KMYUSDT trade price 0.000000012 e-9 size 1" AT },
        { TRADE_WITH("\"123456789012345.00000000\"", "\"1\"", TIME),
          "KMYUSDT trade price 123456789012345 e0 size 1" AT },
        { TRADE_WITH("\"9223372036854775808\"", "\"1\"", TIME), "range" },
        { TRADE_WITH("\"1\"", "\"1e70\"", TIME), "range" },
        { TRADE_WITH("\"0.00000000\"", "\"1\"", TIME), "range" },
        { TRADE_WITH("\"-1.00000000\"", "\"1\"", TIME), "range" },
        { TRADE_WITH("\"1\"", "\"-0.1\"", TIME), "range" },
        { TRADE_WITH("\"1\"", "\"0.00000000\"", TIME), "KMYUSDT trade price 1 e-8 size 0" AT },
        { TRADE_WITH("\"0012.50000000\"", "\"1\"", TIME),
          "KMYUSDT trade price 12.5 e-8 size 1" AT },
        { TRADE_WITH("12.5", "\"1\"", TIME), "malformed" }, /* the venue writes strings */
        { TRADE_WITH("\"\"", "\"1\"", TIME), "malformed" },
        { TRADE_WITH("\".50000000\"", "\"1\"", TIME), "malformed" },
        { TRADE_WITH("\"1.\"", "\"1\"", TIME), "malformed" },
        { TRADE_WITH("\"1.0000000x\"", "\"1\"", TIME), "malformed" },
        { TRADE_WITH("\"NaN\"", "\"1\"", TIME), "malformed" },
        { TRADE_WITH("\"0x10\"", "\"1\"", TIME), "malformed" },
        { TRADE_WITH("\"1.00000000\"", "\"1.00000000\"", "0"), "range" },
        { TRADE_WITH("\"1.00000000\"", "\"1.00000000\"", "9223372036855"), "range" },
        { TRADE_WITH("\"1\"", "\"1\"", "0"), "range" },
        { TRADE_WITH("\"1\"", "\"1\"", "-1"), "range" },
        { TRADE_WITH("\"1\"", "\"1\"", "9223372036854"),
          "KMYUSDT trade price 1 e-8 size 1 at 9223372036854000000ms trade 77 maker" },
        { TRADE_WITH("\"1\"", "\"1\"", "9223372036855"), "range" }, /* the year 2262 in ns */
        { TRADE_WITH("\"1\"", "\"1\"", "1.7e12"), "malformed" },
        { TRADE_WITH("\"1\"", "\"1\"", "\"1700000000000\""), "malformed" },
    };
    CHECK(rows, KMY_BINANCE_MS);
}

static void the_mid_of_a_book_is_exact(void **state)
{
    (void)state;
    static const row_t rows[] = {
        { BOOK_WITH("\"0.00001234\"", "\"1\"", "\"0.00001235\"",
                    "\"2\""), /* an odd sum goes one exponent down, all four with it */
          "KMYUSDT quote price 0.000012345 e-9 bid 0.00001234 ask 0.00001235 conf 0.00000001 size "
          "1 ask_size 2 at 0 update 900 spread" },
        { BOOK_WITH("\"92233720368.54775807\"", "\"1\"", "\"92233720368.54775807\"", "\"2\""),
          "KMYUSDT quote price 92233720368.54775807 e-8 bid 92233720368.54775807 ask "
          "92233720368.54775807 conf 0 size 1 ask_size 2 at 0 "
          "update 900 spread" },
        { BOOK_WITH("\"92233720368.54775806\"", "\"1\"", "\"92233720368.54775807\"", "\"2\""),
          "range" },
        { BOOK_WITH("\"10.02\"", "\"1.5\"", "\"10.00\"",
                    "\"2\""), /* crossed: no spread to publish */
          "KMYUSDT quote price 10.01 e-8 bid 10.02 ask 10 size 1.5 ask_size 2 at 0 update 900 "
          "crossed" },
        { BOOK_WITH("\"0.00000000\"", "\"0.00000000\"", "\"0.00000000\"", "\"0.00000000\""),
          "range" }, /* a halted symbol has no price */
        { BOOK_WITH("\"1.00000000\"", "\"1.00000000\"", "\"0.00000000\"", "\"0.00000000\""),
          "range" },
        { BOOK_WITH("\"0.00000000\"", "\"1.00000000\"", "\"1.00000000\"", "\"0.00000000\""),
          "range" },
        { BOOK_WITH("\"-1\"", "\"1\"", "\"1\"", "\"1\""), "range" },
        { BOOK_WITH("\"0\"", "\"1\"", "\"1\"", "\"1\""), "range" },
        { BOOK_WITH("\"1.00000000\"", "\"-1.00000000\"", "\"2.00000000\"", "\"1.00000000\""),
          "range" },
        { BOOK_WITH("\"1e-9\"", "\"1\"", "\"3\"", "\"1e-10\""),
          "KMYUSDT quote price 1.5000000005 e-10 bid 0.000000001 ask 3 conf 2.999999999 size 1 "
          "ask_size 0.0000000001 at 0 update 900 spread" },
        { BOOK_WITH("\"1e-15\"", "\"1\"", "\"99999\"", "\"1\""),
          "range" }, /* no exponent holds both */
    };
    CHECK(rows, KMY_BINANCE_MS);
}

static void ids_fit_64_bits_or_are_refused(void **state)
{
    (void)state;
#define ID(u) "{\"u\":" u ",\"s\":\"K\",\"b\":\"1\",\"B\":\"1\",\"a\":\"1\",\"A\":\"1\"}"
    static const row_t rows[] = {
        { ID("18446744073709551615"), "K quote price 1 e-8 bid 1 ask 1 conf 0 size 1 ask_size 1 at "
                                      "0 update 18446744073709551615 spread" },
        { ID("18446744073709551616"), "range" },
        { ID("-1"), "range" },
        { ID("1.0"), "malformed" },
        { ID("\"1\""), "malformed" },
        { ID("null"), "malformed" },
        { ID("01"), "malformed" },
    };
    CHECK(rows, KMY_BINANCE_MS);
}

static void the_unit_of_time_is_the_connections_not_a_guess(void **state)
{
    (void)state;
    static const row_t us[] = {
        { TRADE_WITH("\"1.00000000\"", "\"1.00000000\"", "1700000000000123"),
          "KMYUSDT trade price 1 e-8 size 1 at 1700000000000123000us trade 77 maker" },
        { TRADE_WITH("\"1.00000000\"", "\"1.00000000\"", "1700000000000"),
          "KMYUSDT trade price 1 e-8 size 1 at 1700000000000000us trade 77 maker" },
        { "{\"e\":\"trade\",\"E\":1700000000000456,\"s\":\"K\",\"t\":7,\"p\":\"1.00000000\",\"q\":"
          "\"1.00000000\",\"T\":1700000000000123,\"m\":false,\"M\":true}",
          "K trade price 1 e-8 size 1 at 1700000000000123000us trade 7" },
    };
    static const row_t ms[] = {
        { TRADE_WITH("\"1.00000000\"", "\"1.00000000\"", "1700000000000123"), "range" },
    };
    CHECK(us, KMY_BINANCE_US);
    CHECK(ms, KMY_BINANCE_MS);
}

static void symbols_are_bytes_with_escapes_undone(void **state)
{
    (void)state;
#define NAMED(s)                                                                                   \
    "{\"e\":\"trade\",\"s\":" s ",\"t\":1,\"p\":\"1\",\"q\":\"1\",\"T\":1700000000000,\"m\":"      \
    "false}"
#define REST " trade price 1 e-8 size 1 at 1700000000000000000ms trade 1"
#define TEN  "ABCDEFGHIJ"
    static const row_t rows[] = {
        { NAMED("\"旗USDT\""), "旗USDT" REST },
        { NAMED("\"\\u65d7USDT\""), "旗USDT" REST },
        { NAMED("\"\\ud83d\\ude80USDT\""), "🚀USDT" REST },
        { NAMED("\"" TEN TEN TEN TEN TEN TEN "1234\""), TEN TEN TEN TEN TEN TEN "1234" REST },
        { NAMED("\"" TEN TEN TEN TEN TEN TEN "12345\""),
          "malformed" }, /* above KMY_QUOTE_KEY_BYTES_MAX */
        { NAMED("\"\\u0041" TEN TEN TEN TEN TEN TEN "1234\""), "malformed" },
        { NAMED("\"\""), "malformed" },
        { NAMED("\"KMY\\u0000USDT\""), "malformed" }, /* must not cut the symbol */
        { NAMED("\"\\ud83dUSDT\""), "malformed" },
        { NAMED("\"\xff\xfe\""), "malformed" },
        { NAMED("\"a\nb\""), "malformed" },
        { NAMED("7"), "malformed" },
    };
    CHECK(rows, KMY_BINANCE_MS);
}

static void control_frames_are_told_apart(void **state)
{
    (void)state;
    static const row_t rows[] = {
        { "{\"result\":null,\"id\":1}", "ack 1 0 " }, /* null is success */
        { "{\"result\":null,\"id\":\"k-7\"}", "ack -1 0 " },
        { "{\"result\":null,\"id\":null}", "ack -1 0 " },
        { "{\"id\":9223372036854775808,\"result\":true}", "ack -1 0 " },
        { "{\"result\":[\"kmyusdt@trade\",\"旗usdt@trade\"],\"id\":3}",
          "list 3 0 [\"kmyusdt@trade\",\"旗usdt@trade\"]" },
        { "{\"code\":0,\"msg\":\"Unknown property\",\"id\":5}",
          "error 5 0 Unknown property" }, /* code 0 is an error */
        { "{\"code\":2,\"msg\":\"Invalid request: \\\"x\\\"\"}",
          "error -1 2 Invalid request: \\\"x\\\"" },
        { "{\"code\":-1003,\"msg\":\"Way too much\"}", "error -1 -1003 Way too much" },
        { "{\"error\":{\"code\":2,\"msg\":\"Invalid\"},\"id\":null}", "error -1 2 Invalid" },
        { "{\"error\":null,\"result\":null,\"id\":4}", "ack 4 0 " },
        { "{\"code\":\"2\"}", "malformed" },
        { "{\"error\":\"x\"}", "malformed" },
        { "{\"e\":\"serverShutdown\",\"E\":1770123456789}", "shutdown -1 0 " },
        { "{\"stream\":\"!serverShutdown\",\"data\":{\"e\":\"serverShutdown\",\"E\":1770123456789}"
          "}",
          "shutdown -1 0 " },
    };
    CHECK(rows, KMY_BINANCE_MS);
}

static void what_we_do_not_sell_is_ignored_once_it_is_valid(void **state)
{
    (void)state;
    static const row_t rows[] = {
        { "{\"e\":\"depthUpdate\",\"E\":1,\"s\":\"K\",\"U\":1,\"u\":2,\"b\":[[\"1\",\"2\"]],\"a\":["
          "]}",
          "ignored" },
        { "{\"stream\":\"k@depth5\",\"data\":{\"lastUpdateId\":1,\"bids\":[],\"asks\":[]}}",
          "ignored" },
        { "{\"lastUpdateId\":1,\"bids\":[],\"asks\":[]}", "ignored" },
        { "{\"e\":\"24hrTicker\",\"s\":\"K\",\"p\":\"0.0015\",\"P\":\"250.00\",\"b\":\"1\",\"B\":"
          "\"1\",\"a\":\"2\",\"A\":\"1\",\"q\":\"18\"}",
          "ignored" },
        { "{\"e\":\"referencePrice\",\"s\":\"K\",\"r\":null,\"t\":1}", "ignored" },
        { "{\"E\":\"trade\",\"S\":\"K\"}", "ignored" }, /* names differ by case alone */
        { "{\"stream\":\"!miniTicker@arr\",\"data\":[{\"e\":\"24hrMiniTicker\"}]}", "ignored" },
        { "[1,2]", "ignored" },
        { "7", "ignored" },
        { "{}", "ignored" },
        { "{\"e\":\"depthUpdate\",\"b\":[[\"1\",\"2\"]}", "malformed" },
        { "{\"e\":\"depthUpdate\",\"x\":\"\xc3(\"}", "malformed" },
        { "{\"e\":7}", "malformed" },
        { "", "malformed" },
        { " ", "malformed" },
        { "nonsense", "malformed" },
        { "{} {}", "malformed" },
    };
    CHECK(rows, KMY_BINANCE_MS);
}

static void a_name_of_ours_that_stands_twice_is_refused(void **state)
{
    (void)state;
    static const row_t rows[] = {
        { "{\"e\":\"trade\",\"s\":\"K\",\"t\":1,\"p\":\"1\",\"p\":\"1\",\"q\":\"1\",\"T\":"
          "1700000000000,\"m\":false}",
          "malformed" },
        { "{\"e\":\"trade\",\"s\":\"K\",\"t\":1,\"p\":\"1\",\"\\u0070\":\"2\",\"q\":\"1\",\"T\":"
          "1700000000000,\"m\":false}",
          "malformed" },
        { "{\"result\":null,\"id\":1,\"id\":2}", "malformed" },
        { "{\"stream\":\"x\",\"data\":{},\"data\":{}}", "malformed" },
        { "{\"e\":\"depthUpdate\",\"x\":1,\"x\":2}", "ignored" }, /* not one of ours */
    };
    CHECK(rows, KMY_BINANCE_MS);
}

static void a_missing_member_is_refused(void **state)
{
    (void)state;
    static const row_t rows[] = {
        { "{\"e\":\"trade\",\"s\":\"K\",\"t\":1,\"p\":\"1\",\"q\":\"1\",\"m\":false}",
          "malformed" },
        { "{\"e\":\"trade\",\"s\":\"K\",\"t\":1,\"p\":\"1\",\"T\":1700000000000,\"m\":false}",
          "malformed" },
        { "{\"e\":\"trade\",\"s\":\"K\",\"p\":\"1\",\"q\":\"1\",\"T\":1700000000000,\"m\":false}",
          "malformed" },
        { "{\"e\":\"trade\",\"s\":\"K\",\"t\":1,\"p\":\"1\",\"q\":\"1\",\"T\":1700000000000}",
          "malformed" },
        { "{\"e\":\"trade\",\"s\":\"K\",\"t\":1,\"p\":\"1\",\"q\":\"1\",\"T\":1700000000000,\"m\":"
          "\"true\"}",
          "malformed" },
        { "{\"e\":\"aggTrade\",\"s\":\"K\",\"t\":1,\"p\":\"1\",\"q\":\"1\",\"T\":1700000000000,"
          "\"m\":true}",
          "malformed" },
        { "{\"u\":1,\"s\":\"K\",\"b\":\"1\",\"a\":\"1\",\"A\":\"1\"}", "malformed" },
        { "{\"e\":\"bookTicker\",\"s\":\"K\",\"b\":\"1\",\"a\":\"1\",\"A\":\"1\",\"B\":\"1\"}",
          "malformed" },
    };
    CHECK(rows, KMY_BINANCE_MS);
}

static void every_cut_frame_is_refused_without_reading_beyond_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof scanned_shapes / sizeof scanned_shapes[0]; i++) {
        size_t len = strlen(scanned_shapes[i]);
        for (size_t cut = 0; cut < len; cut++) {
            char got[QUOTE_TEXT_BYTES];
            assert_int_equal(parse_at_edge(scanned_shapes[i], cut, KMY_BINANCE_MS, got),
                             KMY_PARSE_MALFORMED);
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
                if (!kmy_binance_scan(edge, len, KMY_BINANCE_MS, &scanned))
                    continue;
                assert_int_equal(kmy_binance_read(edge, len, KMY_BINANCE_MS, &read, &c),
                                 KMY_PARSE_QUOTE);
                assert_true(quote_equal(&scanned, &read));
            }
        }
    }
}

static void a_symbol_becomes_a_feed_name(void **state)
{
    (void)state;
    static const struct {
        const char *symbol;
        const char *want; /* NULL: none */
    } rows[] = {
        { "BTCUSDT", "BTC/USDT" },
        { "btcusdt", "BTC/USDT" },
        { "ETHBTC", "ETH/BTC" },
        { "BTCFDUSD", "BTC/FDUSD" },
        { "ADAEUR", "ADA/EUR" },
        { "旗USDT", "旗/USDT" },
        { "USDT", NULL },
        { "BTC", NULL },
        { "NOSUCHQQQ", NULL },
        { "", NULL },
        { "USDCUSDT", "USDC/USDT" },
        { "1000SATSTRY", "1000SATS/TRY" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char name[64];
        bool known =
            kmy_binance_feed_name(rows[i].symbol, strlen(rows[i].symbol), name, sizeof name);
        assert_int_equal(known, rows[i].want != NULL);
        if (known)
            assert_string_equal(name, rows[i].want);
    }
    char tight[9];
    assert_true(kmy_binance_feed_name("BTCUSDT", 7, tight, sizeof tight));
    assert_false(kmy_binance_feed_name("BTCUSDT", 7, tight, sizeof tight - 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_usual_shapes_become_quotes),
        cmocka_unit_test(the_scanner_knows_the_usual_shapes),
        cmocka_unit_test(member_order_and_blanks_change_nothing),
        cmocka_unit_test(numbers_are_exact_or_refused),
        cmocka_unit_test(the_mid_of_a_book_is_exact),
        cmocka_unit_test(ids_fit_64_bits_or_are_refused),
        cmocka_unit_test(the_unit_of_time_is_the_connections_not_a_guess),
        cmocka_unit_test(symbols_are_bytes_with_escapes_undone),
        cmocka_unit_test(control_frames_are_told_apart),
        cmocka_unit_test(what_we_do_not_sell_is_ignored_once_it_is_valid),
        cmocka_unit_test(a_name_of_ours_that_stands_twice_is_refused),
        cmocka_unit_test(a_missing_member_is_refused),
        cmocka_unit_test(every_cut_frame_is_refused_without_reading_beyond_it),
        cmocka_unit_test(no_changed_byte_makes_the_readers_differ),
        cmocka_unit_test(a_symbol_becomes_a_feed_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
