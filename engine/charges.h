/* charges: which offsets of which feeds a session was charged for: what a session that goes on may have again free of charge.

   A list is made when a connection ends and read when another one goes on (engine/session).  Pure: no thread, no clock of its own. */
#ifndef KMY_ENGINE_CHARGES_H
#define KMY_ENGINE_CHARGES_H

#include "base/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Runs of one feed that are kept: the one of the last connection, and what an earlier one was charged for beside it. */
#define KMY_CHARGES_PER_FEED 2

typedef struct kmy_charged {
    uint64_t from; /* first offset */
    uint64_t to;   /* behind the last */
    uint32_t feed; /* idx in the catalog */
} kmy_charged_t;

typedef struct kmy_charges {
    struct kmy_charges *newer; /* these four are the session table's */
    struct kmy_charges *older;
    struct kmy_charges *chain;
    uint64_t id[2];
    int64_t end_ns; /* monotonic: when the session ended */
    char account[KMY_ACCOUNT_BYTES_MAX];
    uint32_t count;
    uint32_t count_max;
    kmy_charged_t run[]; /* after kmy_charges_close by feed and offset, apart from each other */
} kmy_charges_t;

/* An empty list with room for count_max runs; NULL: no memory.  free() ends it. */
kmy_charges_t *kmy_charges_new(const char *account, uint32_t count_max);
static inline size_t kmy_charges_bytes(const kmy_charges_t *l)
{
    return sizeof *l + l->count_max * sizeof l->run[0];
}
/* Adds [from, to) of a feed; an empty run is left out.  There is room (asserted). */
void kmy_charges_add(kmy_charges_t *l, uint32_t feed, uint64_t from, uint64_t to);
/* Sorts, joins runs that touch or overlap, keeps the KMY_CHARGES_PER_FEED newest of each feed.  Once, after the last add. */
void kmy_charges_close(kmy_charges_t *l);

/* Of the n >= 1 offsets from `offset` on: how many of the first are all charged (*charged true) or all not (false); in [1, n].
   *more: some of the feed at or above `offset` are. */
uint64_t kmy_charges_border(const kmy_charges_t *l, uint32_t feed, uint64_t offset, uint64_t n,
                            bool *charged, bool *more);

#endif
