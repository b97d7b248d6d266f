/* dollar 1/7   in: configuration, the public door's address   out: pay/challenge, by engine/demand */
#include "engine/offers.h"

#include "base/log.h"
#include "engine/settler_key.h"
#include "pay/network.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

_Static_assert((int)KMY_CONFIG_NETWORKS_MAX <= (int)KMY_CHALLENGE_WAYS_MAX, "all of them fit");

static bool ends_with(const char *text, size_t len, const char *end)
{
    size_t n = strlen(end);
    return len >= n && memcmp(text + len - n, end, n) == 0;
}

/* As the URL class of browsers and clients gives `origin` and `host`: they compare those. */
static void set_origin(kmy_offers_t *o)
{
    const char *host = strstr(o->url, "://");
    KMY_ASSERT(host != NULL);
    host += 3;
    size_t len = strcspn(host, "/");
    bool tls = strncmp(o->url, "https:", 6) == 0;
    if (ends_with(host, len, tls ? ":443" : ":80"))
        len -= tls ? 4 : 3;
    for (size_t i = 0; i < len; i++)
        o->domain[i] = (char)tolower((unsigned char)host[i]);
    o->domain[len] = '\0';
    snprintf(o->origin, sizeof o->origin, "%s://%.190s", tls ? "https" : "http", o->domain);
}

static kmy_err_t set_address(kmy_offers_t *o, const char *bound, kmy_errctx_t *ctx)
{
    const char *given = o->config->public_door.url;
    int n = given[0] ? snprintf(o->url, sizeof o->url, "%s", given)
                     : snprintf(o->url, sizeof o->url, "%s://%s",
                                o->config->public_door.tls_cert[0] ? "https" : "http", bound);
    if (n < 0 || n >= (int)sizeof o->url || strpbrk(o->url, "?#\"\\"))
        return KMY_FAIL(ctx, KMY_CONFIG,
                        "public.url must be an address of at most %zu bytes without ? and #",
                        sizeof o->url - 1);
    while (n > 0 && o->url[n - 1] == '/')
        o->url[--n] = '\0';
    set_origin(o);
    return KMY_OK;
}

static kmy_err_t add_way(kmy_offers_t *o, const kmy_config_network_t *n, kmy_errctx_t *ctx)
{
    kmy_pay_way_t *way = &o->ways[o->ways_count];
    const kmy_pay_terms_t terms = { .name = n->name,
                                    .chain = n->chain,
                                    .asset = n->asset,
                                    .asset_name = n->asset_name,
                                    .asset_version = n->asset_version,
                                    .pay_to = n->pay_to,
                                    .fee_payer = n->fee_payer };
    kmy_err_t err = kmy_pay_entry_init(&way->entry, &terms, ctx);
    if (err != KMY_OK)
        return err;
    if (way->entry.family == KMY_PAY_SOLANA && !way->entry.fee_payer[0])
        return KMY_OK; /* nobody could sign for it */
    const kmy_config_t *cfg = o->config;
    bool taken = cfg->payments.facilitator[0] || kmy_settler_key_serves(cfg, n);
    if (!taken && kmy_settler_key_given(cfg))
        return KMY_OK; /* others are offered, and this one not */
    o->open |= taken;
    way->min_payment_nusd = n->min_payment_nusd;
    way->in_v1 = kmy_pay_network_in_v1(way->entry.name);
    o->ways_count++;
    return KMY_OK;
}

kmy_err_t kmy_offers_init(kmy_offers_t *out, const kmy_config_t *config, const char *bound,
                          kmy_errctx_t *ctx)
{
    memset(out, 0, sizeof *out);
    out->config = config;
    kmy_err_t err = set_address(out, bound, ctx);
    for (size_t i = 0; err == KMY_OK && i < config->payments.networks_count; i++)
        err = add_way(out, &config->payments.networks[i], ctx);
    return err;
}

static bool is_way(const kmy_offers_t *o, const char *chain)
{
    for (size_t i = 0; i < o->ways_count; i++)
        if (strcmp(o->ways[i].entry.chain, chain) == 0)
            return true;
    return false;
}

static const char *why_not(const kmy_config_t *cfg, const kmy_config_network_t *n)
{
    if (cfg->payments.facilitator[0] || !kmy_settler_key_given(cfg))
        return "without fee_payer, the facilitator's address, nobody can sign for it";
    return strncmp(n->chain, "eip155:", 7) == 0
               ? "it has no rpc that our own account could send transactions to"
               : "our own account settles on EVM networks only; here it takes a facilitator";
}

void kmy_offers_tell(const kmy_offers_t *o)
{
    const kmy_config_t *cfg = o->config;
    size_t count = cfg->payments.networks_count;
    size_t asked = 0;
    for (size_t i = 0; i < count; i++) {
        const kmy_config_network_t *n = &cfg->payments.networks[i];
        asked += n->rpc[0] != 0;
        if (!is_way(o, n->chain))
            kmy_log(KMY_LOG_WARN, "kamiyod", "payments.networks[%zu] (%s) is not offered: %s", i,
                    n->name, why_not(cfg, n));
    }
    if (count == 0 && cfg->payments.facilitator[0])
        kmy_log(KMY_LOG_WARN, "kamiyod",
                "no payments are offered: payments.facilitator is set, but payments.networks is "
                "empty");
    else if (count > 0 && !cfg->payments.facilitator[0] && !kmy_settler_key_given(cfg))
        kmy_log(KMY_LOG_WARN, "kamiyod",
                "no payments are offered: payments.networks has no payments.facilitator to settle "
                "them, nor a payments.settler_key_file to do it ourselves; %s",
                asked == 0 ? "nor are transfers credited, since none of the networks has an rpc"
                : asked < count ? "transfers count (POST /v1/x402/verify-payment) where a network "
                                  "has an rpc"
                                : "transfers count (POST /v1/x402/verify-payment)");
    else if (count > 0 && !o->open)
        kmy_log(KMY_LOG_WARN, "kamiyod",
                "no payments are offered: none of payments.networks can be");
}

void kmy_offers_url(const kmy_offers_t *o, const char *path, char out[KMY_RESOURCE_URL_BYTES_MAX])
{
    int n = snprintf(out, KMY_RESOURCE_URL_BYTES_MAX, "%s%s", o->url, path);
    KMY_ASSERT(n > 0 && n < (int)KMY_RESOURCE_URL_BYTES_MAX);
}

const char *kmy_offers_name(const kmy_offers_t *o, const char *chain)
{
    for (size_t i = 0; i < o->ways_count; i++)
        if (strcmp(o->ways[i].entry.chain, chain) == 0)
            return o->ways[i].entry.name;
    return chain;
}
