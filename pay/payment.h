/* dollar 2/7   in: engine/routes, engine/stream   out: pay/verify */
/* payment: the header (or the "payment" of a frame) that claims to pay, taken to pieces.  Nothing of it is believed yet: pay/verify does
   that.  Both generations of x402: v1 (X-PAYMENT) names scheme and network, v2 (PAYMENT-SIGNATURE) repeats the whole entry it accepted.

   Pure and bounded; any thread; nothing blocks or allocates. */
#ifndef KMY_PAY_PAYMENT_H
#define KMY_PAY_PAYMENT_H

#include "base/err.h"
#include "base/limits.h"
#include "pay/reason.h"
#include "wire/json.h"

#include <stddef.h>

/* Everything is a token into the caller's buffer; type KMY_JSON_ERROR: absent. */
typedef struct kmy_payment {
    int version; /* 1 or 2 */
    kmy_json_token_t scheme, network;
    kmy_json_token_t payload; /* an object's raw text */
    /* v2 only: the entry that the client says it accepted, and what it repeats of the offer */
    kmy_json_token_t amount, asset, pay_to, timeout, extra;
    kmy_json_token_t resource_url;
    kmy_json_token_t extensions; /* an object's raw text */
} kmy_payment_t;

/* kmy_payment_parse reads base64 (standard alphabet, padding optional, no blanks) of JSON.  buffer is the caller's and must live as long
   as *out, which points into it.
     KMY_PAY_NONE     *out is whole
     KMY_PAY_PAYLOAD  too long, no base64, no JSON, not of the shape
     KMY_PAY_VERSION  x402Version is neither 1 nor 2
   ctx (may be NULL) says more, for people. */
kmy_pay_reason_t kmy_payment_parse(const char *header, size_t len,
                                   char buffer[KMY_PAYMENT_BYTES_MAX], kmy_payment_t *out,
                                   kmy_errctx_t *ctx);

/* base64 as payments and sign-ins carry it, into buffer: the decoded text's length, 0 if it is none (or empty). */
size_t kmy_payment_base64(const char *header, size_t len, char buffer[KMY_PAYMENT_BYTES_MAX]);

#endif
