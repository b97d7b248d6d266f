#include "tools/kamiyo/socket.h"

#include "base/clock.h"
#include "base/decimal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool scheme(const char *text, const char *name, const char **rest)
{
    size_t len = strlen(name);
    if (strncmp(text, name, len) != 0 || strncmp(text + len, "://", 3) != 0)
        return false;
    *rest = text + len + 3;
    return true;
}

static bool copy(char *out, size_t cap, const char *text, size_t len)
{
    if (len >= cap)
        return false;
    memcpy(out, text, len);
    out[len] = 0;
    return true;
}

kmy_err_t cli_url_parse(const char *text, cli_url_t *out, kmy_errctx_t *ctx)
{
    const char *p;
    out->tls = scheme(text, "https", &p) || scheme(text, "wss", &p);
    if (!out->tls && !scheme(text, "http", &p) && !scheme(text, "ws", &p))
        return KMY_FAIL(ctx, KMY_BAD_INPUT,
                        "%.80s begins with none of http:// https:// ws:// wss://", text);
    size_t authority = strcspn(p, "/");
    bool six = p[0] == '[';
    const char *host_end = six ? memchr(p, ']', authority) : p + strcspn(p, ":/");
    if (strpbrk(p, "@?# \t\r\n") || !host_end || host_end == p + six)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "%.80s is not scheme://host:port/path", text);
    bool fits = copy(out->host, sizeof out->host, p + six, (size_t)(host_end - p) - six);
    const char *rest = host_end + six;
    const char *port = *rest == ':' ? rest + 1 : out->tls ? "443" : "80";
    size_t port_len = *rest == ':' ? (size_t)(p + authority - port) : strlen(port);
    uint64_t number;
    size_t path_len = strlen(p + authority);
    while (path_len > 0 && p[authority + path_len - 1] == '/')
        path_len--;
    if (!fits || (rest != p + authority && *rest != ':') ||
        !kmy_u64_parse(port, port_len, &number) || number == 0 || number > 65535 ||
        !copy(out->port, sizeof out->port, port, port_len) ||
        !copy(out->authority, sizeof out->authority, p, authority) ||
        !copy(out->path, sizeof out->path, p + authority, path_len))
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "%.80s is not scheme://host:port/path", text);
    return KMY_OK;
}

static kmy_err_t wait_for(int fd, short events, int64_t deadline_ns, kmy_errctx_t *ctx)
{
    struct pollfd p = { .fd = fd, .events = events };
    int64_t left_ns = deadline_ns - kmy_mono_ns();
    if (left_ns <= 0)
        return KMY_FAIL(ctx, KMY_TIMEOUT, "no answer in time");
    int64_t ms = left_ns / KMY_NS_PER_MS + 1;
    int n = poll(&p, 1, ms > 1000000 ? 1000000 : (int)ms);
    if (n < 0)
        return KMY_FAIL_SYS(ctx, errno == EINTR ? KMY_AGAIN : KMY_IO, "poll: %s", strerror(errno));
    return n == 0 ? KMY_FAIL(ctx, KMY_TIMEOUT, "no answer in time") : KMY_OK;
}

