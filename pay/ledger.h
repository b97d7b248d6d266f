/* dollar 4/7   in: pay/verify, operator verbs   out: pay/lease

   The ledger: double entry in nano-USD in an LMDB environment of its own, default (durable) sync, one writer (the keeper thread), group
   commit.  What a caller was told to be done is on disk: every call below happens inside kmy_ledger_begin .. kmy_ledger_commit, and nobody
   answers a customer before the commit returned KMY_OK.

   Per account, at every instant and after any crash:   credited + debt + moved = balance + leased + consumed      (asserted on each write; moved is 0 but for
   allowances, and over all accounts; debt is 0 but for
   a payment that a chain took back, or an advance whose payment failed, when it was spent already; and then so is the balance)
   and over all accounts the journal's debits equal its credits.  An entry moves an amount between two of: house:<kind>, balance, leased,
   consumed.  A lease is a slice of the balance handed to one shard (lease.h); what a shard reports as consumed moves leased -> consumed; what
   it gives back moves leased -> balance.  At start after a crash every open lease goes back to the balance: what shards delivered since
   their last report is the house's loss, at most one lease per account and shard. */
#ifndef KMY_PAY_LEDGER_H
#define KMY_PAY_LEDGER_H

#include "base/err.h"
#include "base/limits.h"
#include "pay/use.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Address space for the file, not its size: at 174 bytes a lease and its settlement (docs/decisions/ledger.md) room for 390 million. */
#define KMY_LEDGER_MAP_BYTES ((size_t)64 << 30)

typedef struct kmy_ledger kmy_ledger_t;

typedef struct kmy_account {
    uint64_t id;                      /* from 1, stable for ever */
    char name[KMY_ACCOUNT_BYTES_MAX]; /* CAIP-10, or operator-made ("local:alice"); terminated */
    int64_t credited_nusd;
    int64_t
        balance_nusd; /* free: neither leased nor consumed; never negative; 0 while there is a debt */
    int64_t leased_nusd;
    int64_t consumed_nusd;
    uint64_t ticks_count; /* delivered and charged, as reported by shards */
    uint64_t queries_count;
    int64_t created_ns;
    int64_t
        held_nusd; /* of leased_nusd: prices of queries that were paid for and wait for their answer; no shard's */
    int64_t debt_nusd;  /* had, and not paid in the end: the next credits pay it first */
    int64_t moved_nusd; /* from other accounts, less what went to such (ledger_allow.h) */
} kmy_account_t;

typedef struct kmy_ledger_recovery {
    uint64_t leases_count; /* open leases found and returned: an unclean stop */
    int64_t leases_nusd;
    uint64_t
        holds_count; /* accounts whose holds for unanswered queries were given back; a clean stop may leave some */
    int64_t holds_nusd;
} kmy_ledger_recovery_t;

typedef struct kmy_ledger_options {
    size_t map_bytes; /* 0: KMY_LEDGER_MAP_BYTES */
    bool
        migrate; /* a ledger of an older format becomes one of ours; older programs refuse it then */
} kmy_ledger_options_t;

/* Opens (making it if need be; the parent folder must exist), checks format version and sums, returns open leases, durably.
   *recovery may be NULL.
     KMY_CONFIG    written by a newer program, or by an older one and not to be migrated
     KMY_CONFLICT  another process (or this one) has it open: two writers would each return the other's leases
     KMY_CORRUPT   a record is damaged or sums do not add up: nothing is repaired by guessing, see kmy_ledger_audit_path
     KMY_IO        the folder, the disk
   Nothing is left open on failure.  A clean stop settles all leases before kmy_ledger_close, so that *recovery is zero next time. */
kmy_err_t kmy_ledger_open(kmy_ledger_t **out, const char *path, kmy_ledger_recovery_t *recovery,
                          kmy_errctx_t *ctx);
kmy_err_t kmy_ledger_open_with(kmy_ledger_t **out, const char *path,
                               const kmy_ledger_options_t *options, kmy_ledger_recovery_t *recovery,
                               kmy_errctx_t *ctx);
/* An open batch is undone.  NULL is allowed. */
void kmy_ledger_close(kmy_ledger_t *l);

/* Group commit: one write transaction for a batch of calls, on one thread.  commit: KMY_OK means durable (a batch that wrote nothing
   costs no disk access).  On failure (KMY_IO: disk or map full, I/O error) the whole batch is undone, must be answered with an error,
   and the ledger may go on with the next one; a write that fails inside a call makes all further calls and the commit of this batch
   say so.  KMY_CORRUPT: a call of this batch met stored data that is damaged and was left half done, or LMDB itself lost its way in the file: undone likewise; the
   same calls in batches of their own find out which one it was.
   Calls that fail inside a batch for another reason (KMY_CONFLICT, ..., KMY_CORRUPT found by looking first) leave no trace and do not spoil it.
   Where LMDB gave the environment up (its meta page could not be written) begin opens it anew, as soon as the disk lets it (KMY_IO until then; reading calls
   fail as well); leases stay as they are.  KMY_CONFLICT: the disk then holds the batch that it had refused: no more batches, end this process; the next
   kmy_ledger_open is right about it.
   Reading calls work outside a batch as well. */
kmy_err_t kmy_ledger_begin(kmy_ledger_t *l, kmy_errctx_t *ctx);
kmy_err_t kmy_ledger_commit(kmy_ledger_t *l, kmy_errctx_t *ctx);
void kmy_ledger_abort(kmy_ledger_t *l);
/* The last batch is lost, or was: what its calls said counts for nothing. */
bool kmy_ledger_is_broken(const kmy_ledger_t *l);
/* LMDB met pages that are none of its own, since it was opened: the file is damaged, and what is found by luck proves nothing. */
bool kmy_ledger_is_damaged(const kmy_ledger_t *l);

