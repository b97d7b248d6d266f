/* tick 1/8   in: adapters/feed_leg   out: adapters/feed_io   (URL, name, TLS store, connect)

   libwebsockets 4.1 resolves names by blocking, and a resolver that hangs would hold up the ticks of every other venue of the thread.  So names are resolved
   by a thread of their own (not getaddrinfo_a, whose threads sanitizers cannot follow) and libwebsockets gets a numeric address, with the name for SNI, the certificate check and Host. */
#include "adapters/feed_inner.h"

#include "base/clock.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LOOKING, FOUND, FORGOTTEN };

typedef struct kmy_lookup { /* whoever of the two threads comes second frees it */
    atomic_int state;
    int rc; /* of getaddrinfo; valid from FOUND on, as is the list */
    struct addrinfo *list;
    char host[KMY_HOST_BYTES_MAX];
} kmy_lookup_t;

/* ---- URL ---- */

static bool host_ok(const char *host, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        char c = host[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '.' || c == '-' || c == '_';
        if (!ok)
            return false;
    }
    return len > 0 && len < KMY_HOST_BYTES_MAX;
}

static bool target_ok(const char *target)
{
    for (const char *p = target; *p; p++)
        if (*p <= ' ' || *p >= 0x7f || *p == '#')
            return false;
    return true;
}

static kmy_err_t url_port(kmy_feed_ws_t *up, const char *at, const char **end, kmy_errctx_t *ctx)
{
    up->port = up->tls ? 443 : 80;
    *end = at;
    if (*at != ':')
        return KMY_OK;
    char *stop;
    long port = strtol(at + 1, &stop, 10);
    if (at[1] < '0' || at[1] > '9' || port < 1 || port > 65535)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "upstream URL: the port must be 1 to 65535");
    up->port = (int)port;
    *end = stop;
    return KMY_OK;
}

static bool put_target(kmy_feed_ws_t *up, const char *target)
{
    const kmy_dialect_t *d = up->dialect;
    bool bare = *target == '\0' || strcmp(target, "/") == 0;
    const char *path = bare ? d->path : target;
    bool add = d->query && strstr(path, d->query_word) == NULL;
    int n = snprintf(up->target, sizeof up->target, "%s%s%s%s", *path == '/' ? "" : "/", path,
                     !add                ? ""
                     : strchr(path, '?') ? "&"
                                         : "?",
                     add ? d->query : "");
    return n > 0 && (size_t)n < sizeof up->target && target_ok(up->target);
}

kmy_err_t kmy_dial_url(kmy_feed_ws_t *up, const char *url, kmy_errctx_t *ctx)
{
    up->tls = strncmp(url, "wss://", 6) == 0;
    if (!up->tls && strncmp(url, "ws://", 5) != 0)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "upstream URL: it must begin with wss:// or ws://");
    const char *host = url + (up->tls ? 6 : 5), *at;
    size_t len = strcspn(host, ":/?#");
    if (!host_ok(host, len))
        return KMY_FAIL(
            ctx, KMY_BAD_INPUT,
            "upstream URL: the host must be a name or an IPv4 address, at most %d bytes",
            KMY_HOST_BYTES_MAX - 1);
    memcpy(up->host, host, len);
    up->host[len] = '\0';
    if (url_port(up, host + len, &at, ctx) != KMY_OK)
        return KMY_BAD_INPUT;
    if (up->port == (up->tls ? 443 : 80))
        snprintf(up->authority, sizeof up->authority, "%s", up->host);
    else
        snprintf(up->authority, sizeof up->authority, "%s:%d", up->host, up->port);
    if ((*at != '\0' && *at != '/' && *at != '?') || !put_target(up, at))
        return KMY_FAIL(ctx, KMY_BAD_INPUT,
                        "upstream URL: the path must be printable ASCII of at most %d bytes",
                        KMY_TARGET_BYTES_MAX - 40);
    up->micros = up->dialect->micros(up->target);
    return KMY_OK;
}

/* ---- TLS ---- */

/* Our own context and not libwebsockets', which would trust the system's store beside the configured file, and go on without a word if the file is missing.
   Read-ahead takes up to 64 KiB from the socket at once: a venue puts each message in a record of its own, and two read(2) for each would be the thread's
   largest cost.  What is then left inside is fetched by kmy_io_drain. */
kmy_err_t kmy_dial_tls(kmy_feed_ws_t *up, const char *ca_file, kmy_errctx_t *ctx)
{
    if (!up->tls)
        return KMY_OK;
    SSL_CTX *tls = up->tls_ctx = SSL_CTX_new(TLS_client_method());
    if (tls == NULL)
        return KMY_FAIL(ctx, KMY_IO, "no TLS context: out of memory");
    bool file = ca_file != NULL && *ca_file != '\0';
    int ok = file ? SSL_CTX_load_verify_file(tls, ca_file) : SSL_CTX_set_default_verify_paths(tls);
    if (ok != 1) {
        const char *why = ERR_reason_error_string(ERR_peek_last_error());
        kmy_err_t err = KMY_FAIL(ctx, KMY_CONFIG, "CA file %.100s: %s", file ? ca_file : "(system)",
                                 why ? why : "cannot be read");
        ERR_clear_error();
        return err;
    }
    SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL); /* libwebsockets adds the host name's check */
    SSL_CTX_set_read_ahead(tls, 1);
    SSL_CTX_set_default_read_buffer_len(tls, KMY_UPSTREAM_READ_BYTES);
    return KMY_OK;
}

