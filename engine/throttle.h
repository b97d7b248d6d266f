/* throttle: the limits of limiter.h at a shard's doors: who is counted where, and how a refusal is said.

   Counted per address is what ends without a valid token: an answer to a request that showed none, or a bad one; a stream that never authenticated.
   Whoever shows a valid token is never counted nor refused by address, so that any number of paying clients may share one.  Counted per account are
   routes that cost nothing; what is paid for is limited by money.  A malformed request is not counted: it ends its connection.

   The lines RateLimit, RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10) and X-RateLimit-* are left in shard->limit_lines; kmy_reply sends
   them with the answer to this very request.  Shard thread. */
#ifndef KMY_ENGINE_THROTTLE_H
#define KMY_ENGINE_THROTTLE_H

#include "engine/shard_types.h"

/* Each: true, go on and answer; false: 429 was answered instead. */
/* A request to a route that costs nothing: counts for the account of its token, if that is valid, else for the address. */
bool kmy_throttle_free(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req);
/* An answer other than the data asked for, to somebody who may have shown no valid token: counts for the address then, else not at all. */
bool kmy_throttle_stranger(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req);
/* The same where the token is known to be missing or bad. */
bool kmy_throttle_address(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req);
/* What the last one took for this request, if it did, is given back: it showed that it is a customer's after all. */
void kmy_throttle_undo(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req);
bool kmy_throttle_account(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                          const char *account);

/* A valid token was shown with this request: counts for the token, once a request however often it is looked at, if it has a rate of its own. */
bool kmy_throttle_token(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                        const kmy_token_claims_t *claims);
/* The same of a stream.  0: within its rate; else: milliseconds until it is again. */
int64_t kmy_throttle_token_stream(kmy_shard_t *s, const kmy_token_claims_t *claims);

/* A stream that never authenticated ends: counts for its address, once.  0: within the limit; else: milliseconds until it is again. */
int64_t kmy_throttle_session(kmy_shard_t *s, kmy_conn_t *c);
/* A whole message or control frame of `bytes` came in.  false: too many, the stream was closed with 4429. */
bool kmy_throttle_message(kmy_shard_t *s, kmy_conn_t *c, size_t bytes);
/* Payload bytes of a message that may not be whole, before authentication.  false as above. */
bool kmy_throttle_early(kmy_shard_t *s, kmy_conn_t *c, size_t bytes);

#endif
