/* tick 1/8   in: an upstream's socket   out: adapters/binance, adapters/pyth   (libwebsockets' callback)

   A socket that was let go of has no leg behind it (opaque pointer NULL): whatever it still reports is nobody's business, which is why the table needs no
   rows for late events. */
#include "adapters/feed_inner.h"

#include "base/clock.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>

/* ---- receive ---- */

/* Once per read of the socket, before anything is parsed. */
static void stamp(kmy_leg_t *leg)
{
    leg->recv_ns = kmy_wall_ns();
    leg->mono_ns = kmy_mono_ns();
}

/* TLS: called by OpenSSL around its own read(2), so that what was read ahead keeps the time at which it was read. */
static long on_tls_read(BIO *bio, int oper, const char *data, size_t len, int argi, long argl,
                        int ret, size_t *done)
{
    (void)data, (void)len, (void)argi, (void)argl;
    kmy_leg_t *leg = (kmy_leg_t *)BIO_get_callback_arg(bio);
    if (leg && oper == (BIO_CB_READ | BIO_CB_RETURN)) {
        leg->dry = ret <= 0 || done == NULL || *done == 0;
        if (!leg->dry)
            stamp(leg);
    }
    return ret;
}

/* The upstream's number of the quote's stream; UINT32_MAX: none of ours. */
static uint32_t stream_of(kmy_feed_ws_t *up, const kmy_quote_t *q)
{
    if (q->key_len != up->key_before_len || memcmp(q->key, up->key_before, q->key_len) != 0) {
        uint32_t row;
        if (q->key_len >= sizeof up->key_before ||
            !kmy_strmap_get(&up->keys, q->key, q->key_len, &row))
            return UINT32_MAX;
        memcpy(up->key_before, q->key, q->key_len);
        up->key_before_len = q->key_len;
        up->key_before_row = row;
    }
    return q->seq_scheme < KMY_SEQ_COUNT ? up->streams_of[up->key_before_row][q->seq_scheme]
                                         : UINT32_MAX;
}

/* Sets the data clocks; false: the other leg's business. */
static bool note_data(kmy_leg_t *leg, const kmy_quote_t *q)
{
    kmy_feed_ws_t *up = leg->link->up;
    leg->last_data_ns = leg->mono_ns;
    if (__builtin_expect(leg->first_data_ns == 0, 0)) {
        leg->first_data_ns = leg->mono_ns;
        up->loop->clock_ns = 0;
    }
    uint32_t stream = stream_of(up, q);
    uint32_t i = stream - leg->link->first;
    if (stream == UINT32_MAX || i >= leg->link->count)
        return true; /* not asked for here; the normalizer counts it */
    up->data_ns[stream] = leg->mono_ns;
    bool deliver = up->loop->rolling != leg->link || kmy_link_turn_of(leg, i, q);
    leg->streams[i].seq = q->source_seq;
    return deliver;
}

static void malformed(kmy_leg_t *leg)
{
    KMY_COUNT(leg->link->up->options.metrics, upstream_drop_malformed_total, 1);
    if (++leg->malformed_run > KMY_MALFORMED_RUN_MAX)
        kmy_leg_lost(leg, KMY_UPEV_DEAD, kmy_mono_ns(), "%u malformed frames in a row",
                     leg->malformed_run);
}

static void take_frame(kmy_leg_t *leg, const char *frame, size_t len)
{
    kmy_feed_ws_t *up = leg->link->up;
    kmy_quote_t quote;
    kmy_control_t control;
    up->turn_frames++;
    up->turn_bytes += len;
    switch (up->dialect->parse(frame, len, up->micros, &quote, &control)) {
    case KMY_PARSE_QUOTE:
        leg->malformed_run = 0;
        if (note_data(leg, &quote))
            up->options.on_quote(up->options.arg, &quote, leg->recv_ns, leg->mono_ns);
        break;
    case KMY_PARSE_CONTROL:
        leg->malformed_run = 0;
        KMY_COUNT(up->options.metrics, upstream_control_total, 1);
        kmy_leg_control(leg, &control, leg->mono_ns);
        break;
    case KMY_PARSE_IGNORED:
        leg->malformed_run = 0;
        break;
    case KMY_PARSE_MALFORMED:
        malformed(leg);
        break;
    case KMY_PARSE_RANGE:
        leg->malformed_run = 0;
        KMY_COUNT(up->options.metrics, upstream_drop_range_total, 1);
        break;
    }
}

static void oversize(kmy_leg_t *leg, size_t len)
{
    KMY_COUNT(leg->link->up->options.metrics, upstream_drop_oversize_total, 1);
    kmy_leg_lost(leg, KMY_UPEV_DEAD, kmy_mono_ns(), "a frame of at least %zu bytes, limit %d", len,
                 KMY_UPSTREAM_FRAME_BYTES_MAX);
}

