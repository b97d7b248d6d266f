/* scope: what a session's token is for, and until when.  Shard thread. */
#ifndef KMY_ENGINE_SCOPE_H
#define KMY_ENGINE_SCOPE_H

#include "engine/selection.h"
#include "engine/shard_types.h"

/* The token's claims become the session's.  false: no memory for its scope, and then nothing of it counts. */
bool kmy_scope_take(kmy_conn_t *c, const kmy_token_claims_t *claims);
/* Another token on a live socket may not be for what is subscribed already: true if it is. */
bool kmy_scope_covers(const kmy_shard_t *s, const kmy_conn_t *c, const char *scope);
/* KMY_FORBIDDEN: one of these feeds is not in it.  NULL or "": all are. */
kmy_err_t kmy_scope_check(const kmy_shard_t *s, const char *scope, const kmy_selection_t *sel,
                          kmy_errctx_t *ctx);

#endif
