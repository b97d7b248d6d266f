/* tick 5/8   in: engine/history   out: engine/egress, by a log of one connection */
#include "engine/past.h"

#include "engine/egress.h"
#include "engine/subs.h"

#include <stdlib.h>
#include <string.h>

enum {
    BUSY_MAX = KMY_HISTORY_CHUNKS / 4
}; /* asks of a shard at a time: a long one looks at every row of history */

struct kmy_past {
    uint64_t seq;  /* all of its feeds up to here is delivered, or is not to be had */
    uint64_t next; /* all below is in ticks[], likewise */
    kmy_feedlog_t
        log; /* the run that is being delivered: bytes and marks are one allocation, at marks; NULL: none */
    uint64_t run_seq; /* of its last tick */
    uint32_t sub;     /* whose run */
    uint32_t at;      /* ticks[at..count) are to come */
    uint32_t count;
    uint32_t ask; /* number of the last ask */
    bool asked;   /* its answer is still to come */
    bool queued;
    bool holes; /* something has been lost: what is not known to be whole begins with a gap */
    uint32_t queue_prev;
    uint32_t queue_next;
    kmy_tick_t ticks[KMY_HISTORY_TICKS_MAX];
};

static const kmy_feedlog_t *live_log(const kmy_shard_t *s, const kmy_sub_t *sub)
{
    return &s->feeds[sub->feed].log[sub->encoding];
}

/* --- who wants to ask ----------------------------------------------------------------------------- */

static void join(kmy_shard_t *s, kmy_conn_t *c)
{
    uint32_t idx = kmy_conn_idx(s, c);
    c->past->queued = true;
    c->past->queue_prev = s->past_tail;
    c->past->queue_next = KMY_NONE;
    *(s->past_tail != KMY_NONE ? &s->conns[s->past_tail].past->queue_next : &s->past_head) = idx;
    s->past_tail = idx;
}

static void leave(kmy_shard_t *s, kmy_past_t *p)
{
    if (!p->queued)
        return;
    p->queued = false;
    *(p->queue_prev != KMY_NONE ? &s->conns[p->queue_prev].past->queue_next : &s->past_head) =
        p->queue_next;
    *(p->queue_next != KMY_NONE ? &s->conns[p->queue_next].past->queue_prev : &s->past_tail) =
        p->queue_prev;
}

void kmy_past_free(kmy_shard_t *s, kmy_conn_t *c)
{
    if (!c->past)
        return;
    leave(s, c->past);
    free(c->past->log.marks);
    free(c->past);
    c->past = NULL;
}

/* --- how far back the logs go ------------------------------------------------------------------------ */

/* Does its log hold all of it behind seq? */
static bool reaches(const kmy_shard_t *s, const kmy_sub_t *sub, uint64_t seq)
{
    const kmy_feedlog_t *log = live_log(s, sub);
    return log->first == log->next || sub->cursor >= log->first ||
           kmy_feedlog_seq(log, log->first) <= seq + 1;
}

/* The last seq that only history has; 0: none, the logs do. */
static uint64_t wanted_to(const kmy_shard_t *s, const kmy_conn_t *c, uint64_t seq)
{
    uint64_t to = 0;
    for (uint32_t i = c->subs_head; i != KMY_NONE; i = s->subs[i].next) {
        const kmy_feedlog_t *log = live_log(s, &s->subs[i]);
        if (reaches(s, &s->subs[i], seq))
            continue;
        uint64_t before = kmy_feedlog_seq(log, log->first) - 1;
        to = before > to ? before : to;
    }
    return to;
}

/* From here on the logs serve; a subscription is no slow reader until it has caught up with them (sub->past).  A cursor below its log belongs to a feed of which history had nothing: nothing was missed, unless something was lost. */
static void go_live(kmy_shard_t *s, kmy_conn_t *c, uint64_t seq, bool lost)
{
    c->after_seq = seq;
    kmy_past_free(s, c);
    for (uint32_t i = c->subs_head; i != KMY_NONE; i = s->subs[i].next) {
        kmy_sub_t *sub = &s->subs[i];
        const kmy_feedlog_t *log = live_log(s, sub);
        if (sub->cursor < log->first && (lost || sub->cursor > 1))
            kmy_sub_skip(sub, log->first, KMY_GAP_HISTORY);
        else if (sub->cursor < log->first)
            sub->cursor = sub->run_from = log->first;
        if (sub->cursor < log->next)
            kmy_egress_pend(s, i);
    }
}

