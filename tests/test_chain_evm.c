/* pay/chain_evm: what is asked is what the token understands, and only the token's own Transfer with the authorization's event is money. */
#include "pay/chain_evm.h"

#include "wire/hex.h"
#include "wire/keccak.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define TX     "0x1f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c5b6a7988"
#define HASH   "0xb10cb10cb10cb10cb10cb10cb10cb10cb10cb10cb10cb10cb10cb10cb10cb10c"
#define TOKEN  "0x833589fcd6edb6e08f4c7c32d4f71b54bda02913"
#define OTHER  "0x036cbd53842c5426634e7929541ec2318f3dcf7e"
#define PAYER  "3c44cdddb6a900fa2b585dd299e03d12fa4293bc"
#define US     "70997970c51812dc3a010c7d01b50e0d17dc79c8"
#define NONCE  "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf"
#define NONCE2 "00000000000000000000000000000000000000000000000000000000000000ff"

#define TRANSFER "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
#define USED     "0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5"
#define CANCEL   "0x1cdd46ff242716cdaa72d159d339a485b3438398348d68f09d7c8c0a59353d81"

#define WORD(address) "\"0x000000000000000000000000" address "\""
#define UNITS(hex4)   "0x000000000000000000000000000000000000000000000000000000000000" hex4
#define LOG(token, index, topics, data)                                                            \
    "{\"address\":\"" token "\",\"topics\":[" topics "],\"data\":\"" data                          \
    "\",\"logIndex\":\"" index "\",\"blockNumber\":\"0x64\",\"transactionHash\":\"" TX             \
    "\",\"blockHash\":\"" HASH "\",\"removed\":false}"
#define T(token, index, from, to, units)                                                           \
    LOG(token, index, "\"" TRANSFER "\"," WORD(from) "," WORD(to), UNITS(units))
#define A(token, index, who, nonce)                                                                \
    LOG(token, index, "\"" USED "\"," WORD(who) ",\"0x" nonce "\"", "0x")
#define C(token, index, who, nonce)                                                                \
    LOG(token, index, "\"" CANCEL "\"," WORD(who) ",\"0x" nonce "\"", "0x")

static kmy_pay_entry_t entry;
static uint8_t payer[20], nonce[32], nonce2[32];

static int make_entry(void **state)
{
    (void)state;
    const kmy_pay_terms_t base = { .name = "base", .pay_to = "0x" US };
    assert_int_equal(kmy_pay_entry_init(&entry, &base, NULL), KMY_OK);
    kmy_pay_entry_price(&entry, 10000); /* 0x2710 */
    assert_true(kmy_hex_decode(PAYER, 40, payer, 20));
    assert_true(kmy_hex_decode(NONCE, 64, nonce, 32));
    assert_true(kmy_hex_decode(NONCE2, 64, nonce2, 32));
    return 0;
}

#define ZEROS_29 "0000000000000000000000000000000000000000000000000000000000"

static char mem[KMY_RPC_REQUEST_BYTES_MAX];

static const char *text_of(kmy_buf_t *out)
{
    assert_false(out->overflow);
    assert_true(out->len < sizeof mem);
    mem[out->len] = '\0';
    assert_true(kmy_json_valid(mem, out->len));
    return mem;
}

static kmy_buf_t question(void)
{
    return kmy_buf(mem, sizeof mem - 1);
}

static void assert_hash(const char *signature, const char *hex)
{
    uint8_t hash[32];
    char text[65];
    kmy_keccak256(signature, strlen(signature), hash);
    kmy_hex_encode(hash, 32, text);
    assert_memory_equal(text, hex, strlen(hex));
}

static void names_of_calls_and_events_are_the_hashes_of_their_signatures(void **s)
{
    (void)s;
    assert_hash("authorizationState(address,bytes32)", "e94a0102");
    assert_hash("balanceOf(address)", "70a08231");
    assert_hash("isValidSignature(bytes32,bytes)", "1626ba7e");
    assert_hash("Transfer(address,address,uint256)", &TRANSFER[2]);
    assert_hash("AuthorizationUsed(address,bytes32)", &USED[2]);
    assert_hash("AuthorizationCanceled(address,bytes32)", &CANCEL[2]);
}

