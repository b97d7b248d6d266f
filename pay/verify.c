/* dollar 3/7   in: pay/payment   out: pay/ledger (engine/keeper) */
#include "pay/verify.h"

#include "base/decimal.h"
#include "pay/evm.h"
#include "pay/solana.h"
#include "wire/base58.h"
#include "wire/base64.h"
#include "wire/hex.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What a payload says, read once; which member is used depends on the entry's family. */
typedef struct claim {
    int version;
    bool evm;
    kmy_evm_authorization_t authorization;
    kmy_json_token_t signature; /* EVM: text of an even number of digits behind 0x */
    uint8_t transaction[KMY_SOLANA_TRANSACTION_BYTES_MAX];
    size_t transaction_bytes;
} claim_t;

static bool read_object(kmy_json_token_t object, kmy_json_field_t *fields, size_t count,
                        kmy_errctx_t *ctx)
{
    kmy_json_t js;
    if (object.type != KMY_JSON_OBJECT)
        return false;
    kmy_json_init(&js, object.text, object.len);
    return kmy_json_object(&js, fields, count, ctx) == KMY_OK;
}

/* Text that no client has a reason to write with escapes: digits, addresses, base64. */
static bool plain(kmy_json_token_t token)
{
    return token.type == KMY_JSON_STRING && !token.escaped;
}

static bool address_in(kmy_json_token_t t, uint8_t out[KMY_EVM_ADDRESS_BYTES])
{
    return plain(t) && kmy_evm_address_parse(t.text, t.len, out);
}

static bool number_in(kmy_json_token_t t, uint8_t out[KMY_EVM_WORD_BYTES])
{
    return plain(t) && kmy_evm_word_parse(t.text, t.len, out);
}

static kmy_pay_reason_t refuse(kmy_errctx_t *ctx, kmy_pay_reason_t reason, const char *why)
{
    kmy_fail(ctx, KMY_UNPAID, "kmy_pay_verify", 0, "%s", why);
    return reason;
}

/* 0x and at least 65 bytes: shorter ones are nobody's, longer ones a contract's. */
static bool is_signature(kmy_json_token_t t)
{
    enum { DIGITS = 2 * KMY_EVM_SIGNATURE_BYTES };
    if (!plain(t) || t.len < 2 + DIGITS || t.len % 2 || t.text[0] != '0' || t.text[1] != 'x')
        return false;
    for (size_t at = 2; at < t.len; at += 2) {
        uint8_t byte;
        if (!kmy_hex_decode(t.text + at, 2, &byte, 1))
            return false;
    }
    return true;
}

static kmy_pay_reason_t read_evm(const kmy_payment_t *p, claim_t *c, kmy_errctx_t *ctx)
{
    kmy_json_field_t top[] = { { .key = "authorization" },
                               { .key = "signature" },
                               { .key = "permit2Authorization" } };
    kmy_json_field_t f[] = {
        { .key = "from" },       { .key = "to" },          { .key = "value" },
        { .key = "validAfter" }, { .key = "validBefore" }, { .key = "nonce" }
    };
    if (!read_object(p->payload, top, 3, ctx))
        return refuse(ctx, KMY_PAY_PAYLOAD, "payload is no object with each member once");
    if (top[2].token.type == KMY_JSON_OBJECT)
        return refuse(ctx, KMY_PAY_SCHEME,
                      "permit2 is not offered: sign an EIP-3009 authorization");
    if (!read_object(top[0].token, f, 6, ctx))
        return refuse(ctx, KMY_PAY_PAYLOAD, "payload.authorization is no object");
    kmy_evm_authorization_t *a = &c->authorization;
    if (!address_in(f[0].token, a->from) || !address_in(f[1].token, a->to))
        return refuse(ctx, KMY_PAY_PAYLOAD, "from or to is no address");
    if (!number_in(f[2].token, a->value) || !number_in(f[3].token, a->valid_after) ||
        !number_in(f[4].token, a->valid_before))
        return refuse(ctx, KMY_PAY_PAYLOAD,
                      "value, validAfter or validBefore is no text of digits below 2^256");
    if (!plain(f[5].token) || !kmy_hex_decode_0x(f[5].token.text, f[5].token.len, a->nonce, 32))
        return refuse(ctx, KMY_PAY_PAYLOAD, "nonce is not 32 bytes of hex");
    if (!is_signature(top[1].token))
        return refuse(ctx, KMY_PAY_PAYLOAD, "signature is not 65 bytes of hex, or a contract's");
    c->signature = top[1].token;
    return KMY_PAY_NONE;
}

static kmy_pay_reason_t read_solana(const kmy_payment_t *p, claim_t *c, kmy_errctx_t *ctx)
{
    kmy_json_field_t f[] = { { .key = "transaction" } };
    if (!read_object(p->payload, f, 1, ctx) || !plain(f[0].token))
        return refuse(ctx, KMY_PAY_PAYLOAD, "payload.transaction is no text");
    if (!kmy_base64_decode(KMY_BASE64_STD, f[0].token.text, f[0].token.len, c->transaction,
                           sizeof c->transaction, &c->transaction_bytes))
        return refuse(ctx, KMY_PAY_SVM_DECODE, "payload.transaction is no base64 of 1232 bytes");
    return KMY_PAY_NONE;
}

