/* tick 5/8   in: ringbuf/ring   out: wire/tick_json, wire/flat */
#include "engine/subs.h"

#include "base/clock.h"
#include "engine/account.h"
#include "engine/catchup.h"
#include "engine/compare_route.h"
#include "engine/egress.h"
#include "engine/receipts.h"
#include "engine/stream.h"
#include "engine/uses.h"

#include <stdlib.h>
#include <string.h>

#define LOG_LINGER_NS (60 * KMY_NS_PER_S)

/* The JSON frame compressed, or as it is if that is no longer. */
static size_t deflated_frame(kmy_shard_t *s, kmy_shard_feed_t *f, const kmy_tick_t *tick,
                             uint8_t *out)
{
    char plain[KMY_TICK_JSON_BYTES_MAX];
    size_t len = kmy_tick_json_frame(&f->json, tick, plain);
    size_t head = plain[1] == 126 ? 4 : 2; /* our own frame: unmasked and below 64 KiB */
    uint8_t packed[KMY_TICK_JSON_BYTES_MAX + KMY_WS_DEFLATE_SPARE];
    size_t shorter = len - head - 1;
    size_t n = kmy_ws_deflate(s->deflate, plain + head, len - head, packed,
                              shorter + KMY_WS_DEFLATE_SPARE);
    if (n == 0) {
        memcpy(out, plain, len);
        return len;
    }
    head = kmy_ws_put_header(out, KMY_WS_TEXT, true, true, n, NULL);
    memcpy(out + head, packed, n);
    return head + n;
}

size_t kmy_subs_encode(kmy_shard_t *s, kmy_shard_feed_t *f, int enc, const kmy_tick_t *tick,
                       uint8_t *out)
{
    if (enc == KMY_ENC_SSE)
        return kmy_sse_tick(&f->json, s->o.epoch, tick, (char *)out);
    if (enc == KMY_ENC_JSON)
        return kmy_tick_json_frame(&f->json, tick, (char *)out);
    if (enc == KMY_ENC_JSON_Z)
        return deflated_frame(s, f, tick, out);
    size_t n = kmy_ws_put_header(out, KMY_WS_BINARY, true, false, f->flat.len, NULL);
    return n + kmy_flat_encode(&f->flat, tick, out + n);
}

static void append(kmy_shard_t *s, kmy_shard_feed_t *f, int enc, const kmy_tick_t *tick)
{
    kmy_feedlog_t *log = &f->log[enc];
    uint8_t *out =
        kmy_feedlog_reserve(log, &s->log_limits, tick->offset, KMY_TICK_FRAME_BYTES_MAX, s->now_ns);
    size_t n = kmy_subs_encode(s, f, enc, tick, out);
    kmy_feedlog_commit(log, n, tick->seq, s->now_ns);
}

void kmy_subs_tick(kmy_shard_t *s, const kmy_tick_t *tick)
{
    const kmy_feed_t *feed = kmy_catalog_by_id(s->catalog, tick->feed_id);
    KMY_ASSERT(feed != NULL); /* the normalizer was given the same catalog */
    kmy_shard_feed_t *f = &s->feeds[feed->idx];
    f->last = *tick;
    if ((tick->has & (KMY_HAS_BID | KMY_HAS_ASK)) == (KMY_HAS_BID | KMY_HAS_ASK))
        f->last_quote = *tick;
    kmy_compare_tick(f, feed, tick);
    for (int enc = 0; enc < KMY_ENCODINGS; enc++) {
        if (f->log[enc].bytes)
            append(s, f, enc, tick);
    }
    if (!f->touched && f->subs_count > 0) {
        f->touched = true;
        s->touched_feeds[s->touched_feeds_count++] = feed->idx;
    }
}

void kmy_subs_fan_out(kmy_shard_t *s)
{
    for (uint32_t i = 0; i < s->touched_feeds_count; i++) {
        kmy_shard_feed_t *f = &s->feeds[s->touched_feeds[i]];
        f->touched = false;
        for (uint32_t j = 0; j < f->subs_count; j++)
            kmy_egress_pend(s, f->subs[j]);
    }
    s->touched_feeds_count = 0;
}

bool kmy_feed_is_stale(const kmy_shard_t *s, uint32_t feed)
{
    const kmy_tick_t *last = &s->feeds[feed].last;
    return last->offset == 0 ||
           s->now_wall_ns - last->recv_ns > s->catalog->feeds[feed].stale_after_ns;
}

uint32_t kmy_subs_find(const kmy_shard_t *s, const kmy_conn_t *c, uint32_t feed)
{
    const kmy_shard_feed_t *f = &s->feeds[feed];
    if (f->subs_count < c->subs_count) { /* the shorter list: who takes all feeds asks often */
        uint32_t conn = kmy_conn_idx(s, c);
        for (uint32_t i = 0; i < f->subs_count; i++) {
            if (s->subs[f->subs[i]].conn == conn)
                return f->subs[i];
        }
        return KMY_NONE;
    }
    uint32_t i = c->subs_head;
    while (i != KMY_NONE && s->subs[i].feed != feed)
        i = s->subs[i].next;
    return i;
}

