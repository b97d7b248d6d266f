/* tick 8/8   in: engine/shard, pay/meter   out: the client's socket */
#include "engine/egress.h"

#include "engine/account.h"
#include "engine/conn.h"
#include "engine/shard.h"
#include "engine/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    OUT_START = 512,
    CONN_SEGMENTS_MAX = 1024, /* pieces in one send of one connection */
    GAP_BYTES_MAX = 256 + 6 * KMY_FEED_NAME_BYTES_MAX,
};

/* What one send is being put together from. */
typedef struct gather {
    const uint8_t *from[CONN_SEGMENTS_MAX];
    uint32_t count;
    uint32_t bytes;
    uint32_t budget; /* bytes at most: a send, or a TLS record */
} gather_t;

void kmy_egress_mark(kmy_shard_t *s, kmy_conn_t *c)
{
    if (c->dirty || c->blocked_ns)
        return;
    c->dirty = true;
    s->dirty[s->dirty_count++] = kmy_conn_idx(s, c);
}

static void push_pending(kmy_shard_t *s, kmy_conn_t *c, uint32_t idx)
{
    kmy_sub_t *sub = &s->subs[idx];
    sub->pending = true;
    sub->pending_next = KMY_NONE;
    if (c->pending_head == KMY_NONE)
        c->pending_head = idx;
    else
        s->subs[c->pending_tail].pending_next = idx;
    c->pending_tail = idx;
}

void kmy_egress_pend(kmy_shard_t *s, uint32_t idx)
{
    kmy_sub_t *sub = &s->subs[idx];
    kmy_conn_t *c = kmy_conn_at(s, sub->conn);
    if (!sub->pending)
        push_pending(s, c, idx);
    if (!c->paused && !c->starved)
        kmy_egress_mark(s, c);
}

void kmy_egress_unpend(kmy_shard_t *s, uint32_t idx)
{
    kmy_sub_t *sub = &s->subs[idx];
    if (!sub->pending)
        return;
    kmy_conn_t *c = kmy_conn_at(s, sub->conn);
    uint32_t prev = KMY_NONE;
    for (uint32_t i = c->pending_head; i != idx; i = s->subs[i].pending_next)
        prev = i;
    if (prev == KMY_NONE)
        c->pending_head = sub->pending_next;
    else
        s->subs[prev].pending_next = sub->pending_next;
    if (c->pending_tail == idx)
        c->pending_tail = prev;
    sub->pending = false;
}

/* --- own bytes ----------------------------------------------------------------------------- */

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

static void settle_queue(kmy_out_t **queue, uint32_t sent)
{
    (*queue)->begin += sent;
    if ((*queue)->begin == (*queue)->end) {
        free(*queue);
        *queue = NULL;
    }
}

static void block(kmy_shard_t *s, kmy_conn_t *c)
{
    c->blocked_ns = s->now_ns;
    c->slow = true;
    KMY_COUNT(s->metrics, send_short_total, 1);
    kmy_conn_poll_out(s, c);
}

