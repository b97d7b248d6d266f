/* dollar 7/7   in: engine/cashier   out: engine/keeper (through the cashier's jobs) */
#include "pay/settle.h"

#include "pay/reason.h"
#include "pay/verify.h"

#include <string.h>

/* What a handler sees. */
typedef struct step {
    kmy_settle_t *s;
    const kmy_settle_event_t *e;
    kmy_settle_now_t now;
    kmy_settle_action_t action;
} step_t;

static const char *const reason_state = "invalid_transaction_state"; /* x402's words */
static const char *const reason_settle = "unexpected_settle_error";
static const char *const reason_verify = "unexpected_verify_error";

static void set_text(char *out, size_t cap, const char *text)
{
    size_t len = text ? strlen(text) : 0;
    KMY_ASSERT(len < cap);
    if (len)
        memcpy(out, text, len + 1);
}

/* Moves */

static void set_state(step_t *x, kmy_payment_state_t state)
{
    x->action.save |= x->s->state != state;
    x->s->state = state;
}

static void act(step_t *x, kmy_settle_phase_t phase, kmy_settle_action_kind_t kind)
{
    x->s->phase = phase;
    x->action.kind = kind;
}

static void rest(step_t *x, int64_t seconds_max)
{
    kmy_settle_t *s = x->s;
    int64_t seconds = s->waits < 16 ? KMY_SETTLE_WAIT_S_MIN << s->waits : seconds_max;
    seconds = seconds < seconds_max ? seconds : seconds_max;
    s->waits += s->waits < 16;
    s->asks = 0;
    x->action.until_ns = x->now.mono_ns + seconds * INT64_C(1000000000);
    act(x, KMY_SETTLE_RESTING, KMY_SETTLE_WAIT);
}

static void wait(step_t *x)
{
    rest(x, KMY_SETTLE_WAIT_S_MAX);
}

/* Asks the chain, but not for ever without a pause. */
static bool may_ask(step_t *x)
{
    if (++x->s->asks <= KMY_SETTLE_ROUND_ASKS_MAX)
        return true;
    wait(x);
    return false;
}

static void probe(step_t *x)
{
    if (may_ask(x))
        act(x, KMY_SETTLE_PROBING, KMY_SETTLE_ASK_AUTHORIZATION);
}

static void look(step_t *x)
{
    KMY_ASSERT(x->s->tx[0]);
    if (may_ask(x))
        act(x, KMY_SETTLE_LOOKING, KMY_SETTLE_ASK_RECEIPT);
}

static void search(step_t *x)
{
    kmy_settle_t *s = x->s;
    if (!may_ask(x))
        return;
    uint64_t left = s->scan_to - s->scan;
    x->action.from = s->scan;
    x->action.to =
        left < KMY_SETTLE_LOGS_BLOCKS ? UINT64_MAX : s->scan + KMY_SETTLE_LOGS_BLOCKS - 1;
    act(x, KMY_SETTLE_SEARCHING, KMY_SETTLE_ASK_LOGS);
}

/* One round of questions about a payment that may have been settled. */
static void begin_round(step_t *x)
{
    if (x->s->tx[0])
        look(x);
    else
        probe(x);
}

/* The ledger moves its state and its money together. */
static void credit(step_t *x, uint32_t log_index)
{
    KMY_ASSERT(x->s->tx[0]);
    x->s->log_index = log_index;
    x->action.save = false;
    act(x, KMY_SETTLE_CREDITING, KMY_SETTLE_CREDIT);
}

static void fail_for_good(step_t *x, const char *reason)
{
    kmy_settle_t *s = x->s;
    if (!s->reason[0])
        set_text(s->reason, sizeof s->reason, reason);
    s->state = KMY_PAYMENT_FAILED;
    x->action.save = true;
    x->action.final = true;
    act(x, KMY_SETTLE_OVER, KMY_SETTLE_FAIL);
}

/* Refused for now: said once; then it is only watched, until nothing can land or the watch ends. */
static void fail_for_now(step_t *x, const char *reason)
{
    kmy_settle_t *s = x->s;
    bool news = s->state != KMY_PAYMENT_FAILED;
    if (news || s->submit_wanted)
        s->watch_until_s = x->now.unix_s + KMY_SETTLE_WATCH_S;
    news |= s->submit_wanted;
    s->submit_wanted = false;
    if (!s->reason[0])
        set_text(s->reason, sizeof s->reason, reason);
    set_state(x, KMY_PAYMENT_FAILED);
    if (s->terms.has_rpc && x->now.unix_s < s->watch_until_s) {
        wait(x);
    } else {
        act(x, KMY_SETTLE_ASLEEP, KMY_SETTLE_NONE);
    }
    if (news)
        x->action.kind = KMY_SETTLE_FAIL;
    x->action.save |= news;
}

