/* dollar 7/7   in: engine/cashier   out: engine/cashier (pay/settle) */
#include "pay/facilitator.h"

#include "wire/base58.h"
#include "wire/hex.h"

#include <string.h>

/* One whole object: anything else, put between our members, could bring members of its own. */
static bool is_object(const char *text, size_t len)
{
    kmy_json_t js;
    kmy_json_init(&js, text, len);
    return kmy_json_next(&js).type == KMY_JSON_OBJECT && kmy_json_valid(text, len);
}

bool kmy_facilitator_request(kmy_buf_t *out, int version, const char *payment, size_t payment_len,
                             const kmy_pay_entry_t *entry, const kmy_pay_resource_t *resource)
{
    if (!is_object(payment, payment_len))
        return false;
    kmy_buf_str(out, version == 1 ? "{\"x402Version\":1" : "{\"x402Version\":2");
    kmy_buf_str(out, ",\"paymentPayload\":");
    kmy_buf_bytes(out, payment, payment_len);
    kmy_buf_str(out, ",\"paymentRequirements\":");
    kmy_pay_entry_put(out, entry, version, entry->amount, resource);
    kmy_buf_str(out, "}");
    return !out->overflow;
}

bool kmy_facilitator_is_tx(const kmy_pay_entry_t *entry, const char *text, size_t len)
{
    uint8_t bytes[KMY_BASE58_DATA_BYTES_MAX];
    if (entry->family == KMY_PAY_EVM)
        return kmy_hex_decode_0x(text, len, bytes, 32);
    return kmy_base58_decode(text, len, bytes, 64);
}

static bool given(kmy_json_token_t t)
{
    return t.type != KMY_JSON_ERROR && t.type != KMY_JSON_NULL;
}

/* Length of the front of text[0..len) that ends with a whole character; text is UTF-8. */
static size_t whole_characters(const char *text, size_t len, size_t max)
{
    if (len <= max)
        return len;
    while (max > 0 && ((uint8_t)text[max] & 0xC0) == 0x80)
        max--;
    return max;
}

/* Foreign text into out: cut to fit, C0, DEL and C1 (C2 80 .. C2 9F) left out. */
static void take_text(kmy_json_token_t t, char *out, size_t cap)
{
    char plain[1024];
    const char *text = t.text;
    size_t len = t.len;
    size_t n = 0;
    out[0] = '\0';
    if (t.type != KMY_JSON_STRING)
        return;
    if (t.escaped) {
        if (!kmy_json_unescape(t, plain, sizeof plain, &len))
            return;
        text = plain;
    }
    len = whole_characters(text, len, cap - 1);
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)text[i];
        if (c == 0xC2 && i + 1 < len && (uint8_t)text[i + 1] < 0xA0)
            i++;
        else if (c >= 0x20 && c != 0x7F)
            out[n++] = (char)c;
    }
    out[n] = '\0';
}

/* A text that no honest answer writes with escapes. */
static bool plain_text(kmy_json_token_t t)
{
    return t.type == KMY_JSON_STRING && !t.escaped;
}

static bool is_payer(kmy_json_token_t t, const kmy_pay_entry_t *entry, const uint8_t *payer)
{
    uint8_t bytes[KMY_SOLANA_KEY_BYTES];
    if (!plain_text(t))
        return false;
    if (entry->family == KMY_PAY_EVM)
        return kmy_evm_address_parse(t.text, t.len, bytes) &&
               memcmp(bytes, payer, KMY_EVM_ADDRESS_BYTES) == 0;
    return kmy_base58_decode(t.text, t.len, bytes, sizeof bytes) &&
           memcmp(bytes, payer, sizeof bytes) == 0;
}

static bool is_amount(kmy_json_token_t t, const kmy_pay_entry_t *entry)
{
    uint8_t word[KMY_EVM_WORD_BYTES];
    return (t.type == KMY_JSON_NUMBER || plain_text(t)) &&
           kmy_evm_word_parse(t.text, t.len, word) &&
           memcmp(word, entry->amount_word, sizeof word) == 0;
}

