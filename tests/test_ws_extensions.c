/* wire/ws_extensions: which offers are taken, which are declined, and which are no offers at all. */
#include "wire/ws_extensions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#define TAKEN     "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
#define TAKEN_15  TAKEN "; server_max_window_bits=15"
#define TAKEN_9   TAKEN "; server_max_window_bits=9"
#define DECLINED  NULL
#define MALFORMED ""

typedef struct {
    const char *want;
    const char *lines[3]; /* header values, in order */
} offer_t;

static const offer_t offers[] = {
    /* nothing, and what stock clients send */
    { DECLINED, { NULL } },
    { TAKEN, { "permessage-deflate" } },
    { TAKEN, { "permessage-deflate; client_max_window_bits" } }, /* browsers, python, ws */
    { TAKEN, { "permessage-deflate; client_no_context_takeover" } },
    { TAKEN, { "permessage-deflate; server_no_context_takeover" } },
    { TAKEN,
      { "permessage-deflate; client_no_context_takeover; server_no_context_takeover; "
        "client_max_window_bits=10" } },
    { TAKEN, { "permessage-deflate;client_max_window_bits" } },
    { TAKEN, { " \tpermessage-deflate \t;\t client_max_window_bits \t=\t 9 \t" } },

    /* the client's window: any, as it fits into ours */
    { TAKEN, { "permessage-deflate; client_max_window_bits=8" } },
    { TAKEN, { "permessage-deflate; client_max_window_bits=15" } },
    { TAKEN, { "permessage-deflate; client_max_window_bits=\"12\"" } },
    { TAKEN, { "permessage-deflate; client_max_window_bits=\"1\\2\"" } },
    { DECLINED, { "permessage-deflate; client_max_window_bits=7" } },
    { DECLINED, { "permessage-deflate; client_max_window_bits=16" } },
    { DECLINED, { "permessage-deflate; client_max_window_bits=0" } },
    { DECLINED, { "permessage-deflate; client_max_window_bits=08" } },
    { DECLINED, { "permessage-deflate; client_max_window_bits=010" } },
    { DECLINED, { "permessage-deflate; client_max_window_bits=100" } },
    { DECLINED, { "permessage-deflate; client_max_window_bits=+9" } },
    { DECLINED, { "permessage-deflate; client_max_window_bits=1e" } },
    { DECLINED, { "permessage-deflate; client_max_window_bits=1!" } },
    { DECLINED, { "permessage-deflate; client_max_window_bits=x" } },
    { DECLINED, { "permessage-deflate; client_max_window_bits=4294967305" } },

    /* ours: whatever is asked, which then must be answered */
    { TAKEN_9, { "permessage-deflate; server_max_window_bits=9" } },
    { TAKEN_9, { "permessage-deflate; server_max_window_bits=\"\\9\"" } },
    { TAKEN "; server_max_window_bits=8", { "permessage-deflate; server_max_window_bits=8" } },
    { TAKEN "; server_max_window_bits=10", { "permessage-deflate; server_max_window_bits=10" } },
    { TAKEN "; server_max_window_bits=14", { "permessage-deflate; server_max_window_bits=14" } },
    { TAKEN_15, { "permessage-deflate; server_max_window_bits=15" } },
    { TAKEN_15, { "permessage-deflate; server_max_window_bits=\"15\"" } },
    { TAKEN_15, { "permessage-deflate; client_max_window_bits; server_max_window_bits=15" } },
    { DECLINED, { "permessage-deflate; server_max_window_bits=7" } },
    { DECLINED, { "permessage-deflate; server_max_window_bits=09" } },
    { DECLINED, { "permessage-deflate; server_max_window_bits" } },
    { DECLINED, { "permessage-deflate; server_max_window_bits=16" } },

    /* parameters that must have no value, that stand twice, that nobody knows */
    { DECLINED, { "permessage-deflate; server_no_context_takeover=1" } },
    { DECLINED, { "permessage-deflate; client_no_context_takeover=\"true\"" } },
    { DECLINED, { "permessage-deflate; server_no_context_takeover; server_no_context_takeover" } },
    { DECLINED, { "permessage-deflate; client_no_context_takeover; client_no_context_takeover" } },
    { DECLINED, { "permessage-deflate; client_max_window_bits; client_max_window_bits" } },
    { DECLINED, { "permessage-deflate; server_max_window_bits=15; server_max_window_bits=15" } },
    { DECLINED, { "permessage-deflate; mux" } },
    { DECLINED, { "permessage-deflate; mux=1; client_max_window_bits" } },
    { DECLINED, { "permessage-deflate; Client_max_window_bits" } },
    { DECLINED, { "permessage-deflate; client_max_window_bit" } },
    { DECLINED, { "permessage-deflate; mux; mux" } },

    /* other extensions */
    { DECLINED, { "x-webkit-deflate-frame" } },
    { DECLINED, { "permessage-bzip2; client_max_window_bits" } },
    { DECLINED, { "Permessage-Deflate" } },
    { DECLINED, { "permessage-deflat" } },
    { DECLINED, { "permessage-deflatee" } },

    /* several: the first that can be served */
    { TAKEN, { "foo, permessage-deflate" } },
    { TAKEN, { "permessage-deflate; server_max_window_bits=16, permessage-deflate" } },
    { TAKEN_15, { "permessage-deflate; mux, permessage-deflate; server_max_window_bits=15" } },
    { TAKEN, { "permessage-deflate, permessage-deflate; server_max_window_bits=15" } },
    { TAKEN, { "foo; a=b; c=\"d\"", "bar", "permessage-deflate; client_max_window_bits" } },
    { TAKEN_15,
      { "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=15" } },
    { TAKEN, { ",, , permessage-deflate ,," } },
    { TAKEN, { "", "permessage-deflate" } },
    { DECLINED, { "" } },
    { DECLINED, { " , " } },

    /* what is no list of extensions: refused whatever else stands there */
    { MALFORMED, { "permessage-deflate;" } },
    { MALFORMED, { "permessage-deflate; ;client_max_window_bits" } },
    { MALFORMED, { "permessage-deflate; client_max_window_bits=" } },
    { MALFORMED, { "permessage-deflate; client_max_window_bits=\"" } },
    { MALFORMED, { "permessage-deflate; client_max_window_bits=\"10" } },
    { MALFORMED, { "permessage-deflate; client_max_window_bits=\"10\\" } },
    { MALFORMED, { "permessage-deflate; client_max_window_bits=\"\"" } },
    { MALFORMED, { "permessage-deflate; client_max_window_bits=\"1 0\"" } },
    { MALFORMED, { "permessage-deflate; client_max_window_bits=\"10\"x" } },
    { MALFORMED, { "permessage-deflate; client_max_window_bits==10" } },
    { MALFORMED, { "permessage-deflate client_max_window_bits" } },
    { MALFORMED, { "permessage-deflate; =10" } },
    { MALFORMED, { ";permessage-deflate" } },
    { MALFORMED, { "=permessage-deflate" } },
    { MALFORMED, { "\"permessage-deflate\"" } },
    { MALFORMED, { "permessage-deflate; client_max_window_bits=(10)" } },
    { MALFORMED, { "permessage/deflate" } },
    { MALFORMED, { "permessage-deflate\xC3\xA9" } },
    { MALFORMED, { "permessage-deflate, foo bar" } },
    { MALFORMED, { "permessage-deflate", "foo bar" } },
    { MALFORMED, { "foo; x=\"a,b\", permessage-deflate" } },
};

