/* tick 1..4/8   in: an upstream's socket   out: ringbuf/ring   (the thread that drives them) */
#include "engine/feeds.h"

#include "adapters/normalize.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH                                                                                      \
    32 /* the ring is written in one go and the readers are woken once; measured in bench_ring */
#define SECRET_MAX  4096
#define STATUS_NS   (100 * KMY_NS_PER_MS)
#define SOURCES_MAX KMY_SOURCE_COUNT

struct kmy_feeds {
    kmy_feeds_options_t options;
    pthread_t thread;
    atomic_bool stopping;
    kmy_feed_ws_loop_t *loop;
    kmy_normalizer_t *normalizer;
    kmy_tick_t batch[BATCH];
    size_t batch_count;
    kmy_feed_ws_t *ups[SOURCES_MAX];
    uint8_t ups_source[SOURCES_MAX];
    size_t ups_count;
    int64_t status_ns; /* when the copy below was made */
    pthread_mutex_t
        status_lock; /* never taken by a tick: ten times a second by the thread, and by who asks */
    kmy_feeds_source_t status[SOURCES_MAX];
};

/* ---- the tick's way ---- */

static void publish(kmy_feeds_t *f)
{
    if (f->batch_count == 0)
        return;
    kmy_ring_publish(f->options.ring, f->batch, f->batch_count);
    KMY_COUNT(f->options.metrics, tick_published_total, f->batch_count);
    f->batch_count = 0;
    for (size_t i = 0; i < f->options.wakes_count; i++)
        kmy_wake_signal(f->options.wakes[i]);
}

static void count_refused(kmy_metrics_t *m, kmy_err_t err)
{
    switch (err) {
    case KMY_NOT_FOUND:
        KMY_COUNT(m, upstream_drop_unknown_total, 1);
        break;
    case KMY_DUPLICATE:
        KMY_COUNT(m, upstream_drop_duplicate_total, 1);
        break;
    case KMY_STALE:
        KMY_COUNT(m, upstream_drop_old_total, 1);
        break;
    default:
        KMY_COUNT(m, upstream_drop_range_total, 1);
        break;
    }
}

static void on_quote(void *arg, const kmy_quote_t *quote, int64_t recv_ns, int64_t mono_ns)
{
    kmy_feeds_t *f = arg;
    kmy_err_t err =
        kmy_normalize(f->normalizer, quote, recv_ns, mono_ns, &f->batch[f->batch_count]);
    if (err != KMY_OK) {
        count_refused(f->options.metrics, err);
        return;
    }
    if (++f->batch_count == BATCH)
        publish(f);
}

static void on_reconnected(void *arg, uint8_t source)
{
    kmy_feeds_t *f = arg;
    kmy_normalizer_reconnected(f->normalizer, source);
}

/* ---- the thread ---- */

static void copy_status(kmy_feeds_t *f, int64_t now_ns)
{
    f->status_ns = now_ns;
    pthread_mutex_lock(&f->status_lock);
    for (size_t i = 0; i < f->ups_count; i++) {
        f->status[i].source = f->ups_source[i];
        kmy_feed_ws_status(f->ups[i], &f->status[i].status);
    }
    pthread_mutex_unlock(&f->status_lock);
}

static void *run(void *arg)
{
    kmy_feeds_t *f = arg;
    while (!atomic_load_explicit(&f->stopping, memory_order_acquire)) {
        kmy_feed_ws_loop_turn(f->loop, 100);
        publish(f);
        int64_t now_ns = kmy_mono_ns();
        if (now_ns - f->status_ns >= STATUS_NS)
            copy_status(f, now_ns);
    }
    return NULL;
}

/* ---- start ---- */

