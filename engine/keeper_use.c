/* dollar 4/7   in: engine/uses (by way of reports)   out: pay/ledger_usage

   What is used, in the ledger's own words: its numbers of feeds and its versions of prices. */
#include "engine/keeper_inside.h"

#include "base/clock.h"
#include "pay/ledger_book.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- feeds --------------------------------------------------------------------------------- */

kmy_err_t kmy_keeper_feed(kmy_keeper_t *k, uint32_t feed, uint32_t *id, kmy_errctx_t *ctx)
{
    *id = 0;
    if (feed == 0)
        return KMY_OK;
    KMY_ASSERT(k->catalog != NULL && feed <= k->catalog->feeds_count);
    if (!k->feed_ids)
        k->feed_ids = calloc(k->catalog->feeds_count + 1, sizeof *k->feed_ids);
    KMY_ASSERT(k->feed_ids != NULL); /* four bytes a feed */
    kmy_err_t err = KMY_OK;
    if (k->feed_ids[feed] == 0)
        err = kmy_ledger_feed(k->ledger, k->catalog->feeds[feed - 1].name, &k->feed_ids[feed], ctx);
    if (err != KMY_OK)
        k->feed_ids[feed] = 0;
    *id = k->feed_ids[feed];
    return err;
}

void kmy_keeper_forget_feeds(kmy_keeper_t *k)
{
    free(k->feed_ids);
    k->feed_ids = NULL;
}

static int in_order(const void *a, const void *b)
{
    return kmy_use_compare(a, b);
}

kmy_err_t kmy_keeper_uses(kmy_keeper_t *k, const kmy_ask_t *a, const kmy_use_t **uses,
                          kmy_errctx_t *ctx)
{
    const kmy_use_t *of = a->uses_owned ? a->uses_owned : a->uses;
    KMY_ASSERT(a->uses_owned || a->uses_count <= KMY_ASK_USES);
    if (a->uses_count > k->uses_cap) {
        free(k->uses);
        k->uses_cap = 2 * (size_t)a->uses_count;
        k->uses = malloc(k->uses_cap * sizeof *k->uses);
        KMY_ASSERT(k->uses != NULL); /* as kmy_keeper_served */
    }
    kmy_err_t err = KMY_OK;
    for (uint32_t i = 0; err == KMY_OK && i < a->uses_count; i++) {
        k->uses[i] = of[i];
        err = kmy_keeper_feed(k, of[i].feed, &k->uses[i].feed, ctx);
    }
    if (err == KMY_OK && a->uses_count > 1) /* the catalog's order is not the ledger's */
        qsort(k->uses, a->uses_count, sizeof *k->uses, in_order);
    *uses = k->uses;
    return err;
}

/* --- usage --------------------------------------------------------------------------------- */

void kmy_keeper_do_usage(kmy_keeper_t *k, uint32_t shard, const kmy_ask_t *a)
{
    kmy_usage_t *usage;
    kmy_errctx_t ctx = { 0 };
    kmy_err_t err = kmy_ledger_usage(k->ledger, a->account_id, a->when_s * KMY_NS_PER_S,
                                     (uint32_t)a->from, KMY_USAGE_FEEDS_MAX, &usage, &ctx);
    kmy_tell_t *t = kmy_keeper_answer(k, shard, a, err, &ctx);
    if (err == KMY_OK)
        t->usage = usage;
}

/* --- price books --------------------------------------------------------------------------- */

void kmy_keeper_do_book(kmy_keeper_t *k)
{
    if (k->book)
        k->book->err = kmy_ledger_book(k->ledger, &k->book->book, kmy_wall_ns(), &k->book->ctx);
}

void kmy_keeper_answer_book(kmy_keeper_t *k, kmy_err_t err, const kmy_errctx_t *ctx)
{
    kmy_keeper_book_t *b = k->book;
    if (!b)
        return;
    k->book = NULL;
    if (err != KMY_OK) {
        b->err = err;
        b->ctx = *ctx;
    }
    sem_post(&b->done);
}

kmy_err_t kmy_keeper_book(kmy_keeper_t *k, kmy_price_book_t *book, kmy_errctx_t *ctx)
{
    kmy_keeper_book_t b = { .book = *book };
    sem_init(&b.done, 0, 0);
    atomic_store(&k->book_wanted, &b);
    kmy_wake_signal(&k->topology->keeper_wake);
    while (sem_wait(&b.done) != 0 && errno == EINTR)
        ;
    sem_destroy(&b.done);
    *book = b.book;
    if (b.err != KMY_OK && ctx)
        *ctx = b.ctx;
    return b.err;
}
