/* dollar 4/7   in: pay/ledger   out: the files ledger_*.c, and nobody else

   What the ledger's files share: the handle, its tables in LMDB, and reading and writing of one row. */
#ifndef KMY_PAY_LEDGER_INSIDE_H
#define KMY_PAY_LEDGER_INSIDE_H

#include "pay/ledger.h"
#include "pay/ledger_record.h"
#include "store/kv.h"

#define KMY_LEDGER_TABLES(X)                                                                       \
    X(META, "meta")         /* word -> format, totals */                                           \
    X(ACCOUNTS, "accounts") /* id -> numbers */                                                    \
    X(PROFILES, "profiles") /* id -> name, birth */                                                \
    X(NAMES, "names")       /* name -> id */                                                       \
    X(JOURNAL, "journal")   /* id -> entry, append only */                                         \
    X(REFS, "refs")         /* payment id or idempotency key -> credit */                          \
    X(LEASES, "leases")     /* account, shard -> what is open */                                   \
    X(REVOKED, "revoked")   /* jti -> expiry */                                                    \
    /* from here on: since format 2 */                                                             \
    X(CHAINS, "chains")           /* account -> head of its chain of receipts */                   \
    X(RECEIPTS, "receipts")       /* account, seq -> receipt, the newest few */                    \
    X(PAYMENTS, "payments")       /* id -> how it stands */                                        \
    X(PROMISES, "promises")       /* id -> what was promised, never changed */                     \
    X(PRESENTED, "presented")     /* id -> JSON, while it is open */                               \
    X(OPEN, "open")               /* id of an open payment -> its birth */                         \
    X(OPEN_PAYERS, "open_payers") /* payer, id -> the same */                                      \
    X(CLIENT_IDS, "client_ids")   /* payer, client's id -> id */                                   \
    X(CLAIMS, "claims")           /* chain|tx|log -> the credit it caused */                       \
    X(ADDRESSES, "addresses")     /* eip155:0x... -> account */                                    \
    X(HOLDS, "holds")             /* account, id -> price of a query that waits for its answer */  \
    X(ANSWERS, "answers")         /* id -> expiry, body */                                         \
    X(NONCES, "nonces")           /* sign-in nonce -> expiry */                                    \
    X(PASSES, "passes")           /* account, feed -> when its pass ends */                        \
    X(ORDERS, "orders")           /* account, idempotency key -> a purchase of passes */           \
    /* from here on: since format 3 */                                                             \
    X(USAGE, "usage")           /* account, hour -> counts and nano-USD by mode and feed */        \
    X(FEEDS, "feeds")           /* id -> name */                                                   \
    X(FEED_IDS, "feed_ids")     /* name -> id */                                                   \
    X(BOOKS, "books")           /* version -> prices */                                            \
    X(ALLOWANCES, "allowances") /* jti -> whose, of how much, until when */                        \
    X(ALLOWANCES_DUE, "allowances_due") /* when it is looked at, jti -> its account; open ones */

typedef enum {
#define KMY_LEDGER_TABLE_ENUM(id, name) KMY_LEDGER_##id,
    KMY_LEDGER_TABLES(KMY_LEDGER_TABLE_ENUM)
#undef KMY_LEDGER_TABLE_ENUM
        KMY_LEDGER_TABLES_COUNT
} kmy_ledger_table_t;

#define KMY_LEDGER_NO_TABLE                                                                        \
    ((MDB_dbi)-1) /* an older format, opened to be read only: no such table */

/* LMDB limits a key to 511 bytes; ours are far below. */
_Static_assert(KMY_ACCOUNT_BYTES_MAX <= 511 && KMY_LEDGER_REF_BYTES_MAX <= 511 &&
                   KMY_JTI_BYTES_MAX <= 511 && KMY_LEDGER_NONCE_BYTES_MAX <= 511,
               "keys fit LMDB");

typedef struct kmy_ledger_sweep {
    uint8_t key[KMY_LEDGER_NONCE_BYTES_MAX];
    size_t key_bytes; /* 0: at the start */
} kmy_ledger_sweep_t;

