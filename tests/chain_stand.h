/* chain_stand: a token, a chain and a facilitator on loopback, with payers who sign, for tests of the cashier: /rpc is the node, /f the facilitator,
   which behaves as the test says. */
#ifndef KMY_TESTS_CHAIN_STAND_H
#define KMY_TESTS_CHAIN_STAND_H

#include "tests/http_stand.h"

#include "pay/entry.h"
#include "wire/base64.h"
#include "wire/hex.h"
#include "wire/keccak.h"

#include <secp256k1.h>
#include <secp256k1_recovery.h>
#include <time.h>

#define US             "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
#define US_HEX         "70997970c51812dc3a010c7d01b50e0d17dc79c8"
#define TOKEN_HEX      "833589fcd6edb6e08f4c7c32d4f71b54bda02913"
#define TOPIC_TRANSFER "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
#define TOPIC_USED     "0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5"
#define ZEROS_24       "000000000000000000000000"

enum { USES_MAX = 64 };

typedef enum {
    SETTLES,          /* and says so */
    SETTLES_AND_CUTS, /* and the answer is lost */
    SETTLES_AND_SAYS_NO,
    SETTLES_LATER, /* "pending"; the next call is answered, and the transaction is there */
    REFUSES,
    CUTS,
    ANSWERS_500,
    ANSWERS_GARBAGE,
    LIES,                /* success, with a transaction that is nowhere */
    ANSWERS_FOR_ANOTHER, /* settled, but the answer names another payer */
    PAYS_LESS,           /* the transaction moves another amount */
    ONLY_EMITS,          /* the token only says so: AuthorizationUsed without a Transfer */
    IS_SILENT,
} manners_t;

typedef struct use {
    char from[41], nonce[65]; /* hex */
    uint64_t block, units;
    bool cancelled, moved;
} use_t;

typedef struct chain {
    stand_t http;
    uint64_t head;
    bool empty_wallets, node_is_down;
    manners_t manners;
    const manners_t *manners_of; /* by the number of the payment's nonce; NULL: `manners` for all */
    use_t uses[USES_MAX];
    unsigned uses_count;
    char contract[41]; /* has code, and calls `signature_ok` */
    bool signature_ok;
    unsigned settles, verifies, questions; /* requests seen */
    char bearer[128];
    char last_settle[STAND_BYTES_MAX];
} chain_t;

/* --- payers --------------------------------------------------------------------------------------- */

typedef struct wallet {
    uint8_t secret[32], address[20];
    char hex[41];
} wallet_t;

static inline secp256k1_context *chain_secp(void)
{
    static secp256k1_context *ctx;
    if (!ctx)
        ctx = secp256k1_context_create(SECP256K1_CONTEXT_SIGN);
    return ctx;
}

static inline wallet_t wallet_of(uint32_t n)
{
    wallet_t w = { .secret = { 1, 2, 3 } };
    secp256k1_pubkey key;
    uint8_t raw[65], hash[32];
    size_t len = sizeof raw;
    memcpy(w.secret + 28, &n, 4);
    assert_true(secp256k1_ec_pubkey_create(chain_secp(), &key, w.secret));
    secp256k1_ec_pubkey_serialize(chain_secp(), raw, &len, &key, SECP256K1_EC_UNCOMPRESSED);
    kmy_keccak256(raw + 1, 64, hash);
    memcpy(w.address, hash + 12, 20);
    kmy_hex_encode(w.address, 20, w.hex);
    return w;
}

static inline void wallet_sign(const wallet_t *w, const uint8_t digest[32], uint8_t out[65])
{
    secp256k1_ecdsa_recoverable_signature s;
    int v;
    assert_true(secp256k1_ecdsa_sign_recoverable(chain_secp(), &s, digest, w->secret, NULL, NULL));
    secp256k1_ecdsa_recoverable_signature_serialize_compact(chain_secp(), out, &v, &s);
    out[64] = (uint8_t)(27 + v);
}

typedef struct payment {
    char header[4096]; /* base64 */
    char json[2048];
    char nonce[65];
} payment_t;

