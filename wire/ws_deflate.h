/* ws_deflate: one WebSocket message in and out of DEFLATE (RFC 7692 section 7.2), by zlib.  Any window in; out, no reference goes further
   back than 250 bytes, which is right for every window a client may ask for (8 to 15 bits), and enough for a tick.

   No context is taken over, in either direction: each message begins anew.  So one object serves any number of connections, as long as a
   message is whole before it comes here; frames of several connections cannot be fed in turns. */
#ifndef KMY_WIRE_WS_DEFLATE_H
#define KMY_WIRE_WS_DEFLATE_H

#include "base/err.h"

#include <stddef.h>

/* Room beyond the message that kmy_ws_deflate wants of its caller: the four octets every flush ends with and are cut, and one to
   tell "full" from "too full". */
#define KMY_WS_DEFLATE_SPARE 5

/* About 60 KiB, used by one thread at a time.  NULL: no memory. */
typedef struct kmy_ws_deflate kmy_ws_deflate_t;
kmy_ws_deflate_t *kmy_ws_deflate_new(void);
void kmy_ws_deflate_free(kmy_ws_deflate_t *z); /* NULL: nothing */

/* Compresses in[0..len) into out[0..cap) and returns the payload's length, at least 1; the frame must have RSV1.  0: it would be longer than
   cap - KMY_WS_DEFLATE_SPARE, so that who wants nothing that is not shorter offers no more than len - 1 + KMY_WS_DEFLATE_SPARE.
   Never allocates.  len and cap below 4 GiB. */
size_t kmy_ws_deflate(kmy_ws_deflate_t *z, const void *in, size_t len, void *out, size_t cap);

/* Inflates the payload of a whole message (its fragments put together) into out[0..cap).
     KMY_OK           *out_len bytes; none for an empty payload
     KMY_TOO_BIG      more than cap bytes would come out; at most one above is ever made
     KMY_BAD_DEFLATE  no DEFLATE stream, or its end is missing
     KMY_IO           no memory for the window (at the first message that needs one)
   A block with BFINAL may stand anywhere (section 7.2.3.4): another stream may follow it.  What is in out[] on failure is rubbish. */
kmy_err_t kmy_ws_inflate(kmy_ws_deflate_t *z, const void *in, size_t len, void *out, size_t cap,
                         size_t *out_len, kmy_errctx_t *ctx);

#endif
