/* base/err: each way to fail has a code of its own, and statuses that mean failure. */
#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

static void every_row_is_whole_and_its_code_unique(void **state)
{
    (void)state;
    for (int i = 0; i < KMY_ERR_COUNT; i++) {
        assert_true(kmy_err_code((kmy_err_t)i)[0]);
        assert_true(kmy_err_text((kmy_err_t)i)[0]);
        assert_in_range(kmy_err_http((kmy_err_t)i), 200, 599);
        int ws = kmy_err_ws((kmy_err_t)i);
        assert_true(ws == 0 || (ws >= 1000 && ws <= 1015) || (ws >= 4000 && ws <= 4999));
        for (int j = 0; j < i; j++)
            assert_string_not_equal(kmy_err_code((kmy_err_t)i), kmy_err_code((kmy_err_t)j));
    }
}

/* What clients are written against (docs/protocol.md, close codes). */
static void money_and_tokens_keep_their_numbers(void **state)
{
    (void)state;
    assert_int_equal(kmy_err_http(KMY_UNPAID), 402);
    assert_int_equal(kmy_err_http(KMY_NO_BALANCE), 402);
    assert_string_equal(kmy_err_code(KMY_NO_BALANCE), "insufficient_balance");
    assert_int_equal(kmy_err_ws(KMY_UNPAID), 4402);
    assert_int_equal(kmy_err_ws(KMY_TOKEN_REVOKED), 4401);
    assert_int_equal(kmy_err_ws(KMY_TIMEOUT), 4408);
    assert_int_equal(kmy_err_ws(KMY_OVERRUN), 4413);
    assert_int_equal(kmy_err_ws(KMY_FULL), 4429);
    assert_int_equal(kmy_err_ws(KMY_TOO_BIG), 1009);
    assert_int_equal(kmy_err_ws(KMY_BAD_UTF8), 1007);
}

static kmy_err_t refuse(kmy_errctx_t *ctx, const char *text)
{
    errno = ENOSPC;
    return KMY_FAIL_SYS(ctx, KMY_IO, "%s", text);
}

static void the_context_says_where_and_is_always_terminated(void **state)
{
    (void)state;
    kmy_errctx_t ctx;
    char text[1000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    memset(&ctx, 0xee, sizeof ctx);
    assert_int_equal(refuse(&ctx, text), KMY_IO);
    assert_string_equal(ctx.where, "refuse");
    assert_int_equal(ctx.sys_errno, ENOSPC);
    assert_int_equal(strlen(ctx.detail), sizeof ctx.detail - 1);
    assert_int_equal(refuse(NULL, text), KMY_IO); /* nobody asked */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_whole_and_its_code_unique),
        cmocka_unit_test(money_and_tokens_keep_their_numbers),
        cmocka_unit_test(the_context_says_where_and_is_always_terminated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
