/* dollar 7/7   in: engine/slips (shard)   out: chains, engine/keeper

   A transfer that its sender made without us: the receipt (Solana: the token balances) is the evidence, and only its sender may claim it. */
#include "engine/cashier_inside.h"

#include "pay/chain_solana.h"
#include "pay/payment_id.h"
#include "wire/base58.h"
#include "wire/hex.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define AGAIN_NS KMY_NS_PER_S

static void ask_head(kmy_cashier_t *c, kmy_case_t *k);
static void ask_status(kmy_cashier_t *c, kmy_case_t *k);
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

/* The sender's address as its chain writes it, and as CAIP-10; Solana has one of a transaction. */
static void put_sender(const kmy_case_t *k, const kmy_evm_transfer_t *t, char address[48],
                       char account[KMY_ACCOUNT_BYTES_MAX])
{
    char text[KMY_BASE58_KEY_BYTES_MAX];
    char hex[2 * KMY_EVM_ADDRESS_BYTES + 1];
    if (k->entry.family == KMY_PAY_SOLANA) {
        kmy_base58_encode(k->row.payer, KMY_SOLANA_KEY_BYTES, text);
        snprintf(address, 48, "%s", text);
        snprintf(account, KMY_ACCOUNT_BYTES_MAX, "%s:%s", k->entry.chain, text);
        return;
    }
    kmy_hex_encode(t->sender, sizeof t->sender, hex);
    kmy_evm_address_text(t->sender, address);
    snprintf(account, KMY_ACCOUNT_BYTES_MAX, "eip155:%" PRIu64 ":0x%s", k->entry.chain_id, hex);
}

/* --- the keeper ---------------------------------------------------------------------------------- */

static void fill_done(kmy_cashier_t *c, kmy_case_t *k, kmy_slip_t *s)
{
    char account[KMY_ACCOUNT_BYTES_MAX];
    (void)c;
    s->result = KMY_SLIP_DONE;
    snprintf(s->account, sizeof s->account, "%s", k->account.name);
    snprintf(s->network, sizeof s->network, "%s", k->entry.chain);
    snprintf(s->state, sizeof s->state, "settled");
    put_sender(k, &k->transfers[0], s->payer, account);
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
    char address[48];
    memset(&job->row, 0, sizeof job->row);
    snprintf(out->chain, sizeof out->chain, "%s", k->entry.chain);
    snprintf(out->asset, sizeof out->asset, "%s", k->entry.asset);
    snprintf(out->tx, sizeof out->tx, "%s", k->row.tx);
    put_sender(k, t, address, out->account);
    out->log_index = t->log_index;
    out->contract = k->contract;
    out->amount_units = t->units;
    if (k->entry.family == KMY_PAY_SOLANA) /* its message names it, whoever submitted it */
        kmy_payment_id(&k->entry, k->row.payer, k->row.nonce, job->row.id);
    else if (t->authorized)
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
    char address[48];
    char payer[KMY_ACCOUNT_BYTES_MAX];
    put_sender(k, t, address, payer);
    return kmy_payer_has(account, payer, contract);
}

/* Is it the sender's own? */
static bool may_claim(const kmy_case_t *k, const char *account)
{
    return !account[0] || is_senders(k, &k->transfers[0], account, k->contract);
}

/* What it brought is known, and from whom. */
static void claim(kmy_cashier_t *c, kmy_case_t *k)
{
    if (!kmy_cashier_waits(c, k))
        kmy_case_free(c, k); /* whoever asked gets it when he asks again */
    else if (may_claim(k, slip_of(c, k)->account))
        kmy_case_next(c, k, credit);
    else
        refuse(c, k, KMY_FORBIDDEN, "this transfer was made by another address");
}

static void answered_code(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    if (kmy_chain_evm_read_code(a->body, a->body_bytes, k->ask_id, &k->contract) != KMY_RPC_FOUND) {
        lost(c, k, ask_code);
        return;
    }
    claim(c, k);
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

/* --- Solana ----------------------------------------------------------------------------------------- */

static void answered_transaction(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    kmy_solana_transaction_t t;
    kmy_solana_received_t r;
    kmy_rpc_word_t word =
        kmy_chain_solana_read_transaction(a->body, a->body_bytes, k->ask_id, k->row.tx, &t);
    if (word == KMY_RPC_NONE) {
        pending(c, k);
    } else if (word != KMY_RPC_FOUND) {
        lost(c, k, ask_status);
    } else if (!kmy_chain_solana_received(&t, &k->entry, &r) || r.units > INT64_MAX / 1000) {
        refuse(c, k, KMY_NOT_FOUND, "this transaction moved nothing to us, or not of one wallet");
    } else {
        memcpy(k->row.payer, r.sender, sizeof k->row.payer);
        memcpy(k->row.nonce, t.message_hash, sizeof k->row.nonce);
        k->transfers[0].units = r.units; /* log index 0: one figure of the whole transaction */
        k->transfers_count = 1;
        claim(c, k);
    }
}

static void ask_transaction(kmy_cashier_t *c, kmy_case_t *k)
{
    char text[KMY_RPC_REQUEST_BYTES_MAX];
    kmy_buf_t q = kmy_buf(text, sizeof text);
    kmy_chain_solana_transaction(&q, kmy_case_question(c, k), k->row.tx, KMY_SOLANA_CONFIRMED);
    kmy_case_ask(c, k, &q, answered_transaction);
}

static void answered_status(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    kmy_solana_status_t status;
    kmy_rpc_word_t word = kmy_chain_solana_read_status(a->body, a->body_bytes, k->ask_id, &status);
    if (word != KMY_RPC_FOUND && word != KMY_RPC_NONE)
        lost(c, k, ask_status);
    else if (word == KMY_RPC_NONE || status.depth < k->net->confirmations)
        pending(c, k);
    else
        kmy_case_next(c, k, ask_transaction);
}

static void ask_status(kmy_cashier_t *c, kmy_case_t *k)
{
    char text[KMY_RPC_REQUEST_BYTES_MAX];
    kmy_buf_t q = kmy_buf(text, sizeof text);
    kmy_chain_solana_status(&q, kmy_case_question(c, k), k->row.tx);
    kmy_case_ask(c, k, &q, answered_status);
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
    } else if (!net || !net->rpc[0]) {
        why = "transfers cannot be looked up on this network";
    } else if (!kmy_facilitator_is_tx(&net->way.entry, s->tx, strlen(s->tx))) {
        err = KMY_BAD_INPUT;
        why = net->way.entry.family == KMY_PAY_EVM
                  ? "a transaction is named by 0x and 64 hex digits"
                  : "a transaction is named by its first signature, 64 bytes in base58";
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
    kmy_case_next(c, k, k->entry.family == KMY_PAY_EVM ? ask_head : ask_status);
}
