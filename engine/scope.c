#include "engine/scope.h"

#include <stdlib.h>
#include <string.h>

bool kmy_scope_take(kmy_conn_t *c, const kmy_token_claims_t *claims)
{
    char *scope = claims->scope[0] ? strdup(claims->scope) : NULL;
    if (claims->scope[0] && !scope)
        return false;
    free(c->scope);
    c->scope = scope;
    c->jti_hash = kmy_hash(claims->jti, strlen(claims->jti));
    c->token_expires_s = claims->expires_s;
    return true;
}

bool kmy_scope_covers(const kmy_shard_t *s, const kmy_conn_t *c, const char *scope)
{
    for (uint32_t i = c->subs_head; i != KMY_NONE; i = s->subs[i].next) {
        if (!kmy_token_allows(scope, s->catalog->feeds[s->subs[i].feed].name))
            return false;
    }
    return true;
}

kmy_err_t kmy_scope_check(const kmy_shard_t *s, const char *scope, const kmy_selection_t *sel,
                          kmy_errctx_t *ctx)
{
    for (uint32_t i = 0; scope && scope[0] && i < sel->count; i++) {
        const char *feed = s->catalog->feeds[sel->feed[i]].name;
        if (!kmy_token_allows(scope, feed))
            return KMY_FAIL(ctx, KMY_FORBIDDEN, "the token is not for %s", feed);
    }
    return KMY_OK;
}
