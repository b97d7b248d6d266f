/* dollar 7/7 (EVM)   in: engine/cashier_settler   out: pay/evm_tx */
#include "pay/evm_call.h"

#include "pay/chain_evm.h"
#include "wire/hex.h"

#include <string.h>

enum { WORD = KMY_EVM_WORD_BYTES, BYTES_WORDS = 8 };

_Static_assert((int)KMY_EVM_CALL_BYTES_MAX >=
                   4 + BYTES_WORDS * WORD + KMY_EVM_CONTRACT_SIGNATURE_BYTES_MAX + WORD,
               "the longest signature that is verified fits");

/* First four bytes of Keccak-256 of the signature; test_evm_call computes them again. */
static const uint8_t by_key[4] = { 0xe3, 0xee, 0x16, 0x0e };   /* ...,uint8,bytes32,bytes32) */
static const uint8_t by_bytes[4] = { 0xcf, 0x09, 0x29, 0x95 }; /* ...,bytes) */

static bool plain(kmy_json_token_t t)
{
    return t.type == KMY_JSON_STRING && !t.escaped;
}

static bool address_in(kmy_json_token_t t, uint8_t word[WORD])
{
    memset(word, 0, WORD);
    return plain(t) && kmy_evm_address_parse(t.text, t.len, word + WORD - KMY_EVM_ADDRESS_BYTES);
}

static bool number_in(kmy_json_token_t t, uint8_t word[WORD])
{
    return plain(t) && kmy_evm_word_parse(t.text, t.len, word);
}

/* from, to, value, validAfter, validBefore, nonce: the same six words in both overloads. */
static bool read_authorization(kmy_json_token_t object, uint8_t words[6 * WORD])
{
    kmy_json_field_t f[] = {
        { .key = "from" },       { .key = "to" },          { .key = "value" },
        { .key = "validAfter" }, { .key = "validBefore" }, { .key = "nonce" }
    };
    return object.type == KMY_JSON_OBJECT && kmy_json_members(object, f, 6) &&
           address_in(f[0].token, words) && address_in(f[1].token, words + WORD) &&
           number_in(f[2].token, words + (size_t)2 * WORD) &&
           number_in(f[3].token, words + (size_t)3 * WORD) &&
           number_in(f[4].token, words + (size_t)4 * WORD) && plain(f[5].token) &&
           kmy_hex_decode_0x(f[5].token.text, f[5].token.len, words + (size_t)5 * WORD, WORD);
}

/* v, r, s: a word each. */
static size_t put_key_signature(kmy_json_token_t signature, uint8_t *out)
{
    uint8_t rsv[KMY_EVM_SIGNATURE_BYTES];
    if (!kmy_hex_decode_0x(signature.text, signature.len, rsv, sizeof rsv))
        return 0;
    kmy_evm_word_set(rsv[2 * WORD], out);
    memcpy(out + WORD, rsv, (size_t)2 * WORD);
    return (size_t)3 * WORD;
}

/* Where the bytes begin (behind the seven words of the head), their length, they themselves filled up to a whole word. */
static size_t put_bytes_signature(kmy_json_token_t signature, uint8_t *out)
{
    size_t bytes = signature.len / 2 - 1;
    size_t room = (bytes + WORD - 1) / WORD * WORD;
    if (signature.len < 4 || bytes > KMY_EVM_CONTRACT_SIGNATURE_BYTES_MAX)
        return 0;
    kmy_evm_word_set((uint64_t)7 * WORD, out);
    kmy_evm_word_set(bytes, out + WORD);
    memset(out + (size_t)2 * WORD, 0, room);
    return kmy_hex_decode_0x(signature.text, signature.len, out + (size_t)2 * WORD, bytes)
               ? (size_t)2 * WORD + room
               : 0;
}

size_t kmy_evm_call(const char *payment, size_t payment_bytes, bool contract,
                    uint8_t out[KMY_EVM_CALL_BYTES_MAX])
{
    kmy_json_token_t whole = { .type = KMY_JSON_OBJECT, .text = payment, .len = payment_bytes };
    kmy_json_field_t top = { .key = "payload" };
    kmy_json_field_t f[] = { { .key = "authorization" }, { .key = "signature" } };
    const size_t head = 4 + (size_t)6 * WORD;
    if (!kmy_json_members(whole, &top, 1) || top.token.type != KMY_JSON_OBJECT ||
        !kmy_json_members(top.token, f, 2) || !read_authorization(f[0].token, out + 4) ||
        !plain(f[1].token))
        return 0;
    memcpy(out, contract ? by_bytes : by_key, 4);
    size_t tail = contract ? put_bytes_signature(f[1].token, out + head)
                           : put_key_signature(f[1].token, out + head);
    return tail ? head + tail : 0;
}

/* The words of FiatToken's own require()s; other tokens' are "it would not move". */
const char *kmy_evm_call_reason(kmy_json_token_t message)
{
    static const struct {
        const char *says, *reason;
    } words[] = {
        { "exceeds balance", "insufficient_funds" },
        { "is expired", "invalid_exact_evm_payload_authorization_valid_before" },
        { "not yet valid", "invalid_exact_evm_payload_authorization_valid_after" },
        { "signature", "invalid_exact_evm_payload_signature" },
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (message.type == KMY_JSON_STRING &&
            memmem(message.text, message.len, words[i].says, strlen(words[i].says)))
            return words[i].reason;
    }
    return "invalid_transaction_state";
}
