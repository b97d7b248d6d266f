/* dollar 7/7 (EVM)   in: engine/cashier_ask (pay/settle)   out: chains, and back

   Settlement by a key of our own, where a network is not left to a facilitator: a payment's call is tried on the node for nothing (eth_estimateGas), signed with the next
   nonce of our account, sent, and waited for until that nonce is in a block.  What became of the payment is then asked of the chain like any other.

   Beside the payments one case per network goes round for as long as we live (the round): what gas costs, what the account has, how far its nonces are mined, and what must
   be sent again.  Which that is: pay/settler.  Nothing here is kept: a payment is `submitted` in the ledger before this file hears of it. */
#include "engine/cashier_inside.h"

#include "pay/evm_call.h"
#include "wire/hex.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROUND_MS =
        400, /* while something is under way: blocks of Base come every 2 s, of others faster */
    ROUND_SOON_MS = 100,    /* behind one that was sent: some chains are that fast */
    ROUND_IDLE_MS = 10000,  /* and else: what it costs and what is left stays known */
    ROUND_CLOSED_MS = 1000, /* until it is open again */
    PRICES_MS = 4000, /* base fee, tip and coin are asked so often, and always where it is closed */
    WRONG_MS = 30000, /* a node of another chain may be put right */
    LOST_MS = 1000,
    POLL_MS = 20, /* of a table of ours, not of the node */
};
#define TIP_WEI UINT64_C(100000000) /* 0.1 gwei, where a node has no opinion */

typedef struct question {
    char text[KMY_RPC_REQUEST_BYTES_MAX];
    kmy_buf_t b;
} question_t;

static kmy_buf_t *begin(question_t *q)
{
    q->b = kmy_buf(q->text, sizeof q->text);
    return &q->b;
}

static kmy_settler_t *table_of(const kmy_case_t *k)
{
    return &k->net->settler->table;
}

/* --- sending ---------------------------------------------------------------------------------------- */

/* Signs tx and asks the node to take it.  false: no place for a call, or no memory: nothing left us. */
static bool send_tx(kmy_cashier_t *c, kmy_case_t *k, kmy_settler_tx_t *tx, kmy_case_call_t *then)
{
    uint8_t raw[KMY_EVM_TX_BYTES_MAX], hash[KMY_EVM_WORD_BYTES];
    question_t q;
    kmy_evm_tx_t t = { .chain_id = k->entry.chain_id,
                       .nonce = tx->nonce,
                       .tip = tx->fees.tip,
                       .fee = tx->fees.fee,
                       .gas = tx->gas,
                       .data = tx->data,
                       .data_bytes = tx->data_bytes };
    memcpy(t.to, tx->empty ? c->settler_address : tx->to, sizeof t.to);
    size_t bytes = kmy_evm_tx_sign(&t, c->settler_key, raw, hash);
    if (bytes == 0)
        return false;
    memcpy(tx->hash, "0x", 2);
    kmy_hex_encode(hash, sizeof hash, tx->hash + 2);
    kmy_chain_evm_send(begin(&q), kmy_case_question(c, k), raw, bytes);
    KMY_COUNT(c->metrics, settler_sent_total, 1);
    return kmy_case_ask(c, k, &q.b, then);
}

static kmy_evm_send_t read_send(kmy_case_t *k, const kmy_call_answer_t *a)
{
    char why[KMY_LOG_TEXT_BYTES];
    kmy_json_token_t message;
    kmy_evm_send_t word = a->sent
                              ? kmy_chain_evm_read_send(a->body, a->body_bytes, k->ask_id, &message)
                              : KMY_EVM_SEND_LOST;
    if (word != KMY_EVM_SEND_TAKEN && a->sent)
        kmy_log(KMY_LOG_WARN, "cashier", "%s: a transaction of ours was not taken: %s",
                k->entry.name,
                message.type == KMY_JSON_STRING ? kmy_log_text(message.text, message.len, why)
                : a->fault                      ? a->fault
                                                : "no answer that says anything");
    return word;
}

/* --- a payment -------------------------------------------------------------------------------------- */

static void try_it(kmy_cashier_t *c, kmy_case_t *k);
static void ask_gas(kmy_cashier_t *c, kmy_case_t *k);
static void send_call(kmy_cashier_t *c, kmy_case_t *k);
static void wait_mined(kmy_cashier_t *c, kmy_case_t *k);

