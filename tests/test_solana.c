/* pay/solana: a transaction may do one thing only. */
#include "pay/solana.h"

#include "tests/page_edge.h"
#include "tests/pay_rig.h"
#include "wire/base58.h"
#include "wire/base64.h"

#include <openssl/evp.h>

/* Where the parts of the vector's transaction stand (481 bytes): two signatures, then the message. */
enum {
    MESSAGE = 1 + 2 * 64,
    HEADER = MESSAGE + 1, /* signers 2, readonly signers 1, readonly others 4 */
    KEYS = HEADER + 4,    /* 8 of them */
    COUNT = KEYS + 8 * 32 + 32,
    LIMIT = COUNT + 1,
    PRICE = LIMIT + 8,
    TRANSFER = PRICE + 12,
    MEMO = TRANSFER + 17,
    TABLES = MEMO + 20,
    BYTES = TABLES + 1
};

typedef struct rig {
    kmy_pay_entry_t entry;
    uint8_t good[KMY_SOLANA_TRANSACTION_BYTES_MAX];
    size_t len;
} rig_t;

static rig_t rig(void)
{
    rig_t r;
    json_t *root = vectors_load("solana.json");
    const json_t *v = json_array_get(vectors_of(root), 0);
    const char *text =
        text_of(json_object_get(json_object_get(v, "decoded"), "payload"), "transaction");
    entry_of(v, &r.entry);
    assert_true(
        kmy_base64_decode(KMY_BASE64_STD, text, strlen(text), r.good, sizeof r.good, &r.len));
    assert_int_equal(r.len, BYTES);
    json_decref(root);
    return r;
}

static kmy_pay_reason_t judge(const rig_t *r, const uint8_t *bytes, size_t len)
{
    kmy_solana_payment_t paid;
    return kmy_solana_check((const uint8_t *)kmy_at_page_end(bytes, len), len, &r->entry, &paid);
}

