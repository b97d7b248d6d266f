/* tick 8/8   in: engine/shard, pay/meter   out: the client's socket */
#include "engine/egress_inside.h"

#include "engine/account.h"
#include "engine/conn.h"
#include "engine/shard.h"

static inline void mark(kmy_shard_t *s, kmy_conn_t *c, uint32_t idx)
{
    if (c->dirty || c->blocked_ns)
        return;
    c->dirty = true;
    s->dirty[s->dirty_count++] = idx;
}

void kmy_egress_mark(kmy_shard_t *s, kmy_conn_t *c)
{
    mark(s, c, kmy_conn_idx(s, c));
}

static inline void pend(kmy_shard_t *s, kmy_sub_t *sub, uint32_t idx)
{
    kmy_conn_t *c = kmy_conn_at(s, sub->conn);
    if (!sub->pending)
        kmy_egress_push_pending(s, c, idx);
    if ((!c->paused && !c->starved) || sub->pass)
        mark(s, c, sub->conn);
}

static KMY_APART void pend_paced(kmy_shard_t *s, kmy_sub_t *sub, uint32_t idx)
{
    if (sub->pending || !kmy_pace_holds(s, idx))
        pend(s, sub, idx);
}

void kmy_egress_pend(kmy_shard_t *s, uint32_t idx)
{
    kmy_sub_t *sub = &s->subs[idx];
    if (KMY_RARELY(sub->pace_slots > 0))
        pend_paced(s, sub, idx);
    else
        pend(s, sub, idx);
}

void kmy_egress_pend_all(kmy_shard_t *s, kmy_conn_t *c)
{
    for (uint32_t i = c->subs_head; i != KMY_NONE; i = s->subs[i].next) {
        const kmy_sub_t *sub = &s->subs[i];
        if (sub->past || sub->cursor < s->feeds[sub->feed].log[sub->encoding].next)
            kmy_egress_pend(s, i);
    }
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
            kmy_egress_complete(s, &s->sends[kmy_op_idx(cqe->user_data)], cqe->res);
            awaited--;
        } else {
            kmy_shard_defer(s, cqe);
        }
        io_uring_cqe_seen(&s->uring, cqe);
    }
}

/* The next request of each that has all of its answers, or its end.  Not before everything is settled: a request may end another session, or give
   back what its account has left, and must not meet ticks that may come back. */
static void go_on(kmy_shard_t *s)
{
    for (uint32_t i = 0; i < s->drained_count; i++) {
        kmy_conn_t *c = kmy_conn_at(s, s->drained[i]);
        if (c->state != KMY_CONN_DEAD && !kmy_has_output(c))
            kmy_conn_drained(s, c);
    }
    s->drained_count = 0;
}

/* What its sends added up, for the operator's page. */
static void count(kmy_shard_t *s)
{
    KMY_COUNT(s->metrics, send_total, s->sends_count);
    KMY_COUNT(s->metrics, delivered_byte_total, s->delivered_bytes);
    KMY_COUNT(s->metrics, delivered_tick_total, s->delivered_ticks);
    KMY_COUNT(s->metrics, consumed_nusd_total, s->consumed_nusd);
    s->delivered_bytes = s->delivered_ticks = 0;
    s->consumed_nusd = 0;
}

static void submit(kmy_shard_t *s)
{
    if (s->sends_count > 0) {
        io_uring_submit(&s->uring);
        reap(s);
    }
    count(s);
    s->sends_count = 0;
    s->segments_count = 0;
    s->stage_used = 0;
    go_on(s);
}

/* A connection may need this much at most; checked before it is gathered. */
static bool room_for_one(const kmy_shard_t *s)
{
    return s->sends_count < KMY_SENDS_MAX &&
           s->segments_count + KMY_CONN_SEGMENTS_MAX <= KMY_SEGMENTS_MAX &&
           s->stage_used + 2 * (KMY_SEND_BYTES_MAX + KMY_GAP_BYTES_MAX) <= KMY_STAGE_BYTES;
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
        kmy_egress_gather(s, c);
    }
    submit(s);
    for (uint32_t i = 0; i < s->starving_count; i++) {
        kmy_conn_t *c = kmy_conn_at(s, s->starving[i]);
        if (kmy_conn_streams(c) && c->starved)
            kmy_account_starved(s, &s->accounts[c->account], c);
    }
    s->starving_count = 0;
}

void kmy_egress_writable(kmy_shard_t *s, kmy_conn_t *c)
{
    c->blocked_ns = 0;
    kmy_egress_mark(s, c);
}
