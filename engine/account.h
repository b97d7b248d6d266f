/* account: what a shard knows of the accounts it serves, and the traffic of leases with the keeper.

   dollar 5/7  in: pay/ledger (keeper)  out: pay/meter (shard)

   One slot per account and shard: all its sessions and requests on this shard spend one lease.  A lease is asked for before the present one
   is used up, sized by the account's own rate; what was spent is reported every second; what is not needed goes back when nobody uses the
   account, or when another shard is short. */
#ifndef KMY_ENGINE_ACCOUNT_H
#define KMY_ENGINE_ACCOUNT_H

#include "engine/shard_types.h"
#include "pay/price.h"

/* Finds or makes the slot of that name and, if it is new, asks the keeper for it.  NULL: no slot left.  The state tells whether it can be used
   now (OPEN), later (OPENING: park with kmy_account_wait) or never (UNKNOWN: the ledger has no such account). */
kmy_shard_account_t *kmy_account_get(kmy_shard_t *s, const char *name);
/* The slot of that name if it is open here already; NULL: it is not. */
kmy_shard_account_t *kmy_account_known(kmy_shard_t *s, const char *name);
/* Parks a connection until the account's state or lease changes; kmy_conn_resume is called then. */
void kmy_account_wait(kmy_shard_t *s, kmy_shard_account_t *acc, kmy_conn_t *c);
void kmy_account_unwait(kmy_shard_t *s, kmy_conn_t *c);
/* A session begins or ends to use the account. */
void kmy_account_join(kmy_shard_t *s, kmy_shard_account_t *acc, kmy_conn_t *c);
void kmy_account_leave(kmy_shard_t *s, kmy_conn_t *c);

/* What the customer has: exact as far as this shard knows. */
static inline int64_t kmy_account_balance(const kmy_shard_account_t *acc)
{
    return acc->free_nusd + acc->elsewhere_nusd + acc->lease.left_nusd;
}

/* Something was spent or may need reporting.  This and the next stand on every send's way: what is usual is here, the rest behind a call. */
void kmy_account_list(kmy_shard_t *s, kmy_shard_account_t *acc);
static inline void kmy_account_touch(kmy_shard_t *s, kmy_shard_account_t *acc)
{
    if (!acc->in_touched)
        kmy_account_list(s, acc);
}
/* Asks for more if the lease runs low and there is more to be had. */
void kmy_account_ask_more(kmy_shard_t *s, kmy_shard_account_t *acc);
static inline void kmy_account_refill(kmy_shard_t *s, kmy_shard_account_t *acc)
{
    if (acc->lease.left_nusd < acc->low_nusd && acc->free_nusd > 0)
        kmy_account_ask_more(s, acc);
}
/* After every run of ticks that was charged: the two above in one comparison, which is rarely true. */
void kmy_account_look(kmy_shard_t *s, kmy_shard_account_t *acc);
static inline void kmy_account_took(kmy_shard_t *s, kmy_shard_account_t *acc)
{
    if (__builtin_expect(acc->lease.left_nusd < acc->watch_nusd, false))
        kmy_account_look(s, acc);
}
/* The lease does not cover the next tick of c: waits for one, or pauses the session if nothing is left anywhere. */
void kmy_account_starved(kmy_shard_t *s, kmy_shard_account_t *acc, kmy_conn_t *c);
typedef enum { KMY_COVER_YES, KMY_COVER_WAIT, KMY_COVER_NO } kmy_cover_t;
/* Can the account pay need_nusd now?  WAIT: a lease was asked for. */
kmy_cover_t kmy_account_cover(kmy_shard_t *s, kmy_shard_account_t *acc, int64_t need_nusd);

/* What a price is for this customer. */
static inline int64_t kmy_account_price(const kmy_shard_account_t *acc, int64_t price_nusd)
{
    return kmy_price_discounted(price_nusd, acc->discount_percent);
}

/* Takes one answer's price, or one item's, counted for a feed (idx) as a query or in a batch; the caller saw to it that the lease covers it
   (kmy_bearer_secure), in this very turn. */
void kmy_account_charge(kmy_shard_t *s, kmy_shard_account_t *acc, int64_t price_nusd, uint32_t feed,
                        kmy_mode_t mode);

/* Its discount is known, or will not be in time: from here on it can be used (discount.h). */
void kmy_account_opened(kmy_shard_t *s, kmy_shard_account_t *acc);
/* A tell of the keeper about an account of ours. */
void kmy_account_told(kmy_shard_t *s, const kmy_tell_t *tell);
/* Gives back so much of the lease (at most what is left), ahead of what is asked next.  false: the keeper's queue is full. */
bool kmy_account_give_back(kmy_shard_t *s, kmy_shard_account_t *acc, int64_t nusd);
/* Reports what was spent, now: a receipt for it follows.  false: the keeper's queue is full. */
bool kmy_account_report_now(kmy_shard_t *s, kmy_shard_account_t *acc);
/* Reports what is due; `all`: everything, and gives back every lease (drain).  Returns how many accounts still hold something. */
uint32_t kmy_account_report(kmy_shard_t *s, bool all);

#endif
