/* reply: HTTP responses: head, body, problem documents (RFC 9457). */
#ifndef KMY_ENGINE_REPLY_H
#define KMY_ENGINE_REPLY_H

#include "engine/shard_types.h"

/* A 402's head without the lines of its caller and of the limits: status 31, date 37, type 32, length 24, no-store 25, the lines for browsers 206,
   connection 24, end 2. */
enum { KMY_REPLY_HEAD_BYTES_MAX = 384 };

/* The body is built in shard->scratch: kmy_reply_body gives the buffer, kmy_reply sends it. */
static inline kmy_buf_t kmy_reply_body(kmy_shard_t *s)
{
    return kmy_buf(s->scratch, KMY_SCRATCH_BYTES);
}

/* req may be NULL (nothing could be parsed): the connection then closes.  extra: further header lines, each with its CRLF, or "". */
void kmy_reply(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, int status,
               const char *type, const char *extra, const kmy_buf_t *body);
/* The head alone.  true: body_bytes of body are to follow; false: none are (HEAD, 204), or the connection was shut down. */
bool kmy_reply_head(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, int status,
                    const char *type, const char *extra, size_t body_bytes);
void kmy_reply_json(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                    const kmy_buf_t *body);
/* The head of a stream of server-sent events, whose body the caller goes on with and which ends the connection; after HEAD the connection
   goes on.  false: the connection was shut down. */
bool kmy_reply_events(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req);
/* application/problem+json with the error's own status and code; a 503 says to come again in a second. */
void kmy_reply_problem(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_err_t err,
                       const char *detail);
/* The beginning of such a document, up to its detail: the caller goes on with ,"name":value and ends it with a brace. */
void kmy_reply_put_problem(kmy_buf_t *b, kmy_err_t err, const char *detail);
/* The same with more members, each written as ,"name":value into `more` (NULL: none), and header lines. */
void kmy_reply_problem_with(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                            kmy_err_t err, const char *detail, const char *extra,
                            const kmy_buf_t *more);

#endif
