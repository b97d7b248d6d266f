/* tick 1/8   in: an upstream's socket   out: adapters/binance, adapters/pyth   (the loop and the public calls) */
#include "adapters/feed_inner.h"

#include "base/clock.h"
#include "base/log.h"

#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* splitmix64: jitter, no secrets */
uint64_t kmy_loop_random(kmy_feed_ws_loop_t *loop)
{
    uint64_t z = (loop->random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* libwebsockets' own complaints repeat what our callback reports; they are for whoever debugs. */
static void on_lws_log(int level, const char *line)
{
    (void)level;
    char safe[KMY_LOG_TEXT_BYTES];
    kmy_log(KMY_LOG_DEBUG, "lws", "%s", kmy_log_text(line, strcspn(line, "\n"), safe));
}

kmy_feed_ws_loop_t *kmy_feed_ws_loop_new(kmy_errctx_t *ctx)
{
    kmy_feed_ws_loop_t *loop = calloc(1, sizeof *loop);
    if (loop == NULL) {
        KMY_FAIL(ctx, KMY_IO, "out of memory");
        return NULL;
    }
    if (getrandom(&loop->random, sizeof loop->random, 0) != sizeof loop->random)
        loop->random = (uint64_t)kmy_mono_ns();
    lws_set_log_level(LLL_ERR | LLL_WARN, on_lws_log);
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                   LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS,
        .pt_serv_buf_size = KMY_UPSTREAM_READ_BYTES,
        .fd_limit_per_thread =
            16 + 2 * 64, /* not the process's limit, for which it would take memory */
        .timeout_secs = 10,
        .gid = (gid_t)-1,
        .uid = (uid_t)-1,
        .user = loop,
    };
    loop->held = calloc(KMY_HELD_MAX, sizeof *loop->held);
    loop->lws = loop->held ? lws_create_context(&info) : NULL;
    if (loop->lws == NULL) {
        KMY_FAIL(ctx, KMY_IO, "no libwebsockets context: memory or descriptors are used up");
        free(loop->held);
        free(loop);
        return NULL;
    }
    return loop;
}

/* ---- an upstream ---- */

static void free_link(kmy_link_t *link)
{
    for (int i = 0; i < 2; i++) {
        free(link->legs[i].streams);
        free(link->legs[i].assembly);
    }
}

static void free_up(kmy_feed_ws_t *up)
{
    for (size_t i = 0; up->names && i < up->names_count; i++)
        free(up->names[i]);
    for (uint32_t i = 0; up->links && i < up->links_count; i++)
        free_link(&up->links[i]);
    if (up->secret) {
        explicit_bzero(up->secret, strlen(up->secret));
        free(up->secret);
    }
    if (up->tls_ctx)
        SSL_CTX_free(up->tls_ctx);
    kmy_strmap_fini(&up->keys);
    free(up->names);
    free(up->data_ns);
    free(up->checked_ns);
    free(up->silent);
    free(up->streams_of);
    free(up->links);
    free(up);
}

static void replace_if_set(int64_t *limit, int64_t option)
{
    if (option > 0)
        *limit = option;
}

static void apply_options(kmy_feed_ws_t *up, const kmy_feed_ws_options_t *o)
{
    replace_if_set(&up->row.lifetime_ns, o->lifetime_ns);
    replace_if_set(&up->row.silence_ns_max, o->silence_ns_max);
    replace_if_set(&up->row.data_silence_ns_max, o->data_silence_ns_max);
    replace_if_set(&up->row.dial_ns_max, o->dial_ns_max);
    replace_if_set(&up->row.ack_ns_max, o->ack_ns_max);
    replace_if_set(&up->row.overlap_ns, o->overlap_ns);
    up->options = *o;
    up->options.url = up->options.ca_file = up->options.secret = NULL;
    up->options.keys = NULL;
}

/* Visible ASCII: it becomes a header. */
static kmy_err_t copy_secret(kmy_feed_ws_t *up, const char *secret, kmy_errctx_t *ctx)
{
    if (secret == NULL || *secret == '\0')
        return KMY_OK;
    for (const char *p = secret; *p; p++)
        if (*p <= ' ' || *p >= 0x7f || p - secret >= 4096)
            return KMY_FAIL(ctx, KMY_BAD_INPUT,
                            "the secret must be visible ASCII of at most 4096 bytes");
    up->secret = strdup(secret);
    return up->secret ? KMY_OK : KMY_FAIL(ctx, KMY_IO, "out of memory");
}

static kmy_err_t add_stream(kmy_feed_ws_t *up, uint32_t idx, const char *name, kmy_errctx_t *ctx)
{
    kmy_stream_key_t key;
    uint32_t row;
    char safe[KMY_LOG_TEXT_BYTES];
    if (!up->dialect->read_stream(name, &key))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "%s has no stream %.100s",
                        kmy_source_name(up->row.source), kmy_log_text(name, strlen(name), safe));
    if (!kmy_strmap_get(&up->keys, key.key, key.len, &row)) {
        row = up->keys_count++;
        for (int i = 0; i < KMY_SEQ_COUNT; i++)
            up->streams_of[row][i] = UINT32_MAX;
        if (!kmy_strmap_put(&up->keys, key.key, key.len, row))
            return KMY_FAIL(ctx, KMY_IO, "out of memory");
    }
    if (up->streams_of[row][key.scheme] != UINT32_MAX)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "stream %.100s stands there twice",
                        kmy_log_text(name, strlen(name), safe));
    up->streams_of[row][key.scheme] = idx;
    up->names[idx] = strdup(name);
    return up->names[idx] ? KMY_OK : KMY_FAIL(ctx, KMY_IO, "out of memory");
}

