/* dollar 4/7   in: engine/daemon (start, reload)   out: entries of the journal

   Price books by version: what each entry of consumption was counted at.  A version is never changed and never forgotten; they are some 80 bytes
   each, and there is one for each change of prices. */
#ifndef KMY_PAY_LEDGER_BOOK_H
#define KMY_PAY_LEDGER_BOOK_H

#include "pay/ledger.h"
#include "pay/price.h"

/* Inside a batch: book->version becomes that of the newest version if its prices are these, else of a new one. */
kmy_err_t kmy_ledger_book(kmy_ledger_t *l, kmy_price_book_t *book, int64_t now_ns,
                          kmy_errctx_t *ctx);
/* since_ns may be NULL.  KMY_NOT_FOUND: no such version. */
kmy_err_t kmy_ledger_book_get(kmy_ledger_t *l, uint32_t version, kmy_price_book_t *book,
                              int64_t *since_ns, kmy_errctx_t *ctx);

#endif
