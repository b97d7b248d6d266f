/* allow_route: POST /v1/tokens with a token and a body: a narrower token, without a sign-in.  Shard thread. */
#ifndef KMY_ENGINE_ALLOW_ROUTE_H
#define KMY_ENGINE_ALLOW_ROUTE_H

#include "engine/shard_types.h"

/* Is it that, and no sign-in or payment? */
bool kmy_allow_wanted(const kmy_http_request_t *req, kmy_view_t body);
/* {"spend":"0.05","feeds":[...],"ttl_s":600}.  Never wider than the token that is shown: its feeds, its end.  With spend it is a token of an account of its own,
   which has so much of the account's balance (pay/ledger_allow.h). */
bool kmy_allow_route(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body);

#endif
