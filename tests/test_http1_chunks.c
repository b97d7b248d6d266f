#include "wire/http1.h"

#include "tests/page_edge.h"

#include <stdio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

typedef struct {
    kmy_err_t want;
    const char *why;
    const char *payload; /* of a good body */
    const char *text;
    size_t len;
} body_t;
#define B(want, why, payload, text)                                                                \
    {                                                                                              \
        KMY_##want, why, payload, text, sizeof(text) - 1                                           \
    }

static const body_t bodies[] = {
    B(OK, "no payload", "", "0\r\n\r\n"),
    B(OK, "one chunk", "hello", "5\r\nhello\r\n0\r\n\r\n"),
    B(OK, "two chunks", "hello, world", "5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n"),
    B(OK, "hex in both cases", "0123456789abcdefghijklmnopq",
      "B\r\n0123456789a\r\n0000000000000010\r\nbcdefghijklmnopq\r\n0\r\n\r\n"),
    B(OK, "payload that looks like framing", "0\r\n\r\n", "5\r\n0\r\n\r\n\r\n0\r\n\r\n"),
    B(OK, "zeros at the end", "a", "1\r\na\r\n000\r\n\r\n"),
    B(OK, "extension", "a", "1;x\r\na\r\n0;y=z\r\n\r\n"),
    B(OK, "extensions with blanks where BWS is allowed", "a",
      "1 ;\tx = y ; z=\"q;=\\\"\\\\ \"\t;w\r\na\r\n0\r\n\r\n"),
    B(OK, "trailers are read over", "a", "1\r\na\r\n0\r\nX-Sum: 5\r\nContent-Length: 9\r\n\r\n"),
    B(BAD_INPUT, "no size", NULL, "\r\n\r\n"),
    B(BAD_INPUT, "size of no digit", NULL, "g\r\n"),
    B(BAD_INPUT, "0x", NULL, "0x1\r\na\r\n"),
    B(BAD_INPUT, "plus", NULL, "+1\r\na\r\n"),
    B(BAD_INPUT, "minus", NULL, "-1\r\na\r\n"),
    B(BAD_INPUT, "underscore", NULL, "1_0\r\n"),
    B(BAD_INPUT, "blank before the size", NULL, " 1\r\na\r\n"),
    B(BAD_INPUT, "blank behind the size", NULL, "1 \r\na\r\n"),
    B(BAD_INPUT, "tab behind the size", NULL, "1\t\r\na\r\n"),
    B(BAD_INPUT, "17 digits", NULL, "10000000000000000\r\na"),
    B(BAD_INPUT, "17 digits, zeros in front", NULL, "00000000000000001\r\na"),
    B(BAD_INPUT, "bare LF behind the size", NULL, "1\na\r\n"),
    B(BAD_INPUT, "bare CR behind the size", NULL, "1\ra\r\n"),
    B(BAD_INPUT, "something else for LF", NULL, "1\rab\r\n0\r\n\r\n"),
    B(BAD_INPUT, "bare LF behind the data", NULL, "1\r\na\n0\r\n\r\n"),
    B(BAD_INPUT, "no line end behind the data", NULL, "1\r\na0\r\n\r\n"),
    B(BAD_INPUT, "data longer than its size", NULL, "1\r\nab\r\n0\r\n\r\n"),
    B(BAD_INPUT, "empty extension", NULL, "1;\r\na\r\n"),
    B(BAD_INPUT, "extension without name", NULL, "1;=x\r\na\r\n"),
    B(BAD_INPUT, "extension without value", NULL, "1;x=\r\na\r\n"),
    B(BAD_INPUT, "blank at the end of an extension", NULL, "1;x \r\na\r\n"),
    B(BAD_INPUT, "blank at the end of a value", NULL, "1;x=y \r\na\r\n"),
    B(BAD_INPUT, "bare LF in an extension", NULL, "1;x\na\r\n"),
    B(BAD_INPUT, "bare CR in an extension", NULL, "1;x\ry\r\n"),
    B(BAD_INPUT, "LF in a quoted value", NULL, "1;x=\"\n\"\r\na\r\n"),
    B(BAD_INPUT, "CR LF in a quoted value", NULL, "1;x=\"\r\n\"\r\na\r\n"),
    B(BAD_INPUT, "escaped LF", NULL, "1;x=\"\\\n\"\r\na\r\n"),
    B(BAD_INPUT, "something behind the quote", NULL, "1;x=\"y\"z\r\na\r\n"),
    B(BAD_INPUT, "NUL in an extension", NULL, "1;\0\r\na\r\n"),
    B(BAD_INPUT, "comma instead of a semicolon", NULL, "1,x\r\na\r\n"),
    B(BAD_INPUT, "folded trailer", NULL, "0\r\nX: y\r\n z\r\n\r\n"),
    B(BAD_INPUT, "trailer without colon", NULL, "0\r\nX\r\n\r\n"),
    B(BAD_INPUT, "blank before a trailer's colon", NULL, "0\r\nX : y\r\n\r\n"),
    B(BAD_INPUT, "bare LF in a trailer", NULL, "0\r\nX: y\n\r\n"),
    B(BAD_INPUT, "bare LF at the end", NULL, "0\r\n\n"),
    B(BAD_INPUT, "another chunk behind the last", NULL, "0\r\n1\r\na\r\n0\r\n\r\n"),
    B(BAD_INPUT, "the next request inside", NULL, "0\r\nGET / HTTP/1.1\r\n\r\n"),
    B(AGAIN, "the end missing", NULL, "1\r\na\r\n0\r\n"),
};

