/* signin: the sign-in-with-x proof that somebody holds an address, without paying: header SIGN-IN-WITH-X, base64 of JSON whose members make
   a text that was signed.  Sources: EIP-4361 (text), EIP-191 (its digest), CAIP-122 and the @x402/extensions package 2.27.0 (Solana's form,
   the header).

   Whether the nonce is ours and unused is the caller's to say.  Pure but for OpenSSL's allocations for Solana; any thread. */
#ifndef KMY_PAY_SIGNIN_H
#define KMY_PAY_SIGNIN_H

#include "base/err.h"
#include "base/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KMY_SIGNIN_NONCE_BYTES_MAX 129 /* with its terminator */
#define KMY_SIGNIN_RESOURCES_MAX   16
#define KMY_SIGNIN_AGE_S_MAX       300 /* since issuedAt */
#define KMY_SIGNIN_LEEWAY_S        30  /* issuedAt ahead of our clock */

/* What was asked for.  domain: host of our public address (with its port if it has one); origin: scheme and domain, without a path.  chains: the
   CAIP-2 ids that were offered, chains_count of them. */
typedef struct kmy_signin_terms {
    const char *domain;
    const char *origin;
    const char *const *chains;
    size_t chains_count;
} kmy_signin_terms_t;

typedef struct kmy_signin {
    char account[KMY_ACCOUNT_BYTES_MAX]; /* CAIP-10 of the signer on the chain it named */
    char nonce[KMY_SIGNIN_NONCE_BYTES_MAX];
    int64_t issued_s;
    int64_t expires_s; /* what it says itself, INT64_MAX if nothing */
} kmy_signin_t;

/* KMY_OK and *out; else *out is untouched and ctx->detail says why:
     KMY_BAD_INPUT        no base64, no JSON, not of the shape
     KMY_UNAUTHENTICATED  another domain or origin, too old, expired, a signature of somebody else
     KMY_UNSUPPORTED      a chain that was not offered; a contract wallet's signature, which only its chain can judge */
kmy_err_t kmy_signin_verify(const char *header, size_t len, const kmy_signin_terms_t *terms,
                            int64_t now_s, kmy_signin_t *out, kmy_errctx_t *ctx);

/* RFC 3339 date and time to Unix seconds (a fraction is passed over): 2026-01-01T00:00:00.000Z, or with +hh:mm. */
bool kmy_signin_time(const char *text, size_t len, int64_t *out_s);

#endif
