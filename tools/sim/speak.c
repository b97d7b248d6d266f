/* speak: HTTP answers, WebSocket messages in, WebSocket frames out. */
#include "tools/sim/sim.h"

#include "tools/sim/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sim_http_answer(sim_conn_t *c, int status, const char *extra_headers, const char *type,
                     const char *body, size_t len)
{
    char head[1024];
    int n = snprintf(head, sizeof head,
                     "HTTP/1.1 %d %s\r\n%sContent-Type: %s\r\nContent-Length: %zu\r\n"
                     "Connection: close\r\n\r\n",
                     status, kmy_http_reason(status), extra_headers, type, len);
    uint8_t *at = sim_conn_room(c, (size_t)n + len);
    if (!at)
        return;
    memcpy(at, head, (size_t)n);
    memcpy(at + n, body, len);
    c->out_len += (size_t)n + len;
    sim_conn_go(c, SIM_CONN_CLOSING);
}

static void take_in(sim_conn_t *c, size_t len)
{
    memmove(c->in, c->in + len, c->in_len - len);
    c->in_len -= len;
}

void sim_http_input(sim_conn_t *c)
{
    kmy_http_request_t req;
    kmy_errctx_t ctx = { 0 };
    kmy_err_t err = kmy_http_parse((const char *)c->in, c->in_len, &req, &ctx);
    if (err == KMY_AGAIN && c->in_len < KMY_HTTP_HEAD_BYTES_MAX)
        return;
    if (err != KMY_OK) {
        int status = err == KMY_AGAIN ? 431 : kmy_err_http(err);
        sim_http_answer(c, status, "", "text/plain", ctx.detail, strlen(ctx.detail));
        return;
    }
    if (req.chunked || req.body_bytes > KMY_HTTP_BODY_BYTES_MAX) {
        sim_http_answer(c, 413, "", "text/plain", "send a Content-Length up to 65536", 33);
        return;
    }
    if (c->in_len < req.head_bytes + req.body_bytes)
        return;
    if (c->venue->which == SIM_CONTROL) {
        sim_control_request(c, &req, (const char *)c->in + req.head_bytes);
        return;
    }
    sim_door_request(c, &req);
    if (c->state == SIM_CONN_OPEN)
        take_in(c, req.head_bytes + req.body_bytes);
}

void sim_ws_send(sim_conn_t *c, int opcode, const void *payload, size_t len)
{
    uint8_t *at = sim_conn_room(c, len + KMY_WS_HEADER_BYTES_MAX);
    if (!at)
        return;
    size_t head = kmy_ws_put_header(at, (uint8_t)opcode, true, false, len, NULL);
    if (len > 0)
        memcpy(at + head, payload, len);
    c->out_len += head + len;
}

void sim_ws_reply(sim_conn_t *c, const char *text, size_t len)
{
    sim_active_t *noack = sim_mischief_on(c, SIM_T_NOACK);
    if (noack)
        sim_mischief_used(noack);
    else
        sim_ws_send(c, KMY_WS_TEXT, text, len);
}

void sim_ws_close(sim_conn_t *c, int code, const char *reason)
{
    uint8_t *at = sim_conn_room(c, 128);
    if (!at)
        return;
    c->out_len += kmy_ws_put_close(at, (uint16_t)code, reason);
    sim_conn_go(c, SIM_CONN_CLOSING);
}

static void message(sim_conn_t *c, const char *text, size_t len)
{
    c->messages++;
    c->venue->messages++;
    if (c->venue->which == SIM_BINANCE)
        sim_binance_message(c, text, len);
    else
        sim_hermes_message(c, text, len);
}

/* A pong counts if it carries what a ping of ours carried: unsolicited ones save nobody. */
static bool answers_ping(const sim_conn_t *c, const uint8_t *payload, size_t len)
{
    int64_t ms = 0;
    if (c->venue->which != SIM_BINANCE || c->pong_due_ns == 0)
        return c->venue->which == SIM_HERMES && len == 0;
    for (size_t i = 0; i < len; i++) {
        if (payload[i] < '0' || payload[i] > '9' || i > 15)
            return false;
        ms = ms * 10 + (payload[i] - '0');
    }
    return ms >= c->ping_first_ms && ms <= c->ping_last_ms;
}

