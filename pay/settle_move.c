/* dollar 7/7   in: pay/settle   out: pay/settle */
/* What pay/settle can do next, and the judgements that choose between several of them. */
#include "pay/settle_inside.h"

#include "pay/reason.h"
#include "pay/verify.h"

#include <string.h>

void kmy_settle_text(char *out, size_t cap, const char *text)
{
    size_t len = text ? strlen(text) : 0;
    KMY_ASSERT(len < cap);
    memcpy(out, len ? text : "", len + 1);
}

void kmy_settle_state(kmy_settle_doing_t *x, kmy_payment_state_t state)
{
    x->action.save |= x->s->state != state;
    x->s->state = state;
}

void kmy_settle_act(kmy_settle_doing_t *x, kmy_settle_phase_t phase, kmy_settle_action_kind_t kind)
{
    x->s->phase = phase;
    x->action.kind = kind;
}

void kmy_settle_rest(kmy_settle_doing_t *x, int64_t seconds_max)
{
    kmy_settle_t *s = x->s;
    int64_t seconds = s->waits < 16 ? KMY_SETTLE_WAIT_S_MIN << s->waits : seconds_max;
    seconds = seconds < seconds_max ? seconds : seconds_max;
    s->waits += s->waits < 16;
    s->asks = 0;
    x->action.until_ns = x->now.mono_ns + seconds * INT64_C(1000000000);
    kmy_settle_act(x, KMY_SETTLE_RESTING, KMY_SETTLE_WAIT);
}

void kmy_settle_wait(kmy_settle_doing_t *x)
{
    kmy_settle_rest(x, KMY_SETTLE_WAIT_S_MAX);
}

/* Asks the chain, but not for ever without a pause. */
static bool may_ask(kmy_settle_doing_t *x)
{
    if (++x->s->asks <= KMY_SETTLE_ROUND_ASKS_MAX)
        return true;
    kmy_settle_wait(x);
    return false;
}

void kmy_settle_probe(kmy_settle_doing_t *x)
{
    if (may_ask(x))
        kmy_settle_act(x, KMY_SETTLE_PROBING, KMY_SETTLE_ASK_AUTHORIZATION);
}

void kmy_settle_look(kmy_settle_doing_t *x)
{
    KMY_ASSERT(x->s->tx[0]);
    if (may_ask(x))
        kmy_settle_act(x, KMY_SETTLE_LOOKING, KMY_SETTLE_ASK_RECEIPT);
}

void kmy_settle_search(kmy_settle_doing_t *x)
{
    kmy_settle_t *s = x->s;
    if (!may_ask(x))
        return;
    uint64_t left = s->scan_to - s->scan;
    x->action.from = s->scan;
    x->action.to =
        left < KMY_SETTLE_LOGS_BLOCKS ? UINT64_MAX : s->scan + KMY_SETTLE_LOGS_BLOCKS - 1;
    kmy_settle_act(x, KMY_SETTLE_SEARCHING, KMY_SETTLE_ASK_LOGS);
}

/* One round of questions about a payment that may have been settled. */
void kmy_settle_round(kmy_settle_doing_t *x)
{
    if (x->s->tx[0])
        kmy_settle_look(x);
    else
        kmy_settle_probe(x);
}

/* The ledger moves its state and its money together. */
void kmy_settle_credit(kmy_settle_doing_t *x, uint32_t log_index)
{
    KMY_ASSERT(x->s->tx[0]);
    x->s->log_index = log_index;
    x->action.save = false;
    kmy_settle_act(x, KMY_SETTLE_CREDITING, KMY_SETTLE_CREDIT);
}

void kmy_settle_fail_for_good(kmy_settle_doing_t *x, const char *reason)
{
    kmy_settle_t *s = x->s;
    if (!s->reason[0])
        kmy_settle_text(s->reason, sizeof s->reason, reason);
    s->state = KMY_PAYMENT_FAILED;
    x->action.save = true;
    x->action.final = true;
    kmy_settle_act(x, KMY_SETTLE_OVER, KMY_SETTLE_FAIL);
}

/* Refused for now: said once; then it is only watched, until nothing can land or the watch ends. */
void kmy_settle_fail_for_now(kmy_settle_doing_t *x, const char *reason)
{
    kmy_settle_t *s = x->s;
    bool news = s->state != KMY_PAYMENT_FAILED;
    if (news || s->submit_wanted)
        s->watch_until_s = x->now.unix_s + KMY_SETTLE_WATCH_S;
    news |= s->submit_wanted;
    s->submit_wanted = false;
    if (!s->reason[0])
        kmy_settle_text(s->reason, sizeof s->reason, reason);
    kmy_settle_state(x, KMY_PAYMENT_FAILED);
    if (s->terms.has_rpc && x->now.unix_s < s->watch_until_s) {
        kmy_settle_wait(x);
    } else {
        kmy_settle_act(x, KMY_SETTLE_ASLEEP, KMY_SETTLE_NONE);
    }
    if (news)
        x->action.kind = KMY_SETTLE_FAIL;
    x->action.save |= news;
}

