/* What an operator has done: tokens and accounts, by the keeper; who is connected, by all shards. */
#include "engine/admin.h"

#include "base/clock.h"
#include "base/money.h"
#include "engine/conn.h"
#include "engine/mint.h"
#include "engine/reply.h"
#include "engine/roster.h"
#include "engine/shard.h"

#include <inttypes.h>
#include <string.h>
#include <sys/random.h>

static void put_money(kmy_buf_t *b, const char *key, int64_t nusd)
{
    kmy_buf_fmt(b, ",\"%s\":", key);
    kmy_buf_json_nusd(b, nusd);
}

/* CAIP-10 or an operator's own name; EVM addresses in lower case only, since that is how payers are named. */
static bool legal_account(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:._-");
    if (n == 0 || name[n] != 0)
        return false;
    return strncmp(name, "eip155:", 7) != 0 || strpbrk(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == NULL;
}

/* A verb that the keeper does is two halves about one request: `read` makes the ask out of it, the request is parked, and `put` writes the members of
   the answer, in braces, out of s->answer.  Either may refuse it. */
typedef kmy_err_t read_verb_t(kmy_shard_t *s, const kmy_http_request_t *req, kmy_view_t body,
                              kmy_ask_t *a, kmy_errctx_t *ctx);
typedef kmy_err_t put_verb_t(kmy_shard_t *s, kmy_view_t body, kmy_buf_t *b, kmy_errctx_t *ctx);

static kmy_err_t ask_verb(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                          kmy_view_t body, kmy_ask_kind_t kind, read_verb_t *read, bool *answered,
                          kmy_errctx_t *ctx)
{
    kmy_ask_t a = { .kind = kind, .slot = kmy_conn_idx(s, c), .gen = c->gen };
    kmy_err_t err = read(s, req, body, &a, ctx);
    if (err == KMY_OK)
        *answered = !kmy_shard_ask_and_park(s, c, req, &a);
    return err;
}

static kmy_err_t answer_verb(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                             kmy_view_t body, put_verb_t *put, kmy_errctx_t *ctx)
{
    kmy_buf_t b = kmy_reply_body(s);
    kmy_err_t err = (kmy_err_t)s->answer->err;
    if (err != KMY_OK) /* the keeper refused */
        return KMY_FAIL(ctx, err, "%s", s->answer->detail);
    kmy_buf_str(&b, "{");
    err = put(s, body, &b, ctx);
    kmy_buf_str(&b, "}");
    if (err == KMY_OK)
        kmy_reply_json(s, c, req, &b);
    return err;
}

static bool verb(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body,
                 kmy_ask_kind_t kind, read_verb_t *read, put_verb_t *put)
{
    kmy_errctx_t ctx = { 0 };
    bool answered = true;
    if (!kmy_admin_operator(s, c, req))
        return true;
    kmy_err_t err = c->answered ? answer_verb(s, c, req, body, put, &ctx)
                                : ask_verb(s, c, req, body, kind, read, &answered, &ctx);
    if (err != KMY_OK)
        kmy_reply_problem(s, c, req, err, ctx.detail);
    return answered;
}

/* What the keeper names in its answer, under `key`. */
static void put_text(const kmy_shard_t *s, kmy_buf_t *b, const char *key)
{
    kmy_buf_fmt(b, "\"%s\":", key);
    kmy_buf_json_str(b, s->answer->text, strlen(s->answer->text));
}

/* {"account":ID,"usd":"10","spend":"0.5","ttl_s":43200,"feeds":["SOL/USD"]} */
static kmy_err_t read_mint(kmy_shard_t *s, const kmy_http_request_t *req, kmy_view_t body,
                           kmy_ask_t *a, kmy_errctx_t *ctx)
{
    kmy_json_t js;
    kmy_json_field_t f[] = { { .key = "account" }, { .key = "usd" } };
    kmy_mint_wish_t wish;
    kmy_json_init(&js, body.ptr, body.len);
    kmy_err_t err = kmy_json_object(&js, f, 2, ctx);
    if (err == KMY_OK)
        err = kmy_mint_read(s, body, &wish, ctx); /* looked at again when the token is made */
    if (err != KMY_OK)
        return err;
    size_t len;
    if (f[0].token.type != KMY_JSON_STRING ||
        !kmy_json_unescape(f[0].token, a->text, sizeof a->text, &len) || !legal_account(a->text))
        return KMY_FAIL(
            ctx, KMY_BAD_INPUT,
            "\"account\" must be 1 to %d of letters, digits and : . _ - (eip155 in lower case)",
            KMY_ACCOUNT_BYTES_MAX - 1);
    char usd[32];
    if (f[1].token.type == KMY_JSON_STRING &&
        (!kmy_json_unescape(f[1].token, usd, sizeof usd, &len) ||
         kmy_nusd_parse(usd, len, &a->amount_nusd) != KMY_OK))
        return KMY_FAIL(ctx, KMY_BAD_INPUT,
                        "\"usd\" must be a decimal string with at most nine decimals, such as "
                        "\"10\" or \"0.5\"");
    if (f[1].token.type != KMY_JSON_STRING && f[1].token.type != KMY_JSON_ERROR)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "\"usd\" must be a string: \"10\"");
    a->when_s = wish.ttl_s > 0 ? wish.ttl_s : s->config->tokens.lifetime_ns / KMY_NS_PER_S;
    const kmy_view_t *key = kmy_http_header(req, "idempotency-key");
    if (key) {
        if (kmy_http_header_count(req, "idempotency-key") != 1 || key->len == 0 || key->len > 100)
            return KMY_FAIL(ctx, KMY_BAD_INPUT,
                            "Idempotency-Key must stand once, of 1 to 100 bytes");
        memcpy(a->ref, "key:", 4);
        memcpy(a->ref + 4, key->ptr, key->len);
    } else {
        uint64_t r[2];
        if (getrandom(r, sizeof r, 0) != (ssize_t)sizeof r)
            return KMY_FAIL(ctx, KMY_INTERNAL, "no randomness");
        kmy_buf_t b = kmy_buf(a->ref, sizeof a->ref - 1);
        kmy_buf_fmt(&b, "mint:%016" PRIx64 "%016" PRIx64, r[0], r[1]);
    }
    if (wish.spend_nusd == 0)
        return KMY_OK;
    wish.ttl_s = a->when_s;
    return kmy_mint_ask_allowance(&wish, a->text, key, s->now_wall_ns / KMY_NS_PER_S + a->when_s, a,
                                  ctx);
}