static void happened(kmy_cashier_t *c, kmy_case_t *k, kmy_settle_event_kind_t kind,
                     const char *reason)
{
    kmy_pay_event(c, k,
                  &(kmy_settle_event_t){
                      .kind = kind, .tx = k->own_tx[0] ? k->own_tx : NULL, .reason = reason });
}

/* Nothing was sent, so nothing can come of it. */
static void refused(kmy_cashier_t *c, kmy_case_t *k, const char *reason)
{
    KMY_COUNT(c->metrics, settler_refused_total, 1);
    happened(c, k, KMY_SETTLE_EV_SETTLE_NO, reason);
}

/* Tries that step again, or gives up where nothing was sent in all that time. */
static void again(kmy_cashier_t *c, kmy_case_t *k, kmy_case_step_t *step, int64_t ms,
                  const char *reason)
{
    if (c->now_ns < k->own_until_ns)
        kmy_case_later(c, k, step, ms * KMY_NS_PER_MS);
    else
        refused(c, k, reason);
}

static size_t make_call(const kmy_case_t *k, uint8_t call[KMY_EVM_CALL_BYTES_MAX])
{
    return kmy_evm_call(k->json, k->row.json_bytes, k->row.contract, call);
}

void kmy_settler_submit(kmy_cashier_t *c, kmy_case_t *k)
{
    k->own_until_ns = c->now_ns + KMY_CALL_SETTLE_MS * KMY_NS_PER_MS;
    k->own_tx[0] = '\0';
    kmy_case_next(c, k, try_it);
}

static void try_it(kmy_cashier_t *c, kmy_case_t *k)
{
    const kmy_settler_t *t = table_of(k);
    const char *closed = kmy_settler_closed(t);
    const kmy_settler_tx_t *tx = kmy_settler_of(table_of(k), k->row.id);
    if (tx) { /* of the last try, and still on its way */
        memcpy(k->own_tx, tx->hash, sizeof k->own_tx);
        kmy_case_next(c, k, wait_mined);
        return;
    }
    bool soon = t->recount || (!t->chain_wrong && !t->known);
    bool maybe = k->settle.state == KMY_PAYMENT_UNKNOWN && kmy_settler_has_foreign(t);
    if (soon || maybe) /* soon known; or one of an earlier life's transactions may be it */
        again(c, k, try_it, POLL_MS, soon ? "settler_unreachable" : "settler_busy");
    else if (closed)
        refused(c, k, closed);
    else
        kmy_case_next(c, k, ask_gas);
}

static void log_revert(const kmy_case_t *k, kmy_json_token_t message)
{
    char why[KMY_LOG_TEXT_BYTES];
    bool said = message.type == KMY_JSON_STRING;
    kmy_log(KMY_LOG_WARN, "cashier", "payment %s: the token would not move it: %s", k->row.id,
            said ? kmy_log_text(message.text, message.len, why) : "it reverts");
}

static void answered_gas(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    kmy_json_token_t message;
    uint64_t gas = 0;
    kmy_rpc_word_t word = kmy_chain_evm_read_gas(a->body, a->body_bytes, k->ask_id, &gas, &message);
    if (word == KMY_RPC_REVERTED) {
        log_revert(k, message);
        refused(c, k, kmy_evm_call_reason(message));
    } else if (word != KMY_RPC_FOUND) {
        KMY_COUNT(c->metrics, chain_failure_total, 1);
        again(c, k, try_it, LOST_MS, "settler_unreachable");
    } else if (gas > KMY_SETTLER_GAS_MAX) {
        refused(c, k, "settler_gas_above_limit");
    } else { /* a quarter more: what it meets in its block may differ a little */
        gas += gas / 4;
        k->own_gas = gas < KMY_SETTLER_GAS_MAX ? gas : KMY_SETTLER_GAS_MAX;
        kmy_case_next(c, k, send_call);
    }
}

static void ask_gas(kmy_cashier_t *c, kmy_case_t *k)
{
    uint8_t call[KMY_EVM_CALL_BYTES_MAX];
    question_t q;
    size_t bytes = make_call(k, call);
    if (bytes == 0) {
        refused(c, k, "invalid_payload");
        return;
    }
    kmy_chain_evm_gas(begin(&q), kmy_case_question(c, k), c->settler_address, k->entry.evm.asset,
                      call, bytes);
    kmy_case_ask(c, k, &q.b, answered_gas);
}

