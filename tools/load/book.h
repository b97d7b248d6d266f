/* book: is this the next tick, and if not, what is missing?  One subscription's books; pure. */
#ifndef KMY_TOOLS_LOAD_BOOK_H
#define KMY_TOOLS_LOAD_BOOK_H

#include "tools/load/load.h"

typedef enum {
    LOAD_BOOK_NEXT,
    LOAD_BOOK_LOST,   /* *missing ticks stand between, and no gap frame said so */
    LOAD_BOOK_BEFORE, /* held already, or older */
} load_book_t;

/* A tick came.  Of a fresh subscription either the offset that "subscribed" told (the snapshot) or the one behind it is next; one whose
   acknowledgement told nothing (raw mode) takes any. */
static inline load_book_t load_book_tick(load_sub_t *sub, uint64_t offset, uint64_t *missing)
{
    uint64_t next = sub->last + 1;
    bool snapshot = sub->fresh && (offset == sub->last || sub->last == 0);
    *missing = 0;
    if (offset != next && !snapshot) {
        if (offset < next)
            return LOAD_BOOK_BEFORE;
        *missing = offset - next;
    }
    sub->last = offset;
    sub->fresh = false;
    return *missing ? LOAD_BOOK_LOST : LOAD_BOOK_NEXT;
}

/* A gap frame came: both ends included.  One with reason epoch ends the count and begins another. */
static inline load_book_t load_book_gap(load_sub_t *sub, uint64_t from, uint64_t to, bool epoch,
                                        uint64_t *missing)
{
    *missing = 0;
    if (to < from || (!epoch && !sub->fresh && from <= sub->last))
        return LOAD_BOOK_BEFORE;
    if (!epoch && !sub->fresh && from > sub->last + 1)
        *missing = from - sub->last - 1;
    sub->last = to;
    sub->fresh = false;
    return *missing ? LOAD_BOOK_LOST : LOAD_BOOK_NEXT;
}

#endif
