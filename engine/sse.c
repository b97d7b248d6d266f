#include "engine/sse.h"

#include "engine/bearer.h"
#include "engine/conn.h"
#include "engine/past.h"
#include "engine/reply.h"
#include "engine/stream.h"
#include "engine/throttle.h"

#include <string.h>

/* The query string becomes the subscribe message it stands for: one reading of options for both transports.  A byte of the target becomes
   six at most, as an escape. */
enum { MESSAGE_BYTES_MAX = 6 * KMY_HTTP_TARGET_BYTES_MAX + 1024 };

static const char event_stream[] = "text/event-stream";

bool kmy_sse_wanted(const kmy_http_request_t *req)
{
    for (size_t i = 0; i < req->headers_count; i++) {
        kmy_view_t v = req->headers[i].value;
        if (!kmy_view_is_nocase(req->headers[i].name, "accept"))
            continue;
        while (v.len > 0) {
            const char *comma = memchr(v.ptr, ',', v.len);
            kmy_view_t item = { v.ptr, comma ? (size_t)(comma - v.ptr) : v.len };
            v.ptr += item.len + (comma != NULL);
            v.len -= item.len + (comma != NULL);
            const char *semicolon = memchr(item.ptr, ';', item.len);
            if (semicolon)
                item.len = (size_t)(semicolon - item.ptr);
            while (item.len > 0 && (*item.ptr == ' ' || *item.ptr == '\t'))
                item.ptr++, item.len--;
            while (item.len > 0 &&
                   (item.ptr[item.len - 1] == ' ' || item.ptr[item.len - 1] == '\t'))
                item.len--;
            if (kmy_view_is_nocase(item, event_stream))
                return true;
        }
    }
    return false;
}

/* Does the query name it at all, whether it can be read or not? */
static bool names(kmy_view_t query, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i + len < query.len; i++) {
        if ((i == 0 || query.ptr[i - 1] == '&') && memcmp(query.ptr + i, name, len) == 0 &&
            query.ptr[i + len] == '=')
            return true;
    }
    return false;
}

/* true: *out is the value, or empty and *there false. */
static bool read_value(kmy_view_t query, const char *name, char *out, size_t cap, bool *there,
                       kmy_errctx_t *ctx)
{
    *there = kmy_http_query(query, name, out, cap);
    if (*there || !names(query, name))
        return true;
    KMY_FAIL(ctx, KMY_BAD_INPUT, "%s stands twice in the address, or is not well-formed", name);
    return false;
}

/* "5" and "true" as what they are, everything else as a string: whoever reads the member says what it must be. */
static void put_value(kmy_buf_t *b, const char *value)
{
    kmy_json_t js;
    kmy_json_init(&js, value, strlen(value));
    kmy_json_type_t type = kmy_json_next(&js).type;
    bool literal = type == KMY_JSON_NUMBER || type == KMY_JSON_TRUE || type == KMY_JSON_FALSE;
    if (literal && kmy_json_next(&js).type == KMY_JSON_END)
        kmy_buf_str(b, value);
    else
        kmy_buf_json_str(b, value, strlen(value));
}

static void put_feeds(kmy_buf_t *b, const char *list)
{
    kmy_buf_str(b, "{\"feeds\":[");
    for (const char *name = list; *list; name = list) {
        list = strchrnul(name, ',');
        kmy_buf_json_str(b, name, (size_t)(list - name));
        if (*list == ',') {
            list++;
            kmy_buf_str(b, ",");
            if (*list == 0)
                kmy_buf_str(
                    b, "\"\""); /* "A," names nothing behind its comma, and is refused for it */
        }
    }
    kmy_buf_str(b, "]");
}

static kmy_err_t put_message(kmy_buf_t *b, kmy_view_t query, kmy_errctx_t *ctx)
{
    static const char *const options[] = { "encoding", "snapshot", "max_hz", "slow_reader",
                                           "plan" };
    static _Thread_local char list[KMY_HTTP_TARGET_BYTES_MAX];
    bool there;
    if (!read_value(query, "feeds", list, sizeof list, &there, ctx))
        return KMY_BAD_INPUT;
    if (!there || list[0] == 0)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "name feeds: /v1/stream?feeds=SOL/USD,BTC/USD");
    put_feeds(b, list);
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        char value[64];
        if (!read_value(query, options[i], value, sizeof value, &there, ctx))
            return KMY_BAD_INPUT;
        if (!there)
            continue;
        kmy_buf_fmt(b, ",\"%s\":", options[i]);
        put_value(b, value);
    }
    kmy_buf_str(b, "}");
    KMY_ASSERT(!b->overflow);
    return KMY_OK;
}