/* The first line of the file, or the environment's word; "" if there is none. */
static kmy_err_t read_secret(const char *file, const char *env, char out[SECRET_MAX],
                             kmy_errctx_t *ctx)
{
    out[0] = '\0';
    if (*file != '\0') {
        FILE *in = fopen(file, "re");
        if (in == NULL)
            return KMY_FAIL_SYS(ctx, KMY_CONFIG, "sources.pyth.token_file %.100s: %s", file,
                                strerror(errno));
        setvbuf(in, NULL, _IONBF, 0); /* no copy of it stays in a buffer */
        if (fgets(out, SECRET_MAX, in) == NULL)
            out[0] = '\0';
        fclose(in);
        if (out[strcspn(out, "\r\n")] == '\0' && strlen(out) == SECRET_MAX - 1)
            return KMY_FAIL(ctx, KMY_CONFIG, "sources.pyth.token_file %.100s: longer than %d bytes",
                            file, SECRET_MAX - 2);
    } else if (*env != '\0' && getenv(env) != NULL) {
        if (strlen(getenv(env)) >= SECRET_MAX)
            return KMY_FAIL(ctx, KMY_CONFIG, "environment %.60s: longer than %d bytes", env,
                            SECRET_MAX - 1);
        snprintf(out, SECRET_MAX, "%s", getenv(env));
    }
    out[strcspn(out, "\r\n")] = '\0';
    return KMY_OK;
}

typedef struct names { /* of one source's streams */
    char **items;
    size_t count;
} names_t;

static void free_names(names_t *n)
{
    for (size_t i = 0; i < n->count; i++)
        free(n->items[i]);
    free(n->items);
}

static bool add_name(names_t *n, const char *key, const char *stream)
{
    char text[160];
    size_t len = 0;
    for (; key[len] != '\0' && len < 80; len++) /* lower case in ASCII alone, as Binance wants it */
        text[len] = (char)(key[len] >= 'A' && key[len] <= 'Z' ? key[len] - 'A' + 'a' : key[len]);
    snprintf(text + len, sizeof text - len, "%s%s", *stream ? "@" : "", stream);
    for (size_t i = 0; i < n->count; i++)
        if (strcmp(n->items[i], text) == 0)
            return true; /* two feeds of one key */
    n->items[n->count] = strdup(text);
    return n->items[n->count] != NULL && ++n->count;
}

/* Streams of the source's keys: each key with each of the suffixes. */
static kmy_err_t stream_names(const kmy_catalog_t *cat, uint8_t source, char *const *suffixes,
                              size_t suffixes_count, names_t *out, kmy_errctx_t *ctx)
{
    *out = (names_t){ calloc(cat->keys_count * suffixes_count + 1, sizeof(char *)), 0 };
    bool ok = out->items != NULL;
    for (uint32_t i = 0; ok && i < cat->keys_count; i++)
        for (size_t s = 0; ok && cat->keys[i].source == source && s < suffixes_count; s++)
            ok = add_name(out, cat->keys[i].key, suffixes[s]);
    return ok ? KMY_OK : KMY_FAIL(ctx, KMY_IO, "out of memory");
}

static kmy_err_t add_source(kmy_feeds_t *f, uint8_t source, const char *url, const char *ca_file,
                            const char *secret, const kmy_config_list_t *suffixes,
                            kmy_errctx_t *ctx)
{
    names_t names = { 0 };
    if (*url == '\0')
        return KMY_OK; /* the source is off */
    kmy_err_t err =
        stream_names(f->options.catalog, source, suffixes->items, suffixes->count, &names, ctx);
    if (err == KMY_OK && names.count > 0) {
        kmy_feed_ws_options_t o = {
            .source = source,
            .url = url,
            .ca_file = ca_file,
            .secret = secret,
            .keys = (const char *const *)names.items,
            .keys_count = names.count,
            .metrics = f->options.metrics,
            .on_quote = on_quote,
            .on_reconnected = on_reconnected,
            .arg = f,
        };
        if (f->options.tune)
            f->options.tune(&o);
        err = kmy_feed_ws_add(f->loop, &o, &f->ups[f->ups_count], ctx);
        if (err == KMY_OK)
            f->ups_source[f->ups_count++] = source;
    }
    free_names(&names);
    return err == KMY_BAD_INPUT ? KMY_CONFIG : err;
}

