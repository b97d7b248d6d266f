/* dollar 7/7   in: engine/cashier   out: engine/keeper (through the cashier's jobs) */
/* The table and its handlers: what happened, by phase.  What is done about it: settle_move.c. */
#include "pay/settle_inside.h"

#include <string.h>

static void on_start(kmy_settle_doing_t *x)
{
    kmy_settle_t *s = x->s;
    s->unknown_from_s = x->now.unix_s;
    s->watch_until_s = x->now.unix_s + KMY_SETTLE_WATCH_S;
    switch (s->state) {
    case KMY_PAYMENT_RESERVED:
    case KMY_PAYMENT_VERIFIED:
        s->submit_wanted = true;
        if (s->state == KMY_PAYMENT_RESERVED && s->terms.ask_verify)
            kmy_settle_act(x, KMY_SETTLE_VERIFYING, KMY_SETTLE_ASK_VERIFY);
        else if (s->terms.has_rpc)
            kmy_settle_probe(x);
        else
            kmy_settle_submit_blindly(x);
        return;
    case KMY_PAYMENT_SUBMITTED: /* of a life before: its answer is lost */
    case KMY_PAYMENT_UNKNOWN:
        kmy_settle_state(x, KMY_PAYMENT_UNKNOWN);
        s->lost = true;
        if (s->terms.has_rpc)
            kmy_settle_round(x);
        else
            kmy_settle_wait(x);
        return;
    case KMY_PAYMENT_FAILED:
        if (s->terms.has_rpc)
            kmy_settle_round(x);
        else
            kmy_settle_act(x, KMY_SETTLE_ASLEEP, KMY_SETTLE_NONE);
        return;
    default:
        kmy_settle_act(x, KMY_SETTLE_OVER, KMY_SETTLE_NONE);
    }
}

static void on_timer(kmy_settle_doing_t *x)
{
    kmy_settle_t *s = x->s;
    if (s->agreed)
        kmy_settle_credit(x, 0);
    else if (s->state == KMY_PAYMENT_RESERVED && s->submit_wanted && s->terms.ask_verify)
        kmy_settle_act(x, KMY_SETTLE_VERIFYING, KMY_SETTLE_ASK_VERIFY);
    else if (s->terms.has_rpc)
        kmy_settle_round(x);
    else
        kmy_settle_next_without_rpc(x);
}

static void on_retry(kmy_settle_doing_t *x)
{
    kmy_settle_t *s = x->s;
    if (s->state != KMY_PAYMENT_FAILED || s->submits >= KMY_SETTLE_SUBMITS_MAX)
        return; /* it is under way, or was tried often enough */
    s->submit_wanted = true;
    s->reason[0] = '\0';
    s->waits = 0;
    if (!s->terms.has_rpc)
        kmy_settle_submit_blindly(x);
    else if (s->phase == KMY_SETTLE_RESTING || s->phase == KMY_SETTLE_ASLEEP)
        kmy_settle_probe(x); /* else the round that is under way will come to it */
}

static void start_again(kmy_settle_doing_t *x)
{
    kmy_settle_wait(x);
    x->s->phase = KMY_SETTLE_NEW;
}

static void on_save_failed(kmy_settle_doing_t *x)
{
    kmy_settle_wait(x);
}

static void verify_yes(kmy_settle_doing_t *x)
{
    x->s->waits = 0;
    kmy_settle_state(x, KMY_PAYMENT_VERIFIED);
    if (x->s->terms.has_rpc)
        kmy_settle_probe(x);
    else
        kmy_settle_submit_blindly(x);
}

static void refused(kmy_settle_doing_t *x, const char *reason)
{
    kmy_settle_t *s = x->s;
    s->submit_wanted = false;
    kmy_settle_text(s->reason, sizeof s->reason, reason);
    if (s->terms.has_rpc)
        kmy_settle_round(x); /* only the chain can say that nothing was done */
    else if (s->lost)
        kmy_settle_wait(x);
    else
        kmy_settle_fail_for_now(x, reason);
}

static void verify_no(kmy_settle_doing_t *x)
{
    refused(x, x->e->reason && x->e->reason[0] ? x->e->reason : KMY_SETTLE_REASON_VERIFY);
}

static void verify_lost(kmy_settle_doing_t *x)
{
    if (++x->s->verifies < KMY_SETTLE_VERIFIES_MAX)
        kmy_settle_wait(x);
    else
        refused(x, KMY_SETTLE_REASON_VERIFY);
}

static void take_hint(kmy_settle_doing_t *x)
{
    if (!x->e->tx || !x->e->tx[0])
        return;
    kmy_settle_text(x->s->tx, sizeof x->s->tx, x->e->tx);
    x->s->by_logs = false;
    x->action.save = true;
}