/* One byte of the good transaction changed -> reason */
static const struct {
    size_t at;
    uint8_t value;
    kmy_pay_reason_t reason;
    const char *what;
} rows[] = {
    { 0, 1, KMY_PAY_SVM_DECODE, "one signature for two signers" },
    { 0, 3, KMY_PAY_SVM_DECODE, "three signatures" },
    { MESSAGE, 0x81, KMY_PAY_SVM_DECODE, "message version 1" },
    { MESSAGE, 0xFF, KMY_PAY_SVM_DECODE, "message version 127" },
    { HEADER, 0, KMY_PAY_SVM_DECODE, "no signer" },
    { HEADER, 3, KMY_PAY_SVM_DECODE, "three signers, two signatures" },
    { HEADER + 1, 2, KMY_PAY_SVM_DECODE, "a fee payer that is not writable" },
    { HEADER + 2, 7, KMY_PAY_SVM_DECODE, "more readonly keys than keys" },
    { HEADER + 2, 6, KMY_PAY_SVM_TRANSFER, "source and destination readonly" },
    { KEYS - 1, 9, KMY_PAY_SVM_DECODE, "nine keys" },
    { COUNT, 3, KMY_PAY_SVM_DECODE, "the memo behind the last instruction" },
    { COUNT, 0, KMY_PAY_SVM_DECODE, "no instruction" },
    { LIMIT, 0, KMY_PAY_SVM_DECODE, "the fee payer as program" },
    { LIMIT, 8, KMY_PAY_SVM_DECODE, "a program that is no key" },
    { LIMIT, 6, KMY_PAY_SVM_LIMIT, "the memo program first" },
    { LIMIT + 3, 3, KMY_PAY_SVM_LIMIT, "another call of the budget" },
    { LIMIT + 6, 7, KMY_PAY_SVM_LIMIT_HIGH, "7 x 65536 units and more" },
    { PRICE, 6, KMY_PAY_SVM_PRICE, "the memo program second" },
    { PRICE + 3, 2, KMY_PAY_SVM_PRICE, "a limit instead of a price" },
    { PRICE + 8, 1, KMY_PAY_SVM_PRICE_HIGH, "2^32 micro-lamports" },
    { TRANSFER, 6, KMY_PAY_SVM_TRANSFER, "the memo program third" },
    { TRANSFER, 5, KMY_PAY_SVM_TRANSFER, "the mint as program" },
    { TRANSFER + 2, 0, KMY_PAY_SVM_FEE_PAYER, "the fee payer as source" },
    { TRANSFER + 2, 2, KMY_PAY_SVM_RECIPIENT, "from us to us" },
    { TRANSFER + 3, 6, KMY_PAY_SVM_MINT, "another mint" },
    { TRANSFER + 4, 3, KMY_PAY_SVM_RECIPIENT, "another destination" },
    { TRANSFER + 5, 0, KMY_PAY_SVM_FEE_PAYER, "the fee payer as authority" },
    { TRANSFER + 5, 2, KMY_PAY_SVM_TRANSFER, "an authority that does not sign" },
    { TRANSFER + 5, 8, KMY_PAY_SVM_DECODE, "an account that is no key" },
    { TRANSFER + 7, 3, KMY_PAY_SVM_TRANSFER, "an unchecked transfer" },
    { TRANSFER + 7, 13, KMY_PAY_SVM_TRANSFER, "another call of the token" },
    { TRANSFER + 8, 0x11, KMY_PAY_SVM_AMOUNT, "one unit more" },
    { TRANSFER + 8, 0x0F, KMY_PAY_SVM_AMOUNT, "one unit less" },
    { TRANSFER + 15, 1, KMY_PAY_SVM_AMOUNT, "2^56 units more" },
    { TRANSFER + 16, 9, KMY_PAY_SVM_TRANSFER, "other decimals" },
    { MEMO, 7, KMY_PAY_SVM_UNKNOWN, "a second call of the token program" },
    { MEMO, 4, KMY_PAY_SVM_UNKNOWN, "a third call of the budget" },
    { MEMO + 3, 'K', KMY_PAY_SVM_MEMO, "another memo" },
    { MEMO + 3, 0xFF, KMY_PAY_SVM_MEMO, "a memo that is not UTF-8" },
    { TABLES, 1, KMY_PAY_SVM_DECODE, "an address table" },
    { KEYS, 1, KMY_PAY_SVM_OTHER_FEE_PAYER, "another fee payer" },
    { KEYS + 32, 1, KMY_PAY_SVM_SIGNATURE, "another payer" },
    { COUNT - 1, 1, KMY_PAY_SVM_SIGNATURE, "another blockhash" },
    { LIMIT + 4, 1, KMY_PAY_SVM_SIGNATURE, "another unit limit within the cap" },
    { 1 + 64, 0xE6, KMY_PAY_SVM_SIGNATURE, "a flipped bit of the payer's signature" },
    { 1, 0xE6, KMY_PAY_NONE, "the fee payer's empty signature is not looked at" },
};

static void each_change_of_a_good_transaction_is_refused_for_its_reason(void **state)
{
    (void)state;
    rig_t r = rig();
    assert_int_equal(judge(&r, r.good, r.len), KMY_PAY_NONE);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t bytes[BYTES];
        memcpy(bytes, r.good, BYTES);
        assert_int_not_equal(bytes[rows[i].at], rows[i].value);
        bytes[rows[i].at] = rows[i].value;
        kmy_pay_reason_t got = judge(&r, bytes, BYTES);
        if (got != rows[i].reason)
            fail_msg("%s: '%s' instead of '%s'", rows[i].what, kmy_pay_reason(got),
                     kmy_pay_reason(rows[i].reason));
    }
}

static void no_cut_or_longer_text_is_a_transaction(void **state)
{
    (void)state;
    rig_t r = rig();
    uint8_t longer[BYTES + 1] = { 0 };
    for (size_t len = 0; len < BYTES; len++)
        assert_int_equal(judge(&r, r.good, len), KMY_PAY_SVM_DECODE);
    memcpy(longer, r.good, BYTES);
    assert_int_equal(judge(&r, longer, BYTES + 1), KMY_PAY_SVM_DECODE);
    uint8_t huge[KMY_SOLANA_TRANSACTION_BYTES_MAX + 1] = { 0 };
    assert_int_equal(judge(&r, huge, sizeof huge), KMY_PAY_SVM_DECODE);
}

/* Any single bit of the message changes what was signed. */
static void no_bit_of_the_message_can_be_changed(void **state)
{
    (void)state;
    rig_t r = rig();
    for (size_t at = MESSAGE; at < BYTES; at++) {
        r.good[at] ^= (uint8_t)(1 << at % 8);
        assert_int_not_equal(judge(&r, r.good, r.len), KMY_PAY_NONE);
        r.good[at] ^= (uint8_t)(1 << at % 8);
    }
}

