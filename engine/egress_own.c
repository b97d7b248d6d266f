/* tick 8/8   egress: the bytes a connection has of its own, ahead of any tick: frames, responses, ciphertext, the rest of a cut frame */
#include "engine/conn.h"
#include "engine/egress_inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { OUT_START = 512 };

static kmy_out_t *out_grow(kmy_out_t *out, size_t need)
{
    uint32_t live = out ? out->end - out->begin : 0;
    if (out && out->begin > 0) { /* move to the front first: often enough */
        memmove(out->bytes, out->bytes + out->begin, live);
        out->begin = 0;
        out->end = live;
    }
    size_t cap = out ? out->cap : OUT_START;
    while (cap < live + need)
        cap *= 2;
    if (out && cap == out->cap)
        return out;
    kmy_out_t *grown = realloc(out, sizeof *grown + cap);
    if (!grown)
        return NULL;
    if (!out) {
        grown->begin = 0;
        grown->end = 0;
    }
    grown->cap = (uint32_t)cap;
    return grown;
}

static bool append(kmy_out_t **queue, const void *bytes, size_t len)
{
    if (!*queue || (*queue)->end + len > (*queue)->cap) {
        kmy_out_t *out = out_grow(*queue, len);
        if (!out)
            return false;
        *queue = out;
    }
    memcpy((*queue)->bytes + (*queue)->end, bytes, len);
    (*queue)->end += (uint32_t)len;
    return true;
}

void kmy_egress_settle_queue(kmy_out_t **queue, uint32_t sent)
{
    (*queue)->begin += sent;
    if ((*queue)->begin == (*queue)->end) {
        free(*queue);
        *queue = NULL;
    }
}

void kmy_egress_block(kmy_shard_t *s, kmy_conn_t *c)
{
    c->blocked_ns = s->now_ns;
    c->slow = true;
    KMY_COUNT(s->metrics, send_short_total, 1);
    kmy_conn_poll_out(s, c);
}

/* The next record's worth of own bytes becomes ciphertext in the connection's queue. */
static bool seal_out(kmy_shard_t *s, kmy_conn_t *c)
{
    uint32_t n = kmy_out_count(c) < KMY_TLS_RECORD_BYTES ? kmy_out_count(c) : KMY_TLS_RECORD_BYTES;
    kmy_tls_io_t io = { .out = s->tls_out, .out_cap = KMY_TLS_OUT_BYTES };
    if (!kmy_tls_seal(c->tls, &io, c->out->bytes + c->out->begin, n) ||
        !append(&c->sealed, io.out, io.out_len)) {
        kmy_conn_kill(s, c);
        return false;
    }
    kmy_egress_settle_queue(&c->out, n);
    return true;
}

void kmy_egress_now(kmy_shard_t *s, kmy_conn_t *c)
{
    while (kmy_has_output(c) && !c->in_flight && !c->blocked_ns) {
        if (c->tls && !c->sealed && (!kmy_tls_ready(c->tls) || !seal_out(s, c)))
            return;
        kmy_out_t **queue = c->tls ? &c->sealed : &c->out;
        ssize_t n = send(c->fd, (*queue)->bytes + (*queue)->begin, (*queue)->end - (*queue)->begin,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <
            0) { /* full: wait until it is not.  Broken: the poll says so, and the next send tells how */
            kmy_egress_block(s, c);
            return;
        }
        KMY_COUNT(s->metrics, delivered_byte_total, n);
        c->sent_ns = s->now_ns;
        kmy_egress_settle_queue(queue, (uint32_t)n);
    }
}

bool kmy_egress_sealed(kmy_shard_t *s, kmy_conn_t *c, const void *bytes, size_t len)
{
    if (c->state == KMY_CONN_DEAD || c->state == KMY_CONN_FREE)
        return false;
    if (!append(&c->sealed, bytes, len)) {
        kmy_conn_kill(s, c);
        return false;
    }
    kmy_egress_mark(s, c);
    return true;
}

bool kmy_egress_bytes(kmy_shard_t *s, kmy_conn_t *c, const void *bytes, size_t len)
{
    if (c->state == KMY_CONN_DEAD || c->state == KMY_CONN_FREE)
        return false;
    size_t limit = kmy_conn_streams(c) ? KMY_OUT_BYTES_MAX : 2 * (size_t)KMY_ECHO_BYTES_MAX;
    size_t live = kmy_out_count(c);
    if (live > 0 &&
        live + len > limit) { /* many answers in one turn, perhaps, to a reader that reads */
        kmy_egress_now(s, c);
        live = kmy_out_count(c);
    }
    /* One frame above the limit is allowed when nothing else waits: an acknowledgement of many feeds is longer. */
    if (live > 0 && live + len > limit && !c->answering) {
        KMY_COUNT(s->metrics, connection_slow_total, 1);
        kmy_conn_kill(s, c);
        return false;
    }
    if (!append(&c->out, bytes, len)) {
        kmy_conn_kill(s, c);
        return false;
    }
    kmy_egress_mark(s, c);
    return true;
}

bool kmy_egress_frame(kmy_shard_t *s, kmy_conn_t *c, uint8_t opcode, const void *payload,
                      size_t len)
{
    uint8_t head[KMY_WS_HEADER_BYTES_MAX];
    size_t n = kmy_ws_put_header(head, opcode, true, false, len, NULL);
    return kmy_egress_bytes(s, c, head, n) && (len == 0 || kmy_egress_bytes(s, c, payload, len));
}

static bool event(kmy_shard_t *s, kmy_conn_t *c, const kmy_buf_t *json)
{
    char head[KMY_SSE_HEAD_BYTES_MAX];
    size_t n = kmy_sse_head(json->data, json->len, head);
    return kmy_egress_bytes(s, c, head, n) && kmy_egress_bytes(s, c, json->data, json->len) &&
           kmy_egress_bytes(s, c, KMY_SSE_TAIL, sizeof KMY_SSE_TAIL - 1);
}

bool kmy_egress_text(kmy_shard_t *s, kmy_conn_t *c, const kmy_buf_t *buf)
{
    KMY_ASSERT(!buf->overflow);
    if (c->state == KMY_CONN_SSE)
        return event(s, c, buf);
    return kmy_egress_frame(s, c, KMY_WS_TEXT, buf->data, buf->len);
}
