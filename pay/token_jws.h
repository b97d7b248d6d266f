/* token: the signed envelope (RFC 7515 compact serialization, HS256), without its claims.  Pure; no allocation but kmy_token_key_new. */
#ifndef KMY_PAY_TOKEN_JWS_H
#define KMY_PAY_TOKEN_JWS_H

#include "base/limits.h"
#include "pay/token.h"

/* base64url of {"alg":"HS256","typ":"JWT"}: a header without a kid.  Those we make have one behind it. */
#define KMY_TOKEN_HEADER           "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"
#define KMY_TOKEN_HEADER_BYTES_MAX 96 /* of JSON; RFC 7515 A.1 has 29 */
#define KMY_TOKEN_PAYLOAD_BYTES_MAX                                                                \
    684 /* of JSON: 684 x 4/3 + 60 + 1 + 1 + 44 + 1 < KMY_TOKEN_BYTES_MAX */
#define KMY_TOKEN_HEAD_BYTES_MAX 60 /* base64url of {"alg":"HS256","typ":"JWT","kid":"12345678"} */

_Static_assert(KMY_TOKEN_PAYLOAD_BYTES_MAX / 3 * 4 + 4 + KMY_TOKEN_HEAD_BYTES_MAX + 1 + 44 + 1 <=
                   KMY_TOKEN_BYTES_MAX,
               "the largest payload fits the largest token");

/* Signs payload[0..len) into out, terminated; returns the length, 0 if it does not fit. */
size_t kmy_token_jws_sign(const kmy_token_key_t *key, const void *payload, size_t len, char *out,
                          size_t cap);
/* KMY_OK: token is HS256, in canonical form, signed with key; payload (not terminated) is its content, of whatever kind.
   KMY_UNAUTHENTICATED: anything else; payload then holds rubbish.  Also what `kamiyo check jws` asks. */
kmy_err_t kmy_token_jws_open(const kmy_token_key_t *key, const char *token, size_t len,
                             char payload[KMY_TOKEN_PAYLOAD_BYTES_MAX], size_t *payload_len,
                             kmy_errctx_t *ctx);

/* HMAC-SHA256 under the key, for what else must be known as ours again (pay/signin_nonce.h).  A text that could stand before the last point of a JWT
   must not be given: it begins with something that is not base64url. */
#define KMY_TOKEN_MAC_BYTES 32
/* Its key outlives a rotation within one process: what was given out is known as long as the process lives, also to a thread that was not told of
   the new table.  _keep makes `key` use that of `old`, before anybody reads it. */
void kmy_token_mac_keep(kmy_token_key_t *key, const kmy_token_key_t *old);
void kmy_token_mac(const kmy_token_key_t *key, const void *text, size_t len,
                   uint8_t out[KMY_TOKEN_MAC_BYTES]);

#endif
