#include "wire/http1_fields.h"

#include "wire/http1_chars.h"

#include <string.h>

/* v, as long as `word`, equals it case-blind: 8 or 4 bytes at a time, the last ones overlapping.  word has 4 bytes or more, lower-case
   letters, digits and dashes only, so that setting the bit 0x20 is exact: besides a letter's other case it makes these of controls
   alone, which no name or value holds. */
static inline bool is_word(kmy_view_t v, const char *word, size_t len)
{
    const uint64_t lower = UINT64_C(0x2020202020202020);
    uint64_t diff = 0;
    if (v.len != len)
        return false;
    if (len < 8) {
        uint32_t a[2], b[2];
        memcpy(&a[0], v.ptr, 4);
        memcpy(&a[1], v.ptr + len - 4, 4);
        memcpy(&b[0], word, 4);
        memcpy(&b[1], word + len - 4, 4);
        return !(((a[0] | (uint32_t)lower) ^ b[0]) | ((a[1] | (uint32_t)lower) ^ b[1]));
    }
    for (size_t at = 0;; at += 8) {
        uint64_t a, b;
        at = at < len - 8 ? at : len - 8;
        memcpy(&a, v.ptr + at, 8);
        memcpy(&b, word + at, 8);
        diff |= (a | lower) ^ b;
        if (at == len - 8)
            return diff == 0;
    }
}
#define IS_WORD(view, literal) is_word((view), (literal), sizeof(literal) - 1)

static const char *pass_host(const char *p, const char *end)
{
    while (p < end && kmy_http_is(*p, KMY_CH_HOST))
        p++;
    return p;
}

/* "[" IPv6 "]": its characters and at least two colons; who needs the address parses it. */
static const char *pass_ipv6(const char *p, const char *end)
{
    int colons = 0;
    for (p++; p < end && (*p == ':' || *p == '.' || kmy_http_is(*p, KMY_CH_HEX)); p++)
        colons += *p == ':';
    return p < end && *p == ']' && colons >= 2 ? p + 1 : NULL;
}

/* [ ":" *DIGIT ] up to the end, at most 65535. */
static bool is_port(const char *p, const char *end)
{
    if (p == end)
        return true;
    if (*p++ != ':')
        return false;
    unsigned port = 0;
    for (; p < end; p++) {
        if (*p < '0' || *p > '9')
            return false;
        port = port * 10 + (unsigned)(*p - '0');
        if (port > 65535)
            return false;
    }
    return true;
}

/* host [ ":" port ] without user information, which RFC 9110 section 4.2.4 wants treated as an error. */
static bool is_authority(kmy_view_t v)
{
    const char *end = v.ptr + v.len;
    if (v.len == 0)
        return false;
    const char *p = *v.ptr == '[' ? pass_ipv6(v.ptr, end) : pass_host(v.ptr, end);
    return p && p > v.ptr && is_port(p, end);
}

static bool escapes_are_whole(kmy_view_t v)
{
    const char *end = v.ptr + v.len;
    const char *p = v.ptr;
    while ((p = memchr(p, '%', (size_t)(end - p))) != NULL) {
        if (end - p < 3 || !kmy_http_is(p[1], KMY_CH_HEX) || !kmy_http_is(p[2], KMY_CH_HEX))
            return false;
        p += 3;
    }
    return true;
}

/* Bytes of "http://" or "https://" at the target's front; 0 if it has no such scheme. */
static size_t scheme_bytes(kmy_view_t target)
{
    static const char *const schemes[] = { "http://", "https://" };
    for (size_t i = 0; i < 2; i++) {
        kmy_view_t front = { target.ptr, strlen(schemes[i]) };
        if (target.len > front.len && kmy_view_is_nocase(front, schemes[i]))
            return front.len;
    }
    return 0;
}

static void split_query(kmy_http_request_t *req, const char *path, const char *end)
{
    const char *mark = memchr(path, '?', (size_t)(end - path));
    const char *path_end = mark ? mark : end;
    req->path = (kmy_view_t){ path, (size_t)(path_end - path) };
    if (req->path.len == 0)
        req->path = (kmy_view_t){ "/", 1 }; /* RFC 9110 section 4.2.3 */
    const char *query = mark ? mark + 1 : end;
    req->query = (kmy_view_t){ query, (size_t)(end - query) };
}

kmy_err_t kmy_http_split_target(kmy_http_request_t *req, kmy_errctx_t *ctx)
{
    kmy_view_t t = req->target;
    const char *end = t.ptr + t.len;
    req->host = (kmy_view_t){ t.ptr, 0 };
    if (kmy_view_is(req->method, "CONNECT"))
        return KMY_FAIL(ctx, KMY_METHOD, "CONNECT: this is no proxy");
    if (!escapes_are_whole(t))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "request target has a %% without two hex digits");
    if (t.ptr[0] == '/') {
        split_query(req, t.ptr, end);
        return KMY_OK;
    }
    if (kmy_view_is(t, "*") && kmy_view_is(req->method, "OPTIONS")) {
        req->path = t;
        req->query = (kmy_view_t){ end, 0 };
        return KMY_OK;
    }
    size_t scheme = scheme_bytes(t);
    if (scheme == 0)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "request target is no path and no http URI");
    const char *host = t.ptr + scheme;
    const char *path = host;
    while (path < end && *path != '/' && *path != '?')
        path++;
    req->host = (kmy_view_t){ host, (size_t)(path - host) };
    if (!is_authority(req->host))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "request target has no proper host");
    split_query(req, path, end);
    return KMY_OK;
}

