/* dollar 1/7   in: engine/routes (the offer of a sign-in)   out: engine/cashier */
/* signin_nonce: the nonce that a sign-in must carry, ours without being stored.

       hex of   random[16]  issued_s[8, big-endian]  HMAC-SHA256(token key, "kamiyo sign-in: " random issued_s)[first 16]

   80 digits: letters and digits only, as EIP-4361 wants.  It proves that this house (or one with the same token key) gave it out, and when; that it is
   used once is the ledger's to say (kmy_ledger_spend_nonce), so nothing is kept for those that are never used.  The prefix has a blank, which no JWT
   has, so that no token's signature can be made to pass for a nonce's.

   Pure but for the randomness of _make; any thread; nothing blocks or allocates. */
#ifndef KMY_PAY_SIGNIN_NONCE_H
#define KMY_PAY_SIGNIN_NONCE_H

#include "pay/token.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KMY_SIGNIN_NONCE_DIGITS 80
#define KMY_SIGNIN_NONCE_LIFE_S 300 /* as long as a sign-in may be old (pay/signin.h) */

/* now_s: Unix seconds, not negative.  false: no randomness; *out is then "". */
bool kmy_signin_nonce_make(const kmy_token_key_t *key, int64_t now_s,
                           char out[KMY_SIGNIN_NONCE_DIGITS + 1]);

/* KMY_OK: ours and not expired; *expires_s is when it will be (a used one must be remembered as long).
   KMY_UNAUTHENTICATED: not ours, of the future, or too old; ctx->detail says which. */
kmy_err_t kmy_signin_nonce_check(const kmy_token_key_t *key, const char *nonce, size_t len,
                                 int64_t now_s, int64_t *expires_s, kmy_errctx_t *ctx);

#endif
