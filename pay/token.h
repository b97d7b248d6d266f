/* token: the bearer a customer shows: a JWT (RFC 7519) signed with HS256 (RFC 7515), bound to one account.

   One algorithm, fixed here; a header with any member but alg, typ and the kid of a key in our table is refused; canonical base64url only; every claim required (iss, sub, jti, iat, exp; times are integers), none twice; aud and nbf count if they are there (aud
   must be the string "kamiyo"), other claims are ignored; constant-time compare.  No state but the key: revocation is the caller's set. */
#ifndef KMY_PAY_TOKEN_H
#define KMY_PAY_TOKEN_H

#include "base/err.h"
#include "base/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KMY_TOKEN_ISSUER        "kamiyo"
#define KMY_TOKEN_KEY_BYTES_MIN 32
#define KMY_TOKEN_LEEWAY_S                                                                         \
    30 /* clocks that differ; RFC 7519 section 4.1.4 allows some, T2 at most this */
#define KMY_TOKEN_TIME_S_MAX INT64_C(9223372036) /* INT64_MAX nanoseconds, in the year 2262 */

/* A table of keys with their HMAC states prepared, so that a check costs two hash blocks less and no set-up.  The first signs, and its tokens name
   it (kid); the others are good for tokens that were signed before a rotation.  A token without a kid is tried with all of them.  It is only
   read once made, so threads may share it; the secrets themselves are not kept. */
enum { KMY_TOKEN_KEYS_MAX = 8, KMY_TOKEN_KID_BYTES = 9 /* 8 characters and a terminator */ };
typedef struct kmy_token_key kmy_token_key_t;
kmy_token_key_t *kmy_token_key_new(const void *secret, size_t len,
                                   kmy_errctx_t *ctx); /* NULL with ctx: fewer than 32 bytes */
/* Adds one that only checks.  The same key twice is one.  false with ctx: too short, or the table is full. */
bool kmy_token_key_add(kmy_token_key_t *key, const void *secret, size_t len, kmy_errctx_t *ctx);
size_t kmy_token_key_count(const kmy_token_key_t *key);
const char *kmy_token_key_id(const kmy_token_key_t *key); /* of the first: its kid */
void kmy_token_key_free(kmy_token_key_t *key);            /* wipes */

typedef struct kmy_token_claims {
    char account[KMY_ACCOUNT_BYTES_MAX]; /* sub */
    char jti[KMY_JTI_BYTES_MAX];
    int64_t issued_s;
    int64_t expires_s;
    char scope
        [KMY_SCOPE_BYTES_MAX]; /* scp: names and patterns of feeds, one blank between two; "": it is good for all */
    int64_t
        rate_per_min; /* rate: requests and streams a minute by this token; 0: as its account is limited */
} kmy_token_claims_t;
#define KMY_TOKEN_RATE_MAX 1000000

/* May a token of that scope have that feed (canonical name)? */
bool kmy_token_allows(const char *scope, const char *feed);
/* true for a scope that a token may carry: "" or words of 1 to KMY_PATTERN_BYTES_MAX bytes of printable ASCII without quotes and backslashes. */
bool kmy_token_scope_ok(const char *scope);

/* Signs into out (KMY_TOKEN_BYTES_MAX, terminated).  An empty jti is filled with 128 random bits.  KMY_BAD_INPUT: no account, no scope, no rate, or
   expires_s not in (issued_s, KMY_TOKEN_TIME_S_MAX]; KMY_TOO_BIG. */
kmy_err_t kmy_token_sign(kmy_token_key_t *key, kmy_token_claims_t *claims,
                         char out[KMY_TOKEN_BYTES_MAX], kmy_errctx_t *ctx);
/* KMY_OK and *claims; KMY_UNAUTHENTICATED: malformed, forged, other algorithm, other issuer, not yet valid (30 s of leeway);
   KMY_TOKEN_EXPIRED (only told of a genuine token).  *claims is untouched unless KMY_OK.  Same time for every wrong signature.  now_s
   in [0, KMY_TOKEN_TIME_S_MAX].  Never allocates. */
kmy_err_t kmy_token_verify(kmy_token_key_t *key, const char *token, size_t len, int64_t now_s,
                           kmy_token_claims_t *claims, kmy_errctx_t *ctx);

/* Reads a secret file (at least 32 bytes, at most cap; a trailing newline is dropped; must not be readable by others), or with an empty path
   (or NULL) <data>/token.key, made with 32 random bytes (0600) at first use.  KMY_CONFIG: missing, too short or long, open to others;
   KMY_IO.  Start-up only: blocks. */
kmy_err_t kmy_token_secret_load(const char *path, const char *data_dir, uint8_t *out, size_t cap,
                                size_t *len, kmy_errctx_t *ctx);

/* The whole table: that secret first, then the earlier ones in <data>/token.key.until-<seconds> whose time is not over at now_s.  NULL with ctx as
   above; KMY_CONFIG too: an earlier key is damaged or open to others.  Blocks. */
kmy_token_key_t *kmy_token_keys_load(const char *path, const char *data_dir, int64_t now_s,
                                     kmy_errctx_t *ctx);
/* Makes a new <data>/token.key.  The old one stays good for checks until until_s, by which its last token has expired; `drop`: it and all earlier
   ones are void at once (a key that leaked).  Files whose time is over at now_s are removed.  A crash leaves the old key in place, or the new one
   with the old beside it.  KMY_FULL: too many earlier keys are still needed; KMY_IO.  Blocks. */
kmy_err_t kmy_token_keys_rotate(const char *data_dir, int64_t now_s, int64_t until_s, bool drop,
                                kmy_errctx_t *ctx);

#endif
