#include "engine/throttle.h"

#include "base/clock.h"
#include "engine/conn.h"
#include "engine/limiter.h"
#include "engine/reply.h"
#include "engine/stream.h"

#include <inttypes.h>
#include <string.h>

enum {
    EARLY_MESSAGES_MAX = 16, /* before a token: it and some pings */
    EARLY_BYTES_MAX = 8192,  /* a token has 1,024 bytes at most */
};

static int64_t whole(int64_t ns, int64_t unit_ns)
{
    return (ns + unit_ns - 1) / unit_ns;
}

/* A policy as the draft writes it: its quota, and the seconds in which an empty bucket fills. */
typedef struct policy {
    const char *name;
    kmy_rate_t rate;
} policy_t;

static int64_t window_s(kmy_rate_t rate)
{
    return whole(rate.step_ns * rate.burst, KMY_NS_PER_S);
}

/* `shown` is the policy whose state is told; of two the tighter one. */
static void put_lines(kmy_shard_t *s, const policy_t *policies, int count, int shown,
                      const kmy_verdict_t *v)
{
    kmy_buf_t b = kmy_buf(s->limit_lines, sizeof s->limit_lines - 1);
    kmy_buf_str(&b, "RateLimit-Policy: ");
    for (int i = 0; i < count; i++)
        kmy_buf_fmt(&b, "%s\"%s\";q=%" PRId64 ";w=%" PRId64, i ? ", " : "", policies[i].name,
                    policies[i].rate.burst, window_s(policies[i].rate));
    int64_t reset_s = whole(v->reset_ns, KMY_NS_PER_S);
    kmy_buf_fmt(&b, "\r\nRateLimit: \"%s\";r=%" PRId64 ";t=%" PRId64 "\r\n", policies[shown].name,
                v->left, reset_s);
    kmy_buf_fmt(&b,
                "X-RateLimit-Limit: %" PRId64 "\r\nX-RateLimit-Remaining: %" PRId64
                "\r\nX-RateLimit-Reset: %" PRId64 "\r\n",
                policies[shown].rate.burst, v->left, reset_s);
    KMY_ASSERT(!b.overflow);
    s->limit_lines[b.len] = 0;
}

static void refuse(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                   const kmy_verdict_t *v, const char *why)
{
    char lines[48];
    char text[48];
    kmy_buf_t extra = kmy_buf(lines, sizeof lines - 1);
    kmy_buf_t more = kmy_buf(text, sizeof text);
    kmy_buf_fmt(&extra, "Retry-After: %" PRId64 "\r\n", whole(v->wait_ns, KMY_NS_PER_S));
    lines[extra.len] = 0;
    kmy_buf_fmt(&more, ",\"retry_after_ms\":%" PRId64, whole(v->wait_ns, KMY_NS_PER_MS));
    kmy_reply_problem_with(s, c, req, KMY_FULL, why, lines, &more);
}

bool kmy_throttle_address(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req)
{
    if (c->door != KMY_DOOR_PUBLIC)
        return true;
    kmy_limiter_t *l = s->o.limiter;
    struct in6_addr client = kmy_peer_client(req, &c->peer, &l->proxies);
    kmy_verdict_t v = kmy_limiter_address(l, &client, s->now_ns);
    policy_t p = { "address", l->address };
    put_lines(s, &p, 1, 0, &v);
    c->counted = v.taken;
    if (v.taken)
        return true;
    KMY_COUNT(s->metrics, limit_address_total, 1);
    refuse(s, c, req, &v,
           "too many requests without a valid token from your address; show a token, or wait");
    return false;
}

void kmy_throttle_undo(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req)
{
    if (!c->counted)
        return;
    struct in6_addr client = kmy_peer_client(req, &c->peer, &s->o.limiter->proxies);
    kmy_limiter_address_give(s->o.limiter, &client);
    c->counted = false;
    s->limit_lines[0] = 0;
}

bool kmy_throttle_account(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                          const char *account)
{
    kmy_limiter_t *l = s->o.limiter;
    kmy_limit_window_t which;
    kmy_verdict_t v = kmy_limiter_account(l, account, s->now_ns, &which);
    policy_t p[] = { { "minute", l->minute }, { "hour", l->hour } };
    put_lines(s, p, 2, which == KMY_LIMIT_HOUR, &v);
    if (v.taken)
        return true;
    KMY_COUNT(s->metrics, limit_account_total, 1);
    refuse(s, c, req, &v,
           "too many requests of your account to routes that cost nothing; paid ones go on");
    return false;
}

