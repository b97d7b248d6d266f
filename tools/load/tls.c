#include "tools/load/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *reason(void)
{
    unsigned long e = ERR_get_error();
    const char *text = e ? ERR_reason_error_string(e) : NULL;
    ERR_clear_error();
    return text ? text : "the connection ended";
}

/* TLS 1.3 tickets come after the handshake, with the first bytes read. */
static int on_ticket(SSL *tls, SSL_SESSION *session)
{
    load_agent_t *a = SSL_get_app_data(tls);
    if (!a)
        return 0; /* not kept */
    SSL_SESSION_free(a->ticket);
    a->ticket = session;
    return 1;
}

kmy_err_t load_tls_init(load_t *l, const char *ca_file, bool insecure, const char *host,
                        kmy_errctx_t *ctx)
{
    l->tls = SSL_CTX_new(TLS_client_method());
    if (!l->tls)
        return KMY_FAIL(ctx, KMY_INTERNAL, "no TLS context: %s", reason());
    l->tls_host = host;
    l->tls_insecure = insecure;
    SSL_CTX_set_min_proto_version(l->tls, TLS1_2_VERSION);
    SSL_CTX_set_mode(l->tls, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(l->tls, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(l->tls, on_ticket);
    if (insecure)
        return KMY_OK;
    SSL_CTX_set_verify(l->tls, SSL_VERIFY_PEER, NULL);
    bool ok = ca_file && *ca_file ? SSL_CTX_load_verify_locations(l->tls, ca_file, NULL) == 1
                                  : SSL_CTX_set_default_verify_paths(l->tls) == 1;
    if (!ok)
        return KMY_FAIL(ctx, KMY_CONFIG, "--ca-file %.120s: %s", ca_file ? ca_file : "", reason());
    return KMY_OK;
}

void load_tls_fini(load_t *l)
{
    SSL_CTX_free(l->tls);
    l->tls = NULL;
}

SSL *load_tls_open(load_t *l, int fd, load_agent_t *a)
{
    SSL *tls = SSL_new(l->tls);
    if (!tls)
        return NULL;
    X509_VERIFY_PARAM *param = SSL_get0_param(tls);
    bool address = X509_VERIFY_PARAM_set1_ip_asc(param, l->tls_host) == 1;
    if (SSL_set_fd(tls, fd) != 1 ||
        (!address && (X509_VERIFY_PARAM_set1_host(param, l->tls_host, 0) != 1 ||
                      SSL_set_tlsext_host_name(tls, l->tls_host) != 1)) ||
        (a && a->ticket && SSL_set_session(tls, a->ticket) != 1)) {
        SSL_free(tls);
        return NULL;
    }
    ERR_clear_error();
    SSL_set_app_data(tls, a);
    SSL_set_connect_state(tls);
    return tls;
}

load_tls_step_t load_tls_shake(load_t *l, SSL *tls, kmy_errctx_t *ctx)
{
    ERR_clear_error();
    int rc = SSL_do_handshake(tls);
    if (rc == 1) {
        l->tls_handshakes++;
        l->tls_resumed += (uint64_t)SSL_session_reused(tls);
        return LOAD_TLS_DONE;
    }
    switch (SSL_get_error(tls, rc)) {
    case SSL_ERROR_WANT_READ:
        return LOAD_TLS_READ;
    case SSL_ERROR_WANT_WRITE:
        return LOAD_TLS_WRITE;
    default: {
        long verdict = SSL_get_verify_result(tls);
        KMY_FAIL(ctx, KMY_PROTOCOL, "TLS: %s",
                 verdict != X509_V_OK ? X509_verify_cert_error_string(verdict) : reason());
        return LOAD_TLS_FAILED;
    }
    }
}

static ssize_t result(SSL *tls, int n)
{
    if (n > 0)
        return n;
    int sys = errno;
    switch (SSL_get_error(tls, n)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        errno = sys ? sys : ECONNABORTED;
        return -1;
    default:
        ERR_clear_error();
        errno = ECONNABORTED;
        return -1;
    }
}

ssize_t load_tls_recv(SSL *tls, void *out, size_t len)
{
    size_t used = 0;
    while (used < len) { /* a record at a time */
        ERR_clear_error();
        errno = 0;
        size_t want = len - used < 1 << 20 ? len - used : 1 << 20;
        int n = SSL_read(tls, (char *)out + used, (int)want);
        if (n <= 0)
            return used > 0 ? (ssize_t)used : result(tls, n); /* what was wrong shows again */
        used += (size_t)n;
    }
    return (ssize_t)used;
}

ssize_t load_tls_some(SSL *tls, void *out, size_t len)
{
    ERR_clear_error();
    errno = 0;
    return result(tls, SSL_read(tls, out, len < 1 << 20 ? (int)len : 1 << 20));
}

ssize_t load_tls_send(SSL *tls, const void *bytes, size_t len)
{
    ERR_clear_error();
    errno = 0;
    return result(tls, SSL_write(tls, bytes, (int)len));
}

bool load_tls_pending(SSL *tls)
{
    return SSL_has_pending(tls) == 1;
}

void load_tls_close(SSL *tls, bool say)
{
    if (!tls)
        return;
    if (say && SSL_is_init_finished(tls))
        SSL_shutdown(tls);
    else /* or OpenSSL would not resume a session that did not end well, as one that a network cut did not */
        SSL_set_shutdown(tls, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    ERR_clear_error();
    SSL_free(tls);
}

void load_tls_forget(load_agent_t *a)
{
    SSL_SESSION_free(a->ticket);
    a->ticket = NULL;
}

/* --- a certificate ------------------------------------------------------------------------- */

static X509 *make_certificate(EVP_PKEY *key)
{
    X509 *cert = X509_new();
    X509_EXTENSION *san =
        X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "IP:127.0.0.1,DNS:localhost");
    X509_NAME *name = cert ? X509_get_subject_name(cert) : NULL;
    bool ok = cert && san && X509_set_version(cert, 2) &&
              ASN1_INTEGER_set(X509_get_serialNumber(cert), 1) &&
              X509_gmtime_adj(X509_getm_notBefore(cert), -3600) &&
              X509_gmtime_adj(X509_getm_notAfter(cert), 7 * 86400) &&
              X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                         (const unsigned char *)"kamiyo-load", -1, -1, 0) &&
              X509_set_issuer_name(cert, name) && X509_set_pubkey(cert, key) &&
              X509_add_ext(cert, san, -1) && X509_sign(cert, key, EVP_sha256());
    X509_EXTENSION_free(san);
    if (ok)
        return cert;
    X509_free(cert);
    return NULL;
}

kmy_err_t load_tls_certificate(const char *cert_path, const char *key_path, kmy_errctx_t *ctx)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = key ? make_certificate(key) : NULL;
    FILE *c = fopen(cert_path, "w");
    int fd = open(key_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *k = fd >= 0 ? fdopen(fd, "w") : NULL;
    bool ok = cert && c && k && PEM_write_X509(c, cert) &&
              PEM_write_PrivateKey(k, key, NULL, NULL, 0, NULL, NULL);
    if (c)
        ok &= fclose(c) == 0;
    if (k)
        ok &= fclose(k) == 0;
    else if (fd >= 0)
        close(fd);
    X509_free(cert);
    EVP_PKEY_free(key);
    return ok ? KMY_OK : KMY_FAIL(ctx, KMY_IO, "cannot make a certificate: %s", reason());
}
