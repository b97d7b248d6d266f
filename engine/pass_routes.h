/* pass_routes: POST /v1/passes.  Shard thread. */
#ifndef KMY_ENGINE_PASS_ROUTES_H
#define KMY_ENGINE_PASS_ROUTES_H

#include "engine/shard_types.h"

/* true = answered, false = parked. */
bool kmy_pass_buy_route(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                        kmy_view_t body);

#endif
