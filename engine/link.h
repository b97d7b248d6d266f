/* link: what shards, the keeper, the recorder and the history reader say to each other (topology.c).

   dollar 5/7  in: pay/ledger (keeper)  out: pay/meter (shard), and back as reports

   An ask goes to the keeper, a tell comes from it.  Order is kept per shard, so a shard that reported and then asks for a lease knows that
   the keeper has seen the report first.  Both are plain bytes that own nothing, but for a report of many uses (ask.uses_owned: the keeper's to free once it
   is in the ledger) and an account's usage (tell.usage: the shard's to free). */
#ifndef KMY_ENGINE_LINK_H
#define KMY_ENGINE_LINK_H

#include "base/err.h"
#include "base/limits.h"
#include "base/tick.h"
#include "base/wake.h"
#include "engine/blob.h"
#include "pay/ledger_pass.h"
#include "pay/ledger_usage.h"
#include "pay/receipt.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum {
    KMY_ASK_OPEN = 1, /* text: account name; the shard wants to serve it */
    KMY_ASK_LEASE,    /* account_id, amount_nusd wanted */
    KMY_ASK_REPORT, /* account_id, consumed, returned, counts, uses; closes: the shard forgets the account */
    KMY_ASK_RECEIPT, /* account_id, text: feed, ref: epoch, from, to, ticks_count, amount_nusd; behind the report that covers it */
    KMY_ASK_RECEIPTS, /* account_id; from: tell the kept ones above it */
    KMY_ASK_REVOKE,   /* text: jti; when_s: its expiry; by a customer or an operator */
    KMY_ASK_ROTATE, /* operator: a new token key; amount_nusd != 0: the earlier ones are void at once */
    KMY_ASK_MINT, /* operator: text: account name, amount_nusd >= 0, ref: idempotency key; spend_nusd > 0: its answer is of an allowance, as ALLOW */
    KMY_ASK_ACCOUNT, /* operator: text: account name */
    KMY_ASK_LEDGER,  /* operator: totals */
    KMY_ASK_PASSES, /* account_id, feeds[from], amount_nusd: the price of each, price_book, discount_percent, ref: idempotency key or "" */
    KMY_ASK_USAGE, /* account_id, when_s: from which time on, from: the first feed (kmy_ledger_usage) */
    KMY_ASK_ALLOW, /* account_id, spend_nusd, jti, expires_s, terms: kmy_ledger_allow; answered with text: the new account, its figures, spend_nusd, jti, expires_s */
} kmy_ask_kind_t;

enum {
    KMY_ASK_USES = KMY_ACCOUNT_BYTES_MAX / sizeof(kmy_use_t)
}; /* that need no memory of their own */

typedef struct kmy_ask {
    uint32_t kind;
    uint32_t slot; /* shard's account slot, or the connection that waits for the answer */
    uint32_t gen;  /* of that slot */
    uint32_t closes;
    uint64_t account_id;
    int64_t amount_nusd;
    int64_t consumed_nusd;
    int64_t returned_nusd;
    uint64_t ticks_count;
    uint64_t queries_count;
    int64_t when_s;
    uint64_t from;
    uint64_t to;
    uint32_t price_book;
    uint32_t discount_percent;
    uint32_t uses_count;
    uint32_t unused;
    kmy_use_t *uses_owned; /* NULL: they stand in uses */
    union {
        char text[KMY_ACCOUNT_BYTES_MAX];
        kmy_use_t uses[KMY_ASK_USES];       /* of REPORT: feeds as in engine/uses.h */
        uint16_t feeds[KMY_PASS_FEEDS_MAX]; /* of PASSES: idx in the catalog */
    };
    char ref[KMY_ACCOUNT_BYTES_MAX];
    int64_t spend_nusd;
    int64_t expires_s;
    uint64_t terms;
    char jti[KMY_JTI_BYTES_MAX];
} kmy_ask_t;
_Static_assert(KMY_FEEDS_MAX <= UINT16_MAX + 1 && KMY_PASS_KEY_BYTES_MAX <= KMY_ACCOUNT_BYTES_MAX,
               "an order fits");

typedef enum {
    KMY_TELL_OPENED = 1, /* answer to OPEN: err, account figures */
    KMY_TELL_LEASED,     /* answer to LEASE: amount_nusd granted (0: nothing to be had), figures */
    KMY_TELL_CHANGED, /* the account's free balance rose (credit, or another shard gave back), or a chain took something back */
    KMY_TELL_FIGURES, /* another shard reported what was spent there */
    KMY_TELL_RECALL,  /* another shard is short: give back what you do not need */
    KMY_TELL_REVOKED, /* text: jti; to every shard */
    KMY_TELL_RECEIPT, /* to the connection at `slot`: err, receipt, amount_nusd, ticks_count, when_s; ask_kind */
    KMY_TELL_PASSES, /* passes: the account has these, until then; ahead of OPENED, and when more are bought */
    KMY_TELL_ANSWER, /* to the operator's request at `slot`: err, figures, text */
} kmy_tell_kind_t;