/* ---- name ---- */

static void connect_to(kmy_leg_t *leg, const char *address, int64_t now_ns)
{
    kmy_feed_ws_t *up = leg->link->up;
    struct lws_client_connect_info info = {
        .context = up->loop->lws,
        .vhost = up->vhost,
        .address = address,
        .port = up->port,
        .ssl_connection = (up->tls ? LCCSCF_USE_SSL : 0) | LCCSCF_HTTP_NO_FOLLOW_REDIRECT,
        .path = up->target,
        .host = up->authority,
        .ietf_version_or_minus_one = -1,
        .local_protocol_name = kmy_io_protocols[0].name,
        .alpn = "http/1.1",
        .opaque_user_data = leg,
        .pwsi = &leg->wsi,
    };
    leg->fault[0] = '\0';
    if (lws_client_connect_via_info(&info) == NULL && leg->state == KMY_UP_DIALING) {
        leg->wsi = NULL; /* and its callback was not called, or the state would have changed */
        kmy_leg_lost(leg, KMY_UPEV_DOWN, now_ns, "no socket for %s", address);
    }
}

static void take_address(kmy_leg_t *leg, const struct addrinfo *list, int64_t now_ns)
{
    uint32_t count = 0;
    for (const struct addrinfo *a = list; a; a = a->ai_next)
        count++;
    uint32_t pick = leg->link->up->address_turn++ % count; /* a bad address costs one attempt */
    while (pick-- > 0)
        list = list->ai_next;
    char text[INET6_ADDRSTRLEN] = "";
    if (getnameinfo(list->ai_addr, list->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST))
        kmy_leg_lost(leg, KMY_UPEV_DOWN, now_ns, "an address of %s cannot be read",
                     leg->link->up->host);
    else
        connect_to(leg, text, now_ns);
}

static void free_lookup(kmy_lookup_t *look)
{
    if (look->list)
        freeaddrinfo(look->list);
    free(look);
}

static void *look_up(void *arg)
{
    kmy_lookup_t *look = arg;
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG };
    look->rc = getaddrinfo(look->host, NULL, &hints, &look->list);
    if (atomic_exchange(&look->state, FOUND) == FORGOTTEN) /* pairs with kmy_dial_look, _forget */
        free_lookup(look);
    return NULL;
}

static int start_lookup(kmy_lookup_t *look)
{
    pthread_t thread;
    pthread_attr_t attr;
    int rc = pthread_attr_init(&attr);
    if (rc != 0)
        return rc;
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    rc = pthread_create(&thread, &attr, look_up, look);
    pthread_attr_destroy(&attr);
    return rc;
}

void kmy_dial(kmy_leg_t *leg, int64_t now_ns)
{
    kmy_feed_ws_t *up = leg->link->up;
    struct in_addr v4;
    kmy_connect_budget_spend(up->budget, now_ns);
    if (inet_pton(AF_INET, up->host, &v4) == 1) {
        connect_to(leg, up->host, now_ns);
        return;
    }
    kmy_lookup_t *look = calloc(1, sizeof *look);
    if (look == NULL)
        return; /* the dial's deadline ends it */
    snprintf(look->host, sizeof look->host, "%s", up->host);
    leg->lookup = look;
    int rc = start_lookup(look);
    if (rc == 0)
        return;
    free(look);
    leg->lookup = NULL;
    kmy_leg_lost(leg, KMY_UPEV_DOWN, now_ns, "no thread to resolve %s: %s", up->host, strerror(rc));
}

void kmy_dial_look(kmy_leg_t *leg, int64_t now_ns)
{
    kmy_lookup_t *look = leg->lookup;
    if (atomic_load_explicit(&look->state, memory_order_acquire) != FOUND) /* pairs with look_up */
        return;
    leg->lookup = NULL;
    if (look->rc == 0)
        take_address(leg, look->list, now_ns);
    else
        kmy_leg_lost(leg, KMY_UPEV_DOWN, now_ns, "cannot resolve %s: %s", look->host,
                     gai_strerror(look->rc));
    free_lookup(look);
}

void kmy_dial_forget(kmy_leg_t *leg)
{
    kmy_lookup_t *look = leg->lookup;
    leg->lookup = NULL;
    if (look && atomic_exchange(&look->state, FORGOTTEN) == FOUND)
        free_lookup(look);
}
