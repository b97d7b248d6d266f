#include "engine/input.h"

#include "base/log.h"
#include "engine/conn.h"
#include "engine/egress.h"
#include "engine/routes.h"
#include "engine/stream.h"
#include "engine/throttle.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* --- HTTP ---------------------------------------------------------------------------------- */

static size_t refuse(kmy_shard_t *s, kmy_conn_t *c, kmy_err_t err, const kmy_errctx_t *ctx)
{
    KMY_COUNT(s->metrics, protocol_error_total, 1);
    kmy_route_refuse(s, c, err,
                     ctx); /* answers and closes: what follows cannot be told apart any more */
    return 0;
}

/* What is kept of a request that is not whole, if data is that; NULL: fresh bytes. */
static kmy_in_t *kept(const kmy_conn_t *c, const uint8_t *data)
{
    return c->in && data == c->in->bytes ? c->in : NULL;
}

/* The body of a chunked request, decoded in place behind its head, as it comes.  KMY_OK: all of it is there: in->chunks_used bytes of input belong to
   the request. */
static kmy_err_t decode_chunks(kmy_in_t *in, uint8_t *data, size_t len, kmy_errctx_t *ctx)
{
    if (in->chunks_used > 0) /* was parked after its last chunk */
        return KMY_OK;
    size_t begin = in->head_bytes + in->decoded_bytes;
    size_t raw = len - begin;
    size_t out = 0;
    kmy_err_t err = kmy_http_chunks_feed(&in->chunks, (char *)data + begin, &raw, &out, ctx);
    in->decoded_bytes += (uint32_t)out;
    /* What a chunk announces counts at once: nobody has to wait for bytes that will be refused. */
    if (err != KMY_BAD_INPUT && (in->decoded_bytes > KMY_HTTP_BODY_BYTES_MAX ||
                                 in->chunks.left > KMY_HTTP_BODY_BYTES_MAX - in->decoded_bytes))
        return KMY_FAIL(ctx, KMY_TOO_BIG, "body above %d bytes", KMY_HTTP_BODY_BYTES_MAX);
    if (err == KMY_AGAIN) { /* all raw bytes are consumed: only the payload stays */
        in->len = in->head_bytes + in->decoded_bytes;
        return KMY_AGAIN;
    }
    in->chunks_used = (uint32_t)(begin + raw);
    return err;
}

static kmy_err_t begin_chunks(kmy_conn_t *c, const kmy_http_request_t *req, uint8_t *data,
                              size_t len, kmy_errctx_t *ctx)
{
    kmy_in_t *in = kept(c, data);
    if (!in)
        return KMY_AGAIN; /* first let it be kept: the decoder's state stands beside the bytes */
    if (in->head_bytes == 0) {
        in->head_bytes = (uint32_t)req->head_bytes;
        in->decoded_bytes = 0;
        memset(&in->chunks, 0, sizeof in->chunks);
    }
    return decode_chunks(in, data, len, ctx);
}

/* Bytes came to a request of which some are kept.  KMY_OK: look at all of it. */
static kmy_err_t go_on(kmy_in_t *in, uint8_t *data, size_t len, kmy_errctx_t *ctx)
{
    if (in->head_bytes > 0)
        return decode_chunks(in, data, len, ctx);
    return kmy_http_wait_over(&in->wait, data, len) ? KMY_OK : KMY_AGAIN;
}

size_t kmy_input_http(kmy_shard_t *s, kmy_conn_t *c, uint8_t *data, size_t len)
{
    kmy_errctx_t ctx = { 0 };
    kmy_http_request_t req;
    kmy_in_t *in = kept(c, data);
    kmy_err_t err = in ? go_on(in, data, len, &ctx) : KMY_OK;
    if (err == KMY_AGAIN)
        return 0;
    if (err != KMY_OK)
        return refuse(s, c, err, &ctx);
    err = kmy_http_parse((const char *)data, len, &req, &ctx);
    if (err == KMY_AGAIN) {
        if (in) /* else it is looked at once more when it is kept */
            kmy_http_wait_head(&in->wait, len);
        return 0;
    }
    if (err != KMY_OK)
        return refuse(s, c, err, &ctx);
    size_t body_len = (size_t)req.body_bytes;
    size_t used = req.head_bytes + body_len;
    if (req.body_bytes > KMY_HTTP_BODY_BYTES_MAX) {
        KMY_FAIL(&ctx, KMY_TOO_BIG, "body of %llu bytes, limit %d",
                 (unsigned long long)req.body_bytes, KMY_HTTP_BODY_BYTES_MAX);
        return refuse(s, c, KMY_TOO_BIG, &ctx);
    }
    if (req.chunked) {
        err = begin_chunks(c, &req, data, len, &ctx);
        if (err != KMY_OK && err != KMY_AGAIN)
            return refuse(s, c, err, &ctx);
        if (err == KMY_OK) {
            body_len = in->decoded_bytes;
            used = in->chunks_used;
        }
    } else if (len < used) {
        err = KMY_AGAIN;
        if (in)
            kmy_http_wait_body(&in->wait, used);
    }
    if (err == KMY_AGAIN) {
        if (req.expect_continue && !c->continued) {
            c->continued = true;
            static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
            kmy_egress_bytes(s, c, text, sizeof text - 1);
        }
        return 0;
    }
    if (in) /* whole: if it has to wait for an answer, it is looked at again as it is */
        in->wait = (kmy_http_wait_t){ 0 };
    kmy_view_t body = { (const char *)data + req.head_bytes, body_len };
    if (!kmy_route(s, c, &req, body))
        return 0; /* parked: the same bytes come again when the answer is there */
    if (req.chunked) {
        c->in->head_bytes = 0;
        c->in->chunks_used = 0;
    }
    c->continued = false;
    c->deadline_ns =
        c->state != KMY_CONN_HTTP ? c->deadline_ns : s->now_ns + s->config->limits.idle_timeout_ns;
    return used;
}

