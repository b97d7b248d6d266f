/* socket: a TCP or TLS connection with deadlines, for the client at a terminal.  TLS 1.2 or newer, the peer's certificate and name are always
   checked.  Single-threaded.  Calls return early (KMY_AGAIN) when a signal came, so that the caller can look at its stop mark. */
#ifndef KMY_TOOLS_SOCKET_H
#define KMY_TOOLS_SOCKET_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct cli_url {
    bool tls;
    char host[256]; /* without brackets */
    char port[8];
    char authority[280]; /* as a Host header wants it */
    char path[512];      /* prefix without a trailing slash; "" if none */
} cli_url_t;

/* http, https, ws or wss; KMY_BAD_INPUT: none of these, user info, a query, or too long. */
kmy_err_t cli_url_parse(const char *text, cli_url_t *out, kmy_errctx_t *ctx);

typedef struct cli_socket {
    int fd;
    struct ssl_st *ssl; /* NULL: plain */
    struct ssl_ctx_st *ssl_ctx;
} cli_socket_t;

/* Dials every address of the name in turn.  ca_file NULL: the system's certificates.  On failure nothing is left open. */
kmy_err_t cli_socket_open(cli_socket_t *s, const cli_url_t *url, const char *ca_file,
                          int64_t deadline_mono_ns, kmy_errctx_t *ctx);
void cli_socket_close(cli_socket_t *s);
/* All of data, or an error. */
kmy_err_t cli_socket_write(cli_socket_t *s, const void *data, size_t len, int64_t deadline_mono_ns,
                           kmy_errctx_t *ctx);
/* At least one byte: *got.  KMY_AGAIN: a signal; KMY_TIMEOUT; KMY_UNAVAILABLE: the peer closed. */
kmy_err_t cli_socket_read(cli_socket_t *s, void *data, size_t cap, size_t *got,
                          int64_t deadline_mono_ns, kmy_errctx_t *ctx);

#endif