static kmy_err_t dial(const struct addrinfo *ai, int64_t deadline_ns, int *out, kmy_errctx_t *ctx)
{
    int fault = 0;
    socklen_t len = sizeof fault;
    int one = 1;
    kmy_err_t err = KMY_OK;
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return KMY_FAIL_SYS(ctx, KMY_IO, "socket: %s", strerror(errno));
    if (connect(fd, ai->ai_addr, ai->ai_addrlen) != 0) {
        fault = errno;
        if (fault == EINPROGRESS) {
            err = wait_for(fd, POLLOUT, deadline_ns, ctx);
            if (err == KMY_OK)
                getsockopt(fd, SOL_SOCKET, SO_ERROR, &fault, &len);
        }
    }
    if (err == KMY_OK && fault)
        err = kmy_fail(ctx, KMY_UNAVAILABLE, __func__, fault, "%s", strerror(fault));
    if (err != KMY_OK) {
        close(fd);
        return err;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    *out = fd;
    return KMY_OK;
}

static kmy_err_t tls_fail(cli_socket_t *s, kmy_errctx_t *ctx, const char *what)
{
    char text[120] = "connection closed";
    unsigned long code = ERR_get_error();
    long verdict = s->ssl ? SSL_get_verify_result(s->ssl) : X509_V_OK;
    if (verdict != X509_V_OK)
        snprintf(text, sizeof text, "certificate refused: %s",
                 X509_verify_cert_error_string(verdict));
    else if (code)
        ERR_error_string_n(code, text, sizeof text);
    ERR_clear_error();
    return KMY_FAIL(ctx, verdict != X509_V_OK ? KMY_FORBIDDEN : KMY_IO, "TLS %s: %s", what, text);
}

/* After an SSL call returned `rc` <= 0: waits for what it wants (KMY_OK: call again), or says why not. */
static kmy_err_t tls_wait(cli_socket_t *s, int rc, int64_t deadline_ns, kmy_errctx_t *ctx,
                          const char *what)
{
    switch (SSL_get_error(s->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        return wait_for(s->fd, POLLIN, deadline_ns, ctx);
    case SSL_ERROR_WANT_WRITE:
        return wait_for(s->fd, POLLOUT, deadline_ns, ctx);
    case SSL_ERROR_ZERO_RETURN:
        return KMY_FAIL(ctx, KMY_UNAVAILABLE, "the peer closed the connection");
    default:
        return tls_fail(s, ctx, what);
    }
}

static kmy_err_t tls_start(cli_socket_t *s, const cli_url_t *url, const char *ca_file,
                           int64_t deadline_ns, kmy_errctx_t *ctx)
{
    unsigned char address[sizeof(struct in6_addr)];
    bool is_address =
        inet_pton(AF_INET, url->host, address) == 1 || inet_pton(AF_INET6, url->host, address) == 1;
    ERR_clear_error();
    s->ssl_ctx = SSL_CTX_new(TLS_client_method());
    if (!s->ssl_ctx || SSL_CTX_set_min_proto_version(s->ssl_ctx, TLS1_2_VERSION) != 1)
        return tls_fail(s, ctx, "set-up");
    if (ca_file ? SSL_CTX_load_verify_locations(s->ssl_ctx, ca_file, NULL) != 1
                : SSL_CTX_set_default_verify_paths(s->ssl_ctx) != 1)
        return KMY_FAIL(ctx, KMY_CONFIG, "no CA certificates in %.100s",
                        ca_file ? ca_file : "the system's store");
    SSL_CTX_set_verify(s->ssl_ctx, SSL_VERIFY_PEER, NULL);
    s->ssl = SSL_new(s->ssl_ctx);
    if (!s->ssl || SSL_set_fd(s->ssl, s->fd) != 1)
        return tls_fail(s, ctx, "set-up");
    X509_VERIFY_PARAM *param = SSL_get0_param(s->ssl);
    if (is_address ? X509_VERIFY_PARAM_set1_ip_asc(param, url->host) != 1
                   : SSL_set1_host(s->ssl, url->host) != 1 ||
                         SSL_set_tlsext_host_name(s->ssl, url->host) != 1)
        return tls_fail(s, ctx, "set-up");
    for (int rc; (rc = SSL_connect(s->ssl)) != 1;) {
        kmy_err_t err = tls_wait(s, rc, deadline_ns, ctx, "handshake");
        if (err != KMY_OK)
            return err;
    }
    return KMY_OK;
}

kmy_err_t cli_socket_open(cli_socket_t *s, const cli_url_t *url, const char *ca_file,
                          int64_t deadline_mono_ns, kmy_errctx_t *ctx)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    struct addrinfo *list;
    kmy_err_t err = KMY_UNAVAILABLE;
    *s = (cli_socket_t){ .fd = -1 };
    int rc = getaddrinfo(url->host, url->port, &hints, &list);
    if (rc != 0)
        return KMY_FAIL(ctx, KMY_UNAVAILABLE, "%s: %s", url->host, gai_strerror(rc));
    for (const struct addrinfo *ai = list; ai && s->fd < 0; ai = ai->ai_next)
        err = dial(ai, deadline_mono_ns, &s->fd, ctx);
    freeaddrinfo(list);
    if (err == KMY_OK && url->tls)
        err = tls_start(s, url, ca_file, deadline_mono_ns, ctx);
    if (err != KMY_OK)
        cli_socket_close(s);
    return err;
}

void cli_socket_close(cli_socket_t *s)
{
    if (s->ssl) {
        SSL_shutdown(s->ssl);
        SSL_free(s->ssl);
    }
    SSL_CTX_free(s->ssl_ctx);
    if (s->fd >= 0)
        close(s->fd);
    *s = (cli_socket_t){ .fd = -1 };
}

kmy_err_t cli_socket_write(cli_socket_t *s, const void *data, size_t len, int64_t deadline_mono_ns,
                           kmy_errctx_t *ctx)
{
    const char *p = data;
    while (len > 0) {
        kmy_err_t err = KMY_OK;
        ssize_t n;
        if (s->ssl) {
            n = SSL_write(s->ssl, p, (int)len); /* frames of ours are below 64 KiB */
            if (n <= 0)
                err = tls_wait(s, (int)n, deadline_mono_ns, ctx, "write");
        } else {
            n = send(s->fd, p, len, MSG_NOSIGNAL);
            if (n < 0 && errno == EAGAIN)
                err = wait_for(s->fd, POLLOUT, deadline_mono_ns, ctx);
            else if (n < 0 && errno != EINTR)
                err = KMY_FAIL_SYS(ctx, KMY_IO, "send: %s", strerror(errno));
        }
        if (err != KMY_OK && err != KMY_AGAIN) /* a signal does not cut a frame in two */
            return err;
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
    return KMY_OK;
}

kmy_err_t cli_socket_read(cli_socket_t *s, void *data, size_t cap, size_t *got,
                          int64_t deadline_mono_ns, kmy_errctx_t *ctx)
{
    for (;;) {
        kmy_err_t err;
        ssize_t n = s->ssl ? SSL_read(s->ssl, data, (int)cap) : recv(s->fd, data, cap, 0);
        if (n > 0) {
            *got = (size_t)n;
            return KMY_OK;
        }
        if (s->ssl)
            err = tls_wait(s, (int)n, deadline_mono_ns, ctx, "read");
        else if (n == 0)
            err = KMY_FAIL(ctx, KMY_UNAVAILABLE, "the peer closed the connection");
        else if (errno == EAGAIN)
            err = wait_for(s->fd, POLLIN, deadline_mono_ns, ctx);
        else
            err =
                KMY_FAIL_SYS(ctx, errno == EINTR ? KMY_AGAIN : KMY_IO, "recv: %s", strerror(errno));
        if (err != KMY_OK)
            return err;
    }
}
