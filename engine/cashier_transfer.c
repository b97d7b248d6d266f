/* dollar 7/7   in: engine/slips (shard)   out: chains, engine/keeper

   A transfer that its sender made without us: the receipt is the evidence, and only its sender may claim it. */
#include "engine/cashier_inside.h"

#include "pay/payment_id.h"
#include "wire/hex.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define AGAIN_NS KMY_NS_PER_S

static void ask_head(kmy_cashier_t *c, kmy_case_t *k);
static void ask_code(kmy_cashier_t *c, kmy_case_t *k);
static void credit(kmy_cashier_t *c, kmy_case_t *k);

static kmy_slip_t *slip_of(kmy_cashier_t *c, const kmy_case_t *k)
{
    return kmy_cashier_slip(c, k->transfer_shard, k->transfer_slip);
}

static void refuse(kmy_cashier_t *c, kmy_case_t *k, kmy_err_t err, const char *detail)
{
    kmy_end_refuse(c, k, err, "", detail);
}

static void fill_pending(kmy_cashier_t *c, kmy_case_t *k, kmy_slip_t *s)
{
    (void)c;
    (void)k;
    s->result = KMY_SLIP_PENDING;
    snprintf(s->detail, sizeof s->detail, "the chain has not confirmed it yet: ask again");
}

static void pending(kmy_cashier_t *c, kmy_case_t *k)
{
    kmy_cashier_answer_case(c, k, fill_pending);
    kmy_case_free(c, k);
}

/* --- the keeper ---------------------------------------------------------------------------------- */

static void fill_done(kmy_cashier_t *c, kmy_case_t *k, kmy_slip_t *s)
{
    (void)c;
    s->result = KMY_SLIP_DONE;
    snprintf(s->account, sizeof s->account, "%s", k->account.name);
    snprintf(s->network, sizeof s->network, "%s", k->entry.chain);
    snprintf(s->state, sizeof s->state, "settled");
    kmy_evm_address_text(k->transfers[0].sender, s->payer);
    s->credited_nusd = k->credited_nusd;
    s->balance_nusd = k->account.balance_nusd;
}

static void credited(kmy_cashier_t *c, kmy_case_t *k, kmy_job_t *job)
{
    const kmy_evm_transfer_t *t = &k->transfers[k->transfers_done];
    if (job->err == KMY_IO) {
        kmy_case_later(c, k, credit, KMY_DISK_MS * KMY_NS_PER_MS);
        return;
    }
    if (job->err != KMY_OK && job->err != KMY_DUPLICATE) {
        refuse(c, k, (kmy_err_t)job->err, job->detail);
        return;
    }
    if (job->err == KMY_OK) {
        KMY_COUNT(c->metrics, transfer_credited_total, 1);
        kmy_log(KMY_LOG_INFO, "cashier", "transfer %s of %s, log %u: credited to %s",
                job->transfer.tx, job->transfer.chain, job->transfer.log_index, job->account.name);
    }
    k->account = job->account;
    k->credited_nusd += (int64_t)t->units * 1000; /* a repetition gets the same answer */
    if (++k->transfers_done < k->transfers_count) {
        kmy_case_next(c, k, credit);
        return;
    }
    kmy_cashier_answer_case(c, k, fill_done);
    kmy_case_free(c, k);
}

static void credit(kmy_cashier_t *c, kmy_case_t *k)
{
    const kmy_evm_transfer_t *t = &k->transfers[k->transfers_done];
    kmy_job_t *job = kmy_case_job(c, k, KMY_JOB_TRANSFER, false);
    if (!job)
        return;
    kmy_transfer_t *out = &job->transfer;
    char sender[2 * KMY_EVM_ADDRESS_BYTES + 1];
    kmy_hex_encode(t->sender, sizeof t->sender, sender);
    memset(&job->row, 0, sizeof job->row);
    snprintf(out->chain, sizeof out->chain, "%s", k->entry.chain);
    snprintf(out->asset, sizeof out->asset, "%s", k->entry.asset);
    snprintf(out->tx, sizeof out->tx, "%s", k->row.tx);
    snprintf(out->account, sizeof out->account, "eip155:%" PRIu64 ":0x%s", k->entry.chain_id,
             sender);
    out->log_index = t->log_index;
    out->contract = k->contract;
    out->amount_units = t->units;
    if (t->authorized)
        kmy_payment_id(&k->entry, t->sender, t->nonce, job->row.id);
    kmy_case_send(c, k, job, credited);
}

/* --- the chain ------------------------------------------------------------------------------------ */

static void lost(kmy_cashier_t *c, kmy_case_t *k, kmy_case_step_t *step)
{
    KMY_COUNT(c->metrics, chain_failure_total, 1);
    if (kmy_cashier_waits(c, k))
        kmy_case_later(c, k, step, AGAIN_NS);
    else
        kmy_case_free(c, k);
}

/* Did that account send it? */
static bool is_senders(const kmy_case_t *k, const kmy_evm_transfer_t *t, const char *account,
                       bool contract)
{
    char sender[2 * KMY_EVM_ADDRESS_BYTES + 1];
    char payer[KMY_ACCOUNT_BYTES_MAX];
    kmy_hex_encode(t->sender, sizeof t->sender, sender);
    snprintf(payer, sizeof payer, "eip155:%" PRIu64 ":0x%s", k->entry.chain_id, sender);
    return kmy_payer_has(account, payer, contract);
}

