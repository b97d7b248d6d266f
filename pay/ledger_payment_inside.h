/* dollar 4/7   in: pay/ledger_payment   out: the files of payments in the ledger, and nobody else */
#ifndef KMY_PAY_LEDGER_PAYMENT_INSIDE_H
#define KMY_PAY_LEDGER_PAYMENT_INSIDE_H

#include "pay/ledger_inside.h"
#include "pay/ledger_payment_record.h"

/* What it holds for its account while it waits for a chain; counted for each payer. */
bool kmy_payment_is_open(uint8_t state);
int64_t kmy_payment_amount_nusd(const kmy_payment_row_t *r);

/* KMY_NOT_FOUND, KMY_BAD_INPUT (no id), KMY_CORRUPT.  row.account is as promised, row.json absent. */
kmy_err_t kmy_payment_load(kmy_ledger_t *l, MDB_txn *txn, const char *id, kmy_stored_payment_t *p,
                           kmy_errctx_t *ctx);
/* For a caller's *out (NULL: nobody wants it): the credited account's name, and json if txn is the batch. */
kmy_err_t kmy_payment_answer_row(kmy_ledger_t *l, MDB_txn *txn, const kmy_stored_payment_t *p,
                                 kmy_payment_row_t *out, kmy_errctx_t *ctx);
/* Checks a promise as reserve takes it, and makes its payer canonical.  KMY_BAD_INPUT, KMY_OVERFLOW. */
kmy_err_t kmy_payment_check(kmy_payment_row_t *r, kmy_errctx_t *ctx);
kmy_err_t kmy_payment_put_promise(kmy_ledger_t *l, const kmy_payment_row_t *r, kmy_errctx_t *ctx);
/* Writes how it stands now.  was: its state before, 0 for a new one; the indices of open payments follow, and what was presented is dropped with
   the last step. */
kmy_err_t kmy_payment_put_state(kmy_ledger_t *l, const kmy_stored_payment_t *p, uint8_t was,
                                kmy_errctx_t *ctx);

/* The account of a payer: *id 0 if it has none yet.  payer is canonical. */
kmy_err_t kmy_payer_find(kmy_ledger_t *l, MDB_txn *txn, const char *payer, bool contract,
                         uint64_t *id, kmy_errctx_t *ctx);
/* The same, made if need be, and (for an EVM key) known by its address from now on. */
kmy_err_t kmy_payer_make(kmy_ledger_t *l, const char *payer, bool contract, int64_t now_ns,
                         uint64_t *id, kmy_errctx_t *ctx);

/* Takes a credit back (kind aside, *credit is its entry): what is free of it goes, the rest becomes a debt. */
kmy_err_t kmy_credit_take_back(kmy_ledger_t *l, const kmy_entry_t *credit, int64_t now_ns,
                               kmy_errctx_t *ctx);
/* The payment ends: its advance, if one is open, is taken back.  The caller puts *p. */
kmy_err_t kmy_advance_end(kmy_ledger_t *l, kmy_stored_payment_t *p, int64_t now_ns,
                          kmy_errctx_t *ctx);

/* What is held for that payment; 0: nothing, or not any more. */
kmy_err_t kmy_hold_get(kmy_ledger_t *l, MDB_txn *txn, uint64_t account_id, const char *id,
                       int64_t *nusd, kmy_errctx_t *ctx);
/* Holds amount_nusd of the balance for it, if it is there. */
kmy_err_t kmy_hold_make(kmy_ledger_t *l, uint64_t account_id, const char *id, int64_t amount_nusd,
                        int64_t now_ns, kmy_errctx_t *ctx);
/* Gives back what is held. */
kmy_err_t kmy_hold_return(kmy_ledger_t *l, uint64_t account_id, const char *id, int64_t now_ns,
                          kmy_errctx_t *ctx);

/* Looks at the next few rows of a table whose values carry their expiry at byte 8, and removes those that ended before until_ns: called at each
   addition, so that the table stays within a small factor of what is alive, at a bounded price. */
kmy_err_t kmy_ledger_sweep(kmy_ledger_t *l, kmy_ledger_table_t table, kmy_ledger_sweep_t *swept,
                           int64_t until_ns, kmy_errctx_t *ctx);

/* An error from behind the first write of a call takes the batch with it. */
#define KMY_SPOILS(l, err, ctx) kmy_ledger_spoil((l), (err), (ctx))

#endif
