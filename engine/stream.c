#include "engine/stream.h"

#include "base/clock.h"
#include "base/decimal.h"
#include "base/money.h"
#include "engine/account.h"
#include "engine/conn.h"
#include "engine/egress.h"
#include "engine/offers.h"
#include "engine/passes.h"
#include "engine/receipts.h"
#include "engine/routes.h"
#include "engine/scope.h"
#include "engine/session.h"
#include "engine/selection.h"
#include "engine/shard.h"
#include "engine/stream_frame.h"
#include "engine/stream_pay.h"
#include "engine/subs.h"
#include "engine/throttle.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const gap_reasons[KMY_GAPS] = {
    [KMY_GAP_CONFLATED] = "conflated",
    [KMY_GAP_DROPPED] = "dropped",
    [KMY_GAP_HISTORY] = "history_too_short",
    [KMY_GAP_EPOCH] = "epoch",
    [KMY_GAP_SOURCE] = "source",
};

/* --- frames -------------------------------------------------------------------------------- */

void kmy_stream_close_limit(kmy_shard_t *s, kmy_conn_t *c, const char *why, int64_t retry_after_ms)
{
    if (c->state != KMY_CONN_WS)
        return;
    char reason[96];
    snprintf(reason, sizeof reason, "%s; retry_after_ms=%" PRId64, why, retry_after_ms);
    if (c->echo || kmy_frame_error_later(s, c, NULL, KMY_FULL, why, retry_after_ms))
        kmy_conn_ws_close(s, c, (uint16_t)kmy_err_ws(KMY_FULL), reason);
}

static bool is_about_a_token(kmy_err_t err)
{
    return err == KMY_UNAUTHENTICATED || err == KMY_TOKEN_EXPIRED || err == KMY_TOKEN_REVOKED ||
           err == KMY_TIMEOUT;
}

void kmy_stream_close(kmy_shard_t *s, kmy_conn_t *c, kmy_err_t err, const char *why)
{
    if (c->state == KMY_CONN_SSE && kmy_frame_error(s, c, NULL, err, why))
        kmy_conn_sse_end(s, c);
    if (c->state != KMY_CONN_WS)
        return;
    int64_t wait_ms = is_about_a_token(err) ? kmy_throttle_session(s, c) : 0;
    if (wait_ms > 0) {
        kmy_stream_close_limit(s, c, "too many streams without a valid token from your address",
                               wait_ms);
        return;
    }
    if (c->echo || kmy_frame_error(s, c, NULL, err, why))
        kmy_conn_ws_close(s, c, (uint16_t)kmy_err_ws(err), why);
}

void kmy_stream_heartbeat(kmy_shard_t *s, kmy_conn_t *c)
{
    if (c->state == KMY_CONN_SSE) {
        kmy_egress_bytes(s, c, KMY_SSE_HEARTBEAT, sizeof KMY_SSE_HEARTBEAT - 1);
        return;
    }
    kmy_buf_t b = kmy_frame_begin(s, "heartbeat", NULL);
    kmy_buf_fmt(&b, ",\"ts\":\"%" PRId64 "\"", s->now_wall_ns);
    kmy_frame_send(s, c, &b);
}

void kmy_stream_low_balance(kmy_shard_t *s, const kmy_shard_account_t *acc, kmy_conn_t *c,
                            int64_t seconds_left)
{
    kmy_buf_t b = kmy_frame_begin(s, "low_balance", NULL);
    kmy_frame_nusd(&b, "balance", kmy_account_balance(acc));
    kmy_buf_fmt(&b, ",\"seconds_left\":%" PRId64, seconds_left);
    kmy_frame_send(s, c, &b);
}

void kmy_stream_payment_required(kmy_shard_t *s, const kmy_shard_account_t *acc, kmy_conn_t *c)
{
    int64_t required = 0; /* the cheapest tick it waits for */
    for (uint32_t i = c->subs_head; i != KMY_NONE; i = s->subs[i].next) {
        if (!s->subs[i].pass && (required == 0 || s->subs[i].price_nusd < required))
            required = s->subs[i].price_nusd;
    }
    kmy_buf_t b = kmy_frame_begin(s, "payment_required", NULL);
    kmy_frame_nusd(&b, "required", required);
    kmy_frame_nusd(&b, "balance", kmy_account_balance(acc));
    kmy_buf_bytes(&b, s->o.offers->members, s->o.offers->members_bytes);
    kmy_frame_send(s, c, &b);
}

void kmy_stream_slow_warning(kmy_buf_t *b, uint64_t lag_ticks)
{
    kmy_buf_fmt(b, "{\"type\":\"slow_reader_warning\",\"lag_ticks\":%" PRIu64 "}", lag_ticks);
}

