/* spec: the public door described for machines, docs/openapi.json and docs/asyncapi.json as they were when this was built.
   Free, without a token, counted like every free route.  Shard thread. */
#ifndef KMY_ENGINE_SPEC_H
#define KMY_ENGINE_SPEC_H

#include "engine/shard_types.h"

bool kmy_spec_openapi(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                      kmy_view_t body);
bool kmy_spec_asyncapi(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                       kmy_view_t body);

#endif
