/* dollar 4/7   in: pay/ledger_payment   out: LMDB pages */
#include "pay/ledger_payment_record.h"

#include "base/err.h"
#include "pay/ledger_bytes.h"

#include <stdio.h>
#include <string.h>

enum { FLAG_ANSWERED = 1, FLAG_RELEASED = 2, FLAG_ADVANCE_OPEN = 4 };
enum { FLAG_QUERY = 1, FLAG_CONTRACT = 2 };
enum { EVM_TX_BYTES = 66, EVM_ADDRESS_BYTES = 42 }; /* 0x and 64 or 40 digits */

static const char hex_digits[] = "0123456789abcdef";

bool kmy_payment_id_encode(const char *id, uint8_t out[KMY_PAYMENT_ID_BYTES_RAW])
{
    if (strnlen(id, KMY_PAYMENT_ID_HEX + 1) != KMY_PAYMENT_ID_HEX ||
        strspn(id, hex_digits) != KMY_PAYMENT_ID_HEX)
        return false;
    for (int i = 0; i < KMY_PAYMENT_ID_BYTES_RAW; i++) {
        size_t high = (size_t)(strchr(hex_digits, id[(size_t)i * 2]) - hex_digits);
        size_t low = (size_t)(strchr(hex_digits, id[(size_t)i * 2 + 1]) - hex_digits);
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

void kmy_payment_id_decode(const uint8_t *in, char out[KMY_PAYMENT_ID_HEX + 1])
{
    for (int i = 0; i < KMY_PAYMENT_ID_BYTES_RAW; i++) {
        out[(size_t)i * 2] = hex_digits[in[i] >> 4];
        out[(size_t)i * 2 + 1] = hex_digits[in[i] & 15];
    }
    out[KMY_PAYMENT_ID_HEX] = '\0';
}

/* A text of `len` bytes at *at into an array of `size`, terminated; false: too long, or a zero in it. */
static bool text_get(const uint8_t **at, size_t len, char *out, size_t size)
{
    if (len >= size || memchr(*at, 0, len))
        return false;
    memcpy(out, *at, len);
    memset(out + len, 0, size - len);
    *at += len;
    return true;
}

static uint8_t text_put(uint8_t **at, const char *text, size_t size)
{
    size_t len = strnlen(text, size);
    KMY_ASSERT(len < size && len <= UINT8_MAX);
    memcpy(*at, text, len);
    *at += len;
    return (uint8_t)len;
}

/*  0 version   1 state   2 flags   3 zero   4 log index (4)   8 changed   16 from_block   24 account   32 entry   40 reversals (4)
   44 length of tx   45 length of reason   46 zero (2)   48 tx, reason
   Version 2, where there was an advance: 48 advance   56 its entry   64 tx, reason */
enum { VERSION_ADVANCE = 2 };

static size_t state_head_bytes(uint8_t version)
{
    return KMY_PAYMENT_HEAD_BYTES + (version == VERSION_ADVANCE ? KMY_PAYMENT_ADVANCE_BYTES : 0);
}

size_t kmy_payment_state_encode(const kmy_stored_payment_t *p,
                                uint8_t out[KMY_PAYMENT_STATE_BYTES_MAX])
{
    const kmy_payment_row_t *r = &p->row;
    bool advanced = r->advance_nusd > 0;
    uint8_t version = advanced ? VERSION_ADVANCE : KMY_RECORD_VERSION;
    uint8_t *at = out + state_head_bytes(version);
    KMY_ASSERT(r->state >= KMY_PAYMENT_RESERVED && r->state < KMY_PAYMENT_STATES);
    KMY_ASSERT(advanced == (p->advance_entry > 0) && (advanced || !r->advance_open));
    memset(out, 0, state_head_bytes(version));
    out[0] = version;
    out[1] = r->state;
    out[2] = (uint8_t)((r->answered ? FLAG_ANSWERED : 0) | (r->released ? FLAG_RELEASED : 0) |
                       (r->advance_open ? FLAG_ADVANCE_OPEN : 0));
    kmy_put32(out + 4, r->log_index);
    kmy_put64(out + 8, (uint64_t)r->changed_ns);
    kmy_put64(out + 16, r->from_block);
    kmy_put64(out + 24, p->account_id);
    kmy_put64(out + 32, p->entry_id);
    kmy_put32(out + 40, p->reversals);
    if (advanced) {
        kmy_put64(out + 48, (uint64_t)r->advance_nusd);
        kmy_put64(out + 56, p->advance_entry);
    }
    out[44] = text_put(&at, r->tx, sizeof r->tx);
    out[45] = text_put(&at, r->reason, sizeof r->reason);
    return (size_t)(at - out);
}

/* Version, flags and lengths go together. */
static bool state_head_ok(const uint8_t *in, size_t len)
{
    if (len < KMY_PAYMENT_HEAD_BYTES || in[3] != 0 || in[46] != 0 || in[47] != 0)
        return false;
    uint8_t flags = in[2] & ~FLAG_ADVANCE_OPEN;
    if (flags > (FLAG_ANSWERED | FLAG_RELEASED) || flags == FLAG_RELEASED)
        return false;
    if (in[0] != KMY_RECORD_VERSION && in[0] != VERSION_ADVANCE)
        return false;
    if (in[0] == KMY_RECORD_VERSION && in[2] != flags)
        return false; /* an open advance of nothing */
    return len == state_head_bytes(in[0]) + in[44] + in[45];
}

bool kmy_payment_state_decode(const void *bytes, size_t len, kmy_stored_payment_t *p)
{
    const uint8_t *in = bytes;
    kmy_payment_row_t *r = &p->row;
    if (!state_head_ok(in, len) || in[1] < KMY_PAYMENT_RESERVED || in[1] >= KMY_PAYMENT_STATES)
        return false;
    const uint8_t *at = in + state_head_bytes(in[0]);
    bool advanced = in[0] == VERSION_ADVANCE;
    r->advance_nusd = advanced ? (int64_t)kmy_get64(in + 48) : 0;
    p->advance_entry = advanced ? kmy_get64(in + 56) : 0;
    if (advanced && (r->advance_nusd <= 0 || p->advance_entry == 0))
        return false;
    r->advance_open = in[2] & FLAG_ADVANCE_OPEN;
    r->state = in[1];
    r->answered = in[2] & FLAG_ANSWERED;
    r->released = in[2] & FLAG_RELEASED;
    r->log_index = kmy_get32(in + 4);
    r->changed_ns = (int64_t)kmy_get64(in + 8);
    r->from_block = kmy_get64(in + 16);
    p->account_id = kmy_get64(in + 24);
    p->entry_id = kmy_get64(in + 32);
    p->reversals = kmy_get32(in + 40);
    return text_get(&at, in[44], r->tx, sizeof r->tx) &&
           text_get(&at, in[45], r->reason, sizeof r->reason);
}

/*  0 version   1 x402 version   2 flags   3..6 lengths of account, chain, asset, client id   7 zero   8 created   16 valid before   24 units
   32 price   40 payer (32)   72 nonce (32)   104 account, chain, asset, client id */
size_t kmy_promise_encode(const kmy_payment_row_t *r, uint8_t out[KMY_PROMISE_BYTES_MAX])
{
    uint8_t *at = out + KMY_PROMISE_HEAD_BYTES;
    memset(out, 0, KMY_PROMISE_HEAD_BYTES);
    out[0] = KMY_RECORD_VERSION;
    out[1] = r->version;
    out[2] = (uint8_t)((r->query ? FLAG_QUERY : 0) | (r->contract ? FLAG_CONTRACT : 0));
    kmy_put64(out + 8, (uint64_t)r->created_ns);
    kmy_put64(out + 16, (uint64_t)r->valid_before_s);
    kmy_put64(out + 24, r->amount_units);
    kmy_put64(out + 32, (uint64_t)r->price_nusd);
    memcpy(out + 40, r->payer, sizeof r->payer);
    memcpy(out + 72, r->nonce, sizeof r->nonce);
    out[3] = text_put(&at, r->account, sizeof r->account);
    out[4] = text_put(&at, r->chain, sizeof r->chain);
    out[5] = text_put(&at, r->asset, sizeof r->asset);
    out[6] = text_put(&at, r->client_id, sizeof r->client_id);
    return (size_t)(at - out);
}

bool kmy_promise_decode(const void *bytes, size_t len, kmy_payment_row_t *r)
{
    const uint8_t *in = bytes;
    if (len < KMY_PROMISE_HEAD_BYTES || in[0] != KMY_RECORD_VERSION || in[7] != 0 ||
        in[2] > (FLAG_QUERY | FLAG_CONTRACT) ||
        len != (size_t)KMY_PROMISE_HEAD_BYTES + in[3] + in[4] + in[5] + in[6])
        return false;
    const uint8_t *at = in + KMY_PROMISE_HEAD_BYTES;
    r->version = in[1];
    r->query = in[2] & FLAG_QUERY;
    r->contract = in[2] & FLAG_CONTRACT;
    r->created_ns = (int64_t)kmy_get64(in + 8);
    r->valid_before_s = (int64_t)kmy_get64(in + 16);
    r->amount_units = kmy_get64(in + 24);
    r->price_nusd = (int64_t)kmy_get64(in + 32);
    memcpy(r->payer, in + 40, sizeof r->payer);
    memcpy(r->nonce, in + 72, sizeof r->nonce);
    return text_get(&at, in[3], r->account, sizeof r->account) &&
           text_get(&at, in[4], r->chain, sizeof r->chain) &&
           text_get(&at, in[5], r->asset, sizeof r->asset) &&
           text_get(&at, in[6], r->client_id, sizeof r->client_id);
}

/* ASCII alone; locales have no say in keys. */
static void lower(char *text)
{
    for (; *text; text++)
        if (*text >= 'A' && *text <= 'Z')
            *text = (char)(*text - 'A' + 'a');
}

static bool evm_hex_ok(const char *text, size_t want)
{
    return strlen(text) == want && text[0] == '0' && text[1] == 'x' &&
           strspn(text + 2, hex_digits) == want - 2;
}

bool kmy_claim_key(const char *chain, const char *tx, uint32_t log_index,
                   char out[KMY_CLAIM_KEY_BYTES_MAX])
{
    static const char word[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    char id[KMY_PAYMENT_TX_BYTES_MAX];
    size_t chain_len = strnlen(chain, 81);
    size_t tx_len = strnlen(tx, sizeof id);
    if (chain_len == 0 || chain_len >= 81 || strchr(chain, '|') || tx_len == 0 ||
        tx_len >= sizeof id || strspn(tx, word) != tx_len)
        return false;
    memcpy(id, tx, tx_len + 1);
    if (strncmp(chain, "eip155:", 7) == 0) {
        lower(id);
        if (!evm_hex_ok(id, EVM_TX_BYTES))
            return false;
    }
    if (strncmp(chain, "solana:", 7) == 0)
        log_index = 0; /* a signature is one payment, whichever instruction it is found in */
    snprintf(out, KMY_CLAIM_KEY_BYTES_MAX, "%s|%s|%u", chain, id, log_index);
    return true;
}

/*  0 version   1 payment   2 zero (6)   8 account   16 entry   24 amount   32 id */
void kmy_claim_encode(const kmy_claim_t *c, uint8_t out[KMY_CLAIM_BYTES])
{
    KMY_ASSERT(c->amount_nusd > 0);
    kmy_head_put(out);
    out[1] = c->payment;
    kmy_put64(out + 8, c->account_id);
    kmy_put64(out + 16, c->entry_id);
    kmy_put64(out + 24, (uint64_t)c->amount_nusd);
    memcpy(out + 32, c->id, sizeof c->id);
}

bool kmy_claim_decode(const void *bytes, size_t len, kmy_claim_t *c)
{
    const uint8_t *in = bytes;
    if (!kmy_head_ok(in, len, KMY_CLAIM_BYTES) || in[1] > 1)
        return false;
    c->payment = in[1];
    c->account_id = kmy_get64(in + 8);
    c->entry_id = kmy_get64(in + 16);
    c->amount_nusd = (int64_t)kmy_get64(in + 24);
    memcpy(c->id, in + 32, sizeof c->id);
    return c->amount_nusd > 0;
}

void kmy_payment_ref(const kmy_stored_payment_t *p, char ref[KMY_LEDGER_REF_BYTES_MAX + 1])
{
    int len = snprintf(ref, KMY_LEDGER_REF_BYTES_MAX + 1, "x402:%s", p->row.id);
    if (p->reversals > 0)
        snprintf(ref + len, KMY_LEDGER_REF_BYTES_MAX + 1 - (size_t)len, ".%u", p->reversals);
}

void kmy_advance_ref(const kmy_stored_payment_t *p, char ref[KMY_LEDGER_REF_BYTES_MAX + 1])
{
    snprintf(ref, KMY_LEDGER_REF_BYTES_MAX + 1, KMY_ADVANCE_WORD ":%s", p->row.id);
}

void kmy_claim_ref(const char *claim_key, char ref[KMY_LEDGER_REF_BYTES_MAX + 1])
{
    static const char word[] = "transfer:";
    char tail[KMY_PAYMENT_TX_BYTES_MAX + 16];
    const char *bar = strchr(claim_key, '|');
    KMY_ASSERT(bar != NULL);
    int tail_len = snprintf(tail, sizeof tail, ":%s", bar + 1);
    *strchr(tail, '|') = ':';
    int chain_len = (int)(bar - claim_key);
    int room = KMY_LEDGER_REF_BYTES_MAX - (int)sizeof word + 1 - tail_len;
    snprintf(ref, KMY_LEDGER_REF_BYTES_MAX + 1, "%s%.*s%s", word,
             chain_len < room ? chain_len : room, claim_key, tail);
}

bool kmy_payer_canonical(const char *payer, char out[KMY_ACCOUNT_BYTES_MAX])
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                   "-_.:%"; /* as accounts are named */
    size_t len = strnlen(payer, KMY_ACCOUNT_BYTES_MAX);
    if (len == 0 || len >= KMY_ACCOUNT_BYTES_MAX || strspn(payer, alphabet) != len)
        return false;
    memcpy(out, payer, len + 1);
    if (strncmp(out, "eip155:", 7) != 0)
        return true;
    lower(out);
    const char *address = strrchr(out, ':') + 1;
    return address > out + 7 && evm_hex_ok(address, EVM_ADDRESS_BYTES);
}

bool kmy_payer_address(const char *payer, char out[KMY_ACCOUNT_BYTES_MAX])
{
    if (strncmp(payer, "eip155:", 7) != 0)
        return false;
    snprintf(out, KMY_ACCOUNT_BYTES_MAX, "eip155:%s", strrchr(payer, ':') + 1);
    return true;
}
