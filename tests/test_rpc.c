/* pay/rpc: a result counts only in the answer to our question; everything else is no answer. */
#include "pay/rpc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

static void a_question_is_json_rpc_2_with_its_number(void **s)
{
    (void)s;
    char mem[200];
    kmy_buf_t out = kmy_buf(mem, sizeof mem);
    kmy_rpc_begin(&out, 7, "eth_chainId");
    kmy_rpc_end(&out);
    assert_false(out.overflow);
    mem[out.len] = '\0';
    assert_string_equal(mem,
                        "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"eth_chainId\",\"params\":[]}");
}

static const struct {
    const char *text;
    kmy_rpc_word_t word;
    const char *result;
} answers[] = {
    { "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":\"0x1\"}", KMY_RPC_FOUND, "0x1" },
    { "{\"id\":7,\"error\":null,\"result\":{\"a\":1}}", KMY_RPC_FOUND, "{\"a\":1}" },
    { "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":null}", KMY_RPC_NONE, "null" },
    { "{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":3,\"message\":\"x\",\"data\":\"0x\"}}",
      KMY_RPC_REVERTED, "" },
    { "{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":-32000,\"message\":\"execution "
      "reverted\"}}",
      KMY_RPC_REVERTED, "" },
    { "{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":-32005,\"message\":\"limit exceeded\"}}",
      KMY_RPC_LOST, "" },
    { "{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":\"no\"}", KMY_RPC_LOST, "" },
    { "{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":1},\"result\":\"0x1\"}", KMY_RPC_LOST,
      "" },
    { "{\"jsonrpc\":\"2.0\",\"id\":8,\"result\":\"0x1\"}", KMY_RPC_LOST,
      "" }, /* of another question */
    { "{\"jsonrpc\":\"2.0\",\"id\":\"7\",\"result\":\"0x1\"}", KMY_RPC_LOST, "" },
    { "{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":\"0x1\"}", KMY_RPC_LOST, "" },
    { "{\"jsonrpc\":\"2.0\",\"result\":\"0x1\"}", KMY_RPC_LOST, "" },
    { "{\"jsonrpc\":\"2.0\",\"id\":7}", KMY_RPC_LOST, "" },
    { "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":1,\"result\":2}", KMY_RPC_LOST, "" },
    { "[{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":1}]", KMY_RPC_LOST, "" },
    { "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":1}}", KMY_RPC_LOST, "" },
    { "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":", KMY_RPC_LOST, "" },
    { "<html>", KMY_RPC_LOST, "" },
    { "", KMY_RPC_LOST, "" },
};

static void only_the_answer_to_our_question_says_anything(void **s)
{
    (void)s;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        kmy_json_token_t result;
        const char *text = answers[i].text;
        const char *want = answers[i].result;
        kmy_rpc_word_t word = kmy_rpc_read(text, strlen(text), 7, &result);
        if (word != answers[i].word || result.len != strlen(want) ||
            (result.len && memcmp(result.text, want, result.len) != 0))
            fail_msg("%s: %d '%.*s'", text, word, (int)result.len, result.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_question_is_json_rpc_2_with_its_number),
        cmocka_unit_test(only_the_answer_to_our_question_says_anything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
