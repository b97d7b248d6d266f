/* engine/pace: "max_hz" to slots.  How the wheel turns is in test_egress.c, with what it delivers. */
#include "engine/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

static void a_rate_becomes_a_period_that_is_never_too_short(void **state)
{
    (void)state;
    static const struct {
        int64_t mantissa;
        int expo;
        bool good;
        uint32_t slots;
    } row[] = {
        { 0, 0, true, 0 },        /* every tick */
        { 1, 0, true, 954 },      /* 10^9 / 2^20 = 953.7 */
        { 10, 0, true, 96 },      /* 95.4 */
        { 1, 1, true, 96 },       /* 1e1 */
        { 1000, 0, true, 1 },     /* 0.95 */
        { 3, 0, true, 318 },      /* a third of a second */
        { 5, -1, true, 1908 },    /* 0.5 */
        { 1, -3, true, 953675 },  /* once in 1,000 s */
        { 3, -4, true, 3178915 }, /* once in 3,333 s */
        { 1001, 0, false, 0 },    /* above the limit, */
        { 1000000001, -6, false, 0 } /* by however little */,
        { 2, -4, false, 0 }, /* once in 5,000 s */
        { 1, -18, false, 0 },
        { -1, 0, false, 0 },
        { 1, 64, false, 0 },
        { 1, -64, false, 0 },
        { INT64_MAX, 3, false, 0 },
        { INT64_MAX, -18, true, 104 }, /* 9.22 */
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        uint32_t slots = 0;
        if (kmy_pace_slots(row[i].mantissa, row[i].expo, &slots) != row[i].good)
            fail_msg("row %zu", i);
        if (row[i].good && slots != row[i].slots)
            fail_msg("row %zu: %u slots", i, slots);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rate_becomes_a_period_that_is_never_too_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