void kmy_stream_too_slow(kmy_shard_t *s, kmy_conn_t *c, uint64_t lag_ticks)
{
    kmy_buf_t b = kmy_buf(s->scratch, KMY_SCRATCH_BYTES);
    kmy_stream_slow_warning(&b, lag_ticks);
    if (c->slow_warned || kmy_egress_text(s, c, &b))
        kmy_stream_close(s, c, KMY_OVERRUN, "reader too slow");
}

void kmy_stream_prices(kmy_shard_t *s, kmy_conn_t *c)
{
    kmy_buf_t b = kmy_frame_begin(s, "prices", NULL);
    const char *comma = "";
    kmy_buf_str(&b, ",\"feeds\":[");
    for (uint32_t i = c->subs_head; i != KMY_NONE; i = s->subs[i].next) {
        const kmy_sub_t *sub = &s->subs[i];
        const kmy_feed_t *feed = &s->catalog->feeds[sub->feed];
        if (sub->price_from == 0)
            continue;
        kmy_buf_fmt(&b, "%s{\"feed\":", comma);
        kmy_buf_json_str(&b, feed->name, strlen(feed->name));
        kmy_buf_fmt(&b, ",\"from\":%" PRIu64, sub->price_from);
        kmy_frame_nusd(&b, "price_tick", sub->next_price_nusd);
        kmy_buf_str(&b, "}");
        comma = ",";
    }
    kmy_buf_str(&b, "]");
    c->answering =
        true; /* as long as its subscriptions are many: one frame, and not the reader's fault */
    kmy_frame_send(s, c, &b);
    c->answering = false;
}

void kmy_stream_gap(kmy_buf_t *b, const kmy_feed_t *feed, uint64_t from, uint64_t to,
                    uint8_t reason)
{
    kmy_buf_str(b, "{\"type\":\"gap\",\"feed\":");
    kmy_buf_json_str(b, feed->name, strlen(feed->name));
    kmy_buf_fmt(b, ",\"from\":%" PRIu64 ",\"to\":%" PRIu64 ",\"reason\":\"%s\"}", from, to,
                gap_reasons[reason]);
}

void kmy_stream_goaway(kmy_shard_t *s, kmy_conn_t *c, const char *reason,
                       int64_t reconnect_after_ms)
{
    if (c->state == KMY_CONN_SSE) { /* the same in the words of the transport */
        char text[64];
        char retry[48];
        int n = snprintf(retry, sizeof retry, "retry: %" PRId64 "\n\n", reconnect_after_ms);
        int len = snprintf(text, sizeof text, "%x\r\n%s\r\n", (unsigned)n, retry);
        if (!kmy_egress_bytes(s, c, text, (size_t)len))
            return;
    }
    kmy_buf_t b = kmy_frame_begin(s, "goaway", NULL);
    kmy_buf_fmt(&b, ",\"reason\":\"%s\",\"reconnect_after_ms\":%" PRId64, reason,
                reconnect_after_ms);
    kmy_frame_send(s, c, &b);
}

static void put_status(kmy_shard_t *s, kmy_buf_t *b, uint32_t feed_idx, const char *state,
                       int64_t since_ns)
{
    const kmy_feed_t *feed = &s->catalog->feeds[feed_idx];
    kmy_buf_str(b, ",\"feed\":");
    kmy_buf_json_str(b, feed->name, strlen(feed->name));
    uint8_t source = s->feeds[feed_idx].last.source;
    if (source == KMY_SOURCE_NONE && feed->sources_count > 0)
        source = feed->sources[0];
    kmy_buf_fmt(b, ",\"state\":\"%s\",\"source\":\"%s\",\"since\":\"%" PRId64 "\"", state,
                kmy_source_name(source), since_ns);
}

void kmy_stream_status(kmy_shard_t *s, uint32_t feed_idx, const char *state, int64_t since_ns)
{
    const kmy_shard_feed_t *f = &s->feeds[feed_idx];
    for (uint32_t i = 0; i < f->subs_count; i++) {
        kmy_buf_t b = kmy_frame_begin(s, "status", NULL);
        put_status(s, &b, feed_idx, state, since_ns);
        kmy_frame_send(s, kmy_conn_at(s, s->subs[f->subs[i]].conn), &b);
    }
}

void kmy_stream_http_timeout(kmy_shard_t *s, kmy_conn_t *c)
{
    kmy_errctx_t ctx;
    KMY_FAIL(&ctx, KMY_TIMEOUT, "the request did not become whole within the time limit");
    kmy_route_refuse(s, c, KMY_TIMEOUT, &ctx);
}

/* --- auth ---------------------------------------------------------------------------------- */

