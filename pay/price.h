/* dollar 6/7   in: configuration (prices)   out: pay/meter, engine/routes

   What things cost, in exact integers.  Discounts multiply: 100 -> 80 (batch) -> 72, 64, 56 micro-USD (tiers of 10, 20, 30 %).  All
   factors of one charge are multiplied first and divided once, downward: what does not divide is the customer's, less than one nano-USD
   a charge.  Pure; any thread. */
#ifndef KMY_PAY_PRICE_H
#define KMY_PAY_PRICE_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* Read-only once made; a reload makes another one with a higher version, and what was sent before is charged by the old one. */
typedef struct kmy_price_book {
    int64_t query_nusd;
    int64_t market_query_nusd; /* market overview feeds */
    int64_t tick_nusd;
    int64_t pass_nusd;               /* a feed for 24 h */
    uint32_t batch_discount_percent; /* 0..100 */
    uint32_t batch_from;             /* items delivered; 0: no batch discount */
    uint32_t version;
} kmy_price_book_t;

#define KMY_PRICE_NUSD_MAX  INT64_C(1000000000000) /* 1,000 USD: above it is a slip of the pen */
#define KMY_PRICE_ITEMS_MAX 4096                   /* a snapshot is a batch of all feeds */

/* The default prices (docs/protocol.md), version 1. */
kmy_price_book_t kmy_price_book_default(void);
/* KMY_CONFIG with what and the legal range. */
kmy_err_t kmy_price_book_check(const kmy_price_book_t *book, kmy_errctx_t *ctx);

/* One price with a customer's discount (0..100): a query, a tick, a pass. */
int64_t kmy_price_discounted(int64_t price_nusd, uint32_t discount_percent);
/* One item of a batch whose items are billed one by one, with the batch's discount (0: too few) and the customer's. */
int64_t kmy_price_item(int64_t price_nusd, uint32_t batch_percent, uint32_t discount_percent);

/* A batch of the `count` items that were delivered (not asked for), each at its own price; count <= KMY_PRICE_ITEMS_MAX, prices in
   [0, KMY_PRICE_NUSD_MAX].  discount_percent is the customer's; the book's is added from batch_from items on. */
int64_t kmy_price_batch(const kmy_price_book_t *book, const int64_t *prices_nusd, size_t count,
                        uint32_t discount_percent);

#endif
