#include "engine/mint.h"

#include "base/clock.h"
#include "base/money.h"
#include "wire/base64.h"

#include <inttypes.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

kmy_err_t kmy_mint_put(kmy_shard_t *s, const char *account, int64_t life_s, kmy_buf_t *b,
                       kmy_errctx_t *ctx)
{
    return kmy_mint_put_scoped(s, account, life_s, "", 0, b, ctx);
}

kmy_err_t kmy_mint_put_scoped(kmy_shard_t *s, const char *account, int64_t life_s,
                              const char *scope, int64_t rate_per_min, kmy_buf_t *b,
                              kmy_errctx_t *ctx)
{
    kmy_token_claims_t claims = { .issued_s = s->now_wall_ns / KMY_NS_PER_S,
                                  .rate_per_min = rate_per_min };
    claims.expires_s =
        claims.issued_s + (life_s > 0 ? life_s : s->config->tokens.lifetime_ns / KMY_NS_PER_S);
    snprintf(claims.account, sizeof claims.account, "%s", account);
    snprintf(claims.scope, sizeof claims.scope, "%s", scope);
    return kmy_mint_put_claims(s, &claims, b, ctx);
}

kmy_err_t kmy_mint_put_claims(kmy_shard_t *s, kmy_token_claims_t *claims, kmy_buf_t *b,
                              kmy_errctx_t *ctx)
{
    char token[KMY_TOKEN_BYTES_MAX];
    kmy_err_t err = kmy_token_sign(s->token_key, claims, token, ctx);
    if (err != KMY_OK)
        return err;
    kmy_buf_str(b, "\"account\":");
    kmy_buf_json_str(b, claims->account, strlen(claims->account));
    kmy_buf_fmt(b, ",\"token\":\"%s\",\"jti\":\"%s\",\"expires_at\":\"%" PRId64 "\"", token,
                claims->jti, claims->expires_s * KMY_NS_PER_S);
    return KMY_OK;
}

/* --- what a body asks for -------------------------------------------------------------------- */

/* ["SOL/USD","*@binance"] -> a scope.  Names become canonical, so that an alias means what it means today. */
static kmy_err_t read_scope(const kmy_shard_t *s, kmy_json_token_t array,
                            char scope[KMY_SCOPE_BYTES_MAX], kmy_errctx_t *ctx)
{
    kmy_json_t js;
    kmy_buf_t b = kmy_buf(scope, KMY_SCOPE_BYTES_MAX - 1);
    scope[0] = '\0';
    if (array.type == KMY_JSON_ERROR)
        return KMY_OK;
    kmy_json_init(&js, array.text, array.len);
    if (array.type != KMY_JSON_ARRAY || kmy_json_next(&js).type != KMY_JSON_ARRAY)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "\"feeds\" must be an array of names or patterns");
    for (kmy_json_token_t t = kmy_json_next(&js); t.type != KMY_JSON_ARRAY_END;
         t = kmy_json_next(&js)) {
        char name[KMY_FEED_NAME_BYTES_MAX];
        size_t len;
        if (t.type != KMY_JSON_STRING || !kmy_json_unescape(t, name, sizeof name, &len) || len == 0)
            return KMY_FAIL(ctx, KMY_BAD_INPUT, "\"feeds\" must be an array of names or patterns");
        bool pattern = memchr(name, '*', len) != NULL;
        const kmy_feed_t *feed = pattern ? NULL : kmy_catalog_find(s->catalog, name, len);
        if (!pattern && !feed)
            return KMY_FAIL(ctx, KMY_UNKNOWN_FEED, "no feed %s", name);
        kmy_buf_str(&b, b.len ? " " : "");
        kmy_buf_str(&b, feed ? feed->name : name);
    }
    scope[b.len] = '\0';
    if (b.len == 0 || b.overflow || !kmy_token_scope_ok(scope))
        return KMY_FAIL(ctx, KMY_BAD_INPUT,
                        "\"feeds\" must be 1 to %d bytes of names or patterns, blanks included",
                        KMY_SCOPE_BYTES_MAX - 1);
    return KMY_OK;
}