/* A piece of a message: of a fragment, or of a frame larger than the read buffer. */
static void take_piece(kmy_leg_t *leg, struct lws *wsi, const char *in, size_t len)
{
    if (!leg->assembling && lws_is_final_fragment(wsi)) {
        if (lws_frame_is_binary(wsi))
            malformed(leg);
        else
            take_frame(leg, in, len);
        return;
    }
    leg->assembling = true;
    size_t whole = leg->assembly_len + len + lws_remaining_packet_payload(wsi);
    if (whole > KMY_UPSTREAM_FRAME_BYTES_MAX || whole < len) {
        oversize(leg, whole);
        return;
    }
    memcpy(leg->assembly + leg->assembly_len, in, len);
    leg->assembly_len += len;
    if (!lws_is_final_fragment(wsi))
        return;
    len = leg->assembly_len;
    leg->assembling = false;
    leg->assembly_len = 0;
    if (lws_frame_is_binary(wsi))
        malformed(leg);
    else
        take_frame(leg, leg->assembly, len);
}

static int on_receive(kmy_leg_t *leg, struct lws *wsi, const char *in, size_t len)
{
    if (!leg->stamps_by_read && leg->stamp_turn != leg->link->up->loop->turn) {
        leg->stamp_turn = leg->link->up->loop->turn;
        stamp(leg);
    }
    leg->link->up->loop->bytes += len;
    take_piece(leg, wsi, in, len);
    return leg->wsi == wsi ? 0 : -1;
}

/* Read-ahead leaves whole records inside OpenSSL which no poll will tell of.  `dry` is the sign that all of them were given: only then does OpenSSL ask the
   socket again. */
bool kmy_io_drain(kmy_leg_t *leg)
{
    kmy_feed_ws_loop_t *loop = leg->link->up->loop;
    struct lws *wsi = leg->wsi;
    size_t most = loop->bytes + KMY_TURN_BYTES;
    int steps = 0; /* libwebsockets may refuse to read, or read pings alone */
    while (wsi && leg->wsi == wsi && leg->stamps_by_read && !leg->dry) {
        SSL *ssl = lws_get_ssl(wsi);
        if (ssl == NULL || !SSL_has_pending(ssl))
            return false;
        if (loop->bytes > most || ++steps > KMY_TURN_RECORDS)
            return true;
        struct lws_pollfd fd = { .fd = lws_get_socket_fd(wsi),
                                 .events = LWS_POLLIN,
                                 .revents = LWS_POLLIN };
        if (fd.fd < 0 || lws_service_fd(loop->lws, &fd) < 0)
            return false;
    }
    return false;
}

/* ---- up, down ---- */

static void on_up(kmy_leg_t *leg, struct lws *wsi)
{
    SSL *ssl = lws_get_ssl(wsi);
    leg->stamps_by_read = ssl != NULL;
    leg->dry = false;
    stamp(leg);
    if (ssl) {
        BIO *bio = SSL_get_rbio(ssl);
        BIO_set_callback_arg(bio, (char *)leg);
        BIO_set_callback_ex(bio, on_tls_read);
    }
    kmy_leg_event(leg, KMY_UPEV_UP, leg->mono_ns);
}

/* The handshake ended in an HTTP answer that is not 101. */
static void on_status(kmy_leg_t *leg, struct lws *wsi, unsigned status)
{
    kmy_feed_ws_t *up = leg->link->up;
    int64_t now_ns = kmy_mono_ns();
    char text[64] = "";
    if (status == 401 || status == 403) {
        kmy_leg_lost(leg, KMY_UPEV_REFUSED, now_ns,
                     "HTTP %u: the venue does not accept our key; set or renew it (for Pyth: "
                     "sources.pyth.token_file); tried again every %d minutes",
                     status, (int)(KMY_MISCONFIGURED_NS / KMY_NS_PER_S / 60));
        return;
    }
    if (status != 429 && status != 418) {
        kmy_leg_lost(leg, KMY_UPEV_DOWN, now_ns, "HTTP %u instead of a WebSocket", status);
        return;
    }
    if (lws_hdr_copy(wsi, text, sizeof text, WSI_TOKEN_HTTP_RETRY_AFTER) <= 0)
        text[0] = '\0';
    kmy_leg_limited(leg, kmy_retry_after_ns(text, kmy_wall_ns(), up->row.limited_ns), now_ns,
                    status == 429 ? "HTTP 429: too many requests" : "HTTP 418: banned");
}

static void on_failed(kmy_leg_t *leg, struct lws *wsi, const char *why, size_t len)
{
    unsigned status = wsi ? lws_http_client_http_response(wsi) : 0;
    unsigned long tls = ERR_peek_last_error();
    const char *tls_text = tls ? ERR_reason_error_string(tls) : NULL;
    leg->wsi = NULL;
    if (status != 0 && status != 101)
        on_status(leg, wsi, status);
    else if (leg->fault[0])
        kmy_leg_lost(leg, KMY_UPEV_DOWN, kmy_mono_ns(), "TLS: certificate refused: %s", leg->fault);
    else
        kmy_leg_lost(leg, KMY_UPEV_DOWN, kmy_mono_ns(), "no connection: %.*s%s%s",
                     len < 100 ? (int)len : 100, why ? why : "", tls_text ? "; TLS: " : "",
                     tls_text ? tls_text : "");
    ERR_clear_error();
}

