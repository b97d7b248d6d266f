/* tick 8/8   in: engine/shard, pay/meter   out: the client's socket

   Gathers a connection's whole backlog - own frames first, then the runs of all its feeds - into one send, submits all connections' sends
   together, and settles what the sockets took: cursors advance by whole frames, what is left of a cut frame goes first next time, ticks
   of which no byte was taken are given back to the lease.

   Sends carry MSG_DONTWAIT, so that the kernel copies the bytes or says EAGAIN before the submission returns and neither the log nor the
   stage need live longer; a full socket is polled for and skipped meanwhile.  (Without the flag a full socket would send later whatever the log
   holds then.) */
#ifndef KMY_ENGINE_EGRESS_H
#define KMY_ENGINE_EGRESS_H

#include "engine/shard_types.h"

/* Marks a connection as having something to send in this turn. */
void kmy_egress_mark(kmy_shard_t *s, kmy_conn_t *c);
/* Puts a subscription into its connection's pending list (if it is not there) and marks the connection unless it is blocked. */
void kmy_egress_pend(kmy_shard_t *s, uint32_t sub);
/* Each of c's that has something to deliver: after a pause, in which only passes stood in the list. */
void kmy_egress_pend_all(kmy_shard_t *s, kmy_conn_t *c);
/* Takes it out again, before it is freed. */
void kmy_egress_unpend(kmy_shard_t *s, uint32_t sub);

/* Appends bytes that go out ahead of any tick.  false: the connection has more waiting than its limit (or there is no memory) and was
   shut down: do not touch it further. */
bool kmy_egress_bytes(kmy_shard_t *s, kmy_conn_t *c, const void *bytes, size_t len);
/* Hands waiting bytes to the socket at once instead of at the end of the turn, so that a client that sends much in one turn and reads the answers
   is not taken for one that does not.  Not while a send of this connection is in the present submission, nor while its socket is full. */
void kmy_egress_now(kmy_shard_t *s, kmy_conn_t *c);
/* One WebSocket frame of ours. */
bool kmy_egress_frame(kmy_shard_t *s, kmy_conn_t *c, uint8_t opcode, const void *payload,
                      size_t len);
/* The object rendered into a buffer (shard->scratch, usually), as a text frame or as an event, by the connection's transport; an overflown
   buffer is our bug. */
bool kmy_egress_text(kmy_shard_t *s, kmy_conn_t *c, const kmy_buf_t *buf);

/* One send for each marked connection; connections that still have something are marked for the next turn. */
void kmy_egress_flush(kmy_shard_t *s);
/* The socket takes bytes again. */
void kmy_egress_writable(kmy_shard_t *s, kmy_conn_t *c);
/* Does a cursor of this blocked connection lag beyond the limits?  Then *ticks is by how much. */
bool kmy_egress_lags(const kmy_shard_t *s, const kmy_conn_t *c, uint64_t *ticks);

/* Ciphertext of ours (handshake, alert) that goes out ahead of everything.  false: no memory, shut down. */
bool kmy_egress_sealed(kmy_shard_t *s, kmy_conn_t *c, const void *bytes, size_t len);
/* Does something wait to go out, apart from ticks? */
static inline bool kmy_has_output(const kmy_conn_t *c)
{
    return c->out || c->sealed;
}

static inline uint32_t kmy_out_count(const kmy_conn_t *c)
{
    return c->out ? c->out->end - c->out->begin : 0;
}

#endif
