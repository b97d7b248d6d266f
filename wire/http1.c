#include "wire/http1.h"

#include "wire/http1_chars.h"
#include "wire/http1_fields.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* The head is read once, from left to right, and the first fault wins: so a verdict on a prefix is the verdict on the whole.
   The functions below advance c->at over what they accept; KMY_AGAIN: the bytes end first. */
typedef struct {
    const char *at;
    const char *end;
    kmy_errctx_t *ctx;
} cursor_t;

#define REFUSE(c, err, ...) KMY_FAIL((c)->ctx, (err), __VA_ARGS__)

/* No CR LF stands at c->at: is that final? */
static kmy_err_t take_odd_line_end(cursor_t *c)
{
    if (c->at == c->end)
        return KMY_AGAIN;
    if (*c->at != '\r')
        return REFUSE(c, KMY_BAD_INPUT, "byte 0x%02x where a line should end or go on",
                      (unsigned)(uint8_t)*c->at);
    if (c->end - c->at < 2)
        return KMY_AGAIN;
    return REFUSE(c, KMY_BAD_INPUT, "CR without LF; lines end with CR LF");
}

static inline kmy_err_t take_line_end(cursor_t *c)
{
    if (c->end - c->at < 2 || c->at[0] != '\r' || c->at[1] != '\n')
        return take_odd_line_end(c);
    c->at += 2;
    return KMY_OK;
}

static const char *pass_chars(const char *p, const char *end, unsigned kind)
{
    while (p < end && kmy_http_is(*p, kind))
        p++;
    return p;
}

#ifdef __SSE2__
/* FF where low <= byte <= low + width. */
static inline __m128i in_range(__m128i v, char low, char width)
{
    __m128i from_low = _mm_sub_epi8(v, _mm_set1_epi8(low));
    return _mm_cmpeq_epi8(_mm_min_epu8(from_low, _mm_set1_epi8(width)), from_low);
}
#endif

/* The two below pass 16 bytes a turn as long as all of them are of the usual kind; the table has the last word on the byte they
   stop at. */

static const char *target_end(const char *p, const char *end)
{
#ifdef __SSE2__
    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i good = in_range(v, '$', ';' - '$');
        good = _mm_or_si128(good, in_range(v, '?', '[' - '?'));
        good = _mm_or_si128(good, in_range(v, 'a', 'z' - 'a'));
        good = _mm_or_si128(good, _mm_cmpeq_epi8(v, _mm_set1_epi8('=')));
        good = _mm_or_si128(good, _mm_cmpeq_epi8(v, _mm_set1_epi8('_')));
        unsigned stop = ~(unsigned)_mm_movemask_epi8(good) & 0xFFFF;
        if (stop) {
            p += __builtin_ctz(stop);
            if (*p == ' ')
                return p;
            break;
        }
        p += 16;
    }
#endif
    return pass_chars(p, end, KMY_CH_TARGET);
}

static const char *name_end(const char *p, const char *end)
{
#ifdef __SSE2__
    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i good = in_range(_mm_or_si128(v, _mm_set1_epi8(0x20)), 'a', 'z' - 'a');
        good = _mm_or_si128(good, _mm_cmpeq_epi8(v, _mm_set1_epi8('-')));
        unsigned stop = ~(unsigned)_mm_movemask_epi8(good) & 0xFFFF;
        if (stop) {
            p += __builtin_ctz(stop);
            if (*p == ':')
                return p;
            break;
        }
        p += 16;
    }
#endif
    return pass_chars(p, end, KMY_CH_TOKEN);
}

static kmy_err_t take_method(cursor_t *c, kmy_http_request_t *req)
{
    const char *start = c->at;
    const char *p = pass_chars(start, c->end, KMY_CH_TOKEN);
    if (p == c->end)
        return KMY_AGAIN;
    if (p == start || *p != ' ')
        return REFUSE(c, KMY_BAD_INPUT, "request does not begin with a method and one blank");
    req->method = (kmy_view_t){ start, (size_t)(p - start) };
    c->at = p + 1;
    return KMY_OK;
}

static kmy_err_t take_target(cursor_t *c, kmy_http_request_t *req)
{
    const char *start = c->at;
    const char *p = target_end(start, c->end);
    /* Before the next byte is looked at, which a shorter prefix may not have. */
    if (p - start > KMY_HTTP_TARGET_BYTES_MAX)
        return REFUSE(c, KMY_TARGET_TOO_LONG, "request target has more than %d bytes",
                      KMY_HTTP_TARGET_BYTES_MAX);
    if (p == c->end)
        return KMY_AGAIN;
    if (p == start || *p != ' ')
        return REFUSE(c, KMY_BAD_INPUT, "byte 0x%02x in the request target", (unsigned)(uint8_t)*p);
    req->target = (kmy_view_t){ start, (size_t)(p - start) };
    c->at = p + 1;
    return KMY_OK;
}

