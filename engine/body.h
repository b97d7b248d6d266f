/* body: the body of an answer that is longer than a connection's memory should be: given to egress a piece at a time, as its client reads.
   Shard thread. */
#ifndef KMY_ENGINE_BODY_H
#define KMY_ENGINE_BODY_H

#include "engine/shard_types.h"

enum { KMY_BODY_PIECE_BYTES = 65536 };

/* 200 with blob's bytes as its body; takes over the reference.  Until all is handed over, no further request of c is looked at. */
void kmy_body_reply(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, const char *type,
                    const char *extra, kmy_blob_t *blob);
/* Everything queued has gone out.  true: a further piece was queued (or the connection shut down). */
bool kmy_body_more(kmy_shard_t *s, kmy_conn_t *c);
/* Before the connection is freed. */
void kmy_body_forget(kmy_conn_t *c);

#endif