/* Is it the sender's own? */
static bool may_claim(const kmy_case_t *k, const char *account)
{
    return !account[0] || is_senders(k, &k->transfers[0], account, k->contract);
}

static void answered_code(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    if (kmy_chain_evm_read_code(a->body, a->body_bytes, k->ask_id, &k->contract) != KMY_RPC_FOUND) {
        lost(c, k, ask_code);
        return;
    }
    if (!kmy_cashier_waits(c, k)) {
        kmy_case_free(c, k); /* whoever asked gets it when he asks again */
        return;
    }
    if (may_claim(k, slip_of(c, k)->account))
        kmy_case_next(c, k, credit);
    else
        refuse(c, k, KMY_FORBIDDEN, "this transfer was made by another address");
}

static void ask_code(kmy_cashier_t *c, kmy_case_t *k)
{
    char text[KMY_RPC_REQUEST_BYTES_MAX];
    kmy_buf_t q = kmy_buf(text, sizeof text);
    kmy_chain_evm_code(&q, kmy_case_question(c, k), k->transfers[0].sender);
    kmy_case_ask(c, k, &q, answered_code);
}

/* Of one sender only: who asks, or else the first one.  Whoever bundles what many have signed puts them all into one transaction. */
static void keep_senders(kmy_cashier_t *c, kmy_case_t *k, size_t count)
{
    const char *account = kmy_cashier_waits(c, k) ? slip_of(c, k)->account : "";
    uint8_t sender[KMY_EVM_ADDRESS_BYTES];
    size_t at = 0;
    while (at < count && !is_senders(k, &k->transfers[at], account, false))
        at++;
    memcpy(sender, k->transfers[at < count ? at : 0].sender, sizeof sender);
    k->transfers_count = 0;
    for (size_t i = 0; i < count; i++) {
        const kmy_evm_transfer_t *t = &k->transfers[i];
        if (memcmp(t->sender, sender, sizeof sender) == 0 && t->units <= INT64_MAX / 1000)
            k->transfers[k->transfers_count++] = *t;
    }
}

static void answered_receipt(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    kmy_evm_receipt_t receipt;
    kmy_rpc_word_t word =
        kmy_chain_evm_read_receipt(a->body, a->body_bytes, k->ask_id, k->row.tx, &receipt);
    if (word != KMY_RPC_FOUND && word != KMY_RPC_NONE) {
        lost(c, k, ask_head);
        return;
    }
    if (word == KMY_RPC_NONE ||
        kmy_settle_depth(k->head.number, receipt.block) < k->net->confirmations) {
        pending(c, k);
        return;
    }
    keep_senders(c, k, kmy_chain_evm_transfers(&receipt, &k->entry, k->transfers));
    if (k->transfers_count == 0)
        refuse(c, k, KMY_NOT_FOUND, "this transaction moved nothing to us");
    else
        kmy_case_next(c, k, ask_code);
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
        lost(c, k, ask_head);
}

static void ask_head(kmy_cashier_t *c, kmy_case_t *k)
{
    char text[KMY_RPC_REQUEST_BYTES_MAX];
    kmy_buf_t q = kmy_buf(text, sizeof text);
    kmy_chain_evm_block(&q, kmy_case_question(c, k), KMY_EVM_LATEST);
    kmy_case_ask(c, k, &q, answered_head);
}

/* --- the slip ------------------------------------------------------------------------------------- */

void kmy_cashier_transfer(kmy_cashier_t *c, uint32_t shard, uint32_t slip)
{
    const kmy_slip_t *s = kmy_cashier_slip(c, shard, slip);
    const kmy_cashier_network_t *net = kmy_cashier_network(c, s->network);
    const char *why = NULL;
    kmy_err_t err = KMY_UNSUPPORTED;
    if (c->draining) {
        err = KMY_UNAVAILABLE;
        why = "restarting: send it again in a moment";
    } else if (!net || !net->rpc[0] || net->way.entry.family != KMY_PAY_EVM) {
        why = "transfers cannot be looked up on this network";
    } else if (!kmy_facilitator_is_tx(&net->way.entry, s->tx, strlen(s->tx))) {
        err = KMY_BAD_INPUT;
        why = "a transaction is named by 0x and 64 hex digits";
    }
    kmy_case_t *k = why ? NULL : kmy_case_take(c, KMY_CASE_TRANSFER);
    if (!k) {
        kmy_cashier_refuse(c, shard, slip, why ? err : KMY_UNAVAILABLE, "",
                           why ? why : "too much is under way; try again in a moment");
        return;
    }
    k->net = net;
    k->entry = net->way.entry;
    k->transfer_shard = shard;
    k->transfer_slip = slip;
    snprintf(k->row.tx, sizeof k->row.tx, "%s", s->tx);
    snprintf(k->row.chain, sizeof k->row.chain, "%s", k->entry.chain);
    kmy_cashier_attach(c, k, shard, slip);
    kmy_case_next(c, k, ask_head);
}
