#include "engine/snapshot_route.h"

#include "base/money.h"
#include "engine/account.h"
#include "engine/bearer.h"
#include "engine/body.h"
#include "engine/grant.h"
#include "engine/page.h"
#include "engine/paid.h"
#include "engine/query_ask.h"
#include "engine/reply.h"
#include "engine/throttle.h"
#include "engine/uses.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum { FORM_JSON, FORM_FLAT, FORM_LMDB, FORMS } form_t;
static const char *const types[FORMS] = {
    [FORM_JSON] = "application/json",
    [FORM_FLAT] = "application/vnd.kamiyo.flatbuffers",
    [FORM_LMDB] = "application/vnd.lmdb",
};

/* The first of ours that an Accept names; JSON for who names none.  Weights are not looked at: who wants one form names it. */
static form_t accepted(const kmy_http_request_t *req)
{
    for (size_t i = 0; i < req->headers_count; i++) {
        kmy_view_t v = req->headers[i].value;
        while (kmy_view_is_nocase(req->headers[i].name, "accept") && v.len > 0) {
            const char *comma = memchr(v.ptr, ',', v.len);
            size_t len = comma ? (size_t)(comma - v.ptr) : v.len;
            kmy_view_t item = { v.ptr, len };
            v.ptr += len + (comma != NULL);
            v.len -= len + (comma != NULL);
            const char *semicolon = memchr(item.ptr, ';', item.len);
            if (semicolon)
                item.len = (size_t)(semicolon - item.ptr);
            while (item.len > 0 && (*item.ptr == ' ' || *item.ptr == '\t'))
                item.ptr++, item.len--;
            while (item.len > 0 &&
                   (item.ptr[item.len - 1] == ' ' || item.ptr[item.len - 1] == '\t'))
                item.len--;
            for (int form = 0; form < FORMS; form++) {
                if (kmy_view_is_nocase(item, types[form]))
                    return (form_t)form;
            }
        }
    }
    return FORM_JSON;
}

typedef struct selection {
    uint64_t feeds[KMY_FEEDS_MAX / 64]; /* by catalog idx */
    uint32_t count;
    int64_t percent; /* of its price each of them costs */
    int64_t price_nusd;
} selection_t;

static bool is_in(const uint64_t *feeds, uint32_t idx)
{
    return feeds[idx / 64] >> idx % 64 & 1;
}

static int64_t item_nusd(const kmy_shard_t *s, const selection_t *sel, uint32_t idx)
{
    return s->catalog->feeds[idx].query_nusd * sel->percent / 100;
}

/* As a batch is priced: each feed at its own query price, all of them cheaper from batch_from on. */
static void price(const kmy_shard_t *s, selection_t *sel)
{
    sel->count = 0;
    sel->price_nusd = 0;
    for (uint32_t i = 0; i < KMY_FEEDS_MAX / 64; i++)
        sel->count += (uint32_t)__builtin_popcountll(sel->feeds[i]);
    sel->percent = sel->count >= (uint32_t)s->config->prices.batch_from
                       ? 100 - s->config->prices.batch_discount_percent
                       : 100;
    for (uint32_t i = 0; i < s->catalog->feeds_count; i++) {
        if (is_in(sel->feeds, i))
            sel->price_nusd += item_nusd(s, sel, i);
    }
}

/* Item by item, as a batch is: of the price, which the customer's discount or a cap may have lowered, what the items up to this one have to bear, less what those
   before it bore. */
static void charge(kmy_shard_t *s, kmy_shard_account_t *acc, const selection_t *sel)
{
    __int128 all_nusd = 0;
    __int128 so_far_nusd = 0;
    int64_t charged_nusd = 0;
    for (uint32_t i = 0; i < s->catalog->feeds_count; i++)
        all_nusd += is_in(sel->feeds, i) ? item_nusd(s, sel, i) : 0;
    for (uint32_t i = 0; i < s->catalog->feeds_count; i++) {
        if (!is_in(sel->feeds, i))
            continue;
        so_far_nusd += item_nusd(s, sel, i);
        int64_t due_nusd = all_nusd > 0 ? (int64_t)(sel->price_nusd * so_far_nusd / all_nusd) : 0;
        kmy_account_charge(s, acc, due_nusd - charged_nusd, i, KMY_MODE_BATCH);
        charged_nusd = due_nusd;
    }
}

