#include "pay/reason.h"

#include "base/err.h"

const char *kmy_pay_reason(kmy_pay_reason_t reason)
{
    static const char *const codes[KMY_PAY_REASON_COUNT] = {
#define KMY_PAY_REASON_ROW(name, code) [KMY_PAY_##name] = (code),
        KMY_PAY_REASON_TABLE(KMY_PAY_REASON_ROW)
#undef KMY_PAY_REASON_ROW
    };
    KMY_ASSERT(reason < KMY_PAY_REASON_COUNT);
    return codes[reason];
}
