/* dollar 1/7 and 7/7   in: engine/stream   out: engine/slips, and what came of it to the client */
/* stream_pay: money over an open stream (docs/protocol.md): the `pay` message goes to the cashier as a deposit, the stream goes on meanwhile, and the client
   is told by `paid` or `error`.  Nothing here credits: the money is on the account by the keeper's word, which lets the account's paused
   streams go on, whoever brought it; the socket may be gone by then.

   What is not known after payments.timeout is told as pending, and asked for here until it is known: then `paid` or `error` comes after all.  As long
   as a payment pends the grace of a paused stream stands still.

   One payment of a connection at a time.  Each counts for its account like a request that costs nothing (limiter.h), since a bad one costs us a signature
   check.  Shard thread; allocates some 150 bytes for a payment that is under way. */
#ifndef KMY_ENGINE_STREAM_PAY_H
#define KMY_ENGINE_STREAM_PAY_H

#include "engine/stream_frame.h"

/* {"op":"pay"}; c is authenticated.  Answers at once (refused), or by kmy_stream_paid. */
void kmy_stream_pay(kmy_shard_t *s, kmy_conn_t *c, const kmy_request_id_t *id,
                    kmy_json_token_t payment);
/* The cashier's answer to a slip that this stream sent (KMY_SLIP_ASK_STREAM): tells the client.  The connection lives, if not the stream; slip is given
   back afterwards. */
void kmy_stream_paid(kmy_shard_t *s, kmy_conn_t *c, kmy_slip_t *slip);
/* Once a second: asks again how a payment stands that was told as pending. */
void kmy_stream_pay_scan(kmy_shard_t *s, kmy_conn_t *c);
/* The connection ends, its payment does not. */
void kmy_stream_pay_forget(kmy_conn_t *c);

#endif
