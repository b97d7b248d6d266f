/* tls: server contexts: the good certificate, one for another host, one of no authority. */
#ifndef KMY_SIM_TLS_H
#define KMY_SIM_TLS_H

#include "base/err.h"

#include <openssl/ssl.h>
#include <stdbool.h>

typedef struct sim_tls {
    SSL_CTX *good; /* NULL: plain text */
    SSL_CTX *wrong_host;
    SSL_CTX *self_signed;
    char ca_path[512]; /* --tls-auto: file with the CA's certificate */
} sim_tls_t;

/* From files (PEM). */
kmy_err_t sim_tls_load(sim_tls_t *tls, const char *cert_path, const char *key_path,
                       kmy_errctx_t *ctx);
/* A CA made now (its key is thrown away at once), a certificate for localhost, 127.0.0.1 and ::1; written to dir as ca.pem, server.pem,
   server.key (0600).  dir is made if absent; files there are replaced. */
kmy_err_t sim_tls_auto(sim_tls_t *tls, const char *dir, kmy_errctx_t *ctx);
void sim_tls_fini(sim_tls_t *tls);

#endif
