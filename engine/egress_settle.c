/* tick 8/8   egress: what the socket took: cursors, meter and queues follow */
#include "engine/catchup.h"
#include "engine/conn.h"
#include "engine/egress_inside.h"
#include "engine/past.h"
#include "engine/receipts.h"

#include <errno.h>

/* A run of which `sent` bytes were taken: whole frames are delivered, a cut one too (its rest goes first next time), the others come back. */
bool kmy_egress_settle_run(kmy_shard_t *s, kmy_conn_t *c, const kmy_segment_t *seg, uint32_t sent)
{
    kmy_sub_t *sub = &s->subs[seg->sub];
    uint32_t delivered = seg->ticks;
    bool alive = true;
    if (KMY_RARELY(sent < seg->bytes)) {
        const kmy_feedlog_t *log = seg->past && c->past ? kmy_past_run(c)
                                   : seg->past          ? kmy_catchup_chunk(c)
                                                        : &s->feeds[sub->feed].log[sub->encoding];
        delivered = (uint32_t)kmy_feedlog_fit(log, seg->from, seg->ticks, sent);
        size_t whole;
        size_t frame;
        kmy_feedlog_run(log, seg->from, delivered, &whole);
        if (sent > whole) {
            const uint8_t *cut = kmy_feedlog_run(log, seg->from + delivered, 1, &frame);
            alive = kmy_egress_bytes(s, c, cut + (sent - whole), frame - (sent - whole));
            delivered++;
        }
        if (seg->free_of_charge)
            sub->repeats = true; /* those that come back are free again */
        else
            kmy_meter_untake_ticks(&s->accounts[c->account].lease, seg->price_nusd,
                                   seg->ticks - delivered);
        if (seg->from + delivered < sub->cursor) /* of several runs the first that was cut counts */
            sub->cursor = seg->from + delivered;
        if (!sub->pending)
            kmy_egress_push_pending(s, c, seg->sub);
    }
    KMY_COUNT(s->metrics, delivered_tick_total, delivered);
    if (KMY_RARELY(seg->free_of_charge)) {
        KMY_COUNT(s->metrics, repeated_tick_total, delivered);
        return alive;
    }
    if (delivered > 0)
        kmy_receipts_note(sub, seg->from, delivered, seg->price_nusd);
    if (seg->pass)
        return alive; /* not charged, and no sign of money */
    c->charged_ticks += delivered;
    if (delivered > 0)
        c->unpaid_told = false;
    KMY_COUNT(s->metrics, consumed_nusd_total, seg->price_nusd * delivered);
    return alive;
}

void kmy_egress_complete(kmy_shard_t *s, const kmy_send_t *send, int res)
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
            kmy_conn_drained(s, c); /* a WebSocket wants nothing else then */
    }
}
