/* beside the way of a tick   in: store/snapshot   out: engine/catchup (shard) */
#include "engine/history.h"

#include "base/clock.h"
#include "base/log.h"
#include "engine/history_export.h"
#include "wire/flat.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

enum {
    ROWS_PER_SLICE = 8192, /* looked at for one ask before the next one's turn: 1 to 2 ms */
    ROWS_PER_SEEK = 2048,  /* of other feeds in a row: then the index may know a nearer place */
    IDLE_MS = 1000,
    COMPLAIN_EVERY_S = 10,
};
#define NS_PER_MINUTE (60 * KMY_NS_PER_S)

/* An ask that is being served. */
typedef struct work {
    kmy_history_chunk_t *chunk;
    uint64_t slot; /* its index, to give it back */
    uint32_t shard;
    uint32_t feed_id;
    uint64_t at_seq;     /* rows below it have been looked at; 0: begin by the index */
    uint64_t strange;    /* rows since the last one of this feed */
    uint64_t wanted;     /* OFFSETS: the next offset */
    int64_t at_ns;       /* TIMES: receipt of the newest row looked at, of whatever feed */
    int64_t deadline_ns; /* when waiting for the recorder ends */
    bool waits;
} work_t;

typedef enum { SLICE_DONE, SLICE_MORE, SLICE_WAIT } slice_t;

struct kmy_history {
    kmy_snapshot_reader_t *reader;
    const kmy_catalog_t *catalog;
    kmy_topology_t *topology;
    kmy_metrics_t *metrics;
    kmy_history_export_t export;
    work_t *work; /* shards_count x KMY_HISTORY_CHUNKS: all that can be asked at once */
    uint32_t work_count;
    int64_t complained_ns;
    atomic_bool stop;
    pthread_t thread;
};

/* --- one slice ------------------------------------------------------------------------------------ */

/* A visit of history and what it found. */
typedef struct visit {
    const kmy_catalog_t *catalog;
    work_t *w;
    uint32_t rows;
    bool done;    /* nothing further is wanted */
    bool stopped; /* else the rows came to their end */
} visit_t;

static bool append(kmy_history_chunk_t *c, const kmy_tick_t *tick)
{
    c->ticks[c->count++] = *tick;
    return c->count < c->count_max;
}

/* false: nothing further is wanted. */
static bool take_offset(work_t *w, const kmy_tick_t *tick)
{
    kmy_history_chunk_t *c = w->chunk;
    if (tick->offset < w->wanted)
        return true;
    if (tick->offset > c->to || (c->count > 0 && tick->offset != w->wanted))
        return false; /* one unbroken run: a hole behind it is the next ask's */
    w->wanted = tick->offset + 1;
    return append(c, tick) && tick->offset < c->to;
}

static bool take_seq(const kmy_catalog_t *catalog, work_t *w, const kmy_tick_t *tick)
{
    kmy_history_chunk_t *c = w->chunk;
    if (tick->seq > c->to)
        return false;
    const kmy_feed_t *feed = kmy_catalog_by_id(catalog, tick->feed_id);
    if (!feed || !(c->feeds[feed->idx / 64] >> feed->idx % 64 & 1))
        return true;
    return append(c, tick);
}

static bool take_time(work_t *w, const kmy_tick_t *tick)
{
    kmy_history_chunk_t *c = w->chunk;
    if (tick->recv_ns > (int64_t)c->to)
        return false;
    return tick->recv_ns < (int64_t)c->from || append(c, tick);
}

/* A row of another feed.  Rows stand in order of receipt, so beyond `to` there is nothing to look for; a clock that was set back is given a minute. */
static bool pass_time(work_t *w, const kmy_tick_t *tick)
{
    w->at_ns = tick->recv_ns;
    return tick->recv_ns / NS_PER_MINUTE <= (int64_t)w->chunk->to / NS_PER_MINUTE + 1;
}

