/* dollar 7/7 (EVM)   in: engine/cashier   out: pay/settle */
/* The questions, and the answers that are one value.  Logs and receipts: chain_evm_logs.c. */
#include "pay/chain_evm.h"

#include "wire/hex.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

/* First four bytes of Keccak-256 of the signature; test_chain_evm computes them again. */
#define SELECTOR_AUTHORIZATION_STATE "e94a0102" /* authorizationState(address,bytes32) */
#define SELECTOR_BALANCE_OF          "70a08231" /* balanceOf(address) */
#define SELECTOR_IS_VALID_SIGNATURE  "1626ba7e" /* isValidSignature(bytes32,bytes); also its yes */

static void put_hex(kmy_buf_t *out, const uint8_t *bytes, size_t count)
{
    char text[2 * KMY_EVM_WORD_BYTES + 1];
    KMY_ASSERT(count <= KMY_EVM_WORD_BYTES);
    kmy_hex_encode(bytes, count, text);
    kmy_buf_bytes(out, text, 2 * count);
}

static void put_address_word(kmy_buf_t *out, const uint8_t address[KMY_EVM_ADDRESS_BYTES])
{
    kmy_buf_str(out, "000000000000000000000000");
    put_hex(out, address, KMY_EVM_ADDRESS_BYTES);
}

static void put_number_word(kmy_buf_t *out, uint64_t value)
{
    kmy_buf_fmt(out, "%064" PRIx64, value);
}

static void put_block(kmy_buf_t *out, uint64_t block)
{
    if (block == KMY_EVM_LATEST)
        kmy_buf_str(out, "\"latest\"");
    else if (block == KMY_EVM_FINALIZED)
        kmy_buf_str(out, "\"finalized\"");
    else
        kmy_buf_fmt(out, "\"0x%" PRIx64 "\"", block);
}

static void call_begin(kmy_buf_t *out, uint64_t id, const uint8_t to[KMY_EVM_ADDRESS_BYTES],
                       const char *gas, const char *selector)
{
    kmy_rpc_begin(out, id, "eth_call");
    kmy_buf_str(out, "{\"to\":\"0x");
    put_hex(out, to, KMY_EVM_ADDRESS_BYTES);
    kmy_buf_fmt(out, "\"%s,\"data\":\"0x%s", gas, selector);
}

static void call_end(kmy_buf_t *out, uint64_t block)
{
    kmy_buf_str(out, "\"},");
    put_block(out, block);
    kmy_rpc_end(out);
}

void kmy_chain_evm_chain_id(kmy_buf_t *out, uint64_t id)
{
    kmy_rpc_begin(out, id, "eth_chainId");
    kmy_rpc_end(out);
}

void kmy_chain_evm_block(kmy_buf_t *out, uint64_t id, uint64_t block)
{
    kmy_rpc_begin(out, id, "eth_getBlockByNumber");
    put_block(out, block);
    kmy_buf_str(out, ",false");
    kmy_rpc_end(out);
}

void kmy_chain_evm_authorization(kmy_buf_t *out, uint64_t id, const kmy_pay_entry_t *entry,
                                 const uint8_t payer[KMY_EVM_ADDRESS_BYTES],
                                 const uint8_t nonce[KMY_EVM_WORD_BYTES], uint64_t block)
{
    KMY_ASSERT(entry->family == KMY_PAY_EVM);
    call_begin(out, id, entry->evm.asset, "", SELECTOR_AUTHORIZATION_STATE);
    put_address_word(out, payer);
    put_hex(out, nonce, KMY_EVM_WORD_BYTES);
    call_end(out, block);
}

void kmy_chain_evm_balance(kmy_buf_t *out, uint64_t id, const kmy_pay_entry_t *entry,
                           const uint8_t payer[KMY_EVM_ADDRESS_BYTES])
{
    KMY_ASSERT(entry->family == KMY_PAY_EVM);
    call_begin(out, id, entry->evm.asset, "", SELECTOR_BALANCE_OF);
    put_address_word(out, payer);
    call_end(out, KMY_EVM_LATEST);
}

