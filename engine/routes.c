#include "engine/routes.h"

#include "base/clock.h"
#include "engine/account_routes.h"
#include "engine/admin.h"
#include "engine/compare_route.h"
#include "engine/conn.h"
#include "engine/drain.h"
#include "engine/egress.h"
#include "engine/grant.h"
#include "engine/history_route.h"
#include "engine/pass_routes.h"
#include "engine/pay_routes.h"
#include "engine/query.h"
#include "engine/reply.h"
#include "engine/snapshot_route.h"
#include "engine/spec.h"
#include "engine/sse.h"
#include "engine/stream.h"
#include "engine/subs.h"
#include "engine/throttle.h"
#include "wire/ws_extensions.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

typedef bool route_t(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body);

/* --- free public routes -------------------------------------------------------------------- */

static void put_names(kmy_buf_t *b, const char *key, const kmy_feed_t *f)
{
    kmy_buf_fmt(b, ",\"%s\":[", key);
    for (uint32_t i = 0; i < f->aliases_count; i++) {
        kmy_buf_str(b, i ? "," : "");
        kmy_buf_json_str(b, f->aliases[i], strlen(f->aliases[i]));
    }
    kmy_buf_str(b, "]");
}

/* With what our receipts are signed, as a set (RFC 7517). */
static bool keys(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    (void)body;
    if (!kmy_throttle_free(s, c, req))
        return true;
    char jwk[KMY_RECEIPT_JWK_BYTES_MAX];
    kmy_receipt_jwk(s->o.receipt_key, jwk);
    kmy_buf_t b = kmy_reply_body(s);
    kmy_buf_fmt(&b, "{\"keys\":[%s]}", jwk);
    kmy_reply_json(s, c, req, &b);
    return true;
}

static bool feeds(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    (void)body;
    if (!kmy_throttle_free(s, c, req))
        return true;
    kmy_buf_t b = kmy_reply_body(s);
    kmy_buf_str(&b, "{\"feeds\":[");
    for (uint32_t i = 0; i < s->catalog->feeds_count; i++) {
        const kmy_feed_t *f = &s->catalog->feeds[i];
        const kmy_tick_t *t = &s->feeds[i].last;
        kmy_buf_str(&b, i ? ",{\"feed\":" : "{\"feed\":");
        kmy_buf_json_str(&b, f->name, strlen(f->name));
        put_names(&b, "aliases", f);
        kmy_buf_fmt(&b, ",\"kind\":\"%s\",\"sources\":[", kmy_kind_name(f->kind));
        for (uint32_t j = 0; j < f->sources_count; j++)
            kmy_buf_fmt(&b, "%s\"%s\"", j ? "," : "", kmy_source_name(f->sources[j]));
        kmy_buf_str(&b, "],\"price_query\":");
        kmy_buf_json_nusd(&b, f->query_nusd);
        kmy_buf_str(&b, ",\"price_tick\":");
        kmy_buf_json_nusd(&b, f->tick_nusd);
        kmy_buf_str(&b, ",\"price_pass\":");
        kmy_buf_json_nusd(&b, f->pass_nusd);
        kmy_buf_fmt(&b, ",\"epoch\":\"%s\",\"offset\":%" PRIu64 ",\"age_ms\":", s->o.epoch,
                    t->offset);
        if (t->offset > 0)
            kmy_buf_fmt(&b, "%" PRId64 "}",
                        s->now_wall_ns > t->recv_ns ? (s->now_wall_ns - t->recv_ns) / KMY_NS_PER_MS
                                                    : 0);
        else
            kmy_buf_str(&b, "null}");
    }
    kmy_buf_str(&b, "]}");
    kmy_reply_json(s, c, req, &b);
    return true;
}

static bool root(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    (void)body;
    if (!kmy_throttle_free(s, c, req))
        return true;
    kmy_buf_t b = kmy_reply_body(s);
    kmy_buf_str(&b, "{\"name\":\"kamiyo\",\"version\":\"" KMY_VERSION
                    "\",\"feeds\":\"/v1/feeds\",\"query\":\"/v1/ingest-data?feed=SOL/USD\","
                    "\"stream\":\"/v1/stream\"}");
    kmy_reply_json(s, c, req, &b);
    return true;
}

/* --- WebSocket ----------------------------------------------------------------------------- */

