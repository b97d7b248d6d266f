/* dollar 2/7   in: a request   out: engine/paid, engine/pay_routes */
#include "engine/pay_header.h"

#include "base/limits.h"

static const char v1[] = "x-payment", v2[] = "payment-signature", signin[] = "sign-in-with-x";

bool kmy_pay_header_any(const kmy_http_request_t *req)
{
    return kmy_http_header(req, v1) || kmy_http_header(req, v2);
}

kmy_err_t kmy_pay_header(const kmy_http_request_t *req, uint32_t *version, kmy_view_t *out,
                         kmy_errctx_t *ctx)
{
    size_t count_v1 = kmy_http_header_count(req, v1), count_v2 = kmy_http_header_count(req, v2);
    *version = 0;
    *out = (kmy_view_t){ "", 0 };
    if (count_v1 && count_v2)
        return KMY_FAIL(ctx, KMY_BAD_INPUT,
                        "X-PAYMENT and PAYMENT-SIGNATURE together: send one of them; none was "
                        "looked at");
    if (count_v1 > 1 || count_v2 > 1)
        return KMY_FAIL(ctx, KMY_BAD_INPUT,
                        "%s stands there %zu times: send one payment; none was looked at",
                        count_v1 ? "X-PAYMENT" : "PAYMENT-SIGNATURE", count_v1 + count_v2);
    const kmy_view_t *h = kmy_http_header(req, count_v1 ? v1 : v2);
    if (!h || h->len == 0)
        return KMY_OK;
    if (h->len > KMY_PAYMENT_BYTES_MAX)
        return KMY_FAIL(ctx, KMY_UNPAID, "the payment has %zu bytes, limit %d", h->len,
                        KMY_PAYMENT_BYTES_MAX);
    *version = count_v1 ? 1 : 2;
    *out = *h;
    return KMY_OK;
}

kmy_err_t kmy_signin_header(const kmy_http_request_t *req, kmy_view_t *out, kmy_errctx_t *ctx)
{
    const kmy_view_t *h = kmy_http_header(req, signin);
    *out = (kmy_view_t){ "", 0 };
    if (kmy_http_header_count(req, signin) > 1)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "SIGN-IN-WITH-X stands there twice");
    if (h && h->len > KMY_PAYMENT_BYTES_MAX)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "SIGN-IN-WITH-X has %zu bytes, limit %d", h->len,
                        KMY_PAYMENT_BYTES_MAX);
    if (h)
        *out = *h;
    return KMY_OK;
}
