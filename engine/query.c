#include "engine/query.h"

#include "base/clock.h"
#include "base/decimal.h"
#include "base/money.h"
#include "engine/account.h"
#include "engine/conn.h"
#include "engine/reply.h"
#include "engine/shard.h"
#include "engine/stream.h"
#include "engine/subs.h"
#include "engine/throttle.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { BATCH_MAX = 100 };

/* --- who pays ------------------------------------------------------------------------------ */

typedef enum { PAYER_OK, PAYER_ANSWERED, PAYER_PARKED } payer_t;

static void unpaid(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_err_t err,
                   int64_t required_nusd, int64_t balance_nusd)
{
    if (err == KMY_UNPAID && !kmy_throttle_address(s, c, req))
        return;
    char text[256];
    kmy_buf_t more = kmy_buf(text, sizeof text);
    kmy_buf_str(&more, ",\"required\":");
    kmy_buf_json_nusd(&more, required_nusd);
    if (err == KMY_NO_BALANCE) {
        kmy_buf_str(&more, ",\"balance\":");
        kmy_buf_json_nusd(&more, balance_nusd);
    }
    kmy_reply_problem_with(s, c, req, err,
                           err == KMY_UNPAID
                               ? "this costs money: send a bearer token of a funded account"
                               : "the balance does not cover it",
                           "", &more);
}

/* The account of the request's bearer, or else of `shown` (a token shown in another way; NULL: none).  Without one: 402 with what it costs. */
static payer_t find_payer(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                          const char *shown, int64_t required_nusd, kmy_shard_account_t **acc,
                          kmy_token_claims_t *claims)
{
    const kmy_view_t *h = kmy_http_header(req, "authorization");
    kmy_errctx_t ctx = { 0 };
    if (!h && !shown && required_nusd > 0) {
        unpaid(s, c, req, KMY_UNPAID, required_nusd, 0);
        return PAYER_ANSWERED;
    }
    static const char scheme[] = "bearer ";
    kmy_err_t err;
    if (!h && shown)
        err = kmy_stream_check_token(s, shown, strlen(shown), claims, &ctx);
    else if (kmy_http_header_count(req, "authorization") != 1 || !h || h->len < sizeof scheme - 1 ||
             !kmy_view_is_nocase((kmy_view_t){ h->ptr, sizeof scheme - 1 }, scheme))
        err = KMY_FAIL(&ctx, KMY_UNAUTHENTICATED, "Authorization must be one Bearer token");
    else
        err = kmy_stream_check_token(s, h->ptr + sizeof scheme - 1, h->len - (sizeof scheme - 1),
                                     claims, &ctx);
    if (err == KMY_OK) {
        *acc = kmy_account_get(s, claims->account);
        if (*acc && (*acc)->state == KMY_ACCOUNT_OPENING) {
            kmy_account_wait(s, *acc, c);
            return PAYER_PARKED;
        }
        if (!*acc)
            err = KMY_FAIL(&ctx, KMY_FULL, "too many accounts at once; try again later");
        else if ((*acc)->state == KMY_ACCOUNT_UNKNOWN)
            err = KMY_FAIL(&ctx, KMY_UNAUTHENTICATED, "the token's account is not in this ledger");
    }
    if (err == KMY_OK) {
        kmy_conn_prove(s, c);
        return PAYER_OK;
    }
    if (err == KMY_FULL || kmy_throttle_address(s, c, req))
        kmy_reply_problem_with(s, c, req, err, ctx.detail, "WWW-Authenticate: Bearer\r\n", NULL);
    return PAYER_ANSWERED;
}

/* The payer, and enough in the lease to pay for it now. */
static payer_t secure_shown(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                            const char *shown, int64_t price_nusd, kmy_shard_account_t **acc,
                            kmy_token_claims_t *claims)
{
    payer_t p = find_payer(s, c, req, shown, price_nusd, acc, claims);
    if (p != PAYER_OK)
        return p;
    switch (kmy_account_cover(s, *acc, price_nusd)) {
    case KMY_COVER_YES:
        return PAYER_OK;
    case KMY_COVER_WAIT:
        kmy_account_wait(s, *acc, c);
        return PAYER_PARKED;
    default:
        unpaid(s, c, req, KMY_NO_BALANCE, price_nusd, kmy_account_balance(*acc));
        return PAYER_ANSWERED;
    }
}

