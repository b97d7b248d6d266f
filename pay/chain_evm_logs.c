/* dollar 7/7 (EVM)   in: engine/cashier   out: pay/settle */
/* Events of the token: what they prove. */
#include "pay/chain_evm.h"

#include "wire/hex.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

/* Keccak-256 of the event's signature; test_chain_evm computes them again. */
#define TOPIC_TRANSFER  "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
#define TOPIC_USED      "0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5"
#define TOPIC_CANCELLED "0x1cdd46ff242716cdaa72d159d339a485b3438398348d68f09d7c8c0a59353d81"

typedef enum { OTHER, TRANSFER, USED, CANCELLED } kind_t;

/* One event of the token. */
typedef struct event {
    kind_t kind;
    uint32_t log_index;
    uint64_t block;
    uint8_t from[KMY_EVM_ADDRESS_BYTES]; /* TRANSFER: sender; USED, CANCELLED: authorizer */
    uint8_t to[KMY_EVM_ADDRESS_BYTES];
    uint8_t word[KMY_EVM_WORD_BYTES]; /* TRANSFER: value; USED, CANCELLED: nonce */
    char tx[KMY_EVM_TX_TEXT_BYTES];
} event_t;

static bool read_bytes(kmy_json_token_t t, uint8_t *out, size_t bytes)
{
    return t.type == KMY_JSON_STRING && !t.escaped && kmy_hex_decode_0x(t.text, t.len, out, bytes);
}

static bool read_address(kmy_json_token_t t, uint8_t out[KMY_EVM_ADDRESS_BYTES])
{
    static const uint8_t zero[12];
    uint8_t word[KMY_EVM_WORD_BYTES];
    if (!read_bytes(t, word, sizeof word) || memcmp(word, zero, sizeof zero) != 0)
        return false;
    memcpy(out, word + sizeof zero, KMY_EVM_ADDRESS_BYTES);
    return true;
}

static kind_t kind_of(kmy_json_token_t topic)
{
    static const char *const topics[] = { NULL, TOPIC_TRANSFER, TOPIC_USED, TOPIC_CANCELLED };
    for (int k = TRANSFER; k <= CANCELLED; k++)
        if (topic.type == KMY_JSON_STRING && !topic.escaped &&
            topic.len == sizeof TOPIC_TRANSFER - 1 &&
            strncasecmp(topic.text, topics[k], topic.len) == 0)
            return (kind_t)k;
    return OTHER;
}

/* All three events have two indexed arguments: three topics, no more. */
static bool read_topics(kmy_json_token_t array, kmy_json_token_t topic[3])
{
    kmy_json_t js;
    kmy_json_token_t more;
    return kmy_json_array(&js, array) && kmy_json_element(&js, &topic[0]) &&
           kmy_json_element(&js, &topic[1]) && kmy_json_element(&js, &topic[2]) &&
           !kmy_json_element(&js, &more);
}

static bool read_arguments(event_t *e, const kmy_json_token_t topic[3], kmy_json_token_t data)
{
    if (!read_address(topic[1], e->from))
        return false;
    if (e->kind == TRANSFER)
        return read_address(topic[2], e->to) && read_bytes(data, e->word, sizeof e->word);
    return read_bytes(topic[2], e->word, sizeof e->word);
}

/* false: not an event of the token.  One of the token's that cannot be read is OTHER. */
static bool read_event(kmy_json_token_t log, const kmy_pay_entry_t *entry, event_t *e)
{
    enum { ADDRESS, TOPICS, DATA, INDEX, BLOCK, TX, REMOVED, FIELDS };
    kmy_json_field_t f[FIELDS] = { { .key = "address" },     { .key = "topics" },
                                   { .key = "data" },        { .key = "logIndex" },
                                   { .key = "blockNumber" }, { .key = "transactionHash" },
                                   { .key = "removed" } };
    kmy_json_token_t topic[3] = { { 0 } };
    uint8_t address[KMY_EVM_ADDRESS_BYTES];
    uint8_t hash[32];
    uint64_t index;
    memset(e, 0, sizeof *e);
    if (!kmy_json_members(log, f, FIELDS) ||
        !read_bytes(f[ADDRESS].token, address, sizeof address) ||
        memcmp(address, entry->evm.asset, sizeof address) != 0 ||
        f[REMOVED].token.type == KMY_JSON_TRUE)
        return false;
    if (!read_topics(f[TOPICS].token, topic) || !kmy_chain_evm_quantity(f[INDEX].token, &index) ||
        index > UINT32_MAX || !kmy_chain_evm_quantity(f[BLOCK].token, &e->block) ||
        !read_bytes(f[TX].token, hash, sizeof hash))
        return true;
    e->kind = kind_of(topic[0]);
    e->log_index = (uint32_t)index;
    memcpy(e->tx, f[TX].token.text, sizeof e->tx - 1);
    if (e->kind != OTHER && !read_arguments(e, topic, f[DATA].token))
        e->kind = OTHER;
    return true;
}