/* --- WebSocket ----------------------------------------------------------------------------- */

/* One whole message, as it came or inflated. */
typedef struct message {
    const uint8_t *bytes;
    size_t len;
    uint8_t opcode;
    bool compressed; /* on the wire */
} message_t;

void kmy_input_ws_free(kmy_conn_t *c)
{
    if (c->ws)
        free(c->ws->message);
    free(c->ws);
    c->ws = NULL;
}

static kmy_ws_rules_t rules_of(const kmy_shard_t *s, const kmy_conn_t *c)
{
    return (kmy_ws_rules_t){
        .server = true,
        .deflate = c->deflate,
        .message_bytes_max =
            c->echo ? (uint64_t)KMY_ECHO_BYTES_MAX : (uint64_t)s->config->limits.frame_bytes,
        .fragments_max = c->echo ? 0 : KMY_WS_FRAGMENTS_MAX,
    };
}

static void fail(kmy_shard_t *s, kmy_conn_t *c, kmy_err_t err, const char *why)
{
    KMY_COUNT(s->metrics, protocol_error_total, 1);
    kmy_conn_ws_close(s, c, (uint16_t)kmy_err_ws(err), why);
}

static void control_frame(kmy_shard_t *s, kmy_conn_t *c, const kmy_ws_header_t *h,
                          const uint8_t *payload)
{
    if (h->opcode != KMY_WS_CLOSE && !kmy_throttle_message(s, c, (size_t)h->payload_bytes))
        return;
    if (h->opcode == KMY_WS_PING) {
        kmy_egress_frame(s, c, KMY_WS_PONG, payload, (size_t)h->payload_bytes);
    } else if (h->opcode == KMY_WS_CLOSE) {
        kmy_errctx_t ctx = { 0 };
        uint16_t code;
        kmy_err_t err = kmy_ws_close_parse(payload, (size_t)h->payload_bytes, &code, &ctx);
        c->close_got = true;
        if (err != KMY_OK)
            fail(s, c, err, ctx.detail);
        else
            kmy_conn_ws_close(s, c, code == 1005 ? 1000 : code, "");
    } /* a pong needs no answer: its bytes were life enough */
}

/* Back as it came, compressed or not.  A conformance door has no secrets; a session's own frames have, and are never compressed. */
static void echo(kmy_shard_t *s, kmy_conn_t *c, const message_t *m)
{
    size_t n = m->compressed
                   ? kmy_ws_deflate(s->deflate, m->bytes, m->len, s->scratch, KMY_SCRATCH_BYTES)
                   : 0;
    if (n == 0) { /* or it does not compress to what the scratch holds */
        kmy_egress_frame(s, c, m->opcode, m->bytes, m->len);
        return;
    }
    uint8_t head[KMY_WS_HEADER_BYTES_MAX];
    size_t head_len = kmy_ws_put_header(head, m->opcode, true, true, n, NULL);
    if (kmy_egress_bytes(s, c, head, head_len))
        kmy_egress_bytes(s, c, s->scratch, n);
}

static void whole_message(kmy_shard_t *s, kmy_conn_t *c, const message_t *m)
{
    KMY_COUNT(s->metrics, ws_message_total, 1);
    if (!kmy_throttle_message(s, c, m->len))
        return;
    if (c->authenticated)
        c->deadline_ns = 0; /* the next one's time begins with its first byte */
    if (c->echo)
        echo(s, c, m);
    else
        kmy_stream_message(s, c, m->opcode, (const char *)m->bytes, m->len);
}

