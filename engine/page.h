/* page: an HTTP request that waits for the history reader: parked, asked for chunk by chunk, and gone on with when all is there.

   A shard never reads the store.  KMY_PAGES_BUSY requests of a shard are under way at once, the others wait in order, so that a page's memory
   (limit x 120 bytes) is taken that often at most, and streams that catch up keep their half of the chunks.  Shard thread. */
#ifndef KMY_ENGINE_PAGE_H
#define KMY_ENGINE_PAGE_H

#include "engine/shard_types.h"

enum { KMY_PAGES_BUSY = KMY_HISTORY_CHUNKS / 2 };

/* Owned by its connection from kmy_page_begin on. */
struct kmy_page {
    uint32_t kind;          /* KMY_HISTORY_TIMES or KMY_HISTORY_EXPORT */
    const kmy_feed_t *feed; /* TIMES */
    uint64_t from;          /* ns of receipt, both included */
    uint64_t to;
    uint64_t seq; /* nothing wanted lies below; 0: not known */
    uint32_t limit;
    uint32_t count; /* of ticks[] */
    uint32_t ask;   /* number of its last ask */
    bool waits;     /* in the shard's list */
    bool asked;     /* a chunk is under way */
    bool whole;     /* the answer can be given */
    bool more;      /* there may be more behind it */
    kmy_tick_t
        *ticks; /* owned; limit of them, from the first answer on; NULL: no memory, or none came */
    kmy_blob_t *blob; /* EXPORT; a reference; NULL: it could not be made */
    uint32_t prev, next;
};

/* Parks c and asks for `page`, a malloc'd one that is c's from here on; when it is whole, kmy_conn_resume has the request routed again, with
   c->page->whole set. */
void kmy_page_begin(kmy_shard_t *s, kmy_conn_t *c, kmy_page_t *page);
/* The answer was given, or the connection ends. */
void kmy_page_forget(kmy_shard_t *s, kmy_conn_t *c);

/* Each turn, behind kmy_catchup_turn: takes the answers, then asks for what waits, as far as chunks are free. */
void kmy_page_turn(kmy_shard_t *s);

#endif
