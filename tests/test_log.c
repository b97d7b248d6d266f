/* base/log: one event is one line, whatever a peer puts into its names. */
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What kmy_log writes to standard error, caught in a file. */
static size_t caught(kmy_log_level_t level, const char *text, char *out, size_t cap)
{
    char path[] = "/tmp/kmy_test_log.XXXXXX";
    int fd = mkstemp(path);
    int saved = dup(STDERR_FILENO);
    assert_true(fd >= 0);
    assert_true(saved >= 0);
    dup2(fd, STDERR_FILENO);
    kmy_log(level, "test", "%s", text);
    dup2(saved, STDERR_FILENO);
    close(saved);
    ssize_t n = pread(fd, out, cap - 1, 0);
    close(fd);
    unlink(path);
    assert_true(n >= 0);
    out[n] = 0;
    return (size_t)n;
}

static void an_event_is_one_line_with_time_level_and_part(void **state)
{
    (void)state;
    char out[4096];
    size_t n = caught(KMY_LOG_WARN, "two\nlines\x1b[31m\r", out, sizeof out);
    assert_int_equal(out[n - 1], '\n');
    assert_ptr_equal(strchr(out, '\n'), out + n - 1);
    assert_null(strchr(out, 0x1b));
    assert_non_null(strstr(out, "Z warn  test: two lines"));
    assert_int_equal(out[4], '-');
    assert_int_equal(out[10], 'T');
}

static void a_long_event_is_cut(void **state)
{
    (void)state;
    char out[4096];
    char text[3000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    size_t n = caught(KMY_LOG_ERROR, text, out, sizeof out);
    assert_in_range(n, 900, 1024);
    assert_int_equal(out[n - 1], '\n');
}

static void below_the_level_nothing_is_written(void **state)
{
    (void)state;
    char out[256];
    assert_int_equal(caught(KMY_LOG_DEBUG, "x", out, sizeof out), 0);
    kmy_log_set_level(KMY_LOG_ERROR);
    assert_int_equal(caught(KMY_LOG_WARN, "x", out, sizeof out), 0);
    kmy_log_set_level(KMY_LOG_INFO);
}

static void foreign_text_is_escaped_and_cut(void **state)
{
    (void)state;
    char out[KMY_LOG_TEXT_BYTES];
    char big[1000];
    assert_string_equal(kmy_log_text("a\n\\\xff", 4, out), "a\\x0a\\x5c\\xff");
    assert_string_equal(kmy_log_text("", 0, out), "");
    for (int byte = 0; byte < 256; byte++) { /* each byte, more of it than fits */
        memset(big, byte, sizeof big);
        size_t n = strlen(kmy_log_text(big, sizeof big, out));
        assert_in_range(n, 100, KMY_LOG_TEXT_BYTES - 1);
        assert_string_equal(out + n - 3, "...");
        for (size_t i = 0; i < n; i++)
            assert_in_range((unsigned char)out[i], 0x20, 0x7e);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_is_one_line_with_time_level_and_part),
        cmocka_unit_test(a_long_event_is_cut),
        cmocka_unit_test(below_the_level_nothing_is_written),
        cmocka_unit_test(foreign_text_is_escaped_and_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