/* The 65 bytes as the token will judge them.  Somebody else's, or malleable: a contract's rules may differ, so its chain may be asked. */
static kmy_pay_reason_t check_signature(const kmy_pay_entry_t *e, const claim_t *c,
                                        kmy_pay_verdict_t *v, kmy_errctx_t *ctx)
{
    uint8_t signature[KMY_EVM_SIGNATURE_BYTES], signer[KMY_EVM_ADDRESS_BYTES];
    v->signature = c->signature;
    kmy_evm_transfer_digest(e->evm.domain, &c->authorization, v->digest);
    if (c->signature.len != 2 + 2 * sizeof signature) {
        v->result = KMY_PAY_NEEDS_CHAIN;
        return KMY_PAY_NONE;
    }
    bool hex = kmy_hex_decode_0x(c->signature.text, c->signature.len, signature, sizeof signature);
    KMY_ASSERT(hex); /* is_signature has read every digit */
    if (!kmy_evm_recover(v->digest, signature, signer) ||
        memcmp(signer, c->authorization.from, sizeof signer) != 0) {
        v->ask_chain = true;
        return refuse(ctx, KMY_PAY_EVM_SIGNATURE, "the signature is not that of \"from\"");
    }
    v->result = KMY_PAY_VALID;
    return KMY_PAY_NONE;
}

static kmy_pay_reason_t check_evm(const kmy_pay_entry_t *e, const claim_t *c, int64_t now_s,
                                  kmy_pay_verdict_t *v, kmy_errctx_t *ctx)
{
    const kmy_evm_authorization_t *a = &c->authorization;
    uint64_t now = (uint64_t)now_s;
    uint64_t before = kmy_evm_word_u64(a->valid_before);
    if (memcmp(a->to, e->evm.pay_to, sizeof a->to) != 0)
        return refuse(ctx, KMY_PAY_EVM_RECIPIENT, "it pays somebody else");
    if (memcmp(a->value, e->amount_word, sizeof a->value) != 0)
        return refuse(ctx, c->version == 1 ? KMY_PAY_EVM_VALUE_V1 : KMY_PAY_EVM_VALUE,
                      "its value is not exactly the price");
    if (before < now + KMY_PAY_SECONDS_LEFT_MIN)
        return refuse(ctx, KMY_PAY_EVM_BEFORE, "it ends in less than 6 seconds");
    if (kmy_evm_word_u64(a->valid_after) > now)
        return refuse(ctx, KMY_PAY_EVM_AFTER, "it is not valid yet");
    memcpy(v->payer, a->from, sizeof a->from);
    memcpy(v->nonce, a->nonce, sizeof a->nonce);
    v->valid_before_s = before > INT64_MAX ? INT64_MAX : (int64_t)before;
    char from[2 * KMY_EVM_ADDRESS_BYTES + 1];
    kmy_hex_encode(a->from, sizeof a->from, from);
    snprintf(v->account, sizeof v->account, "eip155:%" PRIu64 ":0x%s", e->chain_id, from);
    return check_signature(e, c, v, ctx);
}

static kmy_pay_reason_t check_solana(const kmy_pay_entry_t *e, const claim_t *c,
                                     kmy_pay_verdict_t *v, kmy_errctx_t *ctx)
{
    kmy_solana_payment_t paid;
    char payer[KMY_BASE58_KEY_BYTES_MAX];
    kmy_pay_reason_t why = kmy_solana_check(c->transaction, c->transaction_bytes, e, &paid);
    if (why != KMY_PAY_NONE)
        return refuse(ctx, why, "the transaction is not the transfer that was asked for");
    v->result = KMY_PAY_VALID;
    memcpy(v->payer, paid.payer, sizeof paid.payer);
    memcpy(v->nonce, paid.id, sizeof paid.id);
    v->valid_before_s = INT64_MAX;
    kmy_base58_encode(paid.payer, sizeof paid.payer, payer);
    int n = snprintf(v->account, sizeof v->account, "%s:%s", e->chain, payer);
    KMY_ASSERT(n < (int)sizeof v->account);
    return KMY_PAY_NONE;
}

/* Our extra members must come back; the client may add others, but none that changes how it pays. */
static bool extra_matches(const kmy_payment_t *p, const kmy_pay_entry_t *e)
{
    kmy_json_field_t f[] = {
        { .key = "name" }, { .key = "version" }, { .key = "feePayer" }, { .key = "memo" }
    };
    const char *const ours[] = { e->asset_name, e->asset_version, e->fee_payer, e->memo };
    bool any = false;
    for (int i = 0; i < 4; i++)
        any |= ours[i][0] != '\0';
    if (p->extra.type != KMY_JSON_OBJECT)
        return !any && p->extra.type == KMY_JSON_ERROR;
    if (!read_object(p->extra, f, 4, NULL))
        return false;
    for (int i = 0; i < 4; i++)
        if (ours[i][0] && !kmy_json_is(f[i].token, ours[i]))
            return false;
    return true;
}

