#include "tools/kamiyo/stream_book.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void book_free(book_t *b)
{
    free(b->feeds);
    *b = (book_t){ 0 };
}

book_feed_t *book_feed(book_t *b, const char *name)
{
    for (size_t i = 0; i < b->feeds_count; i++) { /* a handful of feeds at a terminal */
        if (strcmp(b->feeds[i].name, name) == 0)
            return &b->feeds[i];
    }
    size_t len = strlen(name);
    if (b->feeds_count == KMY_FEEDS_MAX || len >= KMY_FEED_NAME_BYTES_MAX)
        return NULL;
    book_feed_t *grown = realloc(b->feeds, (b->feeds_count + 1) * sizeof *grown);
    if (!grown)
        abort();
    b->feeds = grown;
    book_feed_t *f = &grown[b->feeds_count++];
    *f = (book_feed_t){ 0 };
    memcpy(f->name, name, len + 1);
    return f;
}

__attribute__((format(printf, 2, 3))) static void violation(book_t *b, const char *fmt, ...)
{
    va_list ap;
    if (b->violations_count++ > 0)
        return;
    va_start(ap, fmt);
    vsnprintf(b->first_violation, sizeof b->first_violation, fmt, ap);
    va_end(ap);
}

void book_price(book_feed_t *f, uint64_t from, int64_t price_nusd)
{
    if (f->next_price_from > 0 && f->next_price_nusd < f->price_nusd)
        f->price_nusd = f->next_price_nusd;
    f->next_price_nusd = price_nusd;
    f->next_price_from = from;
}

void book_tick(book_t *b, book_feed_t *f, uint64_t offset)
{
    if (f->last_offset != 0 && offset != f->last_offset + 1)
        violation(b, "%s: offset %llu came after %llu without a gap frame", f->name,
                  (unsigned long long)offset, (unsigned long long)f->last_offset);
    if (f->next_price_from > 0 && offset >= f->next_price_from) {
        f->price_nusd = f->next_price_nusd;
        f->next_price_from = 0;
    }
    f->last_offset = offset;
    f->ticks_count++;
    b->ticks_count++;
    b->charge_nusd += f->price_nusd;
}

void book_gap(book_t *b, book_feed_t *f, uint64_t from, uint64_t to, bool epoch)
{
    b->gaps_count++;
    if (epoch) { /* offsets of another life: nothing to compare */
        f->last_offset = 0;
        return;
    }
    if (to < from || (f->last_offset != 0 && from != f->last_offset + 1))
        violation(b, "%s: gap %llu..%llu after offset %llu", f->name, (unsigned long long)from,
                  (unsigned long long)to, (unsigned long long)f->last_offset);
    if (to >= from)
        b->gap_ticks_count += to - from + 1;
    f->last_offset = to;
}

void book_receipt(book_feed_t *f, uint64_t ticks)
{
    uint64_t open = f->ticks_count - f->receipt_ticks_count;
    f->receipt_ticks_count += ticks < open ? ticks : open;
}

bool book_is_covered(const book_t *b)
{
    for (size_t i = 0; i < b->feeds_count; i++)
        if (b->feeds[i].receipt_ticks_count < b->feeds[i].ticks_count)
            return false;
    return true;
}
