#include "engine/query_ask.h"

#include "base/clock.h"
#include "base/decimal.h"
#include "engine/subs.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 3, 4))) static void fail(kmy_query_ask_t *a, kmy_err_t err,
                                                       const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(a->detail, sizeof a->detail, fmt, ap);
    va_end(ap);
    a->err = err;
}

static void find_feed(kmy_shard_t *s, kmy_query_ask_t *a, const char *name, size_t len)
{
    a->feed = kmy_catalog_find(s->catalog, name, len);
    if (a->feed)
        return;
    fail(a, KMY_UNKNOWN_FEED, "no such feed; GET /v1/feeds lists them");
    KMY_ASSERT(len < sizeof a->name);
    memcpy(a->name, name, len);
}

void kmy_query_hint(const kmy_shard_t *s, kmy_query_ask_t *a)
{
    a->closest = a->name[0] ? kmy_catalog_closest(s->catalog, a->name, strlen(a->name)) : NULL;
    if (a->closest)
        fail(a, KMY_UNKNOWN_FEED, "no such feed; the closest is %s", a->closest->name);
}

void kmy_query_check(const kmy_shard_t *s, kmy_query_ask_t *a)
{
    if (a->err != KMY_OK)
        return;
    const kmy_tick_t *t = &s->feeds[a->feed->idx].last;
    if (t->offset == 0)
        fail(a, KMY_UNAVAILABLE, "%s has no value yet; nothing was charged", a->feed->name);
    else if (a->max_age_ms > 0 && (s->now_wall_ns - t->recv_ns) / KMY_NS_PER_MS > a->max_age_ms)
        fail(a, KMY_STALE, "%s is older than max_age_ms; nothing was charged", a->feed->name);
}

/* In pieces, here and in reply.c, since printf was 5 % of what a query costs with the kernel's part (docs/benchmarks.md). */
static void put_text(kmy_buf_t *b, const char *member, const char *text, size_t len)
{
    kmy_buf_str(b, member);
    kmy_buf_bytes(b, text, len);
    kmy_buf_str(b, "\",");
}

static void put_decimal(kmy_buf_t *b, const char *member, int64_t mant, int expo)
{
    char text[KMY_DEC_BYTES_MAX];
    put_text(b, member, text, kmy_dec_format(mant, expo, text));
}

void kmy_query_put(const kmy_shard_t *s, kmy_buf_t *b, const kmy_feed_t *feed)
{
    const kmy_shard_feed_t *f = &s->feeds[feed->idx];
    const kmy_tick_t *t = &f->last;
    const kmy_tick_t *q = t->has & KMY_HAS_BID
                              ? t
                              : &f->last_quote; /* a trade has no bid and ask: the newest quote's */
    kmy_buf_str(b, "\"feed\":");
    kmy_buf_json_str(b, feed->name, strlen(feed->name));
    kmy_buf_str(b, ",\"data\":{");
    put_decimal(b, "\"price\":\"", t->price_mant, t->price_expo);
    if ((t->has & KMY_HAS_CONF) && !(t->flags & KMY_TICK_CONF_IS_SPREAD)) {
        char text[KMY_DEC_BYTES_MAX];
        size_t len = kmy_dec_format_u(t->conf_mant, t->price_expo, text);
        put_text(b, "\"conf\":\"", text, len);
    }
    if (q->offset > 0 && (q->has & KMY_HAS_BID))
        put_decimal(b, "\"bid\":\"", q->bid_mant, q->price_expo);
    if (q->offset > 0 && (q->has & KMY_HAS_ASK))
        put_decimal(b, "\"ask\":\"", q->ask_mant, q->price_expo);
    const char *source = kmy_source_name(t->source);
    put_text(b, "\"source\":\"", source, strlen(source));
    if (t->event_ns > 0) {
        kmy_buf_str(b, "\"ts_event\":\"");
        kmy_buf_i64(b, t->event_ns);
        kmy_buf_str(b, "\",");
    }
    int64_t age_ns = s->now_wall_ns - t->recv_ns;
    bool degraded = (t->flags & KMY_TICK_DEGRADED) || kmy_feed_is_stale(s, feed->idx);
    bool cached = t->mono_ns < s->o.start_mono_ns || t->mono_ns > s->now_ns;
    kmy_buf_str(b, "\"ts_recv\":\"");
    kmy_buf_i64(b, t->recv_ns);
    kmy_buf_str(b, "\"},\"epoch\":\"");
    kmy_buf_str(b, s->o.epoch);
    kmy_buf_str(b, "\",\"offset\":");
    kmy_buf_u64(b, t->offset);
    kmy_buf_str(b, ",\"age_ms\":");
    kmy_buf_i64(b, age_ns > 0 ? age_ns / KMY_NS_PER_MS : 0);
    kmy_buf_str(b, degraded ? ",\"degraded\":true" : ",\"degraded\":false");
    kmy_buf_str(b, cached ? ",\"cached\":true" : ",\"cached\":false");
}

/* {"feed_type":F,"data_params":{"max_age_ms":N}}; "feed" is understood as well.  false: malformed, *ctx says why. */
static bool read_ask(kmy_shard_t *s, kmy_json_t *js, kmy_query_ask_t *a, kmy_errctx_t *ctx)
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

bool kmy_query_ask_address(kmy_shard_t *s, const kmy_http_request_t *req, kmy_query_ask_t *a,
                           kmy_errctx_t *ctx)
{
    char name[KMY_FEED_NAME_BYTES_MAX];
    char age[24];
    uint64_t max_age;
    if (!kmy_http_query(req->query, "feed", name, sizeof name) &&
        !kmy_http_query(req->query, "feed_type", name, sizeof name)) {
        KMY_FAIL(ctx, KMY_BAD_INPUT, "name one feed: /v1/ingest-data?feed=SOL/USD");
        return false;
    }
    if (kmy_http_query(req->query, "max_age_ms", age, sizeof age)) {
        if (!kmy_u64_parse(age, strlen(age), &max_age) || max_age > INT32_MAX) {
            KMY_FAIL(ctx, KMY_BAD_INPUT, "max_age_ms must be 0 to 2147483647");
            return false;
        }
        a->max_age_ms = (int64_t)max_age;
    }
    find_feed(s, a, name, strlen(name));
    return true;
}

bool kmy_query_ask_body(kmy_shard_t *s, kmy_view_t body, kmy_query_ask_t *a, kmy_errctx_t *ctx)
{
    kmy_json_t js;
    kmy_json_init(&js, body.ptr, body.len);
    if (!read_ask(s, &js, a, ctx))
        return false;
    if (kmy_json_next(&js).type == KMY_JSON_END)
        return true;
    KMY_FAIL(ctx, KMY_BAD_INPUT, "something follows the JSON object");
    return false;
}

/* {"queries":[...]} or a bare array. */
bool kmy_query_ask_batch(kmy_shard_t *s, kmy_view_t body, kmy_query_ask_t *asks, uint32_t max,
                         uint32_t *count, kmy_errctx_t *ctx)
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
        if (*count == max) {
            KMY_FAIL(ctx, KMY_BAD_INPUT, "a batch holds at most %u queries", max);
            return false;
        }
        asks[*count] = (kmy_query_ask_t){ .err = KMY_OK };
        if (!read_ask(s, &js, &asks[*count], ctx))
            return false;
    }
}
