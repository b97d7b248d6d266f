/* tick 5/8   in: engine/history   out: engine/egress, by a log of one connection */
#include "engine/catchup.h"

#include "engine/egress.h"
#include "engine/past.h"
#include "engine/subs.h"

#include <stdlib.h>
#include <string.h>

enum {
    ANSWERS_PER_TURN =
        4, /* to encode one takes some 30 us: a turn of ticks waits so long at most */
    CHUNKS_ALL = (1 << KMY_HISTORY_CHUNKS) - 1,
};

/* What a connection has while it catches up; owned by it. */
struct kmy_catchup {
    kmy_feedlog_t log; /* the chunk: its bytes and marks are one allocation, at marks; NULL: none */
    uint32_t sub;      /* whose chunk is here or asked for; KMY_NONE */
    uint32_t head;     /* subscriptions that want one, in order, through past_next */
    uint32_t tail;
    uint32_t ask; /* number of the last ask */
    bool asked;   /* its answer is still to come */
    bool queued;  /* in the shard's list of those who want to ask */
    uint32_t queue_prev;
    uint32_t queue_next;
};

void kmy_catchup_init(kmy_shard_t *s)
{
    s->catchup_head = s->catchup_tail = s->pages_head = s->pages_tail = KMY_NONE;
    s->past_head = s->past_tail = KMY_NONE;
    s->chunks_free = CHUNKS_ALL;
}

/* --- who wants what ----------------------------------------------------------------------------- */

static void leave_queue(kmy_shard_t *s, kmy_catchup_t *u)
{
    if (!u->queued)
        return;
    u->queued = false;
    *(u->queue_prev != KMY_NONE ? &s->conns[u->queue_prev].catchup->queue_next : &s->catchup_head) =
        u->queue_next;
    *(u->queue_next != KMY_NONE ? &s->conns[u->queue_next].catchup->queue_prev : &s->catchup_tail) =
        u->queue_prev;
}

/* Joins those who want to ask, if it has room for an answer. */
static void join_queue(kmy_shard_t *s, kmy_conn_t *c)
{
    kmy_catchup_t *u = c->catchup;
    if (u->queued || u->asked || u->sub != KMY_NONE || u->head == KMY_NONE)
        return;
    u->queued = true;
    u->queue_prev = s->catchup_tail;
    u->queue_next = KMY_NONE;
    uint32_t idx = kmy_conn_idx(s, c);
    *(s->catchup_tail != KMY_NONE ? &s->conns[s->catchup_tail].catchup->queue_next
                                  : &s->catchup_head) = idx;
    s->catchup_tail = idx;
}

/* false: no memory. */
static bool want(kmy_shard_t *s, kmy_conn_t *c, uint32_t idx)
{
    kmy_sub_t *sub = &s->subs[idx];
    if (!c->catchup) {
        c->catchup = calloc(1, sizeof *c->catchup);
        if (!c->catchup)
            return false;
        c->catchup->sub = c->catchup->head = c->catchup->tail = KMY_NONE;
    }
    kmy_catchup_t *u = c->catchup;
    if (sub->past_listed || u->sub == idx)
        return true;
    sub->past_listed = true;
    sub->past_next = KMY_NONE;
    *(u->head != KMY_NONE ? &s->subs[u->tail].past_next : &u->head) = idx;
    u->tail = idx;
    join_queue(s, c);
    return true;
}

static uint32_t pop_wanted(kmy_shard_t *s, kmy_catchup_t *u)
{
    uint32_t idx = u->head;
    if (idx != KMY_NONE) {
        u->head = s->subs[idx].past_next;
        s->subs[idx].past_listed = false;
    }
    return idx;
}

/* --- the chunk ---------------------------------------------------------------------------------- */

static void drop_chunk(kmy_shard_t *s, kmy_conn_t *c)
{
    kmy_catchup_t *u = c->catchup;
    free(u->log.marks);
    memset(&u->log, 0, sizeof u->log);
    u->sub = KMY_NONE;
    join_queue(s, c);
}

/* History is one reader's: compressing a tick takes a hundred times as long as writing it, and would be for nobody else. */
static uint8_t encoding_of(const kmy_sub_t *sub)
{
    return sub->encoding == KMY_ENC_JSON_Z ? KMY_ENC_JSON : sub->encoding;
}

