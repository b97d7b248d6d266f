/* settle_worlds: small worlds, one for each seed: a chain with reorganizations and nodes that lag, a facilitator that lies, is slow, crashes or is honest, strangers who submit,
   a payer who cancels or sends again, a disk that refuses, and ourselves crashing, with what was saved as all that is left.  In the end the money that the chain moved
   to us must be credited, once, and no other; what failed for good must never have come. */
#ifndef KMY_TESTS_SETTLE_WORLDS_H
#define KMY_TESTS_SETTLE_WORLDS_H

#include "pay/settle.h"

#include <stdio.h>
#include <string.h>

typedef struct world_count {
    int credited, failed, by_others, refused_but_came, crashes, reorganized, retried;
} world_count_t;

static char world_fault[160];

enum { WORLD_T0 = 1767225600, WORLD_BLOCK_0 = 1000, WORLD_ENDS_S = 9000, WORLD_LANDINGS = 8 };

typedef enum { LAND_PAY, LAND_CANCEL, LAND_SPEND } land_t;

/* One transaction with the nonce: it takes effect at block `block` unless another did before; it is seen in chains of a head from `seen` on (a reorganization
   brought it), is gone again from `gone` on (another took it away), and may come back at `back`. */
typedef struct landing {
    land_t kind;
    uint64_t block, seen, gone, back;
    char tx[67];
    bool ours; /* by our facilitator */
} landing_t;

typedef struct world {
    uint64_t rng;
    double now; /* seconds since WORLD_T0 */
    kmy_settle_terms_t terms;
    landing_t landing[WORLD_LANDINGS];
    int landings;
    bool honest;  /* the facilitator tells the truth, if it tells anything */
    bool refused; /* it said no at least once */
    bool submitted;
    int open_submits; /* neither refused nor given up */
    /* the disk */
    kmy_payment_state_t state;
    uint64_t from_block;
    char tx[97], reason[96];
    int credits;
    /* ourselves */
    kmy_settle_t s, before;
    kmy_settle_action_t asked;
    double due; /* of the answer or the timer; < 0: nothing is due */
    bool failed_for_good;
    world_count_t *count;
} world_t;

static uint64_t world_random(world_t *w, uint64_t below)
{
    uint64_t z = w->rng += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return (z ^ z >> 31) % below;
}

static bool world_chance(world_t *w, unsigned percent)
{
    return world_random(w, 100) < percent;
}

static bool world_wrong(const char *why)
{
    snprintf(world_fault, sizeof world_fault, "%s", why);
    return false;
}

static uint64_t world_head(double now)
{
    return WORLD_BLOCK_0 + (uint64_t)(now / 2);
}

static int64_t world_block_time(uint64_t block)
{
    return WORLD_T0 + 2 * (int64_t)(block - WORLD_BLOCK_0);
}

/* The last block that may still hold the authorization. */
static bool world_valid_at(const world_t *w, uint64_t block)
{
    if (w->terms.solana)
        return block <= WORLD_BLOCK_0 + 150;
    return world_block_time(block) < w->terms.valid_before_s;
}

/* The block that holds l in the chain whose head is `head`; 0: none does. */
static uint64_t landing_block(const world_t *w, const landing_t *l, uint64_t head)
{
    uint64_t at = 0;
    if (head >= l->seen && head >= l->block && (!l->gone || head < l->gone))
        at = l->block;
    else if (l->gone && l->back && head >= l->back)
        at = l->back;
    if (l->kind == LAND_PAY && at && !world_valid_at(w, at))
        return 0;
    return at;
}

/* What used the nonce in that chain: the earliest. */
static const landing_t *world_use(const world_t *w, uint64_t head, uint64_t *block)
{
    const landing_t *first = NULL;
    *block = 0;
    for (int i = 0; i < w->landings; i++) {
        uint64_t at = landing_block(w, &w->landing[i], head);
        if (at && (!first || at < *block)) {
            first = &w->landing[i];
            *block = at;
        }
    }
    return first;
}