/* A message is inflated when all of it is here, so that one inflater serves every connection; never to more than the limit. */
static void deflated_message(kmy_shard_t *s, kmy_conn_t *c, message_t *m)
{
    kmy_errctx_t ctx = { 0 };
    size_t n;
    size_t max = (size_t)rules_of(s, c).message_bytes_max;
    kmy_err_t err = kmy_ws_inflate(s->deflate, m->bytes, m->len, s->inflated, max, &n, &ctx);
    m->bytes = s->inflated;
    m->len = n;
    if (err == KMY_OK && m->opcode == KMY_WS_TEXT && !kmy_utf8_valid(m->bytes, m->len))
        err = KMY_FAIL(&ctx, KMY_BAD_UTF8, "text message is not UTF-8");
    if (err == KMY_OK)
        whole_message(s, c, m);
    else
        fail(s, c, err, ctx.detail);
    if (c->echo) /* what a long one touched is given back */
        madvise(s->inflated + KMY_WS_FRAME_BYTES_MAX, KMY_ECHO_BYTES_MAX - KMY_WS_FRAME_BYTES_MAX,
                MADV_DONTNEED);
}

static kmy_ws_in_t *ws_in(kmy_conn_t *c)
{
    if (!c->ws)
        c->ws = calloc(1, sizeof *c->ws);
    return c->ws;
}

static bool message_append(kmy_ws_in_t *w, const uint8_t *data, size_t len)
{
    if (len == 0)
        return true; /* an empty message has no buffer at all */
    if (w->len + len > w->cap) {
        uint32_t cap = w->cap ? w->cap : 1024;
        while (cap < w->len + len)
            cap *= 2;
        uint8_t *grown = realloc(w->message, cap);
        if (!grown)
            return false;
        w->message = grown;
        w->cap = cap;
    }
    memcpy(w->message + w->len, data, len);
    w->len += (uint32_t)len;
    return true;
}

/* Between messages nothing is kept, so that an idle session costs no assembly buffer. */
static void forget_if_idle(kmy_conn_t *c)
{
    if (c->ws && !c->ws->in_frame && c->ws->stream.opcode == 0)
        kmy_input_ws_free(c);
}

static void frame_ends(kmy_shard_t *s, kmy_conn_t *c, kmy_ws_in_t *w)
{
    w->in_frame = false;
    if (w->header.opcode >= KMY_WS_CLOSE) {
        control_frame(s, c, &w->header, w->control);
        return;
    }
    if (!w->header.fin)
        return;
    /* The message is taken off the connection first: answering may end it. */
    uint8_t *owned = w->message;
    message_t m = { owned, w->len, w->message_opcode, w->message_compressed };
    w->message = NULL;
    w->len = w->cap = 0;
    if (m.compressed)
        deflated_message(s, c, &m);
    else
        whole_message(s, c, &m);
    free(owned);
}

/* Feeds payload bytes of the present frame; returns how many were taken. */
static size_t payload(kmy_shard_t *s, kmy_conn_t *c, uint8_t *data, size_t len)
{
    kmy_ws_in_t *w = c->ws;
    kmy_errctx_t ctx = { 0 };
    uint64_t left = w->header.payload_bytes - w->got_bytes;
    size_t n = left < len ? (size_t)left : len;
    if (!kmy_throttle_early(s, c, n))
        return len;
    kmy_ws_unmask(data, n, w->header.mask, w->got_bytes);
    bool ends = n == left;
    if (w->header.opcode >= KMY_WS_CLOSE) {
        memcpy(w->control + w->got_bytes, data, n);
    } else {
        kmy_err_t err = kmy_ws_stream_payload(&w->stream, data, n, ends, w->header.fin, &ctx);
        if (err != KMY_OK) {
            fail(s, c, err, ctx.detail);
            return n;
        }
        if (!message_append(w, data, n)) {
            kmy_conn_kill(s, c);
            return n;
        }
    }
    w->got_bytes += n;
    if (ends)
        frame_ends(s, c, w);
    return n;
}

size_t kmy_input_ws(kmy_shard_t *s, kmy_conn_t *c, uint8_t *data, size_t len)
{
    if (c->ws && c->ws->in_frame) {
        size_t n = payload(s, c, data, len);
        forget_if_idle(c);
        return n;
    }
    kmy_errctx_t ctx = { 0 };
    kmy_ws_rules_t rules = rules_of(s, c);
    kmy_ws_header_t h;
    kmy_err_t err = kmy_ws_header(&rules, data, len, &h, &ctx);
    if (err == KMY_AGAIN)
        return 0;
    kmy_ws_in_t *w = ws_in(c);
    if (!w) {
        kmy_conn_kill(s, c);
        return 0;
    }
    if (err == KMY_OK && h.opcode < KMY_WS_CLOSE)
        err = kmy_ws_stream_frame(&w->stream, &rules, &h, &ctx);
    if (err != KMY_OK) {
        fail(s, c, err, ctx.detail);
        return len;
    }
    w->header = h;
    w->got_bytes = 0;
    w->in_frame = true;
    if (h.opcode == KMY_WS_TEXT || h.opcode == KMY_WS_BINARY) {
        w->message_opcode = h.opcode;
        w->message_compressed = h.rsv1;
    }
    size_t used = h.header_bytes;
    if (len > used || h.payload_bytes == 0)
        used += payload(s, c, data + used, len - used);
    forget_if_idle(c);
    return used;
}
