/* dollar 4/7   in: engine/paid   out: engine/bearer, engine/reply */
/* grant: what a payment by header has bought for the very request that brought it, kept with its connection until that is answered: such a request may have
   to wait once more (for a page of history, an account, a lease), and nobody keeps a slip meanwhile.

   Held: the price is held for one answer, which is kept with its payment before it is sent (KMY_SLIP_ANSWER).
   On the account: the money is its payer's, and the request goes on as if it had shown a token of that account: it is charged there, for what it is given.
   Either is given once for each payment, and never to who brings a header that others may have read (slip.h: exposed), unless its price was all it paid. */
#ifndef KMY_ENGINE_GRANT_H
#define KMY_ENGINE_GRANT_H

#include "engine/shard_types.h"
#include "pay/challenge.h"

struct kmy_grant {
    bool on_account;
    char payment_id[KMY_PAYMENT_ID_BYTES];
    char account[KMY_ACCOUNT_BYTES_MAX];
    int64_t held_nusd;                        /* what it paid for this one answer; a deposit: 0 */
    int64_t balance_nusd;                     /* as the slip had it */
    char receipt[KMY_RECEIPT_LINE_BYTES_MAX]; /* the header line of every answer to this request */
};

/* c's, from a slip that is settled; one that is there already becomes `on_account` as told.  false: no memory; nothing was changed.  Allocates some 1 KiB. */
bool kmy_grant_make(kmy_shard_t *s, kmy_conn_t *c, const kmy_slip_t *slip, bool on_account);
/* The request was answered, or its connection ends. */
void kmy_grant_forget(kmy_conn_t *c);
/* Does the request go on on its payer's account? */
static inline bool kmy_grant_on_account(const kmy_conn_t *c)
{
    return c->grant && c->grant->on_account;
}
/* Terminated; "": there is none. */
static inline const char *kmy_grant_receipt(const kmy_conn_t *c)
{
    return c->grant ? c->grant->receipt : "";
}
/* What such a request costs: a payment for one answer pays no more than it was for, whatever that comes to by now. */
static inline int64_t kmy_grant_cap(const kmy_conn_t *c, int64_t price_nusd)
{
    bool capped = c->grant && c->grant->held_nusd > 0 && c->grant->held_nusd < price_nusd;
    return capped ? c->grant->held_nusd : price_nusd;
}
/* What a token of the account would say: it is good for all feeds, and as long as a new one. */
void kmy_grant_claims(const kmy_shard_t *s, const kmy_conn_t *c, kmy_token_claims_t *out);

#endif