/* "HTTP/" DIGIT "." DIGIT CR LF */
static kmy_err_t take_version(cursor_t *c, kmy_http_request_t *req)
{
    static const char form[8] = "HTTP/0.0";
    size_t have = (size_t)(c->end - c->at);
    for (size_t i = 0; i < sizeof form; i++) {
        if (i == have)
            return KMY_AGAIN;
        bool good = form[i] == '0' ? c->at[i] >= '0' && c->at[i] <= '9' : c->at[i] == form[i];
        if (!good)
            return REFUSE(c, KMY_BAD_INPUT, "no HTTP version behind the request target");
    }
    char major = c->at[5];
    char minor = c->at[7];
    c->at += sizeof form;
    kmy_err_t err = take_line_end(c);
    if (err == KMY_OK && (major != '1' || minor > '1'))
        return REFUSE(c, KMY_HTTP_VERSION, "HTTP/%c.%c; we speak 1.1 and 1.0", major, minor);
    req->minor = minor - '0';
    return err;
}

static kmy_err_t take_request_line(cursor_t *c, kmy_http_request_t *req)
{
    kmy_err_t err;
    if (c->at < c->end && *c->at == '\r' && (err = take_line_end(c)) != KMY_OK)
        return err;
    if ((err = take_method(c, req)) != KMY_OK || (err = take_target(c, req)) != KMY_OK ||
        (err = take_version(c, req)) != KMY_OK)
        return err;
    return kmy_http_split_target(req, c->ctx);
}

/* First byte in [p, end) that may not stand in a value: a control other than the tab. */
static const char *value_end(const char *p, const char *end)
{
#ifdef __SSE2__
    const __m128i control = _mm_set1_epi8(0x1F);
    const __m128i tab = _mm_set1_epi8('\t');
    const __m128i del = _mm_set1_epi8(0x7F);
    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i stop = _mm_cmpeq_epi8(_mm_min_epu8(v, control), v);
        stop = _mm_andnot_si128(_mm_cmpeq_epi8(v, tab), stop);
        stop = _mm_or_si128(stop, _mm_cmpeq_epi8(v, del));
        int mask = _mm_movemask_epi8(stop);
        if (mask)
            return p + __builtin_ctz((unsigned)mask);
        p += 16;
    }
#endif
    return pass_chars(p, end, KMY_CH_VALUE);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* One header line whose first byte is there and is no CR. */
static kmy_err_t take_header(cursor_t *c, kmy_http_header_t *header)
{
    const char *name = c->at;
    const char *p = name_end(name, c->end);
    if (p == c->end)
        return KMY_AGAIN;
    if (p == name && is_blank(*p))
        return REFUSE(c, KMY_BAD_INPUT, "line begins with a blank; folded lines are obsolete");
    if (p == name || *p != ':')
        return REFUSE(c, KMY_BAD_INPUT, "byte 0x%02x in or behind a header name",
                      (unsigned)(uint8_t)*p);
    header->name = (kmy_view_t){ name, (size_t)(p - name) };
    p++;
    while (p < c->end && is_blank(*p))
        p++;
    const char *value = p;
    p = value_end(p, c->end);
    c->at = p;
    kmy_err_t err = take_line_end(c);
    while (p > value && is_blank(p[-1]))
        p--;
    header->value = (kmy_view_t){ value, (size_t)(p - value) };
    return err;
}

static kmy_err_t take_headers(cursor_t *c, kmy_http_request_t *req)
{
    kmy_http_framing_t framing = { 0 };
    size_t count = 0;
    for (;;) {
        if (c->at == c->end)
            return KMY_AGAIN;
        if (*c->at == '\r')
            break;
        if (count == KMY_HTTP_HEADERS_MAX)
            return REFUSE(c, KMY_HEAD_TOO_BIG, "more than %d header lines", KMY_HTTP_HEADERS_MAX);
        kmy_http_header_t *header = &req->headers[count++];
        kmy_err_t err = take_header(c, header);
        if (err == KMY_OK)
            err = kmy_http_note_field(&framing, req, header, c->ctx);
        if (err != KMY_OK)
            return err;
    }
    req->headers_count = count;
    kmy_err_t err = take_line_end(c);
    return err == KMY_OK ? kmy_http_judge_framing(&framing, req, c->ctx) : err;
}

kmy_err_t kmy_http_parse(const char *data, size_t len, kmy_http_request_t *req, kmy_errctx_t *ctx)
{
    size_t seen = len < KMY_HTTP_HEAD_BYTES_MAX ? len : KMY_HTTP_HEAD_BYTES_MAX;
    cursor_t c = { data, data + seen, ctx };
    kmy_err_t err = take_request_line(&c, req);
    if (err == KMY_OK)
        err = take_headers(&c, req);
    if (err == KMY_AGAIN && seen == KMY_HTTP_HEAD_BYTES_MAX)
        return KMY_FAIL(ctx, KMY_HEAD_TOO_BIG, "request head has more than %d bytes",
                        KMY_HTTP_HEAD_BYTES_MAX);
    req->head_bytes = (size_t)(c.at - data);
    return err;
}