static void settle_yes(kmy_settle_doing_t *x)
{
    KMY_ASSERT(x->e->tx && x->e->tx[0]);
    x->s->waits = 0;
    take_hint(x);
    x->s->agreed = !x->s->terms.has_rpc;
    if (x->s->agreed)
        kmy_settle_credit(x, 0);
    else
        kmy_settle_look(x);
}

/* A place to look, no more; nothing is known. */
static void settle_lost(kmy_settle_doing_t *x)
{
    take_hint(x);
    x->s->lost = true;
    kmy_settle_state(x, KMY_PAYMENT_UNKNOWN);
    kmy_settle_wait(x);
}

static void settle_no(kmy_settle_doing_t *x)
{
    take_hint(x);
    refused(x, x->e->reason && x->e->reason[0] ? x->e->reason : KMY_SETTLE_REASON_SETTLE);
}

/* What comes when nobody waits for it any more: of a settlement, where to look. */
static void late_hint(kmy_settle_doing_t *x)
{
    if (!x->s->tx[0])
        take_hint(x);
    x->action.save = false; /* it is not worth a write of its own */
}

static void note_head(kmy_settle_doing_t *x)
{
    kmy_settle_t *s = x->s;
    s->head = x->e->head;
    if (s->terms.solana) {
        if (!s->from_block && !s->submit_wanted)
            s->from_block = s->head ? s->head : 1;
        return;
    }
    if (x->e->time_s < s->terms.valid_before_s)
        s->over_block = 0;
    else if (!s->over_block || s->head < s->over_block)
        s->over_block = s->head ? s->head : 1;
}

/* Where a use that nobody announced may lie: four blocks a second (the fastest chain) since it was presented, and the time a signature usually is good for. */
static uint64_t first_block(const kmy_settle_doing_t *x)
{
    const kmy_settle_t *s = x->s;
    int64_t age = x->e->time_s - s->terms.created_s + KMY_SETTLE_UNKNOWN_S;
    uint64_t blocks = age <= 0                                ? KMY_SETTLE_LOGS_BLOCKS
                      : age > KMY_SETTLE_LOOK_BACK_BLOCKS / 4 ? KMY_SETTLE_LOOK_BACK_BLOCKS
                                                              : (uint64_t)age * 4;
    return s->head > blocks ? s->head - blocks : 1;
}

static void probed(kmy_settle_doing_t *x)
{
    kmy_settle_t *s = x->s;
    note_head(x);
    if (!x->e->used && !s->terms.solana) {
        kmy_settle_judge_unused(x, x->e->time_s);
        return;
    }
    if (x->e->used)
        s->submit_wanted = false;
    if (!s->from_block && !s->terms.solana)
        s->from_block = first_block(x);
    s->scan = s->from_block < s->head ? s->from_block : s->head;
    s->scan_to = s->head;
    kmy_settle_search(x);
}

/* Used or cancelled there: which, and how deep, its receipt says. */
static void found_use(kmy_settle_doing_t *x)
{
    KMY_ASSERT(x->e->tx && x->e->tx[0]);
    kmy_settle_text(x->s->tx, sizeof x->s->tx, x->e->tx);
    x->s->by_logs = true;
    x->s->dry = 0;
    kmy_settle_look(x);
}

static void found_nothing(kmy_settle_doing_t *x)
{
    kmy_settle_t *s = x->s;
    if (s->terms.solana) {
        kmy_settle_judge_unused(x, 0);
    } else if (s->scan_to - s->scan >= KMY_SETTLE_LOGS_BLOCKS) {
        s->scan += KMY_SETTLE_LOGS_BLOCKS;
        kmy_settle_search(x);
    } else if (++s->dry >= KMY_SETTLE_DRY_ROUNDS) {
        s->dry = KMY_SETTLE_DRY_ROUNDS - 1;
        kmy_settle_fail_for_now(x, KMY_SETTLE_REASON_STATE);
    } else {
        if (s->state == KMY_PAYMENT_SUBMITTED)
            kmy_settle_state(x, KMY_PAYMENT_UNKNOWN);
        kmy_settle_wait(x);
    }
}

static bool deep(const kmy_settle_doing_t *x)
{
    return x->e->depth >= x->s->terms.confirmations;
}

static void receipt_paid(kmy_settle_doing_t *x)
{
    kmy_settle_t *s = x->s;
    s->submit_wanted = false;
    if (!deep(x)) {
        kmy_settle_rest(x, KMY_SETTLE_DEEPER_S_MAX);
        return;
    }
    kmy_settle_credit(x, x->e->log_index);
}

static void receipt_other(kmy_settle_doing_t *x)
{
    kmy_settle_t *s = x->s;
    if (x->e->spent) {
        s->submit_wanted = false;
        if (deep(x))
            kmy_settle_fail_for_good(x, KMY_SETTLE_REASON_STATE);
        else
            kmy_settle_rest(x, KMY_SETTLE_DEEPER_S_MAX);
        return;
    }
    bool again = s->by_logs; /* a node that contradicts itself: later */
    s->tx[0] = '\0';
    s->by_logs = false;
    if (again)
        kmy_settle_wait(x);
    else
        kmy_settle_probe(x);
}

