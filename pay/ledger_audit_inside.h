/* dollar 4/7   in: pay/ledger_audit   out: the two files of the audit, and nobody else */
#ifndef KMY_PAY_LEDGER_AUDIT_INSIDE_H
#define KMY_PAY_LEDGER_AUDIT_INSIDE_H

#include "base/strmap.h"
#include "pay/ledger_inside.h"
#include "pay/ledger_usage.h"
#include "pay/price.h"

/* What one shard should hold of one account. */
typedef struct kmy_held {
    uint32_t shard;
    int64_t open_nusd;
} kmy_held_t;

/* One account as the journal tells it. */
typedef struct kmy_tally {
    kmy_account_row_t row;
    kmy_held_t *held; /* owned */
    uint32_t held_count;
    uint32_t held_cap;
    kmy_usage_sums_t missing; /* in its rows of usage, by mode; at the end 0 */
    int64_t holds_nusd;       /* what its payments' holds add up to */
    int64_t allowed_nusd; /* what its allowance is, less what its own are: its sums' moved_nusd */
} kmy_tally_t;

typedef struct kmy_audit {
    MDB_txn *txn;
    const MDB_dbi *dbi;
    kmy_ledger_audit_t *out;
    kmy_totals_t totals;  /* as recorded */
    kmy_tally_t *tallies; /* [account id - 1] */
    uint64_t tallies_count;
    kmy_sums_t sums; /* of the journal, over all accounts */
    uint64_t credits_count;
    uint64_t leases_count; /* that should be open */
    /* ledger_audit_payment.c: what the journal says of payments, and what their records say. */
    int64_t journal_paid_nusd;
    uint64_t journal_payments_count;  /* credits of payments, also of those that were taken back */
    uint64_t journal_transfers_count; /* of plain transfers */
    int64_t paid_nusd;
    int64_t journal_advanced_nusd;   /* advances less what was taken back of them */
    uint64_t journal_advances_count; /* also of those that were taken back */
    int64_t advanced_nusd;
    uint64_t advances_count;
    uint64_t open_count;
    uint64_t settled_count;
    uint64_t reversals_count;
    uint64_t clients_count;
    uint64_t payment_claims_count;
    uint64_t transfer_claims_count;
    uint64_t receipts_count; /* that should be kept, by the heads of their chains */
    uint64_t usage_from;     /* entries above it have their usage in rows */
    kmy_price_book_t book;   /* the last one that an entry named; version 0: none yet */
    /* ledger_pass.c: when each pass ends, as the journal tells it. */
    kmy_strmap_t pass_names; /* key of its row -> position in passes_ns */
    int64_t *passes_ns;      /* owned */
    uint32_t passes_count;
    /* ledger_allow.c */
    kmy_entry_t given;              /* a GIVE whose TAKE is to come; account_id 0: none */
    uint64_t allowances_open_count; /* that have not been given back */
    uint32_t passes_cap;
} kmy_audit_t;

#define ULL(x) ((unsigned long long)(x))

/* Counts it; the first one's text is kept. */
__attribute__((format(printf, 2, 3))) void kmy_audit_fault(kmy_audit_t *a, const char *fmt, ...);
/* Calls visit for each row of a table, in key order; a table that is not there has none. */
typedef kmy_err_t kmy_audit_visit_t(kmy_audit_t *a, MDB_val key, MDB_val value, kmy_errctx_t *ctx);
kmy_err_t kmy_audit_each(kmy_audit_t *a, kmy_ledger_table_t table, kmy_audit_visit_t *visit,
                         kmy_errctx_t *ctx);
uint64_t kmy_audit_count(const kmy_audit_t *a, kmy_ledger_table_t table);
bool kmy_audit_find(const kmy_audit_t *a, kmy_ledger_table_t table, const void *key,
                    size_t key_bytes, MDB_val *value);
void kmy_audit_check_count(kmy_audit_t *a, const char *what, uint64_t have, uint64_t want);

/* What one entry says of payments; each entry is shown to it once. */
void kmy_audit_paid(kmy_audit_t *a, const kmy_entry_t *e);
/* Their records, once all entries were shown. */
kmy_err_t kmy_audit_payments(kmy_audit_t *a, kmy_errctx_t *ctx);
/* Chains of receipts against what their accounts consumed (ledger_receipt.c), once all entries were shown. */
kmy_err_t kmy_audit_receipts(kmy_audit_t *a, kmy_errctx_t *ctx);
/* Passes: what one entry says, each shown once; then their rows. */
kmy_err_t kmy_audit_pass(kmy_audit_t *a, const kmy_entry_t *e, kmy_errctx_t *ctx);
kmy_err_t kmy_audit_passes(kmy_audit_t *a, kmy_errctx_t *ctx);
/* Allowances: what one entry says, each shown once; then their rows. */
void kmy_audit_between(kmy_audit_t *a, const kmy_entry_t *e, uint64_t id);
kmy_err_t kmy_audit_allowances(kmy_audit_t *a, kmy_errctx_t *ctx);
/* Usage: what one entry says, each shown once; then its rows. */
void kmy_audit_use(kmy_audit_t *a, const kmy_entry_t *e, uint64_t id);
kmy_err_t kmy_audit_usage(kmy_audit_t *a, kmy_errctx_t *ctx);
/* An entry's amount by the price book it names (ledger_book.c). */
void kmy_audit_book(kmy_audit_t *a, const kmy_entry_t *e, uint64_t id);

#endif