static void on_down(kmy_leg_t *leg)
{
    leg->wsi = NULL;
    kmy_leg_lost(leg, KMY_UPEV_DOWN, kmy_mono_ns(), "connection closed by the other side");
}

static void let_go(kmy_leg_t *leg)
{
    SSL *ssl = lws_get_ssl(leg->wsi);
    if (ssl && SSL_get_rbio(ssl))
        BIO_set_callback_arg(SSL_get_rbio(ssl), NULL);
    lws_set_opaque_user_data(leg->wsi, NULL);
    leg->wsi = NULL;
}

/* A close frame: libwebsockets answers it; we need not wait until the TCP connection is gone too. */
static void on_goodbye(kmy_leg_t *leg, const unsigned char *in, size_t len)
{
    unsigned code = len >= 2 ? (unsigned)in[0] << 8 | in[1] : 1005;
    let_go(leg);
    kmy_leg_lost(leg, KMY_UPEV_DOWN, kmy_mono_ns(), "closed by the other side: %u %.*s", code,
                 len > 2 ? (int)(len - 2) : 0, len > 2 ? (const char *)in + 2 : "");
}

void kmy_io_release(kmy_leg_t *leg, bool politely)
{
    struct lws *wsi = leg->wsi;
    bool goodbye = politely && leg->up_ns != 0;
    kmy_dial_forget(leg);
    leg->up_ns = 0;
    if (wsi == NULL)
        return;
    let_go(leg);
    if (goodbye) {
        leg->link->up->loop->closing_count++;
        lws_set_timeout(wsi, PENDING_TIMEOUT_USER_REASON_BASE, 3);
        lws_callback_on_writable(wsi); /* see on_orphan */
    } else {
        lws_set_timeout(wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_ASYNC);
    }
}

/* A socket without a leg: says goodbye when it can be written to. */
static int on_orphan(struct lws *wsi, enum lws_callback_reasons reason)
{
    kmy_feed_ws_loop_t *loop = lws_context_user(lws_get_context(wsi));
    if (reason == LWS_CALLBACK_CLIENT_CLOSED && loop->closing_count > 0)
        loop->closing_count--;
    if (reason == LWS_CALLBACK_CLIENT_RECEIVE)
        return 0;
    if (reason != LWS_CALLBACK_CLIENT_WRITEABLE)
        return reason == LWS_CALLBACK_CLIENT_ESTABLISHED ? -1 : 0;
    lws_close_reason(wsi, LWS_CLOSE_STATUS_NORMAL, NULL, 0);
    return -1;
}

/* in: SSL; user: the store's context; len: OpenSSL's verdict.  0 leaves the verdict as it is. */
static int on_certificate(kmy_leg_t *leg, void *store, size_t verdict)
{
    if (!verdict && leg)
        snprintf(leg->fault, sizeof leg->fault, "%s (depth %d)",
                 X509_verify_cert_error_string(X509_STORE_CTX_get_error(store)),
                 X509_STORE_CTX_get_error_depth(store));
    return 0;
}

static int add_headers(const kmy_leg_t *leg, unsigned char **p, size_t room)
{
    const char *secret = leg->link->up->secret;
    if (secret == NULL)
        return 0;
    int n = snprintf((char *)*p, room, "Authorization: Bearer %s\r\n", secret);
    if (n < 0 || (size_t)n >= room)
        return -1;
    *p += n;
    return 0;
}

static int on_leg(kmy_leg_t *leg, struct lws *wsi, enum lws_callback_reasons reason, void *in,
                  size_t len)
{
    switch (reason) {
    case LWS_CALLBACK_CLIENT_RECEIVE:
        return on_receive(leg, wsi, in, len);
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
        return add_headers(leg, (unsigned char **)in, len);
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        on_up(leg, wsi);
        break;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        on_failed(leg, wsi, in, in ? len : 0);
        return 0;
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
        on_goodbye(leg, in, len);
        return 0;
    case LWS_CALLBACK_CLIENT_CLOSED:
        on_down(leg);
        return 0;
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        return kmy_leg_send(leg, kmy_mono_ns()) ? 0 : -1;
    default:
        break;
    }
    return 0;
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t len)
{
    switch (reason) {
    case LWS_CALLBACK_CLIENT_RECEIVE:
    case LWS_CALLBACK_CLIENT_APPEND_HANDSHAKE_HEADER:
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
    case LWS_CALLBACK_CLIENT_CLOSED:
    case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
    case LWS_CALLBACK_CLIENT_WRITEABLE: {
        kmy_leg_t *leg = lws_get_opaque_user_data(wsi);
        return leg ? on_leg(leg, wsi, reason, in, len) : on_orphan(wsi, reason);
    }
    case LWS_CALLBACK_OPENSSL_PERFORM_SERVER_CERT_VERIFICATION:
        return on_certificate(lws_get_opaque_user_data(wsi), user, len);
    default:
        return 0;
    }
}

const struct lws_protocols kmy_io_protocols[] = {
    { .name = "kamiyo-upstream", .callback = on_event },
    { .name = NULL },
};
