/* past: a reader of server-sent events that goes on before what the logs hold: history first, of all its feeds in order of seq, then the logs.

   catchup.h reads history of one feed at a time, in order of its offsets; events stand in one order over all feeds, so here the connection as a whole reads
   it: a chunk of ticks by seq (KMY_HISTORY_SEQS), delivered as runs of one feed each from a small log of this connection, charged and settled like any
   others; live ticks wait until the last of them is through.  What history has lost is a gap.  Bounded: one chunk and one run a connection.  Shard thread. */
#ifndef KMY_ENGINE_PAST_H
#define KMY_ENGINE_PAST_H

#include "engine/shard_types.h"

/* c has just subscribed, and holds everything up to seq: begins to read history, if its logs do not reach back so far. */
void kmy_past_begin(kmy_shard_t *s, kmy_conn_t *c, uint64_t seq);
/* Where c reads now, and for which subscription; NULL: it waits for history, or (c->past is NULL then) it is through and reads its logs. */
const kmy_feedlog_t *kmy_past_log(kmy_shard_t *s, kmy_conn_t *c, uint32_t *sub);
/* The run whose sends are not settled yet. */
const kmy_feedlog_t *kmy_past_run(const kmy_conn_t *c);
/* Before the connection is freed. */
void kmy_past_free(kmy_shard_t *s, kmy_conn_t *c);

/* A chunk of kind KMY_HISTORY_SEQS came back; asks for what waits.  false: there was nothing to ask. */
void kmy_past_answer(kmy_shard_t *s, const kmy_history_chunk_t *chunk);
bool kmy_past_ask(kmy_shard_t *s);

#endif
