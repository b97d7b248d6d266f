/* dollar 1/7 and 7/7   in: engine/stream   out: engine/slips, and what came of it to the client */
#include "engine/stream_pay.h"

#include "base/clock.h"
#include "engine/account.h"
#include "engine/conn.h"
#include "engine/demand.h"
#include "engine/offers.h"
#include "engine/paid.h"
#include "engine/slips.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LOOK_FIRST_S = 1, /* after it was told as pending; then twice as long each time */
    LOOK_LAST_S = 8,
    LOOK_SLIPS = KMY_SLIPS / 2, /* so many must be free for it: payments come first */
};

/* Of a connection, from its `pay` until that is decided. */
struct kmy_stream_pay {
    kmy_request_id_t id; /* of the message that is to be answered */
    uint32_t ask;        /* of the slip that is out; 0: none is */
    int64_t since_ns;    /* the grace stands still from here */
    int64_t look_ns;     /* none is out: when it is asked for again */
    int64_t wait_ns;
    char payment_id[KMY_PAYMENT_ID_BYTES]; /* "": not told as pending */
};

static _Thread_local uint32_t asks; /* numbers them: an answer to an earlier one is nobody's */

/* --- there --------------------------------------------------------------------------------- */

static void hand_over(kmy_shard_t *s, kmy_conn_t *c, kmy_slip_t *slip, kmy_slip_kind_t kind)
{
    slip->kind = kind;
    slip->conn = kmy_conn_idx(s, c);
    slip->gen = c->gen;
    slip->ask = c->pay->ask = KMY_SLIP_ASK_STREAM | ++asks;
    kmy_slip_send(s, slip);
}

/* Why it is not even looked at; KMY_OK: it is. */
static kmy_err_t refusal(const kmy_shard_t *s, const kmy_conn_t *c, kmy_json_token_t payment,
                         const char **why)
{
    *why = NULL;
    if (!s->o.offers->open) {
        *why = "no payments are taken here; top up at the operator";
        return KMY_UNSUPPORTED;
    }
    if (payment.type != KMY_JSON_STRING || payment.len == 0) {
        *why =
            "\"payment\" must be an x402 payment in base64, as in X-PAYMENT or PAYMENT-SIGNATURE";
        return KMY_BAD_INPUT;
    }
    if (s->stopping || c->leaving) {
        *why = "restarting: nothing was taken, send it again after you have reconnected";
        return KMY_UNAVAILABLE;
    }
    if (c->pay && !c->pay->payment_id[0]) {
        *why = "one payment at a time: the last one of this socket is not answered yet";
        return KMY_FULL;
    }
    return KMY_OK;
}

/* Counted before it is checked: a check of a signature costs the cashier 60 us. */
static bool throttle(kmy_shard_t *s, kmy_conn_t *c, const kmy_request_id_t *id)
{
    kmy_limit_window_t which;
    kmy_verdict_t v =
        kmy_limiter_account(s->o.limiter, s->accounts[c->account].name, s->now_ns, &which);
    if (v.taken)
        return true;
    KMY_COUNT(s->metrics, limit_account_total, 1);
    kmy_frame_error_later(s, c, id, KMY_FULL, "too many payments and free requests of your account",
                          v.wait_ns / KMY_NS_PER_MS + 1);
    return false;
}

/* NULL: no slip, or no memory. */
static kmy_slip_t *take_slip(kmy_shard_t *s, kmy_conn_t *c, const kmy_request_id_t *id)
{
    if (!c->pay) {
        c->pay = calloc(1, sizeof *c->pay);
        if (!c->pay)
            return NULL;
        c->pay->since_ns = s->now_ns;
    }
    kmy_slip_t *slip = kmy_slip_take(s);
    if (slip) {
        c->pay->id = *id;
        c->pay->payment_id[0] = '\0';
    } else if (!c->pay->payment_id[0]) {
        kmy_stream_pay_forget(c);
    }
    return slip;
}

_Static_assert(sizeof((kmy_slip_t *)0)->header > KMY_PAYMENT_BYTES_MAX, "and its terminator");

void kmy_stream_pay(kmy_shard_t *s, kmy_conn_t *c, const kmy_request_id_t *id,
                    kmy_json_token_t payment)
{
    const char *why;
    size_t len = 0;
    kmy_err_t err = refusal(s, c, payment, &why);
    if (err != KMY_OK) {
        kmy_frame_error(s, c, id, err, why);
        return;
    }
    if (!throttle(s, c, id))
        return;
    kmy_slip_t *slip = take_slip(s, c, id);
    if (!slip) {
        kmy_frame_error(s, c, id, KMY_UNAVAILABLE,
                        "too many payments are under way; nothing was taken, send it again");
        return;
    }
    /* Too long or escaped beyond base64: cut to what the cashier refuses in x402's words. */
    if (!kmy_json_unescape(payment, slip->header, KMY_PAYMENT_BYTES_MAX + 1, &len))
        len = 0;
    kmy_demand_t demand = kmy_demand_deposit("/v1/deposit", 0);
    slip->header_bytes = (uint32_t)len;
    slip->amounts_count = demand.amounts_count;
    memcpy(slip->amounts_nusd, demand.amounts_nusd, sizeof slip->amounts_nusd);
    kmy_offers_url(s->o.offers, demand.path, slip->resource_url);
    snprintf(slip->account, sizeof slip->account, "%s", s->accounts[c->account].name);
    hand_over(s, c, slip, KMY_SLIP_DEPOSIT);
}