static void each_question_is_spelled_as_nodes_want_it(void **s)
{
    (void)s;
    kmy_buf_t q = question();
    kmy_chain_evm_chain_id(&q, 1);
    assert_string_equal(text_of(&q),
                        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"eth_chainId\",\"params\":[]}");
    q = question();
    kmy_chain_evm_block(&q, 2, KMY_EVM_LATEST);
    assert_string_equal(text_of(&q), "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"eth_"
                                     "getBlockByNumber\",\"params\":[\"latest\",false]}");
    q = question();
    kmy_chain_evm_block(&q, 2, 0);
    assert_non_null(strstr(text_of(&q), "[\"0x0\",false]"));
    q = question();
    kmy_chain_evm_block(&q, 2, KMY_EVM_FINALIZED);
    assert_non_null(strstr(text_of(&q), "[\"finalized\",false]"));
    q = question();
    kmy_chain_evm_authorization(&q, 3, &entry, payer, nonce, 0x1234);
    assert_string_equal(
        text_of(&q),
        "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"eth_call\",\"params\":[{\"to\":\"" TOKEN
        "\",\"data\":\"0xe94a0102000000000000000000000000" PAYER NONCE "\"},\"0x1234\"]}");
    q = question();
    kmy_chain_evm_balance(&q, 3, &entry, payer);
    assert_non_null(
        strstr(text_of(&q), "\"0x70a08231000000000000000000000000" PAYER "\"},\"latest\""));
    q = question();
    kmy_chain_evm_code(&q, 4, payer);
    assert_non_null(strstr(text_of(&q), "\"eth_getCode\",\"params\":[\"0x" PAYER "\",\"latest\"]"));
    q = question();
    kmy_chain_evm_receipt(&q, 5, TX);
    assert_non_null(strstr(text_of(&q), "\"eth_getTransactionReceipt\",\"params\":[\"" TX "\"]"));
    q = question();
    kmy_chain_evm_transaction(&q, 5, TX);
    assert_non_null(strstr(text_of(&q), "\"eth_getTransactionByHash\",\"params\":[\"" TX "\"]"));
    q = question();
    kmy_chain_evm_logs(&q, 6, &entry, payer, nonce, 100, KMY_EVM_LATEST);
    assert_non_null(strstr(text_of(&q),
                           "[{\"address\":\"" TOKEN
                           "\",\"fromBlock\":\"0x64\",\"toBlock\":\"latest\",\"topics\":[[\"" USED
                           "\",\"" CANCEL "\"],\"0x000000000000000000000000" PAYER "\",\"0x" NONCE
                           "\"]}]"));
    q = question();
    kmy_chain_evm_logs(&q, 6, &entry, payer, nonce, 100, 255);
    assert_non_null(strstr(text_of(&q), "\"toBlock\":\"0xff\""));
}

static void a_contract_wallet_is_asked_with_bounded_gas_and_a_bounded_signature(void **s)
{
    (void)s;
    static char signature[2 + 2 * KMY_EVM_CONTRACT_SIGNATURE_BYTES_MAX + 3] = "0x";
    kmy_buf_t q = question();
    assert_true(kmy_chain_evm_signature(&q, 1, payer, nonce, "0xabcdef", 8));
    const char *text = text_of(&q);
    assert_non_null(
        strstr(text, "\"to\":\"0x" PAYER "\",\"gas\":\"0xf4240\",\"data\":\"0x1626ba7e" NONCE));
    assert_non_null(strstr(text, &UNITS("0040")[2])); /* where the bytes begin */
    assert_non_null(strstr(text, "0000000000000003abcdef" ZEROS_29 "\"},\"latest\""));

    memset(signature + 2, 'a', sizeof signature - 3);
    q = question();
    assert_true(kmy_chain_evm_signature(&q, 1, payer, nonce, signature,
                                        2 + 2 * KMY_EVM_CONTRACT_SIGNATURE_BYTES_MAX));
    text_of(&q);
    q = question();
    assert_false(kmy_chain_evm_signature(&q, 1, payer, nonce, signature,
                                         4 + 2 * KMY_EVM_CONTRACT_SIGNATURE_BYTES_MAX));
    assert_false(kmy_chain_evm_signature(&q, 1, payer, nonce, "0xabc", 5));
    assert_false(kmy_chain_evm_signature(&q, 1, payer, nonce, "0xab\"},", 8));
    assert_false(kmy_chain_evm_signature(&q, 1, payer, nonce, "", 0));
    char wrapped[2 + 128 + 1] = "0x";
    memset(wrapped + 2, 'a', 64);
    for (int i = 0; i < 16; i++)
        memcpy(wrapped + 66 + 4 * i, "6492", 4);
    assert_false(kmy_chain_evm_signature(&q, 1, payer, nonce, wrapped,
                                         130)); /* not deployed: nothing there to ask */
    assert_int_equal(q.len, 0);
}