uint32_t kmy_subs_fresh(const kmy_shard_t *s, const kmy_conn_t *c, const uint32_t *feeds,
                        uint32_t count)
{
    uint32_t fresh = 0;
    for (uint32_t i = 0; i < count; i++)
        fresh += kmy_subs_find(s, c, feeds[i]) == KMY_NONE;
    return fresh;
}

static bool list_add(kmy_shard_feed_t *f, uint32_t sub, uint32_t *pos)
{
    if (f->subs_count == f->subs_cap) {
        uint32_t cap = f->subs_cap ? f->subs_cap * 2 : 8;
        uint32_t *grown = realloc(f->subs, cap * sizeof *grown);
        if (!grown)
            return false;
        f->subs = grown;
        f->subs_cap = cap;
    }
    *pos = f->subs_count;
    f->subs[f->subs_count++] = sub;
    return true;
}

static void list_del(kmy_shard_t *s, kmy_shard_feed_t *f, uint32_t pos)
{
    uint32_t last = f->subs[--f->subs_count];
    if (pos < f->subs_count) {
        f->subs[pos] = last;
        s->subs[last].feed_pos = pos;
    }
}

/* The log exists while somebody uses it, and a while longer; a new one begins with the newest tick, so that a snapshot is its first frame. */
static bool use_log(kmy_shard_t *s, kmy_shard_feed_t *f, uint32_t feed, int enc)
{
    kmy_feedlog_t *log = &f->log[enc];
    if (!log->bytes) {
        uint64_t next = f->last.offset ? f->last.offset : s->catalog->feeds[feed].last_offset + 1;
        if (!kmy_feedlog_open(log, next))
            return false;
        if (f->last.offset)
            append(s, f, enc, &f->last);
    }
    log->users_count++;
    return true;
}

/* An unused log is kept for LOG_LINGER_NS: a lone reader that lost its connection comes back and goes on where it was. */
static void leave_log(const kmy_shard_t *s, kmy_feedlog_t *log)
{
    if (--log->users_count == 0)
        log->unused_ns = s->now_ns;
}

void kmy_subs_close_unused(kmy_shard_t *s, uint32_t feed)
{
    for (int enc = 0; enc < KMY_ENCODINGS; enc++) {
        kmy_feedlog_t *log = &s->feeds[feed].log[enc];
        if (log->bytes && log->users_count == 0 && s->now_ns - log->unused_ns > LOG_LINGER_NS)
            kmy_feedlog_close(log);
    }
}

/* Can the client hold that offset?  It may come from another shard that is some ticks ahead of this one: as many as are still unread. */
static bool known(const kmy_shard_t *s, const kmy_resume_t *r, uint64_t next)
{
    if (!r->same_epoch)
        return false;
    return r->offset < next || r->offset - next < kmy_ring_head(s->ring) - s->ring_cursor;
}

/* Where a new subscription begins; notes the hole in front of it, if there is one. */
static void place_cursor(const kmy_shard_t *s, kmy_sub_t *sub, const kmy_feedlog_t *log,
                         bool snapshot, const kmy_resume_t *r)
{
    uint64_t next = log->next;
    bool fresh = log->next > log->first && !kmy_feed_is_stale(s, sub->feed);
    sub->cursor = snapshot && fresh
                      ? next - 1
                      : next; /* an old value is no tick: a status frame tells of it */
    if (r->given &&
        !known(s, r, next)) { /* offsets of another life: nothing can be counted across */
        sub->skipped = sub->cursor > 1;
        sub->skipped_from = 1;
        sub->skip_reason = KMY_GAP_EPOCH;
    } else if (r->given) {
        sub->cursor = r->offset + 1;
        if (sub->encoding == KMY_ENC_SSE && sub->pace_slots == 0)
            sub->past = true; /* kmy_past_begin looks at all of the connection's */
        else if (sub->encoding != KMY_ENC_SSE && sub->cursor < next && sub->pace_slots == 0)
            kmy_catchup_begin(sub);
    }
    sub->run_from = sub->cursor;
}

kmy_resume_t kmy_subs_resume(const kmy_shard_t *s, uint32_t feed, uint64_t seq)
{
    const kmy_shard_feed_t *f = &s->feeds[feed];
    kmy_resume_t r = { .given = true, .same_epoch = true };
    if (f->last.offset == 0 || f->last.seq <= seq) { /* it has not ticked since */
        r.offset = f->last.offset ? f->last.offset : s->catalog->feeds[feed].last_offset;
        return r;
    }
    for (int enc = 0; enc < KMY_ENCODINGS; enc++) { /* any log of the feed tells */
        const kmy_feedlog_t *log = &f->log[enc];
        if (log->next > log->first &&
            (log->first == 1 || kmy_feedlog_seq(log, log->first) <= seq)) {
            r.offset = kmy_feedlog_after(log, log->first, seq) - 1;
            return r;
        }
    }
    return r; /* further back than memory goes */
}