void kmy_chain_evm_code(kmy_buf_t *out, uint64_t id, const uint8_t address[KMY_EVM_ADDRESS_BYTES])
{
    kmy_rpc_begin(out, id, "eth_getCode");
    kmy_buf_str(out, "\"0x");
    put_hex(out, address, KMY_EVM_ADDRESS_BYTES);
    kmy_buf_str(out, "\",\"latest\"");
    kmy_rpc_end(out);
}

/* Hex digits of whole bytes behind 0x, not longer than the limit, and not wrapped by EIP-6492 (which ends in 32 bytes of 6492). */
static bool is_plain_signature(const char *text, size_t len)
{
    static const char wrapped[] =
        "6492649264926492649264926492649264926492649264926492649264926492";
    const size_t tail = sizeof wrapped - 1;
    if (len < 2 || len % 2 || text[0] != '0' || text[1] != 'x' ||
        len > 2 + 2 * KMY_EVM_CONTRACT_SIGNATURE_BYTES_MAX)
        return false;
    for (size_t at = 2; at < len; at += 2) {
        uint8_t byte;
        if (!kmy_hex_decode(text + at, 2, &byte, 1))
            return false;
    }
    return len < 2 + tail || memcmp(text + len - tail, wrapped, tail) != 0;
}

/* isValidSignature(bytes32 digest, bytes signature): two head words (the digest; where the bytes begin: 2 x 32), their length, and they themselves, filled up to a
   whole word. */
bool kmy_chain_evm_signature(kmy_buf_t *out, uint64_t id,
                             const uint8_t wallet[KMY_EVM_ADDRESS_BYTES],
                             const uint8_t digest[KMY_EVM_WORD_BYTES], const char *signature,
                             size_t signature_len)
{
    static const char zeros[2 * KMY_EVM_WORD_BYTES + 1] =
        "0000000000000000000000000000000000000000000000000000000000000000";
    char gas[32];
    kmy_buf_t g = kmy_buf(gas, sizeof gas - 1);
    if (!is_plain_signature(signature, signature_len))
        return false;
    size_t bytes = (signature_len - 2) / 2;
    size_t fill = (KMY_EVM_WORD_BYTES - bytes % KMY_EVM_WORD_BYTES) % KMY_EVM_WORD_BYTES;
    kmy_buf_fmt(&g, ",\"gas\":\"0x%x\"", KMY_EVM_CALL_GAS);
    gas[g.len] = '\0';
    call_begin(out, id, wallet, gas, SELECTOR_IS_VALID_SIGNATURE);
    put_hex(out, digest, KMY_EVM_WORD_BYTES);
    put_number_word(out, 64);
    put_number_word(out, bytes);
    kmy_buf_bytes(out, signature + 2, 2 * bytes);
    kmy_buf_bytes(out, zeros, 2 * fill);
    call_end(out, KMY_EVM_LATEST);
    return !out->overflow;
}

static void ask_by_tx(kmy_buf_t *out, uint64_t id, const char *method, const char *tx)
{
    KMY_ASSERT(strlen(tx) == KMY_EVM_TX_TEXT_BYTES - 1);
    kmy_rpc_begin(out, id, method);
    kmy_buf_fmt(out, "\"%s\"", tx);
    kmy_rpc_end(out);
}

void kmy_chain_evm_transaction(kmy_buf_t *out, uint64_t id, const char *tx)
{
    ask_by_tx(out, id, "eth_getTransactionByHash", tx);
}

void kmy_chain_evm_receipt(kmy_buf_t *out, uint64_t id, const char *tx)
{
    ask_by_tx(out, id, "eth_getTransactionReceipt", tx);
}

/* Answers */

static bool plain_text(kmy_json_token_t t)
{
    return t.type == KMY_JSON_STRING && !t.escaped;
}