static bool is_network(kmy_json_token_t t, const kmy_pay_entry_t *entry)
{
    return t.type == KMY_JSON_STRING &&
           (kmy_json_is(t, entry->chain) || kmy_json_is(t, entry->name));
}

static void unknown(kmy_facilitator_answer_t *out, const char *why)
{
    size_t len = strlen(why);
    KMY_ASSERT(len < sizeof out->reason);
    out->word = KMY_FACILITATOR_UNKNOWN;
    memcpy(out->reason, why, len + 1);
}

/* Statuses whose body may speak of the payment. */
static bool speaks_of_payment(int status)
{
    static const int of_us[] = { 401, 403, 404, 405, 407, 408, 429 };
    for (size_t i = 0; i < sizeof of_us / sizeof of_us[0]; i++)
        if (status == of_us[i])
            return false;
    return (status >= 200 && status < 300) || (status >= 400 && status < 500);
}

static bool read_whole_object(const char *text, size_t len, kmy_json_field_t *fields, size_t count)
{
    kmy_json_t js;
    if (len > KMY_FACILITATOR_ANSWER_BYTES_MAX)
        return false;
    kmy_json_init(&js, text, len);
    return kmy_json_object(&js, fields, count, NULL) == KMY_OK &&
           kmy_json_next(&js).type == KMY_JSON_END;
}

/* A refusal may leave the payer empty; a yes may only leave it out. */
static bool names_another(kmy_json_token_t payer, const kmy_facilitator_answer_t *out)
{
    bool empty = payer.type == KMY_JSON_STRING && payer.len == 0;
    return given(payer) && !out->payer_named && !(empty && out->word == KMY_FACILITATOR_NO);
}

/* yes or no by a boolean and a status; anything else leaves UNKNOWN. */
static bool read_word(kmy_json_token_t word, int status, kmy_facilitator_answer_t *out)
{
    if (word.type == KMY_JSON_TRUE && status >= 200 && status < 300)
        out->word = KMY_FACILITATOR_YES;
    else if (word.type == KMY_JSON_FALSE)
        out->word = KMY_FACILITATOR_NO;
    return out->word != KMY_FACILITATOR_UNKNOWN;
}

void kmy_facilitator_read_verify(const char *text, size_t len, int http_status,
                                 const kmy_pay_entry_t *entry, const uint8_t *payer,
                                 kmy_facilitator_answer_t *out)
{
    enum { VALID, PAYER, REASON, MESSAGE, FIELDS };
    kmy_json_field_t f[FIELDS] = { { .key = "isValid" },
                                   { .key = "payer" },
                                   { .key = "invalidReason" },
                                   { .key = "invalidMessage" } };
    memset(out, 0, sizeof *out);
    if (!speaks_of_payment(http_status)) {
        unknown(out, "facilitator_status");
        return;
    }
    if (!read_whole_object(text, len, f, FIELDS) || !read_word(f[VALID].token, http_status, out)) {
        unknown(out, "facilitator_garbage");
        return;
    }
    take_text(f[REASON].token, out->reason, sizeof out->reason);
    take_text(f[MESSAGE].token, out->message, sizeof out->message);
    out->payer_named = is_payer(f[PAYER].token, entry, payer);
    if (names_another(f[PAYER].token, out))
        unknown(out, "facilitator_other_payer");
}

enum { SUCCESS, TX, NETWORK, PAYER, AMOUNT, REASON, MESSAGE, SETTLE_FIELDS };

/* What an answer must not contradict; NULL: it is about our payment. */
static const char *contradiction(const kmy_json_field_t *f, const kmy_pay_entry_t *entry,
                                 const kmy_facilitator_answer_t *out)
{
    if (names_another(f[PAYER].token, out))
        return "facilitator_other_payer";
    if (out->word == KMY_FACILITATOR_NO) /* of what did not happen the rest is often left empty */
        return NULL;
    if (!is_network(f[NETWORK].token, entry))
        return "facilitator_other_network";
    if (given(f[AMOUNT].token) && !out->amount_named)
        return "facilitator_other_amount";
    return out->tx[0] ? NULL : "facilitator_no_transaction";
}