/* An EIP-3009 payment of x402 `version` for entry, at its price; nonce: any number.  signature: NULL, or text instead of the wallet's own. */
static inline payment_t pay_with(const wallet_t *w, const kmy_pay_entry_t *entry, int version,
                                 uint32_t nonce, int64_t valid_before, const char *signature)
{
    payment_t p;
    kmy_evm_authorization_t a;
    uint8_t digest[32], raw[65];
    char sig[256], to[41];
    memset(&a, 0, sizeof a);
    memcpy(a.from, w->address, 20);
    memcpy(a.to, entry->evm.pay_to, 20);
    memcpy(a.value, entry->amount_word, 32);
    kmy_evm_word_set((uint64_t)valid_before, a.valid_before);
    a.nonce[0] = 0x77;
    memcpy(a.nonce + 28, &nonce, 4);
    kmy_evm_transfer_digest(entry->evm.domain, &a, digest);
    wallet_sign(w, digest, raw);
    kmy_hex_encode(raw, 65, sig);
    kmy_hex_encode(a.to, 20, to);
    kmy_hex_encode(a.nonce, 32, p.nonce);
    char payload[1024];
    snprintf(payload, sizeof payload,
             "{\"authorization\":{\"from\":\"0x%s\",\"to\":\"0x%s\",\"value\":\"%s\","
             "\"validAfter\":\"0\",\"validBefore\":\"%lld\",\"nonce\":\"0x%s\"},"
             "\"signature\":\"0x%s\"}",
             w->hex, to, entry->amount, (long long)valid_before, p.nonce,
             signature ? signature : sig);
    if (version == 1)
        snprintf(p.json, sizeof p.json,
                 "{\"x402Version\":1,\"scheme\":\"exact\",\"network\":\"%s\",\"payload\":%s}",
                 entry->name, payload);
    else
        snprintf(p.json, sizeof p.json,
                 "{\"x402Version\":2,\"accepted\":{\"scheme\":\"exact\",\"network\":\"%s\","
                 "\"amount\":\"%s\",\"asset\":\"%s\",\"payTo\":\"%s\",\"maxTimeoutSeconds\":%u,"
                 "\"extra\":{\"name\":\"%s\",\"version\":\"%s\"}},\"payload\":%s}",
                 entry->chain, entry->amount, entry->asset, entry->pay_to, entry->timeout_s,
                 entry->asset_name, entry->asset_version, payload);
    p.header[kmy_base64_encode(KMY_BASE64_STD, p.json, strlen(p.json), p.header)] = 0;
    return p;
}

/* The same with the extension payment-identifier (version 2). */
static inline payment_t pay_as(const payment_t *paid, const char *client_id)
{
    payment_t p = *paid;
    size_t len = strlen(p.json);
    snprintf(p.json + len - 1, sizeof p.json - len + 1,
             ",\"extensions\":{\"payment-identifier\":{\"info\":{\"required\":false,\"id\":\"%s\"}"
             "}}}",
             client_id);
    p.header[kmy_base64_encode(KMY_BASE64_STD, p.json, strlen(p.json), p.header)] = 0;
    return p;
}

/* --- the token and its chain ------------------------------------------------------------------------ */

static inline use_t *chain_use(chain_t *c, const char *nonce)
{
    for (unsigned i = 0; i < c->uses_count; i++) {
        if (strncasecmp(c->uses[i].nonce, nonce, 64) == 0)
            return &c->uses[i];
    }
    return NULL;
}

/* Under the lock. */
static inline void chain_mine(chain_t *c, const char *from, const char *nonce, uint64_t units,
                              bool moved, bool cancelled)
{
    if (chain_use(c, nonce))
        return; /* it would revert */
    assert_true(c->uses_count < USES_MAX);
    use_t *u = &c->uses[c->uses_count++];
    *u = (use_t){ .block = ++c->head, .units = units, .moved = moved, .cancelled = cancelled };
    snprintf(u->from, sizeof u->from, "%.40s", from);
    snprintf(u->nonce, sizeof u->nonce, "%.64s", nonce);
}

/* A reorganization: it was never there. */
static inline void chain_forget(chain_t *c, const char *nonce)
{
    use_t *u = chain_use(c, nonce);
    assert_non_null(u);
    *u = c->uses[--c->uses_count];
}

/* A member's text out of JSON of known shape. */
static inline bool chain_member(const char *json, const char *key, char *out, size_t cap)
{
    char word[64];
    snprintf(word, sizeof word, "\"%s\":", key);
    const char *at = strstr(json, word);
    if (!at)
        return false;
    at += strlen(word);
    if (*at == '"')
        at++;
    size_t len = strcspn(at, "\",}]");
    snprintf(out, cap, "%.*s", (int)len, at);
    return true;
}