/* The token's next event in an array of logs. */
static bool next_event(kmy_json_t *js, const kmy_pay_entry_t *entry, event_t *e)
{
    kmy_json_token_t log;
    while (kmy_json_element(js, &log))
        if (read_event(log, entry, e))
            return true;
    return false;
}

static bool is_authorization(const event_t *e, const uint8_t payer[KMY_EVM_ADDRESS_BYTES],
                             const uint8_t nonce[KMY_EVM_WORD_BYTES])
{
    return (e->kind == USED || e->kind == CANCELLED) &&
           memcmp(e->from, payer, sizeof e->from) == 0 &&
           memcmp(e->word, nonce, sizeof e->word) == 0;
}

void kmy_chain_evm_logs(kmy_buf_t *out, uint64_t id, const kmy_pay_entry_t *entry,
                        const uint8_t payer[KMY_EVM_ADDRESS_BYTES],
                        const uint8_t nonce[KMY_EVM_WORD_BYTES], uint64_t from, uint64_t to)
{
    char token[2 * KMY_EVM_ADDRESS_BYTES + 1], who[sizeof token], hex[2 * KMY_EVM_WORD_BYTES + 1];
    KMY_ASSERT(entry->family == KMY_PAY_EVM);
    KMY_ASSERT(from <= to && from < KMY_EVM_FINALIZED);
    kmy_hex_encode(entry->evm.asset, KMY_EVM_ADDRESS_BYTES, token);
    kmy_hex_encode(payer, KMY_EVM_ADDRESS_BYTES, who);
    kmy_hex_encode(nonce, KMY_EVM_WORD_BYTES, hex);
    kmy_rpc_begin(out, id, "eth_getLogs");
    kmy_buf_fmt(out, "{\"address\":\"0x%s\",\"fromBlock\":\"0x%" PRIx64 "\",\"toBlock\":", token,
                from);
    if (to == KMY_EVM_LATEST)
        kmy_buf_str(out, "\"latest\"");
    else
        kmy_buf_fmt(out, "\"0x%" PRIx64 "\"", to);
    kmy_buf_fmt(out, ",\"topics\":[[\"%s\",\"%s\"],\"0x000000000000000000000000%s\",\"0x%s\"]}",
                TOPIC_USED, TOPIC_CANCELLED, who, hex);
    kmy_rpc_end(out);
}

kmy_rpc_word_t kmy_chain_evm_read_logs(const char *text, size_t len, uint64_t id,
                                       const kmy_pay_entry_t *entry,
                                       const uint8_t payer[KMY_EVM_ADDRESS_BYTES],
                                       const uint8_t nonce[KMY_EVM_WORD_BYTES], kmy_evm_use_t *use)
{
    kmy_json_token_t result;
    kmy_json_t js;
    event_t e;
    if (kmy_rpc_read(text, len, id, &result) != KMY_RPC_FOUND || !kmy_json_array(&js, result))
        return KMY_RPC_LOST;
    while (next_event(&js, entry, &e)) { /* a token lets one of both happen, once */
        if (!is_authorization(&e, payer, nonce))
            continue;
        use->cancelled = e.kind == CANCELLED;
        use->block = e.block;
        memcpy(use->tx, e.tx, sizeof use->tx);
        return KMY_RPC_FOUND;
    }
    return KMY_RPC_NONE;
}

static bool is_payment(const event_t *e, const kmy_pay_entry_t *entry,
                       const uint8_t payer[KMY_EVM_ADDRESS_BYTES])
{
    return e->kind == TRANSFER && memcmp(e->from, payer, sizeof e->from) == 0 &&
           memcmp(e->to, entry->evm.pay_to, sizeof e->to) == 0 &&
           memcmp(e->word, entry->amount_word, sizeof e->word) == 0;
}