static void look_soon(kmy_cashier_t *c, const kmy_case_t *k)
{
    kmy_case_t *round = k->net->settler->round;
    int64_t soon_ns = c->now_ns + ROUND_SOON_MS * KMY_NS_PER_MS;
    if (!round->busy && round->due_ns > soon_ns)
        round->due_ns = soon_ns;
}

static void answered_send(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    kmy_settler_tx_t *tx = kmy_settler_of(table_of(k), k->row.id);
    kmy_evm_send_t word = read_send(k, a);
    if (tx)
        kmy_settler_said(table_of(k), tx, word, c->now_ns);
    look_soon(c, k);
    if (!tx ||
        (word != KMY_EVM_SEND_FUNDS && word != KMY_EVM_SEND_NONCE)) { /* !tx: in a block already */
        kmy_case_next(c, k, wait_mined);
        return;
    }
    k->own_tx[0] = '\0'; /* there is no such transaction */
    if (word == KMY_EVM_SEND_FUNDS)
        refused(c, k, "settler_out_of_gas");
    else
        again(c, k, try_it, POLL_MS, "settler_unreachable");
}

static void send_call(kmy_cashier_t *c, kmy_case_t *k)
{
    uint8_t call[KMY_EVM_CALL_BYTES_MAX];
    if (c->draining)
        return; /* nothing is submitted any more */
    kmy_settler_tx_t *tx =
        kmy_settler_take(table_of(k), k->row.id, k->entry.evm.asset, call, make_call(k, call),
                         k->own_gas, k->row.valid_before_s, c->now_ns);
    if (!tx) {
        again(c, k, try_it, POLL_MS, "settler_busy");
        return;
    }
    if (!send_tx(c, k, tx, answered_send)) {
        kmy_settler_drop(table_of(k), tx, c->now_ns);
        again(c, k, try_it, POLL_MS, "settler_busy");
        return;
    }
    memcpy(k->own_tx, tx->hash, sizeof k->own_tx);
}

/* Its nonce is in a block when the table has it no more: whose transaction that was, the chain says. */
static void wait_mined(kmy_cashier_t *c, kmy_case_t *k)
{
    const kmy_settler_tx_t *tx = kmy_settler_of(table_of(k), k->row.id);
    if (tx)
        memcpy(k->own_tx, tx->hash, sizeof k->own_tx);
    if (!tx)
        happened(c, k, KMY_SETTLE_EV_SETTLE_YES, NULL);
    else if (c->now_ns >= k->own_until_ns)
        happened(c, k, KMY_SETTLE_EV_SETTLE_LOST, NULL);
    else
        kmy_case_later(c, k, wait_mined, POLL_MS * KMY_NS_PER_MS);
}

/* --- the round -------------------------------------------------------------------------------------- */

static void round_begin(kmy_cashier_t *c, kmy_case_t *k);
static void round_block(kmy_cashier_t *c, kmy_case_t *k);
static void round_tip(kmy_cashier_t *c, kmy_case_t *k);
static void round_coin(kmy_cashier_t *c, kmy_case_t *k);
static void round_count(kmy_cashier_t *c, kmy_case_t *k);
static void round_pending(kmy_cashier_t *c, kmy_case_t *k);
static void round_again(kmy_cashier_t *c, kmy_case_t *k);

static void put_gauges(kmy_cashier_t *c)
{
    int64_t closed = 0, under_way = 0, left = INT32_MAX;
    for (uint32_t i = 0; i < c->networks_count; i++) {
        const kmy_cashier_settler_t *s = c->networks[i].settler;
        if (!s)
            continue;
        int64_t n = s->table.known ? kmy_settler_left(&s->table) : 0;
        closed += s->said != NULL;
        under_way += s->table.txs_count;
        left = n < left ? n : left;
    }
    KMY_GAUGE(c->metrics, settler_closed, closed);
    KMY_GAUGE(c->metrics, settler_under_way, under_way);
    KMY_GAUGE(c->metrics, settler_payments_left, left);
}

/* Says once that payments are not taken on a network any more, or are again. */
static void say_state(kmy_cashier_t *c, const kmy_case_t *k)
{
    kmy_cashier_settler_t *s = k->net->settler;
    const char *closed = kmy_settler_closed(&s->table);
    if (closed && s->said != closed)
        kmy_log(KMY_LOG_ERROR, "cashier", "%s: new payments are refused: %s", k->entry.name,
                kmy_settler_detail(closed));
    else if (!closed && s->said)
        kmy_log(KMY_LOG_INFO, "cashier", "%s: payments are settled again", k->entry.name);
    s->said = closed;
    put_gauges(c);
}