static inline void put_log(const use_t *u, char *out, size_t cap, bool with_transfer)
{
    char transfer[1024] = "";
    static const char cancelled[] =
        "0x1cdd46ff242716cdaa72d159d339a485b3438398348d68f09d7c8c0a59353d81";
    if (with_transfer && u->moved)
        snprintf(transfer, sizeof transfer,
                 ",{\"address\":\"0x" TOKEN_HEX "\",\"topics\":[\"" TOPIC_TRANSFER
                 "\",\"0x" ZEROS_24 "%s\",\"0x" ZEROS_24 US_HEX
                 "\"],\"data\":\"0x%064llx\",\"logIndex\":\"0x1\",\"blockNumber\":\"0x%llx\","
                 "\"transactionHash\":\"0x%s\",\"blockHash\":\"0x%064x\",\"removed\":false}",
                 u->from, (unsigned long long)u->units, (unsigned long long)u->block, u->nonce, 7);
    snprintf(out, cap,
             "[{\"address\":\"0x" TOKEN_HEX "\",\"topics\":[\"%s\",\"0x" ZEROS_24
             "%s\",\"0x%s\"],\"data\":\"0x\",\"logIndex\":\"0x0\",\"blockNumber\":\"0x%llx\","
             "\"transactionHash\":\"0x%s\",\"blockHash\":\"0x%064x\",\"removed\":false}%s]",
             u->cancelled ? cancelled : TOPIC_USED, u->from, u->nonce, (unsigned long long)u->block,
             u->nonce, 7, transfer);
}

static inline void node_call(chain_t *c, const char *q, char *out, size_t cap)
{
    const char *data = strstr(q, "\"data\":\"0x");
    assert_non_null(data);
    data += strlen("\"data\":\"0x");
    if (strncmp(data, "e94a0102", 8) == 0)
        snprintf(out, cap, "\"0x%064x\"", chain_use(c, data + 8 + 64) != NULL);
    else if (strncmp(data, "70a08231", 8) == 0)
        snprintf(out, cap, "\"0x%064llx\"", c->empty_wallets ? 0LL : 1000000000000LL);
    else
        snprintf(out, cap, "\"0x%s%056d\"", c->signature_ok ? "1626ba7e" : "ffffffff", 0);
}

static inline void node_answers(chain_t *c, const char *q, stand_reply_t *a)
{
    char id[32], method[64], result[4096] = "null";
    c->questions++;
    if (c->node_is_down) {
        a->status = 0;
        return;
    }
    assert_true(chain_member(q, "id", id, sizeof id));
    assert_true(chain_member(q, "method", method, sizeof method));
    if (strcmp(method, "eth_getBlockByNumber") == 0) {
        snprintf(result, sizeof result,
                 "{\"number\":\"0x%llx\",\"timestamp\":\"0x%llx\",\"hash\":\"0x%064x\"}",
                 (unsigned long long)c->head, (unsigned long long)time(NULL), 9);
    } else if (strcmp(method, "eth_call") == 0) {
        node_call(c, q, result, sizeof result);
    } else if (strcmp(method, "eth_getCode") == 0) {
        snprintf(result, sizeof result, "\"%s\"",
                 c->contract[0] && strcasestr(q, c->contract) ? "0x6080" : "0x");
    } else if (strcmp(method, "eth_getTransactionReceipt") == 0) {
        const use_t *u = chain_use(c, strstr(q, "[\"0x") + 4);
        char logs[3072];
        if (u) {
            put_log(u, logs, sizeof logs, true);
            snprintf(result, sizeof result,
                     "{\"transactionHash\":\"0x%s\",\"status\":\"0x1\",\"blockNumber\":\"0x%llx\","
                     "\"blockHash\":\"0x%064x\",\"logs\":%s}",
                     u->nonce, (unsigned long long)u->block, 7, logs);
        }
    } else if (strcmp(method, "eth_getLogs") == 0) {
        const use_t *u = NULL;
        for (unsigned i = 0; i < c->uses_count && !u; i++)
            u = strcasestr(q, c->uses[i].nonce) ? &c->uses[i] : NULL;
        if (u)
            put_log(u, result, sizeof result, false);
        else
            snprintf(result, sizeof result, "[]");
    }
    snprintf(a->body, sizeof a->body, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":%s}", id, result);
}

