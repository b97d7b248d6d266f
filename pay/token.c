/* token: the claims of a bearer, and nothing a bearer says is believed before its signature was checked. */
#include "pay/token.h"

#include "base/pattern.h"
#include "pay/token_jws.h"
#include "wire/base64.h"
#include "wire/json.h"

#include <openssl/rand.h>
#include <string.h>

enum { JTI_RANDOM_BYTES = 16 };

/* 128 bits in 22 characters. */
static kmy_err_t jti_make(char out[KMY_JTI_BYTES_MAX], kmy_errctx_t *ctx)
{
    uint8_t random[JTI_RANDOM_BYTES];
    _Static_assert(KMY_BASE64_TEXT_BYTES(JTI_RANDOM_BYTES) < KMY_JTI_BYTES_MAX, "a jti fits");
    if (RAND_bytes(random, sizeof random) != 1)
        return KMY_FAIL(ctx, KMY_INTERNAL, "no random numbers for a token id");
    out[kmy_base64_encode(KMY_BASE64_URL, random, sizeof random, out)] = '\0';
    return KMY_OK;
}

static bool times_ok(const kmy_token_claims_t *c)
{
    return c->issued_s >= 0 && c->expires_s > c->issued_s && c->expires_s <= KMY_TOKEN_TIME_S_MAX;
}

/* The next word of a scope at *at; its length, 0: no more. */
static size_t next_word(const char **at)
{
    *at += strspn(*at, " ");
    return strcspn(*at, " ");
}

bool kmy_token_scope_ok(const char *scope)
{
    size_t len = strnlen(scope, KMY_SCOPE_BYTES_MAX);
    if (len == 0)
        return true;
    if (len == KMY_SCOPE_BYTES_MAX || scope[0] == ' ' || scope[len - 1] == ' ' ||
        strstr(scope, "  "))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (scope[i] < ' ' || scope[i] > '~' || scope[i] == '"' || scope[i] == '\\')
            return false;
    }
    for (size_t n; (n = next_word(&scope)) > 0; scope += n) {
        if (n > KMY_PATTERN_BYTES_MAX)
            return false;
    }
    return true;
}

bool kmy_token_allows(const char *scope, const char *feed)
{
    if (scope[0] == '\0')
        return true;
    size_t len = strlen(feed);
    for (size_t n; (n = next_word(&scope)) > 0; scope += n) {
        kmy_pattern_t p;
        if (n == len && memcmp(scope, feed, n) == 0)
            return true;
        if (memchr(scope, '*', n) && kmy_pattern_init(&p, scope, n) &&
            kmy_pattern_matches(&p, feed, len))
            return true;
    }
    return false;
}

kmy_err_t kmy_token_sign(kmy_token_key_t *key, kmy_token_claims_t *claims,
                         char out[KMY_TOKEN_BYTES_MAX], kmy_errctx_t *ctx)
{
    char json[KMY_TOKEN_PAYLOAD_BYTES_MAX];
    size_t account_len = strnlen(claims->account, sizeof claims->account);
    if (account_len < 1 || account_len >= sizeof claims->account)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "token needs an account");
    if (!times_ok(claims))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "token must expire after it was issued");
    if (!kmy_token_scope_ok(claims->scope))
        return KMY_FAIL(ctx, KMY_BAD_INPUT,
                        "scope of a token must be names or patterns of feeds, %d bytes at most",
                        KMY_SCOPE_BYTES_MAX - 1);
    if (claims->rate_per_min < 0 || claims->rate_per_min > KMY_TOKEN_RATE_MAX)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "rate of a token must be 1 to %d a minute",
                        KMY_TOKEN_RATE_MAX);
    if (claims->jti[0] == '\0') {
        kmy_err_t err = jti_make(claims->jti, ctx);
        if (err != KMY_OK)
            return err;
    }
    kmy_buf_t b = kmy_buf(json, sizeof json);
    kmy_buf_str(&b, "{\"iss\":\"" KMY_TOKEN_ISSUER "\",\"sub\":");
    kmy_buf_json_str(&b, claims->account, account_len);
    kmy_buf_str(&b, ",\"jti\":");
    kmy_buf_json_str(&b, claims->jti, strnlen(claims->jti, sizeof claims->jti));
    kmy_buf_str(&b, ",\"iat\":");
    kmy_buf_i64(&b, claims->issued_s);
    kmy_buf_str(&b, ",\"exp\":");
    kmy_buf_i64(&b, claims->expires_s);
    if (claims->scope[0]) {
        kmy_buf_str(&b, ",\"scp\":\"");
        kmy_buf_str(&b, claims->scope); /* nothing in it needs an escape */
        kmy_buf_str(&b, "\"");
    }
    if (claims->rate_per_min > 0) {
        kmy_buf_str(&b, ",\"rate\":");
        kmy_buf_i64(&b, claims->rate_per_min);
    }
    kmy_buf_str(&b, "}");
    if (b.overflow || kmy_token_jws_sign(key, json, b.len, out, KMY_TOKEN_BYTES_MAX) == 0)
        return KMY_FAIL(ctx, KMY_TOO_BIG, "token would have more than %d bytes",
                        KMY_TOKEN_BYTES_MAX);
    return KMY_OK;
}

