/* dollar 1/7 and 7/7   in: engine/routes   out: engine/paid, engine/slips */
#include "engine/pay_routes.h"

#include "base/clock.h"
#include "base/money.h"
#include "engine/allow_route.h"
#include "engine/mint.h"
#include "engine/offers.h"
#include "engine/paid.h"
#include "engine/pay_header.h"
#include "engine/bearer.h"
#include "engine/reply.h"
#include "engine/slips.h"
#include "engine/throttle.h"
#include "pay/challenge.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const int64_t deposit_min_nusd = KMY_NUSD_PER_USD / 100;
static const int64_t deposit_max_nusd = 1000 * KMY_NUSD_PER_USD;

static const char path_deposit[] = "/v1/deposit", path_tokens[] = "/v1/tokens";

static bool refuse(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_err_t err,
                   const char *why)
{
    if (kmy_throttle_stranger(s, c, req))
        kmy_reply_problem(s, c, req, err, why);
    return true;
}

static void put_money(kmy_buf_t *b, const char *key, int64_t nusd)
{
    kmy_buf_fmt(b, ",\"%s\":", key);
    kmy_buf_json_nusd(b, nusd);
}

static void put_text(kmy_buf_t *b, const char *key, const char *text)
{
    kmy_buf_fmt(b, ",\"%s\":", key);
    kmy_buf_json_str(b, text, strlen(text));
}

/* --- deposit ------------------------------------------------------------------------------- */

/* The account, and a token of it: a new one, or, for who showed one, that one (slip.h: TRANSFER).  Or where to get one. */
static kmy_err_t put_whose(kmy_shard_t *s, const kmy_slip_t *slip, bool token, kmy_buf_t *b,
                           kmy_errctx_t *ctx)
{
    char url[KMY_RESOURCE_URL_BYTES_MAX];
    if (token && slip->kind == KMY_SLIP_TRANSFER && slip->body_bytes > 0) {
        kmy_buf_bytes(b, slip->body, slip->body_bytes);
        return KMY_OK;
    }
    if (token)
        return kmy_mint_put(s, slip->account, 0, b, ctx);
    kmy_offers_url(s->o.offers, path_tokens, url);
    kmy_buf_str(b, "\"account\":");
    kmy_buf_json_str(b, slip->account, strlen(slip->account));
    put_text(b, "sign_in", url);
    return KMY_OK;
}

/* What was credited, and a token: for who brought the payment before anybody else could (slip.h: exposed), or proved in another way who it is. */
static bool credited(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                     const kmy_slip_t *slip, bool token)
{
    char line[KMY_RECEIPT_LINE_BYTES_MAX];
    kmy_errctx_t ctx = { 0 };
    kmy_buf_t b = kmy_reply_body(s);
    if (!slip->exposed) /* else anybody could have brought it, again and again */
        kmy_throttle_undo(s, c, req);
    kmy_buf_str(&b, "{");
    kmy_err_t err = put_whose(s, slip, token, &b, &ctx);
    if (err != KMY_OK)
        return refuse(s, c, req, err, ctx.detail);
    put_money(&b, "balance", kmy_paid_left(s, slip));
    put_money(&b, "credited", slip->credited_nusd);
    put_text(&b, "transaction", slip->tx);
    put_text(&b, "network", slip->network);
    kmy_buf_str(&b, "}");
    kmy_paid_receipt(s, slip, line, sizeof line);
    kmy_reply(s, c, req, 200, "application/json", line, &b);
    return true;
}

/* A deposit by header, to whichever route sells one. */
static bool pay_in(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                   const kmy_demand_t *demand)
{
    const kmy_slip_t *slip = kmy_paid_slip(s, c);
    if (!slip)
        return kmy_paid_begin(s, c, req, demand, KMY_SLIP_DEPOSIT);
    if (slip->result == KMY_SLIP_DONE || slip->result == KMY_SLIP_AGAIN)
        return credited(s, c, req, slip, !slip->exposed);
    kmy_paid_undone_deposit(s, c, req, demand, slip);
    return true;
}

