#include "engine/drain.h"

#include "base/clock.h"
#include "base/log.h"
#include "engine/admin.h"
#include "engine/conn.h"
#include "engine/egress.h"
#include "engine/receipts.h"
#include "engine/reply.h"
#include "engine/stream.h"

#include <inttypes.h>

void kmy_drain_start(kmy_shard_t *s, const char *reason)
{
    s->drain_ns = s->now_ns;
    s->drain_left = s->drain_at = 0;
    s->drain_high = s->conns_high;
    s->drain_window_ns = kmy_drain_window(s->config->limits.drain_window_ns, s->conns_count);
    for (uint32_t i = 0; i < s->conns_high; i++) {
        kmy_conn_t *c = kmy_conn_at(s, i);
        if (kmy_conn_streams(c))
            kmy_stream_goaway(s, c, reason,
                              kmy_drain_return_ms(s->session_seed[0], i, s->drain_window_ns));
    }
}

/* No more ticks: its last receipts cover all it had. */
static void leave(kmy_shard_t *s, kmy_conn_t *c)
{
    if (!kmy_conn_streams(c))
        return;
    c->leaving = true;
    kmy_receipts_take_all(s, c, KMY_RECEIPT_SOON);
}

static void close_stream(kmy_shard_t *s, kmy_conn_t *c)
{
    if (c->state == KMY_CONN_WS)
        kmy_conn_ws_close(s, c, 1012, "restart");
    else if (c->state == KMY_CONN_SSE)
        kmy_conn_sse_end(s, c);
}

static uint32_t due(const kmy_shard_t *s, int64_t ago_ns)
{
    int64_t gone_ns = s->now_ns - s->drain_ns - ago_ns;
    return gone_ns < 0 ? 0 : kmy_drain_due(s->drain_high, gone_ns, s->drain_window_ns);
}

uint32_t kmy_drain_turn(kmy_shard_t *s)
{
    for (uint32_t n = due(s, 0); s->drain_left < n; s->drain_left++)
        leave(s, kmy_conn_at(s, s->drain_left));
    uint32_t receipts = kmy_receipts_turn(s);
    uint32_t ready = receipts == 0 ? s->drain_left : due(s, KMY_DRAIN_RECEIPTS_MS * KMY_NS_PER_MS);
    for (; s->drain_at < ready; s->drain_at++)
        close_stream(s, kmy_conn_at(s, s->drain_at));
    bool stays = atomic_load(&s->phase) == KMY_PHASE_RUN; /* the operator's door does */
    for (uint32_t i = 0; i < s->conns_high; i++) {
        kmy_conn_t *c = kmy_conn_at(s, i);
        if (c->state == KMY_CONN_HTTP && !c->parked && !kmy_has_output(c) &&
            !(stays && (c->door != KMY_DOOR_PUBLIC || c->in)))
            kmy_conn_kill(s, c);
    }
    return receipts;
}

void kmy_drain_quiet(kmy_shard_t *s)
{
    bool quiet = atomic_load_explicit(&s->o.topology->quiet, memory_order_relaxed);
    if (quiet != s->quiet) {
        s->quiet = quiet;
        if (quiet)
            kmy_drain_start(s, "drain");
        for (; !quiet && s->drain_at < s->drain_left; s->drain_at++)
            close_stream(s, kmy_conn_at(s, s->drain_at)); /* who is half gone goes */
        s->quiet_ns = 0;
    }
    if (s->quiet && s->now_ns >= s->quiet_ns) { /* a look at all connections: not at every tick */
        s->quiet_ns = s->now_ns + 20 * KMY_NS_PER_MS;
        kmy_drain_turn(s);
    }
}

/* --- the verb ------------------------------------------------------------------------------- */

static bool read_on(kmy_view_t body, bool *on)
{
    kmy_json_t js;
    kmy_errctx_t ctx = { 0 };
    kmy_json_field_t f[] = { { .key = "on" } };
    *on = true;
    if (body.len == 0)
        return true;
    kmy_json_init(&js, body.ptr, body.len);
    if (kmy_json_object(&js, f, 1, &ctx) != KMY_OK)
        return false;
    *on = f[0].token.type != KMY_JSON_FALSE;
    return f[0].token.type == KMY_JSON_FALSE || f[0].token.type == KMY_JSON_TRUE ||
           f[0].token.type == KMY_JSON_ERROR;
}

bool kmy_drain_verb(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    bool on;
    if (!kmy_admin_operator(s, c, req))
        return true;
    if (!read_on(body, &on)) {
        kmy_reply_problem(s, c, req, KMY_BAD_INPUT, "send {\"on\":true} or {\"on\":false}");
        return true;
    }
    kmy_topology_quiet(s->o.topology, on);
    kmy_log(KMY_LOG_INFO, "kamiyod", "%s",
            on ? "draining, without a stop: no new sessions, by an operator's word"
               : "new sessions are taken again, by an operator's word");
    kmy_buf_t b = kmy_reply_body(s);
    kmy_buf_fmt(
        &b, "{\"draining\":%s,\"open\":%" PRId64 "}", on ? "true" : "false",
        kmy_metrics_sum(s->o.all_metrics, s->o.all_metrics_count, KMY_METRIC_connection_open));
    kmy_reply_json(s, c, req, &b);
    return true;
}
