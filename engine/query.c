#include "engine/query.h"

#include "engine/account.h"
#include "engine/paid.h"
#include "engine/bearer.h"
#include "engine/query_ask.h"
#include "engine/reply.h"
#include "engine/throttle.h"
#include "engine/uses.h"

#include <stdio.h>
#include <string.h>

enum {
    BATCH_MAX = 100,
    BATCH_HINTS_MAX =
        8, /* unknown feeds of a batch that are told the nearest name: a search each */
};

static const char not_for_it[] = "the token is not for this feed";
static const char path_one[] = "/v1/ingest-data", path_batch[] = "/v1/ingest-data/batch";

/* The last members of an answer. */
static void put_bill(kmy_buf_t *b, int64_t charged_nusd, int64_t left_nusd)
{
    kmy_buf_str(b, ",\"charged\":");
    kmy_buf_json_nusd(b, charged_nusd);
    kmy_buf_str(b, ",\"balance\":");
    kmy_buf_json_nusd(b, left_nusd);
    kmy_buf_str(b, "}");
}

/* A question that is none. */
static bool refuse(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, const char *why)
{
    if (kmy_throttle_stranger(s, c, req))
        kmy_reply_problem(s, c, req, KMY_BAD_INPUT, why);
    return true;
}

/* --- one feed ------------------------------------------------------------------------------ */

static void put_one(kmy_shard_t *s, const kmy_query_ask_t *a, int64_t charged_nusd,
                    int64_t left_nusd, kmy_buf_t *b)
{
    kmy_buf_str(b, "{");
    kmy_query_put(s, b, a->feed);
    put_bill(b, charged_nusd, left_nusd);
}

static bool compose_one(kmy_shard_t *s, void *arg, kmy_paid_bill_t *bill, kmy_buf_t *b)
{
    kmy_query_ask_t *a = arg;
    kmy_query_check(s, a); /* it may have gone stale meanwhile */
    if (a->err != KMY_OK ||
        !kmy_paid_charge(bill, a->feed->query_nusd, kmy_use_feed(a->feed->idx), 0))
        return false;
    put_one(s, a, bill->charged_nusd, bill->left_nusd, b);
    return true;
}

static bool refuse_ask(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                       kmy_query_ask_t *a)
{
    if (!kmy_paid_slip(s, c) && !kmy_throttle_stranger(s, c, req)) /* else it was counted */
        return true;
    kmy_query_hint(s, a);
    char text[KMY_FEED_NAME_BYTES_MAX * 6 + 32];
    kmy_buf_t more = kmy_buf(text, sizeof text);
    const char *retry = kmy_err_http(a->err) == 503 ? "Retry-After: 1\r\n" : "";
    if (*retry)
        kmy_buf_str(&more, ",\"retry_after_ms\":1000");
    if (a->closest) {
        kmy_buf_str(&more, ",\"closest\":");
        kmy_buf_json_str(&more, a->closest->name, strlen(a->closest->name));
    }
    kmy_reply_problem_with(s, c, req, a->err, a->detail, retry, &more);
    return true;
}

static bool pay_one(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                    kmy_query_ask_t *a, const kmy_demand_t *demand)
{
    const kmy_ware_t ware = { .compose = compose_one, .arg = a };
    kmy_query_check(s, a);
    kmy_sold_t sold = kmy_paid_sell(s, c, req, demand, &ware, a->err == KMY_OK);
    return sold == KMY_SOLD_NOTHING ? refuse_ask(s, c, req, a) : sold != KMY_SOLD_PARKED;
}