static kmy_err_t copy_streams(kmy_feed_ws_t *up, const kmy_feed_ws_options_t *o, kmy_errctx_t *ctx)
{
    size_t n = o->keys_count;
    if (n == 0)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "%s: nothing to subscribe",
                        kmy_source_name(up->row.source));
    up->names = calloc(n, sizeof *up->names);
    up->data_ns = calloc(n, sizeof *up->data_ns);
    up->checked_ns = calloc(n, sizeof *up->checked_ns);
    up->silent = calloc(n, sizeof *up->silent);
    up->streams_of = calloc(n, sizeof *up->streams_of);
    if (!up->names || !up->data_ns || !up->checked_ns || !up->silent || !up->streams_of)
        return KMY_FAIL(ctx, KMY_IO, "out of memory");
    up->names_count = n;
    for (size_t i = 0; i < n; i++)
        if (add_stream(up, (uint32_t)i, o->keys[i], ctx) != KMY_OK)
            return KMY_BAD_INPUT;
    return KMY_OK;
}

static bool make_leg(kmy_leg_t *leg, kmy_link_t *link)
{
    leg->link = link;
    leg->streams = calloc(link->count, sizeof *leg->streams);
    leg->assembly = malloc(
        KMY_UPSTREAM_FRAME_BYTES_MAX); /* address space; memory only once a large frame came */
    return leg->streams && leg->assembly;
}

static kmy_err_t make_links(kmy_feed_ws_t *up, kmy_errctx_t *ctx)
{
    uint32_t most = up->row.streams_max, n = (uint32_t)up->names_count;
    up->links_count = (n + most - 1) / most;
    up->links = calloc(up->links_count, sizeof *up->links);
    for (uint32_t i = 0; up->links && i < up->links_count; i++) {
        kmy_link_t *link = &up->links[i];
        link->up = up;
        link->first = i * most;
        link->count = n - link->first < most ? n - link->first : most;
        if (!make_leg(&link->legs[0], link) || !make_leg(&link->legs[1], link))
            return KMY_FAIL(ctx, KMY_IO, "out of memory");
    }
    return up->links ? KMY_OK : KMY_FAIL(ctx, KMY_IO, "out of memory");
}

static kmy_err_t make_vhost(kmy_feed_ws_t *up, kmy_errctx_t *ctx)
{
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT | LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS,
        .protocols = kmy_io_protocols,
        .vhost_name = up->authority,
        .provided_client_ssl_ctx = up->tls_ctx,
        .http_proxy_address = "", /* or it would read the environment */
        .connect_timeout_secs = 10,
    };
    up->vhost = lws_create_vhost(up->loop->lws, &info);
    return up->vhost ? KMY_OK
                     : KMY_FAIL(ctx, KMY_IO, "libwebsockets made no vhost for %s", up->host);
}

