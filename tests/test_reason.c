#include "pay/reason.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void each_reason_has_a_code_of_its_own(void **state)
{
    (void)state;
    assert_string_equal(kmy_pay_reason(KMY_PAY_NONE), "");
    for (int i = 1; i < KMY_PAY_REASON_COUNT; i++) {
        assert_true(strlen(kmy_pay_reason((kmy_pay_reason_t)i)) > 10);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(kmy_pay_reason((kmy_pay_reason_t)i),
                                    kmy_pay_reason((kmy_pay_reason_t)k));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(each_reason_has_a_code_of_its_own) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
