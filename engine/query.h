/* query: the paid routes: one feed, or a batch of them, answered from the shard's newest values.

   Only what is delivered is charged: the answer is made first, then the lease is asked, then both happen. */
#ifndef KMY_ENGINE_QUERY_H
#define KMY_ENGINE_QUERY_H

#include "engine/shard_types.h"

/* All: true = answered, false = parked. */
bool kmy_query_get(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body);
bool kmy_query_post(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body);
bool kmy_query_batch(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body);

/* Who pays for this request, by its bearer or else by `shown` (a token shown in another way; NULL: none), and that price_nusd lies in the
   account's lease; for routes that take no payment of their own (who shows no token is offered a deposit).  false: refused with the whole answer sent (*answered), or parked, and the request comes again. */
bool kmy_query_secure(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                      const char *shown, int64_t price_nusd, kmy_shard_account_t **acc,
                      kmy_token_claims_t *claims, bool *answered);
/* The same for a route that looks itself whether the token is for the feeds asked for; kmy_query_secure refuses a token that is not for all. */
bool kmy_query_secure_scoped(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                             const char *shown, int64_t price_nusd, kmy_shard_account_t **acc,
                             kmy_token_claims_t *claims, bool *answered);

#endif
