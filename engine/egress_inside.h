/* egress_inside: what the files of egress know of each other (egress.c, egress_own.c, egress_gather.c, egress_settle.c).  tick 8/8 */
#ifndef KMY_ENGINE_EGRESS_INSIDE_H
#define KMY_ENGINE_EGRESS_INSIDE_H

#include "engine/egress.h"

/* For a branch on the way of every tick that is seldom taken. */
#define KMY_RARELY(cond) __builtin_expect(!!(cond), 0)
/* For what such a branch does: inlined, it would cost the usual way registers, and a stack guard for each buffer of its own. */
#define KMY_APART        __attribute__((noinline))

enum {
    KMY_CONN_SEGMENTS_MAX = 1024, /* pieces in one send of one connection */
    KMY_WARNING_BYTES_MAX = 80 + KMY_SSE_HEAD_BYTES_MAX,
    KMY_GAP_BYTES_MAX = 256 + 6 * KMY_FEED_NAME_BYTES_MAX + KMY_SSE_HEAD_BYTES_MAX,
};

/* Appends to the connection's pending list a subscription that is not in it. */
static inline void kmy_egress_push_pending(kmy_shard_t *s, kmy_conn_t *c, uint32_t idx)
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

/* Ticks were delivered, at so much: counted for the operator's page when the submission is over. */
static inline void kmy_egress_consumed(kmy_shard_t *s, int64_t nusd)
{
    s->consumed_nusd += nusd;
}

/* The socket took `sent` bytes of a queue: an empty one is freed. */
void kmy_egress_settle_queue(kmy_out_t **queue, uint32_t sent);
/* The socket takes nothing more: skipped until POLLOUT fires. */
void kmy_egress_block(kmy_shard_t *s, kmy_conn_t *c);

/* Prepares the send of everything that waits for c, as far as one send and its balance go. */
void kmy_egress_gather(kmy_shard_t *s, kmy_conn_t *c);

/* A run of which `sent` bytes were taken: whole frames are delivered, a cut one too (its rest goes first next time), the others come back.
   false: c was killed. */
bool kmy_egress_settle_run(kmy_shard_t *s, kmy_conn_t *c, const kmy_segment_t *seg, uint32_t sent);
/* The completion of a send: bytes taken, or -errno. */
void kmy_egress_complete(kmy_shard_t *s, const kmy_send_t *send, int res);

#endif