static kmy_err_t put_minted(kmy_shard_t *s, kmy_view_t body, kmy_buf_t *b, kmy_errctx_t *ctx)
{
    const kmy_tell_t *t = s->answer;
    kmy_mint_wish_t wish;
    kmy_err_t err = kmy_mint_read(s, body, &wish, ctx);
    KMY_ASSERT(err == KMY_OK); /* as before it was parked */
    if (t->spend_nusd > 0) {
        err = kmy_mint_put_allowance(s, t, &wish, b, ctx);
        put_money(b, "credited", t->amount_nusd);
        return err;
    }
    err = kmy_mint_put_scoped(s, t->text, t->when_s, wish.scope, wish.rate_per_min, b, ctx);
    put_money(b, "credited", t->amount_nusd);
    put_money(b, "balance", t->free_nusd + t->leased_nusd);
    return err;
}

/* A jti, or a whole token of ours whose jti is meant. */
static kmy_err_t read_jti(kmy_shard_t *s, const kmy_http_request_t *req, kmy_view_t body,
                          kmy_ask_t *a, kmy_errctx_t *ctx)
{
    (void)req;
    kmy_json_t js;
    kmy_json_field_t f[] = { { .key = "jti" }, { .key = "token" } };
    kmy_json_init(&js, body.ptr, body.len);
    kmy_err_t err = kmy_json_object(&js, f, 2, ctx);
    if (err != KMY_OK)
        return err;
    size_t len;
    a->when_s =
        s->now_wall_ns / KMY_NS_PER_S + KMY_MINT_TTL_MAX_S; /* no token of ours lives longer */
    if (f[1].token.type == KMY_JSON_STRING) {
        char token[KMY_TOKEN_BYTES_MAX];
        kmy_token_claims_t claims;
        if (!kmy_json_unescape(f[1].token, token, sizeof token, &len))
            return KMY_FAIL(ctx, KMY_BAD_INPUT, "\"token\" is no token of ours");
        err =
            kmy_token_verify(s->token_key, token, len, s->now_wall_ns / KMY_NS_PER_S, &claims, ctx);
        if (err == KMY_OK)
            memcpy(a->text, claims.jti, sizeof claims.jti);
        return err;
    }
    if (f[0].token.type != KMY_JSON_STRING ||
        !kmy_json_unescape(f[0].token, a->text, KMY_JTI_BYTES_MAX, &len) || len == 0)
        return KMY_FAIL(ctx, KMY_BAD_INPUT,
                        "send {\"jti\":\"...\"} with 1 to %d bytes, or {\"token\":\"...\"}",
                        KMY_JTI_BYTES_MAX - 1);
    return KMY_OK;
}

static kmy_err_t put_revoked(kmy_shard_t *s, kmy_view_t body, kmy_buf_t *b, kmy_errctx_t *ctx)
{
    (void)body;
    (void)ctx;
    put_text(s, b, "revoked");
    return KMY_OK;
}

