/* secret_file: a secret in a file of its own: made once, whole or not at all, never readable by others.

   Start-up and operator verbs only: blocks.  Whoever was given bytes wipes them. */
#ifndef KMY_PAY_SECRET_FILE_H
#define KMY_PAY_SECRET_FILE_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { KMY_SECRET_MADE_BYTES = 32 }; /* of a secret we make */

/* Reads a file of least..cap bytes; a newline at its end is dropped.  `what` names it in errors ("token secret").
   KMY_NOT_FOUND: there is none; KMY_CONFIG: no file, open to everybody, too short or too long; KMY_IO.  out is wiped on failure. */
kmy_err_t kmy_secret_read(const char *what, const char *path, size_t least, uint8_t *out,
                          size_t cap, size_t *len, kmy_errctx_t *ctx);
/* Writes a secret (0600, synced, with its folder) where no file is yet; of two makers one wins.  A crash leaves the whole of it or nothing. */
kmy_err_t kmy_secret_write(const char *what, const char *path, const void *secret, size_t len,
                           kmy_errctx_t *ctx);
/* kmy_secret_read of exactly one we made, after making it of 32 random bytes if there is none. */
kmy_err_t kmy_secret_load(const char *what, const char *path, uint8_t out[KMY_SECRET_MADE_BYTES],
                          kmy_errctx_t *ctx);
/* 32 random bytes that survive kmy_secret_read: the last is no newline. */
kmy_err_t kmy_secret_random(uint8_t out[KMY_SECRET_MADE_BYTES], kmy_errctx_t *ctx);

#endif
