/* dollar 7/7 (Solana)   in: engine/cashier   out: pay/settle */
#include "pay/chain_solana.h"

#include "base/decimal.h"
#include "wire/base64.h"

#include <openssl/sha.h>
#include <string.h>

enum { KEY = KMY_SOLANA_KEY_BYTES, SIGNATURE = 64 };

static const char *const commitments[] = { "confirmed", "finalized" };

static void put_key(kmy_buf_t *out, const uint8_t key[KEY])
{
    char text[KMY_BASE58_KEY_BYTES_MAX];
    kmy_base58_encode(key, KEY, text);
    kmy_buf_fmt(out, "\"%s\"", text);
}

static void ask_with_commitment(kmy_buf_t *out, uint64_t id, const char *method,
                                kmy_solana_commitment_t commitment)
{
    kmy_rpc_begin(out, id, method);
    kmy_buf_fmt(out, "{\"commitment\":\"%s\"}", commitments[commitment]);
    kmy_rpc_end(out);
}

void kmy_chain_solana_height(kmy_buf_t *out, uint64_t id, kmy_solana_commitment_t commitment)
{
    ask_with_commitment(out, id, "getBlockHeight", commitment);
}

void kmy_chain_solana_slot(kmy_buf_t *out, uint64_t id, kmy_solana_commitment_t commitment)
{
    ask_with_commitment(out, id, "getSlot", commitment);
}

void kmy_chain_solana_blockhash(kmy_buf_t *out, uint64_t id, kmy_solana_commitment_t commitment)
{
    ask_with_commitment(out, id, "getLatestBlockhash", commitment);
}

void kmy_chain_solana_status(kmy_buf_t *out, uint64_t id, const char *tx)
{
    kmy_rpc_begin(out, id, "getSignatureStatuses");
    kmy_buf_fmt(out, "[\"%s\"],{\"searchTransactionHistory\":true}", tx);
    kmy_rpc_end(out);
}

void kmy_chain_solana_signatures(kmy_buf_t *out, uint64_t id, const uint8_t address[KEY],
                                 const char *before)
{
    kmy_rpc_begin(out, id, "getSignaturesForAddress");
    put_key(out, address);
    kmy_buf_fmt(out, ",{\"limit\":%d,\"commitment\":\"confirmed\"", KMY_SOLANA_SIGNATURES_MAX);
    if (before)
        kmy_buf_fmt(out, ",\"before\":\"%s\"", before);
    kmy_buf_str(out, "}");
    kmy_rpc_end(out);
}

void kmy_chain_solana_transaction(kmy_buf_t *out, uint64_t id, const char *tx,
                                  kmy_solana_commitment_t commitment)
{
    kmy_rpc_begin(out, id, "getTransaction");
    kmy_buf_fmt(out,
                "\"%s\",{\"encoding\":\"base64\",\"commitment\":\"%s\","
                "\"maxSupportedTransactionVersion\":0}",
                tx, commitments[commitment]);
    kmy_rpc_end(out);
}

/* Of a token account's data: mint, owner, amount (little-endian), in this order from its beginning, in both token programs. */
enum { DATA_MINT = 0, DATA_OWNER = 32, DATA_AMOUNT = 64, DATA_BYTES = 72 };

static void ask_accounts(kmy_buf_t *out, uint64_t id, const uint8_t owner[KEY],
                         const uint8_t mint[KEY], kmy_solana_commitment_t commitment)
{
    kmy_rpc_begin(out, id, "getTokenAccountsByOwner");
    put_key(out, owner);
    kmy_buf_str(out, ",{\"mint\":");
    put_key(out, mint);
    kmy_buf_fmt(out,
                "},{\"encoding\":\"base64\",\"commitment\":\"%s\","
                "\"dataSlice\":{\"offset\":0,\"length\":%d}}",
                commitments[commitment], DATA_BYTES);
    kmy_rpc_end(out);
}

void kmy_chain_solana_holding(kmy_buf_t *out, uint64_t id, const uint8_t owner[KEY],
                              const uint8_t mint[KEY])
{
    ask_accounts(out, id, owner, mint, KMY_SOLANA_FINALIZED);
}

void kmy_chain_solana_balance(kmy_buf_t *out, uint64_t id, const uint8_t owner[KEY],
                              const uint8_t mint[KEY])
{
    ask_accounts(out, id, owner, mint, KMY_SOLANA_CONFIRMED);
}

/* Answers */

static bool plain_text(kmy_json_token_t t)
{
    return t.type == KMY_JSON_STRING && !t.escaped;
}

static bool read_u64(kmy_json_token_t t, uint64_t *out)
{
    return t.type == KMY_JSON_NUMBER && kmy_u64_parse(t.text, t.len, out);
}

