/* dollar 1/7   in: engine/query, engine/sse, engine/pay_routes   out: pay/challenge */
#include "engine/demand.h"

#include "base/clock.h"
#include "base/money.h"
#include "engine/grant.h"
#include "engine/offers.h"
#include "engine/reply.h"
#include "pay/signin_nonce.h"

#include <string.h>

enum {
    ANSWER_BYTES_MAX = 4096,   /* head and body together are below it */
    TRANSFER_BYTES_MAX = 1800, /* of the list of networks, if there are no offers */
    SIGNIN_CHAINS_MAX = 8,
    DEPOSIT_USD_CENTS = 10,
};

static const int64_t cent_nusd = KMY_NUSD_PER_USD / 100;

kmy_demand_t kmy_demand_price(const char *path, const char *description, int64_t price_nusd)
{
    return (kmy_demand_t){ .path = path,
                           .description = description,
                           .price_nusd = price_nusd,
                           .amounts_nusd = { price_nusd },
                           .amounts_count = price_nusd > 0 };
}

kmy_demand_t kmy_demand_deposit(const char *path, int64_t amount_nusd)
{
    kmy_demand_t d = { .path = path, .description = "prepaid balance" };
    if (amount_nusd > 0) {
        d.amounts_nusd[d.amounts_count++] = amount_nusd;
    } else {
        d.amounts_nusd[d.amounts_count++] = DEPOSIT_USD_CENTS * cent_nusd;
        d.amounts_nusd[d.amounts_count++] = KMY_NUSD_PER_USD;
    }
    d.price_nusd = d.amounts_nusd[0];
    return d;
}

/* How volume users pay less: once for many. */
static void put_deposit(const kmy_shard_t *s, kmy_buf_t *b)
{
    char url[KMY_RESOURCE_URL_BYTES_MAX];
    kmy_demand_t d = kmy_demand_deposit("/v1/deposit", 0);
    kmy_offers_url(s->o.offers, d.path, url);
    kmy_buf_str(b, ",\"deposit\":{\"url\":");
    kmy_buf_json_str(b, url, strlen(url));
    kmy_buf_str(b, ",\"amounts\":[");
    for (uint32_t i = 0; i < d.amounts_count; i++) {
        kmy_buf_str(b, i ? "," : "");
        kmy_buf_json_nusd(b, d.amounts_nusd[i]);
    }
    kmy_buf_str(b, "]}");
}

static void put_member(kmy_buf_t *b, const char *name, const char *value)
{
    kmy_buf_fmt(b, "\"%s\":", name);
    kmy_buf_json_str(b, value, strlen(value));
}

/* Nobody settles payments for us, but who sends the money without our help is credited: where to, and where to say so.  Only networks whose chain
   we can ask. */
static void put_transfer(const kmy_shard_t *s, kmy_buf_t *b)
{
    char url[KMY_RESOURCE_URL_BYTES_MAX];
    uint32_t count = 0;
    for (size_t i = 0; i < s->config->payments.networks_count; i++) {
        const kmy_config_network_t *n = &s->config->payments.networks[i];
        if (!n->rpc[0] || b->len > TRANSFER_BYTES_MAX)
            continue;
        if (count == 0) {
            kmy_offers_url(s->o.offers, "/v1/x402/verify-payment", url);
            kmy_buf_str(b, ",\"transfer\":{");
            put_member(b, "then", url);
            kmy_buf_str(b, ",\"networks\":[");
        }
        kmy_buf_str(b, count++ ? ",{" : "{");
        put_member(b, "network", n->chain);
        kmy_buf_str(b, ",");
        put_member(b, "asset", n->asset);
        kmy_buf_str(b, ",");
        put_member(b, "pay_to", n->pay_to);
        kmy_buf_str(b, "}");
    }
    if (count)
        kmy_buf_str(b, "]}");
}

/* What goes between the head's fixed lines and the body's end: the offers of both generations, as many as there is room for. */
static void put_offers(kmy_shard_t *s, const kmy_conn_t *c, const kmy_demand_t *d,
                       const char *error, kmy_buf_t *body, kmy_buf_t *lines)
{
    char url[KMY_RESOURCE_URL_BYTES_MAX];
    char nonce[KMY_SIGNIN_NONCE_DIGITS + 1];
    int64_t now_s = s->now_wall_ns / KMY_NS_PER_S;
    kmy_offers_url(s->o.offers, d->path, url);
    kmy_challenge_signin_t signin = {
        .domain = s->o.offers->domain, .uri = url, .nonce = nonce, .issued_s = now_s
    };
    bool signs = d->signin && kmy_signin_nonce_make(s->token_key, now_s, nonce);
    kmy_challenge_t ch = { .ways = s->o.offers->ways,
                           .ways_count = s->o.offers->ways_count,
                           .amounts_nusd = d->amounts_nusd,
                           .amounts_count = d->amounts_count,
                           .url = url,
                           .description = d->description,
                           .mime_type = "application/json",
                           .error = error,
                           .signin = signs ? &signin : NULL,
                           .identifier = !d->signin };
    size_t used = KMY_REPLY_HEAD_BYTES_MAX + strlen(s->limit_lines) + strlen(kmy_grant_receipt(c)) +
                  lines->len + body->len + strlen(",}");
    KMY_ASSERT(used < ANSWER_BYTES_MAX);
    kmy_challenge_cut_t cut = kmy_challenge_fit(&ch, ANSWER_BYTES_MAX - 1 - used);
    if (cut.v2 == 0)
        return;
    if (cut.v1)
        kmy_buf_str(body, ",");
    kmy_challenge_put_v1(&ch, cut.v1, body);
    kmy_challenge_put_header(&ch, cut.v2, lines);
}

