/* snapshot_route: GET /v1/snapshot: the newest value of every feed in one answer, as JSON, as FlatBuffers, or as an LMDB environment.

   Costs what a batch of the feeds in it costs.  The LMDB file is made by the history reader (engine/page, engine/history_export) and sent in pieces
   (engine/body); the other two are what this shard has.  Shard thread. */
#ifndef KMY_ENGINE_SNAPSHOT_ROUTE_H
#define KMY_ENGINE_SNAPSHOT_ROUTE_H

#include "engine/shard_types.h"

/* The route.  true: answered, false: parked. */
bool kmy_snapshot_get(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                      kmy_view_t body);

#endif