static void rest(kmy_cashier_t *c, kmy_case_t *k, int64_t ms)
{
    say_state(c, k);
    if (k->net->settler->said && ms > ROUND_CLOSED_MS && !table_of(k)->chain_wrong)
        ms = ROUND_CLOSED_MS;
    kmy_case_later(c, k, round_begin, ms * KMY_NS_PER_MS);
}

static void round_lost(kmy_cashier_t *c, kmy_case_t *k)
{
    KMY_COUNT(c->metrics, chain_failure_total, 1);
    rest(c, k, LOST_MS);
}

static void answered_chain(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    kmy_settler_t *t = table_of(k);
    uint64_t id = 0;
    if (kmy_chain_evm_read_chain_id(a->body, a->body_bytes, k->ask_id, &id) != KMY_RPC_FOUND) {
        round_lost(c, k);
        return;
    }
    t->chain_wrong = id != k->entry.chain_id;
    t->chain_checked = !t->chain_wrong;
    if (t->chain_checked) {
        kmy_case_next(c, k, round_block);
        return;
    }
    kmy_log(KMY_LOG_ERROR, "cashier", "%s: its rpc is a node of chain %" PRIu64 ", not of %" PRIu64,
            k->entry.name, id, k->entry.chain_id);
    rest(c, k, WRONG_MS);
}

static void round_begin(kmy_cashier_t *c, kmy_case_t *k)
{
    question_t q;
    if (table_of(k)->chain_checked) {
        const kmy_cashier_settler_t *s = k->net->settler;
        bool prices = c->now_ns >= s->prices_ns || s->said || kmy_settler_closed(&s->table);
        kmy_case_next(c, k, prices ? round_block : round_count);
        return;
    }
    kmy_chain_evm_chain_id(begin(&q), kmy_case_question(c, k));
    kmy_case_ask(c, k, &q.b, answered_chain);
}

static void answered_block(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    kmy_evm_block_t head;
    if (kmy_chain_evm_read_block(a->body, a->body_bytes, k->ask_id, &head) != KMY_RPC_FOUND) {
        round_lost(c, k);
        return;
    }
    table_of(k)->base_fee = head.base_fee;
    kmy_case_next(c, k, round_tip);
}

static void round_block(kmy_cashier_t *c, kmy_case_t *k)
{
    question_t q;
    kmy_chain_evm_block(begin(&q), kmy_case_question(c, k), KMY_EVM_LATEST);
    kmy_case_ask(c, k, &q.b, answered_block);
}

static void answered_tip(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    kmy_settler_t *t = table_of(k);
    if (kmy_chain_evm_read_number(a->body, a->body_bytes, k->ask_id, &t->tip) != KMY_RPC_FOUND)
        t->tip = TIP_WEI;
    kmy_case_next(c, k, round_coin);
}

static void round_tip(kmy_cashier_t *c, kmy_case_t *k)
{
    question_t q;
    kmy_chain_evm_tip(begin(&q), kmy_case_question(c, k));
    kmy_case_ask(c, k, &q.b, answered_tip);
}

static void answered_coin(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    if (kmy_chain_evm_read_number(a->body, a->body_bytes, k->ask_id, &table_of(k)->coin) !=
        KMY_RPC_FOUND) {
        round_lost(c, k);
        return;
    }
    k->net->settler->prices_ns = c->now_ns + PRICES_MS * KMY_NS_PER_MS;
    kmy_case_next(c, k, round_count);
}

static void round_coin(kmy_cashier_t *c, kmy_case_t *k)
{
    question_t q;
    kmy_chain_evm_coin(begin(&q), kmy_case_question(c, k), c->settler_address);
    kmy_case_ask(c, k, &q.b, answered_coin);
}

static void answered_count(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    kmy_settler_t *t = table_of(k);
    uint64_t latest;
    if (kmy_chain_evm_read_number(a->body, a->body_bytes, k->ask_id, &latest) != KMY_RPC_FOUND ||
        latest == UINT64_MAX) {
        round_lost(c, k);
        return;
    }
    k->head.number = latest;
    if (!t->known || t->recount) {
        kmy_case_next(c, k, round_pending);
        return;
    }
    kmy_settler_count(t, latest, 0, c->now_ns);
    kmy_case_next(c, k, round_again);
}

