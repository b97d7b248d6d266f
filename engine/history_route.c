/* beside the way of a tick   in: engine/page   out: one HTTP answer */
#include "engine/history_route.h"

#include "engine/account.h"
#include "engine/bearer.h"
#include "engine/grant.h"
#include "engine/named_feed.h"
#include "engine/page.h"
#include "engine/paid.h"
#include "engine/reply.h"
#include "engine/throttle.h"
#include "engine/uses.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { END_BYTES = 256 }; /* of a body, behind its ticks: count, more, cursor, charged, balance */

/* false: a whole answer said why not. */
static bool read_page(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_page_t *p)
{
    uint64_t limit;
    uint64_t cursor;
    const char *wrong = NULL;
    *p = (kmy_page_t){ .kind = KMY_HISTORY_TIMES };
    p->feed = kmy_named_feed(s, c, req, "name one feed: /v1/history?feed=SOL/USD");
    if (!p->feed)
        return false;
    if (!kmy_named_number(req, "limit", 1, KMY_HISTORY_LIMIT_MAX, KMY_HISTORY_LIMIT, &limit))
        wrong = "limit must be 1 to 1000";
    else if (!kmy_named_number(req, "from", 0, INT64_MAX, 0, &p->from) ||
             !kmy_named_number(req, "to", 0, INT64_MAX, INT64_MAX, &p->to))
        wrong = "from and to must be nanoseconds since the Unix epoch";
    else if (p->from > p->to)
        wrong = "from lies behind to";
    else if (!kmy_named_number(req, "cursor", 1, kmy_ring_head(s->ring) - 1, 0, &cursor))
        wrong = "cursor must be one of an earlier page; leave it out and begin at from";
    if (wrong) {
        kmy_named_refuse(s, c, req, wrong);
        return false;
    }
    p->limit = (uint32_t)limit;
    p->seq = cursor > 0 ? cursor + 1 : 0;
    return true;
}

/* The store is read for it, and the request comes again.  As routes return. */
static bool begin_page(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                       const kmy_page_t *p)
{
    kmy_page_t *page = malloc(sizeof *page);
    if (!page) {
        kmy_reply_problem(s, c, req, KMY_UNAVAILABLE, "no memory for it now");
        return true;
    }
    *page = *p;
    kmy_page_begin(s, c, page);
    return false;
}

/* The most that such a page may cost: a payment by header pays that, and what is not delivered is credited. */
static kmy_demand_t demand_of(const kmy_page_t *p)
{
    return kmy_demand_price("/v1/history", "ticks of a feed that were kept",
                            kmy_history_price(p->feed->query_nusd, p->feed->tick_nusd, p->limit));
}

/* Ticks as on the stream, until the page is long enough; returns how many. */
static uint32_t put_ticks(const kmy_shard_t *s, kmy_buf_t *b, const kmy_page_t *p, size_t bytes_max)
{
    const kmy_tick_json_t *json = &s->feeds[p->feed->idx].json;
    char text[KMY_TICK_JSON_BYTES_MAX];
    uint32_t n = 0;
    for (; n < p->count && b->len < bytes_max; n++) {
        kmy_buf_str(b, n ? "," : "");
        kmy_buf_bytes(b, text, kmy_tick_json_object(json, &p->ticks[n], text));
    }
    return n;
}

/* The page up to its bill; returns how many ticks are in it. */
static uint32_t put_page(const kmy_shard_t *s, kmy_buf_t *b, const kmy_page_t *p, size_t bytes_max)
{
    kmy_buf_str(b, "{\"feed\":");
    kmy_buf_json_str(b, p->feed->name, strlen(p->feed->name));
    kmy_buf_fmt(b, ",\"epoch\":\"%s\",\"ticks\":[", s->o.epoch);
    uint32_t n = put_ticks(s, b, p, bytes_max);
    bool more = p->more || n < p->count;
    uint64_t last = n > 0 ? p->ticks[n - 1].seq : p->seq > 0 ? p->seq - 1 : 0;
    kmy_buf_fmt(b, "],\"count\":%u,\"more\":%s", n, more ? "true" : "false");
    if (last > 0)
        kmy_buf_fmt(b, ",\"cursor\":\"%" PRIu64 "\"", last);
    return n;
}

