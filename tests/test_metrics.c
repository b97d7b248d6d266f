/* base/metrics: threads' tables are added up, and the page is Prometheus text. */
#include "base/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static kmy_metrics_t one, two;
static kmy_metrics_t *const threads[] = { &one, &two };

static void threads_are_added_up(void **state)
{
    (void)state;
    KMY_COUNT(&one, tick_published_total, 5);
    KMY_COUNT(&one, tick_published_total, 2);
    KMY_COUNT(&two, tick_published_total, 10);
    KMY_GAUGE(&one, connection_open, 3);
    KMY_GAUGE(&two, connection_open, 4);
    KMY_GAUGE(&two, connection_open, 1);
    assert_int_equal(kmy_metrics_sum(threads, 2, KMY_METRIC_tick_published_total), 17);
    assert_int_equal(kmy_metrics_sum(threads, 2, KMY_METRIC_connection_open), 4);
    assert_int_equal(kmy_metrics_sum(threads, 0, KMY_METRIC_connection_open), 0);
}

static void the_page_has_help_type_and_value_of_each(void **state)
{
    (void)state;
    size_t need = kmy_metrics_text(threads, 2, NULL, 0);
    char *page = malloc(need + 1);
    assert_non_null(page);
    assert_int_equal(kmy_metrics_text(threads, 2, page, need + 1), need);
    assert_int_equal(strlen(page), need);
    assert_non_null(strstr(page, "# HELP kamiyo_tick_published_total ticks written to the ring\n"
                                 "# TYPE kamiyo_tick_published_total counter\n"
                                 "kamiyo_tick_published_total 17\n"));
    assert_non_null(
        strstr(page, "# TYPE kamiyo_connection_open gauge\nkamiyo_connection_open 4\n"));
    size_t lines = 0;
    for (const char *p = page; *p; p++)
        lines += *p == '\n';
    assert_int_equal(lines, 3 * KMY_METRIC_COUNT);
    free(page);
}

static void too_little_room_is_told_and_never_overrun(void **state)
{
    (void)state;
    size_t need = kmy_metrics_text(threads, 2, NULL, 0);
    for (size_t cap = 1; cap <= need; cap += 97) {
        char *page = malloc(cap + 1);
        assert_non_null(page);
        page[cap] = 'x';
        assert_int_equal(kmy_metrics_text(threads, 2, page, cap), need);
        assert_int_equal(page[cap], 'x');
        free(page);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_are_added_up),
        cmocka_unit_test(the_page_has_help_type_and_value_of_each),
        cmocka_unit_test(too_little_room_is_told_and_never_overrun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
