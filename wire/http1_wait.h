/* http1_wait: when a request that is not whole is worth another look, so that one that drips in costs time that grows with its length alone.  Pure;
   any thread; nothing blocks or allocates.

   A head is worth it when its blank line has come (RFC 9112 section 2.1), and each time it has doubled, so that what can be no request is refused
   early: all looks together read at most three times its length.  A body is worth it when it is whole. */
#ifndef KMY_WIRE_HTTP1_WAIT_H
#define KMY_WIRE_HTTP1_WAIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct kmy_http_wait {
    uint32_t want_bytes; /* so many are worth a look whatever they are */
    uint32_t seen_bytes; /* up to here stands no end of a head */
    bool body;           /* the head is whole: blank lines mean nothing any more */
} kmy_http_wait_t;       /* zero-initialized: any bytes are worth a look */

/* data[0..len) begins where the request does and has only grown since the last call. */
bool kmy_http_wait_over(kmy_http_wait_t *w, const void *data, size_t len);
/* Looked at len bytes in vain: of a head whose end is not there; of a request of `whole` bytes. */
void kmy_http_wait_head(kmy_http_wait_t *w, size_t len);
void kmy_http_wait_body(kmy_http_wait_t *w, size_t whole);

#endif