static payer_t secure(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                      int64_t price_nusd, kmy_shard_account_t **acc)
{
    kmy_token_claims_t claims;
    return secure_shown(s, c, req, NULL, price_nusd, acc, &claims);
}

bool kmy_query_secure(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                      const char *shown, int64_t price_nusd, kmy_shard_account_t **acc,
                      kmy_token_claims_t *claims, bool *answered)
{
    payer_t p = secure_shown(s, c, req, shown, price_nusd, acc, claims);
    *answered = p == PAYER_ANSWERED;
    return p == PAYER_OK;
}

static void charge(kmy_shard_t *s, kmy_shard_account_t *acc, int64_t price_nusd)
{
    bool taken = kmy_meter_take_query(&acc->lease, price_nusd);
    KMY_ASSERT(taken); /* secure() saw to it, and nothing happened in between */
    KMY_COUNT(s->metrics, consumed_nusd_total, price_nusd);
    kmy_account_touch(s, acc);
    kmy_account_refill(s, acc);
}

/* --- one feed ------------------------------------------------------------------------------ */

typedef struct ask {
    const kmy_feed_t *feed;
    const kmy_feed_t *closest; /* to an unknown name; NULL: nothing near */
    int64_t max_age_ms;        /* 0: any */
    kmy_err_t err;             /* why there is no answer */
    char detail[192];
} ask_t;

__attribute__((format(printf, 3, 4))) static void fail(ask_t *a, kmy_err_t err, const char *fmt,
                                                       ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(a->detail, sizeof a->detail, fmt, ap);
    va_end(ap);
    a->err = err;
}

static void find_feed(kmy_shard_t *s, ask_t *a, const char *name, size_t len)
{
    a->feed = kmy_catalog_find(s->catalog, name, len);
    if (a->feed)
        return;
    const kmy_feed_t *near = kmy_catalog_closest(s->catalog, name, len);
    if (near)
        fail(a, KMY_UNKNOWN_FEED, "no such feed; the closest is %s", near->name);
    else
        fail(a, KMY_UNKNOWN_FEED, "no such feed; GET /v1/feeds lists them");
    a->closest = near;
}

/* Fresh enough to be sold? */
static void check_age(const kmy_shard_t *s, ask_t *a)
{
    if (a->err != KMY_OK)
        return;
    const kmy_tick_t *t = &s->feeds[a->feed->idx].last;
    if (t->offset == 0)
        fail(a, KMY_UNAVAILABLE, "%s has no value yet; nothing was charged", a->feed->name);
    else if (a->max_age_ms > 0 && (s->now_wall_ns - t->recv_ns) / KMY_NS_PER_MS > a->max_age_ms)
        fail(a, KMY_STALE, "%s is older than max_age_ms; nothing was charged", a->feed->name);
}

static void put_decimal(kmy_buf_t *b, const char *key, int64_t mant, int expo)
{
    char text[KMY_DEC_BYTES_MAX];
    kmy_dec_format(mant, expo, text);
    kmy_buf_fmt(b, "\"%s\":\"%s\",", key, text);
}

