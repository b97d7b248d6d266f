/* Looking things up in a parsed request, and the response's head. */
#include "wire/http1.h"
#include "wire/http1_chars.h"
#include "wire/http1_fields.h"

#include <string.h>

bool kmy_view_is(kmy_view_t v, const char *text)
{
    return strlen(text) == v.len && memcmp(v.ptr, text, v.len) == 0;
}

bool kmy_view_is_nocase(kmy_view_t v, const char *text)
{
    size_t i = 0;
    while (i < v.len && text[i] && kmy_http_lower(v.ptr[i]) == kmy_http_lower(text[i]))
        i++;
    return i == v.len && text[i] == '\0';
}

static bool header_is(const kmy_http_header_t *h, const char *name, size_t name_len)
{
    return h->name.len == name_len && kmy_view_is_nocase(h->name, name);
}

const kmy_view_t *kmy_http_header(const kmy_http_request_t *req, const char *name)
{
    size_t name_len = strlen(name);
    for (size_t i = 0; i < req->headers_count; i++)
        if (header_is(&req->headers[i], name, name_len))
            return &req->headers[i].value;
    return NULL;
}

size_t kmy_http_header_count(const kmy_http_request_t *req, const char *name)
{
    size_t name_len = strlen(name);
    size_t count = 0;
    for (size_t i = 0; i < req->headers_count; i++)
        count += header_is(&req->headers[i], name, name_len);
    return count;
}

bool kmy_http_list_has(kmy_view_t value, const char *token)
{
    kmy_view_t element;
    while (kmy_http_list_next(&value, &element))
        if (kmy_view_is_nocase(element, token))
            return true;
    return false;
}

/* The byte that p begins with, its escape undone.  Returns the bytes passed; 0: a bad escape. */
static size_t take_char(const char *p, const char *end, bool form, char *out)
{
    *out = form && *p == '+' ? ' ' : *p;
    if (*p != '%')
        return 1;
    if (end - p < 3)
        return 0;
    int high = kmy_http_hex(p[1]);
    int low = kmy_http_hex(p[2]);
    if (high < 0 || low < 0)
        return 0;
    *out = (char)(high << 4 | low);
    return 3;
}

static bool decode(kmy_view_t v, bool form, char *out, size_t cap)
{
    const char *p = v.ptr;
    const char *end = p + v.len;
    size_t len = 0;
    if (cap == 0)
        return false;
    while (p < end) {
        char c;
        size_t n = take_char(p, end, form, &c);
        if (n == 0 || c == '\0' || len + 1 >= cap) {
            out[0] = '\0';
            return false;
        }
        out[len++] = c;
        p += n;
    }
    out[len] = '\0';
    return true;
}

static bool name_is(kmy_view_t encoded, const char *name)
{
    const char *p = encoded.ptr;
    const char *end = p + encoded.len;
    for (; p < end; name++) {
        char c;
        size_t n = take_char(p, end, true, &c);
        if (n == 0 || c == '\0' || c != *name)
            return false;
        p += n;
    }
    return *name == '\0';
}

bool kmy_http_query(kmy_view_t query, const char *name, char *out, size_t cap)
{
    const char *p = query.ptr;
    const char *end = p + query.len;
    kmy_view_t found = { NULL, 0 };
    if (cap == 0)
        return false;
    out[0] = '\0';
    while (p < end) {
        const char *amp = memchr(p, '&', (size_t)(end - p));
        const char *pair_end = amp ? amp : end;
        const char *equals = memchr(p, '=', (size_t)(pair_end - p));
        const char *name_end = equals ? equals : pair_end;
        if (name_is((kmy_view_t){ p, (size_t)(name_end - p) }, name)) {
            if (found.ptr)
                return false;
            const char *value = equals ? equals + 1 : pair_end;
            found = (kmy_view_t){ value, (size_t)(pair_end - value) };
        }
        p = amp ? amp + 1 : end;
    }
    return found.ptr && decode(found, true, out, cap);
}

bool kmy_http_path_decode(kmy_view_t path, char *out, size_t cap)
{
    return decode(path, false, out, cap);
}

const char *kmy_http_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } rows[] = {
        { 100, "Continue" },
        { 101, "Switching Protocols" },
        { 200, "OK" },
        { 202, "Accepted" },
        { 204, "No Content" },
        { 304, "Not Modified" },
        { 400, "Bad Request" },
        { 401, "Unauthorized" },
        { 402, "Payment Required" },
        { 403, "Forbidden" },
        { 404, "Not Found" },
        { 405, "Method Not Allowed" },
        { 406, "Not Acceptable" },
        { 408, "Request Timeout" },
        { 409, "Conflict" },
        { 411, "Length Required" },
        { 413, "Content Too Large" },
        { 414, "URI Too Long" },
        { 415, "Unsupported Media Type" },
        { 417, "Expectation Failed" },
        { 422, "Unprocessable Content" },
        { 426, "Upgrade Required" },
        { 429, "Too Many Requests" },
        { 431, "Request Header Fields Too Large" },
        { 500, "Internal Server Error" },
        { 501, "Not Implemented" },
        { 502, "Bad Gateway" },
        { 503, "Service Unavailable" },
        { 504, "Gateway Timeout" },
        { 505, "HTTP Version Not Supported" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].status == status)
            return rows[i].reason;
    return "Unknown";
}

void kmy_http_put_status(kmy_buf_t *b, int status)
{
    kmy_buf_str(b, "HTTP/1.1 ");
    kmy_buf_u64(b, (uint64_t)status);
    kmy_buf_str(b, " ");
    kmy_buf_str(b, kmy_http_reason(status));
    kmy_buf_str(b, "\r\n");
}

void kmy_http_put_header(kmy_buf_t *b, const char *name, const char *value, size_t value_len)
{
    kmy_buf_str(b, name);
    kmy_buf_str(b, ": ");
    size_t start = b->len;
    kmy_buf_bytes(b, value, value_len);
    for (size_t i = start; i < b->len; i++)
        if (!kmy_http_is(b->data[i], KMY_CH_VALUE))
            b->data[i] = ' ';
    kmy_buf_str(b, "\r\n");
}
