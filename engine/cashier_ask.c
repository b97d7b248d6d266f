/* dollar 7/7   in: engine/cashier_pay (pay/settle)   out: facilitators and chains, and back

   What pay/settle wants to know, as questions, and their answers as its events. */
#include "engine/cashier_inside.h"

#include <string.h>

static void happened(kmy_cashier_t *c, kmy_case_t *k, kmy_settle_event_kind_t kind)
{
    kmy_pay_event(c, k, &(kmy_settle_event_t){ .kind = kind });
}

/* --- the facilitator ------------------------------------------------------------------------------ */

bool kmy_ask_facilitator(kmy_cashier_t *c, kmy_case_t *k, const char *url, bool once,
                         kmy_case_call_t *then)
{
    char text[KMY_FACILITATOR_REQUEST_BYTES_MAX];
    kmy_buf_t b = kmy_buf(text, sizeof text);
    kmy_pay_resource_t about = {
        .url = k->resource_url[0] ? k->resource_url : c->o.offers->url,
        .description = "real-time data",
        .mime_type = "application/json",
    };
    bool made =
        kmy_facilitator_request(&b, k->row.version, k->json, k->row.json_bytes, &k->entry, &about);
    KMY_ASSERT(made); /* it was parsed, and a request has room for the largest */
    KMY_COUNT(c->metrics, facilitator_request_total, 1);
    return kmy_case_call(c, k,
                         &(kmy_call_t){ .url = url,
                                        .bearer = c->bearer,
                                        .body = b.data,
                                        .body_bytes = b.len,
                                        .once = once,
                                        .timeout_ms = k->net->rpc[0] ? KMY_CALL_SETTLE_MS
                                                                     : KMY_CALL_SETTLE_BLIND_MS },
                         then);
}

static void submit(kmy_cashier_t *c, kmy_case_t *k);

static void log_fault(const kmy_case_t *k, const kmy_call_answer_t *a,
                      const kmy_facilitator_answer_t *said)
{
    char why[KMY_LOG_TEXT_BYTES];
    kmy_log(KMY_LOG_WARN, "cashier", "payment %s: the facilitator gave no answer (status %d): %s",
            k->row.id, a->status,
            a->fault ? a->fault : kmy_log_text(said->reason, strlen(said->reason), why));
}

static void submitted(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    static const kmy_settle_event_kind_t kinds[] = {
        [KMY_FACILITATOR_UNKNOWN] = KMY_SETTLE_EV_SETTLE_LOST,
        [KMY_FACILITATOR_YES] = KMY_SETTLE_EV_SETTLE_YES,
        [KMY_FACILITATOR_NO] = KMY_SETTLE_EV_SETTLE_NO,
        [KMY_FACILITATOR_PENDING] = KMY_SETTLE_EV_SETTLE_PENDING,
    };
    kmy_facilitator_answer_t said;
    kmy_facilitator_read_settle(a->body, a->body_bytes, a->status, &k->entry, k->row.payer, &said);
    kmy_settle_event_t e = { .kind = kinds[said.word], .tx = said.tx, .reason = said.reason };
    if (said.word == KMY_FACILITATOR_YES && !said.tx[0])
        e.kind = KMY_SETTLE_EV_SETTLE_LOST; /* yes to what? */
    if (e.kind == KMY_SETTLE_EV_SETTLE_LOST) {
        KMY_COUNT(c->metrics, facilitator_failure_total, 1);
        log_fault(k, a, &said);
    }
    if (!a->sent && !c->draining && e.kind == KMY_SETTLE_EV_SETTLE_LOST &&
        k->entry.family == KMY_PAY_EVM &&
        k->row.valid_before_s - c->now_s >= KMY_PAY_SECONDS_LEFT_MIN) {
        kmy_case_later(c, k, submit, KMY_NS_PER_S); /* nobody has seen it: it is still the first */
        return;
    }
    kmy_pay_event(c, k, &e);
}

static void submit(kmy_cashier_t *c, kmy_case_t *k)
{
    if (k->net->settler) {
        kmy_settler_submit(c, k);
        return;
    }
    if (!k->net->taken) { /* of an earlier life that had a facilitator or key */
        happened(c, k, KMY_SETTLE_EV_SETTLE_NO);
        return;
    }
    kmy_ask_facilitator(c, k, c->settle_url, true, submitted);
}

/* --- an EVM chain ---------------------------------------------------------------------------------- */

typedef struct question {
    char text[KMY_RPC_REQUEST_BYTES_MAX];
    kmy_buf_t b;
} question_t;

static kmy_buf_t *begin(question_t *q)
{
    q->b = kmy_buf(q->text, sizeof q->text);
    return &q->b;
}

static void lost(kmy_cashier_t *c, kmy_case_t *k)
{
    KMY_COUNT(c->metrics, chain_failure_total, 1);
    happened(c, k, KMY_SETTLE_EV_CHAIN_LOST);
}

static void answered_balance(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    uint8_t units[KMY_EVM_WORD_BYTES];
    if (kmy_chain_evm_read_balance(a->body, a->body_bytes, k->ask_id, units) != KMY_RPC_FOUND) {
        KMY_COUNT(c->metrics, chain_failure_total, 1);
        happened(c, k, KMY_SETTLE_EV_VERIFY_LOST);
        return;
    }
    bool enough = memcmp(units, k->entry.amount_word, sizeof units) >= 0;
    kmy_pay_event(
        c, k,
        &(kmy_settle_event_t){ .kind = enough ? KMY_SETTLE_EV_VERIFY_YES : KMY_SETTLE_EV_VERIFY_NO,
                               .reason = "insufficient_funds" });
}

