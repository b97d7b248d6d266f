/* dollar 3/7   in: engine/cashier_pay   out: engine/cashier_pay, or a refusal

   Has its payer the money?  Anybody can sign for an empty wallet, as often as he likes, and what is written down stays in the ledger for good: so a payment that the ledger does not
   know yet is written down only when its chain says that there is something to take.  Nothing but reading happens here; of two who present the same one, the reservation decides.

   A chain that does not answer is asked again as long as somebody waits: nothing can be submitted without it anyway, and nothing is written for whom it cannot vouch. */
#include "engine/cashier_inside.h"

#include "pay/chain_solana.h"

#include <string.h>

#define AGAIN_NS KMY_NS_PER_S

static void ask_funds(kmy_cashier_t *c, kmy_case_t *k);
static void ask_use(kmy_cashier_t *c, kmy_case_t *k);

static void lost(kmy_cashier_t *c, kmy_case_t *k, kmy_case_step_t *step)
{
    KMY_COUNT(c->metrics, chain_failure_total, 1);
    kmy_case_later(c, k, step, AGAIN_NS);
}

static void judge(kmy_cashier_t *c, kmy_case_t *k, bool enough)
{
    k->funded = enough;
    if (enough)
        kmy_pay_reserve(c, k);
    else if (k->entry.family == KMY_PAY_EVM)
        kmy_case_next(c, k, ask_use);
    else
        kmy_end_refuse(c, k, KMY_UNPAID, "insufficient_funds", "the payer has less than that");
}

/* --- what the payer has ------------------------------------------------------------------------------ */

static void answered_balance(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    uint8_t units[KMY_EVM_WORD_BYTES];
    if (kmy_chain_evm_read_balance(a->body, a->body_bytes, k->ask_id, units) != KMY_RPC_FOUND)
        lost(c, k, ask_funds);
    else
        judge(c, k, memcmp(units, k->entry.amount_word, sizeof units) >= 0);
}

static void answered_holding(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    uint64_t units;
    if (kmy_chain_solana_read_holding(a->body, a->body_bytes, k->ask_id, k->row.payer,
                                      k->entry.solana.mint, &units) != KMY_RPC_FOUND)
        lost(c, k, ask_funds);
    else
        judge(c, k, units >= k->entry.amount_units);
}

static void ask_funds(kmy_cashier_t *c, kmy_case_t *k)
{
    char text[KMY_RPC_REQUEST_BYTES_MAX];
    kmy_buf_t q = kmy_buf(text, sizeof text);
    bool evm = k->entry.family == KMY_PAY_EVM;
    if (!kmy_cashier_waits(c, k)) { /* whoever brought it was told to come again */
        kmy_case_free(c, k);
        return;
    }
    if (evm)
        kmy_chain_evm_balance(&q, kmy_case_question(c, k), &k->entry, k->row.payer);
    else
        kmy_chain_solana_balance(&q, kmy_case_question(c, k), k->row.payer, k->entry.solana.mint);
    kmy_case_ask(c, k, &q, evm ? answered_balance : answered_holding);
}

/* --- gone, or gone to us? ---------------------------------------------------------------------------- */

/* Somebody else may have submitted it first: then its money is with us already, and pay/settle finds it. */
static void answered_use(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    bool used = false;
    if (kmy_chain_evm_read_authorization(a->body, a->body_bytes, k->ask_id, &used) != KMY_RPC_FOUND)
        lost(c, k, ask_use);
    else if (used)
        kmy_pay_reserve(c, k);
    else
        kmy_end_refuse(c, k, KMY_UNPAID, "insufficient_funds", "the payer has less than that");
}

static void ask_use(kmy_cashier_t *c, kmy_case_t *k)
{
    char text[KMY_RPC_REQUEST_BYTES_MAX];
    kmy_buf_t q = kmy_buf(text, sizeof text);
    if (!kmy_cashier_waits(c, k)) {
        kmy_case_free(c, k);
        return;
    }
    kmy_chain_evm_authorization(&q, kmy_case_question(c, k), &k->entry, k->row.payer, k->row.nonce,
                                KMY_EVM_LATEST);
    kmy_case_ask(c, k, &q, answered_use);
}

void kmy_funds_begin(kmy_cashier_t *c, kmy_case_t *k)
{
    kmy_case_next(c, k, ask_funds);
}
