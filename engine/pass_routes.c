/* dollar 4/7   in: a request   out: engine/keeper_pass */
#include "engine/pass_routes.h"

#include "engine/account.h"
#include "engine/bearer.h"
#include "engine/grant.h"
#include "engine/named_feed.h"
#include "engine/reply.h"
#include "engine/shard.h"
#include "engine/throttle.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What is asked for. */
typedef struct order {
    kmy_ask_t ask; /* feeds, from (their number), amount_nusd (of each), ref */
    int64_t need_nusd;
} order_t;

/* --- reading ------------------------------------------------------------------------------- */

static kmy_err_t read_name(const kmy_shard_t *s, kmy_json_token_t t, order_t *o, kmy_errctx_t *ctx)
{
    char name[KMY_FEED_NAME_BYTES_MAX];
    size_t len;
    const kmy_feed_t *feed = NULL;
    if (t.type != KMY_JSON_STRING)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "\"feeds\" must be an array of feed names");
    if (kmy_json_unescape(t, name, sizeof name, &len))
        feed = kmy_catalog_find(s->catalog, name, len);
    if (!feed)
        return KMY_FAIL(ctx, KMY_UNKNOWN_FEED,
                        "%.*s is no feed; GET /v1/feeds lists them (patterns are none here)",
                        t.len < 64 ? (int)t.len : 64, t.text);
    for (uint64_t i = 0; i < o->ask.from; i++) {
        if (o->ask.feeds[i] == feed->idx)
            return KMY_FAIL(ctx, KMY_BAD_INPUT, "%s is named twice", feed->name);
    }
    if (o->ask.from == KMY_PASS_FEEDS_MAX)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "at most %d feeds at once", KMY_PASS_FEEDS_MAX);
    o->ask.feeds[o->ask.from++] = (uint16_t)feed->idx;
    o->ask.amount_nusd = feed->pass_nusd; /* the same for all */
    return KMY_OK;
}

static kmy_err_t read_body(const kmy_shard_t *s, kmy_view_t body, order_t *o, kmy_errctx_t *ctx)
{
    kmy_json_t js;
    kmy_json_field_t f[] = { { .key = "feeds" } };
    kmy_json_init(&js, body.ptr, body.len);
    kmy_err_t err = kmy_json_object(&js, f, 1, ctx);
    if (err == KMY_OK && kmy_json_next(&js).type != KMY_JSON_END)
        err = KMY_FAIL(ctx, KMY_BAD_INPUT, "something follows the JSON object");
    if (err != KMY_OK)
        return err;
    kmy_json_t list;
    kmy_json_init(&list, f[0].token.text, f[0].token.len);
    if (f[0].token.type != KMY_JSON_ARRAY || kmy_json_next(&list).type != KMY_JSON_ARRAY)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "name feeds: {\"feeds\":[\"SOL/USD\"]}");
    kmy_json_token_t t = kmy_json_next(&list);
    for (; err == KMY_OK && t.type != KMY_JSON_ARRAY_END; t = kmy_json_next(&list))
        err = read_name(s, t, o, ctx);
    if (err == KMY_OK && o->ask.from == 0)
        err = KMY_FAIL(ctx, KMY_BAD_INPUT, "\"feeds\" is empty");
    return err;
}

static kmy_err_t read_key(const kmy_http_request_t *req, order_t *o, kmy_errctx_t *ctx)
{
    const kmy_view_t *h = kmy_http_header(req, "idempotency-key");
    if (!h)
        return KMY_OK;
    if (kmy_http_header_count(req, "idempotency-key") != 1 || h->len < 1 ||
        h->len >= KMY_PASS_KEY_BYTES_MAX || memchr(h->ptr, 0, h->len))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "Idempotency-Key must stand once, of 1 to %d bytes",
                        KMY_PASS_KEY_BYTES_MAX - 1);
    memcpy(o->ask.ref, h->ptr, h->len);
    return KMY_OK;
}

static kmy_err_t read_order(const kmy_shard_t *s, const kmy_http_request_t *req, kmy_view_t body,
                            order_t *o, kmy_errctx_t *ctx)
{
    memset(o, 0, sizeof *o);
    kmy_err_t err = read_body(s, body, o, ctx);
    if (err == KMY_OK)
        err = read_key(req, o, ctx);
    o->need_nusd = o->ask.amount_nusd * (int64_t)o->ask.from;
    return err;
}

static kmy_err_t check_scope(const kmy_shard_t *s, const order_t *o, const char *scope,
                             kmy_errctx_t *ctx)
{
    for (uint64_t i = 0; i < o->ask.from; i++) {
        const char *name = s->catalog->feeds[o->ask.feeds[i]].name;
        if (!kmy_token_allows(scope, name))
            return KMY_FAIL(ctx, KMY_FORBIDDEN, "the token is not for %s", name);
    }
    return KMY_OK;
}