static bool look(void *arg, uint64_t seq, const void *value, size_t bytes)
{
    visit_t *v = arg;
    work_t *w = v->w;
    kmy_tick_t tick;
    bool more = true;
    bool whole = kmy_flat_decode(value, bytes, &tick, NULL, NULL) == KMY_OK && tick.seq == seq;
    if (w->chunk->kind == KMY_HISTORY_SEQS && w->at_seq <= w->chunk->to && seq != w->at_seq)
        w->chunk->holes = true;
    if (whole && w->chunk->kind == KMY_HISTORY_SEQS) {
        more = take_seq(v->catalog, w, &tick);
    } else if (whole && tick.feed_id == w->feed_id) {
        w->strange = 0;
        more = w->chunk->kind == KMY_HISTORY_OFFSETS ? take_offset(w, &tick) : take_time(w, &tick);
    } else {
        w->strange++;
        if (whole && w->chunk->kind == KMY_HISTORY_TIMES)
            more = pass_time(w, &tick);
    }
    bool taken = more || (w->chunk->count > 0 && w->chunk->ticks[w->chunk->count - 1].seq == seq);
    w->at_seq =
        taken ? seq + 1 : seq; /* what ended the chunk without being in it is looked at again */
    v->done = !more;
    v->rows++;
    v->stopped = v->done || v->rows == ROWS_PER_SLICE || w->strange >= ROWS_PER_SEEK;
    return !v->stopped;
}

/* The minute in which the next wanted tick may be, at the earliest. */
static uint32_t minute_wanted(const work_t *w)
{
    int64_t from_ns = (int64_t)w->chunk->from;
    return (uint32_t)((w->at_ns > from_ns ? w->at_ns : from_ns) / NS_PER_MINUTE);
}

/* Where the index says that the next wanted tick may be; KMY_NOT_FOUND: it knows of none. */
static kmy_err_t seek(kmy_history_t *h, work_t *w, kmy_errctx_t *ctx)
{
    const kmy_history_chunk_t *c = w->chunk;
    uint64_t seq = 0;
    uint64_t offset;
    kmy_err_t err;
    if (c->kind == KMY_HISTORY_OFFSETS)
        err = kmy_snapshot_seek_offset(h->reader, w->feed_id, w->wanted, &seq, ctx);
    else
        err = kmy_snapshot_seek(h->reader, w->feed_id, minute_wanted(w), &seq, &offset, ctx);
    if (err == KMY_OK && seq > w->at_seq)
        w->at_seq = seq;
    return err;
}

/* Nothing but ticks behind those rows could still be wanted, and they are all there: is the answer whole? */
static slice_t at_the_end(work_t *w, bool recorded, int64_t now_ns)
{
    kmy_history_chunk_t *c = w->chunk;
    if (recorded || c->kind == KMY_HISTORY_TIMES || now_ns >= w->deadline_ns) {
        c->holes |= c->kind == KMY_HISTORY_SEQS && w->at_seq <= c->to;
        c->next = c->to + 1;
        return SLICE_DONE;
    }
    return c->count > 0 ? SLICE_DONE : SLICE_WAIT;
}

static slice_t slice(kmy_history_t *h, work_t *w, int64_t now_ns, kmy_errctx_t *ctx)
{
    kmy_history_chunk_t *c = w->chunk;
    if (c->kind == KMY_HISTORY_EXPORT) {
        c->blob = kmy_history_export(&h->export, now_ns);
        c->next = c->to + 1;
        return SLICE_DONE;
    }
    /* Read before the rows: what was recorded by now, they show. */
    bool recorded =
        atomic_load_explicit(&h->topology->recorded.seq, memory_order_acquire) >= c->recorded_seq;
    bool indexed = c->kind != KMY_HISTORY_SEQS;
    kmy_err_t err = KMY_OK;
    if (indexed && (w->at_seq == 0 || w->strange >= ROWS_PER_SEEK)) {
        w->strange = 0;
        err = seek(h, w, ctx);
    }
    visit_t v = { .catalog = h->catalog, .w = w };
    if (err == KMY_OK)
        err = kmy_snapshot_visit_history(h->reader, w->at_seq, look, &v, ctx);
    if (err != KMY_OK &&
        err != KMY_NOT_FOUND) { /* the store is broken: all that is left is missing */
        c->next = c->to + 1;
        if (h->complained_ns == 0 || now_ns - h->complained_ns > COMPLAIN_EVERY_S * KMY_NS_PER_S)
            kmy_log(KMY_LOG_ERROR, "history", "%s; resuming sessions get gaps", ctx->detail);
        h->complained_ns = now_ns;
        return SLICE_DONE;
    }
    KMY_COUNT(h->metrics, history_row_total, v.rows);
    if (v.done)
        return SLICE_DONE;
    return v.stopped ? SLICE_MORE : at_the_end(w, recorded, now_ns);
}

