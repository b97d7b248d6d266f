/* dollar 2/7   in: a request   out: engine/paid, engine/pay_routes */
/* pay_header: the header lines by which a request pays or signs in, taken as they are: nothing is decoded here.  Pure; any thread. */
#ifndef KMY_ENGINE_PAY_HEADER_H
#define KMY_ENGINE_PAY_HEADER_H

#include "base/err.h"
#include "wire/http1.h"

#include <stdbool.h>
#include <stdint.h>

/* Is there one, of whatever kind? */
bool kmy_pay_header_any(const kmy_http_request_t *req);

/* X-PAYMENT (*version 1) or PAYMENT-SIGNATURE (2); *version 0 and an empty *out: neither, or an empty one.
     KMY_BAD_INPUT  both, or one twice: which one counts would be a guess
     KMY_UNPAID     longer than a payment can be
   ctx->detail says which. */
kmy_err_t kmy_pay_header(const kmy_http_request_t *req, uint32_t *version, kmy_view_t *out,
                         kmy_errctx_t *ctx);
/* SIGN-IN-WITH-X; empty: there is none.  KMY_BAD_INPUT: twice, or too long. */
kmy_err_t kmy_signin_header(const kmy_http_request_t *req, kmy_view_t *out, kmy_errctx_t *ctx);

#endif
