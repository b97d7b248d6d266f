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

/* A route that sells one answer for the demand's price.  compose writes its whole body, which says what was charged and that left_nusd are left; false: it cannot be
   answered any more, and `why` (192 bytes) says why.  Returns as routes do. */
typedef bool kmy_paid_compose_t(kmy_shard_t *s, void *arg, int64_t left_nusd, kmy_buf_t *b,
                                char *why);
bool kmy_paid_answer(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                     const kmy_demand_t *demand, kmy_paid_compose_t *compose, void *arg);
/* The same where nothing can be sold now: its payment may have bought an answer before, which is kept.  Returns as routes do; *none: nothing was answered, since it
   bought none: the caller refuses (the request was counted if kmy_paid_slip) or, if it can sell again, begins. */
bool kmy_paid_recall(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                     const kmy_demand_t *demand, bool *none);
/* Is the slip that came back one of kmy_paid_recall? */
static inline bool kmy_paid_recalled(const kmy_slip_t *slip)
{
    return slip && slip->kind == KMY_SLIP_QUERY && slip->known_only;
}

#endif