/* Frames of the ticks, as many as fit; returns how many, 0: no memory. */
static uint32_t encode(kmy_shard_t *s, kmy_feedlog_t *log, kmy_shard_feed_t *f, uint8_t enc,
                       const kmy_history_chunk_t *chunk)
{
    uint32_t begin[KMY_HISTORY_TICKS_MAX];
    uint8_t *frames = (uint8_t *)s->scratch;
    size_t len = 0;
    uint32_t n = 0;
    while (n < chunk->count && len + KMY_TICK_FRAME_BYTES_MAX <= KMY_CATCHUP_BYTES_MAX) {
        begin[n] = (uint32_t)len;
        len += kmy_subs_encode(s, f, enc, &chunk->ticks[n], frames + len);
        n++;
    }
    kmy_feedlog_mark_t *marks = malloc(KMY_HISTORY_TICKS_MAX * sizeof *marks + len);
    if (!marks)
        return 0;
    for (uint32_t i = 0; i < n; i++)
        marks[(chunk->ticks[0].offset + i) & (KMY_HISTORY_TICKS_MAX - 1)] =
            (kmy_feedlog_mark_t){ begin[i], s->now_ns, chunk->ticks[i].seq };
    *log = (kmy_feedlog_t){
        .bytes = (uint8_t *)(marks + KMY_HISTORY_TICKS_MAX),
        .marks = marks,
        .bytes_cap = KMY_CATCHUP_BYTES_MAX, /* a mask: no position reaches it */
        .marks_cap = KMY_HISTORY_TICKS_MAX,
        .first = chunk->ticks[0].offset,
        .next = chunk->ticks[0].offset + n,
        .end = len,
    };
    memcpy(log->bytes, frames, len);
    return n;
}

_Static_assert((KMY_HISTORY_TICKS_MAX & (KMY_HISTORY_TICKS_MAX - 1)) == 0, "a mask");
_Static_assert((KMY_CATCHUP_BYTES_MAX & (KMY_CATCHUP_BYTES_MAX - 1)) == 0, "a mask");
_Static_assert((int)KMY_SCRATCH_BYTES >= KMY_CATCHUP_BYTES_MAX, "frames are put together there");

const kmy_feedlog_t *kmy_catchup_log(kmy_shard_t *s, kmy_conn_t *c, uint32_t idx)
{
    kmy_sub_t *sub = &s->subs[idx];
    kmy_catchup_t *u = c->catchup;
    const kmy_feedlog_t *live = &s->feeds[sub->feed].log[sub->encoding];
    if (u && u->sub == idx && u->log.bytes) {
        if (sub->cursor < u->log.next)
            return &u->log;
        drop_chunk(s, c);
    }
    if (sub->cursor >= live->first) {
        if (sub->cursor >= live->next)
            sub->past = false; /* caught up: from now on it may be slow */
        return live;
    }
    if (want(s, c, idx))
        return NULL;
    kmy_sub_skip(sub, live->first, KMY_GAP_HISTORY);
    return live;
}

const kmy_feedlog_t *kmy_catchup_chunk(const kmy_conn_t *c)
{
    KMY_ASSERT(c->catchup && c->catchup->log.bytes);
    return &c->catchup->log;
}

/* --- answers ------------------------------------------------------------------------------------ */

static void take_answer(kmy_shard_t *s, const kmy_history_chunk_t *chunk)
{
    kmy_conn_t *c = kmy_conn_at(s, chunk->conn);
    kmy_catchup_t *u = c->gen == chunk->gen ? c->catchup : NULL;
    if (!u || !u->asked || u->ask != chunk->ask)
        return; /* it hung up meanwhile */
    u->asked = false;
    if (u->sub == KMY_NONE) { /* unsubscribed meanwhile: the next one's turn */
        join_queue(s, c);
        return;
    }
    kmy_sub_t *sub = &s->subs[u->sub];
    KMY_ASSERT(u->sub == chunk->sub);
    KMY_ASSERT(sub->cursor == chunk->from); /* nothing is gathered while it waits */
    uint32_t n = 0;
    if (chunk->count > 0)
        n = encode(s, &u->log, &s->feeds[sub->feed], encoding_of(sub), chunk);
    kmy_sub_skip(sub, n > 0 ? chunk->ticks[0].offset : chunk->next, KMY_GAP_HISTORY);
    sub->past_seq = n < chunk->count ? chunk->ticks[n].seq : chunk->next_seq;
    kmy_egress_pend(s, u->sub);
    if (n == 0)
        drop_chunk(s, c);
}