static void a_length_has_one_spelling(void **state)
{
    (void)state;
    rig_t r = rig();
    uint8_t bytes[BYTES + 1];
    memcpy(bytes, r.good, TABLES);
    bytes[TABLES] = 0x80; /* 0 in two bytes */
    bytes[TABLES + 1] = 0;
    assert_int_equal(judge(&r, bytes, sizeof bytes), KMY_PAY_SVM_DECODE);
}

/* The message with other instructions behind the transfer, signed by a key of ours in the payer's place. */
static kmy_pay_reason_t signed_with(const char *memo, unsigned memos, unsigned guards)
{
    static const uint8_t seed[32] = { 7 };
    static const char guard[] = "L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95";
    rig_t r = rig();
    uint8_t tx[KMY_SOLANA_TRANSACTION_BYTES_MAX];
    size_t key_len = 32, signature_len = 64;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, 32);
    size_t at = KEYS + 8 * 32;
    memcpy(tx, r.good, at);
    tx[KEYS - 1] = 9; /* one key more: the guard program */
    tx[HEADER + 2] = 5;
    EVP_PKEY_get_raw_public_key(key, tx + KEYS + 32, &key_len);
    assert_true(kmy_base58_decode(guard, strlen(guard), tx + at, 32));
    at += 32;
    memcpy(tx + at, r.good + COUNT - 32, 32); /* blockhash */
    at += 32;
    tx[at++] = (uint8_t)(3 + memos + guards);
    memcpy(tx + at, r.good + LIMIT, MEMO - LIMIT);
    at += MEMO - LIMIT;
    for (unsigned i = 0; i < memos; i++) {
        size_t len = strlen(memo);
        tx[at++] = 6;
        tx[at++] = 0;
        tx[at++] = (uint8_t)len;
        memcpy(tx + at, memo, len);
        at += len;
    }
    for (unsigned i = 0; i < guards; i++) {
        memcpy(tx + at, "\x08\x01\x03\x01\x05", 5); /* looks at account 3 */
        at += 5;
    }
    tx[at++] = 0;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit(md, NULL, NULL, NULL, key), 1);
    assert_int_equal(EVP_DigestSign(md, tx + 1 + 64, &signature_len, tx + MESSAGE, at - MESSAGE),
                     1);
    EVP_MD_CTX_free(md);
    EVP_PKEY_free(key);
    return judge(&r, tx, at);
}

static void behind_the_transfer_stand_our_memo_once_and_few_guards(void **state)
{
    (void)state;
    static const char ours[] = "kamiyo-order-0001";
    assert_int_equal(signed_with(ours, 1, 0), KMY_PAY_NONE);
    assert_int_equal(signed_with(ours, 1, 2), KMY_PAY_NONE);
    assert_int_equal(signed_with(ours, 1, 3), KMY_PAY_NONE);
    assert_int_equal(signed_with(ours, 1, 4), KMY_PAY_SVM_COUNT);
    assert_int_equal(signed_with(ours, 0, 4), KMY_PAY_SVM_UNKNOWN);
    assert_int_equal(signed_with(ours, 0, 0), KMY_PAY_SVM_MEMO_COUNT);
    assert_int_equal(signed_with(ours, 2, 0), KMY_PAY_SVM_MEMO_COUNT);
    assert_int_equal(signed_with("kamiyo-order-0002", 1, 0), KMY_PAY_SVM_MEMO);
    assert_int_equal(signed_with("kamiyo-order-000", 1, 0), KMY_PAY_SVM_MEMO);
}

static void without_a_fee_payer_nothing_is_accepted(void **state)
{
    (void)state;
    rig_t r = rig();
    r.entry.fee_payer[0] = '\0';
    assert_int_equal(judge(&r, r.good, r.len), KMY_PAY_SVM_NO_FEE_PAYER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_change_of_a_good_transaction_is_refused_for_its_reason),
        cmocka_unit_test(no_cut_or_longer_text_is_a_transaction),
        cmocka_unit_test(no_bit_of_the_message_can_be_changed),
        cmocka_unit_test(a_length_has_one_spelling),
        cmocka_unit_test(behind_the_transfer_stand_our_memo_once_and_few_guards),
        cmocka_unit_test(without_a_fee_payer_nothing_is_accepted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
