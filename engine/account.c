/* dollar 5/7  in: pay/ledger (keeper)  out: pay/meter (shard) */
#include "engine/account.h"

#include "base/clock.h"
#include "engine/conn.h"
#include "engine/discount.h"
#include "engine/egress.h"
#include "engine/passes.h"
#include "engine/shard.h"
#include "engine/stream.h"
#include "engine/subs.h"
#include "engine/uses.h"

#include <string.h>

enum {
    IDLE_FORGET_S = 10
}; /* an account nobody uses keeps its slot so long: who polls comes back */
#define QUERY_REPORT_NS (KMY_NS_PER_S / 2)
#define LOW_LOOK_NS     KMY_NS_PER_S
#define LASTS_NS        (100 * KMY_NS_PER_MS) /* a housekeeping and a commit, on a busy disk */

static uint32_t slot_of(const kmy_shard_t *s, const kmy_shard_account_t *acc)
{
    return (uint32_t)(acc - s->accounts);
}

/* The keeper commits what it finds when it is woken, and a commit costs it the same for one ask as for a hundred: what nobody waits for is left for
   the next housekeeping (kmy_account_report), some ten milliseconds away, and does not fill the queue (kmy_shard_keeper_keeps_up). */
typedef enum {
    ASK_NOW,
    ASK_AHEAD, /* of one that follows at once, and wakes the keeper if need be */
    ASK_SOON
} urgency_t;

static bool ask(kmy_shard_t *s, const kmy_ask_t *ask, urgency_t when)
{
    if ((when == ASK_SOON && !kmy_shard_keeper_keeps_up(s)) || !kmy_queue_push(s->asks, ask)) {
        s->keeper_due = true;
        return false; /* full: the caller keeps what it wanted to say and says it again at the next housekeeping */
    }
    if (when == ASK_NOW)
        kmy_wake_signal(&s->o.topology->keeper_wake);
    else
        s->keeper_due = true;
    return true;
}

static void ask_open(kmy_shard_t *s, kmy_shard_account_t *acc)
{
    kmy_ask_t a = { .kind = KMY_ASK_OPEN, .slot = slot_of(s, acc), .gen = acc->gen };
    memcpy(a.text, acc->name, sizeof a.text);
    acc->open_sent = ask(s, &a, ASK_NOW);
}