/* What the chain's clock, or without a chain ours, leaves. */
static bool time_left(const step_t *x, int64_t chain_s)
{
    int64_t now_s = chain_s > x->now.unix_s ? chain_s : x->now.unix_s;
    return x->s->terms.valid_before_s == INT64_MAX ||
           x->s->terms.valid_before_s - now_s >= KMY_PAY_SECONDS_LEFT_MIN;
}

static void submit(step_t *x)
{
    kmy_settle_t *s = x->s;
    KMY_ASSERT(s->state != KMY_PAYMENT_SETTLED);
    s->submit_wanted = false;
    s->submits += s->submits < UINT8_MAX;
    s->dry = 0;
    s->reason[0] = '\0';
    s->tx[0] = '\0';
    s->by_logs = false;
    if (s->terms.has_rpc || !s->lost) { /* a repeated question is no new beginning */
        s->waits = 0;
        s->unknown_from_s = x->now.unix_s;
    }
    if (s->state != KMY_PAYMENT_UNKNOWN) /* then it is only asked for once more */
        s->state = KMY_PAYMENT_SUBMITTED;
    x->action.save = true;
    act(x, KMY_SETTLE_SUBMITTING, KMY_SETTLE_SUBMIT);
}

static void expired(step_t *x, const char *otherwise)
{
    fail_for_good(x, x->s->terms.solana ? otherwise : kmy_pay_reason(KMY_PAY_EVM_BEFORE));
}

/* Without a chain to ask: the facilitator is asked, by the same authorization again. */
static void submit_blindly(step_t *x)
{
    if (x->s->lost ||
        time_left(x, 0)) /* a lost one is asked for even when it could not be charged any more */
        submit(x);
    else
        expired(x, reason_settle);
}

static void next_without_rpc(step_t *x)
{
    kmy_settle_t *s = x->s;
    int64_t ends =
        s->terms.valid_before_s != INT64_MAX ? s->terms.valid_before_s : s->unknown_from_s;
    if (s->lost && x->now.unix_s > ends + KMY_SETTLE_UNKNOWN_S)
        fail_for_good(x, reason_settle); /* it was never answered, and nobody is left to ask */
    else
        submit_blindly(x);
}

/* The chain says that the authorization is unused, and nothing may make it so any more? */
static bool nothing_can_land(const kmy_settle_t *s)
{
    if (s->terms.solana)
        return s->from_block && s->head > s->from_block + KMY_SETTLE_SOLANA_BLOCKS;
    return s->over_block && kmy_settle_depth(s->head, s->over_block) >= s->terms.confirmations;
}

static bool was_submitted(const kmy_settle_t *s)
{
    return s->state != KMY_PAYMENT_RESERVED && s->state != KMY_PAYMENT_VERIFIED;
}

static void judge_unused(step_t *x, int64_t chain_s)
{
    kmy_settle_t *s = x->s;
    s->dry = 0;
    if (!was_submitted(s) && !s->reason[0])
        s->submit_wanted = true; /* also if a use was seen that a reorganization took away */
    if (nothing_can_land(s)) {
        expired(x, reason_settle);
    } else if (s->submit_wanted && s->submits >= KMY_SETTLE_SUBMITS_MAX) {
        fail_for_now(x, reason_settle);
    } else if (s->submit_wanted && !time_left(x, chain_s)) {
        fail_for_now(x, kmy_pay_reason(KMY_PAY_EVM_BEFORE));
    } else if (s->submit_wanted) {
        uint64_t back = s->terms.solana ? 0 : KMY_SETTLE_BLOCKS_BACK;
        if (!s->from_block || s->terms.solana)
            s->from_block = s->head > back ? s->head - back : 1;
        submit(x);
    } else if (s->state == KMY_PAYMENT_FAILED || s->reason[0]) {
        fail_for_now(x, reason_settle);
    } else if (x->now.unix_s >= s->unknown_from_s + KMY_SETTLE_UNKNOWN_S) {
        fail_for_now(x, reason_settle);
    } else {
        set_state(x, KMY_PAYMENT_UNKNOWN);
        wait(x);
    }
}

/* Handlers: what happened, by phase */

static void on_start(step_t *x)
{
    kmy_settle_t *s = x->s;
    s->unknown_from_s = x->now.unix_s;
    s->watch_until_s = x->now.unix_s + KMY_SETTLE_WATCH_S;
    switch (s->state) {
    case KMY_PAYMENT_RESERVED:
    case KMY_PAYMENT_VERIFIED:
        s->submit_wanted = true;
        if (s->state == KMY_PAYMENT_RESERVED && s->terms.ask_verify)
            act(x, KMY_SETTLE_VERIFYING, KMY_SETTLE_ASK_VERIFY);
        else if (s->terms.has_rpc)
            probe(x);
        else
            submit_blindly(x);
        return;
    case KMY_PAYMENT_SUBMITTED: /* of a life before: its answer is lost */
    case KMY_PAYMENT_UNKNOWN:
        set_state(x, KMY_PAYMENT_UNKNOWN);
        s->lost = true;
        if (s->terms.has_rpc)
            begin_round(x);
        else
            wait(x);
        return;
    case KMY_PAYMENT_FAILED:
        if (s->terms.has_rpc)
            begin_round(x);
        else
            act(x, KMY_SETTLE_ASLEEP, KMY_SETTLE_NONE);
        return;
    default:
        act(x, KMY_SETTLE_OVER, KMY_SETTLE_NONE);
    }
}

