/* tick 8/8   egress: what the socket took: cursors, meter and queues follow */
#include "engine/catchup.h"
#include "engine/conn.h"
#include "engine/egress_inside.h"
#include "engine/past.h"
#include "engine/receipts.h"
#include "engine/uses.h"

#include <errno.h>

/* The first `delivered` ticks of a run are the client's. */
static inline void delivered(kmy_shard_t *s, kmy_conn_t *c, kmy_sub_t *sub,
                             const kmy_segment_t *seg, uint32_t ticks)
{
    s->delivered_ticks += ticks;
    if (KMY_RARELY(seg->free_of_charge)) {
        KMY_COUNT(s->metrics, repeated_tick_total, ticks);
        return;
    }
    if (KMY_RARELY(ticks == 0))
        return;
    int64_t nusd = seg->price_nusd * ticks;
    kmy_receipts_note(sub, seg->from, ticks, nusd);
    if (KMY_RARELY(seg->price_nusd != sub->price_nusd))
        kmy_uses_run(s, sub, ticks, nusd);
    if (KMY_RARELY(seg->pass))
        return; /* not charged, and no sign of money */
    c->charged_ticks += ticks;
    c->unpaid_told = false;
    kmy_egress_consumed(s, nusd);
}

/* Where the run lies: the history of its connection, or the live log. */
static const kmy_feedlog_t *log_of(const kmy_shard_t *s, const kmy_conn_t *c, const kmy_sub_t *sub,
                                   const kmy_segment_t *seg)
{
    if (!seg->past)
        return &s->feeds[sub->feed].log[sub->encoding];
    return c->past ? kmy_past_run(c) : kmy_catchup_chunk(c);
}

/* The socket took less than all of it. */
static KMY_APART bool settle_cut(kmy_shard_t *s, kmy_conn_t *c, const kmy_segment_t *seg,
                                 uint32_t sent)
{
    kmy_sub_t *sub = &s->subs[seg->sub];
    const kmy_feedlog_t *log = log_of(s, c, sub, seg);
    uint32_t ticks = (uint32_t)kmy_feedlog_fit(log, seg->from, seg->ticks, sent);
    bool alive = true;
    size_t whole;
    size_t frame;
    kmy_feedlog_run(log, seg->from, ticks, &whole);
    if (sent > whole) {
        const uint8_t *cut = kmy_feedlog_run(log, seg->from + ticks, 1, &frame);
        alive = kmy_egress_bytes(s, c, cut + (sent - whole), frame - (sent - whole));
        ticks++;
    }
    if (seg->free_of_charge)
        sub->repeats = true; /* those that come back are free again */
    else
        kmy_meter_untake_ticks(&c->payer->lease, seg->price_nusd, seg->ticks - ticks);
    if (seg->from + ticks < sub->cursor) /* of several runs the first that was cut counts */
        sub->cursor = seg->from + ticks;
    if (!sub->pending)
        kmy_egress_push_pending(s, c, seg->sub);
    delivered(s, c, sub, seg, ticks);
    return alive;
}

/* A run of which `sent` bytes were taken: whole frames are delivered, a cut one too (its rest goes first next time), the others come back. */
bool kmy_egress_settle_run(kmy_shard_t *s, kmy_conn_t *c, const kmy_segment_t *seg, uint32_t sent)
{
    if (KMY_RARELY(sent < seg->bytes))
        return settle_cut(s, c, seg, sent);
    delivered(s, c, &s->subs[seg->sub], seg, seg->ticks);
    return true;
}

void kmy_egress_complete(kmy_shard_t *s, const kmy_send_t *send, int res)
{
    kmy_conn_t *c = kmy_conn_at(s, send->conn);
    c->in_flight = false;
    uint32_t left = res > 0 ? (uint32_t)res : 0;
    s->delivered_bytes += left;
    bool alive = true;
    const kmy_segment_t *end = &s->segments[send->segments_begin + send->segments_count];
    for (const kmy_segment_t *seg = end - send->segments_count; seg < end; seg++) {
        uint32_t sent = left < seg->bytes ? left : seg->bytes;
        left -= sent;
        if (seg->kind == KMY_SEG_OUT)
            kmy_egress_settle_queue(&c->out, sent);
        else if (seg->kind == KMY_SEG_TICKS)
            alive &= kmy_egress_settle_run(s, c, seg, sent);
        else if (seg->kind == KMY_SEG_RESEND)
            kmy_egress_settle_queue(&c->sealed, sent);
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
        kmy_egress_block(s, c);
    } else {
        bool more =
            c->pending_head != KMY_NONE && ((!c->paused && !c->starved) || c->pass_subs > 0);
        if (!more) {
            c->slow = false;
            c->slow_warned = false;
        }
        if (kmy_has_output(c) || more)
            kmy_egress_mark(s, c);
        if (!kmy_has_output(c) && (c->state != KMY_CONN_WS || c->body || c->pipelined))
            s->drained[s->drained_count++] = send->conn; /* a WebSocket wants nothing else then */
    }
}