kmy_err_t kmy_stream_check_token(kmy_shard_t *s, const char *token, size_t len,
                                 kmy_token_claims_t *claims, kmy_errctx_t *ctx)
{
    /* Not only once a turn: who was given a token by another shard may be here with it before this one's turn is over. */
    s->token_key = atomic_load_explicit(s->o.token_keys, memory_order_acquire);
    kmy_err_t err =
        kmy_token_verify(s->token_key, token, len, s->now_wall_ns / KMY_NS_PER_S, claims, ctx);
    uint32_t unused;
    if (err == KMY_OK && kmy_strmap_get(&s->revoked, claims->jti, strlen(claims->jti), &unused))
        err = KMY_FAIL(ctx, KMY_TOKEN_REVOKED, "the token was revoked");
    if (err != KMY_OK)
        KMY_COUNT(s->metrics, auth_refused_total, 1);
    return err;
}

static void send_authenticated(kmy_shard_t *s, kmy_conn_t *c)
{
    const kmy_shard_account_t *acc = &s->accounts[c->account];
    kmy_buf_t b = kmy_frame_begin(s, "authenticated", NULL);
    kmy_buf_str(&b, ",\"account\":");
    kmy_buf_json_str(&b, acc->name, strlen(acc->name));
    kmy_frame_nusd(&b, "balance", kmy_account_balance(acc));
    kmy_buf_fmt(&b, ",\"session\":\"%016" PRIx64 "%016" PRIx64 "\"", c->session[0], c->session[1]);
    kmy_frame_send(s, c, &b);
}

void kmy_stream_auth_finish(kmy_shard_t *s, kmy_conn_t *c)
{
    kmy_shard_account_t *acc = &s->accounts[c->account];
    if (acc->state == KMY_ACCOUNT_OPENING) {
        kmy_account_wait(s, acc, c);
        return;
    }
    c->auth_waits = false;
    if (acc->state == KMY_ACCOUNT_UNKNOWN) {
        kmy_stream_close(s, c, KMY_UNAUTHENTICATED, "the token's account is not in this ledger");
        return;
    }
    c->authenticated = true;
    c->stranger = false;
    c->deadline_ns = 0;         /* from here on: of the message being read */
    kmy_account_refill(s, acc); /* so that the first tick need not wait for a lease */
    send_authenticated(s, c);
}

void kmy_stream_auth(kmy_shard_t *s, kmy_conn_t *c, const char *token, size_t len)
{
    kmy_errctx_t ctx = { 0 };
    kmy_token_claims_t claims;
    kmy_err_t err = kmy_stream_check_token(s, token, len, &claims, &ctx);
    if (err != KMY_OK) {
        kmy_stream_close(s, c, err, ctx.detail);
        return;
    }
    if (c->account != KMY_NONE && strcmp(s->accounts[c->account].name, claims.account) != 0) {
        kmy_stream_close(s, c, KMY_UNAUTHENTICATED,
                         "this socket belongs to another account; open a new one");
        return;
    }
    if (!kmy_scope_covers(s, c, claims.scope)) {
        kmy_stream_close(s, c, KMY_FORBIDDEN, "the token is not for all feeds of this stream");
        return;
    }
    int64_t wait_ms = kmy_throttle_token_stream(s, &claims);
    if (wait_ms > 0) {
        kmy_stream_close_limit(s, c, "this token opens no more streams a minute than its rate",
                               wait_ms);
        return;
    }
    if (c->account == KMY_NONE) {
        kmy_shard_account_t *acc = kmy_account_get(s, claims.account);
        if (!acc) {
            kmy_stream_close(s, c, KMY_FULL, "too many accounts at once; try again later");
            return;
        }
        kmy_account_join(s, acc, c);
        kmy_session_begin(s, c);
    }
    if (!kmy_scope_take(c, &claims)) {
        kmy_stream_close(s, c, KMY_FULL, "no memory for another session; try again later");
        return;
    }
    c->auth_waits = true;
    kmy_stream_auth_finish(s, c);
}

void kmy_stream_revoked(kmy_shard_t *s, const char *jti, int64_t expires_s)
{
    uint32_t until = expires_s > 0 && expires_s < UINT32_MAX ? (uint32_t)expires_s : UINT32_MAX;
    if (!kmy_strmap_put(&s->revoked, jti, strlen(jti), until))
        return;
    uint64_t hash = kmy_hash(jti, strlen(jti));
    for (uint32_t i = 0; i < s->conns_high; i++) {
        kmy_conn_t *c = kmy_conn_at(s, i);
        if ((c->state == KMY_CONN_WS || c->state == KMY_CONN_SSE) && c->account != KMY_NONE &&
            c->jti_hash == hash)
            kmy_stream_close(s, c, KMY_TOKEN_REVOKED, "the token was revoked");
    }
}

/* --- operations ---------------------------------------------------------------------------- */

typedef struct subscribe_options {
    kmy_sub_options_t sub;
    uint8_t slow_policy;
    bool slow_given; /* else the connection keeps its policy */
    kmy_json_token_t from;
    uint64_t session[2];
} subscribe_options_t;

/* A subscribe message that was read and can be done. */
typedef struct subscribe {
    subscribe_options_t o;
    kmy_json_token_t feeds;
    kmy_selection_t sel;
    kmy_resume_t resume[KMY_FEEDS_MAX]; /* by feed; of the selected ones only */
} subscribe_t;