static void on_timer(step_t *x)
{
    kmy_settle_t *s = x->s;
    if (s->agreed)
        credit(x, 0);
    else if (s->state == KMY_PAYMENT_RESERVED && s->submit_wanted && s->terms.ask_verify)
        act(x, KMY_SETTLE_VERIFYING, KMY_SETTLE_ASK_VERIFY);
    else if (s->terms.has_rpc)
        begin_round(x);
    else
        next_without_rpc(x);
}

static void on_retry(step_t *x)
{
    kmy_settle_t *s = x->s;
    if (s->state != KMY_PAYMENT_FAILED || s->submits >= KMY_SETTLE_SUBMITS_MAX)
        return; /* it is under way, or was tried often enough */
    s->submit_wanted = true;
    s->reason[0] = '\0';
    s->waits = 0;
    if (!s->terms.has_rpc)
        submit_blindly(x);
    else if (s->phase == KMY_SETTLE_RESTING || s->phase == KMY_SETTLE_ASLEEP)
        probe(x); /* else the round that is under way will come to it */
}

static void start_again(step_t *x)
{
    wait(x);
    x->s->phase = KMY_SETTLE_NEW;
}

static void on_save_failed(step_t *x)
{
    wait(x);
}

static void verify_yes(step_t *x)
{
    x->s->waits = 0;
    set_state(x, KMY_PAYMENT_VERIFIED);
    if (x->s->terms.has_rpc)
        probe(x);
    else
        submit_blindly(x);
}

static void refused(step_t *x, const char *reason)
{
    kmy_settle_t *s = x->s;
    s->submit_wanted = false;
    set_text(s->reason, sizeof s->reason, reason);
    if (s->terms.has_rpc)
        begin_round(x); /* only the chain can say that nothing was done */
    else if (s->lost)
        wait(x);
    else
        fail_for_now(x, reason);
}

static void verify_no(step_t *x)
{
    refused(x, x->e->reason && x->e->reason[0] ? x->e->reason : reason_verify);
}

static void verify_lost(step_t *x)
{
    if (++x->s->verifies < KMY_SETTLE_VERIFIES_MAX)
        wait(x);
    else
        refused(x, reason_verify);
}

static void take_hint(step_t *x)
{
    if (!x->e->tx || !x->e->tx[0])
        return;
    set_text(x->s->tx, sizeof x->s->tx, x->e->tx);
    x->s->by_logs = false;
    x->action.save = true;
}

static void settle_yes(step_t *x)
{
    KMY_ASSERT(x->e->tx && x->e->tx[0]);
    x->s->waits = 0;
    take_hint(x);
    x->s->agreed = !x->s->terms.has_rpc;
    if (x->s->agreed)
        credit(x, 0);
    else
        look(x);
}

/* A place to look, no more; nothing is known. */
static void settle_lost(step_t *x)
{
    take_hint(x);
    x->s->lost = true;
    set_state(x, KMY_PAYMENT_UNKNOWN);
    wait(x);
}

static void settle_no(step_t *x)
{
    take_hint(x);
    refused(x, x->e->reason && x->e->reason[0] ? x->e->reason : reason_settle);
}

/* What comes when nobody waits for it any more: of a settlement, where to look. */
static void late_hint(step_t *x)
{
    if (!x->s->tx[0])
        take_hint(x);
    x->action.save = false; /* it is not worth a write of its own */
}

static void note_head(step_t *x)
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
static uint64_t first_block(const step_t *x)
{
    const kmy_settle_t *s = x->s;
    int64_t age = x->e->time_s - s->terms.created_s + KMY_SETTLE_UNKNOWN_S;
    uint64_t blocks = age <= 0                                ? KMY_SETTLE_LOGS_BLOCKS
                      : age > KMY_SETTLE_LOOK_BACK_BLOCKS / 4 ? KMY_SETTLE_LOOK_BACK_BLOCKS
                                                              : (uint64_t)age * 4;
    return s->head > blocks ? s->head - blocks : 1;
}