static void put_value(const kmy_shard_t *s, kmy_buf_t *b, const kmy_feed_t *feed)
{
    const kmy_shard_feed_t *f = &s->feeds[feed->idx];
    const kmy_tick_t *t = &f->last;
    const kmy_tick_t *q = t->has & KMY_HAS_BID
                              ? t
                              : &f->last_quote; /* a trade has no bid and ask: the newest quote's */
    kmy_buf_str(b, "\"feed\":");
    kmy_buf_json_str(b, feed->name, strlen(feed->name));
    kmy_buf_str(b, ",\"data\":{");
    put_decimal(b, "price", t->price_mant, t->price_expo);
    if ((t->has & KMY_HAS_CONF) && !(t->flags & KMY_TICK_CONF_IS_SPREAD)) {
        char text[KMY_DEC_BYTES_MAX];
        kmy_dec_format_u(t->conf_mant, t->price_expo, text);
        kmy_buf_fmt(b, "\"conf\":\"%s\",", text);
    }
    if (q->offset > 0 && (q->has & KMY_HAS_BID))
        put_decimal(b, "bid", q->bid_mant, q->price_expo);
    if (q->offset > 0 && (q->has & KMY_HAS_ASK))
        put_decimal(b, "ask", q->ask_mant, q->price_expo);
    kmy_buf_fmt(b, "\"source\":\"%s\",", kmy_source_name(t->source));
    if (t->event_ns > 0)
        kmy_buf_fmt(b, "\"ts_event\":\"%" PRId64 "\",", t->event_ns);
    int64_t age_ns = s->now_wall_ns - t->recv_ns;
    kmy_buf_fmt(b,
                "\"ts_recv\":\"%" PRId64 "\"},\"epoch\":\"%s\",\"offset\":%" PRIu64
                ",\"age_ms\":%" PRId64 ",\"degraded\":%s,\"cached\":%s",
                t->recv_ns, s->o.epoch, t->offset, age_ns > 0 ? age_ns / KMY_NS_PER_MS : 0,
                (t->flags & KMY_TICK_DEGRADED) || kmy_feed_is_stale(s, feed->idx) ? "true"
                                                                                  : "false",
                t->mono_ns < s->o.start_mono_ns || t->mono_ns > s->now_ns ? "true" : "false");
}

void kmy_query_put(const kmy_shard_t *s, kmy_buf_t *b, const kmy_feed_t *feed)
{
    put_value(s, b, feed);
}

