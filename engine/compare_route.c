#include "engine/compare_route.h"

#include "base/clock.h"
#include "base/decimal.h"
#include "engine/account.h"
#include "engine/bearer.h"
#include "engine/compare.h"
#include "engine/named_feed.h"
#include "engine/paid.h"
#include "engine/reply.h"
#include "engine/throttle.h"
#include "engine/uses.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)KMY_COMPARE_MAX == KMY_FEED_SOURCES_MAX, "a row for each source");
enum { SHOWN = 5 }; /* unless asked otherwise */

bool kmy_compare_open(kmy_shard_t *s)
{
    for (uint32_t i = 0; i < s->catalog->feeds_count; i++) {
        uint32_t n = s->catalog->feeds[i].sources_count;
        if (n < 2)
            continue;
        s->feeds[i].of_source = calloc(n, sizeof *s->feeds[i].of_source);
        if (!s->feeds[i].of_source)
            return false;
        kmy_compare_tick(&s->feeds[i], &s->catalog->feeds[i], &s->feeds[i].last);
        kmy_compare_tick(&s->feeds[i], &s->catalog->feeds[i], &s->feeds[i].last_quote);
    }
    return true;
}

void kmy_compare_close(kmy_shard_t *s)
{
    for (uint32_t i = 0; s->feeds && i < s->catalog->feeds_count; i++)
        free(s->feeds[i].of_source);
}

/* One source's newest tick and newest quote. */
typedef struct entry {
    const kmy_tick_t *last;
    const kmy_tick_t *quote; /* NULL: none */
} entry_t;

static size_t collect(const kmy_shard_t *s, const kmy_feed_t *feed, entry_t *entries,
                      kmy_compare_row_t *rows)
{
    const kmy_shard_feed_t *f = &s->feeds[feed->idx];
    size_t n = 0;
    for (uint32_t i = 0; i < feed->sources_count; i++) {
        const kmy_tick_t *last = f->of_source ? &f->of_source[i].last : &f->last;
        const kmy_tick_t *quote = f->of_source ? &f->of_source[i].last_quote : &f->last_quote;
        if (last->offset == 0)
            continue; /* it has not ticked yet */
        int64_t age_ns = s->now_wall_ns > last->recv_ns ? s->now_wall_ns - last->recv_ns : 0;
        rows[n] = (kmy_compare_row_t){ .mant = last->price_mant,
                                       .expo = last->price_expo,
                                       .age_ns = age_ns,
                                       .fresh = age_ns <= feed->stale_after_ns,
                                       .source = (uint32_t)n };
        entries[n] = (entry_t){ last, quote->offset > 0 ? quote : NULL };
        n++;
    }
    return n;
}

static void put_decimal(kmy_buf_t *b, const char *key, int64_t mant, int expo)
{
    char text[KMY_DEC_BYTES_MAX];
    kmy_dec_format(mant, expo, text);
    kmy_buf_fmt(b, ",\"%s\":\"%s\"", key, text);
}

static void put_row(kmy_buf_t *b, const kmy_compare_row_t *r, const entry_t *e, uint32_t rank)
{
    const kmy_tick_t *t = e->last;
    char text[KMY_DEC_BYTES_MAX];
    kmy_buf_fmt(b, "%s{\"rank\":%u,\"source\":\"%s\",\"kind\":\"%s\"", rank > 1 ? "," : "", rank,
                kmy_source_name(t->source), kmy_kind_name(t->kind));
    put_decimal(b, "price", t->price_mant, t->price_expo);
    if ((t->has & KMY_HAS_CONF) && !(t->flags & KMY_TICK_CONF_IS_SPREAD)) {
        kmy_dec_format_u(t->conf_mant, t->price_expo, text);
        kmy_buf_fmt(b, ",\"conf\":\"%s\"", text);
    }
    if (e->quote) {
        put_decimal(b, "bid", e->quote->bid_mant, e->quote->price_expo);
        put_decimal(b, "ask", e->quote->ask_mant, e->quote->price_expo);
    }
    if (t->event_ns > 0)
        kmy_buf_fmt(b, ",\"ts_event\":\"%" PRId64 "\"", t->event_ns);
    kmy_buf_fmt(b, ",\"ts_recv\":\"%" PRId64 "\",\"age_ms\":%" PRId64 ",\"stale\":%s", t->recv_ns,
                r->age_ns / KMY_NS_PER_MS, r->fresh ? "false" : "true");
    if (r->has_bps) {
        char bps[KMY_COMPARE_BPS_BYTES];
        kmy_compare_bps_text(r->cbps, bps);
        kmy_buf_fmt(b, ",\"deviation_bps\":\"%s\"", bps);
    }
    kmy_buf_str(b, "}");
}

