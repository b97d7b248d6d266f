#include "engine/pay_header.h"

#include "base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

/* A request with these header lines. */
static void parse(const char *lines, kmy_http_request_t *req)
{
    static char text[KMY_HTTP_HEAD_BYTES_MAX];
    kmy_errctx_t ctx = { 0 };
    int n = snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", lines);
    if (kmy_http_parse(text, (size_t)n, req, &ctx) != KMY_OK)
        fail_msg("%s: %s", lines, ctx.detail);
}

static void one_payment_is_read_and_two_are_none(void **state)
{
    static const struct {
        const char *lines;
        kmy_err_t err;
        uint32_t version;
        const char *value; /* or a word of the refusal */
    } rows[] = {
        { "", KMY_OK, 0, "" },
        { "X-PAYMENT: abc=\r\n", KMY_OK, 1, "abc=" },
        { "x-payment: abc=\r\n", KMY_OK, 1, "abc=" },
        { "PAYMENT-SIGNATURE:   abc=  \r\n", KMY_OK, 2, "abc=" },
        { "X-PAYMENT:\r\n", KMY_OK, 0, "" },
        { "X-PAYMENT: a\r\nPAYMENT-SIGNATURE: b\r\n", KMY_BAD_INPUT, 0, "together" },
        { "X-PAYMENT: a\r\nPAYMENT-SIGNATURE: a\r\n", KMY_BAD_INPUT, 0, "together" },
        { "X-PAYMENT: a\r\nX-Payment: a\r\n", KMY_BAD_INPUT, 0, "2 times" },
        { "PAYMENT-SIGNATURE: a\r\nAccept: x\r\npayment-signature: b\r\n", KMY_BAD_INPUT, 0,
          "PAYMENT-SIGNATURE stands there 2 times" },
        { "X-PAYMENT-RESPONSE: a\r\nPAYMENT-REQUIRED: b\r\n", KMY_OK, 0, "" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        kmy_http_request_t req;
        kmy_errctx_t ctx = { 0 };
        uint32_t version;
        kmy_view_t value;
        parse(rows[i].lines, &req);
        assert_int_equal(kmy_pay_header(&req, &version, &value, &ctx), rows[i].err);
        assert_int_equal(version, rows[i].version);
        if (rows[i].err == KMY_OK)
            assert_true(kmy_view_is(value, rows[i].value));
        else
            assert_non_null(strstr(ctx.detail, rows[i].value));
    }
}

static void a_payment_has_a_longest_length(void **state)
{
    static char lines[KMY_PAYMENT_BYTES_MAX + 64];
    (void)state;
    for (size_t len = KMY_PAYMENT_BYTES_MAX; len <= KMY_PAYMENT_BYTES_MAX + 1; len++) {
        kmy_http_request_t req;
        kmy_errctx_t ctx = { 0 };
        uint32_t version;
        kmy_view_t value;
        for (int k = 0; k < 2; k++) {
            int at = sprintf(lines, "%s: ", k ? "SIGN-IN-WITH-X" : "X-PAYMENT");
            memset(lines + at, 'A', len);
            strcpy(lines + at + len, "\r\n");
            parse(lines, &req);
            bool fits = len == KMY_PAYMENT_BYTES_MAX;
            kmy_err_t err = k ? kmy_signin_header(&req, &value, &ctx)
                              : kmy_pay_header(&req, &version, &value, &ctx);
            assert_int_equal(err, fits ? KMY_OK : k ? KMY_BAD_INPUT : KMY_UNPAID);
            assert_int_equal(value.len, fits ? len : 0);
        }
    }
}

static void a_sign_in_stands_there_once(void **state)
{
    kmy_http_request_t req;
    kmy_errctx_t ctx = { 0 };
    kmy_view_t value;
    (void)state;
    parse("", &req);
    assert_int_equal(kmy_signin_header(&req, &value, &ctx), KMY_OK);
    assert_int_equal(value.len, 0);
    parse("sign-in-with-x: abc\r\n", &req);
    assert_int_equal(kmy_signin_header(&req, &value, &ctx), KMY_OK);
    assert_true(kmy_view_is(value, "abc"));
    assert_false(kmy_pay_header_any(&req));
    parse("sign-in-with-x: abc\r\nSIGN-IN-WITH-X: abc\r\n", &req);
    assert_int_equal(kmy_signin_header(&req, &value, &ctx), KMY_BAD_INPUT);
    parse("payment-signature:\r\n", &req);
    assert_true(kmy_pay_header_any(&req));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_payment_is_read_and_two_are_none),
        cmocka_unit_test(a_payment_has_a_longest_length),
        cmocka_unit_test(a_sign_in_stands_there_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