static void world_land(world_t *w, land_t kind, double at, bool ours)
{
    if (w->landings == WORLD_LANDINGS)
        return;
    landing_t *l = &w->landing[w->landings];
    uint64_t head = world_head(at), unused;
    uint64_t deep = w->terms.confirmations;
    /* Other transactions are only mined into a chain where the nonce is free; a later one cannot push an earlier one out. */
    if (world_use(w, head + 2 * deep + 40, &unused) || world_use(w, head, &unused))
        return;
    memset(l, 0, sizeof *l);
    l->kind = kind;
    l->ours = ours;
    l->block = l->seen = head + 1;
    if (kind == LAND_PAY && !world_valid_at(w, l->block))
        return;
    snprintf(l->tx, sizeof l->tx, "0x%064d", 1000 + w->landings);
    if (deep > 1 &&
        world_chance(w, 20)) { /* a reorganization brings it, less deep than we wait for */
        l->seen = l->block + 1 + world_random(w, deep - 1);
    } else if (deep > 1 && world_chance(w, 20)) { /* or takes it, and may bring it again */
        l->gone = l->block + 1 + world_random(w, deep - 1);
        l->back = world_chance(w, 60) ? l->gone + world_random(w, 10) : 0;
        w->count->reorganized++;
    }
    w->landings++;
}

static bool world_money_came(const world_t *w)
{
    uint64_t block;
    const landing_t *l = world_use(w, world_head(WORLD_ENDS_S * 2), &block);
    return l && l->kind == LAND_PAY;
}

/* The facilitator: decides what it does, and what it says and when. */
static kmy_settle_event_t world_settle(world_t *w, double *delay)
{
    static char bogus[67];
    kmy_settle_event_t e = { .kind = KMY_SETTLE_EV_SETTLE_LOST };
    uint64_t block;
    bool lands = world_chance(w, 60);
    *delay = (double)world_random(w, world_chance(w, 20) ? 90 : 5) + 0.1;
    if (lands)
        world_land(w, LAND_PAY, w->now + (double)world_random(w, world_chance(w, 30) ? 60 : 4),
                   true);
    const landing_t *l = world_use(w, world_head(w->now + *delay + 80), &block);
    bool came = l && l->kind == LAND_PAY;
    snprintf(bogus, sizeof bogus, "0x%064d", 7);
    if (world_chance(w, 25))
        return e; /* silence */
    if (w->honest) {
        e.kind = came ? KMY_SETTLE_EV_SETTLE_YES : KMY_SETTLE_EV_SETTLE_NO;
        e.tx = came ? l->tx : NULL;
    } else {
        static const kmy_settle_event_kind_t words[] = { KMY_SETTLE_EV_SETTLE_YES,
                                                         KMY_SETTLE_EV_SETTLE_PENDING,
                                                         KMY_SETTLE_EV_SETTLE_NO,
                                                         KMY_SETTLE_EV_SETTLE_LOST };
        e.kind = words[world_random(w, 4)];
        e.tx = l && world_chance(w, 60) ? l->tx : bogus;
    }
    e.reason = "insufficient_funds";
    return e;
}