static const struct {
    const char *text;
    bool good;
    uint64_t value;
} quantities[] = {
    { "\"0x0\"", true, 0 },
    { "\"0x2710\"", true, 10000 },
    { "\"0X10\"", false, 0 },
    { "\"0x00000000000000000000000000000010\"", true, 16 }, /* some nodes fill up */
    { "\"0xffffffffffffffff\"", true, UINT64_MAX },
    { "\"0x10000000000000000\"", false, 0 },
    { "\"0xABCDEF\"", true, 0xABCDEF },
    { "12", true, 12 },
    { "-1", false, 0 },
    { "1.0", false, 0 },
    { "\"12\"", false, 0 },
    { "\"0x\"", false, 0 },
    { "\"0x1g\"", false, 0 },
    { "\"0x-1\"", false, 0 },
    { "\"\"", false, 0 },
    { "true", false, 0 },
    { "\"0x\\u0031\"", false, 0 },
};

static void a_quantity_is_read_liberally_and_never_overflows(void **s)
{
    (void)s;
    for (size_t i = 0; i < sizeof quantities / sizeof quantities[0]; i++) {
        kmy_json_t js;
        uint64_t v = 77;
        kmy_json_init(&js, quantities[i].text, strlen(quantities[i].text));
        bool good = kmy_chain_evm_quantity(kmy_json_next(&js), &v);
        if (good != quantities[i].good || v != (good ? quantities[i].value : 77))
            fail_msg("%s: %d %llu", quantities[i].text, good, (unsigned long long)v);
    }
}

#define ANSWER(result)          "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":" result "}"
#define READ(reader, text, ...) reader(text, strlen(text), 1, __VA_ARGS__)

static void a_block_gives_number_clock_and_hash(void **s)
{
    (void)s;
    kmy_evm_block_t b;
    assert_int_equal(
        READ(kmy_chain_evm_read_block,
             ANSWER("{\"number\":\"0x64\",\"timestamp\":\"0x6955b900\",\"hash\":\"" HASH
                    "\",\"extra\":[]}"),
             &b),
        KMY_RPC_FOUND);
    assert_int_equal(b.number, 100);
    assert_int_equal(b.time_s, 1767225600);
    assert_int_equal(b.hash[0], 0xB1);
    assert_int_equal(READ(kmy_chain_evm_read_block, ANSWER("null"), &b), KMY_RPC_NONE);
    assert_int_equal(READ(kmy_chain_evm_read_block,
                          ANSWER("{\"number\":null,\"timestamp\":\"0x1\",\"hash\":\"" HASH "\"}"),
                          &b),
                     KMY_RPC_LOST);
    assert_int_equal(
        READ(kmy_chain_evm_read_block,
             ANSWER("{\"number\":\"0x1\",\"timestamp\":\"0xffffffffffffffff\",\"hash\":\"" HASH
                    "\"}"),
             &b),
        KMY_RPC_LOST);
    uint64_t id;
    assert_int_equal(READ(kmy_chain_evm_read_chain_id, ANSWER("\"0x2105\""), &id), KMY_RPC_FOUND);
    assert_int_equal(id, 8453);
    assert_int_equal(READ(kmy_chain_evm_read_chain_id, ANSWER("null"), &id), KMY_RPC_LOST);
}

