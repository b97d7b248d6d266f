/* dollar 2/7 to 4/7   in: engine/slips (shard)   out: engine/cashier_pay, or a refusal

   A presented payment, judged by everything that can be known without asking anybody. */
#include "engine/cashier_inside.h"

#include "pay/payment_id.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CLIENT_ID_MIN = 16, CLIENT_ID_MAX = 128 }; /* of the extension payment-identifier */

typedef struct presented {
    kmy_slip_t *slip;
    char buffer[KMY_PAYMENT_BYTES_MAX];
    kmy_payment_t payment;
    kmy_pay_verdict_t verdict;
    bool late;
    char client_id[CLIENT_ID_MAX + 1];
    /* of a refusal */
    kmy_err_t err;
    const char *reason;
    kmy_errctx_t ctx;
} presented_t;

static bool refuse(presented_t *p, kmy_err_t err, kmy_pay_reason_t reason, const char *detail)
{
    p->err = err;
    p->reason = kmy_pay_reason(reason);
    if (detail)
        snprintf(p->ctx.detail, sizeof p->ctx.detail, "%s", detail);
    return false;
}

static bool parse(presented_t *p)
{
    const kmy_slip_t *s = p->slip;
    KMY_ASSERT(s->header_bytes <= sizeof s->header);
    kmy_pay_reason_t why =
        kmy_payment_parse(s->header, s->header_bytes, p->buffer, &p->payment, &p->ctx);
    if (why != KMY_PAY_NONE)
        return refuse(p, KMY_UNPAID, why, NULL);
    if (s->version != 0 && (int)s->version != p->payment.version)
        return refuse(p, KMY_UNPAID, KMY_PAY_VERSION,
                      "version 1 comes in X-PAYMENT, version 2 in PAYMENT-SIGNATURE");
    return true;
}