static bool names_amount(kmy_view_t query)
{
    static const char name[] = "amount";
    for (size_t i = 0; i + sizeof name - 1 <= query.len; i++) {
        if ((i == 0 || query.ptr[i - 1] == '&') &&
            memcmp(query.ptr + i, name, sizeof name - 1) == 0)
            return true;
    }
    return false;
}

/* *amount_nusd 0: none was named.  false: it is none of ours. */
static bool read_amount(const kmy_http_request_t *req, int64_t *amount_nusd)
{
    char text[32];
    *amount_nusd = 0;
    if (!kmy_http_query(req->query, "amount", text, sizeof text))
        return !names_amount(req->query);
    return kmy_nusd_parse(text, strlen(text), amount_nusd) == KMY_OK &&
           *amount_nusd >= deposit_min_nusd && *amount_nusd <= deposit_max_nusd;
}

bool kmy_pay_deposit(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    (void)body;
    int64_t amount_nusd;
    if (!read_amount(req, &amount_nusd))
        return refuse(s, c, req, KMY_BAD_INPUT,
                      "amount must be once, 0.01 to 1000 USD: ?amount=0.10");
    kmy_demand_t demand = kmy_demand_deposit(path_deposit, amount_nusd);
    if (kmy_paid_wanted(req))
        return pay_in(s, c, req, &demand);
    if (kmy_throttle_address(s, c, req))
        kmy_demand_pay(
            s, c, req, &demand, KMY_UNPAID, NULL,
            s->o.offers->open
                ? "pay one of these amounts: it is credited to the payer, who gets a token"
                : "payments are not offered here: ask the operator for a token",
            0, "");
    return true;
}

/* --- sign-in ------------------------------------------------------------------------------- */

/* Sends the proof to the cashier. */
static bool begin_signin(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                         kmy_view_t header)
{
    kmy_slip_t *slip =
        kmy_throttle_address(s, c, req) ? kmy_paid_take_slip(s, c, req, KMY_SLIP_SIGNIN) : NULL;
    if (!slip)
        return true;
    slip->header_bytes = (uint32_t)header.len;
    memcpy(slip->header, header.ptr, header.len);
    kmy_slip_send_and_park(s, c, slip);
    return false;
}

/* Signed in, but never paid: account is the address. */
static bool is_newcomer(const kmy_slip_t *slip)
{
    return slip->result == KMY_SLIP_NOT_FOUND && slip->account[0];
}

static bool signed_in(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                      const kmy_demand_t *demand, const kmy_slip_t *slip)
{
    kmy_errctx_t ctx = { 0 };
    if (is_newcomer(slip)) {
        kmy_demand_pay(s, c, req, demand, KMY_UNPAID, NULL,
                       "this address has no account yet: its first payment makes one", 0, "");
        return true;
    }
    if (slip->result != KMY_SLIP_DONE) {
        kmy_paid_undone(s, c, req, demand, slip, NULL);
        return true;
    }
    kmy_buf_t b = kmy_reply_body(s);
    kmy_throttle_undo(s, c, req);
    kmy_buf_str(&b, "{");
    kmy_err_t err = kmy_mint_put(s, slip->account, 0, &b, &ctx);
    if (err != KMY_OK)
        return refuse(s, c, req, err, ctx.detail);
    put_money(&b, "balance", kmy_paid_left(s, slip));
    kmy_buf_str(&b, "}");
    kmy_reply_json(s, c, req, &b);
    return true;
}