static void an_offer_is_taken_declined_or_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof offers / sizeof *offers; i++) {
        static kmy_http_request_t req;
        char text[1024];
        kmy_buf_t b = kmy_buf(text, sizeof text);
        kmy_buf_str(&b, "GET / HTTP/1.1\r\nHost: x\r\n");
        for (int j = 0; j < 3 && offers[i].lines[j]; j++)
            kmy_buf_fmt(&b, "%s: %s\r\n",
                        j == 1 ? "SEC-WEBSOCKET-EXTENSIONS" : "Sec-WebSocket-Extensions",
                        offers[i].lines[j]);
        kmy_buf_str(&b, "\r\n");
        assert_false(b.overflow);
        assert_int_equal(kmy_http_parse(text, b.len, &req, NULL), KMY_OK);

        const char *answer = "not written";
        kmy_err_t err = kmy_ws_extensions(&req, &answer, NULL);
        const char *want = offers[i].want;
        bool malformed = want && !*want;
        bool right = err == (malformed ? KMY_BAD_INPUT : KMY_OK) &&
                     (want && !malformed ? answer && strcmp(answer, want) == 0 : !answer);
        if (!right)
            fail_msg("%s: %s, %s", offers[i].lines[0], kmy_err_code(err), answer ? answer : "none");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_offer_is_taken_declined_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
