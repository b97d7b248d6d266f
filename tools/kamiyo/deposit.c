/* kamiyo deposit: pays by x402 (version 2, scheme exact on EVM: EIP-3009) and prints the token.  What is signed is what the user asked for and nothing else: the
   amount to the base unit, a token this program knows, a chain the user named.  Once signed, the same payment is sent until there is an answer: it moves money
   once, however often it arrives. */
#include "base/clock.h"
#include "base/decimal.h"
#include "base/money.h"
#include "pay/challenge.h"
#include "pay/entry.h"
#include "pay/network.h"
#include "tools/kamiyo/wallet.h"
#include "wire/base64.h"
#include "wire/hex.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <time.h>

enum { TRIES = 20, PAUSE_S = 2, HEADER_BYTES_MAX = 16384 };

static const char *text_of(const json_t *object, const char *member)
{
    const char *text = json_string_value(json_object_get(object, member));
    return text ? text : "";
}

static json_t *decode_offer(const char *header)
{
    char *text = header ? malloc(strlen(header) + 1) : NULL;
    size_t len;
    json_t *offer = NULL;
    if (text &&
        kmy_base64_decode(KMY_BASE64_STD, header, strlen(header), text, strlen(header), &len))
        offer = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    free(text);
    return offer;
}

/* The entry of the offer that is paid: exact, on EVM, of that many base units, on the network that was named, or the first. */
static const json_t *choose(const json_t *offer, const char *network, uint64_t units)
{
    const kmy_pay_network_t *known = network ? kmy_pay_network(network) : NULL;
    const char *chain = known ? known->chain : network;
    size_t i;
    const json_t *e;
    json_array_foreach(json_object_get(offer, "accepts"), i, e)
    {
        uint64_t amount;
        const char *text = text_of(e, "amount");
        if (strcmp(text_of(e, "scheme"), "exact") == 0 &&
            strncmp(text_of(e, "network"), "eip155:", 7) == 0 &&
            (!chain || strcmp(text_of(e, "network"), chain) == 0) &&
            kmy_u64_parse(text, strlen(text), &amount) && amount == units)
            return e;
    }
    return NULL;
}

/* Only a token that is known here: another one could be worth anything, and is signed away all the same. */
static int check_token(const cli_t *cli, const json_t *e)
{
    const kmy_pay_network_t *known = kmy_pay_network(text_of(e, "network"));
    if (cli->force || (known && strcasecmp(known->asset, text_of(e, "asset")) == 0))
        return CLI_OK;
    return cli_fail(cli,
                    "the token %.60s on %.40s is not one this program knows as USDC; --force pays "
                    "with it all the same",
                    text_of(e, "asset"), text_of(e, "network"));
}

static int take_entry(const cli_t *cli, const json_t *e, kmy_pay_entry_t *entry)
{
    kmy_errctx_t ctx = { 0 };
    const json_t *extra = json_object_get(e, "extra");
    const kmy_pay_terms_t terms = {
        .chain = text_of(e, "network"),
        .name = "custom",
        .asset = text_of(e, "asset"),
        .asset_name = text_of(extra, "name"),
        .asset_version = text_of(extra, "version"),
        .pay_to = text_of(e, "payTo"),
        .timeout_s = (uint32_t)json_integer_value(json_object_get(e, "maxTimeoutSeconds")),
    };
    if (kmy_pay_entry_init(entry, &terms, &ctx) != KMY_OK)
        return cli_fail(cli, "the offer cannot be used: %s", ctx.detail);
    kmy_pay_entry_price_text(entry, text_of(e, "amount"), strlen(text_of(e, "amount")));
    return CLI_OK;
}

static json_t *sign(const wallet_t *w, const kmy_pay_entry_t *entry)
{
    kmy_evm_authorization_t a;
    uint8_t digest[KMY_EVM_WORD_BYTES];
    uint8_t signature[KMY_EVM_SIGNATURE_BYTES];
    char nonce[2 * sizeof a.nonce + 1], signed_text[2 * sizeof signature + 1];
    char from[KMY_EVM_ADDRESS_TEXT_BYTES], before[24];
    uint64_t until_s = (uint64_t)(kmy_wall_ns() / KMY_NS_PER_S) + entry->timeout_s;
    memset(&a, 0, sizeof a);
    memcpy(a.from, w->address, sizeof a.from);
    memcpy(a.to, entry->evm.pay_to, sizeof a.to);
    memcpy(a.value, entry->amount_word, sizeof a.value);
    kmy_evm_word_set(until_s, a.valid_before);
    if (getrandom(a.nonce, sizeof a.nonce, 0) != (ssize_t)sizeof a.nonce)
        return NULL;
    kmy_evm_transfer_digest(entry->evm.domain, &a, digest);
    cli_wallet_sign(w, digest, signature);
    kmy_evm_address_text(w->address, from);
    kmy_hex_encode(a.nonce, sizeof a.nonce, nonce);
    kmy_hex_encode(signature, sizeof signature, signed_text);
    snprintf(before, sizeof before, "%llu", (unsigned long long)until_s);
    json_t *payload = json_pack("{s:{s:s,s:s,s:s,s:s,s:s,s:o},s:o}", "authorization", "from", from,
                                "to", entry->pay_to, "value", entry->amount, "validAfter", "0",
                                "validBefore", before, "nonce", json_sprintf("0x%s", nonce),
                                "signature", json_sprintf("0x%s", signed_text));
    explicit_bzero(digest, sizeof digest);
    return payload;
}

