#include "wire/json.h"

#include "tests/page_edge.h"

#include <stdio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

typedef struct {
    const char *text;
    size_t len;
} text_t;
#define T(literal)                                                                                 \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

static const text_t valid[] = {
    T("0"),
    T("-0"),
    T("-0.0e-0"),
    T("123.456E+789"),
    T("\"\""),
    T("true"),
    T("false"),
    T("null"),
    T(" \t\r\n[ ] \n"),
    T("{}"),
    T("{\"\":{}}"),
    T("{\"a\":1,\"a\":2}"), /* valid JSON; kmy_json_object is who minds */
    T("[[[],{}],\"a\",-1e5,null]"),
    T("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uD83D\\uDE00\""),
    T("\"\\u0000\\uD800\""), /* grammatical; undoing them is refused */
    T("\"\x7F \xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80 0123456789abcdef\""),
    T("{\"op\":\"subscribe\",\"id\":1,\"feeds\":[\"SOL/USD\"],\"encoding\":\"json\"}"),
};

static const text_t invalid[] = {
    T(""),
    T(" "),
    T("\xEF\xBB\xBF{}"), /* byte order mark */
    T("[1,]"),
    T("[,1]"),
    T("[1 2]"),
    T("[1"),
    T("["),
    T("]"),
    T("[}"),
    T("{]"),
    T("{"),
    T("{,}"),
    T("{\"a\"}"),
    T("{\"a\":}"),
    T("{\"a\":1,}"),
    T("{\"a\" 1}"),
    T("{\"a\":1 \"b\":2}"),
    T("{\"a\"::1}"),
    T("{a:1}"),
    T("{'a':1}"),
    T("{1:1}"),
    T("{\"a\":1}}"),
    T("[]]"),
    T("1 2"),
    T("[]x"),
    T("{} // no"),
    T("/**/1"),
    T("01"),
    T("-01"),
    T("-"),
    T("+1"),
    T("1."),
    T(".5"),
    T("-.5"),
    T("1.e5"),
    T("1e"),
    T("1e+"),
    T("0x1"),
    T("1_0"),
    T("1a"),
    T("NaN"),
    T("Infinity"),
    T("-Infinity"),
    T("tru"),
    T("True"),
    T("truee"),
    T("nul"),
    T("\""),
    T("\"\\"),
    T("\"\\\""),
    T("\"\\x41\""),
    T("\"\\u12\""),
    T("\"\\u12G4\""),
    T("\"\\\0\""),
    T("\"\\U0041\""),
    T("\"\t\""),
    T("\"0123456789abcde\n\""),
    T("\"\0\""),
    T("\"\x1F\""),
    T("\"\x80\""),
    T("\"\xC0\x80\""),
    T("\"\xED\xA0\x80\""),
    T("\"\xF4\x90\x80\x80\""),
    T("\"0123456789abcdef \xE2\x82\""),
    T("\"\xE2\\u0041\x82\xAC\""), /* an escape inside a character */
    T("[\"a\"\0]"),
    T("1\0"),
    T("\f1"),
    T("[\xA0]"),
};

static void valid_texts_are_valid_and_no_proper_front_of_a_closed_one_is(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof valid / sizeof *valid; i++) {
        const text_t t = valid[i];
        if (!kmy_json_valid(kmy_at_page_end(t.text, t.len), t.len))
            fail_msg("refused: %s", t.text);
        bool closed = strchr("\"}]", t.text[t.len - 1]) != NULL;
        for (size_t n = 0; n < t.len; n++)
            if (kmy_json_valid(kmy_at_page_end(t.text, n), n) && closed)
                fail_msg("front of %zu bytes accepted: %s", n, t.text);
    }
}

static void invalid_texts_are_refused_at_the_page_edge(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++) {
        const text_t t = invalid[i];
        if (kmy_json_valid(kmy_at_page_end(t.text, t.len), t.len))
            fail_msg("accepted: %s", t.text);
    }
}

static void every_byte_that_may_not_stand_in_a_string_is_found_at_every_place(void **state)
{
    (void)state;
    char text[70];
    for (size_t len = 3; len <= sizeof text; len++) {
        memset(text, 'x', sizeof text);
        text[0] = text[len - 1] = '"';
        for (size_t at = 1; at < len - 1; at++) {
            for (int c = 0; c < 256; c++) {
                text[at] = (char)c;
                bool good = c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
                if (kmy_json_valid(kmy_at_page_end(text, len), len) != good)
                    fail_msg("byte %02x at %zu of %zu", (unsigned)c, at, len);
            }
            text[at] = 'x';
        }
    }
}