static bool read_key(kmy_json_token_t t, uint8_t out[KEY])
{
    return plain_text(t) && kmy_base58_decode(t.text, t.len, out, KEY);
}

/* A signature's text, which fits if it is one. */
static bool read_tx(kmy_json_token_t t, char out[KMY_SOLANA_TX_TEXT_BYTES])
{
    uint8_t bytes[SIGNATURE];
    if (!plain_text(t) || !kmy_base58_decode(t.text, t.len, bytes, SIGNATURE))
        return false;
    memcpy(out, t.text, t.len);
    out[t.len] = '\0';
    return true;
}

/* {"context":..,"value":..} */
static kmy_rpc_word_t read_value(const char *text, size_t len, uint64_t id, kmy_json_token_t *value)
{
    kmy_json_field_t f[] = { { .key = "value" } };
    kmy_json_token_t result;
    if (kmy_rpc_read(text, len, id, &result) != KMY_RPC_FOUND || !kmy_json_members(result, f, 1) ||
        f[0].token.type == KMY_JSON_ERROR)
        return KMY_RPC_LOST;
    *value = f[0].token;
    return KMY_RPC_FOUND;
}

kmy_rpc_word_t kmy_chain_solana_read_number(const char *text, size_t len, uint64_t id,
                                            uint64_t *number)
{
    kmy_json_token_t result;
    return kmy_rpc_read(text, len, id, &result) == KMY_RPC_FOUND && read_u64(result, number)
               ? KMY_RPC_FOUND
               : KMY_RPC_LOST;
}

kmy_rpc_word_t kmy_chain_solana_read_blockhash(const char *text, size_t len, uint64_t id,
                                               kmy_solana_blockhash_t *blockhash)
{
    kmy_json_field_t f[] = { { .key = "blockhash" }, { .key = "lastValidBlockHeight" } };
    kmy_json_token_t value;
    uint8_t key[KEY];
    if (read_value(text, len, id, &value) != KMY_RPC_FOUND || !kmy_json_members(value, f, 2) ||
        !read_key(f[0].token, key) || !read_u64(f[1].token, &blockhash->valid_to))
        return KMY_RPC_LOST;
    memcpy(blockhash->text, f[0].token.text, f[0].token.len); /* at most 44 */
    blockhash->text[f[0].token.len] = '\0';
    return KMY_RPC_FOUND;
}

/* "processed" is one node's opinion and counts as nothing. */
static uint64_t depth_of(kmy_json_token_t level, kmy_json_token_t confirmations)
{
    uint64_t blocks = 0;
    if (kmy_json_is(level, "finalized"))
        return UINT64_MAX;
    if (!kmy_json_is(level, "confirmed"))
        return 0;
    return read_u64(confirmations, &blocks) && blocks < UINT32_MAX ? blocks + 1 : 1;
}

kmy_rpc_word_t kmy_chain_solana_read_status(const char *text, size_t len, uint64_t id,
                                            kmy_solana_status_t *status)
{
    kmy_json_field_t f[] = { { .key = "slot" },
                             { .key = "confirmations" },
                             { .key = "err" },
                             { .key = "confirmationStatus" } };
    kmy_json_token_t value, one, more;
    kmy_json_t js;
    if (read_value(text, len, id, &value) != KMY_RPC_FOUND || !kmy_json_array(&js, value) ||
        !kmy_json_element(&js, &one) || kmy_json_element(&js, &more))
        return KMY_RPC_LOST;
    if (one.type == KMY_JSON_NULL)
        return KMY_RPC_NONE;
    if (!kmy_json_members(one, f, 4) || !read_u64(f[0].token, &status->slot))
        return KMY_RPC_LOST;
    status->success = f[2].token.type == KMY_JSON_NULL;
    status->depth = depth_of(f[3].token, f[1].token);
    return KMY_RPC_FOUND;
}

kmy_rpc_word_t
kmy_chain_solana_read_signatures(const char *text, size_t len, uint64_t id,
                                 kmy_solana_signature_t out[KMY_SOLANA_SIGNATURES_MAX],
                                 size_t *count)
{
    kmy_json_field_t f[] = { { .key = "signature" }, { .key = "err" }, { .key = "blockTime" } };
    kmy_json_token_t result, one;
    kmy_json_t js;
    *count = 0;
    if (kmy_rpc_read(text, len, id, &result) != KMY_RPC_FOUND || !kmy_json_array(&js, result))
        return KMY_RPC_LOST;
    while (*count < KMY_SOLANA_SIGNATURES_MAX && kmy_json_element(&js, &one)) {
        kmy_solana_signature_t *s = &out[*count];
        if (!kmy_json_members(one, f, 3) || !read_tx(f[0].token, s->tx))
            return KMY_RPC_LOST;
        s->failed = f[1].token.type != KMY_JSON_NULL;
        s->time_s = 0;
        kmy_json_i64(f[2].token, &s->time_s);
        ++*count;
    }
    return *count ? KMY_RPC_FOUND : KMY_RPC_NONE;
}