static void ask_balance(kmy_cashier_t *c, kmy_case_t *k)
{
    question_t q;
    kmy_chain_evm_balance(begin(&q), kmy_case_question(c, k), &k->entry, k->row.payer);
    kmy_case_ask(c, k, &q.b, answered_balance);
}

static void answered_authorization(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    bool used = false;
    if (kmy_chain_evm_read_authorization(a->body, a->body_bytes, k->ask_id, &used) !=
        KMY_RPC_FOUND) {
        lost(c, k);
        return;
    }
    kmy_pay_event(c, k,
                  &(kmy_settle_event_t){ .kind = KMY_SETTLE_EV_AUTHORIZATION,
                                         .used = used,
                                         .head = k->head.number,
                                         .time_s = k->head.time_s });
}

static void ask_authorization(kmy_cashier_t *c, kmy_case_t *k)
{
    question_t q;
    kmy_chain_evm_authorization(begin(&q), kmy_case_question(c, k), &k->entry, k->row.payer,
                                k->row.nonce, k->head.number);
    kmy_case_ask(c, k, &q.b, answered_authorization);
}

static void answered_receipt(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    kmy_evm_receipt_t receipt;
    kmy_evm_evidence_t found;
    kmy_settle_event_t e = { .kind = KMY_SETTLE_EV_RECEIPT_NONE };
    kmy_rpc_word_t word =
        kmy_chain_evm_read_receipt(a->body, a->body_bytes, k->ask_id, k->settle.tx, &receipt);
    if (word == KMY_RPC_FOUND) {
        kmy_chain_evm_evidence(&receipt, &k->entry, k->row.payer, k->row.nonce, &found);
        e.kind = found.paid ? KMY_SETTLE_EV_RECEIPT_PAID : KMY_SETTLE_EV_RECEIPT_OTHER;
        e.spent = found.used || found.cancelled;
        e.log_index = found.log_index;
        e.depth = kmy_settle_depth(k->head.number, receipt.block);
        e.head = k->head.number;
    } else if (word != KMY_RPC_NONE) {
        lost(c, k);
        return;
    }
    kmy_pay_event(c, k, &e);
}

static void ask_receipt(kmy_cashier_t *c, kmy_case_t *k)
{
    question_t q;
    kmy_chain_evm_receipt(begin(&q), kmy_case_question(c, k), k->settle.tx);
    kmy_case_ask(c, k, &q.b, answered_receipt);
}

static void answered_logs(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    kmy_evm_use_t use;
    kmy_settle_event_t e = { .kind = KMY_SETTLE_EV_LOGS_NONE, .tx = use.tx };
    kmy_rpc_word_t word = kmy_chain_evm_read_logs(a->body, a->body_bytes, k->ask_id, &k->entry,
                                                  k->row.payer, k->row.nonce, &use);
    if (word == KMY_RPC_FOUND) {
        e.kind = use.cancelled ? KMY_SETTLE_EV_LOGS_CANCELLED : KMY_SETTLE_EV_LOGS_USED;
        e.depth = kmy_settle_depth(k->head.number, use.block);
    } else if (word != KMY_RPC_NONE) {
        lost(c, k);
        return;
    } else {
        e.tx = NULL;
    }
    kmy_pay_event(c, k, &e);
}

static void ask_logs(kmy_cashier_t *c, kmy_case_t *k)
{
    question_t q;
    kmy_chain_evm_logs(begin(&q), kmy_case_question(c, k), &k->entry, k->row.payer, k->row.nonce,
                       k->action.from, k->action.to);
    kmy_case_ask(c, k, &q.b, answered_logs);
}

/* Where the chain is comes first: what is asked behind it is never older. */
static void answered_head(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    if (kmy_chain_evm_read_block(a->body, a->body_bytes, k->ask_id, &k->head) != KMY_RPC_FOUND)
        lost(c, k);
    else
        kmy_case_next(c, k,
                      k->action.kind == KMY_SETTLE_ASK_RECEIPT ? ask_receipt : ask_authorization);
}

static void ask_head(kmy_cashier_t *c, kmy_case_t *k)
{
    question_t q;
    kmy_chain_evm_block(begin(&q), kmy_case_question(c, k), KMY_EVM_LATEST);
    kmy_case_ask(c, k, &q.b, answered_head);
}

void kmy_ask(kmy_cashier_t *c, kmy_case_t *k)
{
    switch (k->action.kind) {
    case KMY_SETTLE_SUBMIT:
        kmy_case_next(c, k, submit);
        return;
    case KMY_SETTLE_ASK_VERIFY:
        kmy_case_next(c, k, ask_balance);
        return;
    default:
        break;
    }
    if (k->entry.family == KMY_PAY_SOLANA) {
        kmy_ask_solana(c, k);
        return;
    }
    switch (k->action.kind) {
    case KMY_SETTLE_ASK_LOGS:
        kmy_case_next(c, k, ask_logs);
        return;
    default:
        KMY_ASSERT(k->action.kind == KMY_SETTLE_ASK_AUTHORIZATION ||
                   k->action.kind == KMY_SETTLE_ASK_RECEIPT);
        kmy_case_next(c, k, ask_head);
    }
}