static kmy_err_t add_sources(kmy_feeds_t *f, kmy_errctx_t *ctx)
{
    const kmy_config_t *cfg = f->options.config;
    char secret[SECRET_MAX];
    static char *bare[] = { "" };
    static const kmy_config_list_t by_id = { bare, 1 };
    kmy_err_t err = add_source(f, KMY_SOURCE_BINANCE, cfg->binance.url, cfg->binance.ca_file, "",
                               &cfg->binance.streams, ctx);
    if (err == KMY_OK)
        err = read_secret(cfg->pyth.token_file, cfg->pyth.token_env, secret, ctx);
    if (err == KMY_OK)
        err = add_source(f, KMY_SOURCE_PYTH, cfg->pyth.url, cfg->pyth.ca_file, secret, &by_id, ctx);
    explicit_bzero(secret, sizeof secret);
    return err;
}

static kmy_err_t add_keys(kmy_feeds_t *f, kmy_errctx_t *ctx)
{
    const kmy_catalog_t *cat = f->options.catalog;
    f->normalizer = kmy_normalizer_new(cat->keys_count ? cat->keys_count : 1);
    if (f->normalizer == NULL)
        return KMY_FAIL(ctx, KMY_IO, "out of memory");
    for (uint32_t i = 0; i < cat->keys_count; i++) {
        const kmy_upstream_key_t *k = &cat->keys[i];
        const kmy_feed_t *feed = &cat->feeds[k->feed_idx];
        KMY_ASSERT(feed->id != 0); /* kmy_catalog_assign comes before */
        kmy_err_t err = kmy_normalizer_add(f->normalizer, k->source, k->key, strlen(k->key),
                                           feed->id, feed->last_offset);
        if (err != KMY_OK)
            return KMY_FAIL(ctx, KMY_CONFIG, "%s of %s: %s", feed->name, kmy_source_name(k->source),
                            err == KMY_DUPLICATE ? "another feed has this key already"
                                                 : kmy_err_text(err));
    }
    return KMY_OK;
}

static void free_feeds(kmy_feeds_t *f)
{
    kmy_feed_ws_loop_free(f->loop);
    kmy_normalizer_free(f->normalizer);
    pthread_mutex_destroy(&f->status_lock);
    free(f);
}

kmy_err_t kmy_feeds_start(kmy_feeds_t **out, const kmy_feeds_options_t *options, kmy_errctx_t *ctx)
{
    kmy_feeds_t *f = calloc(1, sizeof *f);
    if (f == NULL)
        return KMY_FAIL(ctx, KMY_IO, "out of memory");
    f->options = *options;
    pthread_mutex_init(&f->status_lock, NULL);
    f->loop = kmy_feed_ws_loop_new(ctx);
    kmy_err_t err = f->loop ? add_keys(f, ctx) : KMY_IO;
    if (err == KMY_OK)
        err = add_sources(f, ctx);
    if (err == KMY_OK) {
        copy_status(f, kmy_mono_ns());
        int rc = pthread_create(&f->thread, NULL, run, f);
        if (rc != 0)
            err = KMY_FAIL(ctx, KMY_IO, "no thread for feeds: %s", strerror(rc));
    }
    if (err != KMY_OK) {
        free_feeds(f);
        return err;
    }
    pthread_setname_np(f->thread, "feeds");
    *out = f;
    return KMY_OK;
}

void kmy_feeds_stop(kmy_feeds_t *f)
{
    if (f == NULL)
        return;
    atomic_store_explicit(&f->stopping, true, memory_order_release);
    kmy_feed_ws_loop_cancel(f->loop);
    pthread_join(f->thread, NULL);
    kmy_feed_ws_loop_free(f->loop); /* not by the thread, which could be faster than our cancel */
    f->loop = NULL;
    publish(f);
    free_feeds(f);
}

size_t kmy_feeds_sources(kmy_feeds_t *f, kmy_feeds_source_t *out, size_t max)
{
    pthread_mutex_lock(&f->status_lock);
    size_t n = f->ups_count < max ? f->ups_count : max;
    memcpy(out, f->status, n * sizeof *out);
    pthread_mutex_unlock(&f->status_lock);
    return f->ups_count;
}