/* Finds or makes the account of that name: 1 to KMY_ACCOUNT_BYTES_MAX - 1 characters of A-Z a-z 0-9 - _ . : % (KMY_BAD_INPUT).
   Here and below *out may be NULL where a caller needs no answer: the name then is not looked up. */
kmy_err_t kmy_ledger_account_make(kmy_ledger_t *l, const char *name, int64_t now_ns,
                                  kmy_account_t *out, kmy_errctx_t *ctx);
kmy_err_t kmy_ledger_account_by_name(kmy_ledger_t *l, const char *name, kmy_account_t *out,
                                     kmy_errctx_t *ctx); /* KMY_NOT_FOUND */
kmy_err_t kmy_ledger_account_by_id(kmy_ledger_t *l, uint64_t id, kmy_account_t *out,
                                   kmy_errctx_t *ctx);

/* Credits amount_nusd > 0 once per `ref` (payment id, idempotency key; 1..128 bytes, unique over all accounts and kinds).
   `kind`: "grant", "x402", ...: 1 to 15 of a-z 0-9 _ -.  KMY_DUPLICATE: same ref, account, amount and kind were there already (*out is
   the account as it is; outside the batch that wrote it, it is durable); KMY_CONFLICT: same ref, other content; KMY_OVERFLOW: the sum
   over all accounts would not fit; KMY_BAD_INPUT; KMY_NOT_FOUND. */
kmy_err_t kmy_ledger_credit(kmy_ledger_t *l, uint64_t account_id, const char *kind, const char *ref,
                            int64_t amount_nusd, int64_t now_ns, kmy_account_t *out,
                            kmy_errctx_t *ctx);

/* Leases up to want_nusd (> 0) of the free balance to a shard (< KMY_SHARDS_MAX); *granted_nusd may be less, also 0.  A shard's leases of
   one account add up in one record.  The shard may spend it once the commit returned. */
kmy_err_t kmy_ledger_lease(kmy_ledger_t *l, uint64_t account_id, uint32_t shard, int64_t want_nusd,
                           int64_t now_ns, int64_t *granted_nusd, kmy_account_t *out,
                           kmy_errctx_t *ctx);

/* A shard's report: of its lease, consumed_nusd were spent for ticks_count ticks and queries_count queries and returned_nusd go back to the
   balance; the rest of the lease stays open.  More than the open lease is our bug (assert).
   uses tell for what: ascending (kmy_use_compare), each once, feeds by kmy_ledger_feed; their sums are the three numbers above (assert).  Without them it is
   one use of KMY_MODE_NONE of feed_id. */
typedef struct kmy_ledger_report {
    uint64_t account_id;
    uint32_t shard;
    uint32_t feed_id;
    const kmy_use_t *uses;
    size_t uses_count;
    int64_t consumed_nusd;
    int64_t returned_nusd;
    uint64_t ticks_count;
    uint64_t queries_count;
} kmy_ledger_report_t;
kmy_err_t kmy_ledger_settle(kmy_ledger_t *l, const kmy_ledger_report_t *report, int64_t now_ns,
                            kmy_account_t *out, kmy_errctx_t *ctx);

/* Sums over all accounts, with what the present batch did so far. */
typedef struct kmy_ledger_totals {
    uint64_t accounts_count;
    uint64_t entries_count;
    int64_t credited_nusd;
    int64_t balance_nusd;
    int64_t leased_nusd;
    int64_t consumed_nusd;
    int64_t debt_nusd;
} kmy_ledger_totals_t;
void kmy_ledger_totals(const kmy_ledger_t *l, kmy_ledger_totals_t *out);

/* Revoked token ids, kept a day longer than they would have lived (clocks jump).  Visiting inside a batch also removes what outlived that.
   A visitor returns false to stop; jti is borrowed until it returns. */
kmy_err_t kmy_ledger_revoke(kmy_ledger_t *l, const char *jti, int64_t expires_ns,
                            kmy_errctx_t *ctx);
typedef bool kmy_ledger_revoked_visit_t(void *arg, const char *jti, int64_t expires_ns);
kmy_err_t kmy_ledger_visit_revoked(kmy_ledger_t *l, int64_t now_ns,
                                   kmy_ledger_revoked_visit_t *visit, void *arg, kmy_errctx_t *ctx);

/* Recounts everything from the journal and compares with all other records.  faults_count is what it found; the result says only whether
   it could look (KMY_CONFIG: other format; KMY_CORRUPT: no ledger; KMY_IO).  kmy_ledger_audit_path: read-only on a path, also while a
   daemon runs, but in another process.  kmy_ledger_audit: inside the process that has it open, outside a batch, any thread.  Takes about
   1 us an entry and 200 bytes of memory an account. */
typedef struct kmy_ledger_audit {
    uint64_t accounts_count;
    uint64_t entries_count;
    int64_t credited_nusd;
    int64_t balance_nusd;
    int64_t leased_nusd;
    int64_t consumed_nusd;
    int64_t debt_nusd;
    uint64_t payments_count; /* of any state */
    int64_t paid_nusd;       /* credited by payments and transfers that still count */
    int64_t advanced_nusd;   /* credited for payments that are not settled yet */
    uint64_t faults_count;
    char first_fault[256]; /* empty if none */
} kmy_ledger_audit_t;
kmy_err_t kmy_ledger_audit(kmy_ledger_t *l, kmy_ledger_audit_t *audit, kmy_errctx_t *ctx);
kmy_err_t kmy_ledger_audit_path(const char *path, kmy_ledger_audit_t *audit, kmy_errctx_t *ctx);

#endif