void kmy_past_begin(kmy_shard_t *s, kmy_conn_t *c, uint64_t seq)
{
    KMY_ASSERT(!c->past);
    if (c->subs_head == KMY_NONE || s->subs[c->subs_head].pace_slots > 0)
        return; /* with max_hz there is no history */
    if (wanted_to(s, c, seq) == 0) {
        go_live(s, c, seq, false);
        return;
    }
    c->past = calloc(1, sizeof *c->past);
    if (!c->past) {
        go_live(s, c, seq, true);
        return;
    }
    c->past->seq = seq;
    c->past->sub = KMY_NONE;
    join(s, c);
}

/* --- runs ---------------------------------------------------------------------------------------- */

/* The next ticks of one feed in one piece, encoded.  false: no memory; they are left out, and told as a gap. */
static bool encode_run(kmy_shard_t *s, kmy_past_t *p, kmy_sub_t *sub, uint32_t n)
{
    uint8_t *frames = (uint8_t *)s->scratch; /* kmy_catchup does the same */
    const kmy_tick_t *ticks = &p->ticks[p->at];
    kmy_feedlog_mark_t marks[KMY_HISTORY_TICKS_MAX];
    size_t len = 0;
    uint32_t k = 0;
    for (; k < n && len + KMY_TICK_FRAME_BYTES_MAX <= KMY_CATCHUP_BYTES_MAX; k++) {
        marks[(ticks[0].offset + k) & (KMY_HISTORY_TICKS_MAX - 1)] =
            (kmy_feedlog_mark_t){ len, s->now_ns, ticks[k].seq };
        len += kmy_subs_encode(s, &s->feeds[sub->feed], sub->encoding, &ticks[k], frames + len);
    }
    p->at += k;
    p->run_seq = ticks[k - 1].seq;
    kmy_feedlog_mark_t *kept = malloc(sizeof marks + len);
    if (!kept)
        return false;
    memcpy(kept, marks, sizeof marks);
    memcpy(kept + KMY_HISTORY_TICKS_MAX, frames, len);
    p->log = (kmy_feedlog_t){
        .bytes = (uint8_t *)(kept + KMY_HISTORY_TICKS_MAX),
        .marks = kept,
        .bytes_cap = KMY_CATCHUP_BYTES_MAX, /* a mask: no position reaches it */
        .marks_cap = KMY_HISTORY_TICKS_MAX,
        .first = ticks[0].offset,
        .next = ticks[0].offset + k,
        .end = len,
    };
    return true;
}

/* The first tick of a feed of which it is not known where it stood: whole as long as nothing was lost at all. */
static void place(kmy_past_t *p, kmy_sub_t *sub, uint64_t offset)
{
    if (sub->cursor == 1 && !p->holes)
        sub->cursor = sub->run_from = offset;
    else
        kmy_sub_skip(sub, offset, KMY_GAP_HISTORY);
}

static bool next_run(kmy_shard_t *s, kmy_conn_t *c)
{
    kmy_past_t *p = c->past;
    while (p->at < p->count) {
        const kmy_tick_t *t = &p->ticks[p->at];
        const kmy_feed_t *feed = kmy_catalog_by_id(s->catalog, t->feed_id);
        uint32_t idx = feed ? kmy_subs_find(s, c, feed->idx) : KMY_NONE;
        if (idx == KMY_NONE || t->offset < s->subs[idx].cursor) {
            p->at++;
            continue;
        }
        uint32_t n = 1;
        while (p->at + n < p->count && t[n].feed_id == t->feed_id && t[n].offset == t->offset + n)
            n++;
        place(p, &s->subs[idx], t->offset);
        if (!encode_run(s, p, &s->subs[idx], n))
            continue;
        p->sub = idx;
        return true;
    }
    return false;
}