static void depth_32_is_read_and_33_refused(void **state)
{
    (void)state;
    char text[200];
    for (int object = 0; object < 2; object++) {
        for (size_t depth = 31; depth <= 33; depth++) {
            size_t n = 0;
            for (size_t i = 0; i < depth; i++)
                n += (size_t)sprintf(text + n, object ? "{\"\":" : "[");
            n -= object ? 4 : 0; /* the innermost object is empty */
            n += (size_t)sprintf(text + n, object ? "{" : "");
            for (size_t i = 0; i < depth; i++)
                text[n++] = object ? '}' : ']';
            assert_int_equal(kmy_json_valid(text, n), depth <= KMY_JSON_DEPTH_MAX);
        }
    }
}

static void tokens_come_in_order_and_borrow_their_text(void **state)
{
    (void)state;
    static const char text[] = " {\"a\\n\" : [-1.5e3, \"b\", true],\"c\":null } ";
    static const struct {
        kmy_json_type_t type;
        const char *text;
        bool escaped;
    } want[] = {
        { KMY_JSON_OBJECT, "{", false },    { KMY_JSON_KEY, "a\\n", true },
        { KMY_JSON_ARRAY, "[", false },     { KMY_JSON_NUMBER, "-1.5e3", false },
        { KMY_JSON_STRING, "b", false },    { KMY_JSON_TRUE, "true", false },
        { KMY_JSON_ARRAY_END, "]", false }, { KMY_JSON_KEY, "c", false },
        { KMY_JSON_NULL, "null", false },   { KMY_JSON_OBJECT_END, "}", false },
        { KMY_JSON_END, "", false },        { KMY_JSON_END, "", false },
    };
    kmy_json_t js;
    kmy_json_init(&js, text, sizeof text - 1);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        kmy_json_token_t t = kmy_json_next(&js);
        assert_int_equal(t.type, want[i].type);
        assert_int_equal(t.len, strlen(want[i].text));
        assert_memory_equal(t.text, want[i].text, t.len);
        assert_int_equal(t.escaped, want[i].escaped);
    }
}

static void a_fault_stays_and_tells_where(void **state)
{
    (void)state;
    static const char text[] = "{\"a\": bad}";
    kmy_json_t js;
    kmy_json_init(&js, text, sizeof text - 1);
    assert_int_equal(kmy_json_next(&js).type, KMY_JSON_OBJECT);
    assert_int_equal(kmy_json_next(&js).type, KMY_JSON_KEY);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kmy_json_next(&js).type, KMY_JSON_ERROR);
        assert_int_equal(kmy_json_fault_offset(&js), 6);
        assert_non_null(js.fault);
    }
}

static kmy_json_token_t string_token(const char *raw)
{
    return (kmy_json_token_t){ KMY_JSON_STRING, strchr(raw, '\\') != NULL, raw, strlen(raw) };
}

static void escapes_are_undone_and_nul_and_lone_surrogates_refused(void **state)
{
    (void)state;
    static const struct {
        const char *raw;
        const char *want; /* NULL: refused */
    } rows[] = {
        { "", "" },
        { "plain", "plain" },
        { "\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t" },
        { "\\u0041\\u00e9\\u20AC", "A\xC3\xA9\xE2\x82\xAC" },
        { "\\uD83D\\uDE00", "\xF0\x9F\x98\x80" },
        { "\\udbff\\udfff", "\xF4\x8F\xBF\xBF" },
        { "x\\u007fy", "x\x7Fy" },
        { "\\u0000", NULL },
        { "\\uD83D", NULL },
        { "\\uD83Dx", NULL },
        { "\\uD83D\\n12345", NULL },
        { "\\uD83D\\u0041", NULL },
        { "\\uD83D\\uD83D", NULL },
        { "\\uDE00", NULL },
        { "\\uDE00\\uD83D", NULL },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        kmy_json_token_t t = string_token(rows[i].raw);
        char out[32];
        size_t n = 0;
        assert_int_equal(kmy_json_unescape(t, out, sizeof out, &n), rows[i].want != NULL);
        if (!rows[i].want)
            continue;
        assert_string_equal(out, rows[i].want);
        assert_int_equal(n, strlen(rows[i].want));
        assert_true(kmy_json_is(t, rows[i].want));
        assert_false(kmy_json_is(t, "no"));
        for (size_t cap = 0; cap <= n + 1;
             cap++) { /* exactly the room it needs, terminator included */
            char *edge = kmy_at_page_end(out, cap);
            assert_int_equal(kmy_json_unescape(t, edge, cap, NULL), cap == n + 1);
        }
    }
    assert_false(kmy_json_is(string_token("abc"), "ab"));
    assert_false(kmy_json_is(string_token("ab"), "abc"));
    assert_false(kmy_json_is(string_token("a\\u0062"), "abc"));
    assert_false(kmy_json_is(string_token("a\\u0062c"), "ab"));
}

