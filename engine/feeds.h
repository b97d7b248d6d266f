/* tick 1..4/8   the feeds thread: drives adapters, normalizes, publishes to the ring, wakes the readers

   Publishes at the end of each turn of the upstream loop or when a batch of 32 is full, whichever is first: no tick waits for another. */
#ifndef KMY_ENGINE_FEEDS_H
#define KMY_ENGINE_FEEDS_H

#include "adapters/feed_ws.h"
#include "base/metrics.h"
#include "base/wake.h"
#include "engine/catalog.h"
#include "engine/config.h"
#include "ringbuf/ring.h"

typedef struct kmy_feeds kmy_feeds_t;

typedef struct kmy_feeds_options {
    const kmy_config_t *config;   /* borrowed for the thread's life, as all below */
    const kmy_catalog_t *catalog; /* ids assigned, last offsets filled */
    kmy_ring_t *ring;
    kmy_wake_t *const *wakes; /* one per reader thread; signalled after each publish */
    size_t wakes_count;
    kmy_metrics_t *metrics; /* this thread is its writer */
    void (*tune)(kmy_feed_ws_options_t
                     *o); /* NULL, or shortens limits before an upstream is added: for tests */
} kmy_feeds_options_t;

/* Makes the thread and its upstreams.  KMY_CONFIG: an URL, a key, a secret or the CA file is wrong.  A source with an empty URL or no keys is off. */
kmy_err_t kmy_feeds_start(kmy_feeds_t **out, const kmy_feeds_options_t *options, kmy_errctx_t *ctx);
/* Closes upstream connections politely, publishes what is in hand, joins the thread, frees. */
void kmy_feeds_stop(kmy_feeds_t *feeds);

/* Any thread: a copy of what the thread last published about its upstreams; returns how many there are. */
typedef struct kmy_feeds_source {
    uint8_t source;
    kmy_feed_ws_status_t status;
} kmy_feeds_source_t;
size_t kmy_feeds_sources(kmy_feeds_t *feeds, kmy_feeds_source_t *out, size_t max);

#endif
