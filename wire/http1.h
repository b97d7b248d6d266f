/* http1: HTTP/1.1 request heads in (RFC 9112, strict), response heads out.  Owns no socket and no memory.

   Anything ambiguous is refused (request smuggling shapes: both Content-Length and Transfer-Encoding, two lengths, bare CR or LF,
   obsolete folding, blanks before the colon, a chunk size with an overflow): the caller answers with the error's status and closes. */
#ifndef KMY_WIRE_HTTP1_H
#define KMY_WIRE_HTTP1_H

#include "base/err.h"
#include "base/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct kmy_view { /* borrowed bytes, never terminated */
    const char *ptr;
    size_t len;
} kmy_view_t;

typedef struct kmy_http_header {
    kmy_view_t name;  /* as sent; compare with kmy_view_is_nocase */
    kmy_view_t value; /* without surrounding blanks */
} kmy_http_header_t;

typedef struct kmy_http_request {
    kmy_view_t method;
    kmy_view_t target; /* as sent: origin-form, or absolute-form, or "*" */
    kmy_view_t path;   /* of target, still percent-encoded */
    kmy_view_t query;  /* behind '?', without it; empty if none */
    int minor;         /* HTTP/1.minor: 0 or 1 */
    kmy_http_header_t headers[KMY_HTTP_HEADERS_MAX];
    size_t headers_count;
    size_t head_bytes;      /* length of the whole head with its blank line */
    uint64_t body_bytes;    /* Content-Length; 0 if none */
    bool chunked;           /* Transfer-Encoding: chunked */
    bool keep_alive;        /* after this request */
    bool upgrade_websocket; /* Connection: upgrade and Upgrade: websocket */
    bool expect_continue;
} kmy_http_request_t;

/* kmy_http_parse looks at data[0..len), which begins where a request begins.
     KMY_OK         *req is filled; it borrows from data, which must stay in place as long as *req is used
     KMY_AGAIN      no whole head yet; read more (the caller has the limit: at KMY_HTTP_HEAD_BYTES_MAX it answers 431)
     others         the request is refused: kmy_err_http gives the status, *ctx the reason
   Missing or doubled Host on 1.1 is refused; HTTP versions other than 1.0 and 1.1: KMY_UNSUPPORTED.  Never reads beyond len, also not
   of a head that came before; called again with a longer prefix it gives the same result. */
kmy_err_t kmy_http_parse(const char *data, size_t len, kmy_http_request_t *req, kmy_errctx_t *ctx);

/* First header of that name; NULL if absent.  kmy_http_header_count tells how many there are. */
const kmy_view_t *kmy_http_header(const kmy_http_request_t *req, const char *name);
size_t kmy_http_header_count(const kmy_http_request_t *req, const char *name);
bool kmy_view_is(kmy_view_t v, const char *text);
bool kmy_view_is_nocase(kmy_view_t v, const char *text);
/* true if a comma-separated header value holds `token`, case-blind. */
bool kmy_http_list_has(kmy_view_t value, const char *token);

/* kmy_http_query finds `name` in a query string or form body, undoes %XX and '+', terminates.  false: absent, does not fit, bad
   escape or NUL.  A name that stands twice: false as well. */
bool kmy_http_query(kmy_view_t query, const char *name, char *out, size_t cap);
/* Percent-decodes a path into out; false as above. */
bool kmy_http_path_decode(kmy_view_t path, char *out, size_t cap);

/* Chunked request bodies, decoded in place (RFC 9112 section 7.1; extensions and trailers are read over, bounded). */
typedef struct kmy_http_chunks {
    uint64_t left;
    uint32_t overhead; /* bytes of framing so far, bounded */
    uint8_t state;
    uint8_t digits;
} kmy_http_chunks_t; /* zero-initialized is a start */
/* Consumes up to *len bytes of data, moves the payload to the front of data; *len becomes the bytes consumed, *out_len the payload.
     KMY_OK     the last chunk and the trailers are through
     KMY_AGAIN  more to come          others: refused */
kmy_err_t kmy_http_chunks_feed(kmy_http_chunks_t *c, char *data, size_t *len, size_t *out_len,
                               kmy_errctx_t *ctx);

const char *kmy_http_reason(int status); /* "OK" */

#endif
