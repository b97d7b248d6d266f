/* dollar 4/7   in: pay/verify, operator verbs   out: pay/lease

   The ledger: double entry in nano-USD in an LMDB environment of its own, default (durable) sync, one writer (the keeper thread), group
   commit.  What a caller was told to be done is on disk: every call below happens inside kmy_ledger_begin .. kmy_ledger_commit, and nobody
   answers a customer before the commit returned KMY_OK.

   Per account, at every instant and after any crash:   credited = balance + leased + consumed      (asserted on each write)
   and over all accounts the journal's debits equal its credits.  An entry moves an amount between two of: house:<kind>, balance, leased,
   consumed.  A lease is a slice of the balance handed to one shard (lease.h); what a shard reports as consumed moves leased -> consumed; what
   it gives back moves leased -> balance.  At start after a crash every open lease goes back to the balance: what shards delivered since
   their last report is the house's loss, at most one lease per account and shard. */
#ifndef KMY_PAY_LEDGER_H
#define KMY_PAY_LEDGER_H

#include "base/err.h"
#include "base/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct kmy_ledger kmy_ledger_t;

typedef struct kmy_account {
    uint64_t id;                      /* from 1, stable for ever */
    char name[KMY_ACCOUNT_BYTES_MAX]; /* CAIP-10, or operator-made ("local:alice"); terminated */
    int64_t credited_nusd;
    int64_t balance_nusd; /* free: neither leased nor consumed; never negative */
    int64_t leased_nusd;
    int64_t consumed_nusd;
    uint64_t ticks_count; /* delivered and charged, as reported by shards */
    uint64_t queries_count;
    int64_t created_ns;
} kmy_account_t;

typedef struct kmy_ledger_recovery {
    uint64_t leases_count; /* open leases found and returned: an unclean stop */
    int64_t leases_nusd;
} kmy_ledger_recovery_t;

/* Opens (making it if need be), checks format version (KMY_CONFIG if newer) and invariants, returns open leases, durably. */
kmy_err_t kmy_ledger_open(kmy_ledger_t **out, const char *path, kmy_ledger_recovery_t *recovery,
                          kmy_errctx_t *ctx);
void kmy_ledger_close(kmy_ledger_t *l);

/* Group commit: one write transaction for a batch of calls.  commit: KMY_OK means durable.  On failure (disk full, I/O error) the whole batch
   is undone and must be answered with an error.  Calls that fail inside a batch (KMY_NO_BALANCE, ...) leave no trace and do not spoil it. */
kmy_err_t kmy_ledger_begin(kmy_ledger_t *l, kmy_errctx_t *ctx);
kmy_err_t kmy_ledger_commit(kmy_ledger_t *l, kmy_errctx_t *ctx);
void kmy_ledger_abort(kmy_ledger_t *l);

/* Finds or makes the account of that name. */
kmy_err_t kmy_ledger_account_make(kmy_ledger_t *l, const char *name, int64_t now_ns,
                                  kmy_account_t *out, kmy_errctx_t *ctx);
kmy_err_t kmy_ledger_account_by_name(kmy_ledger_t *l, const char *name, kmy_account_t *out,
                                     kmy_errctx_t *ctx); /* KMY_NOT_FOUND */
kmy_err_t kmy_ledger_account_by_id(kmy_ledger_t *l, uint64_t id, kmy_account_t *out,
                                   kmy_errctx_t *ctx);

/* Credits amount_nusd > 0 once per `ref` (payment id, idempotency key; 1..128 bytes, unique over all accounts and kinds).
   `kind`: "grant", "x402", ...  KMY_DUPLICATE: same ref, account and amount were there already (*out is the account as it is); KMY_CONFLICT:
   same ref, other content; KMY_OVERFLOW: the sum would not fit. */
kmy_err_t kmy_ledger_credit(kmy_ledger_t *l, uint64_t account_id, const char *kind, const char *ref,
                            int64_t amount_nusd, int64_t now_ns, kmy_account_t *out,
                            kmy_errctx_t *ctx);

/* Leases up to want_nusd (> 0) of the free balance to a shard; *granted_nusd may be less, also 0.  A shard's leases of one account add up
   in one record. */
kmy_err_t kmy_ledger_lease(kmy_ledger_t *l, uint64_t account_id, uint32_t shard, int64_t want_nusd,
                           int64_t *granted_nusd, kmy_account_t *out, kmy_errctx_t *ctx);

/* A shard's report: of its lease, consumed_nusd were spent for ticks_count ticks and queries_count queries of `feed_id` (0: several) and
   returned_nusd go back to the balance.  More than the open lease is our bug (assert). */
typedef struct kmy_ledger_report {
    uint64_t account_id;
    uint32_t shard;
    uint32_t feed_id;
    int64_t consumed_nusd;
    int64_t returned_nusd;
    uint64_t ticks_count;
    uint64_t queries_count;
} kmy_ledger_report_t;
kmy_err_t kmy_ledger_settle(kmy_ledger_t *l, const kmy_ledger_report_t *report, int64_t now_ns,
                            kmy_account_t *out, kmy_errctx_t *ctx);

/* Revoked token ids, kept until they would have expired anyway. */
kmy_err_t kmy_ledger_revoke(kmy_ledger_t *l, const char *jti, int64_t expires_ns,
                            kmy_errctx_t *ctx);
typedef bool kmy_ledger_revoked_visit_t(void *arg, const char *jti, int64_t expires_ns);
kmy_err_t kmy_ledger_visit_revoked(kmy_ledger_t *l, int64_t now_ns,
                                   kmy_ledger_revoked_visit_t *visit, void *arg, kmy_errctx_t *ctx);

/* Recounts everything from the journal and compares with the account records: offline on a path (read-only, also while a daemon runs). */
typedef struct kmy_ledger_audit {
    uint64_t accounts_count;
    uint64_t entries_count;
    int64_t credited_nusd;
    int64_t balance_nusd;
    int64_t leased_nusd;
    int64_t consumed_nusd;
    uint64_t faults_count;
    char first_fault[256]; /* empty if none */
} kmy_ledger_audit_t;
kmy_err_t kmy_ledger_audit_path(const char *path, kmy_ledger_audit_t *audit, kmy_errctx_t *ctx);

#endif