/* The highest bid and the lowest ask among those shown, of fresh sources (of all, if none is). */
static void put_best(kmy_buf_t *b, const kmy_compare_row_t *rows, const entry_t *entries,
                     uint32_t shown)
{
    const entry_t *bid = NULL;
    const entry_t *ask = NULL;
    for (uint32_t i = 0; i < shown; i++) {
        const entry_t *e = &entries[rows[i].source];
        if (!e->quote || rows[i].fresh != rows[0].fresh)
            continue;
        if (!bid || kmy_compare_prices(e->quote->bid_mant, e->quote->price_expo,
                                       bid->quote->bid_mant, bid->quote->price_expo) > 0)
            bid = e;
        if (!ask || kmy_compare_prices(e->quote->ask_mant, e->quote->price_expo,
                                       ask->quote->ask_mant, ask->quote->price_expo) < 0)
            ask = e;
    }
    if (!bid)
        return;
    kmy_buf_fmt(b, ",\"best_bid\":{\"source\":\"%s\"", kmy_source_name(bid->last->source));
    put_decimal(b, "price", bid->quote->bid_mant, bid->quote->price_expo);
    kmy_buf_fmt(b, "},\"best_ask\":{\"source\":\"%s\"", kmy_source_name(ask->last->source));
    put_decimal(b, "price", ask->quote->ask_mant, ask->quote->price_expo);
    kmy_buf_str(b, "}");
}

static void put_comparison(const kmy_shard_t *s, kmy_buf_t *b, const kmy_feed_t *feed,
                           const kmy_compare_t *c, const kmy_compare_row_t *rows,
                           const entry_t *entries, uint32_t shown)
{
    kmy_buf_str(b, "{\"feed\":");
    kmy_buf_json_str(b, feed->name, strlen(feed->name));
    kmy_buf_fmt(b, ",\"ts\":\"%" PRId64 "\",\"sources\":[", s->now_wall_ns);
    for (uint32_t i = 0; i < shown; i++)
        put_row(b, &rows[i], &entries[rows[i].source], i + 1);
    kmy_buf_fmt(b, "],\"count\":%u", shown);
    if (c->has_median)
        put_decimal(b, "median", c->median_mant, c->median_expo);
    char low[KMY_DEC_BYTES_MAX];
    char high[KMY_DEC_BYTES_MAX];
    kmy_dec_format(c->low_mant, c->low_expo, low);
    kmy_dec_format(c->high_mant, c->high_expo, high);
    kmy_buf_fmt(b, ",\"range\":{\"low\":\"%s\",\"high\":\"%s\"}", low, high);
    put_best(b, rows, entries, shown);
}

static bool nothing_yet(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req)
{
    if (kmy_throttle_stranger(s, c, req))
        kmy_reply_problem_with(s, c, req, KMY_UNAVAILABLE,
                               "none of its sources has a value yet; nothing was charged",
                               "Retry-After: 1\r\n", NULL);
    return true;
}

/* What is asked for. */
typedef struct order {
    const kmy_feed_t *feed;
    uint32_t max;
} order_t;