struct kmy_ledger {
    kmy_kv_t kv; /* env NULL: given up, and not to be opened again yet */
    char *path;  /* owned */
    size_t map_bytes;
    MDB_dbi dbi[KMY_LEDGER_TABLES_COUNT];
    bool migrate;        /* an older format may become ours */
    int owner_fd;        /* locked as long as we live: the one writer */
    MDB_txn *txn;        /* the batch, or NULL */
    bool changed;        /* this batch wrote something */
    kmy_err_t broken;    /* a write of this batch failed, so nothing of it may be committed */
    bool lost;           /* LMDB lost its way inside this batch: nothing in it can be believed */
    bool damaged;        /* ... or ever since the ledger was opened */
    kmy_totals_t totals; /* with this batch */
    kmy_totals_t saved;  /* as on disk */
    size_t saved_txn;    /* LMDB's number of the transaction that brought it there */
    kmy_errctx_t why;    /* of broken */
    /* Where the last sweep of these tables ended (ledger_nonce.c): a hint, of no consequence if it is wrong. */
    kmy_ledger_sweep_t swept_answers;
    kmy_ledger_sweep_t swept_nonces;
    kmy_ledger_sweep_t swept_holds; /* the same of kmy_ledger_hold_expire */
    kmy_ledger_sweep_t swept_orders;
    kmy_ledger_sweep_t swept_usage;
    /* A row of usage being made (ledger_usage.c); owned. */
    uint8_t *usage;
    size_t usage_cap;
};

/* LMDB gave the environment up: closes it and opens it anew, with what was committed last; leases stay lent.  KMY_IO: the disk does not let us, again
   later; KMY_CONFLICT: what is there is not what was committed last. */
kmy_err_t kmy_ledger_reopen(kmy_ledger_t *l, kmy_errctx_t *ctx);
/* The number of the last transaction in the file. */
size_t kmy_ledger_txn_number(const kmy_ledger_t *l);

/* Opens the tables inside txn; create: makes the missing ones. */
kmy_err_t kmy_ledger_tables_open(MDB_txn *txn, bool create, MDB_dbi dbi[KMY_LEDGER_TABLES_COUNT],
                                 kmy_errctx_t *ctx);
/* KMY_NOT_FOUND: no such word yet. */
kmy_err_t kmy_ledger_format_get(MDB_txn *txn, MDB_dbi meta, int64_t *format, kmy_errctx_t *ctx);
kmy_err_t kmy_ledger_totals_get(MDB_txn *txn, MDB_dbi meta, kmy_totals_t *totals,
                                kmy_errctx_t *ctx);
kmy_err_t kmy_ledger_format_check(int64_t format, kmy_errctx_t *ctx);

/* A transaction to read in: the batch, or one of its own that kmy_ledger_view_end ends. */
kmy_err_t kmy_ledger_view_begin(kmy_ledger_t *l, MDB_txn **txn, kmy_errctx_t *ctx);
void kmy_ledger_view_end(kmy_ledger_t *l, MDB_txn *txn);

/* The answer a writing call must give before it does anything: KMY_OK, or why this batch is lost.  No batch at all is our bug. */
kmy_err_t kmy_ledger_writable(kmy_ledger_t *l, kmy_errctx_t *ctx);

/* A write failed with LMDB's rc: nothing of this batch may be committed.  Answers KMY_IO with what happened and what to do. */
kmy_err_t kmy_ledger_broken(kmy_ledger_t *l, int rc, const char *what, kmy_errctx_t *ctx);

/* A call failed for another reason after it wrote something: the same.  KMY_OK passes through. */
kmy_err_t kmy_ledger_spoil(kmy_ledger_t *l, kmy_err_t err, const kmy_errctx_t *ctx);

/* One row.  *value is borrowed until the next write.  KMY_NOT_FOUND without text. */
kmy_err_t kmy_ledger_row_get(kmy_ledger_t *l, MDB_txn *txn, kmy_ledger_table_t table,
                             const void *key, size_t key_bytes, MDB_val *value, kmy_errctx_t *ctx);
/* On failure the batch is broken: commit will undo it. */
kmy_err_t kmy_ledger_row_put(kmy_ledger_t *l, kmy_ledger_table_t table, const void *key,
                             size_t key_bytes, const void *value, size_t value_bytes,
                             kmy_errctx_t *ctx);
