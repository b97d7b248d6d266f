/* engine/tls against OpenSSL's client in memory: every byte of the handshake and of the records is once the place where the stream is cut. */
#include "engine/tls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char cert_file[64], key_file[64], other_key_file[64];

/* --- certificates ---------------------------------------------------------------------------- */

static void write_key(const char *path, EVP_PKEY *key)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(f);
}

static void write_cert(const char *path, EVP_PKEY *key)
{
    X509 *x = X509_new();
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), 0);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)"localhost", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    assert_true(X509_sign(x, key, EVP_sha256()) > 0);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, x), 1);
    fclose(f);
    X509_free(x);
}

static void temporary(char path[64])
{
    strcpy(path, "/tmp/kamiyo-test-tls-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
}

static int make_files(void **state)
{
    (void)state;
    temporary(cert_file);
    temporary(key_file);
    temporary(other_key_file);
    EVP_PKEY *key = EVP_RSA_gen(2048);
    EVP_PKEY *other = EVP_EC_gen("P-256");
    write_cert(cert_file, key);
    write_key(key_file, key);
    write_key(other_key_file, other);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
    return 0;
}

static int remove_files(void **state)
{
    (void)state;
    unlink(cert_file);
    unlink(key_file);
    unlink(other_key_file);
    return 0;
}

/* --- a client and a server, and what stands between them --------------------------------------- */

typedef struct pair {
    kmy_tls_t *tls;
    kmy_tls_session_t *server;
    SSL_CTX *ctx;
    SSL *client;
    BIO *to_client;
    BIO *from_client;
    uint8_t got[65536]; /* plaintext at the server */
    size_t got_len;
    kmy_err_t last; /* of kmy_tls_feed */
} pair_t;

static void open_pair(pair_t *p, int version)
{
    memset(p, 0, sizeof *p);
    kmy_errctx_t ctx = { 0 };
    assert_int_equal(kmy_tls_new(&p->tls, cert_file, key_file, &ctx), KMY_OK);
    p->server = kmy_tls_open(p->tls);
    p->ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(p->ctx, version);
    SSL_CTX_set_max_proto_version(p->ctx, version);
    p->client = SSL_new(p->ctx);
    p->to_client = BIO_new(BIO_s_mem());
    p->from_client = BIO_new(BIO_s_mem());
    SSL_set_bio(p->client, p->to_client, p->from_client);
    SSL_set_connect_state(p->client);
}

static void close_pair(pair_t *p)
{
    SSL_free(p->client);
    SSL_CTX_free(p->ctx);
    kmy_tls_close(p->server);
    kmy_tls_free(p->tls);
}

/* One receive at the server, of exactly these bytes (in memory of that length, for the sanitizer). */
static void receive(pair_t *p, const uint8_t *bytes, size_t len)
{
    static uint8_t out[65536], plain[KMY_TLS_RECORD_BYTES];
    uint8_t *exact = malloc(len ? len : 1);
    memcpy(exact, bytes, len);
    kmy_tls_io_t io = { .in = exact, .in_len = len, .out = out, .out_cap = sizeof out };
    do {
        size_t n = 99;
        kmy_errctx_t ctx = { 0 };
        p->last = kmy_tls_feed(p->server, &io, plain, sizeof plain, &n, &ctx);
        assert_true(p->last == KMY_OK || n == 0);
        if (io.out_len > 0)
            BIO_write(p->to_client, out, (int)io.out_len);
        io.out_len = 0;
        memcpy(p->got + p->got_len, plain, n);
        p->got_len += n;
    } while (p->last == KMY_OK);
    if (p->last == KMY_AGAIN)
        assert_int_equal(io.in_len, 0);
    free(exact);
}

/* All the client has to say, cut once: after `*cut` bytes of all it ever says. */
static void carry(pair_t *p, size_t *cut)
{
    static uint8_t buf[65536];
    int n = BIO_read(p->from_client, buf, sizeof buf);
    if (n <= 0)
        return;
    size_t first = *cut < (size_t)n ? *cut : (size_t)n;
    *cut -= first;
    if (first > 0)
        receive(p, buf, first);
    if (p->last != KMY_PROTOCOL && first < (size_t)n)
        receive(p, buf + first, (size_t)n - first);
}

static void shake(pair_t *p, size_t *cut)
{
    for (int i = 0; i < 8 && !(SSL_is_init_finished(p->client) && kmy_tls_ready(p->server)); i++) {
        SSL_do_handshake(p->client);
        carry(p, cut);
    }
    assert_true(SSL_is_init_finished(p->client) && kmy_tls_ready(p->server));
}

static void seal(pair_t *p, const uint8_t *plain, size_t len)
{
    static uint8_t out[KMY_TLS_SEAL_BYTES];
    kmy_tls_io_t io = { .out = out, .out_cap = sizeof out };
    assert_true(kmy_tls_seal(p->server, &io, plain, len));
    BIO_write(p->to_client, out, (int)io.out_len);
}

static void client_reads(pair_t *p, const uint8_t *want, size_t len)
{
    static uint8_t buf[65536];
    size_t have = 0, n;
    while (have < len && SSL_read_ex(p->client, buf + have, sizeof buf - have, &n) == 1)
        have += n;
    assert_int_equal(have, len);
    assert_memory_equal(buf, want, len);
}

static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };

/* --- rules ------------------------------------------------------------------------------------- */

static void a_stream_cut_at_any_byte_is_the_same_stream(void **state)
{
    (void)state;
    static pair_t p;
    uint8_t text[300];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (uint8_t)(i * 7);
    for (size_t v = 0; v < 2; v++) {
        size_t all = 0;
        for (size_t at = 0; at == 0 || at <= all; at++) {
            open_pair(&p, versions[v]);
            size_t cut = at;
            shake(&p, &cut);
            SSL_write(p.client, text, sizeof text);
            SSL_write(p.client, text, 1);
            carry(&p, &cut);
            assert_int_equal(p.got_len, sizeof text + 1);
            assert_memory_equal(p.got, text, sizeof text);
            assert_int_equal(p.got[sizeof text], text[0]);
            assert_int_equal(p.last, KMY_AGAIN);
            seal(&p, text, sizeof text);
            client_reads(&p, text, sizeof text);
            SSL_shutdown(p.client);
            carry(&p, &cut);
            assert_int_equal(p.last, KMY_TIMEOUT);
            all = BIO_number_written(p.from_client);
            close_pair(&p);
        }
        assert_true(all > 500);
    }
}

static void the_longest_record_fits_whatever_fragments_the_client_asks_for(void **state)
{
    (void)state;
    static pair_t p;
    static uint8_t text[KMY_TLS_RECORD_BYTES];
    memset(text, 'k', sizeof text);
    static const char *const ciphers[] = { "ECDHE-RSA-AES256-GCM-SHA384", "ALL" };
    for (size_t v = 0; v < 2; v++) {
        for (size_t k = 0; k < 2; k++) {
            open_pair(&p, versions[v]);
            SSL_set_cipher_list(p.client, ciphers[k]);
            SSL_set_tlsext_max_fragment_length(p.client, TLSEXT_max_fragment_length_512);
            size_t cut = 0;
            shake(&p, &cut);
            seal(&p, text, sizeof text);
            client_reads(&p, text, sizeof text);
            close_pair(&p);
        }
    }
}

/* Whether client and server agree, if TLS 1.2 with this cipher is all the client has. */
static bool agree_on(const char *cipher)
{
    static pair_t p;
    open_pair(&p, TLS1_2_VERSION);
    SSL_set_security_level(p.client, 0);
    assert_int_equal(SSL_set_cipher_list(p.client, cipher), 1);
    size_t cut = 0;
    for (int i = 0; i < 8; i++) {
        SSL_do_handshake(p.client);
        carry(&p, &cut);
    }
    bool yes = SSL_is_init_finished(p.client) && kmy_tls_ready(p.server);
    close_pair(&p);
    return yes;
}