static void put_bill(kmy_buf_t *b, int64_t charged_nusd, int64_t left_nusd)
{
    kmy_buf_str(b, ",\"charged\":");
    kmy_buf_json_nusd(b, charged_nusd);
    kmy_buf_str(b, ",\"balance\":");
    kmy_buf_json_nusd(b, left_nusd);
    kmy_buf_str(b, "}");
}

static int64_t price_of(const kmy_page_t *p, uint32_t n)
{
    return kmy_history_price(p->feed->query_nusd, p->feed->tick_nusd, n);
}

/* --- paid by header ---------------------------------------------------------------------------- */

/* It is kept with its payment, so it ends where that is full: `more`, and the cursor, say so. */
static bool compose(kmy_shard_t *s, void *arg, kmy_paid_bill_t *bill, kmy_buf_t *b)
{
    const kmy_page_t *p = arg;
    uint32_t n = put_page(s, b, p, KMY_SLIP_BODY_BYTES_MAX - KMY_TICK_JSON_BYTES_MAX - END_BYTES);
    if (n == 0 || !kmy_paid_charge(bill, price_of(p, n), kmy_use_feed(p->feed->idx), 0))
        return false;
    put_bill(b, bill->charged_nusd, bill->left_nusd);
    return true;
}

/* Settled first, then read: nobody has the store read for a payment that is none.  true: go on, on the payer's account; false: *done as routes return. */
static bool pay(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, const kmy_page_t *p,
                const kmy_demand_t *demand, bool *done)
{
    bool made = c->page && !kmy_paid_slip(s, c);
    const kmy_ware_t ware = { .compose = made ? compose : NULL,
                              .arg = c->page,
                              .else_account = true };
    kmy_sold_t sold =
        made ? kmy_paid_keep(s, c, req, &ware) : kmy_paid_sell(s, c, req, demand, &ware, true);
    *done = sold != KMY_SOLD_PARKED;
    if (sold == KMY_SOLD_MAKE)
        *done = begin_page(s, c, req, p);
    return sold == KMY_SOLD_ON_ACCOUNT;
}

/* --- the route --------------------------------------------------------------------------------- */

/* An empty page is no ware: it costs nothing, and counts as a request to a route that costs nothing. */
static bool give(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_demand_t *demand)
{
    const kmy_page_t *p = c->page;
    kmy_shard_account_t *acc;
    kmy_token_claims_t claims;
    demand->price_nusd = kmy_grant_cap(c, price_of(p, p->count));
    kmy_bearer_t who = kmy_bearer_secure(s, c, req, NULL, demand, &acc, &claims);
    if (who != KMY_BEARER_OK)
        return who != KMY_BEARER_PARKED;
    if (p->count == 0 && !kmy_throttle_account(s, c, req, acc->name))
        return true;
    kmy_buf_t b = kmy_reply_body(s);
    int64_t price_nusd = kmy_account_price(
        acc, kmy_grant_cap(c, price_of(p, put_page(s, &b, p, KMY_HISTORY_BODY_BYTES))));
    if (price_nusd > 0)
        kmy_account_charge(s, acc, price_nusd, p->feed->idx, KMY_MODE_QUERY);
    put_bill(&b, price_nusd, kmy_account_balance(acc));
    kmy_reply_json(s, c, req, &b);
    return true;
}

/* With its page there, or without: who pays, and that he can, before the store is read.  As routes return. */
static bool answer(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                   const kmy_page_t *p)
{
    kmy_demand_t demand = demand_of(p);
    kmy_shard_account_t *acc;
    kmy_token_claims_t claims;
    bool done;
    if (kmy_paid_wanted(req) && demand.price_nusd > 0 && !kmy_grant_on_account(c) &&
        !pay(s, c, req, p, &demand, &done))
        return done;
    if (c->page)
        return give(s, c, req, &demand);
    /* The balance must cover a full page; charged is what comes. */
    kmy_bearer_t who = kmy_bearer_secure(s, c, req, NULL, &demand, &acc, &claims);
    return who == KMY_BEARER_OK ? begin_page(s, c, req, p) : who != KMY_BEARER_PARKED;
}

bool kmy_history_get(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    (void)body;
    kmy_page_t p;
    if (!c->page)
        return !read_page(s, c, req, &p) || answer(s, c, req, &p);
    KMY_ASSERT(c->page->whole); /* the request again, with its page */
    bool answered = answer(s, c, req, c->page);
    if (answered)
        kmy_page_forget(s, c);
    return answered;
}