/* A node: its head lags by up to three blocks; both parts of an answer are of the same node, the second part not older. */
static kmy_settle_event_t world_chain(world_t *w, const kmy_settle_action_t *asked)
{
    const kmy_settle_action_kind_t question = asked->kind;
    kmy_settle_event_t e = { .kind = KMY_SETTLE_EV_CHAIN_LOST };
    uint64_t head = world_head(w->now) - world_random(w, 4), block;
    uint64_t later = head + world_random(w, 2);
    later = later > world_head(w->now) ? head : later;
    if (world_chance(w, 10))
        return e;
    const landing_t *l =
        world_use(w, question == KMY_SETTLE_ASK_AUTHORIZATION ? head : later, &block);
    e.head = head;
    switch (question) {
    case KMY_SETTLE_ASK_AUTHORIZATION:
        e.kind = KMY_SETTLE_EV_AUTHORIZATION;
        e.used = l != NULL && !w->terms.solana;
        e.time_s = world_block_time(head);
        return e;
    case KMY_SETTLE_ASK_LOGS:
        e.kind = KMY_SETTLE_EV_LOGS_NONE;
        if (!l || (w->terms.solana && l->kind == LAND_CANCEL))
            return e;
        if (!w->terms.solana && (block < asked->from || block > asked->to))
            return e;
        e.kind = l->kind == LAND_CANCEL ? KMY_SETTLE_EV_LOGS_CANCELLED : KMY_SETTLE_EV_LOGS_USED;
        e.tx = l->tx;
        return e;
    default:
        break;
    }
    bool ours = l && strcmp(l->tx, w->s.tx) == 0;
    e.kind =
        world_chance(w, 50) && !ours ? KMY_SETTLE_EV_RECEIPT_OTHER : KMY_SETTLE_EV_RECEIPT_NONE;
    if (!ours)
        return e; /* never heard of, or a stranger's that was named to mislead us */
    e.kind = l->kind == LAND_PAY ? KMY_SETTLE_EV_RECEIPT_PAID : KMY_SETTLE_EV_RECEIPT_OTHER;
    e.spent = l->kind != LAND_PAY;
    e.depth = kmy_settle_depth(head, block);
    e.log_index = 3;
    return e;
}

static void world_save(world_t *w)
{
    w->state = w->s.state;
    w->from_block = w->s.from_block;
    if (w->s.tx[0])
        memcpy(w->tx, w->s.tx, sizeof w->tx);
    memcpy(w->reason, w->s.reason, sizeof w->reason);
}

/* Credits as the ledger would: once, together with the state. */
static bool world_credit(world_t *w)
{
    uint64_t block;
    const landing_t *l = world_use(w, world_head(w->now), &block);
    if (w->terms.has_rpc && (!l || l->kind != LAND_PAY ||
                             kmy_settle_depth(world_head(w->now), block) < w->terms.confirmations))
        return world_wrong("a credit without the chain's evidence");
    if (!w->terms.has_rpc && !world_money_came(w))
        return world_wrong("a credit for money that never comes");
    w->credits += w->state != KMY_PAYMENT_SETTLED;
    w->state = KMY_PAYMENT_SETTLED;
    return true;
}

static bool world_act(world_t *w, kmy_settle_action_t a);

static bool world_tell(world_t *w, kmy_settle_event_t e)
{
    w->before = w->s;
    return world_act(w, kmy_settle_step(&w->s, &e,
                                        (kmy_settle_now_t){ (int64_t)(w->now * 1e9),
                                                            WORLD_T0 + (int64_t)w->now }));
}

static bool world_begin(world_t *w)
{
    kmy_settle_init(&w->s, &w->terms, w->state, w->from_block, w->tx, w->reason);
    w->due = -1;
    w->asked = (kmy_settle_action_t){ 0 };
    return world_tell(w, (kmy_settle_event_t){ .kind = KMY_SETTLE_EV_START });
}

static bool world_crash(world_t *w)
{
    w->count->crashes++;
    w->now += (double)world_random(w, world_chance(w, 10) ? 400 : 20);
    w->open_submits =
        0; /* nobody waits for it any more; that it is not sent again is judged by the state */
    return world_begin(w);
}

static bool world_submit(world_t *w)
{
    double delay;
    if (w->state != KMY_PAYMENT_SUBMITTED &&
        !(w->state == KMY_PAYMENT_UNKNOWN && (!w->terms.has_rpc || w->terms.own))) /* once more */
        return world_wrong("submitted, but not saved as submitted");
    if (w->open_submits && w->terms.has_rpc && !w->terms.own)
        return world_wrong("a second submission while the first may still work");
    if (w->terms.has_rpc && !w->from_block)
        return world_wrong("submitted without a block to look from");
    w->open_submits = 1;
    w->submitted = true;
    (void)delay;
    return true;
}