static void round_count(kmy_cashier_t *c, kmy_case_t *k)
{
    question_t q;
    kmy_chain_evm_count(begin(&q), kmy_case_question(c, k), c->settler_address, false);
    kmy_case_ask(c, k, &q.b, answered_count);
}

static void answered_pending(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    uint64_t pending;
    if (kmy_chain_evm_read_number(a->body, a->body_bytes, k->ask_id, &pending) != KMY_RPC_FOUND ||
        pending == UINT64_MAX) {
        round_lost(c, k);
        return;
    }
    kmy_settler_count(table_of(k), k->head.number, pending, c->now_ns);
    kmy_case_next(c, k, round_again);
}

static void round_pending(kmy_cashier_t *c, kmy_case_t *k)
{
    question_t q;
    kmy_chain_evm_count(begin(&q), kmy_case_question(c, k), c->settler_address, true);
    kmy_case_ask(c, k, &q.b, answered_pending);
}

static void answered_again(kmy_cashier_t *c, kmy_case_t *k, const kmy_call_answer_t *a)
{
    kmy_evm_send_t word = read_send(k, a);
    kmy_settler_tx_t *tx = kmy_settler_at(table_of(k), k->own_nonce);
    if (tx)
        kmy_settler_said(table_of(k), tx, word, c->now_ns);
    kmy_case_next(c, k, round_again);
}

/* What is stuck, one after the other. */
static void round_again(kmy_cashier_t *c, kmy_case_t *k)
{
    kmy_settler_t *t = table_of(k);
    bool room = kmy_calls_count(c->calls) < KMY_CALLS_MAX;
    kmy_settler_tx_t *tx = room && !c->draining ? kmy_settler_again(t, c->now_ns, c->now_s) : NULL;
    if (!tx) {
        rest(c, k, t->txs_count > 0 || t->recount ? ROUND_MS : ROUND_IDLE_MS);
        return;
    }
    KMY_COUNT(c->metrics, settler_resent_total, 1);
    kmy_log(KMY_LOG_WARN, "cashier",
            "%s: our transaction %" PRIu64 " is not in a block: sent again%s at %" PRIu64
            " wei for a unit of gas",
            k->entry.name, tx->nonce, tx->empty ? ", empty," : "", tx->fees.fee);
    k->own_nonce = tx->nonce;
    if (!send_tx(c, k, tx, answered_again))
        rest(c, k, ROUND_MS);
}

/* --- start and stop ---------------------------------------------------------------------------------- */

const char *kmy_settler_detail(const char *reason)
{
    static const struct {
        const char *reason, *detail;
    } row[] = {
        { "settler_out_of_gas", "settler_out_of_gas: the account that pays for gas is empty" },
        { "settler_fees_above_cap",
          "settler_fees_above_cap: this network's fees are above what the operator allows" },
        { "settler_unreachable", "settler_unreachable: the network's node does not answer" },
        { "settler_wrong_chain", "settler_wrong_chain: the node is one of another network" },
        { "settler_busy", "settler_busy: too many payments are on their way to this network" },
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        if (strcmp(row[i].reason, reason) == 0)
            return row[i].detail;
    }
    return NULL;
}

const char *kmy_settler_refuses(const kmy_case_t *k)
{
    const kmy_cashier_settler_t *s = k->net->settler;
    return s && (s->table.known || s->said) ? kmy_settler_closed(&s->table) : NULL;
}

bool kmy_settler_open(kmy_cashier_t *c, kmy_cashier_network_t *net, int64_t max_fee_gwei)
{
    kmy_cashier_settler_t *s = calloc(1, sizeof *s);
    kmy_case_t *k = s ? kmy_case_take(c, KMY_CASE_SETTLER) : NULL;
    if (!k) {
        free(s);
        return false;
    }
    kmy_settler_init(&s->table, (uint64_t)max_fee_gwei * UINT64_C(1000000000));
    net->settler = s;
    s->round = k;
    k->net = net;
    k->entry = net->way.entry;
    c->settlers_count++;
    kmy_case_next(c, k, round_begin);
    return true;
}

void kmy_settler_close(kmy_cashier_network_t *net)
{
    if (net->settler)
        kmy_settler_free(&net->settler->table);
    free(net->settler);
    net->settler = NULL;
}