enum { ISS, SUB, JTI, IAT, EXP, NBF, AUD, SCP, RATE, CLAIMS };

static bool text_ok(kmy_json_token_t token, char *out, size_t cap)
{
    size_t len;
    return token.type == KMY_JSON_STRING && kmy_json_unescape(token, out, cap, &len) && len > 0;
}
/* Times are whole seconds: 1.0, 1e9 and "1" are refused with everything else that is no plain integer. */
static bool time_ok(kmy_json_token_t token, int64_t *out)
{
    return token.type == KMY_JSON_NUMBER && kmy_json_i64(token, out);
}

/* Whoever wrote it meant a limit: what cannot be read as one refuses the token, and does not widen it. */
static bool scope_ok(kmy_json_token_t token, char out[KMY_SCOPE_BYTES_MAX])
{
    out[0] = '\0';
    return token.type == KMY_JSON_ERROR ||
           (text_ok(token, out, KMY_SCOPE_BYTES_MAX) && kmy_token_scope_ok(out));
}

static bool rate_ok(kmy_json_token_t token, int64_t *out)
{
    *out = 0;
    return token.type == KMY_JSON_ERROR ||
           (token.type == KMY_JSON_NUMBER && kmy_json_i64(token, out) && *out > 0 &&
            *out <= KMY_TOKEN_RATE_MAX);
}

/* nbf and aud are not ours; a token signed with our key elsewhere may bring them, and then they count: an audience that is not us means the
   token was not meant for us (RFC 7519 section 4.1.3).  A list of audiences is refused: nothing we know writes one. */
static bool optional_ok(const kmy_json_field_t *f, int64_t *not_before_s)
{
    if (f[NBF].token.type != KMY_JSON_ERROR && !time_ok(f[NBF].token, not_before_s))
        return false;
    if (f[AUD].token.type == KMY_JSON_ERROR)
        return true;
    return f[AUD].token.type == KMY_JSON_STRING && kmy_json_is(f[AUD].token, KMY_TOKEN_ISSUER);
}

static kmy_err_t claims_read(const char *json, size_t len, kmy_token_claims_t *c,
                             int64_t *not_before_s, kmy_errctx_t *ctx)
{
    kmy_json_field_t f[CLAIMS] = {
        [ISS] = { .key = "iss" }, [SUB] = { .key = "sub" }, [JTI] = { .key = "jti" },
        [IAT] = { .key = "iat" }, [EXP] = { .key = "exp" }, [NBF] = { .key = "nbf" },
        [AUD] = { .key = "aud" }, [SCP] = { .key = "scp" }, [RATE] = { .key = "rate" }
    };
    kmy_json_t js;
    kmy_json_init(&js, json, len);
    if (kmy_json_object(&js, f, CLAIMS, NULL) != KMY_OK || kmy_json_next(&js).type != KMY_JSON_END)
        return KMY_FAIL(ctx, KMY_UNAUTHENTICATED,
                        "token payload is no JSON object, or has a claim twice");
    if (f[ISS].token.type != KMY_JSON_STRING || !kmy_json_is(f[ISS].token, KMY_TOKEN_ISSUER))
        return KMY_FAIL(ctx, KMY_UNAUTHENTICATED, "token has another issuer");
    if (!text_ok(f[SUB].token, c->account, sizeof c->account) ||
        !text_ok(f[JTI].token, c->jti, sizeof c->jti))
        return KMY_FAIL(ctx, KMY_UNAUTHENTICATED, "token lacks sub or jti");
    if (!time_ok(f[IAT].token, &c->issued_s) || !time_ok(f[EXP].token, &c->expires_s) ||
        !times_ok(c))
        return KMY_FAIL(ctx, KMY_UNAUTHENTICATED, "token lacks iat or exp, or they make no sense");
    if (!scope_ok(f[SCP].token, c->scope))
        return KMY_FAIL(ctx, KMY_UNAUTHENTICATED, "token has a scp that is no list of feeds");
    if (!rate_ok(f[RATE].token, &c->rate_per_min))
        return KMY_FAIL(ctx, KMY_UNAUTHENTICATED, "token has a rate that is no number a minute");
    *not_before_s = c->issued_s;
    if (!optional_ok(f, not_before_s))
        return KMY_FAIL(ctx, KMY_UNAUTHENTICATED,
                        "token is for another audience, or its nbf is no time");
    return KMY_OK;
}

