/* settle_inside: what settle.c (events) and settle_move.c (what is done) know of each other.  dollar 7/7 */
#ifndef KMY_PAY_SETTLE_INSIDE_H
#define KMY_PAY_SETTLE_INSIDE_H

#include "pay/settle.h"

/* Why it failed, where nobody gave a reason; x402's words. */
#define KMY_SETTLE_REASON_STATE  "invalid_transaction_state"
#define KMY_SETTLE_REASON_SETTLE "unexpected_settle_error"
#define KMY_SETTLE_REASON_VERIFY "unexpected_verify_error"

/* What a handler sees. */
typedef struct kmy_settle_doing {
    kmy_settle_t *s;
    const kmy_settle_event_t *e;
    kmy_settle_now_t now;
    kmy_settle_action_t action;
} kmy_settle_doing_t;

/* text NULL: "". */
void kmy_settle_text(char *out, size_t cap, const char *text);

/* Each fills x->action, and x->s with what must be known when the answer comes. */
void kmy_settle_state(kmy_settle_doing_t *x, kmy_payment_state_t state);
void kmy_settle_act(kmy_settle_doing_t *x, kmy_settle_phase_t phase, kmy_settle_action_kind_t kind);
void kmy_settle_rest(kmy_settle_doing_t *x, int64_t seconds_max); /* longer each time */
void kmy_settle_wait(kmy_settle_doing_t *x); /* the same up to KMY_SETTLE_WAIT_S_MAX */
void kmy_settle_probe(kmy_settle_doing_t *x);
void kmy_settle_look(kmy_settle_doing_t *x);
void kmy_settle_search(kmy_settle_doing_t *x);
void kmy_settle_round(kmy_settle_doing_t *x);
void kmy_settle_credit(kmy_settle_doing_t *x, uint32_t log_index);
void kmy_settle_fail_for_good(kmy_settle_doing_t *x, const char *reason);
void kmy_settle_fail_for_now(kmy_settle_doing_t *x, const char *reason);
void kmy_settle_submit_blindly(kmy_settle_doing_t *x);
void kmy_settle_next_without_rpc(kmy_settle_doing_t *x);
/* The chain says unused; chain_s is its clock, 0 if it has none. */
void kmy_settle_judge_unused(kmy_settle_doing_t *x, int64_t chain_s);

#endif
