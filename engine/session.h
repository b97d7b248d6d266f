/* session: what a connection was charged for, kept for the one that goes on in its place ("session" of a subscribe or auth message).

   Ticks that the old connection was charged for are sent again free of charge, all others are charged.  Where it ended: its runs go to the table
   (session_table.h) when it is closed or released.  Where it is still open, on this shard or another one, perhaps to a peer that is gone: it is closed
   with 4408, and the new connection waits for that one turn, so that no tick is charged twice. */
#ifndef KMY_ENGINE_SESSION_H
#define KMY_ENGINE_SESSION_H

#include "engine/charges.h"
#include "engine/shard_types.h"

/* Gives c its id, when it has shown a token. */
void kmy_session_begin(kmy_shard_t *s, kmy_conn_t *c);
/* "session" as it was sent: {0, 0} if it was not.  KMY_BAD_INPUT: it is no id at all. */
kmy_err_t kmy_session_read(kmy_json_token_t token, uint64_t id[2], kmy_errctx_t *ctx);
/* c goes on with the session of this id.  One that is none, unknown, too old or another account's changes nothing.  Uses shard->scratch. */
void kmy_session_resume(kmy_shard_t *s, kmy_conn_t *c, const uint64_t id[2]);
/* c's subscriptions are about to go: what they were charged for is kept.  Its sends are settled.  Once; later calls do nothing. */
void kmy_session_end(kmy_shard_t *s, kmy_conn_t *c);
/* Each turn: the claims of other shards, and their answers.  Returns how many there were. */
uint32_t kmy_session_turn(kmy_shard_t *s);
/* Once a second: what an earlier session was charged for is forgotten after its time. */
void kmy_session_scan(kmy_shard_t *s, kmy_conn_t *c);

/* Of the next n ticks of a subscription that `repeats`: how many of the first are all free, or all to be paid. */
static inline uint64_t kmy_session_border(const kmy_conn_t *c, kmy_sub_t *sub, uint64_t n,
                                          bool *free_of_charge)
{
    bool more = false;
    *free_of_charge = false;
    if (c->charges)
        n = kmy_charges_border(c->charges, sub->feed, sub->cursor, n, free_of_charge, &more);
    sub->repeats = more;
    return n;
}

#endif
