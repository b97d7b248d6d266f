/* http1_fields: what the request target and the header lines that concern the connection itself mean.  Private to wire/http1.c,
   which reads the bytes; here they are judged. */
#ifndef KMY_WIRE_HTTP1_FIELDS_H
#define KMY_WIRE_HTTP1_FIELDS_H

#include "wire/http1.h"

/* Seen so far; zero-initialized is a start. */
typedef struct kmy_http_framing {
    bool host;
    bool length;
    bool coding;
    bool close;
    bool keep_alive;
    bool upgrade;
    bool websocket;
    bool expect;
    kmy_view_t host_value;
    uint64_t body_bytes;
} kmy_http_framing_t;

/* Fills path, query and (absolute form) host from method and target. */
kmy_err_t kmy_http_split_target(kmy_http_request_t *req, kmy_errctx_t *ctx);
/* Takes note of one header line, in order; req->minor is known. */
kmy_err_t kmy_http_note_field(kmy_http_framing_t *f, const kmy_http_request_t *req,
                              const kmy_http_header_t *header, kmy_errctx_t *ctx);
/* The head is whole: judges it and fills the members of *req that follow from it. */
kmy_err_t kmy_http_judge_framing(const kmy_http_framing_t *f, kmy_http_request_t *req,
                                 kmy_errctx_t *ctx);

/* Next element of a comma-separated list (empty ones are passed over, RFC 9110 section 5.6.1); false at its end. */
bool kmy_http_list_next(kmy_view_t *rest, kmy_view_t *element);

#endif