/* ["<base64>","base64"] */
static bool read_bytes(kmy_json_token_t t, uint8_t bytes[KMY_SOLANA_TRANSACTION_BYTES_MAX],
                       size_t *len)
{
    kmy_json_token_t data, encoding;
    kmy_json_t js;
    return kmy_json_array(&js, t) && kmy_json_element(&js, &data) &&
           kmy_json_element(&js, &encoding) && plain_text(data) &&
           kmy_json_is(encoding, "base64") &&
           kmy_base64_decode(KMY_BASE64_STD, data.text, data.len, bytes,
                             KMY_SOLANA_TRANSACTION_BYTES_MAX, len);
}

/* A count below 128 (1232 bytes hold 19 signatures), so many signatures, the message.  The first signature is the transaction's name. */
static bool take_message(const uint8_t *bytes, size_t len, const char *tx, uint8_t hash[32])
{
    uint8_t name[SIGNATURE];
    if (len < 1 || bytes[0] < 1 || bytes[0] > 19 || len <= 1 + (size_t)bytes[0] * SIGNATURE ||
        !kmy_base58_decode(tx, strlen(tx), name, SIGNATURE) ||
        memcmp(name, bytes + 1, SIGNATURE) != 0)
        return false;
    size_t at = 1 + (size_t)bytes[0] * SIGNATURE;
    SHA256(bytes + at, len - at, hash);
    return true;
}

kmy_rpc_word_t kmy_chain_solana_read_transaction(const char *text, size_t len, uint64_t id,
                                                 const char *tx,
                                                 kmy_solana_transaction_t *transaction)
{
    kmy_json_field_t f[] = { { .key = "slot" }, { .key = "meta" }, { .key = "transaction" } };
    kmy_json_field_t meta[] = { { .key = "err" },
                                { .key = "preTokenBalances" },
                                { .key = "postTokenBalances" } };
    uint8_t bytes[KMY_SOLANA_TRANSACTION_BYTES_MAX];
    size_t bytes_len;
    kmy_json_token_t result;
    kmy_rpc_word_t word = kmy_rpc_read(text, len, id, &result);
    memset(transaction, 0, sizeof *transaction);
    if (word != KMY_RPC_FOUND)
        return word;
    if (!kmy_json_members(result, f, 3) || !kmy_json_members(f[1].token, meta, 3) ||
        meta[0].token.type == KMY_JSON_ERROR || !read_u64(f[0].token, &transaction->slot) ||
        !read_bytes(f[2].token, bytes, &bytes_len) ||
        !take_message(bytes, bytes_len, tx, transaction->message_hash))
        return KMY_RPC_LOST;
    transaction->success = meta[0].token.type == KMY_JSON_NULL;
    transaction->pre = meta[1].token;
    transaction->post = meta[2].token;
    if (transaction->success &&
        (transaction->pre.type != KMY_JSON_ARRAY || transaction->post.type != KMY_JSON_ARRAY))
        return KMY_RPC_LOST; /* a node that does not keep token balances proves nothing either way */
    return KMY_RPC_FOUND;
}

/* Who has how much of the token, before and after. */
typedef struct holder {
    uint8_t owner[KEY];
    uint64_t before, after;
} holder_t;

typedef struct holders {
    holder_t at[KMY_SOLANA_OWNERS_MAX];
    size_t count;
} holders_t;

static holder_t *holder_of(holders_t *h, const uint8_t owner[KEY])
{
    for (size_t i = 0; i < h->count; i++)
        if (memcmp(h->at[i].owner, owner, KEY) == 0)
            return &h->at[i];
    if (h->count == KMY_SOLANA_OWNERS_MAX)
        return NULL;
    holder_t *new = &h->at[h->count++];
    *new = (holder_t){ 0 };
    memcpy(new->owner, owner, KEY);
    return new;
}

/* One balance, added to its owner's.  false: it is of our token and cannot be read. */
static bool add_balance(holders_t *h, kmy_json_token_t balance, const uint8_t mint[KEY], bool after)
{
    kmy_json_field_t f[] = { { .key = "mint" }, { .key = "owner" }, { .key = "uiTokenAmount" } };
    kmy_json_field_t amount[] = { { .key = "amount" } };
    uint8_t key[KEY], owner[KEY];
    uint64_t units;
    if (!kmy_json_members(balance, f, 3) || !read_key(f[0].token, key))
        return false;
    if (memcmp(key, mint, KEY) != 0)
        return true;
    if (!read_key(f[1].token, owner) || !kmy_json_members(f[2].token, amount, 1) ||
        !plain_text(amount[0].token) ||
        !kmy_u64_parse(amount[0].token.text, amount[0].token.len, &units))
        return false;
    holder_t *who = holder_of(h, owner);
    if (!who)
        return false;
    return !__builtin_add_overflow(units, after ? who->after : who->before,
                                   after ? &who->after : &who->before);
}

