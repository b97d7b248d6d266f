/* dollar 2/7   in: engine/query, engine/pay_routes   out: engine/slips, and what came of it to the client */
#include "engine/paid.h"

#include "engine/account.h"
#include "engine/grant.h"
#include "engine/mint.h"
#include "engine/offers.h"
#include "engine/pay_header.h"
#include "engine/reply.h"
#include "engine/slips.h"
#include "engine/throttle.h"
#include "pay/challenge.h"

#include <stdio.h>
#include <string.h>

bool kmy_paid_wanted(const kmy_http_request_t *req)
{
    return kmy_pay_header_any(req) && !kmy_view_is(req->method, "HEAD");
}

/* --- there ------------------------------------------------------------------------------- */

kmy_slip_t *kmy_paid_take_slip(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                               kmy_slip_kind_t kind)
{
    kmy_slip_t *slip = kmy_slip_take(s);
    if (!slip) {
        kmy_throttle_undo(s, c, req);
        kmy_reply_problem_with(s, c, req, KMY_UNAVAILABLE,
                               "too many payments are under way; nothing was taken, send it again "
                               "in a second",
                               "Retry-After: 1\r\n", NULL);
        return NULL;
    }
    slip->kind = kind;
    return slip;
}

static void demand_again(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                         const kmy_demand_t *demand, const char *reason, const char *detail)
{
    if (kmy_throttle_address(s, c, req))
        kmy_demand_pay(s, c, req, demand, KMY_UNPAID, reason, detail, 0, "");
}

/* The payment's slip on its way. */
static void send_payment(kmy_shard_t *s, kmy_conn_t *c, const kmy_demand_t *demand,
                         kmy_slip_t *slip, uint32_t version, kmy_view_t header)
{
    slip->version = version;
    slip->header_bytes = (uint32_t)header.len;
    memcpy(slip->header, header.ptr, header.len);
    slip->amounts_count = demand->amounts_count;
    memcpy(slip->amounts_nusd, demand->amounts_nusd, sizeof slip->amounts_nusd);
    kmy_offers_url(s->o.offers, demand->path, slip->resource_url);
    kmy_slip_send_and_park(s, c, slip);
}

bool kmy_paid_begin(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                    const kmy_demand_t *demand, kmy_slip_kind_t kind)
{
    kmy_errctx_t ctx = { 0 };
    uint32_t version;
    kmy_view_t header;
    kmy_err_t err = kmy_pay_header(req, &version, &header, &ctx);
    if (err == KMY_BAD_INPUT) {
        if (kmy_throttle_address(s, c, req))
            kmy_reply_problem(s, c, req, err, ctx.detail);
        return true;
    }
    if (err != KMY_OK || version == 0) {
        demand_again(s, c, req, demand, "invalid_payload",
                     err != KMY_OK ? ctx.detail : "the payment header is empty");
        return true;
    }
    if (!s->o.offers->open || demand->amounts_count == 0) {
        demand_again(s, c, req, demand, "invalid_payment_requirements",
                     "no payments by header are taken here; this one was not looked at");
        return true;
    }
    kmy_slip_t *slip = kmy_throttle_address(s, c, req) ? kmy_paid_take_slip(s, c, req, kind) : NULL;
    if (!slip)
        return true;
    send_payment(s, c, demand, slip, version, header);
    return false;
}

_Static_assert(sizeof((kmy_slip_t *)0)->resource_url >= KMY_RESOURCE_URL_BYTES_MAX, "it fits");
_Static_assert((int)KMY_PAYMENT_BYTES_MAX <= (int)KMY_SLIP_HEADER_BYTES_MAX, "it fits");

/* --- and back ---------------------------------------------------------------------------- */

int64_t kmy_paid_left(kmy_shard_t *s, const kmy_slip_t *slip)
{
    const kmy_shard_account_t *acc = kmy_account_known(s, slip->account);
    return acc ? kmy_account_balance(acc) : slip->balance_nusd;
}