kmy_err_t kmy_ledger_row_del(kmy_ledger_t *l, kmy_ledger_table_t table, const void *key,
                             size_t key_bytes, kmy_errctx_t *ctx);

/* Accounts.  get: KMY_NOT_FOUND with text; KMY_CORRUPT.  fill adds name and birth for the caller's *out. */
kmy_err_t kmy_ledger_account_get(kmy_ledger_t *l, MDB_txn *txn, uint64_t id, kmy_account_row_t *row,
                                 kmy_errctx_t *ctx);
kmy_err_t kmy_ledger_account_put(kmy_ledger_t *l, uint64_t id, const kmy_account_row_t *row,
                                 kmy_errctx_t *ctx);
kmy_err_t kmy_ledger_account_fill(kmy_ledger_t *l, MDB_txn *txn, uint64_t id,
                                  const kmy_account_row_t *row, kmy_account_t *out,
                                  kmy_errctx_t *ctx);

/* Moves e->amount_nusd in *row and in the totals, and appends e to the journal.  The caller puts *row when it has made all its moves.
   That the money is there was checked before: if not, it is our bug. */
kmy_err_t kmy_ledger_move(kmy_ledger_t *l, kmy_account_row_t *row, const kmy_entry_t *e,
                          kmy_errctx_t *ctx);
/* KMY_OVERFLOW: so much more would not fit. */
kmy_err_t kmy_ledger_room(const kmy_ledger_t *l, int64_t amount_nusd, kmy_errctx_t *ctx);
/* What is free pays the debt, as far as it goes; belongs behind each move into the balance.  The caller puts *row. */
kmy_err_t kmy_ledger_repay(kmy_ledger_t *l, kmy_account_row_t *row, uint64_t account_id,
                           int64_t now_ns, kmy_errctx_t *ctx);
/* What a shard holds; 0 if nothing.  put with 0 removes the row. */
kmy_err_t kmy_ledger_lease_get(kmy_ledger_t *l, MDB_txn *txn, uint64_t account_id, uint32_t shard,
                               int64_t *open_nusd, kmy_errctx_t *ctx);
kmy_err_t kmy_ledger_lease_put(kmy_ledger_t *l, uint64_t account_id, uint32_t shard,
                               int64_t open_nusd, kmy_errctx_t *ctx);

/* ledger_allow.c: the token was revoked; if it is an allowance's, what is left of that is due now. */
kmy_err_t kmy_ledger_allowance_hurry(kmy_ledger_t *l, const char *jti, kmy_errctx_t *ctx);

/* Adds to the account's usage in the hour of now_ns, inside a batch; behind the caller's move.  uses: of one mode, ascending by feed, each once. */
kmy_err_t kmy_ledger_usage_add(kmy_ledger_t *l, uint64_t account_id, const kmy_use_t *uses,
                               size_t count, int64_t now_ns, kmy_errctx_t *ctx);
/* Entries above this one have their usage in rows: those before it are of an older format. */
kmy_err_t kmy_ledger_usage_from_get(MDB_txn *txn, MDB_dbi meta, uint64_t *entry_id,
                                    kmy_errctx_t *ctx);
int kmy_ledger_usage_from_put(MDB_txn *txn, MDB_dbi meta, uint64_t entry_id);

/* The lease that covers all holds of an account was given back: none of them is in force any more. */
kmy_err_t kmy_ledger_holds_forget(kmy_ledger_t *l, uint64_t account_id, kmy_errctx_t *ctx);

/* Gives all open leases back, in commits of its own; any number of crashes in between does no harm. */
kmy_err_t kmy_ledger_recover(kmy_ledger_t *l, kmy_ledger_recovery_t *recovery, kmy_errctx_t *ctx);

/* The audit itself, of one read transaction. */
kmy_err_t kmy_ledger_audit_txn(MDB_txn *txn, const MDB_dbi dbi[KMY_LEDGER_TABLES_COUNT],
                               kmy_ledger_audit_t *audit, kmy_errctx_t *ctx);

#endif
