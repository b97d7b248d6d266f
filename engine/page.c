/* beside the way of a tick   in: engine/history (chunks)   out: HTTP answers */
#include "engine/page.h"

#include "engine/conn.h"

#include <stdlib.h>
#include <string.h>

/* --- the list of those who wait ------------------------------------------------------------------- */

static void join(kmy_shard_t *s, kmy_conn_t *c)
{
    uint32_t idx = kmy_conn_idx(s, c);
    c->page->waits = true;
    c->page->prev = s->pages_tail;
    c->page->next = KMY_NONE;
    *(s->pages_tail != KMY_NONE ? &s->conns[s->pages_tail].page->next : &s->pages_head) = idx;
    s->pages_tail = idx;
}

static void leave(kmy_shard_t *s, kmy_page_t *p)
{
    p->waits = false;
    *(p->prev != KMY_NONE ? &s->conns[p->prev].page->next : &s->pages_head) = p->next;
    *(p->next != KMY_NONE ? &s->conns[p->next].page->prev : &s->pages_tail) = p->prev;
}

void kmy_page_forget(kmy_shard_t *s, kmy_conn_t *c)
{
    if (!c->page)
        return;
    if (c->page->waits)
        leave(s, c->page);
    free(c->page->ticks);
    kmy_blob_unref(c->page->blob);
    free(c->page);
    c->page = NULL;
}

void kmy_page_begin(kmy_shard_t *s, kmy_conn_t *c, kmy_page_t *page)
{
    KMY_ASSERT(!c->page);
    c->page = page;
    join(s, c);
    kmy_conn_park(c);
}

/* --- asking ------------------------------------------------------------------------------------------ */

static void send_ask(kmy_shard_t *s, kmy_conn_t *c, uint64_t slot)
{
    kmy_page_t *p = c->page;
    kmy_history_chunk_t *chunk = &s->chunks[slot];
    uint32_t left = p->kind == KMY_HISTORY_TIMES ? p->limit - p->count : 1;
    p->asked = true;
    chunk->kind = p->kind;
    chunk->feed = p->feed ? p->feed->idx : 0;
    chunk->conn = kmy_conn_idx(s, c);
    chunk->gen = c->gen;
    chunk->sub = KMY_NONE;
    chunk->ask = ++p->ask;
    chunk->from = p->from;
    chunk->to = p->to;
    chunk->seq = p->seq;
    chunk->recorded_seq = 0; /* what is not written yet comes with a later page */
    chunk->count_max = left < KMY_HISTORY_TICKS_MAX ? left : KMY_HISTORY_TICKS_MAX;
    bool pushed = kmy_queue_push(s->history_asks, &slot);
    KMY_ASSERT(pushed); /* it has a slot for each chunk */
}

static bool ask_waiting(kmy_shard_t *s)
{
    bool any = false;
    while (s->pages_head != KMY_NONE && s->chunks_free && s->pages_busy < KMY_PAGES_BUSY) {
        kmy_conn_t *c = kmy_conn_at(s, s->pages_head);
        uint64_t slot = (uint64_t)__builtin_ctz(s->chunks_free);
        leave(s, c->page);
        s->chunks_free &= ~(1u << slot);
        s->pages_busy++;
        send_ask(s, c, slot);
        any = true;
    }
    return any;
}

static void resume(kmy_shard_t *s, kmy_conn_t *c)
{
    KMY_ASSERT(c->parked);
    c->page->whole = true;
    c->parked = false;
    kmy_conn_resume(s, c);
}

/* false: no memory; the page ends with what it has. */
static bool take_ticks(kmy_page_t *p, const kmy_history_chunk_t *chunk)
{
    if (!p->ticks)
        p->ticks = malloc(p->limit * sizeof *p->ticks);
    if (!p->ticks)
        return false;
    KMY_ASSERT(chunk->count <= p->limit - p->count);
    memcpy(p->ticks + p->count, chunk->ticks, chunk->count * sizeof *p->ticks);
    p->count += chunk->count;
    p->seq = chunk->next_seq;
    p->more = chunk->next <= chunk->to;
    return true;
}

/* true: sent on for more. */
static bool take_answer(kmy_shard_t *s, uint64_t slot)
{
    kmy_history_chunk_t *chunk = &s->chunks[slot];
    kmy_conn_t *c = kmy_conn_at(s, chunk->conn);
    kmy_page_t *p = c->gen == chunk->gen && c->state == KMY_CONN_HTTP ? c->page : NULL;
    if (p && p->asked && p->ask == chunk->ask) {
        p->asked = false;
        p->blob = chunk->blob;
        chunk->blob = NULL;
        if (p->kind == KMY_HISTORY_TIMES && take_ticks(p, chunk) && p->more &&
            p->count < p->limit) {
            send_ask(s, c, slot);
            return true;
        }
        s->pages_busy--;
        resume(s, c);
        return false;
    }
    kmy_blob_unref(chunk->blob); /* it hung up meanwhile */
    chunk->blob = NULL;
    s->pages_busy--;
    return false;
}

void kmy_page_turn(kmy_shard_t *s)
{
    bool any = false;
    while (s->pages_back) {
        uint64_t slot = (uint64_t)__builtin_ctz(s->pages_back);
        s->pages_back &= ~(1u << slot);
        if (take_answer(s, slot))
            any = true;
        else
            s->chunks_free |= 1u << slot;
    }
    if (ask_waiting(s) || any)
        kmy_wake_signal(&s->o.topology->history_wake);
}
