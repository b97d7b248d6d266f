/* beside the way of a tick   in: engine/page   out: one HTTP answer */
#include "engine/history_route.h"

#include "engine/account.h"
#include "engine/named_feed.h"
#include "engine/page.h"
#include "engine/query.h"
#include "engine/reply.h"
#include "engine/throttle.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* NULL: a whole answer said why not. */
static kmy_page_t *read_page(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req)
{
    kmy_page_t p = { .kind = KMY_HISTORY_TIMES };
    uint64_t limit;
    uint64_t cursor;
    const char *wrong = NULL;
    p.feed = kmy_named_feed(s, c, req, "name one feed: /v1/history?feed=SOL/USD");
    if (!p.feed)
        return NULL;
    if (!kmy_named_number(req, "limit", 1, KMY_HISTORY_LIMIT_MAX, KMY_HISTORY_LIMIT, &limit))
        wrong = "limit must be 1 to 1000";
    else if (!kmy_named_number(req, "from", 0, INT64_MAX, 0, &p.from) ||
             !kmy_named_number(req, "to", 0, INT64_MAX, INT64_MAX, &p.to))
        wrong = "from and to must be nanoseconds since the Unix epoch";
    else if (p.from > p.to)
        wrong = "from lies behind to";
    else if (!kmy_named_number(req, "cursor", 1, kmy_ring_head(s->ring) - 1, 0, &cursor))
        wrong = "cursor must be one of an earlier page; leave it out and begin at from";
    if (wrong) {
        kmy_named_refuse(s, c, req, wrong);
        return NULL;
    }
    p.limit = (uint32_t)limit;
    p.seq = cursor > 0 ? cursor + 1 : 0;
    kmy_page_t *page = malloc(sizeof *page);
    if (page)
        *page = p;
    else
        kmy_reply_problem(s, c, req, KMY_UNAVAILABLE, "no memory for it now");
    return page;
}

/* Ticks as on the stream, until the page is long enough; returns how many. */
static uint32_t put_ticks(kmy_shard_t *s, kmy_buf_t *b, const kmy_page_t *p)
{
    const kmy_tick_json_t *json = &s->feeds[p->feed->idx].json;
    char text[KMY_TICK_JSON_BYTES_MAX];
    uint32_t n = 0;
    for (; n < p->count && b->len < KMY_HISTORY_BODY_BYTES; n++) {
        kmy_buf_str(b, n ? "," : "");
        kmy_buf_bytes(b, text, kmy_tick_json_object(json, &p->ticks[n], text));
    }
    return n;
}

/* An empty page is no ware: it costs nothing, and counts as a request to a route that costs nothing. */
static bool give(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req)
{
    kmy_page_t *p = c->page;
    int64_t query_nusd = p->feed->query_nusd;
    int64_t tick_nusd = p->feed->tick_nusd;
    kmy_shard_account_t *acc;
    kmy_token_claims_t claims;
    bool answered;
    if (!kmy_query_secure(s, c, req, NULL, kmy_history_price(query_nusd, tick_nusd, p->count), &acc,
                          &claims, &answered))
        return answered;
    if (p->count == 0 && !kmy_throttle_account(s, c, req, acc->name))
        return true;
    kmy_buf_t b = kmy_reply_body(s);
    kmy_buf_str(&b, "{\"feed\":");
    kmy_buf_json_str(&b, p->feed->name, strlen(p->feed->name));
    kmy_buf_fmt(&b, ",\"epoch\":\"%s\",\"ticks\":[", s->o.epoch);
    uint32_t n = put_ticks(s, &b, p);
    int64_t price_nusd = kmy_history_price(query_nusd, tick_nusd, n);
    bool more = p->more || n < p->count;
    uint64_t last = n > 0 ? p->ticks[n - 1].seq : p->seq > 0 ? p->seq - 1 : 0;
    if (price_nusd > 0)
        kmy_account_charge(s, acc, price_nusd);
    kmy_buf_fmt(&b, "],\"count\":%u,\"more\":%s", n, more ? "true" : "false");
    if (last > 0)
        kmy_buf_fmt(&b, ",\"cursor\":\"%" PRIu64 "\"", last);
    kmy_buf_str(&b, ",\"charged\":");
    kmy_buf_json_nusd(&b, price_nusd);
    kmy_buf_str(&b, ",\"balance\":");
    kmy_buf_json_nusd(&b, kmy_account_balance(acc));
    kmy_buf_str(&b, "}");
    kmy_reply_json(s, c, req, &b);
    return true;
}

bool kmy_history_get(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    (void)body;
    if (c->page) { /* the request again, with its page */
        KMY_ASSERT(c->page->whole);
        bool answered = give(s, c, req);
        if (answered)
            kmy_page_forget(s, c);
        return answered;
    }
    kmy_page_t *p = read_page(s, c, req);
    if (!p)
        return true;
    /* The balance must cover a full page before the store is read for it; charged is what comes. */
    kmy_shard_account_t *acc;
    kmy_token_claims_t claims;
    bool answered;
    int64_t most_nusd = kmy_history_price(p->feed->query_nusd, p->feed->tick_nusd, p->limit);
    if (!kmy_query_secure(s, c, req, NULL, most_nusd, &acc, &claims, &answered)) {
        free(p);
        return answered;
    }
    kmy_page_begin(s, c, p);
    return false;
}