static void only_ephemeral_keys_and_aead_are_agreed_on(void **state)
{
    (void)state;
    static const struct {
        const char *cipher;
        bool good;
    } table[] = {
        { "ECDHE-RSA-AES128-GCM-SHA256", true },
        { "ECDHE-RSA-AES256-GCM-SHA384", true },
        { "ECDHE-RSA-CHACHA20-POLY1305", true },
        { "AES128-GCM-SHA256", false }, /* RSA key exchange: the certificate's key opens it */
        { "AES256-GCM-SHA384", false },
        { "AES128-SHA", false },
        { "ECDHE-RSA-AES128-SHA", false }, /* CBC */
        { "ECDHE-RSA-AES256-SHA384", false },
        { "ECDHE-RSA-AES128-CCM8:AES128-CCM8", false }, /* a short tag */
        { "AECDH-AES128-SHA", false },                  /* nobody's certificate */
        { "ECDHE-RSA-NULL-SHA", false },                /* in clear */
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (agree_on(table[i].cipher) != table[i].good)
            fail_msg("%s", table[i].cipher);
}

static void keys_are_changed_under_way(void **state)
{
    (void)state;
    static pair_t p;
    for (size_t at = 0; at < 60; at++) { /* the KeyUpdate record is 27 bytes */
        open_pair(&p, TLS1_3_VERSION);
        size_t cut = 0;
        shake(&p, &cut);
        cut = at;
        SSL_key_update(p.client, SSL_KEY_UPDATE_REQUESTED);
        SSL_write(p.client, "abc", 3);
        carry(&p, &cut);
        assert_int_equal(p.got_len, 3);
        assert_true(kmy_tls_ready(p.server));
        seal(&p, (const uint8_t *)"def", 3);
        client_reads(&p, (const uint8_t *)"def", 3);
        close_pair(&p);
    }
}

static void a_byte_that_was_changed_breaks_the_session(void **state)
{
    (void)state;
    static pair_t p;
    uint8_t buf[256];
    for (size_t v = 0; v < 2; v++) {
        for (int at = 0;; at++) {
            open_pair(&p, versions[v]);
            size_t cut = 0;
            shake(&p, &cut);
            SSL_write(p.client, "hello", 5);
            int n = BIO_read(p.from_client, buf, sizeof buf);
            bool over = at >= n;
            if (!over) {
                buf[at] ^= 1;
                receive(&p, buf, (size_t)n);
                assert_int_equal(p.got_len, 0);
                /* a length that grew by one waits for that byte */
                assert_true(p.last == KMY_PROTOCOL || (at == 3 || at == 4));
            }
            close_pair(&p);
            if (over)
                break;
        }
    }
}

static void a_farewell_is_understood_by_the_client(void **state)
{
    (void)state;
    static pair_t p;
    for (size_t v = 0; v < 2; v++) {
        open_pair(&p, versions[v]);
        size_t cut = 0;
        shake(&p, &cut);
        uint8_t out[256], buf[8];
        kmy_tls_io_t io = { .out = out, .out_cap = sizeof out };
        kmy_tls_goodbye(p.server, &io);
        assert_true(io.out_len > 0);
        BIO_write(p.to_client, out, (int)io.out_len);
        size_t n;
        assert_int_equal(SSL_read_ex(p.client, buf, sizeof buf, &n), 0);
        assert_int_equal(SSL_get_error(p.client, 0), SSL_ERROR_ZERO_RETURN);
        close_pair(&p);
    }
}

static void room_that_is_too_small_breaks_the_session_and_nothing_else(void **state)
{
    (void)state;
    static pair_t p;
    open_pair(&p, TLS1_3_VERSION);
    size_t cut = 0;
    shake(&p, &cut);
    uint8_t out[16];
    kmy_tls_io_t io = { .out = out, .out_cap = sizeof out };
    assert_false(kmy_tls_seal(p.server, &io, (const uint8_t *)"hello", 5));
    assert_true(io.out_len <= sizeof out);
    close_pair(&p);
}

static void a_key_that_does_not_fit_is_refused_by_name_and_a_reload_keeps_the_old(void **state)
{
    (void)state;
    kmy_tls_t *tls = NULL;
    kmy_errctx_t ctx = { 0 };
    assert_int_equal(kmy_tls_new(&tls, cert_file, other_key_file, &ctx), KMY_CONFIG);
    assert_non_null(strstr(ctx.detail, other_key_file));
    assert_int_equal(kmy_tls_new(&tls, "/nonexistent", key_file, &ctx), KMY_CONFIG);
    assert_non_null(strstr(ctx.detail, "/nonexistent"));
    char live[64];
    temporary(live);
    EVP_PKEY *key = EVP_RSA_gen(2048);
    write_cert(live, key);
    char live_key[64];
    temporary(live_key);
    write_key(live_key, key);
    EVP_PKEY_free(key);
    assert_int_equal(kmy_tls_new(&tls, live, live_key, &ctx), KMY_OK);
    kmy_tls_session_t *before = kmy_tls_open(tls);
    assert_int_equal(kmy_tls_reload(tls, &ctx), KMY_OK);
    unlink(live);
    assert_int_equal(kmy_tls_reload(tls, &ctx), KMY_CONFIG);
    kmy_tls_session_t *after = kmy_tls_open(tls);
    assert_non_null(after);
    kmy_tls_close(before); /* outlives the context it came from */
    kmy_tls_free(tls);
    kmy_tls_close(after);
    unlink(live_key);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_cut_at_any_byte_is_the_same_stream),
        cmocka_unit_test(the_longest_record_fits_whatever_fragments_the_client_asks_for),
        cmocka_unit_test(only_ephemeral_keys_and_aead_are_agreed_on),
        cmocka_unit_test(keys_are_changed_under_way),
        cmocka_unit_test(a_byte_that_was_changed_breaks_the_session),
        cmocka_unit_test(a_farewell_is_understood_by_the_client),
        cmocka_unit_test(room_that_is_too_small_breaks_the_session_and_nothing_else),
        cmocka_unit_test(a_key_that_does_not_fit_is_refused_by_name_and_a_reload_keeps_the_old),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
