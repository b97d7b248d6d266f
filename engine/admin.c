#include "engine/admin.h"

#include "base/clock.h"
#include "engine/drain.h"
#include "engine/reply.h"
#include "engine/subs.h"
#include "engine/throttle.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <string.h>

/* --- who may ------------------------------------------------------------------------------- */

static bool host_is(kmy_view_t host, const char *name)
{
    size_t n = strlen(name);
    return host.len >= n && kmy_view_is_nocase((kmy_view_t){ host.ptr, n }, name) &&
           (host.len == n || host.ptr[n] == ':');
}

bool kmy_admin_allows(const kmy_shard_t *s, const kmy_http_request_t *req, kmy_errctx_t *ctx)
{
    if (kmy_http_header(req, "origin")) {
        KMY_FAIL(ctx, KMY_FORBIDDEN, "the operator's door does not talk to web pages");
        return false;
    }
    const kmy_view_t *host = kmy_http_header(req, "host");
    if (!host)
        return true; /* HTTP/1.0 without one */
    char bound[KMY_CONFIG_TEXT_BYTES_MAX];
    memcpy(bound, s->config->admin.listen, sizeof bound);
    char *colon = strrchr(bound, ':');
    if (colon)
        *colon = 0;
    if (host_is(*host, "127.0.0.1") || host_is(*host, "localhost") || host_is(*host, "[::1]") ||
        host_is(*host, bound))
        return true;
    KMY_FAIL(ctx, KMY_FORBIDDEN, "Host is not this door's address");
    return false;
}

bool kmy_admin_operator(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req)
{
    static const char scheme[] = "bearer ";
    const kmy_view_t *h = kmy_http_header(req, "authorization");
    size_t n = strlen(s->o.admin_token);
    if (h && h->len == sizeof scheme - 1 + n &&
        kmy_view_is_nocase((kmy_view_t){ h->ptr, sizeof scheme - 1 }, scheme) &&
        CRYPTO_memcmp(h->ptr + sizeof scheme - 1, s->o.admin_token, n) == 0)
        return true;
    KMY_COUNT(s->metrics, auth_refused_total, 1);
    kmy_reply_problem_with(s, c, req, KMY_UNAUTHENTICATED,
                           "operator verbs need the bearer in <data>/admin.token",
                           "WWW-Authenticate: Bearer\r\n", NULL);
    return false;
}

/* --- open to all --------------------------------------------------------------------------- */

bool kmy_admin_metrics(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                       kmy_view_t body)
{
    (void)body;
    kmy_buf_t b = kmy_reply_body(s);
    b.len = kmy_metrics_text(s->o.all_metrics, s->o.all_metrics_count, b.data, b.cap);
    KMY_ASSERT(b.len < b.cap);
    kmy_reply(s, c, req, 200, "text/plain; version=0.0.4", "", &b);
    return true;
}

bool kmy_admin_live(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    (void)body;
    kmy_buf_t b = kmy_reply_body(s);
    kmy_buf_fmt(
        &b,
        "{\"status\":\"ok\",\"version\":\"" KMY_VERSION "\",\"uptime_s\":%" PRId64
        ",\"conformance_echo\":%s,\"payments\":{\"settlers_closed\":%" PRId64 "}}",
        (s->now_ns - s->o.start_mono_ns) / KMY_NS_PER_S, s->o.conformance_echo ? "true" : "false",
        kmy_metrics_sum(s->o.all_metrics, s->o.all_metrics_count, KMY_METRIC_settler_closed));
    kmy_reply_json(s, c, req, &b);
    return true;
}

bool kmy_admin_ready(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    (void)body;
    kmy_buf_t b = kmy_reply_body(s);
    bool draining = kmy_draining(s), damaged = atomic_load(&s->o.topology->ledger_damaged);
    uint32_t stale = 0;
    kmy_buf_str(&b, "{\"reasons\":[");
    if (draining)
        kmy_buf_str(&b, "\"draining\"");
    if (damaged)
        kmy_buf_str(&b, draining ? ",\"ledger damaged\"" : "\"ledger damaged\"");
    for (uint32_t i = 0; i < s->catalog->feeds_count; i++) {
        if (!s->catalog->feeds[i].required || !kmy_feed_is_stale(s, i))
            continue;
        kmy_buf_str(&b, draining || damaged || stale ? ",\"stale: " : "\"stale: ");
        kmy_buf_str(
            &b, s->catalog->feeds[i].name); /* from our own configuration, which allows no quotes */
        kmy_buf_str(&b, "\"");
        stale++;
    }
    bool ready = !draining && !damaged && stale == 0;
    kmy_buf_fmt(&b, "],\"ready\":%s}", ready ? "true" : "false");
    kmy_reply(s, c, req, ready ? 200 : 503, "application/json", "", &b);
    return true;
}

bool kmy_admin_sources(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                       kmy_view_t body)
{
    static const char *const states[KMY_UP_STATES] = { "idle", "dialing", "subscribing",
                                                       "live", "backoff", "misconfigured" };
    (void)body;
    if (!kmy_throttle_free(s, c, req))
        return true;
    kmy_feeds_source_t src[16];
    kmy_feeds_t *feeds = atomic_load(s->o.feeds);
    size_t n = feeds ? kmy_feeds_sources(feeds, src, 16) : 0;
    kmy_buf_t b = kmy_reply_body(s);
    kmy_buf_str(&b, "{\"sources\":[");
    for (size_t i = 0; i < n; i++) {
        const kmy_feed_ws_status_t *st = &src[i].status;
        kmy_buf_fmt(&b,
                    "%s{\"source\":\"%s\",\"state\":\"%s\",\"connects\":%" PRIu64
                    ",\"frames\":%" PRIu64,
                    i ? "," : "", kmy_source_name(src[i].source), states[st->state],
                    st->connects_count, st->frames_count);
        if (st->last_data_mono_ns > 0)
            kmy_buf_fmt(&b, ",\"last_tick_age_ms\":%" PRId64,
                        (s->now_ns - st->last_data_mono_ns) / KMY_NS_PER_MS);
        kmy_buf_str(&b, ",\"last_error\":");
        kmy_buf_json_str(&b, st->last_error, strlen(st->last_error));
        kmy_buf_str(&b, "}");
    }
    kmy_buf_str(&b, "]}");
    kmy_reply_json(s, c, req, &b);
    return true;
}
