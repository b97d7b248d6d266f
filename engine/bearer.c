/* dollar 5/7   in: a request   out: engine/account */
#include "engine/bearer.h"

#include "engine/account.h"
#include "engine/conn.h"
#include "engine/grant.h"
#include "engine/paid.h"
#include "engine/reply.h"
#include "engine/stream.h"
#include "engine/throttle.h"

#include <string.h>

static const char why_unpaid[] =
    "this costs money: pay for it, or send a token of a funded account";

static kmy_err_t check_bearer(kmy_shard_t *s, const kmy_http_request_t *req, const char *shown,
                              kmy_token_claims_t *claims, kmy_errctx_t *ctx)
{
    static const char scheme[] = "bearer ";
    const kmy_view_t *h = kmy_http_header(req, "authorization");
    if (!h && shown)
        return kmy_stream_check_token(s, shown, strlen(shown), claims, ctx);
    if (kmy_http_header_count(req, "authorization") != 1 || !h || h->len < sizeof scheme - 1 ||
        !kmy_view_is_nocase((kmy_view_t){ h->ptr, sizeof scheme - 1 }, scheme))
        return KMY_FAIL(ctx, KMY_UNAUTHENTICATED, "Authorization must be one Bearer token");
    return kmy_stream_check_token(s, h->ptr + sizeof scheme - 1, h->len - (sizeof scheme - 1),
                                  claims, ctx);
}

kmy_bearer_t kmy_bearer_find(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                             const char *shown, const kmy_demand_t *demand,
                             kmy_shard_account_t **acc, kmy_token_claims_t *claims)
{
    kmy_errctx_t ctx = { 0 };
    if (demand && demand->to_account && demand->price_nusd > 0 && !c->grant &&
        kmy_paid_wanted(req)) {
        bool done;
        if (!kmy_paid_onto_account(s, c, req, demand, &done))
            return done ? KMY_BEARER_ANSWERED : KMY_BEARER_PARKED;
    }
    bool granted = kmy_grant_on_account(c);
    if (!granted && !shown && !kmy_http_header(req, "authorization") && demand &&
        demand->price_nusd > 0) {
        if (kmy_throttle_address(s, c, req))
            kmy_demand_pay(s, c, req, demand, KMY_UNPAID, NULL, why_unpaid, 0, "");
        return KMY_BEARER_ANSWERED;
    }
    kmy_err_t err = KMY_OK;
    if (granted)
        kmy_grant_claims(s, c, claims);
    else
        err = check_bearer(s, req, shown, claims, &ctx);
    if (err == KMY_OK && !granted && !kmy_throttle_token(s, c, req, claims))
        return KMY_BEARER_ANSWERED;
    if (err == KMY_OK && claims->scope[0] && demand && !demand->scoped)
        err = KMY_FAIL(&ctx, KMY_FORBIDDEN,
                       "the token is for some feeds only, this wants one for all");
    if (err == KMY_OK) {
        *acc = kmy_account_get(s, claims->account);
        if (*acc && (*acc)->state == KMY_ACCOUNT_OPENING) {
            kmy_account_wait(s, *acc, c);
            return KMY_BEARER_PARKED;
        }
        if (!*acc)
            err = KMY_FAIL(&ctx, KMY_FULL, "too many accounts at once; try again later");
        else if ((*acc)->state == KMY_ACCOUNT_UNKNOWN)
            err = KMY_FAIL(&ctx, KMY_UNAUTHENTICATED, "the token's account is not in this ledger");
    }
    if (err == KMY_OK) {
        kmy_conn_prove(s, c);
        return KMY_BEARER_OK;
    }
    bool full = err == KMY_FULL;
    if (full || kmy_throttle_address(s, c, req))
        kmy_reply_problem_with(s, c, req, err, ctx.detail,
                               full ? "Retry-After: 1\r\n" : "WWW-Authenticate: Bearer\r\n", NULL);
    return KMY_BEARER_ANSWERED;
}

kmy_bearer_t kmy_bearer_cover(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                              const kmy_demand_t *demand, kmy_shard_account_t *acc,
                              int64_t price_nusd)
{
    kmy_demand_t its = *demand;
    its.price_nusd = price_nusd;
    switch (kmy_account_cover(s, acc, price_nusd)) {
    case KMY_COVER_YES: /* a HEAD costs nothing, so it counts as what costs nothing does */
        return !s->head_only || kmy_throttle_account(s, c, req, acc->name) ? KMY_BEARER_OK
                                                                           : KMY_BEARER_ANSWERED;
    case KMY_COVER_WAIT:
        kmy_account_wait(s, acc, c);
        return KMY_BEARER_PARKED;
    default:
        kmy_demand_pay(s, c, req, &its, KMY_NO_BALANCE, NULL, "the balance does not cover it",
                       kmy_account_balance(acc), "");
        return KMY_BEARER_ANSWERED;
    }
}

kmy_bearer_t kmy_bearer_secure(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                               const char *shown, const kmy_demand_t *demand,
                               kmy_shard_account_t **acc, kmy_token_claims_t *claims)
{
    kmy_bearer_t p = kmy_bearer_find(s, c, req, shown, demand, acc, claims);
    if (p != KMY_BEARER_OK)
        return p;
    return kmy_bearer_cover(s, c, req, demand, *acc, kmy_account_price(*acc, demand->price_nusd));
}
