/* pay/chain_evm_send: what is asked is what nodes understand, and their words for what became of a transaction. */
#include "pay/chain_evm_send.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static char mem[KMY_RPC_REQUEST_BYTES_MAX];
static const uint8_t us[20] = { 0xAB, [19] = 0x01 }, token[20] = { 0xCD, [19] = 0x02 };
#define US_TEXT    "0xab00000000000000000000000000000000000001"
#define TOKEN_TEXT "0xcd00000000000000000000000000000000000002"

static void assert_asked(kmy_buf_t *b, const char *method, const char *params)
{
    char want[512];
    snprintf(want, sizeof want, "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"%s\",\"params\":[%s]}",
             method, params);
    assert_false(b->overflow);
    assert_true(b->len < sizeof mem);
    mem[b->len] = '\0';
    assert_true(kmy_json_valid(mem, b->len));
    assert_string_equal(mem, want);
}

static kmy_buf_t question(void)
{
    return kmy_buf(mem, sizeof mem - 1);
}

static void questions_are_what_nodes_understand(void **state)
{
    (void)state;
    static const uint8_t data[] = { 0xE3, 0xEE, 0x00 };
    kmy_buf_t b = question();
    kmy_chain_evm_count(&b, 7, us, true);
    assert_asked(&b, "eth_getTransactionCount", "\"" US_TEXT "\",\"pending\"");
    b = question();
    kmy_chain_evm_count(&b, 7, us, false);
    assert_asked(&b, "eth_getTransactionCount", "\"" US_TEXT "\",\"latest\"");
    b = question();
    kmy_chain_evm_coin(&b, 7, us);
    assert_asked(&b, "eth_getBalance", "\"" US_TEXT "\",\"latest\"");
    b = question();
    kmy_chain_evm_tip(&b, 7);
    assert_asked(&b, "eth_maxPriorityFeePerGas", "");
    b = question();
    kmy_chain_evm_gas(&b, 7, us, token, data, sizeof data);
    assert_asked(&b, "eth_estimateGas",
                 "{\"from\":\"" US_TEXT "\",\"to\":\"" TOKEN_TEXT "\",\"data\":\"0xe3ee00\"}");
    b = question();
    kmy_chain_evm_send(&b, 7, data, sizeof data);
    assert_asked(&b, "eth_sendRawTransaction", "\"0xe3ee00\"");
}

static void the_longest_transaction_fits_a_question(void **state)
{
    (void)state;
    static uint8_t tx[KMY_EVM_TX_BYTES_MAX];
    kmy_buf_t b = question();
    kmy_chain_evm_send(&b, INT64_MAX, tx, sizeof tx);
    assert_false(b.overflow);
    b = question();
    kmy_chain_evm_gas(&b, INT64_MAX, us, token, tx, KMY_EVM_CALL_BYTES_MAX);
    assert_false(b.overflow);
}

#define RESULT(r) "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":" r "}"
#define FAULT(c, m)                                                                                \
    "{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":" c ",\"message\":\"" m "\"}}"

static void a_number_is_read_or_there_is_none(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        kmy_rpc_word_t word;
        uint64_t number;
    } row[] = {
        { RESULT("\"0x0\""), KMY_RPC_FOUND, 0 },
        { RESULT("\"0x1a\""), KMY_RPC_FOUND, 26 },
        { RESULT("26"), KMY_RPC_FOUND, 26 },
        { RESULT("\"0xffffffffffffffff\""), KMY_RPC_FOUND, UINT64_MAX },
        { RESULT("\"0x3635c9adc5dea00000\""), KMY_RPC_FOUND, UINT64_MAX }, /* 1000 ether */
        { RESULT("\"0x3635c9adc5dea0000g\""), KMY_RPC_LOST, 0 },
        { RESULT("\"0x\""), KMY_RPC_LOST, 0 },
        { RESULT("\"12\""), KMY_RPC_LOST, 0 },
        { RESULT("null"), KMY_RPC_LOST, 0 },
        { RESULT("{}"), KMY_RPC_LOST, 0 },
        { FAULT("-32601", "no such method"), KMY_RPC_LOST, 0 },
        { "{\"jsonrpc\":\"2.0\",\"id\":8,\"result\":\"0x1\"}", KMY_RPC_LOST, 0 },
        { "", KMY_RPC_LOST, 0 },
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        uint64_t n = 0;
        if (kmy_chain_evm_read_number(row[i].answer, strlen(row[i].answer), 7, &n) != row[i].word)
            fail_msg("%s", row[i].answer);
        if (row[i].word == KMY_RPC_FOUND)
            assert_true(n == row[i].number);
    }
}