/* The array of feed names and patterns, taken whole or not at all. */
static kmy_err_t read_feeds(kmy_shard_t *s, kmy_json_token_t array, uint32_t max,
                            kmy_selection_t *sel, kmy_errctx_t *ctx)
{
    kmy_json_t js;
    kmy_json_init(&js, array.text, array.len);
    kmy_selection_init(sel, s->catalog, max);
    if (array.type != KMY_JSON_ARRAY || kmy_json_next(&js).type != KMY_JSON_ARRAY)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "\"feeds\" must be an array of feed names");
    for (kmy_json_token_t t = kmy_json_next(&js); t.type != KMY_JSON_ARRAY_END;
         t = kmy_json_next(&js)) {
        char name[KMY_FEED_NAME_BYTES_MAX];
        size_t len;
        if (t.type != KMY_JSON_STRING)
            return KMY_FAIL(ctx, KMY_BAD_INPUT, "\"feeds\" must be an array of feed names");
        if (!kmy_json_unescape(t, name, sizeof name, &len))
            return KMY_FAIL(ctx, KMY_UNKNOWN_FEED, "a feed name above %d bytes is no feed of ours",
                            KMY_FEED_NAME_BYTES_MAX - 1);
        kmy_err_t err = kmy_selection_add(sel, name, len, ctx);
        if (err != KMY_OK)
            return err;
    }
    return sel->count > 0 ? KMY_OK : KMY_FAIL(ctx, KMY_BAD_INPUT, "\"feeds\" is empty");
}

static kmy_err_t read_options(kmy_json_field_t *f, subscribe_options_t *o, kmy_errctx_t *ctx)
{
    enum { ENCODING, SNAPSHOT, MAX_HZ, SLOW, PLAN, FROM, SESSION };
    static const char *const slow[] = { "conflate", "drop", "close" };
    *o = (subscribe_options_t){ .sub.snapshot = true, .from = f[FROM].token };
    if (f[ENCODING].token.type != KMY_JSON_ERROR) {
        if (kmy_json_is(f[ENCODING].token, "flatbuffers"))
            o->sub.encoding = KMY_ENC_FLAT;
        else if (!kmy_json_is(f[ENCODING].token, "json"))
            return KMY_FAIL(ctx, KMY_BAD_INPUT, "\"encoding\" must be \"json\" or \"flatbuffers\"");
    }
    if (f[SNAPSHOT].token.type == KMY_JSON_FALSE)
        o->sub.snapshot = false;
    else if (f[SNAPSHOT].token.type != KMY_JSON_TRUE && f[SNAPSHOT].token.type != KMY_JSON_ERROR)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "\"snapshot\" must be true or false");
    int64_t hz;
    int expo;
    kmy_json_token_t t = f[MAX_HZ].token;
    if (t.type != KMY_JSON_ERROR &&
        (t.type != KMY_JSON_NUMBER || kmy_dec_parse(t.text, t.len, &hz, &expo) != KMY_OK ||
         !kmy_pace_slots(hz, expo, &o->sub.pace_slots)))
        return KMY_FAIL(ctx, KMY_BAD_INPUT,
                        "\"max_hz\" must be a number from 1/%d to %d, or 0 for every tick",
                        KMY_PACE_PERIOD_S_MAX, KMY_PACE_HZ_MAX);
    if (f[SLOW].token.type != KMY_JSON_ERROR) {
        o->slow_given = true;
        while (o->slow_policy < 3 && !kmy_json_is(f[SLOW].token, slow[o->slow_policy]))
            o->slow_policy++;
        if (o->slow_policy == 3)
            return KMY_FAIL(ctx, KMY_BAD_INPUT,
                            "\"slow_reader\" must be \"conflate\", \"drop\" or \"close\"");
    }
    o->sub.pass = kmy_json_is(f[PLAN].token, "pass");
    if (f[PLAN].token.type != KMY_JSON_ERROR && !o->sub.pass &&
        !kmy_json_is(f[PLAN].token, "metered"))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "\"plan\" must be \"metered\" or \"pass\"");
    if (o->from.type != KMY_JSON_ERROR && o->from.type != KMY_JSON_OBJECT)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "\"from\" must map feed names to \"<epoch>:<offset>\"");
    return kmy_session_read(f[SESSION].token, o->session, ctx);
}

