/* ledger_backup: a copy of a ledger that adds up, taken by path, also while a daemon writes to it.

   Not inside the process that has it open (LMDB allows one handle); blocks for as long as the disk needs.  While it runs, pages that the daemon
   frees are not used again, so the ledger's file may grow by what is written meanwhile. */
#ifndef KMY_PAY_LEDGER_BACKUP_H
#define KMY_PAY_LEDGER_BACKUP_H

#include "pay/ledger.h"

/* Copies one instant of the ledger at `from` into the folder `to`, which must not exist (its parent must), durably, and recounts the copy.
   *audit is the copy's.  KMY_CORRUPT: the copy does not add up (audit->first_fault); KMY_IO, KMY_CONFIG as kmy_ledger_audit_path.  On failure
   nothing is left at `to`. */
kmy_err_t kmy_ledger_backup(const char *from, const char *to, kmy_ledger_audit_t *audit,
                            kmy_errctx_t *ctx);

#endif
