#include "engine/reload.h"

#include "engine/account.h"
#include "engine/config_diff.h"
#include "engine/discount.h"
#include "engine/stream.h"
#include "engine/subs.h"
#include "engine/uses.h"

#include <stdlib.h>
#include <string.h>

void kmy_reload_give(kmy_topology_t *t, kmy_reload_t *r)
{
    atomic_store_explicit(&t->reload, r, memory_order_release);
    for (uint32_t i = 0; i < t->shards_count; i++)
        kmy_wake_signal(&t->shard_wake[i]);
}

void kmy_reload_free(kmy_reload_t *r)
{
    while (r) {
        kmy_reload_t *older = r->older;
        free(r);
        r = older;
    }
}

bool kmy_reload_own(kmy_shard_t *s)
{
    const kmy_catalog_t *shared = s->o.catalog;
    kmy_feed_t *feeds = malloc((shared->feeds_count + 1) * sizeof *feeds);
    if (!feeds)
        return false;
    memcpy(feeds, shared->feeds, shared->feeds_count * sizeof *feeds);
    s->own_config = *s->o.config;
    s->own_catalog = *shared;
    s->own_catalog.feeds = feeds;
    s->config = &s->own_config;
    s->price_book = s->o.price_book;
    s->catalog = &s->own_catalog;
    return true;
}

/* What has not been published yet costs the new price. */
static bool announce(kmy_shard_t *s, kmy_sub_t *sub)
{
    if (sub->pass)
        return false; /* paid for */
    const kmy_shard_account_t *acc = &s->accounts[s->conns[sub->conn].account];
    int64_t price_nusd = kmy_account_price(acc, s->catalog->feeds[sub->feed].tick_nusd);
    if ((sub->price_from > 0 ? sub->next_price_nusd : sub->price_nusd) == price_nusd)
        return false;
    uint64_t next = s->feeds[sub->feed].log[sub->encoding].next;
    /* A second change while ticks from before it wait still: all that wait cost the lower of the prices they were told. */
    if (sub->price_from > 0 && sub->next_price_nusd < sub->price_nusd) {
        kmy_uses_take(s, sub);
        sub->price_nusd = sub->next_price_nusd;
        sub->price_of = sub->next_price_of;
    }
    sub->next_price_nusd = price_nusd;
    sub->next_price_of = (kmy_price_of_t){ s->price_book, acc->discount_percent };
    sub->price_from = next;
    return true;
}

void kmy_reload_prices(kmy_shard_t *s, kmy_conn_t *c)
{
    bool any = false;
    if (!kmy_conn_streams(c))
        return;
    for (uint32_t idx = c->subs_head; idx != KMY_NONE; idx = s->subs[idx].next)
        any |= announce(s, &s->subs[idx]);
    if (any)
        kmy_stream_prices(s, c);
}

static void take_prices(kmy_shard_t *s)
{
    kmy_catalog_price(&s->own_catalog, s->config);
    kmy_discount_retier(s);
    for (uint32_t i = 0; i < s->conns_high; i++)
        kmy_reload_prices(s, &s->conns[i]);
}

void kmy_reload_turn(kmy_shard_t *s)
{
    const kmy_reload_t *r = atomic_load_explicit(&s->o.topology->reload, memory_order_acquire);
    if (r == s->reload)
        return;
    s->reload = r;
    kmy_config_take_live(&s->own_config, &r->config);
    s->price_book = r->price_book;
    take_prices(s);
}
