/* pay/facilitator: what is asked is our entry and nothing the payer could slip in; what is answered counts only if it is about our payment. */
#include "pay/facilitator.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#define PAYER_TEXT "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
#define TX         "0x1f2e3d4c5b6a79880123456789abcdef1f2e3d4c5b6a79880123456789abcdef"
#define SOL_PAYER  "4Q9DECv4iZzFCLFuh2WaX2FQjMxnQXXJh4Ljvps5B5nr"
/* the bytes 1 to 64 */
#define SOL_TX                                                                                     \
    "2Ana1pUpv2ZbMVkwF5FXapYeBEjdxDatLn7nvJkhgTSXbs59SyZSx866bXirPgj8QQVB57uxHJBG1YFvkRbFj4T"

static kmy_pay_entry_t evm, solana;
static uint8_t evm_payer[32], solana_payer[32];

static int make_entries(void **state)
{
    (void)state;
    const kmy_pay_terms_t base = { .name = "base",
                                   .pay_to = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8" };
    const kmy_pay_terms_t sol = { .name = "solana",
                                  .pay_to = "8RfmWU2npvZcFMhFcwuyM1amLmoN2acywiW6P9rayLhL",
                                  .fee_payer = "4Q9DECv4iZzFCLFuh2WaX2FQjMxnQXXJh4Ljvps5B5nr" };
    assert_int_equal(kmy_pay_entry_init(&evm, &base, NULL), KMY_OK);
    assert_int_equal(kmy_pay_entry_init(&solana, &sol, NULL), KMY_OK);
    kmy_pay_entry_price(&evm, 10000);
    kmy_pay_entry_price(&solana, 10000);
    assert_true(kmy_evm_address_parse(PAYER_TEXT, strlen(PAYER_TEXT), evm_payer));
    memcpy(solana_payer, solana.solana.fee_payer, 32); /* any key that has a text */
    return 0;
}

static const kmy_pay_resource_t tick = { "https://feed.example/v1/tick", "One \"tick\"",
                                         "application/json" };

static const char *request(int version, const char *payment, const kmy_pay_entry_t *entry)
{
    static char mem[KMY_FACILITATOR_REQUEST_BYTES_MAX];
    kmy_buf_t out = kmy_buf(mem, sizeof mem - 1);
    if (!kmy_facilitator_request(&out, version, payment, strlen(payment), entry, &tick))
        return NULL;
    mem[out.len] = '\0';
    assert_true(kmy_json_valid(mem, out.len));
    return mem;
}

static void
a_request_holds_the_payment_as_presented_and_our_entry_in_its_generations_shape(void **s)
{
    (void)s;
    assert_string_equal(
        request(1, "{\"x402Version\":1, \"payload\":{}}", &evm),
        "{\"x402Version\":1,\"paymentPayload\":{\"x402Version\":1, \"payload\":{}},"
        "\"paymentRequirements\":{\"scheme\":\"exact\",\"network\":\"base\",\"maxAmountRequired\":"
        "\"10000\","
        "\"resource\":\"https://feed.example/v1/tick\",\"description\":\"One \\\"tick\\\"\","
        "\"mimeType\":\"application/"
        "json\",\"asset\":\"0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913\","
        "\"payTo\":\"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\",\"maxTimeoutSeconds\":60,"
        "\"extra\":{\"name\":\"USD Coin\",\"version\":\"2\"}}}");
    assert_string_equal(
        request(2, "{}", &evm),
        "{\"x402Version\":2,\"paymentPayload\":{},"
        "\"paymentRequirements\":{\"scheme\":\"exact\",\"network\":\"eip155:8453\",\"amount\":"
        "\"10000\","
        "\"asset\":\"0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913\","
        "\"payTo\":\"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\",\"maxTimeoutSeconds\":60,"
        "\"extra\":{\"name\":\"USD Coin\",\"version\":\"2\"}}}");
    assert_string_equal(
        request(2, "{}", &solana),
        "{\"x402Version\":2,\"paymentPayload\":{},"
        "\"paymentRequirements\":{\"scheme\":\"exact\",\"network\":\"solana:"
        "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp\","
        "\"amount\":\"10000\",\"asset\":\"EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v\","
        "\"payTo\":\"8RfmWU2npvZcFMhFcwuyM1amLmoN2acywiW6P9rayLhL\",\"maxTimeoutSeconds\":60,"
        "\"extra\":{\"feePayer\":\"4Q9DECv4iZzFCLFuh2WaX2FQjMxnQXXJh4Ljvps5B5nr\"}}}");
}

static void a_payment_that_is_not_one_whole_object_is_never_put_between_our_members(void **s)
{
    (void)s;
    static const char *const bad[] = { "",     "1",    "[]",
                                       "{",    "{}}",  "{},\"paymentRequirements\":{}",
                                       "{} ,", "null", "{\"a\"}",
                                       "{}{}" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_null(request(1, bad[i], &evm));
}

static void a_request_that_does_not_fit_is_refused(void **s)
{
    (void)s;
    char mem[600];
    const char *whole = request(1, "{}", &evm);
    for (size_t cap = 0; cap < strlen(whole); cap++) {
        kmy_buf_t out = kmy_buf(mem, cap);
        assert_int_equal(kmy_facilitator_request(&out, 1, "{}", 2, &evm, &tick), false);
    }
    kmy_buf_t out = kmy_buf(mem, strlen(whole));
    assert_true(kmy_facilitator_request(&out, 1, "{}", 2, &evm, &tick));
}

enum {
    Y = KMY_FACILITATOR_YES,
    N = KMY_FACILITATOR_NO,
    P = KMY_FACILITATOR_PENDING,
    U = KMY_FACILITATOR_UNKNOWN
};

static const struct {
    int status;
    const char *body;
    int word;
    const char *reason;
} verifies[] = {
    { 200, "{\"isValid\":true,\"payer\":\"" PAYER_TEXT "\"}", Y, "" },
    { 200, "{\"isValid\":true,\"payer\":\"0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc\"}", Y, "" },
    { 200, "{\"isValid\":true}", Y, "" },
    { 200, "{\"isValid\":true,\"payer\":null,\"invalidReason\":null,\"extra\":{\"a\":[1]}}", Y,
      "" },
    { 200, " {\"extensions\":{},\"isValid\":true} ", Y, "" },
    { 200,
      "{\"isValid\":false,\"invalidReason\":\"insufficient_funds\",\"payer\":\"" PAYER_TEXT "\"}",
      N, "insufficient_funds" },
    { 400, "{\"isValid\":false,\"invalidReason\":\"insufficient_funds\"}", N,
      "insufficient_funds" },
    { 412, "{\"isValid\":false,\"invalidReason\":\"permit2_allowance_required\",\"payer\":\"\"}", N,
      "permit2_allowance_required" },
    { 200, "{\"isValid\":false,\"invalidReason\":null}", N, "" },
    { 200, "{\"isValid\":false,\"invalidReason\":7}", N, "" },
    { 200, "{\"isValid\":false,\"invalidReason\":\"a\\u0000b\"}", N,
      "" }, /* text that cannot be one */
    { 200, "{\"isValid\":false,\"invalidReason\":\"a\\r\\nb\\u007fc\\u0085d\"}", N,
      "abcd" }, /* no control reaches a log or a header */
    { 200,
      "{\"isValid\":false,\"invalidReason\":\"\xC2\x85"
      "d\xC3\xA9\"}",
      N, "d\xC3\xA9" },
    /* what says nothing */
    { 200, "{\"isValid\":true,\"payer\":\"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\"}", U,
      "facilitator_other_payer" },
    { 200, "{\"isValid\":true,\"payer\":\"\"}", U, "facilitator_other_payer" },
    { 200, "{\"isValid\":true,\"payer\":5}", U, "facilitator_other_payer" },
    { 200, "{\"isValid\":false,\"payer\":\"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\"}", U,
      "facilitator_other_payer" },
    { 400, "{\"isValid\":true}", U, "facilitator_garbage" },
    { 500, "{\"isValid\":true}", U, "facilitator_status" },
    { 500, "{\"isValid\":false,\"invalidReason\":\"x\"}", U, "facilitator_status" },
    { 401, "{\"isValid\":false,\"invalidReason\":\"x\"}", U, "facilitator_status" },
    { 429, "{\"isValid\":false,\"invalidReason\":\"x\"}", U, "facilitator_status" },
    { 302, "{\"isValid\":true}", U, "facilitator_status" },
    { 0, "", U, "facilitator_status" },
    { 200, "", U, "facilitator_garbage" },
    { 200, "<html>", U, "facilitator_garbage" },
    { 200, "{}", U, "facilitator_garbage" },
    { 200, "[]", U, "facilitator_garbage" },
    { 200, "{\"isValid\":\"true\"}", U, "facilitator_garbage" },
    { 200, "{\"isValid\":1}", U, "facilitator_garbage" },
    { 200, "{\"isValid\":null}", U, "facilitator_garbage" },
    { 200, "{\"isValid\":true,\"isValid\":false}", U, "facilitator_garbage" },
    { 200, "{\"isValid\":true}x", U, "facilitator_garbage" },
    { 200, "{\"isValid\":true", U, "facilitator_garbage" },
};

static void an_answer_to_verify_is_yes_no_or_nothing(void **s)
{
    (void)s;
    for (size_t i = 0; i < sizeof verifies / sizeof verifies[0]; i++) {
        kmy_facilitator_answer_t a;
        kmy_facilitator_read_verify(verifies[i].body, strlen(verifies[i].body), verifies[i].status,
                                    &evm, evm_payer, &a);
        if ((int)a.word != verifies[i].word || strcmp(a.reason, verifies[i].reason) != 0)
            fail_msg("%d %s: %d '%s'", verifies[i].status, verifies[i].body, a.word, a.reason);
    }
}

#define OK_TX "\"transaction\":\"" TX "\""
static const struct {
    int status;
    const char *body;
    int word;
    const char *reason;
    bool tx;
} settles[] = {
    { 200, "{\"success\":true," OK_TX ",\"network\":\"base\",\"payer\":\"" PAYER_TEXT "\"}", Y, "",
      true },
    { 200, "{\"success\":true," OK_TX ",\"network\":\"eip155:8453\"}", Y, "", true },
    { 200,
      "{\"success\":true,\"errorReason\":null,\"payer\":null,\"amount\":null," OK_TX
      ",\"network\":\"base\"}",
      Y, "", true },
    { 200, "{\"success\":true,\"amount\":\"10000\"," OK_TX ",\"network\":\"base\"}", Y, "", true },
    { 200, "{\"success\":true,\"amount\":10000," OK_TX ",\"network\":\"base\",\"extra\":{}}", Y, "",
      true },
    { 200,
      "{\"success\":false,\"errorReason\":\"insufficient_funds\",\"transaction\":\"\",\"network\":"
      "\"base\"}",
      N, "insufficient_funds", false },
    { 400,
      "{\"success\":false,\"errorReason\":\"something_new\",\"transaction\":null,\"network\":null}",
      N, "something_new", false },
    { 200,
      "{\"success\":false,\"errorReason\":\"invalid_transaction_state\"," OK_TX
      ",\"network\":\"base\"}",
      N, "invalid_transaction_state", true },
    { 200, "{\"success\":false}", N, "", false },
    { 200,
      "{\"success\":false,\"errorReason\":\"settlement_pending\"," OK_TX ",\"network\":\"base\"}",
      P, "settlement_pending", true },
    { 400,
      "{\"success\":false,\"errorReason\":\"settlement_pending\"," OK_TX ",\"network\":\"base\"}",
      P, "settlement_pending", true },
    /* lies, and what says nothing: never a failure; a transaction that is named is still a place to look */
    { 200,
      "{\"success\":false,\"errorReason\":\"settlement_pending\",\"transaction\":\"\",\"network\":"
      "\"base\"}",
      U, "facilitator_no_transaction", false },
    { 200, "{\"success\":true,\"transaction\":\"\",\"network\":\"base\"}", U,
      "facilitator_no_transaction", false },
    { 200, "{\"success\":true,\"transaction\":\"0x12\",\"network\":\"base\"}", U,
      "facilitator_no_transaction", false },
    { 200, "{\"success\":true,\"transaction\":\"" SOL_TX "\",\"network\":\"base\"}", U,
      "facilitator_no_transaction", false },
    { 200, "{\"success\":true," OK_TX "}", U, "facilitator_other_network", true },
    { 200, "{\"success\":true," OK_TX ",\"network\":\"base-sepolia\"}", U,
      "facilitator_other_network", true },
    { 200,
      "{\"success\":true," OK_TX
      ",\"network\":\"base\",\"payer\":\"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\"}",
      U, "facilitator_other_payer", true },
    { 200, "{\"success\":true," OK_TX ",\"network\":\"base\",\"amount\":\"9999\"}", U,
      "facilitator_other_amount", true },
    { 200, "{\"success\":true," OK_TX ",\"network\":\"base\",\"amount\":\"1e4\"}", U,
      "facilitator_other_amount", true },
    { 200, "{\"success\":false,\"payer\":\"0x70997970C51812dc3A010C7d01b50e0d17dc79C8\"}", U,
      "facilitator_other_payer", false },
    { 500,
      "{\"success\":false,\"errorReason\":\"unexpected_settle_error\"," OK_TX
      ",\"network\":\"base\"}",
      U, "facilitator_status", true },
    { 400, "{\"success\":true," OK_TX ",\"network\":\"base\"}", U, "facilitator_garbage", true },
    { 502, "Bad gateway", U, "facilitator_status", false },
    { 200, "{\"success\":true," OK_TX "," OK_TX ",\"network\":\"base\"}", U, "facilitator_garbage",
      false },
    { 200, "{\"error\":\"x\"}", U, "facilitator_garbage", false },
    { 0, "", U, "facilitator_status", false },
};

static void an_answer_to_settle_counts_only_if_it_is_about_our_payment(void **s)
{
    (void)s;
    for (size_t i = 0; i < sizeof settles / sizeof settles[0]; i++) {
        kmy_facilitator_answer_t a;
        kmy_facilitator_read_settle(settles[i].body, strlen(settles[i].body), settles[i].status,
                                    &evm, evm_payer, &a);
        if ((int)a.word != settles[i].word || strcmp(a.reason, settles[i].reason) != 0 ||
            strcmp(a.tx, settles[i].tx ? TX : "") != 0)
            fail_msg("%d %s: %d '%s' '%s'", settles[i].status, settles[i].body, a.word, a.reason,
                     a.tx);
    }
}

static void a_solana_settlement_names_a_signature(void **s)
{
    (void)s;
    static const char yes[] = "{\"success\":true,\"transaction\":\"" SOL_TX
                              "\",\"network\":\"solana\",\"payer\":\"" SOL_PAYER "\"}";
    kmy_facilitator_answer_t a;
    kmy_facilitator_read_settle(yes, sizeof yes - 1, 200, &solana, solana_payer, &a);
    assert_int_equal(a.word, KMY_FACILITATOR_YES);
    assert_string_equal(a.tx, SOL_TX);
    assert_true(a.payer_named);
    solana_payer[0] ^= 1;
    kmy_facilitator_read_settle(yes, sizeof yes - 1, 200, &solana, solana_payer, &a);
    assert_int_equal(a.word, KMY_FACILITATOR_UNKNOWN);
    solana_payer[0] ^= 1;
}

static void a_long_reason_is_cut_at_a_character(void **s)
{
    (void)s;
    char body[400] = "{\"success\":false,\"errorReason\":\"";
    kmy_facilitator_answer_t a;
    for (int i = 0; i < 60; i++)
        strcat(body, "\xC3\xA9"); /* 120 bytes of two-byte characters; 95 fit */
    strcat(body, "\"}");
    kmy_facilitator_read_settle(body, strlen(body), 200, &evm, evm_payer, &a);
    assert_int_equal(a.word, KMY_FACILITATOR_NO);
    assert_int_equal(strlen(a.reason), 94);
}

static const struct {
    const char *body;
    bool answer, v1, v2;
    const char *fee_payer;
} supports[] = {
    { "{\"kinds\":[{\"x402Version\":2,\"scheme\":\"exact\",\"network\":\"solana:"
      "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp\","
      "\"extra\":{\"feePayer\":\"" SOL_PAYER
      "\"}}],\"extensions\":[],\"signers\":{\"solana:*\":[\"x\"]}}",
      true, false, true, SOL_PAYER },
    { "{\"kinds\":[{\"x402Version\":1,\"scheme\":\"exact\",\"network\":\"solana\",\"extra\":{"
      "\"feePayer\":\"" SOL_PAYER "\"}}]}",
      true, true, false, SOL_PAYER },
    { "{\"kinds\":[{\"x402Version\":1,\"scheme\":\"exact\",\"network\":\"solana\"},"
      "{\"x402Version\":2,\"scheme\":\"exact\",\"network\":\"solana:"
      "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp\",\"extra\":null}]}",
      true, true, true, "" },
    { "{\"kinds\":[{\"x402Version\":1,\"scheme\":\"upto\",\"network\":\"solana\"},7,null,[],{"
      "\"x402Version\":2,\"scheme\":\"exact\",\"network\":\"solana\"}]}",
      true, false, false, "" },
    { "{\"kinds\":[{\"x402Version\":1,\"scheme\":\"exact\",\"network\":\"solana\",\"extra\":{"
      "\"feePayer\":\"not a key\"}}]}",
      true, true, false, "" },
    { "{\"kinds\":[]}", true, false, false, "" },
    { "{\"kinds\":{}}", false, false, false, "" },
    { "{}", false, false, false, "" },
    { "nonsense", false, false, false, "" },
};

static void supported_tells_generations_and_the_fee_payer(void **s)
{
    (void)s;
    kmy_facilitator_support_t got;
    for (size_t i = 0; i < sizeof supports / sizeof supports[0]; i++) {
        const char *body = supports[i].body;
        bool answer = kmy_facilitator_read_supported(body, strlen(body), 200, &solana, &got);
        if (answer != supports[i].answer || got.v1 != supports[i].v1 || got.v2 != supports[i].v2 ||
            strcmp(got.fee_payer, supports[i].fee_payer) != 0)
            fail_msg("%s: %d %d %d '%s'", body, answer, got.v1, got.v2, got.fee_payer);
    }
    assert_false(kmy_facilitator_read_supported(supports[0].body, strlen(supports[0].body), 500,
                                                &solana, &got));
    assert_false(got.v2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            a_request_holds_the_payment_as_presented_and_our_entry_in_its_generations_shape),
        cmocka_unit_test(a_payment_that_is_not_one_whole_object_is_never_put_between_our_members),
        cmocka_unit_test(a_request_that_does_not_fit_is_refused),
        cmocka_unit_test(an_answer_to_verify_is_yes_no_or_nothing),
        cmocka_unit_test(an_answer_to_settle_counts_only_if_it_is_about_our_payment),
        cmocka_unit_test(a_solana_settlement_names_a_signature),
        cmocka_unit_test(a_long_reason_is_cut_at_a_character),
        cmocka_unit_test(supported_tells_generations_and_the_fee_payer),
    };
    return cmocka_run_group_tests(tests, make_entries, NULL);
}