/* {"drop":true}: the earlier keys are void at once. */
static kmy_err_t read_rotate(kmy_shard_t *s, const kmy_http_request_t *req, kmy_view_t body,
                             kmy_ask_t *a, kmy_errctx_t *ctx)
{
    (void)s;
    (void)req;
    kmy_json_t js;
    kmy_json_field_t f[] = { { .key = "drop" } };
    if (body.len == 0)
        return KMY_OK;
    kmy_json_init(&js, body.ptr, body.len);
    kmy_err_t err = kmy_json_object(&js, f, 1, ctx);
    if (err == KMY_OK && f[0].token.type != KMY_JSON_ERROR && f[0].token.type != KMY_JSON_TRUE &&
        f[0].token.type != KMY_JSON_FALSE)
        err = KMY_FAIL(ctx, KMY_BAD_INPUT, "\"drop\" must be true or false");
    a->amount_nusd = f[0].token.type == KMY_JSON_TRUE;
    return err;
}

static kmy_err_t put_rotated(kmy_shard_t *s, kmy_view_t body, kmy_buf_t *b, kmy_errctx_t *ctx)
{
    (void)body;
    (void)ctx;
    put_text(s, b, "kid");
    return KMY_OK;
}

static void put_figures(kmy_buf_t *b, const kmy_tell_t *t)
{
    put_money(b, "credited", t->credited_nusd);
    put_money(b, "balance", t->free_nusd);
    put_money(b, "leased", t->leased_nusd);
    put_money(b, "consumed", t->consumed_nusd);
    if (t->debt_nusd > 0)
        put_money(b, "debt", t->debt_nusd);
    if (t->moved_nusd < 0)
        put_money(b, "given", -t->moved_nusd);
    if (t->moved_nusd > 0)
        put_money(b, "received", t->moved_nusd);
    kmy_buf_fmt(b, ",\"ticks\":%" PRIu64 ",\"queries\":%" PRIu64, t->ticks_count, t->queries_count);
}

static kmy_err_t read_account(kmy_shard_t *s, const kmy_http_request_t *req, kmy_view_t body,
                              kmy_ask_t *a, kmy_errctx_t *ctx)
{
    (void)s;
    (void)body;
    bool named = kmy_http_query(req->query, "account", a->text, sizeof a->text) && a->text[0];
    return named ? KMY_OK : KMY_FAIL(ctx, KMY_BAD_INPUT, "name it: /v1/admin/accounts?account=ID");
}

static kmy_err_t put_account(kmy_shard_t *s, kmy_view_t body, kmy_buf_t *b, kmy_errctx_t *ctx)
{
    (void)body;
    (void)ctx;
    put_text(s, b, "account");
    put_figures(b, s->answer);
    return KMY_OK;
}

static kmy_err_t read_nothing(kmy_shard_t *s, const kmy_http_request_t *req, kmy_view_t body,
                              kmy_ask_t *a, kmy_errctx_t *ctx)
{
    (void)s;
    (void)req;
    (void)body;
    (void)a;
    (void)ctx;
    return KMY_OK;
}

static kmy_err_t put_ledger(kmy_shard_t *s, kmy_view_t body, kmy_buf_t *b, kmy_errctx_t *ctx)
{
    (void)body;
    (void)ctx;
    kmy_buf_fmt(b, "\"accounts\":%u", s->answer->accounts_count);
    put_figures(b, s->answer);
    return KMY_OK;
}

bool kmy_admin_mint(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    return verb(s, c, req, body, KMY_ASK_MINT, read_mint, put_minted);
}

bool kmy_admin_revoke(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    return verb(s, c, req, body, KMY_ASK_REVOKE, read_jti, put_revoked);
}

bool kmy_admin_rotate(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    return verb(s, c, req, body, KMY_ASK_ROTATE, read_rotate, put_rotated);
}

bool kmy_admin_account(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                       kmy_view_t body)
{
    return verb(s, c, req, body, KMY_ASK_ACCOUNT, read_account, put_account);
}

bool kmy_admin_ledger(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    return verb(s, c, req, body, KMY_ASK_LEDGER, read_nothing, put_ledger);
}

bool kmy_admin_conns(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    (void)body;
    if (!kmy_admin_operator(s, c, req))
        return true;
    if (!c->answered)
        return !kmy_roster_ask(s, c, req);
    kmy_buf_t b = kmy_reply_body(s);
    kmy_buf_fmt(
        &b, "{\"shards\":%u,\"open\":%" PRId64 ",\"conns\":[", s->o.topology->shards_count,
        kmy_metrics_sum(s->o.all_metrics, s->o.all_metrics_count, KMY_METRIC_connection_open));
    kmy_roster_put(s, &b);
    kmy_buf_str(&b, "]}");
    kmy_reply_json(s, c, req, &b);
    return true;
}