/* What the shard needs to write a receipt's text beside what it knows. */
typedef struct kmy_tell_receipt {
    uint64_t from;
    uint64_t to;
    uint64_t seq;
    uint64_t total_ticks;
    int64_t total_nusd;
    char feed[KMY_FEED_NAME_BYTES_MAX];
    char epoch[KMY_RECEIPT_EPOCH_BYTES_MAX];
    uint8_t prev[KMY_RECEIPT_HASH_BYTES];
    uint8_t signature[KMY_ED25519_SIGNATURE_BYTES];
} kmy_tell_receipt_t;

typedef struct kmy_tell_passes {
    uint32_t count;
    uint16_t feed[KMY_PASS_FEEDS_MAX]; /* idx in the catalog */
    int64_t expires_ns[KMY_PASS_FEEDS_MAX];
} kmy_tell_passes_t;

typedef struct kmy_tell {
    uint32_t kind;
    uint32_t slot;
    uint32_t gen;
    uint32_t ask_kind; /* of an ANSWER */
    int32_t err;       /* kmy_err_t */
    uint32_t accounts_count;
    uint64_t account_id;
    int64_t amount_nusd;
    int64_t credited_nusd;
    int64_t free_nusd;
    int64_t leased_nusd; /* by all shards */
    int64_t mine_nusd;   /* of it by this shard, as the keeper sees it */
    int64_t consumed_nusd;
    int64_t debt_nusd;
    int64_t moved_nusd;
    int64_t spend_nusd;
    int64_t expires_s;
    char jti[KMY_JTI_BYTES_MAX];
    uint64_t ticks_count;
    uint64_t queries_count;
    int64_t when_s;
    union {
        struct {
            char text[KMY_ACCOUNT_BYTES_MAX];
            char detail[192];
        };
        kmy_tell_receipt_t receipt; /* of a RECEIPT */
        kmy_usage_t *usage;         /* of the ANSWER to USAGE, if err is KMY_OK */
        kmy_tell_passes_t passes;   /* of a PASSES, and of the ANSWER to one that was done */
    };
} kmy_tell_t;

/* How far the recorder is: whoever waits for it arms `wake`, and is roused by the next flush. */
typedef struct kmy_recorded {
    _Atomic uint64_t seq; /* ticks of lower seq are in the store, or lost to it for good */
    kmy_wake_t wake;
} kmy_recorded_t;

typedef enum {
    KMY_HISTORY_OFFSETS = 1, /* ticks of one feed by offset, in one unbroken run */
    KMY_HISTORY_SEQS,        /* ticks of a set of feeds in order of seq */
    KMY_HISTORY_TIMES,       /* ticks of one feed by time of receipt; holes are passed over */
    KMY_HISTORY_EXPORT,      /* the newest ticks of all feeds as a file: blob */
} kmy_history_kind_t;

/* An ask to the history reader, and its answer, in one piece of memory that belongs to who holds its index: the queues pass
   indices into topology->history_chunks[shard].  The shard fills the upper half, the reader the lower. */
typedef struct kmy_history_chunk {
    uint32_t kind; /* kmy_history_kind_t */
    uint32_t feed; /* idx in the catalog; OFFSETS and TIMES */
    uint32_t conn; /* for whom: the shard's own words, not looked at by the reader */
    uint32_t gen;
    uint32_t sub;
    uint32_t ask;
    uint64_t from; /* first wanted: an offset, a seq, or ns of receipt */
    uint64_t to;   /* last wanted, included */
    uint64_t seq;  /* OFFSETS, TIMES: nothing wanted lies below this seq; 0: look it up */
    uint64_t
        recorded_seq; /* nothing wanted has this seq or a higher one: once the recorder is there, what is missing is missing
                              for good */
    uint64_t feeds[KMY_FEEDS_MAX / 64]; /* SEQS: which, by catalog idx */
    uint32_t count_max;                 /* 1..KMY_HISTORY_TICKS_MAX */

    uint32_t count; /* of ticks[] */
    bool holes;     /* SEQS: of the numbers wanted not all are there, whosever they were */
    uint64_t
        next; /* all wanted below it is in ticks[], or is not to be had; > `to`: this was all */
    uint64_t next_seq; /* for `seq` of the ask that goes on */
    kmy_blob_t *blob;  /* EXPORT: a reference for the asker; NULL: it could not be made */
    kmy_tick_t ticks[KMY_HISTORY_TICKS_MAX]; /* mono_ns is 0: of another boot, perhaps */
} kmy_history_chunk_t;

_Static_assert(sizeof(kmy_ask_t) % 8 == 0 && sizeof(kmy_tell_t) % 8 == 0,
               "queue items are multiples of 8");

#endif