static int64_t clamp(int64_t v, int64_t lo, int64_t hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

/* What should be in hand: enough for lease.target at the present rate. */
static int64_t wanted(const kmy_shard_t *s, const kmy_shard_account_t *acc)
{
    int64_t per_s = acc->rate_nusd_s < INT64_MAX / 1000 ? acc->rate_nusd_s : INT64_MAX / 1000;
    int64_t target = per_s * (s->config->lease.target_ns / KMY_NS_PER_MS) / 1000;
    return clamp(target, s->config->lease.min_nusd, s->config->lease.max_nusd);
}

static void set_rate(const kmy_shard_t *s, kmy_shard_account_t *acc, int64_t nusd_s)
{
    acc->rate_nusd_s = nusd_s;
    acc->low_nusd = wanted(s, acc) / 2;
    acc->watch_nusd = acc->in_touched ? acc->low_nusd : INT64_MAX;
}

kmy_shard_account_t *kmy_account_known(kmy_shard_t *s, const char *name)
{
    uint32_t slot;
    if (!kmy_strmap_get(&s->account_names, name, strlen(name), &slot) ||
        s->accounts[slot].state != KMY_ACCOUNT_OPEN)
        return NULL;
    return &s->accounts[slot];
}

kmy_shard_account_t *kmy_account_get(kmy_shard_t *s, const char *name)
{
    uint32_t slot;
    size_t len = strlen(name);
    KMY_ASSERT(len < KMY_ACCOUNT_BYTES_MAX);
    if (kmy_strmap_get(&s->account_names, name, len, &slot))
        return &s->accounts[slot];
    slot = s->accounts_free;
    if (slot != KMY_NONE)
        s->accounts_free = s->accounts[slot].next_free;
    else if (s->accounts_high < s->accounts_max)
        slot = s->accounts_high++;
    else
        return NULL;
    kmy_shard_account_t *acc = &s->accounts[slot];
    uint32_t gen = acc->gen + 1;
    memset(acc, 0, sizeof *acc);
    if (!kmy_strmap_put(&s->account_names, name, len, slot)) {
        acc->next_free = s->accounts_free;
        s->accounts_free = slot;
        return NULL;
    }
    acc->gen = gen;
    memcpy(acc->name, name, len + 1);
    acc->state = KMY_ACCOUNT_OPENING;
    acc->conns_head = acc->waiters_head = acc->waiters_tail = KMY_NONE;
    acc->idle_ns = s->now_ns;
    acc->report_ns = s->now_ns;
    acc->stake_due_ns = INT64_MAX;
    set_rate(s, acc, 0);
    kmy_account_touch(s, acc);
    ask_open(s, acc);
    return acc;
}

void kmy_account_list(kmy_shard_t *s, kmy_shard_account_t *acc)
{
    acc->in_touched = true;
    acc->watch_nusd = acc->low_nusd;
    s->touched[s->touched_count++] = slot_of(s, acc);
}

void kmy_account_wait(kmy_shard_t *s, kmy_shard_account_t *acc, kmy_conn_t *c)
{
    uint32_t idx = kmy_conn_idx(s, c);
    KMY_ASSERT(!c->parked);
    c->parked = true;
    c->parked_account = slot_of(s, acc);
    c->waiter_next = KMY_NONE;
    if (acc->waiters_head == KMY_NONE)
        acc->waiters_head = idx;
    else
        s->conns[acc->waiters_tail].waiter_next = idx;
    acc->waiters_tail = idx;
    acc->idle_ns = 0;
}

void kmy_account_unwait(kmy_shard_t *s, kmy_conn_t *c)
{
    if (!c->parked || c->parked_account == KMY_NONE)
        return;
    kmy_shard_account_t *acc = &s->accounts[c->parked_account];
    uint32_t idx = kmy_conn_idx(s, c);
    uint32_t prev = KMY_NONE;
    for (uint32_t i = acc->waiters_head; i != idx; i = s->conns[i].waiter_next) {
        KMY_ASSERT(i != KMY_NONE);
        prev = i;
    }
    if (prev == KMY_NONE)
        acc->waiters_head = c->waiter_next;
    else
        s->conns[prev].waiter_next = c->waiter_next;
    if (acc->waiters_tail == idx)
        acc->waiters_tail = prev;
    c->parked = false;
    c->parked_account = KMY_NONE;
    kmy_account_touch(s, acc);
}

/* Everybody who waited looks again; whoever must wait on joins the list anew. */
static void wake_waiters(kmy_shard_t *s, kmy_shard_account_t *acc)
{
    uint32_t idx = acc->waiters_head;
    acc->waiters_head = acc->waiters_tail = KMY_NONE;
    while (idx != KMY_NONE) {
        kmy_conn_t *c = kmy_conn_at(s, idx);
        idx = c->waiter_next;
        c->parked = false;
        c->parked_account = KMY_NONE;
        kmy_conn_resume(s, c);
    }
    kmy_account_touch(s, acc);
}

void kmy_account_join(kmy_shard_t *s, kmy_shard_account_t *acc, kmy_conn_t *c)
{
    uint32_t idx = kmy_conn_idx(s, c);
    KMY_ASSERT(c->account == KMY_NONE);
    kmy_conn_prove(s, c); /* leaves the list of strangers, whose links it shares */
    c->account = slot_of(s, acc);
    c->payer = acc;
    c->conns_prev = KMY_NONE;
    c->conns_next = acc->conns_head;
    if (acc->conns_head != KMY_NONE)
        s->conns[acc->conns_head].conns_prev = idx;
    acc->conns_head = idx;
    acc->conns_count++;
    acc->idle_ns = 0;
}

void kmy_account_leave(kmy_shard_t *s, kmy_conn_t *c)
{
    if (c->account == KMY_NONE)
        return;
    kmy_shard_account_t *acc = &s->accounts[c->account];
    if (c->conns_prev != KMY_NONE)
        s->conns[c->conns_prev].conns_next = c->conns_next;
    else
        acc->conns_head = c->conns_next;
    if (c->conns_next != KMY_NONE)
        s->conns[c->conns_next].conns_prev = c->conns_prev;
    acc->conns_count--;
    c->account = KMY_NONE;
    c->payer = NULL;
    kmy_account_touch(s, acc);
}

/* --- leases -------------------------------------------------------------------------------- */

static bool report(kmy_shard_t *s, kmy_shard_account_t *acc, int64_t returned_nusd, bool closes,
                   urgency_t when);

/* What the ledger has lent to this shard stays within lease.max, or the one price that is above it: it is what a crash costs the house.  So what was
   spent is reported first where there would be more, in the same commit, and no more is asked for than fits. */
static void ask_lease(kmy_shard_t *s, kmy_shard_account_t *acc, int64_t amount_nusd,
                      int64_t need_nusd, urgency_t when)
{
    if (acc->lease_asked && when == ASK_NOW && s->keeper_due) {
        kmy_wake_signal(&s->o.topology->keeper_wake); /* it was asked for, but not in a hurry */
        s->keeper_due = false;
    }
    if (acc->lease_asked || acc->state != KMY_ACCOUNT_OPEN)
        return;
    kmy_account_touch(s, acc); /* who cannot say it now says it at the next housekeeping */
    const kmy_lease_t *l = &acc->lease;
    int64_t most = need_nusd > s->config->lease.max_nusd ? need_nusd : s->config->lease.max_nusd;
    acc->retry_nusd = amount_nusd;
    if (l->granted_nusd + amount_nusd > most && l->spent_nusd > 0 &&
        !report(s, acc, 0, false, when == ASK_SOON ? ASK_SOON : ASK_AHEAD))
        return;
    if (amount_nusd > most - l->granted_nusd)
        amount_nusd = most - l->granted_nusd;
    if (amount_nusd <= 0) {
        if (l->spent_nusd == 0)
            acc->retry_nusd = 0;
        return; /* else what is on its way to sockets is reported first: at the next housekeeping */
    }
    kmy_ask_t a = {
        .kind = KMY_ASK_LEASE,
        .slot = slot_of(s, acc),
        .gen = acc->gen,
        .account_id = acc->id,
        .amount_nusd = amount_nusd,
    };
    acc->lease_asked = ask(s, &a, when);
    if (acc->lease_asked)
        acc->retry_nusd = 0;
}

/* A lease that is used up, or half used, in a quarter of lease.target was too small: the next one is twice as large, and eight times if it was gone at once.
   Without this a busy account's first leases, ten queries each, would take a commit apiece for seconds: the report that tells its rate waits while a lease is
   asked for.  And all who ask at the same time wait for each of those commits: 64 connections were held up seven times, now three. */
static void outgrown(const kmy_shard_t *s, kmy_shard_account_t *acc)
{
    const int64_t target_ns = s->config->lease.target_ns;
    const int64_t lasted_ns = s->now_ns - acc->leased_ns;
    if (acc->lease_asked || acc->leased_ns == 0 || lasted_ns >= target_ns / 4 ||
        wanted(s, acc) == s->config->lease.max_nusd)
        return;
    int64_t least = s->config->lease.min_nusd * 1000 / (target_ns / KMY_NS_PER_MS) + 1;
    int64_t times = lasted_ns < target_ns / 64 ? 8 : 2;
    set_rate(s, acc, times * (acc->rate_nusd_s > least ? acc->rate_nusd_s : least));
}

/* Does what is left last until a commit that nobody hurries is done?  Where a second takes many dollars, lease.max may not: half of it was gone between two
   housekeepings, and every 70 ms all connections of the account stood still for a commit. */
static bool lasts(const kmy_shard_account_t *acc)
{
    return acc->lease.left_nusd >= acc->low_nusd / 4 &&
           (__int128)acc->lease.left_nusd * KMY_NS_PER_S >= (__int128)acc->rate_nusd_s * LASTS_NS;
}

void kmy_account_ask_more(kmy_shard_t *s, kmy_shard_account_t *acc)
{
    bool soon = lasts(acc);
    outgrown(s, acc);
    ask_lease(s, acc, wanted(s, acc), 0, soon ? ASK_SOON : ASK_NOW);
}

void kmy_account_look(kmy_shard_t *s, kmy_shard_account_t *acc)
{
    kmy_account_touch(s, acc);
    kmy_account_refill(s, acc);
}

kmy_cover_t kmy_account_cover(kmy_shard_t *s, kmy_shard_account_t *acc, int64_t need_nusd)
{
    if (acc->lease.left_nusd >= need_nusd)
        return KMY_COVER_YES;
    if (acc->exhausted || kmy_account_balance(acc) < need_nusd)
        return KMY_COVER_NO;
    outgrown(s, acc);
    int64_t want = wanted(s, acc);
    ask_lease(s, acc, want > need_nusd ? want : need_nusd, need_nusd, ASK_NOW);
    return KMY_COVER_WAIT;
}

void kmy_account_charge(kmy_shard_t *s, kmy_shard_account_t *acc, int64_t price_nusd, uint32_t feed,
                        kmy_mode_t mode)
{
    if (s->head_only)
        return;
    bool taken = kmy_meter_take_query(&acc->lease, price_nusd);
    KMY_ASSERT(taken);
    kmy_uses_add(&acc->uses, &(kmy_use_t){ .feed = kmy_use_feed(feed),
                                           .mode = mode,
                                           .price_book = s->price_book,
                                           .discount_percent = acc->discount_percent,
                                           .count = 1,
                                           .nusd = price_nusd });
    KMY_COUNT(s->metrics, consumed_nusd_total, price_nusd);
    kmy_account_touch(s, acc);
    kmy_account_refill(s, acc);
}

static void pause_session(kmy_shard_t *s, kmy_shard_account_t *acc, kmy_conn_t *c)
{
    c->starved = false;
    if (acc->damaged) {
        kmy_stream_close(s, c, KMY_CORRUPT,
                         "this account cannot be read: its operator must see to it");
        return;
    }
    c->paused = true;
    if (c->unpaid_told)
        return; /* it looked again, and there is still nothing for it: told once, and its grace is not begun anew */
    c->unpaid_told = true;
    c->unpaid_ns = s->now_ns;
    kmy_stream_payment_required(s, acc, c);
}

void kmy_account_starved(kmy_shard_t *s, kmy_shard_account_t *acc, kmy_conn_t *c)
{
    c->starved = true;
    outgrown(s, acc);
    if (acc->exhausted && !acc->lease_asked)
        pause_session(s, acc, c);
    else
        ask_lease(s, acc, wanted(s, acc), 0, ASK_NOW);
}

static void take_figures(kmy_shard_account_t *acc, const kmy_tell_t *tell)
{
    acc->free_nusd = tell->free_nusd;
    acc->elsewhere_nusd = tell->leased_nusd - tell->mine_nusd;
    KMY_ASSERT(acc->free_nusd >= 0);
    KMY_ASSERT(acc->elsewhere_nusd >= 0);
}

/* Sessions that waited for money try again. */
static void feed_sessions(kmy_shard_t *s, kmy_shard_account_t *acc)
{
    for (uint32_t i = acc->conns_head; i != KMY_NONE; i = s->conns[i].conns_next) {
        kmy_conn_t *c = kmy_conn_at(s, i);
        if (!c->starved && !c->paused)
            continue;
        if (c->paused)
            kmy_subs_go_on(s, c);
        c->starved = false;
        c->paused = false; /* unpaid_told stays until a tick was paid */
        if (c->pass_subs > 0)
            kmy_egress_pend_all(s, c);
        kmy_egress_mark(s, c);
    }
}

static void told_leased(kmy_shard_t *s, kmy_shard_account_t *acc, const kmy_tell_t *tell)
{
    acc->lease_asked = false;
    acc->damaged = tell->err != KMY_OK;
    take_figures(acc, tell);
    acc->lease.granted_nusd += tell->amount_nusd;
    acc->lease.left_nusd += tell->amount_nusd;
    kmy_lease_check(&acc->lease);
    kmy_account_touch(s, acc);
    /* Nothing granted while others hold some: the keeper has called it back and will say when it is there. */
    acc->exhausted = tell->amount_nusd == 0 && acc->free_nusd == 0 && acc->elsewhere_nusd == 0;
    if (tell->amount_nusd > 0) {
        acc->leased_ns = s->now_ns;
        feed_sessions(s, acc);
    } else if (acc->exhausted) {
        uint32_t next;
        for (uint32_t i = acc->conns_head; i != KMY_NONE; i = next) {
            kmy_conn_t *c = kmy_conn_at(s, i);
            next = c->conns_next;
            if (c->starved)
                pause_session(s, acc, c);
        }
    }
    if (tell->amount_nusd > 0 || acc->exhausted)
        wake_waiters(s, acc);
}

static void told_recall(kmy_shard_t *s, kmy_shard_account_t *acc)
{
    bool streams = acc->conns_count > 0 && acc->rate_nusd_s > 0;
    /* One who streams keeps half, so that two who are both short do not throw the same slice to and fro for ever: it halves each time.  A
       small rest goes whole: split below the price of a tick it would serve nobody. */
    bool whole = !streams || acc->lease.left_nusd < s->config->lease.min_nusd / 8;
    int64_t give = whole ? acc->lease.left_nusd : acc->lease.left_nusd / 2;
    acc->recalled = !report(s, acc, give, false, ASK_NOW);
    kmy_account_touch(s, acc);
}

void kmy_account_opened(kmy_shard_t *s, kmy_shard_account_t *acc)
{
    acc->state = KMY_ACCOUNT_OPEN;
    wake_waiters(s, acc);
}

static void told_opened(kmy_shard_t *s, kmy_shard_account_t *acc, const kmy_tell_t *tell)
{
    acc->id = tell->account_id;
    if (tell->err != KMY_OK) {
        acc->state = KMY_ACCOUNT_UNKNOWN;
        wake_waiters(s, acc);
        return;
    }
    take_figures(acc, tell);
    if (!kmy_discount_begin(s, acc))
        kmy_account_opened(s, acc);
}

void kmy_account_told(kmy_shard_t *s, const kmy_tell_t *tell)
{
    kmy_shard_account_t *acc = &s->accounts[tell->slot];
    if (tell->slot >= s->accounts_high || acc->gen != tell->gen || acc->state == KMY_ACCOUNT_FREE)
        return; /* forgotten meanwhile: its closing report is on the way to the keeper */
    switch (tell->kind) {
    case KMY_TELL_OPENED:
        told_opened(s, acc, tell);
        break;
    case KMY_TELL_LEASED:
        told_leased(s, acc, tell);
        break;
    case KMY_TELL_CHANGED:
        take_figures(acc, tell);
        acc->exhausted = false;
        feed_sessions(s, acc);
        wake_waiters(s, acc);
        break;
    case KMY_TELL_PASSES:
        kmy_passes_told(s, acc, &tell->passes);
        break;
    case KMY_TELL_FIGURES:
        take_figures(acc, tell);
        break;
    case KMY_TELL_RECALL:
        told_recall(s, acc);
        break;
    default:
        KMY_ASSERT(!"a tell for an account of an unknown kind");
    }
}

/* --- reports ------------------------------------------------------------------------------- */

/* What was told is not this shard's any more. */
static void was_told(kmy_lease_t *l, const kmy_ask_t *a)
{
    KMY_ASSERT(a->consumed_nusd <= l->spent_nusd);
    KMY_ASSERT(a->ticks_count <= l->ticks_count && a->queries_count <= l->queries_count);
    l->granted_nusd -= a->consumed_nusd + a->returned_nusd;
    l->left_nusd -= a->returned_nusd;
    l->spent_nusd -= a->consumed_nusd;
    l->ticks_count -= a->ticks_count;
    l->queries_count -= a->queries_count;
    kmy_lease_check(l);
}

/* What was delivered, and for what; ticks that are on their way to a socket while a send is gathered are taken from the lease already, and are reported when
   it is known what the socket took of them.  false: the queue was full, nothing changed. */
static bool report(kmy_shard_t *s, kmy_shard_account_t *acc, int64_t returned_nusd, bool closes,
                   urgency_t when)
{
    kmy_lease_t *l = &acc->lease;
    kmy_lease_check(l);
    KMY_ASSERT(returned_nusd <= l->left_nusd);
    kmy_uses_take_all(s, acc);
    kmy_ask_t a = {
        .kind = KMY_ASK_REPORT,
        .slot = slot_of(s, acc),
        .gen = acc->gen,
        .closes = closes,
        .account_id = acc->id,
        .returned_nusd = returned_nusd,
    };
    kmy_uses_report(&acc->uses, &a);
    if (!ask(s, &a, when)) {
        kmy_uses_undo(&acc->uses, &a);
        return false; /* nothing is lost: it all stands in the lease still */
    }
    int64_t period_ns = s->now_ns - acc->report_ns;
    if (period_ns > 0) {
        int64_t rate = (int64_t)((__int128)a.consumed_nusd * KMY_NS_PER_S / period_ns);
        set_rate(s, acc, rate > acc->rate_nusd_s ? rate : (acc->rate_nusd_s * 3 + rate) / 4);
    }
    acc->report_ns = s->now_ns;
    acc->free_nusd += returned_nusd;
    was_told(l, &a);
    if (closes) {
        KMY_ASSERT(l->granted_nusd == 0 && l->ticks_count == 0 && l->queries_count == 0);
        kmy_uses_free(&acc->uses);
        kmy_strmap_del(&s->account_names, acc->name, strlen(acc->name));
        kmy_passes_forget(acc);
        acc->state = KMY_ACCOUNT_FREE;
        acc->next_free = s->accounts_free;
        s->accounts_free = slot_of(s, acc);
    }
    return true;
}

bool kmy_account_give_back(kmy_shard_t *s, kmy_shard_account_t *acc, int64_t nusd)
{
    return report(s, acc, nusd, false, ASK_SOON);
}

bool kmy_account_report_now(kmy_shard_t *s, kmy_shard_account_t *acc)
{
    return report(s, acc, 0, false, ASK_SOON);
}

/* Due, within a tenth of the period: all accounts report at the same few instants, so that hundreds of reports make one commit. */
static bool report_time(const kmy_shard_t *s, const kmy_shard_account_t *acc, int64_t every_ns)
{
    int64_t grid_ns = every_ns / 10 + 1;
    return s->now_ns / grid_ns - acc->report_ns / grid_ns >= 10;
}

/* Tells the account's streams once that the balance, at the rate since the last report, is used up before stream.low_balance is over; again only
   after it had risen to twice that, which is looked at once in a report's time, so that a rate that wavers about the limit does not chatter. */
static void warn_low(kmy_shard_t *s, const kmy_shard_account_t *acc, bool reports)
{
    int64_t period_ns = s->now_ns - acc->report_ns;
    int64_t limit_ns = s->config->stream.low_balance_ns;
    if (limit_ns == 0 || period_ns <= 0 || acc->lease.spent_nusd == 0)
        return;
    __int128 left_ns = (__int128)kmy_account_balance(acc) * period_ns / acc->lease.spent_nusd;
    bool low = left_ns < limit_ns;
    if (!low && (!reports || left_ns < 2 * (__int128)limit_ns))
        return;
    uint32_t next;
    for (uint32_t i = acc->conns_head; i != KMY_NONE; i = next) {
        kmy_conn_t *c = kmy_conn_at(s, i);
        next = c->conns_next;
        bool tell = low && !c->low_told && c->subs_count > 0 && !c->unpaid_told;
        c->low_told = low && (c->low_told || tell);
        if (tell)
            kmy_stream_low_balance(s, acc, c, (int64_t)(left_ns / KMY_NS_PER_S));
    }
}

/* Between reports, so that the last seconds are not told when they are over: as soon as there is a second by which to know the rate.  What a
   subscription gets at its beginning, a tick of each feed at once, is then no rate. */
static void look_low(kmy_shard_t *s, kmy_shard_account_t *acc)
{
    int64_t last_ns = acc->looked_ns > acc->report_ns ? acc->looked_ns : acc->report_ns;
    if (s->now_ns - last_ns < LOW_LOOK_NS)
        return;
    acc->looked_ns = s->now_ns;
    warn_low(s, acc, false);
}

/* Reports one account if it is due; true: it may be forgotten by the touched list. */
static bool report_due(kmy_shard_t *s, kmy_shard_account_t *acc, bool all)
{
    if (acc->state == KMY_ACCOUNT_OPENING && !acc->open_sent)
        ask_open(s, acc);
    if (acc->recalled)
        told_recall(s, acc);
    bool used = acc->conns_count > 0 || acc->waiters_head != KMY_NONE;
    if (used)
        acc->idle_ns = 0;
    else if (acc->idle_ns == 0)
        acc->idle_ns = s->now_ns;
    if (acc->state == KMY_ACCOUNT_OPENING || acc->lease_asked)
        return false;
    bool forget = !used && (all || s->now_ns - acc->idle_ns > IDLE_FORGET_S * KMY_NS_PER_S);
    if (forget) {
        report(s, acc, acc->lease.left_nusd, true, ASK_SOON);
        return acc->state == KMY_ACCOUNT_FREE;
    }
    if (acc->retry_nusd > 0 && !all) { /* somebody may wait for it */
        ask_lease(s, acc, acc->retry_nusd, acc->retry_nusd, ASK_NOW);
        return false;
    }
    int64_t give = all ? acc->lease.left_nusd : 0;
    /* Whoever queries sees its balance in each answer, from whichever shard: the others learn of it within a second. */
    int64_t every_ns = s->config->lease.report_every_ns;
    if (acc->lease.queries_count > 0 && every_ns > QUERY_REPORT_NS)
        every_ns = QUERY_REPORT_NS;
    if (give > 0 || ((acc->lease.spent_nusd > 0 || acc->lease.ticks_count > 0) &&
                     (all || report_time(s, acc, every_ns)))) {
        if (!all)
            warn_low(s, acc, true);
        report(s, acc, give, false, ASK_SOON);
        /* In the same commit, if what is left would not last until after the next report. */
        if (!all && acc->lease.left_nusd < wanted(s, acc) / 4 * 3 && acc->free_nusd > 0)
            ask_lease(s, acc, wanted(s, acc), 0, ASK_SOON);
    } else if (!all) {
        look_low(s, acc);
    }
    return used && !acc->recalled && acc->lease.spent_nusd == 0 && acc->lease.ticks_count == 0 &&
           acc->lease.queries_count == 0;
}

uint32_t kmy_account_report(kmy_shard_t *s, bool all)
{
    uint32_t kept = 0;
    uint32_t holding = 0;
    for (uint32_t i = 0; i < s->touched_count; i++) {
        kmy_shard_account_t *acc = &s->accounts[s->touched[i]];
        if (report_due(s, acc, all)) {
            acc->in_touched = false;
            acc->watch_nusd = INT64_MAX;
            continue;
        }
        holding +=
            acc->lease.granted_nusd > 0 || acc->lease_asked || acc->state == KMY_ACCOUNT_OPENING;
        s->touched[kept++] = s->touched[i];
    }
    s->touched_count = kept;
    if (s->keeper_due)
        kmy_wake_signal(&s->o.topology->keeper_wake);
    s->keeper_due = false;
    return holding;
}