/* --- answering ----------------------------------------------------------------------------- */

/* The same bytes for the same order, however often. */
static void answer_sale(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                        const kmy_tell_t *t)
{
    kmy_buf_t b = kmy_reply_body(s);
    kmy_buf_str(&b, "{\"passes\":[");
    for (uint32_t i = 0; i < t->passes.count; i++) {
        const char *name = s->catalog->feeds[t->passes.feed[i]].name;
        kmy_buf_str(&b, i ? ",{\"feed\":" : "{\"feed\":");
        kmy_buf_json_str(&b, name, strlen(name));
        kmy_buf_fmt(&b, ",\"expires_at\":\"%" PRId64 "\"}", t->passes.expires_ns[i]);
    }
    kmy_buf_str(&b, "],\"charged\":");
    kmy_buf_json_nusd(&b, t->amount_nusd);
    kmy_buf_str(&b, ",\"balance\":");
    kmy_buf_json_nusd(&b, t->free_nusd);
    kmy_buf_str(&b, "}");
    kmy_reply_json(s, c, req, &b);
}

/* Two requests may bring one payment at once, and each goes on: one order all the same. */
static void name_after_payment(const kmy_conn_t *c, order_t *o)
{
    if (kmy_grant_on_account(c) && !o->ask.ref[0])
        snprintf(o->ask.ref, sizeof o->ask.ref, "x402:%s", c->grant->payment_id);
}

/* Passes are paid out of the free balance: what this shard holds goes back as far as it is needed for that. */
static bool order(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                  kmy_shard_account_t *acc, order_t *o)
{
    int64_t short_nusd = o->need_nusd - acc->free_nusd;
    if (short_nusd > 0 && short_nusd <= acc->lease.left_nusd)
        kmy_account_give_back(s, acc, short_nusd);
    name_after_payment(c, o);
    o->ask.kind = KMY_ASK_PASSES;
    o->ask.slot = kmy_conn_idx(s, c);
    o->ask.gen = c->gen;
    o->ask.account_id = acc->id;
    o->ask.price_book = s->price_book;
    o->ask.discount_percent = acc->discount_percent;
    return !kmy_shard_ask_and_park(s, c, req, &o->ask);
}

/* The free balance did not reach, but what shards hold of it may: it comes here, and from here back. */
static bool collect(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                    const kmy_demand_t *demand, kmy_shard_account_t *acc, order_t *o)
{
    switch (kmy_account_cover(s, acc, o->need_nusd)) {
    case KMY_COVER_YES:
        kmy_account_give_back(s, acc, o->need_nusd);
        return order(s, c, req, acc, o);
    case KMY_COVER_WAIT:
        kmy_account_wait(s, acc, c);
        return false;
    default:
        kmy_demand_pay(s, c, req, demand, KMY_NO_BALANCE, NULL, "the balance does not cover it",
                       kmy_account_balance(acc), "");
        return true;
    }
}

bool kmy_pass_buy_route(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                        kmy_view_t body)
{
    order_t o;
    kmy_errctx_t ctx = { 0 };
    kmy_shard_account_t *acc;
    kmy_token_claims_t claims;
    bool sold = c->answered && s->answer; /* the keeper's answer, not the cashier's */
    kmy_err_t told = sold ? (kmy_err_t)s->answer->err : KMY_OK;
    if (sold && (told == KMY_OK || told == KMY_DUPLICATE)) {
        answer_sale(s, c, req, s->answer);
        return true;
    }
    if (sold && told != KMY_NO_BALANCE) {
        kmy_reply_problem(s, c, req, told, s->answer->detail);
        return true;
    }
    kmy_err_t err = read_order(s, req, body, &o, &ctx);
    if (err != KMY_OK) {
        if (kmy_throttle_stranger(s, c, req))
            kmy_reply_problem(s, c, req, err, ctx.detail);
        return true;
    }
    kmy_demand_t demand = kmy_demand_price("/v1/passes", "passes of these feeds", o.need_nusd);
    demand.to_account = true;
    demand.scoped = true;
    kmy_bearer_t p = kmy_bearer_find(s, c, req, NULL, &demand, &acc, &claims);
    if (p != KMY_BEARER_OK)
        return p != KMY_BEARER_PARKED;
    o.ask.amount_nusd = kmy_account_price(acc, o.ask.amount_nusd);
    o.need_nusd = demand.price_nusd = o.ask.amount_nusd * (int64_t)o.ask.from;
    if (told == KMY_NO_BALANCE)
        return collect(s, c, req, &demand, acc, &o);
    err = check_scope(s, &o, claims.scope, &ctx);
    if (err != KMY_OK)
        kmy_reply_problem(s, c, req, err, ctx.detail);
    else if (kmy_throttle_account(s, c, req, acc->name))
        return order(s, c, req, acc, &o);
    return true;
}