/* Last-Event-ID, which browsers send by themselves, or the same in the address.  A seq that was never given is of another life. */
static kmy_err_t read_held(const kmy_shard_t *s, const kmy_http_request_t *req,
                           kmy_stream_held_t *held, kmy_errctx_t *ctx)
{
    static const char *const in_query[] = { "last_event_id", "lastEventId" };
    const kmy_view_t *h = kmy_http_header(req, "last-event-id");
    char text[128];
    kmy_view_t id = { text, 0 };
    *held = (kmy_stream_held_t){ 0 };
    for (int i = 0; i < 2 && !h && id.len == 0; i++) {
        bool there;
        if (!read_value(req->query, in_query[i], text, sizeof text, &there, ctx))
            return KMY_BAD_INPUT;
        id.len = strlen(text);
    }
    if (h)
        id = *h;
    if (id.len == 0)
        return KMY_OK;
    if (!kmy_sse_id(id.ptr, id.len, s->o.epoch, &held->same_epoch, &held->seq))
        return KMY_FAIL(ctx, KMY_BAD_INPUT,
                        "Last-Event-ID must be the id of an event of this stream");
    held->given = true;
    held->same_epoch = held->same_epoch && held->seq < kmy_ring_head(s->ring);
    return KMY_OK;
}

/* Everything that can be refused is refused before the first byte of the stream, by an ordinary answer. */
bool kmy_sse_get(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req)
{
    _Static_assert((int)MESSAGE_BYTES_MAX <= (int)KMY_ROOM_BYTES, "the message fits");
    kmy_buf_t b = kmy_buf(kmy_shard_room(s, KMY_ROOM_MESSAGE), MESSAGE_BYTES_MAX);
    kmy_errctx_t ctx = { 0 };
    kmy_stream_held_t held;
    int64_t cheapest_nusd = 0;
    kmy_err_t err = KMY_OK;
    if (req->minor == 0)
        err =
            KMY_FAIL(&ctx, KMY_HTTP_VERSION, "events come in chunks, which HTTP/1.0 does not have");
    if (err == KMY_OK)
        err = put_message(&b, req->query, &ctx);
    if (err == KMY_OK)
        err = read_held(s, req, &held, &ctx);
    if (err == KMY_OK)
        err = kmy_stream_plan(s, c, b.data, b.len, &held, &cheapest_nusd, &ctx);
    if (err != KMY_OK) {
        if (kmy_throttle_stranger(s, c, req))
            kmy_reply_problem(s, c, req, err, ctx.detail);
        return true;
    }
    char token[KMY_TOKEN_BYTES_MAX];
    bool shown = kmy_http_query(req->query, "token", token, sizeof token);
    kmy_shard_account_t *acc;
    kmy_token_claims_t claims;
    kmy_demand_t demand = kmy_demand_deposit("/v1/stream", 0);
    demand.price_nusd = cheapest_nusd;
    demand.to_account = true;
    demand.scoped = true;
    kmy_bearer_t p = kmy_bearer_secure(s, c, req, shown ? token : NULL, &demand, &acc, &claims);
    if (p != KMY_BEARER_OK)
        return p != KMY_BEARER_PARKED;
    err = kmy_stream_plan_allowed(s, acc, &claims, &ctx);
    if (err != KMY_OK) {
        kmy_reply_problem(s, c, req, err, ctx.detail);
        return true;
    }
    if (!kmy_reply_events(s, c, req) || kmy_view_is(req->method, "HEAD"))
        return true;
    KMY_COUNT(s->metrics, sse_session_total, 1);
    c->peer = kmy_peer_client(req, &c->peer, &s->o.limiter->proxies);
    kmy_conn_become_sse(c);
    c->after_seq = held.given && held.same_epoch ? held.seq : 0;
    kmy_stream_begin(s, c, acc, &claims);
    if (held.given && held.same_epoch && c->state == KMY_CONN_SSE)
        kmy_past_begin(s, c, held.seq);
    return true;
}
