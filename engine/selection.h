/* selection: which feeds a list of names means.  A name is a feed's own name, an alias, or a pattern with `*` (base/pattern.h), which is matched
   against canonical names only.  One request's worth; refused as a whole, so that nobody gets (and pays for) half of what was meant.

   The catalog never changes while the daemon runs, so a pattern means the feeds there are: none joins later. */
#ifndef KMY_ENGINE_SELECTION_H
#define KMY_ENGINE_SELECTION_H

#include "base/limits.h"
#include "engine/catalog.h"

typedef struct kmy_selection {
    const kmy_catalog_t *catalog;
    uint32_t max; /* feeds at most */
    uint32_t count;
    uint32_t names_count; /* taken so far */
    uint32_t patterns_count;
    uint32_t feed[KMY_FEEDS_MAX];   /* catalog indices, in the order of the names */
    uint32_t asked[KMY_FEEDS_MAX];  /* by which name: its number in the list, from 0; never falls */
    bool by_pattern[KMY_FEEDS_MAX]; /* and whether that was a pattern */
    uint64_t has[KMY_FEEDS_MAX / 64]; /* bit of each feed that is in it */
} kmy_selection_t;

/* Begins an empty selection of at most `max` feeds (capped at KMY_FEEDS_MAX). */
void kmy_selection_init(kmy_selection_t *sel, const kmy_catalog_t *catalog, uint32_t max);

/* Takes the next name.  A plain name is in the list as often as it was named, so that each name has its answer; a pattern adds
   what no name before it did.
     KMY_UNKNOWN_FEED  no feed of that name, or none that matches
     KMY_FULL          more than `max` feeds, or than KMY_PATTERNS_MAX patterns
   The selection is of no use after a failure.  Bounded: a pattern costs one look at each feed's name, an unknown name about the same. */
kmy_err_t kmy_selection_add(kmy_selection_t *sel, const char *name, size_t len, kmy_errctx_t *ctx);

static inline bool kmy_selection_has(const kmy_selection_t *sel, uint32_t feed)
{
    return sel->has[feed / 64] >> feed % 64 & 1;
}

#endif