/* Feeds text in pieces of `piece` bytes (0: the first `cut` bytes, then the rest), each at the page's edge, with something else
   behind it; gathers the payload. */
static kmy_err_t feed(const char *text, size_t len, size_t cut, size_t piece, char *payload,
                      size_t *consumed)
{
    kmy_http_chunks_t c = { 0 };
    size_t at = 0;
    size_t got = 0;
    kmy_err_t err = KMY_AGAIN;
    while (at < len && err == KMY_AGAIN) {
        size_t n = piece ? piece : at == 0 && cut ? cut : len - at;
        n = n < len - at ? n : len - at;
        char *p = kmy_at_page_end(text + at, n);
        size_t used = n;
        size_t out;
        err = kmy_http_chunks_feed(&c, p, &used, &out, NULL);
        assert_true(used <= n && out <= used);
        if (err == KMY_AGAIN)
            assert_int_equal(used, n);
        memcpy(payload + got, p, out);
        got += out;
        at += used;
    }
    payload[got] = '\0';
    *consumed = at;
    return err;
}

static void check_body(const body_t *b, size_t cut, size_t piece)
{
    char text[256];
    char payload[256];
    size_t consumed;
    memcpy(text, b->text, b->len);
    size_t len = b->len;
    if (b->want == KMY_OK) { /* the next request stays where it is */
        memcpy(text + len, "GET", 3);
        len += 3;
    }
    kmy_err_t err = feed(text, len, cut, piece, payload, &consumed);
    if (err != b->want)
        fail_msg("%s: got %s, cut %zu piece %zu", b->why, kmy_err_code(err), cut, piece);
    if (b->want == KMY_OK) {
        assert_int_equal(consumed, b->len);
        assert_string_equal(payload, b->payload);
    }
}

static void each_body_has_one_verdict_in_whatever_pieces_it_comes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        for (size_t cut = 0; cut < bodies[i].len; cut++)
            check_body(&bodies[i], cut, 0);
        for (size_t piece = 1; piece < 8; piece++)
            check_body(&bodies[i], 0, piece);
    }
}

static void a_refused_body_stays_refused_and_a_finished_one_finished(void **state)
{
    (void)state;
    kmy_http_chunks_t c = { 0 };
    char bad[] = "x";
    size_t len = 1;
    size_t out;
    assert_int_equal(kmy_http_chunks_feed(&c, bad, &len, &out, NULL), KMY_BAD_INPUT);
    char good[] = "0\r\n\r\n";
    len = 5;
    assert_int_equal(kmy_http_chunks_feed(&c, good, &len, &out, NULL), KMY_BAD_INPUT);
    c = (kmy_http_chunks_t){ 0 };
    len = 5;
    assert_int_equal(kmy_http_chunks_feed(&c, good, &len, &out, NULL), KMY_OK);
    len = 5;
    assert_int_equal(kmy_http_chunks_feed(&c, good, &len, &out, NULL), KMY_OK);
    assert_int_equal(len, 0);
}

static void framing_that_nobody_reads_is_bounded(void **state)
{
    (void)state;
    static const char *const repeats[] = { "1;x\r\na\r\n", "X: y\r\n" };
    for (size_t i = 0; i < 2; i++) {
        kmy_http_chunks_t c = { 0 };
        kmy_err_t err = KMY_AGAIN;
        size_t total = 0;
        char start[] = "0\r\n";
        size_t len = 3;
        size_t out;
        if (i == 1)
            err = kmy_http_chunks_feed(&c, start, &len, &out, NULL);
        while (err == KMY_AGAIN) {
            char text[16];
            len = (size_t)snprintf(text, sizeof text, "%s", repeats[i]);
            total += len;
            err = kmy_http_chunks_feed(&c, text, &len, &out, NULL);
            assert_true(total < 10 * KMY_HTTP_HEAD_BYTES_MAX);
        }
        assert_int_equal(err, KMY_TOO_BIG);
    }
}

static void plain_chunks_of_one_byte_are_not_held_against_their_sender(void **state)
{
    (void)state;
    kmy_http_chunks_t c = { 0 };
    for (size_t i = 0; i < KMY_HTTP_BODY_BYTES_MAX; i++) {
        char text[] = "1\r\na\r\n";
        size_t len = 6;
        size_t out;
        assert_int_equal(kmy_http_chunks_feed(&c, text, &len, &out, NULL), KMY_AGAIN);
        assert_true(out == 1 && text[0] == 'a');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_body_has_one_verdict_in_whatever_pieces_it_comes),
        cmocka_unit_test(a_refused_body_stays_refused_and_a_finished_one_finished),
        cmocka_unit_test(framing_that_nobody_reads_is_bounded),
        cmocka_unit_test(plain_chunks_of_one_byte_are_not_held_against_their_sender),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
