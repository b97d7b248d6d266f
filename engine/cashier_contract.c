/* dollar 3/7   in: engine/cashier_verify   out: engine/cashier_pay

   A contract wallet's signature, which only its chain can judge (EIP-1271), or a facilitator (EIP-6492, or where no node is configured).  Before it is
   reserved: or anybody could occupy the payments of a wallet that is not his. */
#include "engine/cashier_inside.h"

#include <string.h>

#define AGAIN_NS KMY_NS_PER_S

static void ask_signature(kmy_cashier_t *c, kmy_case_t *k);
static void ask_code(kmy_cashier_t *c, kmy_case_t *k);

static void refuse(kmy_cashier_t *c, kmy_case_t *k, const char *detail)
{
    kmy_end_refuse(c, k, KMY_UNPAID, kmy_pay_reason(KMY_PAY_EVM_SIGNATURE), detail);
}

/* Good.  It may have been presented twice at once: the first one goes on, with all who wait. */
static void good(kmy_cashier_t *c, kmy_case_t *k)
{
    kmy_case_t *other = k->known_only ? NULL : kmy_case_of(c, k->row.id);
    if (!other) {
        kmy_pay_begin(c, k);
        return;
    }
    for (uint32_t i = 0; i < c->waits_count;) {
        kmy_wait_t w = c->waits[i];
        if (w.case_idx != (uint32_t)(k - c->cases)) {
            i++;
            continue;
        }
        c->waits[i] = c->waits[--c->waits_count];
        kmy_cashier_attach(c, other, w.shard, w.slip);
    }
    kmy_case_free(c, k);
    kmy_pay_again(c, other);
}

/* No answer: again, as long as somebody waits for it. */
static void lost(kmy_cashier_t *c, kmy_case_t *k, kmy_case_step_t *step)
{
    KMY_COUNT(c->metrics, chain_failure_total, 1);
    if (kmy_cashier_waits(c, k))
        kmy_case_later(c, k, step, AGAIN_NS);
    else
        kmy_case_free(c, k);
}

/* --- by the facilitator ---------------------------------------------------------------------------- */

static void verified(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    kmy_facilitator_answer_t said;
    kmy_facilitator_read_verify(a->body, a->body_bytes, a->status, &k->entry, k->row.payer, &said);
    if (said.word == KMY_FACILITATOR_YES) {
        good(c, k);
    } else if (said.word == KMY_FACILITATOR_NO) {
        kmy_end_refuse(c, k, KMY_UNPAID,
                       said.reason[0] ? said.reason : kmy_pay_reason(KMY_PAY_EVM_SIGNATURE),
                       "the facilitator does not accept this wallet's signature");
    } else {
        KMY_COUNT(c->metrics, facilitator_failure_total, 1);
        kmy_end_refuse(c, k, KMY_UNAVAILABLE, "",
                       "this wallet's signature cannot be checked now: send it again in a moment");
    }
}

static void ask_facilitator(kmy_cashier_t *c, kmy_case_t *k)
{
    if (k->net->settler) { /* we do not deploy it */
        refuse(c, k,
               "this wallet is not deployed yet: deploy it, then pay (EIP-6492 is not taken here)");
        return;
    }
    kmy_ask_facilitator(c, k, c->verify_url, false, verified);
}

/* --- by the chain ---------------------------------------------------------------------------------- */

static void answered_signature(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    bool valid = false;
    kmy_rpc_word_t word = kmy_chain_evm_read_signature(a->body, a->body_bytes, k->ask_id, &valid);
    if (word == KMY_RPC_FOUND && valid)
        good(c, k);
    else if (word == KMY_RPC_LOST)
        lost(c, k, ask_signature);
    else
        refuse(c, k, "the wallet does not call this signature its own");
}

static void ask_signature(kmy_cashier_t *c, kmy_case_t *k)
{
    char text[KMY_RPC_REQUEST_BYTES_MAX];
    kmy_buf_t q = kmy_buf(text, sizeof text);
    if (kmy_chain_evm_signature(&q, kmy_case_question(c, k), k->row.payer, k->digest,
                                k->json + k->signature_at, k->signature_bytes))
        kmy_case_ask(c, k, &q, answered_signature);
    else /* of a wallet that is not deployed yet */
        kmy_case_next(c, k, ask_facilitator);
}

static void answered_code(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    bool code = false;
    if (kmy_chain_evm_read_code(a->body, a->body_bytes, k->ask_id, &code) != KMY_RPC_FOUND)
        lost(c, k, ask_code);
    else if (!code)
        refuse(c, k, "the signature is not that of \"from\"");
    else
        kmy_case_next(c, k, ask_signature);
}

/* 65 bytes that are not its key's: right only for a contract. */
static void ask_code(kmy_cashier_t *c, kmy_case_t *k)
{
    char text[KMY_RPC_REQUEST_BYTES_MAX];
    kmy_buf_t q = kmy_buf(text, sizeof text);
    kmy_chain_evm_code(&q, kmy_case_question(c, k), k->row.payer);
    kmy_case_ask(c, k, &q, answered_code);
}

void kmy_contract_begin(kmy_cashier_t *c, kmy_case_t *k)
{
    bool short_one = k->signature_bytes == 2 + 2 * KMY_EVM_SIGNATURE_BYTES;
    kmy_case_next(c, k, !k->net->rpc[0] ? ask_facilitator : short_one ? ask_code : ask_signature);
}
