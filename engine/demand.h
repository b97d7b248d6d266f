/* dollar 1/7   in: engine/query, engine/sse, engine/pay_routes   out: pay/challenge */
/* demand: the 402 of a route: one answer that says to people, to x402 v1 and to v2 what is to be paid and how: the problem's members, the v1 offer and
   the cheaper way (deposit) in the body, the v2 offer in the header PAYMENT-REQUIRED.  Below 4 KiB, head and all: what does not fit is left out
   (pay/challenge.h).  Shard thread. */
#ifndef KMY_ENGINE_DEMAND_H
#define KMY_ENGINE_DEMAND_H

#include "engine/shard_types.h"

typedef struct kmy_demand {
    const char *path;                           /* of the resource, "/v1/deposit" */
    const char *description;                    /* of what is bought, ASCII */
    int64_t price_nusd;                         /* "required" */
    int64_t amounts_nusd[KMY_SLIP_AMOUNTS_MAX]; /* what may be paid here */
    uint32_t amounts_count;                     /* 0: this route takes no payment of its own */
    bool
        to_account; /* a payment here is a deposit, and the request then goes on on its payer's account (grant.h) */
    bool
        scoped; /* looks itself whether a token is for the feeds asked for: others refuse a token that is not for all */
    bool signin; /* offer sign-in-with-x as well */
} kmy_demand_t;

/* The demand of a route that sells for one price. */
kmy_demand_t kmy_demand_price(const char *path, const char *description, int64_t price_nusd);
/* That of POST /v1/deposit; amount_nusd 0: what is offered to everybody, 0.10 first.  0.10 is what the stock v1 client pays at most without asking. */
kmy_demand_t kmy_demand_deposit(const char *path, int64_t amount_nusd);

/* err: KMY_UNPAID or KMY_NO_BALANCE.  reason: x402's word for why, or NULL.  balance_nusd: told with KMY_NO_BALANCE.  extra: header lines, or "".
   The caller has counted the request (throttle.h). */
void kmy_demand_pay(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                    const kmy_demand_t *d, kmy_err_t err, const char *reason, const char *detail,
                    int64_t balance_nusd, const char *extra);

/* The same for a stream: ,"v1":{offer},"v2":{offer} of a deposit into o->members, as many entries as fit; nothing if no payments are taken.  Once at start,
   behind kmy_offers_init: all streams that run dry are told the same. */
void kmy_demand_members(struct kmy_offers *o);

#endif