/* "<epoch>:<offset>" -> where to go on.  The epoch must be ours, else the stream is live behind a gap. */
static kmy_err_t read_position(kmy_shard_t *s, kmy_json_token_t value, const kmy_feed_t *feed,
                               kmy_resume_t *resume, kmy_errctx_t *ctx)
{
    char text[64];
    size_t len = 0;
    char *colon = NULL;
    if (value.type == KMY_JSON_STRING && kmy_json_unescape(value, text, sizeof text, &len))
        colon = memchr(text, ':', len);
    if (!colon || !kmy_u64_parse(colon + 1, len - (size_t)(colon + 1 - text), &resume->offset))
        return KMY_FAIL(
            ctx, KMY_BAD_INPUT,
            "\"from\" of %s must be \"<epoch>:<offset>\" as a subscribed or tick frame gave it",
            feed->name);
    *colon = 0;
    resume->given = true;
    resume->same_epoch = strcmp(text, s->o.epoch) == 0;
    return KMY_OK;
}

/* `from` into resume[feed] of each selected feed.  One walk, whatever their number: both lists are the client's. */
static kmy_err_t read_resume(kmy_shard_t *s, kmy_json_token_t from, const kmy_selection_t *sel,
                             kmy_resume_t *resume, kmy_errctx_t *ctx)
{
    for (uint32_t i = 0; i < sel->count; i++)
        resume[sel->feed[i]].given = false;
    if (from.type != KMY_JSON_OBJECT)
        return KMY_OK;
    kmy_json_t js;
    kmy_json_init(&js, from.text, from.len);
    kmy_json_next(&js);
    for (kmy_json_token_t key = kmy_json_next(&js); key.type == KMY_JSON_KEY;
         key = kmy_json_next(&js)) {
        kmy_json_token_t value = kmy_json_next(&js);
        char name[KMY_FEED_NAME_BYTES_MAX];
        size_t len;
        if (!kmy_json_unescape(key, name, sizeof name, &len))
            return KMY_FAIL(ctx, KMY_BAD_INPUT, "\"from\" names a feed that is none");
        const kmy_feed_t *feed = kmy_catalog_find(s->catalog, name, len);
        if (feed && kmy_selection_has(sel, feed->idx)) {
            kmy_err_t err = read_position(s, value, feed, &resume[feed->idx], ctx);
            if (err != KMY_OK)
                return err;
        } else if (!kmy_json_skip(&js, value)) {
            break;
        }
    }
    return KMY_OK;
}

/* `asked` is the client's name of the feed: told as well where it is an alias, so that the client can match its request. */
static void put_subscribed(kmy_shard_t *s, kmy_buf_t *b, const kmy_sub_t *sub,
                           kmy_json_token_t asked, bool first)
{
    const kmy_feed_t *feed = &s->catalog->feeds[sub->feed];
    kmy_buf_str(b, first ? "{\"feed\":" : ",{\"feed\":");
    kmy_buf_json_str(b, feed->name, strlen(feed->name));
    if (!kmy_json_is(asked, feed->name)) {
        kmy_buf_str(b, ",\"as\":\"");
        kmy_buf_bytes(b, asked.text, asked.len); /* escaped as it was sent */
        kmy_buf_str(b, "\"");
    }
    kmy_buf_fmt(b, ",\"epoch\":\"%s\",\"offset\":%" PRIu64, s->o.epoch,
                s->feeds[sub->feed].last.offset);
    kmy_frame_nusd(b, "price_tick", sub->price_nusd);
    kmy_buf_str(b, sub->pass ? ",\"plan\":\"pass\"}" : ",\"plan\":\"metered\"}");
}

/* The names of a list, one after the other, as they were sent. */
typedef struct names {
    kmy_json_t js;
    kmy_json_token_t name;
    uint32_t next;
} names_t;

static names_t names_of(kmy_json_token_t feeds)
{
    names_t n = { .next = 0 };
    kmy_json_init(&n.js, feeds.text, feeds.len);
    kmy_json_next(&n.js);
    return n;
}

/* The idx-th; idx never falls. */
static kmy_json_token_t name_at(names_t *n, uint32_t idx)
{
    for (; n->next <= idx; n->next++)
        n->name = kmy_json_next(&n->js);
    return n->name;
}

/* Feeds that are not live say so at once. */
static bool tell_states(kmy_shard_t *s, kmy_conn_t *c, const kmy_selection_t *sel)
{
    for (uint32_t i = 0; i < sel->count; i++) {
        uint32_t feed = sel->feed[i];
        if (!kmy_feed_is_stale(s, feed))
            continue;
        kmy_buf_t b = kmy_frame_begin(s, "status", NULL);
        int64_t since = s->feeds[feed].last.recv_ns;
        put_status(s, &b, feed, s->feeds[feed].last.offset ? "stale" : "unavailable",
                   since ? since : s->now_wall_ns);
        if (!kmy_frame_send(s, c, &b))
            return false;
    }
    return true;
}