static void integers_are_exact_or_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
        int64_t want;
    } rows[] = {
        { "0", true, 0 },
        { "-0", true, 0 },
        { "9223372036854775807", true, INT64_MAX },
        { "-9223372036854775808", true, INT64_MIN },
        { "9223372036854775808", false, 0 },
        { "-9223372036854775809", false, 0 },
        { "18446744073709551616", false, 0 },
        { "99999999999999999999999", false, 0 },
        { "1.0", false, 0 },
        { "1e3", false, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        kmy_json_token_t t = { KMY_JSON_NUMBER, false, rows[i].text, strlen(rows[i].text) };
        int64_t v = 77;
        assert_int_equal(kmy_json_i64(t, &v), rows[i].good);
        assert_int_equal(v, rows[i].good ? rows[i].want : 77);
    }
}

static void an_object_gives_the_members_asked_for(void **state)
{
    (void)state;
    static const char text[] =
        "{\"x\":[{\"id\":9}],\"\\u0069d\":7,\"feeds\":[ \"A\" , {} ],\"op\":\"s\"}";
    kmy_json_field_t f[] = {
        { .key = "op" }, { .key = "id" }, { .key = "feeds" }, { .key = "none" }
    };
    kmy_json_t js;
    kmy_json_init(&js, text, sizeof text - 1);
    assert_int_equal(kmy_json_object(&js, f, 4, NULL), KMY_OK);
    assert_int_equal(kmy_json_next(&js).type, KMY_JSON_END);
    assert_true(kmy_json_is(f[0].token, "s"));
    int64_t id = 0;
    assert_true(kmy_json_i64(f[1].token, &id) && id == 7);
    assert_int_equal(f[2].token.type, KMY_JSON_ARRAY);
    assert_int_equal(f[2].token.len, strlen("[ \"A\" , {} ]"));
    assert_true(kmy_json_valid(f[2].token.text, f[2].token.len));
    assert_int_equal(f[3].token.type, KMY_JSON_ERROR);
}

static void a_listed_member_that_stands_twice_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        kmy_err_t want;
    } rows[] = {
        { "{\"amount\":1,\"amount\":1}", KMY_BAD_INPUT },
        { "{\"amount\":1,\"\\u0061mount\":2}", KMY_BAD_INPUT },
        { "{\"other\":1,\"other\":2}", KMY_OK },
        { "{\"other\":{\"amount\":1},\"amount\":2}", KMY_OK },
        { "{\"amount\":null,\"amount\":2}", KMY_BAD_INPUT },
        { "[\"amount\"]", KMY_BAD_INPUT },
        { "{\"other\":[}", KMY_BAD_INPUT },
        { "{\"amount\":{\"a\":[1,]}}", KMY_BAD_INPUT },
        { "{\"amount\"", KMY_BAD_INPUT },
        { "", KMY_BAD_INPUT },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        kmy_json_field_t f[] = { { .key = "amount" } };
        kmy_errctx_t ctx = { 0 };
        kmy_json_t js;
        size_t len = strlen(rows[i].text);
        kmy_json_init(&js, kmy_at_page_end(rows[i].text, len), len);
        if (kmy_json_object(&js, f, 1, &ctx) != rows[i].want)
            fail_msg("%s: %s", rows[i].text, ctx.detail);
    }
}

static void skipping_passes_whole_values_only(void **state)
{
    (void)state;
    kmy_json_t js;
    kmy_json_init(&js, "[{\"a\":[1,{}]},2,[3}]", 20);
    kmy_json_next(&js);
    assert_true(kmy_json_skip(&js, kmy_json_next(&js)));
    kmy_json_token_t two = kmy_json_next(&js);
    assert_int_equal(two.type, KMY_JSON_NUMBER);
    assert_true(kmy_json_skip(&js, two));
    assert_false(kmy_json_skip(&js, kmy_json_next(&js)));
    assert_false(kmy_json_skip(&js, kmy_json_next(&js)));
    kmy_json_init(&js, "{\"k\":[1],\"l\":2}", 15);
    kmy_json_next(&js);
    assert_true(kmy_json_skip(&js, kmy_json_next(&js))); /* a key takes its value with it */
    assert_true(kmy_json_is(kmy_json_next(&js), "l"));
}