static bool add_balances(holders_t *h, kmy_json_token_t array, const uint8_t mint[KEY], bool after)
{
    kmy_json_token_t one;
    kmy_json_t js;
    if (!kmy_json_array(&js, array))
        return false;
    while (kmy_json_element(&js, &one))
        if (!add_balance(h, one, mint, after))
            return false;
    return true;
}

bool kmy_chain_solana_received(const kmy_solana_transaction_t *transaction,
                               const kmy_pay_entry_t *entry, kmy_solana_received_t *out)
{
    holders_t h = { .count = 0 };
    uint8_t us[KEY];
    const holder_t *sender = NULL;
    KMY_ASSERT(entry->family == KMY_PAY_SOLANA);
    bool ours = kmy_base58_decode(entry->pay_to, strlen(entry->pay_to), us, KEY);
    KMY_ASSERT(ours); /* kmy_pay_entry_init has read it */
    if (!transaction->success || !add_balances(&h, transaction->pre, entry->solana.mint, false) ||
        !add_balances(&h, transaction->post, entry->solana.mint, true))
        return false;
    const holder_t *we = holder_of(&h, us);
    if (!we || we->after <= we->before)
        return false;
    for (size_t i = 0; i < h.count; i++) {
        if (h.at[i].after >= h.at[i].before)
            continue;
        if (sender)
            return false; /* of two, which one paid us? */
        sender = &h.at[i];
    }
    if (!sender || sender->before - sender->after < we->after - we->before)
        return false; /* freshly minted, or of nobody's */
    out->units = we->after - we->before;
    memcpy(out->sender, sender->owner, KEY);
    return true;
}

void kmy_chain_solana_evidence(const kmy_solana_transaction_t *transaction,
                               const kmy_pay_entry_t *entry, const uint8_t payer[KEY],
                               const uint8_t nonce[32], kmy_solana_evidence_t *out)
{
    kmy_solana_received_t r;
    bool ours = memcmp(transaction->message_hash, nonce, 32) == 0;
    *out = (kmy_solana_evidence_t){ 0 };
    out->paid = ours && kmy_chain_solana_received(transaction, entry, &r) &&
                memcmp(r.sender, payer, KEY) == 0 && r.units == entry->amount_units;
    out->spent = ours && !out->paid;
}

/* One token account of the owner: {"account":{"owner":program,"data":[base64,"base64"]}}.  false: it is not what was asked for. */
static bool add_account(kmy_json_token_t item, const uint8_t owner[KEY], const uint8_t mint[KEY],
                        uint64_t *units)
{
    kmy_json_field_t f[] = { { .key = "account" } };
    kmy_json_field_t account[] = { { .key = "owner" }, { .key = "data" } };
    uint8_t data[KMY_SOLANA_TRANSACTION_BYTES_MAX], program[KEY];
    size_t len;
    uint64_t amount = 0;
    bool token = false;
    if (!kmy_json_members(item, f, 1) || !kmy_json_members(f[0].token, account, 2) ||
        !read_key(account[0].token, program) || !read_bytes(account[1].token, data, &len) ||
        len != DATA_BYTES)
        return false;
    for (int k = 0; k < KMY_SOLANA_TOKENS; k++)
        token |= memcmp(program, kmy_solana_token_program[k], KEY) == 0;
    if (!token || memcmp(data + DATA_MINT, mint, KEY) != 0 ||
        memcmp(data + DATA_OWNER, owner, KEY) != 0)
        return false;
    for (int i = 7; i >= 0; i--)
        amount = amount << 8 | data[DATA_AMOUNT + i];
    return !__builtin_add_overflow(*units, amount, units);
}

kmy_rpc_word_t kmy_chain_solana_read_holding(const char *text, size_t len, uint64_t id,
                                             const uint8_t owner[KEY], const uint8_t mint[KEY],
                                             uint64_t *units)
{
    kmy_json_token_t value, item;
    kmy_json_t js;
    uint64_t sum = 0;
    if (read_value(text, len, id, &value) != KMY_RPC_FOUND || !kmy_json_array(&js, value))
        return KMY_RPC_LOST;
    while (kmy_json_element(&js, &item))
        if (!add_account(item, owner, mint, &sum))
            return KMY_RPC_LOST;
    *units = sum;
    return KMY_RPC_FOUND;
}
