/* dollar 7/7 (EVM)   in: engine/cashier_end   out: chains, engine/keeper

   A settled payment is looked at until enough blocks stand on it: a reorganization may take it back, and what was credited goes with it.  Two looks in a row must say so, since nodes
   behind one address differ by some blocks. */
#include "engine/cashier_inside.h"

#include <string.h>

enum { DEEP_BLOCKS = 64 /* two epochs of Ethereum: final there; of Base two minutes */ };

static void ask_head(kmy_cashier_t *c, kmy_case_t *k);

static void later(kmy_cashier_t *c, kmy_case_t *k)
{
    if (c->draining)
        kmy_case_free(c, k); /* the next life does not watch it */
    else
        kmy_case_later(c, k, ask_head, c->o.watch_ns);
}

static void reversed(kmy_cashier_t *c, kmy_case_t *k, kmy_job_t *job)
{
    if (job->err == KMY_IO) {
        later(c, k);
        return;
    }
    if (job->err == KMY_OK) {
        KMY_COUNT(c->metrics, payment_reversed_total, 1);
        kmy_log(KMY_LOG_ERROR, "cashier",
                "payment %s: reversed, its chain took transaction %s back", k->row.id, k->row.tx);
    }
    kmy_case_free(c, k);
}

static void reverse(kmy_cashier_t *c, kmy_case_t *k)
{
    kmy_job_t *job = kmy_case_job(c, k, KMY_JOB_REVERSE, false);
    if (job)
        kmy_case_send(c, k, job, reversed);
}

static void answered_authorization(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    bool used = true;
    if (kmy_chain_evm_read_authorization(a->body, a->body_bytes, k->ask_id, &used) !=
            KMY_RPC_FOUND ||
        used) { /* no answer; or it stands elsewhere in the chain, and the money is ours all the same */
        k->gone_count = 0;
        later(c, k);
    } else if (++k->gone_count < 2) {
        later(c, k);
    } else {
        kmy_case_next(c, k, reverse);
    }
}

static void ask_authorization(kmy_cashier_t *c, kmy_case_t *k)
{
    char text[KMY_RPC_REQUEST_BYTES_MAX];
    kmy_buf_t q = kmy_buf(text, sizeof text);
    kmy_chain_evm_authorization(&q, kmy_case_question(c, k), &k->entry, k->row.payer, k->row.nonce,
                                KMY_EVM_LATEST);
    kmy_case_ask(c, k, &q, answered_authorization);
}

static void answered_receipt(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    kmy_evm_receipt_t receipt;
    kmy_rpc_word_t word =
        kmy_chain_evm_read_receipt(a->body, a->body_bytes, k->ask_id, k->row.tx, &receipt);
    if (word == KMY_RPC_NONE) {
        kmy_case_next(c, k, ask_authorization);
        return;
    }
    if (word == KMY_RPC_FOUND)
        k->gone_count = 0;
    if (word == KMY_RPC_FOUND && kmy_settle_depth(k->head.number, receipt.block) > DEEP_BLOCKS)
        kmy_case_free(c, k);
    else
        later(c, k);
}

static void ask_receipt(kmy_cashier_t *c, kmy_case_t *k)
{
    char text[KMY_RPC_REQUEST_BYTES_MAX];
    kmy_buf_t q = kmy_buf(text, sizeof text);
    kmy_chain_evm_receipt(&q, kmy_case_question(c, k), k->row.tx);
    kmy_case_ask(c, k, &q, answered_receipt);
}

static void answered_head(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    if (kmy_chain_evm_read_block(a->body, a->body_bytes, k->ask_id, &k->head) == KMY_RPC_FOUND)
        kmy_case_next(c, k, ask_receipt);
    else
        later(c, k);
}

static void ask_head(kmy_cashier_t *c, kmy_case_t *k)
{
    char text[KMY_RPC_REQUEST_BYTES_MAX];
    kmy_buf_t q = kmy_buf(text, sizeof text);
    if (c->draining) {
        kmy_case_free(c, k);
        return;
    }
    kmy_chain_evm_block(&q, kmy_case_question(c, k), KMY_EVM_LATEST);
    kmy_case_ask(c, k, &q, answered_head);
}

void kmy_watch_begin(kmy_cashier_t *c, kmy_case_t *k)
{
    if (k->entry.family != KMY_PAY_EVM || !k->net->rpc[0] || k->net->confirmations > DEEP_BLOCKS) {
        kmy_case_free(c, k);
        return;
    }
    kmy_case_leave(c, k); /* who presents it again asks the ledger */
    k->kind = KMY_CASE_WATCH;
    c->watched_count++;
    k->gone_count = 0;
    later(c, k);
}

static bool is_watched(const kmy_cashier_t *c, const char *payment_id)
{
    for (uint32_t i = 0; i < KMY_CASES && c->watched_count > 0; i++) {
        if (c->cases[i].kind == KMY_CASE_WATCH && strcmp(c->cases[i].row.id, payment_id) == 0)
            return true;
    }
    return false;
}

void kmy_watch_resume(kmy_cashier_t *c, const kmy_cashier_network_t *net,
                      const kmy_payment_row_t *row)
{
    static const uint8_t none[sizeof row->payer];
    if (memcmp(row->payer, none, sizeof none) == 0 || is_watched(c, row->id))
        return; /* made from a transfer: its authorization is not known, so nothing proves that it is gone */
    kmy_case_t *k = kmy_case_take(c, KMY_CASE_PAYMENT);
    if (!k)
        return;
    k->row = *row;
    k->net = net;
    k->entry = net->way.entry;
    kmy_pay_entry_price(&k->entry, row->amount_units);
    kmy_watch_begin(c, k);
}
