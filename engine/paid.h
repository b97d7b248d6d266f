/* dollar 2/7   in: engine/query, engine/pay_routes   out: engine/slips, and what came of it to the client */
/* paid: requests that bring their money with them, in a payment header.  The request is looked at, and refused for what is wrong with it, before its payment
   is; the payment goes to the cashier, and the request comes again with the answer.  Nothing is taken for what cannot be delivered: a price that was paid
   meanwhile stays on the payer's account.  Shard thread.

   Counted per address like any request without a token, and given back once the payment turns out to be one. */
#ifndef KMY_ENGINE_PAID_H
#define KMY_ENGINE_PAID_H

#include "engine/demand.h"
#include "engine/shard_types.h"

/* Does the request bring a payment?  One that wants no body (HEAD) buys nothing: its header is not looked at. */
bool kmy_paid_wanted(const kmy_http_request_t *req);
/* The cashier's answer to this very request; NULL: it comes for the first time. */
static inline kmy_slip_t *kmy_paid_slip(const kmy_shard_t *s, const kmy_conn_t *c)
{
    return c->answered ? s->slip : NULL;
}

/* First time: takes a slip for the request's payment of one of the demand's amounts and parks.  true: answered instead (refused). */
bool kmy_paid_begin(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                    const kmy_demand_t *demand, kmy_slip_kind_t kind);
/* For a slip of another kind, which the caller fills and sends; the request was counted.  NULL: 503 was answered. */
kmy_slip_t *kmy_paid_take_slip(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                               kmy_slip_kind_t kind);
/* Whatever is not done: 202 while it is pending (more: further members of it, or NULL), 402 with the offers where another payment may help (demand NULL:
   nowhere), else the problem.  Always answers. */
void kmy_paid_undone(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                     const kmy_demand_t *demand, const kmy_slip_t *slip, const kmy_buf_t *more);
/* What the payer's account has after what the slip says: the cashier's figure leaves out what shards hold of it, this one knows of its own. */
int64_t kmy_paid_left(kmy_shard_t *s, const kmy_slip_t *slip);
/* The receipt's header line, terminated; "" if the slip knows of no payment. */
void kmy_paid_receipt(const kmy_shard_t *s, const kmy_slip_t *slip, char *out, size_t cap);

/* --- answers --- */

typedef enum {
    KMY_SOLD_ANSWERED,
    KMY_SOLD_PARKED,  /* the request comes again */
    KMY_SOLD_NOTHING, /* it cannot be sold now and this payment bought no answer before: the caller refuses (the request was counted if kmy_paid_slip) */
    KMY_SOLD_MAKE, /* paid, and c->grant holds the price: the caller makes what is to be composed, then calls kmy_paid_keep */
    KMY_SOLD_ON_ACCOUNT, /* paid, and not to be kept: c->grant lets the request go on on its payer's account */
} kmy_sold_t;

/* What an answer costs and what is left.  Before kmy_paid_charge: nothing of what is held, all of it left. */
typedef struct kmy_paid_bill {
    int64_t held_nusd;
    int64_t charged_nusd;
    int64_t left_nusd; /* on the account */
    kmy_use_t use;     /* what it is counted as */
} kmy_paid_bill_t;
/* false: less is held than that (the payment was made for a request that costs less, and there is a least payment): nothing changes.
   It is counted as one query of a feed (kmy_use_feed), or as so many items of several (feed 0) or of one. */
bool kmy_paid_charge(kmy_paid_bill_t *bill, int64_t price_nusd, uint32_t feed, uint32_t items);

/* Writes the whole body, and charges for it (kmy_paid_charge, once, more than 0).  false: it cannot be answered any more, or need not be charged: nothing is,
   and what was written does not count. */
typedef bool kmy_paid_compose_t(kmy_shard_t *s, void *arg, kmy_paid_bill_t *bill, kmy_buf_t *b);

typedef struct kmy_ware {
    kmy_paid_compose_t *compose; /* NULL: it must be made first (KMY_SOLD_MAKE) */
    void *arg;
    bool
        else_account; /* where compose fails, or its body is longer than what is kept (KMY_SLIP_BODY_BYTES_MAX): KMY_SOLD_ON_ACCOUNT instead of a refusal */
} kmy_ware_t;

/* A route that sells one answer for at most the demand's price.  now: it can be sold now; else only an answer that is kept is given out.  What compose charged is
   taken from what is held, in the same transaction that keeps the body; the rest is on the payer's account.  Never KMY_SOLD_MAKE with a compose. */
kmy_sold_t kmy_paid_sell(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                         const kmy_demand_t *demand, const kmy_ware_t *ware, bool now);
/* What was to be made is there (after KMY_SOLD_MAKE and a wait): ware->compose is called, its body kept; the request comes again, for kmy_paid_sell. */
kmy_sold_t kmy_paid_keep(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                         const kmy_ware_t *ware);

/* --- deposits --- */

/* A payment that is a deposit of one of the demand's amounts.  true: it is settled and c->grant lets the request go on on its payer's account; false: *done as routes
   return.  It does so for who brings it before anybody else could (slip.h: exposed); later it is a 409, or who reads the chain would spend the payer's balance. */
bool kmy_paid_onto_account(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                           const kmy_demand_t *demand, bool *done);
/* kmy_paid_undone of a deposit: who is told "pending" gets a token of the account, good once the credit is there. */
void kmy_paid_undone_deposit(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                             const kmy_demand_t *demand, const kmy_slip_t *slip);

#endif