/* Every feed that has a value; `all`: every feed, for the price that is told to who does not pay. */
static void choose(const kmy_shard_t *s, selection_t *sel, bool all)
{
    memset(sel->feeds, 0, sizeof sel->feeds);
    for (uint32_t i = 0; i < s->catalog->feeds_count; i++) {
        if (all || s->feeds[i].last.offset > 0)
            sel->feeds[i / 64] |= UINT64_C(1) << i % 64;
    }
    price(s, sel);
}

static bool nothing(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, const char *why)
{
    char text[160];
    snprintf(text, sizeof text, "%s%s", why,
             kmy_grant_on_account(c) ? "; the money is on the payer's account: sign in for its "
                                       "token at POST /v1/tokens"
                                     : "");
    if (kmy_grant_on_account(c) || kmy_throttle_stranger(s, c, req))
        kmy_reply_problem_with(s, c, req, KMY_UNAVAILABLE, text, "Retry-After: 1\r\n", NULL);
    return true;
}

static void put_json(const kmy_shard_t *s, kmy_buf_t *b, const selection_t *sel,
                     int64_t charged_nusd, int64_t left_nusd)
{
    bool first = true;
    kmy_buf_str(b, "{\"feeds\":[");
    for (uint32_t i = 0; i < s->catalog->feeds_count; i++) {
        if (!is_in(sel->feeds, i))
            continue;
        kmy_buf_str(b, first ? "{" : ",{");
        kmy_query_put(s, b, &s->catalog->feeds[i]);
        kmy_buf_str(b, "}");
        first = false;
    }
    kmy_buf_fmt(b, "],\"count\":%u,\"charged\":", sel->count);
    kmy_buf_json_nusd(b, charged_nusd);
    kmy_buf_str(b, ",\"balance\":");
    kmy_buf_json_nusd(b, left_nusd);
    kmy_buf_str(b, "}");
}

static void give_json(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                      kmy_shard_account_t *acc, const selection_t *sel)
{
    kmy_buf_t b = kmy_reply_body(s);
    charge(s, acc, sel);
    put_json(s, &b, sel, sel->price_nusd, kmy_account_balance(acc));
    kmy_reply_json(s, c, req, &b);
}

/* Where the body is no JSON, the head tells what it cost. */
static void put_receipt(char out[256], const kmy_shard_account_t *acc, const selection_t *sel)
{
    char charged[KMY_NUSD_BYTES_MAX];
    char balance[KMY_NUSD_BYTES_MAX];
    kmy_nusd_format(sel->price_nusd, charged);
    kmy_nusd_format(kmy_account_balance(acc), balance);
    kmy_buf_t b = kmy_buf(out, 255);
    kmy_buf_fmt(&b, "Kamiyo-Count: %u\r\nKamiyo-Charged: %s\r\nKamiyo-Balance: %s\r\n", sel->count,
                charged, balance);
    KMY_ASSERT(!b.overflow);
    out[b.len] = 0;
}

static void give_flat(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                      kmy_shard_account_t *acc, const selection_t *sel)
{
    kmy_buf_t b = kmy_reply_body(s);
    char receipt[256];
    for (uint32_t i = 0; i < s->catalog->feeds_count; i++) {
        uint8_t frame[KMY_TICK_FLAT_BYTES_MAX];
        if (is_in(sel->feeds, i))
            kmy_buf_bytes(&b, frame, kmy_flat_encode(&s->feeds[i].flat, &s->feeds[i].last, frame));
    }
    charge(s, acc, sel);
    put_receipt(receipt, acc, sel);
    kmy_reply(s, c, req, 200, types[FORM_FLAT], receipt, &b);
}

/* --- who pays for it ----------------------------------------------------------------------- */

static kmy_demand_t demand_of(int64_t price_nusd)
{
    return kmy_demand_price("/v1/snapshot", "the newest tick of every feed", price_nusd);
}

/* The file is here, or could not be made. */
static bool give_lmdb(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req)
{
    static _Thread_local selection_t sel;
    kmy_shard_account_t *acc;
    kmy_token_claims_t claims;
    char receipt[256];
    kmy_blob_t *blob = c->page->blob;
    if (!blob)
        return nothing(s, c, req, "no snapshot can be made now; nothing was charged");
    memcpy(sel.feeds, blob->feeds, sizeof sel.feeds);
    price(s, &sel);
    sel.price_nusd = kmy_grant_cap(c, sel.price_nusd);
    if (sel.count == 0)
        return nothing(s, c, req, "no feed has a value yet; nothing was charged");
    kmy_demand_t demand = demand_of(sel.price_nusd);
    kmy_bearer_t p = kmy_bearer_secure(s, c, req, NULL, &demand, &acc, &claims);
    if (p != KMY_BEARER_OK)
        return p != KMY_BEARER_PARKED;
    sel.price_nusd = kmy_account_price(acc, sel.price_nusd);
    charge(s, acc, &sel);
    put_receipt(receipt, acc, &sel);
    kmy_body_reply(s, c, req, types[FORM_LMDB], receipt, kmy_blob_ref(blob));
    return true;
}

