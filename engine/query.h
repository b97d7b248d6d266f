/* query: the paid routes: one feed, or a batch of them, answered from the shard's newest values.

   Only what is delivered is charged: the answer is made first, then the lease is asked, then both happen. */
#ifndef KMY_ENGINE_QUERY_H
#define KMY_ENGINE_QUERY_H

#include "engine/shard_types.h"

/* All: true = answered, false = parked. */
bool kmy_query_get(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body);
bool kmy_query_post(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body);
bool kmy_query_batch(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body);

#endif
