/* dollar 4/7   in: a request   out: engine/keeper_allow */
#include "engine/allow_route.h"

#include "base/clock.h"
#include "engine/account.h"
#include "engine/bearer.h"
#include "engine/conn.h"
#include "engine/mint.h"
#include "engine/paid.h"
#include "engine/reply.h"
#include "engine/shard.h"
#include "engine/throttle.h"

#include <stdio.h>
#include <string.h>

enum { KEY_BYTES_MAX = 100 };

bool kmy_allow_wanted(const kmy_http_request_t *req, kmy_view_t body)
{
    return body.len > 0 && kmy_http_header(req, "authorization") && !kmy_paid_wanted(req) &&
           !kmy_http_header(req, "sign-in-with-x");
}

/* --- what is asked for ------------------------------------------------------------------------- */

static kmy_err_t read_wish(const kmy_shard_t *s, kmy_view_t body, kmy_mint_wish_t *w,
                           kmy_errctx_t *ctx)
{
    kmy_json_t js;
    kmy_json_init(&js, body.ptr, body.len);
    kmy_err_t err = kmy_json_object(&js, NULL, 0, ctx);
    if (err == KMY_OK && kmy_json_next(&js).type != KMY_JSON_END)
        err = KMY_FAIL(ctx, KMY_BAD_INPUT, "something follows the JSON object");
    if (err == KMY_OK)
        err = kmy_mint_read(s, body, w, ctx);
    if (err == KMY_OK && !w->scope[0] && w->ttl_s == 0 && w->spend_nusd == 0 &&
        w->rate_per_min == 0)
        err = KMY_FAIL(ctx, KMY_BAD_INPUT,
                       "say what the token is for: \"spend\", \"feeds\", \"rate\" or \"ttl_s\"");
    return err;
}

/* A pattern is within another one that matches its text, since nothing but a star matches a star. */
static kmy_err_t narrow_scope(kmy_mint_wish_t *w, const char *shown, kmy_errctx_t *ctx)
{
    char word[KMY_SCOPE_BYTES_MAX];
    if (!w->scope[0]) {
        memcpy(w->scope, shown, sizeof w->scope);
        return KMY_OK;
    }
    for (const char *at = w->scope; *at;) {
        size_t n = strcspn(at, " ");
        snprintf(word, sizeof word, "%.*s", (int)n, at);
        if (!kmy_token_allows(shown, word))
            return KMY_FAIL(ctx, KMY_FORBIDDEN, "the token that is shown is not for %s", word);
        at += n + (at[n] == ' ');
    }
    return KMY_OK;
}

/* *expires_s of the new token. */
static kmy_err_t narrow(const kmy_shard_t *s, const kmy_token_claims_t *shown, kmy_mint_wish_t *w,
                        int64_t *expires_s, kmy_errctx_t *ctx)
{
    int64_t now_s = s->now_wall_ns / KMY_NS_PER_S;
    int64_t life_s = w->ttl_s > 0 ? w->ttl_s : s->config->tokens.lifetime_ns / KMY_NS_PER_S;
    *expires_s = now_s + life_s;
    if (shown->rate_per_min > 0) /* each would have a bucket of its own */
        return KMY_FAIL(ctx, KMY_FORBIDDEN, "a token with a rate makes no others");
    if (*expires_s > shown->expires_s && w->ttl_s > 0)
        return KMY_FAIL(ctx, KMY_FORBIDDEN, "the token that is shown ends in %lld s",
                        (long long)(shown->expires_s - now_s));
    if (*expires_s > shown->expires_s)
        *expires_s = shown->expires_s;
    if (*expires_s <= now_s)
        return KMY_FAIL(ctx, KMY_FORBIDDEN, "the token that is shown is over");
    return narrow_scope(w, shown->scope, ctx);
}

/* --- answers ----------------------------------------------------------------------------------- */

/* Of the same account. */
static void answer_same(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                        const kmy_shard_account_t *acc, const kmy_mint_wish_t *w, int64_t expires_s)
{
    kmy_errctx_t ctx = { 0 };
    kmy_token_claims_t claims = { .issued_s = s->now_wall_ns / KMY_NS_PER_S,
                                  .expires_s = expires_s,
                                  .rate_per_min = w->rate_per_min };
    kmy_buf_t b = kmy_reply_body(s);
    snprintf(claims.account, sizeof claims.account, "%s", acc->name);
    memcpy(claims.scope, w->scope, sizeof claims.scope);
    kmy_buf_str(&b, "{");
    kmy_err_t err = kmy_mint_put_claims(s, &claims, &b, &ctx);
    kmy_buf_str(&b, ",\"balance\":");
    kmy_buf_json_nusd(&b, kmy_account_balance(acc));
    kmy_buf_str(&b, "}");
    if (err == KMY_OK)
        kmy_reply_json(s, c, req, &b);
    else
        kmy_reply_problem(s, c, req, err, ctx.detail);
}