static void an_estimate_that_reverts_has_the_tokens_words(void **state)
{
    (void)state;
    static const char reverts[] = FAULT("3", "execution reverted: authorization is expired");
    uint64_t gas = 0;
    kmy_json_token_t m;
    assert_int_equal(kmy_chain_evm_read_gas(reverts, sizeof reverts - 1, 7, &gas, &m),
                     KMY_RPC_REVERTED);
    assert_true(kmy_json_is(m, "execution reverted: authorization is expired"));
    static const char good[] = RESULT("\"0x12f1c\"");
    assert_int_equal(kmy_chain_evm_read_gas(good, sizeof good - 1, 7, &gas, &m), KMY_RPC_FOUND);
    assert_int_equal(gas, 77596);
    assert_int_equal(m.type, KMY_JSON_ERROR);
    static const char busy[] = FAULT("-32005", "too many requests");
    assert_int_equal(kmy_chain_evm_read_gas(busy, sizeof busy - 1, 7, &gas, &m), KMY_RPC_LOST);
}

static void each_nodes_words_are_understood_and_others_prove_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        kmy_evm_send_t is;
    } row[] = {
        { RESULT("\"0x1f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a7988\""),
          KMY_EVM_SEND_TAKEN },
        { FAULT("-32000", "already known"), KMY_EVM_SEND_TAKEN },
        { FAULT("-32003", "transaction already imported"), KMY_EVM_SEND_TAKEN },
        { FAULT("-32000", "Known transaction"), KMY_EVM_SEND_TAKEN },
        { FAULT("-32010", "AlreadyKnown"), KMY_EVM_SEND_TAKEN },
        { FAULT("-32000", "nonce too low: next nonce 5, tx nonce 4"), KMY_EVM_SEND_NONCE },
        { FAULT("-32001", "Nonce too low"), KMY_EVM_SEND_NONCE },
        { FAULT("-32010", "OldNonce, Current nonce: 5"), KMY_EVM_SEND_NONCE },
        { FAULT("-32000", "insufficient funds for gas * price + value: balance 0"),
          KMY_EVM_SEND_FUNDS },
        { FAULT("-32003", "Insufficient funds for gas * price + value"), KMY_EVM_SEND_FUNDS },
        { FAULT("-32010", "InsufficientFunds, Balance is 0"), KMY_EVM_SEND_FUNDS },
        { FAULT("-32004", "Upfront cost exceeds account balance"), KMY_EVM_SEND_FUNDS },
        { FAULT("-32000", "replacement transaction underpriced"), KMY_EVM_SEND_PRICE },
        { FAULT("-32000", "transaction underpriced: tip needed 1, tip permitted 0"),
          KMY_EVM_SEND_PRICE },
        { FAULT("-32003", "max fee per gas less than block base fee"), KMY_EVM_SEND_PRICE },
        { FAULT("-32010", "FeeTooLow, MaxFeePerGas too low"), KMY_EVM_SEND_PRICE },
        { FAULT("-32009", "Gas price too low"), KMY_EVM_SEND_PRICE },
        { FAULT("-32000", "txpool is full"), KMY_EVM_SEND_LOST },
        { FAULT("-32603", "internal error"), KMY_EVM_SEND_LOST },
        { FAULT("-32005", ""), KMY_EVM_SEND_LOST },
        { "{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":5}", KMY_EVM_SEND_LOST },
        { "{\"jsonrpc\":\"2.0\",\"id\":6,\"error\":{\"message\":\"nonce too low\"}}",
          KMY_EVM_SEND_LOST }, /* to another question */
        { RESULT("null"), KMY_EVM_SEND_LOST },
        { "<html>502</html>", KMY_EVM_SEND_LOST },
        { "", KMY_EVM_SEND_LOST },
    };
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        kmy_json_token_t m;
        if (kmy_chain_evm_read_send(row[i].answer, strlen(row[i].answer), 7, &m) != row[i].is)
            fail_msg("%s", row[i].answer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(questions_are_what_nodes_understand),
        cmocka_unit_test(the_longest_transaction_fits_a_question),
        cmocka_unit_test(a_number_is_read_or_there_is_none),
        cmocka_unit_test(an_estimate_that_reverts_has_the_tokens_words),
        cmocka_unit_test(each_nodes_words_are_understood_and_others_prove_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
