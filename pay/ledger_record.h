/* dollar 4/7   in: pay/ledger_move   out: LMDB pages

   The ledger's records as bytes.  Pure functions: no LMDB, no allocation.  Keys are big-endian, so that LMDB's byte order is number order;
   values are little-endian and begin with a version byte, so that a field can be added (x402 payments, debt, receipts) without rewriting
   the file.  A decoder gets what the disk gives, so it refuses (false) whatever it would not have written itself; an encoder gets what we
   computed, so it asserts.  docs/decisions/ledger.md has the tables and the reasons. */
#ifndef KMY_PAY_LEDGER_RECORD_H
#define KMY_PAY_LEDGER_RECORD_H

#include "base/limits.h"
#include "pay/use.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KMY_LEDGER_FORMAT                                                                          \
    3 /* of the whole environment; newer ones are refused at open, older ones but for migration: 1 had no payments and no debt, 2 no usage and no allowances */
#define KMY_LEDGER_REF_BYTES_MAX   128 /* payment id or idempotency key, without terminator */
#define KMY_LEDGER_NONCE_BYTES_MAX 192 /* of a sign-in, with its terminator */
#define KMY_LEDGER_KIND_BYTES_MAX  15  /* "grant", "x402": without terminator */

/* The places money can be in.  house: outside; credited counts what came out of it.  debt: given although it was not paid in the end.
   other: another account's balance; what an account moves there, that one has in the entry behind it. */
typedef enum {
    KMY_SIDE_HOUSE = 1,
    KMY_SIDE_BALANCE,
    KMY_SIDE_LEASED,
    KMY_SIDE_CONSUMED,
    KMY_SIDE_DEBT,
    KMY_SIDE_OTHER,
} kmy_side_t;

/* What of money an account has; the same sums over all accounts stand in the totals.
   Holds always: all but moved >= 0 and credited + debt + moved = balance + leased + consumed.  An account in debt has no balance. */
typedef struct kmy_sums {
    int64_t credited_nusd;
    int64_t balance_nusd;
    int64_t leased_nusd;
    int64_t consumed_nusd;
    int64_t debt_nusd;
    int64_t moved_nusd; /* from other accounts, less what went to such: over all of them 0 */
} kmy_sums_t;

bool kmy_sums_hold(const kmy_sums_t *s);
/* Moves amount >= 0 from one side to another; false and *s untouched if a side would go below zero or above INT64_MAX. */
bool kmy_sums_move(kmy_sums_t *s, kmy_side_t from, kmy_side_t to, int64_t amount_nusd);

/* -- journal: u64 id, from 1, no holes -> entry -- */
typedef enum {
    KMY_ENTRY_CREDIT = 1, /* house    -> balance    with kind word and ref */
    KMY_ENTRY_LEASE,      /* balance  -> leased     to a shard */
    KMY_ENTRY_CONSUME, /* leased   -> consumed   with feed and counts; the amount may be 0 (free ticks) */
    KMY_ENTRY_RETURN,  /* leased   -> balance    by a shard */
    KMY_ENTRY_RECOVER, /* leased   -> balance    after an unclean stop */
    KMY_ENTRY_REVERSE, /* balance  -> house      with word and ref of the credit that a chain took back */
    KMY_ENTRY_DEBT,  /* debt     -> house      the same, for what was not free any more */
    KMY_ENTRY_REPAY, /* balance  -> debt       whatever comes in pays it first */
    KMY_ENTRY_PASS, /* balance  -> consumed   a pass: its word is "pass", its ref the feed's name */
    KMY_ENTRY_GIVE, /* balance  -> other      to the account other_id, whose TAKE is the next entry */
    KMY_ENTRY_TAKE, /* other    -> balance    from other_id, whose GIVE is the entry before */
    KMY_ENTRY_KINDS_END
} kmy_entry_kind_t;

typedef struct kmy_entry {
    kmy_entry_kind_t kind; /* gives from and to */
    uint8_t mode;          /* kmy_mode_t */
    uint16_t shard;
    uint64_t account_id;
    int64_t time_ns;
    int64_t amount_nusd;
    uint32_t price_book;      /* CONSUME and PASS: version; 0: of a time that did not tell */
    uint8_t discount_percent; /* the same: what the customer had off it */
    /* CONSUME only */
    uint32_t feed_id; /* the ledger's number; 0: several, as the account's row of usage tells */
    uint64_t ticks_count;
    uint64_t queries_count;
    /* GIVE, TAKE only */
    uint64_t other_id;
    /* CREDIT, REVERSE, DEBT, PASS only; borrowed, not terminated */
    const char *word; /* its kind: "grant" */
    const char *ref;
    uint8_t word_bytes;
    uint8_t ref_bytes;
} kmy_entry_t;