/* Can all of it be done?  Changes nothing. */
static kmy_err_t check_subscribe(kmy_shard_t *s, const kmy_conn_t *c, kmy_json_token_t feeds,
                                 kmy_json_field_t *options, subscribe_t *want, kmy_errctx_t *ctx)
{
    uint32_t max = (uint32_t)s->config->limits.feeds_per_connection;
    kmy_err_t err = read_options(options, &want->o, ctx);
    if (err == KMY_OK)
        err = read_feeds(s, feeds, max, &want->sel, ctx);
    if (err == KMY_OK)
        err = kmy_scope_check(s, c->scope, &want->sel, ctx);
    if (err == KMY_OK && want->o.sub.pass && c->account != KMY_NONE)
        err = kmy_passes_check(s, &s->accounts[c->account], &want->sel, ctx);
    if (err == KMY_OK)
        err = read_resume(s, want->o.from, &want->sel, want->resume, ctx);
    if (err != KMY_OK)
        return err;
    want->feeds = feeds;
    uint32_t fresh = kmy_subs_fresh(s, c, want->sel.feed, want->sel.count);
    if (c->subs_count + fresh > max)
        err = KMY_FAIL(ctx, KMY_FULL, "more than %u feeds on one connection", max);
    else if (s->subs_count + fresh > s->subs_max)
        err = KMY_FAIL(ctx, KMY_FULL, "no room for more subscriptions here; try again later");
    return err;
}

static void do_subscribe(kmy_shard_t *s, kmy_conn_t *c, const kmy_request_id_t *id,
                         const subscribe_t *want)
{
    kmy_session_resume(s, c, want->o.session);
    if (want->o.slow_given)
        c->slow_policy = want->o.slow_policy;
    /* The acknowledgement first: it tells the offset that the first tick follows, and own frames go ahead of ticks anyway. */
    kmy_buf_t b = kmy_frame_begin(s, "subscribed", id);
    kmy_buf_str(&b, ",\"feeds\":[");
    names_t names = names_of(want->feeds);
    for (uint32_t i = 0; i < want->sel.count; i++) {
        uint32_t feed = want->sel.feed[i];
        uint32_t sub = kmy_subs_add(s, c, feed, &want->o.sub, &want->resume[feed]);
        if (sub == KMY_NONE) {
            kmy_frame_error(s, c, id, KMY_FULL,
                            "no room for more subscriptions here; try again later");
            return;
        }
        put_subscribed(s, &b, &s->subs[sub], name_at(&names, want->sel.asked[i]), i == 0);
    }
    kmy_buf_str(&b, "]");
    if (!kmy_frame_send(s, c, &b))
        return;
    /* All of it answers one message, so it counts as one frame of which the reader may owe us the whole. */
    c->answering = true;
    tell_states(s, c, &want->sel);
    c->answering = false;
}

/* From its check until it is done, in one call of ours. */
static subscribe_t *planned(const kmy_shard_t *s)
{
    _Static_assert(sizeof(subscribe_t) <= KMY_ROOM_BYTES, "it fits");
    return kmy_shard_room(s, KMY_ROOM_SUBSCRIBE);
}

static void op_subscribe(kmy_shard_t *s, kmy_conn_t *c, const kmy_request_id_t *id,
                         kmy_json_token_t feeds, kmy_json_field_t *options)
{
    kmy_errctx_t ctx = { 0 };
    kmy_err_t err = check_subscribe(s, c, feeds, options, planned(s), &ctx);
    if (err != KMY_OK) /* all or nothing */
        kmy_frame_error(s, c, id, err, ctx.detail);
    else
        do_subscribe(s, c, id, planned(s));
}

static void op_unsubscribe(kmy_shard_t *s, kmy_conn_t *c, const kmy_request_id_t *id,
                           kmy_json_token_t feeds)
{
    kmy_selection_t *sel = kmy_shard_room(s, KMY_ROOM_SELECTION);
    kmy_errctx_t ctx = { 0 };
    kmy_err_t err = read_feeds(s, feeds, KMY_FEEDS_MAX, sel, &ctx);
    if (err != KMY_OK) {
        kmy_frame_error(s, c, id, err, ctx.detail);
        return;
    }
    bool first = true;
    kmy_buf_t b = kmy_frame_begin(s, "unsubscribed", id);
    kmy_buf_str(&b, ",\"feeds\":[");
    for (uint32_t i = 0; i < sel->count; i++) {
        if (sel->by_pattern[i] && kmy_subs_find(s, c, sel->feed[i]) == KMY_NONE)
            continue; /* a pattern means those of its feeds that are there */
        const kmy_feed_t *feed = &s->catalog->feeds[sel->feed[i]];
        kmy_subs_remove(s, c, sel->feed[i]);
        kmy_buf_str(&b, first ? "" : ",");
        kmy_buf_json_str(&b, feed->name, strlen(feed->name));
        first = false;
    }
    kmy_buf_str(&b, "]");
    kmy_frame_send(s, c, &b);
}

static void op_balance(kmy_shard_t *s, kmy_conn_t *c, const kmy_request_id_t *id)
{
    kmy_buf_t b = kmy_frame_begin(s, "balance", id);
    kmy_frame_nusd(&b, "balance", kmy_account_balance(&s->accounts[c->account]));
    kmy_buf_fmt(&b, ",\"charged_ticks\":%" PRIu64, c->charged_ticks);
    kmy_frame_send(s, c, &b);
}