static bool string_is(kmy_json_token_t token, const char *text)
{
    return token.type == KMY_JSON_STRING && kmy_json_is(token, text);
}

static bool accepted_matches(const kmy_payment_t *p, const kmy_pay_entry_t *e)
{
    int64_t timeout;
    return string_is(p->amount, e->amount) && string_is(p->asset, e->asset) &&
           string_is(p->pay_to, e->pay_to) && kmy_json_i64(p->timeout, &timeout) &&
           timeout == e->timeout_s && extra_matches(p, e);
}

static bool other_method(const kmy_payment_t *p)
{
    kmy_json_field_t f[] = { { .key = "assetTransferMethod" } };
    return read_object(p->extra, f, 1, NULL) && f[0].token.type != KMY_JSON_ERROR &&
           !string_is(f[0].token, "eip3009");
}

static bool same_network(const kmy_payment_t *p, const kmy_pay_entry_t *e)
{
    return string_is(p->network, p->version == 1 ? e->name : e->chain);
}

static kmy_pay_reason_t check(const kmy_pay_entry_t *e, const claim_t *c, int64_t now_s,
                              kmy_pay_verdict_t *v, kmy_errctx_t *ctx)
{
    return e->family == KMY_PAY_EVM ? check_evm(e, c, now_s, v, ctx) : check_solana(e, c, v, ctx);
}

static bool is_value(kmy_pay_reason_t why)
{
    return why == KMY_PAY_EVM_VALUE_V1 || why == KMY_PAY_SVM_AMOUNT;
}

/* v2 names its entry; v1 names only the network, so of several prices there the one that was paid is looked for. */
static kmy_pay_reason_t check_entries(const kmy_pay_offer_t *offer, const kmy_payment_t *p,
                                      const claim_t *c, int64_t now_s, kmy_pay_verdict_t *v,
                                      kmy_errctx_t *ctx)
{
    kmy_pay_reason_t why =
        refuse(ctx, KMY_PAY_REQUIREMENTS, "\"accepted\" is no entry of this offer, as spelled");
    for (size_t i = 0; i < offer->entries_count; i++) {
        const kmy_pay_entry_t *e = &offer->entries[i];
        if (!same_network(p, e) || c->evm != (e->family == KMY_PAY_EVM) ||
            (p->version == 2 && !accepted_matches(p, e)))
            continue;
        why = check(e, c, now_s, v, ctx);
        v->entry = why == KMY_PAY_NONE || v->ask_chain ? e : NULL;
        if (p->version == 2 || !is_value(why))
            break;
    }
    return why;
}

static const kmy_pay_entry_t *network_of(const kmy_pay_offer_t *offer, const kmy_payment_t *p)
{
    for (size_t i = 0; i < offer->entries_count; i++)
        if (same_network(p, &offer->entries[i]))
            return &offer->entries[i];
    return NULL;
}

static kmy_pay_reason_t judge(const kmy_pay_offer_t *offer, const kmy_payment_t *p, int64_t now_s,
                              kmy_pay_verdict_t *v, kmy_errctx_t *ctx)
{
    claim_t c;
    if (!string_is(p->scheme, "exact"))
        return refuse(ctx, KMY_PAY_SCHEME, "only the scheme exact is offered");
    const kmy_pay_entry_t *e = network_of(offer, p);
    if (!e)
        return refuse(ctx, KMY_PAY_NETWORK, "this network is not offered");
    if (p->version == 2 && other_method(p))
        return refuse(ctx, KMY_PAY_SCHEME, "only EIP-3009 authorizations are offered");
    if (p->resource_url.type == KMY_JSON_STRING && offer->resource_url &&
        !kmy_json_is(p->resource_url, offer->resource_url))
        return refuse(ctx, KMY_PAY_REQUIREMENTS, "it is for another resource");
    c.version = p->version;
    c.evm = e->family == KMY_PAY_EVM;
    kmy_pay_reason_t why = c.evm ? read_evm(p, &c, ctx) : read_solana(p, &c, ctx);
    return why == KMY_PAY_NONE ? check_entries(offer, p, &c, now_s, v, ctx) : why;
}

kmy_pay_result_t kmy_pay_verify(const kmy_pay_offer_t *offer, const kmy_payment_t *payment,
                                int64_t now_s, kmy_pay_verdict_t *out, kmy_errctx_t *ctx)
{
    kmy_errctx_t unused;
    KMY_ASSERT(now_s >= 0);
    KMY_ASSERT(payment->version == 1 || payment->version == 2);
    ctx = ctx ? ctx : &unused;
    memset(out, 0, sizeof *out);
    out->reason = judge(offer, payment, now_s, out, ctx);
    if (out->reason == KMY_PAY_NONE)
        *ctx = (kmy_errctx_t){ 0 }; /* what was said of entries that were passed over */
    else
        out->result = KMY_PAY_INVALID;
    KMY_ASSERT((out->result != KMY_PAY_INVALID || out->ask_chain) == (out->entry != NULL));
    return out->result;
}