void kmy_paid_receipt(const kmy_shard_t *s, const kmy_slip_t *slip, char *out, size_t cap)
{
    kmy_buf_t b = kmy_buf(out, cap - 1);
    int version = (int)(slip->paid_version ? slip->paid_version : slip->version);
    out[0] = '\0';
    if (!slip->payment_id[0] || !slip->network[0] || version < 1 || version > 2)
        return;
    kmy_pay_receipt_t r = {
        .version = version,
        .transaction = slip->tx,
        .network = version == 1 ? kmy_offers_name(s->o.offers, slip->network) : slip->network,
        .payer = slip->payer,
        .reason = slip->result == KMY_SLIP_REFUSED
                      ? slip->reason[0] ? slip->reason : "unexpected_settle_error"
                      : NULL
    };
    kmy_challenge_put_receipt(&r, &b);
    KMY_ASSERT(!b.overflow);
    out[b.len] = '\0';
}

/* The receipt's line, in a buffer that has room for one more. */
static kmy_buf_t with_receipt(const kmy_shard_t *s, const kmy_slip_t *slip, char *lines, size_t cap)
{
    kmy_paid_receipt(s, slip, lines, KMY_RECEIPT_LINE_BYTES_MAX);
    kmy_buf_t b = kmy_buf(lines, cap - 1);
    b.len = strlen(lines);
    return b;
}

static void pending(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                    const kmy_slip_t *slip, const kmy_buf_t *more)
{
    char line[96];
    kmy_buf_t b = kmy_reply_body(s);
    snprintf(line, sizeof line, "Location: /v1/payments/%.32s\r\nRetry-After: 1\r\n",
             slip->payment_id);
    kmy_buf_fmt(&b, "{\"payment_id\":\"%s\",\"state\":\"%s\"", slip->payment_id, slip->state);
    if (more)
        kmy_buf_bytes(&b, more->data, more->len);
    kmy_buf_str(&b, "}");
    kmy_reply(s, c, req, 202, "application/json", line, &b);
}

static kmy_err_t err_of(const kmy_slip_t *slip)
{
    if (slip->result == KMY_SLIP_NOT_FOUND)
        return KMY_NOT_FOUND;
    return slip->err > KMY_OK && slip->err < KMY_ERR_COUNT ? (kmy_err_t)slip->err : KMY_INTERNAL;
}

void kmy_paid_undone(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                     const kmy_demand_t *demand, const kmy_slip_t *slip, const kmy_buf_t *more)
{
    char lines[KMY_RECEIPT_LINE_BYTES_MAX + 32];
    KMY_ASSERT(slip->result != KMY_SLIP_DONE && slip->result != KMY_SLIP_AGAIN);
    if (slip->result == KMY_SLIP_PENDING) {
        kmy_throttle_undo(s, c, req);
        pending(s, c, req, slip, more);
        return;
    }
    kmy_err_t err = err_of(slip);
    const char *detail = slip->detail[0] ? slip->detail : kmy_err_text(err);
    kmy_buf_t b = with_receipt(s, slip, lines, sizeof lines);
    if (kmy_err_http(err) == 402 && demand) {
        kmy_demand_pay(s, c, req, demand, err, slip->reason, detail, slip->balance_nusd, lines);
        return;
    }
    if (kmy_err_http(err) >= 500) { /* ours or the chain's fault, not the payer's */
        kmy_throttle_undo(s, c, req);
        kmy_buf_str(&b, "Retry-After: 1\r\n");
    }
    lines[b.len] = '\0';
    kmy_reply_problem_with(s, c, req, err, detail, lines, NULL);
}

/* --- one answer for a price -------------------------------------------------------------- */

/* The bytes that are kept for this header: composed now, or at an earlier time. */
static void reply_kept(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                       const kmy_slip_t *slip)
{
    char line[KMY_RECEIPT_LINE_BYTES_MAX];
    kmy_buf_t b = kmy_buf((char *)slip->body, sizeof slip->body);
    b.len = slip->body_bytes;
    if (slip->result !=
        KMY_SLIP_AGAIN) /* that is bought once, and costs us a signature's check each time */
        kmy_throttle_undo(s, c, req);
    kmy_paid_receipt(s, slip, line, sizeof line);
    kmy_reply(s, c, req, 200, "application/json", line, &b);
}

bool kmy_paid_charge(kmy_paid_bill_t *bill, int64_t price_nusd, uint32_t feed, uint32_t items)
{
    KMY_ASSERT(price_nusd > 0 && bill->charged_nusd == 0);
    if (price_nusd > bill->held_nusd)
        return false;
    bill->charged_nusd = price_nusd;
    bill->use = (kmy_use_t){ .feed = feed,
                             .mode = items > 0 ? KMY_MODE_BATCH : KMY_MODE_QUERY,
                             .count = items > 0 ? items : 1 };
    bill->left_nusd -= price_nusd;
    return true;
}