uint32_t kmy_catchup_turn(kmy_shard_t *s)
{
    uint64_t slot;
    uint32_t n = 0;
    while (n < ANSWERS_PER_TURN && kmy_queue_pop(s->history_answers, &slot)) {
        n++;
        if (s->chunks[slot].kind == KMY_HISTORY_SEQS) {
            kmy_past_answer(s, &s->chunks[slot]);
            s->chunks_free |= 1u << slot;
            continue;
        }
        if (s->chunks[slot].sub == KMY_NONE) { /* a page's (page.h): its turn is next */
            s->pages_back |= 1u << slot;
            continue;
        }
        take_answer(s, &s->chunks[slot]);
        s->chunks_free |= 1u << slot;
    }
    return n;
}

/* The next subscription of c that still needs history; false: none does. */
static bool ask_one(kmy_shard_t *s, kmy_conn_t *c, uint64_t slot)
{
    kmy_catchup_t *u = c->catchup;
    for (uint32_t idx = pop_wanted(s, u); idx != KMY_NONE; idx = pop_wanted(s, u)) {
        const kmy_sub_t *sub = &s->subs[idx];
        const kmy_feedlog_t *live = &s->feeds[sub->feed].log[sub->encoding];
        if (sub->cursor >=
            live->first) { /* cannot be, as a log's first never falls; it would not wait for it */
            kmy_egress_pend(s, idx);
            continue;
        }
        kmy_history_chunk_t *chunk = &s->chunks[slot];
        u->sub = idx;
        u->asked = true;
        u->ask++;
        chunk->kind = KMY_HISTORY_OFFSETS;
        chunk->feed = sub->feed;
        chunk->conn = sub->conn;
        chunk->gen = c->gen;
        chunk->sub = idx;
        chunk->ask = u->ask;
        chunk->from = sub->cursor;
        chunk->to = live->first - 1;
        chunk->seq = sub->past_seq;
        chunk->recorded_seq = s->ring_cursor; /* what the log has dropped was read from the ring */
        chunk->count_max = KMY_HISTORY_TICKS_MAX;
        bool pushed = kmy_queue_push(s->history_asks, &slot);
        KMY_ASSERT(pushed); /* it has a slot for each chunk */
        return true;
    }
    return false;
}

void kmy_catchup_ask(kmy_shard_t *s)
{
    bool any = kmy_past_ask(s);
    while (s->catchup_head != KMY_NONE && s->chunks_free) {
        kmy_conn_t *c = kmy_conn_at(s, s->catchup_head);
        leave_queue(s, c->catchup);
        uint64_t slot = (uint64_t)__builtin_ctz(s->chunks_free);
        if (ask_one(s, c, slot)) {
            s->chunks_free &= ~(1u << slot);
            any = true;
        }
    }
    if (any)
        kmy_wake_signal(&s->o.topology->history_wake);
}

/* --- ends --------------------------------------------------------------------------------------- */

void kmy_catchup_forget(kmy_shard_t *s, kmy_conn_t *c, uint32_t idx)
{
    kmy_sub_t *sub = &s->subs[idx];
    kmy_catchup_t *u = c->catchup;
    if (!u)
        return;
    if (sub->past_listed) {
        uint32_t prev = KMY_NONE;
        for (uint32_t i = u->head; i != idx; i = s->subs[i].past_next)
            prev = i;
        *(prev != KMY_NONE ? &s->subs[prev].past_next : &u->head) = sub->past_next;
        if (u->tail == idx)
            u->tail = prev;
        sub->past_listed = false;
    }
    if (u->sub == idx)
        drop_chunk(s, c);
}

void kmy_catchup_free(kmy_shard_t *s, kmy_conn_t *c)
{
    if (!c->catchup)
        return;
    leave_queue(s, c->catchup);
    free(c->catchup->log.marks);
    free(c->catchup);
    c->catchup = NULL;
}
