/* Properties: the verdict on a head is the same for every prefix that is not too short; an accepted head, written anew from its
   parts, parses to the same parts; a chunked body gives the same payload in whatever pieces it comes; decoders stay in bounds. */
#include "wire/http1.h"
#include "wire/ws.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(cond) KMY_ASSERT(cond)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same(kmy_view_t a, kmy_view_t b)
{
    return a.len == b.len && memcmp(a.ptr, b.ptr, a.len) == 0;
}

/* Cuts everywhere in short inputs, at 64 places in long ones. */
static void check_prefixes(const char *text, size_t len, kmy_err_t whole, size_t head_bytes)
{
    static kmy_http_request_t req;
    size_t stride = len / 64 + 1;
    bool settled = false;
    for (size_t n = 0; n < len; n += stride) {
        kmy_err_t err = kmy_http_parse(text, n, &req, NULL);
        CHECK(err == whole || (err == KMY_AGAIN && !settled));
        settled |= err != KMY_AGAIN;
        CHECK(err != KMY_OK || (n >= head_bytes && req.head_bytes == head_bytes));
        CHECK(whole != KMY_OK || n < head_bytes || err == KMY_OK);
    }
}

static void check_inside(kmy_view_t v, const char *text, size_t len)
{
    CHECK(v.ptr >= text && v.ptr + v.len <= text + len);
}

static size_t put(char *out, kmy_view_t v)
{
    memcpy(out, v.ptr, v.len);
    return v.len;
}

static void check_round_trip(const kmy_http_request_t *req)
{
    static char text[KMY_HTTP_HEAD_BYTES_MAX + 64 + 4 * KMY_HTTP_HEADERS_MAX];
    static kmy_http_request_t again;
    size_t n = put(text, req->method);
    text[n++] = ' ';
    n += put(text + n, req->target);
    n += (size_t)sprintf(text + n, " HTTP/1.%d\r\n", req->minor);
    for (size_t i = 0; i < req->headers_count; i++) {
        n += put(text + n, req->headers[i].name);
        text[n++] = ':';
        n += put(text + n, req->headers[i].value);
        n += (size_t)sprintf(text + n, "\r\n");
    }
    n += (size_t)sprintf(text + n, "\r\n");
    CHECK(kmy_http_parse(text, n, &again, NULL) == KMY_OK);
    CHECK(again.head_bytes == n && again.headers_count == req->headers_count);
    CHECK(same(again.path, req->path) && same(again.query, req->query) &&
          same(again.host, req->host));
    CHECK(again.body_bytes == req->body_bytes && again.chunked == req->chunked);
    CHECK(again.keep_alive == req->keep_alive && again.upgrade_websocket == req->upgrade_websocket);
    for (size_t i = 0; i < req->headers_count; i++)
        CHECK(same(again.headers[i].name, req->headers[i].name) &&
              same(again.headers[i].value, req->headers[i].value));
}

static void check_request(const kmy_http_request_t *req, const char *text, size_t len)
{
    CHECK(req->head_bytes <= len && req->head_bytes <= KMY_HTTP_HEAD_BYTES_MAX);
    CHECK(!(req->chunked && req->body_bytes));
    check_inside(req->method, text, len);
    check_inside(req->query, text, len);
    for (size_t i = 0; i < req->headers_count; i++) {
        kmy_view_t v = req->headers[i].value;
        check_inside(v, text, len);
        CHECK(!memchr(v.ptr, '\r', v.len) && !memchr(v.ptr, '\n', v.len) &&
              !memchr(v.ptr, 0, v.len));
    }
    check_round_trip(req);
    char out[64];
    if (kmy_http_query(req->query, "feed", out, sizeof out))
        CHECK(strlen(out) < sizeof out);
    if (kmy_http_path_decode(req->path, out, sizeof out))
        CHECK(strlen(out) <= req->path.len);
    char accept[KMY_WS_ACCEPT_BYTES];
    (void)kmy_ws_check_upgrade(req, accept, NULL);
}

/* Feeds in pieces of `piece` bytes; returns the verdict, *consumed and the payload in out. */
static kmy_err_t feed(const uint8_t *data, size_t size, size_t piece, char *out, size_t *out_len,
                      size_t *consumed)
{
    kmy_http_chunks_t c = { 0 };
    kmy_err_t err = KMY_AGAIN;
    size_t at = 0;
    *out_len = 0;
    while (at < size && err == KMY_AGAIN) {
        size_t n = size - at < piece ? size - at : piece;
        char *copy = malloc(n);
        size_t used = n;
        size_t got;
        CHECK(copy);
        memcpy(copy, data + at, n);
        err = kmy_http_chunks_feed(&c, copy, &used, &got, NULL);
        CHECK(used <= n && got <= used && (err != KMY_AGAIN || used == n));
        memcpy(out + *out_len, copy, got);
        *out_len += got;
        at += used;
        free(copy);
    }
    *consumed = at;
    return err;
}

static void check_chunks(const uint8_t *data, size_t size)
{
    char *whole = malloc(size + 1);
    char *pieces = malloc(size + 1);
    size_t whole_len, pieces_len, whole_used, pieces_used;
    CHECK(whole && pieces);
    kmy_err_t a = feed(data, size, size + 1, whole, &whole_len, &whole_used);
    kmy_err_t b = feed(data, size, 1 + size % 7, pieces, &pieces_len, &pieces_used);
    CHECK(a == b && whole_len == pieces_len && whole_used == pieces_used);
    CHECK(memcmp(whole, pieces, whole_len) == 0);
    free(whole);
    free(pieces);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static kmy_http_request_t req;
    const char *text = (const char *)data;
    kmy_errctx_t ctx = { 0 };
    kmy_err_t err = kmy_http_parse(text, size, &req, &ctx);
    CHECK(err == KMY_OK || err == KMY_AGAIN || (ctx.where && kmy_err_http(err) >= 400));
    if (err == KMY_OK)
        check_request(&req, text, size);
    check_prefixes(text, size, err, err == KMY_OK ? req.head_bytes : 0);

    /* The body behind a chunked head, or else the whole input as one: the seeds hold both. */
    size_t skip = err == KMY_OK && req.chunked ? req.head_bytes : 0;
    check_chunks(data + skip, size - skip);
    kmy_view_t all = { text, size };
    char out[32];
    (void)kmy_http_query(all, "feed", out, sizeof out);
    (void)kmy_http_list_has(all, "websocket");
    return 0;
}
