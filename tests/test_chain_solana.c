/* pay/chain_solana: what is asked is what nodes understand, and only the very message, successful, with our balance up by the amount, is money. */
#include "pay/chain_solana.h"

#include "wire/base64.h"

#include <openssl/sha.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define US     "8RfmWU2npvZcFMhFcwuyM1amLmoN2acywiW6P9rayLhL"
#define PAYER  "4Q9DECv4iZzFCLFuh2WaX2FQjMxnQXXJh4Ljvps5B5nr"
#define OTHER  "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr"
#define MINT   "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"
#define MINT_2 "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU"
#define TOKENS "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"
/* the bytes 1 to 64 */
#define TX     "2Ana1pUpv2ZbMVkwF5FXapYeBEjdxDatLn7nvJkhgTSXbs59SyZSx866bXirPgj8QQVB57uxHJBG1YFvkRbFj4T"

static kmy_pay_entry_t entry;
static uint8_t payer[32], us[32], mint[32], nonce[32];
static char
    wire[400]; /* a transaction in base64: one signature, and a message that says "message" */

static int make_entry(void **state)
{
    (void)state;
    uint8_t bytes[72] = { 1 };
    const kmy_pay_terms_t sol = { .name = "solana", .pay_to = US, .fee_payer = PAYER };
    assert_int_equal(kmy_pay_entry_init(&entry, &sol, NULL), KMY_OK);
    kmy_pay_entry_price(&entry, 10000);
    assert_true(kmy_base58_decode(PAYER, strlen(PAYER), payer, 32));
    assert_true(kmy_base58_decode(US, strlen(US), us, 32));
    assert_true(kmy_base58_decode(MINT, strlen(MINT), mint, 32));
    for (int i = 1; i <= 64; i++)
        bytes[i] = (uint8_t)i;
    memcpy(bytes + 65, "message", 7);
    SHA256(bytes + 65, 7, nonce);
    wire[kmy_base64_encode(KMY_BASE64_STD, bytes, sizeof bytes, wire)] = '\0';
    return 0;
}

static char mem[1024];

static kmy_buf_t question(void)
{
    return kmy_buf(mem, sizeof mem - 1);
}

static const char *text_of(const kmy_buf_t *out)
{
    assert_false(out->overflow);
    mem[out->len] = '\0';
    assert_true(kmy_json_valid(mem, out->len));
    return mem;
}

static void each_question_is_spelled_as_nodes_want_it(void **s)
{
    (void)s;
    kmy_buf_t q = question();
    kmy_chain_solana_height(&q, 1, KMY_SOLANA_FINALIZED);
    assert_string_equal(text_of(&q), "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"getBlockHeight\","
                                     "\"params\":[{\"commitment\":\"finalized\"}]}");
    q = question();
    kmy_chain_solana_slot(&q, 1, KMY_SOLANA_CONFIRMED);
    assert_string_equal(text_of(&q), "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"getSlot\","
                                     "\"params\":[{\"commitment\":\"confirmed\"}]}");
    q = question();
    kmy_chain_solana_blockhash(&q, 1, KMY_SOLANA_CONFIRMED);
    assert_non_null(strstr(text_of(&q), "\"getLatestBlockhash\""));
    q = question();
    kmy_chain_solana_status(&q, 2, TX);
    assert_string_equal(
        text_of(&q),
        "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"getSignatureStatuses\",\"params\":[[\"" TX
        "\"],{\"searchTransactionHistory\":true}]}");
    q = question();
    kmy_chain_solana_signatures(&q, 3, payer, NULL);
    assert_string_equal(
        text_of(&q),
        "{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"getSignaturesForAddress\",\"params\":[\"" PAYER
        "\",{\"limit\":100,\"commitment\":\"confirmed\"}]}");
    q = question();
    kmy_chain_solana_signatures(&q, 3, payer, TX);
    assert_non_null(strstr(text_of(&q), "\"before\":\"" TX "\"}"));
    q = question();
    kmy_chain_solana_transaction(&q, 4, TX, KMY_SOLANA_CONFIRMED);
    assert_string_equal(
        text_of(&q), "{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"getTransaction\",\"params\":[\"" TX
                     "\",{\"encoding\":\"base64\",\"commitment\":\"confirmed\","
                     "\"maxSupportedTransactionVersion\":0}]}");
    q = question();
    kmy_chain_solana_holding(&q, 5, payer, mint);
    assert_string_equal(
        text_of(&q),
        "{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"getTokenAccountsByOwner\",\"params\":[\"" PAYER
        "\",{\"mint\":\"" MINT "\"},{\"encoding\":\"base64\",\"commitment\":\"finalized\","
        "\"dataSlice\":{\"offset\":0,\"length\":72}}]}");
    q = question();
    kmy_chain_solana_balance(&q, 6, payer, mint); /* what it has now: not as of 13 s ago */
    assert_non_null(strstr(text_of(&q),
                           "{\"mint\":\"" MINT
                           "\"},{\"encoding\":\"base64\",\"commitment\":\"confirmed\""));
}

