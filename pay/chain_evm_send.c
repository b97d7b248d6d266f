/* dollar 7/7 (EVM)   in: engine/cashier_settler   out: a chain's node */
#include "pay/chain_evm_send.h"

#include "wire/hex.h"

#include <string.h>
#include <strings.h>

_Static_assert((int)KMY_RPC_REQUEST_BYTES_MAX >= 2 * (int)KMY_EVM_TX_BYTES_MAX + 256,
               "the longest transaction fits a question");

static void put_hex(kmy_buf_t *out, const uint8_t *bytes, size_t count)
{
    char pair[3];
    kmy_buf_str(out, "\"0x");
    for (size_t i = 0; i < count; i++) {
        kmy_hex_encode(bytes + i, 1, pair);
        kmy_buf_bytes(out, pair, 2);
    }
    kmy_buf_str(out, "\"");
}

static void ask_of_account(kmy_buf_t *out, uint64_t id, const char *method,
                           const uint8_t account[KMY_EVM_ADDRESS_BYTES], const char *when)
{
    kmy_rpc_begin(out, id, method);
    put_hex(out, account, KMY_EVM_ADDRESS_BYTES);
    kmy_buf_fmt(out, ",\"%s\"", when);
    kmy_rpc_end(out);
}

void kmy_chain_evm_count(kmy_buf_t *out, uint64_t id, const uint8_t account[KMY_EVM_ADDRESS_BYTES],
                         bool pending)
{
    ask_of_account(out, id, "eth_getTransactionCount", account, pending ? "pending" : "latest");
}

void kmy_chain_evm_coin(kmy_buf_t *out, uint64_t id, const uint8_t account[KMY_EVM_ADDRESS_BYTES])
{
    ask_of_account(out, id, "eth_getBalance", account, "latest");
}

void kmy_chain_evm_tip(kmy_buf_t *out, uint64_t id)
{
    kmy_rpc_begin(out, id, "eth_maxPriorityFeePerGas");
    kmy_rpc_end(out);
}

/* More digits than 64 bits have, all of them digits: much, which is all one wants to know of a balance. */
static bool is_huge(kmy_json_token_t t)
{
    if (t.type != KMY_JSON_STRING || t.escaped || t.len < 19 || t.len > 66 || t.text[0] != '0' ||
        t.text[1] != 'x')
        return false;
    for (size_t i = 2; i < t.len; i++) {
        uint8_t digit;
        char pair[2] = { '0', t.text[i] };
        if (!kmy_hex_decode(pair, 2, &digit, 1))
            return false;
    }
    return true;
}

kmy_rpc_word_t kmy_chain_evm_read_number(const char *text, size_t len, uint64_t id,
                                         uint64_t *number)
{
    kmy_json_token_t result;
    kmy_rpc_word_t word = kmy_rpc_read(text, len, id, &result);
    if (word != KMY_RPC_FOUND)
        return KMY_RPC_LOST;
    if (kmy_chain_evm_quantity(result, number))
        return KMY_RPC_FOUND;
    *number = UINT64_MAX;
    return is_huge(result) ? KMY_RPC_FOUND : KMY_RPC_LOST;
}

void kmy_chain_evm_gas(kmy_buf_t *out, uint64_t id, const uint8_t from[KMY_EVM_ADDRESS_BYTES],
                       const uint8_t to[KMY_EVM_ADDRESS_BYTES], const uint8_t *data,
                       size_t data_bytes)
{
    kmy_rpc_begin(out, id, "eth_estimateGas");
    kmy_buf_str(out, "{\"from\":");
    put_hex(out, from, KMY_EVM_ADDRESS_BYTES);
    kmy_buf_str(out, ",\"to\":");
    put_hex(out, to, KMY_EVM_ADDRESS_BYTES);
    kmy_buf_str(out, ",\"data\":");
    put_hex(out, data, data_bytes);
    kmy_buf_str(out, "}");
    kmy_rpc_end(out);
}

kmy_rpc_word_t kmy_chain_evm_read_gas(const char *text, size_t len, uint64_t id, uint64_t *gas,
                                      kmy_json_token_t *message)
{
    kmy_json_token_t result;
    kmy_rpc_word_t word = kmy_rpc_read(text, len, id, &result);
    *message = (kmy_json_token_t){ 0 };
    if (word == KMY_RPC_REVERTED) {
        kmy_rpc_read_error(text, len, id, message);
        return word;
    }
    return word == KMY_RPC_FOUND && kmy_chain_evm_quantity(result, gas) ? KMY_RPC_FOUND
                                                                        : KMY_RPC_LOST;
}

void kmy_chain_evm_send(kmy_buf_t *out, uint64_t id, const uint8_t *tx, size_t tx_bytes)
{
    kmy_rpc_begin(out, id, "eth_sendRawTransaction");
    put_hex(out, tx, tx_bytes);
    kmy_rpc_end(out);
}

/* Does text say it, in letters of any case? */
static bool says(kmy_json_token_t text, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= text.len; i++) {
        if (strncasecmp(text.text + i, word, n) == 0)
            return true;
    }
    return false;
}

static kmy_evm_send_t meaning_of(kmy_json_token_t message)
{
    static const struct {
        const char *says;
        kmy_evm_send_t is;
    } words[] = {
        { "already known", KMY_EVM_SEND_TAKEN },        /* geth, erigon, reth */
        { "already imported", KMY_EVM_SEND_TAKEN },     /* anvil */
        { "known transaction", KMY_EVM_SEND_TAKEN },    /* besu */
        { "alreadyknown", KMY_EVM_SEND_TAKEN },         /* nethermind */
        { "nonce too low", KMY_EVM_SEND_NONCE },        /* all but */
        { "oldnonce", KMY_EVM_SEND_NONCE },             /* nethermind */
        { "insufficient funds", KMY_EVM_SEND_FUNDS },   /* all but */
        { "insufficientfunds", KMY_EVM_SEND_FUNDS },    /* nethermind */
        { "upfront cost exceeds", KMY_EVM_SEND_FUNDS }, /* besu */
        { "underpriced",
          KMY_EVM_SEND_PRICE }, /* "transaction ...", "replacement transaction ..." */
        { "less than block base fee", KMY_EVM_SEND_PRICE },
        { "fee too low", KMY_EVM_SEND_PRICE },
        { "feetoolow", KMY_EVM_SEND_PRICE },
        { "price too low", KMY_EVM_SEND_PRICE }, /* besu */
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (says(message, words[i].says))
            return words[i].is;
    }
    return KMY_EVM_SEND_LOST;
}

kmy_evm_send_t kmy_chain_evm_read_send(const char *text, size_t len, uint64_t id,
                                       kmy_json_token_t *message)
{
    kmy_json_token_t result;
    *message = (kmy_json_token_t){ 0 };
    if (kmy_rpc_read_error(text, len, id, message))
        return message->type == KMY_JSON_STRING ? meaning_of(*message) : KMY_EVM_SEND_LOST;
    return kmy_rpc_read(text, len, id, &result) == KMY_RPC_FOUND ? KMY_EVM_SEND_TAKEN
                                                                 : KMY_EVM_SEND_LOST;
}