#define KMY_ENTRY_HEAD_BYTES    32
#define KMY_ENTRY_CONSUME_BYTES (KMY_ENTRY_HEAD_BYTES + 24)
#define KMY_ENTRY_MOVE_BYTES    (KMY_ENTRY_HEAD_BYTES + 8)
#define KMY_ENTRY_BYTES_MAX                                                                        \
    (KMY_ENTRY_HEAD_BYTES + 2 + KMY_LEDGER_KIND_BYTES_MAX + KMY_LEDGER_REF_BYTES_MAX + 4)

kmy_side_t kmy_entry_from(kmy_entry_kind_t kind);
kmy_side_t kmy_entry_to(kmy_entry_kind_t kind);
bool kmy_entry_has_ref(kmy_entry_kind_t kind);
size_t kmy_entry_encode(const kmy_entry_t *e, uint8_t out[KMY_ENTRY_BYTES_MAX]);
bool kmy_entry_decode(const void *bytes, size_t len,
                      kmy_entry_t *e); /* texts borrowed from bytes */

/* -- accounts: u64 id -> numbers.  What changes with each report is kept apart from what never does (profile), so that twice as many
   accounts share a page: a page is what a commit writes. -- */
typedef struct kmy_account_row {
    kmy_sums_t sums;
    uint64_t ticks_count;
    uint64_t queries_count;
} kmy_account_row_t;
#define KMY_ACCOUNT_ROW_BYTES     56 /* 8 more where there is a debt, 16 where something was moved */
#define KMY_ACCOUNT_ROW_BYTES_MAX (KMY_ACCOUNT_ROW_BYTES + 16)
size_t kmy_account_row_encode(const kmy_account_row_t *r, uint8_t out[KMY_ACCOUNT_ROW_BYTES_MAX]);
bool kmy_account_row_decode(const void *bytes, size_t len, kmy_account_row_t *r);

/* -- profiles: u64 id -> name and birth.   names: name -> u64 id -- */
typedef struct kmy_profile {
    int64_t created_ns;
    const char *name; /* borrowed, not terminated */
    size_t name_bytes;
} kmy_profile_t;
#define KMY_PROFILE_BYTES_MAX (16 + KMY_ACCOUNT_BYTES_MAX)
size_t kmy_profile_encode(const kmy_profile_t *p, uint8_t out[KMY_PROFILE_BYTES_MAX]);
bool kmy_profile_decode(const void *bytes, size_t len, kmy_profile_t *p);

/* -- refs: payment id or idempotency key -> the credit it caused -- */
typedef struct kmy_ref {
    uint8_t state; /* 0: credited; room for a payment's states */
    uint64_t account_id;
    int64_t amount_nusd;
    uint64_t entry_id;
    const char *word; /* borrowed, not terminated */
    uint8_t word_bytes;
} kmy_ref_t;
#define KMY_REF_BYTES_MAX (32 + KMY_LEDGER_KIND_BYTES_MAX)
size_t kmy_ref_encode(const kmy_ref_t *r, uint8_t out[KMY_REF_BYTES_MAX]);
bool kmy_ref_decode(const void *bytes, size_t len, kmy_ref_t *r);

/* The cashier holds the price of a query that was paid for and is not answered yet: a lease to nobody's shard, which recovery gives back. */
#define KMY_LEDGER_HOLD_SHARD UINT16_MAX

/* -- leases: u64 account, u32 shard -> what is open (> 0; an empty lease has no row).   revoked: jti -> expiry.  One shape. -- */
#define KMY_NUMBER_BYTES 16
void kmy_number_encode(int64_t number, uint8_t out[KMY_NUMBER_BYTES]);
bool kmy_number_decode(const void *bytes, size_t len, int64_t *number);
#define KMY_LEASE_KEY_BYTES 12
void kmy_lease_key_encode(uint64_t account_id, uint32_t shard, uint8_t out[KMY_LEASE_KEY_BYTES]);
bool kmy_lease_key_decode(const void *bytes, size_t len, uint64_t *account_id, uint32_t *shard);

/* -- meta: "format" -> number, "totals" -> this -- */
typedef struct kmy_totals {
    kmy_sums_t sums;         /* over all accounts */
    uint64_t accounts_count; /* ids 1..accounts_count are taken */
    uint64_t entries_count;  /* entries 1..entries_count are written */
} kmy_totals_t;
#define KMY_TOTALS_BYTES     56 /* 8 more where there is a debt */
#define KMY_TOTALS_BYTES_MAX (KMY_TOTALS_BYTES + 8)
size_t kmy_totals_encode(const kmy_totals_t *t, uint8_t out[KMY_TOTALS_BYTES_MAX]);
bool kmy_totals_decode(const void *bytes, size_t len, kmy_totals_t *t);

/* Big-endian u64, the key of journal, accounts and profiles. */
#define KMY_ID_BYTES 8
void kmy_id_encode(uint64_t id, uint8_t out[KMY_ID_BYTES]);
bool kmy_id_decode(const void *bytes, size_t len, uint64_t *id);

#endif
