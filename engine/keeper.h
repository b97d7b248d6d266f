/* dollar 4..5/7   the keeper thread: all money that may wait for a disk

   Takes what all shards ask in one go, does it in one durable ledger transaction, and answers after the commit: nobody is told of a credit, a lease
   or a revocation that is not on disk. */
#ifndef KMY_ENGINE_KEEPER_H
#define KMY_ENGINE_KEEPER_H

#include "base/metrics.h"
#include "engine/catalog.h"
#include "engine/topology.h"
#include "pay/ledger_receipt.h"
#include "pay/price.h"

typedef struct kmy_keeper kmy_keeper_t;

/* The ledger is the keeper's alone from here on; the rest is borrowed for the thread's life. */
kmy_err_t kmy_keeper_start(kmy_keeper_t **out, kmy_ledger_t *ledger, kmy_topology_t *topology,
                           kmy_metrics_t *metrics, kmy_errctx_t *ctx);
/* What an operator's ROTATE runs on the keeper's thread, which may wait for a disk: answers with the new key's id.  As kmy_keeper_sign_with. */
typedef kmy_err_t kmy_keeper_rotate_t(void *arg, bool drop, char kid[KMY_JTI_BYTES_MAX],
                                      kmy_errctx_t *ctx);
void kmy_keeper_rotate_with(kmy_keeper_t *k, kmy_keeper_rotate_t *rotate, void *arg);
/* Whose feeds passes are sold for, as kmy_keeper_sign_with.  Without it nobody may ask for any, and none are told. */
void kmy_keeper_sell_with(kmy_keeper_t *k, const kmy_catalog_t *catalog);
/* With which key receipts are signed: before the first shard is started; borrowed until kmy_keeper_stop.  Without one nobody may ask for any. */
void kmy_keeper_sign_with(kmy_keeper_t *k, const kmy_receipt_key_t *key);
/* Does what is still asked, joins, frees.  The shards must have stopped. */
/* Main thread: the version of these prices, in the ledger when it returns (one commit).  KMY_IO: the disk refused; nothing was written. */
kmy_err_t kmy_keeper_book(kmy_keeper_t *k, kmy_price_book_t *book, kmy_errctx_t *ctx);

void kmy_keeper_stop(kmy_keeper_t *k);

#endif
