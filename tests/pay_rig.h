/* pay_rig: an offer out of a vector, as a seller would have configured it. */
#ifndef KMY_TESTS_PAY_RIG_H
#define KMY_TESTS_PAY_RIG_H

#include "pay/verify.h"
#include "tests/x402_vectors.h"

/* *entry from the vector's "offer", of either generation. */
static inline void entry_of(const json_t *vector, kmy_pay_entry_t *entry)
{
    const json_t *o = json_object_get(vector, "offer");
    const json_t *extra = json_object_get(o, "extra");
    const char *network = text_of(o, "network");
    const char *v1 = text_of(o, "maxAmountRequired");
    const char *amount = *v1 ? v1 : text_of(o, "amount");
    kmy_errctx_t ctx = { 0 };
    kmy_pay_terms_t terms = {
        .name = strchr(network, ':') ? NULL : network,
        .chain = strchr(network, ':') ? network : NULL,
        .asset = text_of(o, "asset"),
        .asset_name = text_of(extra, "name"),
        .asset_version = text_of(extra, "version"),
        .pay_to = text_of(o, "payTo"),
        .fee_payer = text_of(extra, "feePayer"),
        .memo = text_of(extra, "memo"),
        .timeout_s = (uint32_t)json_integer_value(json_object_get(o, "maxTimeoutSeconds")),
    };
    if (kmy_pay_entry_init(entry, &terms, &ctx) != KMY_OK)
        fail_msg("%s: %s", text_of(vector, "id"), ctx.detail);
    assert_true(kmy_pay_entry_price_text(entry, amount, strlen(amount)));
}

/* The whole way of a header: parse, verify. */
static inline kmy_pay_result_t pay_judge(const char *header, size_t len,
                                         const kmy_pay_offer_t *offer, int64_t now_s,
                                         kmy_pay_verdict_t *verdict, kmy_errctx_t *ctx)
{
    static char buffer[KMY_PAYMENT_BYTES_MAX];
    kmy_payment_t payment;
    kmy_pay_reason_t why = kmy_payment_parse(header, len, buffer, &payment, ctx);
    if (why == KMY_PAY_NONE)
        return kmy_pay_verify(offer, &payment, now_s, verdict, ctx);
    memset(verdict, 0, sizeof *verdict);
    verdict->reason = why;
    return KMY_PAY_INVALID;
}

#endif