/* Paid: the newest tick is taken now, and kept with the payment before it is sent. */
static void compose_and_keep(kmy_shard_t *s, kmy_conn_t *c, kmy_slip_t *slip,
                             const kmy_ware_t *ware)
{
    kmy_buf_t b = kmy_buf(slip->body, sizeof slip->body);
    int64_t held_nusd = slip->charged_nusd;
    kmy_paid_bill_t bill = { .held_nusd = held_nusd,
                             .left_nusd = kmy_paid_left(s, slip) + held_nusd };
    bool made = ware->compose(s, ware->arg, &bill, &b) && !b.overflow;
    KMY_ASSERT(!made || bill.charged_nusd > 0);
    slip->kind = made ? KMY_SLIP_ANSWER : KMY_SLIP_RELEASE;
    slip->body_bytes = made ? (uint32_t)b.len : 0;
    slip->charged_nusd = made ? bill.charged_nusd : bill.held_nusd;
    slip->deadline_ns = 0;
    slip->use = bill.use;
    slip->use.price_book = s->price_book;
    kmy_slip_send_and_park(s, c, slip);
}

static void released(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                     const kmy_slip_t *slip)
{
    char lines[KMY_RECEIPT_LINE_BYTES_MAX + 32];
    kmy_throttle_undo(s, c, req);
    kmy_buf_t b = with_receipt(s, slip, lines, sizeof lines);
    kmy_buf_str(&b, "Retry-After: 1\r\n");
    lines[b.len] = '\0';
    kmy_reply_problem_with(
        s, c, req, KMY_STALE,
        "it was paid for, but went stale meanwhile, or was paid as a request that costs less: "
        "nothing was charged, the money is on the payer's account; sign in for its token at POST "
        "/v1/tokens",
        lines, NULL);
}

/* Its payer's account has the money, whatever becomes of the request. */
static bool grant(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                  const kmy_slip_t *slip, bool on_account)
{
    kmy_throttle_undo(s, c, req);
    if (kmy_grant_make(s, c, slip, on_account))
        return true;
    kmy_reply_problem(s, c, req, KMY_UNAVAILABLE,
                      "no memory for it now; the money is the payer's: sign in for a token at POST "
                      "/v1/tokens");
    return false;
}

static kmy_sold_t begin(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                        const kmy_demand_t *demand)
{
    return kmy_paid_begin(s, c, req, demand, KMY_SLIP_QUERY) ? KMY_SOLD_ANSWERED : KMY_SOLD_PARKED;
}

/* The cashier's answer, whichever it is. */
static kmy_sold_t came_back(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                            const kmy_demand_t *demand, const kmy_ware_t *ware, kmy_slip_t *slip)
{
    bool done = slip->result == KMY_SLIP_DONE;
    if (slip->kind == KMY_SLIP_QUERY && done && !ware->compose)
        return grant(s, c, req, slip, false) ? KMY_SOLD_MAKE : KMY_SOLD_ANSWERED;
    if (slip->kind == KMY_SLIP_QUERY && done) {
        compose_and_keep(s, c, slip, ware);
        return KMY_SOLD_PARKED;
    }
    bool enough = slip->charged_nusd >= demand->amounts_nusd[0];
    if (slip->kind == KMY_SLIP_RELEASE && done && ware->else_account && enough) {
        slip->charged_nusd = demand->amounts_nusd[0]; /* no more than was offered */
        return grant(s, c, req, slip, true) ? KMY_SOLD_ON_ACCOUNT : KMY_SOLD_ANSWERED;
    }
    if (slip->kind == KMY_SLIP_RELEASE && done)
        released(s, c, req, slip);
    else if (done || slip->result == KMY_SLIP_AGAIN)
        reply_kept(s, c, req, slip);
    else
        kmy_paid_undone(s, c, req, demand, slip, NULL);
    return KMY_SOLD_ANSWERED;
}