/* --- and back ------------------------------------------------------------------------------ */

void kmy_stream_pay_forget(kmy_conn_t *c)
{
    free(c->pay);
    c->pay = NULL;
}

/* It is decided: the grace goes on where it stood. */
static kmy_request_id_t take_end(kmy_shard_t *s, kmy_conn_t *c)
{
    kmy_request_id_t id = c->pay->id;
    int64_t from_ns = c->pay->since_ns > c->unpaid_ns ? c->pay->since_ns : c->unpaid_ns;
    c->unpaid_ns += s->now_ns - from_ns;
    kmy_stream_pay_forget(c);
    return id;
}

static void tell_paid(kmy_shard_t *s, kmy_conn_t *c, const kmy_slip_t *slip)
{
    kmy_request_id_t id = take_end(s, c);
    kmy_buf_t b = kmy_frame_begin(s, "paid", &id);
    kmy_frame_nusd(&b, "credited", slip->credited_nusd);
    kmy_frame_nusd(&b, "balance", kmy_paid_left(s, slip));
    kmy_frame_text(&b, "transaction", slip->tx);
    /* The payer's account of another chain, where an operator made this one by hand: the money is there. */
    if (strcmp(slip->account, s->accounts[c->account].name) != 0)
        kmy_frame_text(&b, "account", slip->account);
    kmy_frame_send(s, c, &b);
}

static void tell_refused(kmy_shard_t *s, kmy_conn_t *c, const kmy_slip_t *slip)
{
    kmy_err_t err = slip->err > KMY_OK && slip->err < KMY_ERR_COUNT ? (kmy_err_t)slip->err
                    : slip->kind == KMY_SLIP_STATE                  ? KMY_UNPAID
                                                                    : KMY_INTERNAL;
    bool failed = strcmp(slip->state, "failed") == 0; /* it may be tried again while it is valid */
    kmy_request_id_t id = take_end(s, c);
    kmy_buf_t b = kmy_frame_begin_error(s, &id, slip->reason[0] ? slip->reason : kmy_err_code(err),
                                        slip->detail[0] ? slip->detail
                                        : slip->kind == KMY_SLIP_STATE
                                            ? "the payment could not be settled; nothing was taken"
                                            : kmy_err_text(err),
                                        failed || kmy_frame_retries(err));
    if (slip->payment_id[0])
        kmy_frame_text(&b, "payment_id", slip->payment_id);
    kmy_frame_send(s, c, &b);
}

static void tell_pending(kmy_shard_t *s, kmy_conn_t *c, const kmy_slip_t *slip)
{
    kmy_stream_pay_t *p = c->pay;
    memcpy(p->payment_id, slip->payment_id, sizeof p->payment_id);
    p->wait_ns = LOOK_FIRST_S * KMY_NS_PER_S;
    p->look_ns = s->now_ns + p->wait_ns;
    kmy_buf_t b = kmy_frame_begin_error(
        s, &p->id, "payment_pending",
        "not settled yet; you are told when it is, also at GET /v1/payments/{id}", true);
    kmy_frame_text(&b, "payment_id", p->payment_id);
    kmy_frame_text(&b, "state", slip->state);
    kmy_frame_send(s, c, &b);
}

static void look_later(kmy_shard_t *s, kmy_stream_pay_t *p)
{
    if (p->wait_ns < LOOK_LAST_S * KMY_NS_PER_S)
        p->wait_ns *= 2;
    p->look_ns = s->now_ns + p->wait_ns;
}

/* How one stands that was told as pending. */
static void stands(kmy_shard_t *s, kmy_conn_t *c, const kmy_slip_t *slip)
{
    bool known = slip->result == KMY_SLIP_DONE;
    if (known && strcmp(slip->state, "settled") == 0)
        tell_paid(s, c, slip);
    else if (known && (strcmp(slip->state, "failed") == 0 || strcmp(slip->state, "reversed") == 0))
        tell_refused(s, c, slip);
    else
        look_later(s, c->pay);
}

void kmy_stream_paid(kmy_shard_t *s, kmy_conn_t *c, kmy_slip_t *slip)
{
    if (!c->pay || c->pay->ask != slip->ask)
        return; /* the client has sent another one meanwhile */
    c->pay->ask = 0;
    if (c->state != KMY_CONN_WS)
        kmy_stream_pay_forget(c);
    else if (slip->kind == KMY_SLIP_STATE)
        stands(s, c, slip);
    else if (slip->result == KMY_SLIP_PENDING)
        tell_pending(s, c, slip);
    else if (slip->result == KMY_SLIP_DONE || slip->result == KMY_SLIP_AGAIN)
        tell_paid(s, c, slip);
    else
        tell_refused(s, c, slip);
}

void kmy_stream_pay_scan(kmy_shard_t *s, kmy_conn_t *c)
{
    if (!c->pay || c->pay->ask != 0 || s->now_ns < c->pay->look_ns || s->stopping)
        return;
    kmy_slip_t *slip = kmy_slips_left(s) >= LOOK_SLIPS ? kmy_slip_take(s) : NULL;
    if (!slip) {
        look_later(s, c->pay);
        return;
    }
    memcpy(slip->payment_id, c->pay->payment_id, sizeof slip->payment_id);
    hand_over(s, c, slip, KMY_SLIP_STATE);
}