kmy_err_t kmy_mint_read(const kmy_shard_t *s, kmy_view_t body, kmy_mint_wish_t *w,
                        kmy_errctx_t *ctx)
{
    kmy_json_t js;
    kmy_json_field_t f[] = {
        { .key = "feeds" }, { .key = "ttl_s" }, { .key = "spend" }, { .key = "rate" }
    };
    char usd[32];
    size_t len;
    memset(w, 0, sizeof *w);
    kmy_json_init(&js, body.ptr, body.len);
    kmy_err_t err = kmy_json_object(&js, f, 4, ctx);
    if (err == KMY_OK)
        err = read_scope(s, f[0].token, w->scope, ctx);
    if (err != KMY_OK)
        return err;
    if (f[1].token.type != KMY_JSON_ERROR &&
        (!kmy_json_i64(f[1].token, &w->ttl_s) || w->ttl_s < KMY_MINT_TTL_MIN_S ||
         w->ttl_s > KMY_MINT_TTL_MAX_S))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "\"ttl_s\" must be %d to %d", KMY_MINT_TTL_MIN_S,
                        KMY_MINT_TTL_MAX_S);
    if (f[2].token.type != KMY_JSON_ERROR &&
        (f[2].token.type != KMY_JSON_STRING ||
         !kmy_json_unescape(f[2].token, usd, sizeof usd, &len) ||
         kmy_nusd_parse(usd, len, &w->spend_nusd) != KMY_OK || w->spend_nusd <= 0))
        return KMY_FAIL(ctx, KMY_BAD_INPUT,
                        "\"spend\" must be a decimal string above zero with at most nine decimals, "
                        "such as \"0.05\"");
    if (f[3].token.type != KMY_JSON_ERROR &&
        (!kmy_json_i64(f[3].token, &w->rate_per_min) || w->rate_per_min < 1 ||
         w->rate_per_min > KMY_TOKEN_RATE_MAX))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "\"rate\" must be 1 to %d requests a minute",
                        KMY_TOKEN_RATE_MAX);
    return KMY_OK;
}

/* --- allowances ------------------------------------------------------------------------------ */

/* 128 bits of SHA-256 of account and key, or of chance: in both cases nobody else's. */
static kmy_err_t make_jti(const char *account, const kmy_view_t *key, char jti[KMY_JTI_BYTES_MAX],
                          kmy_errctx_t *ctx)
{
    enum { JTI_BYTES = 16 };
    uint8_t bytes[SHA256_DIGEST_LENGTH];
    char text[KMY_ACCOUNT_BYTES_MAX + 128];
    if (!key) {
        if (getrandom(bytes, JTI_BYTES, 0) != JTI_BYTES)
            return KMY_FAIL(ctx, KMY_INTERNAL, "no randomness");
    } else {
        kmy_buf_t b = kmy_buf(text, sizeof text);
        kmy_buf_bytes(&b, account, strlen(account) + 1);
        kmy_buf_bytes(&b, key->ptr, key->len);
        KMY_ASSERT(!b.overflow);
        SHA256((const uint8_t *)text, b.len, bytes);
    }
    jti[kmy_base64_encode(KMY_BASE64_URL, bytes, JTI_BYTES, jti)] = '\0';
    return KMY_OK;
}

/* FNV-1a: the same in each process. */
static uint64_t terms_of(const kmy_mint_wish_t *w)
{
    uint64_t h =
        UINT64_C(0xcbf29ce484222325) ^ (uint64_t)w->ttl_s ^ (uint64_t)w->rate_per_min << 32;
    for (const char *p = w->scope; *p; p++)
        h = (h ^ (uint8_t)*p) * UINT64_C(0x100000001b3);
    return h;
}

kmy_err_t kmy_mint_ask_allowance(const kmy_mint_wish_t *w, const char *account,
                                 const kmy_view_t *key, int64_t expires_s, kmy_ask_t *a,
                                 kmy_errctx_t *ctx)
{
    a->spend_nusd = w->spend_nusd;
    a->expires_s = expires_s;
    a->terms = terms_of(w);
    return make_jti(account, key, a->jti, ctx);
}

kmy_err_t kmy_mint_put_allowance(kmy_shard_t *s, const kmy_tell_t *t, const kmy_mint_wish_t *w,
                                 kmy_buf_t *b, kmy_errctx_t *ctx)
{
    kmy_token_claims_t claims = { .issued_s = s->now_wall_ns / KMY_NS_PER_S,
                                  .expires_s = t->expires_s,
                                  .rate_per_min = w->rate_per_min };
    if (claims.expires_s <= claims.issued_s)
        return KMY_FAIL(ctx, KMY_CONFLICT,
                        "this key was used for a token that is over: take another one");
    memcpy(claims.account, t->text, sizeof claims.account);
    memcpy(claims.jti, t->jti, sizeof claims.jti);
    snprintf(claims.scope, sizeof claims.scope, "%s", w->scope);
    kmy_err_t err = kmy_mint_put_claims(s, &claims, b, ctx);
    kmy_buf_str(b, ",\"balance\":");
    kmy_buf_json_nusd(b, t->free_nusd + t->leased_nusd);
    kmy_buf_str(b, ",\"spend\":");
    kmy_buf_json_nusd(b, t->spend_nusd);
    return err;
}