static bool append(kmy_out_t **queue, const void *bytes, size_t len);

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
    settle_queue(&c->out, n);
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
            block(s, c);
            return;
        }
        KMY_COUNT(s->metrics, delivered_byte_total, n);
        c->sent_ns = s->now_ns;
        settle_queue(queue, (uint32_t)n);
    }
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
    size_t limit =
        c->state == KMY_CONN_WS && !c->echo ? KMY_OUT_BYTES_MAX : 2 * (size_t)KMY_ECHO_BYTES_MAX;
    size_t live = kmy_out_count(c);
    if (live > 0 &&
        live + len > limit) { /* many answers in one turn, perhaps, to a reader that reads */
        kmy_egress_now(s, c);
        live = kmy_out_count(c);
    }
    /* One frame above the limit is allowed when nothing else waits: an acknowledgement of many feeds is longer. */
    if (live > 0 && live + len > limit) {
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

bool kmy_egress_text(kmy_shard_t *s, kmy_conn_t *c, const kmy_buf_t *buf)
{
    KMY_ASSERT(!buf->overflow);
    return kmy_egress_frame(s, c, KMY_WS_TEXT, buf->data, buf->len);
}

/* --- gather -------------------------------------------------------------------------------- */

static void add_segment(kmy_shard_t *s, gather_t *g, const uint8_t *from, kmy_segment_t seg)
{
    g->from[g->count++] = from;
    g->bytes += seg.bytes;
    s->segments[s->segments_count++] = seg;
}

static void gather_out(kmy_shard_t *s, kmy_conn_t *c, gather_t *g)
{
    uint32_t n = kmy_out_count(c);
    if (n == 0)
        return;
    if (n > g->budget)
        n = g->budget;
    add_segment(s, g, c->out->bytes + c->out->begin,
                (kmy_segment_t){ .kind = KMY_SEG_OUT, .sub = KMY_NONE, .bytes = n });
}

/* Renders a frame of this connection into the stage, where it stands until the submission is over. */
static void gather_own(kmy_shard_t *s, gather_t *g, const kmy_buf_t *payload)
{
    uint8_t *at = s->stage + s->stage_used;
    size_t n = kmy_ws_put_header(at, KMY_WS_TEXT, true, false, payload->len, NULL);
    memcpy(at + n, payload->data, payload->len);
    n += payload->len;
    add_segment(
        s, g, at,
        (kmy_segment_t){
            .kind = KMY_SEG_OWN, .sub = KMY_NONE, .bytes = (uint32_t)n, .from = s->stage_used });
    s->stage_used += (uint32_t)n;
}

static void skip_to(kmy_sub_t *sub, uint64_t offset, uint8_t reason)
{
    if (offset <= sub->cursor)
        return;
    if (!sub->skipped) {
        sub->skipped = true;
        sub->skipped_from = sub->cursor;
        sub->skip_reason = reason;
    }
    sub->cursor = offset;
}

static bool lags(const kmy_shard_t *s, const kmy_sub_t *sub, const kmy_feedlog_t *log)
{
    if (sub->cursor >= log->next)
        return false;
    uint64_t from = sub->cursor < log->first ? log->first : sub->cursor;
    if (log->next - sub->cursor > (uint64_t)s->config->limits.lag_ticks)
        return true;
    return s->now_ns - log->marks[from & (log->marks_cap - 1)].mono_ns > s->config->limits.lag_ns;
}

bool kmy_egress_lags(const kmy_shard_t *s, const kmy_conn_t *c)
{
    for (uint32_t i = c->subs_head; i != KMY_NONE; i = s->subs[i].next) {
        const kmy_sub_t *sub = &s->subs[i];
        if (lags(s, sub, &s->feeds[sub->feed].log[sub->encoding]))
            return true;
    }
    return false;
}

/* Makes the cursor point to a frame that exists, and applies the slow-reader policy to one that could not keep up. */
static void settle_cursor(kmy_shard_t *s, const kmy_conn_t *c, kmy_sub_t *sub,
                          const kmy_feedlog_t *log)
{
    uint64_t before = sub->cursor;
    if (c->slow && lags(s, sub, log)) {
        if (c->slow_policy == KMY_SLOW_CONFLATE)
            skip_to(sub, log->next - 1, KMY_GAP_CONFLATED);
        else
            skip_to(sub, log->first, KMY_GAP_DROPPED);
    }
    if (sub->cursor < log->first)
        skip_to(sub, log->first, KMY_GAP_DROPPED);
    if (sub->cursor > before)
        KMY_COUNT(s->metrics, conflated_tick_total, sub->cursor - before);
}

typedef enum { RUN_ALL, RUN_MORE, RUN_UNPAID } run_t;

/* Adds as much of one subscription's backlog as the budget and the balance allow. */
static run_t gather_run(kmy_shard_t *s, kmy_conn_t *c, kmy_shard_account_t *acc, uint32_t idx,
                        gather_t *g)
{
    kmy_sub_t *sub = &s->subs[idx];
    const kmy_feedlog_t *log = &s->feeds[sub->feed].log[sub->encoding];
    settle_cursor(s, c, sub, log);
    uint64_t waiting = log->next - sub->cursor;
    if (waiting == 0)
        return RUN_ALL;
    uint64_t paid = kmy_meter_affordable(&acc->lease, sub->price_nusd, waiting);
    if (paid == 0)
        return RUN_UNPAID;
    if (g->count + 2 > CONN_SEGMENTS_MAX ||
        g->bytes + GAP_BYTES_MAX + KMY_TICK_JSON_BYTES_MAX > g->budget)
        return RUN_MORE;
    if (sub->skipped) {
        char text[GAP_BYTES_MAX];
        kmy_buf_t b = kmy_buf(text, sizeof text);
        kmy_stream_gap(&b, &s->catalog->feeds[sub->feed], sub->skipped_from, sub->cursor - 1,
                       sub->skip_reason);
        gather_own(s, g, &b);
        sub->skipped = false;
    }
    uint64_t n = kmy_feedlog_fit(log, sub->cursor, paid, g->budget - g->bytes);
    KMY_ASSERT(n > 0); /* room for one frame was checked above */
    size_t bytes;
    const uint8_t *run = kmy_feedlog_run(log, sub->cursor, n, &bytes);
    add_segment(s, g, run,
                (kmy_segment_t){ .kind = KMY_SEG_TICKS,
                                 .sub = idx,
                                 .bytes = (uint32_t)bytes,
                                 .ticks = (uint32_t)n,
                                 .from = sub->cursor });
    kmy_meter_take_ticks(&acc->lease, sub->price_nusd, n);
    sub->cursor += n;
    if (n == waiting)
        return RUN_ALL;
    return n < paid ? RUN_MORE : RUN_UNPAID;
}

static void gather_ticks(kmy_shard_t *s, kmy_conn_t *c, gather_t *g)
{
    kmy_shard_account_t *acc = &s->accounts[c->account];
    uint32_t idx = c->pending_head;
    c->pending_head = KMY_NONE;
    c->pending_tail = KMY_NONE;
    bool unpaid = false;
    while (idx != KMY_NONE) {
        uint32_t next = s->subs[idx].pending_next;
        s->subs[idx].pending = false;
        run_t run = gather_run(s, c, acc, idx, g);
        if (run != RUN_ALL)
            push_pending(s, c, idx);
        unpaid |= run == RUN_UNPAID;
        if (run == RUN_MORE) { /* the send is full: the rest waits for the next turn, in order */
            if (next != KMY_NONE) {
                s->subs[c->pending_tail].pending_next = next;
                uint32_t last = next;
                while (s->subs[last].pending_next != KMY_NONE)
                    last = s->subs[last].pending_next;
                c->pending_tail = last;
            }
            break;
        }
        idx = next;
    }
    kmy_account_touch(s, acc);
    if (unpaid) { /* a session may have to be told, but not while its bytes are being gathered */
        c->starved = true;
        s->starving[s->starving_count++] = kmy_conn_idx(s, c);
    } else {
        kmy_account_refill(s, acc);
    }
}

static void prepare_send(kmy_shard_t *s, kmy_conn_t *c, const uint8_t *bytes, uint32_t len,
                         uint32_t segments_begin)
{
    struct io_uring_sqe *sqe = kmy_shard_sqe(s);
    io_uring_prep_send(sqe, c->fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    io_uring_sqe_set_data64(sqe, kmy_op_pack(KMY_OP_SEND, c->gen, s->sends_count));
    s->sends[s->sends_count++] =
        (kmy_send_t){ kmy_conn_idx(s, c), len, segments_begin, s->segments_count - segments_begin };
    c->in_flight = true;
}

/* Everything that waits, own bytes first, as far as the budget goes. */
static void gather_all(kmy_shard_t *s, kmy_conn_t *c, gather_t *g, uint32_t budget)
{
    g->count = 0;
    g->bytes = 0;
    g->budget = budget;
    gather_out(s, c, g);
    bool whole_out = g->bytes == kmy_out_count(c);
    if (whole_out && c->state == KMY_CONN_WS && c->authenticated && !c->paused &&
        c->pending_head != KMY_NONE)
        gather_ticks(s, c, g);
}

/* The pieces in one: where it lies, if it is one, else copied into the stage.  Copying beats an iovec from two pieces on: 5.6 against 10.5 us for 32 runs
   of 122 bytes. */
static const uint8_t *join(kmy_shard_t *s, const gather_t *g, uint32_t begin)
{
    if (g->count == 1)
        return g->from[0];
    uint8_t *at = s->stage + s->stage_used;
    uint8_t *to = at;
    for (uint32_t i = 0; i < g->count; i++) {
        uint32_t n = s->segments[begin + i].bytes;
        memcpy(to, g->from[i], n);
        to += n;
    }
    s->stage_used += g->bytes;
    return at;
}

static bool settle_run(kmy_shard_t *s, kmy_conn_t *c, const kmy_segment_t *seg, uint32_t sent);

/* Sealed once per send.  What stands in a record is delivered whatever part of it the socket takes now: the rest must follow, or the session is broken. */
static void gather_sealed(kmy_shard_t *s, kmy_conn_t *c, gather_t *g)
{
    uint32_t begin = s->segments_count;
    if (c->sealed) {
        uint32_t n = c->sealed->end - c->sealed->begin;
        g->count = 0;
        add_segment(s, g, NULL,
                    (kmy_segment_t){ .kind = KMY_SEG_RESEND, .sub = KMY_NONE, .bytes = n });
        prepare_send(s, c, c->sealed->bytes + c->sealed->begin, n, begin);
        return;
    }
    if (!kmy_tls_ready(c->tls))
        return;
    gather_all(s, c, g, KMY_TLS_RECORD_BYTES);
    if (g->count == 0)
        return;
    const uint8_t *plain = join(s, g, begin);
    kmy_tls_io_t io = { .out = s->stage + s->stage_used, .out_cap = KMY_TLS_SEAL_BYTES };
    bool sealed = kmy_tls_seal(c->tls, &io, plain, g->bytes);
    for (uint32_t i = begin; i < s->segments_count; i++) {
        const kmy_segment_t *seg = &s->segments[i];
        if (seg->kind == KMY_SEG_OUT)
            settle_queue(&c->out, seg->bytes);
        else if (seg->kind == KMY_SEG_TICKS)
            settle_run(s, c, seg, sealed ? seg->bytes : 0);
    }
    s->segments_count = begin;
    if (!sealed) {
        kmy_conn_kill(s, c);
        return;
    }
    g->count = 0;
    add_segment(s, g, NULL,
                (kmy_segment_t){ .kind = KMY_SEG_SEALED,
                                 .sub = KMY_NONE,
                                 .bytes = (uint32_t)io.out_len,
                                 .from = s->stage_used });
    prepare_send(s, c, io.out, (uint32_t)io.out_len, begin);
    s->stage_used += (uint32_t)io.out_len;
}

static void gather(kmy_shard_t *s, kmy_conn_t *c)
{
    static _Thread_local gather_t g;
    if (c->tls) {
        gather_sealed(s, c, &g);
        return;
    }
    uint32_t begin = s->segments_count;
    gather_all(s, c, &g, KMY_SEND_BYTES_MAX);
    if (g.count > 0) {
        const uint8_t *bytes = join(s, &g, begin);
        prepare_send(s, c, bytes, g.bytes, begin);
    }
}

/* --- completion ---------------------------------------------------------------------------- */

/* A run of which `sent` bytes were taken: whole frames are delivered, a cut one too (its rest goes first next time), the others come back. */
static bool settle_run(kmy_shard_t *s, kmy_conn_t *c, const kmy_segment_t *seg, uint32_t sent)
{
    kmy_sub_t *sub = &s->subs[seg->sub];
    uint32_t delivered = seg->ticks;
    bool alive = true;
    if (sent < seg->bytes) {
        const kmy_feedlog_t *log = &s->feeds[sub->feed].log[sub->encoding];
        delivered = (uint32_t)kmy_feedlog_fit(log, seg->from, seg->ticks, sent);
        size_t whole;
        size_t frame;
        kmy_feedlog_run(log, seg->from, delivered, &whole);
        if (sent > whole) {
            const uint8_t *cut = kmy_feedlog_run(log, seg->from + delivered, 1, &frame);
            alive = kmy_egress_bytes(s, c, cut + (sent - whole), frame - (sent - whole));
            delivered++;
        }
        kmy_meter_untake_ticks(&s->accounts[c->account].lease, sub->price_nusd,
                               seg->ticks - delivered);
        sub->cursor = seg->from + delivered;
        if (!sub->pending)
            push_pending(s, c, seg->sub);
    }
    c->charged_ticks += delivered;
    KMY_COUNT(s->metrics, delivered_tick_total, delivered);
    KMY_COUNT(s->metrics, consumed_nusd_total, sub->price_nusd * delivered);
    return alive;
}

static void complete(kmy_shard_t *s, const kmy_send_t *send, int res)
{
    kmy_conn_t *c = kmy_conn_at(s, send->conn);
    c->in_flight = false;
    uint32_t left = res > 0 ? (uint32_t)res : 0;
    KMY_COUNT(s->metrics, delivered_byte_total, left);
    bool alive = true;
    for (uint32_t i = 0; i < send->segments_count; i++) {
        const kmy_segment_t *seg = &s->segments[send->segments_begin + i];
        uint32_t sent = left < seg->bytes ? left : seg->bytes;
        left -= sent;
        if (seg->kind == KMY_SEG_OUT)
            settle_queue(&c->out, sent);
        else if (seg->kind == KMY_SEG_TICKS)
            alive &= settle_run(s, c, seg, sent);
        else if (seg->kind == KMY_SEG_RESEND)
            settle_queue(&c->sealed, sent);
        else if (seg->kind == KMY_SEG_SEALED && sent < seg->bytes)
            alive = kmy_egress_sealed(s, c, s->stage + seg->from + sent, seg->bytes - sent);
        else if (seg->kind == KMY_SEG_OWN && sent < seg->bytes)
            alive = alive && kmy_egress_bytes(s, c, s->stage + seg->from + sent, seg->bytes - sent);
    }
    if (res > 0)
        c->sent_ns = s->now_ns;
    if (res < 0 && res != -EAGAIN && res != -EINTR) {
        kmy_conn_kill(s, c);
    } else if (!alive) {
        return; /* killed above */
    } else if (res != (int)send->bytes) {
        block(s, c);
    } else {
        bool more = c->pending_head != KMY_NONE && !c->paused && !c->starved;
        if (!more)
            c->slow = false;
        if (kmy_has_output(c) || more)
            kmy_egress_mark(s, c);
        if (!kmy_has_output(c))
            kmy_conn_drained(s, c);
    }
}

/* Waits for the sends of this submission only; whatever else completed meanwhile is kept for the loop. */
static void reap(kmy_shard_t *s)
{
    uint32_t awaited = s->sends_count;
    while (awaited > 0) {
        struct io_uring_cqe *cqe;
        if (io_uring_peek_cqe(&s->uring, &cqe) != 0) {
            io_uring_submit_and_wait(&s->uring, 1);
            continue;
        }
        if (kmy_op_of(cqe->user_data) == KMY_OP_SEND) {
            complete(s, &s->sends[kmy_op_idx(cqe->user_data)], cqe->res);
            awaited--;
        } else {
            kmy_shard_defer(s, cqe);
        }
        io_uring_cqe_seen(&s->uring, cqe);
    }
}

static void submit(kmy_shard_t *s)
{
    KMY_COUNT(s->metrics, send_total, s->sends_count);
    if (s->sends_count > 0) {
        io_uring_submit(&s->uring);
        reap(s);
    }
    s->sends_count = 0;
    s->segments_count = 0;
    s->stage_used = 0;
}

/* A connection may need this much at most; checked before it is gathered. */
static bool room_for_one(const kmy_shard_t *s)
{
    return s->sends_count < KMY_SENDS_MAX &&
           s->segments_count + CONN_SEGMENTS_MAX <= KMY_SEGMENTS_MAX &&
           s->stage_used + 2 * (KMY_SEND_BYTES_MAX + GAP_BYTES_MAX) <= KMY_STAGE_BYTES;
}

void kmy_egress_flush(kmy_shard_t *s)
{
    uint32_t *now = s->dirty;
    uint32_t count = s->dirty_count;
    s->dirty = s->dirty_next;
    s->dirty_next = now;
    s->dirty_count = 0;
    for (uint32_t i = 0; i < count; i++)
        kmy_conn_at(s, now[i])->dirty = false;
    for (uint32_t i = 0; i < count; i++) {
        kmy_conn_t *c = kmy_conn_at(s, now[i]);
        if (c->state == KMY_CONN_FREE || c->state == KMY_CONN_DEAD || c->blocked_ns || c->in_flight)
            continue;
        if (!room_for_one(s))
            submit(s);
        gather(s, c);
    }
    submit(s);
    for (uint32_t i = 0; i < s->starving_count; i++) {
        kmy_conn_t *c = kmy_conn_at(s, s->starving[i]);
        if (c->state == KMY_CONN_WS && c->starved)
            kmy_account_starved(s, &s->accounts[c->account], c);
    }
    s->starving_count = 0;
}

void kmy_egress_writable(kmy_shard_t *s, kmy_conn_t *c)
{
    c->blocked_ns = 0;
    kmy_egress_mark(s, c);
}
