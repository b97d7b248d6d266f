/* shard: a thread per core that owns its clients: accepts, reads, answers, fans out, meters, sends.

   tick 5/8   in: ringbuf/ring   out: wire/tick_json, wire/flat */
#ifndef KMY_ENGINE_SHARD_H
#define KMY_ENGINE_SHARD_H

#include "engine/shard_types.h"

/* Takes the shard's memory and starts its thread; returns when it serves (or could not: *ctx).  The options' pointers are borrowed for the shard's
   life; the listening sockets are its own from here on. */
kmy_err_t kmy_shard_start(kmy_shard_t **out, const kmy_shard_options_t *options, kmy_errctx_t *ctx);
/* Any thread: no new clients, goaway and close for those that are here, leases back to the keeper.  The thread ends by itself then. */
void kmy_shard_drain(kmy_shard_t *s);
/* Waits for the thread and frees. */
void kmy_shard_join(kmy_shard_t *s);

/* --- for the other files of a shard, on its thread --- */

/* A free submission entry: submits what is queued if need be. */
struct io_uring_sqe *kmy_shard_sqe(kmy_shard_t *s);
/* Keeps a completion for the loop that was met while sends were awaited. */
void kmy_shard_defer(kmy_shard_t *s, const struct io_uring_cqe *cqe);
/* Is there room in the keeper's queue for what nobody waits for?  A quarter of it is kept for what somebody does: a thousand sessions that end
   together leave a report and a receipt each, and an operator, a payment or a lease must not be turned away for them. */
bool kmy_shard_keeper_keeps_up(const kmy_shard_t *s);
/* Sends an ask whose answer the connection's request waits for.  false: answered with 503 already (the keeper is behind). */
bool kmy_shard_ask_and_park(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                            const kmy_ask_t *ask);

#endif