static bool begin_lmdb(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req)
{
    kmy_page_t *p = calloc(1, sizeof *p);
    if (!p)
        return nothing(s, c, req, "no memory for it now");
    p->kind = KMY_HISTORY_EXPORT;
    kmy_page_begin(s, c, p);
    return false;
}

typedef struct order {
    form_t form;
    selection_t *sel;     /* what can be had now */
    int64_t offered_nusd; /* for all feeds */
} order_t;

/* What is kept with a payment is JSON that is short enough; every other form is charged to the payer's account. */
static bool compose(kmy_shard_t *s, void *arg, kmy_paid_bill_t *bill, kmy_buf_t *b)
{
    const order_t *o = arg;
    /* Without the discount of a batch a part may cost more than the whole: no more than was offered. */
    int64_t price_nusd =
        o->sel->price_nusd < o->offered_nusd ? o->sel->price_nusd : o->offered_nusd;
    if (o->form != FORM_JSON || price_nusd == 0 ||
        !kmy_paid_charge(bill, price_nusd, 0, o->sel->count))
        return false;
    put_json(s, b, o->sel, bill->charged_nusd, bill->left_nusd);
    return true;
}

/* false: *done as routes return; true: go on, on the payer's account. */
static bool pay(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                const kmy_demand_t *demand, order_t *o, bool *done)
{
    const kmy_ware_t ware = { .compose = compose, .arg = o, .else_account = true };
    kmy_sold_t sold = kmy_paid_sell(s, c, req, demand, &ware, o->sel->count > 0);
    *done = sold != KMY_SOLD_PARKED;
    if (sold == KMY_SOLD_NOTHING)
        *done = nothing(s, c, req, "no feed has a value yet; nothing was charged");
    return sold == KMY_SOLD_ON_ACCOUNT;
}

/* For who pays, or shows that he can. */
static bool give(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, const order_t *o,
                 kmy_demand_t *demand)
{
    kmy_shard_account_t *acc;
    kmy_token_claims_t claims;
    bool known = kmy_grant_on_account(c) || kmy_http_header(req, "authorization");
    if (known && o->sel->count == 0)
        return nothing(s, c, req, "no feed has a value yet; nothing was charged");
    o->sel->price_nusd = kmy_grant_cap(c, o->sel->price_nusd);
    if (known) /* who shows nothing learns the price, not our state */
        demand->price_nusd = o->sel->price_nusd;
    kmy_bearer_t p = kmy_bearer_secure(s, c, req, NULL, demand, &acc, &claims);
    if (p != KMY_BEARER_OK)
        return p != KMY_BEARER_PARKED;
    if (o->sel->count == 0)
        return nothing(s, c, req, "no feed has a value yet; nothing was charged");
    if (o->form == FORM_LMDB) /* secured so that nobody has files made that he cannot pay */
        return begin_lmdb(s, c, req);
    o->sel->price_nusd = kmy_account_price(acc, o->sel->price_nusd);
    if (o->form == FORM_FLAT)
        give_flat(s, c, req, acc, o->sel);
    else
        give_json(s, c, req, acc, o->sel);
    return true;
}

bool kmy_snapshot_get(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req, kmy_view_t body)
{
    (void)body;
    static _Thread_local selection_t sel;
    bool done;
    if (c->page) { /* the request again, with its file */
        KMY_ASSERT(c->page->whole);
        done = give_lmdb(s, c, req);
        if (done)
            kmy_page_forget(s, c);
        return done;
    }
    choose(s, &sel, true);
    kmy_demand_t demand = demand_of(sel.price_nusd);
    order_t o = { accepted(req), &sel, sel.price_nusd };
    choose(s, &sel, false);
    if (kmy_paid_wanted(req) && demand.price_nusd > 0 && !kmy_grant_on_account(c) &&
        !pay(s, c, req, &demand, &o, &done))
        return done;
    return give(s, c, req, &o, &demand);
}