static void answer_allowance(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                             const kmy_mint_wish_t *w)
{
    kmy_errctx_t ctx = { 0 };
    kmy_buf_t b = kmy_reply_body(s);
    kmy_buf_str(&b, "{");
    kmy_err_t err = kmy_mint_put_allowance(s, s->answer, w, &b, &ctx);
    kmy_buf_str(&b, "}");
    if (err == KMY_OK)
        kmy_reply_json(s, c, req, &b);
    else
        kmy_reply_problem(s, c, req, err, ctx.detail);
}

/* --- the balance ------------------------------------------------------------------------------- */

/* As passes are: out of the free balance, so what this shard holds goes back as far as it is needed for that. */
static bool ask(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                kmy_shard_account_t *acc, kmy_ask_t *a)
{
    int64_t short_nusd = a->spend_nusd - acc->free_nusd;
    if (short_nusd > 0 && short_nusd <= acc->lease.left_nusd)
        kmy_account_give_back(s, acc, short_nusd);
    a->kind = KMY_ASK_ALLOW;
    a->slot = kmy_conn_idx(s, c);
    a->gen = c->gen;
    a->account_id = acc->id;
    return !kmy_shard_ask_and_park(s, c, req, a);
}

/* The free balance did not reach, but what shards hold of it may. */
static bool collect(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                    kmy_shard_account_t *acc, kmy_ask_t *a)
{
    switch (kmy_account_cover(s, acc, a->spend_nusd)) {
    case KMY_COVER_YES:
        kmy_account_give_back(s, acc, a->spend_nusd);
        return ask(s, c, req, acc, a);
    case KMY_COVER_WAIT:
        kmy_account_wait(s, acc, c);
        return false;
    default: {
        kmy_demand_t demand = kmy_demand_deposit("/v1/tokens", 0);
        kmy_demand_pay(s, c, req, &demand, KMY_NO_BALANCE, NULL, "the balance does not cover it",
                       kmy_account_balance(acc), "");
        return true;
    }
    }
}

static kmy_err_t read_key(const kmy_http_request_t *req, const kmy_view_t **key, kmy_errctx_t *ctx)
{
    *key = kmy_http_header(req, "idempotency-key");
    if (*key && (kmy_http_header_count(req, "idempotency-key") != 1 || (*key)->len < 1 ||
                 (*key)->len > KEY_BYTES_MAX))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "Idempotency-Key must stand once, of 1 to %d bytes",
                        KEY_BYTES_MAX);
    return KMY_OK;
}

bool kmy_allow_route(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    kmy_mint_wish_t w;
    kmy_errctx_t ctx = { 0 };
    kmy_shard_account_t *acc;
    kmy_token_claims_t claims;
    const kmy_view_t *key;
    kmy_ask_t a = { 0 };
    int64_t expires_s;
    bool told = c->answered && s->answer;
    kmy_err_t answer = told ? (kmy_err_t)s->answer->err : KMY_OK;
    if (told && answer != KMY_OK && answer != KMY_NO_BALANCE) {
        kmy_reply_problem(s, c, req, answer, s->answer->detail);
        return true;
    }
    kmy_bearer_t p = kmy_bearer_find(s, c, req, NULL, NULL, &acc, &claims);
    if (p != KMY_BEARER_OK)
        return p != KMY_BEARER_PARKED;
    if (!told && !kmy_throttle_account(s, c, req, acc->name))
        return true;
    kmy_err_t err = read_wish(s, body, &w, &ctx);
    kmy_mint_wish_t asked =
        w; /* what a repetition is compared by: the end of the token shown is not of it */
    if (err == KMY_OK)
        err = read_key(req, &key, &ctx);
    bool made =
        told && answer == KMY_OK; /* since then it got later, which is no reason to refuse */
    if (err == KMY_OK)
        err =
            made ? narrow_scope(&w, claims.scope, &ctx) : narrow(s, &claims, &w, &expires_s, &ctx);
    if (err == KMY_OK && made) {
        answer_allowance(s, c, req, &w);
        return true;
    }
    if (err == KMY_OK && w.spend_nusd == 0) {
        answer_same(s, c, req, acc, &w, expires_s);
        return true;
    }
    if (err == KMY_OK)
        err = kmy_mint_ask_allowance(&asked, acc->name, key, expires_s, &a, &ctx);
    if (err != KMY_OK) {
        kmy_reply_problem(s, c, req, err, ctx.detail);
        return true;
    }
    return told ? collect(s, c, req, acc, &a) : ask(s, c, req, acc, &a);
}