static bool answer_one(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, ask_t *a)
{
    if (a->err == KMY_OK && !kmy_http_header(req, "authorization")) {
        unpaid(s, c, req, KMY_UNPAID, a->feed->query_nusd,
               0); /* who does not pay learns the price, not our state */
        return true;
    }
    check_age(s, a);
    if (a->err != KMY_OK) {
        if (!kmy_throttle_stranger(s, c, req))
            return true;
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
    kmy_shard_account_t *acc;
    payer_t p = secure(s, c, req, a->feed->query_nusd, &acc);
    if (p != PAYER_OK)
        return p != PAYER_PARKED;
    kmy_buf_t b = kmy_reply_body(s);
    kmy_buf_str(&b, "{");
    put_value(s, &b, a->feed);
    charge(s, acc, a->feed->query_nusd);
    kmy_buf_str(&b, ",\"charged\":");
    kmy_buf_json_nusd(&b, a->feed->query_nusd);
    kmy_buf_str(&b, ",\"balance\":");
    kmy_buf_json_nusd(&b, kmy_account_balance(acc));
    kmy_buf_str(&b, "}");
    kmy_reply_json(s, c, req, &b);
    return true;
}

/* A question that is none. */
static bool refuse(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, const char *why)
{
    if (kmy_throttle_stranger(s, c, req))
        kmy_reply_problem(s, c, req, KMY_BAD_INPUT, why);
    return true;
}

bool kmy_query_get(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    (void)body;
    ask_t a = { .err = KMY_OK };
    char name[KMY_FEED_NAME_BYTES_MAX];
    char age[24];
    if (!kmy_http_query(req->query, "feed", name, sizeof name) &&
        !kmy_http_query(req->query, "feed_type", name, sizeof name)) {
        return refuse(s, c, req, "name one feed: /v1/ingest-data?feed=SOL/USD");
    }
    uint64_t max_age;
    if (kmy_http_query(req->query, "max_age_ms", age, sizeof age)) {
        if (!kmy_u64_parse(age, strlen(age), &max_age) || max_age > INT32_MAX) {
            return refuse(s, c, req, "max_age_ms must be 0 to 2147483647");
        }
        a.max_age_ms = (int64_t)max_age;
    }
    find_feed(s, &a, name, strlen(name));
    return answer_one(s, c, req, &a);
}

/* {"feed_type":F,"data_params":{"max_age_ms":N}}; "feed" is understood as well.  false: malformed, *ctx says why. */
static bool read_ask(kmy_shard_t *s, kmy_json_t *js, ask_t *a, kmy_errctx_t *ctx)
{
    kmy_json_field_t f[] = { { .key = "feed_type" }, { .key = "feed" }, { .key = "data_params" } };
    if (kmy_json_object(js, f, 3, ctx) != KMY_OK)
        return false;
    kmy_json_token_t t = f[0].token.type != KMY_JSON_ERROR ? f[0].token : f[1].token;
    if (t.type != KMY_JSON_STRING) {
        KMY_FAIL(ctx, KMY_BAD_INPUT,
                 "\"feed_type\" must be a feed's name: {\"feed_type\":\"SOL/USD\"}");
        return false;
    }
    if (f[2].token.type == KMY_JSON_OBJECT) {
        kmy_json_t params;
        kmy_json_field_t p[] = { { .key = "max_age_ms" } };
        kmy_json_init(&params, f[2].token.text, f[2].token.len);
        if (kmy_json_object(&params, p, 1, ctx) != KMY_OK)
            return false;
        bool given = p[0].token.type != KMY_JSON_ERROR;
        if (given && (!kmy_json_i64(p[0].token, &a->max_age_ms) || a->max_age_ms < 0 ||
                      a->max_age_ms > INT32_MAX)) {
            KMY_FAIL(ctx, KMY_BAD_INPUT, "max_age_ms must be 0 to 2147483647");
            return false;
        }
    }
    if (f[2].token.type != KMY_JSON_OBJECT && f[2].token.type != KMY_JSON_ERROR &&
        f[2].token.type != KMY_JSON_NULL) {
        KMY_FAIL(ctx, KMY_BAD_INPUT, "\"data_params\" must be an object: {\"max_age_ms\":1000}");
        return false;
    }
    char name[KMY_FEED_NAME_BYTES_MAX];
    size_t len;
    if (kmy_json_unescape(t, name, sizeof name, &len))
        find_feed(s, a, name, len);
    else
        fail(a, KMY_UNKNOWN_FEED, "a name that long is no feed of ours");
    return true;
}

bool kmy_query_post(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    ask_t a = { .err = KMY_OK };
    kmy_errctx_t ctx = { 0 };
    kmy_json_t js;
    kmy_json_init(&js, body.ptr, body.len);
    bool ok = read_ask(s, &js, &a, &ctx);
    if (ok && kmy_json_next(&js).type != KMY_JSON_END) {
        KMY_FAIL(&ctx, KMY_BAD_INPUT, "something follows the JSON object");
        ok = false;
    }
    if (!ok)
        return refuse(s, c, req, ctx.detail);
    return answer_one(s, c, req, &a);
}

/* --- batch --------------------------------------------------------------------------------- */

/* {"queries":[...]} or a bare array.  Fills asks; false: malformed. */
static bool read_batch(kmy_shard_t *s, kmy_view_t body, ask_t *asks, uint32_t *count,
                       kmy_errctx_t *ctx)
{
    kmy_json_t js;
    kmy_json_t probe;
    kmy_json_init(&js, body.ptr, body.len);
    probe = js;
    if (!kmy_json_valid(body.ptr, body.len)) {
        KMY_FAIL(ctx, KMY_BAD_INPUT, "the body is not valid JSON");
        return false;
    }
    if (kmy_json_next(&probe).type == KMY_JSON_OBJECT) {
        kmy_json_field_t f[] = { { .key = "queries" } };
        if (kmy_json_object(&js, f, 1, ctx) != KMY_OK)
            return false;
        kmy_json_init(&js, f[0].token.text, f[0].token.type == KMY_JSON_ARRAY ? f[0].token.len : 0);
    }
    if (kmy_json_next(&js).type != KMY_JSON_ARRAY) {
        KMY_FAIL(ctx, KMY_BAD_INPUT, "send {\"queries\":[{\"feed_type\":\"SOL/USD\"},...]}");
        return false;
    }
    for (*count = 0;; (*count)++) {
        probe = js;
        if (kmy_json_next(&probe).type == KMY_JSON_ARRAY_END)
            return true;
        if (*count == BATCH_MAX) {
            KMY_FAIL(ctx, KMY_BAD_INPUT, "a batch holds at most %d queries", BATCH_MAX);
            return false;
        }
        asks[*count] = (ask_t){ .err = KMY_OK };
        if (!read_ask(s, &js, &asks[*count], ctx))
            return false;
    }
}

bool kmy_query_batch(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    static _Thread_local ask_t asks[BATCH_MAX];
    kmy_errctx_t ctx = { 0 };
    uint32_t count;
    if (!read_batch(s, body, asks, &count, &ctx))
        return refuse(s, c, req, ctx.detail);
    bool pays = kmy_http_header(req, "authorization") != NULL;
    uint32_t delivered = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (pays)
            check_age(s, &asks[i]); /* who does not pay learns the price of all it asked for */
        delivered += asks[i].err == KMY_OK;
    }
    /* From batch_from delivered items on each costs batch_discount percent less; a fraction of a nano-USD is dropped, in the customer's favour. */
    int64_t percent = delivered >= (uint32_t)s->config->prices.batch_from
                          ? 100 - s->config->prices.batch_discount_percent
                          : 100;
    int64_t total_nusd = 0;
    for (uint32_t i = 0; i < count; i++)
        total_nusd += asks[i].err == KMY_OK ? asks[i].feed->query_nusd * percent / 100 : 0;
    kmy_shard_account_t *acc;
    payer_t p = secure(s, c, req, total_nusd, &acc);
    if (p != PAYER_OK)
        return p != PAYER_PARKED;
    kmy_buf_t b = kmy_reply_body(s);
    kmy_buf_str(&b, "{\"results\":[");
    for (uint32_t i = 0; i < count; i++) {
        kmy_buf_str(&b, i ? ",{" : "{");
        if (asks[i].err != KMY_OK) {
            kmy_buf_fmt(&b, "\"error\":{\"code\":\"%s\",\"detail\":", kmy_err_code(asks[i].err));
            kmy_buf_json_str(&b, asks[i].detail, strlen(asks[i].detail));
            kmy_buf_str(&b, "}}");
            continue;
        }
        int64_t price_nusd = asks[i].feed->query_nusd * percent / 100;
        put_value(s, &b, asks[i].feed);
        charge(s, acc, price_nusd);
        kmy_buf_str(&b, ",\"charged\":");
        kmy_buf_json_nusd(&b, price_nusd);
        kmy_buf_str(&b, "}");
    }
    kmy_buf_fmt(&b, "],\"count\":%u,\"charged\":", delivered);
    kmy_buf_json_nusd(&b, total_nusd);
    kmy_buf_str(&b, ",\"balance\":");
    kmy_buf_json_nusd(&b, kmy_account_balance(acc));
    kmy_buf_str(&b, "}");
    kmy_reply_json(s, c, req, &b);
    return true;
}