static bool offers(const kmy_http_request_t *req, const char *protocol)
{
    const kmy_view_t *h = kmy_http_header(req, "sec-websocket-protocol");
    return h && kmy_http_list_has(*h, protocol);
}

static bool upgrade(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, bool echo)
{
    char accept[KMY_WS_ACCEPT_BYTES];
    kmy_errctx_t ctx = { 0 };
    if (!req->upgrade_websocket) {
        if (!echo && !kmy_throttle_stranger(s, c, req))
            return true;
        kmy_errctx_t why;
        KMY_FAIL(&why, KMY_UPGRADE_REQUIRED,
                 "this is a WebSocket: connect to it with ws:// or wss://, or ask for events "
                 "with Accept: text/event-stream");
        kmy_reply_problem_with(s, c, req, KMY_UPGRADE_REQUIRED, why.detail,
                               "Upgrade: websocket\r\n", NULL);
        return true;
    }
    kmy_err_t err = kmy_ws_check_upgrade(req, accept, &ctx);
    if (err != KMY_OK) {
        bool version = err == KMY_UNSUPPORTED;
        kmy_reply_problem_with(s, c, req, version ? KMY_UPGRADE_REQUIRED : err, ctx.detail,
                               version ? "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n" : "",
                               NULL);
        return true;
    }
    const char *extensions;
    err = kmy_ws_extensions(req, &extensions, &ctx);
    if (err != KMY_OK) {
        kmy_reply_problem(s, c, req, err, ctx.detail);
        return true;
    }
    c->deflate = extensions && s->deflate;
    char head[512];
    kmy_buf_t b = kmy_buf(head, sizeof head);
    kmy_buf_str(&b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
                    "Upgrade\r\nSec-WebSocket-Accept: ");
    kmy_buf_bytes(&b, accept, sizeof accept);
    if (!echo && offers(req, "kamiyo.v1"))
        kmy_buf_str(&b, "\r\nSec-WebSocket-Protocol: kamiyo.v1");
    if (c->deflate)
        kmy_buf_fmt(&b, "\r\nSec-WebSocket-Extensions: %s", extensions);
    kmy_buf_str(&b, "\r\n\r\n");
    KMY_COUNT(s->metrics, ws_session_total, 1);
    if (!kmy_egress_bytes(s, c, b.data, b.len))
        return true;
    c->peer = kmy_peer_client(req, &c->peer, &s->o.limiter->proxies);
    kmy_conn_become_ws(s, c, echo);
    return true;
}

static bool stream(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    (void)body;
    if (kmy_draining(s)) {
        if (kmy_throttle_stranger(s, c, req))
            kmy_reply_problem_with(
                s, c, req, KMY_UNAVAILABLE,
                "no new sessions are taken here now; connect elsewhere, or later",
                "Retry-After: 1\r\n", NULL);
        return true;
    }
    if (!req->upgrade_websocket && kmy_sse_wanted(req))
        return kmy_sse_get(s, c, req);
    upgrade(s, c, req, false);
    if (c->state != KMY_CONN_WS)
        return true;
    static const char scheme[] = "bearer ";
    const kmy_view_t *h = kmy_http_header(req, "authorization");
    char token[KMY_TOKEN_BYTES_MAX];
    if (h && h->len > sizeof scheme - 1 &&
        kmy_view_is_nocase((kmy_view_t){ h->ptr, sizeof scheme - 1 }, scheme))
        kmy_stream_auth(s, c, h->ptr + sizeof scheme - 1, h->len - (sizeof scheme - 1));
    else if (kmy_http_query(req->query, "token", token, sizeof token))
        kmy_stream_auth(s, c, token, strlen(token));
    return true;
}

static bool echo(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    (void)body;
    if (!s->o.conformance_echo) {
        if (kmy_throttle_stranger(s, c, req))
            kmy_reply_problem(s, c, req, KMY_NOT_FOUND, "no such resource");
        return true;
    }
    return upgrade(s, c, req, true);
}

/* --- the table ----------------------------------------------------------------------------- */

