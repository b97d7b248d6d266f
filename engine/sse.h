/* sse: GET /v1/stream by server-sent events: the request, up to the first event.  From there on it is a session like one of WebSocket
   (stream.h), whose ticks are gathered in order of seq (egress_gather.c). */
#ifndef KMY_ENGINE_SSE_H
#define KMY_ENGINE_SSE_H

#include "engine/shard_types.h"

/* Does the request ask for events?  Only if it names text/event-stream: a browser that shows the address is not to begin a paid stream. */
bool kmy_sse_wanted(const kmy_http_request_t *req);
/* true = answered, or begun; false = parked. */
bool kmy_sse_get(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req);

#endif
