/* input: what a client sent, cut into requests and messages, and handed to those who answer. */
#ifndef KMY_ENGINE_INPUT_H
#define KMY_ENGINE_INPUT_H

#include "engine/shard_types.h"

/* Consumes as much of data[0..len) as makes whole requests or messages and returns how many bytes that was; the rest is kept by the caller.  Stops early
   when the connection was parked, shut down or is about to close.  data may be changed (unmasking, chunk decoding). */
size_t kmy_input_http(kmy_shard_t *s, kmy_conn_t *c, uint8_t *data, size_t len);
size_t kmy_input_ws(kmy_shard_t *s, kmy_conn_t *c, uint8_t *data, size_t len);
void kmy_input_ws_free(kmy_conn_t *c);

#endif