#define ANSWER(result)          "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":" result "}"
#define READ(reader, text, ...) reader(text, strlen(text), 1, __VA_ARGS__)

static void numbers_and_blockhashes_are_read(void **s)
{
    (void)s;
    uint64_t n;
    kmy_solana_blockhash_t b;
    assert_int_equal(READ(kmy_chain_solana_read_number, ANSWER("250000000"), &n), KMY_RPC_FOUND);
    assert_int_equal(n, 250000000);
    assert_int_equal(READ(kmy_chain_solana_read_number, ANSWER("-1"), &n), KMY_RPC_LOST);
    assert_int_equal(READ(kmy_chain_solana_read_number, ANSWER("1e3"), &n), KMY_RPC_LOST);
    assert_int_equal(READ(kmy_chain_solana_read_number, ANSWER("18446744073709551616"), &n),
                     KMY_RPC_LOST);
    assert_int_equal(READ(kmy_chain_solana_read_number, ANSWER("null"), &n), KMY_RPC_LOST);
    assert_int_equal(READ(kmy_chain_solana_read_blockhash,
                          ANSWER("{\"context\":{\"slot\":1},\"value\":{\"blockhash\":\"" OTHER
                                 "\",\"lastValidBlockHeight\":3090}}"),
                          &b),
                     KMY_RPC_FOUND);
    assert_string_equal(b.text, OTHER);
    assert_int_equal(b.valid_to, 3090);
    assert_int_equal(READ(kmy_chain_solana_read_blockhash,
                          ANSWER("{\"value\":{\"blockhash\":\"x\",\"lastValidBlockHeight\":3090}}"),
                          &b),
                     KMY_RPC_LOST);
}

