/* dollar 1/7   in: engine (configuration, price)   out: pay/verify, the offers of a 402 */
#include "pay/entry.h"

#include "base/decimal.h"
#include "base/money.h"
#include "pay/network.h"
#include "wire/base58.h"

#include <string.h>

static const uint32_t timeout_s_default = 60; /* what the stock sellers offer */

typedef struct term {
    const char *what;
    const char *given, *known; /* known: what the table of networks says, "" if nothing */
    char *out;
    size_t cap;
} term_t;

/* A term is quoted in JSON and compared byte by byte: printable ASCII keeps both simple. */
static bool printable(const char *text)
{
    for (; *text; text++)
        if (*text < 0x20 || *text > 0x7E || *text == '"' || *text == '\\')
            return false;
    return true;
}

static kmy_err_t take(const term_t *t, kmy_errctx_t *ctx)
{
    const char *text = t->given && t->given[0] ? t->given : t->known;
    size_t len = strlen(text);
    if (len >= t->cap)
        return KMY_FAIL(ctx, KMY_CONFIG, "%s has %zu bytes, limit %zu", t->what, len, t->cap - 1);
    if (!printable(text))
        return KMY_FAIL(ctx, KMY_CONFIG, "%s holds a byte that is no printable ASCII", t->what);
    memcpy(t->out, text, len + 1);
    return KMY_OK;
}

/* Only one of name and chain was given, and it is none that we know. */
static kmy_err_t unknown_network(const kmy_pay_entry_t *e, kmy_errctx_t *ctx)
{
    char known[KMY_PAY_NETWORK_NAMES_BYTES_MAX];
    const char *closest = kmy_pay_network_closest(e->name);
    if (!e->name[0])
        return KMY_FAIL(ctx, KMY_CONFIG,
                        "name is missing, and no network is known by the chain '%.60s'", e->chain);
    kmy_pay_network_names(known);
    return KMY_FAIL(ctx, KMY_CONFIG, "no network '%.24s' is known%s%s%s known: %s; else say chain",
                    e->name, closest ? ", did you mean " : "", closest ? closest : "",
                    closest ? "?" : ";", known);
}

static kmy_err_t take_terms(kmy_pay_entry_t *e, const kmy_pay_terms_t *t, kmy_errctx_t *ctx)
{
    const char *key = t->name && t->name[0] ? t->name : t->chain ? t->chain : "";
    const kmy_pay_network_t *n = kmy_pay_network(key);
    if (n && t->chain && t->chain[0] && strcmp(t->chain, n->chain) != 0)
        return KMY_FAIL(ctx, KMY_CONFIG, "chain of the network %s is %s, not %.40s", n->name,
                        n->chain, t->chain);
    const term_t terms[] = {
        { "name", t->name, n ? n->name : "", e->name, sizeof e->name },
        { "chain", t->chain, n ? n->chain : "", e->chain, sizeof e->chain },
        { "asset", t->asset, n ? n->asset : "", e->asset, sizeof e->asset },
        { "asset_name", t->asset_name, n ? n->asset_name : "", e->asset_name,
          sizeof e->asset_name },
        { "asset_version", t->asset_version, n ? n->asset_version : "", e->asset_version,
          sizeof e->asset_version },
        { "pay_to", t->pay_to, "", e->pay_to, sizeof e->pay_to },
        { "fee_payer", t->fee_payer, "", e->fee_payer, sizeof e->fee_payer },
        { "memo", t->memo, "", e->memo, sizeof e->memo },
    };
    for (size_t i = 0; i < sizeof terms / sizeof terms[0]; i++) {
        kmy_err_t err = take(&terms[i], ctx);
        if (err != KMY_OK)
            return err;
    }
    return e->name[0] && e->chain[0] ? KMY_OK : unknown_network(e, ctx);
}

static kmy_err_t evm_address(const char *what, const char *text,
                             uint8_t address[KMY_EVM_ADDRESS_BYTES], kmy_errctx_t *ctx)
{
    static const uint8_t zero[KMY_EVM_ADDRESS_BYTES];
    if (!kmy_evm_address_parse(text, strlen(text), address) ||
        memcmp(address, zero, sizeof zero) == 0)
        return KMY_FAIL(ctx, KMY_CONFIG, "%s '%s' is no address: 0x and 40 hex digits, not all 0",
                        what, text);
    if (kmy_evm_address_is_typo(text, strlen(text))) {
        char right[KMY_EVM_ADDRESS_TEXT_BYTES];
        kmy_evm_address_text(address, right);
        return KMY_FAIL(ctx, KMY_CONFIG,
                        "%s '%s' has the wrong checksum; if each digit is right, it is %s", what,
                        text, right);
    }
    return KMY_OK;
}

