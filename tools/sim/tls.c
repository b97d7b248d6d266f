#include "tools/sim/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GOOD_NAMES  "DNS:localhost,IP:127.0.0.1,IP:0:0:0:0:0:0:0:1"
#define WRONG_NAMES "DNS:wrong-host.invalid"
#define DAYS        30 /* throw-away */

static SSL_CTX *context(X509 *cert, EVP_PKEY *key)
{
    SSL_CTX *c = SSL_CTX_new(TLS_server_method());
    if (!c)
        return NULL;
    SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
    SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                            SSL_MODE_RELEASE_BUFFERS);
    if (cert && (SSL_CTX_use_certificate(c, cert) != 1 || SSL_CTX_use_PrivateKey(c, key) != 1)) {
        SSL_CTX_free(c);
        return NULL;
    }
    return c;
}

static bool extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = ext && X509_add_ext(cert, ext, -1) == 1;
    X509_EXTENSION_free(ext);
    return ok;
}

static bool dress(X509 *cert, X509 *issuer, const char *names)
{
    if (!names)
        return extend(cert, issuer, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
               extend(cert, issuer, NID_key_usage, "critical,keyCertSign,cRLSign") &&
               extend(cert, issuer, NID_subject_key_identifier, "hash");
    return extend(cert, issuer, NID_basic_constraints, "critical,CA:FALSE") &&
           extend(cert, issuer, NID_key_usage, "critical,digitalSignature") &&
           extend(cert, issuer, NID_ext_key_usage, "serverAuth") &&
           extend(cert, issuer, NID_subject_alt_name, names);
}

/* A certificate for key, signed by issuer_key; names NULL: a CA.  issuer NULL: signed by itself. */
static X509 *certificate(EVP_PKEY *key, X509 *issuer, EVP_PKEY *issuer_key, const char *common_name,
                         const char *names)
{
    X509 *cert = X509_new();
    uint64_t serial = 0;
    if (!cert || RAND_bytes((unsigned char *)&serial, sizeof serial) != 1)
        return X509_free(cert), NULL;
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(cert), serial >> 1 | 1);
    X509_set_version(cert, 2);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 86400L * DAYS);
    X509_NAME *name = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)common_name, -1, -1,
                               0);
    X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : name);
    X509_set_pubkey(cert, key);
    if (!dress(cert, issuer ? issuer : cert, names) ||
        X509_sign(cert, issuer_key, EVP_sha256()) == 0)
        return X509_free(cert), NULL;
    return cert;
}

static kmy_err_t write_pem(const char *dir, const char *file, X509 *cert, EVP_PKEY *key,
                           char path[512], kmy_errctx_t *ctx)
{
    if (snprintf(path, 512, "%s/%s", dir, file) >= 512)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "path too long: %.60s...", dir);
    (void)unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, key ? 0600 : 0644);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");
    if (!f) {
        if (fd >= 0)
            close(fd);
        return KMY_FAIL_SYS(ctx, KMY_IO, "cannot write %.150s: %s", path, strerror(errno));
    }
    int ok =
        key ? PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) : PEM_write_X509(f, cert);
    return fclose(f) == 0 && ok == 1 ? KMY_OK : KMY_FAIL(ctx, KMY_IO, "cannot write %.150s", path);
}

/* The two certificates a client must refuse; `ca` NULL: nobody to sign the one for a wrong host, so it signs itself. */
static bool bad_contexts(sim_tls_t *tls, X509 *ca, EVP_PKEY *ca_key)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *wrong =
        key ? certificate(key, ca, ca ? ca_key : key, "wrong-host.invalid", WRONG_NAMES) : NULL;
    X509 *self = key ? certificate(key, NULL, key, "localhost", GOOD_NAMES) : NULL;
    tls->wrong_host = wrong ? context(wrong, key) : NULL;
    tls->self_signed = self ? context(self, key) : NULL;
    X509_free(wrong);
    X509_free(self);
    EVP_PKEY_free(key);
    return tls->wrong_host && tls->self_signed;
}

kmy_err_t sim_tls_auto(sim_tls_t *tls, const char *dir, kmy_errctx_t *ctx)
{
    if (mkdir(dir, 0755) != 0 && errno != EEXIST)
        return KMY_FAIL_SYS(ctx, KMY_IO, "cannot make directory %.100s: %s", dir, strerror(errno));
    EVP_PKEY *ca_key = EVP_EC_gen("P-256"), *key = EVP_EC_gen("P-256");
    X509 *ca = ca_key ? certificate(ca_key, NULL, ca_key, "kamiyo-sim throw-away CA", NULL) : NULL;
    X509 *cert = ca && key ? certificate(key, ca, ca_key, "localhost", GOOD_NAMES) : NULL;
    tls->good = cert ? context(cert, key) : NULL;
    kmy_err_t err = tls->good && bad_contexts(tls, ca, ca_key)
                        ? KMY_OK
                        : KMY_FAIL(ctx, KMY_INTERNAL, "cannot make certificates: %s",
                                   ERR_reason_error_string(ERR_peek_last_error()));
    char path[512];
    if (err == KMY_OK)
        err = write_pem(dir, "server.pem", cert, NULL, path, ctx);
    if (err == KMY_OK)
        err = write_pem(dir, "server.key", NULL, key, path, ctx);
    if (err == KMY_OK)
        err = write_pem(dir, "ca.pem", ca, NULL, tls->ca_path, ctx);
    X509_free(ca);
    X509_free(cert);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
    return err;
}

kmy_err_t sim_tls_load(sim_tls_t *tls, const char *cert_path, const char *key_path,
                       kmy_errctx_t *ctx)
{
    tls->good = context(NULL, NULL);
    if (!tls->good || !bad_contexts(tls, NULL, NULL))
        return KMY_FAIL(ctx, KMY_INTERNAL, "cannot make a TLS context");
    if (SSL_CTX_use_certificate_chain_file(tls->good, cert_path) != 1)
        return KMY_FAIL(ctx, KMY_CONFIG, "--tls-cert %.80s: %s", cert_path,
                        ERR_reason_error_string(ERR_peek_last_error()));
    if (SSL_CTX_use_PrivateKey_file(tls->good, key_path, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(tls->good) != 1)
        return KMY_FAIL(ctx, KMY_CONFIG, "--tls-key %.80s: %s", key_path,
                        ERR_reason_error_string(ERR_peek_last_error()));
    return KMY_OK;
}

void sim_tls_fini(sim_tls_t *tls)
{
    SSL_CTX_free(tls->good);
    SSL_CTX_free(tls->wrong_host);
    SSL_CTX_free(tls->self_signed);
    *tls = (sim_tls_t){ 0 };
}