static void control_frame(sim_conn_t *c, const kmy_ws_header_t *h, const uint8_t *payload)
{
    if (h->opcode == KMY_WS_PING) {
        sim_ws_send(c, KMY_WS_PONG, payload, h->payload_bytes);
    } else if (h->opcode == KMY_WS_PONG) {
        c->pongs++;
        c->venue->pongs++;
        if (answers_ping(c, payload, h->payload_bytes))
            c->pong_due_ns = 0;
    } else {
        kmy_errctx_t ctx = { 0 };
        uint16_t code = 1002;
        if (kmy_ws_close_parse(payload, h->payload_bytes, &code, &ctx) != KMY_OK)
            code = 1002;
        sim_ws_close(c, code == 1005 ? 1000 : code, "");
    }
}

static bool append_message(sim_conn_t *c, const uint8_t *payload, size_t len)
{
    if (c->message_len + len > c->message_cap) {
        size_t cap = (c->message_len + len) * 2;
        uint8_t *p = realloc(c->message, cap);
        if (!p)
            return false;
        c->message = p;
        c->message_cap = cap;
    }
    memcpy(c->message + c->message_len, payload, len);
    c->message_len += len;
    return true;
}

/* One whole frame, unmasked. */
static kmy_err_t frame(sim_conn_t *c, const kmy_ws_rules_t *rules, const kmy_ws_header_t *h,
                       const uint8_t *payload, kmy_errctx_t *ctx)
{
    if (!sim_binance_within_rate(c))
        return KMY_OK; /* it was told and closed */
    if (h->opcode >= KMY_WS_CLOSE) {
        control_frame(c, h, payload);
        return KMY_OK;
    }
    kmy_err_t err = kmy_ws_stream_frame(&c->ws, rules, h, ctx);
    if (err == KMY_OK)
        err = kmy_ws_stream_payload(&c->ws, payload, h->payload_bytes, true, h->fin, ctx);
    if (err != KMY_OK)
        return err;
    if (!append_message(c, payload, h->payload_bytes))
        return KMY_FAIL(ctx, KMY_TOO_BIG, "out of memory");
    if (h->fin) {
        message(c, (const char *)c->message, c->message_len);
        c->message_len = 0;
    }
    return KMY_OK;
}

void sim_ws_input(sim_conn_t *c)
{
    static const kmy_ws_rules_t rules = { .server = true,
                                          .message_bytes_max = SIM_CLIENT_MESSAGE_BYTES_MAX,
                                          .fragments_max = KMY_WS_FRAGMENTS_MAX };
    size_t at = 0;
    while (c->state == SIM_CONN_OPEN) {
        kmy_ws_header_t h;
        kmy_errctx_t ctx = { 0 };
        kmy_err_t err = kmy_ws_header(&rules, c->in + at, c->in_len - at, &h, &ctx);
        if (err == KMY_AGAIN)
            break;
        if (err == KMY_OK && h.payload_bytes > SIM_CLIENT_MESSAGE_BYTES_MAX)
            err = KMY_FAIL(&ctx, KMY_TOO_BIG, "message above 1 MiB");
        if (err == KMY_OK && c->in_len - at - h.header_bytes < h.payload_bytes)
            break;
        uint8_t *payload = c->in + at + h.header_bytes;
        if (err == KMY_OK) {
            kmy_ws_unmask(payload, h.payload_bytes, h.mask, 0);
            err = frame(c, &rules, &h, payload, &ctx);
            at += h.header_bytes + h.payload_bytes;
        }
        if (err != KMY_OK)
            sim_ws_close(c, kmy_err_ws(err), ctx.detail);
    }
    if (c->state == SIM_CONN_OPEN)
        take_in(c, at);
}