/* {"op":"receipt","after":SEQ}: the kept ones above SEQ, if it is given, then one for all that has none yet.  Once a second: each is a signature. */
static void op_receipt(kmy_shard_t *s, kmy_conn_t *c, const kmy_request_id_t *id,
                       kmy_json_token_t after)
{
    int64_t seq = 0;
    uint32_t fresh = 0;
    bool given = after.type != KMY_JSON_ERROR;
    int64_t wait_ns = c->receipt_asked_ns + KMY_NS_PER_S - s->now_ns;
    if (given && (after.type != KMY_JSON_NUMBER || !kmy_json_i64(after, &seq) || seq < 0)) {
        kmy_frame_error(s, c, id, KMY_BAD_INPUT,
                        "\"after\" must be the seq of the last receipt you hold, or 0");
        return;
    }
    if (c->receipt_asked_ns > 0 && wait_ns > 0) {
        kmy_frame_error_later(s, c, id, KMY_FULL, "receipts are given once a second",
                              wait_ns / KMY_NS_PER_MS + 1);
        return;
    }
    if (!kmy_receipts_ask(s, c, given ? (uint64_t)seq : UINT64_MAX, &fresh)) {
        kmy_frame_error_later(s, c, id, KMY_UNAVAILABLE, "too much under way; try again", 1000);
        return;
    }
    c->receipt_asked_ns = s->now_ns;
    kmy_buf_t b = kmy_frame_begin(s, "receipts", id);
    kmy_buf_fmt(&b, ",\"fresh\":%u", fresh);
    kmy_frame_send(s, c, &b);
}

static void op_ping(kmy_shard_t *s, kmy_conn_t *c, const kmy_request_id_t *id)
{
    kmy_buf_t b = kmy_frame_begin(s, "pong", id);
    kmy_buf_fmt(&b, ",\"ts\":\"%" PRId64 "\"", s->now_wall_ns);
    kmy_frame_send(s, c, &b);
}

/* The members of a client's message that mean something. */
enum { OP, TOKEN, ID, FEEDS, OPTIONS, SESSION = OPTIONS + 6, AFTER, PAYMENT, MEMBERS_COUNT };

static kmy_err_t read_members(const char *text, size_t len, kmy_json_field_t f[MEMBERS_COUNT],
                              kmy_errctx_t *ctx)
{
    static const kmy_json_field_t members[MEMBERS_COUNT] = {
        { .key = "op" },      { .key = "token" },       { .key = "id" },
        { .key = "feeds" },   { .key = "encoding" },    { .key = "snapshot" },
        { .key = "max_hz" },  { .key = "slow_reader" }, { .key = "plan" },
        { .key = "from" },    { .key = "session" },     { .key = "after" },
        { .key = "payment" },
    };
    memcpy(f, members, sizeof members);
    kmy_json_t js;
    kmy_json_init(&js, text, len);
    kmy_err_t err = kmy_json_object(&js, f, MEMBERS_COUNT, ctx);
    if (err == KMY_OK && kmy_json_next(&js).type != KMY_JSON_END)
        err = KMY_FAIL(ctx, KMY_BAD_INPUT, "something follows the JSON object");
    return err;
}

/* The id's own text: a string with its quotes, or a number. */
static bool read_id(kmy_json_token_t t, kmy_request_id_t *id)
{
    id->len = 0;
    if (t.type == KMY_JSON_ERROR || t.type == KMY_JSON_NULL)
        return true;
    if ((t.type != KMY_JSON_STRING && t.type != KMY_JSON_NUMBER) || t.len > KMY_ID_BYTES_MAX)
        return false;
    size_t quote = t.type == KMY_JSON_STRING;
    memcpy(id->text, t.text - quote, t.len + 2 * quote);
    id->len = t.len + 2 * quote;
    return true;
}

static void auth_message(kmy_shard_t *s, kmy_conn_t *c, kmy_json_token_t token,
                         kmy_json_token_t session)
{
    char text[KMY_TOKEN_BYTES_MAX];
    size_t len;
    uint64_t id[2] = { 0, 0 };
    kmy_errctx_t ctx = { 0 };
    if (token.type != KMY_JSON_STRING || !kmy_json_unescape(token, text, sizeof text, &len))
        kmy_stream_close(s, c, KMY_UNAUTHENTICATED,
                         "\"token\" must be a string: {\"op\":\"auth\",\"token\":\"...\"}");
    else if (kmy_session_read(session, id, &ctx) != KMY_OK)
        kmy_stream_close(s, c, KMY_BAD_INPUT, ctx.detail);
    else
        kmy_stream_auth(s, c, text, len);
    if (c->state == KMY_CONN_WS && c->account != KMY_NONE)
        kmy_session_resume(s, c, id);
}

