/* dollar 1/7 and 7/7   in: engine/routes   out: engine/paid, engine/slips */
/* pay_routes: where a payer comes to terms with us: deposit, sign-in, a transfer made alone, how a payment stands, and what we take at all. */
#ifndef KMY_ENGINE_PAY_ROUTES_H
#define KMY_ENGINE_PAY_ROUTES_H

#include "engine/shard_types.h"

/* All: true = answered, false = parked. */
bool kmy_pay_deposit(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body);
bool kmy_pay_tokens(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body);
bool kmy_pay_transfer(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                      kmy_view_t body);
bool kmy_pay_state(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body);
bool kmy_pay_about(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body);

#endif
