#include "engine/account_routes.h"

#include "base/clock.h"
#include "engine/account.h"
#include "engine/conn.h"
#include "engine/bearer.h"
#include "engine/named_feed.h"
#include "engine/passes.h"
#include "engine/reply.h"
#include "engine/shard.h"
#include "engine/throttle.h"

#include <inttypes.h>
#include <string.h>

bool kmy_account_get_route(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                           kmy_view_t body)
{
    (void)body;
    kmy_shard_account_t *acc;
    kmy_token_claims_t claims;
    kmy_bearer_t p = kmy_bearer_find(s, c, req, NULL, NULL, &acc, &claims);
    if (p != KMY_BEARER_OK)
        return p != KMY_BEARER_PARKED;
    if (!kmy_throttle_account(s, c, req, acc->name))
        return true;
    kmy_buf_t b = kmy_reply_body(s);
    kmy_buf_str(&b, "{\"account\":");
    kmy_buf_json_str(&b, acc->name, strlen(acc->name));
    kmy_buf_str(&b, ",\"balance\":");
    kmy_buf_json_nusd(&b, kmy_account_balance(acc));
    kmy_buf_str(&b, ",\"token\":{\"jti\":");
    kmy_buf_json_str(&b, claims.jti, strlen(claims.jti));
    kmy_buf_fmt(&b,
                ",\"expires_at\":\"%" PRId64 "\"},\"sessions\":%u,\"tier\":%u,\"stake\":\"%" PRIu64
                "\",\"discount\":%u,\"passes\":",
                claims.expires_s * KMY_NS_PER_S, acc->conns_count,
                kmy_tier_of(&s->config->prices.tiers, acc->stake), acc->stake,
                acc->discount_percent);
    kmy_passes_put(s, acc, &b);
    kmy_buf_str(&b, "}");
    kmy_reply_json(s, c, req, &b);
    return true;
}

/* --- usage --------------------------------------------------------------------------------- */

typedef struct window {
    const char *name;
    int64_t s;
} window_t;
static const window_t windows[] = { { "24h", 24 * 3600 },
                                    { "1h", 3600 },
                                    { "30d", 30 * 24 * 3600 } };
enum { WINDOWS = sizeof windows / sizeof windows[0] };

/* NULL: it is none of them.  The first if none is named. */
static const window_t *window_of(const kmy_http_request_t *req)
{
    char name[8];
    if (!kmy_http_query(req->query, "window", name, sizeof name))
        return kmy_named_stands(req->query, "window") ? NULL : &windows[0];
    for (int i = 0; i < WINDOWS; i++) {
        if (strcmp(windows[i].name, name) == 0)
            return &windows[i];
    }
    return NULL;
}

/* {"stream":{"count":N,"amount":"X"},...}: those that were used. */
static void put_sums(kmy_buf_t *b, const kmy_usage_sums_t *sums)
{
    const char *comma = "";
    kmy_buf_str(b, "{");
    for (int m = 0; m < KMY_MODES; m++) {
        if (sums->count[m] == 0 && sums->nusd[m] == 0)
            continue;
        kmy_buf_fmt(b, "%s\"%s\":{\"count\":%" PRIu64 ",\"amount\":", comma,
                    kmy_mode_name((kmy_mode_t)m), sums->count[m]);
        kmy_buf_json_nusd(b, sums->nusd[m]);
        kmy_buf_str(b, "}");
        comma = ",";
    }
    kmy_buf_str(b, "}");
}

static void put_total(kmy_buf_t *b, const kmy_usage_sums_t *sums)
{
    int64_t nusd = 0;
    for (int m = 0; m < KMY_MODES; m++)
        nusd += sums->nusd[m]; /* at most what was consumed */
    kmy_buf_str(b, "\"total\":{\"amount\":");
    kmy_buf_json_nusd(b, nusd);
    kmy_buf_str(b, ",\"modes\":");
    put_sums(b, sums);
    kmy_buf_str(b, "}");
}

static void answer_usage(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                         const window_t *w)
{
    const kmy_usage_t *u = s->answer->usage;
    kmy_buf_t b = kmy_reply_body(s);
    kmy_buf_fmt(&b,
                "{\"window\":\"%s\",\"from\":\"%" PRId64 "\",\"to\":\"%" PRId64 "\",\"feeds\":[",
                w->name, u->from_ns, s->now_wall_ns);
    for (uint32_t i = 0; i < u->count; i++) {
        const kmy_usage_feed_t *f = &u->feeds[i];
        const char *name = f->id > 0 ? f->name : "*"; /* of several by one payment */
        kmy_buf_str(&b, i ? ",{\"feed\":" : "{\"feed\":");
        kmy_buf_json_str(&b, name, strlen(name));
        kmy_buf_str(&b, ",\"modes\":");
        put_sums(&b, &f->sums);
        kmy_buf_str(&b, "}");
    }
    kmy_buf_str(&b, "],");
    put_total(&b, &u->total);
    if (u->more)
        kmy_buf_fmt(&b, ",\"cursor\":\"%u\"", u->feeds[u->count - 1].id + 1);
    kmy_buf_str(&b, "}");
    kmy_reply_json(s, c, req, &b);
}

/* What this shard has to report goes ahead of the question; what others have comes with their next report. */
static bool ask_usage(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                      kmy_shard_account_t *acc, const window_t *w, uint64_t cursor)
{
    kmy_account_report_now(s, acc);
    kmy_ask_t a = { .kind = KMY_ASK_USAGE,
                    .slot = kmy_conn_idx(s, c),
                    .gen = c->gen,
                    .account_id = acc->id,
                    .when_s = s->now_wall_ns / KMY_NS_PER_S - w->s,
                    .from = cursor };
    return !kmy_shard_ask_and_park(s, c, req, &a);
}

bool kmy_account_usage_route(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                             kmy_view_t body)
{
    (void)body;
    kmy_shard_account_t *acc;
    kmy_token_claims_t claims;
    uint64_t cursor;
    const window_t *w = window_of(req);
    if (c->answered) {
        if (s->answer->err == KMY_OK)
            answer_usage(s, c, req, w);
        else
            kmy_reply_problem(s, c, req, (kmy_err_t)s->answer->err, s->answer->detail);
        return true;
    }
    kmy_bearer_t p = kmy_bearer_find(s, c, req, NULL, NULL, &acc, &claims);
    if (p != KMY_BEARER_OK)
        return p != KMY_BEARER_PARKED;
    if (!kmy_throttle_account(s, c, req, acc->name))
        return true;
    bool numbered = kmy_named_number(req, "cursor", 1, UINT32_MAX, 0, &cursor);
    if (w && numbered)
        return ask_usage(s, c, req, acc, w, cursor);
    kmy_reply_problem(s, c, req, KMY_BAD_INPUT,
                      w ? "cursor must be one of an earlier page; leave it out for the first"
                        : "window must be 1h, 24h or 30d");
    return true;
}

bool kmy_account_revoke_route(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                              kmy_view_t body)
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
    kmy_bearer_t p = kmy_bearer_find(s, c, req, NULL, NULL, &acc, &claims);
    if (p != KMY_BEARER_OK)
        return p != KMY_BEARER_PARKED;
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