/* The payload as kmy_token_sign writes it, character by character; one that is spelled in another way is not refused here but left to
   claims_read, which takes twice the time.  Texts without escapes, plain integers: a subset of what claims_read takes, with the same
   meaning (test_token compares the two). */
static bool take_word(const char **at, const char *end, const char *word, size_t len)
{
    if ((size_t)(end - *at) < len || memcmp(*at, word, len) != 0)
        return false;
    *at += len;
    return true;
}
static bool take_text(const char **at, const char *end, char *out, size_t cap)
{
    size_t n = 0;
    const char *p = *at;
    while (p + n < end && n < cap && p[n] > ' ' && p[n] < 0x7f && p[n] != '"' && p[n] != '\\')
        n++;
    if (n == 0 || n >= cap)
        return false;
    memcpy(out, p, n);
    out[n] = '\0';
    *at += n;
    return true;
}
static bool take_time(const char **at, const char *end, int64_t *out)
{
    int64_t v = 0;
    const char *p = *at;
    while (p < end && p - *at < 10 && *p >= '0' && *p <= '9')
        v = v * 10 + (*p++ - '0');
    if (p == *at || (**at == '0' && p - *at > 1))
        return false;
    *at = p; /* a digit more is no comma or brace, and refused there */
    *out = v;
    return true;
}
#define TAKE(word) take_word(&at, end, word, sizeof(word) - 1)
/* With its blanks, which no other text of ours has; left out by most. */
static bool take_scope(const char **at, const char *end, char out[KMY_SCOPE_BYTES_MAX])
{
    static const char begin[] = ",\"scp\":\"";
    out[0] = '\0';
    if (!take_word(at, end, begin, sizeof begin - 1))
        return true;
    size_t n = 0;
    while (*at + n < end && n < KMY_SCOPE_BYTES_MAX - 1 && (*at)[n] != '"')
        n++;
    memcpy(out, *at, n);
    out[n] = '\0';
    *at += n;
    return out[0] != '\0' && kmy_token_scope_ok(out) && take_word(at, end, "\"", 1);
}
static bool take_rate(const char **at, const char *end, int64_t *out)
{
    static const char begin[] = ",\"rate\":";
    *out = 0;
    return !take_word(at, end, begin, sizeof begin - 1) ||
           (take_time(at, end, out) && *out > 0 && *out <= KMY_TOKEN_RATE_MAX);
}
static bool claims_read_ours(const char *json, size_t len, kmy_token_claims_t *c)
{
    const char *at = json;
    const char *end = json + len;
    return TAKE("{\"iss\":\"" KMY_TOKEN_ISSUER "\",\"sub\":\"") &&
           take_text(&at, end, c->account, sizeof c->account) && TAKE("\",\"jti\":\"") &&
           take_text(&at, end, c->jti, sizeof c->jti) && TAKE("\",\"iat\":") &&
           take_time(&at, end, &c->issued_s) && TAKE(",\"exp\":") &&
           take_time(&at, end, &c->expires_s) && take_scope(&at, end, c->scope) &&
           take_rate(&at, end, &c->rate_per_min) && TAKE("}") && at == end && times_ok(c);
}

kmy_err_t kmy_token_verify(kmy_token_key_t *key, const char *token, size_t len, int64_t now_s,
                           kmy_token_claims_t *claims, kmy_errctx_t *ctx)
{
    char json[KMY_TOKEN_PAYLOAD_BYTES_MAX];
    size_t json_len;
    int64_t not_before_s = 0;
    kmy_token_claims_t c = { .issued_s = 0 };
    kmy_err_t err = kmy_token_jws_open(key, token, len, json, &json_len, ctx);
    if (err != KMY_OK)
        return err;
    if (claims_read_ours(json, json_len, &c))
        not_before_s = c.issued_s;
    else
        err = claims_read(json, json_len, &c, &not_before_s, ctx);
    if (err != KMY_OK)
        return err;
    KMY_ASSERT(now_s >= 0 && now_s <= KMY_TOKEN_TIME_S_MAX); /* so nothing below overflows */
    if (c.issued_s > now_s + KMY_TOKEN_LEEWAY_S || not_before_s > now_s + KMY_TOKEN_LEEWAY_S)
        return KMY_FAIL(ctx, KMY_UNAUTHENTICATED, "token is not valid yet: compare the clocks");
    if (now_s >= c.expires_s + KMY_TOKEN_LEEWAY_S)
        return KMY_FAIL(ctx, KMY_TOKEN_EXPIRED, "token expired %lld s ago",
                        (long long)(now_s - c.expires_s));
    *claims = c;
    return KMY_OK;
}