void kmy_facilitator_read_settle(const char *text, size_t len, int http_status,
                                 const kmy_pay_entry_t *entry, const uint8_t *payer,
                                 kmy_facilitator_answer_t *out)
{
    kmy_json_field_t f[SETTLE_FIELDS] = { { .key = "success" },     { .key = "transaction" },
                                          { .key = "network" },     { .key = "payer" },
                                          { .key = "amount" },      { .key = "errorReason" },
                                          { .key = "errorMessage" } };
    memset(out, 0, sizeof *out);
    if (!read_whole_object(text, len, f, SETTLE_FIELDS)) {
        unknown(out, speaks_of_payment(http_status) ? "facilitator_garbage" : "facilitator_status");
        return;
    }
    kmy_json_token_t tx = f[TX].token;
    if (plain_text(tx) && kmy_facilitator_is_tx(entry, tx.text, tx.len)) /* < sizeof out->tx */
        memcpy(out->tx, tx.text, tx.len);
    out->payer_named = is_payer(f[PAYER].token, entry, payer);
    out->amount_named = is_amount(f[AMOUNT].token, entry);
    if (!speaks_of_payment(http_status)) {
        unknown(out, "facilitator_status");
        return;
    }
    if (!read_word(f[SUCCESS].token, http_status, out)) {
        unknown(out, "facilitator_garbage");
        return;
    }
    take_text(f[REASON].token, out->reason, sizeof out->reason);
    take_text(f[MESSAGE].token, out->message, sizeof out->message);
    if (out->word == KMY_FACILITATOR_NO && strcmp(out->reason, "settlement_pending") == 0)
        out->word = KMY_FACILITATOR_PENDING;
    const char *why = contradiction(f, entry, out);
    if (why)
        unknown(out, why);
}

/* One of `kinds`; what is not of our scheme and network is passed over. */
static void read_kind(kmy_json_token_t kind, const kmy_pay_entry_t *entry,
                      kmy_facilitator_support_t *out)
{
    kmy_json_field_t f[] = {
        { .key = "x402Version" }, { .key = "scheme" }, { .key = "network" }, { .key = "extra" }
    };
    kmy_json_field_t extra[] = { { .key = "feePayer" } };
    uint8_t key[KMY_SOLANA_KEY_BYTES];
    int64_t version;
    if (!kmy_json_members(kind, f, 4) || !kmy_json_i64(f[0].token, &version) ||
        !kmy_json_is(f[1].token, "exact"))
        return;
    if (version == 1 && kmy_json_is(f[2].token, entry->name))
        out->v1 = true;
    else if (version == 2 && kmy_json_is(f[2].token, entry->chain))
        out->v2 = true;
    else
        return;
    if (out->fee_payer[0] || !kmy_json_members(f[3].token, extra, 1))
        return;
    kmy_json_token_t t = extra[0].token;
    if (entry->family == KMY_PAY_SOLANA && plain_text(t) &&
        kmy_base58_decode(t.text, t.len, key, sizeof key)) {
        memcpy(out->fee_payer, t.text, t.len); /* at most 44 */
        out->fee_payer[t.len] = '\0';
    }
}

bool kmy_facilitator_read_supported(const char *text, size_t len, int http_status,
                                    const kmy_pay_entry_t *entry, kmy_facilitator_support_t *out)
{
    kmy_json_field_t f[] = { { .key = "kinds" } };
    kmy_json_t js;
    kmy_json_token_t kind;
    memset(out, 0, sizeof *out);
    if (http_status < 200 || http_status > 299 || !read_whole_object(text, len, f, 1) ||
        !kmy_json_array(&js, f[0].token))
        return false;
    while (kmy_json_element(&js, &kind))
        read_kind(kind, entry, out);
    return true;
}