/* `next` follows from what is in the chunk, unless the end has set it. */
static void finish(work_t *w)
{
    kmy_history_chunk_t *c = w->chunk;
    c->next_seq = w->at_seq;
    if (c->next > c->to)
        return;
    if (c->kind == KMY_HISTORY_SEQS)
        c->next = w->at_seq;
    else if (c->kind == KMY_HISTORY_TIMES)
        c->next = c->count == c->count_max ? c->from : c->to + 1;
    else
        c->next = c->count > 0 ? w->wanted : c->to + 1;
}

/* --- the thread ----------------------------------------------------------------------------------- */

static void begin(kmy_history_t *h, uint32_t shard, uint64_t slot)
{
    kmy_history_chunk_t *c = &h->topology->history_chunks[shard][slot];
    KMY_ASSERT(slot < KMY_HISTORY_CHUNKS);
    KMY_ASSERT(c->count_max > 0);
    KMY_ASSERT(c->count_max <= KMY_HISTORY_TICKS_MAX);
    KMY_ASSERT(c->to < UINT64_MAX); /* so that what follows it is a number */
    KMY_ASSERT(h->work_count < h->topology->shards_count * KMY_HISTORY_CHUNKS);
    c->count = 0;
    c->next = c->from;
    c->blob = NULL;
    c->holes = false;
    h->work[h->work_count++] = (work_t){
        .chunk = c,
        .slot = slot,
        .shard = shard,
        .feed_id = c->kind == KMY_HISTORY_OFFSETS || c->kind == KMY_HISTORY_TIMES
                       ? h->catalog->feeds[c->feed].id
                       : 0,
        .at_seq = c->kind == KMY_HISTORY_SEQS ? c->from : c->seq,
        .wanted = c->from,
        .deadline_ns = kmy_mono_ns() + KMY_HISTORY_PATIENCE_NS,
    };
    KMY_COUNT(h->metrics, history_ask_total, 1);
}

static void take_asks(kmy_history_t *h)
{
    for (uint32_t i = 0; i < h->topology->shards_count; i++) {
        uint64_t slot;
        while (kmy_queue_pop(h->topology->shard_history[i], &slot))
            begin(h, i, slot);
    }
}

static void answer(kmy_history_t *h, work_t *w)
{
    finish(w);
    KMY_COUNT(h->metrics, history_tick_total, w->chunk->count);
    bool pushed = kmy_queue_push(h->topology->history_shard[w->shard], &w->slot);
    KMY_ASSERT(pushed); /* it has a slot for each chunk */
    kmy_wake_signal(&h->topology->shard_wake[w->shard]);
}

/* A slice of each ask; those that are done give their place to the last one.  Returns how many got on. */
static uint32_t serve(kmy_history_t *h)
{
    uint32_t busy = 0;
    for (uint32_t i = 0; i < h->work_count;) {
        kmy_errctx_t ctx = { 0 };
        work_t *w = &h->work[i];
        slice_t how = slice(h, w, kmy_mono_ns(), &ctx);
        w->waits = how == SLICE_WAIT;
        busy += how != SLICE_WAIT;
        if (how == SLICE_DONE) {
            answer(h, w);
            *w = h->work[--h->work_count];
        } else {
            i++;
        }
    }
    return busy;
}

