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

/* An answer to question `id`, taken to pieces; false: it is none. */
enum { ID, RESULT, ERROR, FIELDS };
static bool read_answer(const char *text, size_t len, uint64_t id, kmy_json_field_t f[FIELDS])
{
    kmy_json_t js;
    int64_t answered;
    f[ID] = (kmy_json_field_t){ .key = "id" };
    f[RESULT] = (kmy_json_field_t){ .key = "result" };
    f[ERROR] = (kmy_json_field_t){ .key = "error" };
    if (len > KMY_RPC_ANSWER_BYTES_MAX)
        return false;
    kmy_json_init(&js, text, len);
    return kmy_json_object(&js, f, FIELDS, NULL) == KMY_OK &&
           kmy_json_next(&js).type == KMY_JSON_END && kmy_json_i64(f[ID].token, &answered) &&
           answered >= 0 && (uint64_t)answered == id; /* one to another question is none to ours */
}

static bool is_error(const kmy_json_field_t f[FIELDS])
{
    return f[ERROR].token.type != KMY_JSON_ERROR && f[ERROR].token.type != KMY_JSON_NULL;
}

kmy_rpc_word_t kmy_rpc_read(const char *text, size_t len, uint64_t id, kmy_json_token_t *result)
{
    kmy_json_field_t f[FIELDS];
    *result = (kmy_json_token_t){ 0 };
    if (!read_answer(text, len, id, f))
        return KMY_RPC_LOST;
    if (is_error(f))
        return is_revert(f[ERROR].token) ? KMY_RPC_REVERTED : KMY_RPC_LOST;
    if (f[RESULT].token.type == KMY_JSON_ERROR)
        return KMY_RPC_LOST;
    *result = f[RESULT].token;
    return result->type == KMY_JSON_NULL ? KMY_RPC_NONE : KMY_RPC_FOUND;
}

bool kmy_rpc_read_error(const char *text, size_t len, uint64_t id, kmy_json_token_t *message)
{
    kmy_json_field_t f[FIELDS];
    kmy_json_field_t said = { .key = "message" };
    *message = (kmy_json_token_t){ 0 };
    if (!read_answer(text, len, id, f) || !is_error(f))
        return false;
    if (kmy_json_members(f[ERROR].token, &said, 1) && said.token.type == KMY_JSON_STRING)
        *message = said.token;
    return true;
}