static bool answer_one(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                       kmy_query_ask_t *a)
{
    if (a->err != KMY_OK)
        return refuse_ask(s, c, req, a);
    kmy_demand_t demand =
        kmy_demand_price(path_one, "the newest tick of one feed", a->feed->query_nusd);
    demand.scoped = true;
    if (kmy_paid_wanted(req) && demand.price_nusd > 0)
        return pay_one(s, c, req, a, &demand);
    if (kmy_http_header(req, "authorization")) /* who shows none learns the price, not our state */
        kmy_query_check(s, a);
    if (a->err != KMY_OK)
        return refuse_ask(s, c, req, a);
    kmy_shard_account_t *acc;
    kmy_token_claims_t claims;
    kmy_bearer_t p = kmy_bearer_secure(s, c, req, NULL, &demand, &acc, &claims);
    if (p != KMY_BEARER_OK)
        return p != KMY_BEARER_PARKED;
    if (!kmy_token_allows(claims.scope, a->feed->name)) {
        kmy_reply_problem(s, c, req, KMY_FORBIDDEN, not_for_it);
        return true;
    }
    kmy_buf_t b = kmy_reply_body(s);
    int64_t price_nusd = kmy_account_price(acc, demand.price_nusd);
    kmy_account_charge(s, acc, price_nusd, a->feed->idx, KMY_MODE_QUERY);
    put_one(s, a, price_nusd, kmy_account_balance(acc), &b);
    kmy_reply_json(s, c, req, &b);
    return true;
}

bool kmy_query_get(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    (void)body;
    kmy_query_ask_t a = { .err = KMY_OK };
    kmy_errctx_t ctx = { 0 };
    if (!kmy_query_ask_address(s, req, &a, &ctx))
        return refuse(s, c, req, ctx.detail);
    return answer_one(s, c, req, &a);
}

bool kmy_query_post(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    kmy_query_ask_t a = { .err = KMY_OK };
    kmy_errctx_t ctx = { 0 };
    if (!kmy_query_ask_body(s, body, &a, &ctx))
        return refuse(s, c, req, ctx.detail);
    return answer_one(s, c, req, &a);
}

/* --- batch --------------------------------------------------------------------------------- */

typedef struct batch {
    kmy_query_ask_t *asks;
    uint32_t count;
    uint32_t delivered;
    uint32_t batch_percent;    /* off, if enough were delivered */
    uint32_t customer_percent; /* off, by its stake */
    int64_t total_nusd;
} batch_t;

static int64_t item_nusd(const batch_t *t, uint32_t i)
{
    return kmy_price_item(t->asks[i].feed->query_nusd, t->batch_percent, t->customer_percent);
}

/* From batch_from delivered items on each costs batch_discount percent less; a fraction of a nano-USD is dropped, in the customer's favour. */
static void price_batch(const kmy_shard_t *s, batch_t *t)
{
    t->delivered = 0;
    t->total_nusd = 0;
    for (uint32_t i = 0; i < t->count; i++)
        t->delivered += t->asks[i].err == KMY_OK;
    bool whole = t->delivered >= (uint32_t)s->config->prices.batch_from;
    t->batch_percent = whole ? (uint32_t)s->config->prices.batch_discount_percent : 0;
    for (uint32_t i = 0; i < t->count; i++)
        t->total_nusd += t->asks[i].err == KMY_OK ? item_nusd(t, i) : 0;
}

static void put_batch(kmy_shard_t *s, const batch_t *t, int64_t left_nusd, kmy_buf_t *b)
{
    uint32_t hints = 0;
    kmy_buf_str(b, "{\"results\":[");
    for (uint32_t i = 0; i < t->count; i++) {
        kmy_query_ask_t *a = &t->asks[i];
        kmy_buf_str(b, i ? ",{" : "{");
        if (a->err != KMY_OK) {
            if (a->name[0] && hints++ < BATCH_HINTS_MAX)
                kmy_query_hint(s, a);
            kmy_buf_fmt(b, "\"error\":{\"code\":\"%s\",\"detail\":", kmy_err_code(a->err));
            kmy_buf_json_str(b, a->detail, strlen(a->detail));
            kmy_buf_str(b, "}}");
            continue;
        }
        kmy_query_put(s, b, a->feed);
        kmy_buf_str(b, ",\"charged\":");
        kmy_buf_json_nusd(b, item_nusd(t, i));
        kmy_buf_str(b, "}");
    }
    kmy_buf_fmt(b, "],\"count\":%u", t->delivered);
    put_bill(b, t->total_nusd, left_nusd);
}