/* A transaction may carry several payments of one payer, even of one amount, and each must be credited by its own Transfer.  The token writes
   AuthorizationUsed and then, as its next event, the Transfer; so that one is taken if it fits, else the event before, else the first that fits. */
void kmy_chain_evm_evidence(const kmy_evm_receipt_t *receipt, const kmy_pay_entry_t *entry,
                            const uint8_t payer[KMY_EVM_ADDRESS_BYTES],
                            const uint8_t nonce[KMY_EVM_WORD_BYTES], kmy_evm_evidence_t *out)
{
    enum { FIRST, BEFORE, BEHIND, PLACES };
    bool fits[PLACES] = { false };
    uint32_t place[PLACES] = { 0 };
    bool behind_used = false, last_fits = false;
    uint32_t last = 0;
    kmy_json_t js;
    event_t e;
    KMY_ASSERT(entry->family == KMY_PAY_EVM);
    memset(out, 0, sizeof *out);
    if (!receipt->success || !kmy_json_array(&js, receipt->logs))
        return;
    while (next_event(&js, entry, &e)) {
        bool pays = is_payment(&e, entry, payer);
        bool ours = is_authorization(&e, payer, nonce);
        if (pays && !fits[FIRST])
            fits[FIRST] = true, place[FIRST] = e.log_index;
        if (behind_used)
            fits[BEHIND] = pays, place[BEHIND] = e.log_index;
        if (ours && e.kind == USED)
            fits[BEFORE] = last_fits, place[BEFORE] = last;
        behind_used = ours && e.kind == USED;
        out->used |= behind_used;
        out->cancelled |= ours && e.kind == CANCELLED;
        last_fits = pays;
        last = e.log_index;
    }
    int best = fits[BEHIND] ? BEHIND : fits[BEFORE] ? BEFORE : FIRST;
    out->paid = out->used && fits[best];
    out->log_index = out->paid ? place[best] : 0;
}

/* A transfer to us begins its entry in the list; NULL: the event is none, or the list is full. */
static kmy_evm_transfer_t *list_transfer(const event_t *e, const kmy_pay_entry_t *entry,
                                         kmy_evm_transfer_t *out, size_t *count)
{
    static const uint8_t zero[KMY_EVM_WORD_BYTES];
    if (e->kind != TRANSFER || *count == KMY_EVM_TRANSFERS_MAX ||
        memcmp(e->to, entry->evm.pay_to, sizeof e->to) != 0 ||
        memcmp(e->word, zero, sizeof zero) == 0)
        return NULL;
    kmy_evm_transfer_t *t = &out[(*count)++];
    *t = (kmy_evm_transfer_t){ .units = kmy_evm_word_u64(e->word), .log_index = e->log_index };
    memcpy(t->sender, e->from, sizeof t->sender);
    return t;
}

static void authorize(kmy_evm_transfer_t *t, const event_t *used)
{
    t->authorized = true;
    memcpy(t->nonce, used->word, sizeof t->nonce);
}

/* The same pairs as above: an authorization belongs to its payer's transfer right behind it, else to the one right before it. */
size_t kmy_chain_evm_transfers(const kmy_evm_receipt_t *receipt, const kmy_pay_entry_t *entry,
                               kmy_evm_transfer_t out[KMY_EVM_TRANSFERS_MAX])
{
    size_t count = 0;
    kmy_evm_transfer_t *before = NULL; /* the last event, if it is a transfer in the list */
    kmy_evm_transfer_t *claimed =
        NULL; /* the one before it, given the authorization that is the last event */
    event_t e, last = { .kind = OTHER };
    kmy_json_t js;
    KMY_ASSERT(entry->family == KMY_PAY_EVM);
    if (!receipt->success || !kmy_json_array(&js, receipt->logs))
        return 0;
    while (next_event(&js, entry, &e)) {
        bool same_from = memcmp(e.from, last.from, sizeof e.from) == 0;
        bool used_by_it = e.kind == TRANSFER && last.kind == USED && same_from;
        if (used_by_it && claimed)
            claimed->authorized = false;
        claimed = NULL;
        if (e.kind == USED && before && same_from && !before->authorized) {
            authorize(before, &e);
            claimed = before;
        }
        before = list_transfer(&e, entry, out, &count);
        if (before && used_by_it)
            authorize(before, &last);
        last = e;
    }
    return count;
}
