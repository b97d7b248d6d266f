/* stream_pay: money over an open stream: the `pay` frame and what comes of it (docs/protocol.md). */
#ifndef KMY_ENGINE_STREAM_PAY_H
#define KMY_ENGINE_STREAM_PAY_H

#include "engine/shard_types.h"

/* The cashier's answer to a slip that this stream sent (KMY_SLIP_ASK_STREAM): tells the client.  c is open; slip is given back afterwards, unless
   it was sent again. */
void kmy_stream_paid(kmy_shard_t *s, kmy_conn_t *c, kmy_slip_t *slip);

#endif