/* What the chain's clock, or without a chain ours, leaves. */
static bool time_left(const kmy_settle_doing_t *x, int64_t chain_s)
{
    int64_t now_s = chain_s > x->now.unix_s ? chain_s : x->now.unix_s;
    return x->s->terms.valid_before_s == INT64_MAX ||
           x->s->terms.valid_before_s - now_s >= KMY_PAY_SECONDS_LEFT_MIN;
}

static void submit(kmy_settle_doing_t *x)
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
    kmy_settle_act(x, KMY_SETTLE_SUBMITTING, KMY_SETTLE_SUBMIT);
}

static void expired(kmy_settle_doing_t *x, const char *otherwise)
{
    kmy_settle_fail_for_good(x,
                             x->s->terms.solana ? otherwise : kmy_pay_reason(KMY_PAY_EVM_BEFORE));
}

/* Without a chain to ask: the facilitator is asked, by the same authorization again. */
void kmy_settle_submit_blindly(kmy_settle_doing_t *x)
{
    if (x->s->lost ||
        time_left(x, 0)) /* a lost one is asked for even when it could not be charged any more */
        submit(x);
    else
        expired(x, KMY_SETTLE_REASON_SETTLE);
}

void kmy_settle_next_without_rpc(kmy_settle_doing_t *x)
{
    kmy_settle_t *s = x->s;
    int64_t ends =
        s->terms.valid_before_s != INT64_MAX ? s->terms.valid_before_s : s->unknown_from_s;
    if (s->lost && x->now.unix_s > ends + KMY_SETTLE_UNKNOWN_S)
        kmy_settle_fail_for_good(
            x, KMY_SETTLE_REASON_SETTLE); /* it was never answered, and nobody is left to ask */
    else
        kmy_settle_submit_blindly(x);
}

/* The chain says that the authorization is unused, and nothing may make it so any more? */
static bool nothing_can_land(const kmy_settle_t *s)
{
    if (s->terms.solana)
        return s->from_block && s->head > s->from_block + KMY_SETTLE_SOLANA_BLOCKS;
    return s->over_block && kmy_settle_depth(s->head, s->over_block) >= s->terms.confirmations;
}

/* Ours, nobody else's: a life of ours may have ended between saving and sending it, or its transaction was outbid. */
static bool is_ours_to_repeat(const kmy_settle_doing_t *x)
{
    const kmy_settle_t *s = x->s;
    return s->terms.own && s->state == KMY_PAYMENT_UNKNOWN && !s->reason[0] &&
           x->now.unix_s >= s->unknown_from_s + KMY_SETTLE_AGAIN_S;
}

static bool was_submitted(const kmy_settle_t *s)
{
    return s->state != KMY_PAYMENT_RESERVED && s->state != KMY_PAYMENT_VERIFIED;
}

void kmy_settle_judge_unused(kmy_settle_doing_t *x, int64_t chain_s)
{
    kmy_settle_t *s = x->s;
    s->dry = 0;
    if (!was_submitted(s) && !s->reason[0])
        s->submit_wanted = true; /* also if a use was seen that a reorganization took away */
    s->submit_wanted |= is_ours_to_repeat(x);
    if (nothing_can_land(s)) {
        expired(x, KMY_SETTLE_REASON_SETTLE);
    } else if (s->submit_wanted && s->submits >= KMY_SETTLE_SUBMITS_MAX) {
        kmy_settle_fail_for_now(x, KMY_SETTLE_REASON_SETTLE);
    } else if (s->submit_wanted && !time_left(x, chain_s)) {
        kmy_settle_fail_for_now(x, kmy_pay_reason(KMY_PAY_EVM_BEFORE));
    } else if (s->submit_wanted) {
        uint64_t back = s->terms.solana ? 0 : KMY_SETTLE_BLOCKS_BACK;
        if (!s->from_block || s->terms.solana)
            s->from_block = s->head > back ? s->head - back : 1;
        submit(x);
    } else if (s->state == KMY_PAYMENT_FAILED || s->reason[0]) {
        kmy_settle_fail_for_now(x, KMY_SETTLE_REASON_SETTLE);
    } else if (x->now.unix_s >= s->unknown_from_s + KMY_SETTLE_UNKNOWN_S) {
        kmy_settle_fail_for_now(x, KMY_SETTLE_REASON_SETTLE);
    } else {
        kmy_settle_state(x, KMY_PAYMENT_UNKNOWN);
        kmy_settle_wait(x);
    }
}