/* Which log serves an encoding on this connection: JSON has two. */
static uint8_t log_for(const kmy_conn_t *c, uint8_t encoding)
{
    if (encoding != KMY_ENC_JSON && encoding != KMY_ENC_JSON_Z)
        return encoding;
    return c->deflate ? KMY_ENC_JSON_Z : KMY_ENC_JSON;
}

static int64_t tick_price(const kmy_shard_t *s, const kmy_conn_t *c, uint32_t feed)
{
    return kmy_account_price(&s->accounts[c->account], s->catalog->feeds[feed].tick_nusd);
}

uint32_t kmy_subs_add(kmy_shard_t *s, kmy_conn_t *c, uint32_t feed, const kmy_sub_options_t *o,
                      const kmy_resume_t *resume)
{
    uint32_t idx = kmy_subs_find(s, c, feed);
    if (idx != KMY_NONE)
        return idx;
    idx = s->subs_free;
    if (idx != KMY_NONE)
        s->subs_free = s->subs[idx].next;
    else if (s->subs_high < s->subs_max)
        idx = s->subs_high++;
    else
        return KMY_NONE;
    kmy_sub_t *sub = &s->subs[idx];
    kmy_shard_feed_t *f = &s->feeds[feed];
    *sub = (kmy_sub_t){
        .price_nusd = o->pass ? 0 : tick_price(s, c, feed),
        .price_of = { s->price_book, o->pass ? 0 : s->accounts[c->account].discount_percent },
        .pass = o->pass,
        .conn = kmy_conn_idx(s, c),
        .feed = feed,
        .next = c->subs_head,
        .pending_next = KMY_NONE,
        .pace_prev = KMY_NONE,
        .pace_slots = o->pace_slots,
        .encoding = log_for(c, o->encoding),
        .repeats = c->charges != NULL,
    };
    if (f->subs_count == 0)
        f->told_stale = kmy_feed_is_stale(s, feed); /* the acknowledgement tells the state itself */
    bool listed = list_add(f, idx, &sub->feed_pos);
    if (!listed || !use_log(s, f, feed, sub->encoding)) {
        if (listed)
            list_del(s, f, sub->feed_pos);
        sub->next = s->subs_free;
        s->subs_free = idx;
        return KMY_NONE;
    }
    c->subs_head = idx;
    c->subs_count++;
    c->pass_subs += o->pass;
    s->subs_count++;
    KMY_GAUGE(s->metrics, subscription_open, s->subs_count);
    place_cursor(s, sub, &f->log[sub->encoding], o->snapshot, resume);
    if (sub->cursor < f->log[sub->encoding].next)
        kmy_egress_pend(s, idx);
    return idx;
}

static void release(kmy_shard_t *s, kmy_conn_t *c, uint32_t idx)
{
    kmy_sub_t *sub = &s->subs[idx];
    kmy_shard_feed_t *f = &s->feeds[sub->feed];
    kmy_uses_take(s, sub); /* also if its receipt finds no room */
    kmy_receipts_take(s, c, sub, kmy_conn_streams(c) ? KMY_RECEIPT_SOON : KMY_RECEIPT_LATER);
    kmy_egress_unpend(s, idx);
    kmy_pace_remove(s, idx);
    kmy_catchup_forget(s, c, idx);
    list_del(s, f, sub->feed_pos);
    leave_log(s, &f->log[sub->encoding]);
    c->subs_count--;
    c->pass_subs -= sub->pass;
    s->subs_count--;
    KMY_GAUGE(s->metrics, subscription_open, s->subs_count);
    sub->next = s->subs_free;
    s->subs_free = idx;
}

void kmy_subs_remove(kmy_shard_t *s, kmy_conn_t *c, uint32_t feed)
{
    uint32_t *link = &c->subs_head;
    while (*link != KMY_NONE && s->subs[*link].feed != feed)
        link = &s->subs[*link].next;
    uint32_t idx = *link;
    if (idx == KMY_NONE)
        return;
    *link = s->subs[idx].next;
    release(s, c, idx);
}

void kmy_stream_unsubscribe_all(kmy_shard_t *s, kmy_conn_t *c)
{
    while (c->subs_head != KMY_NONE) {
        uint32_t idx = c->subs_head;
        c->subs_head = s->subs[idx].next;
        release(s, c, idx);
    }
}

void kmy_subs_go_on(kmy_shard_t *s, kmy_conn_t *c)
{
    for (uint32_t i = c->subs_head; i != KMY_NONE; i = s->subs[i].next) {
        kmy_sub_t *sub = &s->subs[i];
        if (sub->pace_slots == 0 && !sub->past && sub->encoding != KMY_ENC_SSE &&
            sub->cursor < s->feeds[sub->feed].log[sub->encoding].next)
            kmy_catchup_begin(sub);
    }
}
