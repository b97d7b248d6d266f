/* dollar 4/7   in: engine/cashier   out: engine/keeper, and back

   A job: one step of a payment that must be on disk before the cashier goes on.  The memory belongs to whoever holds its index: the cashier
   fills the question and pushes the index, the keeper does it in its next batch, fills the answer after the commit and pushes it back.
   Nothing in it is owned; row.json and row_out.json point into `json`, or are NULL. */
#ifndef KMY_ENGINE_JOB_H
#define KMY_ENGINE_JOB_H

#include "base/limits.h"
#include "engine/slip.h"
#include "pay/ledger_payment.h"

#include <stdint.h>

enum { KMY_JOBS = 128 }; /* under way at once; the queues have as many places */

typedef enum {
    KMY_JOB_RESERVE =
        1,       /* row: kmy_ledger_payment_reserve; a settled one's account figures as well */
    KMY_JOB_GET, /* row.id: kmy_ledger_payment_get; its account's figures if it is settled; the answer that is kept for it (body_bytes 0: none) */
    KMY_JOB_STATE, /* row.id, to, row: kmy_ledger_payment_state; SUBMITTED with advance_max_nusd > 0: kmy_ledger_payment_advance as well, in the same transaction */
    KMY_JOB_SETTLE, /* row.id, row.tx, row.log_index: kmy_ledger_payment_settle; shards that serve the account are told */
    KMY_JOB_REVERSE,  /* row.id */
    KMY_JOB_TRANSFER, /* transfer; row.id: the id that its nonce gives, or "" */
    KMY_JOB_ANSWER, /* row.id, body (body_bytes 0: there is none): kmy_ledger_payment_answer; DUPLICATE: body comes back as kept (body_bytes 0: nothing) */
    KMY_JOB_NONCE,  /* text, expires_ns: kmy_ledger_spend_nonce */
    KMY_JOB_PAYER,  /* row.account, row.contract: kmy_ledger_account_of_payer */
    KMY_JOB_NEXT_OPEN, /* row.id ("": the first): the next open payment behind it; KMY_NOT_FOUND: no more */
    KMY_JOB_EXPIRE, /* expires_ns: kmy_ledger_hold_expire of what settled until then; row_out.id "": none, there may be more; KMY_NOT_FOUND: no more */
    KMY_JOB_NEXT_SETTLED, /* row.id, expires_ns: kmy_ledger_next_settled_payment, since then; row_out.state another: there may be more behind row_out.id */
} kmy_job_kind_t;

typedef struct kmy_job {
    uint32_t kind; /* kmy_job_kind_t */
    int32_t err;   /* kmy_err_t of the call; KMY_IO: the disk refused, nothing of it counts */
    uint32_t to;   /* STATE: kmy_payment_state_t */
    uint32_t body_bytes;
    uint64_t cashier[2];  /* the cashier's own words, not looked at by the keeper */
    kmy_use_t use;        /* ANSWER: what it is counted as; the slip's */
    int64_t expires_ns;   /* NONCE, EXPIRE, NEXT_SETTLED */
    int64_t charged_nusd; /* ANSWER with a body: what it costs */
    int64_t
        advance_max_nusd; /* STATE: cap of what its payer may have before settlements; 0: nothing */
    kmy_payment_row_t row;     /* question */
    kmy_payment_row_t row_out; /* answer: the payment behind the call; zeros if there is none */
    kmy_account_t account;     /* answer, where the call gives one: figures after it */
    kmy_transfer_t transfer;
    char text[192];   /* NONCE */
    char detail[192]; /* of an error, for people */
    char json[KMY_PAYMENT_BYTES_MAX];
    char body[KMY_SLIP_BODY_BYTES_MAX];
} kmy_job_t;

#endif
