/* routes: HTTP requests to answers.  One table for both doors (routes.c); a new route is a row there.

   into the store 2/2   in: store/snapshot (at start), ringbuf/ring   out: HTTP query and batch, from the shard's own newest values */
#ifndef KMY_ENGINE_ROUTES_H
#define KMY_ENGINE_ROUTES_H

#include "engine/shard_types.h"

/* Answers one whole request.  false: it was parked for an answer of the keeper; the same request comes again. */
bool kmy_route(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body);
/* Answers something that is no request, and closes. */
void kmy_route_refuse(kmy_shard_t *s, kmy_conn_t *c, kmy_err_t err, const kmy_errctx_t *ctx);
/* The keeper did not answer what the parked request waited for: it is refused so. */
void kmy_route_ledger_timeout(kmy_shard_t *s, kmy_conn_t *c);
/* The date for the Date header changes once a second. */
void kmy_route_date(kmy_shard_t *s);

#endif
