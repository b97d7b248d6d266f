/* dollar 7/7   in: pay/ledger_move, pay/ledger_pass, pay/ledger_answer   out: GET /v1/account/usage

   What an account used, by feed and mode, hour by hour: one row for each account and hour (UTC) in which it used something, written by the call
   that moves the money, so that the two cannot differ.  The hour is that of the entry in the journal: when it was reported, not when it was sent.
   Rows of more than KMY_USAGE_HOURS ago are added up in one row of their account without feeds, a few at a time as new ones come: nothing is
   lost of the sums, and the audit recounts them from the journal. */
#ifndef KMY_PAY_LEDGER_USAGE_H
#define KMY_PAY_LEDGER_USAGE_H

#include "pay/ledger.h"

enum {
    KMY_USAGE_HOURS = 31 * 24, /* that are kept apart */
    KMY_USAGE_FEEDS_MAX = 256, /* in one answer: some 70 KB of JSON */
};

typedef struct kmy_usage_sums {
    uint64_t count[KMY_MODES];
    int64_t nusd[KMY_MODES];
} kmy_usage_sums_t;

typedef struct kmy_usage_feed {
    uint32_t id;                        /* the ledger's; 0: what was of several feeds at once */
    char name[KMY_FEED_NAME_BYTES_MAX]; /* "" for id 0 */
    kmy_usage_sums_t sums;
} kmy_usage_feed_t;

typedef struct kmy_usage {
    int64_t from_ns;        /* start of the first hour that was looked at */
    kmy_usage_sums_t total; /* of all feeds, also of those on other pages */
    bool more;              /* there are feeds behind the last one */
    uint32_t count;
    kmy_usage_feed_t feeds[]; /* in order of id */
} kmy_usage_t;

/* Sums the hours from the one of from_ns on; feeds with id >= first_feed, at most feeds_max.  *out is the caller's to free().
   Looks at each row of the window: 24 bytes for each feed and mode in an hour. */
kmy_err_t kmy_ledger_usage(kmy_ledger_t *l, uint64_t account_id, int64_t from_ns,
                           uint32_t first_feed, uint32_t feeds_max, kmy_usage_t **out,
                           kmy_errctx_t *ctx);

/* The ledger's number of a feed, from 1 on and for ever; made if need be, inside a batch.  The catalog's ids are the snapshot store's, and a ledger
   outlives that. */
kmy_err_t kmy_ledger_feed(kmy_ledger_t *l, const char *name, uint32_t *id, kmy_errctx_t *ctx);
/* KMY_NOT_FOUND */
kmy_err_t kmy_ledger_feed_name(kmy_ledger_t *l, uint32_t id, char name[KMY_FEED_NAME_BYTES_MAX],
                               kmy_errctx_t *ctx);

#endif