static void a_status_has_a_depth_only_once_a_supermajority_saw_it(void **s)
{
    (void)s;
    static const struct {
        const char *text;
        kmy_rpc_word_t word;
        bool success;
        uint64_t depth;
    } rows[] = {
        { ANSWER("{\"context\":{\"slot\":9},\"value\":[{\"slot\":7,\"confirmations\":null,\"err\":"
                 "null,\"status\":{\"Ok\":null},\"confirmationStatus\":\"finalized\"}]}"),
          KMY_RPC_FOUND, true, UINT64_MAX },
        { ANSWER("{\"value\":[{\"slot\":7,\"confirmations\":10,\"err\":null,\"confirmationStatus\":"
                 "\"confirmed\"}]}"),
          KMY_RPC_FOUND, true, 11 },
        { ANSWER("{\"value\":[{\"slot\":7,\"confirmations\":10,\"err\":null,\"confirmationStatus\":"
                 "\"processed\"}]}"),
          KMY_RPC_FOUND, true, 0 },
        { ANSWER("{\"value\":[{\"slot\":7,\"confirmations\":null,\"err\":null,"
                 "\"confirmationStatus\":null}]}"),
          KMY_RPC_FOUND, true, 0 },
        { ANSWER("{\"value\":[{\"slot\":7,\"confirmations\":0,\"err\":{\"InstructionError\":[2,{"
                 "\"Custom\":1}]},\"confirmationStatus\":\"confirmed\"}]}"),
          KMY_RPC_FOUND, false, 1 },
        { ANSWER("{\"value\":[{\"slot\":7,\"confirmations\":1,\"confirmationStatus\":\"confirmed\"}"
                 "]}"),
          KMY_RPC_FOUND, false, 2 }, /* no word about errors is no success */
        { ANSWER("{\"value\":[null]}"), KMY_RPC_NONE, false, 0 },
        { ANSWER("{\"value\":[]}"), KMY_RPC_LOST, false, 0 },
        { ANSWER("{\"value\":[null,null]}"), KMY_RPC_LOST, false, 0 },
        { ANSWER("{\"value\":null}"), KMY_RPC_LOST, false, 0 },
        { ANSWER("null"), KMY_RPC_LOST, false, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        kmy_solana_status_t st = { 0 };
        kmy_rpc_word_t word = READ(kmy_chain_solana_read_status, rows[i].text, &st);
        if (word != rows[i].word || st.success != rows[i].success || st.depth != rows[i].depth)
            fail_msg("row %zu: %d %d %llu", i, word, st.success, (unsigned long long)st.depth);
    }
}

static void a_payers_transactions_are_listed(void **s)
{
    (void)s;
    static kmy_solana_signature_t list[KMY_SOLANA_SIGNATURES_MAX];
    size_t n;
    assert_int_equal(READ(kmy_chain_solana_read_signatures,
                          ANSWER("[{\"signature\":\"" TX "\",\"slot\":1,\"err\":null,\"memo\":null,"
                                 "\"blockTime\":1767225600},{\"signature\":\"" TX
                                 "\",\"err\":{\"x\":1},\"blockTime\":null}]"),
                          list, &n),
                     KMY_RPC_FOUND);
    assert_int_equal(n, 2);
    assert_string_equal(list[0].tx, TX);
    assert_false(list[0].failed);
    assert_int_equal(list[0].time_s, 1767225600);
    assert_true(list[1].failed);
    assert_int_equal(list[1].time_s, 0);
    assert_int_equal(READ(kmy_chain_solana_read_signatures, ANSWER("[]"), list, &n), KMY_RPC_NONE);
    assert_int_equal(READ(kmy_chain_solana_read_signatures,
                          ANSWER("[{\"signature\":\"1\",\"err\":null}]"), list, &n),
                     KMY_RPC_LOST);
    assert_int_equal(READ(kmy_chain_solana_read_signatures, ANSWER("{}"), list, &n), KMY_RPC_LOST);
    static char many[40000];
    kmy_buf_t b = kmy_buf(many, sizeof many - 1);
    kmy_buf_str(&b, "{\"id\":1,\"result\":[");
    for (int i = 0; i < 150; i++) /* more than were asked for */
        kmy_buf_fmt(&b, "%s{\"signature\":\"%s\",\"err\":null}", i ? "," : "", TX);
    kmy_buf_str(&b, "]}");
    assert_false(b.overflow);
    assert_int_equal(kmy_chain_solana_read_signatures(many, b.len, 1, list, &n), KMY_RPC_FOUND);
    assert_int_equal(n, KMY_SOLANA_SIGNATURES_MAX);
}

#define BALANCE(of, owner, amount)                                                                 \
    "{\"accountIndex\":1,\"mint\":\"" of "\",\"owner\":\"" owner "\",\"programId\":\"" TOKENS      \
    "\",\"uiTokenAmount\":{\"amount\":\"" amount "\",\"decimals\":6,\"uiAmount\":null}}"
#define GOOD_PRE  BALANCE(MINT, PAYER, "50000") "," BALANCE(MINT, US, "7")
#define GOOD_POST BALANCE(MINT, PAYER, "40000") "," BALANCE(MINT, US, "10007")

static kmy_rpc_word_t read_transaction(const char *err, const char *pre, const char *post,
                                       const char *tx, kmy_solana_transaction_t *t)
{
    static char text[8000];
    int n = snprintf(
        text, sizeof text,
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"slot\":99,\"blockTime\":1,\"version\":0,"
        "\"meta\":{\"err\":%s,\"fee\":5,"
        "\"preTokenBalances\":%s,\"postTokenBalances\":%s},\"transaction\":[\"%s\",\"base64\"]}}",
        err, pre, post, wire);
    assert_true(n > 0 && n < (int)sizeof text);
    return kmy_chain_solana_read_transaction(text, (size_t)n, 1, tx, t);
}

static const struct {
    const char *what, *err, *pre, *post;
    bool received, paid, spent;
} transactions[] = {
    { "the transfer", "null", "[" GOOD_PRE "]", "[" GOOD_POST "]", true, true, false },
    { "into a new account", "null", "[" BALANCE(MINT, PAYER, "10000") "]",
      "[" BALANCE(MINT, PAYER, "0") "," BALANCE(MINT, US, "10000") "]", true, true, false },
    { "from an account that is closed then", "null", "[" BALANCE(MINT, PAYER, "10000") "]",
      "[" BALANCE(MINT, US, "10000") "]", true, true, false },
    { "from two accounts of the payer", "null",
      "[" BALANCE(MINT, PAYER, "6000") "," BALANCE(MINT, PAYER, "4000") "]",
      "[" BALANCE(MINT, PAYER, "0") "," BALANCE(MINT, US, "10000") "]", true, true, false },
    { "beside another token", "null", "[" GOOD_PRE "," BALANCE(MINT_2, OTHER, "5") "]",
      "[" GOOD_POST "," BALANCE(MINT_2, OTHER, "1") "]", true, true, false },
    { "failed", "{\"InstructionError\":[2,\"Custom\"]}", "[" GOOD_PRE "]", "[" GOOD_POST "]", false,
      false, true },
    { "less than the price", "null", "[" GOOD_PRE "]",
      "[" BALANCE(MINT, PAYER, "40000") "," BALANCE(MINT, US, "10006") "]", true, false,
      true }, /* a token that keeps a fee */
    { "more than the price", "null", "[" GOOD_PRE "]",
      "[" BALANCE(MINT, PAYER, "0") "," BALANCE(MINT, US, "10008") "]", true, false, true },
    { "by somebody else", "null", "[" BALANCE(MINT, OTHER, "50000") "]",
      "[" BALANCE(MINT, OTHER, "40000") "," BALANCE(MINT, US, "10000") "]", true, false, true },
    { "by two", "null", "[" BALANCE(MINT, OTHER, "5000") "," BALANCE(MINT, PAYER, "5000") "]",
      "[" BALANCE(MINT, US, "10000") "]", false, false, true },
    { "by two, one of them enough", "null",
      "[" BALANCE(MINT, OTHER, "5") "," BALANCE(MINT, PAYER, "10000") "]",
      "[" BALANCE(MINT, US, "10000") "]", false, false, true },
    { "out of nothing", "null", "[]", "[" BALANCE(MINT, US, "10000") "]", false, false, true },
    { "from us", "null", "[" BALANCE(MINT, US, "10000") "]", "[" BALANCE(MINT, PAYER, "10000") "]",
      false, false, true },
    { "another token", "null", "[" BALANCE(MINT_2, PAYER, "50000") "]",
      "[" BALANCE(MINT_2, PAYER, "40000") "," BALANCE(MINT_2, US, "10000") "]", false, false,
      true },
    { "an amount that is none", "null", "[" BALANCE(MINT, PAYER, "50000") "]",
      "[" BALANCE(MINT, PAYER, "40000") "," BALANCE(MINT, US, "1e4") "]", false, false, true },
    { "sums beyond 2^64", "null",
      "[" BALANCE(MINT, PAYER, "18446744073709551615") "," BALANCE(MINT, PAYER, "1") "]",
      "[" BALANCE(MINT, US, "10000") "]", false, false, true },
};

static void money_moved_only_if_we_have_the_amount_more_and_the_payer_less(void **s)
{
    (void)s;
    for (size_t i = 0; i < sizeof transactions / sizeof transactions[0]; i++) {
        kmy_solana_transaction_t t;
        kmy_solana_received_t r;
        kmy_solana_evidence_t e;
        assert_int_equal(read_transaction(transactions[i].err, transactions[i].pre,
                                          transactions[i].post, TX, &t),
                         KMY_RPC_FOUND);
        assert_int_equal(t.slot, 99);
        assert_memory_equal(t.message_hash, nonce, 32);
        bool received = kmy_chain_solana_received(&t, &entry, &r);
        kmy_chain_solana_evidence(&t, &entry, payer, nonce, &e);
        if (received != transactions[i].received || e.paid != transactions[i].paid ||
            e.spent != transactions[i].spent)
            fail_msg("%s: received %d paid %d spent %d", transactions[i].what, received, e.paid,
                     e.spent);
        nonce[0] ^= 1; /* another message, however alike, is not this payment */
        kmy_chain_solana_evidence(&t, &entry, payer, nonce, &e);
        nonce[0] ^= 1;
        assert_false(e.paid || e.spent);
    }
}

static void a_transaction_is_the_one_asked_for_and_comes_with_its_balances(void **s)
{
    (void)s;
    static const char other[] =
        "3Ana1pUpv2ZbMVkwF5FXapYeBEjdxDatLn7nvJkhgTSXbs59SyZSx866bXirPgj8QQVB57uxHJBG1YFvkRbFj4T";
    kmy_solana_transaction_t t;
    assert_int_equal(read_transaction("null", "[]", "[]", TX, &t), KMY_RPC_FOUND);
    assert_int_equal(read_transaction("null", "[]", "[]", other, &t), KMY_RPC_LOST);
    assert_int_equal(read_transaction("null", "null", "[]", TX, &t), KMY_RPC_LOST);
    assert_int_equal(read_transaction("null", "[]", "{}", TX, &t), KMY_RPC_LOST);
    assert_int_equal(READ(kmy_chain_solana_read_transaction, ANSWER("null"), TX, &t), KMY_RPC_NONE);
    assert_int_equal(
        READ(kmy_chain_solana_read_transaction,
             ANSWER("{\"slot\":1,\"meta\":null,\"transaction\":[\"AA==\",\"base64\"]}"), TX, &t),
        KMY_RPC_LOST);
}

static void owners_beyond_the_limit_prove_nothing(void **s)
{
    (void)s;
    static char pre[8000];
    kmy_solana_transaction_t t;
    kmy_solana_received_t r;
    kmy_buf_t b = kmy_buf(pre, sizeof pre - 1);
    kmy_buf_str(&b, "[");
    for (int i = 0; i < KMY_SOLANA_OWNERS_MAX + 1; i++) {
        uint8_t key[32] = { 9, (uint8_t)i };
        char text[KMY_BASE58_KEY_BYTES_MAX];
        kmy_base58_encode(key, 32, text);
        kmy_buf_fmt(
            &b, "{\"mint\":\"" MINT "\",\"owner\":\"%s\",\"uiTokenAmount\":{\"amount\":\"1\"}},",
            text);
    }
    kmy_buf_str(&b, GOOD_PRE "]");
    pre[b.len] = '\0';
    static char text[9000];
    int n = snprintf(text, sizeof text,
                     "{\"id\":1,\"result\":{\"slot\":9,\"meta\":{\"err\":null,\"preTokenBalances\":"
                     "%s,\"postTokenBalances\":[]},\"transaction\":[\"%s\",\"base64\"]}}",
                     pre, wire);
    assert_int_equal(kmy_chain_solana_read_transaction(text, (size_t)n, 1, TX, &t), KMY_RPC_FOUND);
    assert_false(kmy_chain_solana_received(&t, &entry, &r));
}

static const char *holding(const char *program, const uint8_t of[32], const uint8_t owner[32],
                           uint64_t units, size_t bytes)
{
    static char item[400];
    char data[200] = "";
    uint8_t raw[80] = { 0 };
    memcpy(raw, of, 32);
    memcpy(raw + 32, owner, 32);
    for (int i = 0; i < 8; i++)
        raw[64 + i] = (uint8_t)(units >> 8 * i);
    data[kmy_base64_encode(KMY_BASE64_STD, raw, bytes, data)] = '\0';
    snprintf(item, sizeof item,
             "{\"pubkey\":\"x\",\"account\":{\"lamports\":1,\"owner\":\"%s\",\"data\":[\"%s\","
             "\"base64\"]}}",
             program, data);
    return item;
}

static kmy_rpc_word_t read_holdings(const char *first, const char *second, uint64_t *units)
{
    char text[1200];
    int n = snprintf(text, sizeof text, "{\"id\":1,\"result\":{\"context\":{},\"value\":[%s%s%s]}}",
                     first, *second ? "," : "", second);
    return kmy_chain_solana_read_holding(text, (size_t)n, 1, payer, mint, units);
}

static void a_stake_is_the_sum_of_the_wallets_accounts_of_the_mint(void **s)
{
    (void)s;
    char one[400], big[400];
    uint64_t units = 0;
    snprintf(one, sizeof one, "%s", holding(TOKENS, mint, payer, 5000000, 72));
    snprintf(big, sizeof big, "%s", holding(TOKENS, mint, payer, UINT64_MAX, 72));
    assert_int_equal(read_holdings("", "", &units), KMY_RPC_FOUND);
    assert_int_equal(units, 0);
    assert_int_equal(read_holdings(one, one, &units), KMY_RPC_FOUND);
    assert_int_equal(units, 10000000);
    assert_int_equal(read_holdings(one, big, &units), KMY_RPC_LOST);
    assert_int_equal(read_holdings(one, holding(TOKENS, us, payer, 1, 72), &units),
                     KMY_RPC_LOST); /* another mint */
    assert_int_equal(read_holdings(one, holding(TOKENS, mint, us, 1, 72), &units),
                     KMY_RPC_LOST); /* another owner */
    assert_int_equal(read_holdings(one, holding(OTHER, mint, payer, 1, 72), &units),
                     KMY_RPC_LOST); /* no token program's */
    assert_int_equal(read_holdings(one, holding(TOKENS, mint, payer, 1, 71), &units), KMY_RPC_LOST);
    assert_int_equal(read_holdings("7", "", &units), KMY_RPC_LOST);
    assert_int_equal(units, 10000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_question_is_spelled_as_nodes_want_it),
        cmocka_unit_test(numbers_and_blockhashes_are_read),
        cmocka_unit_test(a_status_has_a_depth_only_once_a_supermajority_saw_it),
        cmocka_unit_test(a_payers_transactions_are_listed),
        cmocka_unit_test(money_moved_only_if_we_have_the_amount_more_and_the_payer_less),
        cmocka_unit_test(a_transaction_is_the_one_asked_for_and_comes_with_its_balances),
        cmocka_unit_test(owners_beyond_the_limit_prove_nothing),
        cmocka_unit_test(a_stake_is_the_sum_of_the_wallets_accounts_of_the_mint),
    };
    return cmocka_run_group_tests(tests, make_entry, NULL);
}
