#include "engine/reply.h"

#include "engine/conn.h"
#include "engine/egress.h"
#include "engine/grant.h"

#include <stdio.h>
#include <string.h>

/* Browsers may read everything: there are no cookies, a token is sent on purpose (docs/protocol.md). */
static const char cors[] = "Access-Control-Allow-Origin: *\r\n"
                           "Access-Control-Expose-Headers: PAYMENT-REQUIRED, PAYMENT-RESPONSE, "
                           "X-PAYMENT-RESPONSE, Retry-After, RateLimit, RateLimit-Policy, "
                           "Kamiyo-Count, Kamiyo-Charged, Kamiyo-Balance\r\n";

/* One line, or none where HTTP/1.1 keeps anyway.  Who names an Upgrade names it here too (RFC 9110 section 7.8). */
static void put_connection(kmy_buf_t *b, bool keep, bool old, bool upgrade)
{
    const char *what = keep ? (old ? "keep-alive" : "") : "close";
    if (*what || upgrade)
        kmy_buf_fmt(b, "Connection: %s%s%s\r\n", upgrade ? "upgrade" : "",
                    upgrade && *what ? ", " : "", what);
}

bool kmy_reply_head(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, int status,
                    const char *type, const char *extra, size_t body_bytes)
{
    char head[8192]; /* an offer has up to 4 KiB, the caller's other lines and ours less than 2 */
    kmy_buf_t b = kmy_buf(head, sizeof head);
    bool keep =
        req && req->keep_alive && !c->peer_ended && !(s->quiet && c->door == KMY_DOOR_PUBLIC);
    kmy_buf_str(&b, "HTTP/1.1 "); /* in pieces: printf costs more than all of them */
    kmy_buf_i64(&b, status);
    kmy_buf_str(&b, " ");
    kmy_buf_str(&b, kmy_http_reason(status));
    kmy_buf_str(&b, "\r\nDate: ");
    kmy_buf_str(&b, s->date);
    if (status != 204) {
        kmy_buf_str(&b, "\r\nContent-Type: ");
        kmy_buf_str(&b, type);
        kmy_buf_str(&b, "\r\nContent-Length: ");
        kmy_buf_u64(&b, body_bytes);
    }
    kmy_buf_str(&b, "\r\nCache-Control: no-store\r\n");
    if (c->door == KMY_DOOR_PUBLIC)
        kmy_buf_bytes(&b, cors, sizeof cors - 1);
    kmy_buf_str(&b, extra);
    kmy_buf_str(&b, kmy_grant_receipt(c));
    kmy_buf_str(&b, s->limit_lines);
    put_connection(&b, keep, req && req->minor == 0, status == 426);
    kmy_buf_str(&b, "\r\n");
    KMY_ASSERT(!b.overflow);
    KMY_COUNT(s->metrics, http_request_total, 1);
    if (c->pipelined < UINT8_MAX)
        c->pipelined++;
    if (status >= 400)
        KMY_COUNT(s->metrics, http_error_total, 1);
    c->close_after = !keep;
    return kmy_egress_bytes(s, c, b.data, b.len) && body_bytes > 0 && status != 204 &&
           !(req && kmy_view_is(req->method, "HEAD"));
}

void kmy_reply(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, int status,
               const char *type, const char *extra, const kmy_buf_t *body)
{
    KMY_ASSERT(!body->overflow);
    if (kmy_reply_head(s, c, req, status, type, extra, body->len))
        kmy_egress_bytes(s, c, body->data, body->len);
}

bool kmy_reply_events(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req)
{
    char head[1024 + KMY_RECEIPT_LINE_BYTES_MAX];
    kmy_buf_t b = kmy_buf(head, sizeof head);
    bool only_head = kmy_view_is(req->method, "HEAD");
    kmy_buf_fmt(&b,
                "HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Type: text/event-stream\r\n"
                "Transfer-Encoding: chunked\r\nCache-Control: no-store\r\n"
                "X-Accel-Buffering: no\r\n",
                s->date);
    kmy_buf_bytes(&b, cors, sizeof cors - 1);
    kmy_buf_str(&b, kmy_grant_receipt(c));
    if (!only_head || !req->keep_alive || c->peer_ended)
        kmy_buf_str(&b, "Connection: close\r\n");
    kmy_buf_str(&b, "\r\n");
    KMY_ASSERT(!b.overflow);
    KMY_COUNT(s->metrics, http_request_total, 1);
    c->close_after = only_head && (!req->keep_alive || c->peer_ended);
    return kmy_egress_bytes(s, c, b.data, b.len);
}

void kmy_reply_json(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                    const kmy_buf_t *body)
{
    kmy_reply(s, c, req, 200, "application/json", "", body);
}

void kmy_reply_put_problem(kmy_buf_t *b, kmy_err_t err, const char *detail)
{
    kmy_buf_fmt(b,
                "{\"type\":\"urn:kamiyo:error:%s\",\"title\":\"%s\",\"status\":%d,\"code\":\"%s\","
                "\"detail\":",
                kmy_err_code(err), kmy_err_text(err), kmy_err_http(err), kmy_err_code(err));
    kmy_buf_json_str(b, detail, strlen(detail));
}

void kmy_reply_problem_with(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                            kmy_err_t err, const char *detail, const char *extra,
                            const kmy_buf_t *more)
{
    char text[4096];
    kmy_buf_t b = kmy_buf(text, sizeof text);
    kmy_reply_put_problem(&b, err, detail);
    if (more)
        kmy_buf_bytes(&b, more->data, more->len);
    kmy_buf_str(&b, "}");
    kmy_reply(s, c, req, kmy_err_http(err),
              kmy_err_http(err) == 402 ? "application/json" : "application/problem+json", extra,
              &b);
}

void kmy_reply_problem(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_err_t err,
                       const char *detail)
{
    kmy_reply_problem_with(s, c, req, err, detail,
                           kmy_err_http(err) == 503 ? "Retry-After: 1\r\n" : "", NULL);
}
