#include "engine/account_routes.h"

#include "base/clock.h"
#include "engine/account.h"
#include "engine/conn.h"
#include "engine/bearer.h"
#include "engine/passes.h"
#include "engine/reply.h"
#include "engine/shard.h"
#include "engine/throttle.h"

#include <inttypes.h>
#include <string.h>

bool kmy_account_get_route(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                           kmy_view_t body)
{
    (void)body;
    kmy_shard_account_t *acc;
    kmy_token_claims_t claims;
    kmy_bearer_t p = kmy_bearer_find(s, c, req, NULL, NULL, &acc, &claims);
    if (p != KMY_BEARER_OK)
        return p != KMY_BEARER_PARKED;
    if (!kmy_throttle_account(s, c, req, acc->name))
        return true;
    kmy_buf_t b = kmy_reply_body(s);
    kmy_buf_str(&b, "{\"account\":");
    kmy_buf_json_str(&b, acc->name, strlen(acc->name));
    kmy_buf_str(&b, ",\"balance\":");
    kmy_buf_json_nusd(&b, kmy_account_balance(acc));
    kmy_buf_str(&b, ",\"token\":{\"jti\":");
    kmy_buf_json_str(&b, claims.jti, strlen(claims.jti));
    kmy_buf_fmt(&b,
                ",\"expires_at\":\"%" PRId64 "\"},\"sessions\":%u,\"tier\":%u,\"stake\":\"%" PRIu64
                "\",\"discount\":%u,\"passes\":",
                claims.expires_s * KMY_NS_PER_S, acc->conns_count,
                kmy_tier_of(&s->config->prices.tiers, acc->stake), acc->stake,
                acc->discount_percent);
    kmy_passes_put(s, acc, &b);
    kmy_buf_str(&b, "}");
    kmy_reply_json(s, c, req, &b);
    return true;
}

bool kmy_account_revoke_route(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                              kmy_view_t body)
{
    if (c->answered) {
        if (s->answer->err != KMY_OK) {
            kmy_reply_problem(s, c, req, (kmy_err_t)s->answer->err, s->answer->detail);
            return true;
        }
        kmy_buf_t b = kmy_reply_body(s);
        kmy_buf_str(&b, "{\"revoked\":");
        kmy_buf_json_str(&b, s->answer->text, strlen(s->answer->text));
        kmy_buf_str(&b, "}");
        kmy_reply_json(s, c, req, &b);
        return true;
    }
    kmy_shard_account_t *acc;
    kmy_token_claims_t claims;
    kmy_bearer_t p = kmy_bearer_find(s, c, req, NULL, NULL, &acc, &claims);
    if (p != KMY_BEARER_OK)
        return p != KMY_BEARER_PARKED;
    if (!kmy_throttle_account(s, c, req, acc->name))
        return true;
    if (body.len > 0) {
        kmy_json_t js;
        kmy_errctx_t ctx = { 0 };
        kmy_json_field_t f[] = { { .key = "jti" } };
        kmy_json_init(&js, body.ptr, body.len);
        if (kmy_json_object(&js, f, 1, &ctx) != KMY_OK) {
            kmy_reply_problem(s, c, req, KMY_BAD_INPUT, ctx.detail);
            return true;
        }
        if (f[0].token.type != KMY_JSON_ERROR && !kmy_json_is(f[0].token, claims.jti)) {
            kmy_reply_problem(s, c, req, KMY_FORBIDDEN,
                              "a token can revoke itself; others are revoked by showing them, or "
                              "by the operator");
            return true;
        }
    }
    kmy_ask_t a = { .kind = KMY_ASK_REVOKE,
                    .slot = kmy_conn_idx(s, c),
                    .gen = c->gen,
                    .when_s = claims.expires_s };
    memcpy(a.text, claims.jti, sizeof claims.jti);
    return !kmy_shard_ask_and_park(s, c, req, &a);
}
