/* dollar 7/7   in: engine/cashier   out: pay/chain_evm, pay/chain_solana */
#include "pay/rpc.h"

#include <inttypes.h>
#include <string.h>

void kmy_rpc_begin(kmy_buf_t *out, uint64_t id, const char *method)
{
    KMY_ASSERT(id <= INT64_MAX);
    kmy_buf_fmt(out, "{\"jsonrpc\":\"2.0\",\"id\":%" PRIu64 ",\"method\":\"%s\",\"params\":[", id,
                method);
}

void kmy_rpc_end(kmy_buf_t *out)
{
    kmy_buf_str(out, "]}");
}

/* Code 3 is EIP-1474's and geth's; others say it in words only. */
static bool is_revert(kmy_json_token_t error)
{
    static const char word[] = "revert";
    kmy_json_field_t f[] = { { .key = "code" }, { .key = "message" } };
    int64_t code = 0;
    if (!kmy_json_members(error, f, 2))
        return false;
    kmy_json_token_t text = f[1].token;
    return (kmy_json_i64(f[0].token, &code) && code == 3) ||
           (text.type == KMY_JSON_STRING &&
            memmem(text.text, text.len, word, sizeof word - 1) != NULL);
}

kmy_rpc_word_t kmy_rpc_read(const char *text, size_t len, uint64_t id, kmy_json_token_t *result)
{
    enum { ID, RESULT, ERROR, FIELDS };
    kmy_json_field_t f[FIELDS] = { { .key = "id" }, { .key = "result" }, { .key = "error" } };
    kmy_json_t js;
    int64_t answered;
    *result = (kmy_json_token_t){ 0 };
    if (len > KMY_RPC_ANSWER_BYTES_MAX)
        return KMY_RPC_LOST;
    kmy_json_init(&js, text, len);
    if (kmy_json_object(&js, f, FIELDS, NULL) != KMY_OK || kmy_json_next(&js).type != KMY_JSON_END)
        return KMY_RPC_LOST;
    if (!kmy_json_i64(f[ID].token, &answered) || answered < 0 || (uint64_t)answered != id)
        return KMY_RPC_LOST; /* an answer to another question is none to ours */
    if (f[ERROR].token.type != KMY_JSON_ERROR && f[ERROR].token.type != KMY_JSON_NULL)
        return is_revert(f[ERROR].token) ? KMY_RPC_REVERTED : KMY_RPC_LOST;
    if (f[RESULT].token.type == KMY_JSON_ERROR)
        return KMY_RPC_LOST;
    *result = f[RESULT].token;
    return result->type == KMY_JSON_NULL ? KMY_RPC_NONE : KMY_RPC_FOUND;
}