static const struct {
    uint8_t door;
    const char *method;
    const char *path;
    route_t *answer;
} routes[] = {
    { KMY_DOOR_PUBLIC, "GET", "/", root },
    { KMY_DOOR_PUBLIC, "GET", "/v1/feeds", feeds },
    { KMY_DOOR_PUBLIC, "GET", "/v1/keys", keys },
    { KMY_DOOR_PUBLIC, "GET", "/v1/ingest-data", kmy_query_get },
    { KMY_DOOR_PUBLIC, "POST", "/v1/ingest-data", kmy_query_post },
    { KMY_DOOR_PUBLIC, "POST", "/v1/ingest-data/batch", kmy_query_batch },
    { KMY_DOOR_PUBLIC, "POST", "/v1/deposit", kmy_pay_deposit },
    { KMY_DOOR_PUBLIC, "POST", "/v1/tokens", kmy_pay_tokens },
    { KMY_DOOR_PUBLIC, "POST", "/v1/x402/verify-payment", kmy_pay_transfer },
    { KMY_DOOR_PUBLIC, "GET", "/v1/payments/{id}", kmy_pay_state },
    { KMY_DOOR_PUBLIC, "GET", "/.well-known/x402", kmy_pay_about },
    { KMY_DOOR_PUBLIC, "GET", "/openapi.json", kmy_spec_openapi },
    { KMY_DOOR_PUBLIC, "GET", "/asyncapi.json", kmy_spec_asyncapi },
    { KMY_DOOR_PUBLIC, "GET", "/v1/account", kmy_account_get_route },
    { KMY_DOOR_PUBLIC, "GET", "/v1/account/usage", kmy_account_usage_route },
    { KMY_DOOR_PUBLIC, "POST", "/v1/passes", kmy_pass_buy_route },
    { KMY_DOOR_PUBLIC, "GET", "/v1/history", kmy_history_get },
    { KMY_DOOR_PUBLIC, "GET", "/v1/compare", kmy_compare_get },
    { KMY_DOOR_PUBLIC, "GET", "/v1/snapshot", kmy_snapshot_get },
    { KMY_DOOR_PUBLIC, "POST", "/v1/tokens/revoke", kmy_account_revoke_route },
    { KMY_DOOR_PUBLIC, "GET", "/v1/sources", kmy_admin_sources },
    { KMY_DOOR_PUBLIC, "GET", "/v1/stream", stream },
    { KMY_DOOR_PUBLIC, "GET", "/stream-data", stream },
    { KMY_DOOR_PUBLIC, "GET", "/echo", echo },
    { KMY_DOOR_ADMIN, "GET", "/metrics", kmy_admin_metrics },
    { KMY_DOOR_ADMIN, "GET", "/healthz", kmy_admin_live },
    { KMY_DOOR_ADMIN, "GET", "/livez", kmy_admin_live },
    { KMY_DOOR_ADMIN, "GET", "/readyz", kmy_admin_ready },
    { KMY_DOOR_ADMIN, "GET", "/health", kmy_admin_live }, /* aliases, reached as /api/... */
    { KMY_DOOR_ADMIN, "GET", "/live", kmy_admin_live },
    { KMY_DOOR_ADMIN, "GET", "/ready", kmy_admin_ready },
    { KMY_DOOR_ADMIN, "POST", "/v1/admin/tokens", kmy_admin_mint },
    { KMY_DOOR_ADMIN, "POST", "/v1/admin/tokens/revoke", kmy_admin_revoke },
    { KMY_DOOR_ADMIN, "POST", "/v1/admin/tokens/rotate", kmy_admin_rotate },
    { KMY_DOOR_ADMIN, "GET", "/v1/admin/accounts", kmy_admin_account },
    { KMY_DOOR_ADMIN, "GET", "/v1/admin/ledger", kmy_admin_ledger },
    { KMY_DOOR_ADMIN, "GET", "/v1/admin/conns", kmy_admin_conns },
    { KMY_DOOR_ADMIN, "POST", "/v1/admin/drain", kmy_drain_verb },
    { KMY_DOOR_ADMIN, "GET", "/v1/admin/sources", kmy_admin_sources },
};
enum { ROUTES_COUNT = sizeof routes / sizeof routes[0] };

static bool same_method(const kmy_http_request_t *req, const char *method)
{
    return kmy_view_is(req->method, method) ||
           (strcmp(method, "GET") == 0 && kmy_view_is(req->method, "HEAD"));
}

