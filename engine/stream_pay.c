#include "engine/stream_pay.h"

void kmy_stream_paid(kmy_shard_t *s, kmy_conn_t *c, kmy_slip_t *slip)
{
    /* No `pay` frame is understood yet, so none is answered; what was paid is on the account, and the keeper tells the shards of it. */
    (void)s;
    (void)c;
    (void)slip;
}