kmy_sold_t kmy_paid_keep(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                         const kmy_ware_t *ware)
{
    kmy_slip_t *slip = kmy_slip_take(s);
    KMY_ASSERT(c->grant && !c->grant->on_account && ware->compose);
    if (!slip) {
        kmy_reply_problem_with(s, c, req, KMY_UNAVAILABLE,
                               "too many payments are under way; this one is settled and waits for "
                               "its answer: send it again in a second",
                               "Retry-After: 1\r\n", NULL);
        return KMY_SOLD_ANSWERED;
    }
    memcpy(slip->payment_id, c->grant->payment_id, sizeof slip->payment_id);
    memcpy(slip->account, c->grant->account, sizeof slip->account);
    slip->charged_nusd = c->grant->held_nusd;
    slip->balance_nusd = c->grant->balance_nusd;
    compose_and_keep(s, c, slip, ware);
    return KMY_SOLD_PARKED;
}

/* --- one that was answered before -------------------------------------------------------- */

static kmy_sold_t ask_known(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                            const kmy_demand_t *demand)
{
    uint32_t version;
    kmy_view_t header;
    kmy_errctx_t ctx = { 0 };
    if (kmy_pay_header(req, &version, &header, &ctx) != KMY_OK || version == 0 ||
        !s->o.offers->open || demand->amounts_count == 0)
        return KMY_SOLD_NOTHING;
    if (!kmy_throttle_address(s, c, req))
        return KMY_SOLD_ANSWERED;
    kmy_slip_t *slip = kmy_paid_take_slip(s, c, req, KMY_SLIP_QUERY);
    if (!slip)
        return KMY_SOLD_ANSWERED;
    slip->known_only = 1;
    send_payment(s, c, demand, slip, version, header);
    return KMY_SOLD_PARKED;
}

/* Also one that is no payment bought none: an offer of what cannot be sold would be a lie. */
static bool bought_none(const kmy_slip_t *slip)
{
    return slip->result != KMY_SLIP_AGAIN &&
           !(slip->result == KMY_SLIP_REFUSED && slip->err == KMY_CONFLICT);
}

/* The slip that came back only asked what is known of the payment. */
static bool is_recall(const kmy_slip_t *slip)
{
    return slip->kind == KMY_SLIP_QUERY && slip->known_only;
}

kmy_sold_t kmy_paid_sell(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                         const kmy_demand_t *demand, const kmy_ware_t *ware, bool now)
{
    kmy_slip_t *slip = kmy_paid_slip(s, c);
    if (!slip)
        return now ? begin(s, c, req, demand) : ask_known(s, c, req, demand);
    if (!is_recall(slip) || !bought_none(slip))
        return came_back(s, c, req, demand, ware, slip);
    if (!now)
        return KMY_SOLD_NOTHING;
    kmy_throttle_undo(s, c, req); /* it can be sold again by now */
    return begin(s, c, req, demand);
}

/* --- deposits ---------------------------------------------------------------------------- */

void kmy_paid_undone_deposit(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                             const kmy_demand_t *demand, const kmy_slip_t *slip)
{
    char text[KMY_TOKEN_BYTES_MAX + 512] = ",";
    kmy_buf_t more = kmy_buf(text, sizeof text);
    kmy_errctx_t ctx = { 0 };
    more.len = 1;
    bool token = slip->result == KMY_SLIP_PENDING && !slip->exposed && slip->account[0] &&
                 kmy_mint_put(s, slip->account, 0, &more, &ctx) == KMY_OK;
    kmy_paid_undone(s, c, req, demand, slip, token ? &more : NULL);
}

bool kmy_paid_onto_account(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                           const kmy_demand_t *demand, bool *done)
{
    char line[KMY_RECEIPT_LINE_BYTES_MAX];
    const kmy_slip_t *slip = kmy_paid_slip(s, c);
    *done = true;
    if (!slip) {
        *done = kmy_paid_begin(s, c, req, demand, KMY_SLIP_DEPOSIT);
        return false;
    }
    if (slip->result != KMY_SLIP_DONE && slip->result != KMY_SLIP_AGAIN) {
        kmy_paid_undone_deposit(s, c, req, demand, slip);
        return false;
    }
    if (!slip->exposed)
        return grant(s, c, req, slip, true);
    kmy_paid_receipt(s, slip, line, sizeof line);
    kmy_reply_problem_with(s, c, req, KMY_CONFLICT,
                           "this payment is on its payer's account already: sign in for its token "
                           "at POST /v1/tokens and ask with that",
                           line, NULL);
    return false;
}
