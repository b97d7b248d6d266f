#include "engine/tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct kmy_tls {
    pthread_mutex_t lock; /* of ctx; taken when a connection opens and on reload */
    SSL_CTX *ctx;
    char *cert_file;
    char *key_file;
};

/* A session is OpenSSL's own object under our name (kmy_tls_session_t is never defined); what its BIO works on hangs on it only while a call
   lasts. */
static SSL *ssl_of(const kmy_tls_session_t *s)
{
    return (SSL *)(uintptr_t)s;
}

/* --- the BIO: reads from and writes to the shard's buffers ----------------------------------- */

static BIO_METHOD *method;
static pthread_once_t method_once = PTHREAD_ONCE_INIT;

static int bio_read(BIO *bio, char *out, int len)
{
    kmy_tls_io_t *io = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (!io || io->in_len == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t n = io->in_len < (size_t)len ? io->in_len : (size_t)len;
    memcpy(out, io->in, n);
    io->in += n;
    io->in_len -= n;
    return (int)n;
}

static int bio_write(BIO *bio, const char *data, int len)
{
    kmy_tls_io_t *io = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (!io || io->out_cap - io->out_len < (size_t)len)
        return -1; /* a peer that makes us say more than a record's worth at once is cut */
    memcpy(io->out + io->out_len, data, (size_t)len);
    io->out_len += (size_t)len;
    return len;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
    (void)bio;
    (void)num;
    (void)ptr;
    return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

static void make_method(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "kamiyo shard");
    if (!method)
        abort();
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_ctrl(method, bio_ctrl);
}

static void lend(const kmy_tls_session_t *s, kmy_tls_io_t *io)
{
    BIO_set_data(SSL_get_rbio(ssl_of(s)), io);
}

/* --- the context ----------------------------------------------------------------------------- */

static const char *last_reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    return text ? text : "unknown";
}

/* HTTP/1.1 is all we speak; a client that offers other protocols only is refused (RFC 7301 section 3.2). */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *in, unsigned in_len, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1";
    (void)ssl;
    (void)arg;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof ours - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