/* Upstreams of one host share what the host counts by. */
static kmy_connect_budget_t *budget_of(kmy_feed_ws_loop_t *loop, const char *host)
{
    for (size_t i = 0; i < loop->hosts_count; i++)
        if (strcasecmp(loop->hosts[i].name, host) == 0)
            return &loop->hosts[i].budget;
    kmy_host_t *h = &loop->hosts[loop->hosts_count++];
    snprintf(h->name, sizeof h->name, "%s", host);
    return &h->budget;
}

static kmy_err_t fill_up(kmy_feed_ws_t *up, const kmy_feed_ws_options_t *o, kmy_errctx_t *ctx)
{
    kmy_err_t err;
    kmy_strmap_init(&up->keys);
    apply_options(up, o);
    if ((err = kmy_dial_url(up, o->url, ctx)) != KMY_OK ||
        (err = copy_secret(up, o->secret, ctx)) != KMY_OK ||
        (err = copy_streams(up, o, ctx)) != KMY_OK || (err = make_links(up, ctx)) != KMY_OK ||
        (err = kmy_dial_tls(up, o->ca_file, ctx)) != KMY_OK)
        return err;
    return make_vhost(up, ctx);
}

kmy_err_t kmy_feed_ws_add(kmy_feed_ws_loop_t *loop, const kmy_feed_ws_options_t *o,
                          kmy_feed_ws_t **out, kmy_errctx_t *ctx)
{
    KMY_ASSERT(o->on_quote != NULL);
    KMY_ASSERT(o->metrics != NULL);
    const kmy_source_row_t *row = kmy_source_row(o->source);
    if (row == NULL || row->dialect == NULL)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "%s is not read over a WebSocket",
                        kmy_source_name(o->source));
    if (loop->ups_count == KMY_UPSTREAMS_MAX)
        return KMY_FAIL(ctx, KMY_FULL, "more than %d upstreams", KMY_UPSTREAMS_MAX);
    kmy_feed_ws_t *up = calloc(1, sizeof *up);
    if (up == NULL)
        return KMY_FAIL(ctx, KMY_IO, "out of memory");
    up->loop = loop;
    up->row = *row;
    up->dialect = row->dialect;
    kmy_err_t err = fill_up(up, o, ctx);
    if (err != KMY_OK) {
        free_up(up);
        return err;
    }
    up->budget = budget_of(loop, up->host);
    loop->ups[loop->ups_count++] = up;
    loop->clock_ns = 0;
    if (out)
        *out = up;
    return KMY_OK;
}

/* ---- a turn ---- */

static void on_sul(lws_sorted_usec_list_t *sul)
{
    (void)
        sul; /* that the wait ended is all it is for: in 4.1 lws_service's own timeout does nothing */
}

#define EACH_LINK(loop, link)                                                                      \
    for (size_t u_ = 0; u_ < (loop)->ups_count; u_++)                                              \
        for (kmy_link_t *link = (loop)->ups[u_]->links;                                            \
             link < (loop)->ups[u_]->links + (loop)->ups[u_]->links_count; link++)

/* 100 ms is fine enough for limits of seconds; a name that is being resolved and a request that waits for its turn are looked after sooner. */
static void run_clock(kmy_feed_ws_loop_t *loop, int64_t now_ns)
{
    int64_t next_ns = now_ns + 100 * KMY_NS_PER_MS;
    loop->clock_ns = next_ns;
    EACH_LINK(loop, link)
    {
        kmy_link_clock(link, now_ns);
        for (int i = 0; i < 2; i++) {
            const kmy_leg_t *leg = &link->legs[i];
            int64_t at = leg->lookup                                    ? now_ns + 5 * KMY_NS_PER_MS
                         : kmy_leg_has_words(leg)                       ? leg->send_ns
                         : leg->state == KMY_UP_BACKOFF && leg->wake_ns ? leg->wake_ns
                                                                        : next_ns;
            if (at < next_ns)
                next_ns = at > now_ns ? at : now_ns + KMY_NS_PER_MS;
        }
    }
    if (loop->clock_ns != 0) /* 0: an event wants another look at once */
        loop->clock_ns = next_ns;
}

