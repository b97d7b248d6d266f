#include "wire/ws_extensions.h"

#include "wire/http1_chars.h"

#define NAME "permessage-deflate"
#define NO_CONTEXT                                                                                 \
    NAME "; server_no_context_takeover; client_no_context_takeover" /* both may be said unasked */
#define AND_WINDOW(bits) NO_CONTEXT "; server_max_window_bits=" #bits

enum { WINDOW_BITS_MIN = 8, WINDOW_BITS_MAX = 15 }; /* RFC 7692 section 7.1.2 */

/* A window that was asked of us must be answered (section 7.1.2.1). */
static const char *const answers[WINDOW_BITS_MAX + 1] = {
    [0] = NO_CONTEXT, /* not asked */
    [8] = AND_WINDOW(8),   [9] = AND_WINDOW(9),   [10] = AND_WINDOW(10), [11] = AND_WINDOW(11),
    [12] = AND_WINDOW(12), [13] = AND_WINDOW(13), [14] = AND_WINDOW(14), [15] = AND_WINDOW(15),
};

/* What is left of a field's value. */
typedef struct cursor {
    const char *at;
    const char *end;
} cursor_t;

/* A parameter's value with its quotes and escapes undone; a longer one than any of ours is cut, but not its length. */
typedef struct value {
    bool given;
    size_t len;
    char text[2];
} value_t;

/* What one offer says. */
typedef struct offer {
    bool declined;
    int server_bits; /* server_max_window_bits; 0: not asked */
    unsigned seen;   /* a bit for each parameter */
} offer_t;

/* RFC 2616's implied blanks may stand between any two words (RFC 6455 section 9.1 uses its rules). */
static void skip_blanks(cursor_t *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t'))
        c->at++;
}

static bool take(cursor_t *c, char sign)
{
    skip_blanks(c);
    if (c->at == c->end || *c->at != sign)
        return false;
    c->at++;
    return true;
}

static bool take_token(cursor_t *c, kmy_view_t *token)
{
    skip_blanks(c);
    token->ptr = c->at;
    while (c->at < c->end && kmy_http_is(*c->at, KMY_CH_TOKEN))
        c->at++;
    token->len = (size_t)(c->at - token->ptr);
    return token->len > 0;
}

static bool value_add(value_t *v, char sign)
{
    if (v->len < sizeof v->text)
        v->text[v->len] = sign;
    v->len++;
    return kmy_http_is(sign, KMY_CH_TOKEN); /* unquoted, it must be a token all the same */
}

static bool take_quoted(cursor_t *c, value_t *v)
{
    while (c->at < c->end && *c->at != '"') {
        if (*c->at == '\\' && ++c->at == c->end)
            return false;
        if (!value_add(v, *c->at++))
            return false;
    }
    return take(c, '"') && v->len > 0;
}

static bool take_value(cursor_t *c, value_t *v)
{
    v->given = true;
    if (take(c, '"'))
        return take_quoted(c, v);
    kmy_view_t token;
    if (!take_token(c, &token))
        return false;
    for (size_t i = 0; i < token.len; i++)
        value_add(v, token.ptr[i]);
    return true;
}

/* A decimal without leading zeros, 8 to 15; 0: anything else. */
static int window_bits(const value_t *v)
{
    int bits = 0;
    if (v->len == 1)
        bits = v->text[0] - '0';
    else if (v->len == 2 && v->text[0] == '1')
        bits = 10 + v->text[1] - '0';
    return bits >= WINDOW_BITS_MIN && bits <= WINDOW_BITS_MAX ? bits : 0;
}

/* What to think of one parameter of permessage-deflate. */
static void judge(offer_t *o, kmy_view_t name, const value_t *v)
{
    static const char *const names[] = {
        "server_no_context_takeover",
        "client_no_context_takeover",
        "server_max_window_bits",
        "client_max_window_bits",
    };
    enum { SERVER_CONTEXT, CLIENT_CONTEXT, SERVER_BITS, CLIENT_BITS, NAMES };
    int which = 0;
    while (which < NAMES && !kmy_view_is(name, names[which]))
        which++;
    bool good = false;
    if (which == SERVER_CONTEXT || which == CLIENT_CONTEXT)
        good = !v->given;
    else if (which == SERVER_BITS)
        good = (o->server_bits = window_bits(v)) > 0;
    else if (which == CLIENT_BITS) /* any window fits into our inflater's: nothing to be answered */
        good = !v->given || window_bits(v) > 0;
    o->declined |= !good || (o->seen >> which & 1);
    o->seen |= 1u << which;
}

/* One element of the list. */
static bool take_offer(cursor_t *c, offer_t *o)
{
    kmy_view_t name;
    if (!take_token(c, &name))
        return false;
    *o = (offer_t){ .declined = !kmy_view_is(name, NAME) };
    while (take(c, ';')) {
        value_t v = { 0 };
        if (!take_token(c, &name) || (take(c, '=') && !take_value(c, &v)))
            return false;
        judge(o, name, &v);
    }
    return true;
}

/* One header line; empty elements of a list are passed over (RFC 9110 section 5.6.1). */
static bool take_line(kmy_view_t line, const char **answer)
{
    cursor_t c = { line.ptr, line.ptr + line.len };
    do {
        skip_blanks(&c);
        if (c.at == c.end || *c.at == ',')
            continue;
        offer_t o;
        if (!take_offer(&c, &o))
            return false;
        if (!*answer && !o.declined)
            *answer = answers[o.server_bits];
    } while (take(&c, ','));
    return c.at == c.end;
}

kmy_err_t kmy_ws_extensions(const kmy_http_request_t *req, const char **answer, kmy_errctx_t *ctx)
{
    static const char field[] = "Sec-WebSocket-Extensions";
    *answer = NULL;
    for (size_t i = 0; i < req->headers_count; i++) {
        if (!kmy_view_is_nocase(req->headers[i].name, field))
            continue;
        if (!take_line(req->headers[i].value, answer)) {
            *answer = NULL;
            return KMY_FAIL(ctx, KMY_BAD_INPUT, "%s is not a list of extensions (RFC 6455 9.1)",
                            field);
        }
    }
    return KMY_OK;
}
