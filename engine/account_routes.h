/* account_routes: what the holder of a token may see of its account, and that it may give the token up.  Shard thread. */
#ifndef KMY_ENGINE_ACCOUNT_ROUTES_H
#define KMY_ENGINE_ACCOUNT_ROUTES_H

#include "engine/shard_types.h"

/* All: true = answered, false = parked. */
bool kmy_account_get_route(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                           kmy_view_t body);
bool kmy_account_revoke_route(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                              kmy_view_t body);
/* ?window=1h, 24h (default) or 30d, &cursor= of the page before. */
bool kmy_account_usage_route(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                             kmy_view_t body);

#endif
