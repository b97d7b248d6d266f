/* dollar 4/7   in: POST /v1/passes (by way of the keeper)   out: pay/ledger_move

   Passes: a feed's ticks for 24 h, however many, paid at once out of the free balance.  One entry of the journal for each (balance -> consumed, with
   the feed's name) and one row for each account and feed, which says until when: a pass that is bought while another one runs begins where that
   ends.  A row stays when its pass is over, so that the audit can recount all of them from the journal.

   A purchase under an idempotency key is answered from what was kept of it, for KMY_PASS_KEPT_NS.  The keeper's thread; inside a batch (ledger.h). */
#ifndef KMY_PAY_LEDGER_PASS_H
#define KMY_PAY_LEDGER_PASS_H

#include "pay/ledger.h"

#define KMY_PASS_NS      (INT64_C(24) * 3600 * 1000000000) /* what one pass is for */
#define KMY_PASS_KEPT_NS (INT64_C(24) * 3600 * 1000000000)

enum {
    KMY_PASS_FEEDS_MAX = 32,      /* of one purchase: its answer is one message to a shard */
    KMY_PASS_KEY_BYTES_MAX = 128, /* idempotency key, with its terminator */
};

typedef struct kmy_pass_order {
    uint64_t account_id;
    const char *key;                       /* "": each order buys */
    uint32_t count;                        /* 1..KMY_PASS_FEEDS_MAX */
    int64_t price_nusd;                    /* of each, >= 0 */
    uint32_t price_book;                   /* that says so, but for the discount; 0: not told */
    uint32_t discount_percent;             /* the customer's, in price_nusd already */
    const char *feeds[KMY_PASS_FEEDS_MAX]; /* canonical names, each once */
} kmy_pass_order_t;

typedef struct kmy_pass_sale {
    int64_t charged_nusd;
    int64_t balance_nusd;                   /* behind it, leases and all */
    int64_t expires_ns[KMY_PASS_FEEDS_MAX]; /* as the order's feeds */
} kmy_pass_sale_t;

/* All or nothing.
     KMY_DUPLICATE   the same order was done under that key: *out is the sale of then, nothing is taken
     KMY_CONFLICT    another one was, of other feeds
     KMY_NO_BALANCE  the free balance does not cover it; what is leased to shards is not free
     KMY_BAD_INPUT   a key or name of a length that we do not take
   *acc (may be NULL): the account as it is now, on all but the last and KMY_NOT_FOUND. */
kmy_err_t kmy_ledger_pass_buy(kmy_ledger_t *l, const kmy_pass_order_t *order, int64_t now_ns,
                              kmy_pass_sale_t *out, kmy_account_t *acc, kmy_errctx_t *ctx);

/* The account's passes that end behind now_ns, in order of name; a visitor returns false to stop, the name is terminated and borrowed until then. */
typedef bool kmy_ledger_pass_visit_t(void *arg, const char *feed, int64_t expires_ns);
kmy_err_t kmy_ledger_visit_passes(kmy_ledger_t *l, uint64_t account_id, int64_t now_ns,
                                  kmy_ledger_pass_visit_t *visit, void *arg, kmy_errctx_t *ctx);

#endif