static void probed(step_t *x)
{
    kmy_settle_t *s = x->s;
    note_head(x);
    if (!x->e->used && !s->terms.solana) {
        judge_unused(x, x->e->time_s);
        return;
    }
    if (x->e->used)
        s->submit_wanted = false;
    if (!s->from_block && !s->terms.solana)
        s->from_block = first_block(x);
    s->scan = s->from_block < s->head ? s->from_block : s->head;
    s->scan_to = s->head;
    search(x);
}

/* Used or cancelled there: which, and how deep, its receipt says. */
static void found_use(step_t *x)
{
    KMY_ASSERT(x->e->tx && x->e->tx[0]);
    set_text(x->s->tx, sizeof x->s->tx, x->e->tx);
    x->s->by_logs = true;
    x->s->dry = 0;
    look(x);
}

static void found_nothing(step_t *x)
{
    kmy_settle_t *s = x->s;
    if (s->terms.solana) {
        judge_unused(x, 0);
    } else if (s->scan_to - s->scan >= KMY_SETTLE_LOGS_BLOCKS) {
        s->scan += KMY_SETTLE_LOGS_BLOCKS;
        search(x);
    } else if (++s->dry >= KMY_SETTLE_DRY_ROUNDS) {
        s->dry = KMY_SETTLE_DRY_ROUNDS - 1;
        fail_for_now(x, reason_state);
    } else {
        if (s->state == KMY_PAYMENT_SUBMITTED)
            set_state(x, KMY_PAYMENT_UNKNOWN);
        wait(x);
    }
}

static bool deep(const step_t *x)
{
    return x->e->depth >= x->s->terms.confirmations;
}

static void receipt_paid(step_t *x)
{
    kmy_settle_t *s = x->s;
    s->submit_wanted = false;
    if (!deep(x)) {
        rest(x, KMY_SETTLE_DEEPER_S_MAX);
        return;
    }
    credit(x, x->e->log_index);
}

static void receipt_other(step_t *x)
{
    kmy_settle_t *s = x->s;
    if (x->e->spent) {
        s->submit_wanted = false;
        if (deep(x))
            fail_for_good(x, reason_state);
        else
            rest(x, KMY_SETTLE_DEEPER_S_MAX);
        return;
    }
    bool again = s->by_logs; /* a node that contradicts itself: later */
    s->tx[0] = '\0';
    s->by_logs = false;
    if (again)
        wait(x);
    else
        probe(x);
}

static void receipt_none(step_t *x)
{
    kmy_settle_t *s = x->s;
    bool again = s->by_logs;
    if (again) { /* found, then gone: a reorganization, or another node */
        s->tx[0] = '\0';
        s->by_logs = false;
        wait(x);
    } else {
        probe(x);
    }
}

static void credited(step_t *x)
{
    x->s->state = KMY_PAYMENT_SETTLED;
    act(x, KMY_SETTLE_OVER, KMY_SETTLE_NONE);
}

static void credit_conflict(step_t *x)
{
    x->s->reason[0] = '\0';
    fail_for_good(x, "duplicate_settlement");
}

/* The table: what is not listed is an answer to no question, and changes nothing. */
typedef void handler_t(step_t *x);
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
    [KMY_SETTLE_PROBING] = { EV(AUTHORIZATION) = probed, EV(CHAIN_LOST) = wait,
                             EV(RETRY) = on_retry, EV(SAVE_FAILED) = on_save_failed, LATE },
    [KMY_SETTLE_SUBMITTING] = { EV(SETTLE_YES) = settle_yes, EV(SETTLE_PENDING) = settle_lost,
                                EV(SETTLE_NO) = settle_no, EV(SETTLE_LOST) = settle_lost,
                                EV(SAVE_FAILED) = on_save_failed },
    [KMY_SETTLE_LOOKING] = { EV(RECEIPT_PAID) = receipt_paid, EV(RECEIPT_OTHER) = receipt_other,
                             EV(RECEIPT_NONE) = receipt_none, EV(CHAIN_LOST) = wait,
                             EV(RETRY) = on_retry, EV(SAVE_FAILED) = on_save_failed },
    [KMY_SETTLE_SEARCHING] = { EV(LOGS_USED) = found_use, EV(LOGS_CANCELLED) = found_use,
                               EV(LOGS_NONE) = found_nothing, EV(CHAIN_LOST) = wait,
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
    set_text(s->tx, sizeof s->tx, tx);
    set_text(s->reason, sizeof s->reason, reason);
}

kmy_settle_action_t kmy_settle_step(kmy_settle_t *s, const kmy_settle_event_t *event,
                                    kmy_settle_now_t now)
{
    step_t x = { .s = s, .e = event, .now = now };
    KMY_ASSERT(s->phase < KMY_SETTLE_PHASES);
    KMY_ASSERT(event->kind < KMY_SETTLE_EVENTS);
    handler_t *handler = table[s->phase][event->kind];
    if (handler)
        handler(&x);
    return x.action;
}
