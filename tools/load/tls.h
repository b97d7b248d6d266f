/* tls: the client's side of https and wss (OpenSSL), without blocking; one context for the process, one session for each agent. */
#ifndef KMY_TOOLS_LOAD_TLS_H
#define KMY_TOOLS_LOAD_TLS_H

#include "tools/load/load.h"

#include <sys/types.h>

/* Makes l->tls.  ca_file: whom to believe (PEM), "" or NULL: the system's list; insecure: believe anybody.  host: the name or address that the
   certificate must carry, borrowed.  KMY_CONFIG: the file is not to be read. */
kmy_err_t load_tls_init(load_t *l, const char *ca_file, bool insecure, const char *host,
                        kmy_errctx_t *ctx);
void load_tls_fini(load_t *l);

/* A session on the connected socket fd; resume: the session to offer, or NULL; a: gets the tickets, or NULL.  NULL: no memory. */
struct ssl_st *load_tls_open(load_t *l, int fd, load_agent_t *a);
/* LOAD_TLS_DONE, or what to wait for, or LOAD_TLS_FAILED with the reason in ctx. */
typedef enum { LOAD_TLS_DONE, LOAD_TLS_READ, LOAD_TLS_WRITE, LOAD_TLS_FAILED } load_tls_step_t;
load_tls_step_t load_tls_shake(load_t *l, struct ssl_st *tls, kmy_errctx_t *ctx);
/* As recv and send: 0 is the peer's close_notify, -1 with EAGAIN for later, else errno; the end without close_notify is -1 with ECONNABORTED. */
ssize_t load_tls_recv(struct ssl_st *tls, void *out, size_t len);
/* The same, one record at most: on a socket that blocks, load_tls_recv waits until out is full. */
ssize_t load_tls_some(struct ssl_st *tls, void *out, size_t len);
ssize_t load_tls_send(struct ssl_st *tls, const void *bytes, size_t len);
/* Says close_notify if it can and is to, and forgets the session's state; the socket stays open.  NULL: nothing. */
void load_tls_close(struct ssl_st *tls, bool say);
bool load_tls_pending(struct ssl_st *tls); /* plaintext that no poll of the socket will tell of */
void load_tls_forget(load_agent_t *a);     /* its ticket */

/* A key and a certificate of our own for 127.0.0.1, valid for a week, as PEM. */
kmy_err_t load_tls_certificate(const char *cert_path, const char *key_path, kmy_errctx_t *ctx);

#endif
