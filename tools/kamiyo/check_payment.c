/* kamiyo check payment: one x402 payment in base64 a line against the configured offer; prints "valid ACCOUNT", "invalid REASON" or
   "needs-chain ACCOUNT". */
#include "tools/kamiyo/check.h"

#include "base/decimal.h"
#include "base/money.h"
#include "engine/config.h"
#include "pay/verify.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const kmy_config_network_t *network_in(const kmy_config_t *cfg, const char *name)
{
    for (size_t i = 0; i < cfg->payments.networks_count; i++) {
        const kmy_config_network_t *n = &cfg->payments.networks[i];
        if (strcmp(n->name, name) == 0 || strcmp(n->chain, name) == 0)
            return n;
    }
    return NULL;
}

/* Base units of the price of one query, at least the network's least payment; a part of a unit is a whole one. */
static uint64_t price_units(const kmy_config_t *cfg, const kmy_config_network_t *n)
{
    int64_t nusd = cfg->prices.query_nusd;
    if (n && n->min_payment_nusd > nusd)
        nusd = n->min_payment_nusd;
    return (uint64_t)((nusd + KMY_NUSD_PER_UUSDC - 1) / KMY_NUSD_PER_UUSDC);
}

static int make_entry(const cli_t *cli, const kmy_config_t *cfg, kmy_pay_entry_t *entry)
{
    const kmy_config_network_t *n = network_in(cfg, cli->network);
    kmy_errctx_t ctx = { 0 };
    bool chain = strchr(cli->network, ':') != NULL;
    kmy_pay_terms_t terms = { .name = n       ? n->name
                                      : chain ? NULL
                                              : cli->network,
                              .chain = n       ? n->chain
                                       : chain ? cli->network
                                               : NULL,
                              .asset = n ? n->asset : NULL,
                              .asset_name = n ? n->asset_name : NULL,
                              .asset_version = n ? n->asset_version : NULL,
                              .pay_to = n ? n->pay_to : NULL,
                              .fee_payer = n ? n->fee_payer : NULL,
                              .memo = cli->memo,
                              .timeout_s = (uint32_t)cli->timeout_s };
    if (cli->pay_to)
        terms.pay_to = cli->pay_to;
    if (cli->fee_payer)
        terms.fee_payer = cli->fee_payer;
    if (!terms.pay_to)
        return cli_wrong(cli,
                         "network '%.40s' is not in payments.networks of the configuration; name "
                         "it with --config, or the address that is paid with --pay-to",
                         cli->network);
    if (kmy_pay_entry_init(entry, &terms, &ctx) != KMY_OK)
        return cli_fail(cli, "no offer can be made: %s", ctx.detail);
    kmy_pay_entry_price(entry, price_units(cfg, n));
    if (cli->amount && !kmy_pay_entry_price_text(entry, cli->amount, strlen(cli->amount)))
        return cli_wrong(cli, "--amount '%.80s' is no number of base units", cli->amount);
    return CLI_OK;
}

static void say(const cli_t *cli, const kmy_pay_verdict_t *v, const kmy_errctx_t *ctx)
{
    static const char *const words[] = { [KMY_PAY_INVALID] = "invalid",
                                         [KMY_PAY_VALID] = "valid",
                                         [KMY_PAY_NEEDS_CHAIN] = "needs-chain" };
    bool bad = v->result == KMY_PAY_INVALID;
    if (!cli->json) {
        printf("%s %s", words[v->result], bad ? kmy_pay_reason(v->reason) : v->account);
        check_say("");
        return;
    }
    json_t *out = json_pack("{s:s}", "verdict", words[v->result]);
    json_object_set_new(out, bad ? "reason" : "account",
                        json_string(bad ? kmy_pay_reason(v->reason) : v->account));
    if (bad)
        json_object_set_new(out, "detail", json_string(ctx->detail));
    cli_print_json(out);
    fflush(stdout);
    json_decref(out);
}

static void judge_line(const cli_t *cli, const kmy_pay_offer_t *offer, const char *line, size_t len,
                       int64_t now_s)
{
    static char buffer[KMY_PAYMENT_BYTES_MAX];
    kmy_payment_t payment;
    kmy_pay_verdict_t v = { .result = KMY_PAY_INVALID };
    kmy_errctx_t ctx = { 0 };
    v.reason = kmy_payment_parse(line, len == SIZE_MAX ? 0 : len, buffer, &payment, &ctx);
    if (v.reason == KMY_PAY_NONE)
        kmy_pay_verify(offer, &payment, now_s, &v, &ctx);
    say(cli, &v, &ctx);
}

static int run(const cli_t *cli, const kmy_config_t *cfg)
{
    kmy_pay_entry_t entry;
    const kmy_pay_offer_t offer = { &entry, 1, cli->resource };
    char *line;
    size_t len;
    int code = make_entry(cli, cfg, &entry);
    while (code == CLI_OK && check_line(&line, &len))
        judge_line(cli, &offer, line, len, cli->now_s ? cli->now_s : (int64_t)time(NULL));
    return code;
}

int check_payment(const cli_t *cli)
{
    kmy_config_t cfg;
    kmy_errctx_t ctx = { 0 };
    if (!cli->network)
        return cli_wrong(cli, "usage: kamiyo check payment --network NETWORK [--config FILE]");
    if (kmy_config_load(&cfg, cli->config, &ctx) != KMY_OK)
        return cli_fail(cli, "%s", ctx.detail);
    int code = run(cli, &cfg);
    kmy_config_free(&cfg);
    return code;
}