/* A path of the table that ends in {id} stands for any that goes on there, by at least one byte. */
static bool same_path(kmy_view_t path, const char *of_table)
{
    size_t fixed = strcspn(of_table, "{");
    return of_table[fixed] ? path.len > fixed && memcmp(path.ptr, of_table, fixed) == 0
                           : kmy_view_is(path, of_table);
}

static void preflight(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req)
{
    kmy_buf_t b = kmy_reply_body(s);
    kmy_reply(s, c, req, 204, "",
              "Access-Control-Allow-Methods: GET, POST, OPTIONS\r\n"
              "Access-Control-Allow-Headers: Authorization, Content-Type, Idempotency-Key, "
              "X-PAYMENT, PAYMENT-SIGNATURE, SIGN-IN-WITH-X, "
              "Access-Control-Expose-Headers, Last-Event-ID\r\nAccess-Control-Max-Age: 86400\r\n",
              &b);
}

bool kmy_route(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    kmy_errctx_t ctx = { 0 };
    if (c->door == KMY_DOOR_ADMIN && !kmy_admin_allows(s, req, &ctx)) {
        kmy_reply_problem(s, c, req, KMY_FORBIDDEN, ctx.detail);
        return true;
    }
    kmy_view_t path = req->path;
    static const char api[] = "/api/";
    if (path.len >= sizeof api - 1 && memcmp(path.ptr, api, sizeof api - 1) == 0) {
        path.ptr += sizeof api - 2;
        path.len -= sizeof api - 2;
    }
    char extra[64];
    kmy_buf_t allowed = kmy_buf(extra, sizeof extra - 1);
    s->limit_lines[0] = 0;
    s->head_only = kmy_view_is(req->method, "HEAD");
    c->counted = c->counted && c->answered; /* one that comes again was counted the first time */
    for (int i = 0; i < ROUTES_COUNT; i++) {
        if (routes[i].door != c->door || !same_path(path, routes[i].path))
            continue;
        if (same_method(req, routes[i].method)) {
            bool done = routes[i].answer(s, c, req, body);
            s->limit_lines[0] = 0;
            c->answered = false;
            if (done) {
                kmy_grant_forget(c);
                c->rated = false;
            }
            return done;
        }
        kmy_buf_fmt(&allowed, "%s%s", allowed.len ? ", " : "Allow: ",
                    strcmp(routes[i].method, "GET") == 0 ? "GET, HEAD" : routes[i].method);
    }
    if (c->door == KMY_DOOR_PUBLIC && kmy_view_is(req->method, "OPTIONS")) {
        preflight(s, c, req);
    } else if (!kmy_throttle_stranger(s, c, req)) {
        s->limit_lines[0] = 0;
        return true;
    } else if (allowed.len > 0) {
        kmy_buf_str(&allowed, c->door == KMY_DOOR_PUBLIC ? ", OPTIONS\r\n" : "\r\n");
        KMY_ASSERT(!allowed.overflow);
        extra[allowed.len] = 0;
        kmy_reply_problem_with(s, c, req, KMY_METHOD, "this resource answers another method", extra,
                               NULL);
    } else {
        kmy_reply_problem(s, c, req, KMY_NOT_FOUND, "no such resource");
    }
    s->limit_lines[0] = 0;
    return true;
}

void kmy_route_refuse(kmy_shard_t *s, kmy_conn_t *c, kmy_err_t err, const kmy_errctx_t *ctx)
{
    if (c->state != KMY_CONN_HTTP)
        return;
    KMY_ASSERT(s->limit_lines[0] == 0);
    kmy_reply_problem(s, c, NULL, err, ctx->detail[0] ? ctx->detail : kmy_err_text(err));
}

void kmy_route_ledger_timeout(kmy_shard_t *s, kmy_conn_t *c)
{
    kmy_reply_problem_with(s, c, NULL, KMY_UNAVAILABLE,
                           "the ledger does not answer; nothing was charged, try again later",
                           "Retry-After: 5\r\n", NULL);
}

void kmy_route_date(kmy_shard_t *s)
{
    time_t now = (time_t)(s->now_wall_ns / KMY_NS_PER_S);
    if (now == s->date_s)
        return;
    s->date_s = now;
    struct tm tm;
    gmtime_r(&now, &tm);
    strftime(s->date, sizeof s->date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
}