static kmy_err_t init_evm(kmy_pay_entry_t *e, kmy_errctx_t *ctx)
{
    const char *number = e->chain + strlen("eip155:");
    kmy_err_t err = evm_address("asset", e->asset, e->evm.asset, ctx);
    if (err == KMY_OK)
        err = evm_address("pay_to", e->pay_to, e->evm.pay_to, ctx);
    if (err != KMY_OK)
        return err;
    if (!kmy_u64_parse(number, strlen(number), &e->chain_id) || e->chain_id == 0)
        return KMY_FAIL(ctx, KMY_CONFIG, "chain '%.60s' is not eip155:<number>", e->chain);
    if (!e->asset_name[0] || !e->asset_version[0])
        return KMY_FAIL(ctx, KMY_CONFIG,
                        "asset_name and asset_version are needed: signatures cover them");
    if (e->fee_payer[0] || e->memo[0])
        return KMY_FAIL(ctx, KMY_CONFIG, "fee_payer and memo are for Solana only");
    kmy_evm_domain(e->asset_name, e->asset_version, e->chain_id, e->evm.asset, e->evm.domain);
    return KMY_OK;
}

static kmy_err_t solana_key(const char *what, const char *text, uint8_t key[KMY_SOLANA_KEY_BYTES],
                            kmy_errctx_t *ctx)
{
    if (kmy_base58_decode(text, strlen(text), key, KMY_SOLANA_KEY_BYTES))
        return KMY_OK;
    return KMY_FAIL(ctx, KMY_CONFIG, "%s '%s' is no key: 32 bytes in base58", what, text);
}

static kmy_err_t init_solana(kmy_pay_entry_t *e, kmy_errctx_t *ctx)
{
    uint8_t wallet[KMY_SOLANA_KEY_BYTES];
    kmy_err_t err = solana_key("asset", e->asset, e->solana.mint, ctx);
    if (err == KMY_OK)
        err = solana_key("pay_to", e->pay_to, wallet, ctx);
    if (err == KMY_OK && e->fee_payer[0])
        err = solana_key("fee_payer", e->fee_payer, e->solana.fee_payer, ctx);
    for (int k = 0; k < KMY_SOLANA_TOKENS && err == KMY_OK; k++)
        if (!kmy_solana_associated(wallet, e->solana.mint, (kmy_solana_token_t)k,
                                   e->solana.account[k]))
            err = KMY_FAIL(ctx, KMY_CONFIG, "pay_to '%s' has no associated account", e->pay_to);
    return err;
}

kmy_err_t kmy_pay_entry_init(kmy_pay_entry_t *entry, const kmy_pay_terms_t *terms,
                             kmy_errctx_t *ctx)
{
    memset(entry, 0, sizeof *entry);
    kmy_err_t err = take_terms(entry, terms, ctx);
    if (err != KMY_OK)
        return err;
    entry->timeout_s = terms->timeout_s ? terms->timeout_s : timeout_s_default;
    if (entry->timeout_s > KMY_PAY_TIMEOUT_S_MAX)
        return KMY_FAIL(ctx, KMY_CONFIG, "timeout of %u s is above %d", entry->timeout_s,
                        KMY_PAY_TIMEOUT_S_MAX);
    kmy_pay_entry_price(entry, 0);
    if (strncmp(entry->chain, "eip155:", 7) == 0) {
        entry->family = KMY_PAY_EVM;
        return init_evm(entry, ctx);
    }
    if (strncmp(entry->chain, "solana:", 7) == 0 && entry->chain[7]) {
        entry->family = KMY_PAY_SOLANA;
        return init_solana(entry, ctx);
    }
    return KMY_FAIL(ctx, KMY_CONFIG,
                    "chain '%.60s' is neither eip155:<number> nor solana:<genesis>", entry->chain);
}

void kmy_pay_entry_price(kmy_pay_entry_t *entry, uint64_t units)
{
    entry->amount[kmy_u64_digits(units, entry->amount)] = '\0';
    entry->amount_units = units;
    kmy_evm_word_set(units, entry->amount_word);
}

bool kmy_pay_entry_price_text(kmy_pay_entry_t *entry, const char *text, size_t len)
{
    uint8_t word[KMY_EVM_WORD_BYTES];
    uint64_t units;
    if (!kmy_evm_word_parse(text, len, word) ||
        (entry->family == KMY_PAY_SOLANA && !kmy_u64_parse(text, len, &units)))
        return false;
    memcpy(entry->amount, text, len);
    entry->amount[len] = '\0';
    memcpy(entry->amount_word, word, sizeof word);
    entry->amount_units = kmy_evm_word_u64(word);
    return true;
}

uint64_t kmy_pay_units(int64_t amount_nusd, int64_t min_nusd)
{
    KMY_ASSERT(amount_nusd > 0);
    KMY_ASSERT(min_nusd >= 0);
    int64_t nusd = amount_nusd > min_nusd ? amount_nusd : min_nusd;
    return (uint64_t)(nusd / KMY_NUSD_PER_UUSDC + (nusd % KMY_NUSD_PER_UUSDC > 0));
}