static kmy_rate_t rate_of(const kmy_token_claims_t *claims)
{
    return kmy_rate(claims->rate_per_min, 60 * KMY_NS_PER_S, claims->rate_per_min);
}

bool kmy_throttle_token(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                        const kmy_token_claims_t *claims)
{
    if (claims->rate_per_min == 0 || c->rated)
        return true;
    kmy_verdict_t v = kmy_limiter_token(s->o.limiter, claims->jti, rate_of(claims), s->now_ns);
    policy_t p = { "token", rate_of(claims) };
    put_lines(s, &p, 1, 0, &v);
    c->rated = v.taken;
    if (v.taken)
        return true;
    KMY_COUNT(s->metrics, limit_account_total, 1);
    refuse(s, c, req, &v, "this token may do no more than its rate; another one, or wait");
    return false;
}

int64_t kmy_throttle_token_stream(kmy_shard_t *s, const kmy_token_claims_t *claims)
{
    if (claims->rate_per_min == 0)
        return 0;
    kmy_verdict_t v = kmy_limiter_token(s->o.limiter, claims->jti, rate_of(claims), s->now_ns);
    if (v.taken)
        return 0;
    KMY_COUNT(s->metrics, limit_account_total, 1);
    return whole(v.wait_ns, KMY_NS_PER_MS);
}

/* Does the request show a valid token?  Then *claims is filled and its connection counts as a customer's. */
static bool shows_token(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                        kmy_token_claims_t *claims)
{
    static const char scheme[] = "bearer ";
    const size_t n = sizeof scheme - 1;
    const kmy_view_t *h = kmy_http_header(req, "authorization");
    kmy_errctx_t ctx;
    if (!h || h->len <= n || !kmy_view_is_nocase((kmy_view_t){ h->ptr, n }, scheme) ||
        kmy_http_header_count(req, "authorization") != 1 ||
        kmy_stream_check_token(s, h->ptr + n, h->len - n, claims, &ctx) != KMY_OK)
        return false;
    kmy_conn_prove(s, c);
    return true;
}

bool kmy_throttle_stranger(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req)
{
    kmy_token_claims_t claims;
    return c->door != KMY_DOOR_PUBLIC || shows_token(s, c, req, &claims) ||
           kmy_throttle_address(s, c, req);
}

bool kmy_throttle_free(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req)
{
    kmy_token_claims_t claims;
    if (c->door != KMY_DOOR_PUBLIC)
        return true;
    if (shows_token(s, c, req, &claims))
        return kmy_throttle_token(s, c, req, &claims) &&
               kmy_throttle_account(s, c, req, claims.account);
    return kmy_throttle_address(s, c, req);
}

/* --- streams ------------------------------------------------------------------------------- */

int64_t kmy_throttle_session(kmy_shard_t *s, kmy_conn_t *c)
{
    if (!c->stranger)
        return 0;
    c->stranger = false;
    kmy_verdict_t v = kmy_limiter_address(s->o.limiter, &c->peer, s->now_ns);
    if (v.taken)
        return 0;
    KMY_COUNT(s->metrics, limit_address_total, 1);
    return whole(v.wait_ns, KMY_NS_PER_MS);
}

static bool too_many(kmy_shard_t *s, kmy_conn_t *c, const char *why, int64_t retry_after_ms)
{
    KMY_COUNT(s->metrics, limit_message_total, 1);
    kmy_stream_close_limit(s, c, why, retry_after_ms);
    return false;
}

bool kmy_throttle_message(kmy_shard_t *s, kmy_conn_t *c, size_t bytes)
{
    if (c->echo)
        return true;
    if (!c->authenticated && ++c->early_count > EARLY_MESSAGES_MAX)
        return too_many(s, c, "too many messages before a token", 1000);
    kmy_verdict_t v = kmy_bucket_take(&c->messages_full_ns, s->o.limiter->message,
                                      1 + (int64_t)bytes / 1024, s->now_ns);
    return v.taken || too_many(s, c, "too many messages", whole(v.wait_ns, KMY_NS_PER_MS));
}

bool kmy_throttle_early(kmy_shard_t *s, kmy_conn_t *c, size_t bytes)
{
    if (c->echo || c->authenticated)
        return true;
    if (bytes > EARLY_BYTES_MAX || c->early_bytes + bytes > EARLY_BYTES_MAX)
        return too_many(s, c, "too many bytes before a token", 1000);
    c->early_bytes = (uint16_t)(c->early_bytes + bytes);
    return true;
}