bool kmy_http_list_next(kmy_view_t *rest, kmy_view_t *element)
{
    const char *p = rest->ptr;
    const char *end = p + rest->len;
    while (p < end && (*p == ',' || *p == ' ' || *p == '\t'))
        p++;
    const char *comma = p < end ? memchr(p, ',', (size_t)(end - p)) : NULL;
    const char *stop = comma ? comma : end;
    *rest = (kmy_view_t){ stop, (size_t)(end - stop) };
    while (stop > p && (stop[-1] == ' ' || stop[-1] == '\t'))
        stop--;
    *element = (kmy_view_t){ p, (size_t)(stop - p) };
    return stop > p;
}

static kmy_err_t note_host(kmy_http_framing_t *f, kmy_view_t value, kmy_errctx_t *ctx)
{
    if (f->host)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "Host stands twice");
    if (!is_authority(value))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "Host is no host name with an optional port");
    f->host = true;
    f->host_value = value;
    return KMY_OK;
}

static kmy_err_t note_length(kmy_http_framing_t *f, kmy_view_t value, kmy_errctx_t *ctx)
{
    if (f->length)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "Content-Length stands twice");
    uint64_t v = 0;
    for (size_t i = 0; i < value.len; i++) {
        uint64_t digit = (uint64_t)(uint8_t)value.ptr[i] - '0';
        if (digit > 9 || v > (UINT64_MAX - digit) / 10)
            return KMY_FAIL(ctx, KMY_BAD_INPUT, "Content-Length is no number of bytes");
        v = v * 10 + digit;
    }
    if (value.len == 0)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "Content-Length is empty");
    f->length = true;
    f->body_bytes = v;
    return KMY_OK;
}

static bool is_token(kmy_view_t v)
{
    size_t n = 0;
    while (n < v.len && kmy_http_is(v.ptr[n], KMY_CH_TOKEN))
        n++;
    return n > 0 && n == v.len;
}

/* "chunked" alone is what we read.  A list of other codings that ends in chunked is framed well, but beyond us (501, RFC 9112
   section 6.1); all else leaves the length of the body to guesses (400). */
static kmy_err_t note_coding(kmy_http_framing_t *f, kmy_view_t value, kmy_errctx_t *ctx)
{
    if (f->coding)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "Transfer-Encoding stands twice");
    f->coding = true;
    if (kmy_view_is_nocase(value, "chunked"))
        return KMY_OK;
    kmy_view_t element;
    size_t count = 0;
    bool chunked = false;
    bool proper = true;
    for (; kmy_http_list_next(&value, &element); count++) {
        proper =
            proper && !chunked && is_token(element) && !kmy_view_is_nocase(element, "identity");
        chunked = kmy_view_is_nocase(element, "chunked");
    }
    if (!proper || !chunked || count < 2)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "Transfer-Encoding does not end in chunked, once");
    return KMY_FAIL(ctx, KMY_CODING, "Transfer-Encoding other than chunked; send it uncompressed");
}

static kmy_err_t note_connection(kmy_http_framing_t *f, kmy_view_t value)
{
    kmy_view_t element;
    while (kmy_http_list_next(&value, &element)) {
        f->close |= IS_WORD(element, "close");
        f->keep_alive |= IS_WORD(element, "keep-alive");
        f->upgrade |= IS_WORD(element, "upgrade");
    }
    return KMY_OK;
}

static kmy_err_t note_expect(kmy_http_framing_t *f, const kmy_http_request_t *req, kmy_view_t value,
                             kmy_errctx_t *ctx)
{
    if (req->minor == 0)
        return KMY_OK; /* RFC 9110 section 10.1.1: ignored */
    if (!kmy_view_is_nocase(value, "100-continue"))
        return KMY_FAIL(ctx, KMY_EXPECTATION, "Expect other than 100-continue");
    f->expect = true;
    return KMY_OK;
}

kmy_err_t kmy_http_note_field(kmy_http_framing_t *f, const kmy_http_request_t *req,
                              const kmy_http_header_t *header, kmy_errctx_t *ctx)
{
    kmy_view_t name = header->name;
    switch (name.len) { /* most lines are none of ours: the length alone tells */
    case 4:
        if (IS_WORD(name, "host"))
            return note_host(f, header->value, ctx);
        break;
    case 6:
        if (IS_WORD(name, "expect"))
            return note_expect(f, req, header->value, ctx);
        break;
    case 7:
        if (IS_WORD(name, "upgrade"))
            f->websocket |= kmy_http_list_has(header->value, "websocket");
        break;
    case 10:
        if (IS_WORD(name, "connection"))
            return note_connection(f, header->value);
        break;
    case 14:
        if (IS_WORD(name, "content-length"))
            return note_length(f, header->value, ctx);
        break;
    case 17:
        if (IS_WORD(name, "transfer-encoding"))
            return note_coding(f, header->value, ctx);
        break;
    default:
        break;
    }
    return KMY_OK;
}

kmy_err_t kmy_http_judge_framing(const kmy_http_framing_t *f, kmy_http_request_t *req,
                                 kmy_errctx_t *ctx)
{
    if (f->coding && f->length)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "both Transfer-Encoding and Content-Length");
    if (f->coding && req->minor == 0)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "Transfer-Encoding in HTTP/1.0");
    if (!f->host && req->minor == 1)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "no Host");
    if (req->host.len == 0 && f->host)
        req->host = f->host_value;
    req->body_bytes = f->body_bytes;
    req->chunked = f->coding;
    req->keep_alive = !f->close && (req->minor == 1 || f->keep_alive);
    req->upgrade_websocket = req->minor == 1 && f->upgrade && f->websocket;
    req->expect_continue = f->expect && (f->coding || f->body_bytes > 0);
    return KMY_OK;
}
