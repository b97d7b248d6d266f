/* mint: a new token for an account, as an answer shows it.  Shard thread. */
#ifndef KMY_ENGINE_MINT_H
#define KMY_ENGINE_MINT_H

#include "engine/shard_types.h"

/* Writes "account":...,"token":...,"jti":...,"expires_at":... (ns) without braces.  life_s as tokens.lifetime allows; 0: that one.  The account need not have
   been credited yet: the token is good once it is. */
kmy_err_t kmy_mint_put(kmy_shard_t *s, const char *account, int64_t life_s, kmy_buf_t *b,
                       kmy_errctx_t *ctx);
/* The same for some feeds only: names and patterns, one blank between two (pay/token.h). */
kmy_err_t kmy_mint_put_scoped(kmy_shard_t *s, const char *account, int64_t life_s,
                              const char *scope, kmy_buf_t *b, kmy_errctx_t *ctx);

#endif