static void written_text_is_what_was_meant(void **state)
{
    (void)state;
    char mem[256];
    kmy_buf_t b = kmy_buf(mem, sizeof mem);
    static const char hostile[] = "a\"b\\c\n\t\b\f\r\x01\x0b\x7f\xC3\xA9\xFFz\xE2\x82";
    kmy_buf_json_str(&b, hostile, sizeof hostile - 1);
    kmy_buf_str(&b, ",");
    kmy_buf_i64(&b, INT64_MIN);
    kmy_buf_str(&b, ",");
    kmy_buf_u64(&b, UINT64_MAX);
    kmy_buf_fmt(&b, ",%d,", -5);
    kmy_buf_json_nusd(&b, 999900000);
    static const char want[] = "\"a\\\"b\\\\c\\n\\t\\b\\f\\r\\u0001\\u000b\x7F\xC3\xA9\xEF\xBF\xBDz"
                               "\xEF\xBF\xBD\xEF\xBF\xBD\",-9223372036854775808,"
                               "18446744073709551615,-5,\"0.999900000\"";
    assert_false(b.overflow);
    assert_int_equal(b.len, sizeof want - 1);
    assert_memory_equal(mem, want, b.len);
}

static void a_full_buffer_is_remembered_and_never_overrun(void **state)
{
    (void)state;
    for (size_t cap = 0; cap < 40; cap++) {
        char zeros[40] = { 0 };
        kmy_buf_t b = kmy_buf(kmy_at_page_end(zeros, cap), cap);
        kmy_buf_str(&b, "0123456789");
        kmy_buf_json_str(&b, "ab\x01", 3); /* 10 */
        kmy_buf_i64(&b, -123456789);       /* 10 */
        assert_int_equal(b.overflow, cap < 30);
        assert_true(b.len <= cap);
        size_t before = b.len;
        if (b.overflow) {
            kmy_buf_str(&b, "");
            kmy_buf_fmt(&b, "x");
            assert_int_equal(b.len, before);
            assert_true(b.overflow);
        }
    }
    char mem[4];
    kmy_buf_t b = kmy_buf(mem, 4);
    kmy_buf_fmt(&b, "%s", "1234"); /* no room for printf's terminator */
    assert_true(b.overflow && b.len == 0);
    b = kmy_buf(mem, 4);
    kmy_buf_fmt(&b, "%s", "123");
    assert_true(!b.overflow && b.len == 3);
}

static void any_string_written_is_read_back(void **state)
{
    (void)state;
    char text[3];
    for (uint32_t v = 0; v < 1u << 16; v++) {
        text[0] = (char)(v >> 8);
        text[1] = (char)v;
        char mem[32];
        kmy_buf_t b = kmy_buf(mem, sizeof mem);
        kmy_buf_json_str(&b, text, 2);
        if (b.overflow || !kmy_json_valid(mem, b.len))
            fail_msg("%04x", v);
    }
}

static void an_array_is_walked_element_by_element(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":[1, {\"x\":[2]} ,[],\"s\",null],\"b\":{\"c\":true}}";
    static const char *const want[] = { "1", "{\"x\":[2]}", "[]", "s", "null" };
    kmy_json_field_t f[] = { { .key = "a" }, { .key = "b" } };
    kmy_json_field_t inner[] = { { .key = "c" } };
    kmy_json_token_t t = { KMY_JSON_OBJECT, false, text, sizeof text - 1 };
    kmy_json_t js;
    assert_true(kmy_json_members(t, f, 2));
    assert_true(kmy_json_members(f[1].token, inner, 1));
    assert_int_equal(inner[0].token.type, KMY_JSON_TRUE);
    assert_false(kmy_json_members(f[0].token, inner, 1)); /* an array has none */
    assert_int_equal(inner[0].token.type, KMY_JSON_ERROR);
    assert_false(kmy_json_array(&js, f[1].token));
    assert_true(kmy_json_array(&js, f[0].token));
    for (int i = 0; i < 5; i++) {
        assert_true(kmy_json_element(&js, &t));
        assert_int_equal(t.len, strlen(want[i]));
        assert_memory_equal(t.text, want[i], t.len);
    }
    assert_false(kmy_json_element(&js, &t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_texts_are_valid_and_no_proper_front_of_a_closed_one_is),
        cmocka_unit_test(invalid_texts_are_refused_at_the_page_edge),
        cmocka_unit_test(every_byte_that_may_not_stand_in_a_string_is_found_at_every_place),
        cmocka_unit_test(depth_32_is_read_and_33_refused),
        cmocka_unit_test(tokens_come_in_order_and_borrow_their_text),
        cmocka_unit_test(a_fault_stays_and_tells_where),
        cmocka_unit_test(escapes_are_undone_and_nul_and_lone_surrogates_refused),
        cmocka_unit_test(integers_are_exact_or_refused),
        cmocka_unit_test(an_object_gives_the_members_asked_for),
        cmocka_unit_test(a_listed_member_that_stands_twice_is_refused),
        cmocka_unit_test(skipping_passes_whole_values_only),
        cmocka_unit_test(an_array_is_walked_element_by_element),
        cmocka_unit_test(written_text_is_what_was_meant),
        cmocka_unit_test(a_full_buffer_is_remembered_and_never_overrun),
        cmocka_unit_test(any_string_written_is_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
