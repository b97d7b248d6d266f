/* stream_book: what a subscriber writes down for itself, to be compared with what the server charged: per feed the last offset, gaps that were
   announced and holes that were not.  Pure: no socket, no clock. */
#ifndef KMY_TOOLS_STREAM_BOOK_H
#define KMY_TOOLS_STREAM_BOOK_H

#include "base/err.h"
#include "base/limits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct book_feed {
    char name[KMY_FEED_NAME_BYTES_MAX];
    uint64_t last_offset; /* 0: none yet */
    uint64_t ticks_count;
    uint64_t receipt_ticks_count; /* of these ticks, how many stand in receipts that came */
    int64_t price_nusd;           /* per tick, as `subscribed` or a `prices` frame said */
    int64_t next_price_nusd;      /* from offset next_price_from on */
    uint64_t next_price_from;     /* 0: no change is due */
} book_feed_t;

typedef struct book {
    book_feed_t *feeds; /* owned */
    size_t feeds_count;
    uint64_t ticks_count;
    uint64_t gaps_count;      /* gap frames */
    uint64_t gap_ticks_count; /* offsets they covered */
    uint64_t violations_count;
    char first_violation[160];
    int64_t charge_nusd; /* ticks at their prices */
} book_t;

void book_free(book_t *b);
/* The feed of that name, made if need be; NULL: more than KMY_FEEDS_MAX, or the name is too long. */
book_feed_t *book_feed(book_t *b, const char *name);
/* A prices frame: ticks from that offset on cost so much.  Of a change that has not begun when the next is told, the cheaper price counts until then. */
void book_price(book_feed_t *f, uint64_t from, int64_t price_nusd);
/* A tick frame: its offset must be the next one after the last tick or gap. */
void book_tick(book_t *b, book_feed_t *f, uint64_t offset);
/* A gap frame over [from, to]: must begin right after the last tick or gap; `epoch` gaps start the count anew. */
void book_gap(book_t *b, book_feed_t *f, uint64_t from, uint64_t to, bool epoch);
/* A receipt frame over so many ticks. */
void book_receipt(book_feed_t *f, uint64_t ticks);
/* Every tick stands in a receipt. */
bool book_is_covered(const book_t *b);

#endif