/* A daemon has nobody to ask: OpenSSL's own way would wait at a terminal. */
static int no_passphrase(char *out, int size, int writing, void *arg)
{
    (void)out;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

/* TLS 1.2 (1.3 has nothing else): an ephemeral key, so that a certificate's key that is stolen later opens no recording (RFC 9325 section 4.1 and
   4.2), and an AEAD.  OpenSSL's own list also holds RSA key exchange and CBC. */
static const char TLS_1_2_CIPHERS[] = "ECDHE+AESGCM:ECDHE+CHACHA20";

static kmy_err_t make_context(const kmy_tls_t *tls, SSL_CTX **out, kmy_errctx_t *ctx)
{
    SSL_CTX *c = SSL_CTX_new(TLS_server_method());
    if (!c)
        return KMY_FAIL(ctx, KMY_IO, "no TLS context: %s", last_reason());
    static const unsigned char id[] = "kamiyo";
    SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
    SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                               SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_id_context(c, id, sizeof id - 1);
    SSL_CTX_set_session_cache_mode(
        c, SSL_SESS_CACHE_OFF); /* tickets instead: nothing per client is kept here */
    SSL_CTX_set_num_tickets(c, 1);
    SSL_CTX_set_alpn_select_cb(c, choose_protocol, NULL);
    SSL_CTX_set_default_passwd_cb(c, no_passphrase);
    kmy_err_t err = KMY_OK;
    if (SSL_CTX_set_cipher_list(c, TLS_1_2_CIPHERS) != 1)
        err = KMY_FAIL(ctx, KMY_IO, "no TLS ciphers: %s", last_reason());
    else if (SSL_CTX_use_certificate_chain_file(c, tls->cert_file) != 1)
        err = KMY_FAIL(ctx, KMY_CONFIG,
                       "public.tls_cert: %.100s is no readable PEM certificate chain: %s",
                       tls->cert_file, last_reason());
    else if (SSL_CTX_use_PrivateKey_file(c, tls->key_file, SSL_FILETYPE_PEM) != 1 ||
             SSL_CTX_check_private_key(c) != 1) /* a key of another kind passes the first alone */
        err = KMY_FAIL(
            ctx, KMY_CONFIG,
            "public.tls_key: %.100s is no readable PEM private key of that certificate: %s",
            tls->key_file, last_reason());
    if (err != KMY_OK) {
        SSL_CTX_free(c);
        return err;
    }
    *out = c;
    return KMY_OK;
}

kmy_err_t kmy_tls_new(kmy_tls_t **out, const char *cert_file, const char *key_file,
                      kmy_errctx_t *ctx)
{
    pthread_once(&method_once, make_method);
    kmy_tls_t *tls = calloc(1, sizeof *tls);
    if (!tls)
        return KMY_FAIL(ctx, KMY_IO, "out of memory");
    pthread_mutex_init(&tls->lock, NULL);
    tls->cert_file = strdup(cert_file);
    tls->key_file = strdup(key_file);
    kmy_err_t err = KMY_FAIL(ctx, KMY_IO, "out of memory");
    if (tls->cert_file && tls->key_file)
        err = make_context(tls, &tls->ctx, ctx);
    if (err != KMY_OK) {
        kmy_tls_free(tls);
        return err;
    }
    *out = tls;
    return KMY_OK;
}

kmy_err_t kmy_tls_reload(kmy_tls_t *tls, kmy_errctx_t *ctx)
{
    SSL_CTX *fresh;
    kmy_err_t err = make_context(tls, &fresh, ctx);
    if (err != KMY_OK)
        return err;
    pthread_mutex_lock(&tls->lock);
    SSL_CTX *old = tls->ctx;
    tls->ctx = fresh;
    pthread_mutex_unlock(&tls->lock);
    SSL_CTX_free(old); /* sessions hold their own reference */
    return KMY_OK;
}

void kmy_tls_free(kmy_tls_t *tls)
{
    if (!tls)
        return;
    SSL_CTX_free(tls->ctx);
    pthread_mutex_destroy(&tls->lock);
    free(tls->cert_file);
    free(tls->key_file);
    free(tls);
}

/* --- sessions -------------------------------------------------------------------------------- */

kmy_tls_session_t *kmy_tls_open(kmy_tls_t *tls)
{
    pthread_mutex_lock(&tls->lock);
    SSL *ssl = SSL_new(tls->ctx);
    pthread_mutex_unlock(&tls->lock);
    BIO *bio = ssl ? BIO_new(method) : NULL;
    if (!bio) {
        SSL_free(ssl);
        return NULL;
    }
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_accept_state(ssl);
    return (kmy_tls_session_t *)(void *)ssl;
}

void kmy_tls_close(kmy_tls_session_t *session)
{
    if (session)
        SSL_free(ssl_of(session));
}

bool kmy_tls_ready(const kmy_tls_session_t *session)
{
    return SSL_is_init_finished(ssl_of(session));
}

kmy_err_t kmy_tls_feed(kmy_tls_session_t *session, kmy_tls_io_t *io, uint8_t *plain, size_t cap,
                       size_t *plain_len, kmy_errctx_t *ctx)
{
    SSL *ssl = ssl_of(session);
    lend(session, io);
    ERR_clear_error();
    int rc = SSL_read_ex(ssl, plain, cap, plain_len);
    int why = rc == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl, rc);
    lend(session, NULL);
    switch (why) {
    case SSL_ERROR_NONE:
        return KMY_OK;
    case SSL_ERROR_WANT_READ:
        *plain_len = 0;
        return KMY_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        *plain_len = 0;
        return KMY_TIMEOUT;
    default:
        *plain_len = 0;
        return KMY_FAIL(ctx, KMY_PROTOCOL, "TLS: %s", last_reason());
    }
}

bool kmy_tls_seal(kmy_tls_session_t *session, kmy_tls_io_t *io, const uint8_t *plain, size_t len)
{
    KMY_ASSERT(len <= KMY_TLS_RECORD_BYTES);
    lend(session, io);
    ERR_clear_error();
    size_t written = 0;
    int rc = SSL_write_ex(ssl_of(session), plain, len, &written);
    lend(session, NULL);
    return rc == 1 && written == len;
}

void kmy_tls_goodbye(kmy_tls_session_t *session, kmy_tls_io_t *io)
{
    lend(session, io);
    ERR_clear_error();
    SSL_shutdown(ssl_of(session));
    lend(session, NULL);
}