/* {"payment-identifier":{"info":{"id":"..."}}}: the client's own id, unique among its payments. */
static bool read_client_id(presented_t *p)
{
    static const char legal[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    kmy_json_field_t ext = { .key = "payment-identifier" };
    kmy_json_field_t info = { .key = "info" };
    kmy_json_field_t id = { .key = "id" };
    size_t len;
    p->client_id[0] = 0;
    if (p->payment.extensions.type != KMY_JSON_OBJECT ||
        !kmy_json_members(p->payment.extensions, &ext, 1) || ext.token.type != KMY_JSON_OBJECT ||
        !kmy_json_members(ext.token, &info, 1) || info.token.type != KMY_JSON_OBJECT ||
        !kmy_json_members(info.token, &id, 1) || id.token.type == KMY_JSON_ERROR ||
        id.token.type == KMY_JSON_NULL)
        return true;
    if (id.token.type == KMY_JSON_STRING &&
        kmy_json_unescape(id.token, p->client_id, sizeof p->client_id, &len) &&
        len >= CLIENT_ID_MIN && strspn(p->client_id, legal) == len)
        return true;
    return refuse(p, KMY_UNPAID, KMY_PAY_PAYLOAD,
                  "payment-identifier: id must have 16 to 128 letters, digits, - or _");
}

/* --- against what was offered ------------------------------------------------------------------- */

/* Each network at each amount.  Copies of what was made at start: 64 of them are some 60 KiB. */
static kmy_pay_offer_t make_offer(kmy_cashier_t *c, const kmy_slip_t *s)
{
    size_t n = 0;
    KMY_ASSERT(s->amounts_count <= KMY_SLIP_AMOUNTS_MAX);
    for (uint32_t i = 0; i < c->networks_count; i++) {
        const kmy_pay_way_t *way = &c->networks[i].way;
        for (uint32_t a = 0; a < s->amounts_count && c->networks[i].taken; a++) {
            c->offer[n] = way->entry;
            kmy_pay_entry_price(&c->offer[n++],
                                kmy_pay_units(s->amounts_nusd[a], way->min_payment_nusd));
        }
    }
    return (kmy_pay_offer_t){ c->offer, n, s->resource_url[0] ? s->resource_url : NULL };
}

/* What an authorization says of its end, without belief; false: it says nothing that is a time. */
static bool claimed_end(const kmy_payment_t *p, int64_t *end_s)
{
    kmy_json_field_t a = { .key = "authorization" };
    kmy_json_field_t b = { .key = "validBefore" };
    uint8_t word[KMY_EVM_WORD_BYTES];
    if (!kmy_json_members(p->payload, &a, 1) || a.token.type != KMY_JSON_OBJECT ||
        !kmy_json_members(a.token, &b, 1) || b.token.type != KMY_JSON_STRING ||
        !kmy_evm_word_parse(b.token.text, b.token.len, word))
        return false;
    uint64_t end = kmy_evm_word_u64(word);
    *end_s = (int64_t)end;
    return end <= INT64_MAX && end >= KMY_PAY_SECONDS_LEFT_MIN;
}

/* One that ended may have been paid in time: whoever holds it may still ask what came of it, so it is judged by the clock of then. */
static bool verify(kmy_cashier_t *c, presented_t *p)
{
    kmy_pay_offer_t offer = make_offer(c, p->slip);
    int64_t end_s;
    kmy_pay_verify(&offer, &p->payment, c->now_s, &p->verdict, &p->ctx);
    p->late = p->verdict.reason == KMY_PAY_EVM_BEFORE && claimed_end(&p->payment, &end_s);
    if (p->late)
        kmy_pay_verify(&offer, &p->payment, end_s - KMY_PAY_SECONDS_LEFT_MIN, &p->verdict, &p->ctx);
    if (p->verdict.result == KMY_PAY_INVALID && !p->verdict.ask_chain)
        return refuse(p, KMY_UNPAID, p->verdict.reason, NULL);
    return true;
}

/* The part of a CAIP-10 name behind its chain. */
static const char *address_of(const char *account)
{
    const char *colon = strrchr(account, ':');
    return colon ? colon + 1 : account;
}

bool kmy_payer_has(const char *account, const char *payer, bool contract)
{
    bool evm = strncmp(account, "eip155:", 7) == 0 && strncmp(payer, "eip155:", 7) == 0;
    return evm && !contract ? strcmp(address_of(account), address_of(payer)) == 0
                            : strcmp(account, payer) == 0;
}

/* --- a case --------------------------------------------------------------------------------------- */

static void fill_row(const presented_t *p, kmy_case_t *k)
{
    const kmy_pay_verdict_t *v = &p->verdict;
    kmy_payment_row_t *r = &k->row;
    kmy_payment_id(v->entry, v->payer, v->nonce, r->id);
    r->version = (uint8_t)p->payment.version;
    r->query = p->slip->kind == KMY_SLIP_QUERY;
    r->contract = v->result != KMY_PAY_VALID;
    snprintf(r->account, sizeof r->account, "%s", v->account);
    snprintf(r->chain, sizeof r->chain, "%s", v->entry->chain);
    snprintf(r->asset, sizeof r->asset, "%s", v->entry->asset);
    memcpy(r->payer, v->payer, sizeof r->payer);
    memcpy(r->nonce, v->nonce, sizeof r->nonce);
    r->amount_units = v->entry->amount_units;
    r->price_nusd = r->query ? p->slip->amounts_nusd[0] : 0;
    r->valid_before_s = v->valid_before_s;
    snprintf(r->client_id, sizeof r->client_id, "%s", p->client_id);
}

static bool keep_json(const presented_t *p, kmy_case_t *k)
{
    const kmy_slip_t *s = p->slip;
    k->json = malloc(KMY_PAYMENT_BYTES_MAX);
    if (!k->json)
        return false;
    k->row.json = k->json;
    k->row.json_bytes = (uint32_t)kmy_payment_base64(s->header, s->header_bytes, k->json);
    if (p->verdict.result !=
        KMY_PAY_VALID) { /* the same bytes as were parsed, so at the same place */
        k->signature_at = (uint32_t)(p->verdict.signature.text - p->buffer);
        k->signature_bytes = (uint32_t)p->verdict.signature.len;
        memcpy(k->digest, p->verdict.digest, sizeof k->digest);
    }
    return true;
}

static kmy_case_t *make_case(kmy_cashier_t *c, const presented_t *p)
{
    kmy_case_t *k = kmy_case_take(c, KMY_CASE_PAYMENT);
    if (!k)
        return NULL;
    fill_row(p, k);
    k->net = kmy_cashier_network(c, p->verdict.entry->chain);
    k->entry = *p->verdict.entry;
    k->late = p->late;
    k->known_only = p->slip->known_only != 0;
    memcpy(k->resource_url, p->slip->resource_url, sizeof k->resource_url);
    if (keep_json(p, k))
        return k;
    kmy_case_free(c, k);
    return NULL;
}

static bool judge(kmy_cashier_t *c, presented_t *p)
{
    KMY_COUNT(c->metrics, payment_check_total, 1);
    if (c->draining)
        return refuse(p, KMY_UNAVAILABLE, KMY_PAY_NONE, "restarting: send it again in a moment");
    if (atomic_load(&c->topology->ledger_damaged))
        return refuse(
            p, KMY_UNAVAILABLE, KMY_PAY_NONE,
            "the ledger is damaged: no payments are taken until its operator has seen to it");
    if (!c->o.offers->open)
        return refuse(p, KMY_UNAVAILABLE, KMY_PAY_NONE, "payments are not taken here");
    if (!parse(p) || !read_client_id(p) || !verify(c, p))
        return false;
    const kmy_slip_t *s = p->slip;
    if (s->account[0] &&
        !kmy_payer_has(s->account, p->verdict.account, p->verdict.result != KMY_PAY_VALID))
        return refuse(p, KMY_FORBIDDEN, KMY_PAY_PAYER_MISMATCH,
                      "signed by another wallet than this account's; nothing was taken");
    return true;
}

void kmy_cashier_presented(kmy_cashier_t *c, uint32_t shard, uint32_t slip)
{
    static _Thread_local presented_t p;
    memset(&p.ctx, 0, sizeof p.ctx);
    p.slip = kmy_cashier_slip(c, shard, slip);
    if (!judge(c, &p)) {
        kmy_cashier_refuse(c, shard, slip, p.err, p.reason, p.ctx.detail);
        return;
    }
    bool contract = p.verdict.result != KMY_PAY_VALID;
    char id[KMY_PAYMENT_ID_BYTES];
    kmy_payment_id(p.verdict.entry, p.verdict.payer, p.verdict.nonce, id);
    kmy_case_t *k = contract || p.slip->known_only ? NULL : kmy_case_of(c, id);
    if (k) { /* the same payment once more: one settlement, and the same answer */
        kmy_cashier_attach(c, k, shard, slip);
        kmy_pay_again(c, k);
        return;
    }
    k = make_case(c, &p);
    if (!k) {
        kmy_cashier_refuse(c, shard, slip, KMY_UNAVAILABLE, "",
                           "too many payments are under way; try again in a moment");
        return;
    }
    kmy_cashier_attach(c, k, shard, slip);
    if (contract)
        kmy_contract_begin(c, k);
    else
        kmy_pay_begin(c, k);
}
