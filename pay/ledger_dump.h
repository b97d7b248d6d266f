/* dollar 4/7   in: kamiyo ledger dump   out: price books and the journal, row by row

   For who keeps the books in another program, and for an auditor who trusts none of ours.  Read-only on a path, also while a daemon runs, but in
   another process; one instant of it. */
#ifndef KMY_PAY_LEDGER_DUMP_H
#define KMY_PAY_LEDGER_DUMP_H

#include "pay/ledger_record.h"
#include "pay/price.h"

typedef struct kmy_ledger_dump {
    void *arg;
    void (*book)(void *arg, const kmy_price_book_t *book, int64_t since_ns);
    /* Borrowed until it returns.  account: its name; feed: "" where the entry names none. */
    void (*entry)(void *arg, uint64_t id, const kmy_entry_t *entry, const char *account,
                  const char *feed);
} kmy_ledger_dump_t;

/* All price books, then all entries.  KMY_CONFIG: another format; KMY_CORRUPT: no ledger, or a damaged row; KMY_IO. */
kmy_err_t kmy_ledger_dump_path(const char *path, const kmy_ledger_dump_t *to, kmy_errctx_t *ctx);

/* "credit", "consume": as docs/decisions/ledger.md names them. */
const char *kmy_entry_kind_name(kmy_entry_kind_t kind);

#endif
