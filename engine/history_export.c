#include "engine/history_export.h"

#include "base/clock.h"
#include "base/log.h"
#include "store/export.h"
#include "wire/flat.h"

#define FRESH_NS                                                                                   \
    (50 * KMY_NS_PER_MS) /* who asks in a crowd shares: the store itself lags by 20 ms */
#define COMPLAIN_EVERY (10 * KMY_NS_PER_S)

typedef struct choice {
    const kmy_catalog_t *catalog;
    kmy_blob_t *blob;
} choice_t;

/* Feeds that are sold, and values that are whole. */
static bool wants(void *arg, uint32_t feed_id, uint8_t source, uint8_t kind, const void *value,
                  size_t bytes)
{
    (void)source;
    (void)kind;
    choice_t *c = arg;
    kmy_tick_t tick;
    const kmy_feed_t *feed = kmy_catalog_by_id(c->catalog, feed_id);
    if (!feed || kmy_flat_decode(value, bytes, &tick, NULL, NULL) != KMY_OK ||
        tick.feed_id != feed_id)
        return false;
    c->blob->feeds[feed->idx / 64] |= UINT64_C(1) << feed->idx % 64;
    return true;
}

static kmy_blob_t *make(kmy_history_export_t *x, int64_t now_ns)
{
    kmy_errctx_t ctx = { 0 };
    kmy_export_t file;
    kmy_blob_t *b = calloc(1, sizeof *b);
    choice_t c = { x->catalog, b };
    kmy_err_t err = KMY_FAIL(&ctx, KMY_IO, "out of memory");
    if (b)
        err = kmy_snapshot_export(&file, x->reader, x->epoch, wants, &c, &ctx);
    if (err != KMY_OK) {
        if (x->told_ns == 0 || now_ns - x->told_ns > COMPLAIN_EVERY)
            kmy_log(KMY_LOG_ERROR, "history", "no snapshot could be made: %s", ctx.detail);
        x->told_ns = now_ns;
        free(b);
        return NULL;
    }
    atomic_init(&b->refs, 1);
    b->live = x->live;
    b->bytes = file.bytes;
    b->len = file.len;
    atomic_fetch_add_explicit(x->live, 1, memory_order_relaxed);
    return b;
}

kmy_blob_t *kmy_history_export(kmy_history_export_t *x, int64_t now_ns)
{
    if (x->newest && now_ns - x->made_ns < FRESH_NS)
        return kmy_blob_ref(x->newest);
    kmy_blob_unref(x->newest);
    x->newest = NULL;
    if (atomic_load_explicit(x->live, memory_order_relaxed) >= KMY_BLOBS_MAX)
        return NULL;
    x->newest = make(x, now_ns);
    x->made_ns = now_ns;
    return x->newest ? kmy_blob_ref(x->newest) : NULL;
}
