/* admin: the operator's door: metrics and health for anybody who reaches it, verbs for who has the bearer of <data>/admin.token. */
#ifndef KMY_ENGINE_ADMIN_H
#define KMY_ENGINE_ADMIN_H

#include "engine/shard_types.h"

/* A browser must not be talked into operating us: no Origin, and a Host that is a loopback name or the address the door is bound to. */
bool kmy_admin_allows(const kmy_shard_t *s, const kmy_http_request_t *req, kmy_errctx_t *ctx);

/* Does it show the operator's bearer?  false: 401 was answered. */
bool kmy_admin_operator(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req);

/* All: true = answered, false = parked. */
bool kmy_admin_metrics(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                       kmy_view_t body);
bool kmy_admin_live(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body);
bool kmy_admin_ready(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body);
bool kmy_admin_mint(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body);
bool kmy_admin_rotate(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                      kmy_view_t body);
bool kmy_admin_revoke(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                      kmy_view_t body);
bool kmy_admin_account(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                       kmy_view_t body);
bool kmy_admin_ledger(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                      kmy_view_t body);
bool kmy_admin_conns(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body);
bool kmy_admin_sources(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                       kmy_view_t body);

#endif