/* --- the facilitator --------------------------------------------------------------------------------- */

static inline void facilitator_settles(chain_t *c, const char *q, stand_reply_t *a)
{
    char from[64], nonce[80], value[32], network[96];
    c->settles++;
    snprintf(c->last_settle, sizeof c->last_settle, "%s", q);
    assert_true(chain_member(q, "from", from, sizeof from));
    assert_true(chain_member(q, "nonce", nonce, sizeof nonce));
    assert_true(chain_member(q, "value", value, sizeof value));
    assert_true(
        chain_member(strstr(q, "\"paymentRequirements\""), "network", network, sizeof network));
    uint64_t units = strtoull(value, NULL, 10);
    manners_t m = c->manners;
    if (c->manners_of) {
        uint8_t number[4]; /* as pay_with wrote it */
        assert_true(kmy_hex_decode(nonce + 2 + 56, 8, number, 4));
        m = c->manners_of[number[0]];
    }
    if (m == SETTLES || m == SETTLES_AND_CUTS || m == SETTLES_AND_SAYS_NO || m == SETTLES_LATER ||
        m == ANSWERS_FOR_ANOTHER)
        chain_mine(c, from + 2, nonce + 2, units, true, false);
    else if (m == PAYS_LESS)
        chain_mine(c, from + 2, nonce + 2, units - 1, true, false);
    else if (m == ONLY_EMITS)
        chain_mine(c, from + 2, nonce + 2, units, false, false);
    const char *payer = m == ANSWERS_FOR_ANOTHER ? US : from;
    switch (m) {
    case SETTLES_AND_CUTS:
    case CUTS:
        a->status = 0;
        return;
    case ANSWERS_500:
        a->status = 500;
        snprintf(a->body, sizeof a->body, "{\"error\":\"oops\"}");
        return;
    case ANSWERS_GARBAGE:
        snprintf(a->body, sizeof a->body, "<html>hello</html>");
        return;
    case IS_SILENT:
        a->silence = true;
        return;
    case REFUSES:
    case SETTLES_AND_SAYS_NO:
        snprintf(a->body, sizeof a->body,
                 "{\"success\":false,\"errorReason\":\"insufficient_funds\",\"transaction\":\"\","
                 "\"network\":\"%s\",\"payer\":\"%s\"}",
                 network, payer);
        return;
    case SETTLES_LATER:
        snprintf(a->body, sizeof a->body,
                 "{\"success\":false,\"errorReason\":\"settlement_pending\",\"transaction\":\"%s\","
                 "\"network\":\"%s\",\"payer\":\"%s\"}",
                 nonce, network, payer);
        return;
    default:
        snprintf(a->body, sizeof a->body,
                 "{\"success\":true,\"transaction\":\"%s\",\"network\":\"%s\",\"payer\":\"%s\"}",
                 nonce, network, payer);
    }
}

static inline void chain_answers(void *arg, const stand_request_t *q, stand_reply_t *a)
{
    chain_t *c = arg;
    if (strcmp(q->path, "/rpc") == 0) {
        node_answers(c, q->body, a);
    } else if (strcmp(q->path, "/f/settle") == 0) {
        const char *bearer = strcasestr(q->head, "\r\nAuthorization: Bearer ");
        snprintf(c->bearer, sizeof c->bearer, "%.*s", bearer ? (int)strcspn(bearer + 24, "\r") : 0,
                 bearer ? bearer + 24 : "");
        facilitator_settles(c, q->body, a);
    } else if (strcmp(q->path, "/f/verify") == 0) {
        c->verifies++;
        snprintf(a->body, sizeof a->body, "{\"isValid\":%s}", c->signature_ok ? "true" : "false");
    } else {
        a->status = 404;
    }
}

static inline void chain_open(chain_t *c)
{
    memset(c, 0, sizeof *c);
    c->head = 5000;
    stand_open(&c->http, chain_answers, c);
}

#define CHAIN_LOCKED(c, what)                                                                      \
    do {                                                                                           \
        pthread_mutex_lock(&(c)->http.lock);                                                       \
        what;                                                                                      \
        pthread_mutex_unlock(&(c)->http.lock);                                                     \
    } while (0)

#endif