/* The whole answer but for its bill; returns of how many sources. */
static uint32_t put_answer(const kmy_shard_t *s, kmy_buf_t *b, const order_t *o)
{
    entry_t entries[KMY_COMPARE_MAX];
    kmy_compare_row_t rows[KMY_COMPARE_MAX];
    kmy_compare_t comparison;
    size_t n = collect(s, o->feed, entries, rows);
    uint32_t shown = n < o->max ? (uint32_t)n : o->max;
    kmy_compare(rows, n, &comparison);
    put_comparison(s, b, o->feed, &comparison, rows, entries, shown);
    return shown;
}

static void put_bill(kmy_buf_t *b, int64_t charged_nusd, int64_t left_nusd)
{
    kmy_buf_str(b, ",\"charged\":");
    kmy_buf_json_nusd(b, charged_nusd);
    kmy_buf_str(b, ",\"balance\":");
    kmy_buf_json_nusd(b, left_nusd);
    kmy_buf_str(b, "}");
}

static bool compose(kmy_shard_t *s, void *arg, kmy_paid_bill_t *bill, kmy_buf_t *b)
{
    const order_t *o = arg;
    uint32_t shown = put_answer(s, b, o);
    if (shown == 0 ||
        !kmy_paid_charge(bill, o->feed->query_nusd * shown, kmy_use_feed(o->feed->idx), 0))
        return false;
    put_bill(b, bill->charged_nusd, bill->left_nusd);
    return true;
}

/* What is delivered is charged. */
static void give(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                 kmy_shard_account_t *acc, const order_t *o)
{
    kmy_buf_t b = kmy_reply_body(s);
    int64_t price_nusd = kmy_account_price(acc, o->feed->query_nusd * put_answer(s, &b, o));
    kmy_account_charge(s, acc, price_nusd, o->feed->idx, KMY_MODE_QUERY);
    put_bill(&b, price_nusd, kmy_account_balance(acc));
    kmy_reply_json(s, c, req, &b);
}

static uint32_t there(const kmy_shard_t *s, const order_t *o)
{
    entry_t entries[KMY_COMPARE_MAX];
    kmy_compare_row_t rows[KMY_COMPARE_MAX];
    size_t n = collect(s, o->feed, entries, rows);
    return n < o->max ? (uint32_t)n : o->max;
}

/* Who does not pay learns the price of what can be had at most, not our state; who pays by header pays that, and what is not delivered is credited. */
static kmy_demand_t demand_of(const order_t *o)
{
    uint32_t most = o->feed->sources_count < o->max ? o->feed->sources_count : o->max;
    return kmy_demand_price("/v1/compare", "the sources of a feed beside each other",
                            o->feed->query_nusd * most);
}

bool kmy_compare_get(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    (void)body;
    uint64_t max;
    order_t o = { .feed =
                      kmy_named_feed(s, c, req, "name one feed: /v1/compare?feed=SOL/USD&max=5") };
    if (!o.feed)
        return true;
    if (!kmy_named_number(req, "max", 1, KMY_COMPARE_MAX, SHOWN, &max))
        return kmy_named_refuse(s, c, req, "max must be 1 to 8");
    o.max = (uint32_t)max;
    uint32_t shown = there(s, &o);
    kmy_demand_t demand = demand_of(&o);
    if (kmy_paid_wanted(req) && demand.price_nusd > 0) {
        const kmy_ware_t ware = { .compose = compose, .arg = &o };
        kmy_sold_t sold = kmy_paid_sell(s, c, req, &demand, &ware, shown > 0);
        return sold == KMY_SOLD_NOTHING ? nothing_yet(s, c, req) : sold != KMY_SOLD_PARKED;
    }
    if (kmy_http_header(req, "authorization")) {
        if (shown == 0)
            return nothing_yet(s, c, req);
        demand.price_nusd = o.feed->query_nusd * shown;
    }
    kmy_shard_account_t *acc;
    kmy_token_claims_t claims;
    kmy_bearer_t p = kmy_bearer_secure(s, c, req, NULL, &demand, &acc, &claims);
    if (p != KMY_BEARER_OK)
        return p != KMY_BEARER_PARKED;
    if (shown == 0)
        return nothing_yet(s, c, req);
    give(s, c, req, acc, &o);
    return true;
}