void kmy_stream_message(kmy_shard_t *s, kmy_conn_t *c, uint8_t opcode, const char *text, size_t len)
{
    kmy_json_field_t f[MEMBERS_COUNT];
    if (opcode != KMY_WS_TEXT) {
        kmy_stream_close(s, c, KMY_UNSUPPORTED, "client messages are JSON in text frames");
        return;
    }
    kmy_errctx_t ctx = { 0 };
    kmy_err_t err = read_members(text, len, f, &ctx);
    kmy_request_id_t id;
    if (err == KMY_OK && !read_id(f[ID].token, &id))
        err = KMY_FAIL(&ctx, KMY_BAD_INPUT,
                       "\"id\" must be a number or a string of at most %d bytes", KMY_ID_BYTES_MAX);
    if (err != KMY_OK) {
        kmy_stream_close(s, c, KMY_BAD_INPUT, ctx.detail);
        return;
    }
    bool bare_token = f[OP].token.type == KMY_JSON_ERROR && f[TOKEN].token.type != KMY_JSON_ERROR;
    if (bare_token || kmy_json_is(f[OP].token, "auth"))
        auth_message(s, c, f[TOKEN].token, f[SESSION].token);
    else if (kmy_json_is(f[OP].token, "ping"))
        op_ping(s, c, &id);
    else if (!c->authenticated)
        kmy_stream_close(s, c, KMY_UNAUTHENTICATED,
                         "the first message must be {\"op\":\"auth\",\"token\":\"...\"}");
    else if (kmy_json_is(f[OP].token, "subscribe"))
        op_subscribe(s, c, &id, f[FEEDS].token, &f[OPTIONS]);
    else if (kmy_json_is(f[OP].token, "unsubscribe"))
        op_unsubscribe(s, c, &id, f[FEEDS].token);
    else if (kmy_json_is(f[OP].token, "balance"))
        op_balance(s, c, &id);
    else if (kmy_json_is(f[OP].token, "receipt"))
        op_receipt(s, c, &id, f[AFTER].token);
    else if (kmy_json_is(f[OP].token, "pay"))
        kmy_stream_pay(s, c, &id, f[PAYMENT].token);
    else
        kmy_frame_error(
            s, c, &id, KMY_BAD_INPUT,
            "\"op\" must be one of auth, subscribe, unsubscribe, balance, receipt, pay, ping");
}

/* --- server-sent events ------------------------------------------------------------------------- */

kmy_err_t kmy_stream_plan(kmy_shard_t *s, const kmy_conn_t *c, const char *text, size_t len,
                          const kmy_stream_held_t *held, int64_t *cheapest_nusd, kmy_errctx_t *ctx)
{
    kmy_json_field_t f[MEMBERS_COUNT];
    subscribe_t *want = planned(s);
    kmy_err_t err = read_members(text, len, f, ctx);
    if (err == KMY_OK)
        err = check_subscribe(s, c, f[FEEDS].token, &f[OPTIONS], want, ctx);
    if (err == KMY_OK && want->o.sub.encoding != KMY_ENC_JSON)
        err = KMY_FAIL(ctx, KMY_BAD_INPUT, "events are JSON; other encodings need a WebSocket");
    if (err != KMY_OK)
        return err;
    want->o.sub.encoding = KMY_ENC_SSE;
    *cheapest_nusd = INT64_MAX;
    for (uint32_t i = 0; i < want->sel.count; i++) {
        uint32_t feed = want->sel.feed[i];
        int64_t price = want->o.sub.pass ? 0 : s->catalog->feeds[feed].tick_nusd;
        *cheapest_nusd = price < *cheapest_nusd ? price : *cheapest_nusd;
        if (held->given)
            want->resume[feed] = held->same_epoch ? kmy_subs_resume(s, feed, held->seq)
                                                  : (kmy_resume_t){ .given = true };
    }
    return KMY_OK;
}

kmy_err_t kmy_stream_plan_allowed(const kmy_shard_t *s, const kmy_shard_account_t *acc,
                                  const kmy_token_claims_t *claims, kmy_errctx_t *ctx)
{
    const subscribe_t *want = planned(s);
    kmy_err_t err = kmy_scope_check(s, claims->scope, &want->sel, ctx);
    return err == KMY_OK && want->o.sub.pass ? kmy_passes_check(s, acc, &want->sel, ctx) : err;
}

void kmy_stream_begin(kmy_shard_t *s, kmy_conn_t *c, kmy_shard_account_t *acc,
                      const kmy_token_claims_t *claims)
{
    kmy_account_join(s, acc, c);
    if (!kmy_scope_take(c, claims)) {
        kmy_conn_kill(s, c);
        return;
    }
    c->authenticated = true;
    kmy_account_refill(s, acc);
    do_subscribe(s, c, NULL, planned(s));
}
