/* wire/http1_wait: a request that drips in is looked at often enough, and not more often. */
#include "wire/http1_wait.h"

#include "base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

/* Bytes read by all looks together while data drips in by `step`, until its end; *last: length at the last look. */
static size_t drip(const char *data, size_t len, size_t step, size_t *last)
{
    kmy_http_wait_t w = { 0 };
    size_t read = 0;
    for (size_t at = step; at <= len; at += step) {
        if (!kmy_http_wait_over(&w, data, at))
            continue;
        read += at;
        *last = at;
        kmy_http_wait_head(&w, at);
    }
    return read;
}

static void a_head_that_drips_is_read_three_times_in_all(void **state)
{
    (void)state;
    static char head[KMY_HTTP_HEAD_BYTES_MAX];
    memset(head, 'a', sizeof head);
    for (size_t i = 7; i + 2 < sizeof head; i += 9)
        memcpy(head + i, "\r\n", 2); /* short lines tempt to look at each */
    memcpy(head + sizeof head - 4, "\r\n\r\n", 4);
    for (size_t step = 1; step <= 16; step *= 2) {
        size_t last = 0;
        assert_in_range(drip(head, sizeof head, step, &last), sizeof head, 3 * sizeof head);
        assert_int_equal(last, sizeof head);
    }
}

static void the_blank_line_is_seen_at_once_wherever_it_was_cut(void **state)
{
    (void)state;
    static const char head[] = "GET / HTTP/1.1\r\nHost: x\r\nA: bcdefghijklmnop\r\n\r\n";
    size_t len = sizeof head - 1;
    for (size_t cut = len / 2 + 1; cut < len; cut++) { /* doubled is not before the end */
        kmy_http_wait_t w = { 0 };
        assert_true(kmy_http_wait_over(&w, head, cut));
        kmy_http_wait_head(&w, cut);
        for (size_t at = cut + 1; at < len; at++)
            assert_false(kmy_http_wait_over(&w, head, at));
        assert_true(kmy_http_wait_over(&w, head, len));
    }
}

static void a_body_is_looked_at_when_it_is_whole_whatever_stands_in_it(void **state)
{
    (void)state;
    static const char request[] =
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\n\r\n\r\n\r\n\r\n";
    size_t len = sizeof request - 1;
    kmy_http_wait_t w = { 0 };
    kmy_http_wait_body(&w, len);
    for (size_t at = len - 8; at < len; at++)
        assert_false(kmy_http_wait_over(&w, request, at));
    assert_true(kmy_http_wait_over(&w, request, len));
    assert_true(kmy_http_wait_over(&w, request,
                                   len + 100)); /* and again, if it had to wait for an answer */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_that_drips_is_read_three_times_in_all),
        cmocka_unit_test(the_blank_line_is_seen_at_once_wherever_it_was_cut),
        cmocka_unit_test(a_body_is_looked_at_when_it_is_whole_whatever_stands_in_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