bool kmy_chain_evm_quantity(kmy_json_token_t t, uint64_t *out)
{
    int64_t number;
    uint64_t v = 0;
    if (kmy_json_i64(t, &number) && number >= 0) {
        *out = (uint64_t)number;
        return true;
    }
    if (!plain_text(t) || t.len < 3 || t.text[0] != '0' || t.text[1] != 'x')
        return false;
    for (size_t i = 2; i < t.len; i++) {
        uint8_t digit;
        char pair[2] = { '0', t.text[i] };
        if (!kmy_hex_decode(pair, 2, &digit, 1) || v >> 60)
            return false;
        v = v << 4 | digit;
    }
    *out = v;
    return true;
}

static bool read_bytes(kmy_json_token_t t, uint8_t *out, size_t bytes)
{
    return plain_text(t) && kmy_hex_decode_0x(t.text, t.len, out, bytes);
}

kmy_rpc_word_t kmy_chain_evm_read_chain_id(const char *text, size_t len, uint64_t id,
                                           uint64_t *chain_id)
{
    kmy_json_token_t result;
    kmy_rpc_word_t word = kmy_rpc_read(text, len, id, &result);
    if (word != KMY_RPC_FOUND)
        return KMY_RPC_LOST;
    return kmy_chain_evm_quantity(result, chain_id) ? KMY_RPC_FOUND : KMY_RPC_LOST;
}

kmy_rpc_word_t kmy_chain_evm_read_block(const char *text, size_t len, uint64_t id,
                                        kmy_evm_block_t *block)
{
    kmy_json_field_t f[] = {
        { .key = "number" }, { .key = "timestamp" }, { .key = "hash" }, { .key = "baseFeePerGas" }
    };
    kmy_json_token_t result;
    uint64_t time_s;
    kmy_rpc_word_t word = kmy_rpc_read(text, len, id, &result);
    if (word != KMY_RPC_FOUND)
        return word;
    if (!kmy_json_members(result, f, 4) || !kmy_chain_evm_quantity(f[0].token, &block->number) ||
        !kmy_chain_evm_quantity(f[1].token, &time_s) || time_s > INT64_MAX ||
        !read_bytes(f[2].token, block->hash, sizeof block->hash))
        return KMY_RPC_LOST;
    block->time_s = (int64_t)time_s;
    block->base_fee = 0;
    if (f[3].token.type != KMY_JSON_ERROR && f[3].token.type != KMY_JSON_NULL &&
        !kmy_chain_evm_quantity(f[3].token, &block->base_fee))
        block->base_fee = UINT64_MAX;
    return KMY_RPC_FOUND;
}

/* The one word that a call returned.  An address without code returns no byte at all, which is no answer. */
static kmy_rpc_word_t read_call(const char *text, size_t len, uint64_t id,
                                uint8_t word[KMY_EVM_WORD_BYTES])
{
    kmy_json_token_t result;
    kmy_rpc_word_t answer = kmy_rpc_read(text, len, id, &result);
    if (answer == KMY_RPC_REVERTED)
        return answer;
    if (answer != KMY_RPC_FOUND || !read_bytes(result, word, KMY_EVM_WORD_BYTES))
        return KMY_RPC_LOST;
    return KMY_RPC_FOUND;
}

kmy_rpc_word_t kmy_chain_evm_read_authorization(const char *text, size_t len, uint64_t id,
                                                bool *used)
{
    uint8_t word[KMY_EVM_WORD_BYTES];
    kmy_rpc_word_t answer = read_call(text, len, id, word);
    if (answer != KMY_RPC_FOUND)
        return answer;
    uint64_t state = kmy_evm_word_u64(word);
    if (state > 1)
        return KMY_RPC_LOST;
    *used = state == 1;
    return KMY_RPC_FOUND;
}

kmy_rpc_word_t kmy_chain_evm_read_balance(const char *text, size_t len, uint64_t id,
                                          uint8_t units[KMY_EVM_WORD_BYTES])
{
    return read_call(text, len, id, units);
}

kmy_rpc_word_t kmy_chain_evm_read_code(const char *text, size_t len, uint64_t id, bool *code)
{
    kmy_json_token_t result;
    if (kmy_rpc_read(text, len, id, &result) != KMY_RPC_FOUND || !plain_text(result) ||
        result.len < 2 || result.text[0] != '0' || result.text[1] != 'x')
        return KMY_RPC_LOST;
    *code = result.len > 2;
    return KMY_RPC_FOUND;
}