static void a_call_answers_with_exactly_one_word(void **s)
{
    (void)s;
    bool is = false;
    uint8_t units[32];
    assert_int_equal(READ(kmy_chain_evm_read_authorization, ANSWER("\"" UNITS("0001") "\""), &is),
                     KMY_RPC_FOUND);
    assert_true(is);
    assert_int_equal(READ(kmy_chain_evm_read_authorization, ANSWER("\"" UNITS("0000") "\""), &is),
                     KMY_RPC_FOUND);
    assert_false(is);
    assert_int_equal(READ(kmy_chain_evm_read_authorization, ANSWER("\"" UNITS("0002") "\""), &is),
                     KMY_RPC_LOST);
    assert_int_equal(READ(kmy_chain_evm_read_authorization, ANSWER("\"0x\""), &is),
                     KMY_RPC_LOST); /* no contract there: not "unused" */
    assert_int_equal(READ(kmy_chain_evm_read_authorization, ANSWER("null"), &is), KMY_RPC_LOST);
    assert_int_equal(READ(kmy_chain_evm_read_balance, ANSWER("\"" UNITS("2710") "\""), units),
                     KMY_RPC_FOUND);
    assert_int_equal(kmy_evm_word_u64(units), 10000);
#define MAGIC "\"0x1626ba7e00000000000000000000000000000000000000000000000000000000\""
    assert_int_equal(READ(kmy_chain_evm_read_signature, ANSWER(MAGIC), &is), KMY_RPC_FOUND);
    assert_true(is);
    assert_int_equal(READ(kmy_chain_evm_read_signature, ANSWER("\"" UNITS("0001") "\""), &is),
                     KMY_RPC_FOUND);
    assert_false(is); /* a wallet that says "true" to everything has not said yes */
    is = true;
    assert_int_equal(READ(kmy_chain_evm_read_signature, ANSWER("\"0x\""), &is), KMY_RPC_FOUND);
    assert_false(is); /* no code there, or none that answers */
    assert_int_equal(READ(kmy_chain_evm_read_signature, ANSWER("null"), &is), KMY_RPC_LOST);
    assert_int_equal(READ(kmy_chain_evm_read_signature, "{\"id\":1,\"error\":{\"code\":3}}", &is),
                     KMY_RPC_REVERTED);
    assert_int_equal(READ(kmy_chain_evm_read_code, ANSWER("\"0x\""), &is), KMY_RPC_FOUND);
    assert_false(is);
    assert_int_equal(READ(kmy_chain_evm_read_code, ANSWER("\"0xef0100" PAYER "\""), &is),
                     KMY_RPC_FOUND);
    assert_true(is); /* EIP-7702: an account with borrowed code is a contract wallet */
    assert_int_equal(READ(kmy_chain_evm_read_code, ANSWER("null"), &is), KMY_RPC_LOST);
}