static void receipt_none(kmy_settle_doing_t *x)
{
    kmy_settle_t *s = x->s;
    bool again = s->by_logs;
    if (again) { /* found, then gone: a reorganization, or another node */
        s->tx[0] = '\0';
        s->by_logs = false;
        kmy_settle_wait(x);
    } else {
        kmy_settle_probe(x);
    }
}

static void credited(kmy_settle_doing_t *x)
{
    x->s->state = KMY_PAYMENT_SETTLED;
    kmy_settle_act(x, KMY_SETTLE_OVER, KMY_SETTLE_NONE);
}

static void credit_conflict(kmy_settle_doing_t *x)
{
    x->s->reason[0] = '\0';
    kmy_settle_fail_for_good(x, "duplicate_settlement");
}

/* The table: what is not listed is an answer to no question, and changes nothing. */
typedef void handler_t(kmy_settle_doing_t *x);
#define EV(name) [KMY_SETTLE_EV_##name]
#define LATE                                                                                       \
    EV(SETTLE_YES) = late_hint, EV(SETTLE_PENDING) = late_hint, EV(SETTLE_LOST) = late_hint,       \
    EV(SETTLE_NO) = late_hint

static handler_t *const table[KMY_SETTLE_PHASES][KMY_SETTLE_EVENTS] = {
    [KMY_SETTLE_NEW] = { EV(START) = on_start, EV(TIMER) = on_start,
                         EV(SAVE_FAILED) = start_again },
    [KMY_SETTLE_VERIFYING] = { EV(VERIFY_YES) = verify_yes, EV(VERIFY_NO) = verify_no,
                               EV(VERIFY_LOST) = verify_lost, EV(CHAIN_LOST) = verify_lost,
                               EV(SAVE_FAILED) = on_save_failed },
    [KMY_SETTLE_PROBING] = { EV(AUTHORIZATION) = probed, EV(CHAIN_LOST) = kmy_settle_wait,
                             EV(RETRY) = on_retry, EV(SAVE_FAILED) = on_save_failed, LATE },
    [KMY_SETTLE_SUBMITTING] = { EV(SETTLE_YES) = settle_yes, EV(SETTLE_PENDING) = settle_lost,
                                EV(SETTLE_NO) = settle_no, EV(SETTLE_LOST) = settle_lost,
                                EV(SAVE_FAILED) = on_save_failed },
    [KMY_SETTLE_LOOKING] = { EV(RECEIPT_PAID) = receipt_paid, EV(RECEIPT_OTHER) = receipt_other,
                             EV(RECEIPT_NONE) = receipt_none, EV(CHAIN_LOST) = kmy_settle_wait,
                             EV(RETRY) = on_retry, EV(SAVE_FAILED) = on_save_failed },
    [KMY_SETTLE_SEARCHING] = { EV(LOGS_USED) = found_use, EV(LOGS_CANCELLED) = found_use,
                               EV(LOGS_NONE) = found_nothing, EV(CHAIN_LOST) = kmy_settle_wait,
                               EV(RETRY) = on_retry, EV(SAVE_FAILED) = on_save_failed, LATE },
    [KMY_SETTLE_CREDITING] = { EV(CREDITED) = credited, EV(CREDIT_CONFLICT) = credit_conflict,
                               EV(SAVE_FAILED) = on_save_failed },
    [KMY_SETTLE_RESTING] = { EV(TIMER) = on_timer, EV(RETRY) = on_retry,
                             EV(SAVE_FAILED) = on_save_failed, LATE },
    [KMY_SETTLE_ASLEEP] = { EV(RETRY) = on_retry, EV(SAVE_FAILED) = on_save_failed },
};

void kmy_settle_init(kmy_settle_t *s, const kmy_settle_terms_t *terms, kmy_payment_state_t state,
                     uint64_t from_block, const char *tx, const char *reason)
{
    memset(s, 0, sizeof *s);
    s->terms = *terms;
    s->terms.confirmations += terms->confirmations == 0;
    s->state = state;
    s->from_block = from_block;
    kmy_settle_text(s->tx, sizeof s->tx, tx);
    kmy_settle_text(s->reason, sizeof s->reason, reason);
}

kmy_settle_action_t kmy_settle_step(kmy_settle_t *s, const kmy_settle_event_t *event,
                                    kmy_settle_now_t now)
{
    kmy_settle_doing_t x = { .s = s, .e = event, .now = now };
    KMY_ASSERT(s->phase < KMY_SETTLE_PHASES);
    KMY_ASSERT(event->kind < KMY_SETTLE_EVENTS);
    handler_t *handler = table[s->phase][event->kind];
    if (handler)
        handler(&x);
    return x.action;
}
