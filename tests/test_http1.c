#include "wire/http1.h"

#include "tests/page_edge.h"

#include <stdio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

typedef struct {
    kmy_err_t want;
    const char *why;
    const char *text;
    size_t len;
} head_t;
#define R(want, why, text)                                                                         \
    {                                                                                              \
        KMY_##want, why, text, sizeof(text) - 1                                                    \
    }
#define GET  "GET / HTTP/1.1\r\n"
#define HOST "Host: a\r\n"
#define END  "\r\n"

static const head_t heads[] = {
    R(OK, "the least", GET HOST END),
    R(OK, "1.0 without Host", "GET / HTTP/1.0\r\n\r\n"),
    R(OK, "one empty line before", "\r\n" GET HOST END),
    R(BAD_INPUT, "two empty lines before", "\r\n\r\n" GET HOST END),
    R(BAD_INPUT, "LF before", "\n" GET HOST END),
    R(BAD_INPUT, "blank before", " " GET HOST END),

    /* request line, RFC 9112 section 3 */
    R(OK, "a method is any token", "M-x!#$%&'*+.^_`|~1 / HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "no method", " / HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "method with a colon", "GE:T / HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "method with a slash", "GE/T / HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "method in brackets", "(GET) / HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "method with NUL", "GE\0T / HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "method beyond ASCII", "G\xC3\x89T / HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "a TLS hello", "\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03 ....\r\n\r\n"),
    R(BAD_INPUT, "two blanks before the target", "GET  / HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "tab before the target", "GET\t/ HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "two blanks before the version", "GET /  HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "tab before the version", "GET /\tHTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "blank behind the version", "GET / HTTP/1.1 \r\n" HOST END),
    R(BAD_INPUT, "no target", "GET HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "two targets", "GET / /x HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "HTTP/0.9", "GET /\r\n" END),
    R(BAD_INPUT, "line of LF alone", "GET / HTTP/1.1\n" HOST END),
    R(BAD_INPUT, "line of CR alone", "GET / HTTP/1.1\rHost: a\r\n" END),
    R(BAD_INPUT, "version in lower case", "GET / http/1.1\r\n" HOST END),
    R(BAD_INPUT, "version of two digits", "GET / HTTP/1.10\r\n" HOST END),
    R(BAD_INPUT, "version with a leading zero", "GET / HTTP/01.1\r\n" HOST END),
    R(BAD_INPUT, "version without minor", "GET / HTTP/1\r\n" HOST END),
    R(BAD_INPUT, "version with a comma", "GET / HTTP/1,1\r\n" HOST END),
    R(BAD_INPUT, "another protocol", "GET / ICY/1.1\r\n" HOST END),
    R(HTTP_VERSION, "HTTP/2.0", "GET / HTTP/2.0\r\n" HOST END),
    R(HTTP_VERSION, "HTTP/1.2", "GET / HTTP/1.2\r\n" HOST END),
    R(HTTP_VERSION, "HTTP/0.9 in words", "GET / HTTP/0.9\r\n" HOST END),
    R(HTTP_VERSION, "HTTP/2 with prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),

    /* targets, RFC 9112 section 3.2 */
    R(OK, "every character of RFC 3986",
      "GET /aZ09-._~:/@!$&'()*+,;=%7E?a[]=/?:@ HTTP/1.1\r\n" HOST END),
    R(OK, "absolute form", "GET http://h:80/x?y HTTP/1.1\r\n" HOST END),
    R(OK, "absolute form, scheme in capitals", "GET HTTPS://h HTTP/1.1\r\n" HOST END),
    R(OK, "absolute form, IPv6", "GET http://[::1]:80/ HTTP/1.1\r\n" HOST END),
    R(OK, "OPTIONS *", "OPTIONS * HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "GET *", "GET * HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "OPTIONS **", "OPTIONS ** HTTP/1.1\r\n" HOST END),
    R(METHOD, "CONNECT", "CONNECT h:443 HTTP/1.1\r\n" HOST END),
    R(METHOD, "CONNECT with a path", "CONNECT / HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "authority form with GET", "GET h:443 HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "relative path", "GET x HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "query alone", "GET ?x HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "another scheme", "GET ftp://h/ HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "scheme alone", "GET http:// HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "no host in it", "GET http:///x HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "one slash", "GET http:/h HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "user information", "GET http://u:p@h/ HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "port too big", "GET http://h:65536/ HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "fragment", "GET /x#y HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "half an escape", "GET /%4 HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "no escape", "GET /%zz HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "backslash", "GET /a\\b HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "quote", "GET /\"x\" HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "angle brackets", "GET /<x> HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "NUL in the target", "GET /\0 HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "DEL in the target", "GET /\x7F HTTP/1.1\r\n" HOST END),
    R(BAD_INPUT, "UTF-8 in the target", "GET /\xC3\xA9 HTTP/1.1\r\n" HOST END),

    /* header lines, RFC 9112 section 5 */
    R(OK, "no blanks around a value", GET "Host:a\r\n" END),
    R(OK, "blanks and tabs around a value", GET "Host: \t a \t \r\n" END),
    R(OK, "an empty value", GET HOST "X:\r\n" END),
    R(OK, "a value of blanks", GET HOST "X: \t \r\n" END),
    R(OK, "tab and obs-text in a value", GET HOST "X: a\tb\x80\xFF\r\n" END),
    R(OK, "every token character in a name", GET HOST "!#$%&'*+-.^_`|~09azAZ: x\r\n" END),
    R(BAD_INPUT, "blank before the colon", GET "Host : a\r\n" END),
    R(BAD_INPUT, "tab before the colon", GET "Host\t: a\r\n" END),
    R(BAD_INPUT, "blank before the first name", GET " Host: a\r\n" END),
    R(BAD_INPUT, "folded line", GET HOST "X: a\r\n b\r\n" END),
    R(BAD_INPUT, "folded with a tab", GET HOST "X: a\r\n\tb\r\n" END),
    R(BAD_INPUT, "blank line of blanks", GET HOST " \r\n" END),
    R(BAD_INPUT, "no name", GET HOST ": x\r\n" END),
    R(BAD_INPUT, "no colon", GET HOST "X\r\n" END),
    R(BAD_INPUT, "blank in a name", GET HOST "X Y: z\r\n" END),
    R(BAD_INPUT, "brackets in a name", GET HOST "X(Y): z\r\n" END),
    R(BAD_INPUT, "NUL in a name", GET HOST "X\0Y: z\r\n" END),
    R(BAD_INPUT, "UTF-8 in a name", GET HOST "X\xC3\xA9: z\r\n" END),
    R(BAD_INPUT, "NUL in a value", GET HOST "X: a\0b\r\n" END),
    R(BAD_INPUT, "control in a value",
      GET HOST "X: a\x01"
               "b\r\n" END),
    R(BAD_INPUT, "vertical tab in a value", GET HOST "X: \x0B\r\n" END),
    R(BAD_INPUT, "escape in a long value", GET HOST "X: 0123456789abcdef\x1B[0m\r\n" END),
    R(BAD_INPUT, "DEL in a value", GET HOST "X: a\x7F\r\n" END),
    R(BAD_INPUT, "bare CR in a value", GET HOST "X: a\rb\r\n" END),
    R(BAD_INPUT, "CR CR LF", GET HOST "X: a\r\r\n" END),
    R(BAD_INPUT, "bare LF ends a line", GET "Host: a\nX: y\r\n" END),
    R(BAD_INPUT, "bare LF ends the head", GET HOST "\n"),
    R(BAD_INPUT, "bare CR ends the head", GET HOST "\rX"),

    /* Host, RFC 9112 section 3.2 */
    R(BAD_INPUT, "no Host", GET END),
    R(BAD_INPUT, "no Host with an absolute target", "GET http://h/ HTTP/1.1\r\n" END),
    R(BAD_INPUT, "two Hosts", GET HOST HOST END),
    R(BAD_INPUT, "two Hosts in 1.0", "GET / HTTP/1.0\r\n" HOST "hOsT: b\r\n" END),
    R(OK, "name and port", GET "Host: Api.Example-1.com:8443\r\n" END),
    R(OK, "empty port", GET "Host: a:\r\n" END),
    R(OK, "IPv6 and port", GET "Host: [fe80::1.2.3.4]:1\r\n" END),
    R(BAD_INPUT, "empty Host", GET "Host:\r\n" END),
    R(BAD_INPUT, "port alone", GET "Host: :80\r\n" END),
    R(BAD_INPUT, "port in letters", GET "Host: a:b\r\n" END),
    R(BAD_INPUT, "port signed", GET "Host: a:+80\r\n" END),
    R(BAD_INPUT, "port too big", GET "Host: a:65536\r\n" END),
    R(BAD_INPUT, "two ports", GET "Host: a:1:2\r\n" END),
    R(BAD_INPUT, "list", GET "Host: a, b\r\n" END),
    R(BAD_INPUT, "blank inside", GET "Host: a b\r\n" END),
    R(BAD_INPUT, "user information", GET "Host: u@a\r\n" END),
    R(BAD_INPUT, "path", GET "Host: a/b\r\n" END),
    R(BAD_INPUT, "URI", GET "Host: http://a\r\n" END),
    R(BAD_INPUT, "open bracket", GET "Host: [::1\r\n" END),
    R(BAD_INPUT, "empty brackets", GET "Host: []\r\n" END),
    R(BAD_INPUT, "something behind brackets", GET "Host: [::1]x\r\n" END),

    /* length of the body, RFC 9112 section 6 */
    R(OK, "length", GET HOST "Content-Length: 5\r\n" END),
    R(OK, "name in capitals", GET HOST "CONTENT-LENGTH: 5\r\n" END),
    R(OK, "leading zeros", GET HOST "Content-Length: 005\r\n" END),
    R(OK, "the largest", GET HOST "Content-Length: 18446744073709551615\r\n" END),
    R(BAD_INPUT, "one more", GET HOST "Content-Length: 18446744073709551616\r\n" END),
    R(BAD_INPUT, "far more", GET HOST "Content-Length: 99999999999999999999999\r\n" END),
    R(BAD_INPUT, "empty length", GET HOST "Content-Length:\r\n" END),
    R(BAD_INPUT, "plus", GET HOST "Content-Length: +5\r\n" END),
    R(BAD_INPUT, "minus", GET HOST "Content-Length: -5\r\n" END),
    R(BAD_INPUT, "hex", GET HOST "Content-Length: 0x5\r\n" END),
    R(BAD_INPUT, "point", GET HOST "Content-Length: 5.0\r\n" END),
    R(BAD_INPUT, "underscore", GET HOST "Content-Length: 1_0\r\n" END),
    R(BAD_INPUT, "blank inside", GET HOST "Content-Length: 1 0\r\n" END),
    R(BAD_INPUT, "list of equals", GET HOST "Content-Length: 5, 5\r\n" END),
    R(BAD_INPUT, "list with a comma only", GET HOST "Content-Length: 5,\r\n" END),
    R(BAD_INPUT, "quoted", GET HOST "Content-Length: \"5\"\r\n" END),
    R(BAD_INPUT, "twice the same", GET HOST "Content-Length: 5\r\nContent-Length: 5\r\n" END),
    R(BAD_INPUT, "twice", GET HOST "Content-Length: 5\r\ncontent-length: 6\r\n" END),
    R(OK, "another header", GET HOST "Content_Length: +5\r\n" END),
    R(OK, "chunked", GET HOST "Transfer-Encoding: chunked\r\n" END),
    R(OK, "chunked in capitals", GET HOST "TRANSFER-ENCODING: CHUNKED\r\n" END),
    R(CODING, "gzip, then chunked", GET HOST "Transfer-Encoding: gzip, chunked\r\n" END),
    R(BAD_INPUT, "chunked, then gzip", GET HOST "Transfer-Encoding: chunked, gzip\r\n" END),
    R(BAD_INPUT, "chunked twice", GET HOST "Transfer-Encoding: chunked, chunked\r\n" END),
    R(BAD_INPUT, "in two lines",
      GET HOST "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n" END),
    R(BAD_INPUT, "identity", GET HOST "Transfer-Encoding: identity\r\n" END),
    R(BAD_INPUT, "identity, chunked", GET HOST "Transfer-Encoding: identity, chunked\r\n" END),
    R(BAD_INPUT, "xchunked", GET HOST "Transfer-Encoding: xchunked\r\n" END),
    R(BAD_INPUT, "chunkedx", GET HOST "Transfer-Encoding: chunkedx\r\n" END),
    R(BAD_INPUT, "chunked with a parameter", GET HOST "Transfer-Encoding: chunked;q=1\r\n" END),
    R(BAD_INPUT, "quoted", GET HOST "Transfer-Encoding: \"chunked\"\r\n" END),
    R(BAD_INPUT, "two words", GET HOST "Transfer-Encoding: x chunked\r\n" END),
    R(BAD_INPUT, "a byte too many", GET HOST "Transfer-Encoding: chunked\x80\r\n" END),
    R(BAD_INPUT, "chunked and a comma", GET HOST "Transfer-Encoding: chunked,\r\n" END),
    R(BAD_INPUT, "a comma and chunked", GET HOST "Transfer-Encoding: ,chunked\r\n" END),
    R(BAD_INPUT, "empty coding", GET HOST "Transfer-Encoding:\r\n" END),
    R(BAD_INPUT, "both, length first",
      GET HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" END),
    R(BAD_INPUT, "both, coding first",
      GET HOST "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n" END),
    R(BAD_INPUT, "coding in 1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n" END),
    R(OK, "length in 1.0", "POST / HTTP/1.0\r\nContent-Length: 5\r\n" END),

    /* Expect, RFC 9110 section 10.1.1 */
    R(OK, "100-continue", GET HOST "Expect: 100-Continue\r\nContent-Length: 1\r\n" END),
    R(EXPECTATION, "something else", GET HOST "Expect: 200-ok\r\n" END),
    R(EXPECTATION, "a list", GET HOST "Expect: 100-continue, x\r\n" END),
    R(OK, "anything in 1.0", "GET / HTTP/1.0\r\nExpect: x\r\n" END),
};

static bool same_view(kmy_view_t a, kmy_view_t b)
{
    return a.len == b.len && memcmp(a.ptr, b.ptr, a.len) == 0;
}

static bool same_request(const kmy_http_request_t *a, const kmy_http_request_t *b)
{
    bool same = same_view(a->method, b->method) && same_view(a->target, b->target) &&
                same_view(a->path, b->path) && same_view(a->query, b->query) &&
                same_view(a->host, b->host) && a->minor == b->minor &&
                a->headers_count == b->headers_count && a->head_bytes == b->head_bytes &&
                a->body_bytes == b->body_bytes && a->chunked == b->chunked &&
                a->keep_alive == b->keep_alive && a->upgrade_websocket == b->upgrade_websocket &&
                a->expect_continue == b->expect_continue;
    for (size_t i = 0; same && i < a->headers_count; i++)
        same = same_view(a->headers[i].name, b->headers[i].name) &&
               same_view(a->headers[i].value, b->headers[i].value);
    return same;
}

static void check_head(const head_t *h)
{
    static kmy_http_request_t whole;
    static kmy_http_request_t cut;
    kmy_errctx_t ctx = { 0 };
    kmy_err_t err = kmy_http_parse(h->text, h->len, &whole, &ctx);
    if (err != h->want)
        fail_msg("%s: got %s (%s)", h->why, kmy_err_code(err), ctx.detail);
    if (err == KMY_OK)
        assert_int_equal(whole.head_bytes, h->len);
    else
        assert_true(ctx.where && ctx.detail[0]);
    for (size_t n = 0, settled = 0; n <= h->len; n++) {
        err = kmy_http_parse(kmy_at_page_end(h->text, n), n, &cut, NULL);
        bool may_wait = !settled && n < h->len;
        if (err != h->want && !(err == KMY_AGAIN && may_wait))
            fail_msg("%s: at %zu bytes got %s", h->why, n, kmy_err_code(err));
        settled |= err != KMY_AGAIN;
        if (err == KMY_OK && (n < h->len || !same_request(&whole, &cut)))
            fail_msg("%s: other request at %zu bytes", h->why, n);
    }
}

static void each_head_has_one_verdict_wherever_it_is_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        check_head(&heads[i]);
}

static void the_byte_behind_a_head_changes_nothing(void **state)
{
    (void)state;
    static kmy_http_request_t req;
    char text[512];
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        memcpy(text, heads[i].text, heads[i].len);
        for (int c = 0; c < 256; c++) {
            text[heads[i].len] = (char)c;
            assert_int_equal(kmy_http_parse(text, heads[i].len + 1, &req, NULL), heads[i].want);
            if (heads[i].want == KMY_OK)
                assert_int_equal(req.head_bytes, heads[i].len);
        }
    }
}

/* Each of the 256 bytes at each place of a value, so that no block of 16 has a blind spot. */
static void every_byte_in_a_value_and_a_name_is_judged_by_the_grammar(void **state)
{
    (void)state;
    static kmy_http_request_t req;
    for (size_t at = 0; at < 40; at++) {
        for (int c = 0; c < 256; c++) {
            char text[128] = GET HOST "Xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx: "
                                      "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv\r\n\r\n";
            char *name = strstr(text, "Xxx");
            char *value = strstr(text, "vvv");
            size_t len = strlen(text);
            bool token =
                strchr("!#$%&'*+-.^_`|~", c)
                    ? c != 0
                    : (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z' && c < 128);
            value[at] = (char)c;
            bool good = kmy_http_parse(kmy_at_page_end(text, len), len, &req, NULL) == KMY_OK;
            assert_int_equal(good, c == '\t' || (c >= 0x20 && c != 0x7F));
            value[at] = 'v';
            name[at] = (char)c;
            good = kmy_http_parse(kmy_at_page_end(text, len), len, &req, NULL) == KMY_OK;
            if (c != ':' || at == 0) /* elsewhere the name is just shorter */
                assert_int_equal(good, token);
        }
    }
}

static void every_byte_in_a_target_is_judged_by_the_grammar(void **state)
{
    (void)state;
    static kmy_http_request_t req;
    for (size_t at = 0; at < 40; at++) {
        for (int c = 0; c < 256; c++) {
            char text[128] = "GET /xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx HTTP/1.1\r\n" HOST END;
            size_t len = strlen(text);
            text[5 + at] = (char)c;
            bool good = kmy_http_parse(kmy_at_page_end(text, len), len, &req, NULL) == KMY_OK;
            bool want =
                c > 0x20 && c < 0x7F && !strchr("\"#%<>\\^`{|}", c); /* %xx is another test's */
            assert_int_equal(good, want);
        }
    }
}

static kmy_http_request_t parsed(const char *text)
{
    kmy_http_request_t req;
    kmy_errctx_t ctx = { 0 };
    if (kmy_http_parse(text, strlen(text), &req, &ctx) != KMY_OK)
        fail_msg("%s: %s", text, ctx.detail);
    return req;
}

static void targets_are_split(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        const char *path;
        const char *query;
        const char *host;
    } rows[] = {
        { "/", "/", "", "a" },
        { "/x/y?z=1?2", "/x/y", "z=1?2", "a" },
        { "/?", "/", "", "a" },
        { "//h/x", "//h/x", "", "a" },
        { "http://h", "/", "", "h" },
        { "http://h:81/p?q", "/p", "q", "h:81" },
        { "https://h?q", "/", "q", "h" },
        { "http://[::1]/", "/", "", "[::1]" },
        { "/http://h/", "/http://h/", "", "a" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[128];
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", rows[i].target);
        kmy_http_request_t req = parsed(text);
        assert_true(kmy_view_is(req.target, rows[i].target));
        assert_true(kmy_view_is(req.path, rows[i].path));
        assert_true(kmy_view_is(req.query, rows[i].query));
        assert_true(kmy_view_is(req.host, rows[i].host));
    }
    assert_true(kmy_view_is(parsed("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").path, "*"));
    assert_int_equal(parsed("GET / HTTP/1.0\r\n\r\n").host.len, 0);
}

static void connection_headers_say_what_happens_next(void **state)
{
    (void)state;
    static const struct {
        int minor;
        const char *lines;
        bool keep_alive;
        bool websocket;
    } rows[] = {
        { 1, "", true, false },
        { 0, "", false, false },
        { 1, "Connection: close\r\n", false, false },
        { 1, "connection: CLOSE\r\n", false, false },
        { 1, "Connection: keep-alive, close\r\n", false, false },
        { 1, "Connection: keep-alive\r\nConnection: close\r\n", false, false },
        { 1, "Connection: closed\r\n", true, false },
        { 1, "X-Connection: close\r\n", true, false },
        { 0, "Connection: Keep-Alive\r\n", true, false },
        { 0, "Connection: keep-alive, close\r\n", false, false },
        { 1, "Connection: Upgrade\r\nUpgrade: websocket\r\n", true, true },
        { 1, "Connection: keep-alive ,, uPGRADE\t,\r\nUPGRADE: h2c ,WebSocket\r\n", true, true },
        { 1, "Connection: Upgrade\r\nUpgrade: h2c\r\n", true, false },
        { 1, "Connection: Upgrade\r\nUpgrade: websockets\r\n", true, false },
        { 1, "Connection: keep-alive\r\nUpgrade: websocket\r\n", true, false },
        { 0, "Connection: Upgrade\r\nUpgrade: websocket\r\n", false, false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[256];
        snprintf(text, sizeof text, "GET / HTTP/1.%d\r\nHost: a\r\n%s\r\n", rows[i].minor,
                 rows[i].lines);
        kmy_http_request_t req = parsed(text);
        assert_int_equal(req.keep_alive, rows[i].keep_alive);
        assert_int_equal(req.upgrade_websocket, rows[i].websocket);
    }
}

static void bodies_are_announced(void **state)
{
    (void)state;
    kmy_http_request_t req = parsed(GET HOST "Content-Length: 18446744073709551615\r\n" END);
    assert_true(req.body_bytes == UINT64_MAX && !req.chunked && !req.expect_continue);
    req = parsed(GET HOST "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n" END);
    assert_true(req.body_bytes == 0 && req.chunked && req.expect_continue);
    req = parsed(GET HOST "Expect: 100-continue\r\n" END);
    assert_false(req.expect_continue);
}

static void headers_are_found_by_name(void **state)
{
    (void)state;
    kmy_http_request_t req = parsed(GET HOST "X-A:  one \r\nx-a: two\r\nX-B:\r\n" END);
    assert_int_equal(req.headers_count, 4);
    assert_true(kmy_view_is(*kmy_http_header(&req, "x-A"), "one"));
    assert_int_equal(kmy_http_header_count(&req, "X-a"), 2);
    assert_int_equal(kmy_http_header(&req, "x-b")->len, 0);
    assert_null(kmy_http_header(&req, "x-"));
    assert_int_equal(kmy_http_header_count(&req, "x-c"), 0);
}

static void too_much_is_refused_at_the_limit_and_not_before(void **state)
{
    (void)state;
    static kmy_http_request_t req;
    static char text[2 * KMY_HTTP_HEAD_BYTES_MAX];
    for (size_t extra = 0; extra < 2; extra++) {
        /* header lines: Host and 63 others, then one more */
        size_t n = (size_t)sprintf(text, GET HOST);
        for (size_t i = 0; i < KMY_HTTP_HEADERS_MAX - 1 + extra; i++)
            n += (size_t)sprintf(text + n, "X: y\r\n");
        n += (size_t)sprintf(text + n, END);
        assert_int_equal(kmy_http_parse(text, n, &req, NULL), extra ? KMY_HEAD_TOO_BIG : KMY_OK);

        /* target */
        n = (size_t)sprintf(text, "GET /");
        memset(text + n, 'x', KMY_HTTP_TARGET_BYTES_MAX - 1 + extra);
        n += KMY_HTTP_TARGET_BYTES_MAX - 1 + extra;
        assert_int_equal(kmy_http_parse(text, n, &req, NULL),
                         extra ? KMY_TARGET_TOO_LONG : KMY_AGAIN);
        n += (size_t)sprintf(text + n, " HTTP/1.1\r\n" HOST END);
        assert_int_equal(kmy_http_parse(text, n, &req, NULL), extra ? KMY_TARGET_TOO_LONG : KMY_OK);

        /* the whole head */
        n = (size_t)sprintf(text, GET HOST "X: ");
        size_t fill = KMY_HTTP_HEAD_BYTES_MAX + extra - n - 4;
        memset(text + n, 'x', fill);
        n += fill;
        n += (size_t)sprintf(text + n, "\r\n\r\n");
        assert_int_equal(kmy_http_parse(text, n, &req, NULL), extra ? KMY_HEAD_TOO_BIG : KMY_OK);
        assert_int_equal(kmy_http_parse(text, n - 2 - extra, &req, NULL), KMY_AGAIN);
    }
    memset(text, 'x', sizeof text);
    assert_int_equal(kmy_http_parse(text, KMY_HTTP_HEAD_BYTES_MAX - 1, &req, NULL), KMY_AGAIN);
    assert_int_equal(kmy_http_parse(text, KMY_HTTP_HEAD_BYTES_MAX, &req, NULL), KMY_HEAD_TOO_BIG);
    assert_int_equal(kmy_http_parse(text, sizeof text, &req, NULL), KMY_HEAD_TOO_BIG);
}

static kmy_view_t view(const char *text)
{
    return (kmy_view_t){ text, strlen(text) };
}

static void lists_hold_whole_tokens(void **state)
{
    (void)state;
    assert_true(kmy_http_list_has(view("a"), "A"));
    assert_true(kmy_http_list_has(view(" x ,\tb\t, c"), "b"));
    assert_true(kmy_http_list_has(view(",,,c"), "c"));
    assert_false(kmy_http_list_has(view(""), "a"));
    assert_false(kmy_http_list_has(view(",, ,"), ""));
    assert_false(kmy_http_list_has(view("ab, ba"), "a"));
    assert_false(kmy_http_list_has(view("a;q=1"), "a"));
}

static void query_members_are_found_once_and_decoded(void **state)
{
    (void)state;
    static const struct {
        const char *query;
        const char *want; /* of "feed"; NULL: false */
    } rows[] = {
        { "feed=BTC/USDT@binance", "BTC/USDT@binance" },
        { "a=b&feed=SOL%2fUSD&c", "SOL/USD" },
        { "feed=a+b%2B", "a b+" },
        { "feed=", "" },
        { "feed", "" },
        { "feed=a=b", "a=b" },
        { "f%65ed=x", "x" },
        { "&&feed=x&", "x" },
        { "feed=%C3%A9", "\xC3\xA9" },
        { "feed=12345678901234567890123", "12345678901234567890123" },
        { "feed=123456789012345678901234", NULL }, /* 24 do not fit */
        { "", NULL },
        { "feeds=x", NULL },
        { "fee=x", NULL },
        { "Feed=x", NULL },
        { "feed=x&feed=x", NULL },
        { "feed=x&f%65ed=y", NULL },
        { "feed=%", NULL },
        { "feed=%4", NULL },
        { "feed=%4&x=1", NULL },
        { "feed=%zz", NULL },
        { "feed=%00", NULL },
        { "fe%00ed=x", NULL },
        { "x;feed=x", NULL },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t len = strlen(rows[i].query);
        kmy_view_t q = { kmy_at_page_end(rows[i].query, len), len };
        char out[24] = "old";
        if (kmy_http_query(q, "feed", out, sizeof out) != (rows[i].want != NULL))
            fail_msg("%s", rows[i].query);
        assert_string_equal(out, rows[i].want ? rows[i].want : "");
    }
}

static void paths_are_decoded(void **state)
{
    (void)state;
    char out[8];
    assert_true(kmy_http_path_decode(view("/a%2Fb+"), out, sizeof out));
    assert_string_equal(out, "/a/b+");
    assert_true(kmy_http_path_decode(view("/123456"), out, sizeof out));
    assert_false(kmy_http_path_decode(view("/1234567"), out, sizeof out));
    assert_false(kmy_http_path_decode(view("/%00"), out, sizeof out));
    assert_false(kmy_http_path_decode(view("/%2"), out, sizeof out));
    assert_false(kmy_http_path_decode(view(""), out, 0));
}

static void no_value_splits_a_response(void **state)
{
    (void)state;
    char mem[128];
    kmy_buf_t b = kmy_buf(mem, sizeof mem);
    kmy_http_put_status(&b, 402);
    kmy_http_put_header(&b, "X", "a\r\nSet-Cookie: b\0c", 18);
    static const char want[] = "HTTP/1.1 402 Payment Required\r\nX: a  Set-Cookie: b c\r\n";
    assert_int_equal(b.len, sizeof want - 1);
    assert_memory_equal(mem, want, b.len);
    for (int err = 0; err < KMY_ERR_COUNT; err++) /* every status our table has can be said */
        assert_string_not_equal(kmy_http_reason(kmy_err_http((kmy_err_t)err)), "Unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_head_has_one_verdict_wherever_it_is_cut),
        cmocka_unit_test(the_byte_behind_a_head_changes_nothing),
        cmocka_unit_test(every_byte_in_a_value_and_a_name_is_judged_by_the_grammar),
        cmocka_unit_test(every_byte_in_a_target_is_judged_by_the_grammar),
        cmocka_unit_test(targets_are_split),
        cmocka_unit_test(connection_headers_say_what_happens_next),
        cmocka_unit_test(bodies_are_announced),
        cmocka_unit_test(headers_are_found_by_name),
        cmocka_unit_test(too_much_is_refused_at_the_limit_and_not_before),
        cmocka_unit_test(lists_hold_whole_tokens),
        cmocka_unit_test(query_members_are_found_once_and_decoded),
        cmocka_unit_test(paths_are_decoded),
        cmocka_unit_test(no_value_splits_a_response),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
