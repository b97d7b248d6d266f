/* dollar 4/7   in: POST /v1/tokens, POST /v1/admin/tokens (by way of the keeper)   out: pay/ledger_move

   Allowances: a token that may spend so much and no more is the token of an account of its own, <parent>.<jti>, which has exactly that: taken from its
   parent's free balance in the transaction that makes it, and what is left given back in one when the token is void.  So leases, charges, receipts,
   usage and limits know nothing of it, and the cap holds to the nano-dollar on however many shards.

   An allowance's account has none of its own.  The keeper's thread; inside a batch (ledger.h). */
#ifndef KMY_PAY_LEDGER_ALLOW_H
#define KMY_PAY_LEDGER_ALLOW_H

#include "pay/ledger.h"

/* A token is good that long behind its expiry (pay/token.h: KMY_TOKEN_LEEWAY_S): what is left goes back then. */
#define KMY_ALLOWANCE_LEEWAY_NS (INT64_C(30) * 1000000000)
/* While a shard still has a lease of it, it is looked at again that much later. */
#define KMY_ALLOWANCE_AGAIN_NS  INT64_C(1000000000)

typedef struct kmy_allowance {
    uint64_t parent_id;
    char jti[KMY_JTI_BYTES_MAX]; /* terminated; characters of an account's name */
    int64_t amount_nusd;         /* > 0 */
    int64_t expires_ns;
    uint64_t terms; /* what else the caller compares a repetition by */
} kmy_allowance_t;

/* Looks, and writes nothing.  KMY_OK: it can be made, once the parent's balance has extra_nusd more.
     KMY_DUPLICATE   it is there: same parent, amount and terms
     KMY_CONFLICT    that jti is another's, or an account has the name already
     KMY_FORBIDDEN   the parent is an allowance's account itself
     KMY_NO_BALANCE  the parent's free balance does not cover it; what is leased to shards is not free
     KMY_BAD_INPUT   amount, jti, or a name that would be too long
     KMY_NOT_FOUND   no such parent */
kmy_err_t kmy_ledger_allow_check(kmy_ledger_t *l, const kmy_allowance_t *want, int64_t extra_nusd,
                                 kmy_errctx_t *ctx);
/* Makes it.  The same results, and on KMY_OK and KMY_DUPLICATE *child, *parent as they are now and *expires_ns, of the first time. */
kmy_err_t kmy_ledger_allow(kmy_ledger_t *l, const kmy_allowance_t *want, int64_t now_ns,
                           kmy_account_t *child, kmy_account_t *parent, int64_t *expires_ns,
                           kmy_errctx_t *ctx);

/* Is there one whose time has come?  Also outside a batch; KMY_NOT_FOUND: no. */
kmy_err_t kmy_ledger_allowance_due(kmy_ledger_t *l, int64_t now_ns, kmy_errctx_t *ctx);
/* The first of them: what is left goes back to the parent.  A token that was revoked is due at once, any other KMY_ALLOWANCE_LEEWAY_NS behind its expiry.
     KMY_OK         given back (which may be nothing), for good
     KMY_AGAIN      a shard has a lease of *child: put off by KMY_ALLOWANCE_AGAIN_NS
     KMY_NOT_FOUND  none is due; *child and *parent are untouched */
kmy_err_t kmy_ledger_allowance_return(kmy_ledger_t *l, int64_t now_ns, kmy_account_t *child,
                                      kmy_account_t *parent, kmy_errctx_t *ctx);

#endif