/* The magic value stands in the first four bytes of a word.  Wallets that return less, or more words behind it, are refused: so does the token's own library.
   So is an address without code, which answers nothing: that is an answer, and whoever asks again gets the same. */
kmy_rpc_word_t kmy_chain_evm_read_signature(const char *text, size_t len, uint64_t id, bool *valid)
{
    static const uint8_t magic[KMY_EVM_WORD_BYTES] = { 0x16, 0x26, 0xBA, 0x7E };
    uint8_t word[KMY_EVM_WORD_BYTES];
    kmy_json_token_t result;
    kmy_rpc_word_t answer = kmy_rpc_read(text, len, id, &result);
    if (answer == KMY_RPC_REVERTED)
        return answer;
    if (answer != KMY_RPC_FOUND || !plain_text(result) || result.len < 2 || result.text[0] != '0' ||
        result.text[1] != 'x')
        return KMY_RPC_LOST;
    *valid = read_bytes(result, word, sizeof word) && memcmp(word, magic, sizeof word) == 0;
    return KMY_RPC_FOUND;
}

/* The transaction asked for, spelled in either case. */
static bool is_tx(kmy_json_token_t t, const char *tx)
{
    return plain_text(t) && t.len == KMY_EVM_TX_TEXT_BYTES - 1 &&
           strncasecmp(t.text, tx, t.len) == 0;
}

kmy_rpc_word_t kmy_chain_evm_read_transaction(const char *text, size_t len, uint64_t id,
                                              const char *tx, kmy_evm_transaction_t *transaction)
{
    kmy_json_field_t f[] = { { .key = "hash" }, { .key = "blockNumber" }, { .key = "from" } };
    kmy_json_token_t result;
    kmy_rpc_word_t word = kmy_rpc_read(text, len, id, &result);
    if (word != KMY_RPC_FOUND)
        return word;
    memset(transaction, 0, sizeof *transaction);
    if (!kmy_json_members(result, f, 3) || !is_tx(f[0].token, tx) ||
        !read_bytes(f[2].token, transaction->from, sizeof transaction->from))
        return KMY_RPC_LOST;
    transaction->mined = f[1].token.type != KMY_JSON_NULL && f[1].token.type != KMY_JSON_ERROR;
    if (transaction->mined && !kmy_chain_evm_quantity(f[1].token, &transaction->block))
        return KMY_RPC_LOST;
    return KMY_RPC_FOUND;
}

kmy_rpc_word_t kmy_chain_evm_read_receipt(const char *text, size_t len, uint64_t id, const char *tx,
                                          kmy_evm_receipt_t *receipt)
{
    enum { TX, STATUS, BLOCK, HASH, LOGS, FIELDS };
    kmy_json_field_t f[FIELDS] = { { .key = "transactionHash" },
                                   { .key = "status" },
                                   { .key = "blockNumber" },
                                   { .key = "blockHash" },
                                   { .key = "logs" } };
    kmy_json_token_t result;
    uint64_t status;
    kmy_rpc_word_t word = kmy_rpc_read(text, len, id, &result);
    if (word != KMY_RPC_FOUND)
        return word;
    memset(receipt, 0, sizeof *receipt);
    if (!kmy_json_members(result, f, FIELDS) || !is_tx(f[TX].token, tx))
        return KMY_RPC_LOST;
    if (f[BLOCK].token.type == KMY_JSON_NULL) /* some nodes give a receipt of what still waits */
        return KMY_RPC_NONE;
    if (!kmy_chain_evm_quantity(f[STATUS].token, &status) || status > 1 ||
        !kmy_chain_evm_quantity(f[BLOCK].token, &receipt->block) ||
        !read_bytes(f[HASH].token, receipt->block_hash, sizeof receipt->block_hash) ||
        f[LOGS].token.type != KMY_JSON_ARRAY)
        return KMY_RPC_LOST;
    receipt->success = status == 1;
    receipt->logs = f[LOGS].token;
    return KMY_RPC_FOUND;
}
