/* into the store 1/2   in: ringbuf/ring   out: store/snapshot */
#include "engine/recorder.h"

#include "base/clock.h"
#include "base/log.h"
#include "wire/flat.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum { BATCH_MAX = 4096, COMPLAIN_EVERY_S = 10 };

struct kmy_recorder {
    kmy_snapshot_t *store;
    kmy_ring_t *ring;
    const kmy_catalog_t *catalog;
    kmy_recorded_t *recorded;
    kmy_metrics_t *metrics;
    size_t batch;
    int64_t flush_every_ns;
    kmy_flat_t *flats; /* one template per feed, by catalog idx */
    kmy_tick_t ticks[BATCH_MAX];
    uint8_t values[BATCH_MAX][KMY_TICK_FLAT_BYTES_MAX];
    kmy_snapshot_item_t items[BATCH_MAX];
    uint64_t cursor;
    uint64_t lost;
    int64_t complained_ns;
    atomic_bool stop;
    pthread_t thread;
};

static void flush(kmy_recorder_t *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const kmy_feed_t *feed = kmy_catalog_by_id(r->catalog, r->ticks[i].feed_id);
        KMY_ASSERT(feed != NULL);
        size_t len = kmy_flat_encode(&r->flats[feed->idx], &r->ticks[i], r->values[i]);
        r->items[i] = (kmy_snapshot_item_t){ &r->ticks[i], r->values[i], len };
    }
    kmy_errctx_t ctx = { 0 };
    kmy_err_t err = kmy_snapshot_flush(r->store, r->items, n, kmy_wall_ns(), &ctx);
    if (err == KMY_OK) {
        KMY_COUNT(r->metrics, snapshot_tick_total, n);
        KMY_COUNT(r->metrics, snapshot_flush_total, 1);
        return;
    }
    KMY_COUNT(r->metrics, snapshot_lost_total, n);
    int64_t now_ns = kmy_mono_ns();
    if (r->complained_ns == 0 || now_ns - r->complained_ns > COMPLAIN_EVERY_S * KMY_NS_PER_S) {
        r->complained_ns = now_ns;
        kmy_log(KMY_LOG_ERROR, "recorder",
                "%zu ticks not stored: %s; streams go on, history has a hole", n, ctx.detail);
    }
}

static size_t turn(kmy_recorder_t *r)
{
    uint64_t lost = r->lost;
    size_t n = kmy_ring_read(r->ring, &r->cursor, r->ticks, r->batch, &r->lost);
    if (r->lost != lost)
        KMY_COUNT(r->metrics, snapshot_lost_total, r->lost - lost);
    if (n > 0)
        flush(r, n);
    if (n > 0 || r->lost != lost) { /* committed, or given up: who waits may look */
        atomic_store_explicit(&r->recorded->seq, r->cursor, memory_order_release);
        kmy_wake_signal(&r->recorded->wake);
    }
    return n;
}

static void *run(void *arg)
{
    kmy_recorder_t *r = arg;
    pthread_setname_np(pthread_self(), "kmy-recorder");
    struct timespec every = { r->flush_every_ns / KMY_NS_PER_S, r->flush_every_ns % KMY_NS_PER_S };
    for (;;) {
        bool last = atomic_load(
            &r->stop); /* before the read: what was published before the stop is written */
        size_t n = turn(r);
        if (n == r->batch)
            continue;
        if (last)
            return NULL;
        clock_nanosleep(CLOCK_MONOTONIC, 0, &every,
                        NULL); /* its own pace: nobody need wake it, the ring is long enough */
    }
}

kmy_err_t kmy_recorder_start(kmy_recorder_t **out, kmy_snapshot_t *store, kmy_ring_t *ring,
                             const kmy_catalog_t *catalog, const kmy_config_t *cfg,
                             kmy_recorded_t *recorded, kmy_metrics_t *metrics, kmy_errctx_t *ctx)
{
    kmy_recorder_t *r = calloc(1, sizeof *r);
    kmy_flat_t *flats = calloc(catalog->feeds_count + 1, sizeof *flats);
    if (!r || !flats) {
        free(r);
        free(flats);
        return KMY_FAIL(ctx, KMY_IO, "out of memory");
    }
    r->store = store;
    r->ring = ring;
    r->catalog = catalog;
    r->recorded = recorded;
    r->metrics = metrics;
    r->flats = flats;
    r->batch = (size_t)cfg->snapshot.batch < BATCH_MAX ? (size_t)cfg->snapshot.batch : BATCH_MAX;
    r->flush_every_ns = cfg->snapshot.flush_every_ns;
    r->cursor = kmy_ring_head(ring);
    atomic_store(&recorded->seq, r->cursor);
    atomic_init(&r->stop, false);
    for (uint32_t i = 0; i < catalog->feeds_count; i++)
        kmy_flat_init(&flats[i], KMY_FLAT_STORE, catalog->feeds[i].id, catalog->feeds[i].name);
    int rc = pthread_create(&r->thread, NULL, run, r);
    if (rc != 0) {
        free(flats);
        free(r);
        errno = rc;
        return KMY_FAIL_SYS(ctx, KMY_IO, "no thread for the recorder");
    }
    *out = r;
    return KMY_OK;
}

void kmy_recorder_stop(kmy_recorder_t *r)
{
    atomic_store(&r->stop, true);
    pthread_join(r->thread, NULL);
    free(r->flats);
    free(r);
}
