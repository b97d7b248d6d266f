/* dollar 1/7 and 4/7   in: engine/routes, engine/stream (shard)   out: engine/cashier, and back

   slips: the shard's end of what it asks the cashier (slip.h).  A request that pays:

       kmy_slip_t *slip = c->answered ? s->slip : NULL;
       if (!slip) {                                     first time
           slip = kmy_slip_take(s);                     NULL: 503 with Retry-After
           ... fill the question ...
           kmy_slip_send_and_park(s, c, slip);
           return false;                                as kmy_shard_ask_and_park
       }
       ... the same request again: slip has the answer ...

   While the request is run again, s->slip is its slip, which is given back when it returns; it may also be filled anew and sent again (QUERY, then
   ANSWER), which parks the request once more.  A request sees the answer in the same turn of the loop or never: nothing keeps a pointer to a slip.

   Who hangs up leaves the slip to the cashier, which goes on; when it comes back it is given back, unseen.  A draining shard does the same: it waits for
   no slip, and the cashier ends all waiting when it drains (cashier.h).  All of it on the shard's thread; nothing blocks or allocates. */
#ifndef KMY_ENGINE_SLIPS_H
#define KMY_ENGINE_SLIPS_H

#include "engine/shard_types.h"

/* slip->ask */
#define KMY_SLIP_ASK_REQUEST UINT32_C(0) /* a parked HTTP request waits */
#define KMY_SLIP_ASK_STREAM                                                                        \
    UINT32_C(0x80000000) /* an open stream does: kmy_stream_paid; the other bits are its own */
#define KMY_SLIP_ASK_ACCOUNT                                                                       \
    UINT32_C(                                                                                      \
        0x40000000) /* an account of the shard: kmy_discount_told; conn and gen are its slot's */

void kmy_slips_init(kmy_shard_t *s);
/* One of KMY_SLIPS, its members zero but header and body, whose bytes are those of an earlier use; NULL: none left.
   It goes back by send or drop before the turn ends. */
kmy_slip_t *kmy_slip_take(kmy_shard_t *s);
/* Hands it over: from here on it is the cashier's.  There is always room.  conn and gen say who waits. */
void kmy_slip_send(kmy_shard_t *s, kmy_slip_t *slip);
/* The same with conn, gen and ask of c, whose request is then parked. */
void kmy_slip_send_and_park(kmy_shard_t *s, kmy_conn_t *c, kmy_slip_t *slip);
/* How many are free: for what may wait until payments have theirs. */
uint32_t kmy_slips_left(const kmy_shard_t *s);
/* Not sent after all. */
void kmy_slip_drop(kmy_shard_t *s, kmy_slip_t *slip);
/* Each turn: what came back, at most `count`, goes to who waits for it.  Returns how many came. */
size_t kmy_slips_turn(kmy_shard_t *s, size_t count);

#endif
