/* http1: HTTP/1.1 request heads in (RFC 9112, strict), response heads out.  Owns no socket and no memory.  Any thread; nothing
   blocks or allocates.

   Anything ambiguous is refused (request smuggling shapes: both Content-Length and Transfer-Encoding, two lengths, bare CR or LF,
   obsolete folding, blanks before the colon, a chunk size with an overflow): the caller answers with the error's status and
   closes.  Stricter than the RFC, and why:
     a list of equal lengths ("5, 5")       somebody before us may have taken it for one or the other
     Transfer-Encoding in HTTP/1.0          section 6.1: framing is faulty
     an empty Host, one with a list or odd characters   names of hosts have letters, digits, - . _ ~ or are [IPv6]
     HTTP/1.2 and above                     RFC 9110 section 2.5 would read it as 1.1; nobody speaks it but to see what we do
     empty elements in Transfer-Encoding    RFC 9110 section 5.6.1 would read over them; others read another framing
     more than one empty line before a request          section 2.2 asks for "at least one"
     characters RFC 3986 does not allow in a target, but [ ] in a query, which browsers send */
#ifndef KMY_WIRE_HTTP1_H
#define KMY_WIRE_HTTP1_H

#include "base/err.h"
#include "base/limits.h"
#include "wire/json.h"

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
    kmy_view_t
        path; /* of target, still percent-encoded; "*" for OPTIONS *; begins with '/' otherwise */
    kmy_view_t query; /* behind '?', without it; empty if none */
    kmy_view_t
        host; /* authority of an absolute target, else Host (RFC 9112 section 3.2.2); empty: HTTP/1.0 without */
    int minor; /* HTTP/1.minor: 0 or 1 */
    kmy_http_header_t headers[KMY_HTTP_HEADERS_MAX];
    size_t headers_count;
    size_t
        head_bytes; /* length of the whole head with its blank line (and the one empty line allowed before it) */
    uint64_t
        body_bytes;  /* Content-Length; 0 if none.  Any 64-bit value: the caller has the limit */
    bool chunked;    /* Transfer-Encoding: chunked */
    bool keep_alive; /* after this request */
    bool upgrade_websocket; /* Connection: upgrade and Upgrade: websocket */
    bool expect_continue;   /* Expect: 100-continue, and a body is announced */
} kmy_http_request_t;

/* kmy_http_parse looks at data[0..len), which begins where a request begins.
     KMY_OK         *req is filled; it borrows from data, which must stay in place as long as *req is used
     KMY_AGAIN      no whole head yet, and len < KMY_HTTP_HEAD_BYTES_MAX: read more
     others         the request is refused, as soon as it can be no good one: kmy_err_http gives the status, *ctx the reason
       KMY_BAD_INPUT 400   malformed or ambiguous; also a missing (HTTP/1.1), doubled or odd Host
       KMY_METHOD 405      CONNECT: we are no proxy
       KMY_TARGET_TOO_LONG 414, KMY_HEAD_TOO_BIG 431 (bytes or header lines)
       KMY_EXPECTATION 417 an Expect other than 100-continue
       KMY_CODING 501      a well-formed Transfer-Encoding other than chunked alone
       KMY_HTTP_VERSION 505   HTTP/x.y other than 1.0 and 1.1
   Never reads beyond len.  A verdict other than KMY_AGAIN stays the same for every longer prefix.  Unless KMY_OK, *req is rubbish. */
kmy_err_t kmy_http_parse(const char *data, size_t len, kmy_http_request_t *req, kmy_errctx_t *ctx);

/* First header of that name; NULL if absent.  kmy_http_header_count tells how many there are. */
const kmy_view_t *kmy_http_header(const kmy_http_request_t *req, const char *name);
size_t kmy_http_header_count(const kmy_http_request_t *req, const char *name);
bool kmy_view_is(kmy_view_t v, const char *text);
bool kmy_view_is_nocase(kmy_view_t v, const char *text);
/* true if a comma-separated header value holds `token`, case-blind: whole elements, parameters included. */
bool kmy_http_list_has(kmy_view_t value, const char *token);

/* kmy_http_query finds `name` in a query string or form body (pairs parted by '&'; escapes in names count as what they mean),
   undoes %XX and '+' of its value into out[0..cap), terminates.  false: absent, does not fit, bad escape or NUL, or the name
   stands twice; out is then the empty text (cap > 0). */
bool kmy_http_query(kmy_view_t query, const char *name, char *out, size_t cap);
/* Percent-decodes a path into out; false as above. */
bool kmy_http_path_decode(kmy_view_t path, char *out, size_t cap);

/* Chunked request bodies, decoded in place (RFC 9112 section 7.1; extensions and trailers are read over, bounded). */
typedef struct kmy_http_chunks {
    uint64_t left; /* of the chunk being read */
    uint32_t
        overhead; /* bytes of extensions and trailers so far, at most KMY_HTTP_HEAD_BYTES_MAX */
    uint8_t state;
    uint8_t digits;  /* of a chunk size, at most 16, leading zeros included */
} kmy_http_chunks_t; /* zero-initialized is a start */
/* Consumes up to *len bytes of data, moves the payload to the front of data; *len becomes the bytes consumed, *out_len the payload.
     KMY_OK     the last chunk and the trailers are through; data[*len..) is the next request
     KMY_AGAIN  more to come, *len bytes were consumed: all of them
     others     refused (KMY_BAD_INPUT, KMY_TOO_BIG: framing above its limit); close, *c is used up
   The limit on the payload is the caller's: add up *out_len. */
kmy_err_t kmy_http_chunks_feed(kmy_http_chunks_t *c, char *data, size_t *len, size_t *out_len,
                               kmy_errctx_t *ctx);

const char *kmy_http_reason(int status); /* "OK"; "Unknown" for a status we do not send */

/* Response heads: a status line, header lines, and the caller's "\r\n".  Control bytes in a value become blanks, so that no foreign
   text can split a response.  b->overflow tells if it did not fit. */
void kmy_http_put_status(kmy_buf_t *b, int status);
void kmy_http_put_header(kmy_buf_t *b, const char *name, const char *value, size_t value_len);

#endif