/* The header line; the caller frees.  NULL: it cannot be made. */
static char *payment_line(const json_t *offer, const json_t *e, json_t *payload)
{
    json_t *payment =
        json_pack("{s:i,s:O,s:o}", "x402Version", 2, "accepted", e, "payload", payload);
    json_t *resource = json_object_get(offer, "resource");
    if (payment && resource)
        json_object_set(payment, "resource", resource);
    char *text = payment ? json_dumps(payment, JSON_COMPACT) : NULL;
    json_decref(payment);
    size_t len = text ? strlen(text) : 0;
    char *line = NULL;
    char *base64 = len && len < HEADER_BYTES_MAX ? calloc(1, len / 3 * 4 + 8) : NULL;
    if (base64) {
        kmy_base64_encode(KMY_BASE64_STD, text, len, base64);
        if (asprintf(&line, "PAYMENT-SIGNATURE: %s", base64) < 0)
            line = NULL;
    }
    free(base64);
    free(text);
    return line;
}

static int told(const cli_t *cli, const cli_exchange_t *x)
{
    const char *token = text_of(x->body, "token");
    if (cli->json) {
        cli_print_json(x->body);
        return CLI_OK;
    }
    fprintf(stderr, "%s: credited %s USD, balance %s USD, transaction %s\n",
            text_of(x->body, "account"), text_of(x->body, "credited"), text_of(x->body, "balance"),
            text_of(x->body, "transaction"));
    if (*token)
        printf("%s\n", token);
    return CLI_OK;
}

/* The same bytes again and again, until somebody knows. */
static int send_it(const cli_t *cli, const char *path, const char *line)
{
    cli_exchange_t x;
    for (int i = 0; i < TRIES; i++) {
        if (i > 0)
            nanosleep(&(struct timespec){ .tv_sec = PAUSE_S }, NULL);
        int code = cli_exchange(cli, path, line, &x);
        bool again = code != CLI_OK || x.status == 202 || x.status == 429 || x.status >= 500;
        if (again && code == CLI_OK && x.status == 202)
            fprintf(stderr, "payment %s is %s ...\n", text_of(x.body, "payment_id"),
                    text_of(x.body, "state"));
        if (!again) {
            code = x.status == 200 && x.body ? told(cli, &x) : cli_problem(cli, path, &x);
            cli_exchange_free(&x);
            return code;
        }
        cli_exchange_free(&x);
    }
    return cli_fail(cli, "no final answer; the payment was signed once and moves money once: see "
                         "GET /v1/payments/ID or ask again for a token by sign-in");
}

static int pay(const cli_t *cli, const char *path, const cli_exchange_t *asked, uint64_t units)
{
    wallet_t w;
    kmy_pay_entry_t entry;
    json_t *offer = decode_offer(asked->offer);
    const json_t *e = choose(offer, cli->network, units);
    int code = e ? check_token(cli, e)
                 : cli_fail(cli, "%s offers no payment of %s USD on an EVM network%s%s", cli->url,
                            cli->words[0], cli->network ? " named " : "",
                            cli->network ? cli->network : "");
    if (code == CLI_OK)
        code = take_entry(cli, e, &entry);
    if (code == CLI_OK)
        code = cli_wallet_open(cli, &w);
    if (code == CLI_OK) {
        json_t *payload = sign(&w, &entry);
        cli_wallet_close(&w);
        char *line = payload ? payment_line(offer, e, payload) : NULL;
        code = line ? send_it(cli, path, line) : cli_fail(cli, "the payment could not be made");
        free(line);
    }
    json_decref(offer);
    return code;
}

int cli_deposit(const cli_t *cli)
{
    int64_t nusd;
    cli_exchange_t x;
    const char *usd = cli->words[0];
    if (kmy_nusd_parse(usd, strlen(usd), &nusd) != KMY_OK || nusd <= 0 || nusd % 1000 != 0)
        return cli_wrong(cli, "'%.40s' is no amount in USD with at most six decimals", usd);
    char *path = cli_path("/v1/deposit?amount=", usd);
    int code = cli_exchange(cli, path, NULL, &x);
    if (code == CLI_OK && x.status == 402 && x.offer)
        code = pay(cli, path, &x, (uint64_t)nusd / 1000);
    else if (code == CLI_OK)
        code = cli_problem(cli, path, &x);
    cli_exchange_free(&x);
    free(path);
    return code;
}
