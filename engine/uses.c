/* dollar 6/7   in: engine/egress_settle, engine/account   out: engine/account (reports), pay/ledger_usage */
#include "engine/uses.h"

#include "engine/conn.h"

#include <stdlib.h>
#include <string.h>

/* --- the list ------------------------------------------------------------------------------ */

/* Where the row is, or should stand. */
static uint32_t find(const kmy_uses_t *u, const kmy_use_t *use)
{
    uint32_t lo = 0;
    uint32_t hi = u->count;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (kmy_use_compare(&u->of[mid], use) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void insert(kmy_uses_t *u, uint32_t at, const kmy_use_t *use)
{
    if (u->count == u->cap) {
        uint32_t cap = u->cap ? 2 * u->cap : KMY_ASK_USES;
        kmy_use_t *grown = realloc(u->of, cap * sizeof *grown);
        KMY_ASSERT(grown !=
                   NULL); /* 32 bytes a feed; without it what was charged could not be told */
        u->of = grown;
        u->cap = cap;
    }
    memmove(&u->of[at + 1], &u->of[at], (u->count - at) * sizeof *use);
    u->of[at] = *use;
    u->count++;
}

void kmy_uses_add(kmy_uses_t *u, const kmy_use_t *use)
{
    bool asked = use->mode == KMY_MODE_QUERY || use->mode == KMY_MODE_BATCH;
    KMY_ASSERT(use->mode > KMY_MODE_NONE && use->mode < KMY_MODES && use->nusd >= 0);
    if (use->count == 0 && use->nusd == 0)
        return;
    uint32_t at = find(u, use);
    if (at < u->count && kmy_use_compare(&u->of[at], use) == 0) {
        u->of[at].count += use->count;
        u->of[at].nusd += use->nusd; /* at most what the account was lent */
    } else {
        insert(u, at, use);
    }
    *(asked ? &u->queries_count : &u->ticks_count) += use->count;
    u->nusd += use->nusd;
}

void kmy_uses_free(kmy_uses_t *u)
{
    free(u->of);
    *u = (kmy_uses_t){ 0 };
}

/* --- streams ------------------------------------------------------------------------------- */

static void add_ticks(kmy_shard_t *s, const kmy_sub_t *sub, uint64_t ticks, int64_t nusd,
                      kmy_price_of_t of)
{
    const kmy_conn_t *c = kmy_conn_at(s, sub->conn);
    kmy_use_t use = { .feed = kmy_use_feed(sub->feed),
                      .mode = sub->pass ? KMY_MODE_PASS : KMY_MODE_STREAM,
                      .price_book = of.book,
                      .discount_percent = of.discount_percent,
                      .count = ticks,
                      .nusd = nusd };
    KMY_ASSERT(c->account != KMY_NONE); /* else nothing could have been charged */
    kmy_uses_add(&s->accounts[c->account].uses, &use);
}

void kmy_uses_take(kmy_shard_t *s, kmy_sub_t *sub)
{
    uint64_t ticks = sub->receipt_ticks - sub->told_ticks;
    int64_t nusd = sub->receipt_nusd - sub->told_nusd;
    if (ticks == 0)
        return;
    KMY_ASSERT(nusd == sub->price_nusd * (int64_t)ticks);
    add_ticks(s, sub, ticks, nusd, sub->price_of);
    sub->told_ticks = sub->receipt_ticks;
    sub->told_nusd = sub->receipt_nusd;
}

void kmy_uses_take_all(kmy_shard_t *s, kmy_shard_account_t *acc)
{
    for (uint32_t i = acc->conns_head; i != KMY_NONE; i = s->conns[i].conns_next)
        for (uint32_t k = s->conns[i].subs_head; k != KMY_NONE; k = s->subs[k].next)
            kmy_uses_take(s, &s->subs[k]);
}

void kmy_uses_run(kmy_shard_t *s, kmy_sub_t *sub, uint64_t ticks, int64_t nusd)
{
    add_ticks(s, sub, ticks, nusd, sub->last_price_of);
    sub->told_ticks += ticks;
    sub->told_nusd += nusd;
}

/* --- into a report ------------------------------------------------------------------------- */

void kmy_uses_report(kmy_uses_t *u, kmy_ask_t *report)
{
    report->consumed_nusd = u->nusd;
    report->ticks_count = u->ticks_count;
    report->queries_count = u->queries_count;
    report->uses_count = u->count;
    if (u->count <= KMY_ASK_USES) { /* the list stays for the next ones */
        if (u->count > 0)
            memcpy(report->uses, u->of, u->count * sizeof u->of[0]);
        u->count = 0;
        u->nusd = 0;
        u->ticks_count = u->queries_count = 0;
        return;
    }
    report->uses_owned = u->of;
    *u = (kmy_uses_t){ 0 };
}

void kmy_uses_undo(kmy_uses_t *u, kmy_ask_t *report)
{
    const kmy_use_t *of = report->uses_owned ? report->uses_owned : report->uses;
    for (uint32_t i = 0; i < report->uses_count; i++)
        kmy_uses_add(u, &of[i]);
    free(report->uses_owned);
    report->uses_owned = NULL;
}
