#include "engine/mint.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

kmy_err_t kmy_mint_put(kmy_shard_t *s, const char *account, int64_t life_s, kmy_buf_t *b,
                       kmy_errctx_t *ctx)
{
    return kmy_mint_put_scoped(s, account, life_s, "", b, ctx);
}

kmy_err_t kmy_mint_put_scoped(kmy_shard_t *s, const char *account, int64_t life_s,
                              const char *scope, kmy_buf_t *b, kmy_errctx_t *ctx)
{
    char token[KMY_TOKEN_BYTES_MAX];
    kmy_token_claims_t claims = { .issued_s = s->now_wall_ns / KMY_NS_PER_S };
    claims.expires_s =
        claims.issued_s + (life_s > 0 ? life_s : s->config->tokens.lifetime_ns / KMY_NS_PER_S);
    snprintf(claims.account, sizeof claims.account, "%s", account);
    snprintf(claims.scope, sizeof claims.scope, "%s", scope);
    kmy_err_t err = kmy_token_sign(s->token_key, &claims, token, ctx);
    if (err != KMY_OK)
        return err;
    kmy_buf_str(b, "\"account\":");
    kmy_buf_json_str(b, claims.account, strlen(claims.account));
    kmy_buf_fmt(b, ",\"token\":\"%s\",\"jti\":\"%s\",\"expires_at\":\"%" PRId64 "\"", token,
                claims.jti, claims.expires_s * KMY_NS_PER_S);
    return KMY_OK;
}