static void end_run(kmy_past_t *p)
{
    free(p->log.marks);
    memset(&p->log, 0, sizeof p->log);
    p->sub = KMY_NONE;
    p->seq = p->run_seq;
}

const kmy_feedlog_t *kmy_past_log(kmy_shard_t *s, kmy_conn_t *c, uint32_t *sub)
{
    kmy_past_t *p = c->past;
    if (p->sub != KMY_NONE && s->subs[p->sub].cursor >= p->log.next)
        end_run(p);
    if (p->sub == KMY_NONE && !p->asked && !p->queued && !next_run(s, c)) {
        p->seq = p->next - 1;
        if (wanted_to(s, c, p->seq) == 0)
            go_live(s, c, p->seq, p->holes);
        else
            join(s, c);
        return NULL;
    }
    *sub = p->sub;
    return p->sub != KMY_NONE ? &p->log : NULL;
}

const kmy_feedlog_t *kmy_past_run(const kmy_conn_t *c)
{
    KMY_ASSERT(c->past && c->past->log.bytes);
    return &c->past->log;
}

/* --- asks and answers -------------------------------------------------------------------------------- */

void kmy_past_answer(kmy_shard_t *s, const kmy_history_chunk_t *chunk)
{
    kmy_conn_t *c = kmy_conn_at(s, chunk->conn);
    kmy_past_t *p = c->gen == chunk->gen && c->state == KMY_CONN_SSE ? c->past : NULL;
    s->past_busy--;
    if (!p || !p->asked || p->ask != chunk->ask)
        return; /* it hung up meanwhile */
    p->asked = false;
    p->holes |= chunk->holes;
    p->at = 0;
    p->count = chunk->count;
    p->next = chunk->next;
    memcpy(p->ticks, chunk->ticks, chunk->count * sizeof p->ticks[0]);
    kmy_egress_pend(s, c->subs_head); /* so that it is gathered for, whoever is next */
}

static void send_ask(kmy_shard_t *s, kmy_conn_t *c, uint64_t slot)
{
    kmy_past_t *p = c->past;
    kmy_history_chunk_t *chunk = &s->chunks[slot];
    uint64_t to = wanted_to(s, c, p->seq);
    chunk->kind = KMY_HISTORY_SEQS;
    chunk->conn = kmy_conn_idx(s, c);
    chunk->gen = c->gen;
    chunk->sub = KMY_NONE;
    chunk->ask = ++p->ask;
    chunk->from = p->seq + 1;
    chunk->to = to > p->seq ? to : p->seq + 1;
    chunk->seq = 0;
    chunk->recorded_seq = s->ring_cursor;
    chunk->count_max = KMY_HISTORY_TICKS_MAX;
    memset(chunk->feeds, 0, sizeof chunk->feeds);
    for (uint32_t i = c->subs_head; i != KMY_NONE; i = s->subs[i].next)
        chunk->feeds[s->subs[i].feed / 64] |= UINT64_C(1) << s->subs[i].feed % 64;
    p->asked = true;
    s->past_busy++;
    bool pushed = kmy_queue_push(s->history_asks, &slot);
    KMY_ASSERT(pushed); /* it has a slot for each chunk */
}

bool kmy_past_ask(kmy_shard_t *s)
{
    bool any = false;
    while (s->past_head != KMY_NONE && s->chunks_free && s->past_busy < BUSY_MAX) {
        kmy_conn_t *c = kmy_conn_at(s, s->past_head);
        uint64_t slot = (uint64_t)__builtin_ctz(s->chunks_free);
        leave(s, c->past);
        if (c->state != KMY_CONN_SSE || c->subs_head == KMY_NONE)
            continue; /* it is leaving */
        s->chunks_free &= ~(1u << slot);
        send_ask(s, c, slot);
        any = true;
    }
    return any;
}