/* Who has sent money without our help signs in too, and nothing is offered that could carry the nonce: the body does. */
static void put_signin(kmy_shard_t *s, const kmy_demand_t *d, kmy_buf_t *b)
{
    char url[KMY_RESOURCE_URL_BYTES_MAX];
    char nonce[KMY_SIGNIN_NONCE_DIGITS + 1];
    int64_t now_s = s->now_wall_ns / KMY_NS_PER_S;
    kmy_offers_url(s->o.offers, d->path, url);
    kmy_challenge_signin_t signin = {
        .domain = s->o.offers->domain, .uri = url, .nonce = nonce, .issued_s = now_s
    };
    size_t count =
        s->o.offers->ways_count < SIGNIN_CHAINS_MAX ? s->o.offers->ways_count : SIGNIN_CHAINS_MAX;
    if (count == 0 || !kmy_signin_nonce_make(s->token_key, now_s, nonce))
        return;
    kmy_buf_str(b, ",");
    kmy_challenge_put_signin(
        &(kmy_challenge_t){ .ways = s->o.offers->ways, .ways_count = count, .signin = &signin }, b);
}

void kmy_demand_pay(kmy_shard_t *s, kmy_conn_t *c, const kmy_http_request_t *req,
                    const kmy_demand_t *d, kmy_err_t err, const char *reason, const char *detail,
                    int64_t balance_nusd, const char *extra)
{
    char text[ANSWER_BYTES_MAX], head[ANSWER_BYTES_MAX];
    kmy_buf_t b = kmy_buf(text, sizeof text);
    kmy_buf_t lines = kmy_buf(head, sizeof head - 1);
    KMY_ASSERT(kmy_err_http(err) == 402);
    kmy_buf_str(&lines, extra);
    kmy_reply_put_problem(&b, err, detail);
    kmy_buf_str(&b, ",\"required\":");
    kmy_buf_json_nusd(&b, d->price_nusd);
    if (err == KMY_NO_BALANCE) {
        kmy_buf_str(&b, ",\"balance\":");
        kmy_buf_json_nusd(&b, balance_nusd);
    }
    if (s->o.offers->open) {
        put_deposit(s, &b);
        if (d->amounts_count > 0)
            put_offers(s, c, d, reason && reason[0] ? reason : kmy_err_text(err), &b, &lines);
    } else {
        put_transfer(s, &b);
        if (d->signin)
            put_signin(s, d, &b);
    }
    kmy_buf_str(&b, "}");
    KMY_ASSERT(!b.overflow && !lines.overflow);
    head[lines.len] = 0;
    kmy_reply(s, c, req, kmy_err_http(err), "application/json", head, &b);
}

void kmy_demand_members(kmy_offers_t *o)
{
    static const char v1[] = ",\"v1\":{", v2[] = ",\"v2\":";
    char url[KMY_RESOURCE_URL_BYTES_MAX];
    kmy_demand_t d = kmy_demand_deposit("/v1/deposit", 0);
    kmy_buf_t b = kmy_buf(o->members, sizeof o->members);
    o->members_bytes = 0;
    if (!o->open)
        return;
    kmy_offers_url(o, d.path, url);
    kmy_challenge_t ch = { .ways = o->ways,
                           .ways_count = o->ways_count,
                           .amounts_nusd = d.amounts_nusd,
                           .amounts_count = d.amounts_count,
                           .url = url,
                           .description = d.description,
                           .mime_type = "application/json",
                           .error = kmy_err_text(KMY_NO_BALANCE),
                           .identifier = true };
    /* It measures v2 as base64, by a third longer than it is here: all the better. */
    kmy_challenge_cut_t cut = kmy_challenge_fit(&ch, sizeof o->members - sizeof v1 - sizeof v2 - 1);
    KMY_ASSERT(cut.v2 > 0);
    if (cut.v1) {
        kmy_buf_str(&b, v1);
        kmy_challenge_put_v1(&ch, cut.v1, &b);
        kmy_buf_str(&b, "}");
    }
    kmy_buf_str(&b, v2);
    kmy_challenge_put_v2(&ch, cut.v2, &b);
    KMY_ASSERT(!b.overflow);
    o->members_bytes = b.len;
}
