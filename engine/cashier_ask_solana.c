/* dollar 7/7 (Solana)   in: engine/cashier_pay (pay/settle)   out: Solana, and back

   The same questions as cashier_ask.c has for EVM chains.  A transaction's name is its fee payer's signature, which nobody knows before it is submitted; what is known is the
   message, so a lost one is looked for among the payer's own transactions. */
#include "engine/cashier_inside.h"

#include "pay/chain_solana.h"

#include <stdlib.h>
#include <string.h>

enum {
    LOOKED_AT_MAX = 20, /* of the payer's transactions in one round, newest first */
    CLOCKS_S = 300,     /* what our clock and the chain's may differ, and the time to sign */
};

/* Transactions that may carry the message. */
struct kmy_case_candidates {
    uint32_t count, at;
    char tx[LOOKED_AT_MAX][KMY_SOLANA_TX_TEXT_BYTES];
};

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
    kmy_pay_event(c, k, &(kmy_settle_event_t){ .kind = KMY_SETTLE_EV_CHAIN_LOST });
}

/* --- a transaction that was named ----------------------------------------------------------------- */

static void answered_transaction(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    kmy_solana_transaction_t t;
    kmy_solana_evidence_t found;
    kmy_settle_event_t e = { .kind = KMY_SETTLE_EV_RECEIPT_NONE, .head = k->head.number };
    kmy_rpc_word_t word =
        kmy_chain_solana_read_transaction(a->body, a->body_bytes, k->ask_id, k->settle.tx, &t);
    if (word == KMY_RPC_FOUND) {
        kmy_chain_solana_evidence(&t, &k->entry, k->row.payer, k->row.nonce, &found);
        e.kind = found.paid ? KMY_SETTLE_EV_RECEIPT_PAID : KMY_SETTLE_EV_RECEIPT_OTHER;
        e.spent = found.spent;
        e.depth = k->depth;
    } else if (word != KMY_RPC_NONE) {
        lost(c, k);
        return;
    }
    kmy_pay_event(c, k, &e);
}

static void ask_transaction(kmy_cashier_t *c, kmy_case_t *k)
{
    question_t q;
    kmy_chain_solana_transaction(begin(&q), kmy_case_question(c, k), k->settle.tx,
                                 KMY_SOLANA_CONFIRMED);
    kmy_case_ask(c, k, &q.b, answered_transaction);
}

static void answered_status(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    kmy_solana_status_t status;
    kmy_rpc_word_t word = kmy_chain_solana_read_status(a->body, a->body_bytes, k->ask_id, &status);
    if (word == KMY_RPC_FOUND) {
        k->depth = status.depth;
        kmy_case_next(c, k, ask_transaction);
    } else if (word == KMY_RPC_NONE) {
        kmy_pay_event(c, k, &(kmy_settle_event_t){ .kind = KMY_SETTLE_EV_RECEIPT_NONE });
    } else {
        lost(c, k);
    }
}

static void ask_status(kmy_cashier_t *c, kmy_case_t *k)
{
    question_t q;
    kmy_chain_solana_status(begin(&q), kmy_case_question(c, k), k->settle.tx);
    kmy_case_ask(c, k, &q.b, answered_status);
}

/* --- one that nobody named --------------------------------------------------------------------------- */

static void try_next(kmy_cashier_t *c, kmy_case_t *k);

static void answered_candidate(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    kmy_solana_transaction_t t;
    const char *tx = k->candidates->tx[k->candidates->at];
    kmy_rpc_word_t word =
        kmy_chain_solana_read_transaction(a->body, a->body_bytes, k->ask_id, tx, &t);
    if (word != KMY_RPC_FOUND && word != KMY_RPC_NONE) {
        lost(c, k);
        return;
    }
    if (word == KMY_RPC_FOUND && memcmp(t.message_hash, k->row.nonce, sizeof t.message_hash) == 0) {
        kmy_pay_event(c, k, &(kmy_settle_event_t){ .kind = KMY_SETTLE_EV_LOGS_USED, .tx = tx });
        return;
    }
    k->candidates->at++;
    kmy_case_next(c, k, try_next);
}

static void try_next(kmy_cashier_t *c, kmy_case_t *k)
{
    question_t q;
    if (k->candidates->at >= k->candidates->count) {
        kmy_pay_event(c, k, &(kmy_settle_event_t){ .kind = KMY_SETTLE_EV_LOGS_NONE });
        return;
    }
    kmy_chain_solana_transaction(begin(&q), kmy_case_question(c, k),
                                 k->candidates->tx[k->candidates->at], KMY_SOLANA_CONFIRMED);
    kmy_case_ask(c, k, &q.b, answered_candidate);
}

static void answered_signatures(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    static _Thread_local kmy_solana_signature_t all[KMY_SOLANA_SIGNATURES_MAX];
    size_t count = 0;
    kmy_rpc_word_t word =
        kmy_chain_solana_read_signatures(a->body, a->body_bytes, k->ask_id, all, &count);
    if (!k->candidates)
        k->candidates = calloc(1, sizeof *k->candidates);
    if (!k->candidates || (word != KMY_RPC_FOUND && word != KMY_RPC_NONE)) {
        lost(c, k);
        return;
    }
    int64_t since_s = k->row.created_ns / KMY_NS_PER_S - CLOCKS_S;
    k->candidates->count = k->candidates->at = 0;
    for (size_t i = 0; i < count && k->candidates->count < LOOKED_AT_MAX; i++) {
        if (!all[i].failed && (all[i].time_s == 0 || all[i].time_s >= since_s))
            memcpy(k->candidates->tx[k->candidates->count++], all[i].tx, sizeof all[i].tx);
    }
    kmy_case_next(c, k, try_next);
}

static void ask_signatures(kmy_cashier_t *c, kmy_case_t *k)
{
    question_t q;
    kmy_chain_solana_signatures(begin(&q), kmy_case_question(c, k), k->row.payer, NULL);
    kmy_case_ask(c, k, &q.b, answered_signatures);
}

/* --- */

static void answered_height(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    if (kmy_chain_solana_read_number(a->body, a->body_bytes, k->ask_id, &k->head.number) !=
        KMY_RPC_FOUND)
        lost(c, k);
    else if (k->action.kind == KMY_SETTLE_ASK_RECEIPT)
        kmy_case_next(c, k, ask_status);
    else
        kmy_pay_event(
            c, k,
            &(kmy_settle_event_t){ .kind = KMY_SETTLE_EV_AUTHORIZATION, .head = k->head.number });
}

static void ask_height(kmy_cashier_t *c, kmy_case_t *k)
{
    question_t q;
    kmy_chain_solana_height(begin(&q), kmy_case_question(c, k), KMY_SOLANA_FINALIZED);
    kmy_case_ask(c, k, &q.b, answered_height);
}

void kmy_ask_solana(kmy_cashier_t *c, kmy_case_t *k)
{
    kmy_case_next(c, k, k->action.kind == KMY_SETTLE_ASK_LOGS ? ask_signatures : ask_height);
}