bool kmy_pay_tokens(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    kmy_demand_t demand = kmy_demand_deposit(path_tokens, 0);
    kmy_errctx_t ctx = { 0 };
    kmy_view_t header;
    kmy_slip_t *slip = kmy_paid_slip(s, c);
    demand.signin = true;
    if (kmy_allow_wanted(req, body))
        return kmy_allow_route(s, c, req, body);
    if (slip && slip->kind == KMY_SLIP_SIGNIN)
        return signed_in(s, c, req, &demand, slip);
    if (kmy_paid_wanted(req))
        return pay_in(s, c, req, &demand);
    if (kmy_signin_header(req, &header, &ctx) != KMY_OK)
        return refuse(s, c, req, KMY_BAD_INPUT, ctx.detail);
    if (header.len > 0)
        return begin_signin(s, c, req, header);
    if (kmy_throttle_address(s, c, req))
        kmy_demand_pay(s, c, req, &demand, KMY_UNPAID, NULL,
                       s->o.offers->open ? "sign in with the address that has paid, or pay now"
                                         : "sign in with the address that has paid",
                       0, "");
    return true;
}

/* --- a transfer made alone ------------------------------------------------------------------- */

static bool is_transaction(const char *tx, size_t len)
{
    return len >= 32 &&
           strspn(tx, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") == len;
}

/* {"tx_hash","network"}.  The network must be one whose chain we can ask. */
static kmy_err_t read_transfer(const kmy_shard_t *s, kmy_view_t body, char tx[KMY_TX_BYTES_MAX],
                               const char **chain, kmy_errctx_t *ctx)
{
    kmy_json_t js;
    kmy_json_field_t f[] = { { .key = "tx_hash" }, { .key = "network" } };
    size_t len;
    kmy_json_init(&js, body.ptr, body.len);
    kmy_err_t err = kmy_json_object(&js, f, 2, ctx);
    if (err != KMY_OK)
        return err;
    if (kmy_json_next(&js).type != KMY_JSON_END)
        return KMY_FAIL(ctx, KMY_BAD_INPUT, "something stands behind the body's JSON");
    if (f[0].token.type != KMY_JSON_STRING ||
        !kmy_json_unescape(f[0].token, tx, KMY_TX_BYTES_MAX, &len) || !is_transaction(tx, len))
        return KMY_FAIL(ctx, KMY_BAD_INPUT,
                        "\"tx_hash\" must be a transaction's hash, or its signature on Solana");
    for (size_t i = 0; i < s->config->payments.networks_count; i++) {
        const kmy_config_network_t *n = &s->config->payments.networks[i];
        if (!kmy_json_is(f[1].token, n->name) && !kmy_json_is(f[1].token, n->chain))
            continue;
        if (!n->rpc[0])
            return KMY_FAIL(ctx, KMY_UNSUPPORTED, "the chain of %s is not looked at here", n->name);
        *chain = n->chain;
        return KMY_OK;
    }
    return KMY_FAIL(ctx, KMY_BAD_INPUT, "\"network\" must be one of those that a 402 names");
}

/* The token that was shown, to be answered as it is: a new one would outlive it, its revocation too. */
static void keep_shown(kmy_slip_t *slip, const kmy_http_request_t *req,
                       const kmy_token_claims_t *claims)
{
    enum { SCHEME = sizeof "Bearer " - 1 };
    const kmy_view_t *h = kmy_http_header(req, "authorization");
    kmy_buf_t b = kmy_buf(slip->body, sizeof slip->body);
    kmy_buf_str(&b, "\"account\":");
    kmy_buf_json_str(&b, claims->account, strlen(claims->account));
    kmy_buf_str(&b, ",\"token\":");
    kmy_buf_json_str(&b, h->ptr + SCHEME, h->len - SCHEME);
    put_text(&b, "jti", claims->jti);
    kmy_buf_fmt(&b, ",\"expires_at\":\"%" PRId64 "\"", claims->expires_s * KMY_NS_PER_S);
    KMY_ASSERT(!b.overflow); /* it was checked, so it is short */
    slip->body_bytes = (uint32_t)b.len;
}

/* Sends the question, on a slip that may have brought the sign-in.  claims: of the token that was shown, if one was. */
static bool send_transfer(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                          kmy_slip_t *slip, const char *account, const kmy_token_claims_t *claims,
                          const char *tx, const char *chain)
{
    char whose[KMY_ACCOUNT_BYTES_MAX];
    snprintf(whose, sizeof whose, "%s", account);
    if (!slip)
        slip = kmy_paid_take_slip(s, c, req, KMY_SLIP_TRANSFER);
    if (!slip)
        return true;
    memset(slip, 0, offsetof(kmy_slip_t, header));
    slip->kind = KMY_SLIP_TRANSFER;
    snprintf(slip->account, sizeof slip->account, "%s", whose);
    snprintf(slip->tx, sizeof slip->tx, "%s", tx);
    snprintf(slip->network, sizeof slip->network, "%s", chain);
    if (claims->jti[0])
        keep_shown(slip, req, claims);
    kmy_slip_send_and_park(s, c, slip);
    return false;
}

static bool transferred(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                        const kmy_slip_t *slip)
{
    kmy_demand_t demand = kmy_demand_deposit(path_deposit, 0);
    if (slip->result == KMY_SLIP_DONE || slip->result == KMY_SLIP_AGAIN)
        return credited(s, c, req, slip, true);
    kmy_paid_undone(s, c, req, &demand, slip, NULL);
    return true;
}

/* Whose transfer must it be?  true: *account says, and *claims if a token did; false: *done as routes return. */
static bool find_sender(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                        const kmy_slip_t *slip, const char **account, kmy_token_claims_t *claims,
                        bool *done)
{
    kmy_errctx_t ctx = { 0 };
    kmy_view_t header;
    *done = true;
    if (slip && (slip->result == KMY_SLIP_DONE || is_newcomer(slip))) {
        *account = slip->account; /* the sign-in is back: an address need not have paid before */
        return true;
    }
    if (slip) {
        kmy_paid_undone(s, c, req, NULL, slip, NULL);
        return false;
    }
    if (kmy_signin_header(req, &header, &ctx) != KMY_OK) {
        refuse(s, c, req, KMY_BAD_INPUT, ctx.detail);
        return false;
    }
    if (header.len > 0) {
        *done = begin_signin(s, c, req, header);
        return false;
    }
    if (!kmy_http_header(req, "authorization")) {
        refuse(s, c, req, KMY_UNAUTHENTICATED,
               "show that the transfer is yours: the payer's token, or SIGN-IN-WITH-X with a nonce "
               "that POST /v1/tokens gives");
        return false;
    }
    kmy_shard_account_t *acc;
    kmy_bearer_t p = kmy_bearer_find(s, c, req, NULL, NULL, &acc, claims);
    *done = p != KMY_BEARER_PARKED;
    if (p != KMY_BEARER_OK || !kmy_throttle_account(s, c, req, acc->name))
        return false;
    if (claims->scope[0]) { /* what is credited is for all feeds */
        kmy_reply_problem(s, c, req, KMY_FORBIDDEN,
                          "the token is for some feeds only: show one for all");
        return false;
    }
    *account = acc->name;
    return true;
}

bool kmy_pay_transfer(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    char tx[KMY_TX_BYTES_MAX];
    const char *chain = NULL;
    const char *account = NULL;
    kmy_token_claims_t claims = { 0 };
    kmy_errctx_t ctx = { 0 };
    bool done;
    kmy_slip_t *slip = kmy_paid_slip(s, c);
    if (slip && slip->kind == KMY_SLIP_TRANSFER)
        return transferred(s, c, req, slip);
    kmy_err_t err = read_transfer(s, body, tx, &chain, &ctx);
    if (err != KMY_OK)
        return refuse(s, c, req, err, ctx.detail);
    if (!find_sender(s, c, req, slip, &account, &claims, &done))
        return done;
    return send_transfer(s, c, req, slip, account, &claims, tx, chain);
}

/* --- how a payment stands ---------------------------------------------------------------------- */

/* The last part of the path; NULL: it is no id. */
static const char *id_of(kmy_view_t path)
{
    enum { ID = KMY_PAYMENT_ID_BYTES - 1, BEFORE = sizeof "/v1/payments/" - 1 };
    size_t api = path.len > 4 && memcmp(path.ptr, "/api", 4) == 0 ? 4 : 0;
    const char *id = path.ptr + path.len - ID;
    return path.len == api + BEFORE + ID && strspn(id, "0123456789abcdef") >= ID ? id : NULL;
}

static bool ask_state(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req)
{
    const char *id = id_of(req->path);
    if (!id)
        return refuse(s, c, req, KMY_BAD_INPUT, "a payment's id is 32 digits of 0-9 and a-f");
    kmy_slip_t *slip =
        kmy_throttle_free(s, c, req) ? kmy_paid_take_slip(s, c, req, KMY_SLIP_STATE) : NULL;
    if (!slip)
        return true;
    memcpy(slip->payment_id, id, sizeof slip->payment_id - 1);
    kmy_slip_send_and_park(s, c, slip);
    return false;
}

bool kmy_pay_state(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    (void)body;
    const kmy_slip_t *slip = kmy_paid_slip(s, c);
    if (!slip)
        return ask_state(s, c, req);
    if (slip->result == KMY_SLIP_NOT_FOUND) {
        kmy_reply_problem(s, c, req, KMY_NOT_FOUND, "no such payment");
        return true;
    }
    if (slip->result == KMY_SLIP_REFUSED) {
        kmy_paid_undone(s, c, req, NULL, slip, NULL);
        return true;
    }
    kmy_buf_t b = kmy_reply_body(s);
    kmy_buf_fmt(&b, "{\"payment_id\":\"%s\",\"state\":\"%s\"", slip->payment_id, slip->state);
    if (slip->network[0])
        put_text(&b, "network", slip->network);
    if (slip->tx[0])
        put_text(&b, "transaction", slip->tx);
    if (slip->reason[0])
        put_text(&b, "reason", slip->reason);
    kmy_buf_str(&b, "}");
    kmy_reply_json(s, c, req, &b);
    return true;
}

/* --- what we take -------------------------------------------------------------------------------- */

static void put_network(kmy_buf_t *b, const kmy_pay_way_t *way)
{
    const kmy_pay_entry_t *e = &way->entry;
    kmy_buf_str(b, "{\"scheme\":\"exact\"");
    put_text(b, "network", e->chain);
    put_text(b, "name", e->name);
    put_text(b, "asset", e->asset);
    put_text(b, "payTo", e->pay_to);
    put_money(b, "min_payment", way->min_payment_nusd);
    kmy_buf_str(b, "}");
}

bool kmy_pay_about(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    static const char *const paths[] = {
        "/v1/deposit", "/v1/ingest-data", "/v1/ingest-data/batch",
        "/v1/compare", "/v1/history",     "/v1/snapshot",
        "/v1/stream",  "/v1/passes",
    };
    const kmy_offers_t *o = s->o.offers;
    char url[KMY_RESOURCE_URL_BYTES_MAX];
    (void)body;
    if (!kmy_throttle_free(s, c, req))
        return true;
    kmy_buf_t b = kmy_reply_body(s);
    kmy_buf_str(&b, "{\"version\":1,\"x402Version\":[1,2],\"resources\":[");
    for (size_t i = 0; o->open && i < sizeof paths / sizeof paths[0]; i++) {
        kmy_offers_url(o, paths[i], url);
        kmy_buf_str(&b, i ? "," : "");
        kmy_buf_json_str(&b, url, strlen(url));
    }
    kmy_buf_str(&b, "],\"networks\":[");
    for (size_t i = 0; o->open && i < o->ways_count; i++) {
        kmy_buf_str(&b, i ? "," : "");
        put_network(&b, &o->ways[i]);
    }
    kmy_buf_str(&b, "]");
    kmy_offers_url(o, "/v1/feeds", url);
    put_text(&b, "prices", url);
    kmy_offers_url(o, path_tokens, url);
    put_text(&b, "sign_in", url);
    kmy_buf_str(&b, "}");
    kmy_reply_json(s, c, req, &b);
    return true;
}
