/* dollar 2/7   in: engine/query, engine/pay_routes   out: engine/slips, and what came of it to the client */
#include "engine/paid.h"

#include "engine/account.h"
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

/* Paid: the newest tick is taken now, and kept with the payment before it is sent. */
static bool compose_and_keep(kmy_shard_t *s, kmy_conn_t *c, kmy_slip_t *slip,
                             kmy_paid_compose_t *compose, void *arg)
{
    char why[sizeof slip->detail] = "";
    kmy_buf_t b = kmy_buf(slip->body, sizeof slip->body);
    bool made = compose(s, arg, kmy_paid_left(s, slip), &b, why) && !b.overflow;
    slip->kind = made ? KMY_SLIP_ANSWER : KMY_SLIP_RELEASE;
    slip->body_bytes = made ? (uint32_t)b.len : 0;
    slip->deadline_ns = 0;
    kmy_slip_send_and_park(s, c, slip);
    return false;
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
        "it was paid for, but went stale meanwhile: nothing was charged, the money "
        "is on the payer's account; sign in for its token at POST /v1/tokens",
        lines, NULL);
}

bool kmy_paid_answer(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                     const kmy_demand_t *demand, kmy_paid_compose_t *compose, void *arg)
{
    kmy_slip_t *slip = kmy_paid_slip(s, c);
    if (!slip)
        return kmy_paid_begin(s, c, req, demand, KMY_SLIP_QUERY);
    bool done = slip->result == KMY_SLIP_DONE;
    if (slip->kind == KMY_SLIP_QUERY && done)
        return compose_and_keep(s, c, slip, compose, arg);
    if (slip->kind == KMY_SLIP_RELEASE)
        released(s, c, req, slip);
    else if (done || slip->result == KMY_SLIP_AGAIN)
        reply_kept(s, c, req, slip);
    else
        kmy_paid_undone(s, c, req, demand, slip, NULL);
    return true;
}

/* --- one that was answered before -------------------------------------------------------- */

static bool ask_known(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                      const kmy_demand_t *demand, bool *none)
{
    uint32_t version;
    kmy_view_t header;
    kmy_errctx_t ctx = { 0 };
    *none = kmy_pay_header(req, &version, &header, &ctx) != KMY_OK || version == 0 ||
            !s->o.offers->open || demand->amounts_count == 0;
    if (*none || !kmy_throttle_address(s, c, req))
        return true;
    kmy_slip_t *slip = kmy_paid_take_slip(s, c, req, KMY_SLIP_QUERY);
    if (!slip)
        return true;
    slip->known_only = 1;
    send_payment(s, c, demand, slip, version, header);
    return false;
}

bool kmy_paid_recall(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                     const kmy_demand_t *demand, bool *none)
{
    const kmy_slip_t *slip = kmy_paid_slip(s, c);
    *none = false;
    if (!slip)
        return ask_known(s, c, req, demand, none);
    KMY_ASSERT(kmy_paid_recalled(slip));
    if (slip->result == KMY_SLIP_AGAIN)
        reply_kept(s, c, req, slip);
    else if (slip->result == KMY_SLIP_REFUSED && slip->err == KMY_CONFLICT)
        kmy_paid_undone(s, c, req, demand, slip, NULL);
    else /* also one that is no payment: an offer of what cannot be sold would be a lie */
        *none = true;
    return true;
}