static bool world_act(world_t *w, kmy_settle_action_t a)
{
    if (a.save || a.kind == KMY_SETTLE_CREDIT) {
        if (world_chance(w, 3)) { /* the disk refuses */
            if (a.kind != KMY_SETTLE_CREDIT)
                w->s = w->before;
            return world_tell(w, (kmy_settle_event_t){ .kind = KMY_SETTLE_EV_SAVE_FAILED });
        }
        if (world_chance(w, 2))
            return world_crash(w); /* before it is saved */
        if (a.save) {
            if (!kmy_payment_may_follow(w->state, w->s.state))
                return world_wrong("a state that the ledger would not take");
            world_save(w);
        }
        if (world_chance(w, 3) && a.kind != KMY_SETTLE_CREDIT)
            return world_crash(w); /* saved, not done */
    }
    switch (a.kind) {
    case KMY_SETTLE_NONE:
        if (w->s.phase == KMY_SETTLE_OVER || w->s.phase == KMY_SETTLE_ASLEEP)
            w->due = -1;
        return true;
    case KMY_SETTLE_CREDIT:
        if (!world_credit(w))
            return false;
        if (world_chance(w, 10))
            return world_crash(w); /* done, not told */
        if (!world_tell(w, (kmy_settle_event_t){ .kind = KMY_SETTLE_EV_CREDITED }))
            return false;
        return w->s.state == KMY_PAYMENT_SETTLED || world_wrong("credited, and not settled");
    case KMY_SETTLE_SUBMIT:
        if (!world_submit(w))
            return false;
        w->due = w->now;
        break;
    case KMY_SETTLE_FAIL:
        if (!a.save && !a.final)
            return world_wrong("a failure that is not saved");
        w->failed_for_good |= a.final;
        w->open_submits = 0;
        w->due = w->s.phase == KMY_SETTLE_RESTING ? (double)a.until_ns / 1e9 : -1;
        break;
    case KMY_SETTLE_WAIT:
        w->due = (double)a.until_ns / 1e9;
        break;
    default:
        w->due = w->now + 0.05 + (double)world_random(w, 20) / 10;
    }
    w->asked = a;
    return true;
}

/* The question under way gets its answer, or the timer rings. */
static bool world_answer(world_t *w)
{
    kmy_settle_action_t a = w->asked;
    double delay = 0;
    kmy_settle_event_t e = { .kind = KMY_SETTLE_EV_TIMER };
    w->asked = (kmy_settle_action_t){ 0 };
    w->due = -1;
    if (a.kind == KMY_SETTLE_ASK_VERIFY) {
        static const kmy_settle_event_kind_t words[] = { KMY_SETTLE_EV_VERIFY_YES,
                                                         KMY_SETTLE_EV_VERIFY_YES,
                                                         KMY_SETTLE_EV_VERIFY_NO,
                                                         KMY_SETTLE_EV_VERIFY_LOST };
        e.kind = words[world_random(w, 4)];
    } else if (a.kind == KMY_SETTLE_SUBMIT) {
        e = world_settle(w, &delay);
        if (world_chance(w, 5))
            return world_crash(w); /* it was sent, and we are gone */
        w->now += delay;
        w->refused |= e.kind == KMY_SETTLE_EV_SETTLE_NO;
        if (e.kind == KMY_SETTLE_EV_SETTLE_NO)
            w->open_submits = 0;
        if (e.kind == KMY_SETTLE_EV_SETTLE_YES &&
            world_chance(w, 10)) { /* too late: lost, and then it comes after all */
            if (!world_tell(w, (kmy_settle_event_t){ .kind = KMY_SETTLE_EV_SETTLE_LOST }))
                return false;
        }
    } else if (a.kind != KMY_SETTLE_WAIT && a.kind != KMY_SETTLE_FAIL) {
        e = world_chain(w, &a);
    }
    return world_tell(w, e);
}

