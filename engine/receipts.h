/* receipts: what this shard delivered and has no receipt for yet, and the traffic about it with the keeper.

   dollar 7/7   in: engine/egress_settle   out: pay/ledger_receipt (keeper), and back as frames

   A subscription adds up what was charged since its last receipt (kmy_sub.receipt_*).  When it ends, when its customer asks, when the daemon
   drains, and every receipts.every, that run is taken off and stands in shard->receipts until the account's consumption has been reported and
   the keeper's queue has room: a receipt follows the consumption it covers.  What comes back is sent as a frame to the connection, if it is
   still there and reads; if not, the ledger keeps the newest ones for whoever asks by {"op":"receipt","after":SEQ}. */
#ifndef KMY_ENGINE_RECEIPTS_H
#define KMY_ENGINE_RECEIPTS_H

#include "engine/shard_types.h"

/* Ticks [from, from + n) were charged, nusd for all of them; n >= 1.  Two adds for each run of ticks. */
static inline void kmy_receipts_note(kmy_sub_t *sub, uint64_t from, uint64_t n, int64_t nusd)
{
    if (sub->receipt_ticks == 0)
        sub->receipt_from = from;
    sub->receipt_to = from + n - 1;
    sub->receipt_ticks += n;
    sub->receipt_nusd += nusd;
}

/* Takes off what a subscription (or, _all, each of a connection) has no receipt for.  soon: somebody waits for it; else it goes with the
   account's next report.  Not while a submission is under way.  Returns how many there were. */
typedef enum { KMY_RECEIPT_LATER, KMY_RECEIPT_SOON } kmy_receipt_when_t;
uint32_t kmy_receipts_take(kmy_shard_t *s, const kmy_conn_t *c, kmy_sub_t *sub,
                           kmy_receipt_when_t when);
uint32_t kmy_receipts_take_all(kmy_shard_t *s, const kmy_conn_t *c, kmy_receipt_when_t when);

/* A stream's turn in the scan of connections: every receipts.every. */
void kmy_receipts_scan(kmy_shard_t *s, kmy_conn_t *c);
/* Sends to the keeper what may go.  Returns how many wait, or are not answered yet. */
uint32_t kmy_receipts_turn(kmy_shard_t *s);
/* A tell of the keeper. */
void kmy_receipts_told(kmy_shard_t *s, const kmy_tell_t *tell);
/* Asks for the kept receipts above `after` (UINT64_MAX: for none), then for new ones.  false: the keeper's queue is full. */
bool kmy_receipts_ask(kmy_shard_t *s, kmy_conn_t *c, uint64_t after, uint32_t *fresh);

void kmy_receipts_free(kmy_shard_t *s);

#endif