/* A price that was paid beforehand is for every feed that is known: all of them can be had, or there is no answer. */
static bool all_fresh(kmy_shard_t *s, const batch_t *t, kmy_query_ask_t *stale)
{
    for (uint32_t i = 0; i < t->count; i++) {
        kmy_query_ask_t probe = t->asks[i];
        kmy_query_check(s, &probe);
        if (probe.err == t->asks[i].err)
            continue;
        *stale = probe;
        return false;
    }
    return true;
}

static bool compose_batch(kmy_shard_t *s, void *arg, kmy_paid_bill_t *bill, kmy_buf_t *b)
{
    kmy_query_ask_t stale;
    const batch_t *t = arg;
    if (!all_fresh(s, t, &stale) || !kmy_paid_charge(bill, t->total_nusd, 0, t->delivered))
        return false;
    put_batch(s, t, bill->left_nusd, b);
    return true;
}

static bool pay_batch(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, batch_t *t,
                      const kmy_demand_t *demand)
{
    kmy_query_ask_t stale;
    const kmy_ware_t ware = { .compose = compose_batch, .arg = t };
    bool fresh = all_fresh(s, t, &stale);
    kmy_sold_t sold = kmy_paid_sell(s, c, req, demand, &ware, fresh);
    return sold == KMY_SOLD_NOTHING ? refuse_ask(s, c, req, &stale) : sold != KMY_SOLD_PARKED;
}

/* Refused whole: what an item costs depends on how many there are. */
static bool all_allowed(const batch_t *t, const char *scope)
{
    for (uint32_t i = 0; scope[0] && i < t->count; i++) {
        if (t->asks[i].err == KMY_OK && !kmy_token_allows(scope, t->asks[i].feed->name))
            return false;
    }
    return true;
}

bool kmy_query_batch(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    kmy_query_ask_t *asks = kmy_shard_room(s, KMY_ROOM_ASKS);
    _Static_assert(BATCH_MAX * sizeof *asks <= KMY_ROOM_BYTES, "a batch fits");
    kmy_errctx_t ctx = { 0 };
    batch_t t = { .asks = asks };
    if (!kmy_query_ask_batch(s, body, asks, BATCH_MAX, &t.count, &ctx))
        return refuse(s, c, req, ctx.detail);
    price_batch(s, &t);
    kmy_demand_t demand =
        kmy_demand_price(path_batch, "the newest ticks of these feeds", t.total_nusd);
    demand.scoped = true;
    if (kmy_paid_wanted(req) && demand.price_nusd > 0)
        return pay_batch(s, c, req, &t, &demand);
    if (kmy_http_header(
            req, "authorization")) { /* who shows no token learns the price of all it asked for */
        for (uint32_t i = 0; i < t.count; i++)
            kmy_query_check(s, &asks[i]);
        price_batch(s, &t);
        demand.price_nusd = t.total_nusd;
    }
    kmy_shard_account_t *acc;
    kmy_token_claims_t claims;
    kmy_bearer_t p = kmy_bearer_find(s, c, req, NULL, &demand, &acc, &claims);
    if (p == KMY_BEARER_OK) {
        t.customer_percent = acc->discount_percent;
        price_batch(s, &t);
        p = kmy_bearer_cover(s, c, req, &demand, acc, t.total_nusd);
    }
    if (p != KMY_BEARER_OK)
        return p != KMY_BEARER_PARKED;
    if (!all_allowed(&t, claims.scope)) {
        kmy_reply_problem(s, c, req, KMY_FORBIDDEN, "the token is not for all of these feeds");
        return true;
    }
    kmy_buf_t b = kmy_reply_body(s);
    for (uint32_t i = 0; i < t.count; i++) {
        if (asks[i].err == KMY_OK)
            kmy_account_charge(s, acc, item_nusd(&t, i), asks[i].feed->idx, KMY_MODE_BATCH);
    }
    put_batch(s, &t, kmy_account_balance(acc), &b);
    kmy_reply_json(s, c, req, &b);
    return true;
}