static int wait_ms(const kmy_feed_ws_loop_t *loop, int timeout_ms, int64_t now_ns)
{
    if (loop->busy || loop->clock_ns <= now_ns)
        return 0;
    int64_t ms = (loop->clock_ns - now_ns + KMY_NS_PER_MS - 1) / KMY_NS_PER_MS;
    return ms < timeout_ms ? (int)ms : timeout_ms;
}

static void count_turn(kmy_feed_ws_loop_t *loop)
{
    for (size_t i = 0; i < loop->ups_count; i++) {
        kmy_feed_ws_t *up = loop->ups[i];
        KMY_COUNT(up->options.metrics, upstream_frame_total, up->turn_frames);
        KMY_COUNT(up->options.metrics, upstream_byte_total, up->turn_bytes);
        up->frames_count += up->turn_frames;
        loop->frames += up->turn_frames;
        up->turn_frames = up->turn_bytes = 0;
    }
}

size_t kmy_feed_ws_loop_turn(kmy_feed_ws_loop_t *loop, int timeout_ms)
{
    int64_t now_ns = kmy_mono_ns();
    loop->turn++;
    loop->frames = loop->bytes = 0;
    if (now_ns >= loop->clock_ns)
        run_clock(loop, now_ns);
    int ms = wait_ms(loop, timeout_ms, now_ns);
    if (ms > 0)
        lws_sul_schedule(loop->lws, 0, &loop->sul, on_sul, (lws_usec_t)ms * LWS_US_PER_MS);
    lws_service(loop->lws, ms > 0 ? 0 : -1); /* 0: wait; below: do not */
    loop->busy = false;
    EACH_LINK(loop, link)
    for (int i = 0; i < 2; i++)
        loop->busy |= kmy_io_drain(&link->legs[i]);
    count_turn(loop);
    return loop->frames;
}

void kmy_feed_ws_loop_cancel(kmy_feed_ws_loop_t *loop)
{
    lws_cancel_service(loop->lws);
}

void kmy_feed_ws_loop_free(kmy_feed_ws_loop_t *loop)
{
    if (loop == NULL)
        return;
    int64_t now_ns = kmy_mono_ns(), end_ns = now_ns + 300 * KMY_NS_PER_MS;
    EACH_LINK(loop, link)
    for (int i = 0; i < 2; i++)
        kmy_leg_event(&link->legs[i], KMY_UPEV_STOP, now_ns);
    while (loop->closing_count > 0 && kmy_mono_ns() < end_ns) {
        lws_sul_schedule(loop->lws, 0, &loop->sul, on_sul, 20 * LWS_US_PER_MS);
        lws_service(loop->lws, 0);
    }
    lws_sul_cancel(&loop->sul);
    lws_context_destroy(loop->lws);
    for (size_t i = 0; i < loop->ups_count; i++)
        free_up(loop->ups[i]);
    free(loop->held);
    free(loop);
}

/* ---- what an operator sees ---- */

void kmy_feed_ws_status(const kmy_feed_ws_t *up, kmy_feed_ws_status_t *out)
{
    /* from worst to best; SUBSCRIBING may deliver already */
    static const int rank[KMY_UP_STATES] = {
        [KMY_UP_MISCONFIGURED] = 0, [KMY_UP_BACKOFF] = 1,     [KMY_UP_IDLE] = 2,
        [KMY_UP_DIALING] = 3,       [KMY_UP_SUBSCRIBING] = 4, [KMY_UP_LIVE] = 5
    };
    memset(out, 0, sizeof *out);
    const kmy_leg_t *worst = NULL;
    for (uint32_t i = 0; i < up->links_count; i++) {
        const kmy_leg_t *leg = &up->links[i].legs[up->links[i].main];
        if (worst == NULL || rank[leg->state] < rank[worst->state])
            worst = leg;
        if (leg->byte_ns > out->last_byte_mono_ns)
            out->last_byte_mono_ns = leg->byte_ns;
        if (leg->last_data_ns > out->last_data_mono_ns)
            out->last_data_mono_ns = leg->last_data_ns;
    }
    out->state = worst->state;
    out->since_mono_ns = worst->since_ns;
    out->connects_count = up->connects_count;
    out->frames_count = up->frames_count;
    memcpy(out->last_error, up->last_error, sizeof out->last_error);
}