static int sleep_ms(const kmy_history_t *h)
{
    int64_t ms = IDLE_MS;
    int64_t now_ns = kmy_mono_ns();
    for (uint32_t i = 0; i < h->work_count; i++) {
        int64_t left_ms = (h->work[i].deadline_ns - now_ns) / KMY_NS_PER_MS + 1;
        ms = left_ms < ms ? left_ms : ms;
    }
    return ms > 0 ? (int)ms : 0;
}

static void drain(kmy_wake_t *w)
{
    uint64_t n;
    kmy_wake_disarm(w);
    ssize_t got = read(w->fd, &n, sizeof n);
    (void)got;
}

/* Until something is asked; or until the recorder wrote something, if somebody waits for that.  `seen`: how far it was before the
   last look at the rows. */
static void wait_for_work(kmy_history_t *h, uint64_t seen)
{
    kmy_topology_t *t = h->topology;
    bool waits = h->work_count > 0;
    kmy_wake_arm(&t->history_wake);
    if (waits)
        kmy_wake_arm(&t->recorded.wake);
    bool idle = atomic_load_explicit(&t->recorded.seq, memory_order_acquire) == seen || !waits;
    for (uint32_t i = 0; idle && i < t->shards_count; i++)
        idle = kmy_queue_count(t->shard_history[i]) == 0;
    if (idle && !atomic_load(&h->stop)) {
        struct pollfd p[] = { { t->history_wake.fd, POLLIN, 0 },
                              { t->recorded.wake.fd, POLLIN, 0 } };
        poll(p, waits ? 2 : 1, sleep_ms(h));
    }
    drain(&t->history_wake);
    if (waits)
        drain(&t->recorded.wake);
}

static void *run(void *arg)
{
    kmy_history_t *h = arg;
    pthread_setname_np(pthread_self(), "kmy-history");
    while (!atomic_load(&h->stop)) {
        uint64_t seen = atomic_load_explicit(&h->topology->recorded.seq, memory_order_acquire);
        take_asks(h);
        if (serve(h) == 0)
            wait_for_work(h, seen);
    }
    return NULL;
}

kmy_err_t kmy_history_start(kmy_history_t **out, kmy_snapshot_t *store,
                            const kmy_catalog_t *catalog, kmy_topology_t *topology,
                            kmy_metrics_t *metrics, kmy_errctx_t *ctx)
{
    kmy_history_t *h = calloc(1, sizeof *h);
    work_t *work = calloc((size_t)topology->shards_count * KMY_HISTORY_CHUNKS, sizeof *work);
    kmy_err_t err = KMY_OK;
    if (!h || !work)
        err = KMY_FAIL(ctx, KMY_IO, "out of memory");
    if (err == KMY_OK)
        err = kmy_snapshot_reader_share(&h->reader, store, ctx);
    if (err == KMY_OK) {
        h->catalog = catalog;
        h->topology = topology;
        h->metrics = metrics;
        h->work = work;
        h->export = (kmy_history_export_t){ .reader = h->reader,
                                            .catalog = catalog,
                                            .epoch = kmy_snapshot_epoch(store),
                                            .live = &topology->blobs_live };
        atomic_init(&h->stop, false);
        int rc = pthread_create(&h->thread, NULL, run, h);
        if (rc != 0) {
            errno = rc;
            err = KMY_FAIL_SYS(ctx, KMY_IO, "no thread for the history reader");
            kmy_snapshot_reader_close(h->reader);
        }
    }
    if (err != KMY_OK) {
        free(work);
        free(h);
        return err;
    }
    *out = h;
    return KMY_OK;
}

void kmy_history_stop(kmy_history_t *h)
{
    atomic_store(&h->stop, true);
    kmy_wake_signal(&h->topology->history_wake);
    pthread_join(h->thread, NULL);
    kmy_blob_unref(h->export.newest);
    kmy_snapshot_reader_close(h->reader);
    free(h->work);
    free(h);
}
