/* What a node says to who sends transactions, and payments on their way into a call: the first byte picks.  A number that was read is one, an error's text stands inside
   of the answer, and a call has the layout that the token's contract reads. */
#include "pay/chain_evm_send.h"
#include "pay/evm_call.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_message(kmy_json_token_t m, const char *text, size_t len)
{
    KMY_ASSERT(m.type == KMY_JSON_ERROR || m.type == KMY_JSON_STRING);
    if (m.type == KMY_JSON_STRING)
        KMY_ASSERT(m.text >= text && m.text + m.len <= text + len);
    const char *reason = kmy_evm_call_reason(m);
    KMY_ASSERT(reason[0] && strlen(reason) < 96);
}

static void check_call(const char *text, size_t len, bool contract)
{
    static uint8_t out[KMY_EVM_CALL_BYTES_MAX];
    size_t n = kmy_evm_call(text, len, contract, out);
    KMY_ASSERT(n <= sizeof out && (n == 0 || n % 32 == 4));
    if (n == 0)
        return;
    if (contract) { /* the bytes begin behind seven words, and are filled up to a whole one */
        uint64_t bytes = kmy_evm_word_u64(out + 4 + 7 * 32);
        KMY_ASSERT(kmy_evm_word_u64(out + 4 + 6 * 32) == 7 * 32);
        KMY_ASSERT(bytes > 0 && n == 4 + 8 * 32 + (bytes + 31) / 32 * 32);
    } else {
        KMY_ASSERT(n == 4 + 9 * 32 && kmy_evm_word_u64(out + 4 + 6 * 32) < 256);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    const char *text = (const char *)data + 1;
    uint64_t n = 0;
    kmy_json_token_t m;
    size--;
    switch (data[0] & 3) {
    case 0:
        kmy_chain_evm_read_number(text, size, 7, &n);
        break;
    case 1:
        if (kmy_chain_evm_read_gas(text, size, 7, &n, &m) != KMY_RPC_LOST)
            check_message(m, text, size);
        break;
    case 2:
        kmy_chain_evm_read_send(text, size, 7, &m);
        check_message(m, text, size);
        break;
    default:
        check_call(text, size, data[0] & 4);
    }
    return 0;
}