static void logs_tell_where_an_authorization_was_used_or_cancelled(void **s)
{
    (void)s;
    static const struct {
        const char *text;
        kmy_rpc_word_t word;
        bool cancelled;
    } rows[] = {
        { ANSWER("[" A(TOKEN, "0x3", PAYER, NONCE) "]"), KMY_RPC_FOUND, false },
        { ANSWER("[" C(TOKEN, "0x3", PAYER, NONCE) "]"), KMY_RPC_FOUND, true },
        { ANSWER("[7," A(OTHER, "0x2", PAYER, NONCE) "," A(TOKEN, "0x3", PAYER, NONCE) "]"),
          KMY_RPC_FOUND, false },
        { ANSWER("[]"), KMY_RPC_NONE, false },
        { ANSWER("[" A(TOKEN, "0x3", PAYER, NONCE2) "]"), KMY_RPC_NONE,
          false }, /* a node that does not filter */
        { ANSWER("[" A(TOKEN, "0x3", US, NONCE) "]"), KMY_RPC_NONE, false },
        { ANSWER("[" A(OTHER, "0x3", PAYER, NONCE) "]"), KMY_RPC_NONE, false },
        { ANSWER("[" T(TOKEN, "0x3", PAYER, US, "2710") "]"), KMY_RPC_NONE, false },
        { ANSWER("null"), KMY_RPC_LOST, false },
        { ANSWER("{}"), KMY_RPC_LOST, false },
        { "{\"id\":1,\"error\":{\"code\":-32005,\"message\":\"too many blocks\"}}", KMY_RPC_LOST,
          false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        kmy_evm_use_t use;
        kmy_rpc_word_t word =
            READ(kmy_chain_evm_read_logs, rows[i].text, &entry, payer, nonce, &use);
        if (word != rows[i].word)
            fail_msg("row %zu: %d", i, word);
        if (word == KMY_RPC_FOUND) {
            assert_int_equal(use.cancelled, rows[i].cancelled);
            assert_string_equal(use.tx, TX);
            assert_int_equal(use.block, 100);
        }
    }
}

#define RECEIPT(status, logs)                                                                      \
    ANSWER("{\"transactionHash\":\"" TX "\",\"status\":\"" status                                  \
           "\",\"blockNumber\":\"0x64\",\"blockHash\":\"" HASH "\",\"logs\":[" logs "]}")

static const struct {
    const char *what, *text;
    bool paid, used, cancelled;
    uint32_t log_index;
} receipts[] = {
    { "as the token writes it",
      RECEIPT("0x1", A(TOKEN, "0x7", PAYER, NONCE) "," T(TOKEN, "0x8", PAYER, US, "2710")), true,
      true, false, 8 },
    { "the other way round",
      RECEIPT("0x1", T(TOKEN, "0x7", PAYER, US, "2710") "," A(TOKEN, "0x8", PAYER, NONCE)), true,
      true, false, 7 },
    { "with events of others between",
      RECEIPT("0x1", A(TOKEN, "0x7", PAYER, NONCE) ",{\"address\":\"" OTHER "\"}," T(
                         OTHER, "0x8", PAYER, US, "2710") "," T(TOKEN, "0x9", PAYER, US, "2710")),
      true, true, false, 9 },
    { "far apart",
      RECEIPT("0x1", T(TOKEN, "0x5", PAYER, US, "2710") "," T(
                         TOKEN, "0x6", US, PAYER, "2710") "," A(TOKEN, "0x7", PAYER, NONCE)),
      true, true, false, 5 },
    { "second of two of one payer, same amount",
      RECEIPT("0x1", A(TOKEN, "0x1", PAYER, NONCE2) "," T(TOKEN, "0x2", PAYER, US, "2710") "," A(
                         TOKEN, "0x3", PAYER, NONCE) "," T(TOKEN, "0x4", PAYER, US, "2710")),
      true, true, false, 4 },
    { "first of two",
      RECEIPT("0x1", A(TOKEN, "0x1", PAYER, NONCE) "," T(TOKEN, "0x2", PAYER, US, "2710") "," A(
                         TOKEN, "0x3", PAYER, NONCE2) "," T(TOKEN, "0x4", PAYER, US, "2710")),
      true, true, false, 2 },
    { "reverted",
      RECEIPT("0x0", A(TOKEN, "0x7", PAYER, NONCE) "," T(TOKEN, "0x8", PAYER, US, "2710")), false,
      false, false, 0 },
    { "event without a transfer (P13)", RECEIPT("0x1", A(TOKEN, "0x7", PAYER, NONCE)), false, true,
      false, 0 },
    { "transfer without the authorization", RECEIPT("0x1", T(TOKEN, "0x8", PAYER, US, "2710")),
      false, false, false, 0 },
    { "authorization of another nonce",
      RECEIPT("0x1", A(TOKEN, "0x7", PAYER, NONCE2) "," T(TOKEN, "0x8", PAYER, US, "2710")), false,
      false, false, 0 },
    { "less than the price",
      RECEIPT("0x1", A(TOKEN, "0x7", PAYER, NONCE) "," T(TOKEN, "0x8", PAYER, US, "270f")), false,
      true, false, 0 },
    { "more than the price",
      RECEIPT("0x1", A(TOKEN, "0x7", PAYER, NONCE) "," T(TOKEN, "0x8", PAYER, US, "2711")), false,
      true, false, 0 },
    { "to somebody else",
      RECEIPT("0x1", A(TOKEN, "0x7", PAYER, NONCE) "," T(TOKEN, "0x8", PAYER, PAYER, "2710")),
      false, true, false, 0 },
    { "from somebody else",
      RECEIPT("0x1", A(TOKEN, "0x7", PAYER, NONCE) "," T(TOKEN, "0x8", US, US, "2710")), false,
      true, false, 0 },
    { "of another token",
      RECEIPT("0x1", A(OTHER, "0x7", PAYER, NONCE) "," T(OTHER, "0x8", PAYER, US, "2710")), false,
      false, false, 0 },
    { "transfer of another token",
      RECEIPT("0x1", A(TOKEN, "0x7", PAYER, NONCE) "," T(OTHER, "0x8", PAYER, US, "2710")), false,
      true, false, 0 },
    { "cancelled",
      RECEIPT("0x1", C(TOKEN, "0x7", PAYER, NONCE) "," T(TOKEN, "0x8", PAYER, US, "2710")), false,
      false, true, 0 },
    { "a fourth topic is another event",
      RECEIPT("0x1", A(TOKEN, "0x7", PAYER, NONCE) "," LOG(
                         TOKEN, "0x8", "\"" TRANSFER "\"," WORD(PAYER) "," WORD(US) "," WORD(US),
                         UNITS("2710"))),
      false, true, false, 0 },
    { "an address that is more than one",
      RECEIPT("0x1", A(TOKEN, "0x7", PAYER, NONCE) "," LOG(
                         TOKEN, "0x8",
                         "\"" TRANSFER "\"," WORD(PAYER) ",\"0x010000000000000000000000" US "\"",
                         UNITS("2710"))),
      false, true, false, 0 },
    { "no logs", RECEIPT("0x1", ""), false, false, false, 0 },
};

static void money_moved_only_with_the_tokens_transfer_and_its_authorization(void **s)
{
    (void)s;
    for (size_t i = 0; i < sizeof receipts / sizeof receipts[0]; i++) {
        kmy_evm_receipt_t r;
        kmy_evm_evidence_t e;
        assert_int_equal(READ(kmy_chain_evm_read_receipt, receipts[i].text, TX, &r), KMY_RPC_FOUND);
        assert_int_equal(r.block, 100);
        kmy_chain_evm_evidence(&r, &entry, payer, nonce, &e);
        if (e.paid != receipts[i].paid || e.used != receipts[i].used ||
            e.cancelled != receipts[i].cancelled || e.log_index != receipts[i].log_index)
            fail_msg("%s: paid %d used %d cancelled %d log %u", receipts[i].what, e.paid, e.used,
                     e.cancelled, e.log_index);
    }
}

static void a_receipt_is_of_the_transaction_that_was_asked_for(void **s)
{
    (void)s;
    kmy_evm_receipt_t r;
    const char *good = RECEIPT("0x1", "");
    assert_int_equal(READ(kmy_chain_evm_read_receipt, good, HASH, &r), KMY_RPC_LOST);
    assert_int_equal(READ(kmy_chain_evm_read_receipt, ANSWER("null"), TX, &r), KMY_RPC_NONE);
    assert_int_equal(READ(kmy_chain_evm_read_receipt, RECEIPT("0x2", ""), TX, &r), KMY_RPC_LOST);
    assert_int_equal(READ(kmy_chain_evm_read_receipt,
                          ANSWER("{\"transactionHash\":\"" TX "\",\"blockNumber\":null}"), TX, &r),
                     KMY_RPC_NONE);
    assert_int_equal(READ(kmy_chain_evm_read_receipt,
                          ANSWER("{\"transactionHash\":\"" TX
                                 "\",\"root\":\"0x1\",\"blockNumber\":\"0x1\",\"blockHash\":\"" HASH
                                 "\",\"logs\":[]}"),
                          TX, &r),
                     KMY_RPC_LOST);
    kmy_evm_transaction_t t;
    assert_int_equal(
        READ(kmy_chain_evm_read_transaction,
             ANSWER("{\"hash\":\"" TX "\",\"blockNumber\":null,\"from\":\"0x" PAYER "\"}"), TX, &t),
        KMY_RPC_FOUND);
    assert_false(t.mined);
    assert_int_equal(
        READ(kmy_chain_evm_read_transaction,
             ANSWER("{\"hash\":\"" TX "\",\"blockNumber\":\"0x5\",\"from\":\"0x" PAYER "\"}"), TX,
             &t),
        KMY_RPC_FOUND);
    assert_true(t.mined && t.block == 5);
    assert_int_equal(READ(kmy_chain_evm_read_transaction, ANSWER("null"), TX, &t), KMY_RPC_NONE);
}

static void transfers_to_us_are_listed_with_their_authorization(void **s)
{
    (void)s;
    kmy_evm_transfer_t t[KMY_EVM_TRANSFERS_MAX];
    kmy_evm_receipt_t r;
    const char *text = RECEIPT(
        "0x1", T(TOKEN, "0x0", PAYER, US, "0005") "," A(TOKEN, "0x1", PAYER, NONCE2) "," T(
                   TOKEN, "0x2", PAYER, US,
                   "2710") "," T(TOKEN, "0x3", PAYER, US,
                                 "0000") "," T(TOKEN, "0x4", US, PAYER,
                                               "0001") "," T(OTHER, "0x5", PAYER, US, "0001"));
    assert_int_equal(READ(kmy_chain_evm_read_receipt, text, TX, &r), KMY_RPC_FOUND);
    assert_int_equal(kmy_chain_evm_transfers(&r, &entry, t), 2);
    assert_int_equal(t[0].units, 5);
    assert_int_equal(t[0].log_index, 0);
    assert_false(t[0].authorized); /* the authorization behind it has its own transfer */
    assert_int_equal(t[1].units, 10000);
    assert_int_equal(t[1].log_index, 2);
    assert_true(t[1].authorized);
    assert_memory_equal(t[1].nonce, nonce2, 32);
    assert_memory_equal(t[1].sender, payer, 20);
    const char *other_way =
        RECEIPT("0x1", T(TOKEN, "0x1", PAYER, US, "2710") "," A(TOKEN, "0x2", PAYER, NONCE) "," T(
                           TOKEN, "0x3", US, PAYER, "0001"));
    kmy_evm_receipt_t other;
    assert_int_equal(READ(kmy_chain_evm_read_receipt, other_way, TX, &other), KMY_RPC_FOUND);
    assert_int_equal(kmy_chain_evm_transfers(&other, &entry, t), 1);
    assert_true(t[0].authorized);
    assert_memory_equal(t[0].nonce, nonce, 32);
    r.success = false;
    assert_int_equal(kmy_chain_evm_transfers(&r, &entry, t), 0);
#define T4(n)                                                                                      \
    T(TOKEN, n, PAYER, US, "0001")                                                                 \
    "," T(TOKEN, n, PAYER, US, "0001") "," T(TOKEN, n, PAYER, US, "0001") "," T(TOKEN, n, PAYER,   \
                                                                                US, "0001")
    static const char many[] = RECEIPT("0x1", T4("0x1") "," T4("0x2") "," T4("0x3"));
    assert_int_equal(READ(kmy_chain_evm_read_receipt, many, TX, &r), KMY_RPC_FOUND);
    assert_int_equal(kmy_chain_evm_transfers(&r, &entry, t), KMY_EVM_TRANSFERS_MAX);
    assert_false(t[0].authorized);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_calls_and_events_are_the_hashes_of_their_signatures),
        cmocka_unit_test(each_question_is_spelled_as_nodes_want_it),
        cmocka_unit_test(a_contract_wallet_is_asked_with_bounded_gas_and_a_bounded_signature),
        cmocka_unit_test(a_quantity_is_read_liberally_and_never_overflows),
        cmocka_unit_test(a_block_gives_number_clock_and_hash),
        cmocka_unit_test(a_call_answers_with_exactly_one_word),
        cmocka_unit_test(logs_tell_where_an_authorization_was_used_or_cancelled),
        cmocka_unit_test(money_moved_only_with_the_tokens_transfer_and_its_authorization),
        cmocka_unit_test(a_receipt_is_of_the_transaction_that_was_asked_for),
        cmocka_unit_test(transfers_to_us_are_listed_with_their_authorization),
    };
    return cmocka_run_group_tests(tests, make_entry, NULL);
}