/* --- account ------------------------------------------------------------------------------- */

bool kmy_query_account(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                       kmy_view_t body)
{
    (void)body;
    kmy_shard_account_t *acc;
    kmy_token_claims_t claims;
    payer_t p = find_payer(s, c, req, NULL, 0, &acc, &claims);
    if (p != PAYER_OK)
        return p != PAYER_PARKED;
    if (!kmy_throttle_account(s, c, req, acc->name))
        return true;
    kmy_buf_t b = kmy_reply_body(s);
    kmy_buf_str(&b, "{\"account\":");
    kmy_buf_json_str(&b, acc->name, strlen(acc->name));
    kmy_buf_str(&b, ",\"balance\":");
    kmy_buf_json_nusd(&b, kmy_account_balance(acc));
    kmy_buf_str(&b, ",\"token\":{\"jti\":");
    kmy_buf_json_str(&b, claims.jti, strlen(claims.jti));
    kmy_buf_fmt(&b, ",\"expires_at\":\"%" PRId64 "\"},\"sessions\":%u,\"tier\":0,\"passes\":[]}",
                claims.expires_s * KMY_NS_PER_S, acc->conns_count);
    kmy_reply_json(s, c, req, &b);
    return true;
}

bool kmy_query_revoke(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
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
    payer_t p = find_payer(s, c, req, NULL, 0, &acc, &claims);
    if (p != PAYER_OK)
        return p != PAYER_PARKED;
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
