/* token: the bearer a customer shows: a JWT (RFC 7519) signed with HS256 (RFC 7515), bound to one account.

   One algorithm, fixed here; a header with any member but alg, typ and a known kid is refused; strict base64url; every claim required
   (iss, sub, jti, iat, exp); constant-time compare.  No state but the key: revocation is the caller's set. */
#ifndef KMY_PAY_TOKEN_H
#define KMY_PAY_TOKEN_H

#include "base/err.h"
#include "base/limits.h"

#include <stddef.h>
#include <stdint.h>

#define KMY_TOKEN_ISSUER        "kamiyo"
#define KMY_TOKEN_KEY_BYTES_MIN 32

/* A key with its HMAC states prepared, so that a check costs two hash blocks and no set-up.  Not shared between threads while in use: each thread
   has its own (kmy_token_key_new copies the secret). */
typedef struct kmy_token_key kmy_token_key_t;
kmy_token_key_t *kmy_token_key_new(const void *secret, size_t len,
                                   kmy_errctx_t *ctx); /* at least 32 bytes */
void kmy_token_key_free(kmy_token_key_t *key);         /* wipes */

typedef struct kmy_token_claims {
    char account[KMY_ACCOUNT_BYTES_MAX]; /* sub */
    char jti[KMY_JTI_BYTES_MAX];
    int64_t issued_s;
    int64_t expires_s;
} kmy_token_claims_t;

/* Signs into out (KMY_TOKEN_BYTES_MAX, terminated).  An empty jti is filled with 128 random bits. */
kmy_err_t kmy_token_sign(kmy_token_key_t *key, kmy_token_claims_t *claims,
                         char out[KMY_TOKEN_BYTES_MAX], kmy_errctx_t *ctx);
/* KMY_OK and *claims; KMY_UNAUTHENTICATED: malformed, forged, other algorithm, other issuer, not yet valid (30 s of leeway);
   KMY_TOKEN_EXPIRED (only told of a genuine token).  Same time for every wrong signature. */
kmy_err_t kmy_token_verify(kmy_token_key_t *key, const char *token, size_t len, int64_t now_s,
                           kmy_token_claims_t *claims, kmy_errctx_t *ctx);

/* Reads a secret file (at least 32 bytes; a trailing newline is dropped; must not be readable by others), or with an empty path makes
   <data>/token.key with 32 random bytes (0600) at first use. */
kmy_err_t kmy_token_secret_load(const char *path, const char *data_dir, uint8_t *out, size_t cap,
                                size_t *len, kmy_errctx_t *ctx);

#endif
