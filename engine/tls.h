/* tls: TLS 1.2 and 1.3 at the public door, by OpenSSL.

   A connection has an SSL object and nothing else: ciphertext is read from where it was received and written to the shard's scratch, so that no
   memory BIO stays behind; OpenSSL gives its record buffers back between records.  Sealed once per send: what was gathered for one connection
   becomes one record.  Owned by one shard each; the context is shared and replaced as a whole on reload. */
#ifndef KMY_ENGINE_TLS_H
#define KMY_ENGINE_TLS_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    KMY_TLS_RECORD_BYTES = 16384, /* plaintext of one record at most (RFC 8446 section 5.1) */
    KMY_TLS_SEAL_BYTES =
        KMY_TLS_RECORD_BYTES +
        4096, /* its ciphertext, and whatever post-handshake message goes with it.  A client may ask for fragments of 512 bytes
                 (RFC 6066 section 4): 32 of them, each with 5 + 8 + 16 bytes of header, nonce and tag, are 928 */
};

/* The certificate, shared by all shards. */
typedef struct kmy_tls kmy_tls_t;
/* KMY_CONFIG: a file cannot be read, the key does not fit the certificate ... */
kmy_err_t kmy_tls_new(kmy_tls_t **out, const char *cert_file, const char *key_file,
                      kmy_errctx_t *ctx);
/* Reads the files again; new connections get the new certificate, old ones keep theirs.  On failure the old one stays. */
kmy_err_t kmy_tls_reload(kmy_tls_t *tls, kmy_errctx_t *ctx);
void kmy_tls_free(kmy_tls_t *tls);

/* What a shard lends to the session that is being worked on. */
typedef struct kmy_tls_io {
    const uint8_t *in; /* ciphertext received */
    size_t in_len;
    uint8_t *out; /* room for ciphertext to send */
    size_t out_len;
    size_t out_cap;
} kmy_tls_io_t;

typedef struct kmy_tls_session kmy_tls_session_t;
kmy_tls_session_t *kmy_tls_open(kmy_tls_t *tls); /* NULL: out of memory */
void kmy_tls_close(kmy_tls_session_t *session);

/* Opens what io->in holds: handshake first, then plaintext into `plain`.  *plain_len of it; call again while it returns KMY_OK.
     KMY_OK        plaintext came
     KMY_AGAIN     all of io->in is taken, nothing more to be had (also: the handshake goes on)
     KMY_TIMEOUT   the peer ended the session in order (close_notify)
     KMY_PROTOCOL  the session is broken; io->out may hold an alert
   In each case io->out has what must be sent. */
kmy_err_t kmy_tls_feed(kmy_tls_session_t *session, kmy_tls_io_t *io, uint8_t *plain, size_t cap,
                       size_t *plain_len, kmy_errctx_t *ctx);
/* Seals up to KMY_TLS_RECORD_BYTES as one record into io->out (at least KMY_TLS_SEAL_BYTES free).  false: the session is broken. */
bool kmy_tls_seal(kmy_tls_session_t *session, kmy_tls_io_t *io, const uint8_t *plain, size_t len);
/* Is the handshake through, so that data may be sealed? */
bool kmy_tls_ready(const kmy_tls_session_t *session);
/* close_notify into io->out. */
void kmy_tls_goodbye(kmy_tls_session_t *session, kmy_tls_io_t *io);

#endif
