/* dollar 5/7   in: a request   out: engine/account */
/* bearer: who pays for a request by a token, and that there is enough.  Shard thread. */
#ifndef KMY_ENGINE_BEARER_H
#define KMY_ENGINE_BEARER_H

#include "engine/demand.h"
#include "engine/shard_types.h"

typedef enum {
    KMY_BEARER_OK,
    KMY_BEARER_ANSWERED, /* refused: the whole answer was sent */
    KMY_BEARER_PARKED,   /* the request comes again */
} kmy_bearer_t;

/* The account of the request's payment (grant.h; one that is a deposit is taken here, for a demand that is to_account: a token is not looked at then), of its bearer,
   or else of `shown` (a token shown in another way; NULL: none).  demand: what is answered to who shows none;
   NULL: the route costs nothing, and who shows none gets 401. */
kmy_bearer_t kmy_bearer_find(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                             const char *shown, const kmy_demand_t *demand,
                             kmy_shard_account_t **acc, kmy_token_claims_t *claims);
/* price_nusd, which is what the account pays and no more, lies in its lease: the caller may charge it, now.  What is told to who has not so much is the
   demand with this price; what it offers to be paid instead stays at the base price. */
kmy_bearer_t kmy_bearer_cover(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                              const kmy_demand_t *demand, kmy_shard_account_t *acc,
                              int64_t price_nusd);
/* Both: the demand's price as this account pays it (kmy_account_price). */
kmy_bearer_t kmy_bearer_secure(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                               const char *shown, const kmy_demand_t *demand,
                               kmy_shard_account_t **acc, kmy_token_claims_t *claims);

#endif