/* Whatever else may come at any time. */
static bool world_disturb(world_t *w)
{
    static const char stray[] =
        "0x00000000000000000000000000000000000000000000000000000000000000ff";
    if (world_chance(w, 1))
        return world_crash(w);
    if (w->now < WORLD_ENDS_S / 3 && world_chance(w, 3)) {
        bool failed = w->s.state == KMY_PAYMENT_FAILED && w->s.phase != KMY_SETTLE_OVER;
        w->count->retried += failed;
        return world_tell(w, (kmy_settle_event_t){ .kind = KMY_SETTLE_EV_RETRY });
    }
    if (world_chance(w, 2) && w->s.phase != KMY_SETTLE_SUBMITTING && w->terms.has_rpc)
        return world_tell(w, (kmy_settle_event_t){ .kind = KMY_SETTLE_EV_SETTLE_YES, .tx = stray });
    if (world_chance(w, 2) && w->s.phase != KMY_SETTLE_VERIFYING)
        return world_tell(w, (kmy_settle_event_t){ .kind = KMY_SETTLE_EV_VERIFY_NO });
    return true;
}

static void world_make(world_t *w, uint64_t seed, world_count_t *count)
{
    memset(w, 0, sizeof *w);
    w->rng = seed;
    w->count = count;
    unsigned kind = (unsigned)world_random(w, 10);
    w->now = 20;
    w->terms = (kmy_settle_terms_t){
        .solana = kind == 0,
        .own = kind >= 2 && kind <= 4,
        .has_rpc = kind != 1,
        .ask_verify = world_chance(w, 40),
        .confirmations = 1 + (uint32_t)world_random(w, 5),
        .created_s = WORLD_T0 + 20,
        .valid_before_s = kind == 0 ? INT64_MAX
                                    : WORLD_T0 + 20 + 10 +
                                          (int64_t)world_random(w, world_chance(w, 20) ? 1500 : 90),
    };
    w->honest = !w->terms.has_rpc || world_chance(w, 30);
    w->state = KMY_PAYMENT_RESERVED;
    if (!w->terms.has_rpc)
        return; /* without a chain to ask only the facilitator moves it */
    if (world_chance(w, 20))
        world_land(w, LAND_PAY, (double)world_random(w, 120), false);
    if (world_chance(w, 8) && !w->terms.solana)
        world_land(w, LAND_CANCEL, (double)world_random(w, 120), false);
    if (world_chance(w, 5))
        world_land(w, LAND_SPEND, (double)world_random(w, 120), false);
}

static bool world_judge(world_t *w)
{
    uint64_t block;
    bool came = world_money_came(w);
    const landing_t *l = world_use(w, world_head(WORLD_ENDS_S * 2), &block);
    w->count->credited += w->credits;
    w->count->failed += w->state == KMY_PAYMENT_FAILED;
    w->count->by_others += came && !l->ours;
    w->count->refused_but_came += came && w->refused;
    if (w->credits > 1)
        return world_wrong("credited twice");
    if (w->credits && !came)
        return world_wrong("credited, and the money is not there");
    if (!w->credits && came && w->terms.has_rpc)
        return world_wrong("the money came and was not credited");
    if (w->failed_for_good && came && w->terms.has_rpc)
        return world_wrong("failed for good, and the money came");
    if (!came && w->state != KMY_PAYMENT_FAILED)
        return world_wrong("no money came, and it has not failed");
    return true;
}

static bool world_run(uint64_t seed, world_count_t *count)
{
    world_t w;
    world_make(&w, seed, count);
    if (!world_begin(&w))
        return false;
    for (int step = 0; step < 5000 && w.now < WORLD_ENDS_S; step++) {
        if (w.s.phase == KMY_SETTLE_OVER)
            break;
        if (w.due >= 0) {
            w.now = w.due > w.now ? w.due : w.now;
            if (!world_answer(&w))
                return false;
        } else {
            w.now += 60;
        }
        if (!world_disturb(&w))
            return false;
    }
    return world_judge(&w);
}

#endif
